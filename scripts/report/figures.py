"""The plots of the page as files for papers: PNG, one a figure, or one PDF. Needs matplotlib."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.report import plots
from scripts.report.look import LOOK, curve_keys, information_keys
from scripts.report.view import View, any_number, describe_attack, has
from utils.errors import UserError
from utils.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200
# Text in a PDF stays text, of one size in all figures.
STYLE: Any = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7.5, "xtick.labelsize": 7,
    "ytick.labelsize": 7, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#e3e3e3", "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.edgecolor": "#777777",
    "legend.frameon": False, "lines.linewidth": 1.2, "lines.markersize": 4, "hatch.linewidth": 0.8, "pdf.fonttype": 42,
}  # fmt: skip
WIDTH = 6.8  # inches: the text width of a page
TALLEST = 300  # inches: a PNG has at most 2 ** 16 pixels
PANEL = 2.1  # inches of height a panel over the epochs
PANELS = 3  # beside each other


def save_figures(payload: dict[str, Any], out: Path, kind: str) -> list[Path]:
    """Write every figure of the dict that `--format json` writes: kind "pdf", all into `out`; "png", each beside it.

    The PNG files are named after what they show: OUT-digits-split0-0.9-overview.png,
    OUT-digits-split0-0.9-miu-groups.png. UserError without matplotlib.
    """
    with _style():
        if kind == "pdf":
            write_atomic(out, functools.partial(_write_pdf, payload=payload))
            return [out]
        files = []
        for name, figure in figures(payload):
            files.append(out.with_name(f"{out.stem}-{name}.png"))
            write_atomic(files[-1], functools.partial(figure.savefig, format="png", dpi=DPI))
        return files


def figures(payload: dict[str, Any]) -> Iterator[tuple[str, "Figure"]]:
    """("digits-split0-0.9-overview", figure), ...: one at a time, since there can be many."""
    runs = {run["id"]: run for run in payload["runs"]}
    for table in payload["tables"]:
        if drawn := [column for column in payload["columns"] if column["main"] and has(table, column)]:
            yield f"{table['file']}-overview", _overview(table, drawn)
        for cell in table["cells"]:
            view = View(table, cell, [runs[name] for name in cell["runs"]], runs)
            for name, draw in CELL_FIGURES.items():
                figure = draw(view)
                if figure is not None:
                    yield f"{table['file']}-{cell['file']}-{name}", figure


def _write_pdf(file: Any, payload: dict[str, Any]) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    # Without a date the same runs give the same file.
    with PdfPages(file, metadata={"CreationDate": None, "Title": "Unlearning runs"}) as pages:
        for _, figure in figures(payload):
            pages.savefig(figure)


@contextlib.contextmanager
def _style() -> Iterator[None]:
    try:
        import matplotlib
    except ImportError:
        remedy = "pip install matplotlib, or take --format html"
        raise UserError(f"matplotlib is not installed, and --format png and pdf need it; {remedy}") from None
    with matplotlib.rc_context(STYLE):
        yield


def _figure(title: str, height: float, width: float = WIDTH) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, min(height, TALLEST)), layout="constrained")
    figure.suptitle(plots.escape_dollars(title), fontsize=9, fontweight="bold")
    return figure


def _overview(table: dict[str, Any], columns: list[dict[str, Any]]) -> "Figure":
    across = min(5, len(columns))
    down = -(-len(columns) // across)
    several = any(n > 1 for cell in table["cells"] for n in cell["n"].values())
    what = ": mean ± standard deviation over seeds" if several else ""
    figure = _figure(table["title"] + what, 0.7 + down * (0.6 + 0.17 * len(table["cells"])), WIDTH + 2)
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes in grid.flat[len(columns) :]:
        axes.remove()
    for axes, column in zip(grid.flat, columns, strict=False):
        plots.draw_overview(axes, table, column)
    plots.key_below(figure, plots.overview_key(table))
    return figure


def _groups(view: View) -> "Figure | None":
    rows = view.groups()
    if not rows:
        return None
    figure = _figure(f"{view.name}: accuracy by group", 1.2 + (0.3 if len(rows) <= plots.FEW else 0.2) * len(rows))
    plots.draw_groups(figure.subplots(), view, rows)
    plots.key_below(figure, plots.look_key("roles", view.partners()))
    return figure


def _counts(view: View) -> "Figure | None":
    rows = [group for group in view.groups() if group["n_train"]]
    if not rows:
        return None
    figure = _figure(
        f"{view.name}: what was forgotten (seed {view.runs[0]['seed']})",
        1.2 + (0.24 if len(rows) <= plots.FEW else 0.17) * len(rows),
    )
    plots.draw_counts(figure.subplots(), rows)
    plots.key_below(figure, plots.look_key("counts", LOOK["counts"]))
    return figure


def _losses(view: View) -> "Figure | None":
    if not view.histograms():
        return None
    figure = _figure(f"{view.name}: loss by set", 3.2)
    plots.draw_losses(figure.subplots(), view)
    figure.supxlabel(describe_attack(view), fontsize=7)
    return figure


def _curves(view: View) -> "Figure | None":
    keys = [key for key in curve_keys(view.histories()) if any_number(view.histories(), key)]
    if not keys:
        return None
    figure, panels = _panels(f"{view.name}: training", len(keys))
    for axes, key in zip(panels, keys, strict=True):
        plots.draw_curve(axes, view, key)
    if len(view.runs) > 1:
        plots.key_below(figure, plots.seed_key(view))
    return figure


def _information(view: View) -> "Figure | None":
    passes = information_keys(view.histories())
    shown = {
        name: keys for name, keys in passes.items() if any(any_number(view.histories(), key) for key in keys.values())
    }
    if not shown:
        return None
    figure, panels = _panels(f"{view.name}: what the critics report of I(features; group)", len(shown))
    for axes, (name, keys) in zip(panels, shown.items(), strict=True):
        plots.draw_information(axes, view, name, keys)
    plots.key_below(figure, plots.look_key("information", LOOK["information"]))
    return figure


def _panels(title: str, n: int) -> "tuple[Figure, list]":
    down = -(-n // PANELS)
    figure = _figure(title, 0.6 + PANEL * down)
    grid = figure.subplots(down, PANELS, squeeze=False)
    for axes in grid.flat[n:]:
        axes.remove()
    return figure, list(grid.flat[:n])


CELL_FIGURES = {
    "groups": _groups,
    "losses": _losses,
    "curves": _curves,
    "information": _information,
    "counts": _counts,
}
