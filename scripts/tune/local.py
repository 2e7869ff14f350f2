"""Several workers of a search on this machine: each is the same command in a process of its own."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from utils.device import environment_for
from utils.signals import INTERRUPTED, STOP_SIGNALS
from utils.terminal import say

TICK_SECONDS = 0.2


def run_workers(words: Sequence[str], jobs: int, devices: Sequence[str]) -> int:
    """Start the workers, one after the other on the GPUs, and wait until they have ended; signals are passed on.

    Returns 75 where the command was stopped, else the exit code of one that met an error, or 0.
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "scripts.tune", *words, "--worker"],
            env=environment_for(devices[number % len(devices)] if devices else None),
            start_new_session=True,  # Ctrl-C in a terminal comes from here alone, and once
        )
        for number in range(jobs)
    ]
    stopped = []

    def stop(number: int, frame: Any) -> None:
        stopped.append(number)
        for child in children:
            child.send_signal(number)

    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        while any(child.poll() is None for child in children):
            time.sleep(TICK_SECONDS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number, child in enumerate(children):
        if child.returncode < 0 and not stopped:
            say(f"worker {number} was killed by {signal.Signals(-child.returncode).name}; what it tried is tried again")
    return INTERRUPTED if stopped else max(0, *(child.returncode for child in children))
