"""FT: fine-tuning on the retain set.

A baseline of Aditya Golatkar, Alessandro Achille and Stefano Soatto, Eternal Sunshine of the Spotless Net: Selective
Forgetting in Deep Networks, CVPR 2020, and of Alexander Warnecke et al., Machine Unlearning of Features and Labels,
NDSS 2023. What is no longer trained on may be forgotten.

Objective.

    min over theta of   mean_R CE(f_theta(x), y),   from theta0

Symbols, and what each is called here: f_theta `model`; R the phase's data.

Steps. In every epoch

    1. `fit`    one pass over R with this loss.

`--rob_approach` weighs this loss by groups, or draws from R by them. No departure of the published code is known.
"""

from collections.abc import Iterator

from torch import Tensor

from method.registry import register
from method.unlearners.base import Batch, Phase
from method.unlearners.grouped import Grouped


@register("ft")
class FineTuning(Grouped):
    """Go on training on the retain set."""

    def phases(self, epoch: int) -> Iterator[Phase]:
        """The epoch's only phase: `fit` on R."""
        yield Phase("retain", self.fit, data="retain", sampling=self.approach.sampling)

    def fit(self, batch: Batch) -> Tensor:
        """Step 1: cross-entropy of the true labels on R."""
        return self.approach.risk(self.model(batch.image), batch.target, batch.group)
