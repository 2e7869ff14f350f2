"""Weights by hand, sampled frequencies, subsampling, and orders that depend on their generator alone."""

import numpy as np
import pytest

from datasets.sampling import draw, group_balanced_weights, reweight_weights, subsample


def test_weights_by_hand():
    train = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 3])
    retain = np.array([2, 0, 0, 1, 2, 3, 2])
    weights, lost = reweight_weights(retain, train)
    assert weights.dtype == np.float64
    assert weights.tolist() == [1, 2, 2, 2, 1, 1, 1]
    assert lost == []


def test_group_that_retain_lost_is_named_and_absent_groups_are_not():
    train = np.array([0, 0, 3, 3, 5])
    retain = np.array([0, 3])
    weights, lost = reweight_weights(retain, train)
    assert weights.tolist() == [2, 2]
    assert lost == [5]


def test_weights_sum_to_train_group_by_group():
    train = np.repeat([0, 1, 2, 3], [50, 20, 30, 7])
    retain = np.repeat([0, 1, 2, 3], [50, 2, 11, 7])
    weights, _ = reweight_weights(retain, train)
    assert np.bincount(retain, weights=weights) == pytest.approx(np.bincount(train))


def test_sampled_frequencies_are_those_of_train():
    train = np.repeat([0, 1, 2, 3], [5000, 2000, 3000, 100])
    retain = np.repeat([0, 1, 2, 3], [5000, 200, 3000, 10])
    weights, _ = reweight_weights(retain, train)
    generator = np.random.default_rng(0)
    indices = np.arange(len(retain))
    drawn = np.concatenate([draw(indices, weights, generator) for _ in range(20)])
    assert len(drawn) == 20 * len(retain)
    expected = np.bincount(train) / len(train)
    sampled = np.bincount(retain[drawn]) / len(drawn)
    error = np.sqrt(expected * (1 - expected) / len(drawn))
    assert (np.abs(sampled - expected) < 4 * error).all()
    # Within a group every sample is as likely as another: 10 samples share group 3.
    within = np.bincount(drawn[retain[drawn] == 3] - 8200, minlength=10)
    assert within.min() > within.mean() - 4 * np.sqrt(within.mean())
    # Without the weights the same test fails by far.
    assert abs(np.mean(retain == 1) - expected[1]) > 100 * error[1]


def test_unweighted_order_is_a_permutation():
    indices = np.arange(10, 60)
    drawn = draw(indices, None, np.random.default_rng(3))
    assert sorted(drawn.tolist()) == indices.tolist()
    assert drawn.tolist() != indices.tolist()


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 51.0)])
def test_order_is_a_function_of_the_generator(weights):
    indices = np.arange(50)
    state = np.random.get_state()[1].copy()
    first, second, other = (draw(indices, weights, np.random.default_rng(seed)).tolist() for seed in (1, 1, 2))
    assert first == second != other
    assert (np.random.get_state()[1] == state).all()


def test_group_balanced_draws_give_every_group_that_is_present_the_same_share():
    groups = np.repeat([0, 2, 5], [600, 30, 2])
    weights = group_balanced_weights(groups)
    assert weights.tolist() == [1 / 600] * 600 + [1 / 30] * 30 + [1 / 2] * 2
    generator = np.random.default_rng(0)
    drawn = np.concatenate([draw(np.arange(632), weights, generator) for _ in range(20)])
    shares = np.bincount(groups[drawn], minlength=6) / len(drawn)
    assert shares[[1, 3, 4]].tolist() == [0, 0, 0]
    assert np.abs(shares[[0, 2, 5]] - 1 / 3).max() < 4 * np.sqrt(2 / 9 / len(drawn))


def test_a_subsample_has_as_many_of_every_group_as_the_smallest_that_is_present():
    indices, groups = np.arange(100, 140), np.repeat([4, 0, 3], [20, 13, 7])
    chosen = subsample(indices, groups, np.random.default_rng(0))
    assert len(set(chosen)) == len(chosen) == 21
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(groups[chosen - 100]).tolist() == [7, 0, 0, 7, 7]
    again, other = (subsample(indices, groups, np.random.default_rng(seed)).tolist() for seed in (0, 1))
    assert again == chosen.tolist() != other
    # Every member of a group is as likely as another.
    times = np.zeros(20)
    for seed in range(2000):
        drawn = subsample(indices, groups, np.random.default_rng(seed)) - 100
        times[drawn[drawn < 20]] += 1
    assert np.abs(times / 2000 - 7 / 20).max() < 4 * np.sqrt(0.35 * 0.65 / 2000)
