"""True-positive rates of scores from several runs, and intervals over the runs.

The runs are what is drawn by chance. An interval leaves out one block of runs after the other (delete-a-group
jackknife, Kott 2001, Journal of Official Statistics 17), and everything is made anew without them: the fits that the
scores rest on too. Draws of whole runs with the scores as they are would be cheaper, and hold the truth in 78 to 96 of
100 simulations only, as runs share their fits (benchmarks/audit.py).
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from method.evaluation.forgetting import LOW_RATES
from method.evaluation.intervals import LEVEL
from method.evaluation.membership import auc, tpr_at
from method.evaluation.metrics import Undefined

MOST_BLOCKS = 20


def run_values(positive: np.ndarray, negative: np.ndarray) -> dict[str, float | Undefined]:
    """AUC and the true-positive rates of LOW_RATES, percent, of scores (n,), or why there is none."""
    found: dict[str, float | Undefined] = {}
    positive, negative = np.sort(positive), np.sort(negative)
    for name, one_in in ({"auc": None} | LOW_RATES).items():
        try:
            _refuse_none(positive, negative)
            found[name] = auc(positive, negative) if one_in is None else tpr_at(positive, negative, one_in)
        except Undefined as reason:
            found[name] = reason
    return found


def blocks(n_runs: int) -> list[np.ndarray]:
    """Which runs are left when one block is left out, bool (M,) each: of up to MOST_BLOCKS blocks of neighbours."""
    n_blocks = min(n_runs, MOST_BLOCKS)
    block = np.arange(n_runs) * n_blocks // n_runs
    return [block != left_out for left_out in range(n_blocks)]


def interval(value: float, again: Sequence[float], low: float, high: float) -> tuple[float, float] | None:
    """Both ends, between `low` and `high`, from the values with a block left out each; None of fewer than 2 blocks.

    Student's quantile, with a degree of freedom less than there are blocks, times the jackknife's standard error.
    """
    n = len(again)
    if n < 2:
        return None
    error = np.sqrt((n - 1) * np.var(again))
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2) * error)
    return max(low, value - half), min(high, value + half)


def _refuse_none(positive: np.ndarray, negative: np.ndarray) -> None:
    if not len(positive) or not len(negative):
        raise Undefined("no forgotten sample has two or more other runs on each side")
