"""Has F been forgotten? Membership attacks with as many non-members as members: 50 means that nothing is left of it.

Members are forgotten samples, non-members come from the validation and the test set; the only feature is the loss.
Both attacks draw several times with seeds of their own, the same for every run, so that runs are compared on the same
samples. Above 50 the forget set still has the lower losses; an AUC below 50 says that it has the higher ones.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from method.evaluation.membership import auc, tpr_at
from method.evaluation.metrics import Undefined

MIN_SAMPLES = 20
N_DRAWS = 5
N_FOLDS = 5
LOW_RATES = {"tpr_at_1": 100, "tpr_at_01": 1000}  # one false positive in so many: 1 % and 0.1 %
Scores = dict[str, float | Undefined]


class Samples(NamedTuple):
    """Arrays (n,): the loss in nats, the target and the group id."""

    loss: np.ndarray
    target: np.ndarray
    group: np.ndarray


def balanced_attack(members: Samples, others: Samples) -> Scores:
    """All of F (`members`) against as many of V and T (`others`) of the same groups, percent.

    Where a group is short, its place is filled by other samples of its target; `mia_filled` is the share of those among
    the non-members. Membership and group are told apart only where it is 0. `mia_auc`, `mia_balanced_acc`,
    `mia_tpr_at_1`, `mia_tpr_at_01` (Undefined below 100 and 1000 non-members) and, with `_sd`, their sample standard
    deviations over the draws. Undefined if F has fewer than 20 samples or more of a target than V and T.
    """
    _refuse_few(len(members.loss))
    drawn = [draw_alike(members, others, np.random.default_rng(seed)) for seed in range(N_DRAWS)]
    pairs = ((members.loss, others.loss[rows]) for rows, _ in drawn)
    # How many are filled follows from the counts alone, so every draw has as many.
    return {**_attack("mia", pairs), "mia_filled": 100.0 * drawn[0][1] / len(members.loss)}


def group_aware_attack(members: Samples, others: Samples) -> Scores:
    """Members and non-members of the same groups, never filled: membership is not confounded with the group; percent.

    Of each group as many as the side that has fewer. `mia_group_auc` and so on, as above. Undefined with fewer than 20
    members or 20 such pairs.
    """
    _refuse_few(len(members.loss))
    there = _counts(others.group)
    wanted = {group: min(n, there.get(group, 0)) for group, n in _counts(members.group).items()}
    refuse_few_pairs(sum(wanted.values()))
    return _attack("mia_group", _group_pairs(members, others, wanted))


def draw_alike(members: Samples, others: Samples, generator: np.random.Generator) -> tuple[np.ndarray, int]:
    """len(members) different rows of `others` with the groups of the members, and how many of them were filled.

    A group that is short takes all its samples; what is missing comes from the same target's other samples.
    """
    order = generator.permutation(len(others.loss))
    rows, n_filled = [], 0
    for target, n_target in _counts(members.target).items():
        same_target = order[others.target[order] == target]
        if len(same_target) < n_target:
            raise Undefined(
                f"the forget set has {n_target} samples of target {target}, and val and test have {len(same_target)}"
            )
        own = take_groups(same_target, others.group, _counts(members.group[members.target == target]))
        n_short = n_target - len(own)
        rows += [own, same_target[~np.isin(same_target, own)][:n_short]]
        n_filled += n_short
    return np.concatenate(rows), n_filled


def take_groups(order: np.ndarray, group: np.ndarray, counts: dict[int, int]) -> np.ndarray:
    """Of each group the first counts[group] rows in `order`, or all that there are."""
    return np.concatenate([order[group[order] == wanted][:n] for wanted, n in counts.items()])


def attack_accuracy(member_loss: np.ndarray, non_member_loss: np.ndarray, seed: int) -> float:
    """Share of samples that a logistic regression fitted on the other folds tells right, percent; float (n,) each.

    As many members as non-members make it the balanced accuracy. The loss is standardised on the training folds.
    """
    # Importing scikit-learn takes a second, and only an evaluation needs it: the report and --help do without.
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    loss = np.concatenate([member_loss, non_member_loss])
    is_member = np.arange(len(loss)) < len(member_loss)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(loss, is_member)
    n_right = 0
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for train, asked in folds:
            # Constant losses have no deviation; then every sample lands on one side.
            score = ((loss - loss[train].mean()) / (loss[train].std() or 1.0))[:, None]
            model = LogisticRegression().fit(score[train], is_member[train])
            called = score[asked, 0] * model.coef_[0, 0] + model.intercept_[0] > 0
            n_right += int(np.count_nonzero(called == is_member[asked]))
    return 100.0 * n_right / len(loss)


def _attack(name: str, draws: Iterator[tuple[np.ndarray, np.ndarray]]) -> Scores:
    """Mean and sample standard deviation over draws of (member loss, non-member loss)."""
    pairs = list(draws)
    found = _over_draws(f"{name}_auc", [auc(-inside, -outside) for inside, outside in pairs])
    found |= _over_draws(f"{name}_balanced_acc", [attack_accuracy(*pair, seed) for seed, pair in enumerate(pairs)])
    for key, one_in in LOW_RATES.items():
        try:
            found |= _over_draws(f"{name}_{key}", [tpr_at(-inside, -outside, one_in) for inside, outside in pairs])
        except Undefined as undefined:
            found |= dict.fromkeys((f"{name}_{key}", f"{name}_{key}_sd"), undefined)
    return found


def _over_draws(key: str, values: Sequence[float]) -> Scores:
    return {key: float(np.mean(values)), f"{key}_sd": float(np.std(values, ddof=1))}


def _group_pairs(members: Samples, others: Samples, counts: dict[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for seed in range(N_DRAWS):
        generator = np.random.default_rng(seed)
        inside, outside = (
            take_groups(generator.permutation(len(side.loss)), side.group, counts) for side in (members, others)
        )
        yield members.loss[inside], others.loss[outside]


def _counts(values: np.ndarray) -> dict[int, int]:
    return {int(value): int(n) for value, n in zip(*np.unique(values, return_counts=True), strict=True)}


def refuse_few_pairs(n: int, where: str = "val and test have") -> None:
    """Undefined for fewer than 20 pairs of a member and a non-member; where: who has the non-members."""
    if n < MIN_SAMPLES:
        raise Undefined(
            f"the attack needs {MIN_SAMPLES} pairs of a member and a non-member of the same group,"
            f" and {where} samples for {n}"
        )


def _refuse_few(n: int) -> None:
    if n < MIN_SAMPLES:
        raise Undefined(f"the forget set has {n} samples, and the attack needs {MIN_SAMPLES}")
