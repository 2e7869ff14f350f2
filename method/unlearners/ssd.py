"""SSD: selective synaptic dampening.

Jack Foster, Stefan Schoepf and Alexandra Brintrup, Fast Machine Unlearning without Retraining through Selective
Synaptic Dampening, AAAI 2024.

Objective. I_S, the importance of each weight to a set S, is the diagonal of the Fisher information, estimated by the
squared gradient of a batch's mean CE, averaged over the batches of S. Weights that matter much more to F than to D are
dampened: where I_F > alpha I_D,

    theta <- min(lambda I_D / I_F, 1) theta,

and every other weight stays as it is. Nothing is trained.

Symbols, and what each is called here: theta the parameters of `model`; I_S `MeanSquares`; alpha, which selects,
`alpha`; lambda, which dampens, `dampening`.

Steps. At theta0, in eval mode, on plain images:

    1. I_F, in one pass over F.
    2. I_D, in one pass over D.
    3. `dampen`, as above.

No departure of the published code is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from method.registry import Range, param, register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner, gradients_of


class MeanSquares:
    """Squared gradients of `parameters`, averaged over batches: the diagonal of the Fisher information."""

    def __init__(self, parameters: list[nn.Parameter]):
        self.parameters, self.n_batches = parameters, 0
        self.totals = [torch.zeros_like(parameter) for parameter in parameters]

    def add(self) -> None:
        """Add the squared gradient of a batch, which lies in the parameters."""
        self.n_batches += 1
        for total, gradient in zip(self.totals, gradients_of(self.parameters), strict=True):
            total += gradient**2

    def mean(self) -> list[Tensor]:
        """The mean over the batches that were added, in the parameters' order and shapes."""
        return [total / self.n_batches for total in self.totals]


@register("ssd")
class SSD(Unlearner):
    """Dampen the weights that matter much more to the forget set than to the whole train set."""

    reweight = None
    has_epochs = False

    metric_keys = {"dampened_share": ("percent", "share of the weights that were dampened: I_F > alpha I_D")}
    history_columns = metric_keys

    @dataclass(frozen=True)
    class Params(NoParams):
        """The paper's alpha, which selects, and lambda, which dampens."""

        alpha: float = param(
            10.0, "a weight is dampened where I_F > alpha I_D", aliases=("ssd_selection_weighting",), at_least=0,
            search=Range(1, 100, log=True),
        )  # fmt: skip
        dampening: float = param(
            1.0, "lambda: such a weight is multiplied by min(lambda I_D / I_F, 1)",
            aliases=("ssd_lambda", "ssd_dampening_constant"), at_least=0, search=Range(0.1, 10, log=True),
        )  # fmt: skip

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.parameters = list(self.model.parameters())
        self.n_dampened = 0

    def prepare(self) -> Iterator[Phase]:
        """Steps 1 to 3 of the algorithm: I_F, I_D, and the dampening."""
        importance = {}
        for data in ("forget", "train"):
            squares = MeanSquares(self.parameters)
            yield Phase(data, self.loss, data=data, step=False, collect=squares.add, train_mode=False, augment=False)
            importance[data] = squares.mean()
        self.dampen(importance["forget"], importance["train"])

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the true labels."""
        return cross_entropy(self.model(batch.image), batch.target)

    @torch.no_grad()
    def dampen(self, forget: list[Tensor], train: list[Tensor]) -> None:
        """Step 3: scale the selected weights; forget, train: I_F and I_D, in the parameters' order and shapes."""
        for parameter, i_f, i_d in zip(self.parameters, forget, train, strict=True):
            selected = i_f > self.p.alpha * i_d
            factor = (self.p.dampening * i_d / i_f).clamp(max=1)
            parameter.copy_(torch.where(selected, factor * parameter, parameter))
            self.n_dampened += int(selected.sum())

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """The share of the weights that was selected, in percent."""
        return {"dampened_share": 100 * self.n_dampened / sum(parameter.numel() for parameter in self.parameters)}

    def extra_metrics(self) -> dict[str, Any]:
        """The share of the weights that was selected, in percent, as in the history."""
        return self.end_epoch(0)

    def state(self) -> dict[str, Any]:
        """How many weights were selected."""
        return {"n_dampened": self.n_dampened}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore how many weights were selected from a saved state (`state`'s format)."""
        self.n_dampened = state["n_dampened"]
