"""SalUn (Fan et al., Empowering Machine Unlearning via Gradient-based Weight Saliency, ICLR 2024)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from method.registry import param, register
from method.unlearners.base import Batch, Phase
from method.unlearners.rl import RandomLabels


def most_salient(parameters: list[Tensor], ratio: float) -> list[Tensor]:
    """Boolean masks of the floor(ratio * n) largest |gradient| entries over all parameters jointly.

    Equal entries keep their order, so that the mask does not depend on the sorting algorithm.
    """
    saliency = torch.cat([parameter.grad.abs().flatten() for parameter in parameters])
    kept = math.floor(Decimal(str(ratio)) * saliency.numel())
    mask = torch.zeros_like(saliency, dtype=torch.bool)
    mask[torch.argsort(saliency, descending=True, stable=True)[:kept]] = True
    pieces = mask.split([parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]


@register("salun")
class SalUn(RandomLabels):
    """Random labels on the forget set, true ones on the retain set, moving only the weights salient to F."""

    @dataclass(frozen=True)
    class Params(RandomLabels.Params):
        """Which labels F gets, how much of the network moves, and the published code's two departures."""

        saliency_ratio: float = param(
            0.5, "share of the weights that may move", aliases=("saliency_threshold",), above=0, at_most=1
        )
        frozen: str = param(
            "values", "what stays of the other weights: their values, or only a gradient of zero",
            choices=("values", "gradients"), reference="gradients",
        )  # fmt: skip
        saliency: str = param(
            "sum", "the gradient of the summed loss on plain images, or summed batch means on training images",
            choices=("sum", "batch_means"), reference="batch_means",
        )  # fmt: skip

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.parameters: list[nn.Parameter] = list(self.model.parameters())
        self.start = [parameter.detach().clone() for parameter in self.parameters]
        self.saliency_mask: list[Tensor] = []

    def prepare(self) -> Iterator[Phase]:
        """One pass over F at theta0 that only adds up gradients."""
        augment = None if self._reduction == "mean" else False
        yield Phase(
            "saliency",
            self.forget_loss,
            data="forget",
            step=False,
            train_mode=False,
            augment=augment,
            reduction=self._reduction,
        )
        self.saliency_mask = most_salient(self.parameters, self.p.saliency_ratio)

    def forget_loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of F's true labels, whose gradient is the saliency."""
        return cross_entropy(self.model(batch.image), batch.target, reduction=self._reduction)

    @property
    def _reduction(self) -> str:
        return "mean" if self.p.saliency == "batch_means" else "sum"

    def edit_gradients(self, phase: Phase) -> None:
        """Only salient weights have a gradient."""
        if phase.step:
            for parameter, mask in zip(self.parameters, self.saliency_mask, strict=True):
                parameter.grad.mul_(mask)

    @torch.no_grad()
    def after_step(self, phase: Phase) -> None:
        """Weight decay and momentum moved the frozen weights too: put them back, bit for bit."""
        if self.p.frozen == "values":
            for parameter, mask, start in zip(self.parameters, self.saliency_mask, self.start, strict=True):
                parameter.copy_(torch.where(mask, parameter, start))

    def state(self) -> dict[str, Any]:
        """The mask and theta0, which a resumed run cannot see any more."""
        return {"saliency_mask": self.saliency_mask, "start": self.start}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take mask and theta0 back."""
        self.saliency_mask, self.start = state["saliency_mask"], state["start"]
