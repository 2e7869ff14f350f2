"""torchvision's residual networks (He et al., CVPR 2016) without their last layer."""

import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from models.backbone import Backbone
from utils.errors import UserError


def resnet18() -> Backbone:
    """ResNet-18; feature dimension 512."""
    return _resnet("resnet18")


def resnet34() -> Backbone:
    """ResNet-34; feature dimension 512."""
    return _resnet("resnet34")


def resnet50() -> Backbone:
    """ResNet-50; feature dimension 2048."""
    return _resnet("resnet50")


def _resnet(name: str) -> Backbone:
    network = get_model(name, weights=None)
    feature_dim = network.fc.in_features
    network.fc = nn.Identity()
    # timm calls these layers the same, so its files fit too.
    return Backbone(network, feature_dim, "fc", partial(_imagenet, name))


def _imagenet(name: str) -> dict[str, Tensor]:
    """torchvision's IMAGENET1K_V1 weights, from torch's cache folder or else the network."""
    weights = get_model_weights(name).IMAGENET1K_V1
    try:
        return weights.get_state_dict(
            progress=sys.stderr.isatty(), check_hash=True, map_location="cpu", weights_only=True
        )
    except Exception as error:  # the network, the disk, the hash, or nearly anything from a damaged file in the folder
        file = weights.url.rsplit("/", 1)[-1]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"the ImageNet weights {file} could neither be read nor fetched ({reason}): "
            f"put that file into {folder}, or give --weights FILE, or start from random weights with --no-pretrained"
        ) from error
