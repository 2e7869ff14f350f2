"""From an image file to a square uint8 tensor; the only module here that needs torchvision."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from datasets.base import GroupDataset
from datasets.loaders import UnreadableImage

CROP_SCALE = (0.08, 1.0)  # share of the area, the published training transform
CROP_RATIO = (3 / 4, 4 / 3)
SOURCE_PLACE = re.compile(r"^\w+, \S+:\d+, ")


def stretch(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resize to size x size; the aspect changes."""
    return F.resize(image, [size, size], antialias=True)


def centre(image: torch.Tensor, size: int) -> torch.Tensor:
    """Shorter side to floor(size * 256 / 224), then the central size x size."""
    return F.center_crop(F.resize(image, [size * 256 // 224], antialias=True), [size, size])


RESIZES = {"stretch": stretch, "centre": centre}


def read_image(file: str) -> torch.Tensor | UnreadableImage:
    """uint8 (3, H, W), or why there is none."""
    try:
        return decode_image(file, ImageReadMode.RGB)
    except (RuntimeError, ValueError, OSError) as error:
        return UnreadableImage(file, _reason(file, error))


def _reason(file: str, error: Exception) -> str:
    """What the system says of the file, or else torchvision, without the place in its source."""
    try:
        with open(file, "rb") as opened:
            opened.read(1)
    except OSError as refusal:
        return str(refusal.strerror)
    return SOURCE_PLACE.sub("", str(error).partition("\n")[0])


class Views:
    """The evaluation and the training transform: uint8 (3, H, W) -> uint8 (3, image_size, image_size)."""

    def __init__(self, view: str, image_size: int) -> None:
        self.resize, self.size = RESIZES[view], image_size

    def evaluation(self, image: torch.Tensor) -> torch.Tensor:
        return self.resize(image, self.size)

    def training(self, image: torch.Tensor, seed: int) -> torch.Tensor:
        """A random crop, resized, flipped half the time; a function of `image` and `seed` alone."""
        with _seeded(seed):
            top, left, height, width = RandomResizedCrop.get_params(image, CROP_SCALE, CROP_RATIO)
            flip = bool(torch.rand(()) < 0.5)
        crop = F.resized_crop(image, top, left, height, width, [self.size, self.size], antialias=True)
        return F.horizontal_flip(crop) if flip else crop


class FileImages(torch.utils.data.Dataset):
    """Images decoded from files, for DataLoader workers: a pure function of (row, augmentation seed)."""

    augments = True

    def __init__(self, dataset: GroupDataset, image_size: int) -> None:
        self.root, self.path = dataset.root, dataset.path
        self.views = Views(dataset.view, image_size)

    def __getitems__(self, batch: tuple[np.ndarray, np.ndarray]) -> torch.Tensor | UnreadableImage:
        """uint8 (B, 3, S, S) for arrays of rows and seeds (-1: evaluation view), or what could not be read."""
        images = []
        with _one_thread():
            for row, seed in zip(*(values.tolist() for values in batch), strict=True):
                image = read_image(str(self.root / str(self.path[row])))
                if isinstance(image, UnreadableImage):
                    return image
                images.append(self.views.evaluation(image) if seed < 0 else self.views.training(image, seed))
        return torch.stack(images) if images else torch.empty(0, 3, self.views.size, self.views.size, dtype=torch.uint8)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Without workers, threads that share one small image spend most of their time waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's default generator at `seed`, and afterwards as it was: torchvision draws from no other."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)
