"""The pretrained model during unlearning: frozen, in eval mode, its outputs computed once where they cannot differ."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from method.training.inference import Inference
from method.unlearners.base import Batch
from utils.device import send


class Original:
    """Outputs of the original model for a batch.

    Images without augmentation are always the same, so their outputs come from a table over `rows` that is filled
    on first use, in eval mode, in fixed order and batches: that is their definition, whatever batch asks for them.
    train_mode: the published MIU's departure, where batch norm uses (and moves) the statistics of every batch.
    """

    def __init__(self, module: nn.Module, inference: Inference, rows: np.ndarray):
        self.module = module.eval().requires_grad_(False)
        self.train_mode = False
        self.inference, self.rows = inference, rows
        self._tables: dict[str, Tensor] = {}
        self._position: Tensor | None = None

    def logits(self, batch: Batch) -> Tensor:
        """(B, n_targets) logits of the batch's images, without gradient."""
        return self._output("logits", self.module, batch)

    def features(self, batch: Batch) -> Tensor:
        """(B, feature_dim) features of the batch's images, without gradient."""
        # To torch's types every attribute of a module is a tensor or a module.
        return self._output("features", cast(Callable[[Tensor], Tensor], self.module.features), batch)

    @torch.no_grad()
    def _output(self, name: str, function: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        if batch.augmented or self.train_mode:
            self.module.train(self.train_mode)
            return function(batch.image).float()
        if name not in self._tables:
            self._tables[name] = self.inference.apart(self.module, function, self.rows, f"original {name}")
        return self._tables[name][self._positions(batch)]

    def release(self) -> None:
        """Give back the memory of the tables, when training has ended."""
        self._tables.clear()
        self._position = None

    def _positions(self, batch: Batch) -> Tensor:
        if self._position is None:
            position = torch.full((int(self.rows.max()) + 1,), -1, dtype=torch.int64)
            position[torch.tensor(self.rows)] = torch.arange(len(self.rows))
            self._position = send(position, batch.index.device)
        return self._position[batch.index]
