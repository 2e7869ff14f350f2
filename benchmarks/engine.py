"""Steps of the engine against a bare training loop of the same network, optimiser, precision and batches.

    python benchmarks/engine.py [--model resnet18] [--image_size 64] [--rows 1280] [--batch_size 32] [--data_dir data]

Passes over `--rows` images, as many as give `--steps` steps (by default one pass). All train on tensors that are
already in memory. The bare loop has them as normalised floats and does nothing but index, forward, backward and step;
another has bytes, a quarter of the memory, and normalises every batch, as the engine does, which also draws the order
by its seeds, checks and logs. Its state is saved after the last pass and not counted. With --data_dir a last side is
the engine on as many training images of FairFace, read from their files and augmented by its usual number of workers.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from side_by_side import REPETITIONS, machine, measure_in_turn, table
from torch import Tensor
from torch.nn.functional import cross_entropy

from datasets.base import TRAIN, GroupDataset
from datasets.fairface import FairFace
from datasets.images.normalisation import normalise
from datasets.loading.loaders import Loader, batch_bounds, default_workers
from datasets.splits import make_splits
from method.configs.cli import parse
from method.configs.loading import Config
from method.training.engine import Engine
from method.training.inference import Inference
from method.training.optimizers import build_optimizer
from method.unlearners.base import Batch, NoParams, Phase, Task, Unlearner
from models import build_model
from utils import device as devices

N_TARGETS, N_SENSITIVE = 9, 7


class Noise(GroupDataset):
    """Random pixels and labels of FairFace's numbers of targets and groups; one row each in val and test."""

    name, folder, view, in_memory = "noise", "", "none", True
    forget_pairs = ((3, 0),)

    def __init__(self, n: int, size: int):
        draw = np.random.default_rng(0)
        labels = [draw.integers(count, size=n + 2) for count in (N_TARGETS, N_SENSITIVE)]
        names = [tuple(str(number) for number in range(count)) for count in (N_TARGETS, N_SENSITIVE)]
        split = np.r_[np.zeros(n), 1, 2]
        super().__init__(None, [str(row) for row in range(n + 2)], *labels, split, *names)
        self.pixels = draw.integers(256, size=(n + 2, 3, size, size), dtype=np.uint8)


class Fit(Unlearner):
    """Cross-entropy on D, and nothing else."""

    name, forgets, from_original = "fit", False, False

    def phases(self, epoch: int) -> Iterator[Phase]:
        """One pass."""
        yield Phase("train", self.loss, data="train")

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy."""
        return cross_entropy(self.model(batch.image), batch.target)


def run_engine(config: Config, data: GroupDataset, inference: Inference, model: torch.nn.Module) -> float:
    """Seconds of all epochs, but for the saved state, which goes to a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        engine = the_engine(config, data, inference, model, Path(folder))
        engine.resumable.worth_saving = lambda: False  # the last one is saved all the same
        engine.train()
        return engine.seconds


def the_engine(
    config: Config, data: GroupDataset, inference: Inference, model: torch.nn.Module, folder: Path
) -> Engine:
    """An engine that has not begun."""
    splits = make_splits(data, (), 0.5, 0)
    counts = torch.zeros(data.n_groups)
    task = Task(data.n_targets, data.n_groups, len(data), counts, counts, (), config.epochs, config.seed)
    unlearner = Fit(model, None, NoParams(), task, lambda name: None)
    return Engine(config, unlearner, data, splits, inference, folder / "last.pt", folder / "history.csv")


def run_bare_loop(
    config: Config, model: torch.nn.Module, images: Tensor, targets: Tensor, precision: torch.dtype
) -> None:
    """Index, forward, backward, step, as many epochs as the configuration says."""
    device = images.device
    optimizer = build_optimizer(config, model.parameters())
    model.train()
    for _ in range(config.epochs):
        order = torch.randperm(len(images), device=device)
        for start, stop in batch_bounds(len(images), config.batch_size):
            rows = order[start:stop]
            batch = images[rows]
            batch = batch if batch.is_floating_point() else normalise(batch, devices.memory_format(device))
            optimizer.zero_grad(set_to_none=True)
            with devices.autocast(device, precision):
                loss = cross_entropy(model(batch), targets[rows])
            loss.backward()
            optimizer.step()
    devices.synchronize(device)


def faces(data_dir: Path, n: int) -> GroupDataset:
    """FairFace with its first n training rows alone."""
    data = FairFace.load(data_dir, 0, 0)
    return data.without(np.flatnonzero(data.split == TRAIN)[n:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1280)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=1, help="at least, in whole passes over the rows")
    parser.add_argument("--compile", action="store_true", help="the network of every side")
    parser.add_argument("--data_dir", type=Path, help="a folder with fairface/")
    parser.add_argument("--num_workers", type=int, help="default: as in a run")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    wanted = parser.parse_args()
    n_steps = len(batch_bounds(wanted.rows, wanted.batch_size))
    epochs = -(-wanted.steps // n_steps)
    flags = f"--method pretrain --model {wanted.model} --image_size {wanted.image_size} --no-pretrained"
    flags += f" --epochs {epochs} --warmup_epochs 0"
    config = parse([*flags.split(), "--dataset", "fairface", "--batch_size", str(wanted.batch_size)]).config
    device = devices.choose_device(wanted.device)
    precision, form = devices.choose_precision("auto", device), devices.memory_format(device)
    model = build_model(config.model, N_TARGETS, 0, "none").to(device, memory_format=form)
    if wanted.compile:
        model.backbone.compile()

    def engine(data: GroupDataset, workers: int) -> Callable[[], float]:
        loader = Loader(data, wanted.image_size, workers, devices.pin_memory(device))
        inference = Inference(loader, device, precision)
        return lambda: run_engine(config, data, inference, model)

    noise = Noise(wanted.rows, wanted.image_size)
    pixels = torch.from_numpy(noise.pixels[:-2]).to(device)
    images = normalise(pixels, form)
    targets = torch.tensor(noise.target[:-2], device=device)
    sides = {
        "bare loop": lambda: run_bare_loop(config, model, images, targets, precision),
        "bare loop, from bytes": lambda: run_bare_loop(config, model, pixels, targets, precision),
        "engine": engine(noise, 0),
    }
    if wanted.data_dir:
        workers = default_workers(False, device, devices.available_cpus())
        workers = workers if wanted.num_workers is None else wanted.num_workers
        sides[f"engine, files, {workers} workers"] = engine(faces(wanted.data_dir, wanted.rows), workers)
    with devices.arithmetic_set(device):  # as in a run
        for side in sides.values():
            side()  # the first of each is slower
        found = measure_in_turn(sides, wanted.repetitions)
    print(
        f"{wanted.model}{', compiled' * wanted.compile}, {wanted.image_size} px, {epochs} x {wanted.rows} rows, "
        f"{epochs * n_steps} steps, batches of {wanted.batch_size}, {precision}"
    )
    print(machine(device))
    print(table(found, epochs * wanted.rows, "images"))
    bare = found["bare loop, from bytes"]
    costs = sorted((mine - theirs) / (epochs * n_steps) for mine, theirs in zip(found["engine"], bare, strict=True))
    low, median, high = costs[0], statistics.median(costs), costs[-1]
    print(
        f"engine beside the bare loop from bytes: {1e6 * median:+.0f} us a step ({1e6 * low:+.0f} to {1e6 * high:+.0f})"
    )


if __name__ == "__main__":
    main()
