"""The rows of every chart, long tables of plain records, from the dict that `--format json` writes."""

import functools
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from method.evaluation.columns import MAIN
from method.evaluation.intervals import student_factor
from method.runs.files import PRETRAIN
from scripts.report.chart_places import place_numbers
from scripts.report.estimates import ALIKE
from scripts.report.look import KINDS, ROLES
from scripts.report.view import View, average_accuracy, within_percent
from scripts.report.wording import span
from utils.tables import is_number, one_line

Record = dict[str, Any]
ALL = "all"  # in place of a seed: the mean over all
WRAP = 26  # letters of a row's label, before it takes two lines
FEW = ("forget_group_acc", "forget_acc", "test_acc", "worst_group_acc")  # of the overview, where none are asked for
UA, GA, ATTACK, GROUP_ATTACK = "forget_acc", "forget_group_acc", "mia_auc", "mia_group_auc"
INTERVALS = (
    "95 % intervals over the seeds, by Student's t; shares end at 0 and 100. One seed has none, nor have seeds that are"
    " all alike."
)
# Columns of history.csv that are no curve, and those of the bounds on the mutual information: (pass, network).
NO_CURVE = ("epoch", "seconds")
INFORMATION = re.compile(r"(?:(\w+)_)?mi_(model|original)")
PASSES = {"": "while the critics are tuned", "forget": "on the forget set", "retain": "on the retain set"}


@functools.cache
def wrap(text: str, more: str = "") -> str:
    """A label in two lines where it is long, `more` in one of its own; control characters are escapes."""
    text = one_line(text)
    if more and len(text) + len(more) < WRAP:
        return f"{text} {more}"
    lines = textwrap.wrap(text, max(WRAP, len(text) // 2 + 6)) or [text]
    return "\n".join([*lines, more] if more else lines)


def choices(view: View) -> Iterator[tuple[Any, View]]:
    """What can be chosen of a cell: all of its runs together, and each by its seed."""
    yield ALL, view
    for run in view.runs:
        yield run["seed"], view.of(run)


def groups(view: View) -> Iterator[Record]:
    """Test accuracy (%) of every group: a record a group, role and choice of seeds."""
    known = view.groups()
    for seed, chosen in choices(view):
        for (role, runs), model in zip(chosen.partners().items(), _models(chosen), strict=True):
            found = [{group["name"]: group for group in run.get("groups") or []} for run in runs]
            for group in known:
                own = [groups[group["name"]] for groups in found if group["name"] in groups]
                average = average_accuracy(own, view.cell.get("independent", True))
                low, high = average["interval"] or (None, None)
                yield {
                    "role": role,
                    "model": model,
                    "seed": seed,
                    "n": len(runs),
                    "group": one_line(group["name"]),
                    "label": wrap(group["name"], f"(n {group['n_test']}{', forget' if group['forget'] else ''})"),
                    "forget": group["forget"],
                    "n_test": group["n_test"],
                    "value": average["mean"],
                    "low": low,
                    "high": high,
                }


def _models(view: View) -> list[str]:
    names = dict(zip(("before", "after", "retrained"), ROLES, strict=True))
    return [names[role] for role in view.partners()]


def counts(view: View) -> Iterator[Record]:
    """Training samples of every group, forgotten and retained, of each seed."""
    for run in view.runs:
        for part in ("forgotten", "retained"):
            for group in view.of(run).groups():
                if group["n_train"]:
                    share = f"{group['n_forget']} of {group['n_train']}" if group["n_forget"] else group["n_train"]
                    yield {
                        "part": part,
                        "seed": run["seed"],
                        "is_first": run is view.runs[0],
                        "group": one_line(group["name"]),
                        "label": wrap(group["name"], f"({share})"),
                        "value": group["n_forget"] if part == "forgotten" else group["n_retain"],
                        "n_train": group["n_train"],
                    }


def losses(view: View) -> Iterator[Record]:
    """Histograms of the loss, a record a set, seed and bin; an empty bin on both sides closes the outline."""
    for run in view.runs:
        histogram = run.get("losses") or {"edges": []}
        edges = histogram["edges"]
        for name in histogram:
            if name == "edges" or not sum(histogram[name]):
                continue
            width = edges[1] - edges[0]
            middles = [round(edges[0] + (i - 0.5) * width, 4) for i in range(len(edges) + 1)]
            for middle, count in zip(middles, [0, *histogram[name], 0], strict=True):
                size = sum(histogram[name])
                yield {"set": name, "seed": run["seed"], "size": size, "middle": middle, "count": count}


def curves(view: View) -> Iterator[Record]:
    """Columns of history.csv over the epochs: losses, then accuracies, then the rest, without mutual information."""
    keys = dict.fromkeys(key for run in view.runs for key in run.get("history") or ())
    drawn = [key for key in keys if key not in NO_CURVE and not INFORMATION.fullmatch(key)]
    ranked = sorted(drawn, key=lambda key: (not key.endswith("loss"), not key.endswith("acc")))
    for place, key in enumerate(ranked):
        yield from _over_epochs(view, key, in_words(key), place, "")


def information(view: View) -> Iterator[Record]:
    """The bounds on I(features; group) by both critics over the epochs: a panel a pass."""
    keys = dict.fromkeys(key for run in view.runs for key in run.get("history") or ())
    for key in keys:
        if named := INFORMATION.fullmatch(key):
            passed = named[1] or ""
            place = list(PASSES).index(passed) if passed in PASSES else len(PASSES)
            yield from _over_epochs(view, key, PASSES.get(passed, f"in the {passed} pass"), place, named[2])


def _over_epochs(view: View, key: str, panel: str, place: int, network: str) -> Iterator[Record]:
    for run in view.runs:
        history = run.get("history") or {}
        values = history.get(key, [])
        if any(map(is_number, values)):
            seed = f"seed {run['seed']}"
            fixed = {
                "panel": one_line(panel),
                "place": place,
                "seed": run["seed"],
                "series": network or seed,
                "n_epochs": len(values),
            }
            fixed["line"] = f"{network} network, {seed}" if network else seed
            for epoch, value in zip(history.get("epoch") or range(len(values)), values, strict=True):
                yield {**fixed, "epoch": epoch, "value": value}


def in_words(key: str) -> str:
    """The title of a column: val_worst_group_acc as "val worst group accuracy (%)"; losses and rates have no unit."""
    if key == "lr":
        return "learning rate"
    return f"{key[:-4]} accuracy (%)".replace("_", " ") if key.endswith("_acc") else key.replace("_", " ")


def kind(cell: Record) -> str:
    """How a cell is drawn: as the original model, a retrained one, or an unlearned one."""
    original, retrained, unlearned = KINDS
    return unlearned if not cell["is_reference"] else original if cell["method"] == PRETRAIN else retrained


def moments(cell: Record, key: str, scale: float = 1, unit: str = "%") -> Record:
    """Mean over the seeds of a cell, n, and both ends of its 95 % interval by Student's t.

    The ends are None of one seed, of seeds that are `alike`, which say nothing of noise, and of runs that share models.
    """
    n, mean, deviation = cell["n"].get(key) or 0, cell["mean"].get(key), cell["sd"].get(key)
    found = {"value": scale * mean if n else None, "low": None, "high": None, "n": n}
    independent = cell.get("independent", True)
    factor = student_factor(n) if independent else None
    if factor is None or deviation < ALIKE:
        return found | {"alike": n > 1 and independent}
    ends = [scale * (mean - factor * deviation), scale * (mean + factor * deviation)]
    low, high = within_percent(*ends) if unit == "%" else ends
    return found | {"low": low, "high": high, "alike": False}


def overview(table: Record, columns: Sequence[Record]) -> Iterator[Record]:
    """Mean and interval of the columns asked for, or of a few: a panel a column, a row a cell."""
    main = [column for column in columns if column["main"]]
    if {column["key"] for column in main} == {column.key for column in MAIN}:
        main = [column for key in FEW for column in main if column["key"] == key]
    for place, column in enumerate(main):
        yield from _dots(table, column, place)


def attack(table: Record, columns: Sequence[Record]) -> Iterator[Record]:
    """The balanced attacks: AUC in percent, with non-members of all groups, and of the forget groups alone."""
    titles = {ATTACK: "non-members of all groups", GROUP_ATTACK: "of the forget groups alone"}
    for place, column in enumerate(columns):
        if column["key"] in titles:
            yield from _dots(table, column | {"title": titles[column["key"]]}, place)


def drawn(table: Record) -> list[Record]:
    """The cells of a table, and those that filters leave out of it and that its rows are compared with, in order."""
    return sorted([*table.get("compared_with", []), *table["cells"]], key=lambda cell: cell["place"])


def _dots(table: Record, column: Record, place: int) -> Iterator[Record]:
    unit = f" ({column['unit']})" if column["unit"] else ""
    for cell in drawn(table):
        if cell["n"].get(column["key"]):
            yield {
                "panel": one_line(column["title"] + unit),
                "place": place,
                "unit": column["unit"],
                "decimals": column.get("decimals", 1),
                "label": wrap(cell["name"]),
                "name": one_line(cell["name"]),
                "kind": kind(cell),
                **moments(cell, column["key"], column.get("scale", 1), column["unit"]),
            }


def trade_off(table: Record, columns: Sequence[Record]) -> Iterator[Record]:
    """Accuracy on the forget set (ua) and test accuracy of the forget groups (ga), a record a cell that has both."""
    found: list[Record] = []
    for cell in drawn(table):
        ua, ga = moments(cell, UA), moments(cell, GA)
        if ua["n"] and ga["n"]:
            number = len(found) + 1
            record = {
                "number": number,
                "label": f"{number:3}  {one_line(cell['name'])}",
                "name": one_line(cell["name"]),
            }
            record |= {"kind": kind(cell), "n": min(ua["n"], ga["n"]), **KINDS[kind(cell)]}
            for name, own in (("ua", ua), ("ga", ga)):
                record |= {name: own["value"], **{f"{name}_{part}": own[part] for part in ("low", "high", "alike")}}
            found.append(record)
    points = [(record["ua"], record["ga"]) for record in found]
    ends = [record[name] for record in found for name in ("ua_low", "ua_high") if record[name] is not None]
    places = place_numbers(points, ends)
    for record, (dx, dy) in zip(found, places, strict=True):
        yield {**record, "dx": dx, "dy": dy}


def told_of_groups(view: View) -> str:
    """What a reader must know of the original model, and of a reference that is not drawn."""
    notes = dict.fromkeys(run["original_note"] for run in view.runs if run.get("original_note"))
    parts = [f"The original model: {'; '.join(notes)}."] if notes else []
    if not view.cell["is_reference"] and "retrained" not in view.partners():
        names = dict.fromkeys(run["reference_name"] for run in view.runs if run.get("reference_name"))
        parts.append(f"The retrained model {', '.join(names)} is not here." if names else "No retrained model is here.")
    return " ".join(parts)


def told_of_losses(view: View) -> str:
    """The sizes of the sets, and the AUC of the balanced attacks."""
    sizes: dict[str, list[int]] = {}
    for run in view.runs:
        for name, bins in (run.get("losses") or {}).items():
            if name != "edges" and sum(bins):
                sizes.setdefault(name, []).append(sum(bins))
    told = (f"{name} {span(own)}" for name, own in sizes.items())
    auc, group_auc = _attack_told(view, ATTACK), _attack_told(view, GROUP_ATTACK)
    return f"n: {', '.join(told)}. AUC of the attack: {auc}; with non-members of the forget groups alone: {group_auc}."


def _attack_told(view: View, key: str) -> str:
    values = [run["metrics"].get(key) for run in view.runs]
    known = [value for value in values if is_number(value)]
    if not known:
        reasons = dict.fromkeys(run.get("reasons", {}).get(key) or "not computed by this run" for run in view.runs)
        return f"none ({one_line('; '.join(reasons))})"
    deviation, over = view.runs[0]["metrics"].get(f"{key}_sd"), "draws"
    if len(view.runs) > 1:
        deviation, over = view.cell["sd"].get(key), f"{len(known)} seeds"
    mean = math.fsum(known) / len(known)
    return f"{mean:.1f}" + (f" ± {deviation:.1f} over {over}" if is_number(deviation) else "")


def seeds_told(table: Record, columns: Sequence[Record]) -> str:
    """How many seeds the rows of a table are means over, and what their intervals are."""
    found: dict[int, list[str]] = {}
    for cell in drawn(table):
        found.setdefault(len(cell["seeds"]), []).append(one_line(cell["name"]))
    usual = max(found, key=lambda n: len(found[n]), default=0)
    others = "".join(f"; {n} for {', '.join(names)}" for n, names in found.items() if n != usual)
    first = f"{usual} seeds each" if usual > 1 else "One seed each" if others else "One seed"
    if max(found, default=0) < 2:
        return f"{first}, so there is no interval over seeds."
    return f"{first}{others}. {INTERVALS}"
