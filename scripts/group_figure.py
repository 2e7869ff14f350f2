"""The README's picture: what each method leaves of the test accuracy of the group that it forgot samples of.

    python -m scripts.group_figure docs/results/runs/digits.zip --ratio 0.9 --out docs/images/forget_group.png

One row a method, untuned and tagged variants apart; a dot is the mean over the seeds, the bar its 95 % interval by
Student's t. Both retrained models are lines from top to bottom, because they are what the others aim at.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from method.configs.seeds import are_independent
from method.runs.stored import read_runs
from scripts.report.collect import Report, Row, by_label
from scripts.report.look import BLUE, GREEN, VERMILLION
from utils.errors import UserError
from utils.paths import typed_path
from utils.terminal import Parser, on_terminal, say

GA = "forget_group_acc"
# 97.5 % quantile of Student's t with n - 1 degrees of freedom, by the number n of seeds.
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
# Label in reports -> name in the picture, colour, marker, and whether the marker is filled (REWEIGHT, or the original).
ROWS = {
    "pretrain": ("original", BLUE, "o", True),
    "retrain": ("retrained", GREEN, "s", False),
    "retrain + reweight": ("retrained + REWEIGHT", GREEN, "s", True),
    "miu": ("MIU (has REWEIGHT)", VERMILLION, "D", True),
    "salun": ("SalUn", VERMILLION, "D", False),
    "salun + reweight": ("SalUn + REWEIGHT", VERMILLION, "D", True),
    "scrub": ("SCRUB", VERMILLION, "D", False),
    "scrub + reweight": ("SCRUB + REWEIGHT", VERMILLION, "D", True),
    "l1_sparse": ("L1-sparse", VERMILLION, "D", False),
    "l1_sparse + reweight": ("L1-sparse + REWEIGHT", VERMILLION, "D", True),
}
SIZE, DPI = (8, 3.9), 200  # inches, dots an inch


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
        cells = read_cells(wanted.path, wanted.ratio)
        draw(cells, wanted.ratio).savefig(wanted.out, format="png", dpi=DPI, facecolor="white")
    except UserError as error:
        say(f"error: {error}")
        return error.exit_code
    except OSError as error:
        say(f"error: --out {wanted.out}: it cannot be written ({error.strerror}); give the name of another file")
        return UserError.exit_code
    return 0


def read_cells(path: Path, ratio: float) -> dict[str, list[Row]]:
    """The runs of each of ROWS, in that order; UserError unless there is one table, with a run of each."""
    tables = Report(read_runs(path), {"ratio": [ratio], "tag": [""]}, [GA]).tables
    if len(tables) != 1:
        raise UserError(f"{path} has {len(tables)} tables of ratio {ratio:g}, expected one: give a narrower folder")
    (rows,) = tables.values()
    found = by_label(rows)
    missing = [label for label in ROWS if label not in found]
    if missing:
        raise UserError(f"{path} has no finished run of {', '.join(missing)} at ratio {ratio:g}")
    return {label: refuse_dependent(found[label]) for label in ROWS}


def refuse_dependent(rows: list[Row]) -> list[Row]:
    """The rows of a cell; UserError where they share a trained model: an interval would take them as independent."""
    if are_independent([row.seeds for row in rows]):
        return rows
    raise UserError(
        f"the {len(rows)} runs of {rows[0].label} share original or retrained models, so that an interval over them "
        "would be too short; give a folder in which every run has a train seed of its own"
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval, by Student's t; UserError for another number than T_95 has."""
    n = len(values)
    if n not in T_95:
        raise UserError(f"an interval over {n} seeds cannot be drawn; expected 2 to {max(T_95)} runs of every method")
    return float(np.mean(values)), float(T_95[n] * np.std(values, ddof=1) / math.sqrt(n))


def draw(cells: dict[str, list[Row]], ratio: float) -> Figure:
    """One row a label of ROWS, the first on top; the background is opaque, as README pages may be dark."""
    found = {label: interval([row.values[GA] for row in rows]) for label, rows in cells.items()}
    n_seeds = {len(rows) for rows in cells.values()}
    figure = Figure(figsize=SIZE, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.06))
    axes = figure.subplots()
    for label, dashes in (("retrain", (2, 2)), ("retrain + reweight", (6, 2))):
        axes.axvline(found[label][0], color=GREEN, linewidth=1.2, dashes=dashes, zorder=0)
    for place, (label, (_, color, marker, filled)) in enumerate(ROWS.items()):
        mean, half = found[label]
        face = color if filled else "white"
        look: dict[str, Any] = {
            "color": color,
            "marker": marker,
            "markersize": 8,
            "markerfacecolor": face,
            "markeredgewidth": 1.8,
        }
        axes.errorbar(mean, place, xerr=half, elinewidth=2, capsize=4, capthick=2, **look)
        above: dict[str, Any] = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "fontsize": 9}
        axes.annotate(f"{mean:.0f}", (mean, place), **above, bbox={"facecolor": "white", "linewidth": 0, "pad": 0.5})
    axes.set_yticks(range(len(ROWS)), [name for name, *_ in ROWS.values()], fontsize=11)
    axes.set_ylim(len(ROWS) - 0.4, -0.8)
    axes.set_xlim(10 * math.floor(min(mean - half for mean, half in found.values()) / 10), 100)
    title = f"Test accuracy of the group of which {100 * ratio:.0f} % was forgotten"
    figure.suptitle(title, fontsize=13, fontweight="bold")
    data, seeds = cells["pretrain"][0].run.config["dataset"], " or ".join(map(str, sorted(n_seeds)))
    figure.supxlabel(
        f"percent; mean and 95 % interval over {seeds} seeds; data set: {data}\n"
        "filled: with REWEIGHT, open: without; vertical lines: the two retrained models",
        fontsize=11,
    )
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


if __name__ == "__main__":
    sys.exit(main())
