"""model.pt: weights with the facts that say which runs they can start; tensors and plain values, nothing executed."""

import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from utils import sealed
from utils.device import fetch
from utils.errors import UserError
from utils.files import open_regular
from utils.tensors import SAFETENSORS, load_tensors, save_sealed

# Facts on which a run and the pretrained model it starts from must agree: what messages call them, and the flag that
# would make a run fit.
FACTS = {
    "dataset": ("data set", "--dataset {}"),
    "model": ("architecture", "--model {}"),
    "n_targets": ("number of classes", "--dataset, or the --target that it was trained on"),
    "image_size": ("image size", "--image_size {}"),
    "weights": ("initial weights", "--weights {}"),
    "head": ("answer about the last layer of its weights", "--head {}"),
    "freeze_backbone": ("answer about a frozen backbone", "--freeze_backbone"),
    "hidden_dim": ("width of the hidden layer", "--hidden_dim {}"),
    "backbone": ("frozen backbone, by the SHA-256 of its tensors", "--weights FILE, the same one"),
    "mean": ("mean of the pixels", "--mean {}"),
    "std": ("standard deviation of the pixels", "--std {}"),
    "view": ("view", "--view {}"),
    "seed": ("train seed", "--train_seed {}"),
    "leave_out": ("share of train that is left out", "--leave_out {}"),
    "data": (
        "data fingerprint",
        "--data_dir, --metadata, --split_values and columns, with the labels that it was trained on",
    ),
}
NOTHING: Mapping[str, Any] = {}
IMPORT = "python -m scripts.import_model FILE"
# What names a class or a function in a pickle.
OBJECT_OPCODES = ("GLOBAL", "STACK_GLOBAL", "INST")


def save_model(path: Path, model: nn.Module, facts: dict[str, Any], run: dict[str, Any]) -> None:
    """Write weights and facts atomically, sealed with what says which `run` made them."""
    save_sealed(path, {"model": fetch(dict(model.state_dict())), "facts": facts}, run)


def read_weights(
    path: Path, expected: dict[str, Any], import_line: str = IMPORT, earlier: Mapping[str, Any] = NOTHING
) -> dict[str, torch.Tensor]:
    """The weights in `path`; UserError where it is no checkpoint of ours or its facts differ from `expected`.

    What an imported model does not know is not among its facts, and is not compared. import_line: the command for a
    checkpoint of another program. earlier: what is true of one of a version that did not record it.
    """
    facts, weights = read_model(path, import_line)
    if not facts.get("imported"):
        facts = {**earlier, **facts}
    for name, value in expected.items():
        if facts.get(name) != value and not (name not in facts and facts.get("imported")):
            what, flag = FACTS.get(name, (name, ""))
            remedy = f"give {_flag(flag, facts.get(name))}, or" if flag else "use"
            raise UserError(
                f"{path} does not fit: its {what} is {facts.get(name)!r}, this run's is {value!r}; "
                f"{remedy} a checkpoint made with the same data, model and seed"
            )
    return weights


def _flag(flag: str, value: Any) -> str:
    """A flag with the value of a checkpoint."""
    if value is None or value is False:
        return f"no {flag.partition(' ')[0]}"
    if flag.startswith("--weights") and value == "none":
        return "--no-pretrained"
    listed = isinstance(value, (list, tuple))
    text = ",".join(map(str, value)) if listed else str(value)
    return flag.format("FILE, the same one" if text.startswith("sha256 ") else text)


def read_model(path: Path, import_line: str = IMPORT) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Facts and weights of a checkpoint; UserError where it is none of ours, with `import_line` for a state dict."""
    stored = None
    try:
        with sealed.opened(path) as (file, _):
            stored = load_tensors(file)
        if not isinstance(stored, dict):
            raise TypeError(f"a {type(stored).__name__}")
        facts, weights = dict(stored["facts"]), dict(stored["model"])
        if not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in weights.items()):
            raise TypeError("no tensors by name")
    except Exception as error:  # a damaged file makes torch.load raise nearly anything
        if path.suffix == SAFETENSORS or _is_state_dict(stored):
            raise UserError(
                f"{path} holds a plain state dict, which says nothing of its classes and pixels; import it first: "
                f"{import_line}"
            ) from None
        if isinstance(error, pickle.UnpicklingError) and _holds_objects(path):
            raise UserError(
                f"{path} is refused: it holds more than tensors and plain values, which could run code; "
                "make it again with this program"
            ) from None
        raise UserError(
            f"{path} is damaged, or no checkpoint of this program ({type(error).__name__}): "
            "make it again, or put an intact copy there"
        ) from None
    return facts, weights


def _is_state_dict(stored: Any) -> bool:
    """Whether tensors by name are what another program saved, or an entry of it."""
    if not isinstance(stored, dict) or "facts" in stored:
        return False
    parts = [stored, *(part for part in stored.values() if isinstance(part, dict))]
    return any(part and all(isinstance(value, torch.Tensor) for value in part.values()) for part in parts)


def _holds_objects(path: Path) -> bool:
    """Whether an undamaged file holds pickled objects, told without loading any of them.

    torch.load fails in the same way on foreign objects, on a web page saved as model.pt and on flipped bits.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                whole = archive.testzip() is None  # every checksum is right
            return whole and bool(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        with open_regular(path) as file:
            return any(opcode.name in OBJECT_OPCODES for opcode, _, _ in list(pickletools.genops(file)))
    except Exception:  # damaged bytes: zipfile and pickletools raise nearly anything too
        return False


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Put weights into a network, every name and shape as expected."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{path} holds another network: {first}") from None
