"""A five-layer convolutional network for small images; trains in seconds on a CPU."""

from pathlib import Path

from torch import nn

from models.weights import load_backbone, read_state_dict
from utils.errors import UserError

CHANNELS = (8, 16, 16, 32, 32)
STRIDES = (2, 2, 1, 2, 1)


def small_cnn(weights: str) -> tuple[nn.Module, int]:
    """Five 3 x 3 convolutions, each with batch norm and ReLU, then global average pooling; feature dimension 32."""
    if weights == "imagenet":
        raise UserError("--model small_cnn has no ImageNet weights: give --no-pretrained, or --weights FILE")
    layers: list[nn.Module] = []
    for n_in, n_out, stride in zip((3, *CHANNELS[:-1]), CHANNELS, STRIDES, strict=True):
        layers += [
            nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        ]
    backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if weights != "none":
        load_backbone(backbone, read_state_dict(Path(weights)), f"--weights {weights}")
    return backbone, CHANNELS[-1]
