"""From an image file to a square uint8 tensor; the only module here that needs torchvision.

Images are (3, H, W) and lie in memory as (H, W, 3), as the decoder leaves them, from the file to the batch: torch then
resizes twice as fast, and nothing is transposed on the way.
"""

import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2.functional import center_crop

from datasets.base import GroupDataset
from datasets.loaders import KeptImages, UnreadableImage

CROP_SCALE = (0.08, 1.0)  # share of the area, the published training transform
CROP_RATIO = (3 / 4, 4 / 3)
LOG_RATIO = tuple(map(math.log, CROP_RATIO))
CROP_TRIES = 10  # then the central part
SOURCE_PLACE = re.compile(r"^\w+, \S+:\d+, ")


def resized(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """uint8 (3, H, W) to (3, height, width): bilinear, antialiased."""
    if image.shape[1:] == (height, width):
        return image
    # A batch of one whose strides torch takes for channels-last, also where the image is cut out of a larger one.
    batch = image.permute(1, 2, 0).unsqueeze(0).permute(0, 3, 1, 2)
    return interpolate(batch, size=[height, width], mode="bilinear", antialias=True)[0]


def stretch(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resize to size x size; the aspect changes."""
    return resized(image, size, size)


def centre(image: torch.Tensor, size: int) -> torch.Tensor:
    """Shorter side to floor(size * 256 / 224), then the central size x size."""
    height, width = image.shape[1:]
    shorter = size * 256 // 224
    longer = int(shorter * max(height, width) / min(height, width))
    sides = (shorter, longer) if height <= width else (longer, shorter)
    return center_crop(resized(image, *sides), [size, size])


RESIZES = {"stretch": stretch, "centre": centre}


def read_image(file: str) -> torch.Tensor | UnreadableImage:
    """uint8 (3, H, W), or why there is none."""
    try:
        # Python reads a small file in a third of the time that torchvision takes.
        with open(file, "rb", buffering=0) as opened:
            content = bytearray(opened.read())
        return decode_image(torch.frombuffer(content, dtype=torch.uint8), ImageReadMode.RGB)
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
        # All at once, as a call of torch takes longer than its numbers.
        draws = iter(torch.rand(4 * CROP_TRIES + 1, generator=torch.Generator().manual_seed(seed)).tolist())
        top, left, height, width = random_crop(*image.shape[1:], draws)
        flip = next(draws) < 0.5
        crop = resized(image[:, top : top + height, left : left + width], self.size, self.size)
        return crop.permute(1, 2, 0).flip(1).permute(2, 0, 1) if flip else crop


def random_crop(height: int, width: int, draws: Iterator[float]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a crop, from uniform `draws` in [0, 1): torchvision's RandomResizedCrop.

    A share CROP_SCALE of the area, uniform, and an aspect between CROP_RATIO, log-uniform; any place where it fits.
    """
    for _ in range(CROP_TRIES):
        area, aspect, top, left = (next(draws) for _ in range(4))
        area = height * width * (CROP_SCALE[0] + area * (CROP_SCALE[1] - CROP_SCALE[0]))
        aspect = math.exp(LOG_RATIO[0] + aspect * (LOG_RATIO[1] - LOG_RATIO[0]))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
    low, high = CROP_RATIO
    w, h = width, height
    if width / height < low:
        h = round(w / low)
    elif width / height > high:
        w = round(h * high)
    return (height - h) // 2, (width - w) // 2, h, w


class FileImages(torch.utils.data.Dataset):
    """Images from files or a cache, in DataLoader workers or without: a pure function of (row, augmentation seed)."""

    augments = True

    def __init__(self, dataset: GroupDataset, image_size: int, cache: KeptImages | None = None) -> None:
        self.dataset, self.cache = dataset, cache
        self.views = Views(dataset.view, image_size)

    def __getitems__(self, batch: tuple[np.ndarray, np.ndarray]) -> torch.Tensor | UnreadableImage:
        """uint8 (B, 3, S, S), channels-last, of rows and seeds (-1: evaluation view), or what could not be read."""
        pairs = list(zip(*(values.tolist() for values in batch), strict=True))
        images = torch.empty(len(pairs), self.views.size, self.views.size, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
        unreadable = next(filter(None, self._fill(images, pairs)), None)
        return images if unreadable is None else unreadable

    def _fill(self, images: torch.Tensor, pairs: list[tuple[int, int]]) -> Iterator[UnreadableImage | None]:
        """Put the views there in order; without workers, torch's threads each take a part of the batch."""
        with _one_thread() as threads:
            size = -(-len(pairs) // threads) or 1
            parts = images.split(size), [pairs[start : start + size] for start in range(0, len(pairs), size)]
            if threads == 1:
                yield from map(self._fill_part, *parts)
                return
            with ThreadPoolExecutor(threads) as pool:
                yield from pool.map(self._fill_part, *parts)

    def _fill_part(self, images: torch.Tensor, pairs: list[tuple[int, int]]) -> UnreadableImage | None:
        """Each view is copied into the batch while the processor still holds it: half the time of stacking them."""
        for place, (row, seed) in zip(images, pairs, strict=True):
            image = self._image(row)
            if isinstance(image, UnreadableImage):
                return image
            place.copy_(self.views.evaluation(image) if seed < 0 else self.views.training(image, seed))
        return None

    def _image(self, row: int) -> torch.Tensor | UnreadableImage:
        kept = self.cache.image(row) if self.cache else None
        return read_image(str(self.dataset.file(row))) if kept is None else kept


@contextmanager
def _one_thread() -> Iterator[int]:
    """One thread an image, since threads that share a small one mostly wait for each other; yields their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
