"""Classifiers by name. A new one is a module with a builder and a line in MODELS; nothing heavy is imported before."""

import importlib
from functools import partial
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
TIMM = "timm/"  # before the name of a network of timm's
HALF = (0.5, 0.5, 0.5)


def build_model(
    name: str, n_targets: int, seed: int, weights: str, image_size: int = 224, head: str | None = None
) -> "Classifier":
    """Build the classifier `name`, its initial weights a function of `seed` alone.

    weights: "none" (random), "imagenet", or the path of a state dict. image_size: of the images, where the network
    depends on it. head: "keep" or "new", of a last layer in the weights that fits the task; None where there is none.
    Raises UserError for an unknown model and for weights that are absent or do not fit.
    """
    if name not in MODELS and not name.startswith(TIMM):
        raise UserError(f"--model {name}: unknown, expected one of {', '.join(sorted(MODELS))}, or {TIMM}NAME")
    module, builder = MODELS.get(name, "models.timm_networks:timm_network").split(":")
    build = getattr(importlib.import_module(module), builder)
    arguments = () if name in MODELS else (name.removeprefix(TIMM), image_size)
    classifier = importlib.import_module("models.classifier")
    return classifier.build_classifier(name, partial(build, *arguments), n_targets, seed, weights, head)


def check_model(name: str) -> None:
    """UserError for a network that is not known, or whose library is not installed; builds nothing."""
    if name.startswith(TIMM):
        importlib.import_module("models.timm_networks").check_name(name.removeprefix(TIMM))


def publishes_weights(name: str) -> bool:
    """Whether `--weights imagenet` has something to take."""
    if name.startswith(TIMM):
        return importlib.import_module("models.timm_networks").publishes_weights(name.removeprefix(TIMM))
    module, builder = MODELS[name].split(":")
    return getattr(importlib.import_module(module), builder)().imagenet is not None


def default_pixels(name: str, weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, by channel, of the pixels that a network starts from where nobody says others.

    Those that timm publishes with its own weights; 0.5 and 0.5 for everything else.
    """
    if name.startswith(TIMM) and weights == "imagenet":
        return importlib.import_module("models.timm_networks").published_pixels(name.removeprefix(TIMM))
    return HALF, HALF
