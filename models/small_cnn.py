"""A five-layer convolutional network for small images; trains in seconds on a CPU."""

from torch import nn

from models.backbone import Backbone, Layers

CHANNELS = (8, 16, 16, 32, 32)
STRIDES = (2, 2, 1, 2, 1)


def small_cnn() -> Backbone:
    """Five 3 x 3 convolutions, each with batch norm and ReLU, then global average pooling; feature dimension 32."""
    layers: list[nn.Module] = []
    for n_in, n_out, stride in zip((3, *CHANNELS[:-1]), CHANNELS, STRIDES, strict=True):
        layers += [
            nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        ]
    network = Layers(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Backbone(network, CHANNELS[-1], "head")
