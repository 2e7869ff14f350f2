"""The report as one HTML page that needs no server, no network and no library: everything stands in the file."""

import base64
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

from method.evaluation.intervals import student_factor
from scripts.report.look import LOOK, NO_CURVE, PASSES, curve_keys, in_words, information_keys

HERE = Path(__file__).parent
SCRIPTS = (
    "draw.js", "plots.js", "groups.js", "terms.js", "table.js", "group_table.js", "details.js", "compare.js", "page.js"
)  # fmt: skip
MOMENTS = ("n", "mean", "sd")
DIGITS = 6  # significant ones, of what is only drawn
COLUMN_DEFAULTS = {"unit": "", "what": "", "main": False, "best": "", "scale": 1, "decimals": 1}


def page(payload: dict[str, Any]) -> str:
    """The whole document, from the dict that `--format json` writes (docs/report.md)."""
    script = '"use strict";\n' + "\n".join(_read(name) for name in SCRIPTS)
    parts = {
        # The page may run its own script, to the letter, and nothing else; nothing may be loaded.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": _read("page.css"),
        "data": in_script(pack_payload(payload)),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _read("page.html"))


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def in_script(value: Any) -> str:
    """JSON that may stand in a script element: no markup can end or open it."""
    text = json.dumps(_plain(value), separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def pack_payload(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload for the page: lists that several runs share stand once, in `pool`; cells are lists by column."""
    pool = ListPool()
    columns = [COLUMN_DEFAULTS | column for column in payload["columns"]]
    keys = [column["key"] for column in columns]
    tables = [{**table, "cells": [_cell(cell, keys, pool) for cell in table["cells"]]} for table in payload["tables"]]
    cells = [cell for table in tables for cell in table["cells"]]
    runs = [_run(run, pool) for run in payload["runs"]]
    histories = [run["history"] for run in payload["runs"] if run.get("history")]
    curves = curve_keys(histories)
    return {
        "path": payload["path"],
        "columns": columns,
        "tables": tables,
        "runs": runs,
        "missing": payload["missing"],
        "pool": pool.lists,
        "student": [student_factor(n) for n in range(max((len(cell["seeds"]) for cell in cells), default=0) + 1)],
        "glossary": payload["glossary"],
        "look": LOOK,
        "curves": [{"key": key, "title": in_words(key)} for key in curves],
        "information": information_keys(histories),
        "passes": PASSES,
    }


class ListPool:
    """Lists of plain values, each kept once; what is put in is represented by its number."""

    def __init__(self) -> None:
        self.lists: list[list] = []
        self._numbers: dict[str, int] = {}

    def put(self, values: list) -> int:
        """The number of an equal list; floats are rounded to what a plot shows."""
        values = [_rounded(value) for value in values]
        key = json.dumps(values)
        if key not in self._numbers:
            self._numbers[key] = len(self.lists)
            self.lists.append(values)
        return self._numbers[key]


def _cell(cell: dict[str, Any], keys: list[str], pool: ListPool) -> dict[str, Any]:
    """n, mean and sd as lists in the order of the columns; the difference's only where there is one; groups pooled."""
    own = {name: [cell[name].get(key) for key in keys] for name in MOMENTS}
    parts = [cell["difference"].get(key) or {} for key in keys]
    difference = {name: [part.get(name) for part in parts] for name in MOMENTS}
    groups = {what: _grouped(found, pool) for what, found in cell["groups"].items()}
    return {**cell, **own, "difference": difference if any(difference["n"]) else None, "groups": groups}


def _grouped(found: list[dict[str, Any]], pool: ListPool) -> dict[str, int]:
    """n, mean and both ends of the interval of every group, as numbers of lists in the pool."""
    ends = [one["interval"] or (None, None) for one in found]
    lists = {name: [one[name] for one in found] for name in ("n", "mean")}
    return {
        name: pool.put(own)
        for name, own in (lists | {"low": [a for a, _ in ends], "high": [b for _, b in ends]}).items()
    }


def _run(run: dict[str, Any], pool: ListPool) -> dict[str, Any]:
    """A run whose groups, losses and history are numbers of lists in the pool."""
    groups = run.get("groups") or []
    columns = {name: [group.get(name) for group in groups] for name in (groups[0] if groups else ())}
    intervals = columns.pop("test_interval", [])
    for i, end in enumerate(("low", "high")):
        columns[f"test_{end}"] = [pair[i] if pair else None for pair in intervals]
    history = {name: values for name, values in (run.get("history") or {}).items() if name not in NO_CURVE[1:]}
    lists = {"groups": columns, "losses": run.get("losses") or {}, "history": history}
    return {**run, **{part: {name: pool.put(values) for name, values in own.items()} for part, own in lists.items()}}


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        value = float(f"{value:.{DIGITS}g}")
        return int(value) if value.is_integer() else value
    return value


def _plain(value: Any) -> Any:
    """A value with None in place of infinities and NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
