"""Charts of what an audit found: their rows, from the dict that `--format json` writes, and their specifications."""

from collections.abc import Iterator, Sequence

from method.runs.findings import ORIGINAL
from scripts.report.chart_rows import Record, wrap
from scripts.report.chart_specs import LOW_STEP, RULE, Spec, interval, layer, number, panels, quantity, rows_of, told
from scripts.report.look import ATTACKED, BLACK, channels
from utils.tables import is_number, one_line

CONTROL = "Original, the control"


def attack_rows(table: Record, columns: Sequence[Record]) -> Iterator[Record]:
    """AUCs of the attacks that an audit made, and of their placebos: a panel an attack, a row a label."""
    audit = table.get("audit") or {"columns": [], "rows": []}
    roles = dict(zip(ATTACKED, ("value", "placebo"), strict=True))
    for place, column in enumerate(audit["columns"]):
        if not column["key"].endswith("_auc") or "placebo" not in column["parts"]:
            continue
        for row in audit["rows"]:
            cell = row["cells"][place]
            for role, field in roles.items() if cell and row["group"] is None else ():
                if is_number(cell[field]):
                    ends = {end: cell[end] if field == "value" else None for end in ("low", "high")}
                    yield {
                        "panel": one_line(f"{column['title']} (%)"),
                        "place": place,
                        "label": wrap(row["name"]),
                        "name": one_line(row["name"]),
                        "role": role,
                        "value": cell[field],
                        **ends,
                        "runs": cell["runs"],
                    }


def relearning_rows(table: Record, columns: Sequence[Record]) -> Iterator[Record]:
    """What comes back over the steps of fine-tuning, of all groups together: a panel a setting, a line a label.

    The original's line is the control, which must keep what it knew.
    """
    curves = [one for one in (table.get("audit") or {}).get("curves") or () if is_number(one["value"])]
    curves = [one for one in curves if is_number(one["at"].get("step")) and one["group"] is None]
    shown = [one for one in curves if "model" not in one["at"]]
    measures = {one["measure"] for one in shown}
    controls = [one for one in curves if one["measure"] in measures and one["at"].get("model") == ORIGINAL]
    told = {(one["measure"], one["setting"]): None for one in shown}
    for one, series in [*((one, one["name"]) for one in shown), *_control_lines(controls)]:
        place = one["measure"], one["setting"]
        if place not in told:
            continue
        yield {
            "panel": one_line(", ".join([one["measure"]] * (len(measures) > 1) + [one["setting"]])),
            "place": list(told).index(place),
            "series": one_line(series),
            "step": one["at"]["step"],
            **{name: one[name] for name in ("value", "low", "high", "n", "runs")},
        }


def _control_lines(controls: Sequence[Record]) -> Iterator[tuple[Record, str]]:
    """The originals' points, each with what its line is called.

    Methods that share their original and their retrained model have the same line, which is drawn once.
    """
    lines: dict[str, list[Record]] = {}
    for one in controls:
        lines.setdefault(one["label"], []).append(one)
    alike: dict[tuple, list[list[Record]]] = {}
    for line in lines.values():
        points = sorted((one["setting"], one["at"]["step"], one["value"], one["runs"] or 0) for one in line)
        alike.setdefault(tuple(points), []).append(line)
    for own in alike.values():
        names = ", ".join(line[0]["name"] for line in own)
        yield from ((one, CONTROL if len(alike) == 1 else f"{CONTROL} of {names}") for one in own[0])


def attack_spec() -> Spec:
    """A panel an attack, a row a model: the attack's AUC with its interval, and its placebo; a line at 50."""
    y, x = rows_of(), quantity("value", None, axis={"tickCount": 5})
    look = channels("role", ATTACKED, ("color", "shape"))
    of = "(isValid(datum.runs) ? ', ' + datum.runs + ' runs' : '')"
    words = f"datum.name + ', ' + datum.panel + ', ' + datum.role + ': ' + {number('value')} + {interval()} + {of}"
    layers = [
        layer({"type": "rule", "color": BLACK, "strokeWidth": 1}, {"x": {"datum": 50}}),
        layer(RULE, {"y": y, "x": quantity("low", None), "x2": {"field": "high"}, "color": look["color"]}),
        told({"type": "point", "size": 70}, {"y": y, "x": x} | look),
    ]
    return panels(layers, [{"calculate": words, "as": "told"}], {"step": LOW_STEP})


def relearning_spec() -> Spec:
    """Over the steps of fine-tuning, a panel a setting, a line a model, with intervals; a line at 0."""
    look = channels("series", None, ("color", "strokeDash"))
    x = quantity("step", "steps of fine-tuning", scale={"zero": True, "nice": False}, axis={"tickCount": 4})
    y = quantity("value", "points above the retrained model", axis={"tickCount": 5})
    words = f"datum.series + ', ' + datum.panel + ', step ' + datum.step + ': ' + {number('value')} + {interval()}"
    ends = {"y": y | {"field": "low"}, "y2": {"field": "high"}}
    layers = [
        layer({"type": "rule", "color": BLACK, "strokeWidth": 1}, {"y": {"datum": 0}}),
        layer({"type": "line"}, {"x": x, "y": y} | look),
        layer({"type": "rule", "opacity": 0.35, "strokeWidth": 1.2}, {"x": x, "color": look["color"]} | ends),
        told({"type": "point", "size": 24}, {"x": x, "y": y, "fill": look["color"]}),
    ]
    return panels(layers, [{"calculate": words, "as": "told"}], 170)
