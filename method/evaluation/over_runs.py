"""What scores from several runs tell, beyond a placebo's too, and intervals over the runs.

The runs are what is drawn by chance. An interval leaves out one block of runs after the other (delete-a-group
jackknife, Kott 2001, Journal of Official Statistics 17), and everything is made anew without them: the fits that the
scores rest on too. Draws of whole runs with the scores as they are would be cheaper, and hold the truth in 78 to 96 of
100 simulations only, as runs share their fits (benchmarks/audit.py).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from method.evaluation.forgetting import LOW_RATES
from method.evaluation.intervals import LEVEL
from method.evaluation.membership import auc, tpr_at
from method.evaluation.metrics import Undefined

MOST_BLOCKS = 20
# What of a value is beyond a placebo's: its key, that of the value, and the ends of what it can be.
EXCESSES = {
    "excess": ("auc", -100.0, 100.0),
    "excess_d": ("auc", -np.inf, np.inf),
    "excess_tpr_at_1": ("tpr_at_1", -100.0, 100.0),
}
Values = Mapping[str, float | Undefined]


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


def excesses(own: Values, placebo: Values, n_pairs: int) -> dict[str, float | Undefined]:
    """EXCESSES of what `run_values` gives of an attack and of its placebo, or why there is none.

    In points, and of `excess_d` in standard deviations (`d_prime`). n_pairs: of scores, in either attack.
    """
    found: dict[str, float | Undefined] = {}
    for name, (key, *_) in EXCESSES.items():
        value, other = own[key], placebo[key]
        if isinstance(value, Undefined) or isinstance(other, Undefined):
            found[name] = value if isinstance(value, Undefined) else other
        elif name != "excess_d":
            found[name] = value - other
        elif value == other and value in (0.0, 100.0):
            found[name] = Undefined(f"the AUC and that of the placebo are both exactly {value:g} %")
        else:
            found[name] = d_prime(value, n_pairs) - d_prime(other, n_pairs)
    return found


def d_prime(auc: float, n_pairs: int) -> float:
    """sqrt(2) Phi^-1(AUC) of an AUC in percent: how many standard deviations two equally wide Gaussians are apart.

    An AUC of 0 or 100 is taken as half of one of `n_pairs` pairs away from it. Green and Swets, Signal Detection Theory
    and Psychophysics, 1966.
    """
    nearest = 0.5 / n_pairs
    return float(np.sqrt(2) * ndtri(min(max(auc / 100.0, nearest), 1 - nearest)))


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
