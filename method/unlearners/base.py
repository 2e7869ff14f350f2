"""What a method is: phases (which data, which loss, whose parameters); the engine owns every loop.

In the docstrings of all methods: D, F, R and V are the train, forget, retain (D without F) and val sets; theta0 the
original's weights; E the epochs, e = 0 .. E - 1 one of them; CE cross-entropy, as a mean. "The published code" is that
of Group-robust Machine Unlearning (De Min et al., TMLR 2025). Where it departs from the papers of MIU and SalUn,
`--preset reference` does; docs/fidelity.md lists all departures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from utils.device import fused
from utils.seeding import torch_generator


@dataclass(frozen=True)
class Batch:
    """One step's samples on the device.

    image: (B, 3, S, S) normalised; target, group, index: (B,) int64, index a row of the data set's table.
    drawn: (B, ...) what `Phase.draw` gave for these samples, empty without it; augmented: whether the images were.
    size: samples of the step on all processes together, of which these are this process's; B may be 0.
    beside: the batch of `Phase.beside` in the same step.
    """

    image: Tensor
    target: Tensor
    group: Tensor
    index: Tensor
    drawn: Tensor = torch.empty(0)
    epoch: int = 0
    augmented: bool = False
    size: int = -1
    beside: Batch | None = None

    def __post_init__(self) -> None:
        if self.size < 0:
            object.__setattr__(self, "size", len(self.target))


@dataclass(frozen=True)
class Phase:
    """A pass over `data` (train, forget or retain) that descends `loss` in the parameters of one module.

    module: which of `Unlearner.modules()`; the others get no gradient.
    steps: that many batches in place of one pass; batch_size, augment: None takes the configuration's.
    step: False takes no step and adds up gradients over the pass, or hands each batch's alone to `collect`, which
    finds it in the parameters; train_mode: batch norm by batch statistics.
    sampling: in a pass with steps, all samples in a new order (shuffle), as many draws with every group as likely as
    another (group_balanced), or a subset of equal groups, the same all run, in a new order (subsample).
    reduction: whether the loss is the mean over a batch's samples or their sum.
    draw: (n, ...) random values for the n samples of a step, from a generator of that step alone. Both are on the CPU,
    so that every device gets the same; the engine sends them ahead, and a step finds them in `Batch.drawn`.
    beside: another phase, which takes no pass of its own: every step descends the sum of both losses, each of a batch
    of its own data, this one's first. The pass ends with this one's data. The other's are gone through again and again,
    in a new order each time, and without a gap: a batch may hold the last samples of one round and the first of the
    next. Batch norm sees the two batches one after the other. Of the other phase count name, loss, data, batch_size,
    augment, sampling, reduction and draw; its mean loss stands in the history too.
    """

    name: str
    loss: Callable[[Batch], Tensor]
    data: str
    module: str = "model"
    steps: int | None = None
    batch_size: int | None = None
    augment: bool | None = None
    step: bool = True
    collect: Callable[[], None] | None = None
    sampling: str = "shuffle"
    train_mode: bool = True
    reduction: str = "mean"
    draw: Callable[[torch.Generator, int], Tensor] | None = None
    beside: Phase | None = None


@dataclass(frozen=True)
class Task:
    """The facts of a run that losses may need; group_counts, retain_counts: (n_groups,) samples of D, R, on the CPU.

    darkest, brightest: the pixels of a normalised image that were 0 and 1, by channel; of features of a frozen network
    the least and the largest value over D, by feature.
    """

    n_targets: int
    n_groups: int
    n_rows: int
    group_counts: Tensor
    retain_counts: Tensor
    forget_groups: tuple[int, ...]
    epochs: int
    seed: int
    darkest: tuple[float, ...] = (-1.0, -1.0, -1.0)
    brightest: tuple[float, ...] = (1.0, 1.0, 1.0)

    def generator(self, *parts: object) -> torch.Generator:
        """Random numbers for something that is drawn once, named by `parts`."""
        return torch_generator(self.seed, *parts)


@dataclass(frozen=True)
class GroupAccuracy:
    """Counts by group, (n_groups,) on the CPU, of a set predicted in eval mode.

    group, confidence: (n,) int64 and float64, of each of its samples the group and the probability of its own target.
    """

    correct: Tensor
    count: Tensor
    group: Tensor = torch.empty(0, dtype=torch.int64)
    confidence: Tensor = torch.empty(0, dtype=torch.float64)

    def accuracy(self) -> float:
        """Share of right predictions, in percent, of a set that is not empty."""
        return 100 * int(self.correct.sum()) / int(self.count.sum())

    def accuracy_of(self, groups: Sequence[int]) -> float | None:
        """Share of right predictions, in percent, over some groups; None where they have no sample."""
        total = int(self.count[list(groups)].sum())
        return 100 * int(self.correct[list(groups)].sum()) / total if total else None

    def worst(self) -> float:
        """Accuracy of the worst group that is present, in percent."""
        present = self.count > 0
        return 100 * float((self.correct[present].double() / self.count[present].double()).min())


class Network(nn.Module):
    """What every network offers, `models.classifier.Classifier` or another: logits = head(features(image))."""

    head: nn.Linear
    feature_dim: int

    def features(self, image: Tensor) -> Tensor:
        """(B, feature_dim) input of the head."""
        raise NotImplementedError

    def untrained(self) -> nn.Module:
        """Another of the same architecture on the CPU, with initial weights from torch's generator."""
        raise NotImplementedError


class OriginalModel(Protocol):
    """The pretrained model: frozen and in eval mode for its whole life.

    train_mode: True where a method departs from that, with batch norm by (and moved by) the statistics of every batch.
    """

    module: nn.Module
    train_mode: bool

    def logits(self, batch: Batch) -> Tensor:
        """(B, n_targets) logits of the batch's images, without gradient."""

    def features(self, batch: Batch) -> Tensor:
        """(B, feature_dim) features of the batch's images, without gradient."""


@dataclass(frozen=True)
class NoParams:
    """A method without hyperparameters of its own."""

    def check(self) -> None:
        """Raise UserError for a combination that makes no sense."""


class Unlearner:
    """Base of every method. A subclass says its phases; the hooks below it may leave alone.

    reweight: REWEIGHT's default, None where no phase passes over R; forgets: False only for pretrain;
    from_original: starts from the pretrained weights; has_epochs: False where `prepare` is all it does, without a step;
    search: the `Range` of a key that methods share, where it is not the schema's.
    kept: weights that never change once they are in it, by a name for a file. They need not be in `state`: each is
    saved once, in a file of its own.
    """

    name: str
    reweight: bool | None = False
    forgets = True
    from_original = True
    has_epochs = True
    search: dict[str, Any] = {}
    # Unit and meaning of what `log` and `end_epoch` add to history.csv, and `extra_metrics` to metrics.json.
    history_columns: dict[str, tuple[str, str]] = {}
    metric_keys: dict[str, tuple[str, str]] = {}
    Params: type = NoParams

    def __init__(
        self,
        model: nn.Module,
        original: OriginalModel | None,
        params: Any,
        task: Task,
        measure: Callable[[str], GroupAccuracy],
    ):
        self.model = cast(Network, model)
        self.original = cast(OriginalModel, original)  # None for a method that is not from_original, and does not ask
        self.p, self.task, self.measure = params, task, measure
        self.kept: dict[str, dict[str, Tensor]] = {}
        self.logged: dict[str, list[Tensor]] = {}  # sums and counts since the last epoch

    def modules(self) -> dict[str, nn.Module]:
        """What can be trained, by the name a phase gives in `module`."""
        return {"model": self.model}

    def optimizer(self, name: str) -> torch.optim.Optimizer:
        """The optimiser of a module other than the model (whose optimiser the configuration decides)."""
        raise NotImplementedError(f"{self.name} has no optimiser for {name}")

    def prepare(self) -> Iterator[Phase]:
        """Phases before the first epoch; after each `yield` its gradients lie in the parameters."""
        return iter(())

    def phases(self, epoch: int) -> Iterator[Phase]:
        """The phases of an epoch, in order; a pure function of `epoch`."""
        if self.has_epochs:
            raise NotImplementedError(f"{self.name} has epochs, and says no phases")
        return iter(())

    def edit_gradients(self, phase: Phase) -> None:
        """Called between backward() and step()."""

    def after_step(self, phase: Phase) -> None:
        """Called after step()."""

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Called after an epoch; returns columns for its row of the history."""
        return {}

    def finish(self) -> None:
        """Called once after the last epoch: put the weights to keep into the model."""

    def extra_metrics(self) -> dict[str, Any]:
        """Keys that the method adds to metrics.json."""
        return {}

    def other_weights(self) -> dict[str, dict[str, Tensor]]:
        """Further weights worth a row of their own, by the key of metrics.json that holds their metrics."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a resumed run needs beside modules, optimisers and `kept`: tensors and plain values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` gave; `kept` is restored before."""

    def log(self, name: str, value: Tensor) -> None:
        """Add a value to this epoch's mean of `name` in the history, without waiting for the device."""
        total, count = self.logged.setdefault(name, [torch.zeros((), device=value.device), torch.zeros(())])
        total += value.detach().float()
        count += 1

    def take_logged(self) -> dict[str, float]:
        """The mean of every logged value since the last call, by name; the counting starts anew."""
        means = {name: float(total.cpu() / count) for name, (total, count) in self.logged.items()}
        self.logged.clear()
        return means


def gradients_of(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradients that lie in the parameters, in their order and shapes; ValueError where one has none."""
    found = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if len(found) < len(parameters):
        raise ValueError(f"{len(parameters) - len(found)} of {len(parameters)} parameters got no gradient")
    return found


def copy_weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's parameters and buffers that later steps cannot change."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def sgd(parameters: list[nn.Parameter], lr: float, momentum: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """Stochastic gradient descent, in one kernel a step on a GPU."""
    one_kernel = fused(parameters)
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=one_kernel)
    if one_kernel and momentum:
        # The kernel wants a buffer for all parameters that it steps or for none, and some may get a gradient later than
        # others. From zeros the first step is what it is without: momentum * 0 + gradient.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@contextlib.contextmanager
def initial_weights(generator: torch.Generator) -> Iterator[None]:
    """Within it, layers that are made or reset on the CPU draw from `generator`'s seed; the global state is kept."""
    with torch.random.fork_rng(devices=[]):
        # The CPU generator alone: torch.manual_seed would also reseed every GPU, whose states are not saved here.
        torch.default_generator.manual_seed(generator.initial_seed())
        yield


@contextlib.contextmanager
def batch_norm_buffers_kept(module: nn.Module) -> Iterator[None]:
    """Batch norm in train mode by batch statistics, with running statistics and counters left alone."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    tracked = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, value in zip(layers, tracked, strict=True):
            layer.track_running_stats = value
