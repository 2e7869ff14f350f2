"""Pretrained weights of a backbone: read as tensors only, loaded strictly."""

import pickle
from pathlib import Path

from torch import Tensor, nn

from utils.errors import UserError
from utils.files import open_regular
from utils.tensors import load_tensors

N_NAMES = 3


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict file, or of the entry "state_dict" in it; UserError if it is anything else."""
    if not path.is_file():
        raise UserError(f"--weights {path}: there is no such file; give the path of a state dict, or --no-pretrained")
    try:
        with open_regular(path) as file:
            state = load_tensors(file)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"--weights {path}: not a file of tensors alone (no PyTorch file at all, or one with Python objects, "
            "which could run code and are never loaded); write it with torch.save(model.state_dict(), FILE)"
        ) from error
    except Exception as error:  # a damaged file makes torch.load raise nearly anything
        raise UserError(f"--weights {path}: damaged, or no PyTorch file ({type(error).__name__})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise UserError(f"--weights {path}: found no state dict, expected tensors by name or an entry 'state_dict'")
    return dict(state)


def load_backbone(backbone: nn.Module, state: dict[str, Tensor], label: str, head: str | None = None) -> None:
    """Copy `state` into `backbone`; entries of the layer `head` are left out, everything else must match.

    Raises UserError, starting with `label`: the first entries that are missing, unexpected or of another shape.
    """
    own = backbone.state_dict()
    given = {key: value for key, value in state.items() if head is None or not key.startswith(f"{head}.")}
    # Files older than batch norm's counter lack it, and nothing here reads its value.
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    given = {**counters, **given}
    common = own.keys() & given.keys()
    problems = {
        "missing": [key for key in own if key not in given],
        "unexpected": [key for key in given if key not in own],
        "of another shape": [key for key in own if key in common and own[key].shape != given[key].shape],
    }
    found = "; ".join(f"{kind}: {_first(keys)}" for kind, keys in problems.items() if keys)
    if found:
        raise UserError(f"{label}: not the weights of this --model ({found}); give matching weights or --no-pretrained")
    backbone.load_state_dict(given)


def _first(keys: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(keys) - N_NAMES} more" if len(keys) > N_NAMES else ""
    return ", ".join(keys[:N_NAMES]) + more
