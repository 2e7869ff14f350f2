"""What an audit found, in LaTeX: tables of its own, and noise floors as rows of the others."""

from collections.abc import Iterator, Sequence

from method.evaluation.columns import Column
from scripts.report.audit import FLOOR, TITLE, audit_of, shown
from scripts.report.collect import Report
from scripts.report.latex_parts import WIDTHS, environment, escape, fitting, line, numbers_below, setting_told


def audit_tables(report: Report, key: tuple, name: str, by_group: bool = False) -> Iterator[str]:
    """What an audit found, intervals below the numbers, in tables of as many columns as fit; none where there is none.

    name: of the table, for its label.
    """
    audit = audit_of(report, key)
    rows = [(one, group, audit.cells(one, group)) for one, group in audit.lines(by_group)]
    ratio = f", ratio {key[-1]:g}" if key[4] else ""
    first, heads = f"{name}-audit", [escape(head) for head in audit.heads()]
    caption = [escape(f"{setting_told(key)}{ratio}. {' '.join([TITLE, *audit.facts()])}")]
    blocks = fitting(heads, WIDTHS, len(heads))
    for number, block in enumerate(blocks, 1):
        body = [line(["Method", *heads[block]]), r"\midrule"]
        for one, group, cells in rows:
            named = escape(audit.names[one]) if group is None else rf"\quad {escape(group)}"
            body += numbers_below(named, [(found, ends, "") for found, ends in cells[block]])
        told = caption if number == 1 else [rf"Table~\ref{{tab:{first}}}, continued ({number} of {len(blocks)})."]
        label = first + (f"-{number}" if number > 1 else "")
        yield environment(told, label, "l" + "r" * len(heads[block]), body)


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
