"""Whether a step waits for the device; then whether it keeps memory (scripts.acceptance.memory).

On CUDA a wait is an error (torch.cuda.set_sync_debug_mode), and the profiler counts the calls that wait. Elsewhere
there is no such mode: operations that read a value, or whose result has a size that depends on values, and tensors
that are made from Python's values for a device stand in.
"""

import contextlib
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import torch
from folders import make_fairface
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from datasets.fairface import FairFace
from method.training.engine import Engine
from method.unlearners.base import Batch, Phase
from scripts.acceptance import ROOT, gpu, memory
from scripts.acceptance.harness import Place, trained, variants
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Row, Rows, guarded, skipped, verdict

AUGMENTED = (False, True)  # the original's outputs come from tables, or are computed for the images at hand
SHORT_STEPS: dict[str, Any] = {"epochs": 2, "batch_size": 8, "scrub_batch_size_retain": 8, "miu_critic_steps_first": 4}
NOISE = 0.1  # waits a step: a profiler's own, not the program's
SIZES = (16, 4)  # of batches: few steps, and more
CALLED = "called a synchronizing CUDA operation"  # torch's words
READING = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim"}
MADE_OF_VALUES = (torch.tensor, torch.as_tensor)
SEEDING = "torch/utils/data/dataloader.py"  # reads a number that is on the CPU on every machine, once a pass
OWN = ("method", "datasets", "models", "utils")
WAITS, FURTHER = "waits", "waits of further steps"
READER, WORKERS, FILES_SIZE = "miu", 2, 32
FROM_FILES = f"{READER}, images from files by {WORKERS} workers: waits"


def rows(options: Options) -> Rows:
    """Waits of every variant, then memory of every variant, then peaks."""
    place = Place(gpu.chosen(options))
    for variant in variants():
        yield from looked_at(f"{variant}: {WAITS}", waits, variant, place)
        yield from looked_at(f"{variant}: {FURTHER}", further_waits, variant, place)
    yield from looked_at(FROM_FILES, waits_from_files, place)
    yield from memory.rows(place, options)


def looked_at(name: str, check: Callable[..., Row], *given: Any) -> Rows:
    """The rows of a check that is given its name."""
    yield from guarded(name, partial(check, name, *given))


class Watch:
    """What surrounds the steps of a phase; `sites` says where in the program something waited, and how often."""

    def __init__(self, device: torch.device, mode: str):
        self.device, self.mode, self.n_phases = device, mode, 0
        self.sites: Counter[str] = Counter()

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Within it the steps of a phase are watched."""
        self.n_phases += 1
        if gpu.is_gpu(self.device):
            with gpu.waits_are(self.mode), self._heard():
                yield
        else:
            with ReadCounter(self.sites), SendCounter(self.sites):
                yield

    @contextlib.contextmanager
    def _heard(self) -> Iterator[None]:
        """Within it warnings of waits are counted by their place."""
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            shown = warnings.showwarning

            def count(
                message: Warning | str,
                category: type[Warning],
                filename: str,
                lineno: int,
                file: TextIO | None = None,
                line: str | None = None,
            ) -> None:
                if CALLED in str(message):
                    self.sites[site(traceback.extract_stack())] += 1
                else:
                    shown(message, category, filename, lineno, file, line)

            warnings.showwarning = count
            yield


class ReadCounter(TorchDispatchMode):
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


class SendCounter(TorchFunctionMode):
    """Counts values of Python that are sent to a device: they come from memory that a card has to wait for."""

    def __init__(self, sites: Counter[str]):
        super().__init__()
        self.sites = sites

    def __torch_function__(self, function: Any, types: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        named = named or {}
        if function in MADE_OF_VALUES and named.get("device") is not None:
            self.sites[f"{function.__name__} at {site(traceback.extract_stack())}"] += 1
        return function(*arguments, **named)


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


def waits(name: str, variant: str, place: Place, **more: Any) -> Row:
    """Steps in which nothing may wait, without augmentation and with it."""
    watch = Watch(place.device, "error")
    try:
        run_watched(watch, variant, place, more)
    except RuntimeError as error:
        if CALLED not in str(error):
            raise
        watch = Watch(place.device, "warn")  # says all the places, not the first
        run_watched(watch, variant, place, more)
        watch.sites["a wait without a place"] += not watch.sites
    sites = ", ".join(f"{count} x {where}" for where, count in watch.sites.most_common(4))
    good = not watch.sites and watch.n_phases > 0
    value = sites or f"none in the steps of {watch.n_phases} phases"
    return verdict(name, good, value, "images as they are, and augmented")


def run_watched(watch: Watch, variant: str, place: Place, more: dict[str, Any]) -> None:
    """A short run of each kind of images."""
    for augmented in AUGMENTED:
        with trained(variant, place, watched(watch), use_train_aug=augmented, **SHORT_STEPS, **more):
            pass


def waits_from_files(name: str, place: Place) -> Row:
    """Steps in which nothing may wait, with images that workers read from files."""
    with tempfile.TemporaryDirectory() as folder:
        make_fairface(Path(folder))
        data = FairFace.load(Path(folder), 0, 0)
        return waits(name, READER, place, data=data, model="small_cnn", files=(FILES_SIZE, WORKERS))


def further_waits(name: str, variant: str, place: Place) -> Row:
    """How many waits a further step adds by the profiler's count, which torch's errors need not know of."""
    added, steps = added_waits(variant, place)
    if added is None:
        return skipped(name, "the profiler saw nothing of the device; CUPTI may be missing, or closed to this user")
    good = steps > 0 and abs(added) <= NOISE * steps
    return verdict(name, good, f"{added} in {steps} steps by the profiler", f"at most {NOISE} a step, either way")


class Counting(Engine):
    """The engine, counting its steps."""

    n_steps_taken = 0

    def _step(self, phase: Phase, batch: Batch, *more: Any) -> Tensor:
        self.n_steps_taken += 1
        return super()._step(phase, batch, *more)


def added_waits(variant: str, place: Place) -> tuple[int | None, int]:
    """Waits of a run with more steps less those of one with fewer, and the number of steps between them.

    What is done once, such as choosing kernels and starting libraries, was done before either is counted.
    """
    counts: list[int | None] = []
    steps: list[int] = []
    for size in SIZES:
        with trained(variant, place, Engine, **in_batches_of(size)):
            pass
    for size in SIZES:
        with gpu.profiled(place.device) as calls, trained(variant, place, Counting, **in_batches_of(size)) as made:
            steps.append(made.engine.n_steps_taken)
        counts.append(gpu.waits_in(calls, place.device))
    few, more = counts
    return None if few is None or more is None else more - few, steps[1] - steps[0]


def in_batches_of(size: int) -> dict[str, int]:
    """Flags by which every phase has more steps the smaller the batches are."""
    flags = {"batch_size": size, "scrub_batch_size_retain": size, "iu_solver_steps": 1}
    return flags | {"miu_critic_steps_first": 32 // size, "iu_fisher_batches": 32 // size}
