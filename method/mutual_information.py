"""Mutual information between features and group: a critic network and its Donsker-Varadhan bound (MINE)."""

import math

import torch
from torch import Tensor, nn

from utils.collectives import log_mean_exp as log_mean_exp_of
from utils.collectives import mean

HIDDEN = 512
EMA_RATE = 0.01


class Critic(nn.Module):
    """T(z, g): an MLP on [z, onehot(g)] with one hidden layer, in fp32 (Belghazi et al., ICML 2018)."""

    def __init__(self, feature_dim: int, n_groups: int):
        super().__init__()
        self.register_buffer("groups", torch.arange(n_groups), persistent=False)
        self.layers = nn.Sequential(nn.Linear(feature_dim + n_groups, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        # log m of the bias correction; NaN until the first critic step gives it its first value.
        self.register_buffer("log_mean_exp", torch.tensor(math.nan))

    def forward(self, features: Tensor, group: Tensor) -> Tensor:
        """(n, feature_dim) features and (n,) group ids to (n,) scores."""
        with torch.autocast(features.device.type, enabled=False):
            onehot = one_hot(group, self.groups)
            return self.layers(torch.cat([features.float(), onehot], dim=1)).squeeze(1)

    def bound(self, features: Tensor, group: Tensor, marginal_group: Tensor, update: bool) -> Tensor:
        """Lower bound of I(z; g), in nats.

        features: (n, feature_dim) z; group: (n,) g of the same samples; marginal_group: (n,) g~, drawn from p(g).
        update: a critic step, which moves the running mean of exp T before it is used.
        """
        with torch.autocast(features.device.type, enabled=False):
            marginal = self(features, marginal_group)
            if update:
                self._move_mean(marginal.detach())
            return donsker_varadhan(self(features, group), marginal, self.log_mean_exp)

    def _move_mean(self, scores: Tensor) -> None:
        """m <- 0.01 mean exp T + 0.99 m, starting at its first value; in logarithms, so that no score overflows."""
        new = log_mean_exp_of(scores)
        moved = torch.logaddexp(new + math.log(EMA_RATE), self.log_mean_exp + math.log(1 - EMA_RATE))
        self.log_mean_exp.copy_(torch.where(self.log_mean_exp.isnan(), new, moved))


def one_hot(group: Tensor, groups: Tensor) -> Tensor:
    """(n, n_groups) float32 of (n,) ids; groups: 0 to n_groups - 1 on their device. torch's checks and waits for it."""
    return (group[:, None] == groups).float()


def donsker_varadhan(joint: Tensor, marginal: Tensor, log_mean_exp: Tensor | None = None) -> Tensor:
    """mean T(z, g) - log mean exp T(z, g~), with MINE's gradient where a running mean m of exp T is given.

    joint: (n,) critic scores T(z_i, g_i); marginal: (n,) scores T(z_i, g~_i), with g~ drawn from p(g).
    The value is the bound's; the gradient of its second term is E[exp(T) dT] / m instead of E[exp(T) dT] / E[exp T],
    whose ratio of two batch means is biased. Means are over the samples of all processes: the bound of a sum over
    shares is not the sum of the shares' bounds.
    """
    second = log_mean_exp_of(marginal)
    if log_mean_exp is not None:
        corrected = mean(torch.exp(marginal - log_mean_exp))
        second = second.detach() + corrected - corrected.detach()
    return mean(joint) - second
