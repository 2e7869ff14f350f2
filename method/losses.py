"""Losses that several methods share; pure functions of tensors, in fp32."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor


def kl_to_teacher(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 / B * sum p_t log(p_t / p_s) of (B, C) logits, both softened by `temperature` (Hinton et al., 2015)."""
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.float() / temperature, dim=1)
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def l1_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Sum of the absolute values of all parameters."""
    return torch.stack([parameter.abs().sum() for parameter in parameters]).sum()
