"""The state of a half-finished run: saved atomically between two steps, restored to the last bit.

One file holds it, last.pt. Weights that a method keeps from an epoch on and never changes (`Unlearner.kept`) stand in
files of their own beside it, last_<name>.pt, each written once: in last.pt they would be written again at every save.
Only those count that last.pt names, with the content that it names by SHA-256; it is written after them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from method.unlearners.base import Unlearner
from utils import sealed
from utils.device import fetch
from utils.distributed import from_rank_0
from utils.errors import RunError
from utils.files import sha256_file
from utils.tensors import load_tensors, save_sealed

# What takes longer is saved after an epoch only so often that saving takes this share of the time.
QUICK_SECONDS, SAVING_SHARE = 0.05, 0.01


HistoryRow = dict[str, float | None]  # an epoch in the history; None where it has no value for a column


@dataclass
class Position:
    """Where a run stands: `step` batches into phase number `phase` of `epoch`.

    loss: the sum over those batches; row: what the phases before gave to the history; seconds: of this epoch.
    """

    epoch: int = 0
    phase: int = 0
    step: int = 0
    loss: float | Tensor = 0.0
    row: HistoryRow = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Progress:
    """How far a run is: its position, one row of the history a finished epoch, and the seconds of training."""

    at: Position = field(default_factory=Position)
    history: list[HistoryRow] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Resumable:
    """What moves in training. Random numbers are not part of it: they derive from seed, epoch, phase and step.

    run: what says whose state it is. saved_at: when it was last saved, or else made (time.monotonic); saving_seconds:
    how long that took. written: SHA-256 of the files of `Unlearner.kept` that stand there, by its names.
    """

    unlearner: Unlearner
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    run: dict[str, Any]
    saved_at: float = field(default_factory=time.monotonic)
    saving_seconds: float = 0.0
    written: dict[str, str] = field(default_factory=dict)

    def worth_saving(self) -> bool:
        """Whether saving is quick, or was so long ago that it takes but a small share of the time."""
        return self.saving_seconds < max(QUICK_SECONDS, SAVING_SHARE * (time.monotonic() - self.saved_at))

    def save(self, file: Path, progress: Progress) -> None:
        """Write the state, all of it or nothing; rank 0 does, and the others wait for it."""
        start = time.monotonic()
        from_rank_0(lambda: self._write(file, progress))
        self.saved_at = time.monotonic()
        self.saving_seconds = self.saved_at - start

    def _write(self, file: Path, progress: Progress) -> None:
        for name, weights in self.unlearner.kept.items():
            if name not in self.written:
                save_sealed(kept_file(file, name), fetch(weights), self.run)
                self.written[name] = sha256_file(kept_file(file, name))
        state = {
            "history": progress.history,
            "seconds": progress.seconds,
            "position": vars(progress.at),
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "unlearner": self.unlearner.state(),
            "kept": self.written,
            "logged": self.unlearner.logged,
        }
        save_sealed(file, fetch(state), self.run)

    def load(self, file: Path, device: torch.device) -> Progress | None:
        """Restore the state; None where none was saved, RunError where a file is damaged, missing or another run's."""
        if not from_rank_0(file.exists):
            return None
        with damage_told(file):
            with sealed.opened(file) as (opened, _):
                state = load_tensors(opened, device)
            self.written = dict(state.get("kept", {}))  # an earlier version has all in one file
            self.unlearner.kept = {name: read_kept(kept_file(file, name), sha) for name, sha in self.written.items()}
            return self._restore(state)

    def _restore(self, state: dict[str, Any]) -> Progress:
        """Put a loaded state into modules, optimisers and unlearner; returns how far the run was."""
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.unlearner.load_state(state["unlearner"])
        self.unlearner.logged = state["logged"]
        return Progress(Position(**state["position"]), list(map(dict, state["history"])), float(state["seconds"]))


def kept_file(file: Path, name: str) -> Path:
    """Where weights of `Unlearner.kept` stand: beside the state, last_<name>.pt beside last.pt."""
    return file.with_name(f"{file.stem}_{name}{file.suffix}")


def read_kept(file: Path, sha256: str) -> dict[str, Tensor]:
    """Weights of `Unlearner.kept`, on the CPU; RunError where the file is not the one with this checksum."""
    with damage_told(file):
        if sha256_file(file) != sha256:
            raise ValueError("it is not as it was written")
        with sealed.opened(file) as (opened, _):
            return load_tensors(opened)


@contextmanager
def damage_told(file: Path) -> Iterator[None]:
    """Within it, what goes wrong with a saved file becomes a RunError that names the file and the remedy."""
    try:
        yield
    except (RunError, torch.OutOfMemoryError):  # another file is named already; this one may be whole
        raise
    except Exception as error:  # torch.load raises nearly anything on damaged bytes
        raise RunError(
            f"{file} is damaged, or no saved state of this run ({type(error).__name__}): "
            "--overwrite starts the run anew"
        ) from error
