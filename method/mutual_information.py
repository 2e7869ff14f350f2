"""Lower bounds of the mutual information of features and group, by a network that ascends them: MINE, and a classifier.

MINE. Mohamed Ishmael Belghazi et al., Mutual Information Neural Estimation, ICML 2018. For a critic T, the
Donsker-Varadhan bound of I(z; g), which T ascends:

    I_T(z; g) = mean_i T(z_i, g_i) - log mean_i exp T(z_i, g~_i)

with g~ drawn from p(g), apart from z. The gradient of its second term is E[exp(T) dT] / E[exp T], a ratio of two batch
means, which is biased; MINE puts a running mean m of exp T in place of the second:

    m <- rate mean exp T + (1 - rate) m        E[exp(T) dT] / m

Classifier. David Barber and Felix Agakov, The IM Algorithm, NeurIPS 2003. For a classifier q of the group, with p the
shares of the groups in D:

    I_q(z; g) = mean_i log q(g_i | z_i) - log p(g_i)          q(g | z) ~ p(g) exp T(z, g)

It is what a T gets whose second term is summed over the groups, for every sample by itself: nothing is drawn, and a
step of q is one of cross-entropy. Samples of one group have no floor either, but there is a point at which they tell
nothing of it, q(g | z) = p(g). What a sample tells beyond that is left to forget:

    mean_i max(log q(g_i | z_i) - log p(g_i), 0)

Its gradient at a sample's features has a bound, however q was trained: sqrt(2) / (n s) or a little more, with s the
standard deviation of these features. At the sample's scores it is shorter than sqrt(2) / n. Both layers have a largest
singular value of about 1, by a power iteration a step (Miyato et al., Spectral Normalization for Generative Adversarial
Networks, ICLR 2018). And z is normalised first, to mean 0 and variance 1 over a sample's features, since longer
features are no other features.

q is trained by Adam, whose steps have about the length of the rate, whatever the gradient. Of such weights the
direction alone counts, so that a step turns longer ones less.

Symbols, and what each is called here: T `Critic`; z, g, g~ `features`, `group`, `marginal_group`; I_T `Critic.bound`; m
`log_mean_exp`, in logarithms; rate `EMA_RATE`; q `GroupClassifier`; log p `log_share`; I_q `GroupClassifier.bound`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, log_softmax
from torch.nn.utils.parametrizations import spectral_norm

from utils.collectives import log_mean_exp as log_mean_exp_of
from utils.collectives import mean, total

HIDDEN = 512
EMA_RATE = 0.01


class Critic(nn.Module):
    """T(z, g): an MLP on [z, onehot(g)] with one hidden layer, in fp32."""

    limited = adam = False
    groups: Tensor  # (n_groups,) 0 to n_groups - 1
    log_mean_exp: Tensor  # log m; NaN until the first critic step gives it its first value

    def __init__(self, feature_dim: int, n_groups: int):
        super().__init__()
        self.register_buffer("groups", torch.arange(n_groups), persistent=False)
        self.layers = nn.Sequential(nn.Linear(feature_dim + n_groups, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        self.register_buffer("log_mean_exp", torch.tensor(math.nan))

    def forward(self, features: Tensor, group: Tensor) -> Tensor:
        """(n,) scores of (n, feature_dim) features and (n,) group ids."""
        with torch.autocast(features.device.type, enabled=False):
            onehot = one_hot(group, self.groups)
            return self.layers(torch.cat([features.float(), onehot], dim=1)).squeeze(1)

    def bound(self, features: Tensor, group: Tensor, marginal_group: Tensor, update: bool) -> Tensor:
        """I_T(z; g), in nats, a scalar, with MINE's gradient.

        features: (n, feature_dim) z; group: (n,) g of the same samples; marginal_group: (n,) g~, drawn from p(g).
        update: a critic step, which moves the running mean of exp T before it is used.
        """
        with torch.autocast(features.device.type, enabled=False):
            marginal = self(features, marginal_group)
            if update:
                self._move_mean(marginal.detach())
            return donsker_varadhan(self(features, group), marginal, self.log_mean_exp)

    def left_to_forget(self, features: Tensor, group: Tensor, marginal_group: Tensor, update: bool) -> Tensor:
        """What F descends: the bound, which has no floor."""
        return self.bound(features, group, marginal_group, update)

    def _move_mean(self, scores: Tensor) -> None:
        """Move m, which starts at its first value, by (n,) scores; in logarithms, so that no score overflows."""
        new = log_mean_exp_of(scores)
        moved = torch.logaddexp(new + math.log(EMA_RATE), self.log_mean_exp + math.log(1 - EMA_RATE))
        self.log_mean_exp.copy_(torch.where(self.log_mean_exp.isnan(), new, moved))


class GroupClassifier(nn.Module):
    """q(g | z): an MLP on normalised z with one hidden layer, in fp32, both layers of spectral norm 1.

    limited: what is made of its bound beside another loss shall pull the features half as hard at most (`limit`).
    adam: it is trained by Adam, and not by SGD.
    """

    limited = adam = True
    log_share: Tensor  # (n_groups,) log p; -inf where D has no sample

    def __init__(self, feature_dim: int, group_counts: Tensor):
        """group_counts: (n_groups,) samples of D."""
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(feature_dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(group_counts)))
        for layer in (self.layers[0], self.layers[2]):
            spectral_norm(layer)
        self.register_buffer("log_share", (group_counts / group_counts.sum()).log(), persistent=False)

    def forward(self, features: Tensor, group: Tensor) -> Tensor:
        """(n,) log q(g_i | z_i) - log p(g_i), in nats, of (n, feature_dim) features and (n,) group ids."""
        with torch.autocast(features.device.type, enabled=False):
            scores = self.layers(layer_norm(features.float(), features.shape[1:]))
            log_q = log_softmax(scores + self.log_share, dim=1)
            return log_q.gather(1, group[:, None]).squeeze(1) - self.log_share[group]

    def bound(self, features: Tensor, group: Tensor, marginal_group: Tensor, update: bool) -> Tensor:
        """I_q(z; g), in nats, a scalar. marginal_group, update: as MINE's, and not needed."""
        return mean(self(features, group))

    def left_to_forget(self, features: Tensor, group: Tensor, marginal_group: Tensor, update: bool) -> Tensor:
        """What F descends, in nats: the samples that tell more of their group than nothing, by what they tell."""
        return mean(self(features, group).clamp(min=0))


# Of the dimension of the features, and (n_groups,) samples of D.
ESTIMATORS: dict[str, Callable[[int, Tensor], Critic | GroupClassifier]] = {
    "mine": lambda feature_dim, group_counts: Critic(feature_dim, len(group_counts)),
    "classifier": GroupClassifier,
}


def limit(term: Tensor, beside: Tensor, features: Tensor, share: float) -> Tensor:
    """The largest factor, at most 1, with which the gradient of `term` at the features is at most half of `beside`'s.

    By its length. Then, at the features and to first order, a step down their sum is one down `beside`, whatever the
    angle; at the weights it need not be. Both are means over the samples of a step, of whose number this process has
    the share; features: (n, feature_dim).
    """
    ours, other = (
        total(torch.autograd.grad(share * loss, features, retain_graph=True)[0].float().square().sum()).sqrt()
        for loss in (term, beside)
    )
    return (other / 2 / ours.clamp(min=torch.finfo(ours.dtype).tiny)).clamp(max=1)


def one_hot(group: Tensor, groups: Tensor) -> Tensor:
    """(n, n_groups) float32 of (n,) ids; groups: 0 to n_groups - 1 on the ids' device.

    torch's own function checks its values, for which the device is waited for.
    """
    return (group[:, None] == groups).float()


def donsker_varadhan(joint: Tensor, marginal: Tensor, log_mean_exp: Tensor | None = None) -> Tensor:
    """mean T(z, g) - log mean exp T(z, g~), with MINE's gradient where a running mean m of exp T is given.

    joint: (n,) critic scores T(z_i, g_i); marginal: (n,) scores T(z_i, g~_i), with g~ drawn from p(g).
    log_mean_exp: log m, a scalar; None for the gradient of the batch's own means. The value is the bound's either way.
    Means are over the samples of all processes: the bound of a sum over shares is not the sum of the shares' bounds.
    """
    second = log_mean_exp_of(marginal)
    if log_mean_exp is not None:
        corrected = mean(torch.exp(marginal - log_mean_exp))
        second = second.detach() + corrected - corrected.detach()
    return mean(joint) - second
