"""Whom unlearning exposed: those who stay, and the forgotten to whoever holds both versions of the model.

Members and non-members are compared as the group-aware attack does, of each group as many pairs as the smaller side
has. Nothing is drawn: each side's samples of a group share its pairs evenly, so an AUC is the mean over all draws.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.splits import Splits
from method.evaluation.collected import Collected
from method.evaluation.forgetting import MIN_SAMPLES, refuse_few_pairs
from method.evaluation.membership import auc
from method.evaluation.records import Records
from method.evaluation.registry import ORIGINAL, keys_beside
from utils.errors import RunError, UserError

HELD_OUT = ("val", "test")
ORIGINAL_KEYS = ("retain_exposure", "versions_auc_retain", "versions_auc_held_out")
NO_ORIGINAL = "there are no records of the original model to compare with"
OTHER_ORIGINAL = "the records of the original model cannot be read, or are of other samples"


class Scored(NamedTuple):
    """Arrays (n,): what an attack goes by, higher for a member, and the group id."""

    score: np.ndarray
    group: np.ndarray


def auc_alike(members: Scored, others: Scored, where: str = "val and test have") -> float:
    """AUC in percent of members against others, both with the same shares of the groups; ties count half.

    Undefined with fewer than 20 pairs of the same group; where: who has the others, for the reason.
    """
    sides = members, others
    n_groups = 1 + max(side.group.max(initial=0) for side in sides)
    counts = [np.bincount(side.group, minlength=n_groups) for side in sides]
    n_pairs = np.minimum(*counts)
    refuse_few_pairs(int(n_pairs.sum()), where)
    shares = [n_pairs / np.maximum(n, 1) for n in counts]
    (score, weight), (other, other_weight) = (_ordered(*pair) for pair in zip(sides, shares, strict=True))
    total = np.concatenate([[0.0], np.cumsum(other_weight)])
    below, up_to = (total[np.searchsorted(other, score, side)] for side in ("left", "right"))
    return 100.0 * float(np.average((below + up_to) / (2 * total[-1]), weights=weight))


def auc_by_group(members: Scored, others: Scored, n_groups: int) -> list[float | None]:
    """AUC in percent of each group's members against its others, by group id; None with fewer than 20 pairs."""
    sides = [_split(side, n_groups) for side in (members, others)]
    return [auc(*pair) if min(map(len, pair)) >= MIN_SAMPLES else None for pair in zip(*sides, strict=True)]


def retained_and_held_out(sets: Mapping[str, Records]) -> tuple[Scored, Scored]:
    """R, and V with T, by their losses."""
    return _by_loss(sets["retain"]), _by_loss(*(sets[name] for name in HELD_OUT))


def original_keys() -> tuple[str, ...]:
    """The keys that need the records of the original model: ORIGINAL_KEYS, and registered ones."""
    return (*ORIGINAL_KEYS, *keys_beside(ORIGINAL))


def load_original(file: Path | None) -> Records | str:
    """The saved records of the original model, or why they cannot be had."""
    if file is None or not os.path.exists(file):
        return NO_ORIGINAL
    try:
        return Records.load(file)
    except UserError:
        return OTHER_ORIGINAL


def add_original(values: dict[str, Any], records: Records, splits: Splits, original: Records | str) -> dict[str, Any]:
    """Fill `original_keys`, also those of the groups, into `values`, which `evaluate` gave, and return them.

    original: the records of the model before unlearning, or why there are none, which stands in `reasons` then.
    """
    keys, found = original_keys(), Collected()
    changes: list[float | None] = [None] * len(values["groups"])
    reason = original if isinstance(original, str) else ""
    if not isinstance(original, str):
        try:
            changes = _compare(found, values, records, splits, original)
        except RunError:
            reason = OTHER_ORIGINAL
    if reason:
        found.values, found.reasons = dict.fromkeys(keys), dict.fromkeys(keys, reason)
    for row, change in zip(values["groups"], changes, strict=True):
        row["retain_exposure"] = change
    reasons = {key: text for key, text in values["reasons"].items() if key not in keys}
    values.update(found.values, reasons=reasons | found.reasons)
    return values


def _compare(
    found: Collected, values: Mapping[str, Any], records: Records, splits: Splits, original: Records
) -> list[float | None]:
    """Add what needs both models, and return the change of each group's exposure; RunError for other samples."""
    names = ("forget", "retain", *HELD_OUT)
    own, before = ({name: one.select(getattr(splits, name)) for name in names} for one in (records, original))
    if not all(np.array_equal(own[name].target, before[name].target) for name in names):
        raise RunError(OTHER_ORIGINAL)
    sides = retained_and_held_out(before)
    found.add("retain_exposure", lambda: values["mia_retain_auc"] - auc_alike(*sides))

    def changed(*names: str) -> Scored:
        """By how much phi of the samples of F's groups fell."""
        pairs = [[_of_groups(one[name], splits.forget_groups) for one in (before, own)] for name in names]
        falls = [then.log_odds - now.log_odds for then, now in pairs]
        return Scored(np.concatenate(falls), np.concatenate([now.group for _, now in pairs]))

    forgotten = changed("forget")
    found.add("versions_auc_retain", auc_alike, forgotten, changed("retain"), "the retain set has")
    found.add("versions_auc_held_out", auc_alike, forgotten, changed(*HELD_OUT))
    found.add_registered(records=records, splits=splits, original=original)
    before_by_group = auc_by_group(*sides, len(values["groups"]))
    now_by_group = (row["mia_retain_auc"] for row in values["groups"])
    return [
        None if now is None or then is None else now - then
        for now, then in zip(now_by_group, before_by_group, strict=True)
    ]


def _by_loss(*parts: Records) -> Scored:
    return Scored(-np.concatenate([part.loss for part in parts]), np.concatenate([part.group for part in parts]))


def _of_groups(part: Records, groups: Sequence[int]) -> Records:
    return part.select(part.index[np.isin(part.group, groups)])


def _ordered(side: Scored, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores, ascending, and their weights, by group id; without those of no weight."""
    order = np.argsort(side.score)
    weight = share[side.group[order]]
    return side.score[order][weight > 0], weight[weight > 0]


def _split(side: Scored, n_groups: int) -> list[np.ndarray]:
    """The scores of each group, by group id."""
    ends = np.cumsum(np.bincount(side.group, minlength=n_groups))[:-1]
    return np.split(side.score[np.argsort(side.group, kind="stable")], ends)
