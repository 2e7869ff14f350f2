"""The engine on a tiny network: every step equals one written by hand, and only what a phase trains changes."""

import copy
import csv
import logging
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import (
    FORGET_GROUP,
    GROUP_COUNTS,
    N_GROUPS,
    N_TARGETS,
    Run,
    SpyEngine,
    Step,
    TinyNet,
    batch_of,
    buffers,
    changed,
    folder,
    make_run,
    outcome,
    parameters,
    snapshot,
    tiny_data,
    trained_network,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from datasets.loading.loaders import batch_bounds
from method.registry import METHODS
from method.training import optimizers
from method.training.engine import Engine, with_beside
from method.training.inference import Inference
from method.training.optimizers import learning_rate
from method.unlearners import base
from utils.errors import RunError
from utils.seeding import torch_generator

UNLEARNERS = tuple(name for name, kind in METHODS.items() if kind.from_original)
WITH_EPOCHS = [name for name, kind in METHODS.items() if kind.has_epochs]


# Every step by hand: the formulas of the papers in plain tensor operations, from theta0 to the last step of a run.


def log_softmax(logits: Tensor) -> Tensor:
    return logits - logits.exp().sum(dim=1, keepdim=True).log()


def ce(logits: Tensor, target: Tensor) -> Tensor:
    return -log_softmax(logits)[range(len(target)), target].sum() / len(target)


def kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    log_s, log_t = log_softmax(student / temperature), log_softmax(teacher / temperature)
    return temperature**2 / len(student) * (log_t.exp() * (log_t - log_s)).sum()


class ByHand:
    """A method's training again: own networks, own losses and own SGD; images, labels and random numbers as recorded.

    A loss is (value, what to differentiate): the two differ in MINE's corrected gradient alone.
    """

    # Three epochs at lr 0.05: warm-up in epoch 0, then a cosine over the two that are left.
    lr = {-1: 0.0, 1: 0.05, 2: 0.025}
    momentum, weight_decay = 0.9, 0.01

    def __init__(self, run: Run) -> None:
        self.run, self.p = run, run.unlearner.p
        self.model = copy.deepcopy(run.model)
        self.original = None if run.original is None else copy.deepcopy(run.original.module)
        self.velocity: dict[nn.Parameter, Tensor] = {}

    def loss(self, step: Step, random: torch.Generator) -> tuple[Tensor, Tensor]:
        value = getattr(self, step.phase.name)(step.batch, random)
        return value if isinstance(value, tuple) else (value, value)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def step(self, step: Step, n: int, of: int) -> float:
        """One step, the n-th of its epoch's `of`; returns its loss."""
        self.model.train(step.phase.name != "saliency")
        random = torch.Generator()
        value, differentiated = self.loss(step, random if step.random is None else random.set_state(step.random))
        module = self.modules()[step.phase.module]
        weights = list(module.parameters())
        gradients = torch.autograd.grad(differentiated, weights, allow_unused=True)
        lr = 0.05 * (n + 1) / of if step.epoch == 0 else self.lr[step.epoch]
        self.update(step, weights, gradients, lr)
        return float(value.detach())

    def update(self, step: Step, weights: list[Tensor], gradients: tuple[Tensor | None, ...], lr: float) -> None:
        self.sgd(weights, gradients, lr, self.momentum, self.weight_decay)

    @torch.no_grad()
    def sgd(self, weights, gradients, lr: float, momentum: float, weight_decay: float) -> None:
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is None:  # the loss does not depend on it, as on the head in MIU's forget pass
                continue
            gradient = gradient + weight_decay * weight
            self.velocity[weight] = momentum * self.velocity.get(weight, 0) + gradient
            weight -= lr * self.velocity[weight]


class AdamByHand:
    """Kingma and Ba's algorithm 1, its gradient with that of the weights' squared norm."""

    @torch.no_grad()
    def sgd(self, weights, gradients, lr: float, momentum: float, weight_decay: float) -> None:
        self.taken = getattr(self, "taken", 0) + 1
        for weight, gradient in zip(weights, gradients, strict=True):
            gradient = gradient + weight_decay * weight
            mean, square = self.velocity.get(weight, (0, 0))
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            self.velocity[weight] = mean, square
            mean, square = mean / (1 - 0.9**self.taken), square / (1 - 0.999**self.taken)
            weight -= lr * mean / (square.sqrt() + 1e-8)


class PretrainByHand(ByHand):
    def train(self, batch, random):
        return ce(self.model(batch.image), batch.target)


class ClippedByHand(PretrainByHand):
    def update(self, step, weights, gradients, lr):
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
        assert norm > 0.1
        super().update(step, weights, tuple(gradient * 0.1 / norm for gradient in gradients), lr)


class RetrainByHand(ByHand):
    def retain(self, batch, random):
        return ce(self.model(batch.image), batch.target)


class GroupDROByHand(ByHand):
    """q as a dictionary; the groups of the batch one by one."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        groups = tiny_data().group[getattr(run.splits, run.unlearner.data)].tolist()
        self.adjustment = run.unlearner.p.dro_adjustment
        self.counts = {group: groups.count(group) for group in set(groups)}
        self.q = dict.fromkeys(self.counts, 1 / len(self.counts))

    def train(self, batch, random):
        return self.risk(batch, self.model(batch.image), batch.target)

    def risk(self, batch, logits, wanted, loss_of=ce):
        """sum_g q_g (l_g + C / sqrt(n_g)) over the groups of the batch, q moved before."""
        value, here = 0.0, {group: batch.group == group for group in batch.group.tolist()}
        means = {g: loss_of(logits[mine], wanted[mine]) for g, mine in here.items()}
        adjusted = {g: loss + self.adjustment / math.sqrt(self.counts[g]) for g, loss in means.items()}
        for group, loss in adjusted.items():
            self.q[group] *= math.exp(0.5 * float(loss.detach()))
        self.q = {group: q / sum(self.q.values()) for group, q in self.q.items()}
        for group, loss in adjusted.items():
            value = value + self.q[group] * loss
        return value

    retain = train


class SCRUBByHand(ByHand):
    def forget(self, batch, random):
        return -kl(self.model(batch.image), self.original(batch.image).detach(), 4.0)

    def retain(self, batch, random):
        logits = self.model(batch.image)
        return 0.99 * ce(logits, batch.target) + 0.001 * kl(logits, self.original(batch.image).detach(), 4.0)


class SalUnByHand(ByHand):
    """The saliency is added up by hand too; the floor(rho n) largest entries move, the others go back to theta0."""

    restores = True

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.start = [weight.detach().clone() for weight in self.model.parameters()]
        self.saliency = [torch.zeros_like(weight) for weight in self.start]

    def loss(self, step, random):
        if step.phase.name == "saliency":
            value = ce(self.model(step.batch.image), step.batch.target) * len(step.batch.target)
            return value, value
        return super().loss(step, random)

    def forget(self, batch, random):
        return ce(self.model(batch.image), torch.randint(N_TARGETS, batch.target.shape, generator=random))

    def retain(self, batch, random):
        return ce(self.model(batch.image), batch.target)

    def update(self, step, weights, gradients, lr):
        if step.phase.name == "saliency":
            self.saliency = [total + gradient for total, gradient in zip(self.saliency, gradients, strict=True)]
            return
        values = torch.cat([total.flatten() for total in self.saliency]).abs().tolist()
        chosen = sorted(range(len(values)), key=lambda i: (-values[i], i))[: len(values) // 2]
        flat = torch.zeros(len(values), dtype=torch.bool)
        flat[chosen] = True
        pieces = flat.split([weight.numel() for weight in weights])
        mask = [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]
        gradients = [gradient * kept for gradient, kept in zip(gradients, mask, strict=True)]
        self.sgd(weights, gradients, lr, self.momentum, self.weight_decay)
        for weight, kept, start in zip(weights, mask, self.start, strict=True):
            if self.restores:
                weight.data[~kept] = start[~kept]


class SalUnOtherByHand(SalUnByHand):
    def forget(self, batch, random):
        draw = torch_generator(0, "salun", batch.epoch, "relabel")
        shift = torch.randint(1, N_TARGETS, (len(tiny_data()),), generator=draw)
        return ce(self.model(batch.image), (batch.target + shift[batch.index]) % N_TARGETS)


class RandomLabelsByHand(RetrainByHand):
    """SalUn without its mask."""

    def forget(self, batch, random):
        return ce(self.model(batch.image), torch.randint(N_TARGETS, batch.target.shape, generator=random))


class RandomLabelsOtherByHand(RetrainByHand):
    def forget(self, batch, random):
        shift = torch.randint(
            1, N_TARGETS, (len(tiny_data()),), generator=torch_generator(0, "rl", batch.epoch, "relabel")
        )
        return ce(self.model(batch.image), (batch.target + shift[batch.index]) % N_TARGETS)


class AdamRetrainByHand(AdamByHand, RetrainByHand):
    weight_decay = 0.5


class GradientAscentByHand(ByHand):
    def forget(self, batch, random):
        return -ce(self.model(batch.image), batch.target)


class NegGradPlusByHand(ByHand):
    """Both batches in one step, that of R first."""

    def retain(self, batch, random):
        kept = self.risk(batch, self.model(batch.image), batch.target)
        forgotten = ce(self.model(batch.beside.image), batch.beside.target)
        return 0.9 * kept - (1 - 0.9) * forgotten

    def risk(self, batch, logits, wanted):
        return ce(logits, wanted)


class FaLWByHand(RandomLabelsByHand):
    """One sample at a time; V is measured when an epoch's first batch of F comes. F is of one group of six."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.measured = -1

    def forget(self, batch, random):
        if batch.epoch != self.measured:
            self.measured, self.known = batch.epoch, self.confidences(self.run.splits.val)
        mean = sum(self.known) / len(self.known)
        spread = math.sqrt(sum((p - mean) ** 2 for p in self.known) / (len(self.known) - 1))
        logits, labels = self.model(batch.image), torch.randint(N_TARGETS, batch.target.shape, generator=random)
        value = 0.0
        for row, target, label in zip(logits, batch.target.tolist(), labels.tolist(), strict=True):
            z = (float(row.softmax(dim=0)[target].detach()) - mean) / spread
            exponent = 1 / (1 / N_GROUPS) ** 0.5
            weight = 1 + math.copysign(math.tanh(abs(z)) ** exponent, z)
            value = value + weight * ce(row[None], torch.tensor([label]))
        return value / len(labels)

    def confidences(self, rows: np.ndarray) -> list[float]:
        """Of V's samples of the group that F is of."""
        data, found, training = tiny_data(), [], self.model.training
        self.model.eval()
        for row in rows[data.group[rows] == FORGET_GROUP]:
            logits = self.model(data.images([row]))[0].detach()
            found.append(float(logits.softmax(dim=0)[int(data.target[row])]))
        self.model.train(training)
        return found


class BadTeacherByHand(ByHand):
    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.incompetent = copy.deepcopy(run.unlearner.incompetent)

    def forget(self, batch, random):
        return kl(self.model(batch.image), self.incompetent(batch.image).detach(), 2.0)

    def retain(self, batch, random):
        return kl(self.model(batch.image), self.original(batch.image).detach(), 2.0)


class BoundaryShrinkByHand(ByHand):
    def forget(self, batch, random):
        labels = []
        for image, target in zip(batch.image, batch.target.tolist(), strict=True):  # one image at a time
            image = image[None].requires_grad_()
            (gradient,) = torch.autograd.grad(ce(self.original(image), torch.tensor([target])), image)
            neighbour = (image + 2 * 0.3 * gradient.sign()).detach().clamp(-1, 1)  # 0.3 of a range of 2
            logits = self.original(neighbour)[0].tolist()
            labels.append(max((c for c in range(N_TARGETS) if c != target), key=lambda c: logits[c]))
        return ce(self.model(batch.image), torch.tensor(labels))


class BoundaryExpandByHand(ByHand):
    """The head is one layer of one more output, the last."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.expanded = copy.deepcopy(run.unlearner.modules()["model"])
        self.model = self.expanded["network"]

    def modules(self):
        return {"model": self.expanded}

    def forget(self, batch, random):
        head, extra = self.model.head, self.expanded["extra"]
        weight, bias = torch.cat([head.weight, extra.weight]), torch.cat([head.bias, extra.bias])
        return ce(self.model.features(batch.image) @ weight.T + bias, torch.full_like(batch.target, N_TARGETS))


class L1SparseByHand(ByHand):
    alpha = {0: 5e-4, 1: 2.5e-4, 2: 0.0}  # three epochs, the last one free

    def retain(self, batch, random):
        norm = sum(weight.abs().sum() for weight in self.model.parameters())
        return ce(self.model(batch.image), batch.target) + self.alpha[batch.epoch] * norm


class MIUByHand(ByHand):
    lambda_mi, mine_lr = 10.0, 0.03
    group_weights = torch.tensor(GROUP_COUNTS).float()
    refreshes_buffers = moves_every_pass = False

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.critics = copy.deepcopy(run.unlearner.critics)
        self.mean: dict[str, float] = {}

    def modules(self):
        return {"model": self.model, "critics": self.critics}

    def scores(self, name: str, features: Tensor, group: Tensor) -> Tensor:
        first, _, second = self.critics[name].layers
        onehot = (group[:, None] == torch.arange(N_GROUPS)).float()
        hidden = (torch.cat([features, onehot], dim=1) @ first.weight.T + first.bias).clamp(min=0)
        return (hidden @ second.weight.T + second.bias)[:, 0]

    def information(self, name, features, batch, other, moves: bool) -> tuple[Tensor, Tensor]:
        """The Donsker-Varadhan bound, and what has its corrected gradient: mean T - mean[exp(T) stopped / m * T]."""
        joint, apart = self.scores(name, features, batch.group), self.scores(name, features, other)
        mean = apart.exp().mean().item()
        if moves:
            self.mean[name] = 0.01 * mean + 0.99 * self.mean[name] if name in self.mean else mean
        corrected = (apart.detach().exp() / self.mean[name] * apart).mean()
        return joint.mean().detach() - math.log(mean), joint.mean() - corrected

    def other(self, batch, random) -> Tensor:
        return torch.multinomial(self.group_weights, len(batch.group), replacement=True, generator=random)

    def model_features(self, batch) -> Tensor:
        model = self.model if self.refreshes_buffers else copy.deepcopy(self.model)
        return model.features(batch.image).detach()

    def original_features(self, batch) -> Tensor:
        return self.original.features(batch.image).detach()

    def critics_psi_features(self, batch, features) -> Tensor:
        return self.original_features(batch)

    def loss(self, step, random):
        return self.tune(step.batch, random) if step.phase.name == "critics" else super().loss(step, random)

    def tune(self, batch, random):
        features, other = self.model_features(batch), self.other(batch, random)
        phi = self.information("phi", features, batch, other, moves=True)
        psi = self.information("psi", self.critics_psi_features(batch, features), batch, other, moves=True)
        return -(phi[0] + psi[0]), -(phi[1] + psi[1])

    def forget(self, batch, random):
        features = self.model.features(batch.image)
        return self.information("phi", features, batch, self.other(batch, random), self.moves_every_pass)

    def cross_entropy(self, batch, logits):
        return ce(logits, batch.target)

    def retain(self, batch, random):
        features, other = self.model.features(batch.image), self.other(batch, random)
        phi, d_phi = self.information("phi", features, batch, other, self.moves_every_pass)
        psi, _ = self.information("psi", self.original_features(batch), batch, other, self.moves_every_pass)
        term = self.cross_entropy(batch, self.model.head(features))
        return term + self.lambda_mi * (phi - psi) ** 2, term + 2 * self.lambda_mi * (phi - psi) * d_phi

    def update(self, step, weights, gradients, lr):
        if step.phase.name == "critics":
            self.sgd(weights, gradients, self.mine_lr, 0.9, 0.0)
            return
        super().update(step, weights, gradients, lr)


class ReferenceMIUByHand(MIUByHand):
    """The published code: uniform g~, psi on the network's features, the original in train mode, m moved always."""

    group_weights = torch.ones(N_GROUPS)
    refreshes_buffers = moves_every_pass = True

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.original.train()

    def critics_psi_features(self, batch, features):
        return features


class ClassifierMIUByHand(MIUByHand):
    """The group classifier: log q(g | z) - log p(g) of normalised features; on F, where it is above 0.

    On R the calibration's gradient at the features is no longer than half of that of the cross-entropy. By Adam.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.limited: list[bool] = []

    def told(self, name: str, features: Tensor, group: Tensor) -> Tensor:
        centred = features - features.mean(dim=1, keepdim=True)
        normalised = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
        first, _, second = self.critics[name].layers
        hidden = (normalised @ first.weight.T + first.bias).clamp(min=0)
        log_p = (self.group_weights / self.group_weights.sum()).log()
        log_q = log_softmax(hidden @ second.weight.T + second.bias + log_p)
        return (log_q - log_p)[range(len(group)), group]

    def information(self, name, features, batch, other, moves):
        value = self.told(name, features, batch.group).mean()
        return value.detach(), value

    def forget(self, batch, random):
        return self.told("phi", self.model.features(batch.image), batch.group).clamp(min=0).mean()

    def retain(self, batch, random):
        features = self.model.features(batch.image)
        term = self.cross_entropy(batch, self.model.head(features))
        phi = self.told("phi", features, batch.group).mean()
        psi = self.told("psi", self.original_features(batch), batch.group).mean().detach()
        calibration = self.lambda_mi * (phi - psi) ** 2
        ours, other = (torch.autograd.grad(one, features, retain_graph=True)[0].norm() for one in (calibration, term))
        self.limited.append(ours > other / 2)
        return term + calibration * min(1, float(other / 2 / ours))

    def update(self, step, weights, gradients, lr):
        if step.phase.name == "critics":
            AdamByHand.sgd(self, weights, gradients, self.mine_lr, 0.0, 0.0)
            return
        super().update(step, weights, gradients, lr)


class ReferenceSalUnByHand(SalUnByHand):
    """The published code: the sum of batch means chooses, and frozen weights lose their gradient alone."""

    restores = False

    def loss(self, step, random):
        value, differentiated = super().loss(step, random)
        scale = len(step.batch.target) if step.phase.name == "saliency" else 1
        return value / scale, differentiated / scale


class DROSCRUBByHand(GroupDROByHand, SCRUBByHand):
    """The divergence counts every sample alike."""

    def retain(self, batch, random):
        logits = self.model(batch.image)
        stay = kl(logits, self.original(batch.image).detach(), 4.0)
        return 0.99 * self.risk(batch, logits, batch.target) + 0.001 * stay


class DROL1SparseByHand(GroupDROByHand, L1SparseByHand):
    def retain(self, batch, random):
        norm = sum(weight.abs().sum() for weight in self.model.parameters())
        return self.risk(batch, self.model(batch.image), batch.target) + self.alpha[batch.epoch] * norm


class DROSalUnByHand(GroupDROByHand, SalUnByHand):
    """The pass over F is SalUn's."""


class DRORandomLabelsByHand(GroupDROByHand, RandomLabelsByHand):
    """The pass over F is that of random labels."""


class DRONegGradPlusByHand(GroupDROByHand, NegGradPlusByHand):
    """The ascent counts every sample alike."""

    retain = NegGradPlusByHand.retain


class DROFaLWByHand(GroupDROByHand, FaLWByHand):
    """The pass over F is FaLW's."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.measured = -1


class DROBadTeacherByHand(GroupDROByHand, BadTeacherByHand):
    def retain(self, batch, random):
        teacher = self.original(batch.image).detach()
        return self.risk(batch, self.model(batch.image), teacher, lambda s, t: kl(s, t, 2.0))


class DROMIUByHand(GroupDROByHand, MIUByHand):
    retain = MIUByHand.retain

    def cross_entropy(self, batch, logits):
        return self.risk(batch, logits, batch.target)


DRO = {"rob_approach": "dro", "dro_step_size": 0.5, "dro_adjustment": 2.0}
SUBSAMPLE = {"rob_approach": "subsample"}
NEGGRAD = {"neggrad_plus_alpha": 0.9}
HAND = {
    "pretrain": ("pretrain", PretrainByHand, {}),
    "pretrain, clipped": ("pretrain", ClippedByHand, {"max_grad_norm": 0.1}),
    "retrain": ("retrain", RetrainByHand, {}),
    "retrain, reweight": ("retrain", RetrainByHand, {"reweight": True}),
    "retrain, subsample": ("retrain", RetrainByHand, SUBSAMPLE),
    "pretrain, dro": ("pretrain", GroupDROByHand, DRO),
    "retrain, dro": ("retrain", GroupDROByHand, DRO),
    "ft, dro": ("ft", GroupDROByHand, DRO),
    "ft, subsample": ("ft", RetrainByHand, SUBSAMPLE),
    "scrub, dro": ("scrub", DROSCRUBByHand, DRO),
    "salun, dro": ("salun", DROSalUnByHand, DRO),
    "l1_sparse, dro": ("l1_sparse", DROL1SparseByHand, DRO),
    "rl, dro": ("rl", DRORandomLabelsByHand, DRO),
    "bad_teacher, dro": ("bad_teacher", DROBadTeacherByHand, DRO | {"bad_teacher_temperature": 2.0}),
    "miu, dro": ("miu", DROMIUByHand, DRO | {"miu_lambda_mi": 10.0, "miu_mine_lr": 0.03}),
    "miu, subsample": ("miu", MIUByHand, SUBSAMPLE | {"miu_lambda_mi": 10.0, "miu_mine_lr": 0.03}),
    "scrub": ("scrub", SCRUBByHand, {}),
    "salun": ("salun", SalUnByHand, {}),
    "salun, other": ("salun", SalUnOtherByHand, {"salun_relabel": "other"}),
    "salun, reference": ("salun", ReferenceSalUnByHand, {"preset": "reference"}),
    "l1_sparse": ("l1_sparse", L1SparseByHand, {}),
    "ft": ("ft", RetrainByHand, {}),
    "ft, reweight": ("ft", RetrainByHand, {"reweight": True}),
    "ft, adam": ("ft", AdamRetrainByHand, {"optimizer": "adam", "weight_decay": 0.5}),
    "ga": ("ga", GradientAscentByHand, {}),
    "rl": ("rl", RandomLabelsByHand, {}),
    "rl, other": ("rl", RandomLabelsOtherByHand, {"rl_relabel": "other"}),
    "bad_teacher": ("bad_teacher", BadTeacherByHand, {"bad_teacher_temperature": 2.0}),
    "neggrad_plus": ("neggrad_plus", NegGradPlusByHand, NEGGRAD),
    "neggrad_plus, reweight": ("neggrad_plus", NegGradPlusByHand, NEGGRAD | {"reweight": True}),
    "neggrad_plus, dro": ("neggrad_plus", DRONegGradPlusByHand, NEGGRAD | DRO),
    "falw": ("falw", FaLWByHand, {"falw_tau": 0.5}),
    "falw, dro": ("falw", DROFaLWByHand, DRO | {"falw_tau": 0.5}),
    "boundary_shrink": ("boundary_shrink", BoundaryShrinkByHand, {"boundary_shrink_epsilon": 0.3}),
    "boundary_expand": ("boundary_expand", BoundaryExpandByHand, {}),
    "miu": ("miu", MIUByHand, {"miu_lambda_mi": 10.0, "miu_mine_lr": 0.03}),
    "miu, classifier": (
        "miu",
        ClassifierMIUByHand,
        {"miu_lambda_mi": 10.0, "miu_mine_lr": 0.03, "miu_estimator": "classifier"},
    ),
    "miu, reference": (
        "miu",
        ReferenceMIUByHand,
        {"miu_lambda_mi": 10.0, "miu_mine_lr": 0.03, "preset": "reference"},
    ),
}


@pytest.mark.parametrize("augment", [False, True], ids=["plain", "augmented"])
@pytest.mark.parametrize("name", HAND)
def test_every_step_equals_the_one_written_by_hand(tmp_path: Path, name: str, augment: bool):
    method, kind, flags = HAND[name]
    run = make_run(method, tmp_path, SpyEngine, augment, epochs=3, warmup_epochs=1, scheduler="cosine", **flags)
    hand: ByHand = kind(run)
    run.unlearner.finish = lambda: None  # what is kept of pretrain and retrain is not the last step
    run.engine.train()
    assert {step.phase.name for step in run.engine.spied_steps} == {
        phase.name for epoch in range(3) for phase in run.unlearner.phases(epoch)
    } | ({"saliency"} if method == "salun" else set())
    for epoch in (-1, 0, 1, 2):
        steps = [step for step in run.engine.spied_steps if step.epoch == epoch]
        of, n = sum(step.phase.module == "model" for step in steps), 0
        losses: dict[str, list[float]] = {}
        for step in steps:
            losses.setdefault(step.phase.name, []).append(hand.step(step, n, of))
            n += step.phase.module == "model"
            assert step.loss == pytest.approx(losses[step.phase.name][-1], rel=1e-3, abs=1e-4)
            for module, weights in hand.modules().items():
                expected = weights.state_dict()
                for entry, value in step.after[module].items():
                    if not entry.endswith("log_mean_exp"):
                        torch.testing.assert_close(value, expected[entry], rtol=1e-3, atol=1e-5)
            for critic, mean in getattr(hand, "mean", {}).items():
                assert step.after["critics"][f"{critic}.log_mean_exp"] == pytest.approx(math.log(mean), abs=1e-4)
        for phase, values in losses.items() if epoch >= 0 else ():
            assert run.history[epoch][f"{phase}_loss"] == pytest.approx(np.mean(values), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_batches_hold_the_images_and_labels_of_their_rows(tmp_path: Path, method: str):
    run, data = make_run(method, tmp_path, SpyEngine), tiny_data()
    run.engine.train()
    for phase, batch in (pair for step in run.engine.spied_steps for pair in with_beside(step.phase, step.batch)):
        rows = batch.index.numpy()
        assert torch.equal(batch.image, data.images(rows))
        assert batch.target.tolist() == data.target[rows].tolist()
        assert batch.group.tolist() == data.group[rows].tolist()
        assert not batch.augmented
        assert set(rows) <= set(getattr(run.splits, phase.data).tolist())
    # Every step that draws has random numbers of its own.
    random = [step.random.numpy().tobytes() for step in run.engine.spied_steps if step.random is not None]
    assert len(set(random)) == len(random)
    draws = {"miu": {"critics", "forget", "retain"}, "rl": {"forget"}, "salun": {"forget"}, "falw": {"forget"}}
    draws = draws.get(method, set())
    assert {step.phase.name for step in run.engine.spied_steps if step.random is not None} == draws
    for spied in run.engine.passes:
        steps = [step for step in run.engine.spied_steps if step.phase is spied.phase]
        seen = np.concatenate([step.batch.index.numpy() for step in steps])
        if spied.phase.steps is None and not (spied.phase.data == "retain" and run.config.reweights):
            assert sorted(seen) == getattr(run.splits, spied.phase.data).tolist()


@pytest.mark.parametrize("optimizer", [{"optimizer": "sgd"}, {"optimizer": "adam", "lr": 0.005}], ids=["sgd", "adam"])
@pytest.mark.parametrize("method", WITH_EPOCHS)
def test_one_kernel_for_all_weights_takes_the_same_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, optimizer: dict[str, Any]
):
    """As on a GPU; torch has such kernels for the CPU too. MIU's passes over F give the head no gradient."""
    runs = [make_run(method, folder(tmp_path, "apart"), **optimizer)]
    for module in (base, optimizers):
        monkeypatch.setattr(module, "fused", lambda parameters: True)
    runs.append(make_run(method, folder(tmp_path, "together"), **optimizer))
    for run in runs:
        run.engine.train()
    fused = [group["fused"] for run in runs for one in run.engine.optimizers.values() for group in one.param_groups]
    assert fused == [None] * (len(fused) // 2) + [True] * (len(fused) // 2)
    apart, together = (snapshot(run.model) for run in runs)
    for name, value in apart.items():
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-5)


class NoWaits(TorchDispatchMode):
    """Where a number of a tensor is asked for, a GPU would be waited for; on the CPU this stands in for it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            raise AssertionError("a number is read from the device")
        return function(*args, **(kwargs or {}))


class HurriedEngine(Engine):
    """An engine whose steps must not wait. (What reads images reads numbers of the CPU, on any device.)"""

    def _step(self, *arguments: Any) -> Tensor:
        with NoWaits():
            return super()._step(*arguments)


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits_for_the_device(tmp_path: Path, method: str, augment: bool):
    flags = {"max_grad_norm": 1.0} if METHODS[method].has_epochs else {}
    assert_hurried(make_run(method, tmp_path, HurriedEngine, augment=augment, **flags))


def assert_hurried(run: Run) -> None:
    """It trains to its end, once the table of the original's outputs is there, for which images are read."""
    if run.original is not None:
        for output in (run.original.logits, run.original.features):
            output(batch_of(run.splits.train[:1]))
    run.engine.train()
    assert run.engine.at.epoch == run.config.n_epochs


@pytest.mark.parametrize(
    "method, flags", [("rl", {"rl_relabel": "other"}), ("retrain", {"rob_approach": "dro"}), ("salun", {}), ("miu", {})]
)
def test_no_step_of_a_variant_waits_either(tmp_path: Path, method: str, flags: dict[str, str]):
    assert_hurried(make_run(method, tmp_path, HurriedEngine, **flags))


def test_a_step_that_waits_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = make_run("ft", tmp_path, HurriedEngine)
    real = run.unlearner.fit
    monkeypatch.setattr(run.unlearner, "fit", lambda batch: real(batch) * (1.0 if real(batch).item() else 1.0))
    with pytest.raises(AssertionError, match="read from the device"):
        run.engine.train()


@pytest.mark.parametrize("use_train_aug", [False, True])
def test_augmentation_follows_the_configuration_except_for_critics_and_saliency(tmp_path: Path, use_train_aug: bool):
    for method in ("miu", "salun"):
        place = folder(tmp_path, method)
        run = make_run(method, place, SpyEngine, augment=True, epochs=1, use_train_aug=use_train_aug)
        run.engine.train()
        found = {step.phase.name: step.batch.augmented for step in run.engine.spied_steps}
        always = {"critics": True} if method == "miu" else {"saliency": False}
        assert found == {"forget": use_train_aug, "retain": use_train_aug} | always
        mirrored = {
            step.phase.name
            for step in run.engine.spied_steps
            if not torch.equal(step.batch.image, tiny_data().images(step.batch.index))
        }
        assert mirrored == {name for name, augmented in found.items() if augmented}


def test_order_and_augmentation_are_new_in_every_pass(tmp_path: Path):
    run = make_run("salun", tmp_path, augment=True, epochs=3)
    batches, calls = run.inference.loader.batches, []
    run.inference.loader.batches = lambda order, size, seed, first, part: (
        calls.append((tuple(order), seed)) or batches(order, size, seed, first, part)
    )
    run.engine.train()
    (plain, no_seed), *passes = calls
    assert (plain, no_seed) == (tuple(run.splits.forget), None)  # the saliency
    assert len(passes) == 6
    assert len({order for order, _ in passes}) == len({seed for _, seed in passes}) == 6


def test_saliency_of_the_published_code_comes_from_augmented_images(tmp_path: Path):
    run = make_run("salun", tmp_path, SpyEngine, augment=True, epochs=1, preset="reference", use_train_aug=True)
    run.engine.train()
    assert all(step.batch.augmented for step in run.engine.spied_steps if step.phase.name == "saliency")


# What may change.


@pytest.mark.parametrize("augment", [False, True], ids=["plain", "augmented"])
@pytest.mark.parametrize("method", UNLEARNERS)
def test_original_is_bit_equal_before_and_after(tmp_path: Path, method: str, augment: bool):
    run = make_run(method, tmp_path, augment=augment)
    original, model = snapshot(run.original.module), snapshot(run.model)
    run.engine.train()
    assert changed(original, snapshot(run.original.module)) == set()
    assert changed(snapshot(trained_network()), original) == set()
    assert not run.original.module.training
    assert all(weight.grad is None and not weight.requires_grad for weight in run.original.module.parameters())
    moved = changed(model, snapshot(run.model))
    assert parameters(run.model) <= moved if METHODS[method].has_epochs else moved  # SSD dampens some weights alone


@pytest.mark.parametrize("augment", [False, True], ids=["plain", "augmented"])
def test_original_of_the_published_miu_drifts_in_its_buffers_alone(tmp_path: Path, augment: bool):
    run = make_run("miu", tmp_path, augment=augment, preset="reference")
    before = snapshot(run.original.module)
    run.engine.train()
    assert changed(before, snapshot(run.original.module)) == buffers(run.original.module)


@pytest.mark.parametrize("preset", ["strict", "reference"])
@pytest.mark.parametrize("method", METHODS)
def test_a_phase_changes_only_what_it_trains(tmp_path: Path, method: str, preset: str):
    run = make_run(method, tmp_path, SpyEngine, preset=preset)
    run.engine.train()
    assert all(step.differentiable == {step.phase.module} for step in run.engine.spied_steps)
    trained = run.unlearner.modules()["model"]
    net, moved_means = buffers(trained), {"forget": {"phi.log_mean_exp"}}
    moved_means["retain"] = moved_means["forget"] | {"psi.log_mean_exp"}
    published_miu = preset == "reference" and method == "miu"
    for spied in run.engine.passes:
        name = spied.phase.name
        found = {module: changed(spied.before[module], spied.after[module]) for module in spied.before}
        found.pop("original", None)
        if name == "critics":
            everything = set(snapshot(run.unlearner.critics))
            expected = {"model": net if published_miu else set(), "critics": everything}
        elif not spied.phase.step:
            expected = {"model": set()}
        elif method == "miu":
            expected = {
                # The forget pass of MIU ends at the features: it has no gradient for the head.
                "model": net | {n for n in parameters(run.model) if name == "retain" or not n.startswith("head")},
                "critics": moved_means[name] if published_miu else set(),
            }
        else:
            expected = {"model": net | parameters(trained)}
        if method == "salun" and name != "saliency":  # frozen weights: some tensor may be frozen as a whole
            found["model"], expected["model"] = found["model"] & net, net
        assert found == expected, name


def test_batch_norm_counts_the_steps_of_the_network_alone(tmp_path: Path):
    run = make_run("miu", tmp_path, SpyEngine)
    before = int(run.model.backbone[1].num_batches_tracked)
    run.engine.train()
    steps = sum(spied.n_steps for spied in run.engine.passes if spied.phase.module == "model")
    assert int(run.model.backbone[1].num_batches_tracked) == before + steps


def test_original_outputs_come_from_a_table_where_images_are_not_augmented(tmp_path: Path, monkeypatch):
    run = make_run("scrub", tmp_path)
    original, rows = run.original, run.splits.train
    calls = []
    apart = Inference.apart
    monkeypatch.setattr(Inference, "apart", lambda self, *args: calls.append(args[-1]) or apart(self, *args))
    for function, direct in ((original.logits, original.module), (original.features, original.module.features)):
        table = function(batch_of(rows))
        torch.testing.assert_close(table, direct(tiny_data().images(rows)), rtol=1e-5, atol=1e-6)
        assert not table.requires_grad
        order = np.random.default_rng(0).permutation(len(rows))
        for size in (1, 3, 20):
            for start in range(0, len(rows), size):
                chosen = order[start : start + size]
                garbage = torch.full((len(chosen), 3, 1, 1), math.nan)
                assert torch.equal(function(batch_of(rows[chosen], image=garbage)), table[chosen])
        mirrored = tiny_data().images(rows[:5]).flip(3)
        augmented = function(batch_of(rows[:5], image=mirrored, augmented=True))
        assert torch.equal(augmented, direct(mirrored))
        assert not torch.equal(augmented, table[:5])
    assert calls == ["original logits", "original features"]
    original.release()
    assert torch.equal(original.features(batch_of(rows)), table)
    assert calls == ["original logits", "original features", "original features"]


# Order of events.


def order_of(run: Run) -> list[tuple[int, str, str, str, int]]:
    run.engine.train()
    return [(one.epoch, one.phase.name, one.phase.data, one.phase.module, one.n_steps) for one in run.engine.passes]


def n(size: int, batch_size: int) -> int:
    return len(batch_bounds(size, batch_size))


def test_phases_of_trainings(tmp_path: Path):
    assert order_of(make_run("pretrain", tmp_path, SpyEngine)) == [(e, "train", "train", "model", 14) for e in (0, 1)]
    (tmp_path / "last.pt").unlink()
    # 9 of the 10 samples of the forget group are forgotten; 45 of 54 are left, and a last batch of one is merged.
    assert order_of(make_run("retrain", tmp_path, SpyEngine)) == [(e, "retain", "retain", "model", 11) for e in (0, 1)]


@pytest.mark.parametrize("preset, first, later", [("strict", 100, 10), ("reference", 101, 11)])
def test_phases_of_miu(tmp_path: Path, preset: str, first: int, later: int):
    run = make_run("miu", tmp_path, SpyEngine, preset=preset, miu_critic_steps_first=None, miu_critic_steps=None)
    assert order_of(run) == [
        (0, "critics", "train", "critics", first),
        (0, "forget", "forget", "model", 2),
        (0, "retain", "retain", "model", 11),
        (1, "critics", "train", "critics", later),
        (1, "retain", "retain", "model", 11),
    ]
    critic_steps = [step for step in run.engine.spied_steps if step.phase.name == "critics"]
    assert {len(step.batch.index) for step in critic_steps} == {4}
    assert np.isin(run.splits.forget, np.concatenate([step.batch.index for step in critic_steps])).all()
    assert {step.lr for step in critic_steps} == {0.01}


def test_phases_of_scrub_and_its_batch_sizes(tmp_path: Path):
    run = make_run("scrub", tmp_path, SpyEngine)
    assert order_of(run) == [
        (0, "forget", "forget", "model", 2),
        (0, "retain", "retain", "model", 6),
        (1, "retain", "retain", "model", 6),
    ]


def test_phases_of_salun(tmp_path: Path):
    run = make_run("salun", tmp_path, SpyEngine)
    passes = [("forget", 2), ("retain", 11)]
    assert order_of(run) == [
        (-1, "saliency", "forget", "model", 2),
        *((epoch, name, name, "model", steps) for epoch in (0, 1) for name, steps in passes),
    ]


def test_phases_of_l1_sparse(tmp_path: Path):
    assert order_of(make_run("l1_sparse", tmp_path, SpyEngine)) == [
        (0, "retain", "retain", "model", 11),
        (1, "retain", "retain", "model", 11),
    ]


@pytest.mark.parametrize("method", METHODS)
def test_reweight_applies_where_a_phase_passes_over_r(tmp_path: Path, method: str):
    phases = make_run(method, tmp_path).unlearner.phases(0)
    assert (METHODS[method].reweight is not None) == ("retain" in {phase.data for phase in phases})


@pytest.mark.parametrize("method", ["ga", "boundary_shrink", "boundary_expand"])
def test_phases_of_what_uses_the_forget_set_alone(tmp_path: Path, method: str):
    assert order_of(make_run(method, tmp_path, SpyEngine)) == [(e, "forget", "forget", "model", 2) for e in (0, 1)]


@pytest.mark.parametrize("method", ["rl", "falw", "bad_teacher"])
def test_phases_of_a_pass_over_f_and_one_over_r(tmp_path: Path, method: str):
    passes = [("forget", 2), ("retain", 11)]
    expected = [(epoch, name, name, "model", steps) for epoch in (0, 1) for name, steps in passes]
    assert order_of(make_run(method, tmp_path, SpyEngine)) == expected


@pytest.mark.parametrize("method", ["miu", "scrub"])
def test_as_many_forget_epochs_as_epochs_or_more_and_none(tmp_path: Path, method: str):
    for forget_epochs, expected in ((2, [0, 1]), (5, [0, 1]), (0, [])):
        run = make_run(method, folder(tmp_path, str(forget_epochs)), SpyEngine, forget_epochs=forget_epochs)
        assert [epoch for epoch, name, *_ in order_of(run) if name == "forget"] == expected


@pytest.mark.parametrize("preset", ["strict", "reference"])
@pytest.mark.parametrize("method", UNLEARNERS)
def test_a_forget_set_of_one_sample(tmp_path: Path, method: str, preset: str):
    short = {"epochs": 1} if METHODS[method].has_epochs else {}
    run = make_run(method, tmp_path, SpyEngine, preset=preset, unlearning_ratio=0.1, **short)
    assert len(run.splits.forget) == 1
    run.engine.train()
    assert all(math.isfinite(value) for value in run.history[0].values())
    forgotten = [step for step in run.engine.spied_steps if step.phase.data == "forget"]
    assert all(step.batch.index.tolist() == run.splits.forget.tolist() for step in forgotten)


@pytest.mark.parametrize("method", [name for name, kind in METHODS.items() if kind.reweight is not None])
@pytest.mark.parametrize("reweight", [False, True])
def test_reweight_draws_the_groups_of_d(tmp_path: Path, method: str, reweight: bool):
    run, data = make_run(method, tmp_path, reweight=reweight, batch_size=40), tiny_data()
    epochs = 60
    retain = [phase for phase in run.unlearner.phases(0) if phase.name == "retain"][0]
    passes = [np.concatenate([b.index for b in run.engine.batches.of(retain, epoch)]) for epoch in range(epochs)]
    assert {len(rows) for rows in passes} == {len(run.splits.retain)}
    assert len({tuple(rows) for rows in passes}) == epochs
    if not reweight:
        assert all(sorted(rows) == run.splits.retain.tolist() for rows in passes)
        return
    drawn = np.concatenate(passes)
    assert set(drawn) <= set(run.splits.retain)
    expected = np.array(GROUP_COUNTS) / sum(GROUP_COUNTS)
    found = np.bincount(data.group[drawn], minlength=N_GROUPS) / len(drawn)
    error = np.sqrt(expected * (1 - expected) / len(drawn))
    assert (np.abs(found - expected) < 4 * error).all()
    # One sample of the forget group is left, and it stands for all ten: without REWEIGHT its share would be far off.
    assert expected[FORGET_GROUP] - 1 / len(run.splits.retain) > 20 * error[FORGET_GROUP]


# Learning rate, loss, history.


def rates(epochs: int, n_steps: int = 4, **values: Any) -> list[list[float]]:
    known = {"lr": 0.8, "epochs": epochs, "warmup_epochs": 0, "scheduler": "const", "lr_cosine_epochs": 0}
    config = SimpleNamespace(**(known | values))
    return [[learning_rate(config, epoch, step, n_steps) for step in range(n_steps)] for epoch in range(epochs)]


def test_learning_rate_warms_up_step_by_step_and_never_is_zero():
    assert rates(3, warmup_epochs=1)[0] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    two = rates(3, warmup_epochs=2)
    assert two[0] + two[1] == pytest.approx([0.1 * k for k in range(1, 9)])
    assert two[2] == [0.8] * 4


@pytest.mark.parametrize("scheduler", ["const", "cosine"])
@pytest.mark.parametrize("warmup_epochs", [2, 3, 8])
def test_learning_rate_where_the_whole_run_is_warm_up(scheduler: str, warmup_epochs: int):
    found = np.concatenate(rates(2, warmup_epochs=warmup_epochs, scheduler=scheduler))
    assert found == pytest.approx([0.8 * k / (4 * warmup_epochs) for k in range(1, 9)])
    assert found.min() > 0


def test_cosine_runs_over_the_epochs_after_the_warm_up():
    found = rates(6, warmup_epochs=2, scheduler="cosine")
    half = math.sqrt(0.5)
    expected = [0.8, 0.4 * (1 + half), 0.4, 0.4 * (1 - half)]
    for epoch, rate in zip(range(2, 6), expected, strict=True):
        assert found[epoch] == pytest.approx([rate] * 4)
    assert rates(2, scheduler="cosine") == [[0.8] * 4, pytest.approx([0.4] * 4)]
    assert rates(5, scheduler="const") == [[0.8] * 4] * 5


def test_a_loss_that_is_not_finite_ends_the_run_and_saves_nothing(tmp_path: Path):
    for method in METHODS:
        place = folder(tmp_path, method)
        run = make_run(method, place)
        with torch.no_grad():
            run.model.head.weight[0, 0] = math.nan
            run.model.backbone[0].weight[0] = math.nan
        with pytest.raises(RunError, match="not finite (in epoch|before any step)"):
            run.engine.train()
        assert list(place.iterdir()) == []


def test_a_loss_that_explodes_in_a_later_epoch_keeps_the_state_of_the_one_before(tmp_path: Path):
    run = make_run("l1_sparse", tmp_path, epochs=3)
    sparsify = run.unlearner.sparsify
    run.unlearner.sparsify = lambda batch: sparsify(batch) * (math.inf if batch.epoch == 2 else 1)
    with pytest.raises(RunError, match=r"phase retain is not finite in epoch 2 .*--lr"):
        run.engine.train()
    assert len(torch.load(tmp_path / "last.pt", weights_only=True)["history"]) == 2


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("number", [0, 1, -1])
def test_one_batch_whose_loss_is_not_finite_ends_the_run(tmp_path: Path, number: int, value: float):
    run, calls = make_run("l1_sparse", tmp_path, epochs=1), 0
    sparsify, (phase,) = run.unlearner.sparsify, run.unlearner.phases(0)
    chosen = range(run.engine.batches.count(phase))[number]

    def loss(batch):
        nonlocal calls
        calls += 1
        return sparsify(batch) + (value if calls - 1 == chosen else 0)

    run.unlearner.sparsify = loss
    with pytest.raises(RunError, match="not finite in epoch 0"):
        run.engine.train()
    assert calls == run.engine.batches.count(phase)


def test_critics_that_diverge_are_told_their_own_learning_rate_not_the_networks(tmp_path: Path):
    run = make_run("miu", tmp_path)
    tune = run.unlearner.tune_critics
    run.unlearner.tune_critics = lambda batch: tune(batch) * math.inf
    with pytest.raises(RunError, match=r"phase critics is not finite in epoch 0 \(learning rate 0.01\); .* critics"):
        run.engine.train()


COLUMNS = {
    "pretrain": ["train_loss", "lr", "seconds", "val_acc", "val_worst_group_acc"],
    "retrain": ["retain_loss", "lr", "seconds", "val_acc", "val_worst_group_acc"],
    "miu": [
        "critics_loss",
        "forget_loss",
        "retain_loss",
        "lr",
        "seconds",
        "mi_model",
        "mi_original",
        "forget_mi_model",
        "retain_mi_model",
        "retain_mi_original",
    ],
    "salun": ["forget_loss", "retain_loss", "lr", "seconds"],
    "scrub": ["forget_loss", "retain_loss", "lr", "seconds", "forget_error"],
    "l1_sparse": ["retain_loss", "lr", "seconds"],
    "ft": ["retain_loss", "lr", "seconds"],
    "rl": ["forget_loss", "retain_loss", "lr", "seconds"],
    "bad_teacher": ["forget_loss", "retain_loss", "lr", "seconds"],
    "neggrad_plus": ["retain_loss", "lr", "seconds", "forget_loss"],
    "falw": ["forget_loss", "retain_loss", "lr", "seconds"],
    "ga": ["forget_loss", "lr", "seconds"],
    "boundary_shrink": ["forget_loss", "lr", "seconds"],
    "boundary_expand": ["forget_loss", "lr", "seconds"],
}


@pytest.mark.parametrize("method", WITH_EPOCHS)
def test_history_has_a_line_an_epoch(tmp_path: Path, method: str):
    flags = {"scrub_rewind": True} if method == "scrub" else {}
    run = make_run(method, tmp_path, scheduler="cosine", **flags)
    run.engine.train()
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", *COLUMNS[method]]
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert [float(row["lr"]) for row in rows] == [0.05, 0.025]
    for row, kept in zip(rows, run.history, strict=True):
        assert {name: float(value) for name, value in row.items() if value} == kept
    # The forget pass of miu and scrub is over after epoch 0: nothing stands in its columns.
    empty = {name for name, value in rows[1].items() if not value}
    over = ("forget_loss", "forget_mi") if "forget_epochs" in run.config.values else ()
    assert empty == {name for name in COLUMNS[method] if name.startswith(over)}
    seconds = sum(float(row["seconds"]) for row in rows)
    assert 0 < seconds <= run.engine.seconds * (1 + 1e-9)


def test_history_of_miu_tells_the_mean_information_of_its_critics(tmp_path: Path):
    run = make_run("miu", tmp_path, SpyEngine)
    run.engine.train()
    for row in run.history:
        assert row["critics_loss"] == pytest.approx(-(row["mi_model"] + row["mi_original"]), rel=1e-4)
    assert run.history[0]["forget_loss"] == pytest.approx(run.history[0]["forget_mi_model"], rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_run_twice_is_bit_equal_and_another_seed_is_not(tmp_path: Path, method: str):
    outcomes = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)  # the global generator has no part in it
        run = make_run(method, folder(tmp_path, str(number)), seed=seed)
        run.engine.train()
        outcomes.append(outcome(run))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] != outcomes[2][0]


@pytest.mark.parametrize("select", ["best_val", "worst_group", "last"])
def test_trainings_keep_the_epoch_that_select_names(tmp_path: Path, select: str):
    run = make_run("pretrain", tmp_path, SpyEngine, epochs=6, lr=0.3, select=select)
    run.engine.train()
    history = run.history
    scores: dict[str, Callable[[int], float]] = {
        "best_val": lambda epoch: history[epoch]["val_acc"],
        "worst_group": lambda epoch: history[epoch]["val_worst_group_acc"],
        "last": lambda epoch: epoch,
    }
    best = max(range(6), key=lambda epoch: (scores[select](epoch), -epoch))
    assert run.unlearner.extra_metrics() == {"selected_epoch": best}
    kept = [spied.after["model"] for spied in run.engine.passes][best]
    assert changed(kept, snapshot(run.model)) == set()
    model = TinyNet()
    model.load_state_dict(kept)
    data, val = tiny_data(), run.splits.val
    right = model.eval()(data.images(val)).argmax(dim=1).numpy() == data.target[val]
    assert history[best]["val_acc"] == pytest.approx(100 * right.mean())
    by_group = [100 * right[data.group[val] == group].mean() for group in range(N_GROUPS)]
    assert history[best]["val_worst_group_acc"] == pytest.approx(min(by_group))


@pytest.mark.parametrize("method", WITH_EPOCHS)
def test_looks_at_the_validation_set_change_no_number(tmp_path: Path, method: str):
    plain = make_run(method, folder(tmp_path, "plain"), epochs=4)
    looking = make_run(method, folder(tmp_path, "looking"), epochs=4, evaluate_every=2)
    plain.engine.train(), looking.engine.train()
    weights = looking.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in plain.model.state_dict().items())
    columns = ("val_acc", "val_worst_group_acc")
    before, rows = plain.engine.progress.history, looking.engine.progress.history
    keep = [{key: row[key] for key in row if key not in (*columns, "seconds")} for row in rows]
    assert keep == [{key: row[key] for key in row if key not in (*columns, "seconds")} for row in before]
    if METHODS[method].from_original:
        assert ["val_acc" in row for row in rows] == [False, True, False, True]
        data = tiny_data()
        logits = looking.model.eval()(data.images(looking.splits.val))
        right = logits.argmax(dim=1).numpy() == data.target[looking.splits.val]
        assert rows[-1]["val_acc"] == pytest.approx(100 * right.mean())
        groups = data.group[looking.splits.val]
        worst = min(100 * right[groups == group].mean() for group in np.unique(groups))
        assert rows[-1]["val_worst_group_acc"] == pytest.approx(worst)
    else:
        assert all("val_acc" in row for row in before + rows)


@pytest.mark.parametrize("terminal", [False, True])
def test_the_log_has_a_line_an_epoch_where_no_terminal_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, terminal: bool
):
    run = make_run("scrub", tmp_path, SpyEngine, epochs=3, forget_epochs=1, evaluate_every=3)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    caplog.set_level(logging.INFO, logger="unlearning")
    run.engine.train()
    if terminal:
        assert caplog.messages == []
        return
    number, seconds = r"-?\d[\d.e-]*", r"\d+\.\d s"
    expected = (
        rf"scrub: epoch 1 of 3, forget loss {number}, retain loss {number}, {seconds}, about 10 s left",
        rf"scrub: epoch 2 of 3, retain loss {number}, {seconds}, about 10 s left",
        rf"scrub: epoch 3 of 3, retain loss {number}, val accuracy {number} %, {seconds}",
    )
    for line, wanted in zip(caplog.messages, expected, strict=True):
        assert re.fullmatch(wanted, line), line
    retain = run.engine.progress.history[1]["retain_loss"]
    assert f"retain loss {retain:.4g}," in caplog.messages[1]


def test_of_several_processes_one_logs_the_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("method.training.engine.rank", lambda: 1)
    caplog.set_level(logging.INFO, logger="unlearning")
    make_run("ft", tmp_path, SpyEngine, epochs=1).engine.train()
    assert caplog.messages == []
