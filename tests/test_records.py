"""Records: loss and confidence by hand, refusal of non-finite logits, lookup by table row, files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.splits import Splits
from method.evaluation.records import COLUMNS, Records, check_belonging
from utils.errors import RunError, UserError


def records(logits: list[list[float]], target: list[int], index: list[int] | None = None) -> Records:
    n = len(target)
    index = list(range(n)) if index is None else index
    return Records.from_logits(index, [0] * n, target, [1] * n, [2 * y + 1 for y in target], np.array(logits))


def test_loss_confidence_and_prediction_by_hand() -> None:
    found = records([[np.log(3.0), 0.0], [np.log(3.0), 0.0], [1.0, 1.0]], [0, 1, 1])
    np.testing.assert_allclose(found.confidence, [0.75, 0.25, 0.5], rtol=1e-6)
    np.testing.assert_allclose(found.loss, [-np.log(0.75), -np.log(0.25), np.log(2.0)], rtol=1e-6)
    assert found.prediction.tolist() == [0, 0, 0]  # a tie goes to the first class
    assert found.correct.tolist() == [True, False, False]
    assert (found.loss.dtype, found.confidence.dtype, found.logits.dtype) == (np.float64, np.float64, np.float32)
    for name in ("index", "split", "target", "sensitive", "group", "prediction"):
        assert getattr(found, name).dtype == np.int64


def test_tiny_losses_keep_their_order_and_large_logits_stay_finite() -> None:
    found = records([[60.0, 0.0], [50.0, 0.0], [0.0, 3e38]], [0, 0, 0])
    np.testing.assert_allclose(found.loss[:2], np.exp([-60.0, -50.0]), rtol=1e-12)
    assert found.loss[2] == pytest.approx(3e38)
    assert found.confidence[2] == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_fails_the_run(bad: float) -> None:
    with pytest.raises(RunError, match=r"1 of 3 samples are not finite \(the first is row 8 "):
        records([[0.0, 1.0], [bad, 1.0], [1.0, 0.0]], [0, 1, 1], index=[7, 8, 9])


def test_select_finds_table_rows_in_the_order_asked_for() -> None:
    found = records([[5.0, 0.0], [0.0, 6.0], [7.0, 0.0]], [0, 1, 1], index=[20, 3, 11]).select(np.array([11, 20, 11]))
    assert found.index.tolist() == [11, 20, 11]
    assert found.logits[:, 0].tolist() == [7.0, 5.0, 7.0]
    assert found.target.tolist() == [1, 0, 1]


@pytest.mark.parametrize("row", [0, 12, 99])
def test_select_refuses_a_row_that_was_not_recorded(row: int) -> None:
    with pytest.raises(RunError, match=rf"lack row {row} of the table \(1 of 2 rows"):
        records([[5.0, 0.0], [0.0, 6.0]], [0, 1], index=[20, 3]).select(np.array([3, row]))


def test_select_nothing() -> None:
    assert len(records([[5.0, 0.0]], [0]).select(np.array([], dtype=np.int64))) == 0


def test_saved_records_come_back_bit_equal(tmp_path: Path) -> None:
    saved = records([[0.1, 0.2, -3.0], [1e-7, 5.0, 2.0]], [2, 1])
    saved.save(tmp_path / "records.npz")
    loaded = Records.load(tmp_path / "records.npz")
    assert list(loaded.arrays) == list(saved.arrays) == list(COLUMNS)
    for name, array in loaded.arrays.items():
        np.testing.assert_array_equal(array, saved.arrays[name])
        assert array.dtype == saved.arrays[name].dtype
    assert [file.name for file in tmp_path.iterdir()] == ["records.npz"]


def test_arrays_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        records([[0.0, 1.0]], [0]).loss[0] = 1.0


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="rows"):
        Records.from_logits([0, 1], [0], [0, 1], [0, 1], [0, 1], np.zeros((2, 2)))


@pytest.mark.parametrize("content", [None, b"", b"not a zip file", b"PK\x03\x04 cut off"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "records.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="records.npz"):
        Records.load(path)


def test_a_file_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    with (tmp_path / "records.npz").open("wb") as file:
        np.savez(file, index=np.arange(3))
    with pytest.raises(UserError, match="split"):
        Records.load(tmp_path / "records.npz")


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("index", -1, "index holds a row twice, or one below 0"),
        ("split", -1, "split holds -1 to 0, expected 0 to 3"),
        ("split", 4, "split holds 0 to 4, expected 0 to 3"),
        ("target", 2, "target holds 0 to 2, expected 0 to 1"),
        ("sensitive", -1, "sensitive holds -1 to 1, expected 0 and more"),
        ("logits", np.inf, "logits holds what is no finite number"),
        ("loss", np.inf, "loss holds what is no finite number from 0"),
        ("loss", -1.0, "loss holds what is no finite number from 0"),
        ("prediction", 1, "prediction is not the class of the largest logit"),
        ("confidence", 0.5, "loss or confidence is not that of the logits"),
    ],
)
def test_one_value_that_cannot_be_is_refused(name: str, value: float, told: str, tmp_path: Path) -> None:
    """The first sample's, beside others that are as they were; a loss of exactly 0 is one that can be."""
    file, saved = tmp_path / "records.npz", records([[1e4, 0.0], [2.0, 0.0], [0.0, 3.0]], [0, 0, 1])
    saved.save(file)
    assert Records.load(file).loss[0] == 0
    with np.load(file) as arrays:
        changed = {array: arrays[array].copy() for array in arrays.files}
    changed[name].flat[0] = value
    np.savez(file, **changed)
    with pytest.raises(UserError, match=told):
        Records.load(file)


# Records, splits and config.yaml of one run: three targets, two sensitive values.

CONFIG = {"groups": {"n_targets": 3, "n_sensitive": 2}, "fingerprints": {"data": "d", "forget": "f"}}


def stored_run(
    group: tuple[int, ...] = (1, 3, 5), forget_groups: tuple[int, ...] = (5,), forget: str | None = "f"
) -> tuple[Records, Splits]:
    """A sample of each target, all of sensitive value 1: one in train, one in test, one left out."""
    logits = np.zeros((3, 3))
    rows = np.arange(3)
    made = Records.from_logits(rows[::-1], [3, 2, 0], rows, np.ones(3), np.array(group), logits)
    return made, Splits(rows[:1], rows[:0], rows[1:2], rows[:0], rows[:1], forget_groups, "d", forget, rows[2:])


@pytest.mark.parametrize(
    "config, run", [(CONFIG, stored_run()), ({**CONFIG, "fingerprints": None}, stored_run(forget=None))]
)
def test_records_and_splits_of_one_run_belong_together(config: dict[str, Any], run: tuple[Records, Splits]) -> None:
    check_belonging(*run, config, Path("config.yaml"))


@pytest.mark.parametrize(
    "groups, run, told",
    [
        ({"n_targets": 2, "n_sensitive": 2}, stored_run(forget_groups=(3,)), "2 targets and 2 sensitive values"),
        ({"n_targets": 3, "n_sensitive": 1}, stored_run((1, 2, 3), (1,)), "3 targets and 1 sensitive values"),
        ({"n_targets": 3, "n_sensitive": 2}, stored_run((1, 3, 4)), "the records or splits have others"),
        ({"n_targets": 3, "n_sensitive": 2}, stored_run(forget_groups=(1, 6)), "the records or splits have others"),
        ({"n_targets": 3, "n_sensitive": 2}, stored_run(forget="other"), "another forget fingerprint"),
        ({"n_targets": 3, "n_sensitive": 2}, stored_run(forget=None), "another forget fingerprint"),
        (None, stored_run(), "has no groups"),
    ],
)
def test_files_of_different_runs_are_refused(groups: Any, run: tuple[Records, Splits], told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_belonging(*run, {**CONFIG, "groups": groups}, Path("config.yaml"))


@pytest.mark.parametrize(
    "sets, told",
    [
        ({"train": [0, 1], "test": []}, "other train samples"),
        ({"val": [1], "test": []}, "other val samples"),
        ({"test": [1, 3]}, "other test samples"),  # a row that is not recorded
        ({"test": []}, "other test samples"),  # a row of no set
        ({"train": [2], "left_out": [0]}, "other train samples"),  # as many: only who they are is another
        ({"left_out": []}, "other left_out samples"),
    ],
)
def test_records_of_other_sets_than_the_splits_are_refused(sets: dict[str, list[int]], told: str) -> None:
    """They come from another run of the same data, whose labels and groups are the same."""
    made, splits = stored_run()
    other = replace(splits, **{name: np.array(rows, dtype=np.int64) for name, rows in sets.items()})
    with pytest.raises(UserError, match=f"config.yaml: the records hold {told} than the splits"):
        check_belonging(made, other, CONFIG, Path("config.yaml"))
