"""Fine-tuning: a baseline of Golatkar et al. (Eternal Sunshine of the Spotless Net, CVPR 2020) and of Warnecke et al.

(Machine Unlearning of Features and Labels, NDSS 2023). What is no longer trained on may be forgotten.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import register
from method.unlearners.base import Batch, Phase, Unlearner


@register("ft")
class FineTuning(Unlearner):
    """Go on training on the retain set."""

    def phases(self, epoch: int) -> Iterator[Phase]:
        """One pass over R."""
        yield Phase("retain", self.fit, data="retain")

    def fit(self, batch: Batch) -> Tensor:
        """Cross-entropy on R."""
        return cross_entropy(self.model(batch.image), batch.target)
