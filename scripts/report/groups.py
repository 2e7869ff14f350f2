"""`--by group`: groups in rows, models in columns, with the change to the original and to the retrained model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from method.runs.labels import label, paper_name
from scripts.report.audit import audits_of
from scripts.report.audit_latex import audit_tables
from scripts.report.collect import Report, Row
from scripts.report.compared import mark_rows, reference_name
from scripts.report.group_table import FACTS, ORIGINAL, REFERENCE, GroupTable, group_tables
from scripts.report.latex_parts import (
    WIDTHS,
    called,
    document,
    environment,
    escape,
    fitting,
    numbers_below,
    references_told,
    setting_told,
)
from scripts.report.latex_parts import line as latex_line
from scripts.report.naming import table_names
from scripts.report.payload import SCHEMA, SETTING
from scripts.report.tabular import written
from scripts.report.text import audited, bullets, frame, joined
from utils.tables import HOLE, align, align_markdown
from utils.text import for_people

Cell = tuple[str, str, str]  # a mean, its interval, and how many of the seeds have it
ACCURACY = "accuracy"
OTHERS = {ORIGINAL: "to the original", REFERENCE: "to the retrained model"}
TESTED, BELOW = "Test accuracy by group, in percent, with 95 % intervals.", "Below it the change {}, in points."
COLUMNS, LINES = 5, 36  # of one LaTeX table, at most: that many lines fit on a page below a caption
MEANING = (
    "Accuracy in percent on a group's n test samples, with its 95 % interval; of several seeds their mean, and the"
    " interval by Student's t over them, within 0 and 100; of one seed, or of seeds that are all alike, Wilson's."
    " Minus original, minus retrained: percentage points to the accuracy of the model"
    " that the run started from, and of the retrained one that is its reference. A change has a 95 % interval too: of"
    " several seeds by Student's t over the differences of each seed; of one seed, or of seeds that are all alike, from"
    " the numbers of test samples (Newcombe). It is more than noise where the interval leaves out zero; of many"
    " changes, some leave it out by chance. [k] where only k of the seeds have the value; - where none has."
)


def as_text(report: Report, each: bool, against: str, markdown: bool, width: int = 0) -> str:
    """Tables with titles, facts and notes, in text aligned in lines of `width` (0: of any), or Markdown."""
    parts = []
    for table in group_tables(report, each, against):
        marks, notes = mark_rows(report.tables[table.key]).of, _originals_told(report.tables[table.key])
        heads = [f"{name} {marks.get(rows[0].label, '')}".rstrip() for name, rows in table.columns.items()]
        lines = [
            [group if number == 0 else "", what, *map(_in_a_line, cells)]
            for group, own in _lines(table)
            for number, (what, cells) in enumerate(own.items())
        ]
        header = ["group", "", *heads]
        grid = align_markdown(header, lines, 2) if markdown else align(header, lines, 2, width)
        shown = [grid if lines else "No run of this table has accuracies by group."]
        shown += [bullets("", notes, markdown)] if notes else []
        originals = {label(row.start.run) for row in report.tables[table.key] if row.start and row.start.run}
        parts.append(frame(report, table.key, shown, [against, *originals], (), markdown, "columns"))
        parts += audited(report, table.key, markdown, width, by_group=True)
    return joined(parts, report, MEANING, markdown, width)


def _originals_told(rows: Sequence[Row]) -> list[str]:
    """Which original models were found, but not by the digest of their weights."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.competes and row.start and row.start.run and row.start.told:
            found.setdefault(row.start.told, {})[row.label] = None
    return [f"the original model of {', '.join(labels)}: {told}" for told, labels in found.items()]


def as_latex(report: Report, each: bool, against: str) -> str:
    """A table in environments that fit on a page: a group's numbers below its name, intervals below the numbers."""
    tables, names = group_tables(report, each, against), table_names(list(report.tables))
    made = (
        [*_latex_tables(report, table, name, each), *audit_tables(report, table.key, name, by_group=True)]
        for table, name in zip(tables, names, strict=True)
    )
    return document([text for own in made for text in own])


def _latex_tables(report: Report, table: GroupTable, name: str, each: bool) -> Iterator[str]:
    marks = mark_rows(report.tables[table.key], paper_name)
    ratio = f", ratio {table.key[-1]:g}" if table.key[4] else ""
    caption = [
        escape(f"{setting_told(table.key)}{ratio}. {TESTED} {BELOW.format(_listed_others(table))}"),
        references_told(marks, "columns"),
        "[k]: only k of the seeds have the value." if any(count for *_, count in _all_cells(table)) else "",
    ]
    columns = list(table.columns.values())
    seeds = [f", seed {rows[0].seed}" if each else "" for rows in columns]
    heads = [called(rows[0], marks.of.get(rows[0].label, "")) + seed for rows, seed in zip(columns, seeds, strict=True)]
    groups = list(_lines(table))
    at_once = max(1, LINES // (1 + 2 * (1 + len(table.others))))
    parts = [
        (block, groups[start : start + at_once])
        for block in fitting([[head] for head in heads], WIDTHS, COLUMNS)
        for start in range(0, len(groups) or 1, at_once)
    ]
    for number, (block, own) in enumerate(parts, 1):
        body = [latex_line(["", *heads[block]])]
        for group, lines in own:
            body += [r"\midrule", rf"\multicolumn{{{len(heads[block]) + 1}}}{{l}}{{\textit{{{escape(group)}}}}} \\"]
            body += [text for what, cells in lines.items() for text in numbers_below(escape(what), cells[block])]
        first, label = f"{name}-groups", f"{name}-groups" + (f"-{number}" if number > 1 else "")
        told = caption if number == 1 else [rf"Table~\ref{{tab:{first}}}, continued ({number} of {len(parts)})."]
        yield environment(told, label, "l" + "r" * len(heads[block]), body)


def _listed_others(table: GroupTable) -> str:
    *most, last = [OTHERS.get(what, f"to {what.removeprefix('minus ')}") for what in table.others]
    return f"{', '.join(most)} and {last}"


def _all_cells(table: GroupTable) -> Iterator[Cell]:
    return (cell for _, lines in _lines(table) for cells in lines.values() for cell in cells)


def _lines(table: GroupTable) -> Iterator[tuple[str, dict[str, list[Cell]]]]:
    """(group, what a line says -> a cell a column)."""
    columns = list(table.columns.values())
    for group in table.groups:
        name, mark = group["name"], ", forget" if group["forget"] else ""
        lines = {ACCURACY: [_told(table.accuracy(rows, name), len(rows)) for rows in columns]}
        lines |= {what: [_told(table.change(what, rows, name), len(rows)) for rows in columns] for what in table.others}
        yield f"{name} (n {group['n_test']}{mark})", lines


def _told(found: Mapping[str, Any], n: int) -> Cell:
    """A mean, its interval, and [k] where only k of n are there; "" for what there is not."""
    if not found["n"]:
        return HOLE, "", ""
    interval = "{:z.1f} to {:z.1f}".format(*found["interval"]) if found["interval"] else ""
    return f"{found['mean']:z.1f}", interval, f"[{found['n']}]" if found["n"] < n else ""


def _in_a_line(cell: Cell) -> str:
    mean, interval, count = cell
    return " ".join(filter(None, [mean, f"({interval})" if interval else "", count]))


def records(report: Report, each: bool, against: str) -> Iterator[tuple[tuple, dict[str, Any]]]:
    """(StoredRun.table, what is known of one group and column), for programs."""
    for table in group_tables(report, each, against):
        for group in table.groups:
            for rows in table.columns.values():
                yield table.key, _record(table, group, rows, each, against)


def _record(
    table: GroupTable, group: Mapping[str, Any], rows: Sequence[Row], each: bool, against: str
) -> dict[str, Any]:
    name, run = group["name"], rows[0].run
    changes = {what: table.change(what, rows, name) for what in table.others}
    own = {"seed": rows[0].seed, "folder": for_people(run.folder.as_posix())} if each else {"n": len(rows)}
    return {
        "group": name,
        **{fact: group[fact] for fact in FACTS},
        "label": rows[0].label,
        "method": run.method,
        **own,
        "test_acc": table.accuracy(rows, name),
        "original_by": " or ".join(dict.fromkeys(row.start.by for row in rows if row.start and row.start.by)),
        "minus_original": changes[ORIGINAL],
        "reference": " or ".join(dict.fromkeys(filter(None, map(reference_name, rows)))),
        "minus_reference": changes[REFERENCE],
        **({"against": against, "minus_against": changes[f"minus {against}"]} if against else {}),
    }


def as_csv(report: Report, each: bool, against: str) -> str:
    """One line a table, group and label, or run; what an audit found of a group and label stands last."""
    audits, found = audits_of(report) if not each else ({}, {})
    lines = [
        {
            **dict(zip(SETTING, key, strict=True)),
            **_flat(record),
            **(audits[key].flat(found, record["label"], record["group"]) if found else {}),
        }
        for key, record in records(report, each, against)
    ]
    return written(list(lines[0]) if lines else SETTING, [list(line.values()) for line in lines])


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in record.items():
        if not isinstance(value, dict):
            found[name] = int(value) if isinstance(value, bool) else value
            continue
        found |= {name: value["mean"], f"{name}_sd": value["sd"], f"{name}_n": value["n"]}
        found |= dict(zip((f"{name}_low", f"{name}_high"), value["interval"] or (None, None), strict=True))
    return found


def as_json(report: Report, root: Path, each: bool, against: str) -> str:
    """The same as nested values, by table, and the runs that are in none."""
    tables: dict[tuple, list[dict[str, Any]]] = {key: [] for key in report.tables}
    for key, record in records(report, each, against):
        tables[key].append(record)
    found = {
        "schema": SCHEMA,
        "by": "group",
        "path": for_people(str(root)),
        "tables": [dict(zip(SETTING, key, strict=True)) | {"rows": rows} for key, rows in tables.items()],
        "missing": [{"folder": folder, "problem": problem} for folder, problem in report.missing],
    }
    return json.dumps(found, indent=1, allow_nan=False) + "\n"
