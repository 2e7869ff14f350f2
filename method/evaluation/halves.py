"""A distance between unlearned and retrained models beside its floor: the same between two halves of the retrained."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
N_HALVINGS = 2
SEED = 0  # the same for every label, so that all meet the same halves


class Halved(NamedTuple):
    """By sample, (n,): the distance of unlearned models, and of retrained ones; n_models: on either side, of both."""

    distance: np.ndarray
    floor: np.ndarray
    n_models: int


def measure_halved(
    unlearned: np.ndarray, retrained: np.ndarray, distance: Distance, n_halvings: int = N_HALVINGS
) -> Halved:
    """The mean over halvings; phi of (U, n) unlearned and (R, n) retrained models.

    Such distances depend on how many models there are, even where nothing differs. So both are of as many: half of the
    retrained, or all of the unlearned where those are fewer. `distance` takes (N, n) and (N, n), and gives (n,).
    """
    n_models = min(len(unlearned), len(retrained) // 2)
    generators = [np.random.default_rng([SEED, side]) for side in range(2)]
    apart, floors = [], []
    for _ in range(n_halvings):
        own, theirs = (
            generator.permutation(len(models))
            for generator, models in zip(generators, (unlearned, retrained), strict=True)
        )
        halves = [retrained[theirs[:n_models]], retrained[theirs[-n_models:]]]
        apart += [distance(unlearned[own[:n_models]], halves[0]), distance(unlearned[own[-n_models:]], halves[1])]
        floors.append(distance(*halves))
    return Halved(np.mean(apart, axis=0), np.mean(floors, axis=0), n_models)
