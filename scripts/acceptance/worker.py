"""One of several processes: every variant to its end, what it left in FOLDER/<rank>.pt.

Started by torchrun as `-m scripts.acceptance.worker DEVICE FOLDER`.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from scripts.acceptance.harness import Place, trained, variants
from utils import distributed
from utils.device import choose_device

# Forget sets of 9 leave a last batch of 2 at this size: of three processes one would have nothing in it.
FLAGS = {"epochs": 2, "batch_size": 7, "scrub_batch_size_retain": 16, "use_train_aug": True, "lr": 0.02}


def everything(device: torch.device) -> dict[str, dict[str, Any]]:
    """Weights and history of every variant."""
    found = {}
    for variant in variants():
        with trained(variant, Place(device), **FLAGS) as made:
            found[variant] = {"weights": made.weights(), "history": made.history()}
    return found


def main(device: str, folder: Path) -> None:
    """As one of the processes."""
    with distributed.joined():
        found = everything(choose_device(device, distributed.world_size(), distributed.local_rank()))
    torch.save(found, folder / f"{distributed.rank()}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
