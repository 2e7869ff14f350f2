"""The bootstrap over test samples, against the metrics themselves, and against scipy's."""

import time

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from method.evaluation import metrics
from method.evaluation.bootstrap import Counts, Grouping, bias_corrected, draw, measures, observed, tabulate

PAIRS = [(1, 0)]


def made(n: int, n_targets: int, n_sensitive: int, seed: int = 0, n_models: int = 2) -> tuple[np.ndarray, ...]:
    """Target, sensitive value and predictions that are right more often in some groups than in others."""
    chance = np.random.default_rng(seed)
    target, sensitive = chance.integers(0, n_targets, n), chance.integers(0, n_sensitive, n)
    skill = chance.uniform(0.5, 0.95, (n_models, n_targets, n_sensitive))
    right = chance.random((n_models, n)) < skill[:, target, sensitive]
    return target, sensitive, *np.where(right, target, chance.integers(0, n_targets, (n_models, n)))


def grouped(target: np.ndarray, sensitive: np.ndarray, n_targets: int, n_sensitive: int) -> Grouping:
    n = np.bincount(target * n_sensitive + sensitive, minlength=n_targets * n_sensitive)
    return Grouping(n.reshape(n_targets, n_sensitive), PAIRS)


@pytest.mark.parametrize("n_targets, n_sensitive, without", [(2, 2, ()), (3, 4, ()), (5, 3, (4, 7)), (3, 3, (0, 1, 2))])
def test_measures_of_the_test_set_are_the_metrics(n_targets: int, n_sensitive: int, without: tuple[int, ...]):
    """Also where groups have no test sample."""
    target, sensitive, first, second = made(400, n_targets, n_sensitive)
    there = ~np.isin(target * n_sensitive + sensitive, without)
    target, sensitive, first, second = (column[there] for column in (target, sensitive, first, second))
    grouping = grouped(target, sensitive, n_targets, n_sensitive)
    counts = observed(tabulate(target, sensitive, [first, second]), grouping, n_targets)
    for prediction, own in zip((first, second), counts, strict=True):
        found = {key: measure(own).item() for key, measure in measures(grouping).items()}
        right = prediction == target
        axes = metrics.odds_axes(target, sensitive, PAIRS, n_targets, n_sensitive)
        group = target * n_sensitive + sensitive
        expected = {
            "worst_group_acc": min(metrics.accuracy(right[group == one]) for one in np.unique(group)),
            "equalized_odds": metrics.equalized_odds(right, *axes),
            "equalized_odds_full": metrics.equalized_odds_full(right, target, sensitive, n_targets, n_sensitive),
            "demographic_parity": metrics.demographic_parity(prediction, sensitive),
        }
        assert found == pytest.approx(expected)


def test_what_the_test_set_does_not_determine_is_not_there():
    assert set(measures(Grouping(np.array([[3, 0], [2, 0]]), PAIRS))) == {"worst_group_acc"}


@pytest.mark.parametrize("key", ["equalized_odds", "demographic_parity", "worst_group_acc"])
def test_draws_have_the_percentiles_of_scipys(key: str):
    """Scipy draws the samples of each group one by one. Four times the error of a quantile of so many draws."""
    target, sensitive, first, second = made(600, 2, 2, seed=3)
    grouping = grouped(target, sensitive, 2, 2)
    measure = measures(grouping)[key]
    drawn = draw(tabulate(target, sensitive, [first, second]), grouping, 2, 4000)
    ours = np.quantile(measure(drawn[0]) - measure(drawn[1]), (0.025, 0.975))

    def value(predictions: list[np.ndarray]) -> np.ndarray:
        """The metric, of predictions (..., n) by group."""
        right = [(one == group // 2).sum(axis=-1) for group, one in enumerate(predictions)]
        shares = [
            one.sum(axis=-1) + other.sum(axis=-1) for one, other in zip(predictions[:2], predictions[2:], strict=True)
        ]
        n = grouping.n.sum(axis=0)
        predicted = np.stack([np.stack([n[s] - share, share], axis=-1) for s, share in enumerate(shares)], axis=-2)
        return measure(Counts(np.stack(right, axis=-1).reshape(*right[0].shape, 2, 2), predicted))

    def statistic(*outcomes: np.ndarray, axis: int) -> np.ndarray:
        assert axis == -1
        return value([one // 2 for one in outcomes]) - value([one % 2 for one in outcomes])

    rows = [2 * first[own] + second[own] for own in (target * 2 + sensitive == group for group in range(4))]
    theirs = scipy_bootstrap(
        rows, statistic, n_resamples=4000, method="percentile", vectorized=True, random_state=1
    ).confidence_interval
    error = (ours[1] - ours[0]) / 3.92 * 2.67 * np.sqrt(2 / 4000)  # of the 2.5 % quantile of normal values
    assert tuple(ours) == pytest.approx(tuple(theirs), abs=4 * error)


def test_without_bias_the_ends_are_percentiles_and_else_they_move_away_from_it():
    values = np.arange(1001.0)
    assert bias_corrected(values, 500.0) == pytest.approx((25, 975), abs=0.02)
    # 84.1 % of the draws are below: one standard error up, so the ends are at 2 - 1.96 and 2 + 1.96 of them.
    assert bias_corrected(values, 841.34) == pytest.approx((515.95, 999.96), abs=0.6)
    low, high = bias_corrected(values, -1.0)
    assert (low, high) == pytest.approx((0, 0), abs=0.1)
    assert bias_corrected(np.zeros(10), 0.0) == (0.0, 0.0)


def test_models_are_drawn_on_the_same_samples():
    target, sensitive, first, second = made(300, 2, 2)
    grouping = grouped(target, sensitive, 2, 2)
    a, b = draw(tabulate(target, sensitive, [first, first]), grouping, 2, 50)
    assert np.array_equal(a.right, b.right)
    assert np.array_equal(a.predicted, b.predicted)
    a, b = draw(tabulate(target, sensitive, [first, second]), grouping, 2, 4000)
    right = np.stack([first == target, second == target])
    (own,) = (np.flatnonzero((target == 1) & (sensitive == 0)),)
    together = np.cov(right[:, own], ddof=0)[0, 1] * len(own)
    assert np.cov(a.right[:, 1, 0], b.right[:, 1, 0])[0, 1] == pytest.approx(together, abs=0.1 * len(own) / 4)


def test_groups_keep_their_sizes_and_seeds_their_draws():
    target, sensitive, first, _ = made(300, 3, 2)
    grouping = grouped(target, sensitive, 3, 2)
    outcomes = tabulate(target, sensitive, [first])
    (counts,) = draw(outcomes, grouping, 3, 100)
    assert (counts.predicted.sum(axis=2) == grouping.n.sum(axis=0)).all()
    assert (counts.right <= grouping.n).all()
    (again,), (other,) = draw(outcomes, grouping, 3, 100), draw(outcomes, grouping, 3, 100, seed=1)
    assert np.array_equal(counts.right, again.right)
    assert not np.array_equal(counts.right, other.right)


def test_twenty_thousand_samples_take_less_than_two_seconds():
    """Of the processor: of two models, with 2,000 draws; measured, a tenth of it."""
    target, sensitive, first, second = made(20_000, 2, 2)
    start = time.process_time()
    grouping = grouped(target, sensitive, 2, 2)
    drawn = draw(tabulate(target, sensitive, [first, second]), grouping, 2)
    ends = [bias_corrected(measure(drawn[0]) - measure(drawn[1]), 0.0) for measure in measures(grouping).values()]
    assert time.process_time() - start < 2
    assert len(ends) == 4
    assert len(drawn[0].right) == 2000
