"""A sweep through a real SLURM: one task cancelled, one requeued, one at its time limit, and the numbers all the same.

Runs where sbatch works, or where SLURM_TEST_START names a script that starts a SLURM (bash SCRIPT FOLDER; its FOLDER or
$SLURMTEST then has an env.sh), such as .ci/slurm.sh.
"""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli import ROOT
from workshop import SMALL, history_of, metrics_of, repeatable

from scripts.sweep.grid import read_grid
from scripts.sweep.plan import PlannedRun, plan
from scripts.sweep.state import states
from utils.locks import holder

pytestmark = pytest.mark.slow
GRID = {
    "dataset": "digits",
    "unlearning_ratio": 0.9,
    "method": ["retrain", "retrain+reweight", "miu", "salun", "l1_sparse"],
    "seed": [0, 1],
    "per_method": {
        "pretrain": {"epochs": 8},  # time enough to be interrupted in
        "retrain": {"epochs": 6},
        "miu": {"critic_steps_first": 3, "critic_steps": 2},
    },
}
FAST = {"epochs": 1, "threads": 1, "num_workers": 0, "save_every": 10}
# A sweep's commands, one after the other in one process.
IN_TURN = "import json, sys, main; sys.exit(any([main.main(words) for words in json.loads(sys.argv[1])]))"
# The warning comes when a task has run for a minute; the work alone takes less.
LIMIT = ("--time=2", "--signal=B:USR1@60")


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which sbatch works."""
    start = os.environ.get("SLURM_TEST_START")
    if start is None:
        if shutil.which("sbatch") is None:
            pytest.skip("no sbatch on the PATH, and SLURM_TEST_START names no script that starts a SLURM")
        if subprocess.run(["scontrol", "ping"], capture_output=True).returncode:
            pytest.skip("sbatch is on the PATH, but scontrol ping reaches no SLURM")
        yield dict(os.environ)
        return
    # Not in pytest's folder: its name would make the paths of sockets too long.
    with tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as made:
        folder = os.environ.get("SLURMTEST", made)
        subprocess.run(["bash", start, folder], env={**os.environ, "SLURMTEST": folder}, check=True)
        told = subprocess.run(
            ["bash", "-c", '. "$1/env.sh" && env -0', "env", folder], capture_output=True, text=True, check=True
        )
        yield dict(line.split("=", 1) for line in told.stdout.split("\0") if "=" in line)
        if folder == made:
            subprocess.run(["bash", start, folder, "stop"], check=True)


class Cluster:
    """submit.sh and the commands of SLURM, for one grid."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.logs = folder / "logs"
        self.grid = folder / "grid.yaml"
        self.environment = {**environment, "LOGS": str(self.logs), "PYTHON": sys.executable}

    def ask(self, *words: str) -> str:
        done = subprocess.run(words, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, *options: str) -> list[str]:
        """Lines about the jobs that were submitted."""
        return self.ask("bash", "scripts/slurm/submit.sh", str(self.grid), *LIMIT, *options).splitlines()

    def job_of(self, lines: list[str], seed: int, stage: str) -> str:
        """The number of the job of a seed's chain."""
        return next(line.split()[0] for line in lines if f"/{seed}  {stage}  " in line)

    def queue(self) -> list[str]:
        """Our tasks in the queue."""
        lines = self.ask("squeue", "--noheader", "--array", "--format", "%F_%K %k").splitlines()
        return [line.split()[0] for line in lines if line.split(" ", 1)[1].startswith(str(self.logs))]

    def log(self, task: str) -> str:
        found = list(self.logs.glob(f"*-{task}.log"))
        return found[0].read_text() if found else ""


def until(condition: Callable[[], Any], what: str, seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)
    return found


def grid_in(folder: Path) -> list[PlannedRun]:
    folder.mkdir()
    places = {"store_dir": str(folder / "out"), "checkpoint_dir": str(folder / "none")}
    (folder / "grid.yaml").write_text(yaml.safe_dump({**GRID, "set": {**FAST, **places}}))
    return plan(read_grid(folder / "grid.yaml"))


def in_training(run: PlannedRun) -> int | None:
    """The process that trains it, once a state is saved."""
    at_work = holder(run.folder) if (run.folder / "last.pt").exists() else None
    return at_work.pid if at_work else None


def waits_for_usr1(pid: int) -> bool:
    """Whether a stopped process has that signal to see to when it goes on."""
    found = re.search(r"^ShdPnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(found[1], 16) & 1 << (signal.SIGUSR1 - 1))


def named(runs: list[PlannedRun], name: str) -> PlannedRun:
    return next(run for run in runs if run.folder.name == name)


def test_dry_run_prints_the_commands(slurm: dict[str, str], tmp_path: Path):
    grid_in(tmp_path / "dry")
    cluster = Cluster(tmp_path / "dry", {**slurm, "THROTTLE": "3"})
    lines = cluster.submit("--dry_run", "--partition=gpu", "--gres=gpu:1")
    assert [line.split(":")[0] for line in lines] == [f"JOB{number}" for number in range(1, 7)]
    assert all("--partition=gpu --gres=gpu:1" in line and "%3" in line for line in lines)
    assert "--array=6-8%3 --dependency=afterok:JOB1:JOB2 " in lines[2]
    assert "--array=1%3 --kill" in lines[3]
    assert cluster.queue() == []


def test_a_sweep_survives_and_its_numbers_are_those_of_a_local_one(slurm: dict[str, str], tmp_path: Path):
    local = grid_in(tmp_path / "local")
    runs = grid_in(tmp_path / "slurm")
    assert len(runs) == 12
    cluster = Cluster(tmp_path / "slurm", slurm)
    first = cluster.submit()
    assert len(first) == 6
    assert cluster.submit() == ["nothing to submit: every run is done or in the queue (12 tasks there)"]

    # Seed 0: its pretrained run is cancelled in mid-training, and what waits for it goes too.
    until(lambda: in_training(named(runs, "pretrain_0")), "the first run's training")
    cancelled = f"{cluster.job_of(first, 0, 'pretrain')}_0"
    cluster.ask("scancel", cancelled)
    # Seed 1: its pretrained run is requeued in mid-training.
    until(lambda: in_training(named(runs, "pretrain_1")), "the second run's training")
    requeued = f"{cluster.job_of(first, 1, 'pretrain')}_1"
    cluster.ask("scontrol", "requeue", requeued)
    chain_0 = tuple(cluster.job_of(first, 0, stage) for stage in ("pretrain", "retrain", "unlearn"))
    until(lambda: not any(task.split("_")[0] in chain_0 for task in cluster.queue()), "the end of seed 0's chain")
    assert states(runs)[0].name == "interrupted"
    assert "SLURM is ending this task (COMPLETING)" in cluster.log(cancelled)

    # A run of seed 1 is halted until its time limit comes near.
    # It is the last task of its array, which has the array's own number as SLURM_JOB_ID.
    retrain = named(runs, "retrain_reweight_0.9_1")
    pid = until(lambda: in_training(retrain), "the training of a retrained run")
    os.kill(pid, signal.SIGSTOP)
    # Meanwhile the sweep is submitted again: seed 0 alone is missing.
    again = cluster.submit()
    assert [line.split()[1:3] for line in again] == [
        ["digits/small_cnn/0", stage] for stage in ("pretrain", "retrain", "unlearn")
    ]
    here = subprocess.Popen(
        [sys.executable, "-c", IN_TURN, json.dumps([run.arguments for run in local])],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: waits_for_usr1(pid), "the warning before the time limit")
    os.kill(pid, signal.SIGCONT)
    limited = f"{cluster.job_of(first, 1, 'retrain')}_{retrain.index}"
    until(lambda: cluster.log(limited).count("back into the queue"), "the requeue at the time limit")

    told, _ = here.communicate(timeout=600)
    assert here.returncode == 0, told
    until(lambda: not cluster.queue(), "the end of the queue", 600)
    assert [state.name for state in states(runs)] == ["done"] * 12
    for task in (requeued, limited):
        assert len(re.findall(r"^== .* start \d$", cluster.log(task), re.M)) >= 2
    for mine, theirs in zip(runs, local, strict=True):
        assert repeatable(metrics_of(mine.folder)) == repeatable(metrics_of(theirs.folder)), mine.folder
        assert history_of(mine.folder) == history_of(theirs.folder)
    assert cluster.submit() == ["nothing to submit: every run is done or in the queue (0 tasks there)"]


def test_four_tasks_of_an_array_are_workers_of_one_search(slurm: dict[str, str], data_dir: Path, tmp_path: Path):
    (tmp_path / "quick.yaml").write_text("pretrain: {epochs: 1}\nretrain: {epochs: 1}\n")
    search = (
        f"{shlex.quote(sys.executable)} -W ignore -m scripts.tune --method salun {SMALL} "
        f"--config {tmp_path / 'quick.yaml'} --data_dir {data_dir} --store_dir {tmp_path} "
        f"--checkpoint_dir {tmp_path / 'none'} --tune_seeds 3 --budget 6"
    )
    cluster = Cluster(tmp_path, slurm)
    cluster.logs.mkdir()
    options = ["--parsable", "--array=0-3", f"--chdir={ROOT}", f"--output={cluster.logs}/%A_%a.log"]
    job = cluster.ask("sbatch", *options, "--wrap", f"exec {search}").strip()
    logs = [cluster.logs / f"{job}_{task}.log" for task in range(4)]
    until(lambda: all(log.exists() and "for --config: " in log.read_text() for log in logs), "four workers' ends", 300)
    told = {log.read_text().partition("best: ")[2] for log in logs}
    assert len(told) == 1
    (journal,) = tmp_path.glob("tune/**/journal.log")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    workers = {line["user_attr"]["worker"] for line in lines if "worker" in line.get("user_attr", {})}
    assert len(workers) > 1, "one task did all the work"
    with next(tmp_path.glob("tune/**/trials.csv")).open() as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert len(states) == 6
    assert set(states) <= {"complete", "pruned"}
