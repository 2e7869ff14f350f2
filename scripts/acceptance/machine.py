"""What machine this is: the card, the versions and the commit. A device that is absent ends everything here."""

import platform
import subprocess
from datetime import UTC, datetime

import torch
import torchvision
from side_by_side import cpu_name

from scripts.acceptance import ROOT, gpu
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Rows, figure
from utils.device import available_cpus

PACKED = "PACKED_COMMIT"  # written by scripts/pack_for_gpu.sh, where no .git comes along


def rows(options: Options) -> Rows:
    """A row for each fact about the machine and the packages."""
    facts = gpu.card(gpu.chosen(options)) | {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "Python": platform.python_version(),
        "CPU": cpu_name(),
        "cores": str(available_cpus()),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit(),
    }
    for name, value in facts.items():
        yield figure(name, value)


def commit() -> str:
    """The commit of the project, and whether files differ from it."""
    packed = ROOT / PACKED
    if packed.exists():
        return packed.read_text().strip()
    found = _git("rev-parse", "HEAD")
    if not found:
        return "unknown (no git)"
    return found + (", and changes" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*words: str) -> str:
    try:
        said = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""
