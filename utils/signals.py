"""Signals that ask a run to stop: it finishes its step, saves, and ends with exit code 75.

Whatever waits looks at them by itself. What cannot (a read from a dead file server, a library's own wait) is ended by a
thread, once the process has stood still after a signal.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED = 75  # exit code of a command that was stopped, and that goes on where it is given again
STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")  # Ctrl-C; schedulers and shutdowns; schedulers before a time limit
LOOK_SECONDS = 1.0  # how often a wait looks at signals
TELL_SECONDS = 60.0  # how often it says that it goes on
# The last resort: seconds after a signal, those of them at the end without work, and the share of a core that is work.
ENDED_SECONDS, STILL_SECONDS, WORKING = 8.0, 5.0, 0.05
SAVING_SECONDS = 30.0  # a disk may take so long for a state; schedulers kill after as much
_asked: list[str] = []  # a signal is the whole process's, and so is what is known of it
_asked_at: list[float] = []
_saving: list[float] = []  # since when
_watching: list[bool] = []


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has saved what can be saved: the same command continues."""


@contextmanager
def stop_signals_noted(last_resort: int | None = None) -> Iterator[None]:
    """Within it a stop signal is only noted; SIGINT after another one raises KeyboardInterrupt at once.

    last_resort: exit code of a process that stands still after a signal; None where the process is not ours to end.
    Python allows handlers in the main thread alone: elsewhere the signals act as they did before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, _note) for number in numbers}
    _forget()
    try:
        with contextlib.nullcontext() if last_resort is None else _watched(last_resort):
            yield
    finally:
        _forget()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_signals_raised() -> Iterator[None]:
    """Within it a stop signal raises Interrupted at once: for work of which nothing is kept until it is whole.

    In the main thread alone, as with `stop_signals_noted`.
    """

    def stop(number: int, frame: object) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_stop_signals() -> None:
    """For helper processes: Ctrl-C and a cluster's signals reach them too, but only the main process decides."""
    for name in STOP_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def stop_asked() -> bool:
    """Whether a stop signal has come."""
    return bool(_asked)


def asked_seconds() -> float:
    """Seconds since the first stop signal; 0 where none has come."""
    return time.monotonic() - _asked_at[0] if _asked_at else 0.0


def check_stop() -> None:
    """Raise Interrupted if a stop signal has come: for places with nothing of their own to save."""
    if _asked:
        raise interrupted()


def interrupted(where: str = "") -> Interrupted:
    """What to raise where this process, or another of the same run, was asked to stop. where: "while it waited"."""
    return Interrupted(f"stopped by {_asked[0] if _asked else 'a signal to another of its processes'} {where}".rstrip())


@contextmanager
def saving() -> Iterator[None]:
    """Within it the process counts as at work for SAVING_SECONDS: a slow disk is no endless wait."""
    _saving.append(time.monotonic())
    try:
        yield
    finally:
        _saving.clear()


def _note(number: int, frame: object) -> None:
    again = bool(_asked)
    _asked.append(signal.Signals(number).name)
    _asked_at.append(time.monotonic())
    if number != signal.SIGINT:
        return
    if again:
        raise KeyboardInterrupt
    # Not through print: a handler may have interrupted one. And a terminal that has gone stops nothing.
    with contextlib.suppress(OSError):
        os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")


def _forget() -> None:
    _asked.clear()
    _asked_at.clear()


@contextmanager
def _watched(code: int) -> Iterator[None]:
    """A thread hears of signals at once, also while the main thread is in a wait that Python does not get out of."""
    heard, told = socket.socketpair()
    told.setblocking(False)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    _watching.append(True)
    watch = threading.Thread(target=_end_if_still, args=(heard, code), name="stop signals", daemon=True)
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        _watching.clear()
        told.shutdown(socket.SHUT_WR)  # which ends the thread, also where a forked process still holds the socket
        told.close()
        watch.join(LOOK_SECONDS)
        heard.close()


def _leave_to_parent() -> None:
    """In a forked process: its signals are not its parent's."""
    if _watching:
        _watching.clear()
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _end_if_still(heard: socket.socket, code: int) -> None:
    """Wait for a stop signal, then for the run's own end; end the process where nothing moves any more."""
    stops = {int(getattr(signal, name)) for name in STOP_SIGNALS if hasattr(signal, name)}
    first = 0
    while not first:
        numbers = heard.recv(4096)
        if not numbers:
            return
        first = next((number for number in numbers if number in stops), 0)
    asked = moved = time.monotonic()
    used = time.process_time()
    heard.settimeout(LOOK_SECONDS)
    while True:
        with contextlib.suppress(TimeoutError):
            if not heard.recv(4096):
                return
            continue
        now, before, used = time.monotonic(), used, time.process_time()
        if used - before > WORKING * LOOK_SECONDS or (_saving and now - _saving[0] < SAVING_SECONDS):
            moved = now
        if now - asked >= ENDED_SECONDS and now - moved >= STILL_SECONDS:
            _end(f"stopped by {signal.Signals(first).name} while waiting{_place()}", code)


def _place() -> str:
    """Which line of this program the main thread is at, for who wants to know what never came."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and ROOT not in Path(frame.f_code.co_filename).parents:
        frame = frame.f_back
    return f" at {Path(frame.f_code.co_filename).relative_to(ROOT)}, line {frame.f_lineno}" if frame else ""


def _end(reason: str, code: int) -> None:
    """Leave at once: what the main thread waits for would keep an orderly end waiting too."""
    with contextlib.suppress(OSError, ValueError):  # no standard error, or none that select knows
        if select.select([], [2], [], LOOK_SECONDS)[1]:
            os.write(2, f"{reason}: run the same command to continue\n".encode(errors="backslashreplace"))
    os._exit(code)
