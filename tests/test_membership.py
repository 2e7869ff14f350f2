"""The published membership attack: equal to six standalone forests, and its edge cases."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score, roc_curve

from method.evaluation import membership
from method.evaluation.membership import N_TREES, auc, forest_probabilities, published_attack, tpr_at
from method.evaluation.metrics import Undefined

CRITERIA = ("gini", "entropy")


def losses(seed: int = 0, decimals: int = 2) -> tuple[np.ndarray, ...]:
    """Retain, val, forget, test; rounded, so that many losses are equal and many votes are tied."""
    generator = np.random.default_rng(seed)
    scales = {"retain": (0.3, 300), "val": (0.5, 120), "forget": (0.4, 80), "test": (0.5, 90)}
    return tuple(generator.exponential(scale, n).round(decimals) for scale, n in scales.values())


def standalone(retain: np.ndarray, val: np.ndarray, n_trees: int, criterion: str) -> RandomForestClassifier:
    forest = RandomForestClassifier(n_estimators=n_trees, criterion=criterion, random_state=0)
    return forest.fit(np.concatenate([retain, val])[:, None], np.repeat([1, 0], [len(retain), len(val)]))


@pytest.fixture(scope="module")
def six_forests() -> dict[tuple[int, str], RandomForestClassifier]:
    retain, val, _, _ = losses()
    return {(n, criterion): standalone(retain, val, n, criterion) for n in N_TREES for criterion in CRITERIA}


def test_equal_to_the_six_standalone_forests_to_the_last_digit(six_forests: dict) -> None:
    retain, val, forget, test = losses()
    asked = np.concatenate([forget, test])
    found = forest_probabilities(retain, val, asked)
    assert list(found) == [20, 50, 100]
    n_tied = 0
    for (n_trees, _), forest in six_forests.items():
        np.testing.assert_array_equal(found[n_trees], forest.predict_proba(asked[:, None]))
        called = (found[n_trees][:, 1] > found[n_trees][:, 0]).astype(int)
        np.testing.assert_array_equal(called, forest.predict(asked[:, None]))
        n_tied += np.count_nonzero(found[n_trees][:, 0] == found[n_trees][:, 1])
    assert n_tied > 0  # or the rule for ties was not tested


def awkward_losses() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Members, non-members and losses asked about, where a shortcut could differ from a grown tree."""
    draw, whole = np.random.default_rng(7), np.arange(30.0)
    return {
        "continuous": (draw.exponential(0.3, 800), draw.exponential(0.5, 200), draw.exponential(0.4, 500)),
        "half-way between": (np.arange(40.0), np.arange(40.0) + 0.5, np.arange(-1, 41, 0.125)),
        "closer than trees separate": tuple(draw.uniform(0, 3e-6, n) for n in (600, 200, 500)),
        "over many magnitudes": tuple(10 ** draw.uniform(-14, 3, n) for n in (600, 200, 500)),
        "both classes at every loss": (np.repeat(whole, 4), np.repeat(whole, 2), np.arange(-1, 31, 0.25)),
        "many zeros": tuple(np.concatenate([np.zeros(n), draw.exponential(0.2, n)]) for n in (300, 80, 50)),
        "three samples": (np.array([0.1]), np.array([0.2, 0.3]), np.linspace(0, 0.4, 50)),
    }


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("case", awkward_losses())
def test_equal_to_a_grown_forest_on_awkward_losses(case: str, criterion: str) -> None:
    members, non_members, asked = awkward_losses()[case]
    grown = standalone(members, non_members, 100, criterion).predict_proba(asked[:, None])
    np.testing.assert_array_equal(forest_probabilities(members, non_members, asked)[100], grown)


def test_the_attack_reports_the_forest_with_the_largest_share(six_forests: dict) -> None:
    retain, val, forget, test = losses()
    shares = {key: 100 * np.mean(forest.predict(forget[:, None]) == 0) for key, forest in six_forests.items()}
    best = max(shares, key=shares.get)  # the first of equal ones
    scores = six_forests[best].predict_proba(np.concatenate([forget, test])[:, None])[:, 1]
    found = published_attack(retain, val, forget, test)
    assert found["mia"] == pytest.approx(shares[best], abs=1e-12)
    assert len(set(shares.values())) > 1
    truth = np.repeat([1, 0], [len(forget), len(test)])
    assert found["mia_forest_auc"] == pytest.approx(100 * roc_auc_score(truth, scores), abs=1e-9)
    assert found["mia_baseline"] == pytest.approx(100 * 120 / 420)


def test_ties_between_votes_and_between_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two forgotten samples and one test sample: probability of non-member and member.
    votes = {
        20: np.array([[0.4, 0.6], [0.4, 0.6], [0.5, 0.5]]),
        50: np.array([[0.5, 0.5], [0.3, 0.7], [0.1, 0.9]]),  # a tied vote calls the first one non-member
        100: np.array([[0.9, 0.1], [0.3, 0.7], [0.9, 0.1]]),  # as many, but later
    }
    monkeypatch.setattr(membership, "forest_probabilities", lambda *_: votes)
    found = published_attack(np.ones(3), np.ones(1), np.ones(2), np.ones(1))
    assert found == {"mia": 50.0, "mia_forest_auc": 0.0, "mia_baseline": 25.0}


def test_without_signal_the_share_is_near_the_baseline() -> None:
    draw = np.random.default_rng(0)
    found = published_attack(*(draw.exponential(0.3, n) for n in (3000, 1000, 1000, 1000)))
    assert found["mia_baseline"] == 25.0
    assert abs(found["mia"] - 25.0) < 8.0
    assert abs(found["mia_forest_auc"] - 50.0) < 4.0


def test_global_random_state_is_neither_used_nor_disturbed() -> None:
    parts = losses(seed=1, decimals=6)
    np.random.seed(1)
    first, drawn = published_attack(*parts), np.random.random()
    np.random.seed(2)
    assert published_attack(*parts) == first
    np.random.seed(1)
    assert np.random.random() == drawn


def test_constant_losses_give_auc_50_and_the_majority_vote() -> None:
    few, many = np.full(20, 0.7), np.full(60, 0.7)
    found = published_attack(many, few, np.full(7, 0.7), np.full(9, 0.7))
    assert found == {"mia": 0.0, "mia_forest_auc": 50.0, "mia_baseline": 25.0}
    assert published_attack(few, many, np.full(7, 0.7), np.full(9, 0.7))["mia"] == 100.0


def test_separable_losses_are_told_apart() -> None:
    members, non_members = np.linspace(0.0, 0.1, 50), np.linspace(2.0, 3.0, 50)
    remembered = published_attack(members, non_members, np.full(5, 0.05), np.full(5, 2.5))
    assert (remembered["mia"], remembered["mia_forest_auc"]) == (0.0, 100.0)
    forgotten = published_attack(members, non_members, np.full(5, 2.5), np.full(5, 0.05))
    assert (forgotten["mia"], forgotten["mia_forest_auc"]) == (100.0, 0.0)


def test_a_single_forgotten_sample() -> None:
    retain, val, _, test = losses()
    found = published_attack(retain, val, np.array([0.31]), test)
    assert found["mia"] in (0.0, 100.0)
    assert 0.0 <= found["mia_forest_auc"] <= 100.0


def test_losses_beyond_float32_are_taken_as_its_largest_number() -> None:
    retain, val, forget, test = losses()
    found = published_attack(retain, np.append(val, 5e38), forget, test)
    assert 0.0 <= found["mia"] <= 100.0


@pytest.mark.parametrize("missing, name", [(0, "retain"), (1, "val"), (2, "forget")])
def test_the_attack_is_undefined_without_members_non_members_or_forget_set(missing: int, name: str) -> None:
    parts = list(losses())
    parts[missing] = np.array([])
    with pytest.raises(Undefined, match=f"no {name} sample"):
        published_attack(*parts)


def test_without_a_test_set_the_auc_is_null() -> None:
    retain, val, forget, _ = losses()
    found = published_attack(retain, val, forget, np.array([]))
    assert found["mia_forest_auc"] is None
    assert found["mia"] is not None


def test_auc_by_hand() -> None:
    # Pairs: 3 > 1, 3 > 2, 3 = 3 (half), 1 = 1 (half), 1 < 2, 1 < 3: 3 of 6.
    assert auc(np.array([3.0, 1.0]), np.array([1.0, 2.0, 3.0])) == 50.0
    assert auc(np.array([2.0]), np.array([1.0, 3.0, 0.0, 2.0])) == pytest.approx(62.5)


def test_the_rate_at_a_false_positive_rate_by_hand() -> None:
    # One in four of five negatives: one may lie above. The second largest is 4, so the threshold is 4.
    negative = np.array([1.0, 9.0, 4.0, 2.0, 3.0])
    assert tpr_at(np.array([4.0, 5.0, 8.0, 10.0]), negative, 4) == 75.0
    # Two of eight: the third largest is 3; a positive that ties with it is on its side.
    assert tpr_at(np.array([3.0, 3.5]), np.array([1.0, 9.0, 4.0, 2.0, 3.0, 0.0, 0.0, 0.0]), 4) == 50.0
    # The two largest tie, and one alone is allowed: neither, so that the rate is that at no false positive.
    assert tpr_at(np.array([9.0, 9.5]), np.array([1.0, 9.0, 9.0, 2.0]), 4) == 50.0
    assert tpr_at(np.full(3, 7.0), np.full(4, 7.0), 4) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_the_rate_is_the_highest_point_of_the_roc_curve_there(seed: int) -> None:
    generator = np.random.default_rng(seed)
    positive, negative = generator.normal(1, 1, 300).round(1), generator.normal(0, 1, 250).round(1)
    scores, labels = np.concatenate([positive, negative]), np.repeat([1, 0], [300, 250])
    rate, share, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert tpr_at(positive, negative, 100) == pytest.approx(100 * share[rate <= 0.01].max())


def test_a_rate_that_a_single_negative_exceeds_is_undefined() -> None:
    with pytest.raises(Undefined, match="one in 100 needs 100 non-members, and there are 99"):
        tpr_at(np.ones(5), np.ones(99), 100)
    assert tpr_at(np.ones(5), np.zeros(100), 100) == 100.0
