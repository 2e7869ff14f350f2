"""Over which critics' rates and lambdas MIU holds: a table and a figure of the cells, from the runs of a sweep.

    python benchmarks/miu_map.py MAP.csv [--runs STORE_DIR] [--information] [--out FIGURE.png]

STORE_DIR has the runs of scripts/grids/digits_miu_map.yaml or skewed_faces_miu_map.yaml, with their models where
--information is asked for. MAP.csv gets a line a run; what stands in it already is not measured again, and without
--runs it is all that is judged.

A run collapsed where its loss was not finite, RA is more than 10 points below that of the model retrained with
REWEIGHT, or UA or the validation accuracy of the forget groups is less than half of that model's.
distance: the objective of scripts.tune, the mean distance to the retrained model in RA, UA, validation accuracy and
that of the forget groups. Avg. Gap has the test set in it, distance has not.
information (--information): what a logistic regression of the group on features, fitted without a sample's fold, tells
of the group of a sample of F beyond the group's share: the mean of log q(g | z) - log p(g), in nats.
seconds: of training.

A cell holds where no seed collapsed and at least one of two things is told from noise, by the 95 % interval of the mean
of the paired differences over seeds: UA is nearer to the retrained model's than fine-tuning's with REWEIGHT, or the
information on F is less. "UA off by", and the number in the figure: how much further UA is from the retrained model's
than fine-tuning's is, in points.
"""

import argparse
import csv
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from group_information import features_of, folds_of, logistic  # which puts the project's packages in reach
from scipy.stats import t as student

from method.configs.loading import Config
from method.runs.data import read_data
from scripts.report.chart_specs import CONFIG
from scripts.report.figures import drawn
from scripts.tune.objective import ACCURACIES, DISTANCE, distance_to_retrained
from utils.files import read_yaml, write_atomic
from utils.tables import align

FALL, SHARE = 10, 0.5  # of RA in points; of UA and of the forget groups' validation accuracy
FINE_TUNING = "fine-tuning"
UNDECIDED = "not told from fine-tuning"
KEYS = ("variant", "rate", "lambda", "seed")
COLUMNS = (*KEYS, *ACCURACIES, "retrained_UA", DISTANCE, "avg_gap", "information", "collapsed", "seconds")
Row = dict[str, Any]


def judged(folder: Path, retrained: Path) -> Row:
    """What a finished run is judged by, without the test set."""
    ours, theirs = distance_to_retrained(folder, retrained), distance_to_retrained(retrained, retrained)
    lost = any(ours[name] < SHARE * theirs[name] for name in ("UA", "val_of_forget_groups"))
    collapsed = lost or theirs["RA"] - ours["RA"] > FALL
    found = {name: float(value) for name, value in ours.items()}
    return found | {"retrained_UA": float(theirs["UA"]), "collapsed": int(collapsed)}


def measured(folder: Path) -> Row | None:
    """The line of a run; None for one that is neither finished nor diverged, or is none of MIU."""
    stored = read_yaml(folder / "config.yaml")["config"]
    if stored["method"] != "miu":
        return None
    terms = not (stored["miu_ablate_alignment"] and stored["miu_ablate_unlearn"])
    row = {"variant": stored.get("miu_estimator", "mine") if terms else FINE_TUNING, "seed": stored["seed"]}
    row |= {"rate": f"{stored['miu_mine_lr']:g}", "lambda": f"{stored['miu_lambda_mi']:g}"}
    if not (folder / "done").exists():
        reason = json.loads((folder / "status.json").read_text()).get("reason") or ""
        return row | {"collapsed": 1} if "is not finite" in reason else None
    metrics = json.loads((folder / "metrics.json").read_text())
    retrained = folder.with_name(f"retrain_reweight_{stored['unlearning_ratio']:g}_{stored['seed']}")
    if not (retrained / "done").exists():
        sys.exit(f"{retrained} is not there or not done, and {folder} is compared with it")
    return row | judged(folder, retrained) | {name: metrics[name] for name in ("avg_gap", "seconds")}


def information_on_f(folder: Path) -> float:
    """Mean over F of log q(g | z) - log p(g), in nats."""
    config = Config(read_yaml(folder / "config.yaml")["config"], {})
    data = read_data(config)
    train, group = data.splits.train, data.dataset.group[data.splits.train]
    features, fold = features_of(folder, config, data), folds_of(data.dataset.unit[train], 5)
    forgotten, share = np.isin(train, data.splits.forget), np.bincount(group) / len(group)
    told = np.empty(len(group))
    for number in np.unique(fold[forgotten]):
        out = fold == number
        model = logistic().fit(features[~out], group[~out])
        column = np.searchsorted(model.classes_, group[out])
        q = model.predict_proba(features[out])[np.arange(out.sum()), column]
        told[out] = np.log(np.maximum(q, 1e-6) / share[group[out]])
    return float(told[forgotten].mean())


def read_rows(file: Path) -> dict[tuple[str, ...], Row]:
    """The lines of an earlier call, by KEYS."""
    if not file.exists():
        return {}
    with file.open(newline="") as opened:
        return {tuple(row[key] for key in KEYS): row for row in csv.DictReader(opened)}


def collect(store: Path, out: Path, information: bool) -> None:
    """Measure every run under `store` that has no line in `out` yet, and write its line."""
    folders = sorted(found.parent for found in store.rglob("miu*/config.yaml"))
    if len(tasks := {str(folder.parent) for folder in folders}) != 1:
        sys.exit(f"expected runs of MIU in one folder under {store}, found {', '.join(sorted(tasks)) or 'none'}")
    rows, begun = read_rows(out), out.exists()
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not begun:
            writer.writeheader()
        made: dict[tuple[str, ...], Path] = {}
        for folder in folders:
            row = measured(folder)
            if row is None:
                continue
            key = tuple(str(row[name]) for name in KEYS)
            if key in made:
                sys.exit(
                    f"{made[key]} and {folder} are of one cell and seed; make the map's runs in a store of their own"
                )
            made[key] = folder
            if key in rows:
                continue
            rows[key] = row | ({"information": information_on_f(folder)} if information and DISTANCE in row else {})
            writer.writerow({name: told(value) for name, value in rows[key].items()})
            file.flush()


def told(value: Any) -> Any:
    """A number with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else value


def upper_end(differences: Sequence[float]) -> float:
    """The upper end of the 95 % interval of their mean; infinite for one."""
    n = len(differences)
    if n < 2:
        return math.inf
    return fmean(differences) + float(student.ppf(0.975, n - 1)) * stdev(differences) / math.sqrt(n)


def cells(rows: Iterable[Row]) -> list[Row]:
    """The cells of every variant, judged."""
    base, found = {}, defaultdict(list)
    for row in rows:
        if row["variant"] == FINE_TUNING:
            base[str(row["seed"])] = row
        else:
            found[row["variant"], float(row["lambda"]), float(row["rate"])].append(row)
    if missing := {str(row["seed"]) for runs in found.values() for row in runs} - set(base):
        sys.exit(f"no run of fine-tuning (both terms ablated) with seed {', '.join(sorted(missing))}")
    return [judge(runs, base) for _, runs in sorted(found.items())]


def judge(runs: list[Row], base: dict[str, Row]) -> Row:
    """The runs of one cell; base: fine-tuning's by seed, which are the other half of each pair."""
    pairs = [(run, base[str(run["seed"])]) for run in runs if run.get(DISTANCE)]
    nearer = [distance_in_ua(run) - distance_in_ua(other) for run, other in pairs]
    less = [float(run["information"]) - float(other["information"]) for run, other in pairs if run.get("information")]
    collapsed = sum(int(run["collapsed"]) for run in runs)
    cell = {name: runs[0][name] for name in ("variant", "rate", "lambda")} | {"n": len(runs), "collapsed": collapsed}
    for name in ("UA", DISTANCE, "avg_gap", "information", "seconds"):
        values = [float(run[name]) for run, _ in pairs if run.get(name)]
        cell[name] = fmean(values) if values else None
    cell |= {"UA off by": fmean(nearer) if nearer else None}
    return cell | {"holds": not collapsed and min(upper_end(nearer), upper_end(less)) < 0}


def distance_in_ua(run: Row) -> float:
    """From the retrained model's, in points."""
    return abs(float(run["UA"]) - float(run["retrained_UA"]))


def chart(found: list[Row]) -> dict[str, Any]:
    """A panel a variant: the cells that hold, and those in which seeds collapsed."""
    rows = [
        {
            "variant": one["variant"], "rate": one["rate"], "lambda": one["lambda"],
            "state": "holds" if one["holds"] else "seeds collapse" if one["collapsed"] else UNDECIDED,
            "text": f"{one['collapsed']} of {one['n']}" if one["collapsed"] else f"{one['UA off by']:+.1f}",
        }
        for one in found
    ]  # fmt: skip
    place = {
        "x": {"field": "rate", "type": "ordinal", "sort": None, "title": "critics' rate", "axis": {"labelAngle": 0}},
        "y": {"field": "lambda", "type": "ordinal", "sort": None, "title": "lambda"},
    }
    colour = {
        "field": "state", "type": "nominal", "title": None, "legend": {"orient": "bottom"},
        "scale": {"domain": ["holds", UNDECIDED, "seeds collapse"],
                  "range": ["#9fd0a3", "#dddddd", "#e8a29a"]},
    }  # fmt: skip
    layers = [
        {"mark": {"type": "rect", "stroke": "white"}, "encoding": {**place, "color": colour}},
        {"mark": {"type": "text"}, "encoding": {**place, "text": {"field": "text"}}},
    ]
    panel = {"layer": layers, "width": 280, "height": 160}
    facet = {"column": {"field": "variant", "title": None}}
    return {"data": {"values": rows}, "facet": facet, "spec": panel, "config": CONFIG}


def main() -> int:
    """Measure, judge, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--information", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.runs:
        collect(options.runs, options.csv, options.information)
    found = cells(read_rows(options.csv).values())
    numbers = ("UA", "UA off by", DISTANCE, "avg_gap", "information", "seconds")
    names = ("variant", "rate", "lambda", "n", "collapsed", *numbers, "holds")
    shown = [[f"{v:.2f}" if isinstance(v := one[name], float) else str(v) for name in names] for one in found]
    print(align(names, shown, left=3))
    for variant in dict.fromkeys(one["variant"] for one in found):
        own = [one for one in found if one["variant"] == variant]
        print(f"{variant}: {sum(one['holds'] for one in own)} of {len(own)} cells hold")
    if options.out:
        picture = drawn(chart(found), options.out.suffix[1:])
        write_atomic(options.out, lambda file: file.write(picture))
    return 0


if __name__ == "__main__":
    sys.exit(main())
