"""Everything that the page, the figures and the JSON file show, as one dict of plain values (docs/report.md)."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.splits import load_splits
from method.evaluation.columns import COLUMNS, MAIN, Column
from method.evaluation.records import load_losses
from method.runs.files import read_history
from method.runs.folder import HISTORY, REDACTED, SPLITS
from method.runs.labels import paper_name
from scripts.report.audit import audit_of
from scripts.report.audit_payload import as_payload
from scripts.report.audit_story import tell_audit
from scripts.report.collect import Report, Row, by_folder, by_label, groups_of, independent
from scripts.report.compared import mark_rows, reference_name
from scripts.report.glossary import read_glossary
from scripts.report.group_table import FACTS, GroupTable, group_tables
from scripts.report.naming import make_unique, table_names, title
from scripts.report.nested import design, take_apart
from scripts.report.story import tell
from scripts.report.text import forget_group_names, mia_baseline, notes
from scripts.report.values import moments
from utils.errors import UserError
from utils.tables import is_number
from utils.text import for_people

SCHEMA = 1
LOSS_EDGES = np.linspace(-8, 2, 41)  # log10 of nats
LOSS_SETS = ("forget", "retain", "val", "test")
SETTING = ("dataset", "model", "image_size", "weights", "task", "ratio")


def payload(report: Report, root: Path, main: Sequence[Column] = MAIN) -> dict[str, Any]:
    """The tables, their cells over seeds, and every run with its groups, losses, history and configuration.

    main: the columns that are seen at first, and that the overview draws. Runs that the filters leave out and that
    others are compared with are there too, in no cell. Files that only this needs and that cannot be read are named in
    `missing`, and the run is there without them.
    """
    names = Names()
    tables, runs, unread = [], [], dict[tuple[str, str], None]()
    files = table_names(list(report.tables))
    for number, (grouped, (key, own)) in enumerate(zip(group_tables(report), report.tables.items(), strict=True)):
        tables.append({**_table(f"t{number}", key, own, grouped, names), "file": files[number]})
        audit = audit_of(report, key)
        tables[-1] |= {"audit": as_payload(audit, own)} if audit.columns or audit.empty or audit.floors else {}
        place = {run: cell["id"] for cell in tables[-1]["cells"] for run in cell["runs"]}
        partners = [(report.original_row(key, row), report.reference_row(key, row)) for row in own]
        originals = {row: original for row, (original, _) in zip(own, partners, strict=True)}
        tables[-1]["story"], of_labels = tell(own, originals)
        tables[-1]["story"] += tell_audit(audit, own)
        for cell in tables[-1]["cells"]:
            cell["story"] = of_labels[cell["label"]]
        hidden = dict.fromkeys(row for pair in partners for row in pair if row is not None and row not in own)
        tables[-1]["compared_with"] = [_cell(*labelled) for labelled in by_label(in_order(hidden)).items()]
        labels = list(by_label(in_order([*own, *hidden])))
        for cell in (*tables[-1]["cells"], *tables[-1]["compared_with"]):
            cell["place"] = labels.index(cell["label"])
        for row, pair in [*zip(own, partners, strict=True), *((row, (None, None)) for row in hidden)]:
            where = {"table": f"t{number}", "cell": place.get(names.of(row))}
            runs.append(_run(row, root, names, where, pair, _read_beside(row, unread)))
    columns = [
        {
            "key": column.key, "title": column.title, "what": column.what, "unit": column.unit, "main": column in main,
            "best": column.best, "to_reference": column.to_reference, "scale": column.scale,
            "decimals": column.decimals, "distance": column.distance,
        }
        for column in dict.fromkeys([*main, *COLUMNS])
    ]  # fmt: skip
    missing = [{"folder": folder, "problem": problem} for folder, problem in by_folder([*report.missing, *unread])]
    return {
        "schema": SCHEMA,
        "path": for_people(str(root)),
        "columns": columns,
        "tables": tables,
        "runs": runs,
        "missing": missing,
        "glossary": read_glossary(),
    }


class Names:
    """Ids of rows, in the order in which they are asked for: r0, r1, ..."""

    def __init__(self) -> None:
        self._ids: dict[Row, str] = {}

    def of(self, row: Row) -> str:
        """The id of a row."""
        return self._ids.setdefault(row, f"r{len(self._ids)}")


def _table(name: str, key: tuple, rows: Sequence[Row], grouped: GroupTable, names: Names) -> dict[str, Any]:
    labelled, marks = by_label(in_order(rows)), mark_rows(rows, paper_name)
    cells = [
        {
            "id": f"{name}c{number}",
            "file": file,
            "mark": marks.of.get(own_label, ""),
            "runs": [names.of(row) for row in own],
            **_cell(own_label, own),
            "groups": grouped.column(own),
        }
        for number, (file, (own_label, own)) in enumerate(zip(make_unique(labelled), labelled.items(), strict=True))
    ]
    return {
        "id": name,
        "title": title(key),
        **dict(zip(SETTING, key, strict=True)),
        "forget_groups": forget_group_names(rows),
        "reference": marks.sentences(),
        "mia_baseline": mia_baseline(rows),
        "notes": notes(rows, COLUMNS),
        "groups": [{"name": group["name"], **{fact: group[fact] for fact in FACTS}} for group in grouped.groups],
        "cells": cells,
    }


def in_order(rows: Iterable[Row]) -> list[Row]:
    """As in the text tables, but unlearned models with a tag, which are variants, are last."""
    return sorted(rows, key=lambda row: (row.competes and bool(row.run.config.get("tag")), row.rank, row.seed))


def _cell(label: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What is known of the rows of one label without their runs."""
    return {
        "label": label,
        "name": rows[0].name,
        "method": rows[0].run.method,
        "is_reference": not rows[0].competes,
        "seeds": [row.seed_name for row in rows],
        "independent": independent(rows),
        "design": (found := design(rows)) and dict(zip(("train_seeds", "runs_of_each"), found, strict=True)),
        "apart": _apart(rows) if found else {},
        **over_seeds(rows),
    }


def _apart(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """By column: mean, train and unlearn, which are standard deviations, each with both ends of its interval."""
    found = {column.key: take_apart({row: row.values.get(column.key) for row in rows}) for column in COLUMNS}
    return {key: {name: list(part) for name, part in apart._asdict().items()} for key, apart in found.items() if apart}


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


def _run(
    row: Row,
    root: Path,
    names: Names,
    where: dict[str, str | None],
    partners: tuple[Row | None, Row | None],
    beside: tuple[dict[str, list] | None, ...],
) -> dict[str, Any]:
    """partners: the rows of its original and of its reference; beside: what `_read_beside` gave."""
    folder, (original, reference) = row.run.folder, partners
    scalars = {key: value for key, value in row.values.items() if is_number(value) or value is None}
    return {
        "id": names.of(row),
        "label": row.label,
        "seed": row.seed_name,
        "folder": for_people((folder.relative_to(root) if folder.is_relative_to(root) else folder).as_posix()),
        **where,
        "original": names.of(original) if original else None,
        "original_by": row.start.by if row.start and original else "",
        "original_note": row.start.told if row.start else "",
        "reference": names.of(reference) if reference else None,
        "reference_name": reference_name(row),
        "metrics": scalars,
        "reasons": row.values.get("reasons") or {},
        "groups": list(groups_of(row.values)),
        "losses": beside[0],
        "history": beside[1],
        "config": row.run.config,
    }


def _read_beside(row: Row, unread: dict[tuple[str, str], None]) -> tuple[dict[str, list] | None, ...]:
    """Losses and history of a run, None where they are not there; `unread` gets those that cannot be read."""
    if row.run.stored.get(REDACTED):
        unread["the redacted copy", "losses are not shown: records of train are left out of it"] = None
    records, history = row.run.folder / row.records, row.run.folder / HISTORY
    splits = (row.splits_of or row.run).folder / SPLITS
    found: list[dict[str, list] | None] = []
    for files, read in (((records, splits), _losses), ((history,), _history)):
        try:
            is_there = all(map(os.path.exists, files)) and not (read is _losses and row.run.stored.get(REDACTED))
            found.append(read(*files) if is_there else None)
        except (UserError, ValueError) as error:
            found.append(None)
            unread[row.run.place, f"{files[0].name} is not shown: {error}"] = None
    return tuple(found)


def _losses(records: Path, splits: Path) -> dict[str, list]:
    """Histograms of the loss by set."""
    index, loss = load_losses(records)
    sets = load_splits(splits)
    order = np.argsort(index)
    logarithm = np.log10(np.clip(loss[order], 10 ** LOSS_EDGES[0], 10 ** LOSS_EDGES[-1]))
    histograms = {}
    for name in LOSS_SETS:
        rows = getattr(sets, name)
        if not np.isin(rows, index, assume_unique=True).all():
            raise ValueError(f"it lacks samples of the {name} set of {splits}")
        histograms[name] = np.histogram(logarithm[np.searchsorted(index[order], rows)], LOSS_EDGES)[0].tolist()
    return {"edges": [round(edge, 4) for edge in LOSS_EDGES.tolist()], **histograms}


def _history(file: Path) -> dict[str, list] | None:
    """history.csv by column; six significant digits are more than a plot shows."""
    found = read_history(file)
    return {
        name: [value if value is None else float(f"{value:.6g}") for value in found[name]] for name in found
    } or None
