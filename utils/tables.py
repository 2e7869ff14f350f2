"""Values over seeds as cells, and cells as an aligned text table or a Markdown table."""

import math
import re
import statistics
from collections.abc import Sequence
from typing import Any, TypeGuard

from utils.text import printable

HOLE = "-"
PLUS_MINUS = " ± "
MARKDOWN = {letter: f"\\{letter}" for letter in "\\`*<|&~$"}  # what would be markup in a name
EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word is none
LINK = re.compile(r"\](?=[(\[])")
CELL = re.compile(rf"(.*?)(?:{PLUS_MINUS}(\S+))?( \[\d+\])?\Z")


def cell(values: Sequence[Any], decimals: int = 1) -> str:
    """Mean ± sample standard deviation over the seeds; a single value has no deviation.

    Values that are not finite numbers are holes: "-" if all are, else "[k]" says how many are not.
    """
    present = [value for value in values if is_number(value)]
    if not present:
        return HOLE
    text = f"{statistics.fmean(present):z.{decimals}f}"
    if len(present) > 1:
        text += f"{PLUS_MINUS}{statistics.stdev(present):.{decimals}f}"
    return text if len(present) == len(values) else f"{text} [{len(present)}]"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a metric read from a file has a value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def one_line(text: str) -> str:
    """A name as it may stand in a line of a table: with line ends, tabs and control characters as escapes."""
    return text if text.isprintable() else printable(text).replace("\n", r"\n").replace("\t", r"\t")


def in_markdown(text: str) -> str:
    """A line of plain text as Markdown prints it: no letter of it is markup."""
    escaped = "".join(MARKDOWN.get(letter, letter) for letter in one_line(text))
    return EMPHASIS.sub(r"\_", LINK.sub(r"\]", escaped))


def align(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, width: int = 0) -> str:
    """Columns two blanks apart; the first `left` of them aligned to the left, the others to the right.

    width: letters of a line, 0 for any number. Columns beyond stand in further blocks, each with the first `left`.
    """
    lines = [[one_line(text) for text in line] for line in (header, *rows)]
    columns = [_padded(column, number < left) for number, column in enumerate(zip(*lines, strict=True))]
    names, blocks = columns[:left], [columns[:left]]
    for column in columns[left:]:
        if width and len(blocks[-1]) > left and sum(len(one[0]) + 2 for one in [*blocks[-1], column]) - 2 > width:
            blocks.append([*names])
        blocks[-1].append(column)
    return "\n\n".join(map(_drawn, blocks))


def _drawn(columns: Sequence[Sequence[str]]) -> str:
    head, *body = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    return "\n".join([head, "  ".join("-" * len(column[0]) for column in columns), *body])


def align_markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns as a Markdown table, its source aligned too; the first `left` of them to the left, the others right."""
    escaped = [[in_markdown(text) for text in line] for line in (header, *rows)]
    columns = [_padded(column, number < left, 4) for number, column in enumerate(zip(*escaped, strict=True))]
    rule = ["-" * (len(column[0]) - 1) + ("-" if number < left else ":") for number, column in enumerate(columns)]
    head, *body = zip(*columns, strict=True)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def _padded(column: Sequence[str], left: bool, at_least: int = 1) -> list[str]:
    """Cells of equal length; on the right, means stand below means and deviations below deviations."""
    head, *cells = column
    if not left:
        cells = _below_each_other(cells)
    width = max(at_least, *(len(text) for text in (head, *cells)))
    return [text.ljust(width) if left else text.rjust(width) for text in (head, *cells)]


def _below_each_other(cells: Sequence[str]) -> list[str]:
    """Each of mean, " ± deviation" and " [k]" as wide as the widest of its kind in the column."""
    parts = [CELL.findall(text)[0] for text in cells]
    mean, deviation, count = (max((len(part[i]) for part in parts), default=0) for i in range(3))
    lined = []
    for part in parts:
        sign = PLUS_MINUS if part[1] else " " * len(PLUS_MINUS) if deviation else ""
        lined.append(part[0].rjust(mean) + sign + part[1].rjust(deviation) + part[2].ljust(count))
    return lined
