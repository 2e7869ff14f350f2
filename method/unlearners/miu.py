"""MIU: mutual information unlearning (De Min et al., Group-robust Machine Unlearning, TMLR 2025)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from method.mutual_information import Critic
from method.registry import param, register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner, batch_norm_buffers_kept, initial_weights, sgd
from utils.errors import UserError

CRITIC_MOMENTUM = 0.9


@register("miu")
class MIU(Unlearner):
    """Make features on F carry no information on the group, while on R they carry what they did in the original."""

    reweight = True

    @dataclass(frozen=True)
    class Params(NoParams):
        """The critics' training, the calibration's weight, the ablations and the published code's departures."""

        forget_epochs: int
        mine_lr: float = param(0.01, "learning rate of both critics", aliases=("mine_lr",), above=0)
        lambda_mi: float = param(1.0, "weight of the calibration on R", aliases=("lambda_mi",), at_least=0)
        critic_steps_first: int = param(100, "critic steps before the first epoch", at_least=1, reference=101)
        critic_steps: int = param(10, "critic steps before every later epoch", at_least=1, reference=11)
        ablate_alignment: bool = param(False, "no calibration on R", aliases=("ablate_alignment",))
        ablate_unlearn: bool = param(False, "no pass over F", aliases=("ablate_unlearn",))
        ablate_retain: bool = param(False, "no cross-entropy on R", aliases=("ablate_retain",))
        marginal: str = param(
            "histogram", "what g~ is drawn from: the group histogram of D, or all groups alike",
            choices=("histogram", "uniform"), reference="uniform",
        )  # fmt: skip
        psi_features: str = param(
            "original",
            "whose features the original's critic is tuned on",
            choices=("original", "model"),
            reference="model",
        )
        original_mode: str = param(
            "eval",
            "the original's batch norm: eval, or train, where its buffers drift",
            choices=("eval", "train"),
            reference="train",
        )
        critic_refreshes_bn: bool = param(
            False, "critic steps refresh the network's batch-norm buffers on D", reference=True
        )
        mean_updates: str = param(
            "critic_steps",
            "when the running mean of exp T moves",
            choices=("critic_steps", "every_pass"),
            reference="every_pass",
        )

        def check(self) -> None:
            """Refuse what leaves nothing to do on R."""
            if self.ablate_alignment and self.ablate_retain:
                raise UserError(
                    "--ablate_alignment with --ablate_retain leaves no loss on the retain set; keep one of them"
                )

    def __init__(self, *args: Any):
        super().__init__(*args)
        device = next(self.model.parameters()).device
        with initial_weights(self.task.generator("miu", "critics")):
            sizes = self.model.feature_dim, self.task.n_groups
            self.critics = nn.ModuleDict({"phi": Critic(*sizes), "psi": Critic(*sizes)}).to(device)
        self.phi, self.psi = self.critics["phi"], self.critics["psi"]
        if self.original is not None:
            self.original.train_mode = self.p.original_mode == "train"

    def modules(self) -> dict[str, nn.Module]:
        """The network, and phi (of the network) with psi (of the original)."""
        return {"model": self.model, "critics": self.critics}

    def optimizer(self, name: str) -> torch.optim.Optimizer:
        """SGD for both critics."""
        return sgd(list(self.critics.parameters()), self.p.mine_lr, CRITIC_MOMENTUM)

    def phases(self, epoch: int) -> Iterator[Phase]:
        """Tune the critics on D, unlearn on F, align on R."""
        steps = self.p.critic_steps if epoch else self.p.critic_steps_first
        on_all = {"data": "train", "module": "critics", "steps": steps, "augment": True}
        yield Phase("critics", self.tune_critics, draw=self.draw_groups, **on_all)
        if epoch < self.p.forget_epochs and not self.p.ablate_unlearn:
            yield Phase("forget", self.unlearn, data="forget", draw=self.draw_groups)
        yield Phase("retain", self.align, data="retain", draw=None if self.p.ablate_alignment else self.draw_groups)

    def tune_critics(self, batch: Batch) -> Tensor:
        """Ascend I_phi(h_theta(x)) and I_psi(h_theta0(x)); nothing reaches the network."""
        features = self._observe(batch)
        current = self.p.psi_features == "model"
        original = features if current else self.original.features(batch)
        mi_model = self.phi.bound(features, batch.group, batch.drawn, update=True)
        mi_original = self.psi.bound(original, batch.group, batch.drawn, update=True)
        self.log("mi_model", mi_model)
        self.log("mi_original", mi_original)
        return -(mi_model + mi_original)

    @torch.no_grad()
    def _observe(self, batch: Batch) -> Tensor:
        """The network's features by batch statistics, its buffers unchanged."""
        if self.p.critic_refreshes_bn:
            return self.model.features(batch.image)
        with batch_norm_buffers_kept(self.model):
            return self.model.features(batch.image)

    def unlearn(self, batch: Batch) -> Tensor:
        """Descend I_phi(h_theta(x), g, g~) on F."""
        mi = self.phi.bound(self.model.features(batch.image), batch.group, batch.drawn, self._every_pass)
        self.log("forget_mi_model", mi)
        return mi

    def align(self, batch: Batch) -> Tensor:
        """Descend CE + lambda (I_phi(h_theta(x)) - stop[I_psi(h_theta0(x))])^2 on R."""
        features = self.model.features(batch.image)
        loss = features.new_zeros(())
        if not self.p.ablate_retain:
            loss = loss + cross_entropy(self.model.head(features), batch.target)
        if not self.p.ablate_alignment:
            mi_model = self.phi.bound(features, batch.group, batch.drawn, self._every_pass)
            with torch.no_grad():
                original = self.original.features(batch)
                mi_original = self.psi.bound(original, batch.group, batch.drawn, self._every_pass)
            self.log("retain_mi_model", mi_model)
            self.log("retain_mi_original", mi_original)
            loss = loss + self.p.lambda_mi * (mi_model - mi_original) ** 2
        return loss

    @property
    def _every_pass(self) -> bool:
        return self.p.mean_updates == "every_pass"

    def draw_groups(self, generator: torch.Generator, n: int) -> Tensor:
        """(n,) groups g~, drawn apart from x: from D's histogram, since a batch of F may hold a single group."""
        weights = self.task.group_counts.float()
        if self.p.marginal == "uniform":
            weights = torch.ones_like(weights)
        return torch.multinomial(weights, n, replacement=True, generator=generator)
