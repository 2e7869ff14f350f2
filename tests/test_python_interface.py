"""`from method import run, load_results`: what the command line does, from a notebook, and nothing else besides."""

import csv
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from cli import ROOT, configuration, ok, python_apart, written

import method
from method import RunError, UserError, api, load_results, run
from method.configs.cli import parse
from method.runs import runner
from method.training.engine import Engine

SMALL = {
    "dataset": "waterbird", "model": "small_cnn", "image_size": 32, "weights": "none", "epochs": 2, "batch_size": 24,
    "num_workers": 0,
}  # fmt: skip
LOGGER = logging.getLogger("unlearning")


@pytest.fixture
def settings(data_dir: Path, tmp_path: Path) -> dict[str, Any]:
    """A pretrain run of a second, in an empty store."""
    return {
        "method": "pretrain", **SMALL, "data_dir": data_dir, "store_dir": tmp_path / "store",
        "checkpoint_dir": tmp_path / "none",
    }  # fmt: skip


def pretrain_folder(settings: dict[str, Any]) -> Path:
    return settings["store_dir"] / "waterbird/small_cnn/pretrain_0"


# run.


def test_run_does_what_the_command_line_does(settings: dict[str, Any], tmp_path: Path):
    settings |= {"device": "cpu"}  # where alone the same run has the same numbers
    result = run(**settings)
    other = tmp_path / "typed"
    ok("", **settings | {"store_dir": other})
    folder = other / "waterbird/small_cnn/pretrain_0"
    assert result.path == pretrain_folder(settings)
    assert written(result.path) == written(folder)
    stored = yaml.safe_load((folder / "config.yaml").read_text())["config"]
    assert result.config == stored | {"store_dir": str(settings["store_dir"])}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {**result.metrics, "seconds": 0} == {**metrics, "seconds": 0}
    assert json.loads((result.path / "metrics.json").read_text()) == result.metrics
    with (folder / "history.csv").open() as file:
        rows = [{name: float(value) if value else None for name, value in row.items()} for row in csv.DictReader(file)]
    history = pd.DataFrame(rows, dtype=float).astype({"epoch": int})
    pd.testing.assert_frame_equal(result.history.drop(columns="seconds"), history.drop(columns="seconds"))
    assert list(result.history["epoch"]) == [0, 1]
    assert repr(result) == f"RunResult({str(result.path)!r})"
    with pytest.raises(AttributeError):
        result.path = tmp_path


@pytest.mark.parametrize(
    "flags, command",
    [
        ({"method": "miu"}, "--method miu"),
        ({"method": "miu", "reweight": False, "lr": 1e-05}, "--method miu --no-reweight --lr 0.00001"),
        ({"method": "retrain", "reweight": True, "tag": None}, "--method retrain --reweight"),
        ({"method": "miu", "ablate_rw": True}, "--method miu --ablate_rw"),
        ({"method": "miu", "ablate_rw": False, "overwrite": False}, "--method miu"),
        ({"method": "scrub", "rob_approach": "target_reweight"}, "--method scrub --rob_approach target_reweight"),
        ({"method": "scrub", "alpha_scrub": 0.5}, "--method scrub --alpha_scrub 0.5"),
        ({"method": "scrub", "pretrained": False}, "--method scrub --no-pretrained"),
        ({"method": "scrub", "tag": "-a", "store_dir": Path("a b")}, "--method scrub --tag=-a --store_dir 'a b'"),
        ({"method": "scrub", "seed": np.int64(3), "lr": np.float64(0.2)}, "--method scrub --seed 3 --lr 0.2"),
        ({"method": "scrub", "reweight": np.bool_(True)}, "--method scrub --reweight"),
    ],
)
def test_flags_mean_what_they_mean_on_the_command_line(flags: dict[str, Any], command: str):
    config = parse(api._arguments(flags)).config
    assert (config.values, config.sources) == (configuration(command).values, configuration(command).sources)


@pytest.fixture
def finished(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run that is there."""
    run(**settings)
    return settings


def test_a_finished_run_is_returned_at_once(finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    stored = json.loads((pretrain_folder(finished) / "metrics.json").read_text())
    with monkeypatch.context() as patch:
        patch.setattr(runner, "run", None)
        assert run(**finished).metrics == stored
    (pretrain_folder(finished) / "metrics.json").write_text("{")
    with pytest.raises(RunError, match=r"pretrain_0 is done, but cannot be read .*overwrite=True"):
        run(**finished)
    assert run(**finished, overwrite=True).metrics.keys() == stored.keys()


def test_another_run_of_the_same_name_is_an_error_until_it_is_overwritten(finished: dict[str, Any]):
    with pytest.raises(UserError, match="epochs is 2 there and 1 here"):
        run(**finished | {"epochs": 1})
    assert len(run(**finished | {"epochs": 1}, overwrite=True).history) == 1


@pytest.mark.parametrize(
    "flags, told",
    [
        ({"print_config": True}, "print_config only prints"),
        ({"dry_run": False}, "dry_run only prints"),
        ({"help": True}, "help only prints"),
        ({"epoch": 3}, "unknown argument --epoch: did you mean --epochs"),
        ({"epochs": "many"}, "epochs is 'many', expected a whole number"),
        ({"lr": True}, "--lr"),
        ({"lambda_mi": 1}, "is a flag of miu, not of pretrain"),
        ({"method": None}, "--method is missing"),
        ({"method": "scrub"}, "make it with: python main.py --method pretrain"),
    ],
)
def test_a_mistake_is_a_user_error_and_nothing_is_written(flags: dict[str, Any], told: str, settings: dict[str, Any]):
    with pytest.raises(UserError, match=re.escape(told)):
        run(**settings | flags)
    assert written(settings["store_dir"]) == []


def test_a_failing_run_is_a_run_error(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    def broken(self: Engine) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Engine, "train", broken)
    with pytest.raises(RunError, match="out of memory"):
        run(**settings)
    status = json.loads((pretrain_folder(settings) / "status.json").read_text())
    assert status == {"state": "failed", "reason": "out of memory"}


def test_an_interrupted_call_goes_on(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    epoch = Engine._epoch

    def interrupting(self: Engine, number: int) -> None:
        epoch(self, number)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_epoch", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run(**settings)
    assert len(run(**settings).history) == 2
    assert "continuing" in (pretrain_folder(settings) / "run.log").read_text()


# What run leaves as it was.


class Kept(logging.Handler):
    """A notebook's own handler."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record.getMessage())


@pytest.fixture
def notebook_log() -> Iterator[Callable[[int], Kept]]:
    """Give a level, get a handler: logging as a notebook has set it up, and no other handler."""
    root = logging.getLogger()
    before, level, kept = root.handlers, root.level, Kept()

    def set_up(level: int) -> Kept:
        root.handlers = [kept]
        root.setLevel(level)
        return kept

    yield set_up
    root.handlers = before
    root.setLevel(level)


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO])
def test_logging_stays_as_it_was_and_the_runs_log_is_whole(
    level: int, settings: dict[str, Any], notebook_log: Callable[[int], Kept], capfd: pytest.CaptureFixture[str]
):
    before = (LOGGER.level, LOGGER.propagate, list(LOGGER.handlers))
    run(**settings)
    settings |= {"method": "l1_sparse"}  # without a reference: there is something to warn of
    kept = notebook_log(level)
    capfd.readouterr()
    folder = run(**settings).path
    assert (LOGGER.level, LOGGER.propagate, LOGGER.handlers) == before
    assert (logging.getLogger().handlers, logging.getLogger().level) == ([kept], level)
    assert capfd.readouterr() == ("", "")
    text = (folder / "run.log").read_text()
    assert "INFO starting" in text
    assert text.count("WARNING") == sum("are null" in message for message in kept.kept) == 1
    assert sum(message.startswith("starting") for message in kept.kept) == (level == logging.INFO)


def test_threads_and_random_numbers_stay_as_they_were(settings: dict[str, Any], threads_put_back: None):
    torch.set_num_threads(2)
    torch.manual_seed(7)
    np.random.seed(7)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(7)
    np.random.seed(7)
    result = run(**settings, threads=1)
    assert yaml.safe_load((result.path / "config.yaml").read_text())["provenance"]["threads"] == 1
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])


# load_results.


def write_run(root: Path, name: str, metrics: dict[str, Any], state: str = "done", **config: Any) -> Path:
    """A run's folder with what load_results reads."""
    folder = root / name
    folder.mkdir(parents=True)
    config = {
        "dataset": "digits", "model": "small_cnn", "image_size": 32, "weights": "none", "seed": 0,
        "unlearning_ratio": 0.5, "preset": "strict", "tag": "", **config,
    }  # fmt: skip
    told = {"identity": {}, "task": "split0", "reweights_by_default": config["method"] == "miu"}
    (folder / "config.yaml").write_text(yaml.safe_dump({"config": config, **told}))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    reason = None if state == "done" else "the disk is full"
    (folder / "status.json").write_text(json.dumps({"state": state, "reason": reason}))
    if state == "done":
        (folder / "done").touch()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Runs by hand: five finished, one failed, one whose metrics are no JSON, and a tracker's own config.yaml."""
    root = tmp_path / "by hand"
    numbers = {"schema": 2, "test_acc": 81.25, "tow": None, "reasons": {"tow": "no reference"}, "gaps": None}
    write_run(root, "a", {**numbers, "test_acc": None, "mia": 40.0}, method="miu", reweight=True, seed=1)
    write_run(root, "b", {**numbers, "mia": 35.5, "worst_group": "a on b"}, method="miu", reweight=True)
    write_run(root, "c", {**numbers, "mia": None}, method="miu", reweight=False, unlearning_ratio=0.1)
    write_run(root, "d", {**numbers, "mia": 3.0, "groups": [{"id": 0, "name": "a"}]}, method="retrain", reweight=True)
    write_run(root, "e", {"test_acc": 90.0, "train_acc": 100.0}, method="pretrain")
    write_run(root, "f", numbers, method="scrub", reweight=False, state="failed")
    broken = write_run(root, "g", numbers, method="scrub", reweight=False, seed=1)
    (broken / "metrics.json").write_text("{")
    of_tracker = root / "a/wandb/run-1/files/config.yaml"
    of_tracker.parent.mkdir(parents=True)
    of_tracker.write_text("_wandb:\n  value: {}\n")
    return root


def test_load_results_has_one_row_a_finished_run(store: Path):
    frame = load_results(store)
    miss = np.nan
    expected = pd.DataFrame(
        [
            ("pretrain", "pretrain", False, None, miss, 0, miss, 90.0, 100.0, miss, None, "e"),
            ("miu", "miu (no reweight)", False, "split0", 0.1, 0, 2.0, 81.25, miss, miss, None, "c"),
            ("retrain", "retrain + reweight", True, "split0", 0.5, 0, 2.0, 81.25, miss, 3.0, None, "d"),
            ("miu", "miu", True, "split0", 0.5, 0, 2.0, 81.25, miss, 35.5, "a on b", "b"),
            ("miu", "miu", True, "split0", 0.5, 1, 2.0, miss, miss, 40.0, None, "a"),
        ],
        columns=[
            *("method", "label", "reweight", "task", "unlearning_ratio", "seed"),
            *("schema", "test_acc", "train_acc", "mia", "worst_group", "folder"),
        ],
    )
    expected["folder"] = [str(store / name) for name in expected["folder"]]
    pd.testing.assert_frame_equal(frame[expected.columns], expected, check_dtype=False)
    what = ["dataset", "model", "task", "method", "label", "reweight", "unlearning_ratio", "seed"]
    what += ["train_seed", "forget_seed", "leave_out"]
    assert [*frame.columns[:11]] == what
    assert set(frame.columns) == {*expected.columns, *what, "tow"}
    assert frame.columns[-1] == "folder"
    assert set(frame["dataset"] + frame["model"]) == {"digitssmall_cnn"}
    assert frame["tow"].isna().all()
    assert {frame[name].dtype for name in ("test_acc", "mia", "tow", "unlearning_ratio")} == {np.dtype(float)}
    assert frame["reweight"].dtype == bool
    assert frame["train_seed"].tolist() == [0, 0, 0, 0, 1]
    assert frame["forget_seed"].isna().tolist() == [True, *[False] * 4]  # pretrain forgets nothing
    assert frame["forget_seed"][1:].tolist() == [0, 0, 0, 1]


def test_runs_that_are_not_rows_are_named(store: Path):
    problems = dict(load_results(store).attrs["missing"])
    assert problems.keys() == {str(store / "f"), str(store / "g")}
    assert problems[str(store / "f")] == "failed: the disk is full"
    assert "metrics.json" in problems[str(store / "g")]


def test_a_store_without_a_finished_run_is_an_empty_table(tmp_path: Path):
    folder = write_run(tmp_path, "a", {}, method="miu", state="running")
    frame = load_results(str(tmp_path))
    assert (len(frame), list(frame.columns[:2])) == (0, ["dataset", "model"])
    assert frame.attrs["missing"] == [(str(folder), "running: the disk is full")]


def test_a_folder_without_runs_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match="no run under"):
        load_results(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        load_results(tmp_path / "nowhere")


def test_results_of_real_runs(finished: dict[str, Any]):
    retrained = run(**finished | {"method": "retrain"})
    frame = load_results(finished["store_dir"])
    assert list(frame["method"]) == ["pretrain", "retrain"]
    row = frame.iloc[1]
    single = {name: value for name, value in retrained.metrics.items() if isinstance(value, (int, float, str))}
    assert {name: row[name] for name in single} == single
    assert row["folder"] == str(retrained.path)
    assert (row["tow"], row["task"], row["unlearning_ratio"]) == (100.0, "split0", 0.5)
    assert frame.attrs["missing"] == []


# Importing.


def test_reading_results_needs_no_torch(store: Path):
    done = python_apart(
        "import sys\n"
        "from method import RunError, UserError, load_results, run\n"
        "assert not {'torch', 'pandas', 'datasets'} & sys.modules.keys(), 'at the import'\n"
        f"assert len(load_results({str(store)!r})) == 5\n"
        "assert 'torch' not in sys.modules, 'after reading'\n"
    )
    assert done.code == 0, done.err


def test_the_command_line_does_not_import_this(tmp_path: Path):
    done = python_apart(
        "import sys\n"
        "import main\n"
        "assert main.main(['--method', 'miu', '--print_config']) == 0\n"
        "print(sorted({'pandas', 'method.api', 'method.runs.labels'} & sys.modules.keys()))\n"
    )
    assert (done.code, done.out.splitlines()[-1]) == (0, "[]"), done.err


def test_method_offers_no_more_than_it_says():
    assert not hasattr(method, "read_runs")
    assert method.run is api.run


def test_without_pandas_the_error_says_what_to_install(
    settings: dict[str, Any], store: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for call in (lambda: run(**settings), lambda: load_results(store)):
        with pytest.raises(UserError, match="pip install pandas"):
            call()
    assert written(settings["store_dir"]) == []


def test_another_package_named_utils_is_named(tmp_path: Path):
    """The notebook's folder comes before the project's."""
    (tmp_path / "utils.py").write_text("")
    done = python_apart(f"import sys\nsys.path.append({str(ROOT)!r})\nfrom method import run", cwd=tmp_path)
    assert done.err.splitlines()[-1].startswith("ImportError: another package named utils comes before")
    assert f"sys.path.insert(0, {str(ROOT)!r})" in done.err


def test_another_package_named_datasets_is_named(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """Imported before ours could be."""
    other = ModuleType("datasets")
    other.__file__ = "/elsewhere/datasets/__init__.py"
    monkeypatch.setitem(sys.modules, "datasets", other)
    with pytest.raises(UserError, match="another package named datasets is imported, from /elsewhere"):
        run(**settings)


@pytest.mark.slow
def test_from_a_folder_of_its_own(settings: dict[str, Any], tmp_path: Path):
    """Relative folders are the notebook's, what is returned is not relative."""
    flags = {**settings, "data_dir": str(settings["data_dir"]), "store_dir": "here", "checkpoint_dir": "none"}
    done = python_apart(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom method import load_results, run\n"
        f"print(run(**{flags}).path)\nprint(load_results('here').folder[0])\n",
        cwd=tmp_path,
    )
    assert (done.code, done.err) == (0, "")
    folder = "here/waterbird/small_cnn/pretrain_0"
    assert done.out.splitlines() == [str(tmp_path / folder), folder]
