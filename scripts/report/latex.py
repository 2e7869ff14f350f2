r"""Tables for papers: LaTeX with the packages booktabs and graphicx."""

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean

from method.evaluation.columns import HIGH, LOW, REFERENCE, Column
from method.runs.files import RETRAIN
from method.runs.labels import paper_name
from scripts.report.audit_latex import audit_tables, floor_lines
from scripts.report.collect import Report, Row, by_label
from scripts.report.compared import RETRAINED, Marks, mark_rows, reference_name, values_of_others
from scripts.report.latex_parts import (
    called,
    document,
    environment,
    escape,
    line,
    number,
    references_told,
    setting_told,
)
from scripts.report.naming import table_names
from scripts.report.nested import HEADER, LEFT, apart_lines
from scripts.report.nested import TOLD as APART
from scripts.report.paired import TOLD as PAIRED
from scripts.report.paired import compare_rows
from scripts.report.text import shown_value
from utils.tables import HOLE

ARROWS = {HIGH: r"$\uparrow$", LOW: r"$\downarrow$", REFERENCE: r"$\approx$"}
MEANT = {HIGH: "higher is better", LOW: "lower is better", REFERENCE: "closer to the reference is better"}
Shown = Callable[[Row], float | None]


def as_latex(report: Report, columns: Sequence[Column], against: str = "") -> str:
    r"""A table environment for every data set, model and task: one block a ratio, retrained rows first.

    against: a column of differences to RETRAINED, or to the row of this label, after every column. In bold the one best
    unlearned row of a column, if one alone is best to the decimals shown: the highest or the lowest, and of differences
    to the retrained model, where closeness to it is what counts, the smallest.
    """
    blocks: dict[tuple, list[tuple]] = defaultdict(list)
    for key in report.tables:
        blocks[key[:-1]].append(key)
    names = table_names([own[0] for own in blocks.values()], with_ratio=False)
    tables = [
        text
        for own, name in zip(blocks.values(), names, strict=True)
        for text in (
            _table(report, own, columns, against, name),
            _paired_table(report, own, columns, against, name) if against else "",
            _apart_table(report, own, columns, name),
        )
    ]
    audits = zip(report.tables, table_names(list(report.tables)), strict=True)
    tables += [text for key, name in audits for text in audit_tables(report, key, name)]
    return document([text for text in tables if text])


def _table(report: Report, keys: Sequence[tuple], columns: Sequence[Column], against: str, name: str) -> str:
    rows = [row for key in keys for row in report.tables[key]]
    marks, n_columns = mark_rows(rows, paper_name), len(columns) * (2 if against else 1)
    caption = [f"{escape(setting_told(keys[0]))}.", _seeds_told(rows), _arrows_told(columns), references_told(marks)]
    if against:
        caption.append(rf"$\Delta$: value minus that of {_other_told(report, keys, against)} of the same seed.")
    heads = [head for column in columns for head in [_title(column), *([r"$\Delta$"] if against else [])]]
    body = [line(["Method", *heads])]
    for key in keys:
        body += [*_ratio_told(key, n_columns + 1), *_block(report, key, columns, against, marks)]
    if any(r"\mathbf" in row for row in body):
        caption.append("Bold: the one best unlearned model.")
    return environment(caption, name, "l" + "r" * n_columns, body)


def _ratio_told(key: tuple, n_columns: int) -> list[str]:
    """What stands above the block of a table's rows."""
    told = rf"\multicolumn{{{n_columns}}}{{l}}{{\textit{{unlearning ratio {key[-1]:g}}}}} \\"
    return [r"\midrule", *([told] if key[4] else [])]


def _paired_table(report: Report, keys: Sequence[tuple], columns: Sequence[Column], against: str, name: str) -> str:
    """The intervals and p values of the differences of a table; empty where there are none."""
    blocks = {
        key: [
            [called(found.rows[label][0], "") if number == 0 else "", escape(what), *map(_signed, texts)]
            for label, own in found.lines(columns)
            for number, (what, texts) in enumerate(own.items())
        ]
        for key in keys
        for found in [compare_rows(report, key, columns, against)]
    }
    told = f"The differences of Table~\\ref{{tab:{name}}}. {escape(PAIRED)}"
    return _further_table(
        blocks, ["Method", "", *(escape(column.title) for column in columns)], 2, told, f"{name}-intervals"
    )


def _apart_table(report: Report, keys: Sequence[tuple], columns: Sequence[Column], name: str) -> str:
    """Training and unlearning apart, of the rows of a table that are nested and balanced; empty without one."""
    blocks = {}
    for key in keys:
        cells = by_label(report.tables[key])
        lines = apart_lines(cells, columns, shown_value)
        blocks[key] = [
            [called(cells[label][0], ""), seeds.replace("x", r"$\times$"), escape(title), *map(_signed, texts)]
            for label, seeds, title, *texts in lines
        ]
    told = f"The rows of Table~\\ref{{tab:{name}}} that share trained models. {escape(APART)}"
    return _further_table(blocks, list(map(str.capitalize, HEADER)), LEFT, told, f"{name}-variance")


def _further_table(blocks: dict[tuple, list[list[str]]], heads: Sequence[str], left: int, told: str, name: str) -> str:
    """A table with a block a ratio, whose first `left` columns are texts; empty without lines."""
    body = [line(heads)]
    for key, lines in blocks.items():
        if lines:
            body += [*_ratio_told(key, len(heads)), *map(line, lines)]
    return environment([told], name, "l" * left + "r" * (len(heads) - left), body) if any(blocks.values()) else ""


def _signed(text: str) -> str:
    """A number, or two, with signs as mathematics has them."""
    return "--" if text == HOLE else re.sub("[-<]", r"$\g<0>$", text)


def _other_told(report: Report, keys: Sequence[tuple], against: str) -> str:
    if against == RETRAINED:
        return "the reference"
    rows = [row for key in keys for row in report.all_rows(key) if against in (row.label, row.name)]
    return escape(rows[0].name if rows else f"{against}, which has no row here,")


def _seeds_told(rows: Sequence[Row]) -> str:
    """Over how many seeds, and which rows have fewer or more than most."""
    counts = {own[0].name: len({row.seeds for row in own}) for own in by_label(rows).values()}
    usual = max(counts.values(), key=[*counts.values()].count)
    unlike = ", ".join(f"{escape(name)}: {n}" for name, n in counts.items() if n != usual)
    of = f" ({unlike})" if unlike else ""
    if max(counts.values()) == 1:
        return "One seed."
    seeds = f"{usual} seeds" if usual > 1 else "one seed"
    alone = "; one seed has none" if min(counts.values()) == 1 else ""
    return rf"Mean over {seeds}{of}, $\pm$ their sample standard deviation{alone}."


def _arrows_told(columns: Sequence[Column]) -> str:
    there = {column.best for column in columns}
    told = [f"{arrow}: {MEANT[best]}" for best, arrow in ARROWS.items() if best in there]
    return f"{'; '.join(told)}." if told else ""


def _title(column: Column) -> str:
    return f"{escape(column.title)} {ARROWS[column.best]}" if column.best else escape(column.title)


def _block(report: Report, key: tuple, columns: Sequence[Column], against: str, marks: Marks) -> list[str]:
    cells = by_label(report.tables[key])
    others = values_of_others(report, key, against) if against else None
    series: list[tuple[Column, Shown, str | None]] = []
    for column in columns:
        value = functools.partial(shown_value, column=column)
        series.append((column, value, _best(cells, column, value) if column.best in (HIGH, LOW) else None))
        if others is not None:
            gap = functools.partial(shown_value, column=column, others=others)
            closest = column.best == REFERENCE and against == RETRAINED
            series.append((column, gap, _best(cells, column, gap) if closest else None))
    judges = [name for name, rows in cells.items() if not rows[0].competes]
    judges.sort(key=lambda name: cells[name][0].run.method != RETRAIN)
    unlearned = [name for name in cells if name not in judges]
    lines = []
    for name in [*judges, *unlearned]:
        if judges and unlearned and name == unlearned[0]:
            lines.append(rf"\cmidrule{{1-{len(series) + 1}}}")
        values = [
            number([shown(row) for row in cells[name]], column.decimals, best == name) for column, shown, best in series
        ]
        lines.append(line([called(cells[name][0], marks.of.get(name, "")), *values]))
    return lines + floor_lines(report, key, columns, against)


def _best(cells: dict[str, list[Row]], column: Column, shown: Shown) -> str | None:
    """The one unlearned row with the best mean to the decimals shown; None where there are several, or one competes.

    Closeness to different retrained models is not compared.
    """
    distance: dict[str, float] = {}
    competing = [row for rows in cells.values() for row in rows if row.competes]
    if column.to_reference and len(set(map(reference_name, competing))) > 1:
        return None
    for name, rows in cells.items():
        found = [value for row in rows if (value := shown(row)) is not None]
        if rows[0].competes and found:
            mean = fmean(found)
            worse = {HIGH: -mean, LOW: mean, REFERENCE: abs(mean)}[column.best]
            distance[name] = round(worse, column.decimals)
    first = [name for name, value in distance.items() if value == min(distance.values())]
    return first[0] if len(first) == 1 and len(distance) > 1 else None
