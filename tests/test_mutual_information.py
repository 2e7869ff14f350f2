"""MINE: known values, corrected gradient, running mean, trained critics. The classifier: bound, floor and limit."""

import math

import numpy as np
import pytest
import torch
from tiny import GROUP_COUNTS, N_GROUPS, TinyNet, params_of, task
from torch import Tensor
from torch.nn.functional import one_hot
from torch.nn.utils.parametrize import remove_parametrizations

from method.mutual_information import Critic, GroupClassifier, donsker_varadhan, limit
from method.unlearners.miu import MIU

# How often each (z, g) occurs: 3 values of z, 4 groups of different sizes, and every z is seen in every group.
TABLE = torch.tensor([[20, 2, 6, 1], [3, 9, 6, 1], [2, 4, 18, 8]])
P_ZG = TABLE.double() / TABLE.sum()
P_Z, P_G = P_ZG.sum(dim=1, keepdim=True), P_ZG.sum(dim=0, keepdim=True)
MARGINALS = {"histogram": P_G, "uniform": torch.full_like(P_G, 1 / P_G.numel())}
INFORMATION = float((P_ZG * (P_ZG / (P_Z * P_G)).log()).sum())
ENTROPY = float(-(P_G * P_G.log()).sum())
EXCESS = {"histogram": 0.0, "uniform": math.log(4) - ENTROPY}


def new_critic(feature_dim: int, n_groups: int, seed: int = 0) -> Critic:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Critic(feature_dim, n_groups)


def test_the_table_is_far_from_independent_and_its_groups_from_equal():
    assert 0.2 < INFORMATION < ENTROPY
    assert EXCESS["uniform"] > 0.05


# Known values.


@pytest.mark.parametrize("marginal", MARGINALS)
def test_closed_form_critic_gives_the_divergence_it_bounds(marginal: str):
    q = MARGINALS[marginal]
    scores = (P_ZG / (P_Z * q)).log()
    # A population in the exact proportions: every pair (z, g), and every z with every g~ drawn from q.
    z, g = TABLE.nonzero().T
    joint = scores[z, g].repeat_interleave(TABLE[z, g])
    n_other = TABLE.sum(dim=0) if marginal == "histogram" else torch.ones(4, dtype=torch.int64)
    apart = torch.cat(
        [scores[i, j].repeat(int(TABLE.sum(dim=1)[i]) * int(n_other[j])) for i in range(3) for j in range(4)]
    )
    assert float(donsker_varadhan(joint, apart)) == pytest.approx(INFORMATION + EXCESS[marginal], abs=1e-6)
    # The running mean changes the gradient alone.
    corrected = donsker_varadhan(joint, apart, torch.tensor(0.7))
    assert float(corrected) == pytest.approx(INFORMATION + EXCESS[marginal], abs=1e-6)


def test_other_critics_give_less():
    generator = torch.Generator().manual_seed(0)
    best = (P_ZG / (P_Z * P_G)).log()
    for _ in range(20):
        scores = best + 0.3 * torch.randn(best.shape, generator=generator, dtype=torch.float64)
        value = (P_ZG * scores).sum() - (P_Z * P_G * scores.exp()).sum().log()
        assert 0 < INFORMATION - float(value) < 0.3


def test_values_by_hand():
    joint, apart = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0.0, math.log(3.0)])
    assert float(donsker_varadhan(joint, apart)) == pytest.approx(3 - math.log(2))
    # A critic that says nothing bounds nothing; a constant added to all scores is no information.
    assert float(donsker_varadhan(torch.zeros(5), torch.zeros(5))) == 0
    assert float(donsker_varadhan(joint + 4, apart + 4)) == pytest.approx(3 - math.log(2))


def test_the_bound_has_no_floor():
    assert float(donsker_varadhan(torch.tensor([-5.0]), torch.tensor([5.0]))) == -10


def test_large_scores_do_not_overflow():
    value = donsker_varadhan(torch.tensor([1000.0, 1000.0]), torch.tensor([1000.0, 0.0]))
    assert float(value) == pytest.approx(math.log(2), abs=1e-3)
    critic = new_critic(2, 3)
    with torch.no_grad():
        critic.layers[2].weight *= 1e4
        critic.layers[2].bias.fill_(500.0)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 2, generator=generator).requires_grad_()
    for _ in range(3):
        group, other = torch.randint(3, (2, 40), generator=generator)
        assert critic(features, other).max() > 200  # exp of it is beyond fp32
        critic.bound(features, group, other, update=True).backward()
        assert critic.log_mean_exp.isfinite()
        assert all(weight.grad.isfinite().all() for weight in [features, *critic.parameters()])


# The critic network, its gradient and its running mean.


def example(seed: int = 0, n: int = 30) -> tuple[Critic, Tensor, Tensor, Tensor]:
    """A critic of 5 features and 4 groups with scores that differ, and a batch."""
    critic, generator = new_critic(5, 4, seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        critic.layers[2].weight *= 5
    features = torch.randn(n, 5, generator=generator)
    return critic, features, *torch.randint(4, (2, n), generator=generator)


def scores(critic: Critic, features: Tensor, group: Tensor) -> Tensor:
    first, _, second = critic.layers
    hidden = (torch.cat([features, one_hot(group, 4)], dim=1) @ first.weight.T + first.bias).clamp(min=0)
    return (hidden @ second.weight.T + second.bias)[:, 0]


def test_critic_is_one_hidden_layer_on_features_and_one_hot_group():
    critic, features, group, _ = example()
    assert {name: tuple(value.shape) for name, value in critic.named_parameters()} == {
        "layers.0.weight": (512, 9),
        "layers.0.bias": (512,),
        "layers.2.weight": (1, 512),
        "layers.2.bias": (1,),
    }
    torch.testing.assert_close(critic(features, group), scores(critic, features, group))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(critic(features, group), critic(features, group).float())
        full = critic.bound(features, group, group.flip(0), update=True)
    assert full.dtype == torch.float32
    torch.testing.assert_close(full, critic.bound(features, group, group.flip(0), update=False), rtol=0, atol=0)


@pytest.mark.parametrize("mean", [0.2, 1.0, 30.0])
def test_gradient_is_divided_by_the_running_mean(mean: float):
    critic, features, group, other = example()
    features.requires_grad_()
    critic.log_mean_exp.fill_(math.log(mean))
    weights = [features, *critic.parameters()]
    bound = critic.bound(features, group, other, update=False)
    found = torch.autograd.grad(bound, weights)
    joint, apart = scores(critic, features, group), scores(critic, features, other)
    expected = joint.mean() - apart.exp().mean().log()
    assert bound.item() == pytest.approx(expected.item(), abs=1e-5)
    first = torch.autograd.grad(joint.sum(), weights)
    second = torch.autograd.grad(apart, weights, grad_outputs=apart.detach().exp() / mean)
    for one, a, b in zip(found, first, second, strict=True):
        torch.testing.assert_close(one, (a - b) / len(features), rtol=1e-4, atol=1e-6)


def test_without_a_running_mean_the_gradient_is_the_bound_s_own():
    generator = torch.Generator().manual_seed(0)
    apart = torch.randn(50, generator=generator).requires_grad_()
    plain = torch.autograd.grad(donsker_varadhan(torch.zeros(3), apart), apart)[0]
    torch.testing.assert_close(plain, -torch.softmax(apart.detach(), dim=0))
    # With m = mean exp T of the same batch the correction changes nothing; with another m it does.
    log_mean = apart.detach().exp().mean().log()
    same = torch.autograd.grad(donsker_varadhan(torch.zeros(3), apart, log_mean), apart)[0]
    torch.testing.assert_close(same, plain)
    other = torch.autograd.grad(donsker_varadhan(torch.zeros(3), apart, log_mean + math.log(2)), apart)[0]
    torch.testing.assert_close(other, plain / 2)


def test_running_mean_starts_at_its_first_value_and_moves_by_a_hundredth():
    critic, m = new_critic(5, 4), None
    assert critic.log_mean_exp.isnan()
    for seed in range(4):
        _, features, group, other = example(seed)
        new = scores(critic, features, other).exp().mean().item()
        m = new if m is None else 0.01 * new + 0.99 * m
        critic.zero_grad()
        critic.bound(features, group, other, update=True).backward()
        assert math.exp(critic.log_mean_exp) == pytest.approx(m, rel=1e-5)
        # m is moved before its use: the bias of the last layer has dT = 1, so its gradient is 1 - mean exp T / m.
        assert float(critic.layers[2].bias.grad) == pytest.approx(1 - new / m, abs=1e-5)
        with torch.no_grad():
            critic.layers[2].bias += 0.5
    before = critic.log_mean_exp.clone()
    critic.bound(features, group, other, update=False)
    assert torch.equal(critic.log_mean_exp, before)
    assert "log_mean_exp" in critic.state_dict()


# Trained critics.


def train(critic: Critic | GroupClassifier, draw, steps: int, lr: float) -> None:
    """SGD with momentum 0.9 on batches `draw()` of (features, group, other group)."""
    optimizer = torch.optim.SGD(critic.parameters(), lr=lr, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        (-critic.bound(*draw(), update=True)).backward()
        optimizer.step()


@pytest.mark.parametrize("marginal", MARGINALS)
def test_trained_critic_comes_near_the_information_of_a_discrete_case(marginal: str):
    generator, q = torch.Generator().manual_seed(0), MARGINALS[marginal]
    critic, n = new_critic(3, 4), 256

    def draw() -> tuple[Tensor, Tensor, Tensor]:
        pairs = torch.multinomial(P_ZG.flatten(), n, replacement=True, generator=generator)
        other = torch.multinomial(q.flatten(), n, replacement=True, generator=generator)
        return one_hot(pairs // 4, 3).float(), pairs % 4, other

    train(critic, draw, steps=250, lr=0.1)
    with torch.no_grad():
        cells = torch.cartesian_prod(torch.arange(3), torch.arange(4))
        table = critic(one_hot(cells[:, 0], 3).float(), cells[:, 1]).view(3, 4).double()
    value = float((P_ZG * table).sum() - (P_Z * q * table.exp()).sum().log())
    expected = INFORMATION + EXCESS[marginal]
    assert 0.9 * expected < value <= expected
    # The two marginals are told apart, not just both near.
    assert abs(value - (INFORMATION + EXCESS["uniform"] - EXCESS[marginal])) > 0.05


SHARE, SHIFT = 0.7, 3.0  # group 0's share, and how far group 1's mean is from group 0's


def gaussian(n: int, generator: torch.Generator, dependent: bool) -> tuple[Tensor, Tensor, Tensor]:
    group, other, hidden = (torch.rand(3, n, generator=generator) > SHARE).long()
    features = torch.randn(n, 1, generator=generator) + SHIFT * (group if dependent else hidden)[:, None]
    return features, group, other


def gaussian_information() -> float:
    """h(z) - h(z | g) of the mixture of two normal densities, by numerical integration."""
    z = np.linspace(-10, 10 + SHIFT, 20001)
    density = SHARE * np.exp(-(z**2) / 2) + (1 - SHARE) * np.exp(-((z - SHIFT) ** 2) / 2)
    density /= math.sqrt(2 * math.pi)
    return float(-(density * np.log(density)).sum() * (z[1] - z[0]) - 0.5 * math.log(2 * math.pi * math.e))


def test_trained_critic_comes_near_the_information_of_a_gaussian_case():
    generator, critic = torch.Generator().manual_seed(0), new_critic(1, 2)
    train(critic, lambda: gaussian(512, generator, dependent=True), steps=350, lr=0.01)
    true = gaussian_information()
    assert 0.3 < true < -SHARE * math.log(SHARE) - (1 - SHARE) * math.log(1 - SHARE)
    with torch.no_grad():
        value = float(critic.bound(*gaussian(20000, generator, dependent=True), update=False))
    assert value == pytest.approx(true, rel=0.1)


def test_trained_critic_finds_nothing_where_features_and_group_are_independent():
    generator, critic = torch.Generator().manual_seed(0), new_critic(1, 2)
    train(critic, lambda: gaussian(512, generator, dependent=False), steps=200, lr=0.01)
    with torch.no_grad():
        value = float(critic.bound(*gaussian(20000, generator, dependent=False), update=False))
    assert abs(value) < 0.05


# The classifier.

EYE = torch.eye(3)


def told_by(scores: Tensor) -> GroupClassifier:
    """A classifier of three one-hot features with these (3, n_groups) scores, which log p(g) is added to."""
    counts = TABLE.sum(dim=0)
    classifier, scores = GroupClassifier(3, counts), scores.float()
    # One-hot features of mean 0 and variance 1 are 2.1213 times themselves less 0.7071.
    classifier.layers = torch.nn.Linear(3, len(counts))
    with torch.no_grad():
        classifier.layers.weight.copy_(scores.T / math.sqrt(4.5))
        classifier.layers.bias.copy_(scores.sum(dim=0) / 3)
    return classifier


def population() -> tuple[Tensor, Tensor]:
    """Features and groups of TABLE."""
    z, g = (cells.repeat_interleave(TABLE[TABLE > 0]) for cells in TABLE.nonzero().T)
    return EYE[z], g


def classifier_bound(classifier: GroupClassifier) -> float:
    features, group = population()
    return float(classifier.bound(features, group, group, update=True).detach())


def test_true_classifier_s_bound_is_the_information_and_every_other_s_is_less():
    best = (P_ZG / (P_Z * P_G)).log()
    assert classifier_bound(told_by(best)) == pytest.approx(INFORMATION, abs=1e-5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        scores = best + 0.3 * torch.randn(best.shape, generator=generator, dtype=torch.float64)
        log_q = torch.log_softmax(scores + P_G.log(), dim=1)
        by_hand = float((P_ZG * (log_q - P_G.log())).sum())
        assert classifier_bound(told_by(scores)) == pytest.approx(by_hand, abs=1e-5)
        assert 0 < INFORMATION - by_hand < 0.3


def test_nothing_is_left_to_forget_of_samples_that_tell_less_of_their_group_than_its_share():
    scores = torch.tensor([[0.0, 0, 0, 0], [-9.0, 0, 0, 0], [2.0, 0, 0, 0]])
    classifier = told_by(scores)
    group = torch.zeros(3, dtype=torch.int64)
    features = EYE.clone().requires_grad_()
    told = classifier(features, group)
    p = float(P_G[0, 0])
    by_hand = [0.0, -9 - math.log(p * math.exp(-9) + 1 - p), 2 - math.log(p * math.exp(2) + 1 - p)]
    torch.testing.assert_close(told, torch.tensor(by_hand), atol=1e-3, rtol=1e-3)
    left = classifier.left_to_forget(features, group, group, update=False)
    assert float(left.detach()) == pytest.approx(by_hand[2] / 3, abs=1e-3)
    gradient = torch.autograd.grad(left, classifier.layers.bias)[0]
    q = p * math.exp(2) / (p * math.exp(2) + 1 - p)  # of the one sample that tells something: 1 - q, and -q by shares
    others = P_G[0].float()[1:] / (1 - p) * (1 - q)
    torch.testing.assert_close(gradient, torch.cat([torch.tensor([1 - q]), -others]) / 3, atol=1e-3, rtol=1e-3)
    # Of the second alone, which is below the floor, nothing.
    below = classifier.left_to_forget(EYE[1:2], group[:1], group[:1], update=False)
    assert float(below.detach()) == 0
    assert float(classifier.bound(EYE[1:2], group[:1], group[:1], update=False).detach()) < -8


def test_longer_features_are_no_other_features_and_an_absent_group_is_no_nan():
    generator = torch.Generator().manual_seed(0)
    features, group = torch.randn(8, 5, generator=generator), torch.randint(2, (8,), generator=generator) * 2
    classifier = GroupClassifier(5, torch.tensor([6, 0, 3])).eval()  # the estimates of the largest singular values stay
    told = classifier(features, group)
    torch.testing.assert_close(classifier(7 * features + 3, group), told, atol=1e-4, rtol=1e-3)
    classifier.bound(features, group, group, update=True).backward()
    assert all(weight.grad.isfinite().all() for weight in classifier.parameters())
    assert "log_share" not in classifier.state_dict()


def trained_on_gaussians(lr: float, steps: int, bounded: bool = True) -> tuple[GroupClassifier, float]:
    """A classifier of (z, 1, -1), which z can be told from when it is normalised, and its bound."""
    generator = torch.Generator().manual_seed(0)

    def draw(n: int = 128) -> tuple[Tensor, Tensor, Tensor]:
        z, group, other = gaussian(n, generator, dependent=True)
        return torch.cat([z, torch.ones_like(z), -torch.ones_like(z)], dim=1), group, other

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = GroupClassifier(3, torch.tensor([SHARE, 1 - SHARE]))
    if not bounded:
        for layer in (classifier.layers[0], classifier.layers[2]):
            remove_parametrizations(layer, "weight")
    train(classifier, draw, steps=steps, lr=lr)
    with torch.no_grad():
        return classifier, float(classifier.bound(*draw(20000), update=False))


def test_trained_classifier_comes_near_the_information_of_a_gaussian_case_but_for_its_bounded_slope():
    true, values = gaussian_information(), []
    assert trained_on_gaussians(0.1, 150, bounded=False)[1] == pytest.approx(true, rel=0.1)
    for lr, steps in ((0.003, 150), (0.1, 60)):
        classifier, value = trained_on_gaussians(lr, steps)
        values.append(value)
        z = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        for group in (0, 1):
            (slope,) = torch.autograd.grad(classifier.layers(z)[:, group].sum(), z)
            assert slope.norm(dim=1).max() < 1.1  # the singular values are estimates
    assert all(0.4 * true < value < true for value in values)
    assert values[0] == pytest.approx(values[1], rel=0.2)  # rates apart by a factor of 33


def test_limit_shortens_a_gradient_to_half_of_another():
    features = torch.tensor([[3.0, -4.0], [0.0, 12.0]], requires_grad=True)
    beside = features.sum()  # a gradient of ones, 2 long
    half_norm = features.square().sum() / 2  # the features, 13 long; half of the other is 1
    assert float(limit(half_norm, beside, features, 1.0)) == pytest.approx(1 / 13)
    assert float(limit(half_norm, beside, features, 0.5)) == pytest.approx(1 / 13)
    assert float(limit(0.07 * half_norm, beside, features, 1.0)) == 1
    assert float(limit(0 * half_norm, beside, features, 1.0)) == 1
    assert float(limit(half_norm, 0 * beside, features, 1.0)) == 0
    whole = half_norm * limit(half_norm, beside, features, 1.0) + beside
    (gradient,) = torch.autograd.grad(whole, features)
    torch.testing.assert_close(gradient, features.detach() * 1 / 13 + 1)


# g~.


def miu(**values) -> MIU:
    return MIU(TinyNet(), None, params_of(MIU, **values), task(), lambda name: None)


@pytest.mark.parametrize("marginal", ["histogram", "uniform"])
def test_other_group_is_drawn_from_its_marginal(marginal: str):
    n = 60_000
    drawn = miu(marginal=marginal).draw_groups(torch.Generator().manual_seed(0), n)
    found = torch.bincount(drawn, minlength=N_GROUPS).numpy() / n
    histogram = np.array(GROUP_COUNTS) / sum(GROUP_COUNTS)
    expected = histogram if marginal == "histogram" else np.full(N_GROUPS, 1 / N_GROUPS)
    error = np.sqrt(expected * (1 - expected) / n)
    assert (np.abs(found - expected) < 4 * error).all()
    assert (np.abs(histogram - 1 / N_GROUPS) > 8 * error).any()


def test_other_group_is_the_generator_s_alone():
    first, second, other = (miu().draw_groups(torch.Generator().manual_seed(seed), 20) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    # A group that D does not have is never drawn.
    method = MIU(
        TinyNet(), None, params_of(MIU), task(group_counts=torch.tensor([5, 0, 1, 0, 2, 0])), lambda name: None
    )
    assert set(method.draw_groups(torch.Generator().manual_seed(0), 500).tolist()) == {0, 2, 4}


def test_critics_are_drawn_from_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one = miu()
    assert torch.equal(torch.rand(3), expected)
    two = miu()
    assert all(torch.equal(a, b) for a, b in zip(one.critics.parameters(), two.critics.parameters(), strict=True))
    assert not torch.equal(one.phi.layers[0].weight, one.psi.layers[0].weight)
    other = MIU(TinyNet(), None, params_of(MIU), task(seed=1), lambda name: None)
    assert not torch.equal(one.phi.layers[0].weight, other.phi.layers[0].weight)
