"""Known answers for the published columns, and the edge cases where a metric is null with its reason."""

import ast
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli import ok
from scipy.special import rel_entr, softmax
from scipy.stats import entropy, ks_2samp

from datasets.splits import load_splits
from method.evaluation import forgetting, metrics
from method.evaluation.evaluator import (
    BALANCED_KEYS,
    COMPARED_KEYS,
    GROUP_AWARE_KEYS,
    NO_OUTPUTS,
    OUTPUT_KEYS,
    add_reference,
    compare_outputs,
    compare_saved_outputs,
    evaluate,
)
from method.evaluation.exposure import NO_ORIGINAL, ORIGINAL_KEYS
from method.evaluation.records import Records
from method.runs.recompute import GONE, recompute
from utils.errors import RunError, UserError

NAMES = ("landbird on land", "landbird on water", "waterbird on land", "waterbird on water")
EMPTY = np.array([], dtype=np.int64)


@dataclass
class Parts:
    """A stand-in for datasets.splits.Splits."""

    train: np.ndarray = field(default_factory=lambda: EMPTY)
    val: np.ndarray = field(default_factory=lambda: EMPTY)
    test: np.ndarray = field(default_factory=lambda: EMPTY)
    forget: np.ndarray = field(default_factory=lambda: EMPTY)
    retain: np.ndarray = field(default_factory=lambda: EMPTY)
    forget_groups: tuple[int, ...] = ()
    left_out: np.ndarray = field(default_factory=lambda: EMPTY)


def bools(text: str) -> np.ndarray:
    return np.array([character == "1" for character in text])


def binary_records(rows: list[tuple[int, int, int, int]]) -> Records:
    """Records from (split, target, sensitive, prediction), with a margin of 2 for the prediction."""
    split, target, sensitive, prediction = np.array(rows).T
    logits = 2.0 * np.eye(2)[prediction]
    return Records.from_logits(np.arange(len(rows)), split, target, sensitive, 2 * target + sensitive, logits)


# index:       split, target, sensitive, prediction
SMALL = [
    (0, 0, 0, 0),  # 0 retain
    (0, 0, 1, 1),  # 1 retain, wrong
    (0, 1, 1, 1),  # 2 retain
    (0, 1, 0, 1),  # 3 forget
    (0, 1, 0, 0),  # 4 forget, wrong
    (1, 0, 0, 0),  # 5 val
    (1, 1, 1, 0),  # 6 val, wrong
    (2, 0, 0, 0),  # 7 test (0,0)
    (2, 0, 0, 0),  # 8 test (0,0)
    (2, 0, 1, 0),  # 9 test (0,1)
    (2, 0, 1, 1),  # 10 test (0,1), wrong
    (2, 1, 0, 0),  # 11 test (1,0), wrong
    (2, 1, 0, 0),  # 12 test (1,0), wrong
    (2, 1, 0, 1),  # 13 test (1,0)
    (2, 1, 1, 1),  # 14 test (1,1)
]


def small_parts(**changed: object) -> Parts:
    parts = Parts(
        train=np.arange(5),
        val=np.array([5, 6]),
        test=np.arange(7, 15),
        forget=np.array([3, 4]),
        retain=np.array([0, 1, 2]),
        forget_groups=(2,),
    )
    for name, value in changed.items():
        setattr(parts, name, value)
    return parts


def test_columns_of_a_small_run_by_hand() -> None:
    found = evaluate(binary_records(SMALL), small_parts(), NAMES, 2, 2)
    assert found["retain_acc"] == pytest.approx(200 / 3)
    assert found["forget_acc"] == 50.0
    assert found["val_acc"] == 50.0
    assert found["test_acc"] == 62.5
    assert found["forget_group_acc"] == pytest.approx(100 / 3)
    # y = 0: |100 - 50|, y = 1: |33.3 - 100|.
    assert found["equalized_odds"] == pytest.approx((50 + 200 / 3) / 2)
    assert (found["worst_group"], found["worst_group_n"]) == ("waterbird on land", 3)
    assert found["worst_group_acc"] == pytest.approx(100 / 3)
    assert [found[f"n_{name}"] for name in ("retain", "forget", "val", "test")] == [3, 2, 2, 8]
    assert found["forget_group_names"] == ["waterbird on land"]
    assert found["mia_baseline"] == 40.0
    assert found["schema"] == 2
    # D holds 1, 1, 2 and 1 samples of the groups, whose test accuracies are 100, 50, 33.3 and 100.
    assert found["adjusted_acc"] == pytest.approx((100 + 50 + 2 * 100 / 3 + 100) / 5)
    assert found["equalized_odds_full"] == pytest.approx((50 + 200 / 3) / 2)
    assert found["equalized_odds_full_skipped"] == 0
    # Predicted high: of land 1 in 5 test samples, of water 2 in 3.
    assert found["demographic_parity"] == pytest.approx(100 * (2 / 3 - 1 / 5))
    too_few = "the forget set has 2 samples, and the attack needs 20"
    pairs = (
        "the attack needs 20 pairs of a member and a non-member of the same group, and val and test have samples for 3"
    )
    assert found["reasons"] == {
        **dict.fromkeys((*BALANCED_KEYS, *GROUP_AWARE_KEYS), too_few),
        "mia_retain_auc": pairs,
    }
    assert all(found[key] is None for key in found["reasons"])
    json.dumps(found, allow_nan=False)


def test_forget_group_accuracy_of_several_groups_is_over_their_samples() -> None:
    """(0, 1) has 1 of 2 test samples right and (1, 0) 1 of 3: 2 of 5, not the mean of the two accuracies."""
    found = evaluate(binary_records(SMALL), small_parts(forget_groups=(1, 2)), NAMES, 2, 2)
    assert found["forget_group_acc"] == pytest.approx(40.0)
    assert found["forget_group_names"] == ["landbird on water", "waterbird on land"]


def test_composition_and_weighted_accuracy_of_what_is_forgotten_by_hand() -> None:
    """Forgotten: two of (0,1), one of (1,0); their test accuracies are 50 and 33.3."""
    rows = [(0, 0, 1, 1), *SMALL]
    parts = Parts(
        train=np.arange(6),
        val=np.array([6, 7]),
        test=np.arange(8, 16),
        forget=np.array([0, 2, 4]),
        retain=np.array([1, 3, 5]),
        forget_groups=(1, 2),
    )
    found = evaluate(binary_records(rows), parts, NAMES, 2, 2)
    assert found["forget_group_acc_weighted"] == pytest.approx((2 * 50 + 100 / 3) / 3)
    assert found["forget_group_acc"] == 40.0, "2 of 5 test samples"
    assert found["forget_composition"] == [
        {"name": "landbird on water", "n_forget": 2, "n_train": 2, "test_acc": 50.0, "n_test": 2},
        {"name": "waterbird on land", "n_forget": 1, "n_train": 2, "test_acc": pytest.approx(100 / 3), "n_test": 3},
    ]


def test_a_forget_group_without_test_samples_has_no_weighted_accuracy() -> None:
    parts = small_parts(test=np.array([7, 8, 9, 10, 14]))
    found = evaluate(binary_records(SMALL), parts, NAMES, 2, 2)
    assert found["forget_group_acc_weighted"] is None
    assert found["reasons"]["forget_group_acc_weighted"] == "there is no test sample of waterbird on land"
    row = {"name": "waterbird on land", "n_forget": 2, "n_train": 2, "test_acc": None, "n_test": 0}
    assert found["forget_composition"] == [row]


def test_a_forget_group_of_which_nothing_is_forgotten_has_no_weight() -> None:
    """A small ratio of several groups need not reach all of them."""
    parts = small_parts(forget_groups=(1, 2), test=np.array([7, 8, 11, 12, 13, 14]))
    found = evaluate(binary_records(SMALL), parts, NAMES, 2, 2)
    assert found["forget_group_acc_weighted"] == pytest.approx(100 / 3)
    assert [row["n_forget"] for row in found["forget_composition"]] == [0, 2]


def test_group_table_has_n_and_accuracy_per_set_and_null_where_empty() -> None:
    groups = evaluate(binary_records(SMALL), small_parts(), NAMES, 2, 2)["groups"]
    forgotten = groups[2]
    assert (forgotten["id"], forgotten["name"]) == (2, "waterbird on land")
    assert (forgotten["n_retain"], forgotten["retain_acc"]) == (0, None)
    assert (forgotten["n_forget"], forgotten["forget_acc"]) == (2, 50.0)
    assert (forgotten["n_val"], forgotten["val_acc"]) == (0, None)
    assert forgotten["n_test"] == 3
    assert forgotten["test_acc"] == pytest.approx(100 / 3)
    low, high = forgotten["test_interval"]
    assert low < 100 / 3 < high
    assert [sum(row[f"n_{name}"] for row in groups) for name in ("retain", "forget", "val", "test")] == [3, 2, 2, 8]


def test_a_group_absent_from_test_is_null_there_and_not_the_worst_group() -> None:
    test = np.array([7, 8, 9, 10, 14])
    found = evaluate(binary_records(SMALL), small_parts(test=test), NAMES, 2, 2)
    absent = found["groups"][2]
    assert (absent["n_test"], absent["test_acc"], absent["test_interval"]) == (0, None, None)
    assert (found["worst_group"], found["worst_group_acc"], found["worst_group_n"]) == ("landbird on water", 50.0, 2)
    assert found["forget_group_acc"] is None
    assert found["reasons"]["forget_group_acc"] == "there is no test sample of the forget groups"
    assert found["equalized_odds"] is None
    assert found["reasons"]["equalized_odds"] == "there is no test sample in the cell u = 1, s = 0"
    assert found["adjusted_acc"] is None
    assert found["reasons"]["adjusted_acc"] == "there is no test sample of waterbird on land"
    # Of y = 0 alone: |100 - 50|.
    assert (found["equalized_odds_full"], found["equalized_odds_full_skipped"]) == (50.0, 1)


def test_a_group_absent_from_train_has_no_share_in_the_adjusted_accuracy() -> None:
    parts = small_parts(train=np.array([0, 3, 4]), retain=np.array([0]))
    found = evaluate(binary_records(SMALL), parts, NAMES, 2, 2)
    assert found["adjusted_acc"] == pytest.approx((100 + 2 * 100 / 3) / 3)


def test_sets_without_samples_are_null_with_reasons_and_never_nan() -> None:
    found = evaluate(binary_records(SMALL), small_parts(test=EMPTY, val=EMPTY), NAMES, 2, 2)
    careful = ("adjusted_acc", "equalized_odds_full", "demographic_parity", *BALANCED_KEYS, *GROUP_AWARE_KEYS)
    for key in (
        *("test_acc", "val_acc", "mia", "mia_baseline", "mia_forest_auc", "equalized_odds", "worst_group"),
        *careful,
    ):
        assert found[key] is None
        assert found["reasons"][key]
    assert found["retain_acc"] == pytest.approx(200 / 3)
    json.dumps(found, allow_nan=False)


def test_the_attack_stands_without_a_test_set_but_its_auc_does_not() -> None:
    found = evaluate(binary_records(SMALL), small_parts(test=EMPTY), NAMES, 2, 2)
    assert found["mia"] is not None
    assert found["mia_forest_auc"] is None
    assert found["reasons"]["mia_forest_auc"] == "there is no test sample"


def test_one_class_only() -> None:
    rows = [(split, 0, sensitive, 0) for split in (0, 0, 1, 2) for sensitive in (0, 1)]
    parts = Parts(np.arange(4), np.array([4, 5]), np.array([6, 7]), np.array([0]), np.array([1, 2, 3]), (0,))
    found = evaluate(binary_records(rows), parts, NAMES, 2, 2)
    assert found["test_acc"] == 100.0
    assert found["equalized_odds"] is None
    assert found["worst_group_acc"] == 100.0
    assert found["worst_group"] == "landbird on land"  # a tie goes to the first
    assert (found["adjusted_acc"], found["equalized_odds_full"], found["demographic_parity"]) == (100.0, 0.0, 0.0)
    assert found["equalized_odds_full_skipped"] == 1
    assert found["reasons"]["mia_auc"] == "the forget set has 1 samples, and the attack needs 20"


def test_pretrain_gets_what_needs_no_forget_set() -> None:
    parts = small_parts(forget=EMPTY, retain=np.arange(5), forget_groups=())
    found = evaluate(binary_records(SMALL), parts, NAMES, 2, 2)
    assert found["train_acc"] == 60.0
    assert (found["n_train"], found["n_val"], found["n_test"]) == (5, 2, 8)
    assert (found["groups"][2]["n_train"], found["groups"][2]["train_acc"]) == (2, 50.0)
    assert found["worst_group"] == "waterbird on land"
    assert found["schema"] == 2
    assert found["adjusted_acc"] == pytest.approx((100 + 50 + 2 * 100 / 3 + 100) / 5)
    assert found["equalized_odds_full"] == pytest.approx((50 + 200 / 3) / 2)
    assert found["demographic_parity"] == pytest.approx(100 * (2 / 3 - 1 / 5))
    needing = {"mia", "forget_acc", "retain_acc", "equalized_odds", "forget_group_acc"}
    assert not {*needing, *BALANCED_KEYS, *GROUP_AWARE_KEYS, *COMPARED_KEYS} & set(found)


def test_metrics_do_not_depend_on_the_order_of_the_records_but_on_the_splits() -> None:
    straight = evaluate(binary_records(SMALL), small_parts(), NAMES, 2, 2)
    records = binary_records(SMALL)
    shuffled = records.select(np.random.default_rng(0).permutation(len(SMALL)))
    assert evaluate(shuffled, small_parts(), NAMES, 2, 2) == straight


def test_equalized_odds_of_binary_data_uses_target_and_sensitive() -> None:
    target, sensitive = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    u, s = metrics.odds_axes(target, sensitive, [(0, 1)], 2, 2)
    assert u.tolist() == [0, 0, 1, 1]
    assert s.tolist() == [0, 1, 0, 1]


def test_equalized_odds_of_many_groups_by_hand() -> None:
    # Forget groups (1, 0) and (2, 2): forget targets {1, 2}, forget sensitive values {0, 2}.
    target = np.array([1, 1, 2, 0, 0, 3, 3, 2])
    sensitive = np.array([0, 1, 2, 0, 1, 3, 2, 3])
    correct = bools("10101101")
    u, s = metrics.odds_axes(target, sensitive, [(1, 0), (2, 2)], 4, 4)
    assert u.tolist() == [1, 1, 1, 0, 0, 0, 0, 1]
    assert s.tolist() == [1, 0, 1, 1, 0, 0, 1, 0]
    # u = 1: s = 1 samples 0, 2 -> 100; s = 0 samples 1, 7 -> 50. u = 0: s = 1 samples 3, 6 -> 0; s = 0: 4, 5 -> 100.
    assert metrics.equalized_odds(correct, u, s) == pytest.approx((50 + 100) / 2)


def test_two_targets_and_three_sensitive_values_are_not_binary_data() -> None:
    target, sensitive = np.array([0, 1]), np.array([2, 0])
    u, s = metrics.odds_axes(target, sensitive, [(0, 2)], 2, 3)
    assert u.tolist() == [1, 0]
    assert s.tolist() == [1, 0]


def test_equalized_odds_is_undefined_if_a_cell_is_empty() -> None:
    u, s = np.array([0, 0, 1]), np.array([0, 1, 0])
    with pytest.raises(metrics.Undefined, match="u = 1, s = 1"):
        metrics.equalized_odds(bools("111"), u, s)


@pytest.mark.parametrize(
    "n_correct, n, low, high",
    [
        (5, 10, 23.6593, 76.3407),  # z^2 = 3.8415: (0.5 + 0.19207 -+ 1.96 sqrt(0.025 + 0.0096036)) / 1.38415
        (0, 10, 0.0, 27.7533),  # z^2 / (n + z^2) = 3.8415 / 13.8415
        (10, 10, 72.2467, 100.0),
        (1, 1, 20.6549, 100.0),  # 1 / (1 + z^2)
    ],
)
def test_wilson_interval_by_hand(n_correct: int, n: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(n_correct, n) == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_stays_within_0_and_100() -> None:
    for n in range(1, 60):
        assert metrics.wilson_interval(0, n)[0] >= 0.0
        assert metrics.wilson_interval(n, n)[1] <= 100.0
    with pytest.raises(metrics.Undefined):
        metrics.wilson_interval(0, 0)


def row(**values: float | None) -> dict[str, float | None]:
    base = dict.fromkeys(metrics.GAP_PARTS, 50.0)
    return {**base, **values}


def test_tow_and_avg_gap_by_hand() -> None:
    found = metrics.compute_gaps(row(retain_acc=90.0, forget_acc=40.0, mia=20.0), row(retain_acc=100.0, test_acc=70.0))
    assert found["tow"] == pytest.approx(100 * 0.9 * 0.9 * 0.8)
    assert found["avg_gap"] == pytest.approx((10 + 10 + 20 + 30) / 6)
    assert found["gaps"] == {
        "retain_acc": 10.0,
        "forget_acc": 10.0,
        "test_acc": 20.0,
        "mia": 30.0,
        "equalized_odds": 0.0,
        "forget_group_acc": 0.0,
    }
    assert found["reasons"] == {}


def test_a_null_part_makes_avg_gap_null_and_leaves_tow() -> None:
    found = metrics.compute_gaps(row(equalized_odds=None), row(mia=None))
    assert found["tow"] == 100.0
    assert found["avg_gap"] is None
    assert found["gaps"]["equalized_odds"] is None
    assert found["reasons"]["avg_gap"].startswith("mia, equalized_odds is null")
    assert "tow" not in found["reasons"]


def test_add_reference_fills_and_later_replaces_the_reason() -> None:
    run = {**row(), "reasons": {"mia": "kept"}}
    without = add_reference(run, None, "run retrain first", None)
    assert without is run
    assert (run["tow"], run["avg_gap"], run["gaps"], run["reference"]) == (None, None, None, None)
    assert run["reasons"] == {"mia": "kept", **dict.fromkeys(COMPARED_KEYS, "run retrain first")}
    add_reference(run, row(retain_acc=40.0), None, "retrain_0.9_0")
    assert (run["tow"], run["avg_gap"]) == pytest.approx((90.0, 10 / 6))
    assert run["reference"] == "retrain_0.9_0"
    assert run["reasons"].pop("speedup").startswith("the training time")
    assert run["reasons"].pop("privleak") == "mia_group_auc is null in this run or in its reference"
    assert run["reasons"] == {"mia": "kept", **dict.fromkeys(OUTPUT_KEYS, NO_OUTPUTS)}
    assert add_reference(run | {"seconds": 4.0}, row(seconds=10.0), None, "retrain_0.9_0")["speedup"] == 2.5


def test_a_reference_compared_with_itself_is_perfect() -> None:
    run = {**row(), "reasons": {}}
    add_reference(run, run, None, "itself")
    assert (run["tow"], run["avg_gap"]) == (100.0, 0.0)


def outputs(n: int = 60, n_classes: int = 3, seed: int = 0) -> tuple[Records, Parts]:
    """Random logits: 30 train, 10 val and 20 test samples of random labels."""
    generator = np.random.default_rng(seed)
    labels = [np.arange(n) % 2, np.arange(n) // 2 % 2]
    split = np.repeat([0, 1, 2], [30, 10, 20])
    records = Records.from_logits(
        np.arange(n), split, *labels, 2 * labels[0] + labels[1], 3 * generator.normal(size=(n, n_classes))
    )
    forget = np.flatnonzero((records.group == 2) & (split == 0))[:4]
    parts = Parts(np.arange(30), np.arange(30, 40), np.arange(40, 60), forget, np.arange(30), (2,))
    return records, parts


def test_the_attacks_of_a_run_are_f_against_v_and_t() -> None:
    # Group 2 has 25 samples in F, 10 in V and 20 in T: only together are they enough.
    n, generator = 240, np.random.default_rng(0)
    group, split = np.arange(n) % 4, np.repeat([0, 1, 2], [120, 40, 80])
    logits = 3 * generator.normal(size=(n, 2))
    records = Records.from_logits(np.arange(n), split, group // 2, group % 2, group, logits)
    forget = np.flatnonzero((group == 2) & (split == 0))[:25]
    rows = [np.flatnonzero(split == code) for code in (0, 1, 2)]
    found = evaluate(records, Parts(*rows, forget, np.setdiff1d(rows[0], forget), (2,)), NAMES, 2, 2)
    members = forgetting.Samples(records.loss[forget], group[forget] // 2, group[forget])
    others = forgetting.Samples(records.loss[split > 0], group[split > 0] // 2, group[split > 0])
    expected = forgetting.balanced_attack(members, others) | forgetting.group_aware_attack(members, others)
    assert {*expected} == {*BALANCED_KEYS, *GROUP_AWARE_KEYS}
    rates = {key: str(expected.pop(key)) for key in [*expected] if "_tpr_" in key}
    assert {key: found[key] for key in expected} == expected
    assert {key: found["reasons"][key] for key in rates} == rates
    assert rates["mia_tpr_at_1"] == "a false-positive rate of one in 100 needs 100 non-members, and there are 25"
    assert found["mia_filled"] == 0.0


def test_kl_and_agreement_are_scipys_and_a_count() -> None:
    (own, parts), (reference, _) = outputs(seed=1), outputs(seed=2)
    found = compare_outputs(own, reference, parts)
    sets = {"forget": parts.forget, "test": parts.test, "forget_groups": parts.test[own.group[parts.test] == 2]}
    for name, rows in sets.items():
        p, q = (softmax(records.logits[rows].astype(np.float64), axis=1) for records in (reference, own))
        assert found[f"kl_to_retrain_{name}"] == pytest.approx(entropy(p, q, axis=1).mean(), abs=1e-9)
        assert found[f"kl_to_retrain_{name}"] == pytest.approx(rel_entr(p, q).sum(axis=1).mean(), abs=1e-9)
        same = [a == b for a, b in zip(p.argmax(axis=1), q.argmax(axis=1), strict=True)]
        assert found[f"agreement_{name}"] == pytest.approx(100 * sum(same) / len(same), abs=1e-9)
    losses = (one.loss[parts.forget] for one in (own, reference))
    assert found["ks_to_retrain_forget"] == pytest.approx(100 * ks_2samp(*losses).statistic, abs=1e-9)
    assert found["reasons"] == {}
    assert compare_outputs(own, own, parts) == {
        **{key: 100.0 if key.startswith("agreement") else 0.0 for key in OUTPUT_KEYS},
        "reasons": {},
    }


def test_outputs_that_cannot_be_compared_have_a_reason() -> None:
    (own, parts), (other, _) = outputs(), outputs(n_classes=4)
    found = compare_outputs(own, other, parts)
    assert {found[key] for key in OUTPUT_KEYS} == {None}
    assert set(found["reasons"].values()) == {"the reference has another number of classes"}
    parts.test = parts.test[own.group[parts.test] != 2]
    found = compare_outputs(own, own, parts)
    assert found["reasons"] == dict.fromkeys(
        ("kl_to_retrain_forget_groups", "agreement_forget_groups"), "there is no test sample of the forget groups"
    )


def test_records_of_the_reference_that_do_not_fit_are_a_reason_without_a_folder(tmp_path: Path) -> None:
    records, parts = outputs()
    folder = tmp_path / "retrain_0.9_0"
    folder.mkdir()
    reason = "the records of retrain_0.9_0 cannot be read, or are of other samples"
    nothing = {**dict.fromkeys(OUTPUT_KEYS), "reasons": dict.fromkeys(OUTPUT_KEYS, reason)}
    assert compare_saved_outputs(records, parts, folder / "records.npz") == nothing
    (folder / "records.npz").write_bytes(b"damaged")
    assert compare_saved_outputs(records, parts, folder / "records.npz") == nothing
    fewer = records.select(np.arange(50))
    fewer.save(folder / "records.npz")
    assert compare_saved_outputs(records, parts, folder / "records.npz") == nothing
    with pytest.raises(RunError, match="the records lack row 50"):
        compare_outputs(records, fewer, parts)
    records.save(folder / "records.npz")
    assert compare_saved_outputs(records, parts, folder / "records.npz") == compare_outputs(records, records, parts)


def test_kl_stays_a_number_for_any_finite_logits_and_is_never_negative() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        logits = draw.normal(scale=5, size=(1, 4)).astype(np.float32)
        assert 0 <= metrics.mean_kl(logits, logits + np.float32(1.5)) < 1e-9
    far = np.array([[3e38, -3e38]], dtype=np.float32)
    assert metrics.mean_kl(far, far) == 0.0
    # The reference is sure of what this model gives exp(-6e38): 6e38 nats, and no infinity.
    assert metrics.mean_kl(-far, far) == pytest.approx(6e38)
    # By hand: p_retrain = (3/4, 1/4), p = (1/2, 1/2).
    by_hand = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert metrics.mean_kl(np.zeros((1, 2)), np.log([[3.0, 1.0]])) == pytest.approx(by_hand, abs=1e-12)
    with pytest.raises(metrics.Undefined, match="no forget sample"):
        metrics.mean_kl(far[:0], far[:0], "forget sample")


def test_speedup_needs_both_times() -> None:
    assert metrics.speedup(4.0, 10.0) == 2.5
    for own, reference in ((None, 1.0), (0.0, 1.0), (1.0, None)):
        with pytest.raises(metrics.Undefined, match="training time"):
            metrics.speedup(own, reference)


def brute_force_odds(correct: np.ndarray, y: np.ndarray, a: np.ndarray, n_y: int, n_a: int) -> tuple[float, int]:
    gaps, skipped = [], 0
    for target in range(n_y):
        for first in range(n_a):
            for second in range(first + 1, n_a):
                cells = [correct[(y == target) & (a == value)] for value in (first, second)]
                if min(map(len, cells)) == 0:
                    skipped += 1
                else:
                    gaps.append(abs(cells[0].mean() - cells[1].mean()))
    return 100 * float(np.mean(gaps)), skipped


@pytest.mark.parametrize("seed", range(5))
def test_fairness_metrics_agree_with_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n, n_y, n_a = 70, 4, 5
    y, a, prediction = (generator.integers(0, k, n) for k in (n_y, n_a, n_y))
    correct = prediction == y
    expected, skipped = brute_force_odds(correct, y, a, n_y, n_a)
    assert metrics.equalized_odds_full(correct, y, a, n_y, n_a) == pytest.approx(expected, abs=1e-9)
    assert metrics.n_empty_pairs(y, a, n_y, n_a) == skipped
    shares = [[(prediction[a == value] == c).mean() for value in range(n_a)] for c in range(n_y)]
    parity = max(max(row) - min(row) for row in shares)
    assert metrics.demographic_parity(prediction, a) == pytest.approx(100 * parity, abs=1e-9)
    group, train_group = n_a * y + a, generator.permutation(n_a * y + a)[:40]
    by_hand = sum(100 * correct[group == g].mean() * (train_group == g).mean() for g in set(train_group.tolist()))
    names = [str(g) for g in range(n_y * n_a)]
    assert metrics.adjusted_accuracy(train_group, group, correct, names) == pytest.approx(by_hand, abs=1e-9)


def test_fairness_metrics_without_the_samples_they_need() -> None:
    one = np.zeros(3, dtype=np.int64)
    with pytest.raises(metrics.Undefined, match="two sensitive values"):
        metrics.demographic_parity(one, one)
    with pytest.raises(metrics.Undefined, match="no target has test samples of two"):
        metrics.equalized_odds_full(bools("110"), np.array([0, 0, 1]), np.array([0, 0, 1]), 2, 2)
    assert metrics.n_empty_pairs(np.array([0, 0, 1]), np.array([0, 0, 1]), 2, 2) == 2
    with pytest.raises(metrics.Undefined, match="no test sample of b"):
        metrics.adjusted_accuracy(np.array([0, 1]), one, bools("111"), ["a", "b"])
    # A sensitive value that is absent from the test set is left out, a class nobody predicts counts as a share of 0.
    assert metrics.demographic_parity(np.array([0, 0, 1, 2]), np.array([3, 3, 7, 7])) == 100.0


# A run's metrics made anew from its files.

STORE = "digits/small_cnn"
METHODS = {
    "pretrain": "pretrain_0",
    "retrain": "split0/retrain_0.9_0",
    "scrub --scrub_rewind": "split0/scrub_0.9_0",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs of three methods on digits; nobody may change them."""
    store = tmp_path_factory.mktemp("runs")
    for method in METHODS:
        command = f"--method {method} --dataset digits --unlearning_ratio 0.9 --epochs 3 --threads 1 --num_workers 0"
        ok(command, store_dir=store, checkpoint_dir=store / "none")
    return store / STORE


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    """The same to change."""
    return Path(shutil.copytree(runs, tmp_path / "runs"))


def stored(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def store(folder: Path, values: dict[str, Any]) -> None:
    (folder / "metrics.json").write_text(json.dumps(values))


def as_schema_1(values: dict[str, Any]) -> dict[str, Any]:
    """What the first version wrote of the same run."""
    new = {
        *("schema", "adjusted_acc", "equalized_odds_full", "equalized_odds_full_skipped", "demographic_parity"),
        *(*BALANCED_KEYS, *GROUP_AWARE_KEYS, "mia_retain_auc", *ORIGINAL_KEYS, *OUTPUT_KEYS, "speedup", "privleak"),
    }
    old = {key: value for key, value in values.items() if key not in new}
    by_group = ("mia_retain_auc", "retain_exposure")
    old["groups"] = [{key: row[key] for key in row if key not in by_group} for row in values["groups"]]
    old["reasons"] = {key: text for key, text in values["reasons"].items() if key not in new}
    if "without_rewind" in values:
        last = as_schema_1(values["without_rewind"])
        old["without_rewind"] = {key: last[key] for key in last if key not in ("seconds", "peak_memory_bytes")}
    return old


def reference_of(folder: Path) -> Path | None:
    return None if "pretrain" in folder.name else folder.parent / "retrain_0.9_0"


def test_real_runs_hold_every_key(runs: Path) -> None:
    for place in METHODS.values():
        values = stored(runs / place)
        for row in (values, values.get("without_rewind", values)):
            assert row["schema"] == 2
            assert all(row[key] is not None for key in ("adjusted_acc", "demographic_parity", "seconds"))
            if reference_of(runs / place):
                keys = (*BALANCED_KEYS, *GROUP_AWARE_KEYS, *COMPARED_KEYS)
                assert [key for key in keys if row[key] is None and key not in row["reasons"]] == []
                assert all(row[key] is not None for key in ("mia_auc", "mia_group_auc", "speedup", *OUTPUT_KEYS))
                assert all(row[key] is not None for key in ("privleak", "mia_retain_auc", *ORIGINAL_KEYS))
                changes = [group["retain_exposure"] for group in row["groups"] if group["n_retain"] >= 20]
                assert changes
                assert None not in changes
    itself = stored(runs / METHODS["retrain"])
    assert (itself["speedup"], itself["reference"]) == (1.0, "itself")
    assert [itself[key] for key in OUTPUT_KEYS] == [0.0] * 3 + [100.0] * 3 + [0.0]
    assert itself["privleak"] == 0.0
    scrub = stored(runs / METHODS["scrub --scrub_rewind"])
    for row in (scrub, scrub["without_rewind"]):
        assert row["speedup"] == itself["seconds"] / scrub["seconds"]
        assert row["kl_to_retrain_test"] > 0
        assert 0 < row["agreement_test"] < 100


@pytest.mark.parametrize("place", METHODS.values())
def test_recomputed_metrics_are_what_the_run_wrote(runs: Path, place: str) -> None:
    folder = runs / place
    for original in (runs / METHODS["pretrain"], None):
        assert json.loads(json.dumps(recompute(folder, reference_of(folder), original))) == stored(folder)


@pytest.mark.parametrize("place", METHODS.values())
def test_a_run_of_the_first_schema_gets_all_metrics_and_keeps_its_own_keys(copied: Path, place: str) -> None:
    folder = copied / place
    expected = stored(folder) | {"selected_by_hand": 3}
    store(folder, as_schema_1(expected))
    assert "mia_auc" not in stored(folder)
    found = recompute(folder, reference_of(folder), copied / METHODS["pretrain"])
    assert json.loads(json.dumps(found)) == expected
    assert stored(folder) == as_schema_1(expected)  # nothing is written


def test_metrics_are_recomputed_from_the_records_not_from_what_was_stored(copied: Path) -> None:
    folder = copied / METHODS["scrub --scrub_rewind"]
    expected = stored(folder)
    wrong = expected | {"test_acc": 1.0, "mia_auc": 2.0, "kl_to_retrain_test": 3.0, "tow": 4.0, "reasons": {"mia": "x"}}
    wrong["without_rewind"] = wrong["without_rewind"] | {"test_acc": 1.0}
    store(folder, wrong)
    assert json.loads(json.dumps(recompute(folder, reference_of(folder)))) == expected
    records = Records.load(folder / "records_without_rewind.npz")
    test = load_splits(folder / "splits.npz").test
    share = records.select(test).correct.mean()  # rounded before it is multiplied, where the metric is so after it
    assert expected["without_rewind"]["test_acc"] == pytest.approx(100 * share, abs=1e-9)


def test_without_its_reference_a_run_keeps_the_stored_comparison(copied: Path) -> None:
    folder = copied / METHODS["scrub --scrub_rewind"]
    whole = stored(folder)
    assert json.loads(json.dumps(recompute(folder))) == whole
    store(folder, as_schema_1(whole))
    found = recompute(folder)
    for row, before in ((found, whole), (found["without_rewind"], whole["without_rewind"])):
        assert [row[key] for key in ("tow", "avg_gap", "gaps", "reference")] == [
            before[key] for key in ("tow", "avg_gap", "gaps", "reference")
        ]
        unknown = ("speedup", "privleak", *OUTPUT_KEYS)
        assert {row[key] for key in unknown} == {None}
        assert {row["reasons"][key] for key in unknown} == {GONE}
        assert row["mia_auc"] == before["mia_auc"]
        assert {row["reasons"][key] for key in ORIGINAL_KEYS} == {NO_ORIGINAL}
        assert {group["retain_exposure"] for group in row["groups"]} == {None}
    itself = copied / METHODS["retrain"]
    whole = stored(itself)
    store(itself, as_schema_1(whole))
    assert recompute(itself)["agreement_test"] == whole["agreement_test"] == 100.0


@pytest.mark.parametrize("name", ["records.npz", "records_without_rewind.npz", "splits.npz", "config.yaml"])
def test_a_file_that_cannot_be_read_is_named(copied: Path, name: str) -> None:
    folder = copied / METHODS["scrub --scrub_rewind"]
    (folder / name).write_bytes(b"damaged")
    with pytest.raises(UserError, match=f"{folder / name}"):
        recompute(folder, reference_of(folder))


@pytest.mark.parametrize("text", ["{", "[1, 2]"])
def test_metrics_that_cannot_be_read_are_named(copied: Path, text: str) -> None:
    folder = copied / METHODS["scrub --scrub_rewind"]
    for damaged in (folder, copied / METHODS["retrain"]):
        before = (damaged / "metrics.json").read_text()
        (damaged / "metrics.json").write_text(text)
        with pytest.raises(UserError, match=f"{damaged / 'metrics.json'}"):
            recompute(folder, copied / METHODS["retrain"])
        (damaged / "metrics.json").write_text(before)


def test_records_and_splits_of_different_runs_are_one_sentence(copied: Path) -> None:
    folder = copied / METHODS["retrain"]
    records = Records.load(folder / "records.npz")
    records.select(records.index[:-5]).save(folder / "records.npz")
    with pytest.raises(UserError, match=f"{folder}.*: the records hold other .* samples than the splits"):
        recompute(folder, folder)


def test_metrics_import_nothing_but_numpy() -> None:
    tree = ast.parse(Path(metrics.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"collections.abc", "typing", "numpy"}
