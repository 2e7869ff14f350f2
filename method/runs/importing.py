"""A model that another program trained, as the pretrained run that others start from; what trained it is not known."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets import dataset_class
from datasets.images.normalisation import PUBLISHED
from method.configs.cli import Command, command_line, parse, spell
from method.configs.loading import Config, Imported
from method.configs.schema import all_keys
from method.configs.task import task_flags
from method.evaluation.records import Records
from method.runs.folder import PRETRAIN, RECORDS, RETRAIN, RunFolder
from method.runs.starting import pixels_of
from models import publishes_weights
from utils.errors import UserError
from utils.files import sha256_file
from utils.tables import HOLE, align

OF_EVALUATION = ("precision", "compile")  # the keys of training that decide what a model predicts
# Further keys of how a model came to be.
OF_THE_START = ("rob_approach", "preset", "head", "freeze_backbone", "hidden_dim")
SETS = ("train", "val", "test")


def import_command(file: Path, classes: tuple[str, ...], flags: Sequence[str]) -> tuple[Command, Config]:
    """The command that makes the pretrained run of `file`, without values of training, and the configuration with them.

    classes: of the outputs, in their order; () where that is the data's. flags: the words of pretrain's command line.
    UserError for what is no such file, and for a flag that says how a model is trained.
    """
    command = parse(["--method", PRETRAIN, *flags])
    unknown = {key.name for key in all_keys().values() if key.group == "training"} - {*OF_EVALUATION} | {*OF_THE_START}
    typed = [name for name in command.config.values if command.config.sources[name] == f"--{name}"]
    if refused := [name for name in typed if name in unknown]:
        flag = "debug" if "--debug" in flags else refused[0]  # an epoch that it stands for
        raise UserError(f"--{flag} says how a model is trained, which nobody knows of an imported one; leave it out")
    if command.print_config or command.dry_run:
        raise UserError("--print_config and --dry_run are for main.py; leave them out")
    if len(set(classes)) != len(classes):
        raise UserError(f"--classes {','.join(classes)}: a name stands there twice, and every output has its own")
    if not file.is_file():
        raise UserError(f"{file}: there is no such file; give the state dict that is to be imported")
    if command.config.sources["weights"] != "--weights" and not publishes_weights(command.config.model):
        full = replace(command.config, values={**command.config.values, "weights": "none"})
        command = replace(command, config=full)
    values, sources = (
        {name: value for name, value in table.items() if name not in unknown}
        for table in (command.config.values, command.config.sources)
    )
    imported = Imported(file, sha256_file(file), classes)
    # Those that the runs with the same flags take, which know what their weights were trained on.
    pixels = pixels_of(command.config)
    known = {**values, **pixels.spell(), "weights": None}
    config = Config(known, sources, requests=command.config.requests, imported=imported)
    said = {} if pixels == PUBLISHED else pixels.spell()
    return replace(command, config=config), replace(command.config, values={**command.config.values, **said})


def describe_import(folder: RunFolder, classes: tuple[str, ...]) -> str:
    """What an imported model predicts: by output, group and set, so that its owner sees whether it was read right."""
    metrics, stored = folder.read_metrics(), folder.read_config()
    records, targets = Records.load(folder.file(RECORDS)), stored["groups"]["targets"]
    outputs = [
        [str(number), name, _describe_predicted(records, targets, targets.index(name))]
        for number, name in enumerate(classes or targets)
    ]
    accuracies = [
        [row["name"], *(cell for name in SETS for cell in (f"{row[f'n_{name}']}", _percent(row[f"{name}_acc"])))]
        for row in (*metrics["groups"], {**metrics, "name": "all"})
    ]
    header = ["group", *(title for name in SETS for title in (f"n {name}", f"{name} acc"))]
    by_output = align(["output", "read as", "most samples with this prediction are"], outputs, left=3)
    return "\n\n".join([by_output, align(header, accuracies), _describe_input(stored)])


def _describe_input(stored: dict[str, Any]) -> str:
    """How the images were read, which decides the accuracies as much as the weights do."""
    config, pixels = stored["config"], stored["pixels"]
    view = config.get("view") or dataset_class(config["dataset"]).view
    return (
        f"images: --image_size {config['image_size']}, view {view}, --mean {pixels['mean']}, --std {pixels['std']}, "
        f"predicted in {stored['provenance']['precision']}; these, and the order of --classes, are what may be wrong"
    )


def describe_next(config: Config, folder: RunFolder) -> str:
    """The commands that unlearn from an imported model and that make the run to compare with, and what may differ."""
    own = {"original": str(folder.path), "tag": config.tag} if config.tag else {}
    return "\n".join(
        [
            f"unlearn from it: {_command(config, 'miu', own)}",
            f"retrain as the reference: {_command(config, RETRAIN, {'reweight': True})}",
            "The seed and the initial weights of the imported model are not known. The retrained model starts from "
            f"--weights {config.weights} and --seed {config.seed}; change --weights in both commands where the "
            "imported one started from others (none: random ones).",
        ]
    )


def _command(config: Config, method: str, flags: Mapping[str, Any]) -> str:
    """A command on the same data and model; with a list that is to be written, where nothing says what is forgotten."""
    task = task_flags(config.values)
    if task.keys() == {"unlearning_ratio"} and not dataset_class(config.dataset).forget_pairs:
        task = {"forget_list": "names.txt"}
    words = [method if word == PRETRAIN else word for word in shlex.split(command_line(config, PRETRAIN))]
    predicted = {name: config.values[name] for name in OF_EVALUATION if config.sources[name] == f"--{name}"}
    return spell(words, {**predicted, **flags, **task})


def _percent(value: float | None) -> str:
    return HOLE if value is None else f"{value:.2f}"


def _describe_predicted(records: Records, targets: Sequence[str], code: int) -> str:
    """The class that most samples have for which `code` is predicted, and its share of them."""
    found = np.bincount(records.target[records.prediction == code], minlength=len(targets))
    if not found.sum():
        return "predicted for none"
    return f"{targets[int(found.argmax())]} ({100 * found.max() / found.sum():.1f} %)"
