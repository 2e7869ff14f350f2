"""Batch norm whose batch is that of all processes; on every device, where torch's own refuses the CPU."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.overrides import TorchFunctionMode

from utils.collectives import total


class Global(nn.modules.batchnorm._BatchNorm):
    """In train mode a layer's batch norm is by mean and variance over the samples of all processes, in fp32.

    A share may be empty. In eval mode, by name and in its state_dict it is the layer that it was; what the layer does
    beside batch norm, such as an activation, it does still.
    """

    def forward(self, image: Tensor) -> Tensor:
        """(n, C, ...) to the layer's output; ValueError for a single value per channel."""
        if not self.training:
            return super().forward(image)
        with _OverAllProcesses() as mode:
            output = super().forward(image)
        if not mode.used:
            raise TypeError(f"{type(self).__name__} has a batch norm of its own, not known over several processes")
        return output


class _OverAllProcesses(TorchFunctionMode):
    """Within it torch's batch norm is that below, whoever calls it; used: whether somebody did."""

    used = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is batch_norm:
            self.used, function = True, global_batch_norm
        return function(*args, **(kwargs or {}))


def global_batch_norm(
    image: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """torch.nn.functional.batch_norm by the statistics of all processes, which is what training asks for, in fp32."""
    if not training:
        return batch_norm(image, running_mean, running_var, weight, bias, training, momentum, eps)
    with torch.autocast(image.device.type, enabled=False):
        values = image.float()
        dims, shape = [0, *range(2, values.ndim)], [-1, *[1] * (values.ndim - 2)]
        n_channels = values.shape[1]
        n = values.numel() // n_channels
        sums, count = total(torch.cat([values.sum(dim=dims), values.new_full((1,), n)])).split([n_channels, 1])
        count = count.detach()  # a constant, though it came in one message with the sums
        # The number is read, for which a GPU is waited for, only where it may be one.
        if n <= 1 and int(count) <= 1:
            raise ValueError("Expected more than 1 value per channel when training")
        mean = sums / count
        centred = values - mean.view(shape)
        variance = total(centred.square().sum(dim=dims)) / count
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.detach(), momentum)
            running_var.lerp_(variance.detach() * count / (count - 1), momentum)
        scale = torch.rsqrt(variance + eps) if weight is None else weight * torch.rsqrt(variance + eps)
        normalised = centred * scale.view(shape)
        return (normalised if bias is None else normalised + bias.view(shape)).to(image.dtype)


@cache
def _global(kind: Any) -> Any:
    """The class of layers of this kind over all processes."""
    return type(f"Global{kind.__name__}", (Global, kind), {})


def across_processes(network: nn.Module) -> None:
    """Make every batch norm of a network one over all processes; weights, buffers and their names stay.

    TypeError for layers with running statistics of which nobody here knows how they are made.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, Global):
            continue
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and not isinstance(layer, nn.SyncBatchNorm):
            kind: Any = type(layer)  # mypy takes no class for hashable whose instances may not be
            layer.__class__ = _global(kind)
        elif any(buffer.startswith("running_") for buffer, _ in layer.named_buffers(recurse=False)):
            raise TypeError(f"{name} is a {type(layer).__name__}, not known over several processes")
