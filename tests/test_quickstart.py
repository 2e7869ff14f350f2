"""scripts/quickstart.sh: which runs it makes, how many at once, what it says of them, and going on after Ctrl-C."""

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cli import ROOT
from workshop import metrics_of

from method.registry import METHODS
from scripts import quickstart
from scripts.sweep.grid import check_grid
from scripts.sweep.local import LocalSweep, _Child
from scripts.sweep.plan import PlannedRun, plan
from utils.text import estimate

SHIPPED = ["pretrain", "retrain", "retrain_reweight", "miu", "salun", "scrub", "l1_sparse"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is asked of the sweep, which does nothing and says that it was interrupted."""
    found: dict[str, Any] = {"gpus": [], "cpus": 3}

    def run_here(runs: list[PlannedRun], jobs: int | None, devices: list[str]) -> int:
        found.update(runs=runs, jobs=jobs, devices=devices)
        return 75

    monkeypatch.setattr(quickstart, "run_here", run_here)
    monkeypatch.setattr(quickstart, "gpu_names", lambda: found["gpus"])
    monkeypatch.setattr(quickstart, "available_cpus", lambda: found["cpus"])
    return found


def test_one_thread_a_run_and_as_many_runs_as_cpus(asked: dict[str, Any]):
    assert quickstart.main([]) == 75
    assert [run.folder.name for run in asked["runs"]] == [
        "pretrain_0", *(f"{name}_0.9_0" for name in SHIPPED[1:])
    ]  # fmt: skip
    assert {run.config.threads for run in asked["runs"]} == {1}
    assert (asked["jobs"], asked["devices"]) == (3, [])


def test_a_gpu_has_one_run_at_a_time(asked: dict[str, Any]):
    asked["gpus"] = ["0", "1"]
    assert quickstart.main([]) == 75
    assert (asked["jobs"], asked["devices"]) == (None, ["0", "1"])


def test_flags_of_main_are_for_every_run(asked: dict[str, Any], tmp_path: Path):
    words = ["--seed", "1", "--store_dir", str(tmp_path), "--unlearning_ratio=0.5", "--threads", "2", "--lr", "0.5"]
    assert quickstart.main(words) == 75
    assert [run.folder for run in asked["runs"]] == [
        tmp_path / "digits/small_cnn/pretrain_1",
        *(tmp_path / f"digits/small_cnn/split0/{name}_0.5_1" for name in SHIPPED[1:]),
    ]
    assert {(run.config.lr, run.config.threads) for run in asked["runs"]} == {(0.5, 2)}
    assert asked["jobs"] == 1  # of three CPUs, two for a run


def test_all_is_every_method(asked: dict[str, Any]):
    assert quickstart.main(["--all", "--seed", "2"]) == 75
    assert {run.config.method for run in asked["runs"]} == set(METHODS)
    assert {run.config.seed for run in asked["runs"]} == {2}


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--seed", "one"], "error: --seed: seed is 'one', expected a whole number"),
        (["--seed", "0", "--seed=1"], "--seed 0 and --seed 1 contradict each other"),
        (["--dataset", "fairface", "--split_number", "1", "--multi_group", "3"], "both choose what to forget"),
        (["--epocs", "1"], "unknown argument --epocs: did you mean --epochs?"),
        (["--overwrite"], "--overwrite cannot be given to every run"),
    ],
)
def test_a_wrong_flag_is_one_sentence(words: list[str], sentence: str, asked: dict[str, Any], capsys: Any):
    assert quickstart.main(words) == 2
    assert "runs" not in asked
    assert sentence in capsys.readouterr().err


# The time that is left.


def sweep(jobs: int, took: dict[int, float], at_work: dict[int, float], waiting: set[int]) -> LocalSweep:
    """0 pretrain, 1 retrain, 2 retrain with REWEIGHT, 3 miu (needs 0 and 2), 4 salun (0 and 1); at_work: since when."""
    content = {"dataset": "digits", "unlearning_ratio": 0.9, "method": ["retrain", "miu", "salun"]}
    found = LocalSweep(plan(check_grid(Path("grid.yaml"), content)), jobs, [])
    found.took, found.open, now = took, {*at_work, *waiting}, time.monotonic()
    found.children = {number: _Child(None, None, None, now - since, True) for number, since in at_work.items()}
    return found


TRAINED = {0: 30.0, 1: 12.0}  # 60 epochs each; of miu and salun, with 10, the mean of 5 s and 2 s is expected


@pytest.mark.parametrize(
    "jobs, took, at_work, waiting, expected",
    [
        (3, TRAINED, {2: 2.0}, {3, 4}, 10 + 3.5),  # miu waits for what it needs, salun need not
        (1, TRAINED, {2: 2.0}, {3, 4}, 10 + 3.5 + 3.5),
        (2, TRAINED, {2: 0.0}, {3}, 12 + 3.5),
        (2, TRAINED, {3: 1.0, 4: 2.0}, set(), 2.5),
        (2, TRAINED, {3: 99.0}, {4}, 3.5),  # longer than expected: it may end any moment
        (2, {**TRAINED, 4: 20.0}, {2: 2.0}, {3}, 10 + 20),  # the other unlearning method is nearer than a trained model
    ],
)
def test_the_time_left_follows_what_has_ended_and_what_waits_for_what(jobs, took, at_work, waiting, expected):
    found = sweep(jobs, took, at_work, waiting)
    assert found._seconds_left() == pytest.approx(expected, abs=0.5)
    assert re.fullmatch(rf"{5 - len(found.open)} of 5, about \d0 s left", found._progress())


def test_nothing_is_said_of_the_time_before_a_whole_run_has_ended():
    assert sweep(2, {}, {1: 5.0}, {2, 3, 4})._progress() == "1 of 5"


@pytest.mark.parametrize(
    "seconds, text", [(1, "10 s"), (42, "50 s"), (94, "100 s"), (130, "2 min"), (3600, "60 min"), (9000, "2.5 h")]
)
def test_an_estimate_is_no_finer_than_it_can_be(seconds: float, text: str):
    assert estimate(seconds) == text


# As a whole.


@pytest.mark.slow
def test_ctrl_c_and_a_second_call_make_everything_once_in_order(tmp_path: Path):
    flags = shlex.split("--unlearning_ratio 0.5 --seed 1 --epochs 2 --batch_size 512")
    command = [sys.executable, "-m", "scripts.quickstart", "--store_dir", str(tmp_path), *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    first = ""
    while " done after " not in first:
        first += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    first += process.communicate(timeout=120)[0]
    assert process.returncode == 75, first
    assert first.endswith("stopped: run the same command to continue\n")
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert again.returncode == 0, again.stdout + again.stderr

    folders = {"pretrain_1", *(f"{name}_0.5_1" for name in SHIPPED[1:])}
    logs = {log.parent.name: log.read_text() for log in tmp_path.rglob("run.log")}
    assert set(logs) == folders
    assert {len(re.findall(r" INFO starting ", text)) for text in logs.values()} == {1}
    assert all(metrics_of(log.parent) for log in tmp_path.rglob("run.log"))
    ended = re.findall(r"^run (\d) done(?: after \d+ s)?, (\d) of 7", again.stdout, re.M)
    assert sorted(run for run, _ in ended) == list("0123456")
    assert [number for _, number in ended] == list("1234567")
    assert re.search(r"^run \d done after \d+ s, \d of 7, about \d+ (s|min) left: ", again.stdout, re.M)
    told = re.findall(r"^run (\d) (starts|done)", first + again.stdout, re.M)
    for run, needs in {"3": "02", "4": "01", "5": "01", "6": "01"}.items():
        assert all(told.index((need, "done")) < told.index((run, "starts")) for need in needs)
    assert "ratio 0.5" in again.stdout
    assert (tmp_path / "report.html").exists()
    assert again.stdout.endswith(f"the page to look at: {tmp_path}/report.html\n")
