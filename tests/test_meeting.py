"""The variables of several processes, and processes that wait for others: what is said, and one signal ends it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli import ROOT, refused

from utils import distributed, environment
from utils.errors import UserError

HERE = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
NAMES = (*HERE, "LOCAL_RANK", "LOCAL_WORLD_SIZE")
SIX = "--method pretrain --dataset digits --device cpu --threads 1 --epochs 1"


def set_to(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """These variables, and no others of their kind."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "variables, says",
    [
        ({"WORLD_SIZE": ""}, "WORLD_SIZE= in the environment: expected a whole number from 1 to 10000"),
        (HERE | {"WORLD_SIZE": "two"}, "WORLD_SIZE=two in the environment: expected a whole number"),
        (HERE | {"WORLD_SIZE": "0"}, "WORLD_SIZE=0 in the environment: expected a whole number from 1"),
        (HERE | {"WORLD_SIZE": "9" * 400}, "expected a whole number from 1 to 10000"),
        (HERE | {"RANK": "foo"}, "RANK=foo in the environment: expected a whole number from 0"),
        (HERE | {"RANK": "-1"}, "RANK=-1 in the environment: expected a whole number from 0"),
        (HERE | {"RANK": ""}, "RANK= in the environment"),
        (HERE | {"RANK": "2"}, "RANK=2 and WORLD_SIZE=2 in the environment: they count from 0, so the largest is 1"),
        ({"WORLD_SIZE": "1", "RANK": "3"}, "the environment has RANK=3, WORLD_SIZE=1 but no MASTER_ADDR"),
        (
            HERE | {"MASTER_PORT": "70000"},
            "MASTER_PORT=70000 in the environment: expected a whole number from 1 to 65535",
        ),
        (HERE | {"MASTER_PORT": "http"}, "MASTER_PORT=http in the environment"),
        (
            HERE | {"MASTER_ADDR": ""},
            "but no MASTER_ADDR, so this is neither one of several processes nor a single one",
        ),
        (HERE | {"LOCAL_RANK": ""}, "LOCAL_RANK= in the environment"),
        (HERE | {"LOCAL_WORLD_SIZE": "x"}, "LOCAL_WORLD_SIZE=x in the environment"),
        (HERE | {"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"}, "LOCAL_RANK=2 and LOCAL_WORLD_SIZE=2 in the environment"),
        ({"WORLD_SIZE": "8", "RANK": "3"}, "has RANK=3, WORLD_SIZE=8 but no MASTER_ADDR and no MASTER_PORT"),
        ({"RANK": "0"}, "has RANK=0 but no WORLD_SIZE and no MASTER_ADDR and no MASTER_PORT"),
    ],
)
def test_variables_that_make_no_sense_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], says: str
):
    set_to(monkeypatch, variables)
    sentence = refused(SIX, store_dir=tmp_path)
    assert says in sentence
    assert sentence.endswith("start the processes with torchrun, or unset RANK and WORLD_SIZE for a single one")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"MASTER_ADDR": "node1", "MASTER_PORT": "nonsense"},  # nobody says that there are several
        {"WORLD_SIZE": "1"},
        HERE | {"WORLD_SIZE": "1"},
    ],
)
def test_a_single_process_needs_no_others(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]):
    set_to(monkeypatch, variables)
    with distributed.joined():
        assert (distributed.world_size(), distributed.rank(), distributed.speaks()) == (1, 0, True)


def test_what_needs_no_others_works_whatever_the_variables(monkeypatch: pytest.MonkeyPatch):
    set_to(monkeypatch, HERE | {"RANK": "foo"})
    assert (distributed.world_size(), distributed.rank(), distributed.local_rank()) == (1, 0, 0)
    with pytest.raises(UserError, match="RANK=foo"):
        environment.check_variables()


# Real processes.


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(store: Path, **variables: str) -> subprocess.Popen:
    """main.py with these variables."""
    others = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.Popen(
        [sys.executable, ROOT / "main.py", *SIX.split(), "--store_dir", store],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=others | {"OMP_NUM_THREADS": "1"} | HERE | variables,
    )


def line_of(process: subprocess.Popen) -> str:
    """The first line that it says."""
    return process.stderr.readline()


def ended(process: subprocess.Popen, number: signal.Signals) -> tuple[int, str, float]:
    """Exit code, what it still said, and the seconds from the signal to the end."""
    process.send_signal(number)
    began = time.monotonic()
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, err, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_rank_0_says_who_is_missing_and_stops_when_asked(tmp_path: Path, number: signal.Signals):
    port = str(free_port())
    process = start(tmp_path, MASTER_PORT=port)
    line = line_of(process)
    assert line.startswith("process 0 of 2, for 3 s: waiting for process 1; 1 of 2 have come to 127.0.0.1:")
    assert line.endswith("unset RANK and WORLD_SIZE for a single one\n")
    code, err, seconds = ended(process, number)
    assert (code, err.splitlines()[-1]) == (75, f"stopped by {number.name}: run the same command to continue")
    assert seconds < 10
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_another_says_that_rank_0_is_missing(tmp_path: Path):
    process = start(tmp_path, RANK="1", MASTER_PORT=str(free_port()))
    assert line_of(process).startswith("process 1 of 2, for 3 s: waiting for process 0 at 127.0.0.1:")
    code, err, seconds = ended(process, signal.SIGTERM)
    assert (code, err) == (75, "stopped by SIGTERM: run the same command to continue\n")
    assert seconds < 10


@pytest.mark.slow
def test_a_name_that_nobody_has_is_said(tmp_path: Path):
    process = start(tmp_path, RANK="1", MASTER_ADDR="nobody.invalid")
    assert "waiting for process 0 at nobody.invalid:29500 (MASTER_ADDR:MASTER_PORT; " in line_of(process)
    assert ended(process, signal.SIGTERM)[0] == 75


@pytest.mark.slow
def test_one_that_was_stopped_while_waiting_can_come_again(tmp_path: Path):
    """Three processes: the second comes, is stopped, and comes again; then the third does."""
    shared = {"WORLD_SIZE": "3", "MASTER_PORT": str(free_port())}
    first, gone = start(tmp_path, **shared), start(tmp_path, **shared, RANK="1")
    assert "waiting for process" in line_of(first)
    time.sleep(4)  # the other has come by now, and rank 0 speaks for it
    code, err, seconds = ended(gone, signal.SIGTERM)
    assert (code, err) == (75, "stopped by SIGTERM: run the same command to continue\n")
    assert seconds < 10
    others = [start(tmp_path, **shared, RANK=rank) for rank in "12"]
    ends = [process.communicate(timeout=300) for process in (first, *others)]
    assert [process.returncode for process in (first, *others)] == [0, 0, 0], ends
    assert ends[0][0].splitlines()[-1].startswith("done: ")


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_port_that_another_program_has_is_said(tmp_path: Path, rank: str):
    with socket.create_server(("", 0)) as other:
        process = start(tmp_path, RANK=rank, MASTER_PORT=str(other.getsockname()[1]))
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Traceback" not in err
    said = {"0": "another program listens there", "1": "what listens there does not answer as a process of this run"}[
        rank
    ]
    assert said in err.splitlines()[-1]
