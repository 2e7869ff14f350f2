"""What features and weights still know: a linear probe, CKA, the distance of weights and the straight line between."""

import math
from collections.abc import Iterable

import numpy as np

from method.evaluation.measures import DIFFERENCE, PERCENT, Measure
from method.evaluation.metrics import Undefined

FEWEST_SAMPLES = 20  # samples, below which CKA says little
PROBE_C = 1.0  # scikit-learn's C: the inverse weight of the squared coefficients beside the sum of the losses
PROBE_STEPS = 1000


def linear_cka(one: np.ndarray, other: np.ndarray) -> float:
    """Similarity of the features (n, p) and (n, q) of n samples in percent: 100 for equal ones, about 0 for unrelated.

    Centred kernel alignment of linear kernels with the unbiased estimate of HSIC, which does not grow with p / n as the
    usual one does, and so may be a little below 0. Invariant to shifts, rotations and one scale. Undefined for fewer
    than 20 samples, and where features do not differ between samples.
    """
    if len(one) < FEWEST_SAMPLES:
        raise Undefined(f"CKA needs {FEWEST_SAMPLES} samples, and there are {len(one)}")
    kernels = [_kernel(features) for features in (one, other)]
    own = [hsic(kernel, kernel) for kernel in kernels]
    if min(own) <= 0:
        raise Undefined("the features of all samples are the same")
    return float(100.0 * hsic(*kernels) / np.sqrt(own[0] * own[1]))


def _kernel(features: np.ndarray) -> np.ndarray:
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    return centred @ centred.T


def hsic(one: np.ndarray, other: np.ndarray) -> float:
    """Unbiased estimate of the Hilbert-Schmidt independence criterion of two kernels (n, n), n > 3 (Song et al. 2012).

    The samples' own entries, on the diagonals, are left out.
    """
    n = len(one)
    one, other = (kernel - np.diag(np.diag(kernel)) for kernel in (one, other))
    both = np.sum(one * other)
    apart = one.sum() * other.sum() / ((n - 1) * (n - 2))
    shared = 2.0 * (one.sum(axis=0) @ other.sum(axis=0)) / (n - 2)
    return float((both + apart - shared) / (n * (n - 3)))


def probe(features: np.ndarray, target: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Targets that a linear probe predicts for `asked` (m, p), fitted on `features` (n, p) with `target` (n,).

    Logistic regression with an L2 penalty (C = 1) on features standardised by their mean and deviation over the n.
    Undefined for fewer than two targets.
    """
    if len(np.unique(target)) < 2:
        raise Undefined("a probe needs held-out samples of two targets")
    # Importing scikit-learn takes a second, and tables that only show its numbers do without.
    from sklearn.linear_model import LogisticRegression

    features, asked = features.astype(np.float64), asked.astype(np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation[deviation == 0] = 1.0  # of a feature that never differs
    model = LogisticRegression(C=PROBE_C, max_iter=PROBE_STEPS).fit((features - mean) / deviation, target)
    return model.predict((asked - mean) / deviation)


def weight_distance(one: Iterable[np.ndarray], other: Iterable[np.ndarray]) -> float:
    """Euclidean distance of two lists of arrays with the same shapes, taken as one vector each."""
    squares = (np.sum((a.astype(np.float64) - b) ** 2) for a, b in zip(one, other, strict=True))
    return float(np.sqrt(sum(squares)))


def barrier(accuracies: np.ndarray) -> float:
    """How far accuracies at equal distances on a line lie at most below the line between the first and last; 0 or more.

    In the unit of the accuracies (n,), n > 1.
    """
    expected = np.linspace(accuracies[0], accuracies[-1], len(accuracies))
    return float(np.max(expected - accuracies, initial=0.0))


LINE = "Frankle et al. 2020 (ICML); batch norm: Jordan et al. 2023 (ICLR)"
ON_THE_LINE = (
    "Parameters are mixed, (1 - a) original + a model for a = 0, 0.1, ..., 1; running statistics of batch norm are "
    "computed anew at every point, ends included, on a fixed sample of the retain set, as the mean of two networks' "
    "statistics is not that of the network between them."
)
MEASURES = (
    Measure(
        "l2_to_original",
        "L2 to original",
        "distance of the weights to the original's",
        "Euclidean distance over all parameters, running statistics left out.",
        "Siddiqui et al. 2025, arXiv 2505.22310",
        "Layers before batch norm can be scaled without any effect; compare runs of one architecture alone, and with "
        "the retrained model's distance.",
        unit="",
        decimals=2,
        range=(0.0, math.inf),
    ),
    Measure(
        "lmc_acc",
        "accuracy on the line",
        "accuracy on the straight line from the original to the model",
        f"{ON_THE_LINE} Accuracy on the validation set and on the forget set.",
        LINE,
        "At the ends it is not quite the model's own accuracy, whose running statistics are others.",
        range=PERCENT,
    ),
    Measure(
        "lmc_barrier",
        "LMC barrier",
        "how far accuracy falls on the straight line from the original to the model",
        "Largest difference between the mean of the ends, weighted by a, and lmc_acc at a; percentage points. Near 0: "
        "the two are linearly connected, and the model has not left the original's basin.",
        LINE,
        "Eleven points; a low barrier makes hidden knowledge likelier and does not prove it.",
        range=PERCENT,
    ),
    Measure(
        "probe_acc",
        "probe",
        "accuracy of a linear probe on the forget set",
        "Logistic regression (L2, C = 1, standardised features) of the target on the features, fitted on held-out "
        "samples (val and test) of all groups and asked for the forget set.",
        "Alain and Bengio 2017 (ICLR workshop)",
        "Features that generalise to the forgotten groups are right on them without any memory: compare with the "
        "retrained model's probe.",
        range=PERCENT,
    ),
    Measure(
        "cka",
        "CKA",
        "similarity of the features to the retrained model's",
        "Linear centred kernel alignment with the unbiased estimate of HSIC, times 100, on the forget set and on "
        "held-out samples.",
        "Kornblith et al. 2019 (ICML); Song et al. 2012 (JMLR)",
        "Directions of large variance decide it; two retrained models of different seeds are not at 100 either.",
        range=DIFFERENCE,  # the unbiased estimate of an unrelated pair may be below 0
    ),
)
