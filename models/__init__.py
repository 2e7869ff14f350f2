"""Classifiers by name. A new one is a module with a builder and a line in MODELS; nothing heavy is imported before."""

import importlib
from typing import TYPE_CHECKING

from utils.errors import UserError

if TYPE_CHECKING:
    from models.classifier import Classifier

MODELS: dict[str, str] = {
    "resnet18": "models.resnet:resnet18",
    "resnet34": "models.resnet:resnet34",
    "resnet50": "models.resnet:resnet50",
    "small_cnn": "models.small_cnn:small_cnn",
}


def build_model(name: str, n_targets: int, seed: int, weights: str) -> "Classifier":
    """Build the classifier `name`, its initial weights a function of `seed` alone.

    weights: "none" (random), "imagenet", or the path of a state dict for the backbone.
    Raises UserError for an unknown model and for weights that are absent or do not fit.
    """
    if name not in MODELS:
        raise UserError(f"--model {name}: unknown, expected one of {', '.join(sorted(MODELS))}")
    module, builder = MODELS[name].split(":")
    build_backbone = getattr(importlib.import_module(module), builder)
    return importlib.import_module("models.classifier").build_classifier(name, build_backbone, n_targets, seed, weights)
