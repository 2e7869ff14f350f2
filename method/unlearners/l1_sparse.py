"""L1-sparse.

Jinghan Jia, Jiancheng Liu, Parikshit Ram, Yuguang Yao, Gaowen Liu, Yang Liu, Pranay Sharma and Sijia Liu, Model
Sparsity Can Simplify Machine Unlearning, NeurIPS 2023.

Objective. Fine-tuning on R, with an L1 penalty over all parameters that fades out:

    min over theta of   mean_R CE(f_theta(x), y) + alpha_e ||theta||_1,   from theta0

    alpha_e = alpha (1 - e / (E - E_0)) for e < E - E_0, then 0

Symbols, and what each is called here: f_theta `model`; alpha `penalty`; alpha_e `penalty(epoch)`; E `task.epochs`; E_0,
the last epochs without a penalty, `free_epochs`; ||theta||_1 `l1_norm`.

Steps. In every epoch e

    1. `sparsify`   one pass over R with this loss.

The share of |theta| < 1e-3 at the end is reported. `--rob_approach` weighs CE by groups, and not the penalty, or draws
from R by them. No departure of the published code is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from method.losses import l1_norm
from method.registry import Range, param, register
from method.unlearners.base import Batch, Phase
from method.unlearners.grouped import Grouped, GroupParams

NEAR_ZERO = 1e-3


@register("l1_sparse")
class L1Sparse(Grouped):
    """Fine-tune on the retain set while an L1 penalty, fading out, drives weights to zero."""

    metric_keys = Grouped.metric_keys | {
        "near_zero_share": ("percent", "share of the weights with |theta| < 1e-3 at the end")
    }

    @dataclass(frozen=True)
    class Params(GroupParams):
        """The penalty at the first epoch, and how many epochs at the end have none."""

        penalty: float = param(
            5e-4, "weight of sum |theta| at the first epoch", aliases=("l1_penalty",), at_least=0,
            search=Range(1e-5, 1e-2, log=True),
        )  # fmt: skip
        free_epochs: int = param(0, "last epochs without penalty", aliases=("l1_free_epochs",), at_least=0)

    def phases(self, epoch: int) -> Iterator[Phase]:
        """The epoch's only phase: `sparsify` on R."""
        yield Phase("retain", self.sparsify, data="retain", sampling=self.approach.sampling)

    def penalty(self, epoch: int) -> float:
        """alpha_e, the weight of the penalty in an epoch."""
        penalised = self.task.epochs - self.p.free_epochs
        return self.p.penalty * (1 - epoch / penalised) if epoch < penalised else 0.0

    def sparsify(self, batch: Batch) -> Tensor:
        """Step 1: cross-entropy on R + alpha_e ||theta||_1."""
        loss = self.approach.risk(self.model(batch.image), batch.target, batch.group)
        return loss + self.penalty(batch.epoch) * l1_norm(self.model.parameters())

    def extra_metrics(self) -> dict[str, Any]:
        """The share of parameters with |theta| < 1e-3, in percent, and what the approach reports."""
        weights = torch.cat([parameter.detach().flatten() for parameter in self.model.parameters()])
        return {"near_zero_share": 100 * float((weights.abs() < NEAR_ZERO).double().mean()), **super().extra_metrics()}
