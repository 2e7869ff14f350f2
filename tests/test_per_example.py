"""Per-example attacks: known Gaussians, another implementation, what is left out, ties, and intervals over runs."""

import itertools

import numpy as np
import pytest
from scipy.stats import gaussian_kde, norm

from method.evaluation.intervals import student_interval
from method.evaluation.membership import auc
from method.evaluation.metrics import Undefined
from method.evaluation.over_runs import MOST_BLOCKS, blocks, d_prime, excesses, interval, run_values
from method.evaluation.per_example import ENOUGH, MEASURES, Fit, Scores, Side, attack, gaussian, kernels

SHIFT = 1.2


def known(n: int, mean: float, deviation: float = 1.0) -> Fit:
    return Fit(np.full(n, 99), np.full(n, mean), np.full(n, deviation), lambda: np.empty((0, n)))


def models(n_runs: int, n_samples: int, share: float = 0.8, seed: int = 0, shift: float = SHIFT) -> tuple[Side, Side]:
    """phi of unlearned models, `shift` above that of retrained ones; a run forgets `share` of the samples."""
    draw = np.random.default_rng(seed)
    own = draw.normal(0, 3, n_samples)
    forgot = draw.random((n_runs, n_samples)) < share
    inside, outside = (own + mean + draw.normal(0, 1, (n_runs, n_samples)) for mean in (shift, 0.0))
    return Side(inside, forgot, forgot), Side(outside, forgot, forgot)


def test_known_gaussians_give_the_closed_form():
    """AUC = Phi(d / sqrt 2), and at a false-positive rate of x the rate is Phi(d - z_(1 - x))."""
    n, draw = 400_000, np.random.default_rng(0)
    scores = [
        gaussian(phi, known(n, SHIFT)) - gaussian(phi, known(n, 0.0))
        for phi in (draw.normal(SHIFT, 1, n), draw.normal(0, 1, n))
    ]
    found = run_values(*scores)
    assert found["auc"] == pytest.approx(100 * norm.cdf(SHIFT / np.sqrt(2)), abs=0.2)
    assert found["tpr_at_1"] == pytest.approx(100 * norm.cdf(SHIFT - norm.ppf(0.99)), abs=0.6)
    assert found["tpr_at_01"] == pytest.approx(100 * norm.cdf(SHIFT - norm.ppf(0.999)), abs=0.6)


@pytest.mark.parametrize("distance", [-2.0, 0.0, 0.3, 5.0])
def test_d_prime_is_the_distance_of_two_gaussians(distance: float):
    """AUC = Phi(d / sqrt 2) gives back d."""
    assert d_prime(100 * norm.cdf(distance / np.sqrt(2)), 10**9) == pytest.approx(distance, abs=1e-9)


def test_d_prime_of_a_perfect_auc_is_that_of_half_a_pair():
    assert d_prime(100.0, 1000) == pytest.approx(np.sqrt(2) * norm.ppf(1 - 1 / 2000))
    assert d_prime(0.0, 1000) == pytest.approx(-d_prime(100.0, 1000))
    assert d_prime(50.0, 1) == 0


@pytest.mark.parametrize("of_group", [0.0, 2.0, 4.0, 6.0])
def test_a_shift_of_the_whole_group_does_not_compress_the_excess(of_group: float):
    """Forgotten samples lie 1 beyond their group: the difference of AUCs falls from 26 points to 0.001."""

    def values(shift: float) -> dict[str, float]:
        return {"auc": 100 * norm.cdf(shift / 2**0.5), "tpr_at_1": 100 * norm.cdf(shift - norm.ppf(0.99))}

    own, placebo = values(1 + of_group), values(of_group)
    found = excesses(own, placebo, 10**9)
    assert found["excess_d"] == pytest.approx(1)
    assert found["excess"] == pytest.approx(own["auc"] - placebo["auc"])
    assert found["excess"] < 27 * np.exp(-(of_group**2) / 8)
    assert found["excess_tpr_at_1"] == pytest.approx(own["tpr_at_1"] - placebo["tpr_at_1"])


def test_two_perfect_aucs_have_no_distance_that_can_be_compared():
    ends = {"auc": 100.0, "tpr_at_1": Undefined("few"), "tpr_at_01": Undefined("few")}
    found = excesses(ends, ends, 100)
    assert found["excess"] == 0
    assert str(found["excess_d"]) == "the AUC and that of the placebo are both exactly 100 %"
    assert str(found["excess_tpr_at_1"]) == "few"
    one = excesses(ends, ends | {"auc": 90.0}, 100)["excess_d"]
    assert one == pytest.approx(d_prime(100.0, 100) - d_prime(90.0, 100))
    assert str(excesses(ends | {"auc": Undefined("none")}, ends, 100)["excess_d"]) == "none"


def test_two_spreads_count_beside_two_means():
    ratio = gaussian(np.array([0.0, 3.0]), known(2, 0.0, 2.0)) - gaussian(np.array([0.0, 3.0]), known(2, 0.0, 1.0))
    expected = [norm.logpdf(x, 0, 2) - norm.logpdf(x, 0, 1) for x in (0.0, 3.0)]
    np.testing.assert_allclose(ratio, expected, atol=1e-12)


@pytest.mark.parametrize("n_runs", [5, 9, 20])
def test_estimated_gaussians_give_what_a_monte_carlo_of_as_many_runs_gives(n_runs: int):
    """A score is made by means of n_runs - 1 values each; the pooled deviation of many samples is close to 1."""
    n = 20_000
    positive, negative = attack(*models(n_runs, n, share=1.0), gaussian)
    draw = np.random.default_rng(1)
    n_pairs = 200_000
    inside, outside = (draw.normal(mean, (n_runs - 1) ** -0.5, n_pairs) for mean in (SHIFT, 0.0))
    expected = [
        norm.logpdf(phi, inside, 1) - norm.logpdf(phi, outside, 1)
        for phi in (draw.normal(SHIFT, 1, n_pairs), draw.normal(0, 1, n_pairs))
    ]
    found, simulated = run_values(positive.ratio, negative.ratio), run_values(*expected)
    assert found["auc"] == pytest.approx(simulated["auc"], abs=0.5)
    assert found["tpr_at_1"] == pytest.approx(simulated["tpr_at_1"], abs=0.8)
    assert found["auc"] < 100 * norm.cdf(SHIFT / np.sqrt(2)) - 0.2  # which knows the means


def slowly(inside: Side, outside: Side, kernel: bool) -> dict[tuple[str, int, int], float]:
    """The same scores by loops: (side, run, sample) -> log likelihood ratio."""
    n_runs, n_samples = inside.phi.shape
    found = {}
    for run in range(n_runs):
        others: list[list[np.ndarray]] = []
        for side in (inside, outside):
            rest = [other for other in range(n_runs) if other != run]
            others.append(
                [np.array([side.phi[m, z] for m in rest if side.fitted[m, z]]) for z in range(n_samples)]
            )  # fmt: skip
        pooled = []
        for values in others:
            several = [one for one in values if len(one) > 1]
            squares = sum(((one - one.mean()) ** 2).sum() for one in several)
            pooled.append((squares / sum(len(one) - 1 for one in several)) ** 0.5)
        for z in range(n_samples):
            fits = [values[z] for values in others]
            if min(map(len, fits)) < 2:
                continue
            own = min(map(len, fits)) >= 64
            for name, side in (("inside", inside), ("outside", outside)):
                if not side.asked[run, z]:
                    continue
                logs = []
                for values, common in zip(fits, pooled, strict=True):
                    deviation = values.std(ddof=1) if own else common
                    if kernel:  # scipy's bandwidth is its factor times the values' own deviation
                        factor = len(values) ** -0.2 * deviation / values.std(ddof=1)
                        logs.append(gaussian_kde(values, factor).logpdf(side.phi[run, z])[0])
                    else:
                        logs.append(norm.logpdf(side.phi[run, z], values.mean(), deviation))
                found[name, run, z] = logs[0] - logs[1]
    return found


def as_dict(scores: tuple[Scores, Scores]) -> dict[tuple[str, int, int], float]:
    return {
        (name, run, sample): ratio
        for name, side in zip(("inside", "outside"), scores, strict=True)
        for ratio, run, sample in zip(*(values.tolist() for values in side), strict=True)
    }


@pytest.mark.parametrize("density", [gaussian, kernels])
@pytest.mark.parametrize(("n_runs", "n_samples", "share"), [(6, 40, 0.6), (ENOUGH + 2, 6, 0.99), (ENOUGH + 1, 4, 1.0)])
def test_equal_to_another_implementation(n_runs: int, n_samples: int, share: float, density):
    """Below 64 other runs, and where some samples have as many and others do not."""
    inside, outside = models(n_runs, n_samples, share)
    draw = np.random.default_rng(5)
    outside = outside._replace(fitted=outside.fitted | (draw.random(outside.fitted.shape) < 0.3))
    found, expected = as_dict(attack(inside, outside, density)), slowly(inside, outside, density is kernels)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[key] for key in expected], list(expected.values()), rtol=1e-9, atol=1e-9)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    whole = attack(*models(7, 50), kernels)
    monkeypatch.setattr("method.evaluation.per_example.CHUNK", 30)
    for one, other in zip(itertools.chain(*whole), itertools.chain(*attack(*models(7, 50), kernels)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("density", [gaussian, kernels])
def test_the_runs_own_seed_is_left_out_on_both_sides(density):
    """Whatever the retrained model of a run says changes no score of that run's unlearned model, and the reverse."""
    inside, outside = models(6, 30)
    before = attack(inside, outside, density)
    for place, side in enumerate((inside, outside)):
        changed = Side(np.where(np.arange(6)[:, None] == 2, 1e3, side.phi), side.fitted, side.asked)
        sides = (changed, outside) if place == 0 else (inside, changed)
        after = attack(*sides, density)[1 - place]
        own = before[1 - place].run == 2
        np.testing.assert_allclose(after.ratio[own], before[1 - place].ratio[own], rtol=1e-9)
        assert (abs(after.ratio[~own] - before[1 - place].ratio[~own]) > 0.1).any()


def test_samples_with_fewer_than_two_other_runs_on_a_side_get_no_score():
    phi = np.random.default_rng(0).normal(size=(4, 3))
    forgot = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    everywhere = np.ones_like(forgot)
    positive, negative = attack(Side(phi, forgot, forgot), Side(phi, everywhere, forgot), gaussian)
    # Sample 0 is forgotten by three runs, so that each has two others; sample 1 by two; sample 2 by one.
    for scores in (positive, negative):
        assert list(zip(scores.run.tolist(), scores.sample.tolist(), strict=True)) == [(0, 0), (1, 0), (2, 0)]
    assert positive.of(np.array([False, True, True])).ratio.size == 0
    assert str(run_values(np.empty(0), np.empty(0))["auc"]).startswith("no forgotten sample has two")


@pytest.mark.parametrize("density", [gaussian, kernels])
def test_equal_phi_tell_nothing(density):
    """Without any spread all scores are ties, and a threshold calls all alike."""
    forgot = np.ones((5, 40), dtype=bool)
    phi = np.broadcast_to(np.arange(40) / 7, (5, 40))
    scores = attack(Side(phi, forgot, forgot), Side(phi, forgot, forgot), density)
    assert run_values(*(side.ratio for side in scores)) | {"tpr_at_01": None} == {
        "auc": 50.0,
        "tpr_at_1": 0.0,
        "tpr_at_01": None,
    }


@pytest.mark.parametrize("density", [gaussian, kernels])
def test_constant_phi_that_differ_are_told_for_certain(density):
    forgot = np.ones((5, 40), dtype=bool)
    scores = attack(Side(np.ones((5, 40)), forgot, forgot), Side(np.zeros((5, 40)), forgot, forgot), density)
    assert all(np.isfinite(side.ratio).all() for side in scores)
    assert run_values(*(side.ratio for side in scores))["auc"] == 100.0


def test_far_from_all_kernels_the_nearer_side_wins():
    """exp(-x^2 / 2) of 1,000 is 0 in float64."""
    forgot = np.ones((4, 1), dtype=bool)
    inside = np.array([[1000.0], [0.9], [1.0], [1.1]])
    outside = np.array([[-1000.0], [-0.9], [-1.0], [-1.1]])
    positive, negative = attack(Side(inside, forgot, forgot), Side(outside, forgot, forgot), kernels)
    assert positive.ratio[0] > 1000
    assert negative.ratio[0] < -1000


def test_the_interval_of_a_mean_is_students():
    """Leaving out one run after the other gives s / sqrt(n) of a mean, exactly."""
    values = [41.0, 47.0, 52.0, 44.0]
    again = [(sum(values) - value) / 3 for value in values]
    assert interval(46.0, again, 0.0, 100.0) == pytest.approx(student_interval(values)[1:])
    assert interval(46.0, again, 45.0, 46.5) == (45.0, 46.5)
    assert interval(46.0, again[:1], 0.0, 100.0) is None


@pytest.mark.parametrize("n_runs", [2, 8, MOST_BLOCKS, 33, 100])
def test_every_run_is_left_out_once(n_runs: int):
    left = np.array(blocks(n_runs))
    assert len(left) == min(n_runs, MOST_BLOCKS)
    assert (~left).sum(axis=0).tolist() == [1] * n_runs
    sizes = (~left).sum(axis=1)
    assert sizes.max() - sizes.min() <= 1


def test_without_signal_the_interval_holds_fifty():
    inside, outside = models(8, 200, shift=0.0)
    cut = [Side(*(values[left] for values in side)) for left in blocks(8) for side in (inside, outside)]
    again = [auc(*(side.ratio for side in attack(*pair, gaussian))) for pair in zip(cut[::2], cut[1::2], strict=True)]
    low, high = interval(auc(*(side.ratio for side in attack(inside, outside, gaussian))), again, 0, 100)
    assert low < 50 < high
    assert high - low < 15


def test_every_measure_says_what_it_is():
    assert len({one.key for one in MEASURES}) == len(MEASURES) == 16
    for one in MEASURES:
        assert one.what
        assert one.definition
        assert "20" in one.source or "this project" in one.source
        assert one.limits
