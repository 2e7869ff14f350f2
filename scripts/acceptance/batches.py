"""Batches from image files are the same, bit for bit, whoever reads them: workers, caches, and the device itself."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from folders import make_fairface
from made_up import fairface_cut
from torch import Tensor

from datasets.images.types import KeptImages
from datasets.loading.loaders import Loader
from method.configs.cli import parse
from method.configs.loading import Config
from method.runs.data import Data, open_cache, read_data
from method.training.inference import Inference
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Row, Rows, guarded, verdict
from utils import device as devices

SIZE, BATCH = 64, 32
WORKERS = 8
SEEDS = (None, 7)  # the evaluation view and a training view
CACHES = ("none", "ram", "disk")
Pair = tuple[Tensor, Tensor]


def rows(device: torch.device, options: Options) -> Rows:
    """A row for every way of reading, against this process without a cache."""
    workers = 2 if options.quick else WORKERS
    with tempfile.TemporaryDirectory() as folder:
        source = images_in(Path(folder), options)
        _, data = read_run_data(Path(folder), "none")
        reading = Reading(device, np.random.default_rng(0).permutation(data.splits.train))
        expected = list(reading.by(data, 0))
        for cache, n in product(CACHES, (0, workers)):
            name = f"batches, {n} workers" + (f", --cache {cache}" if cache != "none" else "")
            if (cache, n) != ("none", 0):
                way = partial(reading.cached, Path(folder), cache, n)
                yield from guarded(name, partial(compare_batches, name, way, expected, source))
        name = f"batches, {workers} workers, on {device.type} and back"
        way = partial(reading.by, data, workers, sent=True)
        yield from guarded(name, partial(compare_batches, name, way, expected, source))


def images_in(folder: Path, options: Options) -> str:
    """Put faces into folder/fairface; returns which in words."""
    if options.data_dir is None:
        make_fairface(folder)
        return "made-up images"
    n = 200 if options.quick else 1000
    fairface_cut(options.data_dir, folder, n, n // 5)
    return "faces"


def read_run_data(folder: Path, cache: str) -> tuple[Config, Data]:
    """The configuration of a run on the images in `folder`, and its data."""
    words = ["--method", "pretrain", "--dataset", "fairface", "--image_size", str(SIZE), "--cache", cache]
    config = parse([*words, "--data_dir", str(folder), "--store_dir", str(folder / "output")]).config
    return config, read_data(config)


class Reading:
    """(rows, pixels) of every batch of both views, read in one of the ways there are."""

    def __init__(self, device: torch.device, order: np.ndarray):
        self.device, self.order = device, order

    def by(self, data: Data, workers: int, cache: KeptImages | None = None, sent: bool = False) -> Iterator[Pair]:
        """Read in this way; sent: images as they come back from the device."""
        with closing(Loader(data.dataset, SIZE, workers, devices.pin_memory(self.device), cache)) as loader:
            inference = Inference(loader, self.device, torch.float32)
            for seed in SEEDS:
                for batch in loader.batches(self.order, BATCH, seed):
                    image = there_and_back(inference, batch["image"]) if sent else batch["image"].clone()
                    yield batch["index"].clone(), image

    def cached(self, folder: Path, cache: str, workers: int) -> Iterator[Pair]:
        """Read by workers of a run of its own with this cache."""
        config, data = read_run_data(folder, cache)
        return self.by(data, workers, open_cache(config, data))


def there_and_back(inference: Inference, pixels: Tensor) -> Tensor:
    """The way of pixels to the device, where they become floats, and back."""
    image = inference.image(pixels).cpu()
    return ((image + 1) * 127.5).round().to(torch.uint8)


def compare_batches(name: str, way: Callable[[], Iterator[Pair]], expected: list[Pair], source: str) -> Row:
    """Whether all batches read in this way are those of this process."""
    unequal = n = 0
    for batch in way():
        same = n < len(expected) and all(torch.equal(a, b) for a, b in zip(batch, expected[n], strict=True))
        unequal, n = unequal + (not same), n + 1
    good = unequal == 0 and n == len(expected) > 0
    value = f"{unequal} of {n} unequal" + ("" if n == len(expected) else f", {len(expected)} expected")
    return verdict(name, good, value, f"bit for bit, {source}")
