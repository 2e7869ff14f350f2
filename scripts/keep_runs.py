"""Keep what a repository needs of finished runs: their numbers, without models and without this machine's paths.

    python -m scripts.keep_runs output docs/results/runs/digits.zip

Of every finished run under the first folder config.yaml, history.csv, metrics.json and relearn.json go to the same
place in the zip, or in the folder where the name does not end in .zip, and a `done` marker that lists what was kept. An
audit.json goes along, for a zip beside it. Reports make the
rows of pretrained models from records and splits, so a pretrained run keeps its records, and one run of every table its
splits, compressed: `python -m scripts.report` shows both alike. A run that is there already is replaced; nothing else
is removed, and nothing is written through a link. Of an absolute path in config.yaml the last part is left. Equal runs
give an equal zip, byte by byte with the same versions of numpy and zlib.

Exit code 1 where a finished run, or a file of one, could not be kept: it cannot be read.
"""

import argparse
import contextlib
import functools
import io
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import IO, Any

import numpy as np
import yaml

from datasets.splits import arrays_of, load_splits
from method.evaluation.records import Records
from method.runs.audits import audit_file
from method.runs.files import PRETRAIN, read_history
from method.runs.findings import RELEARN, read_findings, write_findings
from method.runs.folder import CONFIG, DONE, HISTORY, METRICS, RECORDS, SPLITS
from method.runs.named_files import KEPT_WITHOUT
from method.runs.originals import starts_of
from method.runs.stored import StoredRun, read_runs
from method.runs.zips import read_zip, write_zip
from scripts.report.collect import pretrain_pairs
from utils.errors import RunError, UserError
from utils.files import read_bytes, write_atomic
from utils.paths import typed_path
from utils.terminal import Parser, on_terminal, say, tell

NAMES_OF_GROUPS = "groups"  # the section of config.yaml in which no text is a path


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Copy and say how many; returns the exit code."""
    parser = Parser(
        "python -m scripts.keep_runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=typed_path, help="a folder with runs, such as output, or a zip of them")
    parser.add_argument("target", type=typed_path, help="where to keep them, such as docs/results/runs/digits.zip")
    wanted = parser.parse_args(arguments)
    try:
        runs = read_runs(wanted.source)
        places = {run: wanted.target / run.folder.relative_to(wanted.source) for run in runs if not run.problem}
        _refuse_own_and_links(wanted.source, wanted.target, places.values())
        in_zip = wanted.target.suffix.lower() == ".zip" and not os.path.isdir(wanted.target)
        unread = (_keep_in_zip if in_zip else _keep_in_folders)(places, wanted.target)
        if os.path.exists(audit_file(wanted.source)):
            with _writing(wanted.target):
                write_findings(audit_file(wanted.target), read_findings(audit_file(wanted.source))[0], {})
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


def _keep_in_folders(places: dict[StoredRun, Path], target: Path) -> list[str]:
    """Copy every run to its place under `target`; returns lines on files that could not be read."""
    lines = []
    for run, contents, unread in _kept_of(places):
        with _writing(places[run]):
            places[run].mkdir(parents=True, exist_ok=True)
            (places[run] / DONE).unlink(missing_ok=True)
            for name, content in contents.items():
                write_atomic(places[run] / name, functools.partial(_write, content=content))
        lines += unread
    return lines


def _keep_in_zip(places: dict[StoredRun, Path], target: Path) -> list[str]:
    """The same in a zip, which is written anew with what is in it."""
    everything, lines = read_zip(target) if os.path.lexists(target) else {}, []
    for run, contents, unread in _kept_of(places):
        folder = places[run].relative_to(target)
        everything |= {(folder / name).as_posix(): content for name, content in contents.items()}
        lines += unread
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_zip(target, everything)
    return lines


def _kept_of(runs: Collection[StoredRun]) -> Iterator[tuple[StoredRun, dict[str, bytes], list[str]]]:
    """Every run with what is kept of it, and lines on what of it cannot be read."""
    pairs = pretrain_pairs(list(runs), starts_of(list(runs)))
    with_records, with_splits = {pretrain for pretrain, _ in pairs}, {sibling for _, sibling in pairs}
    for run in runs:
        arrays = [name for name, kept in ((RECORDS, with_records), (SPLITS, with_splits)) if run in kept]
        yield run, *_contents(run, arrays)


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    """UserError where it cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{place} cannot be written ({error.strerror or error}); give another place") from None


def _contents(run: StoredRun, arrays: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
    """What is kept of one run, the marker last, and lines on files that cannot be read and are left out."""
    contents, unread = {METRICS: read_bytes(run.folder / METRICS)}, []
    for name in (HISTORY, RELEARN, *arrays):
        file = run.folder / name
        try:
            if name in arrays:
                contents[name] = _compressed(file)
            elif os.path.lexists(file):  # a method without epochs has no history
                (read_history if name == HISTORY else read_findings)(file)
                contents[name] = read_bytes(file)
        except (ValueError, UserError) as error:
            unread.append(f"{name}: {run.place}: {error}")
    stored = _portable(run.stored)
    if run.method == PRETRAIN and run.model_sha256:  # by which a report knows what started from it
        stored["provenance"] = {**(stored.get("provenance") or {}), KEPT_WITHOUT: run.model_sha256}
    contents[CONFIG] = yaml.safe_dump(stored, sort_keys=False).encode()
    return contents | {DONE: "".join(f"{name}\n" for name in sorted(contents)).encode()}, unread


def _write(file: IO[bytes], content: bytes) -> None:
    file.write(content)


def _compressed(file: Path) -> bytes:
    """Records or splits, which are checked, as a compressed archive; UserError where they cannot be read."""
    arrays = Records.load(file).arrays if file.name == RECORDS else arrays_of(load_splits(file))
    archive = io.BytesIO()
    np.savez_compressed(archive, **arrays)
    return archive.getvalue()


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
