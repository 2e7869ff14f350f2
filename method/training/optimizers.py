"""Optimisers and the learning rate's schedule: what the configuration says, in one kernel a step on a GPU."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from method.configs.loading import Config
from method.unlearners.base import sgd
from utils.device import fused


def learning_rate(config: Config, epoch: int, step: int, n_steps: int) -> float:
    """Linear warm-up per step (step i of n: lr (i+1)/n, never 0), then the schedule per epoch, T_max = E - warm-up."""
    if epoch < config.warmup_epochs:
        return config.lr * (epoch + (step + 1) / n_steps) / config.warmup_epochs
    if config.scheduler == "cosine":
        progress = (epoch - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
        return config.lr * (1 + math.cos(math.pi * progress)) / 2
    return config.lr


def build_optimizer(config: Config, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The network's optimiser, Adam or SGD, as the configuration says."""
    parameters = list(parameters)
    if config.optimizer == "adam":
        one_kernel = fused(parameters)
        return torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=one_kernel)
    return sgd(parameters, config.lr, config.momentum, config.weight_decay)
