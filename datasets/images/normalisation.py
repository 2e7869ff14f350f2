"""What happens to a batch of images on the device (what happens to one image before: datasets.images.decoding)."""

from functools import lru_cache
from typing import NamedTuple

import torch

CPU_VALUES = 1 << 18  # so many float32 values at once stay in a CPU's cache from one operation to the next


class Pixels(NamedTuple):
    """Mean and standard deviation of pixels between 0 and 1 by channel: red, green, blue. A network expects its own."""

    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    @classmethod
    def read(cls, mean: str, std: str) -> "Pixels":
        """From texts of one number, for all channels, or of three with commas between them."""
        values = [tuple(map(float, text.split(","))) for text in (mean, std)]
        return cls(*(three * (3 // len(three)) for three in values))

    def spell(self) -> dict[str, str]:
        """As flags and files have them: `0.5`, or `0.485,0.456,0.406`."""
        return {
            name: ",".join(map(repr, values if len(set(values)) > 1 else values[:1]))
            for name, values in self._asdict().items()
        }

    @property
    def darkest(self) -> tuple[float, ...]:
        """What 0 becomes, by channel."""
        return tuple((0 - mean) / std for mean, std in zip(*self, strict=True))

    @property
    def brightest(self) -> tuple[float, ...]:
        """What 1 becomes, by channel."""
        return tuple((1 - mean) / std for mean, std in zip(*self, strict=True))


PUBLISHED = Pixels()


def normalise(
    images: torch.Tensor,
    memory_format: torch.memory_format = torch.contiguous_format,
    pixels: Pixels = PUBLISHED,
) -> torch.Tensor:
    """uint8 NCHW in 0..255 -> float32 NCHW: (x / 255 - mean) / std; by default from -1 to 1."""
    floats = torch.empty(images.shape, dtype=torch.float32, device=images.device, memory_format=memory_format)
    at_once = max(len(images), 1)
    if images.device.type == "cpu":
        at_once = max(CPU_VALUES // max(images[:1].numel(), 1), 1)
    parts = zip(floats.split(at_once), images.split(at_once), strict=True)
    if pixels == PUBLISHED:
        for part, image in parts:
            # (x / 255 - 0.5) / 0.5 in one pass less, bit for bit: doubling is exact.
            part.copy_(image).div_(127.5).sub_(1)
        return floats
    mean, std = (_as_image(values, images.shape[2:], images.device, memory_format) for values in pixels)
    for part, image in parts:
        part.copy_(image).div_(255).sub_(mean).div_(std)
    return floats


@lru_cache(maxsize=8)
def _as_image(
    values: tuple[float, ...], size: torch.Size, device: torch.device, memory_format: torch.memory_format
) -> torch.Tensor:
    """float32 (1, C, H, W) of one value a channel: a CPU takes a third of the time that it takes with (C, 1, 1).

    Filled on the device: values that are sent there from Python are waited for.
    """
    image = torch.empty((1, len(values), *size), dtype=torch.float32, device=device, memory_format=memory_format)
    for channel, value in zip(image[0], values, strict=True):
        channel.fill_(value)
    return image
