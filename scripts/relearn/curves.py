"""Fine-tuning by the engine, with accuracies taken between its steps."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from datasets.base import GroupDataset
from datasets.loading.loaders import n_batches
from datasets.splits import Splits
from method.configs.loading import Config
from method.evaluation.relearning import MARGIN, accuracy_of
from method.runs.findings import ORIGINAL
from method.training.engine import Engine, measure
from method.unlearners.base import Batch, GroupAccuracy, NoParams, Phase, Task, Unlearner
from scripts.relearn.bench import Bench
from utils.device import random_state_kept

DENSER = 1.25  # how much later each look at a relearning model is than the one before
Curve = dict[str, Any]  # steps, and by step and group the right predictions; count by group


class Relearner(Unlearner):
    """Cross-entropy in stretches of steps, one an epoch of the engine, with a look at the model before and after each.

    data: what is drawn from, "retain" or "forget"; stretches: steps of each. enough: ends it after a look.
    """

    name = "relearn"

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        data: str,
        stretches: Sequence[int],
        look: Callable[[str], GroupAccuracy],
        enough: Callable[[GroupAccuracy], bool] = lambda found: False,
    ) -> None:
        super().__init__(model, None, NoParams(), task, look)
        self.data, self.stretches, self.enough = data, stretches, enough
        self.seen: list[GroupAccuracy] = []

    def phases(self, epoch: int) -> Iterator[Phase]:
        """The stretch of this number; none where there was enough."""
        if not self._ended():
            yield Phase("relearn", self.fit, data=self.data, steps=self.stretches[epoch])

    def fit(self, batch: Batch) -> Tensor:
        """Cross-entropy of the true labels."""
        return cross_entropy(self.model(batch.image), batch.target)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """A look at the model."""
        if not self._ended():
            self.seen.append(self.measure("relearned"))
        return {}

    def _ended(self) -> bool:
        return bool(self.seen) and self.enough(self.seen[-1])


def shown_rows(bench: Bench, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (k,) of the forgotten samples that are shown, the first of one order, and those that are asked for.

    These are the rest, at most `samples` of it, without what shows the same thing as one that is shown.
    """
    shown, rest = bench.pool[:k], bench.pool[k:]
    known = set(bench.dataset.units(shown))
    rest = rest[[unit not in known for unit in bench.dataset.units(rest)]] if known else rest
    return np.sort(shown), np.sort(rest[: bench.options.samples])


def relearn_curve(bench: Bench, name: str, k: int) -> Curve:
    """Accuracy on the rest of the forget set while model `name` trains on retained and k forgotten samples."""
    shown, rest = shown_rows(bench, k)
    splits = replace(bench.splits, retain=np.sort(np.concatenate([bench.splits.retain, shown])))
    return fine_tune(bench, name, "retain", splits, (0, *bench.options.steps), rest)


def relearn_time(bench: Bench, name: str) -> Curve:
    """Accuracy on the forget set while model `name` trains on it, until the original's is reached, at most `epochs`.

    It holds the original's accuracy as `target`, and `steps_a_pass`.
    """
    rows = bench.splits.forget
    target = accuracy_of(*counts(look_at(bench, bench.networks[ORIGINAL], rows)))
    steps_a_pass = n_batches(len(rows), bench.config.batch_size)

    def enough(found: GroupAccuracy) -> bool:
        return accuracy_of(*counts(found)) >= target - MARGIN

    steps = rising(bench.options.epochs * steps_a_pass)
    curve = fine_tune(bench, name, "forget", bench.splits, steps, rows, enough)
    return {**curve, "target": target, "steps_a_pass": steps_a_pass}


def rising(last: int) -> tuple[int, ...]:
    """0, then steps that lie ever further apart, up to `last`: 0, 1, 2, 3, 4, 5, 7, 9, ..."""
    steps = [0, 1]
    while steps[-1] < last:
        steps.append(min(max(steps[-1] + 1, round(steps[-1] * DENSER)), last))
    return tuple(steps)


def fine_tune(
    bench: Bench,
    name: str,
    data: str,
    splits: Splits,
    steps: Sequence[int],
    asked: np.ndarray,
    enough: Callable[[GroupAccuracy], bool] = lambda found: False,
) -> Curve:
    """Train a copy of model `name` on the part of `splits` that `data` names; look at `asked` after each of `steps`.

    Batches depend on the seed, the part and the steps alone: all models get the same. The first of `steps` is 0.
    """
    model = bench.copy_of(name)
    stretches = [after - before for before, after in pairwise(steps)]
    config = replace(bench.config, values=MappingProxyType({**bench.config.values, "epochs": len(stretches)}))
    task = task_of(bench.dataset, splits, config)
    relearner = Relearner(model, task, data, stretches, lambda what: look_at(bench, model, asked), enough)
    relearner.seen.append(look_at(bench, model, asked))
    # What the engine saves is of no use later: a curve is short, and kept once it is whole.
    with tempfile.TemporaryDirectory() as folder, random_state_kept(bench.inference.device):
        files = Path(folder, "last.pt"), Path(folder, "history.csv")
        Engine(config, relearner, bench.dataset, splits, bench.inference, *files).train()
    correct, count = zip(*(counts(found) for found in relearner.seen), strict=True)
    return {
        "steps": list(steps[: len(correct)]),
        "correct": [one.tolist() for one in correct],
        "count": count[0].tolist(),
    }


def task_of(dataset: GroupDataset, splits: Splits, config: Config) -> Task:
    """The facts of the data, as any method gets them."""
    return Task(
        n_targets=dataset.n_targets,
        n_groups=dataset.n_groups,
        n_rows=len(dataset),
        group_counts=torch.from_numpy(dataset.count_groups(splits.train)),
        retain_counts=torch.from_numpy(dataset.count_groups(splits.retain)),
        forget_groups=splits.forget_groups,
        epochs=config.n_epochs,
        seed=config.seed,
    )


def look_at(bench: Bench, model: nn.Module, rows: np.ndarray) -> GroupAccuracy:
    """Right predictions of these rows by group."""
    return measure(bench.inference, model, bench.dataset, rows, "relearned")


def counts(found: GroupAccuracy) -> tuple[np.ndarray, np.ndarray]:
    """Right predictions and samples, int (n_groups,) each."""
    return found.correct.numpy(), found.count.numpy()
