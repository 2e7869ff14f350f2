"""Paths as people type them, and where a run lives: only here is the layout of output/ and checkpoints/ known."""

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


def run_directory(
    root: Path,
    *,
    dataset: str,
    model: str,
    method: str,
    seed: int,
    task: str | None,
    unlearning_ratio: float | None,
    variant: str = "",
    tag: str = "",
) -> Path:
    """`<root>/<dataset>/<model>/<task>/<method><variant>[-tag]_<ratio>_<seed>`; task and ratio None: not part of it.

    variant: `_reweight`, `_no-reweight`, `_dro`, `_subsample`, `_ablate-<x>` where they are not the method's default.
    UserError where a name is longer than file systems take.
    """
    name = method + variant + (f"-{tag}" if tag else "")
    if unlearning_ratio is not None:
        name += f"_{unlearning_ratio:.10g}"
    name += f"_{seed}"
    for part, flag in ((dataset, "dataset_name"), (name, "tag")):
        if len(part.encode()) > LONGEST_NAME:
            raise UserError(
                f"the run's folder would have a name of {len(part.encode())} bytes ({_quoted(part)}), and "
                f"file systems take at most {LONGEST_NAME}; give a shorter --{flag}"
            )
    folder = root / dataset / model
    return (folder / task if task else folder) / name
