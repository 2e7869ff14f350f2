"""Sums, means and maxima over the processes of a run; the identity, bit for bit, where it has one."""

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

from utils.distributed import finished, world_size
from utils.signals import interrupted, stop_asked


def all_reduce(values: Tensor, largest: bool = False) -> None:
    """Replace the values by their sum, or the largest of each, over all processes.

    On the CPU the wait is ours, which looks at stop signals; on GPUs the device waits, not this process.
    """
    operation = dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM
    if values.device.type == "cpu":
        finished(dist.all_reduce(values, operation, async_op=True))
    else:
        dist.all_reduce(values, operation)


class _Sum(torch.autograd.Function):
    """The sum over processes. Every process's loss depends on it, so its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def total(values: Tensor) -> Tensor:
    """Elementwise sum over all processes, differentiable."""
    return values if world_size() == 1 else _Sum.apply(values)


def mean(values: Tensor) -> Tensor:
    """Mean of the (n,) values of all processes together, differentiable; n may differ and be 0."""
    if world_size() == 1:
        return values.mean()
    value, count = total(torch.stack([values.sum(), values.new_full((), len(values))]))
    return value / count


def log_mean_exp(values: Tensor) -> Tensor:
    """Logarithm of the mean of exp over the (n,) values of all processes together, differentiable."""
    if world_size() == 1:
        return torch.logsumexp(values, dim=0) - math.log(values.numel())
    largest = torch.cat([values.detach(), values.new_full((1,), -torch.inf)]).max()
    all_reduce(largest, largest=True)
    return mean(torch.exp(values - largest)).log() + largest


def any_of(flag: bool) -> bool:
    """Whether it is true of any process. On the CPU, so that no device is waited for."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag))
    all_reduce(flags, largest=True)
    return bool(flags)


def check_stop_together() -> None:
    """Raise Interrupted in every process if a stop signal has come to any."""
    if any_of(stop_asked()):
        raise interrupted()


def sum_gradients(parameters: Iterable[Tensor], loss: Tensor) -> Tensor:
    """Replace every gradient by its sum over processes; returns the sum of their losses, which may be several.

    One message for all.
    """
    if world_size() == 1:
        return loss
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    parts = [*gradients, loss]
    message = torch.cat([part.flatten() for part in parts])
    all_reduce(message)
    *pieces, losses = message.split([part.numel() for part in parts])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view(gradient.shape))
    return losses.view(loss.shape)


def assemble(pieces: list[Tensor], places: list[tuple[int, int]], n: int, device: torch.device) -> Tensor:
    """(n, d) float32 rows on every process, of which this one has `pieces` for the rows (start, stop) of `places`.

    Every row comes from one process, bit for bit: bits are added to zeros, as whole numbers.
    """
    width = torch.tensor(pieces[0].shape[1] if pieces else 0)
    all_reduce(width, largest=True)
    table = torch.zeros(n, int(width), dtype=torch.int32, device=device)
    for piece, (start, stop) in zip(pieces, places, strict=True):
        table[start:stop] = piece.contiguous().view(torch.int32)
    all_reduce(table)
    return table.view(torch.float32)
