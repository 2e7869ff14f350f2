"""Weights of others: read as tensors only, under the architecture's own names, and loaded strictly."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from utils.errors import UserError
from utils.files import open_regular
from utils.tensors import SAFETENSORS, load_tensors

N_NAMES = 3
ENTRIES = ("model", "state_dict", "model_state_dict")  # of a file that holds more than a state dict
WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name


def own_names(state: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """A classifier's entries (`backbone.*`, `head.*`) under the architecture's own names; head: its last layer's."""
    return {_renamed(key, {"backbone.": "", "head.": f"{head}."}): value for key, value in state.items()}


def classifier_names(state: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """Entries under the architecture's own names as a classifier's: the inverse of `own_names`."""
    return {_renamed(key, {f"{head}.": "head.", "": "backbone."}): value for key, value in state.items()}


def _renamed(key: str, prefixes: Mapping[str, str]) -> str:
    """A name with the first prefix that it has changed for another; ValueError for none."""
    for old, new in prefixes.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    raise ValueError(f"{key}: expected a name that begins with {' or '.join(prefixes)}")


def read_state_dict(path: Path, flag: str = "--weights") -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of what torch.save wrote: a state dict, or one of ENTRIES in it.

    What WRAPPERS put before the names is taken off. UserError, starting with `flag`, if the file is anything else.
    """
    if not path.is_file():
        raise UserError(f"{flag} {path}: there is no such file; give the path of a state dict")
    read = _read_safetensors if path.suffix == SAFETENSORS else _read_pytorch
    state = read(path, f"{flag} {path}")
    if isinstance(state, dict):
        state = next((state[name] for name in ENTRIES if isinstance(state.get(name), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise UserError(
            f"{flag} {path}: found no state dict, expected tensors by name, or an entry {', '.join(ENTRIES)} of them"
        )
    state = dict(state)
    while wrapper := next((one for one in WRAPPERS if state and all(key.startswith(one) for key in state)), None):
        state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return state


def _read_pytorch(path: Path, label: str) -> Any:
    try:
        with open_regular(path) as file:
            return load_tensors(file)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{label}: not a file of tensors alone (no PyTorch file at all, or one with Python objects, "
            "which could run code and are never loaded); write it with torch.save(model.state_dict(), FILE)"
        ) from error
    except Exception as error:  # a damaged file makes torch.load raise nearly anything
        raise UserError(f"{label}: damaged, or no PyTorch file ({type(error).__name__})") from error


def _read_safetensors(path: Path, label: str) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise UserError(f"{label}: needs a package that is not installed: pip install safetensors") from None
    try:
        return load_file(path)
    except Exception as error:  # a damaged file makes it raise errors of several kinds
        raise UserError(f"{label}: damaged, or no {SAFETENSORS} file ({type(error).__name__})") from error


def load_into(classifier: nn.Module, state: Mapping[str, Tensor], label: str, name: str, head: str | None) -> str:
    """Copy `state`, under the architecture's own names, into a classifier; says what was loaded, left out and is new.

    The last layer, which the architecture calls `name`, is left out, but for `head` "keep". Everything else must match
    by name and shape. UserError, starting with `label`, where it does not, and where the last layer fits and `head`
    says nothing of it.
    """
    own, last = own_names(classifier.state_dict(), name), f"{name}."
    _settle_head(label, state.get(f"{last}weight"), name, len(own[f"{last}weight"]), head)
    used = {key: value for key, value in state.items() if head == "keep" or not key.startswith(last)}
    # Files older than batch norm's counter lack it, and nothing here reads its value.
    new = {
        key: value
        for key, value in own.items()
        if key not in used and (key.endswith("num_batches_tracked") or (head != "keep" and key.startswith(last)))
    }
    given = new | used
    if found := differences(own, given):
        raise UserError(
            f"{label}: not the weights of this --model ({found}); give matching weights, the "
            "--model and --image_size that they are of, or --no-pretrained"
        )
    classifier.load_state_dict(classifier_names(given, name))
    left_out = [key for key in state if key not in used]
    kept = f", with the last layer, {name}" if head == "keep" else ""
    return f"{label}: loaded {len(used)} tensors{kept}; left out {_first(left_out)}; new {_first(list(new))}"


def differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """The first names that `given` lacks, has beside those of `own`, or has in another shape; empty for none."""
    problems = {
        "missing": [key for key in own if key not in given],
        "unexpected": [key for key in given if key not in own],
        "of another shape": [key for key in own if key in given and own[key].shape != given[key].shape],
    }
    return "; ".join(f"{kind}: {_first(keys)}" for kind, keys in problems.items() if keys)


def _settle_head(label: str, weight: Tensor | None, name: str, n_targets: int, head: str | None) -> None:
    """UserError where it is open, or cannot be, what becomes of the last layer in a file (None: there is none)."""
    outputs = None if weight is None else len(weight) if weight.ndim else 1
    if head == "keep" and outputs != n_targets:
        found = f"has no last layer {name}" if outputs is None else f"has a last layer, {name}, of {outputs} outputs"
        raise UserError(f"{label} {found}, and the data set {n_targets} classes: --head keep cannot be; leave it out")
    if head is None and outputs == n_targets:
        raise UserError(
            f"{label} has a last layer, {name}, of {outputs} outputs, as many as the data set has classes: --head keep "
            "starts from it, output k for class k, and --head new leaves it out and draws a new one; say which"
        )


def _first(keys: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(keys) - N_NAMES} more" if len(keys) > N_NAMES else ""
    return (", ".join(keys[:N_NAMES]) or "nothing") + more
