"""FaLW by group: random labels on the forget set, weighed by how far each sample is from being forgotten.

Liheng Yu, Zhe Zhao, Yuxuan Wang, Pengkun Wang, Xiaofeng Cao, Binwu Wang and Yang Wang, FaLW: A Forgetting-aware Loss
Reweighting for Long-tailed Unlearning, ICLR 2026 (arXiv 2601.18650). Theirs is by class; this is by group.

Objective. What is forgotten is known as well as unseen samples of its group. With p the probability that f_theta gives
a sample's own target, from theta0:

    on F descend    w CE(f_theta(x), y'),   y' random
    on R descend    CE(f_theta(x), y)

    w = 1 + sign(z) tanh(|z|)^(1 / B_g),    z = (p - mu_g) / sigma_g,    B_g = (N_F / (G N_F,g))^tau

so that w is 2 where p is far above that of unseen samples, 1 where it is their mean, and 0 where it is far below. B_g
makes small groups of F react more sharply. w is a constant to the gradient.

Symbols, and what each is called here:

    f_theta, y'         `model`, `relabel(batch)`
    w                   `forgetting_weight`
    mu_g, sigma_g       `unseen`: mean and standard deviation of p over V's samples of group g (n - 1 in its divisor)
    B_g, tau            `balance`, `tau`
    N_F, N_F,g, G       samples of F, those of group g among them, and the number of all groups

Steps.

    1. `observe`        mu_g and sigma_g of the model as it is when an epoch begins: in eval mode, on plain images of V.
    In every epoch:
    2. `random_labels`  one pass over F with the first loss. p is of the step's own logits: in train mode, of the images
                        that the loss is of. Labels are those of `rl.py`, `--falw_relabel` as `--rl_relabel`.
    3. `true_labels`    one pass over R with the second.

Where V has fewer than two samples of a group of F, mu_g and sigma_g are those of all of V's samples of its target, as
in the paper, and the log says so; where V has fewer than two of these, the run is refused. Where sigma_g is 0, w is its
limit: 2 above mu_g, 1 at it, 0 below.

The paper measures mu and sigma before every step, which would cost a pass over V each; here they are an epoch old at
most. It takes both sets into one batch; here the passes follow each other, as in `rl.py`. Where F is of one group, B_g
is G^-tau for all of it, and tau only makes every weight milder. The code published with MIU has no such method.

`--rob_approach` weighs the loss on R by groups, or draws from R by them.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import Range, param, register
from method.unlearners.base import Batch, GroupAccuracy, Phase
from method.unlearners.rl import RandomLabels
from utils.device import send
from utils.errors import UserError

log = logging.getLogger("unlearning")
FEWEST = 2  # samples that have a standard deviation


def forgetting_weight(confidence: Tensor, unseen: Tensor, balance: Tensor) -> Tensor:
    """w = 1 + sign(z) tanh(|z|)^(1 / B), z = (p - mu) / sigma: (B,) weights from 0 to 2.

    confidence: (B,) p; unseen: (2, B) mu and sigma of each sample's group; balance: (B,) its B.
    """
    mean, spread = unseen
    z = (confidence - mean) / spread.clamp(min=torch.finfo(spread.dtype).tiny)
    return 1 + z.sign() * z.abs().tanh() ** (1 / balance)


def unseen_of(val: GroupAccuracy, group: int, n_sensitive: int) -> tuple[float, float]:
    """Mean and standard deviation of p over V's samples of a group; of its target where those are fewer than two.

    n_sensitive: groups of a target, which stand side by side. UserError where these are fewer than two as well.
    """
    target = group // n_sensitive
    for mine in (val.group == group, val.group // n_sensitive == target):
        if int(mine.sum()) >= FEWEST:
            return float(val.confidence[mine].mean()), float(val.confidence[mine].std())
    raise UserError(
        f"falw compares what is forgotten with val, which has {int(mine.sum())} samples of target {target}, expected "
        f"{FEWEST} or more: move some there, or use --method rl, which needs none"
    )


@register("falw")
class FaLW(RandomLabels):
    """Random labels on the forget set, the more the better a sample is still known; true ones on the retain set."""

    @dataclass(frozen=True)
    class Params(RandomLabels.Params):
        """Which labels F gets, and how group sizes count."""

        tau: float = param(
            0.15, "how much more sharply the weights of small groups of F react; 0: all alike", at_least=0,
            search=Range(0, 1),
        )  # fmt: skip

    def __init__(self, *args: Any):
        super().__init__(*args)
        counts = self.task.group_counts - self.task.retain_counts
        self.groups = counts.nonzero()[:, 0].tolist()  # those of F
        self.device = next(self.model.parameters()).device
        balance = (counts.sum() / (len(counts) * counts.clamp(min=1))) ** self.p.tau
        self.balance, self.unseen = send(balance, self.device), torch.empty(0)

    def prepare(self) -> Iterator[Phase]:
        """No phase; step 1 for the first epoch, at theta0."""
        val = self.observe()
        few = [group for group in self.groups if val.count[group] < FEWEST]
        if few:
            log.warning(
                "falw: val has fewer than %d samples of group %s; what is forgotten of it is compared with all of its "
                "target there", FEWEST, ", ".join(map(str, few)),
            )  # fmt: skip
        return iter(())

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Step 1 for the next epoch; no column."""
        if epoch + 1 < self.task.epochs:
            self.observe()
        return {}

    def observe(self) -> GroupAccuracy:
        """Step 1: measure V, which is returned, and keep mu_g and sigma_g of every group of F."""
        val, unseen = self.measure("val"), torch.zeros(2, self.task.n_groups)
        for group in self.groups:
            unseen[:, group] = torch.tensor(unseen_of(val, group, self.task.n_groups // self.task.n_targets))
        self.unseen = send(unseen, self.device)
        return val

    def random_labels(self, batch: Batch) -> Tensor:
        """Step 2: cross-entropy on F of labels drawn at random, times w."""
        logits = self.model(batch.image)
        losses = cross_entropy(logits, self.relabel(batch), reduction="none")
        confidence = logits.detach().float().softmax(dim=1).gather(1, batch.target[:, None])[:, 0]
        weight = forgetting_weight(confidence, self.unseen[:, batch.group], self.balance[batch.group])
        return (weight * losses).mean()

    def state(self) -> dict[str, Any]:
        """What was measured on V when the epoch began, and what the approach has learned."""
        return {"unseen": self.unseen, **super().state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore both from a saved state (`state`'s format)."""
        super().load_state(state)
        self.unseen = state["unseen"]
