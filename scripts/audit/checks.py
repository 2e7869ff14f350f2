"""What an audit refuses before it begins: a place that cannot be written, one run, and runs without records."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from method.runs.files import PRETRAIN
from method.runs.folder import CONFIG, RunFolder
from method.runs.stored import StoredRun
from scripts.audit.reading import whole_runs
from utils.errors import UserError

DEPTH = 5  # folders from a run up to the folder of all


def refuse_place(file: Path, called: str) -> None:
    """UserError where no file can be written there; called: how the user knows it."""
    if os.path.isdir(file):
        raise UserError(f"{called}: this is a folder; give the name of a file with --out")
    if os.path.lexists(file) and not os.path.isfile(file):
        raise UserError(f"{called}: this is no regular file; give the name of another one with --out")
    if not os.path.isdir(file.parent):
        raise UserError(f"{called}: there is no folder {file.parent}; make it first")
    try:
        tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        raise UserError(
            f"{called}: nothing can be written in {file.parent} ({error.strerror or error}); give another place with"
            " --out"
        ) from None


def refuse_run(path: Path) -> None:
    """UserError for a run's own folder, naming the one that holds the runs it belongs to."""
    if not os.path.exists(path / CONFIG):
        return
    try:
        dataset = RunFolder(path).read_config()["config"]["dataset"]
    except ValueError:  # another program's
        return
    above = path.absolute().parents
    store = next((place.parent for place in above[:DEPTH] if place.name == dataset), above[0])
    raise UserError(f"{path} is one run, and an audit needs those of several seeds; give their folder: {store}")


def refuse_without_records(path: Path, tables: Iterable[Sequence[StoredRun]]) -> None:
    """UserError where no run that forgets keeps its records, from which everything is made."""
    if not any(run.method != PRETRAIN for own in tables for run in whole_runs(own)):
        raise UserError(
            f"no run under {path} keeps its records of all samples, as runs kept for a table and redacted copies do"
            " not; give the folder that the runs were made in"
        )
