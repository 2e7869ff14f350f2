"""One of several processes: every variant to its end, what it left in FOLDER/<rank>.pt.

Started by torchrun as `-m scripts.acceptance.worker DEVICE FOLDER [VARIANT LEFT OUT ...]`.
"""

import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from method.training.engine import Engine
from scripts.acceptance.harness import Place, trained, variants
from scripts.acceptance.rows import told_by
from utils import device as devices
from utils import distributed

# Forget sets of 9 leave a last batch of 2 at this size: of three processes one would have nothing in it.
FLAGS = {"epochs": 2, "batch_size": 7, "scrub_batch_size_retain": 16, "use_train_aug": True, "lr": 0.02}


def everything(device: torch.device, without: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Weights and history of the variants, by one thread: the last bits on the CPU depend on how many there are.

    without: those that are left out.
    """
    with devices.threads_set(1):
        return {variant: one(variant, device) for variant in variants() if variant not in without}


def one(variant: str, device: torch.device) -> dict[str, Any]:
    """Weights and history of a variant; its error where it breaks. Several processes cannot go on without one."""
    try:
        with trained(variant, Place(device), Engine, **FLAGS) as made:
            return {"weights": made.weights(), "history": made.history()}
    except Exception as error:
        said = f"{type(error).__name__}: {told_by(error)}"
        if distributed.world_size() > 1:
            raise RuntimeError(f"{variant}: {said}") from error
        traceback.print_exception(error)
        return {"error": said}


def main(device: str, folder: Path, *without: str) -> None:
    """Run every variant as one of the processes, and save what it left."""
    with distributed.joined():
        own = devices.choose_device(device, distributed.world_size(), distributed.local_rank())
        found = everything(own, without)
    torch.save(found, folder / f"{distributed.rank()}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
