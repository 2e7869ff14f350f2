"""Boundary expand (Chen et al., Boundary Unlearning, CVPR 2023)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from method.registry import register
from method.unlearners.base import Batch, Phase, Unlearner, initial_weights


@register("boundary_expand", aliases=("boundary_exp",))
class BoundaryExpand(Unlearner):
    """Give the forget set to an extra class that is dropped afterwards; the retain set is not used.

    The extra output is a layer beside the head, so the network has its own outputs at any time.
    """

    reweight = None

    def __init__(self, *args: Any):
        super().__init__(*args)
        head = self.model.head
        with initial_weights(self.task.generator("boundary_expand", "extra output")):
            extra = type(head)(head.in_features, 1)  # of the head's class, which decides its precision
        self.expanded = nn.ModuleDict({"network": self.model, "extra": extra.to(head.weight.device)})

    def modules(self) -> dict[str, nn.Module]:
        """The network with its extra output."""
        return {"model": self.expanded}

    def phases(self, epoch: int) -> Iterator[Phase]:
        """One pass over F."""
        yield Phase("forget", self.expand, data="forget")

    def expand(self, batch: Batch) -> Tensor:
        """Cross-entropy of the extra class."""
        features = self.model.features(batch.image)
        logits = torch.cat([self.model.head(features), self.expanded["extra"](features)], dim=1)
        return cross_entropy(logits, torch.full_like(batch.target, self.task.n_targets))
