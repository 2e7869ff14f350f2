"""Forgetting quality of the NeurIPS 2023 machine unlearning challenge, from one number a sample of many models.

Of every forgotten sample there are N numbers phi of unlearned models and N of retrained ones. An attacker who knows
both tells from one phi which kind of model it is, by a threshold or by two. The best such rule's false positive and
false negative rate give epsilon, as in differential privacy, and the sample earns 2^-floor(epsilon / 0.5) points.

The rules are those of `metric.py` in the challenge's repository (google-deepmind/unlearning_evaluation, 2024), with its
thresholds. What differs: its grid is taken in exact arithmetic, where that code rounds to 32 bits; and a sample for
which no rule is left has epsilon 0, where that code ends. Triantafillou et al., Are we making progress in unlearning?
Findings from the first NeurIPS unlearning competition, 2024.
"""

from typing import NamedTuple

import numpy as np

from method.evaluation.columns import HIGH
from method.evaluation.measures import Measure
from method.evaluation.metrics import Undefined

DELTA = 1e-5
LARGEST = 50.0  # epsilon of what is told apart without an error
WIDTH = 0.5  # of epsilon, after which a sample earns half as much
PEAKED = 0.01  # ratio of the two ranges below which the narrower one is told at once
PER_UNIT = 100  # thresholds in one unit of phi
REACH = 2.0  # units on either side of the narrower range's ends in which double thresholds are tried
N_SIDES = int(2 * REACH * PER_UNIT)  # thresholds of either end
STEP = 2 * REACH / (N_SIDES - 1)
SKIPPED = -1.0
CHUNK = 2048  # samples at once: what they need stays in a processor's cache
FEWEST = 8  # models of either kind; of fewer the points have two or three values

_SOURCE = "NeurIPS 2023 machine unlearning challenge (Triantafillou et al., 2024)"
_LIMITS = (
    "With N models of either kind an epsilon above about ln(N - 1) cannot be seen, and chance alone makes epsilon"
    " large: the ceiling is not 1 but the floor, which is what retrained models reach against each other at the same N."
    " The challenge took N = 512; a few dozen give an estimate. Samples of one original only."
)
MEASURES = (
    Measure(
        "forgetting_quality",
        "F",
        "how hard unlearned models are to tell from retrained ones by their output for a forgotten sample; 1 is best",
        "mean over forgotten samples of 2^-floor(epsilon / 0.5), epsilon = max(ln((1 - delta - FPR) / FNR), ln((1 -"
        " delta - FNR) / FPR)) of the best single or double threshold on phi, delta = 1e-5",
        _SOURCE,
        _LIMITS,
        unit="",
        best=HIGH,
        decimals=3,
    ),
    Measure(
        "forgetting_score",
        "F score",
        "forgetting quality times the accuracy that is kept on R and on T",
        "F x RA_u / RA_r x TA_u / TA_r, with accuracies averaged over the unlearned and over the retrained models",
        _SOURCE,
        "It exceeds F where the unlearned models are more accurate than the retrained ones. " + _LIMITS,
        unit="",
        best=HIGH,
        decimals=3,
    ),
)


class _Merged(NamedTuple):
    """Both kinds' values in order, (2 N, n), and how many of each kind are among the first 0 to 2 N, (2 N + 1, n)."""

    values: np.ndarray
    first: np.ndarray
    second: np.ndarray


def forgetting_points(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """The points of each sample, (n,), 0 to 1, whose mean is F; phi of (N, n) unlearned and (N, n) retrained models."""
    return np.exp2(-np.floor(epsilons(unlearned, retrained) / WIDTH))


def epsilons(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """Epsilon of each sample, (n,), 0 to 50; phi of (N, n) unlearned and (N, n) retrained models, float.

    Undefined for fewer than 8 models of either kind.
    """
    if unlearned.shape != retrained.shape:
        raise ValueError(f"phi of {unlearned.shape} and {retrained.shape}: expected as many models of the same samples")
    n_models, n = unlearned.shape
    if n_models < FEWEST:
        raise Undefined(f"there are {n_models} models of either kind, expected {FEWEST} or more")
    table = epsilon_table(n_models)
    parts = (slice(first, first + CHUNK) for first in range(0, n, CHUNK))
    found = [_chunk(unlearned[:, part], retrained[:, part], table) for part in parts]
    return np.concatenate(found) if found else np.empty(0)


def epsilon_table(n_models: int) -> np.ndarray:
    """Epsilon of so many false positives (rows) and false negatives (columns) among N; SKIPPED where it is not taken.

    With exactly one of the two at 0 there are too few models to tell how small it is.
    """
    share = np.arange(n_models + 1) / n_models
    fpr, fnr = share[:, None], share[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.fmax(np.log(1 - DELTA - fpr) - np.log(fnr), np.log(1 - DELTA - fnr) - np.log(fpr))
    found = np.where(np.isnan(found), SKIPPED, np.clip(found, 0, LARGEST))
    found[0, :] = found[:, 0] = SKIPPED
    found[0, 0] = LARGEST
    return found


def _chunk(unlearned: np.ndarray, retrained: np.ndarray, table: np.ndarray) -> np.ndarray:
    larger = np.median(retrained, axis=0) > np.median(unlearned, axis=0)
    positive, negative = np.where(larger, retrained, unlearned), np.where(larger, unlearned, retrained)
    ranges = np.ptp(positive, axis=0), np.ptp(negative, axis=0)
    narrower = ranges[0] < ranges[1]
    narrow, wide = np.where(narrower, positive, negative), np.where(narrower, negative, positive)
    single = _best_single(_merge(positive, negative), table)
    double = _best_double(_merge(narrow, wide), narrow, table)
    peaked = np.minimum(*ranges) < PEAKED * np.maximum(*ranges)
    return np.where(peaked, LARGEST, np.maximum(np.maximum(single, double), 0))


def _merge(first: np.ndarray, second: np.ndarray) -> _Merged:
    both = np.concatenate([first, second])
    order = np.argsort(both, axis=0, kind="stable")
    is_first = np.zeros((len(both) + 1, both.shape[1]), dtype=np.int32)
    is_first[1:] = order < len(first)
    n_first = np.cumsum(is_first, axis=0, dtype=np.int32)
    n_all = np.arange(len(both) + 1, dtype=np.int32)[:, None]
    return _Merged(np.take_along_axis(both, order, axis=0), n_first, n_all - n_first)


def _best_single(merged: _Merged, table: np.ndarray) -> np.ndarray:
    """The largest epsilon of the rules that call `first` what is at or above a threshold; SKIPPED without one.

    The thresholds lie evenly from the smallest to the largest value, PER_UNIT in a unit. Between two neighbouring
    values all of them give the same rates, so it is enough to know whether there is one.
    """
    values, n_models = merged.values, len(merged.values) // 2
    low, high = values[0], values[-1]
    last = np.ceil((high - low) * PER_UNIT) - 1  # number of the last threshold
    step = np.where(last > 0, (high - low) / np.maximum(last, 1), 1.0)
    at_or_below = np.where(values >= high, last, np.floor((values - low) / step))
    begin = np.concatenate([np.zeros((1, len(low))), at_or_below + 1])
    end = np.concatenate([at_or_below, last[None]])
    found = table[n_models - merged.second, merged.first]
    return np.where(begin <= end, found, SKIPPED).max(axis=0)


def _best_double(merged: _Merged, narrow: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The largest epsilon of the rules that call narrow (`first`) what lies between two thresholds.

    The right one takes N_SIDES places within REACH of the narrow values' largest; the left one N_SIDES places within
    REACH of the right one less the narrow values' range. Both lie on one grid: left place m goes with right place k
    for m - k from 0 to N_SIDES - 1. Between two neighbouring values all places are alike, for either threshold.
    """
    values, n_models = merged.values, len(narrow)
    rights = np.ceil((values - (narrow.max(axis=0) - REACH)) / STEP)  # first place at or above each value
    lefts = np.floor((values - (narrow.min(axis=0) - 2 * REACH)) / STEP)  # last place at or below it
    edge = np.zeros((1, values.shape[1]))
    right_begin = np.maximum(np.concatenate([edge, rights]), 0)
    right_end = np.minimum(np.concatenate([rights - 1, edge + N_SIDES - 1]), N_SIDES - 1)
    left_begin = np.maximum(np.concatenate([edge, lefts + 1]), 0)
    left_end = np.minimum(np.concatenate([lefts, edge + 2 * N_SIDES - 2]), 2 * N_SIDES - 2)
    left_end[left_begin > left_end] = -1  # no place: it goes with none
    flat, best = table.ravel(), np.full(values.shape[1], SKIPPED)
    for right in range(1, len(values) + 1):
        there = right_begin[right] <= right_end[right]
        if not there.any():
            continue
        left = slice(0, right)  # further left thresholds leave nothing between
        goes = (left_end[left] >= right_begin[right]) & (left_begin[left] <= right_end[right] + N_SIDES - 1) & there
        false_positives = merged.second[right] - merged.second[left]
        false_negatives = n_models - (merged.first[right] - merged.first[left])
        found = flat[false_positives * (n_models + 1) + false_negatives]
        np.maximum(best, np.where(goes, found, SKIPPED).max(axis=0), out=best)
    return best
