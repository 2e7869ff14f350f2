"""The per-example attacks on every row of a table, with placebo, control and intervals, as findings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from method.evaluation.metrics import Undefined
from method.evaluation.over_runs import blocks, interval, run_values
from method.evaluation.per_example import FEWEST, LIRA, MEASURES, PRIVACY, RULI, Side, attack, gaussian, kernels
from method.runs.files import PRETRAIN
from method.runs.findings import Finding
from method.runs.stored import StoredRun
from scripts.audit.pairs import Subject, subjects
from scripts.audit.reading import FORGOTTEN, LEFT_OUT, RETAINED, SEED, Samples, whole_runs
from utils.terminal import say

DENSITIES = {LIRA: gaussian, RULI: kernels}
SCORED = f"{LIRA}_scored"
FEWEST_PAIRS = FEWEST + 1
MOST_SAMPLES = 4_000  # that intervals are made from: of more, what the runs do is the same
NO_PLACEBO = "no held-out sample of its group can stand in its place"
NONE = "no sample of it is forgotten"
Key = tuple[str, int | None]  # a measure, and a group or None for all


@dataclass(frozen=True)
class Outcome:
    """A value or why there is none; placebo: the same of held-out samples; n: how many scores of forgotten samples."""

    value: float | None
    reason: str | None = None
    placebo: float | None = None
    n: int | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """What M pairs of models say of N samples. placebo: the same with held-out samples in their places.

    left_out: what the models in question say of samples that were left out of their train. group: ids (N,).
    """

    inside: Side
    outside: Side
    placebo: tuple[Side, Side]
    left_out: Side
    group: np.ndarray

    def of(self, pairs: np.ndarray, samples: np.ndarray) -> "Case":
        """A part of it: bool (M,) and places."""

        def cut(side: Side) -> Side:
            return Side(*(values[np.ix_(pairs, samples)] for values in side))

        placebo = (cut(self.placebo[0]), cut(self.placebo[1]))
        return Case(cut(self.inside), cut(self.outside), placebo, cut(self.left_out), self.group[samples])


def examine(runs: Sequence[StoredRun]) -> Iterator[Finding]:
    """Every finding of one table; runs: the finished ones of it, and the pretrained ones that they start from.

    UserError where runs are of other samples. What cannot be computed is there with its reason.
    """
    table = next((run.table for run in runs if run.method != PRETRAIN), None)
    if table is None:
        return
    found = {subject.label: subject for subject in subjects(whole_runs(runs))}
    chosen = [subject for subject in found.values() if len(subject.pairs) >= FEWEST_PAIRS]
    for subject in subjects(runs):
        n = len(found[subject.label].pairs) if subject.label in found else 0
        if n < FEWEST_PAIRS:
            reason = _too_few(subject, n)
            yield from (Finding(one.key, table, subject.label, None, runs=n, reason=reason) for one in MEASURES)
    if not chosen:
        return
    used = dict.fromkeys(run for subject in chosen for pair in subject.pairs for run in pair)
    samples = Samples([run for run in used if run.method != PRETRAIN])
    floors: dict[tuple[str, Key], float | None] = {}
    for subject in chosen:
        say(f"{subject.label}: per-example attacks on {len(subject.pairs)} pairs of models")
        outcomes, ends = _measure_with_ends(_case(subject, samples))
        for (measure, group), one in outcomes.items():
            own: Key = (measure, group)
            if subject.is_control:
                floors[subject.label, own] = one.value
            low, high = ends.get(own) or (None, None)
            yield Finding(
                measure, table, subject.label, one.value,
                group=None if group is None else samples.group_name(group),
                low=low, high=high, placebo=one.placebo, n=one.n, runs=len(subject.pairs), reason=one.reason,
                floor=None if subject.is_control else floors.get((subject.reference, own)),
            )  # fmt: skip


def _too_few(subject: Subject, n: int) -> str:
    what = "pairs of retrained models of different train seeds" if subject.is_control else "train seeds"
    beside = "" if subject.is_control else " whose run and retrained model both keep their records"
    return f"it needs {FEWEST_PAIRS} {what}{beside}; found {n}"


def _case(subject: Subject, samples: Samples) -> Case:
    """The arrays of a subject. A retrained model's phi counts wherever it never saw the sample, whatever the reason."""
    n, (models, retrained) = samples.n_forgotten, zip(*subject.pairs, strict=True)
    phi, others = (np.stack([samples.phi(run) for run in own]) for own in (models, retrained))
    forgot, unseen = _masks(samples, retrained, FORGOTTEN), ~_masks(samples, retrained, RETAINED)
    inside, fitted, left_out = forgot, forgot, np.zeros_like(forgot)
    if subject.is_control:
        inside, fitted = _masks(samples, models, FORGOTTEN), ~_masks(samples, models, RETAINED)
    elif models[0].method != PRETRAIN:
        left_out = _masks(samples, models, LEFT_OUT)
    there = samples.stand_in >= 0
    return Case(
        Side(phi[:, :n], fitted, inside),
        Side(others[:, :n], unseen, forgot),
        (
            Side(phi[:, samples.stand_in], fitted & there, inside & there),
            Side(others[:, samples.stand_in], unseen & there, forgot & there),
        ),
        Side(phi[:, :n], left_out, left_out),
        samples.group[:n],
    )


def _masks(samples: Samples, runs: Sequence[StoredRun], code: int) -> np.ndarray:
    return np.stack([samples.forgotten(run, code) for run in runs])


def _measure_with_ends(case: Case) -> tuple[dict[Key, Outcome], dict[Key, tuple[float, float] | None]]:
    """Outcomes of all pairs and samples, and intervals over the pairs, from up to MOST_SAMPLES of the samples."""
    n_pairs, n_samples = case.inside.phi.shape
    outcomes = measure(case)
    some = np.arange(n_samples)
    if n_samples > MOST_SAMPLES:
        some = np.sort(np.random.default_rng(SEED).choice(n_samples, MOST_SAMPLES, replace=False))
    again = [measure(case.of(left, some)) for left in blocks(n_pairs)]
    ends: dict[Key, tuple[float, float] | None] = {}
    for key, one in outcomes.items():
        values = [other[key].value for other in again if key in other]
        numbers = [value for value in values if value is not None]
        if one.value is not None and len(numbers) == len(again) and key[0] != SCORED:
            ends[key] = interval(one.value, numbers, -100.0 if key[0].endswith("_excess") else 0.0, 100.0)
    return outcomes, ends


def measure(case: Case) -> dict[Key, Outcome]:
    """Every measure, of all samples and of those of each group."""
    groups: list[int | None] = [None, *np.unique(case.group).tolist()]
    found: dict[Key, Outcome] = {}
    for name, density in DENSITIES.items():
        scores, placebo = attack(case.inside, case.outside, density), attack(*case.placebo, density)
        for group in groups:
            wanted = np.ones(len(case.group), dtype=bool) if group is None else case.group == group
            own, theirs = (run_values(*(side.of(wanted).ratio for side in both)) for both in (scores, placebo))
            stands_in = not (wanted & ~case.placebo[0].fitted.any(axis=0) & case.inside.fitted.any(axis=0)).any()
            n = int(np.count_nonzero(wanted[scores[0].sample]))
            found |= {(f"{name}_{key}", group): one for key, one in _outcomes(own, theirs, stands_in, n).items()}
            if name == LIRA:
                asked = int(np.count_nonzero(case.inside.asked[:, wanted]))
                found[SCORED, group] = Outcome(
                    100.0 * n / asked if asked else None, None if asked else "none is", n=asked
                )
    return found | _measure_privacy(case, groups)


def _outcomes(
    own: Mapping[str, float | Undefined], placebo: Mapping[str, float | Undefined], stands_in: bool, n: int
) -> dict[str, Outcome]:
    """By the end of their keys; the excess among them."""
    found = {}
    for key, value in own.items():
        other = placebo[key] if stands_in else Undefined(NO_PLACEBO)
        beside = None if isinstance(other, Undefined) else other
        found[key] = replace(_outcome(value, n), placebo=beside)
        if key == "auc":
            wrong = next((one for one in (value, other) if isinstance(one, Undefined)), None)
            found["excess"] = _outcome(wrong or _minus(value, other), n)
    return found


def _minus(value: float | Undefined, other: float | Undefined) -> float:
    assert not isinstance(value, Undefined)
    assert not isinstance(other, Undefined)
    return value - other


def _outcome(value: float | Undefined, n: int) -> Outcome:
    return Outcome(None, str(value), n=n) if isinstance(value, Undefined) else Outcome(value, n=n)


def _measure_privacy(case: Case, groups: Sequence[int | None]) -> dict[Key, Outcome]:
    """Forgotten samples against never trained ones, both under the models in question."""
    keys = [one.key for one in MEASURES if one.key.startswith(PRIVACY)]
    if not case.left_out.asked.any():
        reason = "it needs unlearned models of runs with --leave_out, some of which left out what others forget"
        return {(key, group): Outcome(None, reason) for key in keys for group in groups}
    found: dict[Key, Outcome] = {}
    scores = attack(case.inside, case.left_out, kernels)
    for group in groups:
        wanted = np.ones(len(case.group), dtype=bool) if group is None else case.group == group
        positive, negative = (side.of(wanted).ratio for side in scores)
        for key, value in run_values(positive, negative).items():
            found[f"{PRIVACY}_{key}", group] = _outcome(value, len(positive))
    return found
