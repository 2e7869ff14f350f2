"""The noise floor of every distance to the retrained model: the same between retrained models of two train seeds."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from datasets.splits import Splits, load_splits
from method.evaluation.columns import COLUMNS, REFERENCE, Column
from method.evaluation.evaluator import add_reference, comparable, compare_outputs, compared_keys, output_keys
from method.evaluation.intervals import student_factor
from method.evaluation.records import Records
from method.runs.findings import Finding
from method.runs.folder import SPLITS
from method.runs.stored import StoredRun
from scripts.audit.models import by_label, is_reference
from scripts.audit.reading import read_records, whole_runs

MOST_MODELS = 8  # 28 pairs
FEWEST_LEFT_OUT = 5  # models, below which leaving one out leaves next to nothing
GAPS = (REFERENCE, "")  # which value is the best of columns that are compared by their gap
NO_VALUE = "metrics.json of retrained models lacks it; python -m scripts.report FOLDER --recompute makes it"
NO_WAY = "metrics.json of retrained models lacks it, and the records that --recompute makes it from were not kept"
NO_RECORDS = "the records of retrained models of two train seeds were not kept"
TOO_FEW = "a noise floor needs retrained models of two train seeds and one forget set (--forget_seed)"
Pair = tuple[int, int]
Kept = tuple[Records, Splits] | None


def examine_floors(runs: Sequence[StoredRun]) -> Iterator[Finding]:
    """The mean size over pairs of retrained models of each distance metric, as findings with the metric's key.

    runs: finished ones of one table. Of metrics that are no distance it is their gap. Both models have the same
    forget set, as a run and its reference have: models of other ones are further apart, by whom they forgot.
    """
    for label, found in by_label([run for run in runs if is_reference(run)]).items():
        models = choose_models(found)
        table = models[0].table
        if len(models) < 2:
            yield from (Finding(one.key, table, label, None, runs=len(models), reason=TOO_FEW) for one in distances())
            continue
        pairs = compare_pairs(models)
        for column in distances():
            yield _summarise(column, table, label, pairs, models)


def distances() -> list[Column]:
    """The columns that tell how far a run is from its retrained model."""
    compared = output_keys()
    return [column for column in COLUMNS if column.best in GAPS or column.to_reference or column.key in compared]


def choose_models(found: Sequence[StoredRun]) -> list[StoredRun]:
    """At most MOST_MODELS models of different train seeds and one forget set, that of which there are most."""
    by_forget: dict[str | None, dict[int, StoredRun]] = {}
    for run in found:
        by_forget.setdefault(run.fingerprint("forget"), {}).setdefault(run.seeds.train, run)
    chosen = max(by_forget.values(), key=len)
    return [chosen[seed] for seed in sorted(chosen)][:MOST_MODELS]


def compare_pairs(models: Sequence[StoredRun]) -> dict[Pair, dict[str, Any]]:
    """Every distance by key, and `reasons` for those that are None, for each pair of places in `models`."""
    whole = set(map(id, whole_runs(models)))
    kept = [_load(run) if id(run) in whole else None for run in models]
    return {
        (one, other): compare_two(models[one], models[other], kept[one], kept[other])
        for one, other in combinations(range(len(models)), 2)
    }


def compare_two(one: StoredRun, other: StoredRun, own: Kept, theirs: Kept) -> dict[str, Any]:
    """As of `one`, if `other` were its reference; own, theirs: records and splits where they were kept."""
    values, others = one.metrics, other.metrics
    if own and theirs:
        outputs = compare_outputs(own[0], theirs[0], own[1])
    else:
        outputs = dict.fromkeys(output_keys()) | {"reasons": dict.fromkeys(output_keys(), NO_RECORDS)}
    found = add_reference({**values}, others, None, None, outputs)
    mine, second = comparable(values, others), comparable(others, values)
    for key in {column.key for column in distances()} - {*compared_keys()}:
        a, b = mine.get(key), second.get(key)
        found[key] = None if a is None or b is None else a - b
    return found


def _load(run: StoredRun) -> tuple[Records, Splits]:
    return read_records(run), load_splits(run.folder / SPLITS)


def _summarise(
    column: Column, table: tuple, label: str, pairs: Mapping[Pair, Any], models: Sequence[StoredRun]
) -> Finding:
    """The mean size over the pairs, with its interval where every pair has a value."""
    key, n_models = column.key, len(models)
    values = {pair: abs(found[key]) for pair, found in pairs.items() if found.get(key) is not None}
    if not values:
        return Finding(key, table, label, None, runs=n_models, reason=_why_not(key, pairs, models))
    mean, low, high = float(np.mean(list(values.values()))), None, None
    if n_models >= FEWEST_LEFT_OUT and len(values) == len(pairs):
        low, high = np.clip(jackknife_ends(values, n_models), 0, 100 if column.unit == "%" else None).tolist()
    return Finding(key, table, label, mean, low=low, high=high, n=len(values), runs=n_models)


def _why_not(key: str, pairs: Mapping[Pair, Any], models: Sequence[StoredRun]) -> str:
    """What comparing two of them says, or the metrics of one; else how to make it."""
    told = (found.get("reasons") or {} for found in (*pairs.values(), *(run.metrics for run in models)))
    makes = NO_VALUE if len(whole_runs(models)) == len(models) else NO_WAY
    return next((reasons[key] for reasons in told if key in reasons), makes)


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
