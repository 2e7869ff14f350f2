"""Rows of metrics as titled tables with notes, in text or Markdown."""

import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.runs import Run
from utils.tables import HOLE, align, align_markdown, cell, is_number

COLUMNS = {
    "RA": "retain_acc",
    "UA": "forget_acc",
    "TA": "test_acc",
    "MIA": "mia",
    "EO": "equalized_odds",
    "GA": "forget_group_acc",
    "ToW": "tow",
    "Avg.Gap": "avg_gap",
    "worst-group": "worst_group_acc",
}
LEGEND = (
    "All in percent. RA, UA, TA: accuracy on the retain, forget and test set (UA is accuracy ON the forget set, not 100"
    " minus it). MIA: share of the forget set that the attack calls non-member. EO: equalized odds difference. GA: test"
    " accuracy of the forget groups. ToW (100 is best) and Avg.Gap (0 is best): closeness to the retrained model of the"
    " same seed, retrained with REWEIGHT for miu and reweighted methods. worst-group: lowest test accuracy of a group."
    " Several seeds: mean ± sample standard deviation; [k] where only k of them have the value; - where none has."
)


@dataclass(frozen=True, eq=False)
class Row:
    """The values of one run, or of one of the two ends of a run with rewind."""

    label: str
    rank: tuple
    run: Run
    values: dict[str, Any]


def document(tables: Mapping[tuple, Sequence[Row]], missing: Sequence[str], markdown: bool, each: bool) -> str:
    """All tables, then the `missing` runs that are in none, then what the columns mean. Keys of `tables`: Run.table."""
    parts = [_table(key, sorted(rows, key=_order), markdown, each) for key, rows in sorted(tables.items(), key=_place)]
    if not parts:
        parts = ["No finished run to show."]
    if missing:
        parts.append(_bullets("Not in the tables:", missing))
    parts.append(LEGEND if markdown else textwrap.fill(LEGEND, 118))
    return "\n\n".join(parts) + "\n"


def _table(key: tuple, rows: Sequence[Row], markdown: bool, each: bool) -> str:
    title = _title(key)
    header = ["method", "seed" if each else "n", *COLUMNS, *(["worst group is"] if each else [])]
    lines = [_each_line(row) for row in rows] if each else [_mean_line(*item) for item in _by_label(rows).items()]
    if markdown:
        parts = [f"### {title}", *_facts(rows), align_markdown(header, lines)]
    else:
        parts = ["\n".join([title, "=" * len(title), *_facts(rows)]), align(header, lines)]
    notes = _notes(rows)
    return "\n\n".join([*parts, *([_bullets("", notes)] if notes else [])])


def _place(item: tuple[tuple, Sequence[Row]]) -> str:
    return str(item[0])


def _order(row: Row) -> tuple:
    return row.rank, row.run.config["seed"]


def _title(key: tuple) -> str:
    """ "digits, small_cnn, 32 px, weights none, split0, ratio 0.9" """
    dataset, model, image_size, weights, task, ratio = key
    shown = [dataset, model, f"{image_size} px", f"weights {Path(str(weights)).name}"]
    return ", ".join(shown + ([task, f"ratio {ratio:g}"] if task else ["pretrained only"]))


def _facts(rows: Sequence[Row]) -> list[str]:
    """What was forgotten, and what MIA reads where the loss carries no signal."""
    names = next((row.values["forget_group_names"] for row in rows if row.values.get("forget_group_names")), [])
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    baselines = [value for row in rows if is_number(value := row.values.get("mia_baseline"))]
    signal = f" Without any signal MIA reads about {baselines[0]:.0f}." if baselines else ""
    return [f"Forget groups: {shown}.{signal}"] if names else []


def _by_label(rows: Sequence[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.label].append(row)
    return grouped


def _mean_line(name: str, rows: Sequence[Row]) -> list[str]:
    return [name, str(len(rows)), *(cell([row.values.get(key) for row in rows]) for key in COLUMNS.values())]


def _each_line(row: Row) -> list[str]:
    worst, n = row.values.get("worst_group"), row.values.get("worst_group_n")
    values = [cell([row.values.get(key)]) for key in COLUMNS.values()]
    return [row.label, str(row.run.config["seed"]), *values, f"{worst} (n {n})" if worst else HOLE]


def _notes(rows: Sequence[Row]) -> list[str]:
    """Why there are holes, and rows whose seeds were not run alike."""
    notes = []
    for reason, places in _holes(rows).items():
        listed = [f"{what} (seed {', '.join(map(str, seeds))})" for what, seeds in places.items()]
        notes.append(f"{'; '.join(listed)}: {reason}")
    for name, own in _by_label(rows).items():
        identities = [row.run.stored.get("identity") or {} for row in own]
        keys = {key for identity in identities for key in identity} - {"seed", "original", "reference"}
        unlike = sorted(key for key in keys if len({repr(identity.get(key)) for identity in identities}) > 1)
        notes += [f"the runs of {name} differ in {', '.join(unlike)}, beside their seeds"] if unlike else []
    return notes


def _holes(rows: Sequence[Row]) -> dict[str, dict[str, list[int]]]:
    """reason -> "columns of a label" -> seeds."""
    holes: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        reasons = row.values.get("reasons") or {}
        titles: dict[str, list[str]] = defaultdict(list)
        for title, key in COLUMNS.items():
            if reasons.get(key) and not is_number(row.values.get(key)):
                titles[reasons[key]].append(title)
        for reason, missing in titles.items():
            holes[reason][f"{', '.join(missing)} of {row.label}"].append(row.run.config["seed"])
    return holes


def _bullets(title: str, lines: Sequence[str]) -> str:
    return "\n".join([*([title, ""] if title else []), *(f"- {line}" for line in lines)])
