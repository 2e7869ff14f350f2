"""Reading in a thread, and workers that are watched: what is said, and how one goes on without them."""

import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import make_waterbird

from datasets.loading import reading, workers
from datasets.loading.loaders import Loader
from datasets.loading.reading import read_in_a_thread, why_no_handover
from datasets.waterbird import Waterbirds
from utils import signals
from utils.errors import RunError
from utils.signals import Interrupted, stop_signals_noted

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux")
ROWS = np.arange(92)


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Waterbirds:
    root = tmp_path_factory.mktemp("birds")
    make_waterbird(root)
    return Waterbirds.load(root, split_number=0, seed=0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look every 50 ms, a word every 100 ms."""
    monkeypatch.setattr(reading, "LOOK_SECONDS", 0.0625)
    monkeypatch.setattr(workers, "TELL_SECONDS", 0.125)


def indices(loader: Loader) -> list[int]:
    return [row for batch in loader.batches(ROWS, 8, None) for row in batch["index"].tolist()]


def test_what_is_read_comes_in_order_and_none_ahead():
    read, waited = [], []

    def source() -> Iterator[int]:
        for number in range(4):
            read.append(number)
            yield number

    found = read_in_a_thread(source, waited.append)
    for number in range(4):
        assert next(found) == number
        time.sleep(0.01)
        assert read == list(range(number + 1))
    assert list(found) == []
    assert waited == []


def test_an_error_of_the_source_is_the_readers():
    def source() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    found = read_in_a_thread(source, lambda seconds: None)
    assert next(found) == 1
    with pytest.raises(OSError, match="gone"):
        next(found)


def test_a_wait_is_told_and_can_be_left(quick: None):
    never, seen = threading.Event(), []

    def source() -> Iterator[int]:
        never.wait()
        yield 1

    def waiting(seconds: float) -> None:
        seen.append(seconds)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(read_in_a_thread(source, waiting))
    assert seen == [0.0625, 0.125, 0.1875]
    never.set()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
def test_signals_do_not_make_a_wait_endless(monkeypatch: pytest.MonkeyPatch):
    """A signal just before a look is over made `SimpleQueue.get` wait for ever."""
    monkeypatch.setattr(reading, "LOOK_SECONDS", 0.001)
    looks = 0

    def source() -> Iterator[int]:
        time.sleep(2.0)
        yield 1

    def waiting(seconds: float) -> None:
        nonlocal looks
        looks += 1
        signal.setitimer(signal.ITIMER_REAL, 0.0009 + looks % 100 * 2e-6)

    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    try:
        assert list(read_in_a_thread(source, waiting)) == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert looks > 300


@pytest.mark.parametrize("n", [0, 2])
def test_threads_do_not_add_up(birds: Waterbirds, n: int):
    loader = Loader(birds, 32, n, False)
    try:
        for _ in range(3):
            assert indices(loader) == ROWS.tolist()
            unfinished = loader.batches(ROWS, 8, None)
            next(unfinished)
            unfinished.close()
        deadline = time.monotonic() + 5
        while any(thread.name == "reads images" for thread in threading.enumerate()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not [thread for thread in threading.enumerate() if thread.name == "reads images"]
    finally:
        loader.close()


@needs_proc
def test_a_stopped_worker_is_named_and_a_signal_ends_the_wait(
    birds: Waterbirds, quick: None, caplog: pytest.LogCaptureFixture
):
    loader = Loader(birds, 32, 2, False)
    batches = loader.batches(ROWS, 4, None)
    next(batches)
    processes = sorted(multiprocessing.active_children(), key=lambda process: process.pid)
    time.sleep(1)  # both have read ahead: one that is stopped while it hands a batch over holds up the other
    os.kill(processes[1].pid, signal.SIGSTOP)
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    with stop_signals_noted(), caplog.at_level(logging.INFO), pytest.raises(Interrupted, match="SIGTERM"):
        list(batches)
    loader.close()
    assert time.monotonic() - began < 20
    assert not multiprocessing.active_children()
    said = [record.getMessage() for record in caplog.records]
    named = f"waiting for a batch of images from worker process {processes[1].pid} (it is stopped), for "
    # The signal takes a moment to reach it; until then whoever has the turn is named.
    assert said[-1].startswith(named)
    assert all(line.startswith(named) for line in said if "it is stopped" in line)


@needs_proc
@pytest.mark.parametrize("stopped", [0, 1])
@pytest.mark.parametrize("number", [0, 1])
def test_the_worker_that_is_stopped_is_named_whoevers_turn_it_is(
    birds: Waterbirds, caplog: pytest.LogCaptureFixture, stopped: int, number: int
):
    """A batch that another worker hands over out of turn is fetched from that one."""
    loader = Loader(birds, 32, 2, False)
    batches = loader.batches(ROWS, 4, None)
    next(batches)
    pool = loader._pool
    pool._number = number
    try:
        pids = [process.pid for process in pool._workers]
        with caplog.at_level(logging.WARNING):
            pool._waiting(workers.TELL_SECONDS)
            os.kill(pids[stopped], signal.SIGSTOP)
            deadline = time.monotonic() + 10
            while not reading.is_stopped(pids[stopped]) and time.monotonic() < deadline:
                time.sleep(0.01)
            pool._waiting(workers.TELL_SECONDS)
    finally:
        pool._given_up = True  # as after a wait: a stopped worker is not asked to end
        loader.close()
    before, after = (record.getMessage() for record in caplog.records)
    assert before.startswith(f"waiting for a batch of images from worker process {pids[number]}")
    assert after.startswith(f"waiting for a batch of images from worker process {pids[stopped]} (it is stopped),")


@needs_proc
@pytest.mark.parametrize("error", [None, ConnectionResetError, EOFError, RuntimeError])
def test_a_worker_that_died_is_an_error_that_says_what_to_do(
    birds: Waterbirds, quick: None, monkeypatch: pytest.MonkeyPatch, error: type[Exception] | None
):
    """Also where it died while it handed a batch over, when this process hears of that first."""
    loader = Loader(birds, 32, 2, False)
    handler = signal.getsignal(signal.SIGCHLD)
    batches = loader.batches(ROWS, 4, None)
    next(batches)
    assert signal.getsignal(signal.SIGCHLD) is handler, "a death is found where a batch is read, and nowhere else"
    (first, second) = sorted(multiprocessing.active_children(), key=lambda process: process.pid)
    if error is not None:

        def broken(self: object) -> None:
            raise error("while it died")

        monkeypatch.setattr(type(loader._pool._loader._iterator), "_next_data", broken)
    os.kill(second.pid, signal.SIGKILL)
    with pytest.raises(RunError) as raised:
        list(batches)
    assert str(raised.value).startswith(
        f"worker process {second.pid}, which reads images, was ended by the signal SIGKILL,"
    )
    assert "--num_workers (0: none)" in str(raised.value)
    loader.close()
    assert not first.is_alive()


def test_a_worker_that_died_with_a_lock_holds_up_nobody(birds: Waterbirds, quick: None):
    """A worker takes that lock for an instant between two batches; killed then, it never gives it back."""
    loader = Loader(birds, 32, 2, False)
    batches = loader.batches(ROWS, 4, None)
    next(batches)
    assert loader._pool._loader._iterator._workers_done_event._cond.acquire(timeout=10)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RunError, match="SIGKILL"):
        list(batches)
    started = time.monotonic()
    loader.close()
    assert time.monotonic() - started < 10
    assert not multiprocessing.active_children()


def test_an_error_while_all_workers_live_is_told_as_it_is(birds: Waterbirds, monkeypatch: pytest.MonkeyPatch):
    loader = Loader(birds, 32, 2, False)
    batches = loader.batches(ROWS, 4, None)
    next(batches)

    def broken(self: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(type(loader._pool._loader._iterator), "_next_data", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        list(batches)
    loader.close()


# Handing over.


def test_batches_that_fit_can_be_handed_over():
    assert why_no_handover(1000, 6) is None


@needs_proc
def test_too_little_shared_memory_is_found_before(monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(reading, "disk_usage", lambda path: usage(2**26, 0, 2**26))
    assert why_no_handover(2**22, 16) is None
    assert why_no_handover(2**22, 17) == (
        "/dev/shm has 64 MiB free and their batches take up to 68 MiB "
        "(containers: docker run --shm-size=2g, or --ipc=host)"
    )
    monkeypatch.setattr(reading, "local_world_size", lambda: 2)  # each process has workers
    assert "128 MiB" in why_no_handover(2**22, 16)


@needs_proc
def test_a_pass_goes_on_without_workers_where_they_cannot_hand_over(
    birds: Waterbirds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    loader = Loader(birds, 32, 2, False)
    assert indices(loader) == ROWS.tolist()
    assert multiprocessing.active_children()
    monkeypatch.setattr(workers, "why_no_handover", lambda size, n: f"{n} batches of {size} bytes")
    assert indices(loader) == ROWS.tolist()
    assert not multiprocessing.active_children()
    apart = loader.another()
    assert indices(apart) == ROWS.tolist()
    assert [record.getMessage() for record in caplog.records] == [
        f"images are read without worker processes (2 were to be): 6 batches of {8 * 3 * 32 * 32} bytes"
    ]
    loader.close()


def test_in_mid_pass_too(birds: Waterbirds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """Shared memory that is used up: the batches that did come, and then the others, as without workers."""
    if multiprocessing.get_start_method() != "fork":
        pytest.skip("the workers do not inherit what is changed here")
    plain = Loader(birds, 32, 0, False)
    expected = list(plain.batches(ROWS, 8, 3))
    share, left = torch.Tensor.share_memory_, [2]

    def used_up(batch: torch.Tensor) -> torch.Tensor:
        if batch.numel() > 1:
            left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")
        return share(batch)

    monkeypatch.setattr(torch.Tensor, "share_memory_", used_up)
    loader = Loader(birds, 32, 2, False)
    found = list(loader.batches(ROWS, 8, 3))
    loader.close()
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "a worker cannot share a batch (unable to allocate shared memory(shm): No space left" in line


def test_a_temporary_folder_with_a_long_name_is_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if reading.get_sharing_strategy() != "file_descriptor":
        pytest.skip("no sockets here")
    long = tmp_path / ("t" * 100)
    long.mkdir()
    monkeypatch.setitem(multiprocessing.process.current_process()._config, "tempdir", str(long))
    assert "set TMPDIR to a shorter path" in why_no_handover(1000, 6)
    shutil.rmtree(long)


# Signals.


def test_a_process_that_saves_or_works_is_not_still(monkeypatch: pytest.MonkeyPatch):
    """The last resort, with short times and without its end."""
    for name, value in (("LOOK_SECONDS", 0.1), ("ENDED_SECONDS", 0.4), ("STILL_SECONDS", 0.2), ("SAVING_SECONDS", 1.0)):
        monkeypatch.setattr(signals, name, value)
    ends: list[str] = []
    monkeypatch.setattr(signals, "_end", lambda reason, code: ends.append(f"{reason}: {code}"))
    began = time.monotonic()
    with stop_signals_noted(last_resort=75):
        os.kill(os.getpid(), signal.SIGTERM)
        while time.monotonic() - began < 0.8:
            sum(range(1000))  # works
        assert not ends
        with signals.saving():
            time.sleep(0.7)
            assert not ends
        time.sleep(0.7)
        assert ends
    assert ends[0].startswith("stopped by SIGTERM while waiting at tests/test_reading.py, line ")
    assert ends[0].endswith(": 75")
    n = len(ends)
    time.sleep(0.3)
    assert len(ends) == n, "the thread ends with its context"
    assert not signals.stop_asked()


def test_without_a_signal_nothing_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signals, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(signals, "_end", lambda *_: pytest.fail("ended"))
    threads = threading.active_count()
    with stop_signals_noted(last_resort=75):
        assert threading.active_count() == threads + 1
        time.sleep(0.3)
    assert threading.active_count() == threads
