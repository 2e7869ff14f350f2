"""The program as on a machine with a GPU, on one without: for tests that must hold on both.

    PYTHONPATH=tests/pretend_gpu .venv/bin/python -m pytest tests/test_runs.py

Python imports this file at its start, in every process that has the folder on its PYTHONPATH. It computes nothing
itself: it changes the few functions through which the program meets a device, as they are imported. `--device auto`
and `--device cuda` then give a device that

- computes on the CPU, in bf16 by default, but is no `cpu` to whoever asks for its name;
- gives other last bits every time, as sums do whose order is left to the hardware;
- cannot be used in a process that was forked after it was used, as CUDA cannot;
- counts its memory, and has image workers by default;
- records the arithmetic of CUDA, as `config.yaml` has it.

`--device cpu` is the CPU as always. What a GPU does otherwise (its memory, its kernels, NCCL) is not pretended.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

NAME = "Pretended GPU"
PEAK_BYTES = 12_345_678
used, forked = [], []


def use() -> None:
    """Note that the device is used; RuntimeError, in CUDA's words, in a process that was forked after that."""
    if forked:
        raise RuntimeError(
            "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the "
            "'spawn' start method"
        )
    used[:] = [True]


class Torch:
    """torch with one GPU, for utils.device alone: torch itself would look for its driver."""

    def __init__(self, torch: ModuleType) -> None:
        self._torch = torch
        self.cuda = SimpleNamespace(is_available=lambda: True, device_count=lambda: 1, set_device=lambda device: None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)


def change_device(module: ModuleType) -> None:
    """utils.device: a GPU that torch knows as the CPU with a number (elsewhere the CPU has none)."""
    import torch

    gpu = torch.device("cpu", 0)
    module.torch = Torch(torch)
    module.collective_backend = lambda: "gloo"
    # A saved state is read onto it as onto the CPU.
    torch.serialization.register_package(0, lambda storage: None, lambda storage, place: on_cpu(storage, place, gpu))

    def on_gpu(name: str, then: Callable[..., Any]) -> None:
        """Of this device `then` answers, of others what was there."""
        known = getattr(module, name)

        def answer(*arguments: Any, **more: Any) -> Any:
            if gpu not in arguments:
                return known(*arguments, **more)
            use()
            return then(*arguments)

        setattr(module, name, answer)

    choose, precision = module.choose_device, module.choose_precision

    def choose_device(*arguments: Any, **more: Any) -> torch.device:
        device = choose(*arguments, **more)
        return gpu if device.type == "cuda" else device

    module.choose_device = choose_device
    on_gpu("choose_precision", lambda name, device: precision("bf16" if name == "auto" else name, device))
    on_gpu("describe_device", lambda device: NAME)
    on_gpu("synchronize", lambda device: None)
    on_gpu("peak_memory_bytes", lambda device: PEAK_BYTES)
    arithmetic = module.arithmetic_set
    on_gpu("arithmetic_set", lambda device: arithmetic(torch.device("cuda")))


def on_cpu(storage: Any, place: str, gpu: Any) -> Any:
    """The storage where it is meant for the pretended GPU; None otherwise."""
    return storage if place == str(gpu) else None


def change_workers(module: ModuleType) -> None:
    """datasets.loading.loaders: as many image workers as with a GPU."""
    import torch

    known = module.default_workers
    module.default_workers = lambda in_memory, device, cpus: known(
        in_memory, torch.device("meta") if device.index == 0 else device, cpus
    )


def change_numbers(module: ModuleType) -> None:
    """method.training.inference: images on the device and outputs from it differ in their last bits from call to call.

    An image's are those of the precision: smaller differences would be rounded away. Outputs are in fp32.
    """
    import torch

    by_chance = torch.Generator().manual_seed(int.from_bytes(os.urandom(7)))  # torch's own numbers stay as they are

    def differ(name: str, bits_of: Callable[[Any], torch.dtype]) -> None:
        known = getattr(module.Inference, name)

        def near(self: Any, *arguments: Any) -> torch.Tensor:
            values = known(self, *arguments)
            if self.device.index != 0:
                return values
            use()
            step = torch.finfo(bits_of(self)).eps
            return values * (1 + step * torch.randint(-1, 2, values.shape, generator=by_chance))

        setattr(module.Inference, name, near)

    differ("image", lambda inference: inference.precision)
    differ("apply", lambda inference: torch.float32)


CHANGES = {
    "utils.device": change_device,
    "datasets.loading.loaders": change_workers,
    "method.training.inference": change_numbers,
}


class Changing(importlib.abc.MetaPathFinder):
    """Finds the modules above, to be changed as soon as they are there."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in CHANGES else None
        if spec is not None:
            load = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (load(module), CHANGES[name](module))
        return spec


sys.meta_path.insert(0, Changing())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: forked.extend(used))
