"""Every metric of a run from its records and splits, and the comparison with its retrain reference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import method.evaluation.own  # noqa: F401  (fills METRICS)
from datasets.splits import Splits
from method.evaluation import calibration, exposure, forgetting, membership, metrics
from method.evaluation.collected import Collected
from method.evaluation.records import Records, other_set
from method.evaluation.registry import RETRAINED, keys_beside
from method.evaluation.uncertainty import run_intervals
from utils.errors import RunError, UserError

SCHEMA = 2  # of metrics.json; a file without the key has schema 1
ATTACK_KEYS = ("mia", "mia_baseline", "mia_forest_auc")
OF_ATTACK = tuple(f"{what}{of}" for what in ("auc", "balanced_acc", *forgetting.LOW_RATES) for of in ("", "_sd"))
BALANCED_KEYS = (*(f"mia_{what}" for what in OF_ATTACK), "mia_filled")
GROUP_AWARE_KEYS = tuple(f"mia_group_{what}" for what in OF_ATTACK)
REPEATED_KEYS = (*BALANCED_KEYS, *GROUP_AWARE_KEYS, "mia_retain_auc")
WORST_GROUP_KEYS = ("worst_group_acc", "worst_group", "worst_group_n")
COMPARED_SETS = {
    "forget": "forget sample",
    "test": "test sample",
    "forget_groups": "test sample of the forget groups",
}
OUTPUT_KEYS = (
    *(f"{what}_{name}" for what in ("kl_to_retrain", "agreement") for name in COMPARED_SETS),
    "ks_to_retrain_forget",
)
COMPARED_KEYS = ("tow", "avg_gap", "privleak", "speedup", *OUTPUT_KEYS)
IN_FP32 = "in_fp32"  # what a run in bf16 would have in place of its own, had it been evaluated in fp32
ITSELF = "itself"  # the reference of a retrained run
NO_OUTPUTS = "the outputs were not compared with the reference's; python -m scripts.report --recompute does it"


def evaluate(
    records: Records,
    splits: Splits,
    group_names: Sequence[str],
    n_targets: int,
    n_sensitive: int,
    repeated_attacks: bool = True,
) -> dict[str, Any]:
    """The flat metrics of metrics.md, percent; what cannot be computed is None with a sentence in `reasons`.

    group_names: by group id, n_targets * n_sensitive of them. Without a forget set (pretrain) the dict holds train_acc
    and what else needs none. Where the records hold a pass in bf16, accuracies of sets and the published attack are of
    that pass, all else of the other, which IN_FP32 has the former of too. repeated_attacks: False leaves out
    REPEATED_KEYS, which take most of the time. RunError if a row of `splits` is not recorded.
    """
    forgets = len(splits.forget) > 0
    names = ("retain", "forget", "val", "test") if forgets else ("train", "val", "test")
    sets = {name: records.select(getattr(splits, name)) for name in names}
    published = {name: part.published for name, part in sets.items()}
    found = Collected()
    found.values["schema"] = SCHEMA
    found.values |= {f"n_{name}": len(part) for name, part in sets.items()}
    _add_sets(found, published)
    if records.published is not records:
        in_fp32 = Collected()
        _add_sets(in_fp32, sets)
        found.values[IN_FP32] = in_fp32.values
    test = sets["test"]
    groups = metrics.tabulate_groups({name: (part.group, part.correct) for name, part in sets.items()}, group_names)
    if forgets:
        _add_forgetting(found, sets, splits, n_targets, n_sensitive)
        if repeated_attacks:
            _add_repeated_attacks(found, sets)
            _add_retained_attack(found, sets, groups)
        found.values["forget_group_names"] = [group_names[group] for group in splits.forget_groups]
        found.values["forget_composition"] = [composition(groups[group]) for group in splits.forget_groups]
        of_forget = (sets["forget"].group, test.group, test.correct, group_names)
        found.add("forget_group_acc_weighted", metrics.adjusted_accuracy, *of_forget)
    found.add_all(WORST_GROUP_KEYS, metrics.worst_group, groups)
    train_group = records.select(splits.train).group
    found.add("adjusted_acc", metrics.adjusted_accuracy, train_group, test.group, test.correct, group_names)
    found.add("mean_group_acc", metrics.mean_group_accuracy, groups)
    _add_fairness(found, test, group_names, n_targets, n_sensitive)
    found.add("ece", calibration.calibration_error, test)
    found.add("auroc", calibration.ranking, test)
    calibration.add_by_group(groups, test, n_sensitive)
    found.values["intervals"] = run_intervals(records, splits, n_targets, n_sensitive)
    found.add_registered(records=records, splits=splits)
    return {**found.values, "groups": groups, "reasons": found.reasons}


def output_keys() -> tuple[str, ...]:
    """The keys that need the records of the retrained run: OUTPUT_KEYS, and registered ones."""
    return (*OUTPUT_KEYS, *keys_beside(RETRAINED))


def compared_keys() -> tuple[str, ...]:
    """The keys that are null without a retrained run: COMPARED_KEYS, and registered ones."""
    return tuple(dict.fromkeys((*COMPARED_KEYS, *output_keys())))


def attack_keys() -> tuple[str, ...]:
    """The keys that need the repeated attacks, and so take long."""
    return (*REPEATED_KEYS, "privleak", *exposure.original_keys())


def _no_outputs(reason: str) -> dict[str, Any]:
    """What `compare_outputs` would give, all null for one reason."""
    return dict.fromkeys(output_keys()) | {"reasons": dict.fromkeys(output_keys(), reason)}


def composition(group: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the group table: how much of it is forgotten, and the test accuracy (None where n_test is 0)."""
    return {
        "name": group["name"],
        "n_forget": group["n_forget"],
        "n_train": group["n_retain"] + group["n_forget"],
        "test_acc": group["test_acc"],
        "n_test": group["n_test"],
    }


def _add_sets(found: Collected, sets: Mapping[str, Records]) -> None:
    """Add the accuracy on each set, and the published attack where something is forgotten."""
    for name, part in sets.items():
        found.add(f"{name}_acc", metrics.accuracy, part.correct, f"{name} sample")
    if "forget" in sets:
        _add_attack(found, sets)


def _add_forgetting(
    found: Collected, sets: Mapping[str, Records], splits: Splits, n_targets: int, n_sensitive: int
) -> None:
    """What needs a forget set: EO, and the accuracy of the forget groups."""
    test = sets["test"]
    pairs = [divmod(group, n_sensitive) for group in splits.forget_groups]
    axes = metrics.odds_axes(test.target, test.sensitive, pairs, n_targets, n_sensitive)
    found.add("equalized_odds", metrics.equalized_odds, test.correct, *axes)
    own = test.correct[np.isin(test.group, splits.forget_groups)]
    found.add("forget_group_acc", metrics.accuracy, own, "test sample of the forget groups")


def _add_fairness(
    found: Collected, test: Records, group_names: Sequence[str], n_targets: int, n_sensitive: int
) -> None:
    """What compares all groups, and the two groups that differ most."""
    labels, sizes = (test.target, test.sensitive), (n_targets, n_sensitive)
    found.add("equalized_odds_full", metrics.equalized_odds_full, test.correct, *labels, *sizes)
    found.values["equalized_odds_full_skipped"] = metrics.n_empty_pairs(*labels, *sizes)
    found.add("demographic_parity", metrics.demographic_parity, test.prediction, test.sensitive)

    def odds_names() -> list[str]:
        return [group_names[group] for group in metrics.odds_pair(test.correct, test.group, *sizes)]

    def parity_names() -> list[str]:
        target, most, least = metrics.parity_pair(test.prediction, test.sensitive)
        if target >= n_targets:
            raise metrics.Undefined("no group has the class whose share differs most as its target")
        return [group_names[target * n_sensitive + value] for value in (most, least)]

    found.add("equalized_odds_pair", odds_names)
    found.add("demographic_parity_pair", parity_names)


def _add_repeated_attacks(found: Collected, sets: Mapping[str, Records]) -> None:
    """Add the membership attacks that draw several times."""
    forget = sets["forget"]
    members = forgetting.Samples(forget.loss, forget.target, forget.group)
    others = forgetting.Samples(
        *(np.concatenate([getattr(sets[name], column) for name in ("val", "test")]) for column in members._fields)
    )
    found.add_all(BALANCED_KEYS, forgetting.balanced_attack, members, others)
    found.add_all(GROUP_AWARE_KEYS, forgetting.group_aware_attack, members, others)


def _add_retained_attack(found: Collected, sets: Mapping[str, Records], groups: Sequence[dict[str, Any]]) -> None:
    """Add how far retained samples are told from held-out ones, overall and to the rows of the group table."""
    sides = exposure.retained_and_held_out(sets)
    found.add("mia_retain_auc", exposure.auc_alike, *sides)
    for row, value in zip(groups, exposure.auc_by_group(*sides, len(groups)), strict=True):
        row["mia_retain_auc"] = value


def compare_outputs(records: Records, reference: Records, splits: Splits) -> dict[str, Any]:
    """KL(retrain || model) in nats and the share of equal predictions in percent, on F, T and T's forget groups.

    And Kolmogorov and Smirnov's D of the two models' losses on F, in points.

    Keys: `output_keys`, and the `reasons` of those that are None. RunError if a row of F or T is not recorded in both.
    """
    found = Collected()
    if records.logits.shape[1] != reference.logits.shape[1]:
        return _no_outputs("the reference has another number of classes")
    test_group = records.select(splits.test).group
    rows = {
        "forget": splits.forget,
        "test": splits.test,
        "forget_groups": splits.test[np.isin(test_group, splits.forget_groups)],
    }
    for name, samples in COMPARED_SETS.items():
        own, other = records.select(rows[name]), reference.select(rows[name])
        found.add(f"kl_to_retrain_{name}", metrics.mean_kl, own.logits, other.logits, samples)
        found.add(f"agreement_{name}", metrics.accuracy, own.prediction == other.prediction, samples)
        if name == "forget":
            found.add("ks_to_retrain_forget", metrics.largest_gap, own.loss, other.loss, samples)
    found.add_registered(records=records, splits=splits, retrained=reference)
    return {**found.values, "reasons": found.reasons}


def compare_saved_outputs(records: Records, splits: Splits, reference_records: Path) -> dict[str, Any]:
    """`compare_outputs` with the saved records of the retrained run; all None where they cannot be read."""
    # Folders are no part of the metrics, so the sentence names the run alone.
    other = f"the records of {reference_records.parent.name} cannot be read, or are of other samples"
    try:
        reference = Records.load(reference_records)
        return _no_outputs(other) if other_set(reference, splits) else compare_outputs(records, reference, splits)
    except (UserError, RunError):
        return _no_outputs(other)


def add_reference(
    values: dict[str, Any],
    reference: Mapping[str, Any] | None,
    reason: str | None,
    reference_name: str | None,
    outputs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fill COMPARED_KEYS, gaps and the plain name of the retrain `reference` into `values`, metrics, and return them.

    Where one of the two was evaluated in fp32 alone, both are compared in fp32. outputs: what `compare_outputs` gave.
    Without a reference (None) all are None, and `reason`, which should say how to get one, stands in `reasons`.
    """
    compared_with = compared_keys()
    reasons = {key: text for key, text in values["reasons"].items() if key not in compared_with}
    if reference is None:
        reasons.update(dict.fromkeys(compared_with, reason))
        values.update(dict.fromkeys(compared_with), gaps=None, reference=None, reasons=reasons)
        return values
    found = Collected()
    found.add("speedup", metrics.speedup, values.get("seconds"), reference.get("seconds"))
    attacks = values.get("mia_group_auc"), reference.get("mia_group_auc")
    found.add("privleak", metrics.privacy_leak, *attacks)
    compared = metrics.compute_gaps(comparable(values, reference), comparable(reference, values))
    outputs = dict(outputs or _no_outputs(NO_OUTPUTS))
    for part in (compared, outputs):
        found.reasons.update(part.pop("reasons"))
        found.values.update(part)
    values.update(found.values, reference=reference_name, reasons=reasons | found.reasons)
    return values


def comparable(values: Mapping[str, Any], others: Mapping[str, Any]) -> Mapping[str, Any]:
    """Metrics as they are to be compared with those of another run: in fp32, where `others` are in nothing else."""
    return values if IN_FP32 in others else {**values, **values.get(IN_FP32, {})}


def _add_attack(found: Collected, sets: Mapping[str, Records]) -> None:
    losses = [sets[name].loss for name in ("retain", "val", "forget", "test")]
    found.add_all(ATTACK_KEYS, membership.published_attack, *losses)
    if found.values["mia"] is not None and found.values["mia_forest_auc"] is None:
        found.reasons["mia_forest_auc"] = "there is no test sample"
