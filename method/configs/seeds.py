"""The three seeds of a run: who is forgotten, how the models around it were trained, and how it was unlearned."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from method.configs.key import SCHEMA
from utils.errors import UserError

SEEDS = ("seed", "train_seed", "forget_seed")  # the flags; the last two follow the first


class Seeds(NamedTuple):
    """What decides the three chances of a run; one that is not given follows `run`, which is --seed.

    forget: which samples are forgotten; None where nothing is drawn. train: the training of the original and of the
    retrained model, and what else decides who is in train. run: the run's own, of a model that is trained the same as
    `train`.
    """

    forget: int | None
    train: int
    run: int

    @property
    def models(self) -> tuple[int | None, int]:
        """Forget and train seed: runs in which they are equal share a retrained model, and are not independent."""
        return self.forget, self.train

    def of_model(self, forgets: bool) -> "Seeds":
        """Those of the retrained model that a run belongs to or, where nothing is forgotten, of the pretrained one."""
        return Seeds(self.forget if forgets else None, self.train, self.train)

    def given(self) -> dict[str, int]:
        """The flags that say where forget and train seed differ from the run's own."""
        values = {"forget_seed": self.forget, "train_seed": self.train}
        return {name: value for name, value in values.items() if value is not None and value != self.run}

    def spell(self) -> str:
        """The end of a run's name: `3` where all are equal, else `3-f1-t0` or a part of it."""
        return "".join([str(self.run), *(f"-{name[0]}{value}" for name, value in self.given().items())])

    def describe(self) -> str:
        """`seed 3`, and what differs from it."""
        return ", ".join([f"seed {self.run}", *(f"{name} {value}" for name, value in self.given().items())])


def read_seeds(values: Mapping[str, Any], forgets: bool) -> Seeds:
    """The seeds of a run from its configuration, of any version. A list, or a ratio of 1, leaves nothing to draw."""
    draws = forgets and not values.get("forget_list") and values.get("unlearning_ratio") != 1
    run = values["seed"]
    forget, train = (run if values.get(name) is None else values[name] for name in ("forget_seed", "train_seed"))
    return Seeds(forget if draws else None, train, run)


def are_independent(found: Sequence[Seeds]) -> bool:
    """Whether runs with these seeds are independent draws: each was trained anew, and what they share, all share."""
    forget, train, run = (len(set(values)) for values in zip(*found, strict=True))
    return train == len(found) and {forget, run} <= {1, train}


def settle_seeds(
    entries: Mapping[str, tuple[Any, str]], method: str, is_trained: bool
) -> Mapping[str, tuple[Any, str]]:
    """Let a model that is trained, and not unlearned, have its train seed as its own; UserError for two.

    entries: value and source by key.
    """
    (train, source), (seed, other) = entries["train_seed"], entries["seed"]
    if not is_trained or train is None:
        return entries
    if seed != train and other != SCHEMA:
        raise UserError(
            f"{method} trains a model, and its train seed is its own: train_seed is {train} ({source}) and seed is "
            f"{seed} ({other}); leave one of them out"
        )
    return {**entries, "seed": (train, source)}
