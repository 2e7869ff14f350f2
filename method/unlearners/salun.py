"""SalUn: saliency unlearning.

Chongyu Fan, Jiancheng Liu, Yihua Zhang, Eric Wong, Dennis Wei and Sijia Liu, SalUn: Empowering Machine Unlearning via
Gradient-based Weight Saliency in Both Image Classification and Generation, ICLR 2024.

Objective. Random labels (`rl.py`), but only the weights move that matter most to F:

    m_S     = 1 for the floor(rho n) of all n weights with the largest |gradient at theta0 of CE summed over F|, else 0
    theta_u = m_S * (theta0 + change) + (1 - m_S) * theta0
    on F descend    CE(f_theta_u(x), y'),   y' random
    on R descend    CE(f_theta_u(x), y)

Symbols, and what each is called here:

    theta0, theta_u     `start`, the parameters of `model`
    m_S                 `saliency_mask`, by `most_salient`; of equal entries the first count
    rho                 `saliency_ratio`
    y'                  `relabel(batch)`

Steps. Start at theta0.

    1. `prepare`        One pass over F, in eval mode and without augmentation, adds up the gradients of m_S.
    In every epoch:
    2. `random_labels`  One pass over F with the first loss. `--salun_relabel uniform`: y' is any class, drawn anew for
                        every batch, with which the published hyperparameters were tuned; `other`: never the true one.
    3. `true_labels`    One pass over R with the second.
    After every step of 2 and 3 the entries outside m_S are put back, bit for bit: weight decay and momentum move them
    otherwise.

The published code does otherwise. `--preset reference` takes over all of this, and each flag one of it:

    --salun_frozen gradients        the mask stops gradients alone, so that weight decay and momentum move the rest
    --salun_saliency batch_means    m_S comes from a sum of every batch's mean gradient, augmented with `use_train_aug`

`--rob_approach` weighs the loss on R by groups, or draws from R by them. In the published code group DRO weighs that on
F too, by the groups that the random labels make, which nothing here gives.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from method.registry import Range, param, register
from method.unlearners.base import Batch, Phase, gradients_of
from method.unlearners.rl import RandomLabels


def most_salient(parameters: Sequence[Tensor], ratio: float) -> list[Tensor]:
    """Boolean masks, in the parameters' shapes, of the floor(ratio * n) largest |gradient| entries of all n jointly.

    Equal entries keep their order, so that the mask does not depend on the sorting algorithm.
    """
    saliency = torch.cat([gradient.abs().flatten() for gradient in gradients_of(parameters)])
    kept = math.floor(Decimal(str(ratio)) * saliency.numel())
    mask = torch.zeros_like(saliency, dtype=torch.bool)
    mask[torch.argsort(saliency, descending=True, stable=True)[:kept]] = True
    pieces = mask.split([parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]


@register("salun")
class SalUn(RandomLabels):
    """Random labels on the forget set, true ones on the retain set, moving only the weights salient to the former."""

    @dataclass(frozen=True)
    class Params(RandomLabels.Params):
        """Which labels F gets, how much of the network moves, and the published code's two departures."""

        saliency_ratio: float = param(
            0.5, "share of the weights that may move", aliases=("saliency_threshold",), above=0, at_most=1,
            search=Range(0.1, 1),
        )  # fmt: skip
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
        """Step 1: one pass over F at theta0 that only adds up gradients, and the mask from them."""
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
        """How the saliency's loss is taken of a batch: `Phase.reduction`."""
        return "mean" if self.p.saliency == "batch_means" else "sum"

    def edit_gradients(self, phase: Phase) -> None:
        """Set the gradients outside the mask to zero."""
        if phase.step:
            for gradient, mask in zip(gradients_of(self.parameters), self.saliency_mask, strict=True):
                gradient.mul_(mask)

    @torch.no_grad()
    def after_step(self, phase: Phase) -> None:
        """Put the weights outside the mask back, bit for bit: weight decay and momentum moved them too."""
        if self.p.frozen == "values":
            for parameter, mask, start in zip(self.parameters, self.saliency_mask, self.start, strict=True):
                parameter.copy_(torch.where(mask, parameter, start))

    def state(self) -> dict[str, Any]:
        """The mask, and theta0's parameters, which a resumed run cannot read from its own weights any more."""
        return {"saliency_mask": self.saliency_mask, "start": self.start, **super().state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the mask and theta0's parameters from a saved state (`state`'s format)."""
        super().load_state(state)
        self.saliency_mask, self.start = state["saliency_mask"], state["start"]
