"""The only training loop: per phase, per batch - loss, backward, edit gradients, clip, step."""

import csv
import io
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from datasets.base import GroupDataset
from datasets.splits import Splits
from method.configs.loading import Config
from method.training.batches import Batches
from method.training.inference import Inference
from method.training.optimizers import build_optimizer, learning_rate
from method.training.resume import HistoryRow, Position, Progress, Resumable
from method.unlearners.base import Batch, GroupAccuracy, Phase, Unlearner
from utils.collectives import any_of, sum_gradients
from utils.device import autocast, layer_generator, state_kept, synchronize
from utils.distributed import from_rank_0, rank, world_size
from utils.errors import Diverged, RunError
from utils.files import write_text
from utils.seeding import derive_seed
from utils.signals import Interrupted, interrupted, saving, stop_asked
from utils.text import estimate

REFRESH_SECONDS = 0.5
log = logging.getLogger("unlearning")


def clear_gradients(parameters: list[nn.Parameter]) -> None:
    """Take the gradients away, as before any backward pass."""
    for parameter in parameters:
        parameter.grad = None


def measure(
    inference: Inference, model: nn.Module, dataset: GroupDataset, rows: np.ndarray, what: str
) -> GroupAccuracy:
    """Right predictions by group on these rows, of which `what` is the name on the bar, and how sure they are."""
    logits, target = inference.apply(model, model, rows, what), torch.tensor(dataset.target[rows])
    groups, right = dataset.group[rows], (logits.argmax(dim=1).cpu() == target).numpy()
    counts = [torch.from_numpy(np.bincount(g, minlength=dataset.n_groups)) for g in (groups[right], groups)]
    confidence = logits.cpu().double().softmax(dim=1).gather(1, target[:, None])[:, 0]
    return GroupAccuracy(counts[0], counts[1], torch.tensor(groups), confidence)


def own_part(loss: Tensor, phase: Phase, batch: Batch) -> Tensor:
    """What this process's samples add to the loss of the whole batch.

    A mean counts by its share of the samples. These weights sum to one over processes, so a term that every process
    computes alike (a penalty on the weights, a bound whose means are global) counts once; and as the gradient of a
    global mean's argument is summed over processes on the way back (utils.collectives), each process holds its samples'
    part of that term's gradient, whatever its own weight.
    """
    if world_size() == 1 or phase.reduction == "sum":
        return loss
    return loss * (len(batch.target) / batch.size)


def with_beside(phase: Phase, batch: Batch) -> list[tuple[Phase, Batch]]:
    """The phases whose losses a step descends, with their batches: the phase itself, then the one beside it."""
    if phase.beside is None:
        return [(phase, batch)]
    if batch.beside is None:
        raise ValueError(f"the step of phase {phase.name} has no batch of phase {phase.beside.name} beside it")
    return [(phase, batch), (phase.beside, batch.beside)]


class Engine:
    """Runs an unlearner's phases over the data, keeps the history, saves and resumes, in mid-epoch too.

    on_epoch: is given every row of the history in order, those of a saved state first, each after it was saved.
    run: what says whose the saved state is.
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
        on_epoch: Callable[[HistoryRow], None] = lambda row: None,
        run: dict[str, Any] | None = None,
    ):
        self.config, self.unlearner, self.dataset, self.splits = config, unlearner, dataset, splits
        self.inference, self.device = inference, inference.device
        self.state_file, self.history_file, self.on_epoch = state_file, history_file, on_epoch
        self.modules = unlearner.modules()
        # Once and for all: to find them a module walks through all of its own modules.
        self.parameters = {name: list(module.parameters()) for name, module in self.modules.items()}
        self.optimizers = {name: unlearner.optimizer(name) for name in self.modules if name != "model"}
        if unlearner.has_epochs:
            self.optimizers["model"] = build_optimizer(config, self.parameters["model"])
        self.batches = Batches(config, dataset, splits, inference)
        self.resumable = Resumable(unlearner, self.modules, self.optimizers, run or {})
        self.progress = Progress()
        self.layer_generator = layer_generator(self.device)
        self._told = 0

    def train(self) -> None:
        """All epochs from where the saved state, if any, left off; then the unlearner's own last word.

        Interrupted where a stop signal has come: after the step at hand, with the state saved.
        """
        saved = self.resumable.load(self.state_file, self.device)
        self.progress = saved or Progress()
        self._tell()
        total = self._steps_from(Position())
        done = total - self._steps_from(self.at)
        quiet = rank() > 0 or None
        self.bar = tqdm(total=total or None, initial=done, desc=self.unlearner.name, unit="step", disable=quiet)
        with self.bar, state_kept(self.layer_generator), closing(self.batches):
            if saved is None:
                self._prepare()
            while self.at.epoch < self.config.n_epochs:
                self._epoch(self.at.epoch)
        self.unlearner.finish()

    @property
    def at(self) -> Position:
        """Where the run stands: epoch, phase and step."""
        return self.progress.at

    @property
    def seconds(self) -> float:
        """Seconds of training, over all starts of the run."""
        return self.progress.seconds

    def _prepare(self) -> None:
        """What comes before the first epoch is not saved in parts: interrupted there, it starts again."""
        for phase in self.unlearner.prepare():
            self._timed(phase, -1, 0, 1)
            self.progress.at = Position(seconds=self.at.seconds)  # they count in the first epoch's row

    def _epoch(self, epoch: int) -> None:
        phases = list(self.unlearner.phases(epoch))
        done, n_steps = 0, sum(self._model_steps(phase) for phase in phases)
        for number, phase in enumerate(phases):
            if number >= self.at.phase:
                loss = self._timed(phase, epoch, done, n_steps)
                losses = self.at.row | {f"{phase.name}_loss": loss}
                self.progress.at = Position(epoch, number + 1, row=losses, seconds=self.at.seconds)
            done += self._model_steps(phase)
        row: HistoryRow = {"epoch": epoch, **self.at.row}
        row |= {"lr": self.optimizers["model"].param_groups[0]["lr"]} if self.unlearner.has_epochs else {}
        row["seconds"] = self.at.seconds
        ended = self._end_epoch(epoch)
        row |= {**self.unlearner.take_logged(), **ended}
        self.progress.history.append(row)
        self.progress.at = Position(epoch + 1)
        from_rank_0(lambda: write_text(self.history_file, history_csv(self.progress.history)))
        # Where no terminal is, the log shows that the run lives. The line is for a folder that is still this process's
        # own, which writing into it has shown.
        if self.bar.disable and rank() == 0:
            log.info("%s", self._describe_epoch(row))
        if self.at.epoch == self.config.n_epochs or from_rank_0(self.resumable.worth_saving):
            self._save()

    def _describe_epoch(self, row: HistoryRow) -> str:
        """`miu: epoch 3 of 10, retain loss 0.0712, val accuracy 93.1 %, 12.3 s, about 90 s left`."""
        losses = [
            f"{name[:-5]} loss {value:.4g}"
            for name, value in row.items()
            if name.endswith("_loss") and value is not None
        ]
        val = [f"val accuracy {row['val_acc']:.1f} %"] if row.get("val_acc") is not None else []
        left, done = self._steps_from(self.at), self._steps_from(Position()) - self._steps_from(self.at)
        rest = [f"about {estimate(self.seconds * left / done)} left"] if left and done else []
        start = f"{self.unlearner.name}: epoch {self.at.epoch} of {self.config.n_epochs}"
        return ", ".join([start, *losses, *val, f"{row['seconds']:.1f} s", *rest])

    def _save(self) -> None:
        """Save the state; only then tell the epochs that it ends, so that none is told twice."""
        with saving():
            self.resumable.save(self.state_file, self.progress)
        self._tell()

    def _tell(self) -> None:
        for row in self.progress.history[self._told :]:
            self.on_epoch(row)
        self._told = len(self.progress.history)

    def _end_epoch(self, epoch: int) -> HistoryRow:
        """The unlearner's columns, and every `evaluate_every` epochs a look at V, on which nothing depends."""
        try:
            found: HistoryRow = {**self.unlearner.end_epoch(epoch)}
            every = self.config.evaluate_every
            if every and (epoch + 1) % every == 0 and "val_acc" not in found:
                val = measure(self.inference, self.unlearner.model, self.dataset, self.splits.val, "val")
                found |= {"val_acc": val.accuracy(), "val_worst_group_acc": val.worst()}
            return found
        except Interrupted:  # while measuring, which can be done again
            self._save()
            raise

    def _timed(self, phase: Phase, epoch: int, done: int, n_steps: int) -> float:
        self._clock = time.perf_counter()
        loss = self._phase(phase, epoch, done, n_steps)
        synchronize(self.device)
        self._count_seconds()
        return loss

    def _count_seconds(self) -> None:
        """Add the time since the last call."""
        now = time.perf_counter()
        self.progress.seconds += now - self._clock
        self.at.seconds += now - self._clock
        self._clock = now

    def _phase(self, phase: Phase, epoch: int, done: int, n_steps: int) -> float:
        """One phase, or the rest of it; returns its mean loss."""
        optimizer = self.optimizers[phase.module] if phase.step else None
        for name, module in self.modules.items():
            module.requires_grad_(name == phase.module)
            module.train(phase.train_mode)
        clear_gradients(self.parameters[phase.module])
        self._steps(phase, epoch, optimizer, done, n_steps)
        if not phase.step and not phase.collect:
            self.at.loss = sum_gradients(self.parameters[phase.module], torch.as_tensor(self.at.loss))
        self._check_finite(phase, epoch)
        return float(self.at.loss) / self.at.step

    def _steps(
        self, phase: Phase, epoch: int, optimizer: torch.optim.Optimizer | None, done: int, n_steps: int
    ) -> None:
        """The batches that are left of a phase. Nothing here waits for the device but the bar and a saved state."""
        shown = time.monotonic()
        batches = self._saved_where_stopped(self.batches.of(phase, epoch, self.at.step), phase, epoch)
        for step, batch in enumerate(batches, start=self.at.step):
            if optimizer is not None and phase.module == "model":
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(self.config, epoch, done + step, n_steps)
            loss = self._step(phase, batch, optimizer)
            self.at.loss, self.at.step = self.at.loss + loss, step + 1
            self.bar.update(int(phase.step and epoch >= 0))  # phases before the first epoch are not in the total
            if not self.bar.disable and time.monotonic() - shown > REFRESH_SECONDS:
                self._show(phase, epoch, loss)
                shown = time.monotonic()
            self._between_steps(phase, epoch)

    def _between_steps(self, phase: Phase, epoch: int) -> None:
        """Save where it is time to, and stop where a signal asks for it."""
        every = self.config.save_every
        stop = any_of(stop_asked())
        if stop or (every and self.at.step % every == 0):
            self._save_after_step(phase, epoch)
        if stop:
            raise interrupted()

    def _save_after_step(self, phase: Phase, epoch: int) -> None:
        """Gradients that only add up, and what comes before the first epoch, are no part of the state."""
        if phase.step and epoch >= 0:
            self._check_finite(phase, epoch)
            self._count_seconds()
            self._save()

    def _saved_where_stopped(self, batches: Iterator[Batch], phase: Phase, epoch: int) -> Iterator[Batch]:
        """The batches; where a stop signal comes while one does not, the state is that of the step before."""
        try:
            yield from batches
        except Interrupted:
            if world_size() == 1:  # the others may be in the middle of this step, and could not join in
                self._save_after_step(phase, epoch)
            raise

    def _step(self, phase: Phase, batch: Batch, optimizer: torch.optim.Optimizer | None) -> Tensor:
        alone = phase.step or phase.collect  # the gradients of this batch, and no others
        if alone:
            clear_gradients(self.parameters[phase.module])
        if phase.train_mode:  # what layers such as dropout draw is a function of the step too
            at = (self.config.seed, self.config.method, batch.epoch, phase.name, self.at.step)
            self.layer_generator.manual_seed(derive_seed("layers", *at, rank()))
        losses = torch.stack([self._add_gradients(*one) for one in with_beside(phase, batch)])
        if alone:
            losses = sum_gradients(self.parameters[phase.module], losses)
        self.unlearner.edit_gradients(phase)
        if phase.collect:
            phase.collect()
        if optimizer is not None:
            if self.config.max_grad_norm and phase.module == "model":
                nn.utils.clip_grad_norm_(self.parameters["model"], self.config.max_grad_norm)
            optimizer.step()
            self.unlearner.after_step(phase)
        if phase.beside is not None:
            self.unlearner.log(f"{phase.beside.name}_loss", losses[1])
        return losses.sum()

    def _add_gradients(self, phase: Phase, batch: Batch) -> Tensor:
        """Add the gradients of this process's samples to those that lie there; returns what they add to the loss."""
        with autocast(self.device, self.inference.precision):
            loss = own_part(self._loss(phase, batch), phase, batch)
        loss.backward()
        # The mean over no samples is NaN; no sample passes it on as a gradient.
        return loss.detach() if len(batch.target) else torch.zeros_like(loss)

    def _loss(self, phase: Phase, batch: Batch) -> Tensor:
        try:
            return phase.loss(batch)
        except ValueError as error:
            if batch.size > 1 or "per channel" not in str(error):
                raise
            raise RunError(
                f"phase {phase.name} has a batch of one image, on which batch norm cannot train at this --image_size: "
                "forget or keep more samples, give a --batch_size of 2 or more, or a larger --image_size"
            ) from None

    def _show(self, phase: Phase, epoch: int, loss: Tensor) -> None:
        """Refresh the bar; reading the loss waits for the device, so this is rare."""
        numbered = f"{epoch + 1}/{self.config.n_epochs} " if epoch >= 0 else ""
        self.bar.set_description(f"{self.unlearner.name} {numbered}{phase.name}", refresh=False)
        rate = {"lr": f"{self.optimizers[phase.module].param_groups[0]['lr']:.2g}"} if phase.step else {}
        self.bar.set_postfix({"loss": f"{float(loss):.4f}", **rate})
        self._check_finite(phase, epoch)

    def _check_finite(self, phase: Phase, epoch: int) -> None:
        """RunError where a loss of the phase was not finite, and so their sum; reading it waits for the device."""
        if math.isfinite(self.at.loss):
            return
        if not phase.step:
            raise RunError(
                f"the loss of phase {phase.name} is not finite before any step: look at the metrics of the original, "
                "and make it again with a lower --lr"
            )
        rate = self.optimizers[phase.module].param_groups[0]["lr"]
        remedy = f"a lower learning rate of the {phase.module} usually helps (--help, under {self.unlearner.name})"
        if phase.module == "model":
            rate, remedy = self.config.lr, "a lower --lr or --max_grad_norm 1 usually helps"
        raise Diverged(
            f"the loss of phase {phase.name} is not finite in epoch {epoch} (learning rate {rate:g}); {remedy}"
        )

    def _model_steps(self, phase: Phase) -> int:
        """Of the steps that the learning rate is scheduled over, those of this phase."""
        return self.batches.count(phase) if phase.module == "model" else 0

    def _steps_from(self, at: Position) -> int:
        """Steps that are left at a position."""
        epochs = range(at.epoch, self.config.n_epochs)
        phases = [phase for epoch in epochs for phase in self.unlearner.phases(epoch)]
        steps = [self.batches.count(phase) * phase.step for phase in phases]
        return sum(steps[at.phase :]) - at.step


def history_csv(history: list[HistoryRow]) -> str:
    """One line an epoch; a column is empty where an epoch has no value for it."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
