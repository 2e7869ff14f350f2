"""The only place that knows device names, precisions and threads."""

import contextlib
import copy
import ctypes
import gc
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from joblib.externals.loky import cpu_count

from utils.errors import UserError

DEVICES = "auto, cpu, cuda, cuda:N or mps"
# Limit and use of memory, by the second version of cgroups and by the first.
CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def check_device_name(name: str) -> None:
    """UserError for what no machine has; whether this one has it is `choose_device`'s question."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        raise UserError(f"--device {name}: expected {DEVICES}")


def choose_device(name: str, processes: int = 1, number: int = 0) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU; a device that is absent is an error, not a fallback.

    Of several processes each takes the GPU of its own number on its machine.
    """
    check_device_name(name)
    if processes > 1:
        return _own_device(name, processes, number)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}: this machine offers {torch.cuda.device_count()} CUDA devices; try --device auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: this machine has no MPS device; try --device auto")
    return device


def _own_device(name: str, processes: int, number: int) -> torch.device:
    """The device of one of several processes."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UserError(
            f"--device {name} is one device, and this run has {processes} processes; "
            "give cuda, where each takes the GPU of its own number, or cpu"
        )
    if name == "cpu":
        return torch.device(name)
    if number >= torch.cuda.device_count():
        raise UserError(
            f"process {number} of this machine has no GPU of its own: the machine offers "
            f"{torch.cuda.device_count()}; start as many processes as there are GPUs, or give --device cpu"
        )
    torch.cuda.set_device(number)
    return torch.device(name, number)


def collective_backend() -> str:
    """What carries tensors between processes: gloo those of the CPU, NCCL those of GPUs."""
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and torch.distributed.is_nccl_available() else "gloo"


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto` takes bf16 where the hardware computes it, else fp32."""
    if name == "fp32":
        return torch.float32
    if name == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and torch.backends.mkldnn.is_available() and _cpu_has_bf16():
        return torch.bfloat16
    return torch.float32


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware (oneDNN emulates it, slowly, on any AVX-512 CPU).

    Not every build of torch has all of these names: without oneDNN, or for other processors.
    """
    found = (
        getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None),
        getattr(torch.cpu, "_is_avx512_bf16_supported", None),
        getattr(torch.cpu, "_is_amx_tile_supported", None),
    )
    one_dnn, *processor = (function is not None and function() for function in found)
    return one_dnn and any(processor)


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager:
    """Autocast to bf16, or nothing at fp32."""
    if precision is torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels-last where convolutions are faster with it."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def pin_memory(device: torch.device) -> bool:
    """Page-locked batches, so that copies to the device overlap with work."""
    return device.type == "cuda"


def send(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Values of the CPU on the device; a CUDA device is not waited for."""
    if device.type != "cuda":  # elsewhere the memory must not change until it was read, and nothing says when
        return values.to(device)
    # Only page-locked memory is read by the device itself.
    return (values if values.is_pinned() else values.pin_memory()).to(device, non_blocking=True)


def fetch(content: Any) -> Any:
    """Dictionaries, lists and tuples with their tensors on the CPU; a GPU is waited for once, not for every tensor."""
    copied: dict[torch.device, list[torch.Tensor]] = {}
    fetched = _copied(content, copied)
    for device in copied:
        synchronize(device)
    # Ordinary memory for what may be kept long: page-locked memory is scarce, and torch never gives it back.
    locked = {id(copy) for copies in copied.values() for copy in copies}
    return _replaced(fetched, lambda tensor: tensor.clone() if id(tensor) in locked else tensor)


def _copied(content: Any, copied: dict[torch.device, list[torch.Tensor]]) -> Any:
    """Copies that may not have arrived yet; those of a device are noted under it."""

    def copy_of(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type != "cuda":
            return tensor.cpu()  # itself where it is there already
        try:
            place = torch.empty_like(tensor, device="cpu", pin_memory=True)
        except RuntimeError:  # no such memory is left
            return tensor.cpu()
        copied.setdefault(tensor.device, []).append(place)
        return place.copy_(tensor, non_blocking=True)

    return _replaced(content, copy_of)


def _replaced(content: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Dictionaries, lists and tuples with what `function` gives in place of each tensor."""
    if isinstance(content, dict):
        replaced = copy.copy(content)  # of its kind, with what a state dict knows of its versions
        replaced.update({key: _replaced(value, function) for key, value in content.items()})
        return replaced
    if isinstance(content, (list, tuple)):
        return type(content)([_replaced(value, function) for value in content])
    return function(content) if isinstance(content, torch.Tensor) else content


def fused(parameters: Sequence[torch.Tensor]) -> bool | None:
    """Whether an optimiser of these updates them all in one kernel: on a GPU, where launching each takes the time."""
    return True if all(parameter.device.type == "cuda" for parameter in parameters) else None


@contextlib.contextmanager
def arithmetic_set(device: torch.device) -> Iterator[dict[str, bool] | None]:
    """Within it a CUDA device takes float32 as such, and the same algorithms in every run.

    Otherwise cuDNN may choose algorithms by the clock, add up in an order that changes from run to run, and round the
    factors of float32 convolutions to ten bits. Gives the settings for the record; None where they have no meaning.
    """
    if device.type != "cuda":
        yield None
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    wanted: list[tuple[Any, str, bool]] = [(cudnn, "benchmark", False), (cudnn, "deterministic", True)]
    wanted += [(cudnn, "allow_tf32", False), (matmul, "allow_tf32", False)]
    before = [(backend, name, getattr(backend, name)) for backend, name, _ in wanted]
    try:
        for backend, name, value in wanted:
            setattr(backend, name, value)
        yield {"cudnn_benchmark": False, "cudnn_deterministic": True, "tf32": False}
    finally:
        for backend, name, value in before:
            setattr(backend, name, value)


@contextlib.contextmanager
def threads_set(threads: int | None) -> Iterator[int]:
    """Within it, operations use `threads` threads; gives the number in force.

    None: as many as before, but no more than the container's quota lets run at a time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or _default_threads(before))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _default_threads(before: int) -> int:
    """torch counts the host's CPUs; more threads than the quota allows only take turns."""
    asked_for = any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))
    return before if asked_for or available_cpus() >= _cpus_by_affinity() else min(before, available_cpus())


def available_cpus() -> int:
    """CPUs this process may use: a job's share of a node and the quota of its container, rounded up; not the node's."""
    return cpu_count()


def _cpus_by_affinity() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes that may still be used, by the machine and by the limit of its job or container; None where unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        return None
    for limit, used in CGROUP_FILES:
        try:
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such version of cgroups here, or "max"
            continue
    return min(found, default=None)


@contextlib.contextmanager
def memory_shared() -> Iterator[None]:
    """Processes started within it keep sharing what is in memory now.

    Freed memory, which they would inherit, goes back to the system where the C library can. Python's collector leaves
    alone what there is: it writes to every object that it looks at, and a page written to is no longer shared.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def describe_device(device: torch.device) -> str:
    """The device's name in the record of a run: the card's, or cpu, or mps."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def check_compiler(device: torch.device, processes: int = 1) -> None:
    """UserError for several processes, and where torch.compile lacks a compiler (CPU: C++; CUDA: Triton and C)."""
    if processes > 1:
        raise UserError("--compile cannot follow batch norm over several processes; leave it out, or start one process")
    names = [os.environ.get("CXX"), "g++", "clang++", "c++", "cl"]
    if device.type == "cpu" and not any(name and shutil.which(name) for name in names):
        raise UserError(
            "--compile needs a C++ compiler (g++ or clang++) on the PATH; install one or leave --compile out"
        )
    names = [os.environ.get("CC"), "gcc", "clang", "cc"]
    if device.type == "cuda" and not (find_spec("triton") and any(name and shutil.which(name) for name in names)):
        raise UserError(
            "--compile needs the package triton, and a C compiler (gcc or clang) on the PATH, for a CUDA device; "
            "install what is missing or leave --compile out"
        )


def layer_generator(device: torch.device) -> torch.Generator:
    """What layers such as dropout draw from on this device: one for the whole process."""
    if device.type == "cuda":
        torch.cuda.init()
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    return torch.mps._get_default_mps_generator() if device.type == "mps" else torch.default_generator


@contextlib.contextmanager
def state_kept(generator: torch.Generator) -> Iterator[None]:
    """Within it the generator may be seeded and drawn from; afterwards it stands where it stood."""
    before = generator.get_state()
    try:
        yield
    finally:
        generator.set_state(before)


@contextlib.contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Put back what the CPU and the device draw from, so that a notebook goes on with its own random numbers."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def synchronize(device: torch.device) -> None:
    """Wait for the device, so that a clock read after it counts its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def peak_memory_bytes(device: torch.device) -> int | None:
    """Peak bytes allocated on a CUDA device; None elsewhere."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def gpu_names() -> list[str]:
    """The names, as CUDA_VISIBLE_DEVICES has them, of the GPUs this process may use; empty where there is none."""
    count = torch.cuda.device_count()
    given = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return given[:count] if len(given) >= count else [str(number) for number in range(count)]


def environment_for(name: str | None) -> dict[str, str]:
    """The environment of a process that sees this one device alone; None: whatever this one sees."""
    return dict(os.environ) if name is None else {**os.environ, "CUDA_VISIBLE_DEVICES": name}
