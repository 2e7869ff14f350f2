"""The chance of the test images: 95 % intervals of a run's metrics, and of the differences between two runs.

The model stays as it is, and so do the sizes of the groups. What the seeds do is another chance, of which one run knows
nothing. Wherever a formula is at hand it is taken: Wilson's interval of a share, and what is added up from such
intervals. Draws from the samples do not vary where all of a group are right, and miss a tie (docs/results.md has how
often each holds the truth). They are for the differences that have no formula.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from datasets.splits import Splits
from method.evaluation import bootstrap
from method.evaluation.bootstrap import Grouping, Outcomes
from method.evaluation.intervals import LEVEL, add_squares, normal_quantile, paired_limits
from method.evaluation.metrics import wilson_interval, wilson_limits
from method.evaluation.records import Records
from utils.errors import RunError

Ends = tuple[float, float]
SHARES = ("retain_acc", "forget_acc", "val_acc", "test_acc", "forget_group_acc")
WEIGHTED = ("forget_group_acc_weighted", "mean_group_acc", "adjusted_acc")
KEYS = (*SHARES, *WEIGHTED, "worst_group_acc", "equalized_odds", "equalized_odds_full", "demographic_parity")
NO_RECORDS = "the records of one of the two runs are not there"
OTHER_SAMPLES = "the two runs have records of other samples"


class Difference(NamedTuple):
    """A metric of one run minus that of another, in points, and both ends of its interval."""

    difference: float
    low: float
    high: float


def run_intervals(records: Records, splits: Splits, n_targets: int, n_sensitive: int) -> dict[str, list[float]]:
    """Both ends for every accuracy and fairness metric of a run that its test set determines, percent, by key."""
    found = {
        key: wilson_interval(int(np.count_nonzero(right)), len(right))
        for key, right in shares_of(records, splits).items()
        if len(right)
    }
    test = records.select(splits.test)
    counts = count(test, n_targets, n_sensitive)
    grouping = Grouping(counts.sum(axis=2), forget_pairs(splits, n_sensitive))
    own = np.arange(n_targets)
    right, n = counts[own, :, own], grouping.n
    for key, weights in weights_of(records, splits, grouping).items():
        found[key] = weighted_ends(right, n, weights)
    if len(test):
        found["worst_group_acc"] = worst_ends(right, n)
    if (contrasts := bootstrap.odds_contrasts(grouping)) is not None:
        found["equalized_odds"] = odds_ends(right, n, contrasts)
    if bootstrap.n_pairs(n):
        found["equalized_odds_full"] = full_odds_ends(right, n)
    if np.count_nonzero(n.sum(axis=0)) > 1:
        found["demographic_parity"] = parity_ends(counts, n)
    return {key: list(ends) for key, ends in found.items()}


def compare(
    a: Records | None, b: Records | None, splits: Splits, n_targets: int, n_sensitive: int
) -> tuple[dict[str, Difference], dict[str, str]]:
    """Metrics of a minus those of b on the same samples, by key, and for those that are not there the reason.

    a, b: the records of two runs with these splits, such as a method and the retrained model of its seed; None where
    a run has kept none. Accuracies are compared image by image (`paired_limits`), group by group where they are
    weighted. What is left is drawn with both models at once. Where one was evaluated in fp32 alone, both are compared
    in fp32.
    """
    if a is None or b is None:
        return {}, dict.fromkeys(KEYS, NO_RECORDS)
    if a.bf16_logits is None or b.bf16_logits is None:
        a, b = in_fp32(a), in_fp32(b)
    try:
        tests = [one.select(splits.test) for one in (a, b)]
        shares = [shares_of(one, splits) for one in (a, b)]
        grouping = Grouping(count(tests[0], n_targets, n_sensitive).sum(axis=2), forget_pairs(splits, n_sensitive))
        weights = weights_of(a, splits, grouping)
    except RunError:
        return {}, dict.fromkeys(KEYS, OTHER_SAMPLES)
    if not np.array_equal(tests[0].group, tests[1].group):
        return {}, dict.fromkeys(KEYS, OTHER_SAMPLES)
    found = {
        key: paired_difference(right, shares[1][key], np.zeros(len(right), dtype=np.int64), np.ones(1))
        for key, right in shares[0].items()
        if len(right)
    }
    for key, shared in weights.items():
        found[key] = paired_difference(tests[0].correct, tests[1].correct, tests[0].group, shared.ravel())
    if len(tests[0]):
        outcomes = bootstrap.tabulate(tests[0].target, tests[0].sensitive, [test.prediction for test in tests])
        found |= drawn_differences(outcomes, grouping, max(test.logits.shape[1] for test in tests))
    return found, {key: "the samples do not determine it" for key in KEYS if key not in found}


def shares_of(records: Records, splits: Splits) -> dict[str, np.ndarray]:
    """Which samples are right, bool (n,), by the key of the accuracy; of sets as the published code takes them."""
    forgets = len(splits.forget) > 0
    names = ("retain", "forget", "val", "test") if forgets else ("train", "val", "test")
    sets = {name: records.select(getattr(splits, name)) for name in names}
    found = {f"{name}_acc": part.published.correct for name, part in sets.items()}
    if forgets:
        found["forget_group_acc"] = sets["test"].correct[np.isin(sets["test"].group, splits.forget_groups)]
    return found


def count(test: Records, n_targets: int, n_sensitive: int) -> np.ndarray:
    """How many samples of each group are predicted as each class; int (T, S, C)."""
    n_classes = test.logits.shape[1]
    place = (test.target * n_sensitive + test.sensitive) * n_classes + test.prediction
    return np.bincount(place, minlength=n_targets * n_sensitive * n_classes).reshape(n_targets, n_sensitive, -1)


def forget_pairs(splits: Splits, n_sensitive: int) -> list[tuple[int, int]]:
    """Target and sensitive value of each forget group."""
    return [divmod(group, n_sensitive) for group in splits.forget_groups]


def weights_of(records: Records, splits: Splits, grouping: Grouping) -> dict[str, np.ndarray]:
    """The weights (T, S) of the groups in each of WEIGHTED, without those that need a group with no test sample."""
    there = grouping.n > 0
    found = {"mean_group_acc": there.astype(np.float64)}
    for key, rows in (("forget_group_acc_weighted", splits.forget), ("adjusted_acc", splits.train)):
        counts = np.bincount(records.select(rows).group, minlength=there.size).reshape(there.shape)
        found[key] = counts.astype(np.float64)
    sums = {key: weights.sum() for key, weights in found.items()}
    return {key: weights / sums[key] for key, weights in found.items() if sums[key] and not weights[~there].any()}


def weighted_ends(right: np.ndarray, n: np.ndarray, weights: np.ndarray) -> Ends:
    """Of a weighted sum of the groups' accuracies; all (T, S)."""
    there = n > 0
    low, high = wilson_limits(right[there], n[there])
    return _ends(*add_squares(100.0 * right[there] / n[there], low, high, weights[there]))


def odds_ends(right: np.ndarray, n: np.ndarray, contrasts: np.ndarray) -> Ends:
    """Of EO: the mean of its two differences, each with the sign that it has; contrasts (2, T, S)."""
    signs = np.sign((_accuracies(right, n) * contrasts).sum(axis=(1, 2)))
    return weighted_ends(right, n, np.tensordot(np.where(signs < 0, -1.0, 1.0), contrasts, 1) / 2)


def full_odds_ends(right: np.ndarray, n: np.ndarray) -> Ends:
    """Of EO full: likewise, every accuracy with the sign of its differences to the others of its target."""
    order = np.argsort(np.where(n > 0, _accuracies(right, n), np.inf), axis=1, kind="stable")
    weights = np.empty(n.shape)
    np.put_along_axis(weights, order, bootstrap.pair_weights(n), axis=1)
    return weighted_ends(right, n, weights / bootstrap.n_pairs(n))


def worst_ends(right: np.ndarray, n: np.ndarray) -> Ends:
    """Of the lowest accuracy: any group whose interval reaches down to the lowest may be it.

    The lower end is the lowest one of all. The upper end is that of each of them at once (Bonferroni).
    """
    right, n = right[n > 0], n[n > 0]
    low, high = wilson_limits(right, n)
    n_near = int(np.count_nonzero(low <= high.min()))
    _, highest = wilson_limits(right, n, normal_quantile(_at_once(n_near)))
    return _ends(low.min(), highest.min())


def parity_ends(counts: np.ndarray, n: np.ndarray) -> Ends:
    """Of demographic parity, from how often each group is predicted as each class (T, S, C): the largest difference.

    Any pair of sensitive values and class whose interval reaches up to the largest may be it: the ends mirror
    `worst_ends`.
    """
    there = n.sum(axis=0) > 0
    counts, n = counts[:, there], n[:, there]
    if counts.shape[2] == 2:  # the shares of two classes mirror each other
        counts = counts[:, :, :1]
    low, high = _parity_limits(counts, n, LEVEL)
    n_near = int(np.count_nonzero(high >= low.max()))
    lowest, _ = _parity_limits(counts, n, _at_once(n_near))
    return _ends(lowest.max(), high.max())


def _parity_limits(counts: np.ndarray, n: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Both ends, (pairs, C), of the differences between two sensitive values in the share of a class, as they stand."""
    shares, held = (n / n.sum(axis=0))[:, :, None], np.maximum(n, 1)[:, :, None]
    rates = 100.0 * counts / held
    low, high = add_squares(rates, *wilson_limits(counts, held, normal_quantile(level)), shares, axis=0)
    rate = (shares * rates).sum(axis=0)
    first, second = np.triu_indices(len(rate), k=1)
    apart = rate[first] - rate[second]
    more = apart >= 0  # the first has the larger share
    below, above = rate - low, high - rate
    down = np.where(more, np.hypot(below[first], above[second]), np.hypot(above[first], below[second]))
    up = np.where(more, np.hypot(above[first], below[second]), np.hypot(below[first], above[second]))
    return np.abs(apart) - down, np.abs(apart) + up


def paired_difference(a: np.ndarray, b: np.ndarray, group: np.ndarray, weights: np.ndarray) -> Difference:
    """Accuracy a minus accuracy b; a, b: bool (n,), which of the same samples are right; groups have weights (G,)."""
    table = np.bincount(4 * group + 2 * a + b, minlength=4 * len(weights)).reshape(-1, 4)
    counted = weights > 0
    _, only_b, only_a, _ = table[counted].T
    n = table[counted].sum(axis=1)
    apart = 100.0 * (only_a - only_b) / n
    low, high = paired_limits(only_a, only_b, n)
    ends = add_squares(apart, low, high, weights[counted])
    return Difference(float(weights[counted] @ apart), *map(float, ends))


def drawn_differences(outcomes: Sequence[Outcomes], grouping: Grouping, n_classes: int) -> dict[str, Difference]:
    """Of the metrics that have no formula, from the bootstrap; outcomes: of two models."""
    seen_a, seen_b = bootstrap.observed(outcomes, grouping, n_classes)
    drawn_a, drawn_b = bootstrap.draw(outcomes, grouping, n_classes)
    found = {}
    for key, measure in bootstrap.measures(grouping).items():
        seen = (measure(seen_a) - measure(seen_b)).item()
        found[key] = Difference(seen, *bootstrap.bias_corrected(measure(drawn_a) - measure(drawn_b), seen))
    return found


def in_fp32(records: Records) -> Records:
    """The same without a second pass in bf16."""
    return replace(records, bf16_logits=None, bf16_loss=None)


def _accuracies(right: np.ndarray, n: np.ndarray) -> np.ndarray:
    return 100.0 * right / np.maximum(n, 1)


def _at_once(n: int) -> float:
    """The level at which n intervals hold all at once at LEVEL (Bonferroni)."""
    return 1 - (1 - LEVEL) / n


def _ends(low: np.ndarray, high: np.ndarray) -> Ends:
    """Within 0 and 100."""
    return max(0.0, float(low)), min(100.0, float(high))
