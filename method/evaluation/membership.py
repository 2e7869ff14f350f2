"""The published membership attack: random forests on the per-sample loss.

Its six forests are scikit-learn's, of fully grown trees on ONE feature. Such a tree ends up with a threshold half-way
between any two neighbouring losses of its bootstrap sample that it must tell apart, in whatever order the criterion
places them. So Gini impurity and entropy grow the same trees, and a tree can be read off the sorted losses without
growing it: the same numbers to the last digit (a test compares them with scikit-learn's forests), a hundred times
sooner, on any number of threads. And since every tree takes its seed from random_state in turn, the first 20 and 50 of
100 trees are the smaller forests.
"""

from typing import Any

import numpy as np

from method.evaluation.metrics import Undefined

NON_MEMBER, MEMBER = 0, 1  # a tied vote goes to the lower label, as in scikit-learn's predict
N_TREES = (20, 50, 100)
RANDOM_STATE = 0
# scikit-learn's trees do not separate neighbours that are this close (FEATURE_THRESHOLD).
TOO_CLOSE = np.float32(1e-7)


def published_attack(
    retain_loss: np.ndarray, val_loss: np.ndarray, forget_loss: np.ndarray, test_loss: np.ndarray
) -> dict[str, Any]:
    """The largest share of F that the forests, fitted on members R and non-members V, call non-member; percent.

    All losses are float (n,). `mia`: that share. `mia_forest_auc`: AUC of the same forest (the first of those with the
    largest share) for telling F from T by its member probability, None if T is empty. `mia_baseline`: the share of V in
    R and V, which `mia` is close to where the loss carries no signal and differs from sample to sample. Undefined if R,
    V or F is empty.
    """
    for losses, name in ((retain_loss, "retain"), (val_loss, "val"), (forget_loss, "forget")):
        if len(losses) == 0:
            raise Undefined(f"there is no {name} sample, and the attack needs members, non-members and a forget set")
    n_forget = len(forget_loss)
    best, best_share = np.empty(0), -1.0
    for chance in forest_probabilities(retain_loss, val_loss, np.concatenate([forget_loss, test_loss])).values():
        called_non_member = chance[:n_forget, NON_MEMBER] >= chance[:n_forget, MEMBER]
        share = 100.0 * np.count_nonzero(called_non_member) / n_forget
        if share > best_share:
            best, best_share = chance[:, MEMBER], share
    return {
        "mia": best_share,
        "mia_forest_auc": auc(best[:n_forget], best[n_forget:]) if len(test_loss) else None,
        "mia_baseline": 100.0 * len(val_loss) / (len(retain_loss) + len(val_loss)),
    }


def forest_probabilities(
    member_loss: np.ndarray, non_member_loss: np.ndarray, asked: np.ndarray
) -> dict[int, np.ndarray]:
    """Number of trees -> probabilities (len(asked), 2) of non-member and member; the same for either criterion."""
    losses = _as_tree_input(np.concatenate([member_loss, non_member_loss]))
    n = len(losses)
    order = np.argsort(losses, kind="stable")
    losses, is_member = losses[order], order < len(member_loss)
    distinct, place = np.unique(_as_tree_input(asked), return_inverse=True)
    # The legacy generator is part of the published protocol: it is what random_state means in scikit-learn.
    # One generator draws for every tree: a new one would first gather entropy that its seed then replaces.
    seeds, generator = np.random.RandomState(RANDOM_STATE), np.random.RandomState(RANDOM_STATE)
    total = np.zeros((len(distinct), 2))
    result = {}
    for number in range(1, max(N_TREES) + 1):
        generator.seed(seeds.randint(np.iinfo(np.int32).max))
        weight = np.bincount(generator.randint(0, n, n), minlength=n)[order]
        total += tree_probabilities(losses, is_member, weight, distinct)
        if number in N_TREES:
            result[number] = (total / number)[place]
    return result


def tree_probabilities(losses: np.ndarray, is_member: np.ndarray, weight: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Probabilities (len(asked), 2) of a fully grown tree on sorted float32 `losses` (n,), each `weight` times there.

    A leaf holds the losses too close to be separated, its probabilities are their shares, and the threshold to the
    next leaf lies half-way between its last loss and the first of the next.
    """
    drawn = weight > 0
    losses, weight, member_weight = losses[drawn], weight[drawn], (weight * is_member)[drawn]
    first = np.flatnonzero(np.concatenate([[True], losses[1:] > losses[:-1] + TOO_CLOSE]))
    thresholds = losses[first[1:] - 1] / np.float64(2) + losses[first[1:]] / np.float64(2)
    size, members = np.add.reduceat(weight, first), np.add.reduceat(member_weight, first)
    leaf = np.searchsorted(thresholds, asked, side="left")
    return (np.stack([size - members, members], axis=1) / size[:, None])[leaf]


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability, percent, that a positive score exceeds a negative one; ties count half (Mann-Whitney U)."""
    ordered, asked = np.sort(negative), np.sort(positive)  # sorted values are found several times sooner
    below, up_to = (int(np.searchsorted(ordered, asked, side).sum()) for side in ("left", "right"))
    return 100.0 * (below + up_to) / (2 * len(positive) * len(negative))


def tpr_at(positive: np.ndarray, negative: np.ndarray, one_in: int) -> float:
    """Largest share of positive scores, percent, above a threshold that at most one in `one_in` negatives exceeds.

    A point of the ROC curve, never one between two: scores that tie lie on one side together. Undefined with fewer
    negatives than `one_in`, of which a single one would be too many (Carlini et al. 2022, LiRA, section III).
    """
    n_allowed = len(negative) // one_in
    if not n_allowed:
        raise Undefined(
            f"a false-positive rate of one in {one_in} needs {one_in} non-members, and there are {len(negative)}"
        )
    place = len(negative) - 1 - n_allowed
    threshold = np.partition(negative, place)[place]
    return 100.0 * np.count_nonzero(positive > threshold) / len(positive)


def _as_tree_input(losses: np.ndarray) -> np.ndarray:
    """float32, which scikit-learn's trees compare; a loss beyond its range stays finite."""
    return np.minimum(losses, np.finfo(np.float32).max).astype(np.float32)
