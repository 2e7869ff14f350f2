"""The batches of a phase: which samples, in which order, augmented or not, with what the phase draws for them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.base import GroupDataset
from datasets.loading.loaders import Bounds, batch_bounds, n_batches, own_slices
from datasets.sampling import draw, group_balanced_weights, reweight_weights, subsample
from datasets.splits import Splits
from method.configs.loading import Config
from method.training.inference import Inference
from method.unlearners.base import Batch, Phase
from utils.device import send
from utils.seeding import derive_seed, numpy_generator, torch_generator


class Batches:
    """Makes every batch a function of seed, method, epoch, phase and step."""

    def __init__(self, config: Config, dataset: GroupDataset, splits: Splits, inference: Inference):
        self.config, self.dataset, self.splits, self.inference = config, dataset, splits, inference
        self.rows = {"train": splits.train, "forget": splits.forget, "retain": splits.retain}
        labels = {"target": dataset.target, "group": dataset.group}
        # Of the whole table, on the device for good: a batch's come from there.
        self.labels = {name: send(torch.tensor(values), inference.device) for name, values in labels.items()}
        self._second: Inference | None = None  # for the phase beside another: a loader serves one pass at a time

    def count(self, phase: Phase) -> int:
        """Number of batches in a phase."""
        return phase.steps or n_batches(len(self._rows(phase)), self._batch_size(phase))

    def of(self, phase: Phase, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The phase's batches from number `first` on, each with that of the phase beside it where there is one.

        All but the images is on the device before the first step.
        """
        own = self._of(phase, epoch, first, self.inference)
        if phase.beside is None:
            yield from own
            return
        self._second = self._second or self.inference.another()
        beside = self._of(self._as_long_as(phase, phase.beside), epoch, first, self._second)
        for batch, other in zip(own, beside, strict=True):
            yield replace(batch, beside=other)

    def close(self) -> None:
        """End the workers that read for phases beside others; where one comes again, they start again."""
        if self._second is not None:
            self._second.loader.close()
            self._second = None

    def _as_long_as(self, phase: Phase, beside: Phase) -> Phase:
        """The phase beside another, with as many batches as that has, none larger than the set."""
        size = min(self._batch_size(beside), len(self._rows(beside)))
        return replace(beside, steps=self.count(phase), batch_size=size)

    def _of(self, phase: Phase, epoch: int, first: int, inference: Inference) -> Iterator[Batch]:
        augmented = self._augmented(phase)
        augment_seed = derive_seed(self.config.seed, epoch, phase.name, "augment") if augmented else None
        order, batch_size = self._order(phase, epoch), self._batch_size(phase)
        bounds, index = batch_bounds(len(order), batch_size), send(torch.tensor(order), self.inference.device)
        columns: dict[str, Any] = {name: values[index] for name, values in self.labels.items()} | {"index": index}
        if phase.draw:
            columns["drawn"] = self._drawn(phase.draw, phase, epoch, bounds)
        images = inference.loader.batches(order, batch_size, augment_seed, first, own_slices)
        bounds = bounds[first:]
        for (start, stop), own, batch in zip(bounds, own_slices(bounds), images, strict=True):
            yield Batch(
                inference.image(batch["image"]),
                **{name: values[slice(*own)] for name, values in columns.items()},
                epoch=epoch,
                augmented=augmented,
                size=stop - start,
            )

    def _rows(self, phase: Phase) -> np.ndarray:
        """The samples that a pass draws from; the subset of equal groups depends on the seed and the data alone."""
        rows = self.rows[phase.data]
        if phase.sampling != "subsample":
            return rows
        return subsample(rows, self.dataset.group[rows], numpy_generator(self.config.seed, phase.data, "subsample"))

    def _order(self, phase: Phase, epoch: int) -> np.ndarray:
        """Rows in the order drawn: R with REWEIGHT where it is on; `steps` batches of them where a phase has steps."""
        rows = self._rows(phase)
        if not phase.step and phase.steps is None:
            return rows
        generator = numpy_generator(self.config.seed, self.config.method, epoch, phase.name, "order")
        weights = None
        if self.config.reweights and phase.data == "retain":
            weights, _ = reweight_weights(self.dataset.group[rows], self.dataset.group[self.splits.train])
        elif phase.sampling == "group_balanced":
            weights = group_balanced_weights(self.dataset.group[rows])
        if phase.steps is None:
            return draw(rows, weights, generator)
        needed = phase.steps * self._batch_size(phase)
        repeats = -(-needed // len(rows))
        return np.concatenate([draw(rows, weights, generator) for _ in range(repeats)])[:needed]

    def _drawn(
        self, draw: Callable[[torch.Generator, int], Tensor], phase: Phase, epoch: int, bounds: Bounds
    ) -> Tensor:
        """What the steps of a phase draw at random, one after the other, on the device."""
        seeds = (self.config.seed, self.config.method, epoch, phase.name)
        steps = enumerate(bounds)
        values = [draw(torch_generator(*seeds, step), stop - start) for step, (start, stop) in steps]
        return send(torch.cat(values), self.inference.device)

    def _augmented(self, phase: Phase) -> bool:
        wanted = self.config.use_train_aug if phase.augment is None else phase.augment
        return wanted and self.inference.loader.augments

    def _batch_size(self, phase: Phase) -> int:
        return phase.batch_size or self.config.batch_size
