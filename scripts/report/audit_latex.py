"""What an audit found, in LaTeX: tables of its own, and noise floors as rows of the others."""

from collections.abc import Iterator, Sequence

from method.evaluation.columns import Column
from method.runs.labels import paper_name
from scripts.report.audit import FLOOR, TITLE, audit_of, shown
from scripts.report.audit_tables import tables_of, told_of
from scripts.report.audit_verdict import tell_verdict
from scripts.report.collect import Report
from scripts.report.compared import mark_rows
from scripts.report.latex_parts import (
    WIDTHS,
    environment,
    escape,
    fitting,
    line,
    numbers_below,
    references_told,
    setting_told,
    sign,
)


def audit_tables(report: Report, key: tuple, name: str, by_group: bool = False) -> Iterator[str]:
    """What an audit found, intervals below the numbers: a table a question, or several of as many columns as fit.

    name: of the table, for its label. None where there was no audit.
    """
    audit, marks = audit_of(report, key), mark_rows(report.tables[key], paper_name)
    ratio = f", ratio {key[-1]:g}" if key[4] else ""
    verdict = [f"{one['about']}: {one['text']}" for one in tell_verdict(audit, report.tables[key])]
    told = [
        escape(" ".join([f"{setting_told(key)}{ratio}. {TITLE}", *verdict, *told_of(audit)])),
        references_told(marks),
    ]
    parts = [
        (table, block)
        for table in tables_of(audit, by_group)
        for block in fitting(table.heads(), WIDTHS, len(table.heads()))
    ]
    for place, (table, block) in enumerate(parts, 1):
        first = f"{name}-audit"
        again = [rf"Table~\ref{{tab:{first}}}, continued ({place} of {len(parts)})."] if place > 1 else told
        question = escape(f"{table.question.title}{'' if table.question.title.endswith('?') else '.'}")
        heads = ["Runs", *(escape(head) for heads in table.heads()[block] for head in heads)]
        body = [line(["Method", *heads]), r"\midrule"]
        for one, group in table.lines:
            mark = sign(marks.of.get(one, ""))
            named = rf"\quad {escape(group)}" if group else escape(audit.names[one]) + (f"${mark}$" if mark else "")
            cells = [cell for cells in table.cells(one, group)[block] for cell in cells]
            body += numbers_below(named, [(table.runs(one, group), "", ""), *((*cell, "") for cell in cells)])
        label = first + (f"-{place}" if place > 1 else "")
        yield environment([question, *again], label, "l" + "r" * len(heads), body)


def floor_lines(report: Report, key: tuple, columns: Sequence[Column], against: str) -> list[str]:
    """The distances between two retrained models, as an audit found them, where such distances are shown."""
    audit = audit_of(report, key)
    sides = [dict(audit.floor_lines(columns, side)) for side in dict.fromkeys(("", against))]
    lines = []
    for name in dict.fromkeys(name for own in sides for name in own):
        cells = [
            (*shown(own[name][place] if name in own else None, column.decimals, column.scale), "")
            for place, column in enumerate(columns)
            for own in sides
        ]
        lines += numbers_below(escape(FLOOR.format(audit.names.get(name, name))), cells)
    return [rf"\cmidrule{{1-{len(columns) * len(sides) + 1}}}", *lines] if lines else []
