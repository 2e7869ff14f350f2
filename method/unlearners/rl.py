"""RL: random labels on the forget set.

The baseline of Aditya Golatkar, Alessandro Achille and Stefano Soatto, Eternal Sunshine of the Spotless Net: Selective
Forgetting in Deep Networks, CVPR 2020. Its passes and labels are those of SalUn (Fan et al., ICLR 2024), which is this
method with a mask on the weights.

Objective. With labels y' drawn at random, from theta0:

    on F descend    CE(f_theta(x), y')
    on R descend    CE(f_theta(x), y)

Symbols, and what each is called here: f_theta `model`; y' `relabel(batch)`.

Steps. In every epoch:

    1. `random_labels`  one pass over F with the first loss. `--rl_relabel uniform`: y' is any class, the true one too,
                        drawn anew for every batch; `other`: never the true one, drawn once an epoch.
    2. `true_labels`    one pass over R with the second.

`--rob_approach` weighs the second loss by groups, or draws from R by them. The published code has the first kind of
labels alone, and its group DRO weighs the first loss too, by the groups that the random labels make. No other departure
of it is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import param, register
from method.unlearners.base import Batch, Phase
from method.unlearners.grouped import Grouped, GroupParams
from utils.device import send


@register("rl")
class RandomLabels(Grouped):
    """Random labels on the forget set, true ones on the retain set."""

    @dataclass(frozen=True)
    class Params(GroupParams):
        """Which labels F gets."""

        relabel: str = param(
            "uniform", "labels of F: any class, redrawn for every batch, or another class, redrawn every epoch",
            choices=("uniform", "other"),
        )  # fmt: skip

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._shift, self._shifted = torch.empty(0), -1  # and the epoch they are of

    def phases(self, epoch: int) -> Iterator[Phase]:
        """Steps 1 and 2 of the algorithm: `random_labels` on F, `true_labels` on R."""
        draw = self.draw_labels if self.p.relabel == "uniform" else None
        yield Phase("forget", self.random_labels, data="forget", draw=draw)
        yield Phase("retain", self.true_labels, data="retain", sampling=self.approach.sampling)

    def random_labels(self, batch: Batch) -> Tensor:
        """Step 1: cross-entropy on F of labels drawn at random."""
        return cross_entropy(self.model(batch.image), self.relabel(batch))

    def relabel(self, batch: Batch) -> Tensor:
        """(B,) labels y': uniform over all classes, or over those but the true one, the same for a sample all epoch."""
        if self.p.relabel == "uniform":
            return batch.drawn
        return (batch.target + self._shifts(batch)[batch.index]) % self.task.n_targets

    def draw_labels(self, generator: torch.Generator, n: int) -> Tensor:
        """(n,) labels, every class as likely as another."""
        return torch.randint(self.task.n_targets, (n,), generator=generator)

    def _shifts(self, batch: Batch) -> Tensor:
        """(n_rows,) what is added to each row's true label, modulo the number of classes; drawn once an epoch."""
        if self._shifted != batch.epoch:
            generator = self.task.generator(self.name, batch.epoch, "relabel")
            shifts = torch.randint(1, self.task.n_targets, (self.task.n_rows,), generator=generator)
            self._shift, self._shifted = send(shifts, batch.target.device), batch.epoch
        return self._shift

    def true_labels(self, batch: Batch) -> Tensor:
        """Step 2: cross-entropy of the true labels on R."""
        return self.approach.risk(self.model(batch.image), batch.target, batch.group)
