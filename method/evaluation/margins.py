"""KLoM: how far the margins of unlearned models are from those of retrained ones, sample by sample.

The margin of a sample is the logit of its target less log-sum-exp of the others, which is phi (`Records.log_odds`).
Georgiev et al., Attribute-to-Delete: Machine Unlearning via Datamodel Matching, 2024 (arXiv 2410.23232), appendix E.1;
bins, clipping and the least share are those of the authors' code (RoyRin/data-unlearning-bench).
"""

import numpy as np

from method.evaluation.columns import LOW
from method.evaluation.measures import Measure

N_BINS = 20
MOST = 100.0  # of a margin, to either side
LEAST = 1e-5  # share of a bin that unlearned models reach and retrained ones do not
CHUNK = 8192
SETS = {"forget": "forgotten samples", "retain": "retained samples", "test": "test samples"}

MEASURES = tuple(
    Measure(
        f"klom_{name}",
        f"KLoM {name[0].upper()}",
        f"mean over {samples} of the KL divergence of unlearned models' margins from retrained models'",
        "by sample KL(unlearned || retrained) in nats of the margins' histograms, 20 bins from the smallest to the"
        " largest of both; margins are cut at -100 and 100, and a bin that only unlearned models reach has the share"
        " 1e-5 among the retrained",
        "Georgiev et al., Attribute-to-Delete, 2024 (arXiv 2410.23232)",
        "It is far from 0 where nothing differs, as every bin that only unlearned models reach costs much: compare it"
        " with the floor, of as many models. The paper unlearns N originals; here it is one original with N unlearning"
        " seeds, so what is peculiar to that original counts as distance. The largest margin is in the last bin, where"
        " the authors' code leaves it out.",
        unit="nats",
        best=LOW,
        decimals=2,
    )
    for name, samples in SETS.items()
)


def margin_divergences(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """KL of each sample in nats, (n,); margins of (U, n) unlearned and (R, n) retrained models."""
    n = unlearned.shape[1]
    parts = (slice(first, first + CHUNK) for first in range(0, n, CHUNK))
    found = [_divergences(unlearned[:, part], retrained[:, part]) for part in parts]
    return np.concatenate(found) if found else np.empty(0)


def _divergences(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    own, other = (np.clip(margins, -MOST, MOST) for margins in (unlearned, retrained))
    low = np.minimum(own.min(axis=0), other.min(axis=0))
    span = np.maximum(own.max(axis=0), other.max(axis=0)) - low
    p, q = (_shares(margins - low, np.where(span > 0, span, 1.0)) for margins in (own, other))
    q = np.where(p > 0, np.maximum(q, LEAST), q)
    q /= q.sum(axis=1, keepdims=True)
    there = p > 0
    # Rounding can leave a sum just below zero, which no divergence is.
    return np.maximum((p * np.log(np.where(there, p, 1.0) / np.where(there, q, 1.0))).sum(axis=1), 0.0)


def _shares(above: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Shares of the models by sample and bin, (n, N_BINS), of margins (N, n) counted from the smallest."""
    n_models, n = above.shape
    bins = np.minimum((above / span * N_BINS).astype(np.int64), N_BINS - 1) + N_BINS * np.arange(n)
    return np.bincount(bins.ravel(), minlength=n * N_BINS).reshape(n, N_BINS) / n_models
