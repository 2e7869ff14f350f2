"""Group-robust machine unlearning from the command line: parse, configure, run; exceptions become exit codes."""

import logging
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# `datasets` and `utils` are names that other packages use too: ours come first.
sys.path.insert(0, str(ROOT))

import datasets  # noqa: E402
from method.configs.cli import flat_yaml, parse  # noqa: E402
from method.runs.making import make_run  # noqa: E402
from utils.distributed import rank, speaks, world_size  # noqa: E402
from utils.errors import RunError, UserError  # noqa: E402
from utils.signals import INTERRUPTED  # noqa: E402
from utils.terminal import LogLines, on_terminal, say, tell  # noqa: E402


@on_terminal
def main(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    level = logging.INFO if rank() == 0 else logging.CRITICAL  # one of several processes says it
    logging.basicConfig(level=level, handlers=[LogLines()], force=True)
    try:
        if Path(datasets.__file__).resolve().parent != ROOT / "datasets":
            raise UserError(
                f"another package named datasets is imported from {datasets.__file__}; start {ROOT / 'main.py'} itself"
            )
        return dispatch(arguments)
    except (UserError, RunError) as error:
        complain(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt as stop:
        complain(f"{str(stop) or 'interrupted'}: run the same command to continue")
        return INTERRUPTED


def dispatch(arguments: list[str]) -> int:
    """Do what the command asks for; what needs no training is answered before the heavy imports."""
    command = parse(arguments)
    if command.print_config:
        answer(flat_yaml(command.config), end="")
        return 0
    if command.dry_run:
        from method.runs.dry_run import describe

        answer(describe(command.config))
        return 0
    directory, notes = make_run(command, last_resort=INTERRUPTED)
    if notes is None:
        from method.runs.summary import summary

        report(summary(directory), directory.path)
    else:
        report(directory.already_done(notes), directory.path)
    return 0


def answer(text: str, end: str = "\n") -> None:
    """Print what was asked for; of several processes one does."""
    if speaks():
        tell(text, end)


def report(text: str, path: Path) -> None:
    """Print how a run went. It is in its folder, so that nothing is lost where this cannot be printed."""
    if speaks() and not say(text, sys.stdout):
        say(f"standard output cannot be written to, but the run is done: {path}")


def complain(text: str) -> None:
    """Say what went wrong; of several processes one does."""
    if speaks():
        say(text)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if world_size() > 1 or code == INTERRUPTED:
        # A thread that reads from a file server which does not answer would be waited for without end.
        # Threads of torch's collectives that still run while Python is unloaded abort the process now and then, when
        # all is written, and torchrun would call the run failed.
        logging.shutdown()
        os._exit(code)
    sys.exit(code)
