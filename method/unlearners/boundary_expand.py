"""Boundary expand.

Min Chen, Weizhuo Gao, Gaoyang Liu, Kai Peng and Chen Wang, Boundary Unlearning: Rapid Forgetting of Deep Networks via
Shifting the Decision Boundary, CVPR 2023 (its boundary expanding; boundary shrink is the other method of the paper).

Objective. With an extra, shadow class C beside the classes 0 .. C - 1, F is given to it:

    min over theta and the extra output of   mean_F CE(f(x), C)

Symbols, and what each is called here: C `task.n_targets`; f with C + 1 outputs `expanded`, whose last output is the
layer `extra`; F the phase's data.

Steps.

    1. A random output for the shadow class is put beside the head of the original.
    2. `expand`     In every epoch one pass over F with the loss above, on all weights.
    3. The extra output is dropped: the network has its own outputs at any time.

R is not used. The published code returns the network with the extra output in it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from method.registry import Range, register
from method.unlearners.base import Batch, Phase, Unlearner, initial_weights


@register("boundary_expand", aliases=("boundary_exp",))
class BoundaryExpand(Unlearner):
    """Give the forget set to an extra class that is dropped afterwards; the retain set is not used."""

    reweight = None
    search = {"lr": Range(1e-6, 1e-2, log=True)}  # nothing holds the network back, so steps are small

    def __init__(self, *args: Any):
        super().__init__(*args)
        head = self.model.head
        with initial_weights(self.task.generator("boundary_expand", "extra output")):
            extra = type(head)(head.in_features, 1)  # of the head's class, which decides its precision
        self.extra = extra.to(head.weight.device)
        self.expanded = nn.ModuleDict({"network": self.model, "extra": self.extra})

    def modules(self) -> dict[str, nn.Module]:
        """The network and the layer of its extra output, trained as one module."""
        return {"model": self.expanded}

    def phases(self, epoch: int) -> Iterator[Phase]:
        """Step 2 of the algorithm, the epoch's only phase: `expand` on F."""
        yield Phase("forget", self.expand, data="forget")

    def expand(self, batch: Batch) -> Tensor:
        """Step 2: cross-entropy on F, with the extra class as everybody's label."""
        features = self.model.features(batch.image)
        logits = torch.cat([self.model.head(features), self.extra(features)], dim=1)
        return cross_entropy(logits, torch.full_like(batch.target, self.task.n_targets))
