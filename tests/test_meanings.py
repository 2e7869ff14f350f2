"""All that a run writes stands in method/runs/*meanings.py or with its method, so on docs/metrics.md."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from workshop import Workshop, history_of, metrics_of

from datasets.splits import STORED, STORED_IF_ANY
from method.configs.schema import all_keys
from method.evaluation.columns import COLUMNS as TABLE_COLUMNS
from method.evaluation.records import COLUMNS
from method.registry import METHODS
from method.runs import file_meanings, files, meanings

FEW_STEPS = "--miu_critic_steps_first 2 --miu_critic_steps 2"
# One of each kind: what is written by pretrain, by a method with epochs and columns, with a rewind, without epochs.
RUNS = (
    "pretrain --rob_approach dro",
    "retrain --eval_precision bf16",
    f"miu {FEW_STEPS}",
    "scrub --scrub_rewind",
    "iu --iu_solver_steps 2",
)
OTHERS = [name for name in METHODS if name not in {run.split()[0] for run in RUNS}]
NESTED = ("fingerprints", "groups", "inputs", "provenance")
ARRAYS = {
    "records.npz": file_meanings.RECORDS,
    "records_without_rewind.npz": file_meanings.RECORDS,
    "splits.npz": file_meanings.SPLITS,
}


@pytest.fixture(scope="module")
def workshop(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(data_dir, tmp_path_factory.mktemp("meanings"))
    made.ok("pretrain")
    return made


def unexplained(folder: Path, method: str) -> list[str]:
    """Files, keys, columns and arrays of a run that nobody explains."""
    own = METHODS[method]
    written = [f"{file.name}/" if file.is_dir() else file.name for file in folder.iterdir()]
    found = [name for name in written if name not in file_meanings.FILES]
    found += _keys(metrics_of(folder), {*meanings.METRICS, *own.metric_keys})
    phases = {f"{name}_loss" for name in ("critics", "forget", "retain", "train")}
    columns = {*file_meanings.HISTORY, *own.history_columns, *phases}
    found += [name for row in history_of(folder) for name in row if name not in columns]
    found += [name for name in json.loads((folder / "status.json").read_text()) if name not in file_meanings.STATUS]
    found += _fields(yaml.safe_load((folder / "config.yaml").read_text()))
    return found


def _keys(metrics: dict[str, Any], known: set[str]) -> list[str]:
    """Of metrics.json, and of the tables in it."""
    rows = {"groups": meanings.GROUP, "forget_composition": meanings.COMPOSITION}
    inner = [name for key, told in rows.items() for row in metrics.get(key, []) for name in row if name not in told]
    nested = _keys(metrics["without_rewind"], known) if "without_rewind" in metrics else []
    return [name for name in metrics if name not in known] + inner + nested


def _fields(stored: dict[str, Any]) -> list[str]:
    names = [name for name in stored if name not in NESTED]
    names += [f"{section}.{name}" for section in NESTED for name in stored.get(section) or ()]
    return [name for name in names if name not in file_meanings.CONFIG]


def check_arrays(folder: Path) -> None:
    """Type and shape of every array are as stated, and all arrays that are stated are there."""
    for file, told in ARRAYS.items():
        if not (folder / file).exists():
            continue
        with np.load(folder / file) as arrays:
            in_bf16 = (
                file_meanings.RECORDS_BF16 if told is file_meanings.RECORDS and "bf16_loss" in arrays.files else {}
            )
            expected = {name: own for name, own in {**told, **in_bf16}.items() if name not in STORED_IF_ANY}
            expected |= {name: told[name] for name in STORED_IF_ANY if "leave_out" in folder.name}
            assert set(arrays.files) == set(expected)
            for name, (kind, shape, _) in expected.items():
                assert str(arrays[name].dtype) == kind or (kind == "text" and arrays[name].dtype.kind == "U"), name
                assert arrays[name].ndim == len(re.findall(r"\w+", shape)), name


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.split()[0])
def test_all_that_a_run_writes_is_explained(run: str, workshop: Workshop):
    folder = workshop.ok(f"{run} --tensorboard")
    assert unexplained(folder, run.split()[0]) == []
    check_arrays(folder)


@pytest.mark.slow
@pytest.mark.parametrize("method", OTHERS)
def test_all_that_the_other_methods_write_is_explained(method: str, workshop: Workshop):
    folder = workshop.ok(f"{method} --evaluate_every 1" if METHODS[method].has_epochs else method)
    assert unexplained(folder, method) == []


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pretrain", "retrain", "l1_sparse", "ssd"])
def test_all_that_runs_on_digits_write_is_explained(method: str, data_dir: Path, tmp_path: Path):
    digits = Workshop(data_dir, tmp_path, "--dataset digits --epochs 1 --threads 1")
    digits.ok("pretrain")
    folder = digits.store / "digits/small_cnn/pretrain_0" if method == "pretrain" else digits.ok(method)
    assert unexplained(folder, method) == []
    check_arrays(folder)


def test_a_key_that_nobody_explains_is_noticed(workshop: Workshop, tmp_path: Path):
    folder = workshop.ok("pretrain --tag other")
    for name, text in (("metrics.json", '{"tset_acc": 1}'), ("status.json", '{"why": 1}'), ("new.npz", "")):
        (folder / name).write_text(text)
    (folder / "history.csv").write_text("epoch,mi_modle\n0,1\n")
    (folder / "config.yaml").write_text("config: {}\nprovenance: {colour: red}\n")
    assert unexplained(folder, "pretrain") == ["new.npz", "tset_acc", "mi_modle", "why", "provenance.colour"]


def test_what_readers_check_and_tables_show_is_explained():
    own = {key for method in METHODS.values() for key in method.metric_keys}
    assert set(files.ONE_METRICS) <= set(meanings.METRICS)
    assert {column.key for column in TABLE_COLUMNS} <= set(meanings.METRICS)
    assert set(COLUMNS) == set(file_meanings.RECORDS)
    assert {*STORED, *STORED_IF_ANY} == set(file_meanings.SPLITS)
    assert not own & set(meanings.METRICS)
    assert all(key.help for key in all_keys().values())
