"""Differences between models with their intervals, and the words that these allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from method.evaluation.intervals import LEVEL, difference_interval, student_interval
from scripts.report.collect import groups_of
from utils.tables import is_number

CERTAIN, UNCERTAIN = "more than noise", "too noisy to say"
NO_SPREAD = 1e-9  # points; between seeds that gave the same model


class Score(NamedTuple):
    """Test accuracy in percent, on n test images."""

    accuracy: float
    n: int


@dataclass(frozen=True)
class Estimate:
    """A mean difference, with the ends of its interval (None where nothing gives one) and where that is from.

    before, after: what it is the difference of, means over the same seeds. choices: among how many differences this
    one was chosen; the interval holds for all of them at once (Bonferroni).
    """

    before: float
    after: float
    low: float | None
    high: float | None
    n_seeds: int
    n_images: tuple[int, ...] = ()  # of each seed; empty where it is no accuracy
    from_images: bool = False
    choices: int = 1

    @property
    def mean(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def verdict(self) -> str:
        """More than noise, or too noisy to say; the latter too where there is no interval."""
        return CERTAIN if self.certain else UNCERTAIN

    def told(self) -> str:
        """Such as `17.1 points less (95 % interval 10.6 to 23.6, 5 seeds): more than noise`."""
        size = f"{abs(self.mean):.1f}"
        way = "apart" if size == "0.0" else "less" if self.mean < 0 else "more"
        return f"{size} points {way} ({self.interval()}): {self.verdict}"

    def interval(self) -> str:
        """The interval of the size of the difference, whatever its sign, and what it rests on."""
        seeds = f"{self.n_seeds} seeds" if self.n_seeds > 1 else "one seed only"
        if self.low is None or self.high is None:
            return f"no interval: {seeds}" if self.n_seeds == 1 else f"no interval: {seeds}, all alike"
        ends = (-self.high, -self.low) if self.mean < 0 else (self.low, self.high)
        low, high = (f"{end:.1f}".replace("-0.0", "0.0") for end in ends)
        at_once = f" for all {self.choices} at once" if self.choices > 1 else ""
        source = ", from its test images" if self.from_images else ""
        return f"95 % interval {low} to {high}{at_once}, {seeds}{source}"


def estimate(pairs: Sequence[tuple[float, float]], choices: int = 1) -> Estimate | None:
    """Of (before, after), one a seed: the difference over the seeds; without an interval of one seed, None of none."""
    if not pairs:
        return None
    differences = [after - before for before, after in pairs]
    _, low, high = student_interval(differences, 1 - (1 - LEVEL) / choices)
    mean_before, mean_after = (fmean(values) for values in zip(*pairs, strict=True))
    if max(differences) - min(differences) < NO_SPREAD and abs(differences[0]) > NO_SPREAD:
        low = high = None  # seeds that gave the same model say nothing of noise
    return Estimate(mean_before, mean_after, low, high, len(pairs), choices=choices)


def estimate_change(pairs: Sequence[tuple[Score, Score]], choices: int = 1) -> Estimate | None:
    """The same of test accuracies; of one seed, or of seeds that are all alike, from the number of test images."""
    found = estimate([(before.accuracy, after.accuracy) for before, after in pairs], choices)
    if found is None:
        return None
    low, high, (before, after) = found.low, found.high, pairs[0]
    from_images = low is None or high is None
    if low is None or high is None:
        hits = [round(score.accuracy * score.n / 100) for score in (after, before)]
        _, low, high = difference_interval(hits[0], after.n, hits[1], before.n, 1 - (1 - LEVEL) / choices)
    images = tuple(after.n for _, after in pairs)
    ends = max(low, -found.before), min(high, 100.0 - found.before)  # no accuracy lies beyond 0 and 100
    return Estimate(found.before, found.after, *ends, len(pairs), images, from_images, choices)


def scores_of(values: Mapping[str, Any]) -> dict[str, Score]:
    """The test accuracy of every group that the test set holds."""
    groups = ((group["name"], group["test_acc"], group["n_test"]) for group in groups_of(values))
    return {name: Score(accuracy, n) for name, accuracy, n in groups if is_number(accuracy) and n}


def pool(scores: Mapping[str, Score], names: Sequence[str]) -> Score | None:
    """The accuracy on the test images of several groups together; None where there are none."""
    own = [scores[name] for name in names if name in scores]
    n = sum(score.n for score in own)
    return Score(sum(score.accuracy * score.n for score in own) / n, n) if n else None
