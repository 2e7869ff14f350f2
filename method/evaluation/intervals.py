"""Intervals of means over seeds, and of differences between accuracies. Wilson's, of one accuracy, is in metrics.py."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy.special import ndtri, stdtrit

from method.evaluation.metrics import Z_95, Undefined, wilson_interval

LEVEL = 0.95


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
    half = factor * stdev(values)
    return mean, mean - half, mean + half


def difference_interval(
    hits_a: int, n_a: int, hits_b: int, n_b: int, level: float = LEVEL
) -> tuple[float, float, float]:
    """Accuracy a minus accuracy b in percentage points, with both ends of its interval, from numbers of test samples.

    Newcombe's, from two of Wilson's (Newcombe 1998, Statistics in Medicine 17, method 10). It takes the two to be of
    different samples. Of the same images it is too wide, not too narrow, as models tend to be right on the same ones.
    It knows nothing of the variation over seeds. Undefined where n_a or n_b is 0.
    """
    z = Z_95 if level == LEVEL else float(ndtri((1 + level) / 2))
    (low_a, high_a), (low_b, high_b) = wilson_interval(hits_a, n_a, z), wilson_interval(hits_b, n_b, z)
    a, b = 100.0 * hits_a / n_a, 100.0 * hits_b / n_b
    return a - b, a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)
