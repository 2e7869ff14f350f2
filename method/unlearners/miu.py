"""MIU, mutual information-aware machine unlearning.

Thomas De Min, Subhankar Roy, Stéphane Lathuilière, Elisa Ricci and Massimiliano Mancini, Group-robust Machine
Unlearning, TMLR 2025. The bound is that of Belghazi et al., Mutual Information Neural Estimation (MINE), ICML 2018.

Objective. A critic T scores a sample's features z with its group g; with g~ drawn apart from x, MINE bounds the mutual
information of features and group from below by

    I_T(z; g) = mean_i T(z_i, g_i) - log mean_i exp T(z_i, g~_i).

Features on F shall tell nothing about the group, and on R as much as they did in the original:

    on F descend    I_phi(h_theta(x); g)
    on R descend    CE(f_theta(x), y) + lambda (I_phi(h_theta(x); g) - I_psi(h_theta0(x); g))^2

Symbols, and what each is called here:

    f_theta, h_theta    the network and its features: `model`, `model.features`
    h_theta0            the original's features: `original.features`
    g, g~               `batch.group`, and `batch.drawn` from the group histogram of D (`draw_groups`)
    phi, psi            the critics of the network and of the original: `phi`, `psi`
    I_T                 `phi.bound`, of a `Critic` with MINE's corrected gradient (`donsker_varadhan`)
    lambda, E_f         `lambda_mi`, `forget_epochs`

Another estimator. On digits MINE's critic holds within a factor of two of one learning rate (docs/results/miu.md). With
`--miu_estimator classifier` phi and psi are classifiers of the group, whose bound is I_q (`GroupClassifier`), and are
trained by Adam (`mine_lr`):

    on F descend    the mean over F of max(log q_phi(g | h_theta(x)) - log p(g), 0), which ends where F tells nothing
    on R descend    CE + c lambda (I_phi - I_psi)^2, with the largest c <= 1 with which the gradient of the square at
                    the features is no longer than half of that of CE (`limit`; without CE c is 1)

c is after the weight of Esser et al., Taming Transformers, CVPR 2021, a ratio of gradients at a layer that both share.

Steps. Start at theta0; in every epoch e:

    1. `tune_critics`   100 steps if e = 0 (`critic_steps_first`), else 10 (`critic_steps`), on augmented batches of D:
                        phi ascends I_phi(h_theta(x); g), psi ascends I_psi(h_theta0(x); g), by SGD (`mine_lr`, momentum
                        0.9). The network gets no gradient; its batch norm uses the batch's statistics and keeps its
                        buffers.
    2. `unlearn`        If e < E_f, one pass over F with the first loss.
    3. `align`          One pass over R with the second loss, I_psi taken as a constant. REWEIGHT draws from R with the
                        group shares of D (`--ablate_rw`: every sample of R once). `--rob_approach` takes its place: it
                        weighs CE by groups, and not the square, or draws from R by them.

In 2 and 3 the network alone moves. Each part can be left out: `--ablate_alignment` (the square), `--ablate_unlearn`
(step 2), `--ablate_retain` (CE).

The published code does otherwise. `--preset reference` takes over all of this, and each flag one of it:

    --miu_marginal uniform              g~ uniform over all groups, so that the value is I + log(#groups) - H(g)
    --miu_psi_features model            psi is tuned on the network's features
    --miu_original_mode train           the original's batch norm is in train mode, and its buffers drift
    --miu_critic_refreshes_bn           critic steps move the network's batch-norm buffers, on F too
    --miu_critic_steps_first 101        one critic step more at e = 0,
    --miu_critic_steps 11               and one more in every later epoch
    --miu_mean_updates every_pass       the running mean in MINE's gradient moves in steps 2 and 3 too

It has no group DRO and no subsampling in MIU.

Its gradient clipping multiplies the critics' gradients by zero and never touches the network, so nothing is clipped
there either.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from method.mutual_information import ESTIMATORS, limit
from method.registry import Range, param, register
from method.unlearners.base import Batch, Phase, batch_norm_buffers_kept, initial_weights, sgd
from method.unlearners.grouped import Grouped, GroupParams
from utils.device import fused
from utils.errors import UserError

CRITIC_MOMENTUM = 0.9


@register("miu")
class MIU(Grouped):
    """Change the model: its features no longer tell the group of forgotten images, but still that of the others."""

    reweight = True

    history_columns = {
        "mi_model": ("nats", "phi's bound on I(features of the model; group), mean over the critic steps on D"),
        "mi_original": ("nats", "psi's bound on I(features of the original; group), mean over the critic steps on D"),
        "forget_mi_model": ("nats", "phi's bound on F, which the pass over F lowers, mean over its steps"),
        "retain_mi_model": ("nats", "phi's bound on R, mean over the steps of the pass over R"),
        "retain_mi_original": ("nats", "psi's bound on R, which the calibration aims at, mean over the same steps"),
    }

    @dataclass(frozen=True)
    class Params(GroupParams):
        """The critics' training, the calibration's weight, the ablations and the published code's departures."""

        forget_epochs: int
        mine_lr: float = param(
            0.01, "learning rate of both critics", aliases=("mine_lr",), above=0, search=Range(3e-4, 0.3, log=True)
        )
        lambda_mi: float = param(
            1.0, "weight of the calibration on R", aliases=("lambda_mi",), at_least=0, search=Range(0.01, 30, log=True)
        )
        estimator: str = param(
            "mine",
            "what bounds the information: MINE's critic, or a classifier of the group",
            choices=tuple(ESTIMATORS),
        )
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
            """Refuse what leaves nothing to do on R, and what the estimator has not."""
            if self.estimator != "mine" and (self.marginal, self.mean_updates) != ("histogram", "critic_steps"):
                raise UserError(
                    f"--miu_estimator {self.estimator} draws no g~ and has no running mean, so that --miu_marginal "
                    f"{self.marginal} and --miu_mean_updates {self.mean_updates} say nothing (--preset reference sets "
                    "them); leave them out, or take --miu_estimator mine"
                )
            if self.ablate_alignment and self.ablate_retain:
                raise UserError(
                    "--ablate_alignment with --ablate_retain leaves no loss on the retain set; keep one of them"
                )
            if self.ablate_retain and self.rob_approach == "dro":
                raise UserError(
                    "--ablate_retain leaves no cross-entropy that --rob_approach dro could weigh; keep one of them"
                )

    def __init__(self, *args: Any):
        super().__init__(*args)
        device = next(self.model.parameters()).device
        critic = partial(ESTIMATORS[self.p.estimator], self.model.feature_dim, self.task.group_counts)
        with initial_weights(self.task.generator("miu", "critics")):
            self.phi, self.psi = critic(), critic()
        self.critics = nn.ModuleDict({"phi": self.phi, "psi": self.psi}).to(device)
        if self.original is not None:
            self.original.train_mode = self.p.original_mode == "train"

    def modules(self) -> dict[str, nn.Module]:
        """The network, and the two critics as one module: phi and psi."""
        return {"model": self.model, "critics": self.critics}

    def optimizer(self, name: str) -> torch.optim.Optimizer:
        """SGD with momentum, or the estimator's Adam, for both critics, which are the only other module."""
        weights = list(self.critics.parameters())
        if self.phi.adam:
            return torch.optim.Adam(weights, lr=self.p.mine_lr, fused=fused(weights))
        return sgd(weights, self.p.mine_lr, CRITIC_MOMENTUM)

    def phases(self, epoch: int) -> Iterator[Phase]:
        """Steps 1 to 3 of the algorithm: critics on D, `unlearn` on F while e < E_f, `align` on R."""
        steps = self.p.critic_steps if epoch else self.p.critic_steps_first
        on_all = {"data": "train", "module": "critics", "steps": steps, "augment": True}
        yield Phase("critics", self.tune_critics, draw=self.draw_groups, **on_all)
        if epoch < self.p.forget_epochs and not self.p.ablate_unlearn:
            yield Phase("forget", self.unlearn, data="forget", draw=self.draw_groups)
        draw = None if self.p.ablate_alignment else self.draw_groups
        yield Phase("retain", self.align, data="retain", sampling=self.approach.sampling, draw=draw)

    def tune_critics(self, batch: Batch) -> Tensor:
        """Step 1: ascend I_phi(h_theta(x); g) and I_psi(h_theta0(x); g); no gradient reaches the network."""
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
        """(B, feature_dim) features of the network by the batch's statistics, with its buffers unchanged by default."""
        if self.p.critic_refreshes_bn:
            return self.model.features(batch.image)
        with batch_norm_buffers_kept(self.model):
            return self.model.features(batch.image)

    def unlearn(self, batch: Batch) -> Tensor:
        """Step 2: descend I_phi(h_theta(x); g) on F, down to where it has a floor."""
        mi = self.phi.left_to_forget(self.model.features(batch.image), batch.group, batch.drawn, self._every_pass)
        self.log("forget_mi_model", mi)
        return mi

    def align(self, batch: Batch) -> Tensor:
        """Step 3: descend CE + lambda (I_phi(h_theta(x); g) - I_psi(h_theta0(x); g))^2 on R, I_psi a constant."""
        features = self.model.features(batch.image)
        loss = features.new_zeros(())
        if not self.p.ablate_retain:
            loss = loss + self.approach.risk(self.model.head(features), batch.target, batch.group)
        if not self.p.ablate_alignment:
            mi_model = self.phi.bound(features, batch.group, batch.drawn, self._every_pass)
            with torch.no_grad():
                original = self.original.features(batch)
                mi_original = self.psi.bound(original, batch.group, batch.drawn, self._every_pass)
            self.log("retain_mi_model", mi_model)
            self.log("retain_mi_original", mi_original)
            calibration = self.p.lambda_mi * (mi_model - mi_original) ** 2
            if self.phi.limited and not self.p.ablate_retain:
                calibration = calibration * limit(calibration, loss, features, len(batch.target) / batch.size)
            loss = loss + calibration
        return loss

    @property
    def _every_pass(self) -> bool:
        """Whether the running mean of exp T moves in the network's passes too, as in the published code."""
        return self.p.mean_updates == "every_pass"

    def draw_groups(self, generator: torch.Generator, n: int) -> Tensor:
        """(n,) groups g~, drawn apart from x.

        From D's histogram rather than by a shuffle of the batch, which may hold one group alone where it is of F.
        """
        weights = self.task.group_counts.float()
        if self.p.marginal == "uniform":
            weights = torch.ones_like(weights)
        return torch.multinomial(weights, n, replacement=True, generator=generator)
