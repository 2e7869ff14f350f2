"""A command's run, made unless it is done already: what main.py and the Python interface share."""

from contextlib import AbstractContextManager, nullcontext

from method.configs.cli import Command
from method.runs.directory import RunDirectory
from method.runs.folder import folder_of
from utils.distributed import from_rank_0, joined
from utils.signals import stop_signals_noted


def make_run(
    command: Command, last_resort: int | None = None, around: AbstractContextManager[None] | None = None
) -> tuple[RunDirectory, list[str] | None]:
    """Make the run; returns its folder, and what there is to say of it where it was done already, else None.

    last_resort: as in `stop_signals_noted`. around: what the making happens within, if there is anything to make.
    """
    directory = RunDirectory(folder_of(command.config, command.config.store_dir))
    with stop_signals_noted(last_resort), joined():
        notes = from_rank_0(lambda: directory.check(command.config, command.overwrite))
        if notes is None:
            from method.runs.runner import run  # the engine and the networks, which take long to import

            with around or nullcontext():
                notes = run(command, directory)
    return directory, notes
