"""Charts as Vega-Lite specifications, without their rows: what is drawn on the page and into files.

Text from the runs is in rows alone, never in a specification, whose expressions Vega runs. The parameter `seed` is a
run's seed, or "all"; the marks named `told` say their numbers in words, in the field `told`.
"""

from collections.abc import Sequence
from typing import Any

from scripts.report.look import BLACK, KINDS, PARTS, SETS, SOLID, VERMILLION, channels

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
        "orient": "top", "labelFontSize": 12, "symbolLimit": 0, "symbolStrokeWidth": 2,
        "columnPadding": 16, "offset": 8,
    },
    "title": {"anchor": "start", "frame": "bounds", "fontSize": 13, "subtitleFontSize": 11, "subtitleColor": QUIET},
    "point": {"filled": True, "opacity": 1},
    "rule": {"strokeWidth": 1.6},
    "line": {"strokeWidth": 1.8},
}  # fmt: skip
INTERVAL = (
    "(isValid(datum.{0}low) ? ' (95 % interval ' + {1} + ' to ' + {2} + ')'"
    " : datum.{0}alike ? ' (no interval: the seeds are alike)' : '')"
)
SEEDS = "(datum.n > 1 ? ', mean over ' + datum.n + ' seeds' : ', one seed')"
CHOSEN, RETRAINED = "datum.seed === seed", "datum.kind === 'retrained'"
SHORT = "'.4~r'"  # four digits


RULE: Spec = {"type": "rule"}
DASHED: Spec = {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.1}


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
    axis["labelOverlap"] = False
    return {"field": "label", "type": "nominal", "title": None, "sort": sort, "axis": axis}


PARAMETERS = [{"name": "seed", "value": "all"}, {"name": "order", "value": 0}, {"name": "series", "value": []}]


def layered(layers: list[Spec], transform: list[Spec], **more: Any) -> Spec:
    """Layers over each other, and the parameters that every chart has."""
    return {"params": PARAMETERS, "transform": transform, "layer": layers} | more


def panels(layers: list[Spec], transform: list[Spec], height: Any) -> Spec:
    """The same layers for every `panel` in the rows, each on axes of its own, in the order of `place`."""
    return {
        "params": PARAMETERS,
        "transform": transform,
        "facet": {"field": "panel", "type": "nominal", "title": None, "sort": {"field": "place", "op": "min"}},
        "bounds": "flush",
        "spacing": {"row": 76},
        "spec": {"height": height, "layer": layers},
    }


def layer(mark: Spec, encoding: Spec, where: str = "true") -> Spec:
    """Marks for the rows for which the expression `where` holds; screen readers pass over all but those `told`."""
    return {"transform": [{"filter": where}], "mark": {"aria": False} | mark, "encoding": encoding}


def told(mark: Spec, encoding: Spec, where: str = "true") -> Spec:
    """The layer whose marks say their numbers: when pointed at, to screen readers and in the table below."""
    words = {"field": "told", "type": "nominal"}
    return {"name": "told"} | layer(mark | {"aria": True}, encoding | {"tooltip": words, "description": words}, where)


def haloed(encoding: Spec, **mark: Any) -> list[Spec]:
    """Text that stays readable over lines."""
    halo = {"stroke": "white", "strokeWidth": 3, "strokeJoin": "round"}
    return [layer({"type": "text", "color": "#111111", **mark, **more}, encoding) for more in (halo, {})]


# How the rows of `groups` can be ordered: title -> expression, the lowest first.
GROUP_ORDERS = {
    "forget groups first": "datum.forget ? 0 : 1",
    "lowest accuracy first": "datum.after",
    "largest loss of accuracy first": "datum.after - datum.before",
    "fewest test samples first": "datum.n_test",
}


def groups(looks: dict[str, dict[str, Any]] | None) -> Spec:
    """Test accuracy by group, a row a group, a mark a model; looks: of `model`, None for models in their order."""
    look, title = channels("model", looks, ("color", "shape")), "test accuracy (%)"
    y, color = rows_of({"field": "order", "op": "min"}), {"color": look["color"]}
    side = {"y": y, "yOffset": {"field": "model", "scale": {"domain": look["color"]["scale"]["domain"]}}}
    x = quantity("value", title, axis={"orient": "top"})
    place = side | {"x": x}
    own = "isValid(datum.value) && datum.seed === seed && datum.role === "
    order = " : ".join(f"order === {i} ? {way}" for i, way in enumerate(GROUP_ORDERS.values()))
    words = (
        f"datum.group + (datum.forget ? ' (forget group)' : '') + ', ' + datum.model + ': ' + {number('value')} + ' %'"
        f" + {interval()} + ', ' + datum.n_test + ' test samples' + {SEEDS}"
    )
    ring = {"type": "point", "filled": False, "shape": "circle", "size": 10, "strokeWidth": 1}
    roles = ("after", "before")
    return layered(
        [
            layer({"type": "rect", "color": BAND}, {"y": y}, "datum.forget"),
            layer(RULE, side | color | {"x": x | {"field": "low"}, "x2": {"field": "high"}}, CHOSEN),
            layer(ring, place | color, "seed === 'all' && datum.seed !== 'all'"),
            told({"type": "point", "size": 60}, place | look, CHOSEN),
        ],
        [
            *({"calculate": f"{own} '{role}' ? datum.value : null", "as": f"{role}_own"} for role in roles),
            {
                "joinaggregate": [{"op": "mean", "field": f"{role}_own", "as": role} for role in roles],
                "groupby": ["group"],
            },
            {"filter": "isValid(datum.value)"},
            {"calculate": f"{order} : 0", "as": "rank"},
            {"calculate": "isValid(datum.rank) ? datum.rank : MAX_VALUE", "as": "order"},
            {"calculate": words, "as": "told"},
        ],
        height={"step": STEP},
    )


def counts() -> Spec:
    """Training samples by group, forgotten and retained; of the first seed unless one is chosen."""
    words = "datum.group + ': ' + datum.value + ' of ' + datum.n_train + ' training samples ' + datum.part"
    bar = {"type": "bar", "stroke": "#666666", "strokeWidth": 0.6, "height": {"band": 0.6}}
    place = {
        "y": rows_of(),
        "x": {"field": "value", "type": "quantitative", "title": "training samples", "axis": {"orient": "top"}},
        "order": {"field": "place", "type": "quantitative"},
    }
    return layered(
        [
            told(
                bar,
                place | channels("part", PARTS, ("color",)),
                "seed === 'all' ? datum.is_first : datum.seed === seed",
            )
        ],
        [
            {"calculate": words, "as": "told"},
            {"calculate": "datum.part === 'forgotten' ? 0 : 1", "as": "place"},
        ],
        height={"step": STEP},
    )


def losses(edges: Sequence[float]) -> Spec:
    """Histograms of the loss by set, the shares averaged over seeds; edges: of the bins, in powers of ten."""
    width = edges[1] - edges[0]
    domain = [edges[0] - width, edges[-1] + width]  # the empty bins at both ends close the outlines
    place = {
        "x": quantity("middle", "log10 of the loss (nats)", scale={"domain": domain, "nice": False}),
        "y": quantity("share", "share of the set (%)", scale={"zero": True}),
    }
    look = channels("set", SETS, ("color", "strokeDash"))
    low, high = (f"format(pow(10, datum.middle {sign} {width / 2}), '.2g')" for sign in "-+")
    words = f"datum.set + ' set: ' + {number('share')} + ' % of it has a loss of ' + {low} + ' to ' + {high} + ' nats'"
    outline = {"interpolate": "step"}
    return layered(
        [
            layer({"type": "area", "color": VERMILLION, "opacity": 0.12, **outline}, place, "datum.set === 'forget'"),
            layer({"type": "line", **outline}, place | look),
            told({"type": "point", "size": 50, "color": "transparent"}, place, "datum.share > 0"),
        ],
        [
            {"filter": "seed === 'all' || datum.seed === seed"},
            {"calculate": "100 * datum.count / datum.size", "as": "share"},
            {"aggregate": [{"op": "mean", "field": "share", "as": "share"}], "groupby": ["set", "middle"]},
            {"calculate": words, "as": "told"},
        ],
        height=260,
    )


def epochs(looks: dict[str, dict[str, Any]] | None) -> Spec:
    """Values over the epochs, a panel a column of history.csv, a line a seed; looks: of `series`, None for seeds."""
    strong = {"condition": {"test": "seed === 'all' || datum.seed === seed", "value": 1}, "value": 0.2}
    look = channels("series", looks, ("color", "strokeDash"))
    place = {
        "x": quantity("epoch", "epoch", scale={"zero": True, "nice": False}, axis={"tickMinStep": 1, "tickCount": 5}),
        # Nothing reaches beyond the axes, so that the titles of all panels stand alike.
        "y": quantity("value", None, axis={"tickCount": 5, "labelFlush": True}, scale={"zero": False, "padding": 8}),
    }
    shown = {"condition": {"test": "datum.n_epochs > 12", "value": "transparent"}}  # lines of many need no dots
    line = {"stroke": look["color"], "strokeDash": look["strokeDash"], "opacity": strong, "detail": {"field": "seed"}}
    words = f"datum.panel + ', ' + datum.line + ', epoch ' + datum.epoch + ': ' + {number('value', SHORT)}"
    layers = [
        layer({"type": "line"}, place | line),
        told({"type": "point", "size": 24}, place | {"fill": look["color"] | shown, "opacity": strong}),
    ]
    independent = {"resolve": {"scale": {"x": "independent", "y": "independent"}}}
    return panels(layers, [{"calculate": words, "as": "told"}], 150) | independent


def dots(signal: bool) -> Spec:
    """A panel a column, a row a model: mean and interval; lines at the retrained models, and at 50 with `signal`."""
    y, x = rows_of(), quantity("value", None, axis={"tickCount": 5})
    look = channels("kind", KINDS, ("color", "shape"))
    color, form = {"color": look["color"]}, "'.' + datum.decimals + 'f'"
    words = f"datum.name + ', ' + datum.panel + ': ' + {number('value', form)} + {interval('', form)} + {SEEDS}"
    text = {"y": y, "x": x, "text": {"field": "shown", "type": "nominal"}}
    layers = [
        layer({"type": "rule", "color": BLACK, "strokeWidth": 1}, {"x": {"datum": 50}}, str(signal).lower()),
        layer(DASHED, {"x": x} | color, RETRAINED),
        layer(RULE, {"y": y, "x": quantity("low", None), "x2": {"field": "high"}} | color),
        told({"type": "point", "size": 70}, {"y": y, "x": x} | look),
        *haloed(text, dy=-11, fontSize=10),
    ]
    steps = [{"calculate": words, "as": "told"}, {"calculate": number("value", form), "as": "shown"}]
    independent = {"resolve": {"scale": {"x": "independent"}}}
    return panels(layers if signal else layers[1:], steps, {"step": LOW_STEP}) | independent


def trade_off() -> Spec:
    """Accuracy on the forget set against test accuracy of the forget groups: a number a model, with its interval."""
    across, up = "accuracy on the forget set (UA, %)", "test accuracy of the forget groups (GA, %)"
    x, y = {"x": quantity("ua", across)}, {"y": quantity("ga", up)}
    beside = {"columns": len(KINDS)}
    look = {name: own | {"legend": beside} for name, own in channels("kind", KINDS, ("color", "shape")).items()}
    color = {"color": look["color"]}
    # The key of the numbers is the legend of a channel that does not show.
    legend = {"orient": "bottom", "symbolSize": 0, "symbolOffset": -12}
    key = {"field": "label", "type": "nominal", "title": None, "scale": {"range": [SOLID]}, "legend": legend}
    words = (
        f"datum.name + ': accuracy on the forget set ' + {number('ua')} + ' %' + {interval('ua_')}"
        f" + ', test accuracy of the forget groups ' + {number('ga')} + ' %' + {interval('ga_')} + {SEEDS}"
    )
    faint = {"type": "rule", "opacity": 0.45}
    aside = {"dx": {"expr": "datum.dx"}, "dy": {"expr": "datum.dy"}}
    text = x | y | {"text": {"field": "number", "type": "nominal"}}
    return layered(
        [
            layer(DASHED, x | color, RETRAINED),
            layer(DASHED, y | color, RETRAINED),
            layer(faint, {"x": quantity("ua_low", across), "x2": {"field": "ua_high"}} | y | color),
            layer(faint, {"y": quantity("ga_low", up), "y2": {"field": "ga_high"}} | x | color),
            told({"type": "point", "size": 80}, x | y | look | {"strokeDash": key}),
            *haloed(text, fontSize=11, fontWeight="bold", **aside),
        ],
        [{"calculate": words, "as": "told"}],
        height=360,
    )
