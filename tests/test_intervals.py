"""Intervals against published values, tables of quantiles, and their own promise: how often they hold the truth."""

from statistics import stdev

import numpy as np
import pytest
from scipy.special import ndtr

from method.evaluation.intervals import auc_difference_interval, difference_interval, student_factor, student_interval
from method.evaluation.metrics import Undefined, wilson_interval


@pytest.mark.parametrize("n, quantile", [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262), (31, 2.042), (10**6, 1.960)])
def test_students_quantiles_are_those_of_tables(n: int, quantile: float):
    assert student_factor(n) * n**0.5 == pytest.approx(quantile, abs=5e-4)


def test_student_interval_by_hand():
    mean, low, high = student_interval(
        [1.0, 2.0, 6.0]
    )  # sd = sqrt((4 + 1 + 9) / 2) = 2.6458; 4.3027 / sqrt(3) = 2.4841
    assert (mean, low, high) == pytest.approx((3.0, 3.0 - 6.5725, 3.0 + 6.5725), abs=1e-3)
    assert student_interval([1.0, 2.0, 6.0], 0.99)[2] == pytest.approx(
        3.0 + 9.9248 / 3**0.5 * stdev([1, 2, 6]), abs=1e-3
    )


def test_one_value_has_no_ends_and_none_has_no_mean():
    assert student_interval([4.5]) == (4.5, None, None)
    assert student_factor(1) is student_factor(0) is None
    with pytest.raises(Undefined, match="no value"):
        student_interval([])


@pytest.mark.parametrize(
    "hits_a, n_a, hits_b, n_b, low, high",
    [  # Newcombe 1998, table II, method 10
        (56, 70, 48, 80, 5.24, 33.39),
        (9, 10, 3, 10, 17.05, 80.90),
        (5, 56, 0, 29, -3.81, 19.26),
        (10, 10, 0, 10, 60.75, 100.0),
    ],
)
def test_difference_interval_is_the_published_one(
    hits_a: int, n_a: int, hits_b: int, n_b: int, low: float, high: float
):
    difference, *ends = difference_interval(hits_a, n_a, hits_b, n_b)
    assert difference == pytest.approx(100 * (hits_a / n_a - hits_b / n_b))
    assert ends == pytest.approx([low, high], abs=0.006)


def test_difference_interval_is_turned_around_with_its_sides_and_wider_at_a_higher_level():
    difference, low, high = difference_interval(7, 20, 30, 40)
    assert difference_interval(30, 40, 7, 20) == pytest.approx((-difference, -high, -low))
    _, wider_low, wider_high = difference_interval(7, 20, 30, 40, 0.99)
    assert wider_low < low < high < wider_high


def test_difference_interval_of_no_sample_is_undefined():
    with pytest.raises(Undefined):
        difference_interval(0, 0, 1, 2)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """95 of 100 times: counted over samples drawn from known distributions (the error of a count is 1.5 points)."""
    chance = np.random.default_rng(0)
    held = [low <= 2.0 <= high for _, low, high in map(student_interval, chance.normal(2.0, 3.0, (1000, 4)).tolist())]
    assert 93 < 100 * np.mean(held) < 97
    pairs = chance.binomial((50, 80), (0.8, 0.6), (1000, 2)).tolist()
    ends = [difference_interval(a, 50, b, 80)[1:] for a, b in pairs]
    assert 93 < 100 * np.mean([low <= 20.0 <= high for low, high in ends]) < 97.5


def test_without_test_samples_of_the_other_the_width_is_wilsons():
    """With b known (10 million samples) what is left is a's own interval."""
    _, low, high = difference_interval(30, 40, 0, 10**7)
    assert (low, high) == pytest.approx(wilson_interval(30, 40), abs=0.01)


def test_auc_difference_interval_by_hand():
    """AUC 0.8 of 20 and 30 samples: Q1 = 0.8 / 1.2, Q2 = 1.28 / 1.8, so the variance is
    (0.16 + 19 * (0.66667 - 0.64) + 29 * (0.71111 - 0.64)) / 600 = 0.0045481; of 0.5 it is (0.25 + 48 / 12) / 600."""
    difference, low, high = auc_difference_interval(80.0, 50.0, 20, 30)
    half = 100 * 1.959964 * (0.0045481 + 4.25 / 600) ** 0.5
    assert (difference, low, high) == pytest.approx((30.0, 30.0 - half, 30.0 + half), abs=1e-2)
    assert auc_difference_interval(80.0, 50.0, 20, 30, 0.99)[1] < low


def test_auc_difference_interval_has_a_width_at_the_ends_and_none_without_samples():
    _, low, high = auc_difference_interval(100.0, 0.0, 20, 20)
    assert low < 100.0 < high
    with pytest.raises(Undefined):
        auc_difference_interval(50.0, 50.0, 20, 0)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_auc_difference_interval_holds_the_truth_about_as_often_as_it_says(shift: float):
    """Of normal scores, AUC Phi(shift / sqrt 2); samples of their own for either side."""
    chance = np.random.default_rng(1)
    truth = 100 * ndtr(shift / 2**0.5) - 50.0

    def auc(moved: float) -> float:
        inside, outside = chance.normal(moved, 1.0, 40), chance.normal(0.0, 1.0, 40)
        return 100 * float(np.mean(inside[:, None] > outside))

    found = [auc_difference_interval(auc(shift), auc(0.0), 40, 40) for _ in range(1000)]
    assert 93 < 100 * np.mean([low <= truth <= high for _, low, high in found]) < 97.5
