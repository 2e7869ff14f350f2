"""Per-example attacks: an attacker for each sample, who tells models that unlearned it from others.

1. Many runs with different seeds forget the sample: their unlearned models give it phi's of one kind ("inside"), the
   retrained models of runs that were not trained on it phi's of another ("outside"); phi is `Records.log_odds`.
2. For every run and sample, both distributions are fitted on the other runs: the run's seed is left out on both sides.
3. The score of the run's phi is the logarithm of the ratio of both densities, inside over outside.

Densities: a Gaussian (LiRA, Carlini et al. 2022; U-LiRA, Hayes et al. 2024) or kernels (RULI, Naderloui et al. 2025).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from method.evaluation.measures import Measure

ENOUGH = 64  # runs of a sample, on each side, from which on its own standard deviation is taken
FEWEST = 2  # other runs of a sample, on each side, to fit two distributions
SMALLEST = 1e-30  # in place of a standard deviation of 0, as in LiRA
CHUNK = 2**18  # distances at a time: more are slower, as they leave a processor's cache

LIRA, RULI, PRIVACY = "lira", "ruli", "ruli_privacy"
SCORED = f"{LIRA}_scored"
SOURCE = "Hayes et al., Inexact Unlearning Needs More Careful Evaluations to Avoid a False Sense of Privacy, 2024"
GAUSSIAN = f"{SOURCE}; Carlini et al., Membership Inference Attacks From First Principles, 2022"
KERNELS = "Naderloui et al., Rectifying Privacy and Efficacy Measurements in Machine Unlearning, 2025"
FIT = (
    "For every run and forgotten sample, phi after unlearning and phi of retrained models that were not trained on the"
    " sample are fitted on the other runs, {density}; the score is the log likelihood ratio"
)
NORMAL = (
    "by Gaussians whose standard deviation is pooled over the samples where a sample has fewer than 64 other runs on a"
    " side"
)
SMOOTH = (
    "by Gaussian kernels with Scott's rule: bandwidth sd * n^(-1/5), the sd pooled over the samples where a sample has"
    " fewer than 64 other runs on a side"
)
GROUP = "What unlearning did to the whole group counts as well: see the excess over the placebo"
RATE = "Of few runs the tail of the scores is that of few models; null with fewer than 1 / FPR negatives"
EXCESS = (
    "The placebo is the same attack, in which a held-out sample of its group stands in the place of every forgotten"
    " sample. The interval of an excess leaves out blocks of runs, the same ones in attack and placebo"
)
DISTANCE = (
    "d' minus that of the placebo, with d' = sqrt(2) Phi^-1(AUC), Phi the normal distribution function: how many"
    " standard deviations apart two Gaussians of equal width are that give this AUC. An AUC of exactly 0 or 100 is"
    " taken as half a pair away from it, and where the placebo's is at the same end, there is no value"
)
OF_EXCESS = "The excess over the placebo: this project"
FEW_HELD_OUT = "In groups with few held-out samples the placebo is that of few samples"


def _measures(key: str, title: str, density: str, source: str) -> tuple[Measure, ...]:
    fit = FIT.format(density=density)
    what = "how well forgotten samples are told from ones that were not trained on, sample by sample"
    return (
        Measure(f"{key}_auc", f"{title} AUC", what, f"{fit}. AUC over all runs and samples", source, GROUP),
        Measure(
            f"{key}_excess",
            f"{title} excess",
            "what of that AUC is no change of the whole group",
            f"AUC minus that of the placebo. {EXCESS}",
            OF_EXCESS,
            f"Near 0 and 100 there is no room for a difference: do not order methods by it. {FEW_HELD_OUT}",
            unit="points",
        ),
        Measure(
            f"{key}_excess_d",
            f"{title} excess d'",
            "the same on a scale without ends, by which methods are ordered",
            f"{DISTANCE}. {EXCESS}",
            f"{OF_EXCESS}. Scale: Green and Swets, Signal Detection Theory and Psychophysics, 1966",
            f"Near AUCs of 0 and 100 it rests on few pairs of scores. {FEW_HELD_OUT}",
            unit="sd",
            decimals=2,
        ),
        Measure(
            f"{key}_excess_tpr_at_1",
            f"{title} TPR@1% excess",
            "what of the share found at 1 % is no change of the whole group",
            f"TPR@1% minus that of the placebo. {EXCESS}",
            OF_EXCESS,
            f"{RATE}. {FEW_HELD_OUT}",
            unit="points",
        ),
        *_rates(key, title, f"{fit}.", source),
    )


def _rates(key: str, title: str, definition: str, source: str, limits: str = RATE) -> tuple[Measure, ...]:
    return tuple(
        Measure(
            f"{key}_{name}",
            f"{title} TPR@{share}%",
            f"share of forgotten samples that are found where {share} % of the others are called so",
            f"{definition} The largest true-positive rate whose false-positive rate is at most {share} %",
            source,
            limits,
        )
        for name, share in (("tpr_at_1", "1"), ("tpr_at_01", "0.1"))
    )


OF_PRIVACY = (
    "For every run and sample, phi under the row's models of runs that forgot it and phi under those of runs that left"
    f" it out of train are fitted on the other runs, {SMOOTH}; the score is the log likelihood ratio."
)
OF_FEW = (
    "It has neither a placebo nor a correction for the group: compare it with the retrained models' row, in which"
    " neither kind of sample was trained on, and with the original's, which was trained on the forgotten ones. Needs"
    " runs with --leave_out, two or more others of which left the sample out"
)
MEASURES: tuple[Measure, ...] = (
    *_measures(LIRA, "U-LiRA", NORMAL, GAUSSIAN),
    *_measures(RULI, "RULI", SMOOTH, KERNELS),
    Measure(
        f"{PRIVACY}_auc",
        "RULI privacy AUC",
        "how well forgotten samples are told from left-out ones, both under the row's models",
        f"{OF_PRIVACY} AUC over all runs and samples",
        KERNELS,
        OF_FEW,
    ),
    *_rates(PRIVACY, "RULI privacy", OF_PRIVACY, KERNELS, f"{RATE}. {OF_FEW}"),
    Measure(
        SCORED,
        "scored",
        "share of forgotten samples that the per-example attacks can score",
        "Pairs of a run and a forgotten sample of which two or more other runs tell on each side, of all pairs",
        "this project",
        "The others are left out; of few runs with small forget sets they are most",
        best="high",
    ),
)


class Side(NamedTuple):
    """What M models of one kind say of N samples, one model a run.

    phi: float64 (M, N). fitted: bool (M, N), which of them make up a sample's distribution. asked: bool (M, N), which
    of them get a score.
    """

    phi: np.ndarray
    fitted: np.ndarray
    asked: np.ndarray


class Scores(NamedTuple):
    """Log likelihood ratios (n,), the run and the sample that each is of."""

    ratio: np.ndarray
    run: np.ndarray
    sample: np.ndarray

    def of(self, wanted: np.ndarray) -> "Scores":
        """Those of the samples that `wanted`, bool (N,), says."""
        chosen = wanted[self.sample]
        return Scores(*(values[chosen] for values in self))


@dataclass(frozen=True)
class Fit:
    """The distribution of n samples on one side: arrays (n,), and the other runs' phi (M, n), inf where none is."""

    n: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    others: Callable[[], np.ndarray]


Density = Callable[[np.ndarray, Fit], np.ndarray]


def gaussian(phi: np.ndarray, fit: Fit) -> np.ndarray:
    """Logarithm, but for a constant, of the normal density of phi (n,)."""
    return -0.5 * ((phi - fit.mean) / fit.deviation) ** 2 - np.log(fit.deviation)


def kernels(phi: np.ndarray, fit: Fit) -> np.ndarray:
    """Logarithm, but for the same constant, of the mean of normal densities around the other runs' phi.

    Bandwidth by Scott's rule of one dimension: the standard deviation times n^(-1/5) (Scott 1992, section 6.5).
    """
    bandwidth = np.maximum(fit.deviation * fit.n**-0.2, SMALLEST)
    exponents = fit.others() - phi
    exponents /= bandwidth * 2**0.5  # in place from here on: there are many
    np.square(exponents, out=exponents)
    nearest = exponents.min(axis=0)  # taken out, so that far from all of them something is left
    np.subtract(nearest, exponents, out=exponents)
    return np.log(np.exp(exponents, out=exponents).sum(axis=0) / fit.n) - nearest - np.log(bandwidth)


def attack(inside: Side, outside: Side, density: Density) -> tuple[Scores, Scores]:
    """Scores of what is asked inside and outside, each by fits on the other runs; both sides have the same runs.

    What has fewer than FEWEST other runs on one of the sides gets no score.
    """
    sums = [_Sums(inside), _Sums(outside)]
    found: list[list[Scores]] = [[], []]
    for run in range(len(inside.phi)):
        moments = [one.without(run) for one in sums]
        n = np.minimum(*(one.n for one in moments))
        samples = np.flatnonzero((inside.asked[run] | outside.asked[run]) & (n >= FEWEST))
        for part in np.array_split(samples, -(-samples.size * len(inside.phi) // CHUNK) or 1):
            own = n[part] >= ENOUGH
            fits = [total.fit(run, part, one, own) for total, one in zip(sums, moments, strict=True)]
            for side, scores in zip((inside, outside), found, strict=True):
                ratio = np.subtract(*(density(side.phi[run, part], fit) for fit in fits))
                asked = side.asked[run, part]
                scores.append(Scores(ratio[asked], np.full(np.count_nonzero(asked), run), part[asked]))
    positive, negative = (Scores(*map(np.concatenate, zip(*scores, strict=True))) for scores in found)
    return positive, negative


class _Moments(NamedTuple):
    """By sample, of one side without one run; squares: the sum of those of the deviations from the mean."""

    n: np.ndarray
    first: np.ndarray
    squares: np.ndarray

    @property
    def pooled(self) -> float:
        """The standard deviation within samples, over all that have two or more other runs."""
        several = self.n > 1
        return float(np.sqrt(self.squares[several].sum() / max(1, (self.n[several] - 1).sum())))


class _Sums:
    """Numbers, sums and sums of squares of a side by sample, from which one run's part is taken out."""

    def __init__(self, side: Side) -> None:
        self.phi, self.fitted = side.phi, side.fitted
        self.centre = np.median(side.phi, axis=0)  # squares of what is near to it lose no digits
        self.away = np.where(side.fitted, side.phi - self.centre, 0.0)
        self.n, self.first = side.fitted.sum(axis=0), self.away.sum(axis=0)
        self.second = np.einsum("mn,mn->n", self.away, self.away)

    def without(self, run: int) -> _Moments:
        """Of all samples, from the other runs."""
        away = self.away[run]
        n, first = self.n - self.fitted[run], self.first - away
        return _Moments(n, first, np.maximum(self.second - away**2 - first**2 / np.maximum(n, 1), 0.0))

    def fit(self, run: int, samples: np.ndarray, moments: _Moments, own: np.ndarray) -> Fit:
        """own: of which samples the standard deviation is their own; of the others it is the pooled one."""
        n, first, squares = (values[samples] for values in moments)
        deviation = np.where(own, np.sqrt(squares / np.maximum(n - 1, 1)), moments.pooled)

        @cache
        def others() -> np.ndarray:
            found = np.where(self.fitted[:, samples], self.phi[:, samples], np.inf)
            found[run] = np.inf
            return found

        return Fit(n, self.centre[samples] + first / n, np.maximum(deviation, SMALLEST), others)
