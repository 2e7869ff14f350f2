"""The only file here that names CUDA: exact arithmetic, waits, memory, and what the card is."""

import contextlib
import ctypes
import gc
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from scripts.acceptance.options import Options
from utils import device as devices
from utils.errors import UserError

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
READS = ("aten::_local_scalar_dense",)


def chosen(options: Options) -> torch.device:
    """The device, as the program chooses it; UserError for one that is absent, with what can be given here instead."""
    devices.check_device_name(options.device)
    try:
        return devices.choose_device(options.device)
    except UserError as error:
        found, *_ = str(error).partition(";")  # what comes after it is advice to whoever starts main.py
        raise UserError(f"{found}; a smoke of every part runs on the CPU by --device cpu --quick") from None


def is_gpu(device: torch.device) -> bool:
    """Whether CUDA's ways of counting waits and memory are there."""
    return device.type == "cuda"


def count(device: torch.device) -> int:
    """Cards that this process may use; 0 on the CPU."""
    return torch.cuda.device_count() if is_gpu(device) else 0


@contextlib.contextmanager
def other_arithmetic(**settings: bool) -> Iterator[None]:
    """Within it cuDNN has other settings than a run: `deterministic`, `benchmark`, `allow_tf32` (products too)."""
    backends = [torch.backends.cudnn, *([torch.backends.cuda.matmul] if "allow_tf32" in settings else [])]
    pairs = [
        (one, name) for one in backends for name in settings if one is torch.backends.cudnn or name == "allow_tf32"
    ]
    before = [getattr(one, name) for one, name in pairs]
    try:
        for one, name in pairs:
            setattr(one, name, settings[name])
        yield
    finally:
        for (one, name), value in zip(pairs, before, strict=True):
            setattr(one, name, value)


@contextlib.contextmanager
def waits_are(mode: str) -> Iterator[None]:
    """Within it a wait of this process for the card is an error, or a warning (`error`, `warn`)."""
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextlib.contextmanager
def profiled(device: torch.device) -> Iterator[dict[str, int]]:
    """Counts calls within it; afterwards the mapping holds how often each was made."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_gpu(device) else [])]
    calls: dict[str, int] = {}
    with profile(activities=activities) as found:
        yield calls
    with tempfile.TemporaryDirectory() as folder:  # a tenth of the time of the profiler's own averages
        file = Path(folder, "trace.json")
        found.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8", errors="replace"))["traceEvents"]
    calls |= Counter(event["name"] for event in events if event.get("ph") == "X")


def waits_in(calls: dict[str, int], device: torch.device) -> int | None:
    """Waits among profiled calls; None where the profiler saw nothing of the card."""
    if is_gpu(device) and not any(calls.get(name) for name in LAUNCHES):
        return None
    return sum(calls.get(name, 0) for name in (WAITS if is_gpu(device) else READS))


def memory_in_use(device: torch.device) -> int:
    """Bytes of tensors on the card; elsewhere the process's memory."""
    if is_gpu(device):
        return torch.cuda.memory_allocated(device)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # freed memory that is kept for later would take what a leak keeps
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measures_memory(device: torch.device) -> bool:
    """Whether `memory_in_use` can be had."""
    return is_gpu(device) or Path("/proc/self/statm").exists()


def live_tensors() -> int:
    """Tensors that Python holds."""
    gc.collect()
    return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


def free_memory() -> None:
    """Give the card's unused memory back."""
    gc.collect()
    torch.cuda.empty_cache()


def reset_peak(device: torch.device) -> None:
    """Count the peak of memory from here."""
    torch.cuda.reset_peak_memory_stats(device)


def card(device: torch.device) -> dict[str, str]:
    """Card, memory, driver, CUDA and cuDNN."""
    if not is_gpu(device):
        return {"card": f"none ({device.type})"}
    facts = torch.cuda.get_device_properties(device)
    return {
        "card": f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, compute {facts.major}.{facts.minor}",
        "cards": str(torch.cuda.device_count()),
        "driver": _driver(),
        "CUDA": f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
    }


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown (no nvidia-smi)"
    asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False).stdout.split()
    return said[0] if said else "unknown (nvidia-smi says nothing)"
