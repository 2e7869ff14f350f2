"""How often the 95 % intervals hold the truth, by simulation, and how long all of a test set's take.

    python benchmarks/interval_coverage.py [--repetitions 2000] [--draws 1000] [--only worst]

Test sets are drawn from models whose accuracies by group are known. Cells: in how many per cent of the repetitions the
interval holds the truth (the error of 95 is 0.5 points at 2,000), and its mean width in points. Formula: what
metrics.json has of one run, and of two the ends of either added up as squares. Percentile, bias-corrected, BCa: of the
bootstrap over the same test samples, of which `compare` takes the second. BCa is measured of four groups alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri
from side_by_side import machine

from datasets.splits import Splits
from method.evaluation import bootstrap, uncertainty
from method.evaluation.bootstrap import Counts, Grouping, Outcomes
from method.evaluation.intervals import add_squares, difference_interval, paired_limits
from method.evaluation.metrics import wilson_interval
from method.evaluation.records import Records
from method.evaluation.variance import nested_variance

LEVEL = 0.95
CELLS = (30, 100, 500, 5000)  # samples
SAME = 0.6  # share of the errors of two models that fall on the same samples
Ends = tuple[float, float]
Formula = Callable[[str, Sequence[Outcomes], Grouping], Ends]


class Case(NamedTuple):
    """A row: its name, the true accuracies by group (one model's, or two's), samples of each group, and the metric."""

    name: str
    metric: str
    truth: np.ndarray  # (T, S), or (2, T, S)
    n: int


def fairness_cases() -> Iterator[Case]:
    """One model: EO, EO full, parity and the worst group, far from ties, near them and at them."""
    for n in (30, 500):
        clear = np.array([[0.95, 0.75], [0.60, 0.85]])
        yield Case("EO 22.5: differences of 20 and 25", "equalized_odds", clear, n)
        yield Case("EO 2: differences of 2 and 2", "equalized_odds", np.array([[0.85, 0.83], [0.83, 0.85]]), n)
        yield Case("EO 0: both tied", "equalized_odds", np.full((2, 2), 0.85), n)
        yield Case("DP 22.5", "demographic_parity", clear, n)
        yield Case("DP 0: tied", "demographic_parity", np.full((2, 2), 0.85), n)
        yield Case("worst group, 15 below the next", "worst_group_acc", clear, n)
        yield Case("worst group, two of four tied", "worst_group_acc", np.array([[0.95, 0.6], [0.6, 0.85]]), n)
        yield Case("worst group, four tied", "worst_group_acc", np.full((2, 2), 0.85), n)
    for n in (30, 500):
        spread = np.linspace(0.6, 0.95, 40).reshape(4, 10).T
        yield Case("EO full, 10 x 4 groups, 9 points apart", "equalized_odds_full", spread, n)
        yield Case("EO full, 10 x 4 groups, all tied", "equalized_odds_full", np.full((10, 4), 0.85), n)
        yield Case("DP, 10 x 4 groups, tied", "demographic_parity", np.full((10, 4), 0.85), n)
        yield Case("worst group, 40, 0.9 points apart", "worst_group_acc", spread, n)
        yield Case("worst group, 40 tied", "worst_group_acc", np.full((10, 4), 0.85), n)


def paired_cases() -> Iterator[Case]:
    """Two models on the same images."""
    clear = np.array([[0.95, 0.75], [0.60, 0.85]])
    other = np.array([[0.94, 0.85], [0.80, 0.87]])
    tied = np.full((2, 2), 0.85)
    for n in (30, 500):
        yield Case("EO 22.5 minus EO 8", "equalized_odds", np.stack([clear, other]), n)
        yield Case("EO 22.5 minus EO 0", "equalized_odds", np.stack([clear, tied]), n)
        yield Case("EO 0 minus EO 0", "equalized_odds", np.stack([tied, tied]), n)
        yield Case("DP 22.5 minus DP 8.5", "demographic_parity", np.stack([clear, other]), n)
        yield Case("DP 0 minus DP 0", "demographic_parity", np.stack([tied, tied]), n)
        yield Case("worst group 60 minus 80", "worst_group_acc", np.stack([clear, other]), n)
        yield Case("worst group 60 minus 85, four tied", "worst_group_acc", np.stack([clear, tied]), n)
        yield Case("worst group 85 minus 85, four tied", "worst_group_acc", np.stack([tied, tied]), n)
        many, spread = np.full((2, 20), 0.85), np.linspace(0.6, 0.95, 40).reshape(2, 20)
        yield Case("worst group 60 minus 85, 40 groups", "worst_group_acc", np.stack([spread, many]), n)
        yield Case("worst group 85 minus 85, 40 tied", "worst_group_acc", np.stack([many, many]), n)


def true_value(case: Case) -> float:
    """The metric of a test set without end."""
    models = case.truth if case.truth.ndim == 3 else case.truth[None]
    grouping = Grouping(np.full(models.shape[1:], 10**6), ((1, 0),))
    measure = bootstrap.measures(grouping)[case.metric]
    values = [measure(whole_counts(model, grouping)).item() for model in models]
    return values[0] - values[-1] if len(values) == 2 else values[0]


def whole_counts(accuracy: np.ndarray, grouping: Grouping) -> Counts:
    """The counts of a model, its errors spread evenly over the other classes."""
    n_targets, n_sensitive = accuracy.shape
    right = accuracy * grouping.n
    wrong = (grouping.n - right) / (n_targets - 1)
    predicted = np.stack([wrong.sum(axis=0) - wrong[t] + right[t] for t in range(n_targets)], axis=1)
    assert predicted.shape == (n_sensitive, n_targets)
    return Counts(right[None], predicted[None])


def drawn_outcomes(case: Case, generator: np.random.Generator) -> list[Outcomes]:
    """A test set. Errors of two models fall together as SAME says."""
    models = case.truth if case.truth.ndim == 3 else case.truth[None]
    n_targets, n_sensitive = models.shape[1:]
    found = []
    for target in range(n_targets):
        others = np.delete(np.arange(n_targets), target)
        for sensitive in range(n_sensitive):
            wrong = 1 - models[:, target, sensitive]
            if len(models) == 1:
                shares = np.concatenate([[1 - wrong[0]], np.full(len(others), wrong[0] / len(others))])
                classes = np.concatenate([[target], others])[None]
            else:  # binary: both right, only b wrong, only a wrong, both wrong
                together = SAME * wrong.min()
                shares = np.array([1 - wrong.sum() + together, wrong[1] - together, wrong[0] - together, together])
                classes = np.array([[target, target, others[0], others[0]], [target, others[0], target, others[0]]])
            times = generator.multinomial(case.n, shares)
            found.append(Outcomes(target, sensitive, classes[:, times > 0], times[times > 0]))
    return found


def by_formula(metric: str, outcomes: Sequence[Outcomes], grouping: Grouping) -> Ends:
    """What metrics.json has."""
    counts = np.zeros((*grouping.n.shape, grouping.n.shape[0]))
    for one in outcomes:
        counts[one.target, one.sensitive, one.classes[0]] = one.times
    own = np.arange(len(counts))
    right = counts[own, :, own]
    if metric == "demographic_parity":
        return uncertainty.parity_ends(counts, grouping.n)
    if metric == "worst_group_acc":
        return uncertainty.worst_ends(right, grouping.n)
    if metric == "equalized_odds_full":
        return uncertainty.full_odds_ends(right, grouping.n)
    contrasts = bootstrap.odds_contrasts(grouping)
    assert contrasts is not None
    return uncertainty.odds_ends(right, grouping.n, contrasts)


def by_two_formulas(metric: str, outcomes: Sequence[Outcomes], grouping: Grouping) -> Ends:
    """The two models' own ends added up as squares, as if they were on different images."""
    measure = bootstrap.measures(grouping)[metric]
    models = [[Outcomes(*one[:2], *summed(one.classes[m], one.times)) for one in outcomes] for m in (0, 1)]
    seen = [measure(one).item() for one in bootstrap.observed(outcomes, grouping, len(grouping.n))]
    low, high = np.transpose([by_formula(metric, model, grouping) for model in models])
    ends = add_squares(np.array(seen), low, high, np.array([1.0, -1.0]))
    return float(ends[0]), float(ends[1])


def summed(classes: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One model's outcomes, each class once."""
    found, place = np.unique(classes, return_inverse=True)
    return found[None], np.bincount(place, times).astype(int)


def values_of(metric: str, counts: Sequence[Counts], grouping: Grouping) -> np.ndarray:
    """The metric, or the first model's minus the second's."""
    measure = bootstrap.measures(grouping)[metric]
    return measure(counts[0]) - measure(counts[1]) if len(counts) == 2 else measure(counts[0])


def by_draws(metric: str, n_draws: int, outcomes: Sequence[Outcomes], grouping: Grouping) -> list[Ends]:
    """Of the bootstrap: percentile, bias-corrected, and of four groups BCa (Efron 1987)."""
    n_classes = len(grouping.n)
    drawn = values_of(metric, bootstrap.draw(outcomes, grouping, n_classes, n_draws), grouping)
    seen = values_of(metric, bootstrap.observed(outcomes, grouping, n_classes), grouping).item()
    z = ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    found = [tuple(np.quantile(drawn, ndtr(z))), bootstrap.bias_corrected(drawn, seen)]
    if grouping.n.size == 4:
        below = np.count_nonzero(drawn < seen - 1e-9) + np.count_nonzero(np.abs(drawn - seen) <= 1e-9) / 2
        bias = ndtri(np.clip(below, 0.5, n_draws - 0.5) / n_draws)
        turn = acceleration(metric, outcomes, grouping)
        found.append(tuple(np.quantile(drawn, ndtr(bias + (bias + z) / (1 - turn * (bias + z))))))
    return found


def acceleration(metric: str, outcomes: Sequence[Outcomes], grouping: Grouping) -> float:
    """BCa's a for samples in groups, by the jackknife."""
    cubes = squares = 0.0
    for place, one in enumerate(outcomes):
        n = int(one.times.sum())
        left = []
        for k in range(len(one.times)):
            times = one.times - (np.arange(len(one.times)) == k)
            less = [*outcomes[:place], one._replace(times=times), *outcomes[place + 1 :]]
            smaller = grouping.n.copy()
            smaller[one.target, one.sensitive] -= 1
            fewer = Grouping(smaller, grouping.forget_pairs)
            left.append(values_of(metric, bootstrap.observed(less, fewer, len(grouping.n)), fewer).item())
        apart = (one.times @ left / n - np.array(left)) * (n - 1)
        cubes += float(one.times @ apart**3) / n**3
        squares += float(one.times @ apart**2) / n**2
    return cubes / (6 * squares**1.5) if squares > 0 else 0.0


def measured(case: Case, formula: Formula, n_draws: int, repetitions: int) -> list[str]:
    """The row of a case: for each interval how often it held the truth, and its mean width."""
    generator = np.random.default_rng(1)
    grouping = Grouping(np.full(case.truth.shape[-2:], case.n), ((1, 0),))
    found = []
    for _ in range(repetitions):
        outcomes = drawn_outcomes(case, generator)
        found.append([formula(case.metric, outcomes, grouping), *by_draws(case.metric, n_draws, outcomes, grouping)])
    truth = true_value(case) / 100
    return [told(ends, truth) for ends in np.array(found).transpose(1, 0, 2)]


def accuracy_rows(repetitions: int) -> Iterator[list[str]]:
    """Single accuracies, differences of two on the same and on different images, sums; by the samples of a cell."""
    generator = np.random.default_rng(2)
    truth = np.array([[0.95, 0.75], [0.60, 0.85]])

    def single(n: int, share: float) -> str:
        return told([wilson_interval(int(hits), n) for hits in generator.binomial(n, share, repetitions)], share)

    def different(n: int, a: float, b: float) -> str:
        pairs = zip(*(generator.binomial(n, share, repetitions).tolist() for share in (a, b)), strict=True)
        return told([difference_interval(i, n, j, n)[1:] for i, j in pairs], a - b)

    def same(n: int, a: float, b: float) -> str:
        together = SAME * (1 - max(a, b))
        shares = [a + b - 1 + together, 1 - b - together, 1 - a - together, together]
        _, only_a, only_b, _ = generator.multinomial(n, shares, repetitions).T
        return told(np.transpose(paired_limits(only_a, only_b, np.full(repetitions, n))), a - b)

    def weighted(n: int, weights: np.ndarray) -> str:
        right = generator.binomial(n, truth, (repetitions, 2, 2))
        counts = np.full((2, 2), n)
        ends = [uncertainty.weighted_ends(one, counts, weights) for one in right]
        return told(ends, float((weights * truth).sum()))

    for share in (0.5, 0.8, 0.95, 0.99):
        yield [f"accuracy of {100 * share:.0f}", *(single(n, share) for n in CELLS)]
    for a, b in ((0.8, 0.7), (0.8, 0.8), (0.95, 0.9), (0.99, 0.98)):
        name = f"{100 * a:.0f} minus {100 * b:.0f}"
        yield [f"{name}, different images", *(different(n, a, b) for n in CELLS)]
        yield [f"{name}, same images", *(same(n, a, b) for n in CELLS)]
    yield ["mean of four groups", *(weighted(n, np.full((2, 2), 0.25)) for n in CELLS)]
    yield ["weighted by shares in train", *(weighted(n, np.array([[0.7, 0.1], [0.05, 0.15]])) for n in CELLS)]


def nested_rows(repetitions: int) -> Iterator[list[str]]:
    """The mean over training seeds with unlearning seeds each, and the two variances, of normal values."""
    generator = np.random.default_rng(3)
    for n_train, n_unlearn in ((10, 5), (5, 5), (5, 2), (3, 3)):
        for train in (0.0, 0.5, 1.0, 2.0):
            shape = (repetitions, n_train, n_unlearn)
            values = generator.normal(0, train, (*shape[:2], 1)) + generator.normal(size=shape)
            found = [nested_variance(one) for one in values]
            columns = (([one.mean_ends for one in found], 0.0), ([one.train_ends for one in found], train**2),
                       ([one.unlearn_ends for one in found], 1.0))  # fmt: skip
            yield [f"{train:g} : 1", f"{n_train} x {n_unlearn}", *(told(ends, truth / 100) for ends, truth in columns)]


def told(ends: Sequence[Ends] | np.ndarray, truth: float) -> str:
    """How often the ends hold 100 times the truth, and how far they are apart."""
    low, high = np.transpose(ends)
    held = np.mean((low <= 100 * truth + 1e-9) & (100 * truth - 1e-9 <= high))
    return f"{100 * held:.1f} ({np.mean(high - low):.1f})"


def show(titles: Sequence[str], rows: Iterator[list[str]]) -> None:
    """As a Markdown table, a row as soon as it is there."""
    print(f"\n| {' | '.join(titles)} |\n|{' --- |' * len(titles)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def time_all(n: int, repetitions: int = 5) -> str:
    """The median time of a run's intervals, and of two runs' differences, on n test samples of four groups."""
    generator = np.random.default_rng(0)
    target, sensitive = generator.integers(0, 2, (2, n))
    wrong = generator.random((2, n)) < 0.15
    index, group = np.arange(n), 2 * target + sensitive
    runs = [
        Records.from_logits(index, np.full(n, 2), target, sensitive, group, 3.0 * np.eye(2)[target ^ one])
        for one in wrong
    ]
    none = index[:0]
    splits = Splits(none, none, index, none, none, (2,), "", None)
    seconds: dict[str, list[float]] = {"intervals of a run": [], "differences of two": []}
    for _ in range(repetitions):
        for name, work in zip(
            seconds,
            (
                lambda: uncertainty.run_intervals(runs[0], splits, 2, 2),
                lambda: uncertainty.compare(*runs, splits, 2, 2),
            ),
            strict=True,
        ):
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    told = ", ".join(f"{name} {statistics.median(values):.3f} s" for name, values in seconds.items())
    return f"{n:,} test samples, {bootstrap.N_DRAWS:,} draws: {told}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", default="", help="rows whose name has this; or accuracies, nested")
    wanted = parser.parse_args()
    print(machine())
    print(time_all(20_000))
    if wanted.only in "accuracies":
        show(("accuracies", *(f"{n:,} samples" for n in CELLS)), accuracy_rows(10 * wanted.repetitions))
    if wanted.only in "nested":
        titles = ("sd of the training seed to that of the unlearning seed", "seeds", "mean", "training's variance",
                  "unlearning's variance")  # fmt: skip
        show(titles, nested_rows(wanted.repetitions))
    for title, cases, formula in (
        ("one run", [*fairness_cases()], by_formula),
        ("two runs, same images", [*paired_cases()], by_two_formulas),
    ):
        rows = (
            ([case.name, f"{case.n}", *measured(case, formula, wanted.draws, wanted.repetitions)] + [""])[:6]
            for case in cases
            if wanted.only in case.name
        )
        if any(wanted.only in case.name for case in cases):
            show((title, "samples of a group", "formula", "percentile", "bias-corrected", "BCa"), rows)


if __name__ == "__main__":
    main()
