"""Charts as Vega-Lite specifications, without their rows: what is drawn on the page and into files.

Text from the runs is in rows alone, never in a specification, whose expressions Vega runs. The parameter `seed` is a
run's seed, or "all"; the marks named `told` say their numbers in words, in the field `told`.
"""

from typing import Any

from scripts.report.look import BLACK, KINDS, PARTS, SETS, VERMILLION, channels

Spec = dict[str, Any]
STEP, LOW_STEP = 38, 30  # px a row, whose label may have three lines, or two
QUIET, GRID = "#555555", "#e3e3e3"
BAND = "#fbe9dd"  # behind forget groups
CONFIG: Spec = {
    "background": "white",
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "padding": 4,
    "view": {"stroke": None},
    "axis": {
        "gridColor": GRID, "domainColor": "#777777", "tickColor": "#777777", "labelFontSize": 11.5, "titleFontSize": 12,
        "titleFontWeight": "normal", "labelColor": "#222222", "titleColor": "#111111", "labelLimit": 300,
        "titlePadding": 6, "labelFlush": False, "labelOverlap": True, "tickCount": 6,
    },
    "header": {"labelFontSize": 12, "labelFontWeight": "bold", "labelPadding": 4, "titleFontSize": 12},
    "legend": {
        "orient": "top", "labelFontSize": 12, "labelLimit": 330, "symbolLimit": 0, "symbolStrokeWidth": 2,
        "columnPadding": 16, "offset": 8,
    },
    "title": {"anchor": "start", "frame": "bounds", "fontSize": 13, "subtitleFontSize": 11, "subtitleColor": QUIET},
    "point": {"filled": True, "opacity": 1},
    "rule": {"strokeWidth": 1.6},
    "line": {"strokeWidth": 1.8},
}  # fmt: skip
INTERVAL = "(isValid(datum.{0}low) ? ' (95 % interval ' + {1} + ' to ' + {2} + ')' : '')"
SEEDS = "(datum.n > 1 ? ', mean over ' + datum.n + ' seeds' : ', one seed')"
ONE_SEED = "datum.seed === seed"
SHORT = "'.4~r'"  # four digits


def number(field: str, form: str = "'.1f'") -> str:
    """The expression of a field's value as text."""
    return f"format(datum.{field}, {form})"


def interval(prefix: str = "", form: str = "'.1f'") -> str:
    """The expression of an interval in words; nothing where there is none."""
    return INTERVAL.format(prefix, number(f"{prefix}low", form), number(f"{prefix}high", form))


def quantity(field: str, title: str | None, **more: Any) -> Spec:
    """The encoding of a number; the axis need not begin at zero."""
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False}} | more


def rows_of(sort: Any = None) -> Spec:
    """The encoding of rows by their label, which may have two lines."""
    axis = {"labelExpr": "split(datum.label, '\\n')", "ticks": False, "domain": False, "grid": False, "labelPadding": 8}
    return {"field": "label", "type": "nominal", "title": None, "sort": sort, "axis": axis}


def layered(layers: list[Spec], transform: list[Spec], **more: Any) -> Spec:
    """Layers over each other, and the parameters that every chart has."""
    return {"params": [{"name": "seed", "value": "all"}], "transform": transform, "layer": layers} | more


def told(mark: Spec, encoding: Spec, **more: Any) -> Spec:
    """The layer whose marks say their numbers: when pointed at, to screen readers and in the table below."""
    words = {"field": "told", "type": "nominal"}
    return {"name": "told", "mark": mark, "encoding": encoding | {"tooltip": words, "description": words}} | more


def haloed(encoding: Spec, **mark: Any) -> list[Spec]:
    """Text that stays readable over lines."""
    halo = {"stroke": "white", "strokeWidth": 3, "strokeJoin": "round"}
    return [{"mark": {"type": "text", "color": "#111111", **mark, **more}, "encoding": encoding} for more in (halo, {})]


def panels(layers: list[Spec], transform: list[Spec], height: Any) -> Spec:
    """The same layers for every `panel` in the rows, each on axes of its own, in the order of `place`."""
    return {
        "params": [{"name": "seed", "value": "all"}],
        "transform": transform,
        "facet": {"field": "panel", "type": "nominal", "title": None, "sort": {"field": "place", "op": "min"}},
        "bounds": "flush",
        "spec": {"height": height, "layer": layers},
    }


# How the rows of `groups` can be ordered: title -> expression, the lowest first.
GROUP_ORDERS = {
    "forget groups first": "datum.forget ? 0 : 1",
    "lowest accuracy first": "datum.after",
    "largest loss of accuracy first": "datum.after - datum.before",
    "fewest test samples first": "datum.n_test",
}


def groups(looks: dict[str, dict[str, Any]] | None) -> Spec:
    """Test accuracy by group, a row a group, a mark a model; looks: of `model`, None for models in their order."""
    role = channels("model", looks, ("color", "shape"))
    models = {"field": "model", "sort": list(looks) if looks else None}
    y = rows_of({"field": "order", "op": "min"})
    place = {"y": y, "yOffset": models, "x": quantity("value", "test accuracy (%)")}
    color = {"color": role["color"]}
    means = [{"filter": ONE_SEED}]
    order = " : ".join(f"order === {i} ? {way}" for i, way in enumerate(GROUP_ORDERS.values()))
    words = (
        f"datum.group + (datum.forget ? ' (forget group)' : '') + ', ' + datum.model + ': ' + {number('value')} + ' %'"
        f" + {interval()} + ', ' + datum.n_test + ' test samples' + {SEEDS}"
    )
    own = "isValid(datum.value) && datum.seed === seed && datum.role === "
    spec = layered(
        [
            {
                "transform": [{"filter": "datum.forget"}],
                "mark": {"type": "rect", "color": BAND},
                "encoding": {"y": y},
            },
            {"transform": means, "mark": "rule", "encoding": place | color | {"x": quantity("low", "test accuracy (%)"), "x2": {"field": "high"}}},
            {
                "transform": [{"filter": "seed === 'all' && datum.seed !== 'all'"}],
                "mark": {"type": "point", "filled": False, "shape": "circle", "size": 10, "strokeWidth": 1},
                "encoding": place | color,
            },
            told({"type": "point", "size": 60}, place | role, transform=means),
        ],
        [
            {"calculate": f"{own} 'after' ? datum.value : null", "as": "after_own"},
            {"calculate": f"{own} 'before' ? datum.value : null", "as": "before_own"},
            {
                "joinaggregate": [
                    {"op": "mean", "field": "after_own", "as": "after"},
                    {"op": "mean", "field": "before_own", "as": "before"},
                ],
                "groupby": ["group"],
            },
            {"filter": "isValid(datum.value)"},
            {"calculate": f"{order} : 0", "as": "order"},
            {"calculate": words, "as": "told"},
        ],
        height={"step": STEP},
    )  # fmt: skip
    spec["params"].append({"name": "order", "value": 0})
    return spec


def counts() -> Spec:
    """Training samples by group, forgotten and retained; of the first seed unless one is chosen."""
    words = "datum.group + ': ' + datum.value + ' of ' + datum.n_train + ' training samples ' + datum.part"
    bar = told(
        {"type": "bar", "stroke": "#666666", "strokeWidth": 0.6, "height": {"band": 0.6}},
        {
            "y": rows_of(),
            "x": {"field": "value", "type": "quantitative", "title": "training samples"},
            "order": {"field": "place", "type": "quantitative"},
            **channels("part", PARTS, ("color",)),
        },
    )
    chosen = {"filter": "seed === 'all' ? datum.is_first : datum.seed === seed"}
    steps = [
        chosen,
        {"calculate": words, "as": "told"},
        {"calculate": "datum.part === 'forgotten' ? 0 : 1", "as": "place"},
    ]
    return layered([bar], steps, height={"step": STEP})


def losses(width: float) -> Spec:
    """Histograms of the loss by set, the shares averaged over seeds; width: of a bin, in powers of ten."""
    place = {
        "x": quantity("middle", "log10 of the loss (nats)", scale={"domain": [-8, 2], "nice": False}),
        "y": quantity("share", "share of the set (%)", scale={"zero": True}),
    }
    look = channels("set", SETS, ("color", "strokeDash"))
    words = (
        f"datum.set + ' set: ' + {number('share')} + ' % of the samples have a loss of '"
        f" + format(pow(10, datum.middle - {width / 2}), '.2g') + ' to ' + format(pow(10, datum.middle + {width / 2}), '.2g') + ' nats'"
    )
    return layered(
        [
            {
                "transform": [{"filter": "datum.set === 'forget'"}],
                "mark": {"type": "area", "interpolate": "step", "color": VERMILLION, "opacity": 0.12, "clip": True},
                "encoding": place,
            },
            {"mark": {"type": "line", "interpolate": "step", "clip": True}, "encoding": place | look},
            told(
                {"type": "point", "size": 50, "opacity": 0},
                place | {"color": look["color"] | {"legend": None}},
                transform=[{"filter": "datum.share > 0"}],
            ),
        ],
        [
            {"filter": "seed === 'all' || datum.seed === seed"},
            {"calculate": "100 * datum.count / datum.size", "as": "share"},
            {"aggregate": [{"op": "mean", "field": "share", "as": "share"}], "groupby": ["set", "middle"]},
            {"calculate": words, "as": "told"},
        ],
        height=260,
    )


def epochs(field: str, looks: dict[str, dict[str, Any]] | None) -> Spec:
    """Values over the epochs, a panel a column of history.csv, a line a seed; `field` says the look of a line."""
    strong = {"condition": {"test": "seed === 'all' || datum.seed === seed", "value": 1}, "value": 0.2}
    look = channels(field, looks, ("color", "strokeDash", "shape"))
    x = quantity("epoch", "epoch", scale={"zero": True, "nice": False}, axis={"tickMinStep": 1, "tickCount": 5})
    place = {"x": x, "y": quantity("value", None, axis={"tickCount": 5})}
    line = {"stroke": look["color"], "strokeDash": look["strokeDash"]}
    point = {"fill": look["color"] | {"legend": None}, "shape": look["shape"] | {"legend": None}}
    shown = {"condition": {"test": "datum.n_epochs > 12", "value": 0}, "value": 1}
    words = f"datum.panel + ', ' + datum.line + ', epoch ' + datum.epoch + ': ' + {number('value', SHORT)}"
    return panels(
        [
            {"mark": "line", "encoding": place | line | {"opacity": strong, "detail": {"field": "seed"}}},
            told({"type": "point", "size": 24}, place | point | {"opacity": shown}),
        ],
        [{"calculate": words, "as": "told"}],
        150,
    ) | {"resolve": {"scale": {"x": "independent", "y": "independent"}}, "spacing": {"row": 62}}


def dots(signal: bool) -> Spec:
    """A panel a column, a row a model: mean and interval; lines at the retrained models, and at 50 with `signal`."""
    y, x = rows_of(), quantity("value", None, axis={"tickCount": 4})
    look = channels("kind", KINDS, ("color", "shape"))
    form = "'.' + datum.decimals + 'f'"
    words = f"datum.name + ', ' + datum.panel + ': ' + {number('value', form)} + {interval('', form)} + {SEEDS}"
    lines = [{"filter": "datum.kind === 'retrained'"}]
    layers = [
        {
            "transform": lines,
            "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.1},
            "encoding": {"x": x, "color": look["color"]},
        },
        {"mark": "rule", "encoding": {"y": y, "x": quantity("from", None), "x2": {"field": "to"}, "color": look["color"]}},
        told({"type": "point", "size": 70}, {"y": y, "x": x} | look),
        *haloed({"y": y, "x": x, "text": {"field": "shown", "type": "nominal"}}, dy=-11, fontSize=10),
    ]  # fmt: skip
    if signal:
        layers.insert(0, {"mark": {"type": "rule", "color": BLACK, "strokeWidth": 1}, "encoding": {"x": {"datum": 50}}})
    bounded = "datum.unit === '%' && isValid(datum.{0}) ? {1} : datum.{0}"
    transform = [
        {"calculate": bounded.format("low", "max(0, datum.low)"), "as": "from"},
        {"calculate": bounded.format("high", "min(100, datum.high)"), "as": "to"},
        {"calculate": words, "as": "told"},
        {"calculate": number("value", form), "as": "shown"},
    ]
    return panels(layers, transform, {"step": LOW_STEP}) | {
        "resolve": {"scale": {"x": "independent"}},
        "spacing": {"row": 62},
    }


def trade_off() -> Spec:
    """Accuracy on the forget set against test accuracy of the forget groups: a number a model, with its interval."""
    across, up = "accuracy on the forget set (UA, %)", "test accuracy of the forget groups (GA, %)"
    x, y = quantity("ua", across), quantity("ga", up)
    look = channels("kind", KINDS, ("color", "shape"))
    color = {"color": look["color"]}
    # The key of the numbers is the legend of a channel that does not show.
    key = {"field": "label", "type": "nominal", "title": None, "sort": None, "scale": {"range": [[1, 0]]}}
    key["legend"] = {"orient": "bottom", "symbolSize": 0, "symbolOffset": -12}
    lines = {
        "transform": [{"filter": "datum.kind === 'retrained'"}],
        "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.1},
    }
    words = (
        f"datum.name + ': accuracy on the forget set ' + {number('ua')} + ' %' + {interval('ua_')}"
        f" + ', test accuracy of the forget groups ' + {number('ga')} + ' %' + {interval('ga_')} + {SEEDS}"
    )
    ends = [
        {"calculate": f"isValid(datum.{end}) ? {bound} : null", "as": f"{end}_drawn"}
        for name in ("ua", "ga")
        for end, bound in (
            (f"{name}_low", f"max(0, datum.{name}_low)"),
            (f"{name}_high", f"min(100, datum.{name}_high)"),
        )
    ]
    faint = {"type": "rule", "opacity": 0.45}
    return layered(
        [
            lines | {"encoding": {"x": x} | color},
            lines | {"encoding": {"y": y} | color},
            {"mark": faint, "encoding": {"x": quantity("ua_low_drawn", across), "x2": {"field": "ua_high_drawn"}, "y": y} | color},
            {"mark": faint, "encoding": {"y": quantity("ga_low_drawn", up), "y2": {"field": "ga_high_drawn"}, "x": x} | color},
            told({"type": "point", "size": 80}, {"x": x, "y": y, "strokeDash": key} | look),
            *haloed({"x": x, "y": y, "text": {"field": "number", "type": "nominal"}}, fontSize=11, fontWeight="bold", dx={"expr": "datum.dx"}, dy={"expr": "datum.dy"}),
        ],
        [*ends, {"calculate": words, "as": "told"}],
        height=360,
    )  # fmt: skip
