"""Sides of a comparison, measured in turn within one run: medians, the ratio to the first side, and its spread."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the project's packages, wherever a benchmark is started

from utils.device import available_cpus  # noqa: E402
from utils.tables import align  # noqa: E402

REPETITIONS = 5
Side = Callable[[], float | None]


def with_extra(defaults: list[str], extra: list[str]) -> list[str]:
    """A command line in which further flags take the place of defaults, since a flag with two values is an error."""
    names = {word.removeprefix("--no-").partition("=")[0].removeprefix("--") for word in extra if word[:2] == "--"}
    kept, wanted = [], True
    for word in defaults:
        if word.startswith("--"):
            wanted = word.removeprefix("--no-").removeprefix("--") not in names
        kept += [word] if wanted else []
    return [*kept, *extra]


def seconds_of(side: Side) -> float:
    """What the side says it took, or else what the clock says."""
    start = time.perf_counter()
    said = side()
    return time.perf_counter() - start if said is None else said


def measure_in_turn(sides: Mapping[str, Side], repetitions: int = REPETITIONS) -> dict[str, list[float]]:
    """Seconds of every side, by name, (repetitions,) each. Every repetition begins with another side."""
    names = list(sides)
    found: dict[str, list[float]] = {name: [] for name in names}
    for repetition in range(repetitions):
        turn = repetition % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(seconds_of(sides[name]))
    return found


def ratios(found: Mapping[str, list[float]], name: str, base: str) -> list[float]:
    """Of one side to another, by repetition."""
    return [mine / theirs for mine, theirs in zip(found[name], found[base], strict=True)]


def table(found: Mapping[str, list[float]], amount: float | None = None, unit: str = "") -> str:
    """A row a side; the ratio is to the first one. amount: what is done in a repetition, to show it per second."""
    base = next(iter(found))
    rows = []
    for name, times in found.items():
        against = ratios(found, name, base)
        spread = f"{min(against):.3g}-{max(against):.3g}" if name != base else ""
        speed = [f"{amount / statistics.median(times):,.0f}"] if amount else []
        rows.append((name, f"{statistics.median(times):.3f}", *speed, f"{statistics.median(against):.3g}", spread))
    heads = ("side", "seconds", *([f"{unit}/s"] if amount else []), "ratio", "spread")
    return align(heads, rows, left=1)


def machine(device: torch.device | None = None) -> str:
    """One line on what it was measured on."""
    import torchvision

    parts = [
        cpu_name(),
        f"{available_cpus()} CPUs, {torch.get_num_threads()} threads, load {_load()}",
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, Python {platform.python_version()}",
    ]
    if device is not None and device.type == "cuda":
        parts.insert(1, torch.cuda.get_device_name(device))
    return "; ".join(parts)


def cpu_name() -> str:
    """The processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
