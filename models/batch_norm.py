"""Batch norm whose batch is that of all processes; on every device, where torch's own refuses the CPU."""

import torch
from torch import Tensor, nn

from utils.collectives import total


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """In train mode normalise by mean and variance over the samples of all processes, in fp32; a share may be empty.

    In eval mode, by name and in its state_dict it is nn.BatchNorm2d.
    """

    def forward(self, image: Tensor) -> Tensor:
        """(n, C, H, W) to the same shape and type; ValueError for a single value per channel."""
        if not self.training:
            return super().forward(image)
        with torch.autocast(image.device.type, enabled=False):
            return self._normalised(image.float()).to(image.dtype)

    def _normalised(self, values: Tensor) -> Tensor:
        n = values.numel() // self.num_features
        sums_and_count = torch.cat([values.sum(dim=(0, 2, 3)), values.new_full((1,), n)])
        sums, count = total(sums_and_count).split([self.num_features, 1])
        # The number is read, for which a GPU is waited for, only where it may be one.
        if n <= 1 and int(count) <= 1:
            raise ValueError("Expected more than 1 value per channel when training")
        mean = sums / count
        centred = values - mean[:, None, None]
        variance = total(centred.square().sum(dim=(0, 2, 3))) / count
        if self.track_running_stats:
            self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale[:, None, None] + self.bias[:, None, None]

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics by `momentum`, or where it is None to the mean over all batches."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return  # made without them
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def across_processes(network: nn.Module) -> None:
    """Make every batch norm of a network one over all processes; weights, buffers and their names stay."""
    for name, layer in network.named_modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = GlobalBatchNorm2d
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and not isinstance(layer, GlobalBatchNorm2d):
            raise TypeError(f"{name} is a {type(layer).__name__}, not known over several processes")
