"""Whether steps keep memory, and how much they need at most."""

import gc
from collections import Counter
from functools import partial
from typing import Any

import torch
from torch import Tensor

from method.registry import METHODS
from method.training.engine import Engine
from method.unlearners.base import Batch, Phase
from scripts.acceptance import gpu
from scripts.acceptance.harness import MANY, Place, patterns, trained, variants
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Row, Rows, figure, guarded, skipped, verdict
from utils import device as devices

LONG_STEPS: dict[str, Any] = {
    "batch_size": 2,
    "scrub_batch_size_retain": 2,
    "miu_critic_steps_first": 200,
    "iu_fisher_batches": 200,
    "iu_solver_steps": 1,
    "lr": 1e-4,
}
FROM, TO = 40, 200  # steps of a phase between which memory is compared
ON_CARD = 32 * 1024  # bytes: a number kept at every step would be 80 KiB there
IN_PROCESS = 16 * 2**20  # bytes of a process, whose memory comes and goes in pieces
TENSORS = 8  # a tensor kept at every step would be 160
PEAK_BATCHES, PEAK_SIZE = (32, 256), 224
PEAK_COUNTS = (20, 20, 20, 320, 20, 240)  # 288 are forgotten, 352 retained


def rows(place: Place, options: Options) -> Rows:
    """Growth of every variant, then peaks."""
    for variant in METHODS if options.quick else variants():
        name = f"{variant}: memory over {TO} steps"
        yield from guarded(name, partial(growth, name, variant, place))
    yield from peaks(place.device, options)


class Weighing(Engine):
    """The engine, noting memory and tensors at two steps of every phase."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.taken: Counter[str] = Counter()
        self.noted: dict[tuple[str, int], tuple[int, int]] = {}

    def _step(self, phase: Phase, batch: Batch, *more: Any) -> Tensor:
        loss = super()._step(phase, batch, *more)
        self.taken[phase.name] += 1
        number = self.taken[phase.name]
        if number in (FROM, TO):
            self.noted[phase.name, number] = gpu.live_tensors(), gpu.memory_in_use(self.device)
        return loss


def growth(name: str, variant: str, place: Place) -> Row:
    """Tensors and memory of every phase after 40 and after 200 steps."""
    device = place.device
    if not gpu.measures_memory(device):
        return skipped(name, f"no way to measure it on {device.type} here")
    gc.collect()
    gc.freeze()  # what was there before is looked at by nobody
    try:
        with trained(variant, place, Weighing, data=patterns(MANY), **LONG_STEPS) as made:
            taken, noted = made.engine.taken, made.engine.noted
    finally:
        gc.unfreeze()
    short = [f"{phase} has {n} steps" for phase, n in taken.items() if n < TO]
    if short or not taken:
        return verdict(name, False, ", ".join(short) or "no step was taken", f"{TO} steps of every phase")
    grown = {phase: [b - a for a, b in zip(noted[phase, FROM], noted[phase, TO], strict=True)] for phase in taken}
    tensors, memory = (max(grown.items(), key=lambda one: one[1][i]) for i in (0, 1))
    allowed = ON_CARD if gpu.is_gpu(device) else IN_PROCESS
    good = tensors[1][0] <= TENSORS and memory[1][1] <= allowed
    value = f"{tensors[1][0]:+d} tensors in {tensors[0]}, {memory[1][1] / 1024:+,.0f} KiB in {memory[0]}"
    whose = "of tensors on the card" if gpu.is_gpu(device) else "of the process"
    return verdict(name, good, value, f"at most {TENSORS}, and {allowed / 1024:,.0f} KiB {whose}")


def peaks(device: torch.device, options: Options) -> Rows:
    """Peak memory of the steps of every method with ResNet-18 at 224 pixels."""
    if not gpu.is_gpu(device):
        yield skipped("peak memory, resnet18, 224 px", "measured on CUDA alone")
        return
    place = Place(device, devices.choose_precision("auto", device))
    for method in ("pretrain", "miu") if options.quick else METHODS:
        for size in PEAK_BATCHES:
            name = f"{method}: peak memory, resnet18, {PEAK_SIZE} px, batches of {size}"
            yield from guarded(name, partial(peak, name, method, place, size))


class Peaking(Engine):
    """The engine, noting the peak of every step; what a later epoch finds takes the place of what the first one found.

    In the first one the original's outputs for all images are computed where a step first asks for them, in batches of
    the evaluation, which are no part of training.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.noted: dict[tuple[str, int], int] = {}

    def _step(self, phase: Phase, batch: Batch, *more: Any) -> Tensor:
        gpu.reset_peak(self.device)
        loss = super()._step(phase, batch, *more)
        self.noted[phase.name, self.at.step] = devices.peak_memory_bytes(self.device) or 0
        return loss


def peak(name: str, method: str, place: Place, size: int) -> Row:
    """The largest peak of a step; what a card is too small for is no fault of the program."""
    precision = str(place.precision).removeprefix("torch.")
    flags = {"epochs": 2, "batch_size": size, "scrub_batch_size_retain": size, "iu_solver_steps": 1}
    data = patterns(PEAK_COUNTS, PEAK_SIZE)
    gpu.free_memory()
    try:
        with trained(method, place, Peaking, data=data, model="resnet18", **flags) as made:
            noted = made.engine.noted
    except torch.OutOfMemoryError:
        return figure(name, "does not fit", precision)
    return figure(name, f"{max(noted.values()) / 2**30:.2f} GiB", f"of a step, {precision}")
