"""The only training loop: per phase, per batch - loss, backward, edit gradients, clip, step."""

import csv
import io
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from datasets.base import GroupDataset
from datasets.loaders import n_batches
from datasets.sampling import draw, reweight_weights
from datasets.splits import Splits
from method.configs.loading import Config
from method.inference import Inference
from method.unlearners.base import Batch, GroupAccuracy, Phase, Unlearner
from utils.device import autocast, synchronize
from utils.errors import RunError
from utils.files import write_atomic, write_text
from utils.seeding import derive_seed, numpy_generator, torch_generator

REFRESH_SECONDS = 0.5


def learning_rate(config: Config, epoch: int, step: int, n_steps: int) -> float:
    """Linear warm-up per step (step i of n: lr (i+1)/n, never 0), then the schedule per epoch, T_max = E - warm-up."""
    if epoch < config.warmup_epochs:
        return config.lr * (epoch + (step + 1) / n_steps) / config.warmup_epochs
    if config.scheduler == "cosine":
        progress = (epoch - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
        return config.lr * (1 + math.cos(math.pi * progress)) / 2
    return config.lr


def build_optimizer(config: Config, parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of the network."""
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def measure(
    inference: Inference, model: nn.Module, dataset: GroupDataset, rows: np.ndarray, what: str
) -> GroupAccuracy:
    """Right predictions by group on these rows."""
    predicted = inference.apply(model, model, rows, what).argmax(dim=1).cpu().numpy()
    groups, right = dataset.group[rows], predicted == dataset.target[rows]
    counts = [torch.from_numpy(np.bincount(g, minlength=dataset.n_groups)) for g in (groups[right], groups)]
    return GroupAccuracy(*counts)


class Engine:
    """Runs an unlearner's phases over the data, keeps the history, saves and resumes after every epoch.

    on_epoch: is given every row of the history in order, those of a saved state first, each after it was saved.
    """

    def __init__(
        self,
        config: Config,
        unlearner: Unlearner,
        dataset: GroupDataset,
        splits: Splits,
        inference: Inference,
        state_file: Path,
        history_file: Path,
        on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
    ):
        self.config, self.unlearner, self.dataset, self.splits = config, unlearner, dataset, splits
        self.inference, self.loader, self.device = inference, inference.loader, inference.device
        self.state_file, self.history_file, self.on_epoch = state_file, history_file, on_epoch
        self.modules = unlearner.modules()
        self.optimizers = {name: unlearner.optimizer(name) for name in self.modules if name != "model"}
        self.optimizers["model"] = build_optimizer(config, self.modules["model"].parameters())
        self.rows = {"train": splits.train, "forget": splits.forget, "retain": splits.retain}
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.finite = torch.ones((), dtype=torch.bool, device=self.device)

    def train(self) -> None:
        """All epochs from where the saved state, if any, left off; then the unlearner's own last word."""
        first = self._load_state()
        for row in self.history:
            self.on_epoch(row)
        with tqdm(total=self._steps_left(first), desc=self.unlearner.name, unit="step", disable=None) as self.bar:
            if first == 0:
                for phase in self.unlearner.prepare():
                    self._timed(phase, -1, 0, 1)
            for epoch in range(first, self.config.epochs):
                self._epoch(epoch)
        self.unlearner.finish()

    def _epoch(self, epoch: int) -> None:
        phases = list(self.unlearner.phases(epoch))
        n_steps = sum(self.n_steps(phase) for phase in phases if phase.trains == "model")
        row: dict[str, float] = {"epoch": epoch}
        done, before = 0, self.seconds
        for phase in phases:
            row[f"{phase.name}_loss"] = self._timed(phase, epoch, done, n_steps)
            done += self.n_steps(phase) if phase.trains == "model" else 0
        row["lr"] = self.optimizers["model"].param_groups[0]["lr"]
        row["seconds"] = self.seconds - before
        row |= self.unlearner.take_logged()
        row |= self.unlearner.end_epoch(epoch)
        self.history.append(row)
        self._save_state()
        self.on_epoch(row)

    def _timed(self, phase: Phase, epoch: int, done: int, n_steps: int) -> float:
        start = time.perf_counter()
        loss = self._phase(phase, epoch, done, n_steps)
        synchronize(self.device)
        self.seconds += time.perf_counter() - start
        return loss

    def _phase(self, phase: Phase, epoch: int, done: int, n_steps: int) -> float:
        """One phase; returns its mean loss."""
        optimizer = self.optimizers[phase.trains]
        for name, module in self.modules.items():
            module.requires_grad_(name == phase.trains)
            module.train(phase.train_mode)
        optimizer.zero_grad(set_to_none=True)
        total, count, shown = torch.zeros((), device=self.device), 0, time.monotonic()
        for step, batch in enumerate(self._batches(phase, epoch)):
            if phase.trains == "model" and phase.step:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(self.config, epoch, done + step, n_steps)
            loss = self._step(phase, batch, optimizer)
            total, count = total + loss, count + 1
            self.finite &= torch.isfinite(loss)
            self.bar.update(int(phase.step))  # phases before the first epoch are not in the total
            if not self.bar.disable and time.monotonic() - shown > REFRESH_SECONDS:
                self._show(phase, epoch, loss, optimizer)
                shown = time.monotonic()
        self._check_finite(phase, epoch)
        return float(total) / count

    def _step(self, phase: Phase, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
        if phase.step:
            optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.inference.precision):
            loss = self._loss(phase, batch)
        loss.backward()
        self.unlearner.edit_gradients(phase)
        if phase.step:
            if self.config.max_grad_norm and phase.trains == "model":
                nn.utils.clip_grad_norm_(self.modules["model"].parameters(), self.config.max_grad_norm)
            optimizer.step()
            self.unlearner.after_step(phase)
        return loss.detach()

    def _loss(self, phase: Phase, batch: Batch) -> Tensor:
        try:
            return phase.loss(batch)
        except ValueError as error:
            if len(batch.target) > 1 or "per channel" not in str(error):
                raise
            raise RunError(
                f"phase {phase.name} has a batch of one image, on which batch norm cannot train at this --image_size: "
                "forget or keep more samples, give a --batch_size of 2 or more, or a larger --image_size"
            ) from None

    def _show(self, phase: Phase, epoch: int, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Refresh the bar; reading the loss waits for the device, so this is rare."""
        self.bar.set_description(f"{self.unlearner.name} {epoch + 1}/{self.config.epochs} {phase.name}", refresh=False)
        self.bar.set_postfix(loss=f"{float(loss):.4f}", lr=f"{optimizer.param_groups[0]['lr']:.2g}")
        self._check_finite(phase, epoch)

    def _check_finite(self, phase: Phase, epoch: int) -> None:
        if not bool(self.finite):
            rate = self.optimizers[phase.trains].param_groups[0]["lr"]
            remedy = f"a lower learning rate of the {phase.trains} usually helps (--help, under {self.unlearner.name})"
            if phase.trains == "model":
                rate, remedy = self.config.lr, "a lower --lr or --max_grad_norm 1 usually helps"
            raise RunError(
                f"the loss of phase {phase.name} is not finite in epoch {epoch} (learning rate {rate:g}); {remedy}"
            )

    def _augmented(self, phase: Phase) -> bool:
        wanted = self.config.use_train_aug if phase.augment is None else phase.augment
        return wanted and self.loader.augments

    def _batch_size(self, phase: Phase) -> int:
        return phase.batch_size or self.config.batch_size

    def n_steps(self, phase: Phase) -> int:
        """Batches of a phase."""
        return phase.steps or n_batches(len(self.rows[phase.data]), self._batch_size(phase))

    def _steps_left(self, first: int) -> int:
        epochs = range(first, self.config.epochs)
        return sum(self.n_steps(phase) for epoch in epochs for phase in self.unlearner.phases(epoch))

    def _order(self, phase: Phase, epoch: int) -> np.ndarray:
        """Rows in the order drawn: R with REWEIGHT where it is on; `steps` batches of them where a phase has steps."""
        rows = self.rows[phase.data]
        if not phase.step:
            return rows
        generator = numpy_generator(self.config.seed, self.config.method, epoch, phase.name, "order")
        weights = None
        if self.config.reweights and phase.data == "retain":
            weights, _ = reweight_weights(self.dataset.group[rows], self.dataset.group[self.splits.train])
        if phase.steps is None:
            return draw(rows, weights, generator)
        needed = phase.steps * self._batch_size(phase)
        repeats = -(-needed // len(rows))
        return np.concatenate([draw(rows, weights, generator) for _ in range(repeats)])[:needed]

    def _batches(self, phase: Phase, epoch: int) -> Iterator[Batch]:
        seeds = (self.config.seed, self.config.method, epoch, phase.name)
        augmented = self._augmented(phase)
        augment_seed = derive_seed(self.config.seed, epoch, phase.name, "augment") if augmented else None
        batches = self.loader.batches(self._order(phase, epoch), self._batch_size(phase), augment_seed)
        for step, batch in enumerate(batches):
            yield Batch(
                self.inference.image(batch["image"]),
                *(batch[name].to(self.device, non_blocking=True) for name in ("target", "group", "index")),
                generator=torch_generator(*seeds, step),
                epoch=epoch,
                augmented=augmented,
            )

    def _save_state(self) -> None:
        state = {
            "history": self.history,
            "seconds": self.seconds,
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "unlearner": self.unlearner.state(),
        }
        write_text(self.history_file, history_csv(self.history))
        write_atomic(self.state_file, lambda file: torch.save(state, file))

    def _load_state(self) -> int:
        """Take back the last saved epoch; returns the epoch to go on with."""
        if not self.state_file.exists():
            return 0
        try:
            state: dict[str, Any] = torch.load(self.state_file, map_location=self.device, weights_only=True)
            self._take_back(state)
        except torch.OutOfMemoryError:  # the file may be whole
            raise
        except Exception as error:  # torch.load raises nearly anything on damaged bytes
            raise RunError(
                f"{self.state_file} is damaged, or no saved state of this run ({type(error).__name__}): "
                "--overwrite starts the run anew"
            ) from error
        return len(self.history)

    def _take_back(self, state: dict[str, Any]) -> None:
        self.history, self.seconds = list(map(dict, state["history"])), float(state["seconds"])
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.unlearner.load_state(state["unlearner"])


def history_csv(history: list[dict[str, float]]) -> str:
    """One line an epoch; a column is empty where an epoch has no value for it."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
