"""The charts of the page as files for papers: one PNG, PDF or SVG a figure. Needs vl-convert, and no browser."""

import functools
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from scripts.report.chart_specs import CONFIG
from scripts.report.charts import COMPARE, OF_CELLS, OF_TABLES, Chart
from scripts.report.pdf import in_order
from scripts.report.view import View
from utils.errors import UserError
from utils.files import write_atomic
from utils.tables import one_line

VEGA_LITE = "6.4"  # the version that draws the page and the files
KINDS = ("png", "pdf", "svg")
WIDTH = 700  # px, as on a page
SCALE = 0.7  # to 6.8 inches, the text width of a paper, with letters of 8 pt
DPI = 200
SIZES = re.compile(r'(width|height)="(\d+)"')  # those of the picture come first
LETTER, KEY = 6.4, 48  # px of width, about: of a letter, and of the rest of a legend's entry


def vega() -> ModuleType:
    """The package vl_convert; UserError where it is not installed."""
    try:
        import vl_convert
    except ImportError:
        remedy = "pip install vl-convert-python, or take --format text"
        raise UserError(
            f"vl-convert-python is not installed, and the page and its charts are drawn by it; {remedy}"
        ) from None
    return vl_convert


@functools.cache
def library() -> str:
    """Vega, Vega-Lite and vega-embed in one script (1 MB), which sets window.vegaEmbed."""
    return vega().javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)


def save_figures(payload: dict[str, Any], out: Path, kind: str) -> list[Path]:
    """Write every figure of the dict that `--format json` writes beside `out`, in the format `kind`, one of KINDS.

    Files are named after what they show: OUT-digits-split0-0.9-overview.pdf, OUT-digits-split0-0.9-miu-groups.pdf.
    UserError without vl-convert, and where there is nothing to draw.
    """
    files = []
    for name, spec in figures(payload):
        files.append(out.with_name(f"{out.stem}-{name}.{kind}"))
        write_atomic(files[-1], functools.partial(_write, drawn(spec, kind)))
    if not files:
        raise UserError("no run here has what a figure shows, so no file was written; --format text says what there is")
    return files


def drawn(spec: dict[str, Any], kind: str) -> bytes:
    """A specification with its rows as PNG, PDF or SVG."""
    if kind == "png":
        return vega().vegalite_to_png(spec, VEGA_LITE, scale=SCALE, ppi=DPI)
    svg = vega().vegalite_to_svg(spec, VEGA_LITE)
    if kind == "svg":
        return svg.encode()
    scaled = (f'{name}="{SCALE * int(size):g}"' for name, size in SIZES.findall(svg)[:2])
    return in_order(vega().svg_to_pdf(SIZES.sub(lambda _: next(scaled), svg, count=2)))


def _write(drawn: bytes, file: BinaryIO) -> None:
    file.write(drawn)


def figures(payload: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """("digits-split0-0.9-overview", Vega-Lite's specification with its rows), ...: one at a time."""
    runs, columns = {run["id"]: run for run in payload["runs"]}, payload["columns"]
    for table in payload["tables"]:
        for name, chart in OF_TABLES.items():
            if rows := list(chart.rows(table, columns)):
                yield f"{table['file']}-{name}", figure(chart, rows, table["title"], chart.told(table, columns))
        views = [View(table, cell, [runs[name] for name in cell["runs"]], runs) for cell in table["cells"]]
        if rows := list(compared(views)):
            yield f"{table['file']}-compare", figure(COMPARE, rows, table["title"], "")
        for view in views:
            for name, chart in OF_CELLS.items():
                if rows := list(chart.rows(view)):
                    title = f"{view.cell['name']}, {table['title']}"
                    yield f"{table['file']}-{view.cell['file']}-{name}", figure(chart, rows, title, chart.told(view))


def compared(views: list[View]) -> Iterator[dict[str, Any]]:
    """Rows of `groups` of the unlearned models, where there are few enough to stand on common axes."""
    competing = [view for view in views if not view.cell["is_reference"]]
    if 1 < len(competing) < 5:
        for view in competing:
            name = one_line(view.cell["name"])
            yield from (row | {"model": name} for row in COMPARE.rows(view) if row["role"] == "after")


def figure(chart: Chart, rows: list[dict[str, Any]], title: str, told: str) -> dict[str, Any]:
    """The specification of one file: the chart with its rows, fitted to WIDTH, its title and what is said below it."""
    said = [line for text in (title, f"{told} {chart.caption}") for line in textwrap.wrap(one_line(text), WIDTH // 6)]
    return fit(chart, rows, WIDTH) | {"title": {"text": chart.title, "subtitle": said}}


def fit(chart: Chart, rows: list[dict[str, Any]], width: float) -> dict[str, Any]:
    """The specification with its rows for a width in px; charts.js has the same for the page."""
    room = width - max(_longest(rows, "label") if chart.legend != "label" else 0, 60)
    legend = {"columns": max(1, int(room // (KEY + _longest(rows, chart.legend)))), "labelLimit": room - KEY}
    config = CONFIG | {"legend": CONFIG["legend"] | legend}
    series = [
        param | ({"value": list(dict.fromkeys(row[chart.legend] for row in rows))} if param["name"] == "series" else {})
        for param in chart.spec["params"]
    ]
    spec = chart.spec | {"data": {"values": rows}, "description": chart.title, "config": config, "params": series}
    if chart.panel is None:
        if isinstance(spec["height"], dict):  # px a row
            spec["height"] = spec["height"]["step"] * len({row["label"] for row in rows})
        return spec | {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    least, between = chart.panel
    columns = max(1, min(len({row["panel"] for row in rows}), int(room // least)))
    inner = room / columns - between
    spacing = spec["spacing"] | {"column": between}
    return spec | {"columns": columns, "spacing": spacing, "spec": spec["spec"] | {"width": inner}}


def _longest(rows: list[dict[str, Any]], field: str) -> float:
    """The width of the longest line of a field, about, in px."""
    return LETTER * max((len(line) for row in rows for line in str(row.get(field, "")).split("\n")), default=0)
