"""From an image file to a square uint8 tensor; the only module here that needs torchvision.

Images are (3, H, W) and lie in memory as (H, W, 3), as the decoder leaves them, from the file to the batch: torch then
resizes twice as fast, and nothing is transposed on the way.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import torch
from PIL.PngImagePlugin import PngImageFile
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2.functional import center_crop

from datasets.base import GroupDataset
from datasets.images.headers import LARGEST_FILE, MOST_PIXELS, PNG, UPRIGHT, Header, png_pixels, read_header
from datasets.images.types import ImageSource, KeptImages, UnreadableImage
from utils.files import read_bytes

CROP_SCALE = (0.08, 1.0)  # share of the area, the published training transform
CROP_RATIO = (3 / 4, 4 / 3)
LOG_RATIO = tuple(map(math.log, CROP_RATIO))
CROP_TRIES = 10  # then the central part
DECODER_ERRORS = (RuntimeError, ValueError, OSError, SyntaxError, EOFError, struct.error, zlib.error)
SOURCE_PLACE = re.compile(r"^\w+, \S+:\d+, ")


def resize(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """uint8 (3, H, W) to (3, height, width): bilinear, antialiased."""
    if image.shape[1:] == (height, width):
        return image
    # A batch of one whose strides torch takes for channels-last, also where the image is cut out of a larger one.
    batch = image.permute(1, 2, 0).unsqueeze(0).permute(0, 3, 1, 2)
    return interpolate(batch, size=[height, width], mode="bilinear", antialias=True)[0]


def stretch(image: torch.Tensor, size: int) -> torch.Tensor:
    """Resize to size x size; the aspect changes."""
    return resize(image, size, size)


def centre(image: torch.Tensor, size: int) -> torch.Tensor:
    """Shorter side to floor(size * 256 / 224), then the central size x size."""
    height, width = image.shape[1:]
    shorter = size * 256 // 224
    longer = int(shorter * max(height, width) / min(height, width))
    sides = (shorter, longer) if height <= width else (longer, shorter)
    return center_crop(resize(image, *sides), [size, size])


RESIZES = {"stretch": stretch, "centre": centre}


class Encoded:
    """An image file that may be decoded: `size` bytes of memory at most, and what its header says."""

    def __init__(self, file: str, content: bytes, header: Header, upright: bool) -> None:
        self.file, self.content = file, content
        self.turn = header.orientation if upright else UPRIGHT
        self.size = len(content) + header.held * header.width * header.height

    def decode(self) -> torch.Tensor | UnreadableImage:
        """uint8 (3, H, W), or why there is none."""
        try:
            image = _pixels(self.content)
        except DECODER_ERRORS as error:
            return UnreadableImage(self.file, SOURCE_PLACE.sub("", str(error).partition("\n")[0]))
        shape = tuple(image.shape)
        if image.dtype is not torch.uint8 or len(shape) != 3 or shape[0] != 3 or 0 in shape:
            found = f"{str(image.dtype).removeprefix('torch.')} {shape}"
            return UnreadableImage(self.file, f"its pixels are {found}, expected uint8 (3, height, width)")
        return image if self.turn == UPRIGHT else turn_upright(image, self.turn)


def _pixels(content: bytes) -> torch.Tensor:
    """The one place that knows a decoder: RGB (3, H, W) as stored, whatever EXIF says of it.

    torchvision's, but for PNG: one flipped bit in a PNG and it ends the process (0.29). TorchCodec's decode_image gives
    the same pixels in the same time without that (docs/performance.md), but turns images as EXIF says.
    """
    if content.startswith(PNG):
        with PngImageFile(BytesIO(png_pixels(content))) as picture:
            return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    return decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)


def open_image(file: str, upright: bool = False) -> Encoded | UnreadableImage:
    """Read a file and its header: what is too large, or more than one picture of 8 bits, is not decoded at all.

    upright: the image will be turned as its EXIF orientation says.
    """
    try:
        content = read_bytes(file, LARGEST_FILE)
        header = read_header(content)
    except (OSError, ValueError) as error:
        return UnreadableImage(file, getattr(error, "strerror", None) or str(error))
    if header is None:
        return UnreadableImage(file, "it is no JPEG, PNG, GIF or WebP file" if content else "it is empty")
    refusal = _refusal(header)
    return UnreadableImage(file, refusal) if refusal else Encoded(file, content, header, upright)


def _refusal(header: Header) -> str | None:
    if header.width * header.height > MOST_PIXELS:
        return f"it has {header.width} x {header.height} pixels, expected at most {MOST_PIXELS:,}"
    if header.frames > 1:
        return f"it is an animation of {header.frames} frames, expected one picture"
    if header.bits > 8:
        return f"it has {header.bits} bits a channel, expected 8; convert it, as it is yours to say which 8 are meant"
    return None


def read_image(file: str, upright: bool = False) -> torch.Tensor | UnreadableImage:
    """uint8 (3, H, W), or why there is none; upright: turned as the file's EXIF orientation says."""
    opened = open_image(file, upright)
    return opened if isinstance(opened, UnreadableImage) else opened.decode()


def turn_upright(image: torch.Tensor, orientation: int) -> torch.Tensor:
    """(3, H, W) as EXIF's orientation, 1 to 8, says that it is to be seen; in memory as the decoder leaves images."""
    rows = image.permute(1, 2, 0)
    flips = [side for side, orientations in ((0, (3, 4, 7, 8)), (1, (2, 3, 6, 7))) if orientation in orientations]
    rows = rows.transpose(0, 1) if orientation > 4 else rows
    return rows.flip(flips).contiguous().permute(2, 0, 1)


class Transforms:
    """The evaluation and the training transform: uint8 (3, H, W) -> uint8 (3, image_size, image_size)."""

    def __init__(self, view: str, image_size: int) -> None:
        self.resize, self.size = RESIZES[view], image_size

    def eval_transform(self, image: torch.Tensor) -> torch.Tensor:
        """The whole image, or its centre, resized."""
        return self.resize(image, self.size)

    def train_transform(self, image: torch.Tensor, seed: int) -> torch.Tensor:
        """A random crop, resized, flipped half the time; a function of `image` and `seed` alone."""
        # All at once, as a call of torch takes longer than its numbers.
        draws = iter(torch.rand(4 * CROP_TRIES + 1, generator=torch.Generator().manual_seed(seed)).tolist())
        top, left, height, width = random_crop(image.shape[1], image.shape[2], draws)
        flip = next(draws) < 0.5
        crop = resize(image[:, top : top + height, left : left + width], self.size, self.size)
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


class FileImages(ImageSource):
    """Images from files or a cache, in DataLoader workers or without: a pure function of (row, augmentation seed)."""

    augments = True

    def __init__(self, dataset: GroupDataset, image_size: int, cache: KeptImages | None = None) -> None:
        self.dataset, self.cache = dataset, cache
        self.transforms = Transforms(dataset.view, image_size)

    def __getitems__(self, batch: tuple[np.ndarray, np.ndarray]) -> torch.Tensor | UnreadableImage:
        """uint8 (B, 3, S, S), channels-last, of rows and seeds (-1: evaluation view), or what could not be read."""
        pairs = list(zip(*(values.tolist() for values in batch), strict=True))
        images = torch.empty(len(pairs), self.transforms.size, self.transforms.size, 3, dtype=torch.uint8).permute(
            0, 3, 1, 2
        )
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
            place.copy_(
                self.transforms.eval_transform(image) if seed < 0 else self.transforms.train_transform(image, seed)
            )
        return None

    def _image(self, row: int) -> torch.Tensor | UnreadableImage:
        kept = self.cache.image(row) if self.cache else None
        return read_image(str(self.dataset.file(row)), self.dataset.upright) if kept is None else kept


@contextmanager
def _one_thread() -> Iterator[int]:
    """One thread an image, since threads that share a small one mostly wait for each other; yields their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
