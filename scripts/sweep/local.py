"""A sweep on this machine: so many processes at a time, beside others that may work on the same sweep."""

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from method.runs.folder import STATUS
from scripts.sweep.plan import PlannedRun
from scripts.sweep.show import format_status
from scripts.sweep.state import is_done, look, read_status, states
from utils.device import environment_for
from utils.errors import UserError
from utils.locks import holder
from utils.signals import STOP_SIGNALS
from utils.terminal import may_be_lost, say
from utils.text import printable

MAIN = Path(__file__).resolve().parents[2] / "main.py"
INTERRUPTED = 75
WAITING = ("--wait", "--no-wait")  # what a grid may say of it, which is for runs by hand
TICK_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 2.0  # at a run that another process is at work on
TRIES = 3  # of a run that ends as interrupted though nobody holds it


@dataclass
class _Child:
    process: subprocess.Popen
    output: IO[bytes]
    device: str | None
    began: float


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
        self.stopped = False
        # A failure from before is tried again; one that another process met since then is not.
        self.failures = {run.index: self._failure(run) for run in runs}

    def run(self) -> int:
        """Work until nothing is left to do; print the final table. 0: all done, 75: told to stop, else 1."""
        names = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
        before = {name: signal.signal(name, self._stop) for name in names}
        try:
            with tqdm(total=len(self.runs), desc="sweep", unit="run", disable=None) as self.bar:
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
        return INTERRUPTED if self.stopped else 1

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
                self._say(f"run {run.index} waits for {at_work.describe()}: {run.folder}")
            self.again[run.index] = time.monotonic() + LOOK_AGAIN_SECONDS
        elif failure and failure != self.failures[run.index]:
            self._fail(run, read_status(run.folder)["reason"], " elsewhere")
        else:
            self._launch(run)

    def _launch(self, run: PlannedRun) -> None:
        in_use = [child.device for child in self.children.values()]
        device = min(self.devices, key=in_use.count)
        output = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the child has ended)
        process = subprocess.Popen(
            [sys.executable, str(MAIN), *(word for word in run.arguments if word not in WAITING), "--no_wait"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment_for(device),
            start_new_session=True,  # Ctrl-C in a terminal comes from here alone, and once
        )
        self.children[run.index] = _Child(process, output, device, time.monotonic())
        self._say(f"run {run.index} starts{f' on GPU {device}' if device else ''}: {run.folder}")
        if self.stopped:  # between the last look and the start
            process.send_signal(signal.SIGTERM)

    def _collect(self) -> None:
        for index, child in list(self.children.items()):
            code = child.process.poll()
            if code is not None:
                del self.children[index]
                self._ended(self.runs[index], child, code)

    def _ended(self, run: PlannedRun, child: _Child, code: int) -> None:
        seconds = f" after {time.monotonic() - child.began:.0f} s"
        with child.output as output:
            output.seek(0)
            lines = output.read().decode(errors="replace").split("\n")
        if code == 0:
            self._finish(run, seconds)
        elif self.stopped and code in (INTERRUPTED, -signal.SIGINT, -signal.SIGTERM, -signal.SIGUSR1):
            self.open.discard(run.index)
            self._say(f"run {run.index} stopped{seconds}: {run.folder}")
        elif code == INTERRUPTED and (holder(run.folder) or self.tries[run.index] < TRIES):
            # Another process was first, or has just ended: it shows in a moment.
            self.tries[run.index] += holder(run.folder) is None
            self.again[run.index] = time.monotonic() + LOOK_AGAIN_SECONDS
            self._say(f"run {run.index} is another process's, or was stopped: {run.folder}")
        else:
            # The line already names the run.
            self._fail(run, _reason(code, lines).removeprefix(f"{run.folder} failed: "), seconds)

    def _finish(self, run: PlannedRun, how: str = "") -> None:
        self.open.discard(run.index)
        self.done.add(run.index)
        self._say(f"run {run.index} done{how}: {run.folder}")
        self.bar.update()

    def _fail(self, run: PlannedRun, reason: str, how: str) -> None:
        self.open.discard(run.index)
        self.failed[run.index] = reason
        self._say(f"run {run.index} failed{how}: {reason}")
        self.bar.update()

    def _failure(self, run: PlannedRun) -> int:
        """When its last failure was recorded; 0 where it has not failed."""
        if read_status(run.folder)["state"] != "failed":
            return 0
        try:
            return (run.folder / STATUS).stat().st_mtime_ns
        except OSError:  # it has begun anew since
            return 0

    def _say(self, line: str) -> None:
        with may_be_lost(sys.stdout):  # the runs go on without a reader
            tqdm.write(printable(line), file=sys.stdout)
            sys.stdout.flush()


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
