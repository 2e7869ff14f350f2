"""What a scheduler is given: a chain of jobs a data set, model and train seed, each an array of run numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.sweep.grid import read_grid
from scripts.sweep.plan import STAGES, PlannedRun, plan
from scripts.sweep.state import State
from utils.errors import UserError
from utils.files import read_text


def plan_slurm_jobs(runs: Sequence[PlannedRun], found: Sequence[State], queue: Path | None) -> str:
    """Lines `CHAIN STAGE NUMBERS QUEUED`: the runs that are neither done nor queued, by chain and stage.

    NUMBERS is a list such as 3-5,8; QUEUED the jobs in the queue that this one waits for, or `-`. It also waits for the
    jobs of the same chain on the lines above. The queue file has a line `JOB TASK GRID` for every queued task.
    """
    queued = _queued(queue) if queue else {}
    lines = []
    for chain, members in _by_chain(runs).items():
        for stage, name in enumerate(STAGES):
            own = [run for run in members if run.stage == stage and found[run.index].name != "done"]
            missing = [run.index for run in own if _absolute(run) not in queued]
            before = [_absolute(run) for run in members if run.stage < stage]
            wait_for = sorted({queued[folder] for folder in before if folder in queued})
            if missing:
                lines.append(f"{chain} {name} {_ranges(missing)} {':'.join(wait_for) or '-'}\n")
    return "".join(lines)


def _by_chain(runs: Sequence[PlannedRun]) -> dict[str, list[PlannedRun]]:
    found: dict[str, list[PlannedRun]] = {}
    for run in runs:
        found.setdefault(f"{run.config.data_name}/{run.config.model}/{run.config.seeds.train}", []).append(run)
    return found


def _absolute(run: PlannedRun) -> Path:
    return run.folder.resolve()


def _queued(queue: Path) -> Mapping[Path, str]:
    """The array task that is to make each folder. Numbers are those of the grid that the task was submitted with."""
    plans: dict[str, list[PlannedRun]] = {}
    tasks = {}
    try:
        text = read_text(queue)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"--queue {queue} cannot be read ({reason}); give a file with lines JOB TASK GRID") from None
    for line in text.splitlines():
        try:
            job, task, grid = line.split(" ", 2)
            if grid not in plans:
                plans[grid] = plan(read_grid(Path(grid)))
            tasks[_absolute(plans[grid][int(task)])] = f"{job}_{task}"
        except (UserError, ValueError, IndexError):
            continue  # another program's job, or one whose grid was removed: no run that is known here
    return tasks


def _ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers as a list of ranges: 1 2 3 5 as 1-3,5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
