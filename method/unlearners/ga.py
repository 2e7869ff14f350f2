"""Gradient ascent: training undone by steps up the loss of what is forgotten.

Graves et al. (Amnesiac Machine Learning, AAAI 2021) take recorded updates back, Thudi et al. (Unrolling SGD, EuroS&P
2022) add gradients of F to the weights; later work compares with plain ascent on F, which this is. The loss has no
floor: how far it goes is a matter of learning rate and epochs.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import register
from method.unlearners.base import Batch, Phase, Unlearner


@register("ga")
class GradientAscent(Unlearner):
    """Raise the cross-entropy of the forget set; the retain set is not used."""

    reweight = None

    def phases(self, epoch: int) -> Iterator[Phase]:
        """One pass over F."""
        yield Phase("forget", self.ascend, data="forget")

    def ascend(self, batch: Batch) -> Tensor:
        """Ascend the cross-entropy on F."""
        return -cross_entropy(self.model(batch.image), batch.target)
