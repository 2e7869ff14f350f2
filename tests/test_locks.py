"""One process at a time: exclusive locks, who counts as gone, taking over, and holders that slept through it."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from cli import ROOT

from utils import locks
from utils.errors import RunError, UserError
from utils.files import write_text
from utils.locks import LOCK, Holder, LockLost, holder, locked
from utils.signals import Interrupted, stop_signals_noted


def write_lock(folder: Path, owner: Holder, age: float = 0.0) -> None:
    (folder / LOCK).write_text(json.dumps(asdict(owner)))
    then = time.time() - age
    os.utime(folder / LOCK, (then, then))


def ended_process() -> int:
    """The number of a process that has ended and been waited for."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def elsewhere() -> Holder:
    return replace(Holder.here(), host="another-host", boot="another boot", pid=1)


def test_the_lock_names_its_holder_and_goes_when_released(tmp_path: Path):
    with locked(tmp_path, wait=False):
        stored = json.loads((tmp_path / LOCK).read_text())
        assert (stored["pid"], stored["host"]) == (os.getpid(), os.uname().nodename)
        assert stored["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert len(stored["token"]) == 32
        assert holder(tmp_path).pid == os.getpid()
        assert os.listdir(tmp_path) == [LOCK]
    assert os.listdir(tmp_path) == []
    assert holder(tmp_path) is None


def test_without_waiting_a_held_folder_is_refused_by_name(tmp_path: Path):
    with locked(tmp_path, wait=False):
        before = (tmp_path / LOCK).read_bytes()
        named = f"held by process {os.getpid()} on {os.uname().nodename}"
        with pytest.raises(Interrupted, match=named), locked(tmp_path, wait=False):
            pass
        assert (tmp_path / LOCK).read_bytes() == before
        assert os.listdir(tmp_path) == [LOCK]


def test_one_that_waits_says_for_whom_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_lock(tmp_path, elsewhere())
    threading.Timer(1.5, (tmp_path / LOCK).unlink).start()
    with caplog.at_level(logging.INFO, "unlearning"), locked(tmp_path, wait=True):
        assert holder(tmp_path).pid == os.getpid()
    assert [record.getMessage() for record in caplog.records] == [
        f"waiting for process 1 on another-host, which is at work in {tmp_path}"
    ]


def test_the_holder_is_named_every_minute(tmp_path: Path, monkeypatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(locks, "NAME_SECONDS", 0.3)
    monkeypatch.setattr(locks, "LOOK_SECONDS", 0.1)
    write_lock(tmp_path, elsewhere())
    threading.Timer(1.0, (tmp_path / LOCK).unlink).start()
    with caplog.at_level(logging.INFO, "unlearning"), locked(tmp_path, wait=True):
        pass
    assert 3 <= sum("waiting for" in record.getMessage() for record in caplog.records) <= 4


def test_waiting_ends_at_a_signal(tmp_path: Path):
    write_lock(tmp_path, elsewhere())
    with stop_signals_noted():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"), locked(tmp_path, wait=True):
            pass
    assert json.loads((tmp_path / LOCK).read_text())["host"] == "another-host"


STALE = {
    "the process has ended": (lambda mine: replace(mine, pid=ended_process()), 0.0),
    "its number is another process's now": (lambda mine: replace(mine, started="1"), 0.0),
    "not touched for ten minutes, on another host": (lambda mine: elsewhere(), 601.0),
    "not touched for ten minutes, process there": (lambda mine: mine, 601.0),
}
HELD = {
    "the process is there": (lambda mine: replace(mine, token="theirs"), 0.0),
    "another user's process": (lambda mine: replace(mine, pid=1, started=locks._started(1)), 0.0),
    "on another host, no such process here": (lambda mine: replace(elsewhere(), pid=ended_process()), 590.0),
    "before this boot": (lambda mine: replace(mine, boot="an earlier boot", pid=ended_process()), 590.0),
    "in another container": (lambda mine: replace(mine, namespace="pid:[1]", pid=ended_process()), 590.0),
}


@pytest.mark.parametrize("name", STALE)
def test_a_stale_lock_is_taken_over(tmp_path: Path, name: str):
    other, age = STALE[name]
    write_lock(tmp_path, other(Holder.here()), age)
    assert holder(tmp_path) is None
    with locked(tmp_path, wait=False):
        assert holder(tmp_path).pid == os.getpid()
        assert os.listdir(tmp_path) == [LOCK]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", HELD)
def test_a_lock_is_not_taken_while_its_holder_may_be_there(tmp_path: Path, name: str):
    other, age = HELD[name]
    owner = other(Holder.here())
    write_lock(tmp_path, owner, age)
    assert holder(tmp_path) == owner
    with pytest.raises(Interrupted), locked(tmp_path, wait=False):
        pass
    assert json.loads((tmp_path / LOCK).read_text()) == asdict(owner)


def test_a_process_that_nobody_waited_for_has_ended(tmp_path: Path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 20
    while locks._started(process.pid) != "ended" and time.monotonic() < deadline:
        time.sleep(0.01)
    write_lock(tmp_path, replace(Holder.here(), pid=process.pid, started="5"))
    assert holder(tmp_path) is None
    process.wait()


def test_age_is_told_by_the_file_system_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A clock an hour ahead, as on another host, takes no lock."""
    write_lock(tmp_path, elsewhere())
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    assert holder(tmp_path) == json_holder(tmp_path)
    with pytest.raises(Interrupted), locked(tmp_path, wait=False):
        pass


def json_holder(folder: Path) -> Holder:
    return Holder(**json.loads((folder / LOCK).read_text()))


def test_an_unreadable_lock_is_held_until_it_is_old(tmp_path: Path):
    (tmp_path / LOCK).write_text("{")
    with pytest.raises(Interrupted, match="held by another process"), locked(tmp_path, wait=False):
        pass
    os.utime(tmp_path / LOCK, (1, 1))
    with locked(tmp_path, wait=False):
        assert holder(tmp_path).pid == os.getpid()


def test_a_held_lock_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locks, "TOUCH_SECONDS", 0.05)
    with locked(tmp_path, wait=False):
        os.utime(tmp_path / LOCK, (1, 1))
        deadline = time.monotonic() + 20
        while (tmp_path / LOCK).stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - (tmp_path / LOCK).stat().st_mtime < 60


def test_a_lock_taken_over_is_not_touched_written_or_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locks, "TOUCH_SECONDS", 0.02)
    other = replace(Holder.here(), token="theirs")
    with locked(tmp_path, wait=False):
        write_text(tmp_path / "before", "mine")
        write_lock(tmp_path, other, age=5.0)
        stamp = (tmp_path / LOCK).stat().st_mtime
        for file in (tmp_path / "after", tmp_path / "below" / "after"):
            file.parent.mkdir(exist_ok=True)
            with pytest.raises(LockLost, match="has taken"):
                write_text(file, "mine")
        time.sleep(0.2)
        assert (tmp_path / LOCK).stat().st_mtime == stamp
        write_text(tmp_path.parent / f"{tmp_path.name}-elsewhere", "not locked")
    assert json_holder(tmp_path) == other
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["before", "below", LOCK]


def test_a_takeover_during_a_long_write_keeps_the_old_file(tmp_path: Path):
    from utils.files import write_atomic

    def slow(file) -> None:
        file.write(b"mine")
        write_lock(tmp_path, replace(Holder.here(), token="theirs"))

    (tmp_path / "file").write_text("theirs")
    with locked(tmp_path, wait=False), pytest.raises(LockLost):
        write_atomic(tmp_path / "file", slow)
    assert (tmp_path / "file").read_text() == "theirs"
    assert sorted(os.listdir(tmp_path)) == ["file", LOCK]


def test_a_takeover_that_was_cut_off_can_be_taken_over_too(tmp_path: Path):
    """The lock on the succession is stale as well, and so is the one on that."""
    stale = replace(Holder.here(), pid=ended_process())
    write_lock(tmp_path, stale)
    cut_off = replace(Holder.here(), pid=stale.pid)
    (tmp_path / f"{LOCK}.{stale.token[:12]}").write_text(json.dumps(asdict(cut_off)))
    with locked(tmp_path, wait=False):
        assert os.listdir(tmp_path) == [LOCK]


def test_a_takeover_under_way_is_left_alone(tmp_path: Path):
    stale = replace(Holder.here(), pid=ended_process())
    write_lock(tmp_path, stale)
    (tmp_path / f"{LOCK}.{stale.token[:12]}").write_text(json.dumps(asdict(Holder.here())))
    with pytest.raises(Interrupted), locked(tmp_path, wait=False):
        pass
    assert json_holder(tmp_path) == stale


def test_one_who_saw_the_stale_lock_before_it_was_taken_does_not_take_the_new_one(tmp_path: Path, monkeypatch):
    """Two see the same dead holder; the first has taken over when the second comes to it."""
    stale, first = replace(Holder.here(), pid=ended_process()), elsewhere()
    write_lock(tmp_path, stale)
    create = locks._create

    def late(path: Path, mine: Holder) -> bool:
        made = create(path, mine)
        if path.name != LOCK:
            write_lock(tmp_path, first)
        return made

    monkeypatch.setattr(locks, "_create", late)
    with pytest.raises(Interrupted, match="another-host"), locked(tmp_path, wait=False):
        pass
    assert json_holder(tmp_path) == first
    assert os.listdir(tmp_path) == [LOCK]


def test_without_hard_links_the_lock_is_exclusive_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with locked(tmp_path, wait=False):
        assert json_holder(tmp_path).pid == os.getpid()
        with pytest.raises(Interrupted), locked(tmp_path, wait=False):
            pass
        assert os.listdir(tmp_path) == [LOCK]


def test_a_folder_without_permission_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(UserError, match="lock cannot be made"), locked(tmp_path, wait=False):
        pass


def test_a_lock_that_finds_no_space_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", fill)
        with pytest.raises(RunError, match="the disk is full"), locked(tmp_path, wait=False):
            pass
    assert os.listdir(tmp_path) == []
    with locked(tmp_path, wait=False):
        pass


CROWD = """
import sys, os, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from utils.locks import locked
folder = Path(sys.argv[2])
for _ in range(int(sys.argv[3])):
    with locked(folder, wait=True):
        inside = folder / "inside"
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails where two are inside
        count = folder / "count"
        n = int(count.read_text())
        time.sleep(0.001)
        count.write_text(str(n + 1))
        inside.unlink()
"""


def test_many_processes_are_never_inside_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Starting at a stale lock, which one of them takes over."""
    write_lock(tmp_path, replace(Holder.here(), pid=ended_process()))
    (tmp_path / "count").write_text("0")
    code = CROWD.replace("folder = Path", "from utils import locks\nlocks.LOOK_SECONDS = 0.002\nfolder = Path", 1)
    arguments = [sys.executable, "-c", code, str(ROOT), str(tmp_path), "20"]
    crowd = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    assert [(process.communicate(timeout=100)[1], process.returncode) for process in crowd] == [("", 0)] * 8
    assert (tmp_path / "count").read_text() == "160"
    assert os.listdir(tmp_path) == ["count"]


@pytest.mark.parametrize("pid", [0, -1, -12, 10**30, 2**31, "12", "all", [1], None, 1.5, True, {"a": 1}])
def test_a_lock_of_no_process_is_unreadable_and_nobody_is_asked_for(pid: object, tmp_path: Path, monkeypatch):
    """A signal to 0 or -1 would go to every process of the group or of the user."""
    monkeypatch.setattr(os, "kill", lambda *arguments: pytest.fail(f"os.kill{arguments}"))
    stored = {**asdict(Holder.here()), "pid": pid}
    (tmp_path / LOCK).write_text(json.dumps(stored))
    assert holder(tmp_path) is None
    with pytest.raises(Interrupted, match="held by another process"), locked(tmp_path, wait=False):
        pass
    assert json.loads((tmp_path / LOCK).read_text()) == stored


@pytest.mark.parametrize(
    "stored",
    [
        *("", "[" * 4000, "9" * 4000, '{"pid": 1', "\0", "x" * 10**6, '["pid"]', "null"),
        *({"host": ["a"]}, {"boot": 3}, {"started": 4}, {"token": "../../x"}, {"token": ""}, {"more": 1}),
    ],
)
def test_a_lock_that_this_program_did_not_write_is_unreadable(stored: str | dict, tmp_path: Path):
    text = stored if isinstance(stored, str) else json.dumps({**asdict(Holder.here()), **stored})
    (tmp_path / LOCK).write_text(text)
    assert holder(tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_for_a_lock_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / LOCK)
    assert holder(tmp_path) is None
