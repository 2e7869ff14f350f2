"""Data sets with a target and a sensitive attribute, their splits, REWEIGHT sampling and image loading."""

import importlib

from datasets.base import GroupDataset
from utils.errors import UserError

DATASETS: dict[str, str] = {
    "celeba": "datasets.celeba:CelebA",
    "custom": "datasets.custom:Custom",
    "digits": "datasets.digits:Digits",
    "fairface": "datasets.fairface:FairFace",
    "waterbird": "datasets.waterbird:Waterbirds",
}


def dataset_class(name: str) -> type[GroupDataset]:
    """Return the class behind a `--dataset` name, importing its module and no other; UserError for an unknown name."""
    if name not in DATASETS:
        raise UserError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}")
    module, _, attribute = DATASETS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
