"""Tables for other programs: CSV, and LaTeX in the layout of the paper."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from method.evaluation.columns import HIGH, REFERENCE, Column
from method.runs.files import RETRAIN
from scripts.report.collect import Report, Row, by_label
from scripts.report.payload import moments
from scripts.report.text import shown_value
from utils.tables import is_number, one_line
from utils.text import for_people

SETTING = ("dataset", "model", "image_size", "weights", "task", "ratio")
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
}  # fmt: skip
FORMULA = ("=", "+", "-", "@")  # how a text begins that a spreadsheet would run


def as_csv(report: Report, columns: Sequence[Column], each: bool) -> str:
    """One line a run, or one a cell with n, mean, sd over seeds and mean and sd of the difference to the reference.

    Stored units, full precision; an empty field is a hole. A text that a spreadsheet would run has an apostrophe before
    it; line ends, tabs and control characters in one are escapes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if each:
        writer.writerow([*SETTING, "label", "method", "seed", "folder", *(column.key for column in columns)])
        lines = [
            [
                *map(_inert, (*key, row.label, row.run.method, row.seed, for_people(row.run.folder.as_posix()))),
                *_values(row, columns),
            ]
            for key, rows in report.tables.items()
            for row in rows
        ]
    else:
        parts = ("", "_sd", "_n", "_difference", "_difference_sd")
        writer.writerow([*SETTING, "label", "method", "n", *(f"{c.key}{part}" for c in columns for part in parts)])
        lines = [
            [*map(_inert, (*key, name, rows[0].run.method, len(rows))), *_moments(rows, columns)]
            for key, own in report.tables.items()
            for name, rows in by_label(own).items()
        ]
    writer.writerows(lines)
    return text.getvalue()


def _inert(value: Any) -> Any:
    """A text in one line that no spreadsheet takes for a formula; a number as it is."""
    if not isinstance(value, str):
        return value
    return f"'{line}" if (line := one_line(value)).startswith(FORMULA) else line


def _values(row: Row, columns: Sequence[Column]) -> list[float | None]:
    return [value if is_number(value := row.values.get(column.key)) else None for column in columns]


def _moments(rows: Sequence[Row], columns: Sequence[Column]) -> list[float | None]:
    found = []
    for column in columns:
        own = moments([row.values.get(column.key) for row in rows])
        to_reference = moments([row.difference(column.key) for row in rows])
        found += [own["mean"], own["sd"], own["n"], to_reference["mean"], to_reference["sd"]]
    return found


def as_latex(report: Report, columns: Sequence[Column]) -> str:
    r"""A table environment for every data set, model and task: one block a ratio, retrained rows first, best in bold.

    Needs the packages booktabs and graphicx. Best: see `columns`; pretrained and retrained models do not compete.
    """
    blocks: dict[tuple, list[tuple[float, Sequence[Row]]]] = defaultdict(list)
    for (*setting, ratio), rows in report.tables.items():
        blocks[tuple(setting)].append((ratio, rows))
    tables = [_latex_table(setting, own, columns) for setting, own in blocks.items()]
    return "\n".join([r"% needs \usepackage{booktabs,graphicx}", *tables])


def _latex_table(setting: tuple, blocks: Sequence[tuple[float, Sequence[Row]]], columns: Sequence[Column]) -> str:
    dataset, model, image_size, _, task = setting
    counts = sorted({len(own) for _, rows in blocks for own in by_label(rows).values()})
    seeds = "one seed" if counts == [1] else f"mean and sample standard deviation over {_range(counts)} seeds"
    caption = f"{dataset}, {model}, {image_size} pixels" + (f", {task}" if task else "") + f": {seeds}."
    lines = [
        r"\begin{table}[t]",
        r"  \centering",
        rf"  \caption{{{escape(caption)}}}",
        # As wide as it is, or as the text where that is narrower.
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"    \toprule",
        _latex_line("Method", [escape(column.title) for column in columns]),
    ]
    for ratio, rows in blocks:
        lines.append(r"    \midrule")
        if task:
            lines.append(rf"    \multicolumn{{{len(columns) + 1}}}{{l}}{{\textit{{unlearning ratio {ratio:g}}}}} \\")
        lines += _latex_block(by_label(rows), columns)
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}}", r"\end{table}", ""])


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _latex_block(cells: dict[str, list[Row]], columns: Sequence[Column]) -> list[str]:
    best = {column.key: best_labels(cells, column) for column in columns}
    judges = [name for name, rows in cells.items() if not rows[0].competes]
    judges.sort(key=lambda name: cells[name][0].run.method != RETRAIN)
    others = [name for name in cells if name not in judges]
    lines = []
    for name in [*judges, *others]:
        if judges and others and name == others[0]:
            lines.append(rf"    \cmidrule{{1-{len(columns) + 1}}}")
        values = [_latex_cell(cells[name], column, name in best[column.key]) for column in columns]
        lines.append(_latex_line(escape(name), values))
    return lines


def _latex_line(name: str, values: Sequence[str]) -> str:
    return f"    {' & '.join([name, *values])} \\\\"


def _latex_cell(rows: Sequence[Row], column: Column, bold: bool) -> str:
    values = [value for row in rows if (value := shown_value(row, column)) is not None]
    if not values:
        return "--"
    mean = f"{fmean(values):.{column.decimals}f}"
    mean = rf"\mathbf{{{mean}}}" if bold else mean
    return f"${mean}_{{\\pm {stdev(values):.{column.decimals}f}}}$" if len(values) > 1 else f"${mean}$"


def best_labels(cells: dict[str, list[Row]], column: Column) -> set[str]:
    """The unlearned cells with the best mean, equal ones to the decimals shown; none where fewer than two compete."""
    distance: dict[str, float] = {}
    for name, rows in cells.items():
        found = [row.difference(column.key) if column.best == REFERENCE else row.values.get(column.key) for row in rows]
        numbers = [value * column.scale for value in found if is_number(value)]
        if rows[0].competes and column.best and numbers:
            mean = fmean(numbers)
            value = abs(mean) if column.best == REFERENCE else -mean if column.best == HIGH else mean
            distance[name] = round(value, column.decimals)
    lowest = min(distance.values(), default=0.0)
    return {name for name, value in distance.items() if value == lowest} if len(distance) > 1 else set()


def escape(text: str) -> str:
    """Text as LaTeX prints it, in one line: an empty one would end a caption."""
    return "".join(SPECIAL.get(letter, letter) for letter in one_line(text))
