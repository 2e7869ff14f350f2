"""Boundary shrink.

Min Chen, Weizhuo Gao, Gaoyang Liu, Kai Peng and Chen Wang, Boundary Unlearning: Rapid Forgetting of Deep Networks via
Shifting the Decision Boundary, CVPR 2023.

Objective. Every sample of F is given to the class across the decision boundary of the original (weights w_0) that is
nearest to it, found by one signed gradient step of length epsilon:

    x'    = x + epsilon sign(grad_x CE(f_w0(x), y))
    y_nbi = argmax over c != y of f_w0(x')_c        (the nearest but incorrect class)
    min over w of   mean_F CE(f_w(x), y_nbi)

Symbols, and what each is called here: f_w `model`, which starts at w_0; f_w0 `original.module`; epsilon `epsilon`, as a
share of the range of pixels; y_nbi `nearest_class`.

Steps. In every epoch one pass over F, and for each of its batches:

    1. `nearest_class`  x' from the original, its pixels kept in range, and y_nbi from the original at x'
    2. `shrink`         the loss above

Where x' is still of class y, its runner-up is taken. R is not used. The published code takes y itself there, clips the
normalised pixels, whose range is -1 to 1 there, to 0 and 1, rounds them to 255ths, and steps by half as much
(`--boundary_shrink_epsilon 0.05`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import Range, param, register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner


@register("boundary_shrink", aliases=("boundary_sh",))
class BoundaryShrink(Unlearner):
    """Give every forgotten image to the class across the nearest decision boundary; the retain set is not used."""

    reweight = None
    search = {"lr": Range(1e-6, 1e-2, log=True)}  # nothing holds the network back, so steps are small

    @dataclass(frozen=True)
    class Params(NoParams):
        """The length of the step towards the boundary."""

        epsilon: float = param(
            0.1, "step towards the boundary, as a share of the range of pixels", above=0, at_most=1,
            search=Range(0.01, 1, log=True),
        )  # fmt: skip

    def __init__(self, *args: Any):
        super().__init__(*args)
        device = next(self.model.parameters()).device  # sent there once: a step would wait for it
        self.darkest, self.brightest = (
            torch.tensor(values, device=device) for values in (self.task.darkest, self.task.brightest)
        )

    def phases(self, epoch: int) -> Iterator[Phase]:
        """The epoch's only phase: `shrink` on F."""
        yield Phase("forget", self.shrink, data="forget")

    def shrink(self, batch: Batch) -> Tensor:
        """Step 2: cross-entropy on F, with `nearest_class` as labels."""
        return cross_entropy(self.model(batch.image), self.nearest_class(batch))

    def nearest_class(self, batch: Batch) -> Tensor:
        """Step 1: (B,) classes y_nbi of a batch, from the original alone."""
        image = batch.image.clone().requires_grad_()
        loss = cross_entropy(self.original.module(image), batch.target, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, image)
        sides = [1] * (image.ndim - 2)  # none where features of a frozen network stand in place of images
        darkest, brightest = (values.view(-1, *sides) for values in (self.darkest, self.brightest))
        step = self.p.epsilon * (brightest - darkest) * gradient.sign()
        with torch.no_grad():
            logits = self.original.module((batch.image + step).clamp(darkest, brightest))
        return logits.scatter(1, batch.target[:, None], -torch.inf).argmax(dim=1)
