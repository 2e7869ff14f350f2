"""Every metric of a run from its records and splits, and the comparison with its retrain reference."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.splits import Splits, load_splits
from method.evaluation import membership, metrics
from method.evaluation.records import Records

ATTACK_KEYS = ("mia", "mia_baseline", "mia_forest_auc")
WORST_GROUP_KEYS = ("worst_group_acc", "worst_group", "worst_group_n")


def evaluate(
    records: Records,
    splits: Splits,
    group_names: Sequence[str],
    n_targets: int,
    n_sensitive: int,
) -> dict[str, Any]:
    """The flat metrics of metrics.md, percent; what cannot be computed is None with a sentence in `reasons`.

    group_names: by group id, n_targets * n_sensitive of them. Without a forget set (pretrain) the dict holds train_acc
    and what else needs none. RunError if a row of `splits` is not recorded.
    """
    forgets = len(splits.forget) > 0
    names = ("retain", "forget", "val", "test") if forgets else ("train", "val", "test")
    sets = {name: records.select(getattr(splits, name)) for name in names}
    found = _Collected()
    for name, part in sets.items():
        found.values[f"n_{name}"] = len(part)
        found.add(f"{name}_acc", metrics.accuracy, part.correct, f"{name} sample")
    if forgets:
        pairs = [divmod(group, n_sensitive) for group in splits.forget_groups]
        test = sets["test"]
        _add_attack(found, sets)
        axes = metrics.odds_axes(test.target, test.sensitive, pairs, n_targets, n_sensitive)
        found.add("equalized_odds", metrics.equalized_odds, test.correct, *axes)
        own = test.correct[np.isin(test.group, splits.forget_groups)]
        found.add("forget_group_acc", metrics.accuracy, own, "test sample of the forget groups")
        found.values["forget_group_names"] = [group_names[group] for group in splits.forget_groups]
    groups = metrics.group_table({name: (part.group, part.correct) for name, part in sets.items()}, group_names)
    found.add_all(WORST_GROUP_KEYS, metrics.worst_group, groups)
    return {**found.values, "groups": groups, "reasons": found.reasons}


def evaluate_saved(
    records_file: Path, splits_file: Path, group_names: Sequence[str], n_targets: int, n_sensitive: int
) -> dict[str, Any]:
    """`evaluate` on files: a pretrained model's row for any task comes from its records and that task's splits."""
    return evaluate(Records.load(records_file), load_splits(splits_file), group_names, n_targets, n_sensitive)


def add_reference(
    values: dict[str, Any], reference: Mapping[str, Any] | None, reason: str | None, reference_name: str | None
) -> dict[str, Any]:
    """Fill tow, avg_gap, gaps and the plain name of the retrain `reference` into the metrics `values`, and return them.

    Without a reference (None) these are None, and `reason`, which should say how to get one, stands in `reasons`.
    """
    reasons = {key: text for key, text in values["reasons"].items() if key not in ("tow", "avg_gap")}
    if reference is None:
        reasons.update(tow=reason, avg_gap=reason)
        values.update(tow=None, avg_gap=None, gaps=None, reference=None, reasons=reasons)
        return values
    found = metrics.compare(values, reference)
    reasons.update(found.pop("reasons"))
    values.update(**found, reference=reference_name, reasons=reasons)
    return values


class _Collected:
    """Metrics so far, and for each that is None the reason."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def add(self, key: str, compute: Callable[..., float], *arguments: Any) -> None:
        """Put compute(*arguments) under `key`."""
        self.add_all((key,), lambda: {key: compute(*arguments)})

    def add_all(self, keys: Sequence[str], compute: Callable[..., Mapping[str, Any]], *arguments: Any) -> None:
        """Put the entries of compute(*arguments), whose keys are `keys`."""
        try:
            self.values.update(compute(*arguments))
        except metrics.Undefined as undefined:
            self.values.update(dict.fromkeys(keys))
            self.reasons.update(dict.fromkeys(keys, str(undefined)))


def _add_attack(found: _Collected, sets: Mapping[str, Records]) -> None:
    losses = [sets[name].loss for name in ("retain", "val", "forget", "test")]
    found.add_all(ATTACK_KEYS, membership.published_attack, *losses)
    if found.values["mia"] is not None and found.values["mia_forest_auc"] is None:
        found.reasons["mia_forest_auc"] = "there is no test sample"
