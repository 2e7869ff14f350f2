"""Signals that ask a run to stop: it finishes its step, saves, and ends with exit code 75."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")  # Ctrl-C; schedulers and shutdowns; schedulers before a time limit
_asked: list[str] = []  # a signal is the whole process's, and so is what is known of it


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has saved what can be saved: the same command continues."""


@contextmanager
def stop_signals_noted() -> Iterator[None]:
    """Within it a stop signal is only noted; SIGINT after another one raises KeyboardInterrupt at once.

    Python allows handlers in the main thread alone: elsewhere the signals act as they did before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, _note) for number in numbers}
    _asked.clear()
    try:
        yield
    finally:
        _asked.clear()
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


def check_stop() -> None:
    """Raise Interrupted if a stop signal has come: for places with nothing of their own to save."""
    if _asked:
        raise interrupted()


def interrupted() -> Interrupted:
    """What to raise where this process, or another of the same run, was asked to stop."""
    return Interrupted(f"stopped by {_asked[0] if _asked else 'a signal to another of its processes'}")


def _note(number: int, frame: object) -> None:
    again = bool(_asked)
    _asked.append(signal.Signals(number).name)
    if number != signal.SIGINT:
        return
    if again:
        raise KeyboardInterrupt
    # Not through print: a handler may have interrupted one. And a terminal that has gone stops nothing.
    with suppress(OSError):
        os.write(2, b"\nstopping after this step; Ctrl-C again stops at once\n")
