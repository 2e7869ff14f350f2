"""Random labels: the baseline of Golatkar et al. (Eternal Sunshine of the Spotless Net, CVPR 2020).

Its passes and labels are those of SalUn (Fan et al., ICLR 2024), which is this method with a mask on the weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import param, register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner
from utils.device import send


@register("rl")
class RandomLabels(Unlearner):
    """Random labels on the forget set, true ones on the retain set."""

    @dataclass(frozen=True)
    class Params(NoParams):
        """Which labels F gets."""

        relabel: str = param(
            "uniform", "labels of F: any class, redrawn for every batch, or another class, redrawn every epoch",
            choices=("uniform", "other"),
        )  # fmt: skip

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._shift, self._shifted = torch.empty(0), -1  # and the epoch they are of

    def phases(self, epoch: int) -> Iterator[Phase]:
        """A pass over F with random labels, one over R with the true ones."""
        draw = self.draw_labels if self.p.relabel == "uniform" else None
        yield Phase("forget", self.random_labels, data="forget", draw=draw)
        yield Phase("retain", self.true_labels, data="retain")

    def random_labels(self, batch: Batch) -> Tensor:
        """Cross-entropy of labels drawn at random."""
        return cross_entropy(self.model(batch.image), self.relabel(batch))

    def relabel(self, batch: Batch) -> Tensor:
        """Uniform over all classes, or over the others than the true one (the same for a sample all epoch)."""
        if self.p.relabel == "uniform":
            return batch.drawn
        return (batch.target + self._shifts(batch)[batch.index]) % self.task.n_targets

    def draw_labels(self, generator: torch.Generator, n: int) -> Tensor:
        """(n,) labels, every class as likely as another."""
        return torch.randint(self.task.n_targets, (n,), generator=generator)

    def _shifts(self, batch: Batch) -> Tensor:
        """(n_rows,) how far the label of each row is from the true one, drawn once an epoch."""
        if self._shifted != batch.epoch:
            generator = self.task.generator(self.name, batch.epoch, "relabel")
            shifts = torch.randint(1, self.task.n_targets, (self.task.n_rows,), generator=generator)
            self._shift, self._shifted = send(shifts, batch.target.device), batch.epoch
        return self._shift

    def true_labels(self, batch: Batch) -> Tensor:
        """Cross-entropy on R."""
        return cross_entropy(self.model(batch.image), batch.target)
