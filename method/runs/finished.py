"""The model of a finished run, as something that predicts: what `load_model` gives and what is exported."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from PIL.ImageOps import exif_transpose
from torch import Tensor, nn

from datasets import dataset_class
from datasets.base import GroupDataset
from datasets.images.decoding import RESIZES, Transforms, read_image
from datasets.images.normalisation import Pixels, normalise
from datasets.images.types import UnreadableImage
from method.configs.seeds import read_seeds
from method.runs.folder import CONFIG, MODEL, RunFolder
from method.training.checkpoints import load_weights, read_model
from models import build_model
from models.classifier import Classifier
from models.exporting import digest
from models.frozen import build_trained_part, on_images, trained_part
from utils.errors import UserError


class RunModel(nn.Module):
    """The network of a finished run, in eval mode on the CPU.

    classes: what the outputs are called, in their order. image_size, view, upright: how an image becomes a square of
    so many pixels, and whether it is turned as EXIF says. mean, std: by channel, for pixels between 0 and 1.
    """

    def __init__(self, folder: RunFolder, stored: dict[str, Any]) -> None:
        super().__init__()
        facts, weights = read_model(folder.file(MODEL))
        kind = dataset_class(facts["dataset"])
        self.folder, self.stored = folder, stored
        self.classes = tuple(stored["groups"].get("targets") or _class_names(kind, stored))
        self.architecture, self.image_size = facts["model"], facts["image_size"]
        self.view, self.upright = facts.get("view") or kind.view, kind.upright
        self.pixels = Pixels.read(facts.get("mean", "0.5"), facts.get("std", "0.5"))
        self.network = self._whole(facts, weights) if facts.get("freeze_backbone") else self._build("none")
        load_weights(self.trained, weights, folder.file(MODEL))
        self.eval()

    def _build(self, weights: str) -> Classifier:
        return build_model(self.architecture, len(self.classes), 0, weights, self.image_size, "new")

    def _whole(self, facts: dict[str, Any], weights: dict[str, Tensor]) -> Classifier:
        """The frozen backbone, which is in no run's folder, and behind it what was trained."""
        source, place = str(self.stored["config"]["weights"]), self.folder.path
        told = f"{place} has trained on the frozen features of --weights {source}"
        if source != "imagenet" and not Path(source).is_file():
            raise UserError(f"{told}, which is not there; put the file back, as model.pt holds what was trained alone")
        backbone = self._build(source)
        if digest(backbone.backbone.state_dict()) != facts["backbone"]:
            raise UserError(f"{told}, which has other tensors now; put back those that it was trained on")
        sizes = weights["backbone.0.weight"].shape[1], facts["hidden_dim"]
        return on_images(backbone, build_trained_part(*sizes, len(self.classes), 0))

    @property
    def trained(self) -> Classifier:
        """What the run trained, with the weights of `network`: all of it, or what takes the frozen features."""
        return trained_part(self.network)

    @property
    def mean(self) -> tuple[float, ...]:
        """What is taken from pixels between 0 and 1: red, green, blue."""
        return self.pixels.mean

    @property
    def std(self) -> tuple[float, ...]:
        """What they are then divided by."""
        return self.pixels.std

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, S, S) normalised images to (n, n_targets) logits, float32."""
        return self.network(images)

    def preprocess(self, image: str | Path | Image) -> Tensor:
        """(3, S, S), normalised, of an image file, read as runs read it, or of an image of Pillow's."""
        pixels = self._read(str(image)) if isinstance(image, (str, Path)) else _pixels(image, self.upright)
        return normalise(self._square(pixels)[None], pixels=self.pixels)[0]

    def _square(self, pixels: Tensor) -> Tensor:
        if self.view in RESIZES:
            return Transforms(self.view, self.image_size).eval_transform(pixels)
        height, width = pixels.shape[1:]
        if (height, width) != (self.image_size, self.image_size):
            raise UserError(
                f"an image of {width} x {height} pixels: this model is of data that is not resized, and takes "
                f"{self.image_size} x {self.image_size} alone"
            )
        return pixels

    def _read(self, file: str) -> Tensor:
        found = read_image(file, self.upright)
        if isinstance(found, UnreadableImage):
            raise UserError(f"{file}: {found.reason}")
        return found


def _pixels(image: Image, upright: bool) -> Tensor:
    """uint8 (3, H, W) of an image of Pillow's."""
    turned = exif_transpose(image) if upright else image
    return torch.from_numpy(np.array(turned.convert("RGB"))).permute(2, 0, 1)


def load_model(path: str | Path) -> RunModel:
    """The model of the finished run in this folder; UserError where there is none, or it cannot be read."""
    folder = RunFolder(Path(path))
    if not folder.path.is_dir():
        raise UserError(f"{path} is no folder; give that of a finished run, such as output/digits/small_cnn/pretrain_0")
    if not folder.done:
        lost = f"it has lost {', '.join(folder.lost())}" if folder.marked else "no run is finished there"
        raise UserError(f"{path}: {lost}; run its command again, or give another run's folder")
    if not folder.file(MODEL).exists():
        raise UserError(f"{path} has no {MODEL}: what scripts.keep_runs keeps of a run has none; run its command again")
    try:
        return RunModel(folder, folder.read_config())
    except ValueError as error:
        raise UserError(f"{path}: {CONFIG} cannot be read ({error}); run its command again with --overwrite") from None


def _class_names(kind: type[GroupDataset], stored: dict[str, Any]) -> tuple[str, ...]:
    """The names in the labels, for a run of a version that did not record them; UserError where labels are others."""
    config = stored["config"]
    options, seed = {name: config[name] for name in kind.options if name in config}, read_seeds(config, True).train
    table = kind.load(Path(config["data_dir"]), config.get("split_number") or 0, seed, **options)
    if table.fingerprint != (stored.get("fingerprints") or {}).get("data"):
        raise UserError(
            f"the run did not record its classes, and the labels in {config['data_dir']} are others now; put back those"
            " that it was trained on"
        )
    return table.target_names
