"""The README's picture: what each method leaves of the test accuracy of the group that it forgot samples of.

    python -m scripts.group_figure docs/results/runs/digits.zip --ratio 0.9 --out docs/images/forget_group.png

It is the report's overview of one column, without untuned and tagged variants.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from method.runs.stored import read_runs
from scripts.report.charts import OF_TABLES
from scripts.report.collect import Report
from scripts.report.columns import choose_columns
from scripts.report.figures import drawn, figure
from scripts.report.payload import payload
from utils.errors import UserError
from utils.files import write_atomic
from utils.paths import typed_path
from utils.terminal import Parser, on_terminal, say

# Labels in reports; MIU has REWEIGHT by default.
ROWS = (
    "pretrain", "retrain", "retrain + reweight", "miu", "salun", "salun + reweight", "scrub", "scrub + reweight",
    "l1_sparse", "l1_sparse + reweight",
)  # fmt: skip


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Draw one table of the runs in a folder; returns the exit code."""
    parser = Parser(
        "python -m scripts.group_figure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=typed_path, help="a folder with the runs of one data set and task")
    parser.add_argument("--ratio", type=float, required=True, help="the share of the group that is forgotten")
    parser.add_argument("--out", type=typed_path, required=True, metavar="FILE", help="a .png file")
    wanted = parser.parse_args(arguments)
    try:
        picture = drawn(draw(*read_table(wanted.path, wanted.ratio)), "png")
        write_atomic(wanted.out, lambda file: file.write(picture))
    except UserError as error:
        say(f"error: {error}")
        return error.exit_code
    except OSError as error:
        say(f"error: --out {wanted.out}: it cannot be written ({error.strerror}); give the name of another file")
        return UserError.exit_code
    return 0


def read_table(path: Path, ratio: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report's table with the cells of ROWS, in that order, and its column; UserError unless there is one."""
    columns = choose_columns("GA")
    report = Report(read_runs(path), {"ratio": [ratio], "tag": [""]}, [column.key for column in columns])
    if len(report.tables) != 1:
        raise UserError(
            f"{path} has {len(report.tables)} tables of ratio {ratio:g}, expected one: give a narrower folder"
        )
    found = payload(report, path, columns)
    (table,) = found["tables"]
    cells = {cell["label"]: cell for cell in table["cells"]}
    missing = [label for label in ROWS if label not in cells]
    if missing:
        raise UserError(f"{path} has no finished run of {', '.join(missing)} at ratio {ratio:g}")
    shown = [column | {"title": "test accuracy"} for column in found["columns"] if column["main"]]
    return table | {"cells": [cells[label] for label in ROWS]}, shown


def draw(table: dict[str, Any], columns: list[dict[str, Any]]) -> dict[str, Any]:
    """The overview of the table, as Vega-Lite's specification."""
    title = f"Test accuracy of the group of which {100 * table['ratio']:.0f} % was forgotten"
    chart = replace(OF_TABLES["overview"], title=title)
    return figure(chart, list(chart.rows(table, columns)), f"data set: {table['dataset']}", chart.told(table, columns))


if __name__ == "__main__":
    sys.exit(main())
