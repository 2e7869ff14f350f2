"""Intervals of means over seeds, and of differences of accuracies and AUCs. That of one accuracy is in metrics.py."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean

from scipy.special import ndtri, stdtrit

from method.evaluation.metrics import Z_95, Undefined, wilson_interval

LEVEL = 0.95


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
    different samples. Of the same images it is too wide, not too narrow, as models tend to be right on the same ones.
    It knows nothing of the variation over seeds. Undefined where n_a or n_b is 0.
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
