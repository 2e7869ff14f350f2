"""NegGrad+: descent on what is kept and ascent on what is forgotten, in the same step.

Meghdad Kurmanji, Peter Triantafillou, Jamie Hayes and Eleni Triantafillou, Towards Unbounded Machine Unlearning,
NeurIPS 2023, where it is the stronger form of gradient ascent that SCRUB is compared with.

Objective. With 0 <= alpha <= 1, from theta0:

    min over theta of   alpha mean_R CE(f_theta(x), y) - (1 - alpha) mean_F CE(f_theta(x), y)

alpha = 1 is fine-tuning (`ft.py`); alpha = 0 ascends alone, as `ga.py` does. The second term has no lower bound.

Symbols, and what each is called here: f_theta `model`; alpha `alpha`.

Steps. An epoch is one pass over R. Every step of it takes a batch of R and one of F, and

    1. descends `fit` + `ascend`, the two terms of the objective, each the mean over its batch.

F is gone through as often as the pass over R needs, in a new order each time, and with a view of its own each time
where images are augmented. The two batches go through the network one after the other, that of R first: batch norm
normalises each by its own statistics, and its running statistics move twice a step, last towards F.

REWEIGHT draws from R, and not from F. `--rob_approach` weighs `fit` by groups, or draws from R by them.

The paper's code has it in two forms. Both repeat F beside one pass over R, and send the batches through the network
apart, R first. One does so in train mode, as here; the other in eval mode, and an L2 penalty towards theta0 takes the
place of weight decay there. Both repeat F in one order within an epoch, with a shorter last batch in every round; here
batches of F are all of one size. No flag gives either form.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import Range, param, register
from method.unlearners.base import Batch, Phase
from method.unlearners.grouped import Grouped, GroupParams


@register("neggrad_plus")
class NegGradPlus(Grouped):
    """Lower the cross-entropy of the retain set and raise that of the forget set, both in every step."""

    @dataclass(frozen=True)
    class Params(GroupParams):
        """How much either set counts."""

        alpha: float = param(
            0.99, "weight of the cross-entropy on R; that on F has 1 - alpha", at_least=0, at_most=1,
            search=Range(0.9, 1),
        )  # fmt: skip

    def phases(self, epoch: int) -> Iterator[Phase]:
        """The epoch's only phase: `fit` on R, and in the same steps `ascend` on F."""
        ascent = Phase("forget", self.ascend, data="forget")
        yield Phase("retain", self.fit, data="retain", sampling=self.approach.sampling, beside=ascent)

    def fit(self, batch: Batch) -> Tensor:
        """Step 1: alpha times the cross-entropy on R."""
        return self.p.alpha * self.approach.risk(self.model(batch.image), batch.target, batch.group)

    def ascend(self, batch: Batch) -> Tensor:
        """Step 1: the negative of 1 - alpha times the cross-entropy on F."""
        return -(1 - self.p.alpha) * cross_entropy(self.model(batch.image), batch.target)
