"""Intervals in closed form, of means over seeds, accuracies and AUCs, and p values. Wilson's is in metrics.py."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from method.evaluation.metrics import Z_95, Undefined, wilson_interval

LEVEL = 0.95
N_HALVINGS = 40  # of an interval of at most 200 points
SMALLEST = 1e-300  # in place of a variance of 0


@cache
def student_factor(n: int, level: float = LEVEL) -> float | None:
    """Half the width of an interval of the mean of n values, in their standard deviations; None below two values.

    It is the quantile of Student's t with n - 1 degrees of freedom, divided by sqrt(n).
    """
    return float(stdtrit(n - 1, (1 + level) / 2)) / math.sqrt(n) if n > 1 else None


def student_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float | None, float | None]:
    """Mean of values, such as one a seed, with both ends of its interval, by Student's t; None as ends of one value.

    Values must not depend on each other: of two methods take the difference seed by seed. Undefined without any value.
    """
    if not values:
        raise Undefined("there is no value")
    mean, factor = fmean(values), student_factor(len(values), level)
    if factor is None:
        return mean, None, None
    # Quicker than statistics.stdev, which adds fractions.
    half = factor * math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return mean, mean - half, mean + half


def difference_interval(
    hits_a: int, n_a: int, hits_b: int, n_b: int, level: float = LEVEL
) -> tuple[float, float, float]:
    """Accuracy a minus accuracy b in percentage points, with both ends of its interval, from numbers of test samples.

    Newcombe's, from two of Wilson's (Newcombe 1998, Statistics in Medicine 17, method 10). It takes the two to be of
    different samples. Of the same images it is too wide, not too narrow, as models tend to be right on the same ones;
    `paired_limits` is for those. It knows nothing of the variation over seeds. Undefined where n_a or n_b is 0.
    """
    z = normal_quantile(level)
    (low_a, high_a), (low_b, high_b) = wilson_interval(hits_a, n_a, z), wilson_interval(hits_b, n_b, z)
    a, b = 100.0 * hits_a / n_a, 100.0 * hits_b / n_b
    return a - b, a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)


def auc_difference_interval(
    auc_a: float, auc_b: float, n_positive: int, n_negative: int, level: float = LEVEL
) -> tuple[float, float, float]:
    """AUC a minus AUC b in percentage points, with both ends of its interval, from numbers of samples.

    By the standard errors of Hanley and McNeil (1982, Radiology 143), of two independent sets of samples: of the same
    ones it is too wide where the two scores go together. Undefined where a number of samples is 0.
    """
    if not (n_positive and n_negative):
        raise Undefined("there is no sample")
    half = normal_quantile(level) * math.hypot(*(_auc_error(auc, n_positive, n_negative) for auc in (auc_a, auc_b)))
    return auc_a - auc_b, auc_a - auc_b - half, auc_a - auc_b + half


def normal_quantile(level: float) -> float:
    """How many standard deviations an interval of this level reaches to either side."""
    return Z_95 if level == LEVEL else float(ndtri((1 + level) / 2))


def _auc_error(auc: float, n_positive: int, n_negative: int) -> float:
    """Standard error in percentage points; also of an AUC of 0 or 100 at least that of one pair turned around."""
    pairs = n_positive * n_negative
    share = min(max(auc / 100.0, 1 / pairs), 1 - 1 / pairs)
    two_positive, two_negative = share / (2 - share), 2 * share**2 / (1 + share)
    spread = share * (1 - share)
    spread += (n_positive - 1) * (two_positive - share**2) + (n_negative - 1) * (two_negative - share**2)
    return 100.0 * math.sqrt(max(spread, 0.0) / pairs)


def add_squares(
    estimate: np.ndarray, low: np.ndarray, high: np.ndarray, weights: np.ndarray, axis: int | tuple[int, ...] = -1
) -> tuple[np.ndarray, np.ndarray]:
    """Both ends for the weighted sum over `axis` of independent values, each with both of its ends.

    Distances to the ends are added up as squares, and a negative weight turns them around (Zou, Huang and Zhang 2009,
    Computational Statistics and Data Analysis 53; Newcombe's interval of a difference is its case of weights 1 and -1).
    With Wilson's ends it holds for few samples, and for shares of 0 and 1, where draws from the samples do not vary.
    """
    centre = np.sum(weights * estimate, axis=axis)
    below, above = weights * (estimate - low), weights * (high - estimate)  # of positive weights
    down = np.sum(np.where(weights > 0, below, above) ** 2, axis=axis)
    up = np.sum(np.where(weights > 0, above, below) ** 2, axis=axis)
    return centre - np.sqrt(down), centre + np.sqrt(up)


def paired_limits(
    only_a: np.ndarray, only_b: np.ndarray, n: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of accuracy a minus accuracy b on the same n samples, in points; from how many only one of them has right.

    Arrays of one shape, n above 0. The differences that a score test does not reject (Tango 1998, Statistics in
    Medicine 17, pages 891 to 908), found by halving. It holds for few samples, and where the two never differ.
    """
    z, apart = normal_quantile(level), (only_a - only_b) / n

    def score(difference: np.ndarray) -> np.ndarray:
        """Distance of what was seen from this difference, in its standard errors; it falls with the difference."""
        middle = (2 * n - only_a + only_b) * difference - only_a - only_b
        root = np.sqrt(np.maximum(middle**2 + 8 * n * only_b * difference * (1 - difference), 0))
        share_only_b = (root - middle) / (4 * n)  # most likely, given the difference
        variance = n * (2 * share_only_b + difference * (1 - difference))
        return (only_a - only_b - n * difference) / np.sqrt(np.maximum(variance, SMALLEST))

    def solve(low: np.ndarray, high: np.ndarray, aim: float) -> np.ndarray:
        for _ in range(N_HALVINGS):
            middle = (low + high) / 2
            above = score(middle) > aim
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return 100.0 * (low + high) / 2

    return solve(np.full_like(apart, -1.0), apart, z), solve(apart, np.full_like(apart, 1.0), -z)


def paired_p(differences: Sequence[float]) -> float | None:
    """Two-sided p value of the paired t test that the mean difference is 0; None for one value, or all alike."""
    n = len(differences)
    if n < 2 or not (spread := stdev(differences)):
        return None
    return float(2 * stdtr(n - 1, -abs(fmean(differences)) * math.sqrt(n) / spread))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number (Holm 1979): those below a share have, all together, that risk of an error.

    None stays, and is not counted: no test was made.
    """
    made = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * p))
        corrected[place] = largest
    return corrected
