"""What a decoder and an image cache give to whoever makes batches of them."""

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class UnreadableImage:
    """What a worker returns instead of a batch, so that the main process can name the file."""

    file: str
    reason: str


class KeptImages(Protocol):
    """Images that were decoded before (datasets.images.cache)."""

    def image(self, row: int) -> torch.Tensor | None:
        """uint8 (3, H, W) as the decoder gave it, None where there is none."""
