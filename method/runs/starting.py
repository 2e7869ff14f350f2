"""What a run starts from: a new network, or the weights of the pretrained run that belongs to it."""

import copy
import logging
from pathlib import Path
from typing import Any

import torch

from datasets import dataset_class
from datasets.base import GroupDataset
from datasets.images.features import Features
from datasets.images.normalisation import Pixels
from method.configs.cli import command_line, import_line
from method.configs.loading import Config, Imported
from method.registry import METHODS
from method.runs.data import Data
from method.runs.folder import CONFIG, IMPORTED, MODEL, PRETRAIN, RunFolder
from method.runs.inputs import named_file
from method.runs.search import find
from method.runs.signature import differences, signature, without_hardware
from method.training.checkpoints import load_weights, read_weights
from models import build_model, default_pixels
from models.classifier import Classifier
from models.frozen import build_trained_part
from models.importing import adopt, count_outputs
from models.weights import read_state_dict
from utils import device as devices
from utils import sealed
from utils.errors import UserError

UNKNOWN = ("weights", "head", "seed")  # of a model that another program trained
log = logging.getLogger("unlearning")


def pixels_of(config: Config) -> Pixels:
    """How the network of a run expects its pixels: as --mean and --std say, or else as its weights do."""
    own = Pixels(*default_pixels(config.model, config.weights)).spell()
    return Pixels.read(config.mean or own["mean"], config.std or own["std"])


def to_device(model: Classifier, device: torch.device) -> Classifier:
    """The model, moved to the device, its weights in the order that is fast there."""
    return model.to(device).to(memory_format=devices.memory_format(device))


def model_facts(
    config: Config, data: Data, identity: dict[str, Any], features: Features | None = None
) -> dict[str, Any]:
    """What a pretrained model and the runs that start from it must share. features: of a frozen backbone."""
    weights = named_file(config, "weights")
    if weights is not None and not weights.is_file():
        raise UserError(f"--weights {weights}: no such file; give a state dict of {config.model}, or --no-pretrained")
    known = {
        "dataset": config.dataset,
        "model": config.model,
        "n_targets": data.dataset.n_targets,
        "image_size": config.image_size,
        "weights": identity["weights"],
        "head": config.values.get("head"),
        **({} if features is None else _facts_of_frozen(config, features)),
        **pixels_of(config).spell(),
        "view": data.dataset.view,
        "seed": config.seeds.train,
        **({"leave_out": config.leave_out} if config.leave_out else {}),
        "data": data.splits.data_fingerprint,
    }
    if config.imported is None:
        return known
    return {IMPORTED: config.imported.digest} | {name: fact for name, fact in known.items() if name not in UNKNOWN}


def _facts_of_frozen(config: Config, features: Features) -> dict[str, Any]:
    return {"freeze_backbone": True, "hidden_dim": config.hidden_dim, "backbone": features.backbone}


def starting_models(
    config: Config, data: Data, facts: dict[str, Any], features: Features | None = None
) -> tuple[Classifier, tuple[Classifier, Path] | None]:
    """The network to train, and the frozen original with the file it came from (None for pretrain and retrain).

    With `features` the networks are of what is trained on them.
    """
    if config.imported:
        return imported_model(config, config.imported, data.dataset), None
    if not METHODS[config.method].from_original:
        return _build(config, data, features, config.weights, config.head), None
    path = original_file(config)
    expected = {"method": PRETRAIN, "leave_out": config.leave_out, "freeze_backbone": config.frozen, **facts}
    weights = read_weights(path, expected, import_line(config, path), _earlier_facts(config))
    model = _build(config, data, features, "none")
    load_weights(model, weights, path)
    check_beside(path)
    return model, (copy.deepcopy(model), path)


def _build(config: Config, data: Data, features: Features | None, weights: str, head: str | None = None) -> Classifier:
    if features is not None:
        return build_trained_part(features.dim, config.hidden_dim, data.dataset.n_targets, config.seeds.train)
    return build_model(config.model, data.dataset.n_targets, config.seeds.train, weights, config.image_size, head)


def _earlier_facts(config: Config) -> dict[str, Any]:
    """What is true of a model of an earlier version, which had no flag for it."""
    own = {"head": None, "leave_out": 0.0, "freeze_backbone": False, "view": dataset_class(config.dataset).view}
    return {**Pixels().spell(), **own}


def imported_model(config: Config, imported: Imported, dataset: GroupDataset) -> Classifier:
    """The network with another program's weights, its outputs in the order of the data's classes.

    UserError that names the flag by which what does not fit would.
    """
    file, classes = imported.file, imported.classes or dataset.target_names
    column = "--target" if "target" in dataset.options else "--dataset"
    if sorted(classes) != sorted(dataset.target_names):
        raise UserError(
            f"--classes are {', '.join(classes)}, and the data's are {', '.join(dataset.target_names)}; expected the "
            f"same names, in the order of the model's outputs; {column} says what the data is labelled with"
        )
    model = build_model(config.model, dataset.n_targets, config.seed, "none", config.image_size)
    state = read_state_dict(file, flag="FILE")
    n_outputs = count_outputs(model, state)
    if n_outputs not in (None, dataset.n_targets):
        raise UserError(
            f"{file} has {n_outputs} outputs, and the data has {dataset.n_targets} classes "
            f"({', '.join(dataset.target_names)}); {column} says which labels are meant"
        )
    adopt(model, state, [classes.index(name) for name in dataset.target_names], file, config.image_size)
    return model


def original_file(config: Config) -> Path:
    """model.pt of the pretrained run; UserError with the command that makes it."""
    named = named_file(config, "original")
    if named is not None:
        if not named.is_file():
            raise UserError(f"--original {config.original}: no model.pt there; give a pretrained run's folder")
        return named
    found, places = find(config, PRETRAIN)
    if found is None:
        raise UserError(
            f"{config.method} starts from a pretrained model, and there is none in {places[0].path} or "
            f"{places[1].path}; make it with: {command_line(config, PRETRAIN)}"
        )
    return found.file(MODEL)


def check_beside(model: Path) -> None:
    """UserError where the model.pt of a run's folder is of another run than the config.yaml beside it."""
    facts, beside = sealed.read_facts(model), RunFolder(model.parent)
    if facts is None:
        log.info("%s was written by an earlier version, and has no checksum", model)
        return
    if model.name != MODEL or not beside.file(CONFIG).exists():
        return
    try:
        stored = beside.read_config()
    except ValueError:  # another program's: the model has its own facts
        return
    expected = without_hardware(signature(stored)) if "identity" in stored else {}
    differing = differences(facts, expected, "{name} is {then} there and {now} here")
    if differing:
        raise UserError(
            f"{model} is of another run than the config.yaml beside it: {'; '.join(differing)}; put back the files of "
            "one run, or make it anew with --overwrite"
        )
