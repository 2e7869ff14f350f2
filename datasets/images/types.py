"""What a decoder and an image cache give to whoever makes batches of them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Dataset


@dataclass(frozen=True)
class UnreadableImage:
    """What a worker returns instead of a batch, so that the main process can name the file."""

    file: str
    reason: str


class KeptImages(Protocol):
    """Images that were decoded before (datasets.images.cache)."""

    def image(self, row: int) -> torch.Tensor | None:
        """uint8 (3, H, W) as the decoder gave it, None where there is none."""


class ImageSource(Dataset):
    """What batches of images are read from. augments: whether its training view is another than the evaluation view."""

    augments: bool

    def __getitems__(self, batch: tuple[np.ndarray, np.ndarray]) -> torch.Tensor | UnreadableImage:
        """uint8 (B, 3, S, S) of rows and augmentation seeds (-1: evaluation view), or what could not be read.

        Features (datasets.images.features) are float32 (B, dim).
        """
        raise NotImplementedError
