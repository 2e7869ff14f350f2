"""The published columns as pure functions of arrays: percent, float64, and never NaN."""

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
    share = n_correct / n
    centre = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 100.0 / (1 + z**2 / n)
    return max(0.0, float(scale * (centre - half))), min(100.0, float(scale * (centre + half)))


def group_table(sets: Mapping[str, tuple[np.ndarray, np.ndarray]], names: Sequence[str]) -> list[dict[str, Any]]:
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


def worst_group(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The lowest test accuracy over groups present in the test set (a tie goes to the first), its group and n."""
    present = [row for row in groups if row["n_test"]]
    if not present:
        raise Undefined("there is no test sample")
    worst = min(present, key=lambda row: row["test_acc"])
    return {"worst_group_acc": worst["test_acc"], "worst_group": worst["name"], "worst_group_n": worst["n_test"]}


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


def compare(metrics: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
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
            result[key] = combine([gaps[part] for part in parts])
    return result


def _gap(value: float | None, reference: float | None) -> float | None:
    return None if value is None or reference is None else abs(value - reference)


def _tug_of_war(gaps: Sequence[float]) -> float:
    return 100.0 * float(np.prod([1.0 - gap / 100.0 for gap in gaps]))


def _mean(gaps: Sequence[float]) -> float:
    return sum(gaps) / len(gaps)
