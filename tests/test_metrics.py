"""Known answers for the published columns, and the edge cases where a metric is null with its reason."""

import ast
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from method.evaluation import metrics
from method.evaluation.evaluator import add_reference, evaluate
from method.evaluation.records import Records

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
    assert found["reasons"] == {}
    json.dumps(found, allow_nan=False)


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


def test_sets_without_samples_are_null_with_reasons_and_never_nan() -> None:
    found = evaluate(binary_records(SMALL), small_parts(test=EMPTY, val=EMPTY), NAMES, 2, 2)
    for key in ("test_acc", "val_acc", "mia", "mia_baseline", "mia_forest_auc", "equalized_odds", "worst_group"):
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


def test_pretrain_gets_what_needs_no_forget_set() -> None:
    parts = small_parts(forget=EMPTY, retain=np.arange(5), forget_groups=())
    found = evaluate(binary_records(SMALL), parts, NAMES, 2, 2)
    assert found["train_acc"] == 60.0
    assert (found["n_train"], found["n_val"], found["n_test"]) == (5, 2, 8)
    assert (found["groups"][2]["n_train"], found["groups"][2]["train_acc"]) == (2, 50.0)
    assert found["worst_group"] == "waterbird on land"
    assert not {"mia", "forget_acc", "retain_acc", "equalized_odds", "forget_group_acc"} & set(found)


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
    found = metrics.compare(row(retain_acc=90.0, forget_acc=40.0, mia=20.0), row(retain_acc=100.0, test_acc=70.0))
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
    found = metrics.compare(row(equalized_odds=None), row(mia=None))
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
    assert run["reasons"] == {"mia": "kept", "tow": "run retrain first", "avg_gap": "run retrain first"}
    add_reference(run, row(retain_acc=40.0), None, "retrain_0.9_0")
    assert (run["tow"], run["avg_gap"]) == pytest.approx((90.0, 10 / 6))
    assert run["reference"] == "retrain_0.9_0"
    assert run["reasons"] == {"mia": "kept"}


def test_a_reference_compared_with_itself_is_perfect() -> None:
    run = {**row(), "reasons": {}}
    add_reference(run, run, None, "itself")
    assert (run["tow"], run["avg_gap"]) == (100.0, 0.0)


def test_metrics_import_nothing_but_numpy() -> None:
    tree = ast.parse(Path(metrics.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"collections.abc", "typing", "numpy"}
