"""What a redacted copy has of each file of a run: what is named here, and nothing else."""

import dataclasses
import functools
import io
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from datasets.base import TEST, VAL
from datasets.deletion.forget_list import as_text, read_forget_list
from datasets.splits import INDEX_SETS, STORED_IF_ANY, Splits, arrays_of, forget_fingerprint, load_splits
from method.configs.key import SCHEMA
from method.configs.schema import FALLBACK, all_keys
from method.evaluation.records import Records
from method.registry import METHODS
from method.runs.file_meanings import HISTORY as EXPLAINED
from method.runs.files import read_history
from method.runs.folder import (
    CONFIG,
    DONE,
    FORGET_LIST,
    HISTORY,
    IMPORTED,
    METRICS,
    RECORDS,
    REDACTED,
    ROWS,
    SPLITS,
    STATUS,
    records_name,
)
from method.runs.named_files import KEPT_WITHOUT, MARK, NAMING
from method.runs.signature import PIXELS
from method.runs.stored import StoredRun
from scripts.report.naming import LEFT_OUT
from scripts.report.redact_metrics import Kept, redact_metrics
from scripts.report.sheet_request import check_request
from scripts.report.tokens import Tokens
from utils.tables import is_number

# config.yaml: sections and keys that a report or a reader needs and that say nothing of persons or machines.
PROVENANCE = (
    *("device", "threads", "world_size", "precision", "original_sha256", KEPT_WITHOUT, "python", "torch", "numpy"),
    *("machine", "commit", "dirty"),
)
GROUP_FACTS = ("names", "targets", "n_targets", "n_sensitive", "forget")
PIXEL_TEXT = re.compile(r"[-+0-9.,e]+")  # numbers
OF_OWNER = ("wandb_project", "forget_list_column", "split_values")  # words that are no paths, and name somebody
OF_IMPORTED = ("imported", "classes")  # keys of the identity that are no flags
STATES = ("running", "interrupted", "failed", "done")
DATA, FORGET = "data", "forget"
PHASES = ("critics", "fisher", "forget", "retain", "train")  # of history.csv's losses


@dataclasses.dataclass(frozen=True)
class Redacted:
    """A run, and its files in the copy by name; left_out: names of its files that have no counterpart there."""

    contents: Mapping[str, bytes]
    left_out: tuple[str, ...]


def redact_run(run: StoredRun, tokens: Tokens, kept: Kept, rows: list[dict[str, Any]], ended: str) -> Redacted:
    """The run's files for the copy; rows: what a pretrained run's rows.json has. UserError names a broken file.

    ended: date and time of the run, which its log alone tells.
    """
    contents = {CONFIG: _yaml(redact_config(run, tokens, ended))}
    for name, redacted in _makers(run, tokens).items():
        if os.path.exists(run.folder / name):
            contents[name] = redacted(Path(os.fspath(run.folder / name)))
    if run.metrics:
        contents[METRICS] = _json(redact_metrics(run.metrics, kept))
    if rows:
        contents[ROWS] = _json({"rows": rows})
    there = sorted(name for name in os.listdir(run.folder) if name not in (*contents, DONE))
    if run.marked:
        contents[DONE] = "".join(f"{name}\n" for name in sorted(contents)).encode()
    return Redacted(contents, tuple(there))


def _makers(run: StoredRun, tokens: Tokens) -> dict[str, Callable[[Path], bytes]]:
    records = [name for name in os.listdir(run.folder) if re.fullmatch(records_name("X").replace("X", r"\w+"), name)]
    return {
        HISTORY: _history,
        STATUS: functools.partial(_status, run=run),
        SPLITS: functools.partial(_splits, tokens=tokens),
        FORGET_LIST: functools.partial(_forget_list, tokens=tokens),
        **dict.fromkeys((RECORDS, *records), functools.partial(_records, run=run, tokens=tokens)),
    }


def data_of(run: StoredRun) -> str:
    """The table whose rows a run counts."""
    return run.fingerprint(DATA) or "unknown"


def note_rows(run: StoredRun, tokens: Tokens) -> None:
    """Add the rows of a run to those that get tokens."""
    if os.path.exists(run.folder / SPLITS):
        splits = load_splits(run.folder / SPLITS)
        sets = [splits.train, splits.val, splits.test, splits.left_out]
        tokens.add_rows(splits.data_fingerprint, sets, splits.forget)
    if os.path.exists(run.folder / RECORDS):
        none = np.array([], dtype=np.int64)
        tokens.add_rows(data_of(run), [Records.load(run.folder / RECORDS).index], none)


def note_forget_set(run: StoredRun, tokens: Tokens) -> None:
    """Give its forget set a fingerprint of tokens; to be called for all runs once their rows are drawn."""
    known = run.fingerprint(FORGET)
    if known and os.path.exists(run.folder / SPLITS):
        splits = load_splits(run.folder / SPLITS)
        tokens.put(FORGET, known, _redacted_splits(splits, tokens).forget_fingerprint or "")


def redact_config(run: StoredRun, tokens: Tokens, ended: str) -> dict[str, Any]:
    """config.yaml with tokens; what stands in no section that is named here is left out."""
    stored, value = run.stored, functools.partial(_value, tokens=tokens)
    own = (SCHEMA, FALLBACK, f"{stored['config'].get('dataset')}.yaml")
    prints, provenance = stored.get("fingerprints") or {}, stored.get("provenance") or {}
    groups, pixels = stored.get("groups"), stored.get("pixels")
    found: dict[str, Any] = {"groups": {name: groups[name] for name in GROUP_FACTS if name in groups}} if groups else {}
    if isinstance(pixels, dict):
        found["pixels"] = {name: text for name in PIXELS if PIXEL_TEXT.fullmatch(text := str(pixels.get(name)))}
    if "reweights_by_default" in stored:
        found["reweights_by_default"] = stored["reweights_by_default"]
    known = {*all_keys(), *OF_IMPORTED}
    found["config"] = {name: value(name, given) for name, given in stored["config"].items() if name in known}
    identity, sources = stored.get("identity") or {}, stored.get("sources") or {}
    found["identity"] = {name: value(name, given) for name, given in identity.items() if name in known}
    found["sources"] = {
        name: source if str(source).split(" [")[0] in own else _flag(str(source))
        for name, source in sources.items()
        if name in known
    }
    found["task"] = task_token(run, tokens)
    found["fingerprints"] = {
        DATA: prints.get(DATA),
        FORGET: tokens.of(FORGET, prints[FORGET]) if prints.get(FORGET) else None,
    }
    found["provenance"] = {name: provenance[name] for name in PROVENANCE if name in provenance}
    if run.model_sha256:  # by which a report knows what started from it
        found["provenance"][KEPT_WITHOUT] = run.model_sha256
    if stored.get(IMPORTED):
        found[IMPORTED] = {"file": tokens.of("path", str(stored[IMPORTED].get("file")))}
    if isinstance(requests := stored.get("requests"), dict):
        names = {
            kind: sorted(tokens.of("name", name) for name in own) for kind, own in check_request(requests, run).items()
        }
        found["requests"] = {"n": requests["n"], "n_skipped": sum(map(len, names.values())), "skipped": names}
    if isinstance(images := stored.get("skipped_images"), dict):
        found["skipped_images"] = {"n": images.get("n") if is_number(images.get("n")) else None, "first": []}
    return found | {REDACTED: {"ended": ended}}


def _flag(source: str) -> str:
    """The flag or the preset that a value comes from; nothing of a file of the owner's."""
    return source.split()[0] if source.startswith(("--", "preset ")) else LEFT_OUT


def _value(name: str, given: Any, tokens: Tokens) -> Any:
    """A number, or a text of a key that this version knows to hold no path; the others are tokens."""
    if given is None or isinstance(given, bool) or is_number(given):
        return given
    key, text = all_keys().get(name), str(given)
    known = key is not None and not key.path and name not in OF_OWNER
    word = name in NAMING and (text in NAMING[name][0] or text.startswith(MARK))
    return text if known or word or not text else tokens.of("path", text)


def task_token(run: StoredRun, tokens: Tokens) -> str:
    """The word for the task; that of a list is a digest of its names, which can be tried."""
    task = str(run.stored.get("task") or "")
    return tokens.of("list", task) if task.startswith("list-") else task


@functools.cache
def _history_columns() -> frozenset[str]:
    own = (name for method in METHODS.values() for name in method.history_columns)
    return frozenset((*EXPLAINED, *(f"{phase}_loss" for phase in PHASES), *own))


def _splits(file: Path, tokens: Tokens) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays_of(_redacted_splits(load_splits(file), tokens)))
    return stream.getvalue()


def _redacted_splits(splits: Splits, tokens: Tokens) -> Splits:
    data = splits.data_fingerprint
    names = (*INDEX_SETS, *STORED_IF_ANY)
    sets: dict[str, Any] = {name: np.sort(tokens.row_tokens(data, getattr(splits, name))) for name in names}
    fingerprint = forget_fingerprint(data, sets["forget"]) if splits.forget_fingerprint else None
    return dataclasses.replace(splits, **sets, forget_fingerprint=fingerprint)


def _records(file: Path, run: StoredRun, tokens: Tokens) -> bytes:
    """Records of val and test under tokens, in the order of these.

    None of train, nor of what is left out of it: if only those who asked were missing, whoever has the images and a
    model could compute all outputs again and see who is missing.
    """
    records = Records.load(file)
    kept = np.flatnonzero(np.isin(records.split, (VAL, TEST)))
    index = tokens.row_tokens(data_of(run), records.index[kept])
    order = np.argsort(index)
    stream = io.BytesIO()
    np.savez(stream, **{**{name: own[kept][order] for name, own in records.arrays.items()}, "index": index[order]})
    return stream.getvalue()


def _forget_list(file: Path, tokens: Tokens) -> bytes:
    """A token a name, in the order of the tokens."""
    return as_text(sorted(tokens.of("name", name) for name in read_forget_list(file, None))).encode()


def _history(file: Path) -> bytes:
    """Its numbers, of the columns that this version knows."""
    columns = {name: own for name, own in read_history(file).items() if name in _history_columns()}
    rows = [
        ["" if value is None else repr(value).removesuffix(".0") for value in row]
        for row in zip(*columns.values(), strict=True)
    ]
    return "".join(f"{','.join(row)}\n" for row in ([*columns], *rows)).encode()


def _status(file: Path, run: StoredRun) -> bytes:
    state = "done" if run.marked else run.problem.split(":")[0]
    return _json({"state": state if state in STATES else "failed", "reason": None})


def _yaml(value: Any) -> bytes:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**6).encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()
