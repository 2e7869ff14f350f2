"""A tiny network, data set and run: the real engine, loader and unlearners on the CPU in fp32, milliseconds a step."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from datasets.base import TEST, TRAIN, VAL, GroupDataset
from datasets.loading.loaders import Loader
from datasets.splits import Splits, make_splits
from method.configs.loading import Config, resolve
from method.configs.schema import all_keys, keys_of, plain_fields
from method.registry import METHODS
from method.runs.data import Data
from method.runs.runner import build_unlearner
from method.training.engine import Engine
from method.training.inference import Inference
from method.training.original import Original
from method.unlearners.base import Batch, Phase, Task, Unlearner

CPU = torch.device("cpu")
SIZE = 4
N_TARGETS, N_SENSITIVE = 3, 2
N_GROUPS = N_TARGETS * N_SENSITIVE
FORGET_GROUP = 3
GROUP_COUNTS = (12, 6, 9, 10, 4, 13)  # train samples by group

State = dict[str, Tensor]


class TinyNet(nn.Module):
    """Convolution, batch norm, ReLU, mean, linear: 213 parameters, the interface of models.classifier.Classifier."""

    def __init__(self, seed: int = 0, n_targets: int = N_TARGETS, feature_dim: int = 6) -> None:
        super().__init__()
        self.feature_dim, self.n_targets = feature_dim, n_targets
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = nn.Sequential(
                nn.Conv2d(3, feature_dim, 3, padding=1, bias=False),
                nn.BatchNorm2d(feature_dim),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
            self.head = nn.Linear(feature_dim, n_targets)

    def features(self, image: Tensor) -> Tensor:
        """(n, 3, S, S) images to (n, feature_dim)."""
        return self.backbone(image)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image))


class TinyData(GroupDataset):
    """Noise with a pattern for the target and a brightness for the sensitive attribute; 3 x 2 groups."""

    name, folder, view = "tiny", "", "none"
    forget_pairs = (divmod(FORGET_GROUP, N_SENSITIVE),)
    in_memory, fixed_size = True, SIZE

    def __init__(self) -> None:
        cells = list(product(range(N_TARGETS), range(N_SENSITIVE)))
        counts = {TRAIN: GROUP_COUNTS, VAL: (3,) * N_GROUPS, TEST: (2,) * N_GROUPS}
        rows = [
            (target, sensitive, split)
            for split, numbers in counts.items()
            for (target, sensitive), n in zip(cells, numbers, strict=True)
            for _ in range(n)
        ]
        rng = np.random.default_rng(0)
        rows = rng.permutation(np.array(rows))
        target, sensitive, split = rows.T
        names = [f"{number}.png" for number in range(len(rows))]
        super().__init__(None, names, target, sensitive, split, tuple("abc"), tuple("xy"))
        patterns = rng.normal(size=(N_TARGETS, 3, SIZE, SIZE))
        values = 128 + 25 * patterns[target] + 30 * (sensitive - 0.5)[:, None, None, None]
        values = values + 25 * rng.normal(size=values.shape)
        self.pixels = values.clip(0, 255).astype(np.uint8)

    def images(self, rows: np.ndarray | Tensor) -> Tensor:
        """(n, 3, S, S) float32: the normalised images of these rows."""
        return (torch.from_numpy(self.pixels[np.asarray(rows)]).float() / 255 - 0.5) / 0.5


class FlippingLoader(Loader):
    """A loader with a training view: an image is mirrored by a coin of the augmentation seed and its row."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.augments = True

    def batches(
        self, order: np.ndarray, batch_size: int, augment_seed: int | None, first: int = 0, part: Any = list
    ) -> Iterator[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(augment_seed or 0)
        sides = torch.randint(2, (len(tiny_data()), 1, 1, 1), generator=generator).bool()
        for batch in super().batches(order, batch_size, augment_seed, first, part):
            coins = sides[batch["index"]]
            if augment_seed is not None:
                batch["image"] = torch.where(coins, batch["image"].flip(3), batch["image"])
            yield batch


@cache
def tiny_data() -> TinyData:
    """The one tiny data set."""
    return TinyData()


def trained_network() -> TinyNet:
    """A copy of a network that fits D: the original of the tests."""
    return copy.deepcopy(_trained_network())


@cache
def _trained_network() -> TinyNet:
    data = tiny_data()
    rows = np.flatnonzero(data.split == TRAIN)
    model, images, target = TinyNet(), data.images(rows), torch.tensor(data.target[rows])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(40):
        optimizer.zero_grad()
        cross_entropy(model(images), target).backward()
        optimizer.step()
    return model.eval()


def task(**facts: Any) -> Task:
    """The facts of the tiny data set, or others."""
    known = {
        "n_targets": N_TARGETS,
        "n_groups": N_GROUPS,
        "n_rows": len(tiny_data()),
        "group_counts": torch.tensor(GROUP_COUNTS),
        "retain_counts": torch.tensor(GROUP_COUNTS),
        "forget_groups": (FORGET_GROUP,),
        "epochs": 10,
        "seed": 0,
    }
    return Task(**(known | facts))


def batch_of(rows: np.ndarray | list[int], draw: Any = None, seed: int = 0, **fields: Any) -> Batch:
    """These rows of the tiny data set; draw: as a phase's, from `seed`; `fields` replace what a batch has."""
    data, rows = tiny_data(), torch.tensor(np.array(rows, dtype=np.int64))
    known = {
        "image": data.images(rows),
        "target": torch.tensor(data.target)[rows],
        "group": torch.tensor(data.group)[rows],
        "index": rows,
        "drawn": draw and draw(torch.Generator().manual_seed(seed), len(rows)),
    }
    return Batch(**(known | fields))


def settings(method: str, **flags: Any) -> Config:
    """A configuration; a flag of None takes the method's default.

    The values below make every term of a step count, and nothing that is tuned for digits is left to digits.yaml.
    """
    unknown = set(flags) - set(keys_of(method))
    if unknown:
        raise KeyError(f"{method} has no {unknown}")
    common = {
        "dataset": "digits",
        "unlearning_ratio": 0.9,
        "epochs": 2,
        "batch_size": 4,
        "lr": 0.05,
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 0.01,
        "scheduler": "const",
        "warmup_epochs": 0,
        "max_grad_norm": 0.0,
        "use_train_aug": True,
        "precision": "fp32",
        "forget_epochs": 1,
        "select": "best_val",
        "scrub_batch_size_retain": 8,
        "scrub_alpha": 0.001,
        "scrub_gamma": 0.99,
        "scrub_temperature": 4.0,
        "salun_saliency_ratio": 0.5,
        "salun_relabel": "uniform",
        "ssd_alpha": 1.0,
        "ssd_dampening": 1.0,
        "iu_scale": 1.0,
        "iu_damping": 1.0,
        "miu_mine_lr": 0.01,
        "miu_lambda_mi": 1.0,
        "miu_critic_steps_first": 6,
        "miu_critic_steps": 3,
        "l1_sparse_penalty": 5e-4,
        "l1_sparse_free_epochs": 1,
    }
    chosen = {"method": method, **common, **flags}
    return resolve({name: value for name, value in chosen.items() if value is not None})


class Directly:
    """The original without a table."""

    train_mode = False

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval().requires_grad_(False)

    def logits(self, batch: Batch) -> Tensor:
        """(B, n_targets), no gradient."""
        return self.module(batch.image).detach()

    def features(self, batch: Batch) -> Tensor:
        """(B, feature_dim), no gradient."""
        return self.module.features(batch.image).detach()


def build(
    kind: type[Unlearner],
    measure: Any = None,
    facts: dict[str, Any] | None = None,
    model: nn.Module | None = None,
    original: nn.Module | None = None,
    **params: Any,
) -> Any:
    """An unlearner without an engine; facts: what differs in its Task."""
    frozen = Directly(original or trained_network())
    return kind(model or trained_network(), frozen, params_of(kind, **params), task(**(facts or {})), measure)


def params_of(kind: type[Unlearner], **values: Any) -> Any:
    """A method's `Params`; what methods share stands at its default."""
    return kind.Params(**{name: all_keys()[name].default for name in plain_fields(kind.name)} | values)


@dataclass
class Run:
    """Everything of one run."""

    config: Config
    splits: Splits
    inference: Inference
    model: TinyNet
    original: Original | None
    unlearner: Unlearner
    engine: Engine

    @property
    def history(self) -> list[dict[str, float]]:
        """One row a finished epoch."""
        return self.engine.progress.history

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What is trained, and the original."""
        original = {} if self.original is None else {"original": self.original.module}
        return self.unlearner.modules() | original


def make_run(method: str, folder: Path, kind: type[Engine] = Engine, augment: bool = False, **flags: Any) -> Run:
    """A run of `method` on the tiny data in `folder`; augment: with a training view; kind: an engine that spies."""
    config, data = settings(method, **flags), tiny_data()
    pairs = data.forget_pairs if METHODS[method].forgets else ()
    splits = make_splits(data, pairs, config.unlearning_ratio, config.seed)
    loader = (FlippingLoader if augment else Loader)(data, SIZE, 0, False)
    inference = Inference(loader, CPU, torch.float32)
    model, original = TinyNet(), None
    if METHODS[method].from_original:
        model, original = trained_network(), Original(trained_network(), inference, splits.train)
    unlearner = build_unlearner(config, Data(data, splits), model, original, inference)
    engine = kind(config, unlearner, data, splits, inference, folder / "last.pt", folder / "history.csv")
    return Run(config, splits, inference, model, original, unlearner, engine)


@dataclass
class Step:
    """A batch and the weights after it.

    random: the state of the step's generator before it drew, if it does; differentiable: the modules that could get a
    gradient.
    """

    epoch: int
    phase: Phase
    batch: Batch
    random: Tensor | None
    loss: float
    lr: float
    differentiable: set[str]
    after: dict[str, State]


@dataclass
class Pass:
    """A phase that ran, with everything before and after."""

    epoch: int
    phase: Phase
    before: dict[str, State]
    after: dict[str, State]
    n_steps: int


class SpyEngine(Engine):
    """The engine, remembering every step and every pass."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.spied_steps: list[Step] = []
        self.passes: list[Pass] = []
        self._draws, self.batches._drawn = self.batches._drawn, self._drawn

    def _phase(self, phase: Phase, epoch: int, done: int, n_steps: int) -> float:
        before, first, self.spied_epoch = self._everything(), len(self.spied_steps), epoch
        loss = super()._phase(phase, epoch, done, n_steps)
        self.passes.append(Pass(epoch, phase, before, self._everything(), len(self.spied_steps) - first))
        return loss

    def _step(self, phase: Phase, batch: Batch, optimizer: torch.optim.Optimizer | None) -> Tensor:
        random = self.spied_random[self.at.step] if phase.draw else None
        loss = super()._step(phase, batch, optimizer)
        after, lr = self._everything(), optimizer.param_groups[0]["lr"] if optimizer else 0.0
        open_to = {name for name, module in self.modules.items() if any(w.requires_grad for w in module.parameters())}
        self.spied_steps.append(Step(self.spied_epoch, phase, batch, random, float(loss), lr, open_to, after))
        return loss

    def _drawn(self, draw: Any, phase: Phase, epoch: int, bounds: Any) -> Tensor:
        self.spied_random = []

        def spied(generator: torch.Generator, n: int) -> Tensor:
            self.spied_random.append(generator.get_state())
            return draw(generator, n)

        return self._draws(spied, phase, epoch, bounds)

    def _everything(self) -> dict[str, State]:
        original = self.unlearner.original
        modules = self.modules | ({} if original is None else {"original": original.module})
        return {name: snapshot(module) for name, module in modules.items()}


def snapshot(module: nn.Module) -> State:
    """A copy of all parameters and buffers."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changed(before: State, after: State) -> set[str]:
    """The entries that are not bit-equal (NaN equals NaN)."""
    assert list(before) == list(after)
    return {name for name, value in before.items() if value.numpy().tobytes() != after[name].numpy().tobytes()}


def buffers(module: nn.Module) -> set[str]:
    """The names of the buffers."""
    return {name for name, _ in module.named_buffers()}


def parameters(module: nn.Module) -> set[str]:
    """The names of the parameters."""
    return {name for name, _ in module.named_parameters()}


def without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """A history that can be equal to another."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def outcome(run: Run) -> tuple[Any, ...]:
    """Weights to the last bit, what the method adds to the results, and the history without times."""
    weights = {name: snapshot(module) for name, module in run.unlearner.modules().items()}
    flat = {f"{module} {name}": value.numpy().tobytes() for module, s in weights.items() for name, value in s.items()}
    others = {name: {n: v.tolist() for n, v in s.items()} for name, s in run.unlearner.other_weights().items()}
    return flat, others, run.unlearner.extra_metrics(), without_seconds(run.engine.progress.history)


def folder(parent: Path, name: str) -> Path:
    """A new folder for a run."""
    made = parent / name
    made.mkdir()
    return made
