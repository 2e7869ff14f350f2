"""model.pt: weights with the facts that say which runs they can start; tensors and plain values, nothing executed."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from utils.errors import UserError
from utils.files import write_atomic

# Facts on which a run and the pretrained model it starts from must agree, and how messages call them.
FACTS = {
    "dataset": "data set",
    "model": "architecture",
    "n_targets": "number of classes",
    "image_size": "image size",
    "weights": "initial weights",
    "seed": "seed",
    "data": "data fingerprint",
}


def save_model(path: Path, model: nn.Module, facts: dict[str, Any]) -> None:
    """Write weights and facts atomically."""
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    write_atomic(path, lambda file: torch.save({"model": weights, "facts": facts}, file))


def load_model(path: Path, expected: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights in `path`; UserError where it is no checkpoint of ours or its facts differ from `expected`."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(stored, dict):
            raise TypeError(f"a {type(stored).__name__}")
        facts, weights = dict(stored["facts"]), dict(stored["model"])
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is refused: it holds more than tensors and plain values, which could run code"
        ) from None
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a readable checkpoint of this program ({reason}); make it again") from None
    for name, value in expected.items():
        if facts.get(name) != value:
            raise UserError(
                f"{path} does not fit: its {FACTS.get(name, name)} is {facts.get(name)!r}, this run's is {value!r}; "
                "use a checkpoint made with the same data, model and seed"
            )
    return weights


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Put weights into a network, every name and shape as expected."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path} holds another network: {first}") from None
