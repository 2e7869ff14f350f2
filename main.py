"""Group-robust machine unlearning from the command line: parse, configure, run; exceptions become exit codes."""

import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# `datasets` and `utils` are names that other packages use too: ours come first.
sys.path.insert(0, str(ROOT))

import datasets  # noqa: E402
from method.configs.cli import Command, flat_yaml, parse  # noqa: E402
from method.rundir import RunDirectory, directory_of  # noqa: E402
from utils.errors import RunError, UserError  # noqa: E402
from utils.signals import stop_signals_noted  # noqa: E402

INTERRUPTED = 75


def main(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    try:
        if Path(datasets.__file__).resolve().parent != ROOT / "datasets":
            raise UserError(
                f"another package named datasets is imported from {datasets.__file__}; start {ROOT / 'main.py'} itself"
            )
        return dispatch(arguments)
    except (UserError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(f"{str(stop) or 'interrupted'}: run the same command to continue", file=sys.stderr)
        return INTERRUPTED


def dispatch(arguments: list[str]) -> int:
    """Do what the command asks for; what needs no training is answered before the heavy imports."""
    command = parse(arguments)
    if command.print_config:
        print(flat_yaml(command.config), end="")
        return 0
    directory = RunDirectory(directory_of(command.config, command.config.store_dir))
    if command.dry_run:
        from method.dry_run import describe

        print(describe(command.config))
        return 0
    if directory.check(command.config, command.overwrite) or not trained(command, directory):
        print(f"already done: {directory.path}")
    return 0


def trained(command: Command, directory: RunDirectory) -> bool:
    """Make the run and print its metrics; False where another process made it meanwhile."""
    with stop_signals_noted():
        from method.runner import run
        from method.summary import summary

        ran = run(command, directory)
    if ran:
        print(summary(directory))
    return ran


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
