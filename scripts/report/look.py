"""What charts look like: colours of Okabe and Ito, each with a marker or a dash pattern of its own."""

from collections.abc import Collection
from typing import Any

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

# Dashes: lengths of line and gap in px; [1, 0] is a solid line. Shapes are Vega's.
SOLID = [1, 0]
ROLES = {
    "original (before)": {"color": BLUE, "shape": "circle"},
    "this model (after)": {"color": VERMILLION, "shape": "diamond"},
    "retrained": {"color": GREEN, "shape": "square"},
}
SETS = {
    "forget": {"color": VERMILLION, "strokeDash": SOLID},
    "retain": {"color": BLUE, "strokeDash": [7, 3]},
    "val": {"color": PURPLE, "strokeDash": [2, 2]},
    "test": {"color": BLACK, "strokeDash": [8, 2, 2, 2]},
}
NETWORKS = {
    "model": {"color": VERMILLION, "strokeDash": SOLID},
    "original": {"color": BLUE, "strokeDash": [7, 3]},
}
PARTS = {"forgotten": {"color": VERMILLION}, "retained": {"color": "#cfe7f7"}}  # one dark, one light
KINDS = {
    "original": {"color": BLUE, "shape": "circle"},
    "retrained": {"color": GREEN, "shape": "square"},
    "unlearned": {"color": VERMILLION, "shape": "diamond"},
}
ATTACKED = {
    "forgotten samples": {"color": VERMILLION, "shape": "diamond"},
    "placebo: held-out samples": {"color": BLUE, "shape": "circle"},
}
# Seeds, and models beside each other, in their order.
SERIES: list[dict[str, Any]] = [
    {"color": BLUE, "strokeDash": SOLID, "shape": "circle"},
    {"color": VERMILLION, "strokeDash": [7, 3], "shape": "diamond"},
    {"color": GREEN, "strokeDash": [2, 2], "shape": "square"},
    {"color": PURPLE, "strokeDash": [8, 2, 2, 2], "shape": "triangle-up"},
    {"color": ORANGE, "strokeDash": [12, 3], "shape": "cross"},
    {"color": BLACK, "strokeDash": [4, 4], "shape": "triangle-down"},
    {"color": SKY, "strokeDash": [1, 3], "shape": "triangle-right"},
]
# Of more than seven, the colours come again with the dashes of others.
SERIES += [one | {"strokeDash": SERIES[number - 3]["strokeDash"]} for number, one in enumerate(SERIES)]


def channels(field: str, looks: dict[str, dict[str, Any]] | None, names: Collection[str]) -> dict[str, Any]:
    """Vega-Lite's encodings of a field by channels of its looks; without looks, of the parameter `series` by SERIES.

    All share one legend, as their domains are the same; of dashes it shows lines.
    """
    own = list(looks.values()) if looks else SERIES
    domain = list(looks) if looks else {"signal": "series"}
    scales = {name: {"domain": domain, "range": [look[name] for look in own]} for name in names}
    legend = {"legend": {"symbolType": "stroke", "symbolSize": 500}} if "strokeDash" in names else {}
    shared = {"field": field, "type": "nominal", "title": None, **legend}
    return {name: shared | {"scale": scale} for name, scale in scales.items()}
