"""Batches read by a thread, so that the main thread never waits for a file or a worker without looking around."""

import queue
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Listener
from pathlib import Path
from shutil import disk_usage
from typing import Any

import torch
from torch.multiprocessing import get_sharing_strategy

from utils.distributed import local_world_size
from utils.signals import LOOK_SECONDS

SHARED_MEMORY = Path("/dev/shm")
STATES = {"T": "it is stopped", "t": "it is stopped", "D": "it waits for a disk or a file server", "Z": "it has ended"}


def read_in_a_thread(source: Callable[[], Iterator[Any]], waiting: Callable[[float], None]) -> Iterator[Any]:
    """What `source()` yields, one at a time and none ahead; `waiting` is called every second that one takes.

    What `waiting` raises ends it, and leaves behind a thread that nothing waits for.
    """
    # No SimpleQueue: in CPython its `get` forgets the time limit where a signal comes just before it is over.
    wanted: queue.Queue[bool] = queue.Queue()
    found: queue.Queue[tuple[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(source, wanted, found), name="reads images", daemon=True).start()
    try:
        while True:
            wanted.put(True)
            kind, value = _arrived(found, waiting)
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
            del value  # or it would live on beside the next
    finally:
        wanted.put(False)


def _arrived(found: "queue.Queue[tuple[str, Any]]", waiting: Callable[[float], None]) -> tuple[str, Any]:
    seconds = 0.0
    while True:
        try:
            return found.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            seconds += LOOK_SECONDS
            waiting(seconds)


def _read(source: Callable[[], Iterator[Any]], wanted: queue.Queue, found: queue.Queue) -> None:
    try:
        batches = None
        while wanted.get():
            batches = source() if batches is None else batches
            found.put(("batch", next(batches)))
    except StopIteration:
        found.put(("end", None))
    except Exception as error:  # the main thread's to judge
        found.put(("error", error))


def why_no_handover(batch_bytes: int, n_batches: int) -> str | None:
    """Why worker processes could not hand over so many batches at a time; None where they can.

    They share memory with this process, in /dev/shm on Linux, and may name it over a socket in the temporary folder.
    """
    if get_sharing_strategy() == "file_descriptor":
        try:
            Listener(family="AF_UNIX").close()
        except OSError as error:
            return f"a socket in the folder for temporary files cannot be made ({error}): set TMPDIR to a shorter path"
    if not Path("/proc/self").exists():  # no Linux: shared memory is no folder there
        return None
    needed = batch_bytes * n_batches * local_world_size()
    try:
        torch.zeros(1, dtype=torch.uint8).share_memory_()
        free = disk_usage(SHARED_MEMORY).free
    except (OSError, RuntimeError) as error:
        return f"memory cannot be shared ({str(error).splitlines()[0]})"
    if needed <= free:
        return None
    return (
        f"{SHARED_MEMORY} has {_mebibytes(free)} free and their batches take up to {_mebibytes(needed)} "
        "(containers: docker run --shm-size=2g, or --ipc=host)"
    )


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def describe_process(pid: int | None) -> str:
    """What the system says of a process that is waited for, as far as it tells; None: it was not started."""
    state = _state(pid)
    return f" ({STATES[state]})" if state in STATES else ""


def is_stopped(pid: int | None) -> bool:
    """Whether a process is stopped, as far as the system tells."""
    return _state(pid) in ("T", "t")


def _state(pid: int | None) -> str:
    """The letter of Linux for what a process does; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
