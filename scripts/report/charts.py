"""Every chart of the page and of the files: its specification for Vega-Lite, its rows, and what is said of it."""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from scripts.report import audit_charts
from scripts.report import chart_rows as rows
from scripts.report import chart_specs as specs
from scripts.report.chart_rows import ALL, choices
from scripts.report.look import NETWORKS, ROLES
from scripts.report.payload import LOSS_EDGES
from scripts.report.view import View

DIGITS = 5  # significant ones, of what is only drawn
OF_PERCENT = 3  # decimals of a percentage, of which tables show one


@dataclass(frozen=True)
class Chart:
    """A chart: what it shows, without any run.

    rows: gives its records, from a View, or from a table and the columns. constants: the fields of a record that many
    records in a row share. legend: the field whose longest text says how many entries of the legend stand beside each
    other. numbers: head -> field, of the table below it. told: what there is to say of these runs. panel: the least
    width of a panel in px, and the room between two, where there are panels.
    """

    title: str
    spec: dict[str, Any]
    rows: Callable[..., Iterator[dict[str, Any]]]
    constants: tuple[str, ...]
    legend: str
    numbers: dict[str, str]
    caption: str = ""
    told: Callable[..., str] = lambda *_: ""
    panel: tuple[int, int] | None = None
    orders: tuple[str, ...] = ()
    percents: tuple[str, ...] = ()


ENDS = {"95 % from": "low", "to": "high"}
GROUPS = Chart(
    title="Accuracy by group",
    spec=specs.groups(ROLES),
    rows=rows.groups,
    constants=("role", "model", "seed", "n"),
    legend="model",
    numbers={
        "group": "group", "model": "model", "test accuracy (%)": "value", **ENDS, "test samples": "n_test",
        "seeds": "n",
    },
    caption="Bars: 95 % intervals, of several seeds by Student's t over them, within 0 and 100; of one seed, or of"
    " seeds that are all alike, Wilson's. Open dots are the seeds. n: test samples.",
    told=rows.told_of_groups,
    orders=tuple(specs.GROUP_ORDERS),
    percents=("value", "low", "high"),
)  # fmt: skip
CURVES = Chart(
    title="Training",
    spec=specs.epochs(None),
    rows=rows.curves,
    constants=("panel", "place", "seed", "series", "line", "n_epochs"),
    legend="series",
    numbers={"column": "panel", "line": "line", "epoch": "epoch", "value": "value"},
    panel=(200, 58),
)
OVERVIEW = Chart(
    title="The main columns, by method",
    spec=specs.dots(signal=False),
    rows=rows.overview,
    constants=("panel", "place", "unit", "decimals"),
    legend="kind",
    numbers={"column": "panel", "model": "name", "value": "value", **ENDS, "seeds": "n"},
    caption="Dashed lines: the retrained models.",
    told=rows.seeds_told,
    panel=(135, 36),
)
OF_CELLS = {
    "groups": GROUPS,
    "losses": Chart(
        title="Loss by set",
        spec=specs.losses(LOSS_EDGES.tolist()),
        rows=rows.losses,
        constants=("set", "seed", "size"),
        legend="set",
        numbers={"set": "set", "log10 of the loss, middle of the bin": "middle", "share (%)": "share"},
        caption="The attack is the balanced one by the loss, in percent; 50 is guessing; compare with the"
        " retrained model. The first bin has all smaller losses, the last all larger ones; shares are averaged"
        " over seeds.",
        told=rows.told_of_losses,
    ),
    "counts": Chart(
        title="What was forgotten",
        spec=specs.counts(),
        rows=rows.counts,
        constants=("part", "seed", "is_first"),
        legend="part",
        numbers={"group": "group", "part": "part", "training samples": "value", "of": "n_train"},
        caption="Of the first seed, unless one is chosen. In brackets: samples forgotten, of all training samples.",
    ),
    "curves": CURVES,
    "information": replace(
        CURVES,
        title="How much the features tell about the group, by MIU's two critics",
        spec=specs.epochs(NETWORKS),
        rows=rows.information,
        caption="Lower bounds (nats) by both critics on the information that features carry about the group; a line a"
        " seed.",
    ),
}
OF_TABLES = {
    "trade-off": Chart(
        title="What is forgotten, and what it costs the group",
        spec=specs.trade_off(),
        rows=rows.trade_off,
        constants=(),
        legend="label",
        numbers={
            "number": "number", "model": "name", "UA (%)": "ua", "95 % from": "ua_low", "to": "ua_high",
            "GA (%)": "ga", "95 % from ": "ga_low", "to ": "ga_high", "seeds": "n",
        },
        caption=f"{OVERVIEW.caption} The closer to where they cross, the more like a model that was not trained on the"
        " samples.",
        told=rows.seeds_told,
    ),
    "attack": replace(
        OVERVIEW,
        title="Can it be told who was in the forget set?",
        spec=specs.dots(signal=True),
        rows=rows.attack,
        caption="AUC of the balanced attack by the loss. 50, the black line, is guessing; compare with the retrained"
        f" model. {OVERVIEW.caption}",
        panel=(200, 36),
    ),
    "overview": OVERVIEW,
    "audit": Chart(
        title="Are forgotten samples told one by one?",
        spec=audit_charts.attack_spec(),
        rows=audit_charts.attack_rows,
        constants=("panel", "place"),
        legend="role",
        numbers={"attack": "panel", "model": "name", "of": "role", "AUC (%)": "value", **ENDS, "runs": "runs"},
        caption="AUC of the per-example attacks, with 95 % intervals. 50, the black line, is guessing. The placebo is"
        " the same attack on held-out samples of the same groups: what goes beyond it is a trace of having been trained"
        " on.",
        panel=(200, 36),
    ),
    "relearning": Chart(
        title="What comes back by fine-tuning",
        spec=audit_charts.relearning_spec(),
        rows=audit_charts.relearning_rows,
        constants=("panel", "place", "series"),
        legend="series",
        numbers={"panel": "panel", "model": "series", "step": "step", "points": "value", **ENDS, "runs": "runs"},
        caption="Accuracy on the rest of the forget set minus that of the retrained model, which is fine-tuned alike."
        " Above 0 the forget set is known better than after retraining; what rises from step 0 on and ends above 0 was"
        " hidden, not forgotten. The original is the control, which must stay above 0. Bars: 95 % intervals over the"
        " runs, by Student's t.",
        panel=(190, 58),
    ),
}  # fmt: skip
COMPARE = replace(GROUPS, spec=specs.groups(None))  # its rows are those of GROUPS, of some cells instead of roles
CHARTS = {**OF_CELLS, **OF_TABLES, "compare": COMPARE}


class ListPool:
    """Lists of plain values, each kept once; what is put in is represented by its number."""

    def __init__(self) -> None:
        self.lists: list[list] = []
        self._numbers: dict[str, int] = {}

    def put(self, values: list, decimals: int | None = None) -> int:
        """The number of an equal list; floats are rounded to what a plot shows, and to `decimals` where given."""
        values = [_rounded(value, decimals) if isinstance(value, float) else value for value in values]
        key = json.dumps(values)
        if key not in self._numbers:
            self._numbers[key] = len(self.lists)
            self.lists.append(values)
        return self._numbers[key]


def _rounded(value: float, decimals: int | None) -> float:
    if not math.isfinite(value):
        return value
    value = float(f"{value:.{DIGITS}g}")
    value = value if decimals is None else round(value, decimals)
    return int(value) if value.is_integer() else value


def pack(payload: dict[str, Any], pool: ListPool) -> tuple[dict[str, Any], dict[str, dict[str, list]]]:
    """What the page draws: every chart without rows, by name, and the rows of each table and cell, by its id.

    Rows are blocks: the values of the chart's `constants`, and for each of its `fields` the number of a list in `pool`.
    Beside them stands what is said of them, by seed where that differs.
    """
    runs, columns = {run["id"]: run for run in payload["runs"]}, payload["columns"]
    charts = {name: _fixed(chart) for name, chart in CHARTS.items()}
    found = {}
    for table in payload["tables"]:
        found[table["id"]] = {
            name: [_blocks(charts[name], chart.rows(table, columns), pool), chart.told(table, columns)]
            for name, chart in OF_TABLES.items()
        }
        for cell in table["cells"]:
            view = View(table, cell, [runs[name] for name in cell["runs"]], runs)
            found[cell["id"]] = {
                name: [_blocks(charts[name], chart.rows(view), pool), _told(chart, view)]
                for name, chart in OF_CELLS.items()
            }
    return charts, found


def _fixed(chart: Chart) -> dict[str, Any]:
    return {name: value for name, value in vars(chart).items() if not callable(value)}


def _blocks(chart: dict[str, Any], records: Iterator[dict[str, Any]], pool: ListPool) -> list[list]:
    """Packed records; the first ones set the chart's `fields`."""
    constants, blocks = chart["constants"], []
    for fixed, group in itertools.groupby(records, key=lambda record: [record[name] for name in constants]):
        own = list(group)
        fields = chart.setdefault("fields", [name for name in own[0] if name not in constants])
        decimals = dict.fromkeys(chart["percents"], OF_PERCENT)
        blocks.append([*fixed, *(pool.put([record[name] for record in own], decimals.get(name)) for name in fields)])
    return blocks


def _told(chart: Chart, view: View) -> Any:
    told = {seed: chart.told(own) for seed, own in choices(view)}
    return told if len(set(told.values())) > 1 else told[ALL]
