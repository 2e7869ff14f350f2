"""Forgetting quality, KLoM and IAM: against values by hand, and against slow loops that share nothing with them."""

import math

import numpy as np
import pytest
from scipy.stats import entropy, gumbel_r

from method.evaluation.forgetting_quality import (
    DELTA,
    LARGEST,
    SKIPPED,
    epsilon_table,
    epsilons,
    forgetting_points,
)
from method.evaluation.halves import measure_halved
from method.evaluation.interpolated import membership_scores, scale_signal
from method.evaluation.margins import margin_divergences
from method.evaluation.metrics import Undefined


def columns(*samples: list[float]) -> np.ndarray:
    """Models by samples, from the models' numbers for each sample."""
    return np.array(samples, dtype=np.float64).T


def epsilon(unlearned: list[float], retrained: list[float]) -> float:
    """Of one sample."""
    return float(epsilons(columns(unlearned), columns(retrained))[0])


def ratio(false: float, missed: float) -> float:
    """ln of (1 - delta - one rate) / the other."""
    return math.log((1 - DELTA - false) / missed)


N_SLOW = 10
UP_TO_7 = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_epsilon_of_counted_errors():
    table = epsilon_table(8)
    assert table[0, 0] == LARGEST
    assert table[0, 3] == table[3, 0] == table[8, 8] == SKIPPED
    assert table[1, 1] == pytest.approx(ratio(1 / 8, 1 / 8))
    assert table[1, 3] == table[3, 1] == pytest.approx(ratio(3 / 8, 1 / 8))
    assert table[4, 6] == 0  # worse than guessing


def test_shifted_by_half_their_range():
    # A threshold between 4 and 5, or 6 and 7, has one error of one kind and three of the other; no pair is better.
    assert epsilon(UP_TO_7, [4 + one for one in UP_TO_7]) == pytest.approx(ratio(3 / 8, 1 / 8))


def test_ties_are_on_one_side_of_a_threshold():
    # Of the only threshold: four of the unlearned and two of the retrained are on the wrong side.
    assert epsilon([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1]) == pytest.approx(ratio(4 / 8, 2 / 8))


def test_a_narrow_distribution_within_a_wide_one_takes_two_thresholds():
    wide = [-9.0, -8.0, -7.0, 0.25, 0.35, 7.0, 8.0, 9.0]
    narrow = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 2.0]
    # From below 0 to above 0.6, and not up to 2: one of the narrow is outside, two of the wide are inside.
    assert epsilon(narrow, wide) == pytest.approx(ratio(2 / 8, 1 / 8))
    assert epsilon(wide, narrow) == pytest.approx(ratio(2 / 8, 1 / 8))


@pytest.mark.parametrize(
    "unlearned, retrained, expected",
    [
        (UP_TO_7, [20 + one for one in UP_TO_7], LARGEST),  # apart
        ([100 * one for one in UP_TO_7], [350 + 0.5 * one for one in UP_TO_7], LARGEST),  # ranges of 700 and 3.5
        ([2.0] * 8, UP_TO_7, LARGEST),  # one value against many
        ([2.0] * 8, [3.0] * 8, LARGEST),  # one value each, apart
        ([2.0] * 8, [2.0] * 8, 0.0),  # one value, the same: no threshold is left
        (UP_TO_7, UP_TO_7[::-1], 0.0),  # the same
    ],
)
def test_edges(unlearned: list[float], retrained: list[float], expected: float):
    assert epsilon(unlearned, retrained) == expected


def test_points_halve_with_every_half_of_epsilon():
    unlearned, retrained = columns(UP_TO_7, UP_TO_7, UP_TO_7), columns(UP_TO_7, [4 + one for one in UP_TO_7], [90] * 8)
    assert forgetting_points(unlearned, retrained) == pytest.approx([1, 2.0**-3, 2.0**-100])


def test_few_models_are_refused():
    with pytest.raises(Undefined, match="7 models of either kind, expected 8"):
        epsilons(np.zeros((7, 2)), np.zeros((7, 2)))
    with pytest.raises(ValueError, match="as many models"):
        epsilons(np.zeros((8, 2)), np.zeros((9, 2)))


def slow_epsilon(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """Every threshold of the challenge's grids in turn, of one sample."""
    n = len(unlearned)
    positive, negative = retrained, unlearned
    if not np.median(retrained) > np.median(unlearned):
        positive, negative = unlearned, retrained
    spans = [max(one) - min(one) for one in (positive, negative)]
    if max(spans) and min(spans) / max(spans) < 0.01:
        return 50.0
    rules = []
    low, high = min(*positive, *negative), max(*positive, *negative)
    for threshold in np.linspace(low, high, math.ceil((high - low) * 100)):
        rules.append((np.sum(negative >= threshold), np.sum(positive < threshold)))
    narrow, wide = (positive, negative) if spans[0] < spans[1] else (negative, positive)
    width = min(spans)
    for right in np.linspace(min(narrow) + width - 2, max(narrow) + 2, 400):
        left = np.linspace(right - width - 2, right - width + 2, 400)[:, None]
        inside = [((left <= one) & (one <= right)).sum(axis=1) for one in (wide, narrow)]
        rules += list(zip(inside[0], n - inside[1], strict=True))
    best = 0.0
    for false, missed in set(rules):
        if false == 0 and missed == 0:
            best = 50.0
        elif false and missed:
            for one, other in ((false, missed), (missed, false)):
                if 1 - 1e-5 - one / n > 0:
                    best = max(best, math.log(1 - 1e-5 - one / n) - math.log(other / n))
    return min(best, 50.0)


@pytest.mark.parametrize("n_models, decimals", [(8, 1), (17, 9)])
def test_the_same_as_one_threshold_after_the_other(n_models: int, decimals: int):
    draw = np.random.default_rng(n_models)
    shift, scale = draw.uniform(-3, 3, N_SLOW), draw.uniform(0.2, 5, N_SLOW)
    # An odd step keeps rounded values, and so ties, off the grid of the thresholds.
    unlearned, retrained = (
        np.round(one, decimals) * 1.0137
        for one in (draw.normal(shift, scale, (n_models, N_SLOW)), draw.normal(0, 1.5, (n_models, N_SLOW)))
    )
    slow = [slow_epsilon(own, other) for own, other in zip(unlearned.T, retrained.T, strict=True)]
    assert len({round(one, 6) for one in slow}) > 3
    assert epsilons(unlearned, retrained) == pytest.approx(slow, abs=1e-9)


def test_samples_do_not_depend_on_each_other():
    draw = np.random.default_rng(0)
    unlearned, retrained = draw.normal(size=(8, 5000)), draw.normal(0.5, 1, (8, 5000))
    found = epsilons(unlearned, retrained)
    rows = [0, 2047, 2048, 4999]
    assert np.array_equal(found[rows], epsilons(unlearned[:, rows], retrained[:, rows]))
    assert found[found < LARGEST].max() <= np.log(8 - 1)


def test_divergence_of_margins_by_hand():
    near, far = [0.0] * 8, [1.0] * 8
    unlearned, retrained = columns(near, near, near), columns(near, near[:4] + far[:4], far)
    expected = [0, math.log(2), math.log((1 + 1e-5) / 1e-5)]
    assert margin_divergences(unlearned, retrained) == pytest.approx(expected, abs=1e-12)
    # Beyond 100 all margins are alike.
    assert margin_divergences(columns([500.0] * 8), columns([100.0] * 8)) == pytest.approx([0], abs=1e-12)


def test_divergence_of_margins_as_from_histograms():
    draw = np.random.default_rng(0)
    unlearned, retrained = draw.normal(size=(16, 40)), draw.normal(0.7, 2, (24, 40))
    for own, other, found in zip(unlearned.T, retrained.T, margin_divergences(unlearned, retrained), strict=True):
        ends = min(*own, *other), max(*own, *other)
        p, q = (np.histogram(one, 20, ends)[0] / len(one) for one in (own, other))
        assert found == pytest.approx(entropy(p, np.where(p > 0, np.maximum(q, 1e-5), q)), abs=1e-12)


def test_both_sides_of_a_floor_have_as_many_models_and_share_none():
    seen = []

    def distance(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        seen.append((own[:, 0].tolist(), other[:, 0].tolist()))
        return np.abs(own.mean(axis=0) - other.mean(axis=0))

    unlearned, retrained = 1000 + np.arange(12.0)[:, None], np.arange(17.0)[:, None]
    found = measure_halved(unlearned, retrained, distance, n_halvings=3)
    assert found.n_models == 8
    assert len(seen) == 9
    assert all(len(set(own)) == len(set(other)) == 8 and not {*own} & {*other} for own, other in seen)
    assert all(min(own) < 17 for own, _ in seen[2::3])
    assert 980 < found.distance[0] < 1010
    assert found.floor[0] < 17
    assert measure_halved(unlearned[:5], retrained, distance).n_models == 5


def test_membership_as_from_the_distributions():
    draw = np.random.default_rng(0)
    original, shadow, asked = (draw.uniform(0, 1, 50) for _ in range(3))
    ends = [-math.log(0.01 - math.log(1e-5 + p)) for p in (0, 1)]
    signals = [
        [(-math.log(0.01 - math.log(1e-5 + p)) - ends[0]) / (ends[1] - ends[0]) for p in one]
        for one in (original, shadow, asked)
    ]
    total, weights = np.zeros(50), 0.0
    for place in range(99):
        means = [low + (high - low) * place / 99 for high, low in zip(*signals[:2], strict=True)]
        scale = np.std(means) * math.sqrt(6) / math.pi
        total += (place + 1) / 99 * gumbel_r.cdf(signals[2], np.array(means) - 0.5772156649 * scale, scale)
        weights += (place + 1) / 99
    assert membership_scores(original, shadow, asked) == pytest.approx(total / weights, abs=1e-9)


def test_membership_grows_from_the_shadow_to_the_original():
    original, shadow = np.array([0.99, 0.95, 0.9]), np.array([0.2, 0.4, 0.3])
    steps = [membership_scores(original, shadow, shadow + share * (original - shadow)) for share in (0, 0.5, 1)]
    assert (np.diff(steps, axis=0) > 0).all()
    assert scale_signal(np.array([0.0, 1.0])) == pytest.approx([0, 1])
    assert membership_scores(np.ones(3), np.zeros(3), np.ones(3)) == pytest.approx([1, 1, 1])  # no width: steps
