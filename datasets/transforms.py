"""What happens to a batch of images on the device (what happens to one image before: datasets.images)."""

import torch


def normalise(images: torch.Tensor, memory_format: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
    """uint8 NCHW in 0..255 -> float32 NCHW in -1..1: mean 0.5 and standard deviation 0.5 per channel."""
    return images.to(torch.float32, memory_format=memory_format).div_(255).sub_(0.5).div_(0.5)
