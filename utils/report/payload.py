"""Everything that the page, the figures and the JSON file show, as one dict of plain values (docs/report.md)."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from datasets.splits import load_splits
from method.evaluation.records import load_columns
from utils.errors import UserError
from utils.report.collect import Report, Row, by_label
from utils.report.columns import COLUMNS
from utils.report.text import forget_group_names, mia_baseline, notes, title
from utils.runs import PRETRAIN, Run
from utils.tables import is_number

SCHEMA = 1
LOSS_EDGES = np.linspace(-8, 2, 41)  # log10 of nats
LOSS_SETS = ("forget", "retain", "val", "test")
SETTING = ("dataset", "model", "image_size", "weights", "task", "ratio")


def payload(report: Report, root: Path) -> dict[str, Any]:
    """The tables, their cells over seeds, and every run with its groups, losses, history and configuration."""
    rows = [row for own in report.tables.values() for row in own]
    names = {id(row): f"r{number}" for number, row in enumerate(rows)}
    tables, runs = [], []
    for number, (key, own) in enumerate(report.tables.items()):
        tables.append(_table(f"t{number}", key, own, names))
        place = {run: cell["id"] for cell in tables[-1]["cells"] for run in cell["runs"]}
        runs += [_run(row, root, names, place[names[id(row)]], f"t{number}", own) for row in own]
    columns = [
        {
            "key": column.key, "title": column.title, "what": column.what, "unit": column.unit, "main": column.main,
            "best": column.best, "scale": column.scale, "decimals": column.decimals,
        }
        for column in COLUMNS
    ]  # fmt: skip
    missing = [{"folder": folder, "problem": problem} for folder, problem in report.missing]
    return {
        "schema": SCHEMA,
        "path": str(root),
        "columns": columns,
        "tables": tables,
        "runs": runs,
        "missing": missing,
    }


def _table(name: str, key: tuple, rows: Sequence[Row], names: dict[int, str]) -> dict[str, Any]:
    cells = [
        {
            "id": f"{name}c{number}",
            "label": own_label,
            "method": own[0].run.method,
            "is_reference": not own[0].competes,
            "seeds": [row.seed for row in own],
            "runs": [names[id(row)] for row in own],
            **over_seeds(own),
        }
        for number, (own_label, own) in enumerate(by_label(rows).items())
    ]
    return {
        "id": name,
        "title": title(key),
        **dict(zip(SETTING, key, strict=True)),
        "forget_groups": forget_group_names(rows),
        "mia_baseline": mia_baseline(rows),
        "notes": notes(rows, COLUMNS),
        "cells": cells,
    }


def over_seeds(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """n, mean and sd of every column over the rows of a cell, and the same of the difference to the reference.

    The difference to the reference of the same seed is taken first; one seed has no sd.
    """
    result: dict[str, dict[str, Any]] = {"n": {}, "mean": {}, "sd": {}, "difference": {}}
    for column in COLUMNS:
        own = moments([row.values.get(column.key) for row in rows])
        for name, value in own.items():
            result[name][column.key] = value
        result["difference"][column.key] = moments([row.difference(column.key) for row in rows])
    return result


def moments(values: Sequence[Any]) -> dict[str, Any]:
    """n, mean and sample standard deviation of what is a number; None where there are too few."""
    present = [value for value in values if is_number(value)]
    return {
        "n": len(present),
        "mean": fmean(present) if present else None,
        "sd": stdev(present) if len(present) > 1 else None,
    }


def _run(row: Row, root: Path, names: dict[int, str], cell: str, table: str, siblings: Sequence[Row]) -> dict[str, Any]:
    folder = row.run.folder
    original = next((other for other in siblings if _is_original(other.run, row.run)), None)
    reference = next((other for other in siblings if other.run is row.reference), None)
    scalars = {key: value for key, value in row.values.items() if is_number(value) or value is None}
    return {
        "id": names[id(row)],
        "label": row.label,
        "seed": row.seed,
        "folder": folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.as_posix(),
        "table": table,
        "cell": cell,
        "original": names[id(original)] if original else None,
        "reference": names[id(reference)] if reference else None,
        "metrics": scalars,
        "reasons": row.values.get("reasons") or {},
        "groups": list(_groups(row)),
        "losses": _losses(row),
        "history": read_history(folder / "history.csv"),
        "config": row.run.config,
    }


def _is_original(other: Run, run: Run) -> bool:
    """Whether `other` is the pretrained run that belongs to `run`."""
    return other.method == PRETRAIN and other.origin == run.origin and other.is_plain


def _groups(row: Row) -> Iterator[dict[str, Any]]:
    """Counts and test accuracy of every group that the run's sets hold."""
    forgotten = set(row.values.get("forget_group_names") or [])
    for group in row.values.get("groups") or []:
        n_train = group.get("n_train", group.get("n_retain", 0) + group.get("n_forget", 0))
        if not n_train and not group.get("n_test"):
            continue
        interval = group.get("test_interval")
        yield {
            "name": group["name"],
            "forget": group["name"] in forgotten,
            "n_train": n_train,
            "n_forget": group.get("n_forget", 0),
            "n_retain": group.get("n_retain", n_train),
            "n_test": group.get("n_test", 0),
            "test_acc": group.get("test_acc"),
            "test_interval": [round(end, 2) for end in interval] if interval else None,
        }


def _losses(row: Row) -> dict[str, list] | None:
    """Histograms of the loss by set; None where the records or splits cannot be read."""
    try:
        index, loss = load_columns(row.run.folder / row.records, "index", "loss")
        splits = load_splits((row.splits_of or row.run).folder / "splits.npz")
    except UserError:
        return None
    place = np.full(int(index.max(initial=-1)) + 1, -1)
    place[index] = np.arange(len(index))
    logarithm = np.log10(np.clip(loss, 10 ** LOSS_EDGES[0], 10 ** LOSS_EDGES[-1]))
    histograms = {}
    for name in LOSS_SETS:
        rows = getattr(splits, name)
        if len(rows) and (rows.max() >= len(place) or place[rows].min() < 0):
            return None
        histograms[name] = np.histogram(logarithm[place[rows]], LOSS_EDGES)[0].tolist()
    return {"edges": [round(edge, 4) for edge in LOSS_EDGES.tolist()], **histograms}


def read_history(file: Path) -> dict[str, list] | None:
    """history.csv by column, an empty cell as None; None where it cannot be read."""
    try:
        with file.open(newline="") as lines:
            found = list(csv.DictReader(lines))
        return {name: [_rounded(line[name]) for line in found] for name in found[0]} if found else None
    except (OSError, ValueError, csv.Error, TypeError):
        return None


def _rounded(text: str) -> float | None:
    """Six significant digits are more than a plot shows."""
    value = float(text) if text else math.nan
    return float(f"{value:.6g}") if math.isfinite(value) else None
