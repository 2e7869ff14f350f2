"""A backbone whose weights never move, and the part that is trained on its features: a hidden layer and the head."""

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.backbone import Backbone, Layers
from models.classifier import Classifier, build_classifier

FIRST, LAST = "0", "2"  # of the layers that stand in an exported network where the architecture has its last one


class Frozen(nn.Module):
    """A hidden layer on the features of a network that stays in eval mode and gets no gradient."""

    def __init__(self, network: nn.Module, hidden: nn.Module) -> None:
        super().__init__()
        self.network, self.hidden = network.eval().requires_grad_(False), hidden

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, S, S) images to (n, hidden_dim)."""
        with torch.no_grad():
            features = self.network(image).float()
        return self.hidden(features)

    def train(self, mode: bool = True) -> "Frozen":
        """The hidden layer alone: batch norm of the network keeps its statistics."""
        super().train(mode)
        self.network.eval()
        return self


def build_trained_part(feature_dim: int, hidden_dim: int, n_targets: int, seed: int) -> Classifier:
    """What is trained: (n, feature_dim) features in place of images to logits, drawn from `seed`.

    Its own features, the input of its head, are the (n, hidden_dim) outputs of the hidden layer, a linear one and ReLU.
    """
    build = partial(_hidden_layer, feature_dim, hidden_dim)
    return build_classifier("a frozen backbone", build, n_targets, seed, "none", None)


def _hidden_layer(feature_dim: int, hidden_dim: int) -> Backbone:
    return Backbone(Layers(nn.Linear(feature_dim, hidden_dim), nn.ReLU()), hidden_dim, "head")


def on_images(architecture: Classifier, trained: Classifier) -> Classifier:
    """The network from images to logits: the backbone of `architecture`, then `trained`, which shares its weights."""
    frozen = Frozen(architecture.backbone, trained.backbone)
    whole = Classifier(Backbone(frozen, trained.feature_dim, architecture.head_name), trained.n_targets)
    whole.head = trained.head
    return whole


def trained_part(network: Classifier) -> Classifier:
    """What was trained of a network: all of it, or what `on_images` was given, with the same weights."""
    if not isinstance(network.backbone, Frozen):
        return network
    hidden = cast(Any, network.backbone.hidden)
    part = build_trained_part(hidden[0].in_features, hidden[0].out_features, network.n_targets, 0)
    part.backbone, part.head = hidden, network.head
    return part.train(network.training)


def own_names_of_frozen(state: dict[str, Tensor], head: str) -> dict[str, Tensor]:
    """A state dict of what `on_images` gives under the architecture's own names.

    In place of its last layer, which it calls `head`, stands nn.Sequential(nn.Linear, nn.ReLU, nn.Linear).
    """
    changes = {"backbone.network.": "", f"backbone.hidden.{FIRST}.": f"{head}.{FIRST}.", "head.": f"{head}.{LAST}."}
    return {
        next(new + key.removeprefix(old) for old, new in changes.items() if key.startswith(old)): value
        for key, value in state.items()
    }
