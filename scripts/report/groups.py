"""`--by group`: groups in rows, models in columns, with the change to the original and to the retrained model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from method.runs.labels import label, paper_name
from scripts.report.collect import Report, Row
from scripts.report.compared import mark_rows, reference_name
from scripts.report.group_table import FACTS, ORIGINAL, REFERENCE, GroupTable, group_tables
from scripts.report.latex import called, document, environment, escape, references_told, setting_told
from scripts.report.latex import line as latex_line
from scripts.report.naming import table_names
from scripts.report.payload import SCHEMA, SETTING
from scripts.report.tabular import written
from scripts.report.text import bullets, frame, last_parts
from utils.tables import HOLE, align, align_markdown
from utils.text import for_people

ACCURACY = "accuracy"
MEANING = (
    "Accuracy in percent on a group's n test samples, with its 95 % interval; of several seeds their mean, and the"
    " interval by Student's t over them, within 0 and 100; of one seed, or of seeds that are all alike, Wilson's."
    " Minus original, minus retrained: percentage points to the accuracy of the model"
    " that the run started from, and of the retrained one that is its reference. A change has a 95 % interval too: of"
    " several seeds by Student's t over the differences of each seed; of one seed, or of seeds that are all alike, from"
    " the numbers of test samples (Newcombe). It is more than noise where the interval leaves out zero; of many"
    " changes, some leave it out by chance. [k] where only k of the seeds have the value; - where none has."
)


def as_text(report: Report, each: bool, against: str, markdown: bool) -> str:
    """Tables with titles, facts and notes, in aligned text or Markdown."""
    parts = []
    for table in group_tables(report, each, against):
        marks, notes = mark_rows(report.tables[table.key]).of, _originals_told(report.tables[table.key])
        heads = [f"{name} {marks.get(rows[0].label, '')}".rstrip() for name, rows in table.columns.items()]
        lines = [[group, what, *cells] for group, what, cells in _lines(table)]
        grid = (align_markdown if markdown else align)(["group", "", *heads], lines, 2)
        shown = [grid if lines else "No run of this table has accuracies by group."]
        shown += [bullets("", notes, markdown)] if notes else []
        originals = {label(row.start.run) for row in report.tables[table.key] if row.start and row.start.run}
        parts.append(frame(report, table.key, shown, [against, *originals], (), markdown))
    return "\n\n".join([*parts, *last_parts(report, MEANING, markdown)]) + "\n"


def _originals_told(rows: Sequence[Row]) -> list[str]:
    """Which original models were found, but not by the digest of their weights."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.competes and row.start and row.start.run and row.start.told:
            found.setdefault(row.start.told, {})[row.label] = None
    return [f"the original model of {', '.join(labels)}: {told}" for told, labels in found.items()]


def as_latex(report: Report, each: bool, against: str) -> str:
    """A table environment a table: three lines a group, or four."""
    tables, names = group_tables(report, each, against), table_names(list(report.tables))
    return document([_latex_table(report, table, name, each) for table, name in zip(tables, names, strict=True)])


def _latex_table(report: Report, table: GroupTable, name: str, each: bool) -> str:
    marks = mark_rows(report.tables[table.key], paper_name)
    ratio = f", ratio {table.key[-1]:g}" if table.key[4] else ""
    caption = [
        escape(f"{setting_told(table.key)}{ratio}: test accuracy by group."),
        references_told(marks),
        escape(MEANING).replace("±", r"$\pm$"),
    ]
    columns = list(table.columns.values())
    seeds = [f", seed {rows[0].seed}" if each else "" for rows in columns]
    heads = [called(rows[0], marks.of.get(rows[0].label, "")) + seed for rows, seed in zip(columns, seeds, strict=True)]
    body = [latex_line(["Group", "", *heads])]
    for group, what, cells in _lines(table):
        body += [r"\midrule"] if what == ACCURACY else []
        numbers = ["--" if one == HOLE else one.replace("-", "$-$") for one in cells]
        body.append(latex_line([escape(group), escape(what), *numbers]))
    return environment(caption, f"{name}-groups", "ll" + "r" * len(columns), body)


def _lines(table: GroupTable) -> Iterator[tuple[str, str, list[str]]]:
    """(group, what the line says, a cell a column); the group stands in its first line alone."""
    columns = list(table.columns.values())
    for group in table.groups:
        name, mark = group["name"], ", forget" if group["forget"] else ""
        accuracies = [_told(table.accuracy(rows, name), len(rows)) for rows in columns]
        yield f"{name} (n {group['n_test']}{mark})", ACCURACY, accuracies
        for what in table.others:
            yield "", what, [_told(table.change(what, rows, name), len(rows)) for rows in columns]


def _told(found: Mapping[str, Any], n: int) -> str:
    """A mean with its interval."""
    if not found["n"]:
        return HOLE
    interval = " ({:.1f} to {:.1f})".format(*found["interval"]) if found["interval"] else ""
    return f"{found['mean']:.1f}{interval}" + (f" [{found['n']}]" if found["n"] < n else "")


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
    """One line a table, group and label, or run."""
    lines = [
        {**dict(zip(SETTING, key, strict=True)), **_flat(record)} for key, record in records(report, each, against)
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
