"""Tables with titles and notes, in aligned text or Markdown."""

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from method.evaluation.columns import COLUMNS, Column
from method.evaluation.evaluator import IN_FP32
from scripts.report.collect import Report, Row, by_label
from utils.errors import UserError
from utils.tables import HOLE, align, align_markdown, cell, in_markdown, is_number, one_line

TITLES = {column.key: column.title for column in COLUMNS}
CLOSENESS = (
    f"{TITLES['tow']} and {TITLES['avg_gap']}: closeness to the retrained model of the same seed, with REWEIGHT where"
    " the method or the run has it."
)
RETRAINED = "the retrained model"  # what differences are taken to, unless a row's label is given
DIFFERENCES = "Shown: value minus that of {} of the same seed."
Others = Mapping[Row, Mapping[str, Any]] | None  # the values that a row's differences are taken to
CELLS = "Several seeds: mean ± sample standard deviation; [k] where only k of them have the value; - where none has."


def document(report: Report, columns: Sequence[Column], markdown: bool, each: bool, against: str = "") -> str:
    """All tables, then the runs that are in none, then what the columns mean.

    against: show differences to RETRAINED, or to the row of this label, in place of values. UserError where a table
    has no such row.
    """
    parts = [_table(key, rows, columns, markdown, each, against) for key, rows in report.tables.items()]
    if not parts:
        parts = ["No finished run to show."]
    if report.missing:
        listed = [f"{folder}: {problem}" for folder, problem in report.missing]
        parts.append(_bullets("Not in the tables:", listed, markdown))
    meaning = legend(columns, one_line(against))
    parts.append(meaning if markdown else textwrap.fill(meaning, 118))
    return "\n\n".join(parts) + "\n"


def legend(columns: Sequence[Column], against: str = "") -> str:
    """What the columns mean, in a paragraph."""
    by_unit: dict[str, list[str]] = defaultdict(list)
    for column in columns:
        by_unit[column.unit].append(f"{column.title}: {column.what}.")
    units = [f"In {'percent' if unit == '%' else unit}: {' '.join(told)}" for unit, told in by_unit.items()]
    return " ".join([*units, CLOSENESS, *([DIFFERENCES.format(against)] if against else []), CELLS])


def title(key: tuple) -> str:
    """A table's title, of a StoredRun.table: digits, small_cnn, 32 px, weights none, split0, ratio 0.9."""
    dataset, model, image_size, weights, task, ratio = key
    shown = [dataset, model, f"{image_size} px", f"weights {Path(str(weights)).name}"]
    return ", ".join(shown + ([task, f"ratio {ratio:g}"] if task else ["pretrained only"]))


def forget_group_names(rows: Sequence[Row]) -> list[str]:
    """The groups that were forgotten from."""
    return next((row.values["forget_group_names"] for row in rows if row.values.get("forget_group_names")), [])


def mia_baseline(rows: Sequence[Row]) -> float | None:
    """What MIA is near to without any signal; None where no row says so, or one has losses in bf16, where it is not."""
    if any(IN_FP32 in row.values for row in rows):
        return None
    return next((value for row in rows if is_number(value := row.values.get("mia_baseline"))), None)


def notes(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Why there are holes, and rows whose seeds were not run alike."""
    told = []
    for reason, places in _holes(rows, columns).items():
        listed = [f"{what} (seed {', '.join(map(str, seeds))})" for what, seeds in places.items()]
        told.append(f"{'; '.join(listed)}: {reason}")
    for name, own in by_label(rows).items():
        identities = [row.run.stored.get("identity") or {} for row in own]
        keys = {key for identity in identities for key in identity} - {"seed", "original", "reference"}
        unlike = sorted(key for key in keys if len({repr(identity.get(key)) for identity in identities}) > 1)
        told += [f"the runs of {name} differ in {', '.join(unlike)}, beside their seeds"] if unlike else []
    return told


def shown_value(row: Row, column: Column, others: Others = None) -> float | None:
    """The number of a row to print in a column; with `others` the difference to them."""
    value = row.values.get(column.key) if others is None else row.minus(others.get(row, {}), column.key)
    return value * column.scale if is_number(value) else None


def _table(key: tuple, rows: Sequence[Row], columns: Sequence[Column], markdown: bool, each: bool, against: str) -> str:
    header = ["method", "seed" if each else "n", *(column.title for column in columns)]
    others = _others(key, rows, against)
    if each:
        header.append("worst group is")
        lines = [_each_line(row, columns, others) for row in rows]
    else:
        lines = [_mean_line(name, own, columns, others) for name, own in by_label(rows).items()]
    if markdown:
        parts = [f"### {in_markdown(title(key))}", *map(in_markdown, _facts(rows)), align_markdown(header, lines)]
    else:
        heading = one_line(title(key))
        parts = ["\n".join([heading, "=" * len(heading), *map(one_line, _facts(rows))]), align(header, lines)]
    remarks = notes(rows, columns)
    return "\n\n".join([*parts, *([_bullets("", remarks, markdown)] if remarks else [])])


def _others(key: tuple, rows: Sequence[Row], against: str) -> Others:
    """What each row is compared with: its retrained model, or the row labelled `against` of its seed."""
    if not against:
        return None
    if against == RETRAINED:
        return {row: row.reference.metrics for row in rows if row.reference}
    labelled = by_label(rows)
    if against not in labelled:
        raise UserError(f"--against {against!r}: no such row in the table {title(key)}; it has {', '.join(labelled)}")
    by_seed = {row.seed: row.values for row in labelled[against]}
    return {row: by_seed[row.seed] for row in rows if row.seed in by_seed}


def _facts(rows: Sequence[Row]) -> list[str]:
    """What was forgotten, and what MIA reads where the loss carries no signal."""
    names, baseline = forget_group_names(rows), mia_baseline(rows)
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    signal = f" Without any signal MIA reads about {baseline:.0f}." if baseline is not None else ""
    return [f"Forget groups: {listed}.{signal}"] if names else []


def _mean_line(name: str, rows: Sequence[Row], columns: Sequence[Column], others: Others) -> list[str]:
    cells = [cell([shown_value(row, column, others) for row in rows], column.decimals) for column in columns]
    return [name, str(len(rows)), *cells]


def _each_line(row: Row, columns: Sequence[Column], others: Others) -> list[str]:
    worst, n = row.values.get("worst_group"), row.values.get("worst_group_n")
    values = [cell([shown_value(row, column, others)], column.decimals) for column in columns]
    return [row.label, str(row.seed), *values, f"{worst} (n {n})" if worst else HOLE]


def _holes(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, dict[str, list[int]]]:
    """reason -> "columns of a label" -> seeds."""
    holes: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        reasons = row.values.get("reasons") or {}
        titles: dict[str, list[str]] = defaultdict(list)
        for column in columns:
            if reasons.get(column.key) and not is_number(row.values.get(column.key)):
                titles[reasons[column.key]].append(column.title)
        for reason, missing in titles.items():
            holes[reason][f"{', '.join(missing)} of {row.label}"].append(row.seed)
    return holes


def _bullets(heading: str, lines: Sequence[str], markdown: bool) -> str:
    form = in_markdown if markdown else one_line
    return "\n".join([*([heading, ""] if heading else []), *(f"- {form(line)}" for line in lines)])
