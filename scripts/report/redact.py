"""`--redact`: a copy of runs fit to be shared. Tokens stand for names, rows and paths; the key stays with the owner."""

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from method.configs.loading import Config
from method.configs.schema import all_keys
from method.evaluation.columns import COLUMNS
from method.registry import METHODS
from method.runs.files import PRETRAIN
from method.runs.folder import REDACTED, name_of
from method.runs.stored import StoredRun, read_runs
from scripts.report.collect import FILTERS, Report, row_key
from scripts.report.redact_audit import redact_audits
from scripts.report.redact_files import (
    Redacted,
    note_forget_set,
    note_rows,
    redact_run,
    task_token,
)
from scripts.report.redact_guard import Names, owners_words
from scripts.report.redact_metrics import Kept, kept_of, redact_metrics
from scripts.report.sheet import ended
from scripts.report.tokens import Tokens, told_of_git, write_key
from utils.errors import UserError


def redact(root: Path, copy: Path) -> list[str]:
    """Write the copy, a folder, and its key beside the tree of the runs; returns lines to be shown.

    UserError, with nothing left behind, where something of these names is there already, or a file cannot be read.
    """
    found = read_runs(root)
    runs = [run for run in found if run.config]
    tree = _tree(Path(os.path.realpath(root)), runs, root)
    key = tree.parent / f"{tree.name}.{copy.name}.key.json"
    for file in (copy, key):
        if os.path.lexists(file):
            raise UserError(f"{file} is there already, and nothing is written over it; give another name for the copy")
    if Path(os.path.realpath(copy)).is_relative_to(tree):
        raise UserError(f"{copy} would lie among the runs themselves; give a folder outside of {tree}")
    if not os.path.isdir(copy.parent):
        raise UserError(f"--redact {copy}: there is no folder {copy.parent}; make it first")
    _refuse_redacted(runs)
    tokens, places, made = _redacted(runs, root)
    _refuse_rests(places, tokens, (Path(os.path.abspath(root)), tree))
    contents = {places[run] / name: text for run, own in made.items() for name, text in own.contents.items()}
    audits = redact_audits(root, made, places)
    _write(copy, contents | audits)
    try:
        write_key(key, tokens.as_json(copy))
    except BaseException:
        shutil.rmtree(copy)
        raise
    left_out = sorted({name for own in made.values() for name in own.left_out} - {place.name for place in audits})
    return [
        f"{len(runs)} runs redacted in {copy}",
        f"the key, which turns tokens back into names: {key}. Keep it, and give it to nobody.",
        *told_of_git([key]),
        *([f"left out of the copy: {', '.join(left_out)}"] if left_out else []),
        *(f"not in the copy: {run.place}: {run.problem}" for run in found if not run.config),
    ]


def _tree(place: Path, runs: Sequence[StoredRun], root: Path) -> Path:
    """The outermost folder of the runs in `place`, above the folders of task, model and data set that it lies in.

    What lies in it goes along when it, or a folder in it, is handed on: so neither a copy nor a key lies there.
    """
    tree = place
    for run in runs:
        outer = folder = (place / run.folder.relative_to(root)).parent
        for name in (str(run.stored.get("task")), str(run.config["model"]).replace("/", "-"), run.config["dataset"]):
            folder = folder.parent if folder.name == name else folder
        if folder != outer and tree.is_relative_to(folder):
            tree = folder
    return tree


def _refuse_redacted(runs: Sequence[StoredRun]) -> None:
    if not runs:
        raise UserError("no run here has a config.yaml that can be read, so there is nothing to be redacted")
    if again := [run for run in runs if run.stored.get(REDACTED)]:
        raise UserError(f"{again[0].place} is a redacted copy already; give the folder that it was made from")


def _redacted(runs: Sequence[StoredRun], root: Path) -> tuple[Tokens, dict[StoredRun, Path], dict[StoredRun, Redacted]]:
    """Tokens, where each run goes in the copy, and its files there."""
    tokens = Tokens()
    for run in runs:
        note_rows(run, tokens)
    tokens.draw_rows()
    for run in runs:
        note_forget_set(run, tokens)
    places = {run: _place(run, root, tokens) for run in runs}
    kept = {run: kept_of(run, _called(run, places), tokens) for run in runs}
    rows = _rows_of_pretrained(runs, kept, tokens)
    made = {run: redact_run(run, tokens, kept[run], rows.get(run, []), ended(run)) for run in runs}
    return tokens, places, made


def _rows_of_pretrained(
    runs: Sequence[StoredRun], kept: Mapping[StoredRun, Kept], tokens: Tokens
) -> dict[StoredRun, list[dict[str, Any]]]:
    """Of each pretrained run its metrics on every forget set that it serves: its records in the copy cannot tell."""
    report = Report(runs, dict.fromkeys(FILTERS, ()), [column.key for column in COLUMNS], originals=True)
    found: dict[StoredRun, list[dict[str, Any]]] = defaultdict(list)
    for row in (row for rows in report.tables.values() for row in rows):
        if row.run.method == PRETRAIN and row.splits_of is not None:
            forget, groups = row_key(row.splits_of)
            entry = {"forget": tokens.of("forget", forget) if forget else None, "groups": groups}
            found[row.run].append({**entry, "metrics": redact_metrics(row.values, kept[row.splits_of])})
    return found


def _place(run: StoredRun, root: Path, tokens: Tokens) -> Path:
    """Where the run lies in the copy: names that follow from what it is stay, others get tokens."""
    if not run.folder.is_relative_to(root) or run.folder == root:
        return Path()
    kept = {str(run.config["dataset"]), *_program_words(run)}
    *outer, own = run.folder.relative_to(root).parts
    parts = [
        task_token(run, tokens)
        if part == run.stored.get("task")
        else part
        if part in kept
        else tokens.of("folder", part)
        for part in outer
    ]
    return Path(*parts, own if own == usual_name(run) else tokens.of("folder", own))


def usual_name(run: StoredRun) -> str:
    """What this version calls the folder of such a run; empty for a method that it does not have."""
    values = {name: value for name, value in {"tag": "", **run.config}.items() if name in all_keys()}
    return name_of(Config(values, {})) if run.method in METHODS else ""


def _called(run: StoredRun, places: Mapping[StoredRun, Path]) -> dict[str, str]:
    """What folders are called in the copy, by name; of several of one name the one beside `run` counts."""
    ordered = sorted(places, key=lambda other: other.folder.parent == run.folder.parent)
    return {other.folder.name: places[other].name for other in ordered}


def _refuse_rests(places: Mapping[StoredRun, Path], tokens: Tokens, sources: Sequence[Path]) -> None:
    """UserError where a name or a place of the runs stands in the copy all the same, as in the name of a group."""
    names = Names(tokens.texts.get("name", {}).values())
    made = {token for own in tokens.texts.values() for token in own}
    for run, place in places.items():
        others = {*made, *_program_words(run), usual_name(run)}
        for text, what in owners_words(run, place, others):
            here = next((path for path in map(str, sources) if path in text), None)
            if found := here or names.within(text):
                raise UserError(
                    f"{found!r} would still stand in {text!r}, {what} of {run.place}; call that differently in the data"
                    " or the run, or leave the run out. Nothing was written"
                )


def _program_words(run: StoredRun) -> set[str]:
    """What folders are called by the program's own words, wherever they lie."""
    return {str(run.stored["config"]["dataset"]), str(run.config["model"]).replace("/", "-")}


def _write(copy: Path, contents: Mapping[Path, bytes]) -> None:
    """The whole copy or nothing of it; UserError where it cannot be written."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{copy.name}.", dir=copy.parent) as folder:
            place = Path(folder) / "copy"
            place.mkdir()
            for name, content in contents.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content)
            os.rename(place, copy)
    except OSError as error:
        raise UserError(f"--redact {copy}: it cannot be written ({error.strerror or error})") from None
