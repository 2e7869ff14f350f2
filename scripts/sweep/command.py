"""python -m scripts.sweep GRID.yaml [--list | --status | --index N | --run [--jobs K] | --slurm_jobs] [-- flags]."""

import argparse
import os
import sys
from collections.abc import Sequence

from scripts.sweep.grid import first_seeds, read_grid
from scripts.sweep.local import MAIN, run_here
from scripts.sweep.plan import PlannedRun, plan, select
from scripts.sweep.show import format_status, listing
from scripts.sweep.slurm_jobs import plan_slurm_jobs
from scripts.sweep.state import is_done, states
from utils.device import gpu_names
from utils.errors import UserError
from utils.paths import typed_path
from utils.terminal import Parser, on_terminal, say, tell

EPILOG = """Flags of main.py after `--` are given to every run. Paths count from where the command is started.
exit codes: 0 all done; 1 not all are; 2 wrong usage; 75 interrupted; --index: those of main.py."""


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    parser = Parser(
        "python -m scripts.sweep",
        description="A grid of runs: list them, see how they stand, run one or all of them.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("grid", type=typed_path, metavar="GRID.yaml", help="what to cross: docs/sweeps.md")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="the runs with their numbers and commands (default)")
    what.add_argument("--status", action="store_true", help="how every run stands; exit code 0 when all are done")
    what.add_argument("--index", type=int, metavar="N", help="run number N")
    what.add_argument("--run", action="store_true", help="run them all on this machine, in dependency order")
    what.add_argument("--slurm_jobs", action="store_true", help="what scripts/slurm/submit.sh submits, one job a line")
    parser.add_argument(
        "--jobs", type=int, metavar="K", help="with --run: so many at a time (default: one a GPU, or 1)"
    )
    parser.add_argument("--seeds", type=int, metavar="M", help="the first M of the grid's seeds alone")
    parser.add_argument(
        "--queue",
        type=typed_path,
        metavar="FILE",
        help="with --slurm_jobs: lines `JOB TASK GRID` of what is in the queue",
    )
    wanted = parser.parse_args(words[:cut])
    if wanted.jobs is not None and (wanted.jobs < 1 or not wanted.run):
        parser.error("--jobs K goes with --run and is at least 1")
    if wanted.seeds is not None and (wanted.seeds < 1 or wanted.index is not None or wanted.slurm_jobs):
        parser.error(
            "--seeds M is at least 1, and goes neither with --index, as it makes other numbers, nor with SLURM"
        )
    if wanted.queue is not None and not wanted.slurm_jobs:
        parser.error("--queue goes with --slurm_jobs")
    return wanted, words[cut + 1 :]


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command asks for; returns its exit code."""
    wanted, extra = _parse(arguments)
    try:
        grid = read_grid(wanted.grid)
        runs = plan(grid if wanted.seeds is None else first_seeds(grid, wanted.seeds), extra)
        if wanted.index is not None:
            return run_one(runs, wanted.index)
        if wanted.run:
            return run_here(runs, wanted.jobs, gpu_names())
        found = states(runs) if wanted.status or wanted.slurm_jobs else []
        if wanted.slurm_jobs:
            tell(plan_slurm_jobs(runs, found, wanted.queue), end="")
            return 0
        tell(format_status(runs, found) if wanted.status else listing(runs))
    except UserError as error:
        say(f"error: {error}")
        return UserError.exit_code
    return 0 if all(state.name == "done" for state in found) else 1


def run_one(runs: Sequence[PlannedRun], index: int) -> int:
    """Become main.py with the run's arguments, so that signals reach it; 0 where it is done already."""
    run = select(runs, index)
    for need in run.needs:
        if not is_done(runs[need]):
            raise UserError(f"run {index} needs run {need}, and {runs[need].folder} is not done; run that one first")
    if not (run.added and is_done(run)):
        os.execv(sys.executable, [sys.executable, str(MAIN), *run.arguments])  # this never returns
    say(f"already done: {run.folder}", sys.stdout)
    return 0
