"""The two tables: the runs with their commands, and how they stand."""

import shlex
from collections.abc import Sequence

from scripts.sweep.plan import PlannedRun
from scripts.sweep.state import STATES, State, counts
from utils.tables import align


def listing(runs: Sequence[PlannedRun]) -> str:
    """Number, what it needs, and the command to copy."""
    rows = [
        (str(run.index), " ".join(map(str, run.needs)) or "-", shlex.join(["python", "main.py", *run.arguments]))
        for run in runs
    ]
    return align(("run", "needs", "command"), rows, left=3)


def format_status(runs: Sequence[PlannedRun], found: Sequence[State]) -> str:
    """By state, what is done first, and the counts below."""
    order = sorted(runs, key=lambda run: (STATES.index(found[run.index].name), run.index))
    rows = [(str(run.index), str(run.folder), str(found[run.index])) for run in order]
    return align(("run", "folder", "state"), rows, left=3) + "\n\n" + counts(found)
