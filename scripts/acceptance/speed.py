"""How near the engine is to a bare loop, how fast images come, and what the limit is; all by benchmarks/engine.py."""

import contextlib
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from engine import N_TARGETS, Noise, faces, run_bare_loop, run_engine
from side_by_side import measure_in_turn, ratios

from datasets.base import GroupDataset
from datasets.images.cache import ram_cache
from datasets.images.normalisation import normalise
from datasets.images.types import KeptImages
from datasets.loading.loaders import Loader, batch_bounds
from method.configs.cli import parse
from method.configs.loading import Config
from method.training.inference import Inference
from models import build_model
from scripts.acceptance import gpu
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Rows, figure, guarded, skipped, verdict
from utils import device as devices

# The engine's time as a multiple of the bare loop's. A quick look has so few steps a pass that beginning one counts.
LIMIT, QUICK_LIMIT = 1.05, 2.0
MOST_FLOATS = 2 * 2**30  # bytes on the card of images as floats, four times those in memory
BARE, BYTES, ENGINE = "bare loop, floats in memory", "bare loop, bytes in memory", "engine, bytes in memory"


@dataclass(frozen=True)
class Setting:
    """What is measured in one table of sides."""

    model: str
    size: int
    batch: int
    steps: int
    rows: int
    compiled: bool = False
    repetitions: int = 5

    def __str__(self) -> str:
        compiled = ", --compile" if self.compiled else ""
        return f"{self.model}, {self.size} px, batches of {self.batch}{compiled}"

    @property
    def steps_a_pass(self) -> int:
        """Number of batches in a pass over all rows."""
        return len(batch_bounds(self.rows, self.batch))

    @property
    def epochs(self) -> int:
        """Passes over the rows for as many steps."""
        return -(-self.steps // self.steps_a_pass)

    @property
    def image_bytes(self) -> int:
        """Bytes of all images as they are in memory, a byte a value."""
        return self.rows * 3 * self.size**2

    def config(self) -> Config:
        """The configuration of the engine."""
        flags = f"--method pretrain --dataset fairface --model {self.model} --image_size {self.size} --no-pretrained"
        flags += f" --epochs {self.epochs} --warmup_epochs 0 --batch_size {self.batch}"
        return parse(flags.split()).config


QUICK = (Setting("small_cnn", 32, 8, 64, 64, repetitions=3),)
# On a card a pass begins with nothing to do until the first batch is there: 40 steps a pass and more, or that counts.
SHORT = (
    Setting("resnet18", 224, 32, 80, 1280),
    Setting("resnet18", 64, 32, 120, 3840),
    Setting("resnet18", 224, 256, 40, 10240),
)
# No card: small networks, and nothing that waits for the first batch.
ON_CPU = (
    Setting("resnet18", 64, 32, 20, 640, repetitions=3),
    Setting("small_cnn", 32, 64, 200, 1280, repetitions=3),
)
FULL = tuple(
    Setting("resnet18", size, batch, 320 if batch == 32 else 80, 2560 if batch == 32 else 10240, compiled)
    for size in (224, 64)
    for batch in (32, 256)
    for compiled in (False, True)
)


def rows(options: Options) -> Rows:
    """Every setting of the scope; the first also from files, and with other algorithms of cuDNN."""
    device = gpu.chosen(options)
    settings = QUICK if options.quick else ON_CPU if not gpu.is_gpu(device) else FULL if options.full else SHORT
    limit = QUICK_LIMIT if options.quick else LIMIT
    with devices.arithmetic_set(device):
        for setting in settings:
            yield from guarded(f"{setting}: the engine", partial(of_a_setting, setting, device, limit))
        further = (evaluation, "evaluation"), (algorithms, "cuDNN"), (from_files, "from files")
        for check, what in further:
            yield from guarded(f"{settings[0]}: {what}", partial(of_the_first, check, settings[0], device, options))


def of_a_setting(setting: Setting, device: torch.device, limit: float) -> Rows:
    """The engine against the bare loop; that a card is too small for the bare loop is no fault of the program."""
    try:
        bench = Bench(setting, device)
        bench.bare(bench.pixels)()
    except torch.OutOfMemoryError:
        yield skipped(f"{setting}: the engine", "not even the bare loop fits into the memory of this card")
        return
    yield from against_the_bare_loop(bench, limit)


def of_the_first(check: Callable[..., Rows], setting: Setting, device: torch.device, options: Options) -> Rows:
    """What is looked at in one setting alone."""
    yield from check(Bench(setting, device), options)


class Bench:
    """Network, images in memory and configuration of a setting."""

    def __init__(self, setting: Setting, device: torch.device):
        self.setting, self.device, self.config = setting, device, setting.config()
        self.precision, self.form = devices.choose_precision("auto", device), devices.memory_format(device)
        self.model = build_model(setting.model, N_TARGETS, 0, "none").to(device).to(memory_format=self.form)
        if setting.compiled:
            self.model.backbone.compile()
        self.noise = Noise(setting.rows, setting.size)
        self.pixels = torch.from_numpy(self.noise.pixels[:-2]).to(device)
        self.targets = torch.tensor(self.noise.target[:-2], device=device)

    def bare(self, images: torch.Tensor, precision: torch.dtype | None = None) -> Callable[[], None]:
        """A bare loop over these images, in the precision of a run unless another is given."""
        return partial(run_bare_loop, self.config, self.model, images, self.targets, precision or self.precision)

    def engine(self, inference: Inference, data: GroupDataset) -> Callable[[], float]:
        """A training by the engine on this data, which returns its seconds."""
        return partial(run_engine, self.config, data, inference, self.model)

    @contextlib.contextmanager
    def inference(self, data: GroupDataset, workers: int = 0, cache: KeptImages | None = None) -> Iterator[Inference]:
        """The program's own way to read and to send images, while it is wanted."""
        with closing(Loader(data, self.setting.size, workers, devices.pin_memory(self.device), cache)) as loader:
            yield Inference(loader, self.device, self.precision)

    def measured(self, sides: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
        """Seconds of every side by repetition; the first time of each is not counted."""
        for side in sides.values():
            side()
        return measure_in_turn(sides, self.setting.repetitions)


def rate(images: int, seconds: list[float]) -> str:
    """Images a second, the median."""
    return f"{images / statistics.median(seconds):,.0f} images/s"


def spread(values: list[float]) -> str:
    """Median and range of values, in words."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


# In memory.


def against_the_bare_loop(bench: Bench, limit: float) -> Rows:
    """A row a side, and the verdict on the engine."""
    setting, images = bench.setting, bench.setting.epochs * bench.setting.rows
    with bench.inference(bench.noise) as inference:
        sides: dict[str, Callable[[], Any]] = {BYTES: bench.bare(bench.pixels)}
        sides[ENGINE] = bench.engine(inference, bench.noise)
        if 4 * setting.image_bytes <= MOST_FLOATS:
            sides = {BARE: bench.bare(normalise(bench.pixels, bench.form))} | sides
        else:
            yield skipped(f"{setting}: {BARE}", f"{4 * setting.image_bytes / 2**30:.1f} GiB of the card")
        found = bench.measured(sides)
    for side, seconds in found.items():
        yield figure(f"{setting}: {side}", rate(images, seconds))
    times = ratios(found, ENGINE, BYTES)
    value = f"{spread(times)} times the bare loop on bytes"
    detail = f"at most {limit}; {setting.epochs * setting.steps_a_pass} steps, {setting.steps_a_pass} a pass"
    yield verdict(f"{setting}: the engine", statistics.median(times) <= limit, value, detail)


def evaluation(bench: Bench, options: Options) -> Rows:
    """Forward passes in eval mode, as the evaluation makes them."""
    rows_ = np.arange(bench.setting.rows)
    with bench.inference(bench.noise) as inference:

        def apply() -> None:
            inference.apply(bench.model, bench.model, rows_, "speed")
            devices.synchronize(bench.device)

        found = bench.measured({"evaluation": apply})
    yield figure(f"{bench.setting}: evaluation", rate(bench.setting.rows, found["evaluation"]), "from memory")


def algorithms(bench: Bench, options: Options) -> Rows:
    """The bare loop with the arithmetic of a run, and what other settings of cuDNN would gain."""
    name = f"{bench.setting}: bare loop"
    if not gpu.is_gpu(bench.device):
        yield skipped(f"{name} with other settings of cuDNN", "measured on CUDA alone")
        return
    precisions = {"auto": bench.precision} | ({"fp32": torch.float32} if options.full else {})
    for word, precision in precisions.items():
        run = bench.bare(bench.pixels, precision)
        others = {
            "cudnn.deterministic off": {"deterministic": False},
            "cudnn.deterministic off, benchmark on": {"deterministic": False, "benchmark": True},
        }
        others |= {"TF32 on": {"allow_tf32": True}} if precision is torch.float32 else {}
        sides = {"as in a run": run} | {title: partial(otherwise, run, how) for title, how in others.items()}
        found = bench.measured(sides)
        images = bench.setting.epochs * bench.setting.rows
        yield figure(f"{name}, --precision {word}", rate(images, found["as in a run"]), "with the arithmetic of a run")
        for title in others:
            yield figure(
                f"{name}, --precision {word}, {title}", f"{spread(ratios(found, title, 'as in a run'))} of its time"
            )


def otherwise(run: Callable[[], None], settings: dict[str, bool]) -> None:
    """Run with other settings of cuDNN."""
    with gpu.other_arithmetic(**settings):
        run()


# From files.


def from_files(bench: Bench, options: Options) -> Rows:
    """The engine on faces, by workers and from the cache; what reading alone gives; which of the two is the limit."""
    setting, name = bench.setting, f"{bench.setting}: from files"
    if options.data_dir is None:
        yield skipped(name, "needs --data_dir with fairface/")
        return
    data = faces(options.data_dir, setting.rows)
    order = np.flatnonzero(data.split == 0)
    workers = (8, 16) if options.full else (2,) if options.quick else (8,)
    ways: dict[str, tuple[int, KeptImages | None]] = {f"{n} workers": (n, None) for n in workers}
    ways[f"{workers[0]} workers, --cache ram"] = (workers[0], ram_cache(data))
    with ExitStack() as open_ones:
        there = {way: open_ones.enter_context(bench.inference(data, *how)) for way, how in ways.items()}
        sides: dict[str, Callable[[], Any]] = {BYTES: bench.bare(bench.pixels)}
        sides |= {f"engine, {way}": bench.engine(inference, data) for way, inference in there.items()}
        sides |= {
            f"reading alone, {way}": partial(read_images, one, order, setting.batch) for way, one in there.items()
        }
        found = bench.measured(sides)
    amounts = {side: setting.epochs * len(order) for side in sides} | {BYTES: setting.epochs * setting.rows}
    amounts |= {side: len(order) for side in sides if side.startswith("reading")}
    for side in list(sides)[1:]:
        yield figure(f"{setting}: {side}", rate(amounts[side], found[side]))
    for way in ways:
        network = amounts[BYTES] / statistics.median(found[BYTES])
        reading = amounts[f"reading alone, {way}"] / statistics.median(found[f"reading alone, {way}"])
        which = "the network" if network < reading else "reading images"
        yield figure(f"{setting}: the limit, {way}", which, f"network {network:,.0f}, reading {reading:,.0f} images/s")


def read_images(inference: Inference, order: np.ndarray, batch: int) -> None:
    """A pass over the images in the training view that does nothing with them."""
    for _ in inference.loader.batches(order, batch, 0):
        pass
