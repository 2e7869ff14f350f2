"""The report as one HTML page that needs no server and no network: everything stands in the file."""

import base64
import hashlib
import json
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from method.evaluation.intervals import student_factor
from scripts.report.chart_specs import CONFIG
from scripts.report.charts import OF_PERCENT, ListPool, pack
from scripts.report.figures import KEY, LETTER, library
from utils.tables import is_number

HERE = Path(__file__).parent
SCRIPTS = (
    "elements.js", "charts.js", "terms.js", "table.js", "group_table.js", "audit.js", "details.js", "compare.js",
    "page.js",
)  # fmt: skip
MOMENTS = ("n", "mean", "sd")
DIGITS = 8  # significant ones
COLUMN_DEFAULTS = {
    "unit": "", "what": "", "main": False, "best": "", "to_reference": False, "scale": 1, "decimals": 1, "distance": "",
}  # fmt: skip


def page(payload: dict[str, Any]) -> str:
    """The whole document, from the dict that `--format json` writes (docs/report.md)."""
    own = "\n".join(_read(name) for name in SCRIPTS)
    script = f'"use strict";\n(() => {{{library()}}})();\n{own}'
    parts = {
        # The page may run its own script, to the letter, and nothing else; nothing may be loaded.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": _read("page.css") + _read("charts.css"),
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
    tables = [
        table
        | {"cells": [_cell(cell, keys, pool) for cell in table["cells"]], "compared_with": None}
        | ({"audit": _brief({**table["audit"], "curves": None})} if "audit" in table else {})
        for table in payload["tables"]
    ]
    most = max((len(cell["seeds"]) for table in tables for cell in table["cells"]), default=0)
    charts, rows = pack(payload, pool)
    groups = {table["id"]: [group["name"] for group in table["groups"]] for table in tables}
    shared = _shared([run["config"] for run in payload["runs"]])
    return {
        "path": payload["path"],
        "columns": columns,
        "tables": tables,
        "runs": [_run(run, keys, groups[run["table"]], shared, pool) for run in payload["runs"]],
        "settings": shared,
        "missing": payload["missing"],
        "pool": [scaled(values) for values in pool.lists],
        "student": [student_factor(n) for n in range(most + 1)],
        "glossary": payload["glossary"],
        "charts": charts,
        "rows": rows,
        "config": CONFIG,
        "letter": LETTER,
        "key_room": KEY,
    }


def scaled(values: list) -> list | dict[str, Any]:
    """Numbers as whole ones and the power of ten that divides them, where that is shorter."""
    there = [value for value in values if value is not None]
    if not all(map(is_number, there)) or not any(isinstance(value, float) for value in there):
        return values
    tens = max(0, *(-int(Decimal(repr(value)).as_tuple().exponent) for value in there))
    scaled = {"tens": tens, "whole": [None if value is None else round(value * 10**tens) for value in values]}
    return scaled if len(json.dumps(scaled)) < len(json.dumps(values)) else values


def _shared(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """The settings that all runs have alike."""
    first = configs[0] if configs else {}
    return {key: value for key, value in first.items() if all(key in own and own[key] == value for own in configs)}


def _run(
    run: dict[str, Any], keys: list[str], groups: list[str], shared: dict[str, Any], pool: ListPool
) -> dict[str, Any]:
    """A run for the page; charts have its losses and its history as rows.

    metrics: in the order of the columns; groups: the number of the list of accuracies in the order of `groups`; config:
    without the settings that all runs have alike.
    """
    accuracies = {group["name"]: group["test_acc"] for group in run.get("groups") or []}
    return {key: value for key, value in run.items() if key not in ("losses", "history")} | {
        "metrics": [_shortened(run["metrics"].get(key)) for key in keys],
        "groups": pool.put([accuracies.get(name) for name in groups], OF_PERCENT),
        "config": {key: value for key, value in run["config"].items() if key not in shared},
    }


def _cell(cell: dict[str, Any], keys: list[str], pool: ListPool) -> dict[str, Any]:
    """n, mean and sd as lists in the order of the columns; the difference's only where there is one; groups pooled."""
    own = {name: [_shortened(cell[name].get(key)) for key in keys] for name in MOMENTS}
    parts = [cell["difference"].get(key) or {} for key in keys]
    difference = {name: [_shortened(part.get(name)) for part in parts] for name in MOMENTS}
    groups = {what: _grouped(found, pool) for what, found in cell["groups"].items()}
    return {**cell, **own, "difference": difference if any(difference["n"]) else None, "groups": groups}


def _shortened(value: Any) -> Any:
    """A number to as many digits as tell any two that a table shows apart."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) and math.isfinite(value) else value


def _brief(value: Any) -> Any:
    """What an audit found, with numbers to as many digits, and without what is not there."""
    if isinstance(value, dict):
        return {key: _brief(own) for key, own in value.items() if own is not None}
    return [_brief(own) for own in value] if isinstance(value, list) else _shortened(value)


def _grouped(found: list[dict[str, Any]], pool: ListPool) -> dict[str, int]:
    """n, mean and both ends of the interval of every group, as numbers of lists in the pool."""
    low, high = zip(*(one["interval"] or (None, None) for one in found), strict=True) if found else ((), ())
    lists = {"n": [one["n"] for one in found], "mean": [one["mean"] for one in found], "low": low, "high": high}
    return {name: pool.put(list(own), OF_PERCENT) for name, own in lists.items()}


def _plain(value: Any) -> Any:
    """A value with None in place of infinities and NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
