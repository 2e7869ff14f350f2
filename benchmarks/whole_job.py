"""The whole job of a method against its unavoidable passes, and against a straightforward program.

    python benchmarks/whole_job.py --data_dir data [--methods l1_sparse scrub miu] [--rows 2000] [main.py arguments]

Three sides, each from a pretrained model on the first rows of FairFace, one image in five of them for the test set:

bare passes   the method's steps on normalised images that are already in memory, the original's outputs once where they
              cannot differ, and one forward pass over every image: nothing can train and evaluate with less
ours          main.py in this process, from reading the labels to the written metrics
baseline      the same steps in a straightforward program: PIL decodes and transforms, R, F, V and T are evaluated after
              every epoch in batches of 32, the original is evaluated at every step, and the reference at the end anew;
              precision, memory format, workers, batch sizes and the final metrics are ours
"""

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import torch
from baseline import evaluation_transform, pil_loader, training_transform
from jobs import run, with_models
from side_by_side import REPETITIONS, machine, measure_in_turn, table
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, WeightedRandomSampler

from datasets.images.normalisation import normalise
from datasets.loading.loaders import Loader, batch_bounds, default_workers
from datasets.sampling import reweight_weights
from method.configs.cli import parse
from method.configs.loading import Config
from method.evaluation.evaluator import evaluate
from method.evaluation.records import Records
from method.runs.data import Data, read_data
from method.runs.inputs import identity_of, open_digests
from method.runs.runner import build_unlearner, model_facts, starting_models
from method.training.checkpoints import read_weights
from method.training.inference import BATCH_SIZE, Inference
from method.training.optimizers import build_optimizer
from method.unlearners.base import Batch, Phase, Unlearner
from utils import device as devices

SMALL_BATCH = 32  # of the baseline's evaluation
EVALUATED = ("retain", "forget", "val", "test")


@dataclass
class Job:
    """What all sides start from; `weights` are those of the original."""

    config: Config
    data: Data
    inference: Inference
    workers: int
    reference: Path

    def models(self) -> tuple[nn.Module, nn.Module]:
        """The network to train and the frozen original, on the device."""
        facts = model_facts(self.config, self.data, identity_of(self.config, open_digests(self.config)))
        model, original = starting_models(self.config, self.data, facts)
        form = devices.memory_format(self.inference.device)
        placed = [one.to(self.inference.device, memory_format=form) for one in (model, original[0])]
        return placed[0], placed[1].eval().requires_grad_(False)

    def rows(self, phase: Phase) -> np.ndarray:
        return getattr(self.data.splits, phase.data)

    def batch_size(self, phase: Phase) -> int:
        return phase.batch_size or self.config.batch_size

    def augmented(self, phase: Phase) -> bool:
        return self.config.use_train_aug if phase.augment is None else phase.augment

    def weights(self, phase: Phase) -> np.ndarray | None:
        """REWEIGHT's, where the phase has them."""
        if not (self.config.reweights and phase.data == "retain"):
            return None
        group, splits = self.data.dataset.group, self.data.splits
        return reweight_weights(group[splits.retain], group[splits.train])[0]


class EveryStep:
    """The original, evaluated for every batch."""

    train_mode = False

    def __init__(self, module: nn.Module):
        self.module = module

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """(B, n_targets)."""
        return self.module(batch.image).float()

    @torch.no_grad()
    def features(self, batch: Batch) -> Tensor:
        """(B, feature_dim)."""
        return self.module.features(batch.image).float()


class OnceForAll(EveryStep):
    """The original, evaluated once for images that are not augmented."""

    def __init__(self, module: nn.Module, job: Job, images: Tensor):
        super().__init__(module)
        self.job, self.images, self.tables = job, images, {}

    def _kept(self, name: str, function: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        if name not in self.tables:
            outputs = forward(self.job, self.module, function, self.images[self.job.data.splits.train])
            self.tables[name] = outputs.new_empty(len(self.images), outputs.shape[1])
            self.tables[name][self.job.data.splits.train] = outputs
        return self.tables[name][batch.index]

    def logits(self, batch: Batch) -> Tensor:
        """(B, n_targets)."""
        return super().logits(batch) if batch.augmented else self._kept("logits", self.module, batch)

    def features(self, batch: Batch) -> Tensor:
        """(B, feature_dim)."""
        return super().features(batch) if batch.augmented else self._kept("features", self.module.features, batch)


@torch.no_grad()
def forward(job: Job, module: nn.Module, function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """`function` of images in memory, in batches of the program's size."""
    module.eval()
    with devices.autocast(job.inference.device, job.inference.precision):
        return torch.cat(
            [function(images[start:stop]).float() for start, stop in batch_bounds(len(images), BATCH_SIZE)]
        )


def train(job: Job, unlearner: Unlearner, source: Callable[[Phase, int], Iterator[Batch]], after_epoch) -> None:
    """The method's phases: forward, backward, step."""
    modules = unlearner.modules()
    optimizers = {name: unlearner.optimizer(name) for name in modules if name != "model"}
    optimizers["model"] = build_optimizer(job.config, modules["model"].parameters())
    for epoch in range(job.config.epochs):
        for phase in unlearner.phases(epoch):
            if phase.beside is not None:
                raise NotImplementedError(f"{unlearner.name} takes two batches a step, which this loop does not")
            for name, module in modules.items():
                module.requires_grad_(name == phase.module).train(phase.train_mode)
            for batch in source(phase, epoch):
                optimizers[phase.module].zero_grad(set_to_none=True)
                with devices.autocast(job.inference.device, job.inference.precision):
                    loss = phase.loss(batch)
                loss.backward()
                optimizers[phase.module].step()
        unlearner.take_logged()
        after_epoch()
    devices.synchronize(job.inference.device)


def bare_passes(job: Job, images: Tensor) -> None:
    """On images in memory, normalised."""
    model, original = job.models()
    unlearner = build_unlearner(job.config, job.data, model, OnceForAll(original, job, images), job.inference)
    columns = [torch.tensor(getattr(job.data.dataset, name)).to(images.device) for name in ("target", "group")]

    def source(phase: Phase, epoch: int) -> Iterator[Batch]:
        rows, weights, size = torch.tensor(job.rows(phase)), job.weights(phase), job.batch_size(phase)
        order = rows[torch.randperm(len(rows))]
        if weights is not None:
            order = rows[torch.multinomial(torch.from_numpy(weights), len(rows), replacement=True)]
        if phase.steps:
            order = order.repeat(phase.steps * size // len(rows) + 1)[: phase.steps * size]
        for start, stop in batch_bounds(len(order), size):
            some = order[start:stop].to(images.device)
            labels = [column[some] for column in columns]
            yield Batch(images[some], *labels, some, drawn(phase, some), epoch, job.augmented(phase))

    train(job, unlearner, source, lambda: None)
    forward(job, model, model, images)


def drawn(phase: Phase, samples: Tensor) -> Tensor | None:
    """What the phase draws for as many samples, if it does, on the device."""
    return phase.draw(torch.Generator(), len(samples)).to(samples.device) if phase.draw else None


class PILSource:
    """Loaders that are made once and kept; batches of 32 for what is evaluated."""

    def __init__(self, job: Job):
        self.job, self.loaders = job, {}
        size = job.config.image_size
        self.transforms = {True: training_transform(size), False: evaluation_transform(size)}

    def batches(self, phase: Phase, epoch: int) -> Iterator[Batch]:
        """The phase's."""
        loader = self._loader(phase)
        passes = chain.from_iterable(repeat(loader))
        for image, *labels in islice(passes, phase.steps or len(loader)):
            augmented = self.job.augmented(phase)
            labels = self._moved(labels)
            yield Batch(self._placed(image), *labels, drawn(phase, labels[0]), epoch, augmented)

    @torch.no_grad()
    def evaluated(self, model: nn.Module) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """(rows, logits) of R, F, V and T."""
        model.eval()
        found = {}
        for name in EVALUATED:
            rows = getattr(self.job.data.splits, name)
            pieces = []
            for image, *_ in self._evaluation_loader(name, rows):
                with devices.autocast(self.job.inference.device, self.job.inference.precision):
                    pieces.append(model(self._placed(image)).float().cpu())
            found[name] = rows, torch.cat(pieces).numpy()
        return found

    def _loader(self, phase: Phase) -> DataLoader:
        rows, weights = self.job.rows(phase), self.job.weights(phase)
        key = phase.data, self.job.batch_size(phase), self.job.augmented(phase)
        if key not in self.loaders:
            sampler = RandomSampler(rows) if weights is None else WeightedRandomSampler(weights, len(rows))
            self.loaders[key] = self._made(rows, key[2], key[1], sampler)
        return self.loaders[key]

    def _evaluation_loader(self, name: str, rows: np.ndarray) -> DataLoader:
        if name not in self.loaders:
            self.loaders[name] = self._made(rows, False, SMALL_BATCH, None)
        return self.loaders[name]

    def _made(self, rows: np.ndarray, augmented: bool, size: int, sampler) -> DataLoader:
        dataset, transform = self.job.data.dataset, self.transforms[augmented]
        return pil_loader(dataset, rows, transform, size, self.job.workers, sampler)

    def _placed(self, image: Tensor) -> Tensor:
        device = self.job.inference.device
        return image.to(device, memory_format=devices.memory_format(device))

    def _moved(self, labels: list[Tensor]) -> list[Tensor]:
        return [values.to(self.job.inference.device) for values in labels]


def baseline(job: Job) -> None:
    """Straightforward from end to end."""
    model, original = job.models()
    unlearner = build_unlearner(job.config, job.data, model, EveryStep(original), job.inference)
    images = PILSource(job)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    train(job, unlearner, images.batches, lambda: found.update(images.evaluated(model)))
    reference = copy.deepcopy(model)
    reference.load_state_dict(read_weights(job.reference, {}))
    images.evaluated(reference)
    dataset, splits = job.data.dataset, job.data.splits
    rows = np.concatenate([rows for rows, _ in found.values()])
    columns = (getattr(dataset, name)[rows] for name in ("split", "target", "sensitive", "group"))
    records = Records.from_logits(rows, *columns, np.concatenate([logits for _, logits in found.values()]))
    names = [dataset.group_name(group) for group in range(dataset.n_groups)]
    evaluate(records, splits, names, dataset.n_targets, dataset.n_sensitive)


def the_job(arguments: list[str], reference: Path) -> Job:
    """Its data and configuration, as the program reads them."""
    config = parse(arguments).config
    device = devices.choose_device(config.device)
    workers = default_workers(False, device, devices.available_cpus())
    workers = workers if config.num_workers is None else config.num_workers
    data = read_data(config)
    loader = Loader(data.dataset, config.image_size, workers, devices.pin_memory(device))
    return Job(
        config, data, Inference(loader, device, devices.choose_precision(config.precision, device)), workers, reference
    )


def images_in_memory(job: Job) -> Tensor:
    """Every image of the table in the evaluation view, normalised, on the device."""
    pixels = [
        batch["image"] for batch in job.inference.loader.batches(np.arange(len(job.data.dataset)), BATCH_SIZE, None)
    ]
    device = job.inference.device
    return normalise(torch.cat(pixels).to(device), devices.memory_format(device))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="a folder with fairface/")
    parser.add_argument("--methods", nargs="+", default=["l1_sparse", "scrub", "miu"])
    parser.add_argument("--image_size", default="64")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", default="10")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    wanted, extra = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        common = with_models(wanted.data_dir, Path(folder), wanted.rows, wanted.image_size, extra)
        reference = next(Path(folder).glob("output/**/retrain_0.5_*/model.pt"))
        print(machine())
        for method in wanted.methods:
            words = ["--method", method, "--epochs", wanted.epochs, *common]
            job = the_job(words, reference)
            images = images_in_memory(job)
            sides = {
                "bare passes": lambda job=job, images=images: bare_passes(job, images),
                "ours": lambda words=words: run([*words, "--overwrite"]),
                "baseline": lambda job=job: baseline(job),
            }
            found = measure_in_turn(sides, wanted.repetitions)
            job.inference.loader.close()
            print(f"\n{method}, {wanted.image_size} px, {wanted.rows:,} rows of FairFace, {wanted.epochs} epochs")
            print(table(found), flush=True)


if __name__ == "__main__":
    main()
