"""Every chart of the page and of the files: its specification for Vega-Lite, its rows, and what is said of it."""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from scripts.report import chart_rows as rows
from scripts.report import chart_specs as specs
from scripts.report.chart_rows import ALL, choices
from scripts.report.look import NETWORKS, ROLES
from scripts.report.payload import LOSS_EDGES
from scripts.report.view import View

DIGITS = 5  # significant ones, of what is only drawn
Rows = Callable[..., Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Chart:
    """A chart: what it shows, without any run.

    rows: gives its records, from a View, or from a table and the columns. constants: the fields of a record that many
    records in a row share. numbers: head -> field, of the table below it. told: what there is to say of these runs.
    legend: the field whose longest text says how many entries of the legend stand beside each other. panel: the least
    width of a panel in px, and the room between two, where there are panels.
    """

    title: str
    spec: dict[str, Any]
    rows: Rows
    constants: tuple[str, ...]
    numbers: dict[str, str]
    legend: str
    caption: str = ""
    told: Callable[..., str] = lambda *_: ""
    panel: tuple[int, int] | None = None
    orders: tuple[str, ...] = ()


MODEL = {
    "group": "group",
    "model": "model",
    "test accuracy (%)": "value",
    "95 % from": "low",
    "to": "high",
    "test samples": "n_test",
    "seeds": "n",
}
DOTS = {"column": "panel", "model": "name", "value": "value", "95 % from": "low", "to": "high", "seeds": "n"}
EPOCHS = {"column": "panel", "line": "line", "epoch": "epoch", "value": "value"}
OF_SEEDS = "95 % intervals over the seeds, by Student's t; dashed lines: the retrained models."
OF_CELLS = {
    "groups": Chart(
        "Accuracy by group",
        specs.groups(ROLES),
        rows.groups,
        ("role", "model", "seed", "n"),
        MODEL,
        "model",
        "Bars: 95 % Wilson intervals; over several seeds their ends are averaged, and open dots are the seeds. n: test"
        " samples.",
        rows.told_of_groups,
        orders=tuple(specs.GROUP_ORDERS),
    ),
    "losses": Chart(
        "Loss by set",
        specs.losses(float(LOSS_EDGES[1] - LOSS_EDGES[0])),
        rows.losses,
        ("set", "seed", "size"),
        {"set": "set", "log10 of the loss, middle of the bin": "middle", "share (%)": "share"},
        "set",
        "The attack is the balanced one by the loss, in percent; 50: the loss does not tell who was in the forget set. The"
        " first bin holds all smaller losses, the last all larger ones; shares are averaged over the seeds.",
        rows.told_of_losses,
    ),
    "curves": Chart(
        "Training", specs.epochs(None), rows.curves, ("panel", "place", "seed", "series", "line", "n_epochs"), EPOCHS, "series",
        panel=(200, 58),
    ),
    "information": Chart(
        "What the critics report of I(features; group)",
        specs.epochs(NETWORKS),
        rows.information,
        ("panel", "place", "seed", "series", "line", "n_epochs"),
        EPOCHS,
        "series",
        "Lower bounds (nats) by the two critics on the information that features carry about the group; a line a seed.",
        panel=(200, 58),
    ),
    "counts": Chart(
        "What was forgotten",
        specs.counts(),
        rows.counts,
        ("part", "seed", "is_first"),
        {"group": "group", "part": "part", "training samples": "value", "of": "n_train"},
        "part",
        "Of the first seed, unless one is chosen. In brackets: samples forgotten, of all training samples.",
    ),
}  # fmt: skip
OF_TABLES = {
    "trade-off": Chart(
        "What is forgotten, and what it costs the group",
        specs.trade_off(),
        rows.trade_off,
        (),
        {
            "number": "number", "model": "name", "UA (%)": "ua", "95 % from": "ua_low", "to": "ua_high",
            "GA (%)": "ga", "95 % from ": "ga_low", "to ": "ga_high", "seeds": "n",
        },
        "label",
        f"{OF_SEEDS} The closer to where they cross, the more like a model that never saw the samples.",
        rows.seeds_told,
    ),
    "attack": Chart(
        "Can it be told who was in the forget set?",
        specs.dots(signal=True),
        rows.attack,
        ("panel", "place", "unit", "decimals"),
        DOTS,
        "kind",
        f"AUC of the balanced attack by the loss. 50, the black line: it cannot be told. {OF_SEEDS}",
        rows.seeds_told,
        panel=(200, 36),
    ),
    "overview": Chart(
        "Main columns", specs.dots(signal=False), rows.overview, ("panel", "place", "unit", "decimals"), DOTS, "kind", OF_SEEDS,
        rows.seeds_told, panel=(135, 36),
    ),
}  # fmt: skip
# Rows of `groups`, of some cells instead of roles.
COMPARE = Chart(
    "Accuracy by group", specs.groups(None), rows.groups, (), MODEL, "model", OF_CELLS["groups"].caption,
    orders=tuple(specs.GROUP_ORDERS),
)  # fmt: skip
CHARTS = {**OF_CELLS, **OF_TABLES, "compare": COMPARE}


class ListPool:
    """Lists of plain values, each kept once; what is put in is represented by its number."""

    def __init__(self) -> None:
        self.lists: list[list] = []
        self._numbers: dict[str, int] = {}

    def put(self, values: list) -> int:
        """The number of an equal list; floats are rounded to what a plot shows."""
        values = [_rounded(value) for value in values]
        key = json.dumps(values)
        if key not in self._numbers:
            self._numbers[key] = len(self.lists)
            self.lists.append(values)
        return self._numbers[key]


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        value = float(f"{value:.{DIGITS}g}")
        return int(value) if value.is_integer() else value
    return value


def pack(payload: dict[str, Any], pool: ListPool) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What the page draws: every chart without rows, by name, and the rows of each table and cell, by its id.

    Rows are blocks: the values of the chart's `constants`, and for each of its `fields` the number of a list in `pool`.
    """
    runs = {run["id"]: run for run in payload["runs"]}
    charts = {
        name: {key: value for key, value in vars(chart).items() if not callable(value)}
        for name, chart in CHARTS.items()
    }
    found = {}
    for table in payload["tables"]:
        found[table["id"]] = {
            name: _packed(
                charts[name], chart.rows(table, payload["columns"]), pool, {ALL: chart.told(table, payload["columns"])}
            )
            for name, chart in OF_TABLES.items()
        }
        for cell in table["cells"]:
            view = View(table, cell, [runs[name] for name in cell["runs"]], runs)
            found[cell["id"]] = {
                name: _packed(
                    charts[name], chart.rows(view), pool, {seed: chart.told(own) for seed, own in choices(view)}
                )
                for name, chart in OF_CELLS.items()
            }
    return charts, found


def _packed(
    chart: dict[str, Any], records: Iterator[dict[str, Any]], pool: ListPool, told: dict[Any, str]
) -> dict[str, Any]:
    """[blocks of rows, what is said of them by seed, or at once where it is the same]; sets the chart's `fields`."""
    constants, blocks = chart["constants"], []
    for fixed, group in itertools.groupby(records, key=lambda record: [record[name] for name in constants]):
        own = list(group)
        chart.setdefault("fields", [name for name in own[0] if name not in constants])
        blocks.append([*fixed, *(pool.put([record[name] for record in own]) for name in chart["fields"])])
    return [blocks, told if len(set(told.values())) > 1 else told[ALL]]
