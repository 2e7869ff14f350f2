"""Random labels: the baseline of Golatkar et al. (Eternal Sunshine of the Spotless Net, CVPR 2020).

Its passes and labels are those of SalUn (Fan et al., ICLR 2024), which is this method with a mask on the weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import param, register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner


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

    def phases(self, epoch: int) -> Iterator[Phase]:
        """A pass over F with random labels, one over R with the true ones."""
        yield Phase("forget", self.random_labels, data="forget")
        yield Phase("retain", self.true_labels, data="retain")

    def random_labels(self, batch: Batch) -> Tensor:
        """Cross-entropy of labels drawn at random."""
        return cross_entropy(self.model(batch.image), self.relabel(batch))

    def relabel(self, batch: Batch) -> Tensor:
        """Uniform over all classes, or over the others than the true one (the same for a sample all epoch)."""
        n = self.task.n_targets
        if self.p.relabel == "uniform":
            return batch.share(torch.randint(n, (batch.size,), generator=batch.generator))
        draw = self.task.generator(self.name, batch.epoch, "relabel")
        shift = torch.randint(1, n, (self.task.n_rows,), generator=draw).to(batch.target.device)
        return (batch.target + shift[batch.index]) % n

    def true_labels(self, batch: Batch) -> Tensor:
        """Cross-entropy on R."""
        return cross_entropy(self.model(batch.image), batch.target)
