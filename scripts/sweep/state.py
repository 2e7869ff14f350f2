"""How the runs of a sweep stand, read from their folders."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from method.runs.directory import RunDirectory
from method.runs.folder import SOUGHT, RunFolder, folder_of
from scripts.sweep.plan import PlannedRun
from utils.errors import UserError
from utils.locks import holder

STATES = ("done", "running", "interrupted", "failed", "waiting", "blocked")


@dataclass(frozen=True)
class State:
    """One of STATES, and what else there is to say."""

    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.detail}"


DONE, WAITING = State("done"), State("waiting")


def states(runs: Sequence[PlannedRun], failed: Mapping[int, str] | None = None) -> list[State]:
    """Of every run, in order. failed: reasons that are known and stand in no folder, by number."""
    failed = failed or {}
    found: list[State] = []
    for run in runs:
        state = State("failed", f": {failed[run.index]}") if run.index in failed else look(run)
        if state.name in ("waiting", "interrupted"):
            causes = (found[need] for need in run.needs)
            blocked = [
                cause if cause.name == "blocked" else State("blocked", f" by run {need}")
                for need, cause in zip(run.needs, causes, strict=True)
                if cause.name in ("failed", "blocked")
            ]
            state = blocked[0] if blocked else state
        found.append(state)
    return found


def look(run: PlannedRun) -> State:
    """How one run stands by itself: never blocked."""
    directory, elsewhere = RunDirectory(run.folder), in_checkpoints(run)
    if elsewhere is not None:
        return State("done", f": {elsewhere}")
    if not os.path.lexists(run.folder):
        return WAITING
    at_work = None if directory.done else holder(run.folder)
    if at_work is not None:
        return State("running", f" on {at_work.host} pid {at_work.pid}")
    try:
        begun = directory.holds(run.config)
    except UserError as error:
        return State("failed", f": {error}")
    except OSError as error:
        return State("failed", f": {run.folder} cannot be read ({error.strerror or error})")
    if not begun:
        return WAITING
    return DONE if directory.done else _ended(directory)


def _ended(directory: RunDirectory) -> State:
    """Of a run that is not done and that nobody works on."""
    status = read_status(directory.path)
    if status["state"] == "failed":
        return State("failed", f": {status['reason'] or 'no reason was written down'}")
    return State("interrupted")


def read_status(folder: Path) -> dict[str, str]:
    """State and reason of status.json; empty texts where there is none that can be read."""
    try:
        return RunFolder(folder).read_status()
    except ValueError:
        return {"state": "", "reason": ""}


def is_done(run: PlannedRun) -> bool:
    """Whether its marker is there: cheap, and enough for a folder that `look` has seen or a child has checked."""
    return RunFolder(run.folder).done or in_checkpoints(run) is not None


def in_checkpoints(run: PlannedRun) -> Path | None:
    """The folder that serves a run that is only needed, not asked for: a checkpoint's, or that of an imported model."""
    if not run.added:
        return None
    folder = folder_of(run.config, run.config.checkpoint_dir)
    if os.path.exists(folder / SOUGHT[run.config.method]):
        return folder
    return run.folder if RunFolder(run.folder).is_imported else None


def counts(found: Sequence[State]) -> str:
    """`12 runs: 10 done, 2 failed`."""
    number = Counter(state.name for state in found)
    listed = ", ".join(f"{number[name]} {name}" for name in STATES if number[name])
    return f"{len(found)} run{'s' * (len(found) != 1)}: {listed}"
