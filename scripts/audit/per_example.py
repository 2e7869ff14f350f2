"""The per-example attacks on every row of a table, with placebo, control and intervals, as findings."""

from collections.abc import Iterator, Sequence

from method.evaluation.per_example import FEWEST, MEASURES, SCORED
from method.runs.files import PRETRAIN
from method.runs.findings import Finding
from method.runs.stored import StoredRun
from scripts.audit.attacks import Key, Outcome, measure_pairing
from scripts.audit.pairs import Pairing, pairings
from scripts.audit.reading import Samples, whole_runs
from utils.terminal import say

FEWEST_PAIRS = FEWEST + 1


def examine(runs: Sequence[StoredRun]) -> Iterator[Finding]:
    """Every finding of one table; runs: the finished ones of it, and the pretrained ones that they start from.

    UserError where runs are of other samples. What cannot be computed is there with its reason.
    """
    table = next((run.table for run in runs if run.method != PRETRAIN), None)
    if table is None:
        return
    found = {pairing.label: pairing for pairing in pairings(whole_runs(runs))}
    for pairing in pairings(runs):
        n = len(found[pairing.label].pairs) if pairing.label in found else 0
        if n < FEWEST_PAIRS:
            reason = _too_few(pairing, n)
            yield from (Finding(one.key, table, pairing.label, None, runs=n, reason=reason) for one in MEASURES)
    if chosen := [pairing for pairing in found.values() if len(pairing.pairs) >= FEWEST_PAIRS]:
        yield from _attacked(chosen, table)


def _too_few(pairing: Pairing, n: int) -> str:
    what = "pairs of retrained models of different train seeds" if pairing.is_control else "train seeds"
    beside = "" if pairing.is_control else " whose run and retrained model both keep their records"
    return f"it needs {FEWEST_PAIRS} {what}{beside}; found {n}"


def _attacked(chosen: Sequence[Pairing], table: tuple) -> Iterator[Finding]:
    """Of pairings whose controls come first, as their values are the others' floors."""
    used = dict.fromkeys(run for pairing in chosen for pair in pairing.pairs for run in pair)
    samples = Samples([run for run in used if run.method != PRETRAIN])
    floors: dict[tuple[str, Key], float | None] = {}
    for pairing in chosen:
        say(f"{pairing.label}: per-example attacks on {len(pairing.pairs)} pairs of models")
        outcomes = measure_pairing(pairing, samples)
        if pairing.is_control:
            floors |= {(pairing.label, key): one.value for key, one in outcomes.items() if key[0] != SCORED}
        for key, one in outcomes.items():
            floor = None if pairing.is_control else floors.get((pairing.reference, key))
            name = None if key[1] is None else samples.group_name(key[1])
            yield _finding(one, measure=key[0], table=table, label=pairing.label, group=name, floor=floor)


def _finding(one: Outcome, measure: str, table: tuple, label: str, group: str | None, floor: float | None) -> Finding:
    low, high = one.ends or (None, None)
    return Finding(
        measure, table, label, one.value, group=group, low=low, high=high, floor=floor, placebo=one.placebo, n=one.n,
        runs=one.runs, reason=one.reason,
    )  # fmt: skip
