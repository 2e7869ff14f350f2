"""Optimisers and the learning rate's schedule: what the configuration says, in one kernel a step on a GPU."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable

import torch
from torch import nn

from method.configs.loading import Config
from method.unlearners.base import sgd
from utils.device import fused

ADAMS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def learning_rate(config: Config, epoch: int, step: int, n_steps: int) -> float:
    """Linear warm-up per step (step i of n: lr (i+1)/n, never 0), then the schedule per epoch, from its epoch 0 on."""
    if epoch < config.warmup_epochs:
        return config.lr * (epoch + (step + 1) / n_steps) / config.warmup_epochs
    return config.lr * SCHEDULES[config.scheduler](config, epoch - config.warmup_epochs)


def _cosine(config: Config, epoch: int) -> float:
    """From 1 to 0 in T_max epochs: all after the warm-up where none, or more than all epochs, are asked for."""
    asked = config.lr_cosine_epochs
    t_max = asked if 0 < asked <= config.epochs else config.epochs - config.warmup_epochs
    return (1 + math.cos(math.pi * epoch / t_max)) / 2


def _linear(config: Config, epoch: int) -> float:
    """From 1 to `lr_end_factor`, which the epoch after the last would have."""
    return 1 - (1 - config.lr_end_factor) * epoch / (config.epochs - config.warmup_epochs)


def _multistep(config: Config, epoch: int) -> float:
    return config.lr_gamma ** bisect_right([int(one) for one in config.lr_milestones.split(",")], epoch)


# What the learning rate is multiplied by in an epoch, counted from the end of the warm-up, as torch's schedulers do.
SCHEDULES: dict[str, Callable[[Config, int], float]] = {
    "const": lambda config, epoch: 1.0,
    "step": lambda config, epoch: config.lr_gamma ** (epoch // config.lr_step_epochs),
    "multistep": _multistep,
    "exponential": lambda config, epoch: config.lr_gamma**epoch,
    "cosine": _cosine,
    "linear": _linear,
}


def build_optimizer(config: Config, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The network's optimiser, SGD, Adam or AdamW, as the configuration says."""
    parameters = list(parameters)
    if config.optimizer == "sgd":
        return sgd(parameters, config.lr, config.momentum, config.weight_decay)
    facts = {"lr": config.lr, "weight_decay": config.weight_decay, "amsgrad": config.amsgrad}
    return ADAMS[config.optimizer](parameters, **facts, fused=fused(parameters))
