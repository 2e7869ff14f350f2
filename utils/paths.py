"""Paths and names as people type them."""

import os
import re
import sys
from pathlib import Path

from utils.errors import UserError
from utils.text import shorten

LONGEST_NAME = 255  # bytes of one name in a path, on every file system in use
VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[^}]*\}|\()")


def typed_path(text: str) -> Path:
    """The path that a command's argument names; UserError where it names none."""
    return Path(expand_path(text, "the path"))


def expand_path(text: str, where: str) -> str:
    """A path with the home folder in place of a leading ~ or ~user; UserError, naming `where`, for what is no path."""
    check_characters(text, where)
    if found := VARIABLE.search(text):
        raise UserError(
            f"{where} is {_quoted(text)}, with {found[0]}: a shell fills that in, unless it stands in single quotes or "
            "in a file, and nobody else does; write the name itself in its place"
        )
    path = os.path.expanduser(text)
    if path.startswith("~"):
        user = re.split(r"[/\\]", path)[0]
        raise UserError(
            f"{where} is {_quoted(text)}: no home folder {user} is known; what has that very name is ./{user}"
        )
    return path


def check_characters(text: str, where: str) -> None:
    """UserError for a text that can stand in no file and no path: with a null character, or bytes that are no text."""
    if "\0" in text:
        raise UserError(f"{where} is {_quoted(text)}, with a null character, which no path and no name can have")
    if any("\ud800" <= one <= "\udfff" for one in text):
        system = sys.getfilesystemencoding()
        todo = "rename what it names" if system == "utf-8" else "set LC_ALL=C.UTF-8 where the name is UTF-8"
        raise UserError(
            f"{where} is {_quoted(text)}, with bytes that are no text in this system's encoding ({system}); {todo}"
        )


def _quoted(text: str) -> str:
    return shorten(repr(text), LONGEST_NAME, LONGEST_NAME // 3)


def check_name(name: str, flag: str) -> None:
    """UserError, naming the `flag` that gives a part of it, where a name is longer than file systems take."""
    if len(name.encode()) > LONGEST_NAME:
        raise UserError(
            f"the run's folder would have a name of {len(name.encode())} bytes ({_quoted(name)}), and file systems "
            f"take at most {LONGEST_NAME}; give a shorter --{flag}"
        )
