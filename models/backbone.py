"""What a builder makes: a network without its last linear layer, and what that layer is called."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn


class Layers(nn.Sequential):
    """Layers one after the other, which `compile()` compiles; torch 2.11 does nothing where all code is torch's own."""

    def forward(self, image: Tensor) -> Tensor:
        """The last layer's output."""
        for layer in self:
            image = layer(image)
        return image


class Backbone(NamedTuple):
    """A network whose last linear layer was taken off.

    network: (n, 3, S, S) images to (n, feature_dim), the input of that layer. head: the layer's name in the
    architecture's own state dict. imagenet: gives the published weights, the last layer's too, under the architecture's
    own names; None where there are none.
    """

    network: nn.Module
    feature_dim: int
    head: str
    imagenet: Callable[[], dict[str, Tensor]] | None = None
