"""Whether a step waits for the device, or keeps memory.

On CUDA a wait is an error (torch.cuda.set_sync_debug_mode), and the profiler counts the calls that wait. Elsewhere
there is no such mode: operations that read a value, or whose result has a size that depends on values, stand in.
"""

import contextlib
import gc
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from method.engine import Engine
from method.registry import METHODS
from method.unlearners.base import Batch, Phase
from scripts.acceptance import ROOT, gpu
from scripts.acceptance.harness import MANY, Place, patterns, trained, variants
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Row, Rows, figure, skipped, verdict
from utils import device as devices

SHORT_STEPS = {"epochs": 2, "batch_size": 8, "scrub_batch_size_retain": 8, "miu_critic_steps_first": 4}
LONG_STEPS = {"batch_size": 2, "scrub_batch_size_retain": 2, "miu_critic_steps_first": 200, "iu_fisher_batches": 200}
LONG_STEPS |= {"iu_solver_steps": 1, "lr": 1e-4}
NOISE = 0.1  # waits a step: a profiler's own, not the program's
FROM, TO = 40, 200  # steps of a phase between which memory is compared
ON_CARD = 32 * 1024  # bytes: a number kept at every step would be 80 KiB there
IN_PROCESS = 16 * 2**20  # bytes of a process, whose memory comes and goes in pieces
TENSORS = 8  # a tensor kept at every step would be 160
CALLED = "called a synchronizing CUDA operation"  # torch's words
READING = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim"}
SEEDING = "torch/utils/data/dataloader.py"  # reads a number that is on the CPU on every machine, once a pass
PEAK_BATCHES, PEAK_SIZE = (32, 256), 224
PEAK_COUNTS = (20, 20, 20, 320, 20, 240)  # 288 are forgotten, 352 retained
OWN = ("method", "datasets", "models", "utils")


def rows(options: Options) -> Rows:
    """Waits of every variant, then memory of every variant, then peaks."""
    place = Place(gpu.chosen(options))
    for variant in variants():
        yield waits(variant, place)
    for variant in METHODS if options.quick else variants():
        yield growth(variant, place)
    yield from peaks(place.device, options)


# Waits.


class Watch:
    """What surrounds the steps of a phase; `sites` says where in the program something waited, and how often."""

    def __init__(self, device: torch.device, mode: str):
        self.device, self.mode, self.sites, self.n_phases = device, mode, Counter(), 0

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Steps."""
        self.n_phases += 1
        if gpu.is_gpu(self.device):
            with gpu.waits_are(self.mode), self._heard():
                yield
        else:
            with Reading(self.sites):
                yield

    @contextlib.contextmanager
    def _heard(self) -> Iterator[None]:
        """Warnings of waits are counted by their place."""
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            shown = warnings.showwarning

            def count(message: Any, *more: Any) -> None:
                if CALLED in str(message):
                    self.sites[site(traceback.extract_stack())] += 1
                else:
                    shown(message, *more)

            warnings.showwarning = count
            yield


class Reading(TorchDispatchMode):
    """Counts what would wait for a GPU, were there one."""

    def __init__(self, sites: Counter[str]):
        super().__init__()
        self.sites = sites

    def __torch_dispatch__(self, function: Any, types: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        name = function._schema.name.removeprefix("aten::")
        if name in READING or (name in ("index", "index_put_", "index_put") and by_mask(arguments)):
            frames = traceback.extract_stack()
            if not any(frame.filename.endswith(SEEDING) for frame in frames):
                self.sites[f"{name} at {site(frames)}"] += 1
        return function(*arguments, **(named or {}))


def by_mask(arguments: tuple) -> bool:
    """Whether an index is a mask, whose entries must be counted first."""
    indices = arguments[1] if len(arguments) > 1 else ()
    return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in indices)


def site(frames: list[traceback.FrameSummary]) -> str:
    """Where in the program that is: the innermost line and who called it."""
    files = [(Path(frame.filename), frame.lineno) for frame in frames]
    own = [(file.relative_to(ROOT), number) for file, number in files if file.is_relative_to(ROOT)]
    told = [f"{file}:{number}" for file, number in own if file.parts[0] in OWN]
    return " < ".join(told[:-3:-1]) or "torch itself"


def watched(watch: Watch) -> type[Engine]:
    """The engine, its steps and the making of their batches surrounded."""

    class Watched(Engine):
        def _steps(self, *arguments: Any) -> None:
            with watch.around():
                super()._steps(*arguments)

    return Watched


def waits(variant: str, place: Place) -> Row:
    """Steps in which nothing may wait, and how many waits a further step adds by the profiler's count."""
    watch = Watch(place.device, "error")
    try:
        with trained(variant, place, watched(watch), **SHORT_STEPS):
            pass
    except RuntimeError as error:
        if CALLED not in str(error):
            raise
        watch = Watch(place.device, "warn")  # says all the places, not the first
        with trained(variant, place, watched(watch), **SHORT_STEPS):
            pass
        watch.sites["a wait without a place"] += not watch.sites
    sites = ", ".join(f"{count} x {where}" for where, count in watch.sites.most_common(4))
    added, steps = added_waits(variant, place)
    counted = (
        "the profiler saw nothing of the device" if added is None else f"profiler: {added} in {steps} further steps"
    )
    good = not watch.sites and watch.n_phases > 0 and steps > 0 and (added or 0) <= NOISE * steps
    return verdict(f"{variant}: waits", good, sites or f"none in the steps of {watch.n_phases} phases", counted)


class Counting(Engine):
    """The engine, counting its steps."""

    n_steps_taken = 0

    def _step(self, phase: Phase, batch: Batch, *more: Any) -> Tensor:
        self.n_steps_taken += 1
        return super()._step(phase, batch, *more)


def added_waits(variant: str, place: Place) -> tuple[int | None, int]:
    """Waits of a run with more steps less those of one with fewer, and the number of steps between them."""
    counts, steps = [], []
    for size in (16, 4):
        flags = {"batch_size": size, "scrub_batch_size_retain": size, "iu_solver_steps": 1}
        flags |= {"miu_critic_steps_first": 32 // size, "iu_fisher_batches": 32 // size}
        with gpu.profiled(place.device) as calls, trained(variant, place, Counting, **flags) as made:
            steps.append(made.engine.n_steps_taken)
        counts.append(gpu.waits_in(calls, place.device))
    return None if None in counts else counts[1] - counts[0], steps[1] - steps[0]


# Memory.


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


def growth(variant: str, place: Place) -> Row:
    """Tensors and memory of every phase after 40 and after 200 steps."""
    name, device = f"{variant}: memory over {TO} steps", place.device
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
    """Peak memory of one epoch of every method with ResNet-18 at 224 pixels."""
    if not gpu.is_gpu(device):
        yield skipped("peak memory, resnet18, 224 px", "measured on CUDA alone")
        return
    data = patterns(PEAK_COUNTS, PEAK_SIZE)
    place = Place(device, devices.choose_precision("auto", device))
    for method in ("pretrain", "miu") if options.quick else METHODS:
        for size in PEAK_BATCHES:
            gpu.forget_peak(device)
            flags = {"batch_size": size, "scrub_batch_size_retain": size, "iu_solver_steps": 1}
            with trained(method, place, data=data, model="resnet18", **flags):
                peak = devices.peak_memory_bytes(device)
            name = f"{method}: peak memory, resnet18, {PEAK_SIZE} px, batches of {size}"
            yield figure(name, f"{peak / 2**30:.2f} GiB", str(place.precision).removeprefix("torch."))
