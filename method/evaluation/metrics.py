"""Accuracies, fairness gaps and distances to a reference as pure functions of arrays: float64 and never NaN.

Everything is in percent, but for the divergence (nats) and the speed-up (a quotient).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

TOW_PARTS = ("retain_acc", "forget_acc", "test_acc")
GAP_PARTS = (*TOW_PARTS, "mia", "equalized_odds", "forget_group_acc")
Z_95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


class Undefined(ValueError):
    """These samples do not determine the metric; the message is the reason that stands beside its null."""


def accuracy(correct: np.ndarray, samples: str = "sample") -> float:
    """Share of True in `correct` (n,), percent; Undefined for n = 0, naming the `samples` that are missing."""
    if len(correct) == 0:
        raise Undefined(f"there is no {samples}")
    return 100.0 * np.count_nonzero(correct) / len(correct)


def wilson_interval(n_correct: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of an accuracy, percent (Wilson 1927, JASA 22); Undefined for n = 0."""
    if n == 0:
        raise Undefined("there is no sample")
    low, high = wilson_limits(np.asarray(n_correct), np.asarray(n), z)
    return float(low), float(high)


def wilson_limits(n_correct: np.ndarray, n: np.ndarray, z: float = Z_95) -> tuple[np.ndarray, np.ndarray]:
    """The same of many at once, arrays of any one shape with n > 0: lower ends and upper ends."""
    share = n_correct / n
    centre = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 100.0 / (1 + z**2 / n)
    return np.maximum(0.0, scale * (centre - half)), np.minimum(100.0, scale * (centre + half))


def tabulate_groups(sets: Mapping[str, tuple[np.ndarray, np.ndarray]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Per group: id, name and, for each set of `sets` (name -> group and correct, both (n,)), n and accuracy.

    The accuracy of a group is None where the set has no sample of it. The test set's has its 95 % interval beside it.
    """
    table: list[dict[str, Any]] = [{"id": group, "name": name} for group, name in enumerate(names)]
    for set_name, (group, correct) in sets.items():
        n = np.bincount(group, minlength=len(names)).tolist()
        n_correct = np.bincount(group[correct], minlength=len(names)).tolist()
        for row in table:
            own, hits = n[row["id"]], n_correct[row["id"]]
            row[f"n_{set_name}"] = own
            row[f"{set_name}_acc"] = 100.0 * hits / own if own else None
            if set_name == "test":
                row["test_interval"] = list(wilson_interval(hits, own)) if own else None
    return table


def mean_group_accuracy(groups: Sequence[Mapping[str, Any]]) -> float:
    """Mean over the groups that the test set has of their test accuracy, every group alike; Undefined without any."""
    parts = [row["test_acc"] for row in groups if row["n_test"]]
    if not parts:
        raise Undefined("there is no test sample")
    return sum(parts) / len(parts)


def worst_group(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The lowest test accuracy over groups present in the test set (a tie goes to the first), its group and n."""
    present = [row for row in groups if row["n_test"]]
    if not present:
        raise Undefined("there is no test sample")
    worst = min(present, key=lambda row: row["test_acc"])
    return {"worst_group_acc": worst["test_acc"], "worst_group": worst["name"], "worst_group_n": worst["n_test"]}


def adjusted_accuracy(
    train_group: np.ndarray, test_group: np.ndarray, test_correct: np.ndarray, names: Sequence[str]
) -> float:
    """Sum over the groups of D (train_group, (n,)) of their share in D times their test accuracy (Waterbirds' custom).

    F in place of D weights the groups by how much of them is forgotten. names: by group id. Undefined if a group of D
    has no test sample, or D none at all.
    """
    if len(train_group) == 0:
        raise Undefined("there is no train sample")
    groups, counts = np.unique(train_group, return_counts=True)
    parts = [accuracy(test_correct[test_group == group], f"test sample of {names[group]}") for group in groups]
    return float(np.dot(counts, parts)) / len(train_group)


def odds_axes(
    target: np.ndarray,
    sensitive: np.ndarray,
    forget_pairs: Collection[tuple[int, int]],
    n_targets: int,
    n_sensitive: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The two binary axes u, s of EO: target and sensitive of binary data, else whether each occurs in a forget group.

    forget_pairs: the (target, sensitive) of each forget group.
    """
    if n_targets == 2 and n_sensitive == 2:
        return target, sensitive
    forget_targets = [pair[0] for pair in forget_pairs]
    forget_sensitive = [pair[1] for pair in forget_pairs]
    return np.isin(target, forget_targets).astype(np.int64), np.isin(sensitive, forget_sensitive).astype(np.int64)


def equalized_odds(correct: np.ndarray, u: np.ndarray, s: np.ndarray) -> float:
    """Mean over u in {0, 1} of |acc(u, s = 0) - acc(u, s = 1)|, percent; Undefined if one of the cells is empty."""
    gaps = []
    for value in (0, 1):
        low, high = (
            accuracy(correct[(u == value) & (s == other)], f"test sample in the cell u = {value}, s = {other}")
            for other in (0, 1)
        )
        gaps.append(abs(low - high))
    return sum(gaps) / 2


def equalized_odds_full(
    correct: np.ndarray, target: np.ndarray, sensitive: np.ndarray, n_targets: int, n_sensitive: int
) -> float:
    """Mean over targets y and pairs a < b of |acc(y, a) - acc(y, b)|; pairs with an empty cell are left out."""
    both, first, second = _odds_pairs(target, sensitive, n_targets, n_sensitive)
    if not both.any():
        raise Undefined("no target has test samples of two sensitive values")
    counts = _cells(target, sensitive, n_targets, n_sensitive)
    hits = _cells(target[correct], sensitive[correct], n_targets, n_sensitive)
    shares = hits / np.maximum(counts, 1)  # of an empty cell 0, which is in no pair that counts
    return 100.0 * float(np.abs(shares[:, first] - shares[:, second])[both].mean())


def n_empty_pairs(target: np.ndarray, sensitive: np.ndarray, n_targets: int, n_sensitive: int) -> int:
    """How many of the n_targets * n_sensitive * (n_sensitive - 1) / 2 pairs `equalized_odds_full` leaves out."""
    both, _, _ = _odds_pairs(target, sensitive, n_targets, n_sensitive)
    return int(np.count_nonzero(~both))


def demographic_parity(prediction: np.ndarray, sensitive: np.ndarray) -> float:
    """Maximum over classes of the largest difference in predicted share between sensitive values, percent.

    Both (n,). Undefined with fewer than two sensitive values.
    """
    _, _, shares = _predicted_shares(prediction, sensitive)
    return 100.0 * float(np.ptp(shares, axis=0).max())


def odds_pair(correct: np.ndarray, group: np.ndarray, n_targets: int, n_sensitive: int) -> tuple[int, int]:
    """The two groups of one target, by id, whose accuracies differ most: the better one, then the worse one."""
    n, hits = (np.bincount(own, minlength=n_targets * n_sensitive) for own in (group, group[correct]))
    shares = (hits / np.maximum(n, 1)).reshape(n_targets, n_sensitive)
    there = n.reshape(shares.shape) > 0
    best, worst = np.where(there, shares, -1.0), np.where(there, shares, 2.0)
    apart = np.where(there.sum(axis=1) > 1, best.max(axis=1) - worst.min(axis=1), -1.0)
    if apart.max(initial=-1.0) < 0:
        raise Undefined("no target has test samples of two sensitive values")
    target = int(apart.argmax())
    return target * n_sensitive + int(best[target].argmax()), target * n_sensitive + int(worst[target].argmin())


def parity_pair(prediction: np.ndarray, sensitive: np.ndarray) -> tuple[int, int, int]:
    """The class whose predicted share differs most, and the sensitive values where that is largest and smallest."""
    classes, values, shares = _predicted_shares(prediction, sensitive)
    place = int(np.ptp(shares, axis=0).argmax())
    return int(classes[place]), int(values[shares[:, place].argmax()]), int(values[shares[:, place].argmin()])


def mean_kl(logits: np.ndarray, reference: np.ndarray, samples: str = "sample") -> float:
    """Mean KL(p_reference || p) in nats of the softmax of two (n, C) arrays of logits; Undefined for n = 0."""
    if len(logits) == 0:
        raise Undefined(f"there is no {samples}")
    own, other = _log_softmax(logits), _log_softmax(reference)
    # Rounding can leave a sum just below zero, which no divergence is.
    return max(0.0, float((np.exp(other) * (other - own)).sum(axis=1).mean()))


def largest_gap(own: np.ndarray, other: np.ndarray, samples: str = "sample") -> float:
    """Kolmogorov and Smirnov's D of two samples, in points: the largest difference between their shares up to a value.

    Undefined where one is empty, naming the `samples` that are missing. Of the same images under two models the two are
    not independent, so the usual p value of D does not hold.
    """
    if min(len(own), len(other)) == 0:
        raise Undefined(f"there is no {samples}")
    values = np.concatenate([own, other])
    shares = [np.searchsorted(np.sort(one), values, "right") / len(one) for one in (own, other)]
    return 100.0 * float(np.abs(shares[0] - shares[1]).max())


def privacy_leak(auc: float | None, reference_auc: float | None) -> float:
    """PrivLeak (Shi et al. 2024, MUSE), percent: 100 (AUC_r - AUC_u) / (1 - AUC_r) of members against held-out samples.

    auc, reference_auc: of this model and of the retrained one, percent. Below 0 the forgotten samples still look more
    like members than retraining leaves them, down to -100; above 0 less. Undefined where either is None, or that of the
    reference is 100.
    """
    if auc is None or reference_auc is None:
        raise Undefined("mia_group_auc is null in this run or in its reference")
    if reference_auc >= 100.0:
        raise Undefined("mia_group_auc is 100 in the reference")
    return 100.0 * (reference_auc - auc) / (100.0 - reference_auc)


def speedup(seconds: float | None, reference_seconds: float | None) -> float:
    """How many times as long the reference trained; Undefined where a time is unknown or this run's is 0."""
    if not seconds or reference_seconds is None:
        raise Undefined("the training time of this run or of its reference is not known")
    return reference_seconds / seconds


def compute_gaps(metrics: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
    """`tow` and `avg_gap` to the retrain reference m*, the `gaps` |m - m*| and `reasons` for what is None.

    tow = 100 * product over RA, UA, TA of (1 - |m - m*| / 100); avg_gap = mean |m - m*| over RA, UA, TA, MIA, EO, GA.
    """
    gaps = {key: _gap(metrics.get(key), reference.get(key)) for key in GAP_PARTS}
    result: dict[str, Any] = {"tow": None, "avg_gap": None, "gaps": gaps, "reasons": {}}
    for key, parts, combine in (("tow", TOW_PARTS, _tug_of_war), ("avg_gap", GAP_PARTS, _mean)):
        missing = [part for part in parts if gaps[part] is None]
        if missing:
            result["reasons"][key] = f"{', '.join(missing)} is null in this run or in its reference"
        else:
            result[key] = combine([gap for part in parts if (gap := gaps[part]) is not None])
    return result


def _gap(value: float | None, reference: float | None) -> float | None:
    return None if value is None or reference is None else abs(value - reference)


def _tug_of_war(gaps: Sequence[float]) -> float:
    return 100.0 * float(np.prod([1.0 - gap / 100.0 for gap in gaps]))


def _mean(gaps: Sequence[float]) -> float:
    return sum(gaps) / len(gaps)


def _cells(rows: np.ndarray, columns: np.ndarray, n_rows: int, n_columns: int) -> np.ndarray:
    """How often each (row, column) occurs; int (n_rows, n_columns)."""
    return np.bincount(rows * n_columns + columns, minlength=n_rows * n_columns).reshape(n_rows, n_columns)


def _predicted_shares(prediction: np.ndarray, sensitive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes that are predicted, the sensitive values, and each class's share of them, (values, classes)."""
    classes, predicted = np.unique(prediction, return_inverse=True)
    values, group = np.unique(sensitive, return_inverse=True)
    if len(values) < 2:
        raise Undefined("the test samples have fewer than two sensitive values")
    counts = _cells(group, predicted, len(values), len(classes))
    return classes, values, counts / counts.sum(axis=1, keepdims=True)


def _odds_pairs(
    target: np.ndarray, sensitive: np.ndarray, n_targets: int, n_sensitive: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether both cells of a pair have samples, bool (n_targets, n_pairs), and the a and the b of each pair."""
    first, second = np.triu_indices(n_sensitive, k=1)
    filled = _cells(target, sensitive, n_targets, n_sensitive) > 0
    return filled[:, first] & filled[:, second], first, second


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
