"""Standard output and error: any text can be printed, and work goes on where they are full, closed or hung up."""

import argparse
import codecs
import contextlib
import functools
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from utils.errors import RunError, UserError
from utils.text import PrintableFormatter, for_people, printable

Main = Callable[..., int]
READABLE = {"±": "+-"}  # what the commands print beside names, where the terminal's encoding has no such character
ERRORS = "readable"


def _readable(error: UnicodeError) -> tuple[str | bytes, int]:
    """A codec's error handler: an escape for what the encoding lacks; columns of numbers keep their width."""
    if not isinstance(error, UnicodeEncodeError) or error.object[error.start] not in READABLE:
        return codecs.backslashreplace_errors(error)
    stand_in, end = READABLE[error.object[error.start]], error.start + 1
    follows = error.object[end : end + len(stand_in) - 1]
    return stand_in, end + (len(follows) if follows.isspace() else 0)


codecs.register_error(ERRORS, _readable)


def set_up() -> None:
    """Make standard output and error take any text; one that is closed takes none, and says so when it is written to.

    A file that is opened later must not get the number of a closed stream: what is meant for a terminal, such as a
    library's warning, would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)  # it gets the lowest number that is free
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # Python was started without it
            stream = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115  (for good)
            setattr(sys, name, stream)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)


def terminal_width() -> int:
    """Letters of a line of the terminal that standard output is, less where COLUMNS says so; 0 where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def tell(text: str, end: str = "\n") -> None:
    """Print what was asked for; RunError where nobody gets it."""
    with _failures_of(sys.stdout) as failures:
        print(printable(text), end=end, flush=True)
    if failures:
        raise RunError(f"standard output cannot be written to ({failures[0]}); what was asked for is not printed")


def say(text: str, stream: TextIO | None = None) -> bool:
    """Print a line that may be lost, to standard error unless another stream is named; returns whether it was not."""
    stream = sys.stderr if stream is None else stream
    with _failures_of(stream) as failures:
        print(printable(text), file=stream, flush=True)
    return not failures


@contextlib.contextmanager
def may_be_lost(stream: TextIO) -> Iterator[None]:
    """Within it what is printed to `stream` may be lost: it is full, closed, or its reader has gone."""
    with _failures_of(stream):
        yield


@contextlib.contextmanager
def _failures_of(stream: Any) -> Iterator[list[str]]:
    """Gives a list that gets the reason where writing fails; from then on the stream takes everything and keeps none.

    What waits in its buffer would fail once more when Python ends, with a message and an exit code of its own.
    """
    failures: list[str] = []
    try:
        yield failures
    except (OSError, ValueError) as error:  # ValueError: closed within Python, or not to be encoded
        failures.append(getattr(error, "strerror", None) or str(error))
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


class LogLines(logging.StreamHandler):
    """Printable lines of the log on standard error, which may be lost."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(PrintableFormatter("%(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Give up on the stream; a defect of the program is shown as ever."""
        with may_be_lost(self.stream):
            if isinstance(error := sys.exc_info()[1], OSError):
                raise error
            super().handleError(record)


class Parser(argparse.ArgumentParser):
    """argparse whose --help says where it could not be printed."""

    def _print_message(self, message: str, file: object = None) -> None:
        if file is sys.stdout:
            tell(message, end="")
        else:
            say(message.removesuffix("\n"))


def on_terminal(main: Main) -> Main:
    """Decorator of what a command starts with: streams that take any text, and errors that are sentences."""

    @functools.wraps(main)
    def started(*arguments: Any) -> int:
        set_up()
        try:
            return main(*arguments)
        except (UserError, RunError) as error:
            say(f"error: {error}")
            return error.exit_code
        except (OSError, UnicodeEncodeError) as error:  # a folder without leave to look, a name that is too long
            say(f"error: {for_people(_sentence(error))}")
            return UserError.exit_code
        finally:
            for stream in (sys.stdout, sys.stderr):
                with may_be_lost(stream):
                    stream.flush()

    return started


def _sentence(error: OSError | UnicodeEncodeError) -> str:
    """What the system, or the encoding of its file names, has against a path."""
    if isinstance(error, UnicodeEncodeError):
        return (
            f"{error.object!r} cannot be named in this system's encoding ({error.encoding}); "
            "set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        )
    named = " -> ".join(str(path) for path in (error.filename, error.filename2) if path is not None)
    return f"{named}: {error.strerror}" if named and error.strerror else str(error)
