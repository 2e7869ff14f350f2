"""What a setting is judged by: the train set and validation data of its runs, and no row of the test set."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import numpy as np

from datasets.splits import Splits, load_splits
from method.evaluation.metrics import accuracy
from method.evaluation.records import Records
from method.runs.folder import RECORDS, SPLITS

OBJECTIVES = ("retrained", "without_retrained")
# A run's accuracies, in percent, which `retrained` compares.
ACCURACIES = ("RA", "UA", "val", "val_of_forget_groups")
LOST, LOSS_DISTANCE = "lost_by_group", "loss_distance"
DISTANCE = "distance"


def without_test(folder: Path) -> tuple[Records, Splits]:
    """The records of a run's retain, forget and validation samples, and its splits."""
    records, splits = Records.load(folder / RECORDS), load_splits(folder / SPLITS)
    return records.select(np.concatenate([splits.retain, splits.forget, splits.val])), splits


def val_of_forget_groups(records: Records, splits: Splits) -> np.ndarray:
    """The validation rows of the groups that are forgotten from; all of them where no group is named."""
    if not splits.forget_groups:
        return splits.val
    return np.intersect1d(splits.val, records.index[np.isin(records.group, splits.forget_groups)])


def accuracies(folder: Path) -> dict[str, float]:
    """ACCURACIES of a run, without those of empty sets."""
    records, splits = without_test(folder)
    rows = splits.retain, splits.forget, splits.val, val_of_forget_groups(records, splits)
    sets = zip(ACCURACIES, rows, strict=True)
    return {name: accuracy(records.select(rows).correct) for name, rows in sets if len(rows)}


def distance_to_retrained(folder: Path, retrained: Path) -> dict[str, float]:
    """How far a run is from the retrained one of its seed: ACCURACIES, and as DISTANCE the mean of their distances."""
    ours, theirs = accuracies(folder), accuracies(retrained)
    return {**ours, DISTANCE: fmean(abs(ours[name] - theirs[name]) for name in ours if name in theirs)}


def distance_without_retrained(folder: Path, original: Path) -> dict[str, float]:
    """What a run lost of the original, and how far its forget set can be told from samples that it never saw.

    LOST: the mean over groups of the fall in validation accuracy, in points; a rise counts as none. LOSS_DISTANCE:
    that of Kolmogorov and Smirnov, in percent, between the losses of the forget set and those of the validation samples
    of its groups. DISTANCE is the mean of both.
    """
    records, splits = without_test(folder)
    before = Records.load(original / RECORDS).select(splits.val)
    held_out = records.select(val_of_forget_groups(records, splits)).loss
    lost = _fall_by_group(before, records.select(splits.val))
    apart = 100 * largest_difference(records.select(splits.forget).loss, held_out)
    return {**accuracies(folder), LOST: lost, LOSS_DISTANCE: apart, DISTANCE: (lost + apart) / 2}


def _fall_by_group(before: Records, after: Records) -> float:
    groups = np.unique(after.group)
    falls = (
        accuracy(before.correct[before.group == one]) - accuracy(after.correct[after.group == one]) for one in groups
    )
    return fmean(max(0.0, fall) for fall in falls)


def largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference, 0 to 1, between the shares of two samples that are at most as large as a value."""
    values = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(one), values, side="right") / len(one) for one in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def mean_distance(measured: Mapping[str, Mapping[str, float]]) -> float:
    """The objective of a setting: the mean of the distances of its seeds."""
    return fmean(one[DISTANCE] for one in measured.values())
