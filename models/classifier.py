"""A backbone with a linear head: the shape every model here has."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from models.backbone import Backbone
from models.batch_norm import across_processes
from models.weights import load_into, read_state_dict
from utils.distributed import world_size
from utils.errors import UserError
from utils.seeding import derive_seed


class FullPrecisionLinear(nn.Linear):
    """A linear layer in fp32 wherever it is called: bf16 logits lose small losses and ties."""

    def forward(self, features: Tensor) -> Tensor:
        """(n, in_features) of any precision to (n, out_features), float32."""
        with torch.autocast(device_type=features.device.type, enabled=False):
            return super().forward(features.float())


class Classifier(nn.Module):
    """logits = head(features(image)).

    image: n x 3 x H x W, float, normalised; features: n x feature_dim, float32; logits: n x n_targets, float32.
    Under autocast the backbone alone changes precision. head_name: what the architecture itself calls its last layer.
    loaded: what became of weights from elsewhere, in words. build: makes another backbone like this one.
    """

    build: Callable[[], Backbone]

    def __init__(self, backbone: Backbone, n_targets: int) -> None:
        super().__init__()
        self.backbone = backbone.network
        self.head = FullPrecisionLinear(backbone.feature_dim, n_targets)
        self.feature_dim = backbone.feature_dim
        self.n_targets = n_targets
        self.head_name = backbone.head
        self.loaded = ""

    def features(self, image: Tensor) -> Tensor:
        """The input of the head, n x feature_dim, float32."""
        return self.backbone(image).float()

    def forward(self, image: Tensor) -> Tensor:
        """The logits, n x n_targets, float32."""
        return self.head(self.features(image))

    def untrained(self) -> "Classifier":
        """Another of the same architecture on the CPU, with initial weights from torch's generator."""
        return Classifier(self.build(), self.n_targets)


def build_classifier(
    name: str, build_backbone: Callable[[], Backbone], n_targets: int, seed: int, weights: str, head: str | None
) -> Classifier:
    """A classifier on what `build_backbone` gives, drawn from `seed`; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        # The CPU generator alone: torch.manual_seed would also reseed every GPU, whose states are not saved here.
        torch.default_generator.manual_seed(derive_seed("initial weights", seed))
        backbone = build_backbone()
        classifier = Classifier(backbone, n_targets)
    classifier.build = build_backbone
    if weights != "none":
        state, label = _read_weights(name, backbone, weights)
        classifier.loaded = load_into(classifier, state, label, backbone.head, head)
    if world_size() > 1:
        across_processes(classifier)
    return classifier


def _read_weights(name: str, backbone: Backbone, weights: str) -> tuple[dict[str, Tensor], str]:
    """What `--weights` asks for, under the architecture's own names, and what messages call it."""
    if weights != "imagenet":
        return read_state_dict(Path(weights)), f"--weights {weights}"
    if backbone.imagenet is None:
        raise UserError(f"--model {name} has no ImageNet weights: give --no-pretrained, or --weights FILE")
    return backbone.imagenet(), f"ImageNet weights of {name}"
