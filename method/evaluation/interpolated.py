"""Interpolated approximate measurement (IAM): how far a sample is still fitted, from "not trained on" to "learned".

1. The signal of a sample is s(p) = -ln(0.01 - ln(p + 1e-5)) of its target's probability p, from 0 at p = 0 to 1 at
   p = 1.
2. Between the signal of a model that was not trained on it (the shadow) and the original's lie 100 points, evenly.
3. Around every point but the original's stands a Gumbel distribution, as wide as the samples' points vary. Its
   distribution function at the signal of the model that is asked says how much further towards the original that is.
4. The mean of these 99, weighted by how near to the original the next point is, is the membership score, 0 to 1.

Wang et al., Towards Lifecycle Unlearning Commitment Management: Measuring Sample-level Unlearning Completeness, 2025
(arXiv 2506.06112). Constants and weights are those of the authors' code (Happy2Git/Unlearning_Inference_IAM), online.
The shadow there was trained on none of the samples asked for; a retrained model on none of the forgotten ones.
"""

import numpy as np

from method.evaluation.measures import Measure

INNER, OUTER = 1e-5, 1e-2
N_POINTS = 100
EULER = 0.5772156649015329

_SOURCE = "Wang et al., Towards Lifecycle Unlearning Commitment Management, 2025 (arXiv 2506.06112)"
_LIMITS = (
    "Scores are no probabilities: compare them with the floor, which is that of a retrained model of a third seed, and"
    " with the original's. The shadow is one model, whose peculiarities every score carries. It was trained on the"
    " retained samples, so they have no score, and the paper's AUC of forgotten against retained samples is left out."
)
MEASURES = (
    Measure(
        "iam_score",
        "IAM",
        "how far the forgotten samples are still fitted, between a model that was not trained on them and the original",
        "mean over forgotten samples of the membership score, between a retrained model of another seed (the shadow)"
        " and the original: 100 interpolated signals with Gumbel distributions",
        _SOURCE,
        _LIMITS,
    ),
)


def membership_scores(original: np.ndarray, shadow: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Score of each sample, (n,), 0 to 1; probabilities (n,) of the targets by the original, a shadow and a model."""
    start, signal = scale_signal(shadow), scale_signal(asked)
    way = scale_signal(original) - start
    total = np.zeros(len(asked))
    shares = np.linspace(0, 1, N_POINTS)
    for share, weight in zip(shares[:-1], shares[1:], strict=True):
        mean = start + share * way
        # Of equal signals the distribution has no width, and the score is a step.
        scale = max(float(mean.std()) * np.sqrt(6) / np.pi, np.finfo(np.float64).tiny)
        with np.errstate(over="ignore"):
            total += weight * np.exp(-np.exp(-((signal - mean) / scale + EULER)))
    return total / shares[1:].sum()


def scale_signal(probability: np.ndarray) -> np.ndarray:
    """The signal of probabilities (n,), 0 to 1."""
    ends = -np.log(OUTER - np.log(INNER + np.array([0.0, 1.0])))
    return (-np.log(OUTER - np.log(INNER + probability)) - ends[0]) / (ends[1] - ends[0])
