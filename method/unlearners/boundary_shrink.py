"""Boundary shrink (Chen et al., Boundary Unlearning, CVPR 2023)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import param, register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner

DARKEST, BRIGHTEST = -1.0, 1.0  # pixels of a normalised image


@register("boundary_shrink", aliases=("boundary_sh",))
class BoundaryShrink(Unlearner):
    """Give every forgotten image to the class across the nearest decision boundary; the retain set is not used."""

    reweight = None

    @dataclass(frozen=True)
    class Params(NoParams):
        """How far the boundary is looked for."""

        epsilon: float = param(0.1, "step towards the boundary, as a share of the range of pixels", above=0, at_most=1)

    def phases(self, epoch: int) -> Iterator[Phase]:
        """One pass over F."""
        yield Phase("forget", self.shrink, data="forget")

    def shrink(self, batch: Batch) -> Tensor:
        """Cross-entropy of the nearest other class."""
        return cross_entropy(self.model(batch.image), self.nearest_class(batch))

    def nearest_class(self, batch: Batch) -> Tensor:
        """argmax over c != y of the original at x' = x + epsilon sign(grad_x CE(original(x), y)), of pixels in range.

        The paper names it the nearest but incorrect class. Where x' is still of class y, its runner-up is taken.
        """
        image = batch.image.clone().requires_grad_()
        loss = cross_entropy(self.original.module(image), batch.target, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, image)
        step = self.p.epsilon * (BRIGHTEST - DARKEST) * gradient.sign()
        with torch.no_grad():
            logits = self.original.module((batch.image + step).clamp(DARKEST, BRIGHTEST))
        return logits.scatter(1, batch.target[:, None], -torch.inf).argmax(dim=1)
