"""Signals, kills and processes in each other's way: real processes, compared with runs that were left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli import ROOT, words, written
from workshop import SMALL, VARIANTS, Workshop, assert_same_run, history_of

from utils.locks import LOCK

LONG = SMALL.replace("--epochs 3", "--epochs 40")
LONG_VARIANTS = {name: place for name, place in VARIANTS.items() if name != "retrain"}


@pytest.fixture(scope="module")
def straight(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Runs that nobody disturbed."""
    workshop = Workshop(data_dir, tmp_path_factory.mktemp("straight"), LONG)
    workshop.ok("pretrain")
    return workshop


def start(workshop: Workshop, command: str, **folders: Path) -> subprocess.Popen:
    """main.py in a process of its own."""
    arguments = words(f"--method {command} {workshop.settings}", **workshop.folders(**folders))
    return subprocess.Popen(
        [sys.executable, ROOT / "main.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(file: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not file.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert file.exists(), process.communicate(timeout=10)


@contextmanager
def under_way(workshop: Workshop) -> Iterator[subprocess.Popen]:
    """A process with an epoch or more behind it."""
    process = start(workshop, "pretrain")
    try:
        wait_for(workshop.place("pretrain") / "last.pt", process)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


@pytest.fixture
def workshop(data_dir: Path, tmp_path: Path) -> Workshop:
    return Workshop(data_dir, tmp_path / "store", LONG)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_ends_a_run_with_75_and_the_same_command_goes_on(workshop: Workshop, straight: Workshop, name: str):
    folder = workshop.place("pretrain")
    with under_way(workshop) as process:
        process.send_signal(getattr(signal, name))
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (75, ""), errors
    assert errors.splitlines()[-1] == f"stopped by {name}: run the same command to continue"
    assert "Traceback" not in errors
    assert json.loads((folder / "status.json").read_text()) == {"state": "interrupted", "reason": f"stopped by {name}"}
    assert 1 <= len(history_of(folder)) < 40
    assert LOCK not in written(folder)
    assert_same_run(workshop.ok("pretrain"), straight.place("pretrain"))


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once_and_the_last_state_is_whole(workshop: Workshop, straight: Workshop):
    with under_way(workshop) as process:
        os.kill(process.pid, signal.SIGSTOP)  # both are there when it wakes
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        os.kill(process.pid, signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    assert_same_run(workshop.ok("pretrain"), straight.place("pretrain"))


@pytest.mark.slow
def test_a_holder_that_slept_through_a_takeover_writes_nothing(workshop: Workshop, straight: Workshop):
    """Stopped for ten minutes (by the file's age), taken over, woken: its folder is another's by then."""
    folder = workshop.place("pretrain")
    with under_way(workshop) as process:
        os.kill(process.pid, signal.SIGSTOP)
        os.utime(folder / LOCK, (time.time() - 601,) * 2)
        assert workshop.ok("pretrain") == folder
        before = contents(folder)
        os.kill(process.pid, signal.SIGCONT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "has taken" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert contents(folder) == before
    assert (folder / "run.log").read_text().count("continuing ") == 1
    assert_same_run(folder, straight.place("pretrain"))


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with the time of its last change."""
    return {name: ((folder / name).read_bytes(), (folder / name).stat().st_mtime_ns) for name in written(folder)}


@pytest.mark.slow
def test_eight_processes_on_one_run_make_it_once(workshop: Workshop, straight: Workshop):
    crowd = [start(workshop, "pretrain") for _ in range(8)]
    ends = [(*process.communicate(timeout=280), process.returncode) for process in crowd]
    assert [code for _, _, code in ends] == [0] * 8, ends
    folder = workshop.place("pretrain")
    made = [out for out, _, _ in ends if out != f"already done: {folder}\n"]
    assert len(made) == 1
    assert made[0].splitlines()[-1] == f"done: {folder}"
    assert (folder / "run.log").read_text().count("starting ") == 1
    assert any("waiting for process" in errors for _, errors, _ in ends)
    assert_same_run(folder, straight.place("pretrain"))


@pytest.mark.slow
def test_one_that_does_not_wait_ends_with_75_and_leaves_no_trace(workshop: Workshop):
    folder = workshop.place("pretrain")
    with under_way(workshop) as process:
        os.kill(process.pid, signal.SIGSTOP)
        before = contents(folder)
        result = workshop.run("pretrain --no_wait")
        assert (result.code, result.out) == (75, "")
        assert f"held by process {process.pid} on " in result.err
        assert contents(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("variant", LONG_VARIANTS)
def test_killed_again_and_again_a_run_ends_bit_equal(variant: str, workshop: Workshop, straight: Workshop):
    """The short form of benchmarks/kill_and_resume.py: two kills, at random moments."""
    moments = random.Random(variant)
    whole, folder = straight.place(variant), workshop.place(variant)
    if not (whole / "done").exists():
        straight.ok(variant)
    for _ in range(2):
        process = start(workshop, f"{variant} --save_every 1", checkpoint_dir=straight.store)
        wait_for(folder / "config.yaml", process)
        time.sleep(moments.uniform(0, 0.5))
        process.kill()
        process.communicate(timeout=60)
        assert not (folder / "done").exists()
    assert_same_run(workshop.ok(variant, checkpoint_dir=straight.store), whole)
    assert LOCK not in written(folder)
