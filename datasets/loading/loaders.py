"""Batches of images: one pool of workers for a whole run, and batches that do not depend on their number."""

import atexit
import importlib
import logging
from collections.abc import Callable, Iterator

import numpy as np
import torch

from datasets.base import GroupDataset
from datasets.images.types import ImageSource, KeptImages, UnreadableImage
from datasets.loading.workers import NotShared, Pool
from utils.distributed import own_range, rank, world_size
from utils.errors import RunError, UserError
from utils.seeding import derive_seed

log = logging.getLogger("unlearning")
MAX_WORKERS = 8
EVALUATION_VIEW = -1  # in place of an augmentation seed
Bounds = list[tuple[int, int]]  # (start, stop) of batches in the order drawn


class MemoryImages(ImageSource):
    """Images held in memory as uint8 (n, 3, S, S); the training view shifts each by up to `max_shift` pixels."""

    def __init__(self, pixels: np.ndarray, max_shift: int) -> None:
        self.pixels, self.max_shift = pixels, max_shift
        self.augments = max_shift > 0

    def __getitems__(self, batch: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
        """uint8 (B, 3, S, S) of rows and seeds (-1: evaluation view)."""
        rows, seeds = batch
        images = self.pixels[rows]
        if self.augments and len(seeds) and seeds[0] != EVALUATION_VIEW:
            images = shift_images(images, seeds, self.max_shift)
        return torch.from_numpy(images)


def shift_images(images: np.ndarray, seeds: np.ndarray, max_shift: int) -> np.ndarray:
    """Move each of (n, 3, S, S) images by 0 to `max_shift` pixels a direction, chosen by its seed; borders mirrored."""
    border = (max_shift, max_shift)
    padded = np.pad(images, ((0, 0), (0, 0), border, border), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(2, 3))
    n_shifts = 2 * max_shift + 1
    return windows[np.arange(len(images)), :, seeds % n_shifts, seeds // n_shifts % n_shifts]


class PassSampler:
    """The batches of the pass at hand, as (rows, augmentation seeds) arrays."""

    def __init__(self) -> None:
        self.plan(np.empty(0, dtype=np.int64), [], None)

    def plan(self, order: np.ndarray, bounds: Bounds, augment_seed: int | None) -> None:
        """Make the next pass one over the rows in `order`, with a seed for each place in it where there is one."""
        self.order, self.bounds, self.augment_seed = order, bounds, augment_seed

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start, stop in self.bounds:
            yield self.order[start:stop], self._seeds(start, stop)

    def __len__(self) -> int:
        return len(self.bounds)

    def _seeds(self, start: int, stop: int) -> np.ndarray:
        """One seed per position, not per row: a sample drawn twice is augmented twice."""
        if self.augment_seed is None:
            return np.full(stop - start, EVALUATION_VIEW)
        return np.array([derive_seed(self.augment_seed, position) for position in range(start, stop)])


class Loader:
    """Every pass of a run over `dataset`, images of image_size x image_size; one pass at a time.

    num_workers 0 loads in the main process, as in-memory images always do. features: what is read in place of images,
    in the main process too. UserError for an image size that the data set does not have and for absent image folders.
    """

    def __init__(
        self,
        dataset: GroupDataset,
        image_size: int,
        num_workers: int,
        pin_memory: bool,
        cache: KeptImages | None = None,
        features: ImageSource | None = None,
    ) -> None:
        self._arguments = (dataset, image_size, num_workers, pin_memory, cache, features)
        self._busy = False
        if dataset.fixed_size not in (None, image_size):
            size = dataset.fixed_size
            raise UserError(f"--image_size {image_size}: the images of {dataset.name} are {size} x {size}; use {size}")
        dataset.check_images()
        self._in_memory, self._image_bytes = dataset.in_memory or features is not None, 3 * image_size**2
        self._source = _images(dataset, image_size, cache) if features is None else features
        self.augments = self._source.augments
        self._pin_memory = pin_memory
        self._sampler = PassSampler()
        self._pool = self._pool_of(0 if self._in_memory else num_workers)
        # Workers ignore the signal that multiprocessing sends at exit, and it would wait for them forever.
        atexit.register(self.close)

    def _pool_of(self, n_workers: int) -> Pool:
        return Pool(self._source, self._sampler, n_workers, self._pin_memory, in_thread=not self._in_memory)

    def batches(
        self,
        order: np.ndarray,
        batch_size: int,
        augment_seed: int | None,
        first: int = 0,
        part: Callable[[Bounds], Bounds] = list,
    ) -> Iterator[dict[str, torch.Tensor]]:
        """One pass over the rows in `order`: image (uint8 NCHW, or features) and index (int64, on the CPU).

        With an `augment_seed` the training view, of a seed per position; with None the evaluation view. Nothing is
        dropped; `first` batches are passed over, so that the others are as they would be. `part`: what of the batches
        is this process's (`own_slices`, `own_batches`), by default all. RunError for an image that cannot be read.
        """
        if self._busy:
            raise RuntimeError("a loader serves one pass at a time; use another() for a pass within a pass")
        self._busy = True
        try:
            yield from self._pass(order, part(batch_bounds(len(order), batch_size)[first:]), augment_seed)
        finally:
            self._busy = False

    def another(self) -> "Loader":
        """A loader of the same images with workers of its own, for a pass within a pass."""
        return type(self)(*self._arguments)

    def _pass(self, order: np.ndarray, bounds: Bounds, augment_seed: int | None) -> Iterator[dict[str, torch.Tensor]]:
        for (start, stop), images in zip(bounds, self._images(order, bounds, augment_seed), strict=True):
            if isinstance(images, UnreadableImage):
                raise RunError(f"cannot read image {images.file} ({images.reason}): put an intact copy there")
            yield {"image": images, "index": torch.from_numpy(order[start:stop].copy())}

    def _images(
        self, order: np.ndarray, bounds: Bounds, augment_seed: int | None
    ) -> Iterator[torch.Tensor | UnreadableImage]:
        """Batch after batch; without workers from where these cannot hand one over."""
        largest = max((stop - start for start, stop in bounds), default=0)
        why = self._pool.why_without_workers(largest * self._image_bytes)
        done = 0
        while True:
            if why:
                self._go_on_without_workers(why)
                why = None
            self._sampler.plan(order, bounds[done:], augment_seed)
            for images in self._pool.read():
                if isinstance(images, NotShared):
                    why = images.reason
                    break
                yield images
                done += 1
            if not why:
                return

    def _go_on_without_workers(self, why: str) -> None:
        """Read in the main process from here on; batches do not depend on who reads them."""
        log.warning("images are read without worker processes (%d were to be): %s", self._pool.n_workers, why)
        self._pool.close()
        self._pool = self._pool_of(0)
        dataset, image_size, _, pin_memory, cache, features = self._arguments
        self._arguments = (dataset, image_size, 0, pin_memory, cache, features)

    def close(self) -> None:
        """End the workers, in mid-pass too; calling it again does nothing."""
        atexit.unregister(self.close)
        self._pool.close()


def batch_bounds(n: int, batch_size: int) -> Bounds:
    """(start, stop) of every batch; a last batch of one joins the one before it, as batch norm needs two."""
    starts = list(range(0, n, batch_size))
    if batch_size > 1 and len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, starts[1:] + [n], strict=True)) if starts else []


def own_slices(bounds: Bounds) -> Bounds:
    """The contiguous share of this process in every batch; empty where a batch has fewer samples than processes."""
    shares = [own_range(stop - start) for start, stop in bounds]
    return [(start + first, start + last) for (start, _), (first, last) in zip(bounds, shares, strict=True)]


def own_batches(bounds: Bounds) -> Bounds:
    """Every K-th whole batch, of K processes: what a batch gives depends on the batch in its last bits."""
    return bounds[rank() :: world_size()]


def n_batches(n: int, batch_size: int) -> int:
    """Number of batches in a pass over n samples."""
    return len(batch_bounds(n, batch_size))


def default_workers(in_memory: bool, device: torch.device, cpus: int) -> int:
    """Worker processes where --num_workers says nothing: one CPU is left to the training itself.

    None where the network runs on the CPU. A step there takes all cores and waits for the slowest, so a worker at work
    on one of them holds up the others; between steps all cores read images.
    """
    return 0 if in_memory or device.type == "cpu" else min(max(cpus - 1, 0), MAX_WORKERS)


def _images(dataset: GroupDataset, image_size: int, cache: KeptImages | None) -> ImageSource:
    """Files by name, because torchvision takes seconds to import and images in memory do without it."""
    if dataset.in_memory:
        return MemoryImages(dataset.pixels, dataset.max_shift)
    return importlib.import_module("datasets.images.decoding").FileImages(dataset, image_size, cache)
