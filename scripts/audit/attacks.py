"""What the per-example attacks give of one label: values of all samples and by group, with intervals over the runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from method.evaluation.metrics import Undefined
from method.evaluation.over_runs import EXCESSES, Values, blocks, excesses, interval, run_values
from method.evaluation.per_example import LIRA, MEASURES, PRIVACY, RULI, SCORED, Side, attack, gaussian, kernels
from method.runs.files import PRETRAIN
from method.runs.stored import StoredRun
from scripts.audit.pairs import Pairing
from scripts.audit.reading import FORGOTTEN, LEFT_OUT, RETAINED, SEED, Samples

DENSITIES = {LIRA: gaussian, RULI: kernels}
MOST_SAMPLES = 4_000  # that intervals are made from: of more, what the runs do is the same
NO_PLACEBO = "no held-out sample of its group can stand in its place"
NO_LEFT_OUT = "it needs runs with --leave_out, some of which left out what others forget"
NONE = "no sample of it is forgotten"
Key = tuple[str, int | None]  # a measure, and a group or None for all


@dataclass(frozen=True)
class Outcome:
    """A value or why there is none, and its interval.

    placebo: the same of held-out samples; n: how many scores of forgotten samples; runs: how many models or pairs.
    """

    value: float | None
    reason: str | None = None
    placebo: float | None = None
    n: int | None = None
    ends: tuple[float, float] | None = None
    runs: int | None = None


class Case(NamedTuple):
    """What M models say of N samples, on several sides alike; group: ids (N,)."""

    sides: tuple[Side, ...]
    group: np.ndarray

    @property
    def groups(self) -> list[int | None]:
        """None for all samples, and every group."""
        return [None, *np.unique(self.group).tolist()]

    def within(self, group: int | None) -> np.ndarray:
        """Which samples are of a group; bool (N,)."""
        return np.ones(len(self.group), dtype=bool) if group is None else self.group == group

    def of(self, runs: np.ndarray, samples: np.ndarray) -> "Case":
        """A part of it: bool (M,) and places."""
        sides = (Side(*(values[np.ix_(runs, samples)] for values in side)) for side in self.sides)
        return Case(tuple(sides), self.group[samples])


Measured = Callable[[Case], dict[Key, Outcome]]


def measure_pairing(pairing: Pairing, samples: Samples) -> dict[Key, Outcome]:
    """Every measure, of all samples and of those of each group."""
    efficacy, privacy = make_cases(pairing, samples)
    return _with_ends(efficacy, measure_efficacy) | _with_ends(privacy, measure_privacy)


def make_cases(pairing: Pairing, samples: Samples) -> tuple[Case, Case]:
    """For the test of efficacy: inside, outside, and both of the placebo; for that of privacy: forgotten and left out.

    A retrained model's phi counts wherever it was not trained on the sample, whatever the reason. That of privacy takes
    both models of a control's pairs. An original has left out, and others forget, what its retrained model has.
    """
    n, (models, retrained) = samples.n_forgotten, zip(*pairing.pairs, strict=True)
    phi, others = (np.stack([samples.phi(run) for run in own]) for own in (models, retrained))
    forgot, unseen = _masks(samples, retrained, FORGOTTEN), ~_masks(samples, retrained, RETAINED)
    inside, fitted, asked = forgot, forgot, phi[:, :n]
    forgotten, left_out = forgot, _masks(samples, retrained, LEFT_OUT)
    if pairing.is_control:
        inside, fitted = _masks(samples, models, FORGOTTEN), ~_masks(samples, models, RETAINED)
        forgotten, asked = np.concatenate([inside, forgot]), np.concatenate([asked, others[:, :n]])
        left_out = np.concatenate([_masks(samples, models, LEFT_OUT), left_out])
    elif models[0].method != PRETRAIN:
        left_out = _masks(samples, models, LEFT_OUT)
    there, stand_in = samples.stand_in >= 0, samples.stand_in
    sides = (
        Side(phi[:, :n], fitted, inside),
        Side(others[:, :n], unseen, forgot),
        Side(phi[:, stand_in], fitted & there, inside & there),
        Side(others[:, stand_in], unseen & there, forgot & there),
    )
    privacy = Side(asked, forgotten, forgotten), Side(asked, left_out, left_out)
    return Case(sides, samples.group[:n]), Case(privacy, samples.group[:n])


def _masks(samples: Samples, runs: Sequence[StoredRun], code: int) -> np.ndarray:
    return np.stack([samples.forgotten(run, code) for run in runs])


def _with_ends(case: Case, measure: Measured) -> dict[Key, Outcome]:
    """Outcomes of all runs and samples, and intervals over the runs, from up to MOST_SAMPLES of the samples."""
    n_runs, n_samples = case.sides[0].phi.shape
    outcomes, some = measure(case), np.arange(n_samples)
    if n_samples > MOST_SAMPLES:
        some = np.sort(np.random.default_rng(SEED).choice(n_samples, MOST_SAMPLES, replace=False))
    again = [measure(case.of(left, some)) for left in blocks(n_runs)]
    return {key: replace(one, ends=_ends(key, one, again), runs=n_runs) for key, one in outcomes.items()}


def _ends(key: Key, one: Outcome, again: Sequence[Mapping[Key, Outcome]]) -> tuple[float, float] | None:
    """None where one of the values that leave out a block is missing."""
    values = [other[key].value for other in again if key in other]
    numbers = [value for value in values if value is not None]
    if one.value is None or len(numbers) < len(again) or key[0] == SCORED:
        return None
    _, low, high = EXCESSES.get(key[0].partition("_")[2], ("", 0.0, 100.0))
    return interval(one.value, numbers, low, high)


def measure_efficacy(case: Case) -> dict[Key, Outcome]:
    """Of either attack: its values with those of the placebo, and what they are beyond it."""
    inside, outside, stand_in, stand_out = case.sides
    found: dict[Key, Outcome] = {}
    for name, density in DENSITIES.items():
        scores, others = attack(inside, outside, density), attack(stand_in, stand_out, density)
        for group in case.groups:
            wanted = case.within(group)
            own, theirs = ([side.of(wanted).ratio for side in both] for both in (scores, others))
            values, beside = run_values(*own), run_values(*theirs)
            if (wanted & ~stand_in.fitted.any(axis=0) & inside.fitted.any(axis=0)).any():
                beside = dict.fromkeys(values, Undefined(NO_PLACEBO))
            n, n_pairs = len(own[0]), len(own[0]) * len(own[1])
            for key, one in _outcomes(values, beside, n, n_pairs).items():
                found[f"{name}_{key}", group] = one
            if name == LIRA:
                asked = int(np.count_nonzero(inside.asked[:, wanted]))
                found[SCORED, group] = Outcome(100.0 * n / asked if asked else None, None if asked else NONE, n=asked)
    return found


def _outcomes(own: Values, placebo: Values, n: int, n_pairs: int) -> dict[str, Outcome]:
    """By the end of their keys; what is beyond the placebo among them."""
    found = {}
    for key, value in own.items():
        beside = placebo[key]
        found[key] = replace(_outcome(value, n), placebo=None if isinstance(beside, Undefined) else beside)
    return found | {key: _outcome(value, n) for key, value in excesses(own, placebo, n_pairs).items()}


def _outcome(value: float | Undefined, n: int) -> Outcome:
    return Outcome(None, str(value), n=n) if isinstance(value, Undefined) else Outcome(value, n=n)


def measure_privacy(case: Case) -> dict[Key, Outcome]:
    """Forgotten samples against left-out ones, both under the models in question."""
    forgotten, left_out = case.sides
    if not left_out.asked.any():
        keys = [one.key for one in MEASURES if one.key.startswith(PRIVACY)]
        return {(key, group): Outcome(None, NO_LEFT_OUT) for key in keys for group in case.groups}
    scores = attack(forgotten, left_out, kernels)
    found: dict[Key, Outcome] = {}
    for group in case.groups:
        positive, negative = (side.of(case.within(group)).ratio for side in scores)
        for key, value in run_values(positive, negative).items():
            found[f"{PRIVACY}_{key}", group] = _outcome(value, len(positive))
    return found
