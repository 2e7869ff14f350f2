"""Losses that several methods share; pure functions of tensors, in fp32 whatever the logits are."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax


def kl_to_teacher(student: Tensor, teacher: Tensor, temperature: float, reduction: str = "mean") -> Tensor:
    """KL_T(teacher || student) = T^2 / B * sum p_t log(p_t / p_s), in nats, a scalar; (B,), each sample's, with "none".

    student, teacher: (B, C) logits; both distributions are softened by T, `temperature`. T^2 keeps the size of the
    gradient (Hinton et al., Distilling the Knowledge in a Neural Network, 2015).
    """
    log_student = log_softmax(student.float() / temperature, dim=1)
    log_teacher = log_softmax(teacher.float() / temperature, dim=1)
    if reduction == "none":
        return temperature**2 * kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def l1_norm(parameters: Iterable[Tensor]) -> Tensor:
    """||theta||_1, the sum of the absolute values of all entries of all parameters, a scalar."""
    return torch.stack([parameter.abs().sum() for parameter in parameters]).sum()
