"""What `--rob_approach` names: how training treats groups - which samples it draws, and how their losses count."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from utils.collectives import total


class ERM:
    """Empirical risk minimisation: every sample counts the same.

    sampling: as `Phase.sampling`; group_counts: (n_groups,) samples that are trained on.
    """

    sampling = "shuffle"

    def __init__(self, group_counts: Tensor, step_size: float, adjustment: float, device: torch.device):
        pass

    def risk(self, logits: Tensor, target: Tensor, group: Tensor) -> Tensor:
        """Mean cross-entropy of (B, n_targets) logits."""
        return cross_entropy(logits, target)

    def metrics(self) -> dict[str, Any]:
        """Keys for metrics.json."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take it back."""


class Subsampling(ERM):
    """ERM on as many samples of every group as the smallest has that is present."""

    sampling = "subsample"


class GroupDRO(ERM):
    """Group DRO (Sagawa et al., Distributionally Robust Neural Networks for Group Shifts, ICLR 2020), Algorithm 1.

    A distribution q over the groups, uniform at first, follows the loss: of every group g in the batch, with mean loss
    l_g over its samples there and N_g samples in the training set,

        q_g <- q_g exp(step_size * (l_g + adjustment / sqrt(N_g))), then q <- q / sum q,

    and the network descends sum_g q_g (l_g + adjustment / sqrt(N_g)). The algorithm draws a group uniformly and a
    sample of it; so batches are drawn with every group as likely as another. Groups that have no sample to train on
    stay at 0.
    """

    sampling = "group_balanced"

    def __init__(self, group_counts: Tensor, step_size: float, adjustment: float, device: torch.device):
        counts = group_counts.to(device).float()
        self.step_size, self.present = step_size, counts > 0
        self.groups = torch.arange(len(counts), device=device)
        self.adjustment = torch.where(self.present, adjustment / counts.clamp(min=1).sqrt(), 0.0)
        self.log_q = torch.where(self.present, -self.present.sum().log(), -torch.inf)

    def risk(self, logits: Tensor, target: Tensor, group: Tensor) -> Tensor:
        """Move q, and return the loss weighted by it; both are those of the whole batch on every process."""
        losses = cross_entropy(logits, target, reduction="none")
        # torch's one_hot checks its values, for which the device is waited for.
        member = (group[:, None] == self.groups).to(losses.dtype)
        # Sums of products, because autocast would take a matrix product in half precision.
        sums, counts = total(torch.stack([(losses[:, None] * member).sum(dim=0), member.sum(dim=0)]))
        adjusted = (sums / counts.clamp(min=1) + self.adjustment) * (counts > 0)
        log_q = self.log_q + self.step_size * adjusted.detach()
        self.log_q = log_q - torch.logsumexp(log_q, dim=0)
        return (self.log_q.exp() * adjusted).sum()

    def metrics(self) -> dict[str, Any]:
        """The distribution over the groups at the end."""
        return {"dro_group_weights": self.log_q.exp().tolist()}

    def state(self) -> dict[str, Tensor]:
        """Its logarithm."""
        return {"log_q": self.log_q}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take it back."""
        self.log_q = state["log_q"]


APPROACHES: dict[str, type[ERM]] = {"none": ERM, "dro": GroupDRO, "subsample": Subsampling}
