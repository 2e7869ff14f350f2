"""What an audit found, as plain values for the page, the figures and JSON."""

from collections.abc import Sequence
from typing import Any

from method.runs.findings import Finding
from scripts.report.audit import FIELDS, FLOOR, TITLE, Audit, AuditColumn, told_at
from scripts.report.audit_tables import AuditTable, shared_of, tables_of, told_of
from scripts.report.audit_verdict import tell_verdict
from scripts.report.collect import Row

OF_MEASURES = ("what", "unit", "decimals", "definition", "source", "limits")


def as_payload(audit: Audit, rows: Sequence[Row]) -> dict[str, Any]:
    """Verdict, columns, rows with a cell a column (None: not looked for), a table a question, curves, and noise floors.

    rows: of the table that was audited. Floors are by key of a metric. A table names its columns by their places, and
    its lines by those of rows, each with the number of runs behind it.
    """
    lines = list(audit.lines(by_group=True))
    return {
        "title": TITLE,
        "verdict": tell_verdict(audit, rows),
        "told": told_of(audit),
        "notes": audit.holes(by_group=True),
        "tables": [_question(table, audit, lines) for table in tables_of(audit, by_group=True)],
        "columns": [
            {"key": column.key, "title": column.title, "parts": audit.parts(column)}
            | {name: getattr(column.measure, name) for name in OF_MEASURES}
            for column in audit.columns
        ],
        "rows": [
            {
                "label": name,
                "name": audit.names[name],
                "group": group,
                "cells": [_cell(audit, name, column, group) for column in audit.columns],
            }
            for name, group in lines
        ],
        "curves": [
            {"label": one.label, "name": audit.names[one.label], "measure": column.measure.title, "group": one.group}
            | {"at": dict(one.at or {}), "setting": ", ".join(map(told_at, column.at))}
            | _fields(one)
            for column, one in audit.curves
        ],
        "floors": [
            {
                "label": name,
                "name": FLOOR.format(audit.names.get(name, name)),
                "values": {key: _fields(one) for key, one in own.items()},
            }
            for name, own in audit.floors.items()
        ],
    }


def _question(table: AuditTable, audit: Audit, lines: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """A table as places of what it shows; shared: what is told of several of its measures together."""
    columns, shared = table.audit.columns, shared_of(list(dict.fromkeys(one.measure for one in table.audit.columns)))
    return {
        "title": table.question.title,
        "columns": [audit.columns.index(column) for column in columns],
        "heads": [table.head(column) for column in columns],
        "lines": [{"row": lines.index(line), "runs": table.runs(*line)} for line in table.lines],
        "shared": shared,
    }


def _cell(audit: Audit, name: str, column: AuditColumn, group: str | None) -> dict[str, Any] | None:
    one = audit.get(name, column, group)
    if one is None:
        return None
    parts = {part: audit.part(part, name, column, group) for part in audit.parts(column)}
    beyond = {f"{part}_low": low for part in parts if (low := audit.beyond(part, name, column, group)) is not None}
    return {**_fields(one), "reason": one.reason, **parts, **beyond}


def _fields(one: Finding) -> dict[str, Any]:
    return {name: getattr(one, name) for name in FIELDS}
