"""The straightforward way to read images, kept to be measured against: PIL decodes, transforms work on PIL images."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from side_by_side import ROOT  # noqa: F401 (makes the project's packages importable)
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms

from datasets.base import GroupDataset

HALF = (0.5, 0.5, 0.5)


def training_transform(size: int) -> Callable:
    """A random crop, a flip, floats, normalised."""
    steps = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(HALF, HALF)])


def evaluation_transform(size: int) -> Callable:
    """FairFace's: the shorter side to 256 of 224 parts, the centre of it, floats, normalised."""
    steps = [transforms.Resize(size * 256 // 224), transforms.CenterCrop(size)]
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(HALF, HALF)])


class PILImages(Dataset):
    """(image, target, group, row) of some rows of a data set."""

    def __init__(self, data: GroupDataset, rows: np.ndarray, transform: Callable):
        self.data, self.rows, self.transform = data, rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int, int, int]:
        row = int(self.rows[number])
        image = self.transform(Image.open(self.data.file(row)).convert("RGB"))
        return image, int(self.data.target[row]), int(self.data.group[row]), row


def pil_loader(
    data: GroupDataset,
    rows: np.ndarray,
    transform: Callable,
    batch_size: int,
    workers: int,
    sampler: Sampler | None = None,
) -> DataLoader:
    """Its batches are float32 NCHW, in order unless a sampler says otherwise."""
    images = PILImages(data, rows, transform)
    return DataLoader(images, batch_size, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
