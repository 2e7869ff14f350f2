"""Keep what a repository needs of finished runs: their numbers, without models and without this machine's paths.

    python -m scripts.keep_runs output docs/results/runs/digits

Of every finished run under the first folder config.yaml, history.csv and metrics.json go to the same place under the
second, and a `done` marker that lists what was kept. Reports make the rows of pretrained models from records and
splits, so a pretrained run keeps its records, and one run of every table its splits, compressed: `python -m
scripts.report` shows both folders alike. A run that is there already is replaced; nothing else is removed, and nothing
is written through a link. Of an absolute path in config.yaml the last part is left.

Exit code 1 where a finished run, or a file of one, could not be kept: it cannot be read.
"""

import argparse
import functools
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path, PureWindowsPath
from typing import IO, Any

import numpy as np
import yaml

from datasets.splits import STORED, load_splits
from method.evaluation.records import COLUMNS, Records
from method.runs.files import read_history
from method.runs.folder import CONFIG, DONE, HISTORY, METRICS, RECORDS, SPLITS
from method.runs.stored import StoredRun, read_runs
from scripts.report.collect import pretrain_pairs
from utils.arrays import read_npz
from utils.errors import RunError, UserError
from utils.files import read_bytes, write_atomic, write_text
from utils.paths import typed_path
from utils.terminal import Parser, on_terminal, say, tell

NAMES_OF_GROUPS = "groups"  # the section of config.yaml in which no text is a path


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Copy and say how many; returns the exit code."""
    parser = Parser(
        "python -m scripts.keep_runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=typed_path, help="a folder with runs, such as output")
    parser.add_argument("target", type=typed_path, help="where to keep them, such as docs/results/runs/digits")
    wanted = parser.parse_args(arguments)
    try:
        runs = read_runs(wanted.source)
        places = {run: wanted.target / run.folder.relative_to(wanted.source) for run in runs if not run.problem}
        _refuse_own_and_links(wanted.source, wanted.target, places.values())
        unread = _keep_all(places)
    except (UserError, RunError) as error:
        say(f"error: {error}")
        return error.exit_code
    left_out = [run for run in runs if run.problem]
    lines = [f"{len(places)} runs kept in {wanted.target}"]
    lines += [f"left out: {run.place}: {run.problem}" for run in left_out]
    tell("\n".join([*lines, *(f"kept without {line}" for line in unread)]))
    return RunError.exit_code if unread or any(run.marked for run in left_out) else 0


def _refuse_own_and_links(source: Path, target: Path, folders: Collection[Path]) -> None:
    """UserError before anything is written where it would be written elsewhere than it says, or over the runs."""
    if os.path.realpath(source) == os.path.realpath(target):
        raise UserError(f"{target} holds the runs themselves; give another folder to keep them in")
    for folder in folders:
        for part in (folder, *folder.parents):
            if part == target:
                break
            if part.is_symlink():
                raise UserError(
                    f"{part} is a link, through which nothing is written; remove it, or give another folder"
                )


def _keep_all(places: dict[StoredRun, Path]) -> list[str]:
    """Copy every run to its place; returns lines on files that could not be read."""
    pairs = list(pretrain_pairs(list(places)))
    with_records, with_splits = {pretrain for pretrain, _ in pairs}, {sibling for _, sibling in pairs}
    unread = []
    for run, folder in places.items():
        arrays = [name for name, kept in ((RECORDS, with_records), (SPLITS, with_splits)) if run in kept]
        try:
            unread += _keep(run, folder, arrays)
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({error.strerror or error}); give another folder") from None
    return unread


def _keep(run: StoredRun, folder: Path, arrays: Sequence[str]) -> list[str]:
    """Copy one run, the marker last; a file that cannot be read is left out, and told."""
    contents, unread = {METRICS: read_bytes(run.folder / METRICS)}, []
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in (HISTORY, *arrays):
        file = run.folder / name
        try:
            if name in arrays:
                found[name] = _arrays(file)
            elif os.path.lexists(file):  # a method without epochs has no history
                read_history(file)
                contents[name] = read_bytes(file)
        except (ValueError, UserError) as error:
            unread.append(f"{name}: {run.place}: {error}")
    contents[CONFIG] = yaml.safe_dump(_portable(run.stored), sort_keys=False).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DONE).unlink(missing_ok=True)
    for name, content in contents.items():
        write_atomic(folder / name, functools.partial(_write, content=content))
    for name, own in found.items():
        write_atomic(folder / name, functools.partial(np.savez_compressed, **own))
    write_text(folder / DONE, "".join(f"{name}\n" for name in sorted([*contents, *found])))
    return unread


def _write(file: IO[bytes], content: bytes) -> None:
    file.write(content)


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of records or splits, which are checked; UserError where they cannot be read."""
    load, expected = (Records.load, COLUMNS) if file.name == RECORDS else (load_splits, STORED)
    load(file)
    return dict(zip(expected, read_npz(file, expected), strict=True))


def _portable(value: Any) -> Any:
    """What config.yaml says, with the last part of absolute paths."""
    if isinstance(value, dict):
        return {key: own if key == NAMES_OF_GROUPS else _portable(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_portable(own) for own in value]
    if not isinstance(value, str):
        return value
    windows = PureWindowsPath(value)
    if value.startswith("/"):
        return Path(value).name or value
    return windows.name if windows.is_absolute() and windows.name else value


if __name__ == "__main__":
    sys.exit(main())
