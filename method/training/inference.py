"""Forward passes in eval mode: evaluation transform, fixed order, fixed batch size, nothing dropped."""

import copy
from collections.abc import Callable, Iterator
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from datasets.images.normalisation import PUBLISHED, Pixels, normalise
from datasets.loading.loaders import Loader, batch_bounds, own_batches
from utils.collectives import assemble, check_stop_together
from utils.device import autocast, memory_format, send
from utils.distributed import rank, world_size

# A logit depends in its last bits on the batch it is computed in, so the size is part of what is computed.
BATCH_SIZE = 256


class Inference:
    """Applies a network to rows of the data set on one device at one precision.

    pixels: as the network expects them; None where the loader gives features, which it takes as they are.
    """

    def __init__(self, loader: Loader, device: torch.device, precision: torch.dtype, pixels: Pixels | None = PUBLISHED):
        self.loader, self.device, self.precision, self.pixels = loader, device, precision, pixels

    @torch.no_grad()
    def apply(self, module: nn.Module, function: Callable[[Tensor], Tensor], rows: np.ndarray, what: str) -> Tensor:
        """`function` of the images of `rows`, in order, on the device; `module` is in eval mode meanwhile.

        Several processes share the batches, and each gets all rows.
        """
        training = module.training
        module.eval()
        places = own_batches(batch_bounds(len(rows), BATCH_SIZE))
        sizes = [stop - start for start, stop in places]
        table = torch.empty(0)
        try:
            with autocast(self.device, self.precision):
                for image, start in zip(self._images(rows, what), accumulate(sizes, initial=0), strict=False):
                    output = function(image).float()
                    if not start:  # all in one block: small ones in between would keep the heap from being reused
                        table = output.new_empty(sum(sizes), *output.shape[1:])
                    table[start : start + len(output)] = output
        finally:
            module.train(training)
        if world_size() == 1:
            return table
        check_stop_together()
        return assemble(list(table.split(sizes)) if sizes else [], places, len(rows), self.device)

    def _images(self, rows: np.ndarray, what: str) -> Iterator[Tensor]:
        batches = self.loader.batches(rows, BATCH_SIZE, None, part=own_batches)
        with tqdm(total=len(rows), desc=what, unit="img", disable=rank() > 0 or None, leave=False) as bar:
            for batch in batches:
                if world_size() == 1:  # several stop together, and not all have as many batches
                    check_stop_together()
                yield self.image(batch["image"])
                bar.update(min(len(batch["index"]) * world_size(), len(rows) - bar.n))

    def apart(self, module: nn.Module, function: Callable[[Tensor], Tensor], rows: np.ndarray, what: str) -> Tensor:
        """`apply` with a loader of its own, for use while a training pass holds the other."""
        other = self.another()
        try:
            return other.apply(module, function, rows, what)
        finally:
            other.loader.close()

    def another(self) -> "Inference":
        """The same passes with a loader of their own, which the caller closes."""
        return Inference(self.loader.another(), self.device, self.precision, self.pixels)

    def at(self, precision: torch.dtype) -> "Inference":
        """The same passes in another precision."""
        other = copy.copy(self)
        other.precision = precision
        return other

    def image(self, pixels: Tensor) -> Tensor:
        """uint8 pixels to a normalised batch on the device; features as they are."""
        sent = send(pixels, self.device)
        return sent if self.pixels is None else normalise(sent, memory_format(self.device), self.pixels)
