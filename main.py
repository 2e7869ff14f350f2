"""Group-robust machine unlearning from the command line: parse, configure, run; exceptions become exit codes."""

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent
# `datasets` and `utils` are names that other packages use too: ours come first.
sys.path.insert(0, str(ROOT))

import datasets  # noqa: E402
from method.configs.cli import Command, flat_yaml, parse  # noqa: E402
from method.rundir import RunDirectory, directory_of  # noqa: E402
from utils.distributed import from_rank_0, joined, rank, speaks, world_size  # noqa: E402
from utils.errors import RunError, UserError  # noqa: E402
from utils.signals import stop_signals_noted  # noqa: E402
from utils.text import PrintableFormatter  # noqa: E402

INTERRUPTED = 75


def main(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    level = logging.INFO if rank() == 0 else logging.CRITICAL  # one of several processes says it
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    try:
        if Path(datasets.__file__).resolve().parent != ROOT / "datasets":
            raise UserError(
                f"another package named datasets is imported from {datasets.__file__}; start {ROOT / 'main.py'} itself"
            )
        return dispatch(arguments)
    except (UserError, RunError) as error:
        tell(f"error: {error}", sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        tell(f"{str(stop) or 'interrupted'}: run the same command to continue", sys.stderr)
        return INTERRUPTED


def dispatch(arguments: list[str]) -> int:
    """Do what the command asks for; what needs no training is answered before the heavy imports."""
    command = parse(arguments)
    if command.print_config:
        tell(flat_yaml(command.config), end="")
        return 0
    directory = RunDirectory(directory_of(command.config, command.config.store_dir))
    if command.dry_run:
        from method.dry_run import describe

        tell(describe(command.config))
        return 0
    if trained(command, directory):
        from method.summary import summary

        tell(summary(directory))
    else:
        tell(f"already done: {directory.path}")
    return 0


def trained(command: Command, directory: RunDirectory) -> bool:
    """Make the run; False where it is done already, or another process made it meanwhile."""
    with stop_signals_noted(last_resort=INTERRUPTED), joined():
        if from_rank_0(lambda: directory.check(command.config, command.overwrite)):
            return False
        from method.runner import run

        return run(command, directory)


def tell(text: str, file: TextIO | None = None, end: str = "\n") -> None:
    """Print; of several processes one does."""
    if speaks():
        print(text, file=file, end=end)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if world_size() > 1 or code == INTERRUPTED:
        # A thread that reads from a file server which does not answer would be waited for without end.
        # Threads of torch's collectives that still run while Python is unloaded abort the process now and then, when
        # all is written, and torchrun would call the run failed.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
