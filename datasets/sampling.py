"""The order in which a pass visits its samples: a permutation, or weighted draws; and subsampling to equal groups."""

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


def group_balanced_weights(groups: np.ndarray) -> np.ndarray:
    """w_i = 1 / N_g for sample i of group g: every group that is present is as likely as another. float64."""
    return 1 / np.bincount(groups)[groups]


def subsample(indices: np.ndarray, groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As many of `indices` of every group as the smallest has that is present, drawn without replacement, sorted.

    groups: the group of each index.
    """
    members = [indices[groups == group] for group in np.unique(groups)]
    smallest = min(map(len, members))
    return np.sort(np.concatenate([generator.choice(rows, smallest, replace=False) for rows in members]))


def draw(indices: np.ndarray, weights: np.ndarray | None, generator: np.random.Generator) -> np.ndarray:
    """One epoch's order: a permutation of `indices`, or as many draws with replacement in proportion to `weights`."""
    if weights is None:
        return generator.permutation(indices)
    return generator.choice(indices, size=len(indices), replace=True, p=weights / weights.sum())
