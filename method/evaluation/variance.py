"""Two chances of a mean apart: that of the training seed, and that of the unlearning seed within it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, fdtri

from method.evaluation.intervals import LEVEL, student_factor
from method.evaluation.metrics import Undefined

Ends = tuple[float, float]


class Parts(NamedTuple):
    """Of I training seeds with J unlearning seeds each: a mean, what it varies by, and the ends of their intervals.

    train, unlearn: variances, in the square of the values' unit. of_mean: train / I + unlearn / (I J), the variance of
    the mean, unless `train` was below 0 before it was cut off.
    """

    mean: float
    mean_ends: Ends
    train: float
    train_ends: Ends
    unlearn: float
    unlearn_ends: Ends
    of_mean: float


def nested_variance(values: Sequence[Sequence[float]], level: float = LEVEL) -> Parts:
    """The parts of the variance of values (I, J), I training seeds by J unlearning seeds; a balanced, nested design.

    train = max(0, (MSB - MSW) / J) and unlearn = MSW, from the mean squares between and within training seeds. The mean
    has I - 1 degrees of freedom (Student's): runs of one training seed share their original. Of normal values the ends
    of unlearn are exact (chi-squared). Those of train are Williams's (1962, Biometrika 49; Tukey 1951), which hold it a
    little more often than they say: one of 0 in 97.5 of 100. Undefined below two of either, or for unequal rows.
    """
    if len(values) < 2 or min(map(len, values)) < 2 or len(set(map(len, values))) > 1:
        raise Undefined("expected two or more training seeds, each with as many unlearning seeds, two or more")
    table = np.asarray(values, dtype=np.float64)
    n_train, n_unlearn = table.shape
    means = table.mean(axis=1)
    free_between, free_within = n_train - 1, n_train * (n_unlearn - 1)
    between = n_unlearn * float(means.var(ddof=1))
    within = float(((table - means[:, None]) ** 2).sum()) / free_within
    tails = ((1 - level) / 2, (1 + level) / 2)
    half = (student_factor(n_train, level) or math.nan) * float(means.std(ddof=1))
    mean = float(means.mean())
    unlearn_ends = [free_within * within / float(chdtri(free_within, tail)) for tail in tails]
    train_ends = [
        free_between * max(0.0, between - float(fdtri(free_between, free_within, 1 - tail)) * within)
        / (n_unlearn * float(chdtri(free_between, tail)))
        for tail in tails
    ]  # fmt: skip
    return Parts(
        mean=mean,
        mean_ends=(mean - half, mean + half),
        train=max(0.0, (between - within) / n_unlearn),
        train_ends=(train_ends[0], train_ends[1]),
        unlearn=within,
        unlearn_ends=(unlearn_ends[0], unlearn_ends[1]),
        of_mean=between / (n_train * n_unlearn),
    )
