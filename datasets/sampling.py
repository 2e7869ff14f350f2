"""The order in which a pass visits its samples: a permutation, or REWEIGHT's draws."""

import numpy as np


def reweight_weights(retain_groups: np.ndarray, train_groups: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """REWEIGHT (De Min et al., TMLR 2025): w_i = N_g(D) / N_g(R) for retain sample i of group g.

    Sampling with these weights gives train's group distribution. Returns float64 weights, one per retain sample, and
    the groups that it cannot restore because retain has none of them.
    """
    n_groups = int(train_groups.max()) + 1
    n_train = np.bincount(train_groups, minlength=n_groups)
    n_retain = np.bincount(retain_groups, minlength=n_groups)
    lost_groups = np.flatnonzero((n_retain == 0) & (n_train > 0)).tolist()
    return n_train[retain_groups] / n_retain[retain_groups], lost_groups


def draw(indices: np.ndarray, weights: np.ndarray | None, generator: np.random.Generator) -> np.ndarray:
    """One epoch's order: a permutation of `indices`, or as many draws with replacement in proportion to `weights`."""
    if weights is None:
        return generator.permutation(indices)
    return generator.choice(indices, size=len(indices), replace=True, p=weights / weights.sum())
