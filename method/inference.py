"""Forward passes in eval mode: evaluation transform, fixed order, fixed batch size, nothing dropped."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from datasets.loaders import Loader
from datasets.transforms import normalise
from utils.device import autocast, memory_format
from utils.signals import check_stop

# A logit depends in its last bits on the batch it is computed in, so the size is part of what is computed.
BATCH_SIZE = 256


class Inference:
    """Applies a network to rows of the data set on one device at one precision."""

    def __init__(self, loader: Loader, device: torch.device, precision: torch.dtype):
        self.loader, self.device, self.precision = loader, device, precision

    @torch.no_grad()
    def apply(self, module: nn.Module, function: Callable[[Tensor], Tensor], rows: np.ndarray, what: str) -> Tensor:
        """`function` of the images of `rows`, in order, on the device; `module` is in eval mode meanwhile."""
        training = module.training
        module.eval()
        try:
            with autocast(self.device, self.precision):
                return torch.cat([function(image).float() for image in self._images(rows, what)])
        finally:
            module.train(training)

    def _images(self, rows: np.ndarray, what: str) -> Iterator[Tensor]:
        batches = self.loader.batches(rows, BATCH_SIZE, augment_seed=None)
        with tqdm(total=len(rows), desc=what, unit="img", disable=None, leave=False) as bar:
            for batch in batches:
                check_stop()
                yield self.image(batch["image"])
                bar.update(len(batch["index"]))

    def apart(self, module: nn.Module, function: Callable[[Tensor], Tensor], rows: np.ndarray, what: str) -> Tensor:
        """`apply` with a loader of its own, for use while a training pass holds the other."""
        loader = self.loader.another()
        try:
            return Inference(loader, self.device, self.precision).apply(module, function, rows, what)
        finally:
            loader.close()

    def image(self, pixels: Tensor) -> Tensor:
        """uint8 pixels to a normalised batch on the device."""
        pixels = pixels.to(self.device, non_blocking=True)
        return normalise(pixels, memory_format(self.device))
