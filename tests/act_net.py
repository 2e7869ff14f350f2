"""The tiny network of tests/tiny.py with batch norm and activation as one layer, as timm has them."""

from collections.abc import Callable

import tiny
from timm.layers import BatchNormAct2d
from tiny import TinyNet
from torch import nn


class ActNet(TinyNet):
    """Convolution, batch norm with ReLU inside, mean, linear."""

    def __init__(self, *arguments: int) -> None:
        super().__init__(*arguments)
        self.backbone[1], self.backbone[2] = BatchNormAct2d(self.feature_dim), nn.Identity()


def use(replace: Callable[..., None] = setattr) -> None:
    """Make runs of the tiny data of such a network."""
    replace(tiny, "TinyNet", ActNet)
    trained = tiny._trained_network.__wrapped__()
    replace(tiny, "_trained_network", lambda: trained)
    assert type(tiny.trained_network()) is ActNet
