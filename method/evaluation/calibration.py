"""Whether a model knows when it is wrong: ECE and AUROC on the test set, of all samples and by group."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from method.evaluation.membership import auc
from method.evaluation.metrics import Undefined
from method.evaluation.records import Records

N_BINS = 15
SMALLEST = np.finfo(np.float64).tiny


def calibration_error(test: Records) -> float:
    """Expected calibration error, percent (Guo et al. 2017, ICML); Undefined without a sample.

    Sum over 15 bins of equal width, by the probability of the predicted class, of the bin's share of the samples times
    |its accuracy - its mean probability|.
    """
    if not len(test):
        raise Undefined("there is no test sample")
    shifted = np.exp(test.logits.astype(np.float64) - test.logits.max(axis=1, keepdims=True))
    confidence = 1.0 / shifted.sum(axis=1)
    place = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    apart = np.bincount(place, test.correct - confidence, N_BINS)
    return 100.0 * float(np.abs(apart).sum()) / len(test)


def ranking(test: Records) -> float:
    """AUROC, percent: mean over the targets y of the chance that p(y) of a sample of y exceeds that of another one.

    Undefined where the samples have fewer than two targets.
    """
    odds = log_odds(test)
    targets = np.unique(test.target)
    if len(targets) < 2:
        raise Undefined("the test samples have fewer than two targets")
    parts = [auc(odds[test.target == target, target], odds[test.target != target, target]) for target in targets]
    return sum(parts) / len(parts)


def add_by_group(groups: Sequence[dict[str, Any]], test: Records, n_sensitive: int) -> None:
    """Add `test_ece` and `test_auroc` to the rows of the group table, None where T does not determine them.

    The AUROC of a group is that of its target among the samples of its sensitive value.
    """
    odds = log_odds(test)
    for row in groups:
        target, sensitive = divmod(row["id"], n_sensitive)
        alike = test.sensitive == sensitive
        own, others = alike & (test.target == target), alike & (test.target != target)
        row["test_ece"] = calibration_error(test.select(test.index[own])) if own.any() else None
        row["test_auroc"] = auc(odds[own, target], odds[others, target]) if own.any() and others.any() else None


def log_odds(test: Records) -> np.ndarray:
    """log(p / (1 - p)) of every class, (n, C): it orders samples as p does, and still where p rounds to 1."""
    logits = test.logits.astype(np.float64)
    rows, largest = np.arange(len(logits)), test.logits.argmax(axis=1)
    parts = np.exp(logits - logits[rows, largest][:, None])
    others = parts.sum(axis=1, keepdims=True) - parts
    parts[rows, largest] = 0.0
    others[rows, largest] = parts.sum(axis=1)
    return logits - logits[rows, largest][:, None] - np.log(np.maximum(others, SMALLEST))
