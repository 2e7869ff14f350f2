"""Intervals of one run, and of the differences between two: by hand, and how often they hold the truth."""

import dataclasses
import time

import numpy as np
import pytest
from test_metrics import NAMES, SMALL, Parts, binary_records, small_parts

from method.evaluation import uncertainty
from method.evaluation.bootstrap import Grouping, odds_contrasts
from method.evaluation.evaluator import evaluate
from method.evaluation.intervals import difference_interval, paired_limits
from method.evaluation.metrics import wilson_interval
from method.evaluation.records import Records
from method.evaluation.uncertainty import KEYS, compare, odds_ends, parity_ends, run_intervals, worst_ends


def drawn_records(accuracy: np.ndarray, n: int, seed: int, n_train: int = 6) -> tuple[Records, Parts]:
    """Test records of n samples a group, of which this share (2, 2) is right; and some of train, val and forget."""
    chance = np.random.default_rng(seed)
    rows = []
    for split, times in ((0, n_train), (1, 3), (2, n)):
        for group in range(4):
            target, sensitive = divmod(group, 2)
            right = chance.random(times) < accuracy[target, sensitive]
            rows += [(split, target, sensitive, target if one else 1 - target) for one in right]
    index = np.arange(len(rows))
    split = np.array(rows)[:, 0]
    train = index[split == 0]
    forget = train[2 * n_train : 3 * n_train - 2]
    parts = Parts(train, index[split == 1], index[split == 2], forget, np.setdiff1d(train, forget), (2,))
    return binary_records(rows), parts


CLEAR = np.array([[0.9, 0.8], [0.6, 0.85]])


def test_intervals_of_shares_are_wilsons_and_hold_the_values():
    found = evaluate(binary_records(SMALL), small_parts(), NAMES, 2, 2)
    intervals = found["intervals"]
    assert intervals["test_acc"] == list(wilson_interval(5, 8))
    assert intervals["forget_group_acc"] == list(wilson_interval(1, 3))
    assert intervals["forget_group_acc_weighted"] == pytest.approx(intervals["forget_group_acc"])
    assert intervals["forget_acc"] == list(wilson_interval(1, 2))
    assert set(intervals) == set(KEYS)
    assert all(low <= found[key] <= high for key, (low, high) in intervals.items())


def test_what_is_null_has_no_interval():
    found = evaluate(binary_records(SMALL), small_parts(test=np.array([7, 8, 9, 10])), NAMES, 2, 2)
    nulls = {key for key in KEYS if found[key] is None}
    assert {"forget_group_acc", "adjusted_acc", "equalized_odds"} <= nulls
    assert set(found["intervals"]) == set(KEYS) - nulls
    empty = evaluate(binary_records(SMALL), small_parts(test=np.array([], dtype=np.int64)), NAMES, 2, 2)
    assert set(empty["intervals"]) == {"retain_acc", "forget_acc", "val_acc"}
    pretrain = small_parts(forget=np.array([], dtype=np.int64), retain=np.arange(5), forget_groups=())
    found = evaluate(binary_records(SMALL), pretrain, NAMES, 2, 2)
    kept = {"train_acc", "val_acc", "test_acc", "mean_group_acc", "adjusted_acc", "worst_group_acc"}
    assert set(found["intervals"]) == kept | {"equalized_odds_full", "demographic_parity"}
    assert set(found["intervals"]) <= set(found)


def test_the_pairs_that_differ_most_and_the_mean_over_groups_by_hand():
    """Right: 2 of 2, 1 of 2, 1 of 3, 1 of 1. Predicted as 1: of value 0 one of five, of value 1 two of three."""
    found = evaluate(binary_records(SMALL), small_parts(), NAMES, 2, 2)
    assert found["equalized_odds_pair"] == ["waterbird on water", "waterbird on land"]
    assert found["demographic_parity_pair"] == ["landbird on land", "landbird on water"]
    assert found["mean_group_acc"] == pytest.approx((100 + 50 + 100 / 3 + 100) / 4)
    one_value = evaluate(binary_records(SMALL), small_parts(test=np.array([7, 8, 11])), NAMES, 2, 2)
    assert one_value["equalized_odds_pair"] is one_value["demographic_parity_pair"] is None
    assert "two sensitive values" in one_value["reasons"]["equalized_odds_pair"]


def test_the_pair_of_odds_is_within_one_target():
    """Between targets the difference is larger."""
    records, parts = drawn_records(np.array([[1.0, 0.9], [0.0, 0.3]]), 200, 0)
    assert evaluate(records, parts, NAMES, 2, 2)["equalized_odds_pair"] == ["waterbird on water", "waterbird on land"]


def test_one_difference_is_newcombes_interval_folded_at_zero():
    """With the other target all right and endless, EO is half of one difference."""
    n, right = np.array([[10**9, 10**9], [40, 60]]), np.array([[10**9, 10**9], [30, 33]])
    contrasts = odds_contrasts(Grouping(n, ((1, 0),)))
    assert contrasts is not None
    low, high = odds_ends(right, n, contrasts)
    assert (2 * low, 2 * high) == pytest.approx(difference_interval(30, 40, 33, 60)[1:], abs=1e-4)
    right[1] = 33, 30  # the other way around, and near a tie
    right[1] = 24, 37
    low, high = odds_ends(right, n, contrasts)
    assert low == 0.0
    assert 2 * high == pytest.approx(difference_interval(37, 60, 24, 40)[2], abs=1e-4)


def test_parity_of_two_values_and_classes_is_newcombes_interval():
    """One target, so that no group lies within another."""
    counts, n = np.array([[[10, 30], [27, 33]]]), np.array([[40, 60]])
    assert parity_ends(counts, n) == pytest.approx(difference_interval(30, 40, 33, 60)[1:])
    assert parity_ends(counts[:, ::-1], n[:, ::-1]) == pytest.approx(difference_interval(30, 40, 33, 60)[1:])


def test_the_worst_group_alone_is_wilsons_and_among_ties_any_of_them():
    n = np.full((2, 2), 100)
    assert worst_ends(np.array([[95, 96], [20, 97]]), n) == pytest.approx(wilson_interval(20, 100))
    low, high = worst_ends(np.array([[80, 81], [82, 83]]), n)
    assert low == pytest.approx(wilson_interval(80, 100)[0])
    assert high > wilson_interval(80, 100)[1], "four at once"
    few = worst_ends(np.array([[80, 3], [0, 0]]), np.array([[100, 3], [0, 0]]))
    assert few[0] == pytest.approx(wilson_interval(3, 3)[0]), "three samples may hide a worse group"


@pytest.mark.parametrize("truth", [CLEAR, np.array([[0.9, 0.8], [0.6, 0.7]])])
def test_intervals_of_a_run_hold_the_truth_about_as_often_as_they_say(truth: np.ndarray):
    """500 test sets of 100 samples a group; the error of a count is a point."""
    records, parts = drawn_records(truth, 100, 0)
    grouping = Grouping(np.full((2, 2), 100), ((2, 0),))
    weights = uncertainty.weights_of(records, parts, grouping)["forget_group_acc_weighted"]
    odds = 50 * float(np.abs(truth[:, 0] - truth[:, 1]).sum())
    predicted = np.array([1 - truth[0], truth[1]]).mean(axis=0)
    held = dict.fromkeys(("odds", "parity", "worst", "weighted"), 0)
    chance, contrasts = np.random.default_rng(3), odds_contrasts(grouping)
    assert contrasts is not None
    for _ in range(500):
        right = chance.binomial(100, truth)
        counts = np.stack([[right[0], 100 - right[0]], [100 - right[1], right[1]]]).transpose(0, 2, 1)
        ends = (
            (odds, odds_ends(right, grouping.n, contrasts)),
            (100 * float(np.ptp(predicted)), parity_ends(counts, grouping.n)),
            (100 * float(truth.min()), worst_ends(right, grouping.n)),
            (100 * float((weights * truth).sum()), uncertainty.weighted_ends(right, grouping.n, weights)),
        )
        for name, (value, (low, high)) in zip(held, ends, strict=True):
            held[name] += low <= value <= high
    assert all(460 < times < 495 for times in held.values()), held


def test_differences_are_those_of_the_metrics_and_turn_around():
    (a, parts), (b, _) = drawn_records(CLEAR, 50, 1), drawn_records(CLEAR.T, 50, 2)
    found, reasons = compare(a, b, parts, 2, 2)
    values = [evaluate(one, parts, NAMES, 2, 2) for one in (a, b)]
    assert reasons == {}
    assert set(found) == set(KEYS)
    for key, (difference, low, high) in found.items():
        assert difference == pytest.approx(values[0][key] - values[1][key]), key
        assert low <= difference <= high, key
    turned, _ = compare(b, a, parts, 2, 2)
    for key in (*uncertainty.SHARES, *uncertainty.WEIGHTED):
        difference, low, high = turned[key]
        assert found[key] == pytest.approx((-difference, -high, -low)), key


def test_the_difference_of_an_accuracy_is_tangos():
    (a, parts), (b, _) = drawn_records(CLEAR, 50, 1), drawn_records(CLEAR.T, 50, 2)
    right_a, right_b = (one.select(parts.test).correct for one in (a, b))
    ends = paired_limits(np.sum(right_a & ~right_b), np.sum(right_b & ~right_a), np.int64(200))
    assert compare(a, b, parts, 2, 2)[0]["test_acc"][1:] == pytest.approx(ends)


def test_a_run_does_not_differ_from_itself_by_more_than_its_images_allow():
    a, parts = drawn_records(CLEAR, 50, 1)
    found, _ = compare(a, a, parts, 2, 2)
    drawn = {key: one for key, one in found.items() if key in ("equalized_odds", "demographic_parity")}
    assert set(drawn.values()) == {(0.0, 0.0, 0.0)}
    assert found["test_acc"].low == pytest.approx(-found["test_acc"].high)
    assert 1 < found["test_acc"].high < 3


def test_runs_without_records_or_of_other_samples_have_the_reason():
    a, parts = drawn_records(CLEAR, 50, 1)
    found, reasons = compare(a, None, parts, 2, 2)
    assert found == {}
    assert reasons == dict.fromkeys(KEYS, uncertainty.NO_RECORDS)
    fewer = a.select(parts.test[1:])
    assert compare(a, fewer, parts, 2, 2) == ({}, dict.fromkeys(KEYS, uncertainty.OTHER_SAMPLES))
    other = dataclasses.replace(a, group=a.group[::-1].copy())
    assert compare(a, other, parts, 2, 2)[1] == dict.fromkeys(KEYS, uncertainty.OTHER_SAMPLES)


def test_a_run_in_bf16_is_compared_in_fp32_with_one_that_is_not():
    a, parts = drawn_records(CLEAR, 50, 1)
    wrong = np.flip(a.logits, axis=1)
    twice = dataclasses.replace(a, bf16_logits=wrong.astype(np.float32), bf16_loss=np.ones(len(a)))
    assert compare(twice, a, parts, 2, 2)[0]["test_acc"].difference == 0
    both = compare(twice, dataclasses.replace(twice, bf16_logits=a.logits), parts, 2, 2)[0]
    assert both["test_acc"].difference == pytest.approx(100 - 2 * 100 * a.select(parts.test).correct.mean())
    assert both["forget_group_acc"].difference == 0, "EO and GA are of the pass in fp32"


def test_twenty_thousand_test_samples_take_less_than_two_seconds():
    """Of the processor; both, all metrics and 2,000 draws. docs/results.md has what was measured."""
    (a, parts), (b, _) = drawn_records(CLEAR, 5000, 1), drawn_records(CLEAR.T, 5000, 2)
    start = time.process_time()
    assert set(run_intervals(a, parts, 2, 2)) == set(KEYS) == set(compare(a, b, parts, 2, 2)[0])
    assert time.process_time() - start < 2
