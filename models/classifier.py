"""A backbone with a linear head: the shape every model here has."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.batch_norm import across_processes
from utils.distributed import world_size
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
    Under autocast the backbone alone changes precision.
    """

    def __init__(self, backbone: nn.Module, feature_dim: int, n_targets: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = FullPrecisionLinear(feature_dim, n_targets)
        self.feature_dim = feature_dim
        self.n_targets = n_targets

    def features(self, image: Tensor) -> Tensor:
        """The input of the head, n x feature_dim, float32."""
        return self.backbone(image).float()

    def forward(self, image: Tensor) -> Tensor:
        """The logits, n x n_targets, float32."""
        return self.head(self.features(image))


def build_classifier(
    build_backbone: Callable[[str], tuple[nn.Module, int]], n_targets: int, seed: int, weights: str
) -> Classifier:
    """A classifier on `build_backbone(weights)`, drawn from `seed`; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        # The CPU generator alone: torch.manual_seed would also reseed every GPU, whose states are not saved here.
        torch.default_generator.manual_seed(derive_seed("initial weights", seed))
        backbone, feature_dim = build_backbone(weights)
        classifier = Classifier(backbone, feature_dim, n_targets)
    if world_size() > 1:
        across_processes(classifier)
    return classifier
