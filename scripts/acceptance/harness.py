"""Every method on made-up images, by the program's own engine: on a device, at a precision, compiled or not."""

import contextlib
import copy
import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from datasets.base import TEST, TRAIN, VAL, GroupDataset
from datasets.images.normalisation import normalise
from datasets.loading.loaders import Loader
from datasets.splits import Splits, make_splits
from method.configs.loading import Config, resolve
from method.registry import METHODS
from method.runs.data import Data
from method.runs.runner import build_unlearner
from method.training.engine import Engine
from method.training.inference import Inference
from method.training.original import Original
from method.training.resume import HistoryRow
from method.unlearners.base import Unlearner
from models import build_model
from models.backbone import Backbone, Layers
from models.batch_norm import across_processes
from models.classifier import Classifier
from utils import device as devices
from utils.distributed import world_size

E = TypeVar("E", bound=Engine)
U = TypeVar("U", bound=Unlearner)
CPU = torch.device("cpu")
N_TARGETS, N_SENSITIVE = 3, 2
FORGET_GROUP, RATIO = 3, 0.9
FEW = (12, 6, 9, 10, 4, 13)  # train samples by group: each phase is one batch of ALL
MANY = (100, 100, 100, 700, 100, 100)  # 630 of them are forgotten, 70 of the group are left
ALL = 64
HELD_OUT = 20  # val samples of a group: a standard deviation of fewer may be near 0, and FaLW divides by it
TINY, WIDTH = 16, 8
# Beside every method as it is: what the same method does otherwise.
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "pretrain, group DRO": ("pretrain", {"rob_approach": "dro", "dro_step_size": 0.5, "dro_adjustment": 1.0}),
    "retrain, subsampled": ("retrain", {"rob_approach": "subsample"}),
    "retrain, REWEIGHT": ("retrain", {"reweight": True}),
    "scrub, rewind": ("scrub", {"scrub_rewind": True}),
    "rl, other labels": ("rl", {"rl_relabel": "other"}),
    "miu, as published": ("miu", {"preset": "reference"}),
    "l1_sparse, clipped": ("l1_sparse", {"max_grad_norm": 0.5}),
}
COMMON: dict[str, Any] = {
    "dataset": "digits",
    "unlearning_ratio": RATIO,
    "epochs": 1,
    "batch_size": ALL,
    "lr": 0.05,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 0.01,
    "scheduler": "const",
    "warmup_epochs": 0,
    "max_grad_norm": 0.0,
    "use_train_aug": False,
    "forget_epochs": 5,
    "salun_saliency_ratio": 0.5,
    "scrub_batch_size_retain": ALL,
    "miu_critic_steps_first": 1,
    "miu_critic_steps": 1,
    "ssd_alpha": 1.0,  # where dampening begins a weight is multiplied by 1, so rounding decides nothing
    "iu_fisher_batches": 1,
}


@dataclass(frozen=True)
class Place:
    """Where and how the same thing is computed. plain: by torch's own kernels of the CPU, without oneDNN's."""

    device: torch.device = CPU
    precision: torch.dtype = torch.float32
    compiled: bool = False
    plain: bool = False

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """What holds for the whole process meanwhile; for so small a network further threads only take turns."""
        before = torch.backends.mkldnn.set_flags(not self.plain)[0]
        try:
            with devices.threads_set(1), devices.arithmetic_set(self.device):
                yield
        finally:
            torch.backends.mkldnn.set_flags(before)


REFERENCE = Place(plain=True)


class Patterns(GroupDataset):
    """Noise with a pattern for the target and a brightness for the sensitive attribute; 3 x 2 groups."""

    name, folder, view = "patterns", "", "none"
    forget_pairs = (divmod(FORGET_GROUP, N_SENSITIVE),)
    in_memory, max_shift = True, 2

    def __init__(self, counts: tuple[int, ...] = FEW, size: int = TINY) -> None:
        cells = list(product(range(N_TARGETS), range(N_SENSITIVE)))
        numbers = {TRAIN: counts, VAL: (HELD_OUT,) * len(cells), TEST: (2,) * len(cells)}
        rows = [
            (*cell, split) for split in numbers for cell, n in zip(cells, numbers[split], strict=True) for _ in range(n)
        ]
        draw = np.random.default_rng(0)
        target, sensitive, split = draw.permutation(np.array(rows)).T
        names = [f"{number}.png" for number in range(len(rows))]
        super().__init__(None, names, target, sensitive, split, tuple("abc"), tuple("xy"))
        patterns = draw.integers(60, size=(N_TARGETS, 3, size, size), dtype=np.uint8)
        noise = draw.integers(100, size=(len(rows), 3, size, size), dtype=np.uint8)
        self.pixels = patterns[target] + noise + (40 * sensitive + 20).astype(np.uint8)[:, None, None, None]


@cache
def patterns(counts: tuple[int, ...] = FEW, size: int = TINY) -> Patterns:
    """The patterns of these counts and this size, made once."""
    return Patterns(counts, size)


def tiny_network() -> Classifier:
    """Two convolutions with batch norm under the program's own head; its weights are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        backbone = Layers(
            *(nn.Conv2d(3, WIDTH, 3, 2, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()),
            *(nn.Conv2d(WIDTH, WIDTH, 3, 2, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        return Classifier(Backbone(backbone, WIDTH, "head"), N_TARGETS)


@cache
def _trained() -> Classifier:
    with devices.threads_set(1):  # the last bits of a step depend on the number of threads
        return _trained_by_one_thread()


def _trained_by_one_thread() -> Classifier:
    data = patterns()
    rows = np.flatnonzero(data.split == TRAIN)
    model, images, target = (
        tiny_network(),
        normalise(torch.from_numpy(data.pixels[rows])),
        torch.tensor(data.target[rows]),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(12):
        optimizer.zero_grad()
        cross_entropy(model(images), target).backward()
        optimizer.step()
    return model.eval()


def network(name: str, trained: bool, n_targets: int = N_TARGETS) -> Classifier:
    """The tiny network, trained on the patterns or not; or one of the program's by name, untrained."""
    if name == "tiny":
        return copy.deepcopy(_trained()) if trained else tiny_network()
    return build_model(name, n_targets, 0, "none")


def variants() -> dict[str, tuple[str, dict[str, Any]]]:
    """Every registered method, and some in other ways: name to method and flags."""
    return {name: (name, {}) for name in METHODS} | FURTHER


def settings(method: str, **flags: Any) -> Config:
    """A configuration that leaves nothing to digits.yaml that the steps depend on."""
    return resolve({"method": method, **COMMON, **flags})


@dataclass
class Made(Generic[E]):
    """Everything of one run."""

    config: Config
    splits: Splits
    inference: Inference
    unlearner: Unlearner
    engine: E

    def unlearner_as(self, kind: type[U]) -> U:
        """The unlearner, which must be one of this class."""
        if not isinstance(self.unlearner, kind):
            raise TypeError(f"{self.unlearner.name} is no {kind.__name__}")
        return self.unlearner

    def weights(self) -> dict[str, Tensor]:
        """Copies of all parameters and buffers of what is trained, on the CPU."""
        return weights_of(self.unlearner.modules())

    def history(self) -> list[HistoryRow]:
        """The rows of the history without their seconds."""
        return [
            {name: value for name, value in row.items() if name != "seconds"} for row in self.engine.progress.history
        ]


def weights_of(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Copies of all parameters and buffers on the CPU, by the name of module and entry."""
    found = nn.ModuleDict(modules).state_dict()
    return {name.replace("_orig_mod.", ""): value.detach().to("cpu", copy=True) for name, value in found.items()}


def make(
    variant: str,
    place: Place,
    folder: Path,
    kind: type[E],
    data: GroupDataset | None = None,
    model: str = "tiny",
    files: tuple[int, int] | None = None,
    **flags: Any,
) -> Made[E]:
    """A run that has not begun; its state is saved in `folder`. kind: the engine, or one that looks on.

    files: of `data` that is not in memory, the size of its images and the number of workers that read them.
    """
    method, own = variants()[variant]
    config, data = settings(method, **own | flags), data or patterns()
    splits = make_splits(
        data, data.forget_pairs if METHODS[method].forgets else (), config.unlearning_ratio, config.seed
    )
    size, workers = files or (data.pixels.shape[-1], 0)
    loader = Loader(data, size, workers, devices.pin_memory(place.device))
    inference = Inference(loader, place.device, place.precision)
    form = devices.memory_format(place.device)
    trained = METHODS[method].from_original
    net = network(model, trained, data.n_targets).to(place.device).to(memory_format=form)
    if world_size() > 1:
        across_processes(net)
    original = Original(copy.deepcopy(net), inference, splits.train) if trained else None
    unlearner = build_unlearner(config, Data(data, splits), net, original, inference)
    if place.compiled:
        net.backbone.compile()
    engine = kind(config, unlearner, data, splits, inference, folder / "last.pt", folder / "history.csv")
    return Made(config, splits, inference, unlearner, engine)


@contextlib.contextmanager
def trained(variant: str, place: Place, kind: type[E], **more: Any) -> Iterator[Made[E]]:
    """A run from its begin to its end, in a folder that lives as long as this."""
    with tempfile.TemporaryDirectory() as folder, place.settings():
        made = make(variant, place, Path(folder), kind, **more)
        with contextlib.closing(made.inference.loader):
            made.engine.train()
            yield made


def fields_of(batch: Any) -> dict[str, Any]:
    """What a step is given, by the name of the field: tensors on the CPU, generators as their states.

    Of a batch beside it, by that name and its field's.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": inner for name, inner in fields_of(value).items()}
            continue
        if isinstance(value, torch.Generator):
            value = value.get_state()
        found[field.name] = value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
    return found
