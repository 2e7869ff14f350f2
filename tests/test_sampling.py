"""REWEIGHT weights by hand, sampled frequencies, and orders that depend on their generator alone."""

import numpy as np
import pytest

from datasets.sampling import draw, reweight_weights


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
