"""Any image classifier of timm (PyTorch Image Models) whose logits are a linear layer of its features."""

import difflib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.backbone import Backbone
from utils.errors import UserError

N_CLASSES = 2  # of the last layer, while it is compared with the network's logits
TOLERANCE = 1e-3
N_NEAR = 3

try:
    import timm
except ImportError:
    raise UserError(
        "--model timm/NAME needs timm, which is not installed: pip install -r requirements-timm.txt"
    ) from None


class _Features(nn.Module):
    """Mixed into the class of a timm network, whose weights keep their names: it gives features in place of logits."""

    forward_features: Callable[[Tensor], Tensor]
    forward_head: Callable[..., Tensor]

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, S, S) to (n, feature_dim), the input of timm's last linear layer."""
        return self.forward_head(self.forward_features(image), pre_logits=True)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By timm's own class, as this one is made at run time and stands in no module."""
        return _made_again, (type(self).__bases__[1],), self.__dict__


def _made_again(network_class: type[nn.Module]) -> nn.Module:
    network = network_class.__new__(network_class)
    return _giving_features(network)


def _giving_features(network: nn.Module) -> nn.Module:
    """The same network, of a class that gives features."""
    network.__class__ = type(type(network).__name__, (_Features, type(network)), {})
    return network


def timm_network(name: str, image_size: int) -> Backbone:
    """timm's network of this name for images of this size.

    UserError where timm does not know it, where it does not take the size, and where its logits are not one linear
    layer of what timm calls its features.
    """
    check_name(name)
    try:
        network = _create(name, image_size, num_classes=N_CLASSES)
        head, last = _last_layer(network, name)
        _check_logits(network, last, name, image_size)
    except UserError:
        raise
    except Exception as error:  # of any kind, by whichever layer does not like the size
        raise UserError(
            f"--model timm/{name} cannot take images of --image_size {image_size} ({_first_line(error)}); it was made "
            f"for {_published(name).input_size[-1]}"
        ) from error
    parent, _, attribute = head.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return Backbone(_giving_features(network), last.in_features, head, partial(_imagenet, name, image_size))


def published_pixels(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, by channel, of the pixels that timm's weights of this name were trained on."""
    check_name(name)
    return tuple(_published(name).mean), tuple(_published(name).std)


def publishes_weights(name: str) -> bool:
    """Whether timm has weights of this network."""
    return bool(timm.list_pretrained(f"{name.partition('.')[0]}.*"))


def _published(name: str) -> Any:
    """What timm says of the weights of this name, whether or not they are loaded."""
    return timm.get_pretrained_cfg(name)


def check_name(name: str) -> None:
    """UserError, with the near names, for an architecture or for published weights that timm does not know."""
    architecture, dot, weights = name.partition(".")
    has_not = f"--model timm/{name}: timm {timm.__version__} has no"
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), N_NEAR)
        known = f"near are {', '.join(near)}" if near else "timm.list_models() lists all"
        raise UserError(f"{has_not} network {architecture}; {known}")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}.*")]
    if dot and weights not in tags:
        known = f"it has {', '.join(tags)}" if tags else f"it has none: give --model timm/{architecture}"
        raise UserError(f"{has_not} weights {weights} of {architecture}; {known}")


def _create(name: str, image_size: int, **options: Any) -> Any:
    """A network of timm's, for images of this size where its weights depend on that."""
    if _published(name).fixed_input_size:
        options["img_size"] = image_size
    return timm.create_model(name, **options)


def _last_layer(network: Any, name: str) -> tuple[str, nn.Linear]:
    """The last layer with its name; UserError where it is no single linear layer with a bias."""
    head = network.pretrained_cfg["classifier"]
    if not isinstance(head, str):
        raise UserError(f"--model timm/{name} has {len(head or ())} last layers, expected one; choose another network")
    last = network.get_submodule(head)
    if not isinstance(last, nn.Linear) or last.bias is None:
        raise UserError(
            f"--model timm/{name} ends in a {type(last).__name__}, expected a linear layer with a bias; choose another "
            "network"
        )
    return head, last


@torch.no_grad()
def _check_logits(network: Any, last: nn.Linear, name: str, image_size: int) -> None:
    """UserError where the last layer applied to the features is not what the network answers.

    An image of the size is looked at, so whatever a layer raises that cannot take it comes from here.
    """
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None) or (1, 1)
    patch = (patch, patch) if isinstance(patch, int) else patch
    if any(image_size % side for side in patch):
        raise ValueError(f"it cuts them into patches of {patch[0]} x {patch[1]}, expected a multiple")
    draw = torch.Generator().manual_seed(0)
    for weight in last.parameters():  # which are 0 in some networks, and all logits alike
        weight.normal_(generator=draw)
    network.eval()
    image = torch.randn(1, 3, image_size, image_size, generator=draw)
    logits = network(image)
    features = network.forward_head(network.forward_features(image), pre_logits=True)
    network.train()
    width = last.in_features
    if features.shape != (1, width) or not torch.allclose(last(features), logits, TOLERANCE, TOLERANCE):
        raise UserError(
            f"--model timm/{name}: its logits are not a linear layer of its {width} features, which every method here "
            "takes for granted; choose another network"
        )


def _imagenet(name: str, image_size: int) -> dict[str, Tensor]:
    """timm's published weights of this name, from its own cache or else the network; UserError where there are none."""
    logging.disable(logging.WARNING)  # of every try to reach the network
    try:
        return _create(name, image_size, pretrained=True).state_dict()
    except Exception as error:  # the network, the disk, or what any of timm's loaders raises
        raise UserError(
            f"the published weights of timm/{name} could neither be read nor fetched ({_first_line(error)}): give "
            "--weights FILE, or start from random weights with --no-pretrained"
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
