"""Differences between models with their intervals, and the words that these allow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, NamedTuple

from method.evaluation.intervals import LEVEL, auc_difference_interval, difference_interval, student_interval
from scripts.report.collect import groups_of
from utils.tables import is_number

CERTAIN, UNCERTAIN = "more than noise", "too noisy to say"
OfOne = Callable[[float], tuple[float, float, float]]
ALIKE = 1e-9  # points; seeds that differ by less gave the same model


class Score(NamedTuple):
    """Test accuracy in percent, on n images."""

    accuracy: float
    n: int


class Attack(NamedTuple):
    """AUC in percent of an attack on n images that were to be forgotten and n others; 0 where n is not known."""

    auc: float
    n: int


@dataclass(frozen=True)
class Estimate:
    """A mean difference, with the ends of its interval, None where nothing gives one.

    before, after: what it is the difference of, means over the same seeds. n_images: of each seed. source: what the
    interval is from, where it is not from several seeds. choices: among how many differences this one was chosen; the
    interval holds for all of them at once (Bonferroni). shared: the runs share trained models, and so tell too little
    of chance for an interval.
    """

    before: float
    after: float
    low: float | None
    high: float | None
    n_seeds: int
    n_images: tuple[int, ...] = ()
    source: str = ""
    choices: int = 1
    shared: bool = False

    @property
    def mean(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def told(self, below: str = "less", above: str = "more") -> str:
        """Such as `17.1 points less (95 % interval 10.6 to 23.6, 5 seeds): more than noise`."""
        way = "apart" if self.is_none else below if self.mean < 0 else above
        return f"{points(self.mean)} {way} ({self.interval()}): {CERTAIN if self.certain else UNCERTAIN}"

    @property
    def verb(self) -> str:
        """What stands before `told`: something `has` more, or `is` apart."""
        return "is" if self.is_none else "has"

    @property
    def is_none(self) -> bool:
        """Whether the difference is 0.0 as it is told."""
        return decimal(abs(self.mean)) == "0.0"

    def interval(self) -> str:
        """The interval of the size of the difference, whatever its sign, and what it rests on."""
        seeds = f"{self.n_seeds} seeds" if self.n_seeds > 1 else "one seed only"
        if self.low is None or self.high is None:
            why = "which share trained models" if self.shared else "all alike"
            return f"no interval: {seeds}" + (f", {why}" if self.n_seeds > 1 else "")
        ends = (-self.high, -self.low) if self.mean < 0 else (self.low, self.high)
        low, high = map(decimal, ends)
        at_once = f" for all {self.choices} at once" if self.choices > 1 else ""
        return f"95 % interval {low} to {high}{at_once}, {seeds}{self.source}"


def decimal(value: float) -> str:
    """A number as sentences tell it: one decimal, a real minus sign, and no sign before a zero."""
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "\N{MINUS SIGN}")


def points(value: float) -> str:
    """The size of a difference: `1.0 point`, `0.5 points`."""
    size = decimal(abs(value))
    return f"{size} {'point' if size == '1.0' else 'points'}"


def estimate(
    pairs: Sequence[tuple[float, float]],
    choices: int = 1,
    of_one: OfOne | None = None,
    source: str = "",
    independent: bool = True,
) -> Estimate | None:
    """Of (before, after), one pair a seed: the difference over the seeds, by Student's t; None of none.

    of_one: gives (difference, low, high) at a level, from a `source` beside seeds. It is used for one seed, and for
    seeds that all gave the same model, which say nothing of noise; without it these have no interval. independent:
    whether each pair is of models trained anew (`are_independent`); others have no interval either.
    """
    if not pairs:
        return None
    level, differences = 1 - (1 - LEVEL) / choices, [after - before for before, after in pairs]
    means = fmean(before for before, _ in pairs), fmean(after for _, after in pairs)
    if len(pairs) > 1 and not independent:
        return Estimate(*means, None, None, len(pairs), choices=choices, shared=True)
    if max(differences) - min(differences) > ALIKE:
        _, low, high = student_interval(differences, level)
        return Estimate(*means, low, high, len(pairs), choices=choices)
    if of_one is None:
        return Estimate(*means, None, None, len(pairs), choices=choices)
    return Estimate(*means, *of_one(level)[1:], len(pairs), source=source, choices=choices)


def estimate_change(
    pairs: Sequence[tuple[Score, Score]], choices: int = 1, independent: bool = True
) -> Estimate | None:
    """The same of test accuracies."""

    def of_one(level: float) -> tuple[float, float, float]:
        (before, after), *_ = pairs
        hits = [min(max(round(score.accuracy * score.n / 100), 0), score.n) for score in (after, before)]
        return difference_interval(hits[0], after.n, hits[1], before.n, level)

    return _of_scores(pairs, choices, of_one, ", from its test images", independent)


def estimate_attack(
    pairs: Sequence[tuple[Attack, Attack]], choices: int = 1, independent: bool = True
) -> Estimate | None:
    """The same of the AUCs of attacks."""

    def of_one(level: float) -> tuple[float, float, float]:
        (before, after), *_ = pairs
        return auc_difference_interval(after.auc, before.auc, after.n, after.n, level)

    counted = bool(pairs and pairs[0][1].n)
    return _of_scores(pairs, choices, of_one if counted else None, ", from the images attacked", independent)


def _of_scores(
    pairs: Sequence[tuple[Score, Score]] | Sequence[tuple[Attack, Attack]],
    choices: int,
    of_one: OfOne | None,
    source: str,
    independent: bool,
) -> Estimate | None:
    found = estimate([(before[0], after[0]) for before, after in pairs], choices, of_one, source, independent)
    if found is None:
        return None
    found = replace(found, n_images=tuple(after.n for _, after in pairs))
    if found.low is None or found.high is None:
        return found
    # No share lies beyond 0 and 100.
    return replace(found, low=max(found.low, -found.before), high=min(found.high, 100.0 - found.before))


def scores_of(values: Mapping[str, Any]) -> dict[str, Score]:
    """The test accuracy of every group that the test set holds."""
    groups = ((group["name"], group["test_acc"], group["n_test"]) for group in groups_of(values))
    return {name: Score(accuracy, n) for name, accuracy, n in groups if is_number(accuracy) and n}


def pool(scores: Mapping[str, Score], names: Sequence[str]) -> Score | None:
    """The accuracy on the test images of several groups together; None where there are none."""
    own = [scores[name] for name in names if name in scores]
    n = sum(score.n for score in own)
    return Score(sum(score.accuracy * score.n for score in own) / n, n) if n else None
