"""Intervals against published values, tables of quantiles, and their own promise: how often they hold the truth."""

import re
from statistics import stdev

import numpy as np
import pytest
import scipy.stats
from cli import ROOT
from scipy.special import ndtr

from method.evaluation.intervals import (
    add_squares,
    auc_difference_interval,
    difference_interval,
    holm,
    paired_limits,
    paired_p,
    student_factor,
    student_interval,
)
from method.evaluation.metrics import Undefined, wilson_interval, wilson_limits
from method.evaluation.variance import nested_variance


@pytest.mark.parametrize("n, quantile", [(2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262), (31, 2.042), (10**6, 1.960)])
def test_students_quantiles_are_those_of_tables(n: int, quantile: float):
    assert student_factor(n) * n**0.5 == pytest.approx(quantile, abs=5e-4)


def test_what_n_seeds_can_show_is_told_as_it_is():
    """The table of docs/results.md: half widths, and the difference that four studies of five show."""
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) sd \| ([\d.]+) sd \|$", (ROOT / "docs/results.md").read_text(), re.M)
    assert [int(n) for n, _, _ in rows] == [2, 3, 5, 10, 20]
    for n, half, shows in ((int(n), float(half), float(shows)) for n, half, shows in rows):
        assert student_factor(n) == pytest.approx(half, abs=0.0051)
        far = scipy.stats.nct.cdf(student_factor(n) * n**0.5, n - 1, shows * n**0.5)
        assert 1 - far == pytest.approx(0.8, abs=0.015)


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


@pytest.mark.parametrize(
    "only_a, only_b, n, low, high",
    [
        (1, 7, 21, -51.7, -2.6),  # Fagerland, Lydersen and Laake 2014, of Bentur 2009
        (40, 20, 160, 3.086, 21.806),  # the example of PropCIs' scoreci.mp
        (0, 0, 30, -11.351, 11.351),  # z^2 / (n + z^2), as Wilson's of 0 of 30
        (30, 0, 30, 77.297, 100.0),
    ],
)
def test_paired_limits_are_the_published_ones(only_a: int, only_b: int, n: int, low: float, high: float):
    ends = paired_limits(*map(np.array, (only_a, only_b, n)))
    assert ends == pytest.approx((low, high), abs=0.05 if n == 21 else 6e-4)


def test_paired_limits_are_turned_around_with_their_sides():
    only_a, only_b, n = np.array([3, 0, 17]), np.array([9, 4, 17]), np.array([40, 12, 100])
    low, high = paired_limits(only_a, only_b, n)
    assert paired_limits(only_b, only_a, n) == (pytest.approx(-high), pytest.approx(-low))
    wider_low, wider_high = paired_limits(only_a, only_b, n, 0.99)
    assert ((wider_low < low) & (low < high) & (high < wider_high)).all()


def test_squares_of_two_wilson_intervals_are_newcombes():
    hits, n = np.array([56, 48]), np.array([70, 80])
    low, high = wilson_limits(hits, n)
    ends = add_squares(100.0 * hits / n, low, high, np.array([1.0, -1.0]))
    assert ends == pytest.approx(difference_interval(56, 70, 48, 80)[1:])


def test_squares_of_one_value_are_its_own_ends_and_those_of_a_mean_are_narrower():
    estimate, low, high = np.array([50.0, 50.0]), np.array([40.0, 40.0]), np.array([70.0, 70.0])
    assert add_squares(estimate, low, high, np.array([1.0, 0.0])) == pytest.approx((40.0, 70.0))
    assert add_squares(estimate, low, high, np.array([0.5, 0.5])) == pytest.approx((50 - 50**0.5, 50 + 200**0.5))


def test_p_value_is_that_of_the_paired_t_test():
    differences = [1.2, -0.3, 2.2, 0.8, 1.9]
    assert paired_p(differences) == pytest.approx(scipy.stats.ttest_1samp(differences, 0).pvalue)
    assert paired_p([1.0]) is paired_p([]) is paired_p([2.0, 2.0]) is None


def test_holm_by_hand_and_in_the_order_given():
    """In order 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04, which cannot be below the one before."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_nested_variance_by_hand():
    """Means 2 and 6 of three each: MSB = 3 * 8 = 24, MSW = (2 + 8) / 4 = 2.5, train = 21.5 / 3."""
    found = nested_variance([[1, 2, 3], [4, 6, 8]])
    assert (found.mean, found.unlearn, found.train) == pytest.approx((4.0, 2.5, 21.5 / 3))
    assert found.of_mean == pytest.approx(found.train / 2 + found.unlearn / 6)
    half = 12.706 * 2.0  # one degree of freedom; the mean's standard error is sqrt(4)
    assert found.mean_ends == pytest.approx((4 - half, 4 + half), abs=1e-2)
    assert found.unlearn_ends == pytest.approx((10 / 11.1433, 10 / 0.484419), abs=1e-3)  # chi-squared, 4 degrees
    # 24 / 2.5 is below the upper quantile of F, 12.218, and above the lower one, 1 / 899.58.
    assert found.train_ends == pytest.approx((0.0, (24 - 2.5 / 899.58) / 3 / 0.000982069), rel=1e-3)


def test_nested_variance_below_zero_is_zero():
    found = nested_variance([[1, 5], [5, 1.5]])
    assert found.train == 0.0 == found.train_ends[0]
    assert found.of_mean == pytest.approx(np.var([3, 3.25], ddof=1) / 2)


@pytest.mark.parametrize("values", [[], [[1, 2]], [[1], [2]], [[1, 2], [3, 4, 5]]])
def test_nested_variance_needs_a_balanced_design(values: list[list[float]]):
    with pytest.raises(Undefined, match="as many unlearning seeds"):
        nested_variance(values)


@pytest.mark.parametrize("train", [0.0, 0.5, 2.0])
def test_parts_of_a_nested_variance_hold_the_truth_as_often_as_they_say(train: float):
    """Ten training seeds by five; the error of a count is 0.7 points. Williams's holds a part near 0 in 97.5 of 100."""
    chance = np.random.default_rng(1)
    held = np.zeros(3)
    for _ in range(1000):
        found = nested_variance(chance.normal(0, train, (10, 1)) + chance.normal(0, 1, (10, 5)))
        parts = zip((found.mean_ends, found.train_ends, found.unlearn_ends), (0.0, train**2, 1.0), strict=True)
        held += [low <= truth <= high for (low, high), truth in parts]
    assert ((held > 930) & (held < (970, 990, 970))).all(), held


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
