"""What `--rob_approach` names: how training treats groups - which samples it draws, and how their losses count.

Group DRO: Shiori Sagawa, Pang Wei Koh, Tatsunori B. Hashimoto and Percy Liang, Distributionally Robust Neural Networks
for Group Shifts: On the Importance of Regularization for Worst-Case Generalization, ICLR 2020, Algorithm 1.

Objective. With l_g, the mean loss of group g, and N_g, its samples in the training set:

    min over theta of   max over q of   sum_g q_g (l_g + C / sqrt(N_g)),   q a distribution over the groups

Symbols, and what each is called here: q `log_q`, in logarithms; its step size eta_q `step_size`; C `adjustment`, the
group adjustment; l_g a batch's `losses`.

Steps. q starts uniform over the groups that have samples; for every batch, which is drawn with every group as likely as
another (the algorithm draws a group uniformly, and a sample of it):

    1. q_g <- q_g exp(eta_q (l_g + C / sqrt(N_g))) for every group g in the batch, then q <- q / sum q
    2. theta descends sum_g q_g (l_g + C / sqrt(N_g)), q taken as a constant

The published code has no adjustment (C = 0, the default here), and starts q uniform over all groups.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from utils.collectives import total

Loss = Callable[..., Tensor]


class ERM:
    """Empirical risk minimisation: every sample counts the same.

    sampling: as `Phase.sampling`; group_counts: (n_groups,) samples that are trained on.
    """

    sampling = "shuffle"

    def __init__(self, group_counts: Tensor, step_size: float, adjustment: float, device: torch.device):
        pass

    def risk(self, logits: Tensor, target: Tensor, group: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """Mean loss of (B, n_targets) logits with what `loss` compares them with, a scalar; group: (B,) ids.

        loss: called as (logits, target); with reduction="none" it returns each sample's, (B,).
        """
        return loss(logits, target)

    def metrics(self) -> dict[str, Any]:
        """What the approach adds to metrics.json, by key."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs of the approach: tensors by name."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore the approach from a saved state (`state`'s format)."""


class Subsampling(ERM):
    """ERM on as many samples of every group as the smallest has that is present."""

    sampling = "subsample"


class GroupDRO(ERM):
    """Group DRO: the loss of the groups, weighted by a distribution that follows the worst of them.

    Groups that have no sample to train on keep the weight 0.
    """

    sampling = "group_balanced"

    def __init__(self, group_counts: Tensor, step_size: float, adjustment: float, device: torch.device):
        counts = group_counts.to(device).float()
        self.step_size, self.present = step_size, counts > 0
        self.groups = torch.arange(len(counts), device=device)
        self.adjustment = torch.where(self.present, adjustment / counts.clamp(min=1).sqrt(), 0.0)
        self.log_q = torch.where(self.present, -self.present.sum().log(), -torch.inf)

    def risk(self, logits: Tensor, target: Tensor, group: Tensor, loss: Loss = cross_entropy) -> Tensor:
        """Steps 1 and 2: move q, and return the loss weighted by it, a scalar.

        Both are those of the whole batch on every process.
        """
        losses = loss(logits, target, reduction="none")
        # torch's one_hot checks its values, for which the device is waited for.
        member = (group[:, None] == self.groups).to(losses.dtype)
        # Sums of products, because autocast would take a matrix product in half precision.
        sums, counts = total(torch.stack([(losses[:, None] * member).sum(dim=0), member.sum(dim=0)]))
        adjusted = (sums / counts.clamp(min=1) + self.adjustment) * (counts > 0)
        log_q = self.log_q + self.step_size * adjusted.detach()
        self.log_q = log_q - torch.logsumexp(log_q, dim=0)
        return (self.log_q.exp() * adjusted).sum()

    def metrics(self) -> dict[str, Any]:
        """The distribution q over the groups, in their order, as it is now."""
        return {"dro_group_weights": self.log_q.exp().tolist()}

    def state(self) -> dict[str, Tensor]:
        """The logarithm of q, (n_groups,)."""
        return {"log_q": self.log_q}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore the group weights from a saved state (`state`'s format)."""
        self.log_q = state["log_q"]


APPROACHES: dict[str, type[ERM]] = {"none": ERM, "dro": GroupDRO, "subsample": Subsampling}
