"""The two ways a command ends badly; main.py turns each into one sentence and an exit code."""

import errno
from pathlib import Path

from utils.text import for_people

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Told(Exception):
    """An error whose message is for people: long quotes are shortened, control characters escaped."""

    exit_code: int

    def __init__(self, message: str) -> None:
        super().__init__(for_people(message))


class UserError(Told):
    """Wrong usage, configuration or input files: found before anything is written (exit code 2)."""

    exit_code = 2


class RunError(Told):
    """A run that started and could not be finished (exit code 1, reason in status.json)."""

    exit_code = 1


class Diverged(RunError):
    """Numbers are no longer finite: the method fails at these hyperparameters, whatever the machine."""


def disk_full(error: BaseException, path: Path | None = None) -> RunError | None:
    """What to say of a disk (or a quota) without space, if that is what `error` comes from; None otherwise.

    path: what was to be written, if that is known. A RunError has its sentence already.
    """
    if isinstance(error, RunError):
        return None
    cause: BaseException | None = error
    # A library that closes its half-written file fails once more, and hides the first failure behind the second.
    while cause is not None and getattr(cause, "errno", None) not in NO_SPACE:
        cause = cause.__cause__ or cause.__context__
    if not isinstance(cause, OSError):
        return None
    what = path or cause.filename or "a file"
    return RunError(
        f"{what} cannot be written, the disk is full ({cause.strerror}): free space and run the same command to go on"
    )
