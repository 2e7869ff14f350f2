"""What all parts of the test work with: three networks, samples drawn once, and one configuration of training."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from datasets.base import GroupDataset
from datasets.loading.loaders import Loader, default_workers
from datasets.splits import Splits
from method.configs.loading import Config
from method.runs.data import read_data
from method.runs.files import PRETRAIN
from method.runs.findings import RETRAINED
from method.runs.finished import load_model
from method.runs.frozen import frozen_features
from method.runs.inputs import defaults, identity_of, open_digests
from method.runs.runner import choose_hardware, hardware_set
from method.runs.starting import to_device
from method.runs.stored import StoredRun
from method.training.inference import Inference
from models.classifier import Classifier
from scripts.relearn.belonging import Trio
from utils import device as devices
from utils.errors import UserError
from utils.seeding import numpy_generator
from utils.signals import check_stop

SLOWER = 100  # the learning rate of training is divided by this where none is given
# What is the same for every model, whatever its own training did.
PLAIN = {
    "reweight": False,
    "rob_approach": "none",
    "scheduler": "const",
    "warmup_epochs": 0,
    "evaluate_every": 0,
    "save_every": 0,
}


@dataclass(frozen=True)
class Options:
    """What a person may choose.

    forgotten: how many forgotten samples are shown, one curve each. steps: of fine-tuning, after which accuracies are
    taken, beside those before the first. epochs: passes over the forget set after which relearning is given up. lr:
    None takes a hundredth of the retrained model's. seed: of all that is drawn. samples: at most so many of the retain,
    forget, validation and held-out samples. data_dir, device, threads: None takes the retrained run's.
    """

    forgotten: tuple[int, ...] = (0, 1, 5, 10, 50, 100)
    steps: tuple[int, ...] = (10, 20, 50, 100, 200)
    epochs: int = 20
    lr: float | None = None
    seed: int = 0
    samples: int = 2000
    data_dir: str | None = None
    device: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Bench:
    """Networks on the device in eval mode, never trained themselves, by what `Trio` calls them.

    splits: those of the run, retain and forget cut down to the samples that were drawn; forget_order: the drawn
    forgotten rows in the order in which they are shown; pool: the rows of the whole forget set in that order.
    """

    config: Config
    options: Options
    dataset: GroupDataset
    splits: Splits
    pool: np.ndarray
    inference: Inference
    networks: dict[str, Classifier]

    def copy_of(self, name: str) -> Classifier:
        """A network to train, with the weights of this one."""
        return copy.deepcopy(self.networks[name])

    @cached_property
    def held_out(self) -> np.ndarray:
        """Rows that no model was trained on, those of val and test, at most `samples`, sorted."""
        return self.drawn(np.concatenate([self.splits.val, self.splits.test]), "held-out")

    @cached_property
    def val(self) -> np.ndarray:
        """Rows of val, at most `samples`, sorted."""
        return self.drawn(self.splits.val, "val")

    def drawn(self, rows: np.ndarray, what: str) -> np.ndarray:
        """At most `samples` of these rows, sorted."""
        return draw_some(rows, self.options, what)


def draw_some(rows: np.ndarray, options: Options, what: str) -> np.ndarray:
    """At most `options.samples` of these rows, sorted, by the seed and `what` they are."""
    order = numpy_generator(options.seed, "relearn", what).permutation(rows)
    return np.sort(order[: options.samples])


def read_config(run: StoredRun, options: Options) -> Config:
    """The configuration that a run was made with, where data, device and threads may be others now.

    UserError for a run whose model another program trained.
    """
    if run.stored.get("imported"):
        raise UserError(f"{run.place} was imported, and nobody knows how it was trained; give another --retrained")
    chosen = {"data_dir": options.data_dir, "device": options.device, "threads": options.threads}
    given = {name: value for name, value in chosen.items() if value is not None}
    return Config(MappingProxyType({**defaults(), **run.stored["config"], **given}), {})


def training_config(config: Config, options: Options) -> Config:
    """How models are fine-tuned: the retrained run's optimiser, batches and augmentation, and a constant lr."""
    lr = config.lr / SLOWER if options.lr is None else options.lr
    return replace(config, values=MappingProxyType({**config.values, **PLAIN, "lr": lr, "seed": options.seed}))


@contextmanager
def opened_bench(trio: Trio, options: Options) -> Iterator[tuple[Bench, dict[str, Any]]]:
    """The bench of three runs, and what is to be told of the hardware; threads are put back behind it.

    UserError where the labels are others than those that the runs were made with, or networks differ.
    """
    config = read_config(trio.retrained, options)
    dataset = _read_dataset(config, trio)
    device, precision = choose_hardware(config)
    check_stop()
    networks, pixels = _networks(trio, device)
    check_stop()
    workers = default_workers(dataset.in_memory, device, devices.available_cpus())
    workers = workers if config.num_workers is None else config.num_workers
    with hardware_set(config, device, precision) as hardware, ExitStack() as held:
        features = None
        if config.frozen:
            identity = identity_of(config, open_digests(config))
            features, pixels = frozen_features(config, dataset, identity, device, precision), None
        loader = Loader(dataset, config.image_size, workers, devices.pin_memory(device), features=features)
        held.enter_context(closing(loader))
        pool = numpy_generator(options.seed, "relearn", "forgotten").permutation(trio.splits.forget)
        splits = replace(
            trio.splits,
            retain=draw_some(trio.splits.retain, options, "retain"),
            forget=np.sort(pool[: options.samples]),
        )
        inference = Inference(loader, device, precision, pixels)
        yield Bench(training_config(config, options), options, dataset, splits, pool, inference, networks), hardware


def _read_dataset(config: Config, trio: Trio) -> GroupDataset:
    # Who is forgotten stands in the run's splits; a run that forgets nothing reads no forget list.
    table = replace(config, values=MappingProxyType({**config.values, "method": PRETRAIN}))
    dataset = read_data(table, config.skip_bad_images).dataset
    if dataset.fingerprint != trio.splits.data_fingerprint:
        raise UserError(
            f"the labels in {config.data_dir} are others than those of {trio.unlearned.place}; put those back, or say "
            "where they are by --data_dir"
        )
    return dataset


def _networks(trio: Trio, device: torch.device) -> tuple[dict[str, Classifier], Any]:
    models = {name: load_model(run.folder) for name, run in trio.runs().items()}
    wanted = models[RETRAINED]
    for model in models.values():
        for what in ("classes", "pixels", "view"):
            if getattr(model, what) != getattr(wanted, what):
                raise UserError(
                    f"{model.folder.path} does not fit {wanted.folder.path}: its {what} are {getattr(model, what)}, "
                    f"expected {getattr(wanted, what)}"
                )
    return {name: to_device(model.trained, device) for name, model in models.items()}, wanted.pixels
