"""The picture of a search: the distance of every trial, by its number and by each hyperparameter."""

import math
from typing import Any

from scripts.report.chart_specs import CONFIG, Spec, quantity
from scripts.report.figures import drawn
from scripts.report.look import BLUE, GREEN, VERMILLION
from scripts.tune.findings import Findings
from scripts.tune.objective import DISTANCE, mean_distance
from scripts.tune.space import Axis, spell, spell_setting
from scripts.tune.study import Trial

# How a trial ended, and what it looks like: colour and Vega's shape.
LOOKS = {
    "judged by every seed": (BLUE, "circle"),
    "given up early": ("#999999", "cross"),
    "default": (GREEN, "square"),
    "best": (VERMILLION, "diamond"),
}
SIDE = 180  # px, of a panel
COLUMNS = 3
BEST = "best_until_then"
SCALE = {"type": "sqrt", "zero": True}  # small distances apart, and 0 among them


def draw(findings: Findings, title: str) -> bytes:
    """The picture as SVG; UserError without vl-convert. Trials that diverged have no distance, and are left out."""
    return drawn(specification(findings, title), "svg")


def specification(findings: Findings, title: str) -> Spec:
    """Vega-Lite's specification: a panel for the trials in their order, one for every hyperparameter."""
    panels = [_by_number(), *(_by_value(name, axis) for name, axis in findings.space.items())]
    return {
        "data": {"values": rows(findings)},
        "description": f"{DISTANCE} of every trial of a search",
        "title": {"text": title, "subtitle": f"{DISTANCE} in points: the smaller, the nearer"},
        "concat": panels,
        "columns": COLUMNS,
        "config": CONFIG,
    }


def rows(findings: Findings) -> list[dict[str, Any]]:
    """A record a trial that has a distance: number, distance, setting, how it ended, and the best distance by then."""
    found, best = [], math.inf
    for trial in findings.trials:
        if not (trial.counts and trial.measured):
            continue
        distance, kind = mean_distance(trial.measured), _kind(trial, findings)
        best = min(best, distance) if trial.state == "complete" else best
        values = {
            name: spell(value) if findings.space[name].choices else value for name, value in trial.setting.items()
        }
        told = f"trial {trial.number}, {kind}: {spell_setting(trial.setting)}: {DISTANCE} {distance:.2f}"
        so_far = best if math.isfinite(best) else None
        found.append({"trial": trial.number, DISTANCE: distance, "kind": kind, "told": told, BEST: so_far, **values})
    return found


def _kind(trial: Trial, findings: Findings) -> str:
    if trial is findings.best:
        return "best"
    if trial is findings.default:
        return "default"
    return "judged by every seed" if trial.state == "complete" else "given up early"


def _points(x: Spec) -> Spec:
    names = list(LOOKS)
    scales = [{"domain": names, "range": [look[place] for look in LOOKS.values()]} for place in (0, 1)]
    shared = {"field": "kind", "type": "nominal", "title": None}
    return {
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9},
        "encoding": {
            "x": x,
            "y": quantity(DISTANCE, DISTANCE, scale=SCALE),
            "color": shared | {"scale": scales[0]},
            "shape": shared | {"scale": scales[1]},
            "description": {"field": "told", "type": "nominal"},
        },
    }


def _by_number() -> Spec:
    x = quantity("trial", "trial", axis={"tickMinStep": 1})
    best: Spec = {
        "transform": [{"filter": f"isValid(datum.{BEST})"}],
        "mark": {"type": "line", "interpolate": "step-after", "color": VERMILLION, "strokeWidth": 1.2},
        "encoding": {"x": x, "y": quantity(BEST, DISTANCE, scale=SCALE)},
    }
    return {"width": SIDE, "height": SIDE, "layer": [best, _points(x)]}


def _by_value(name: str, axis: Axis) -> Spec:
    if axis.choices:
        x: Spec = {"field": name, "type": "nominal", "title": name, "sort": list(map(spell, axis.choices))}
    else:
        scale = {"type": "log" if axis.log else "linear", "domain": [axis.low, axis.high], "nice": False}
        x = quantity(name, name, scale=scale)
    return {"width": SIDE, "height": SIDE, "layer": [_points(x)]}
