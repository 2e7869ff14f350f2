"""GA: gradient ascent, training undone by steps up the loss of what is forgotten.

Laura Graves et al., Amnesiac Machine Learning, AAAI 2021, take recorded updates back; Anvith Thudi et al., Unrolling
SGD: Understanding Factors Influencing Machine Unlearning, EuroS&P 2022, add gradients of F to the weights. Later work
compares with plain ascent on F, which this is.

Objective.

    max over theta of   mean_F CE(f_theta(x), y),   from theta0

It has no upper bound: how far it goes is a matter of learning rate and epochs.

Symbols, and what each is called here: f_theta `model`; F the phase's data.

Steps. In every epoch

    1. `ascend`     one pass over F up this loss.

R is not used. No departure of the published code is known.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import Range, register
from method.unlearners.base import Batch, Phase, Unlearner


@register("ga")
class GradientAscent(Unlearner):
    """Raise the cross-entropy of the forget set; the retain set is not used."""

    reweight = None
    search = {"lr": Range(1e-6, 1e-2, log=True)}  # nothing holds the network back, so steps are small

    def phases(self, epoch: int) -> Iterator[Phase]:
        """The epoch's only phase: `ascend` on F."""
        yield Phase("forget", self.ascend, data="forget")

    def ascend(self, batch: Batch) -> Tensor:
        """Step 1: the negative of the cross-entropy on F, whose descent raises it."""
        return -cross_entropy(self.model(batch.image), batch.target)
