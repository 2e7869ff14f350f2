"""The balanced and the group-aware attack: known answers, scikit-learn beside them, and who is drawn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from method.evaluation.forgetting import (
    MIN_SAMPLES,
    N_DRAWS,
    Samples,
    attack_accuracy,
    balanced_attack,
    draw_alike,
    group_aware_attack,
)
from method.evaluation.metrics import Undefined

GROUPS_PER_TARGET = 2


def samples(counts: dict[int, int], loss: np.ndarray | float) -> Samples:
    """counts[group] samples of each group, of target group // 2."""
    group = np.repeat(list(counts), list(counts.values()))
    return Samples(np.broadcast_to(np.float64(loss), group.shape).copy(), group // GROUPS_PER_TARGET, group)


def random_losses(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=n)


def test_separated_losses_are_told_apart_completely() -> None:
    members, others = samples({2: 40}, 0.01), samples({2: 90, 0: 50}, 2.0)
    members.loss[:] += np.linspace(0, 0.1, 40)
    found = balanced_attack(members, others) | group_aware_attack(members, others)
    for name in ("mia", "mia_group"):
        assert (found[f"{name}_auc"], found[f"{name}_auc_sd"]) == (100.0, 0.0)
        assert (found[f"{name}_balanced_acc"], found[f"{name}_balanced_acc_sd"]) == (100.0, 0.0)
    assert found["mia_filled"] == 0.0


def test_a_forget_set_with_the_higher_losses_has_auc_0() -> None:
    assert balanced_attack(samples({2: 40}, 3.0), samples({2: 90}, 0.5))["mia_auc"] == 0.0


def test_random_losses_read_50_within_the_spread() -> None:
    scores: dict[str, list[float]] = {}
    for seed in range(12):
        members, others = samples({2: 60}, random_losses(60, seed)), samples({2: 200}, random_losses(200, 1000 + seed))
        for name, value in measured(balanced_attack(members, others) | group_aware_attack(members, others)).items():
            scores.setdefault(name, []).append(value)
    for name in ("mia_auc", "mia_balanced_acc", "mia_group_auc", "mia_group_balanced_acc"):
        assert abs(np.mean(scores[name]) - 50) < np.mean(scores[f"{name}_sd"]) < 10


@pytest.mark.filterwarnings("error")
def test_constant_losses_carry_no_signal() -> None:
    found = balanced_attack(samples({2: 30}, 1.0), samples({2: 60}, 1.0))
    assert (found["mia_auc"], found["mia_auc_sd"]) == (50.0, 0.0)
    assert found["mia_balanced_acc"] == pytest.approx(50.0)
    # 0.1 is no binary fraction, and 31 cannot be divided into five equal folds.
    odd = balanced_attack(samples({2: 31}, 0.1), samples({2: 60}, 0.1))
    assert odd["mia_auc"] == 50.0
    assert abs(odd["mia_balanced_acc"] - 50) < 5


def measured(found: dict[str, float | Undefined]) -> dict[str, float]:
    """What there are samples enough for: the rates at a false-positive rate of 1 % need 100 non-members."""
    return {key: value for key, value in found.items() if not isinstance(value, Undefined)}


def scikit_learns(name: str, draws: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """AUC and accuracy of the pairs of (member loss, non-member loss), with scikit-learn's own functions throughout."""
    aucs, accuracies = [], []
    for seed, (member_loss, non_member_loss) in enumerate(draws):
        loss = np.concatenate([member_loss, non_member_loss])[:, None]
        is_member = np.repeat([True, False], [len(member_loss), len(non_member_loss)])
        aucs.append(100 * roc_auc_score(is_member, -loss[:, 0]))
        model = make_pipeline(StandardScaler(), LogisticRegression())
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        accuracies.append(100 * balanced_accuracy_score(is_member, cross_val_predict(model, loss, is_member, cv=folds)))
    assert len(draws) == 5
    scores = {"auc": aucs, "balanced_acc": accuracies}
    means = {f"{name}_{key}": np.mean(values) for key, values in scores.items()}
    return means | {f"{name}_{key}_sd": np.std(values, ddof=1) for key, values in scores.items()}


def test_the_balanced_attack_is_scikit_learns() -> None:
    members = samples({2: 51, 0: 32}, random_losses(83, 1))
    others = samples({2: 70, 0: 60}, 1.4 * random_losses(130, 2))
    drawn = [draw_alike(members, others, np.random.default_rng(seed)) for seed in range(N_DRAWS)]
    expected = scikit_learns("mia", [(members.loss, others.loss[rows]) for rows, _ in drawn])
    found = balanced_attack(members, others)
    assert measured(found) == pytest.approx({**expected, "mia_filled": 0.0}, abs=1e-9)
    assert min(expected["mia_auc_sd"], expected["mia_balanced_acc_sd"]) > 0.1


def test_the_group_aware_attack_is_scikit_learns() -> None:
    # Group 2 has more members, group 0 more non-members: 40 and 32 pairs.
    members = samples({2: 51, 0: 32}, random_losses(83, 1))
    others = samples({2: 40, 0: 60, 3: 90}, 1.4 * random_losses(190, 2))
    draws = []
    for seed in range(N_DRAWS):
        generator = np.random.default_rng(seed)
        sides = []
        for side in (members, others):
            order = generator.permutation(len(side.group)).tolist()
            taken = [[row for row in order if side.group[row] == group][:n] for group, n in ((0, 32), (2, 40))]
            sides.append(side.loss[taken[0] + taken[1]])
        draws.append(tuple(sides))
    expected = scikit_learns("mia_group", draws)
    assert measured(group_aware_attack(members, others)) == pytest.approx(expected, abs=1e-9)
    assert min(expected["mia_group_auc_sd"], expected["mia_group_balanced_acc_sd"]) > 0.1


def test_global_random_state_is_neither_used_nor_disturbed() -> None:
    members, others = samples({2: 1000}, random_losses(1000, 3)), samples({2: 1070}, random_losses(1070, 4))
    np.random.seed(1)
    first, drawn = balanced_attack(members, others) | group_aware_attack(members, others), np.random.random()
    np.random.seed(2)
    assert balanced_attack(members, others) | group_aware_attack(members, others) == first
    np.random.seed(1)
    assert np.random.random() == drawn


def test_non_members_have_the_groups_of_the_members_and_the_short_group_is_filled_from_its_target() -> None:
    # Group 2 wants 30 and has 12; its target's other group, 3, wants 5 and has 60: 18 of the others fill. Group 0 wants
    # 7 and has 4: 3 of group 1 fill.
    members, others = samples({2: 30, 3: 5, 0: 7}, 1.0), samples({2: 12, 3: 60, 0: 4, 1: 100}, 1.0)
    for seed in range(5):
        rows, n_filled = draw_alike(members, others, np.random.default_rng(seed))
        assert len(np.unique(rows)) == len(rows) == 42
        assert np.bincount(others.group[rows], minlength=4).tolist() == [4, 3, 12, 23]
        assert n_filled == 21
    assert balanced_attack(members, others)["mia_filled"] == pytest.approx(50.0)


def test_draws_differ() -> None:
    members, others = samples({2: 30}, 1.0), samples({2: 60}, 1.0)
    drawn = {tuple(sorted(draw_alike(members, others, np.random.default_rng(seed))[0])) for seed in range(N_DRAWS)}
    assert len(drawn) == N_DRAWS


def test_the_group_aware_attack_never_fills() -> None:
    # With a higher loss in group 3 a filled draw would be told apart; within group 2 nothing can be.
    members = samples({2: 60}, 1.0)
    others = samples({2: 25, 3: 100}, 1.0)
    others.loss[others.group == 3] = 9.0
    assert group_aware_attack(members, others)["mia_group_auc"] == 50.0
    assert balanced_attack(members, others)["mia_auc"] == pytest.approx(50 + 50 * 35 / 60)


def test_the_group_aware_attack_takes_equal_numbers_of_each_group() -> None:
    # Group 2: 25 pairs that are alike. Group 0: 10 pairs, members lower. AUC over 35 x 35 pairs by hand:
    # members (25 at 1, 10 at 0), others (25 at 1, 10 at 5): lower wins, ties half.
    members, others = samples({2: 60, 0: 10}, 1.0), samples({2: 25, 0: 40}, 1.0)
    members.loss[members.group == 0], others.loss[others.group == 0] = 0.0, 5.0
    by_hand = (25 * 25 / 2 + 25 * 10 + 10 * 35) / 35**2
    assert group_aware_attack(members, others)["mia_group_auc"] == pytest.approx(100 * by_hand)


def test_too_few_samples_have_a_reason() -> None:
    others = samples({2: 100}, 1.0)
    with pytest.raises(Undefined, match="the forget set has 19 samples, and the attack needs 20"):
        balanced_attack(samples({2: MIN_SAMPLES - 1}, 1.0), others)
    with pytest.raises(Undefined, match="has 1 samples"):
        group_aware_attack(samples({2: 1}, 1.0), others)
    assert balanced_attack(samples({2: MIN_SAMPLES}, 1.0), others)["mia_auc"] == 50.0
    with pytest.raises(Undefined, match="30 samples of target 1, and val and test have 29"):
        balanced_attack(samples({2: 30}, 1.0), samples({2: 10, 3: 19, 0: 50}, 1.0))
    just_enough = samples({2: 10, 3: 20, 0: 50}, 1.0)
    assert balanced_attack(samples({2: 30}, 1.0), just_enough)["mia_filled"] == pytest.approx(200 / 3)
    with pytest.raises(Undefined, match="val and test have samples for 19"):
        group_aware_attack(samples({2: 30}, 1.0), samples({2: 19, 3: 50}, 1.0))
    assert group_aware_attack(samples({2: 30}, 1.0), samples({2: 20, 3: 50}, 1.0))["mia_group_auc"] == 50.0


def test_the_rate_at_a_low_false_positive_rate_is_that_of_the_same_draws() -> None:
    # 100 pairs of one group: one non-member may be above. Nobody's loss is below 0 but that of 30 members and of one
    # non-member, who is the one where the draw holds him.
    members, others = samples({2: 100}, 1.0), samples({2: 130}, 1.0)
    members.loss[:30], others.loss[0] = -1.0, -2.0
    for name, attack in (("mia", balanced_attack), ("mia_group", group_aware_attack)):
        found = attack(members, others)
        assert (found[f"{name}_tpr_at_1"], found[f"{name}_tpr_at_1_sd"]) == (30.0, 0.0)
        for key in (f"{name}_tpr_at_01", f"{name}_tpr_at_01_sd"):
            assert str(found[key]) == "a false-positive rate of one in 1000 needs 1000 non-members, and there are 100"
    # Two of them: a draw with both leaves the members' 30 below the threshold of a second false positive.
    others.loss[:2] = -2.0
    rows = [draw_alike(members, others, np.random.default_rng(seed))[0] for seed in range(N_DRAWS)]
    expected = [0.0 if np.isin([0, 1], drawn).all() else 30.0 for drawn in rows]
    assert balanced_attack(members, others)["mia_tpr_at_1"] == pytest.approx(np.mean(expected))
    assert balanced_attack(members, others)["mia_tpr_at_1_sd"] == pytest.approx(np.std(expected, ddof=1))
    assert {*expected} == {0.0, 30.0}


def test_the_scale_of_the_losses_does_not_matter() -> None:
    member, non_member = random_losses(50, 5), 2 * random_losses(50, 6)
    small = attack_accuracy(1e-6 * member, 1e-6 * non_member, 0)
    assert small == attack_accuracy(member, non_member, 0) > 50
