"""What an audit found, as plain values for the page, the figures and JSON."""

from typing import Any

from method.runs.findings import Finding
from scripts.report.audit import FIELDS, FLOOR, TITLE, Audit, AuditColumn, told_at

OF_MEASURES = ("what", "unit", "decimals", "definition", "source", "limits")


def as_payload(audit: Audit) -> dict[str, Any]:
    """Columns, rows with a cell a column (None: not looked for), curves, and noise floors by key of a metric."""
    return {
        "title": TITLE,
        "told": audit.facts(),
        "notes": audit.holes(by_group=True),
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
            for name, group in audit.lines(by_group=True)
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


def _cell(audit: Audit, name: str, column: AuditColumn, group: str | None) -> dict[str, Any] | None:
    one = audit.get(name, column, group)
    if one is None:
        return None
    parts = {part: audit.part(part, name, column, group) for part in audit.parts(column)}
    return {**_fields(one), "reason": one.reason, **parts}


def _fields(one: Finding) -> dict[str, Any]:
    return {name: getattr(one, name) for name in FIELDS}
