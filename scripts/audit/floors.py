"""The noise floor of every distance to the retrained model: the same between retrained models of two train seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from datasets.splits import Splits, load_splits
from method.evaluation.columns import COLUMNS, REFERENCE, Column
from method.evaluation.evaluator import add_reference, comparable, compare_outputs, compared_keys, evaluate, output_keys
from method.evaluation.intervals import student_factor
from method.evaluation.records import Records
from method.runs.files import RETRAIN
from method.runs.findings import Finding
from method.runs.folder import RECORDS, SPLITS
from method.runs.stored import StoredRun
from scripts.audit.models import by_label, readable

MOST_MODELS = 8  # of one forget set: 28 pairs
MOST_APART = 4  # of different ones, as both models of each of the 6 pairs are evaluated anew
FEWEST_LEFT_OUT = 5  # models, below which leaving one out leaves next to nothing
GAPS = (REFERENCE, "")  # which value is the best of columns that are compared by their gap
NO_VALUE = "retrained models lack it; --recompute of the report makes it where their records are kept"
NO_RECORDS = "the records of retrained models of two train seeds were not kept"
OTHER_FORGET_SETS = "the retrained models have other forget sets, and their records were not kept"
Pair = tuple[int, int]
Kept = tuple[Records, Splits] | None


def examine_floors(runs: Sequence[StoredRun]) -> Iterator[Finding]:
    """The mean size over pairs of retrained models of each distance metric, as findings with the metric's key.

    runs: finished ones of one table. Of metrics that are no distance it is their gap. Both models have never
    seen the samples that stand for F: where their forget sets differ, those that both forgot.
    """
    for label, found in by_label([run for run in runs if run.method == RETRAIN and run.is_plain]).items():
        models = choose_models(found)
        table = models[0].table
        if len(models) < 2:
            reason = "a noise floor needs retrained models of two train seeds"
            yield from (Finding(one.key, table, label, None, runs=len(models), reason=reason) for one in distances())
            continue
        pairs = compare_pairs(models)
        for column in distances():
            yield _summarise(column, table, label, pairs, len(models))


def distances() -> list[Column]:
    """The columns that tell how far a run is from its retrained model."""
    compared = output_keys()
    return [column for column in COLUMNS if column.best in GAPS or column.to_reference or column.key in compared]


def choose_models(found: Sequence[StoredRun]) -> list[StoredRun]:
    """Models of different train seeds: at most MOST_MODELS of one forget set or, without two of one, MOST_APART."""
    by_forget: dict[str | None, dict[int, StoredRun]] = {}
    for run in found:
        by_forget.setdefault(run.fingerprint("forget"), {}).setdefault(run.seeds.train, run)
    most, chosen = MOST_MODELS, max(by_forget.values(), key=len)
    if len(chosen) < 2:
        most, chosen = MOST_APART, {run.seeds.train: run for run in reversed(found)}
    return [chosen[seed] for seed in sorted(chosen)][:most]


def compare_pairs(models: Sequence[StoredRun]) -> dict[Pair, dict[str, Any]]:
    """Every distance by key, and `reasons` for those that are None, for each pair of places in `models`."""
    whole = set(map(id, readable(models)))
    kept = [_load(run) if id(run) in whole else None for run in models]
    return {
        (one, other): compare_two(models[one], models[other], kept[one], kept[other])
        for one, other in combinations(range(len(models)), 2)
    }


def compare_two(one: StoredRun, other: StoredRun, own: Kept, theirs: Kept) -> dict[str, Any]:
    """As of `one`, if `other` were its reference; own, theirs: records and splits where they were kept."""
    same = one.fingerprint("forget") == other.fingerprint("forget")
    values, others = one.metrics, other.metrics
    if own and theirs:
        shared = own[1] if same else share_splits(own[1], theirs[1])
        if not same:
            values, others = _evaluate(one, own[0], shared), _evaluate(other, theirs[0], shared)
        outputs = compare_outputs(own[0], theirs[0], shared)
    elif same:
        outputs = dict.fromkeys(output_keys()) | {"reasons": dict.fromkeys(output_keys(), NO_RECORDS)}
    else:
        return {"reasons": {column.key: OTHER_FORGET_SETS for column in distances()}}
    found = add_reference({**values}, others, None, None, outputs)
    mine, second = comparable(values, others), comparable(others, values)
    for key in {column.key for column in distances()} - {*compared_keys()}:
        a, b = mine.get(key), second.get(key)
        found[key] = None if a is None or b is None else a - b
    return found


def share_splits(one: Splits, other: Splits) -> Splits:
    """The samples that have the same part in both."""
    forget, retain, val, test = (
        np.intersect1d(getattr(one, name), getattr(other, name)) for name in ("forget", "retain", "val", "test")
    )
    return replace(one, train=np.union1d(forget, retain), forget=forget, retain=retain, val=val, test=test)


def _evaluate(run: StoredRun, records: Records, splits: Splits) -> dict[str, Any]:
    """The metrics of a run on other splits than its own."""
    groups = run.stored["groups"]
    return evaluate(records, splits, groups["names"], groups["n_targets"], groups["n_sensitive"])


def _load(run: StoredRun) -> tuple[Records, Splits]:
    return Records.load(run.folder / RECORDS), load_splits(run.folder / SPLITS)


def _summarise(column: Column, table: tuple, label: str, pairs: Mapping[Pair, Any], n_models: int) -> Finding:
    """The mean size over the pairs, with its interval where every pair has a value."""
    key = column.key
    values = {pair: abs(found[key]) for pair, found in pairs.items() if found.get(key) is not None}
    if not values:
        reason = next(iter(pairs.values()))["reasons"].get(key, NO_VALUE)
        return Finding(key, table, label, None, runs=n_models, reason=reason)
    mean, low, high = float(np.mean(list(values.values()))), None, None
    if n_models >= FEWEST_LEFT_OUT and len(values) == len(pairs):
        low, high = np.clip(jackknife_ends(values, n_models), 0, 100 if column.unit == "%" else None).tolist()
    return Finding(key, table, label, mean, low=low, high=high, n=len(values), runs=n_models)


def jackknife_ends(values: Mapping[Pair, float], n_models: int) -> tuple[float, float]:
    """Both ends of the 95 % interval of the mean over pairs of n_models models, each of which is left out in turn.

    Pairs that share a model are not independent, models are (Arvesen 1969, Annals of Mathematical Statistics 40): the
    standard error is the jackknife's, with n_models - 1 degrees of freedom.
    """
    pairs, found = np.array(list(values)), np.array(list(values.values()))
    without = np.array([found[(pairs != model).all(axis=1)].mean() for model in range(n_models)])
    # student_factor is half a width in standard deviations of single values, divided by sqrt(n).
    half = (student_factor(n_models) or np.nan) * (n_models - 1) * float(without.std(ddof=1))
    mean = float(found.mean())
    return mean - half, mean + half
