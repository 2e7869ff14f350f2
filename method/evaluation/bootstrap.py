"""The bootstrap over test samples: how metrics vary with the images that happen to be in the test set.

Each group's samples are drawn anew, as many as it has; models of which the same samples are drawn are compared image by
image. A sample counts by what the models predict for it alone. So a group's resample of n samples is a multinomial draw
of how often each outcome occurs, and 2,000 resamples cost as much for 20,000 test samples as for 200.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from method.evaluation.intervals import LEVEL, normal_quantile
from method.evaluation.metrics import odds_axes

N_DRAWS = 2000
SAME = 1e-9  # points; what is no further apart is equal
SEED = 0  # the same for every run, so that the same command gives the same interval


@dataclass(frozen=True, eq=False)
class Grouping:
    """Test samples by group, int (T, S), that is targets by sensitive values; and the forget pairs."""

    n: np.ndarray
    forget_pairs: Collection[tuple[int, int]] = ()


class Outcomes(NamedTuple):
    """What models predict for the samples of a group: k outcomes, classes (models, k), each so many times, (k,)."""

    target: int
    sensitive: int
    classes: np.ndarray
    times: np.ndarray


class Counts(NamedTuple):
    """What metrics are functions of, for each of D draws; D is 1 for the test set itself.

    right: right predictions by group, (D, T, S); predicted: each class by sensitive value, (D, S, C).
    """

    right: np.ndarray
    predicted: np.ndarray


Measure = Callable[[Counts], np.ndarray]


def tabulate(target: np.ndarray, sensitive: np.ndarray, predictions: Sequence[np.ndarray]) -> list[Outcomes]:
    """The outcomes by group, of each model's predictions (n,) for the same samples."""
    outcomes, times = np.unique(np.stack([target, sensitive, *predictions]), axis=1, return_counts=True)
    first = np.flatnonzero(np.any(np.diff(outcomes[:2], axis=1, prepend=-1), axis=0))[1:]
    return [
        Outcomes(int(block[0, 0]), int(block[1, 0]), block[2:], own)
        for block, own in zip(np.split(outcomes, first, axis=1), np.split(times, first), strict=True)
        if len(own)
    ]


def observed(outcomes: Sequence[Outcomes], grouping: Grouping, n_classes: int) -> list[Counts]:
    """The counts of the test set itself, by model."""
    return _counted(outcomes, [one.times[None] for one in outcomes], grouping, n_classes)


def draw(
    outcomes: Sequence[Outcomes], grouping: Grouping, n_classes: int, n_draws: int = N_DRAWS, seed: int = SEED
) -> list[Counts]:
    """The counts of `n_draws` resamples, by model; all models are of the same samples."""
    generator = np.random.default_rng(seed)
    drawn = [generator.multinomial(one.times.sum(), one.times / one.times.sum(), n_draws) for one in outcomes]
    return _counted(outcomes, drawn, grouping, n_classes)


def _counted(
    outcomes: Sequence[Outcomes], drawn: Sequence[np.ndarray], grouping: Grouping, n_classes: int
) -> list[Counts]:
    """drawn: (D, k) for each of `outcomes`."""
    n_draws, (n_targets, n_sensitive) = len(drawn[0]), grouping.n.shape
    found = [
        Counts(np.zeros((n_draws, n_targets, n_sensitive)), np.zeros((n_draws, n_sensitive, n_classes)))
        for _ in outcomes[0].classes
    ]
    for one, times in zip(outcomes, drawn, strict=True):
        for counts, classes in zip(found, one.classes, strict=True):
            counts.right[:, one.target, one.sensitive] = times[:, classes == one.target].sum(axis=1)
            counts.predicted[:, one.sensitive] += times @ np.eye(n_classes)[classes]
    return found


def measures(grouping: Grouping) -> dict[str, Measure]:
    """The metrics that are no weighted sum of accuracies, percent, by key; without those that T does not determine."""
    n = grouping.n
    sensitive = n.sum(axis=0) > 0
    found: dict[str, Measure] = {"worst_group_acc": lambda counts: _shares(counts.right, n, np.inf).min(axis=(-2, -1))}
    if (contrasts := odds_contrasts(grouping)) is not None:
        found["equalized_odds"] = lambda counts: np.abs(
            np.einsum("...ts,uts->...u", _shares(counts.right, n, 0.0), contrasts)
        ).mean(axis=-1)
    if n_pairs(n):
        found["equalized_odds_full"] = lambda counts: _mean_difference(_shares(counts.right, n, np.nan), n)
    if np.count_nonzero(sensitive) > 1:
        found["demographic_parity"] = lambda counts: np.ptp(
            100.0 * (counts.predicted / np.maximum(n.sum(axis=0), 1)[:, None])[..., sensitive, :], axis=-2
        ).max(-1)
    return found


def odds_contrasts(grouping: Grouping) -> np.ndarray | None:
    """EO's two differences as weights of the groups' accuracies, (2, T, S).

    None where one of its cells is empty, or nothing is forgotten.
    """
    n = grouping.n
    if not grouping.forget_pairs:
        return None
    target, sensitive = np.indices(n.shape).reshape(2, -1)
    axes = odds_axes(target, sensitive, grouping.forget_pairs, *n.shape)
    u, s = (axis.reshape(n.shape) for axis in axes)
    cells = np.stack([n * ((u == one) & (s == other)) for one in (0, 1) for other in (0, 1)])
    totals = cells.sum(axis=(1, 2))
    if not totals.all():
        return None
    shares = cells / totals[:, None, None]
    return shares[[0, 2]] - shares[[1, 3]]


def n_pairs(n: np.ndarray) -> int:
    """How many pairs of groups of one target have test samples."""
    there = np.count_nonzero(n, axis=1)
    return int((there * (there - 1) // 2).sum())


def pair_weights(n: np.ndarray) -> np.ndarray:
    """By target and by rank among its accuracies, how often one is taken from the others less how often they from it.

    (T, S). Of m values in order, the sum of all |a - b| is that of (2 rank - m + 1) a: no pair need be looked at.
    """
    there = np.count_nonzero(n, axis=1)[:, None]
    rank = np.arange(n.shape[1])
    return np.where(rank < there, 2.0 * rank - there + 1, 0.0)


def bias_corrected(values: np.ndarray, seen: float, level: float = LEVEL) -> tuple[float, float]:
    """Both ends from draws (D,) of what the test set itself has as `seen` (Efron 1981, Canadian J. of Statistics 9).

    Noise moves tied groups apart, and draws once more. The share of the draws below `seen` says how far, and the ends
    are taken from places so much lower or higher.
    """
    below = np.count_nonzero(values < seen - SAME) + np.count_nonzero(np.abs(values - seen) <= SAME) / 2
    bias = ndtri(np.clip(below, 0.5, len(values) - 0.5) / len(values))
    low, high = np.quantile(values, ndtr(2 * bias + np.array([-1, 1]) * normal_quantile(level)))
    return float(low), float(high)


def _shares(right: np.ndarray, n: np.ndarray, absent: float) -> np.ndarray:
    """Accuracies by group, percent; `absent` for groups without samples."""
    return np.where(n > 0, 100.0 * right / np.maximum(n, 1), absent)


def _mean_difference(shares: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Mean |a - b| over the pairs of groups of one target; absent groups are nan, which sorting puts last."""
    ordered = np.nan_to_num(np.sort(shares, axis=-1))
    return (ordered * pair_weights(n)).sum(axis=(-2, -1)) / n_pairs(n)
