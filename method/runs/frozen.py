"""The features of a frozen backbone: computed once, in eval mode, and read by every run in place of the images."""

import hashlib
import logging
from contextlib import ExitStack, closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.base import GroupDataset
from datasets.images.features import FILE, Features, features_state, open_features
from datasets.images.files import image_rows
from datasets.loading.loaders import Loader, default_workers
from method.configs.loading import Config
from method.runs.starting import pixels_of, to_device
from method.training.inference import Inference
from models import build_model
from models.exporting import digest
from utils import device as devices
from utils.distributed import from_rank_0, local_world_size
from utils.errors import UserError
from utils.locks import locked

LIBRARIES = ("torch", "torchvision", "timm")  # whose layers, or weights of the same name, may differ between versions
log = logging.getLogger("unlearning")


def frozen_features(
    config: Config, dataset: GroupDataset, identity: dict[str, Any], device: torch.device, precision: torch.dtype
) -> Features:
    """Features of every image, by the backbone of --weights, in eval mode.

    To be called with the run's threads and arithmetic set, on which the last bits depend. With --cache disk they are
    below the store folder, made there by one run, for which others wait; else they are the run's own.
    """
    if config.cache != "disk":
        return _compute(config, dataset, device, precision)
    made_by = _describe_making(config, dataset, identity, device, precision)
    place = config.remembered(f"features-{hashlib.sha256(made_by.encode()).hexdigest()[:8]}")
    file, state = place / FILE, from_rank_0(lambda: features_state(dataset, made_by))
    with ExitStack() as held:
        if not from_rank_0(lambda: _is_there(file, state, held)):
            made = _compute(config, dataset, device, precision)
            from_rank_0(lambda: made.save(file, state))
        found = open_features(file, state)
    if found is None:
        raise UserError(f"{file} cannot be read back; give --store_dir a folder that keeps files, or --cache none")
    return found


def _is_there(file: Path, state: str, held: ExitStack) -> bool:
    """Whether the features are in the file; else its folder is locked, until `held` is left, for them to be made."""
    if open_features(file, state):
        return True
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--cache disk: {file.parent} cannot be made ({error.strerror}); make it writable") from None
    held.enter_context(locked(file.parent, wait=True))
    for left in file.parent.glob(f".{FILE}.*"):  # by a process that was killed
        left.unlink(missing_ok=True)
    return open_features(file, state) is not None


def _describe_making(
    config: Config, dataset: GroupDataset, identity: dict[str, Any], device: torch.device, precision: torch.dtype
) -> str:
    """All that the features depend on but the images, in words."""
    weights = identity["weights"]
    return "; ".join(
        [
            f"{config.model}, weights {weights}, {config.image_size} pixels, view {dataset.view}, {pixels_of(config)}",
            f"{precision} on {devices.describe_device(device)}, {torch.get_num_threads()} threads",
            f"{torch.backends.cpu.get_cpu_capability()}, {', '.join(map(_version, LIBRARIES))}",
        ]
    )


def _version(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return f"no {library}"


def _compute(config: Config, dataset: GroupDataset, device: torch.device, precision: torch.dtype) -> Features:
    """In the table's order and fixed batches, which is their definition: last bits depend on the batch."""
    network = build_model(config.model, dataset.n_targets, 0, config.weights, config.image_size, "new")
    log.info("%s", network.loaded)
    made_by = digest(network.backbone.state_dict())
    to_device(network.requires_grad_(False), device)
    workers = default_workers(dataset.in_memory, device, devices.available_cpus() // local_world_size())
    workers = workers if config.num_workers is None else config.num_workers
    rows = image_rows(dataset)
    with closing(Loader(dataset, config.image_size, workers, devices.pin_memory(device))) as loader:
        inference = Inference(loader, device, precision, pixels_of(config))
        table = inference.apply(network, network.features, rows, "features of the frozen backbone")
    values = np.full((len(dataset), table.shape[1]), np.nan, dtype=np.float32)
    values[rows] = table.cpu().numpy()
    if not np.isfinite(values[rows]).all():
        raise UserError(f"--weights {config.weights} gives features that are not finite; give weights that work")
    return Features(values, made_by)
