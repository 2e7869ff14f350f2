"""A sweep on this machine: so many processes at a time, beside others that may work on the same sweep.

Every run is main.py in a process of its own, so that signals, locks and exit codes are what they are by hand. A start
costs 4.8 s of processor time; forks of a process that has imported everything would save it, but are not safe on GPUs.
"""

import heapq
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import IO, Any

from method.runs.folder import STATUS
from scripts.sweep.plan import PlannedRun
from scripts.sweep.show import format_status
from scripts.sweep.state import is_done, look, read_status, states
from utils.device import environment_for
from utils.errors import UserError
from utils.locks import holder
from utils.signals import INTERRUPTED, STOP_SIGNALS
from utils.terminal import say
from utils.text import estimate

MAIN = Path(__file__).resolve().parents[2] / "main.py"
WAITING = ("--wait", "--no-wait")  # what a grid may say of it, which is for runs by hand
TICK_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 2.0  # at a run that another process is at work on
TRIES = 3  # of a run that ends as interrupted though nobody holds it


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    device: str | None
    began: float
    whole: bool  # nothing of the run was there before


class LocalSweep:
    """Starts what is ready, looks again at what others do, and remembers how every run ended here."""

    def __init__(self, runs: Sequence[PlannedRun], jobs: int, devices: Sequence[str]):
        self.runs, self.jobs = runs, jobs
        self.devices: list[str | None] = list(devices) or [None]
        self.children: dict[int, _Child] = {}
        self.open = {run.index for run in runs}  # not known to have ended in any way
        self.done: set[int] = set()
        self.failed: dict[int, str] = {}
        self.again: dict[int, float] = {}  # when to look at a busy run again
        self.tries = dict.fromkeys(self.open, 0)
        self.took: dict[int, float] = {}  # seconds, of runs that were begun and ended here
        self.stopped = False
        # A failure from before is tried again; one that another process met since then is not.
        self.failures = {run.index: self._failure(run) for run in runs}

    def run(self) -> int:
        """Work until nothing is left to do; print the final table. 0: all done, 75: told to stop, else 1."""
        names = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
        before = {name: signal.signal(name, self._stop) for name in names}
        try:
            while self.open and not (self.stopped and not self.children):
                self._collect()
                if not self.stopped:
                    self._start()
                time.sleep(TICK_SECONDS)
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
        found = states(self.runs, self.failed)
        say("\n" + format_status(self.runs, found), sys.stdout)
        if all(state.name == "done" for state in found):
            return 0
        if not self.stopped:
            return 1
        say("stopped: run the same command to continue")
        return INTERRUPTED

    def _stop(self, number: int, frame: Any) -> None:
        """Pass the signal on; the children finish their step and save."""
        self.stopped = True
        for child in list(self.children.values()):
            child.process.send_signal(number)

    def _start(self) -> None:
        waiting = sorted(self.open - set(self.children))
        if self.again:  # others work on this sweep: begin elsewhere than they do
            random.shuffle(waiting)
        for index in waiting:
            if len(self.children) >= self.jobs or self.stopped:
                return
            if time.monotonic() >= self.again.get(index, 0.0):
                self._consider(self.runs[index])

    def _consider(self, run: PlannedRun) -> None:
        """Start the run, or learn that it must not or need not be started."""
        if any(need in self.failed or need not in self.done | self.open for need in run.needs):
            self.open.discard(run.index)  # blocked
        elif is_done(run):
            self._see_done(run)
        elif all(need in self.done for need in run.needs):
            self._start_unless_busy(run)

    def _see_done(self, run: PlannedRun) -> None:
        """Count a run with its marker as done, unless its folder holds another run."""
        state = look(run)
        if state.name == "failed":
            self._fail(run, state.detail.removeprefix(": "), "")
        else:
            self._finish(run)

    def _start_unless_busy(self, run: PlannedRun) -> None:
        at_work = holder(run.folder)
        failure = self._failure(run)
        if at_work is not None:
            if run.index not in self.again:
                _say(f"run {run.index} waits for {at_work.describe()}: {run.folder}")
            self.again[run.index] = time.monotonic() + LOOK_AGAIN_SECONDS
        elif failure and failure != self.failures[run.index]:
            self._fail(run, read_status(run.folder)["reason"], " elsewhere")
        else:
            self._launch(run)

    def _launch(self, run: PlannedRun) -> None:
        in_use = [child.device for child in self.children.values()]
        device = min(self.devices, key=in_use.count)
        whole = not os.path.lexists(run.folder)
        output = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the child has ended)
        process = subprocess.Popen(
            [sys.executable, str(MAIN), *(word for word in run.arguments if word not in WAITING), "--no_wait"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment_for(device),
            start_new_session=True,  # Ctrl-C in a terminal comes from here alone, and once
        )
        self.children[run.index] = _Child(process, output, device, time.monotonic(), whole)
        _say(f"run {run.index} starts{f' on GPU {device}' if device else ''}: {run.folder}")
        if self.stopped:  # between the last look and the start
            process.send_signal(signal.SIGTERM)

    def _collect(self) -> None:
        for index, child in list(self.children.items()):
            code = child.process.poll()
            if code is not None:
                del self.children[index]
                self._ended(self.runs[index], child, code)

    def _ended(self, run: PlannedRun, child: _Child, code: int) -> None:
        took = time.monotonic() - child.began
        seconds = f" after {took:.0f} s"
        with child.output as output:
            output.seek(0)
            lines = output.read().decode(errors="replace").split("\n")
        if code == 0:
            if child.whole:
                self.took[run.index] = took
            self._finish(run, seconds)
        elif self.stopped and code in (INTERRUPTED, -signal.SIGINT, -signal.SIGTERM, -signal.SIGUSR1):
            self.open.discard(run.index)
            _say(f"run {run.index} stopped{seconds}: {run.folder}")
        elif code == INTERRUPTED and (holder(run.folder) or self.tries[run.index] < TRIES):
            # Another process was first, or has just ended: it shows in a moment.
            self.tries[run.index] += holder(run.folder) is None
            self.again[run.index] = time.monotonic() + LOOK_AGAIN_SECONDS
            _say(f"run {run.index} is another process's, or was stopped: {run.folder}")
        else:
            # The line already names the run.
            self._fail(run, _reason(code, lines).removeprefix(f"{run.folder} failed: "), seconds)

    def _finish(self, run: PlannedRun, how: str = "") -> None:
        self.open.discard(run.index)
        self.done.add(run.index)
        _say(f"run {run.index} done{how}, {self._progress()}: {run.folder}")

    def _fail(self, run: PlannedRun, reason: str, how: str) -> None:
        self.open.discard(run.index)
        self.failed[run.index] = reason
        _say(f"run {run.index} failed{how}, {self._progress()}: {reason}")

    def _progress(self) -> str:
        """`3 of 7`, and about how long the others will take."""
        left = self._seconds_left()
        ended = f"{len(self.runs) - len(self.open)} of {len(self.runs)}"
        return f"{ended}, about {estimate(left)} left" if left else ended

    def _seconds_left(self) -> float:
        """Until the last open run ends, if each takes what is expected; 0 where no whole run has ended here."""
        if not self.took:
            return 0.0
        now = time.monotonic()
        free = [0.0] * self.jobs  # when each place is
        ends: dict[int, float] = {}
        for index in sorted(self.open, key=lambda index: (index not in self.children, index)):
            run, child = self.runs[index], self.children.get(index)
            start = max(free[0], *(ends.get(need, 0.0) for need in run.needs), 0.0)
            ends[index] = start + max(self._expected_seconds(run) - (now - child.began if child else 0.0), 0.0)
            heapq.heapreplace(free, ends[index])
        return max(ends.values(), default=0.0)

    def _expected_seconds(self, run: PlannedRun) -> float:
        """What runs of its method took here; where none has ended, those of its stage, or any by their epochs."""
        ended = [(self.runs[index], took) for index, took in self.took.items()]
        own = [took for other, took in ended if other.config.method == run.config.method]
        own = own or [took for other, took in ended if other.stage == run.stage]
        return fmean(own or [took * _epochs(run) / _epochs(other) for other, took in ended])

    def _failure(self, run: PlannedRun) -> int:
        """When its last failure was recorded; 0 where it has not failed."""
        if read_status(run.folder)["state"] != "failed":
            return 0
        try:
            return (run.folder / STATUS).stat().st_mtime_ns
        except OSError:  # it has begun anew since
            return 0


def _say(line: str) -> None:
    say(line, sys.stdout)  # it may be lost: the runs go on without a reader


def _epochs(run: PlannedRun) -> int:
    return run.config.values.get("epochs") or 1  # some methods have none


def _reason(code: int, lines: Sequence[str]) -> str:
    """The sentence that main.py ended with, or what is known instead."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return said[-1] if said else next((line for line in reversed(lines) if line.strip()), f"exit code {code}")


def run_here(runs: Sequence[PlannedRun], jobs: int | None, devices: Sequence[str]) -> int:
    """Run a sweep on this machine; the default is one run a GPU, or one where there is none."""
    jobs = jobs or len(devices) or 1
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: expected a whole number of at least 1")
    return LocalSweep(runs, jobs, devices).run()
