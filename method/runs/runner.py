"""The story of one run, top to bottom."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from datasets.images.cache import ImageCache
from datasets.images.features import Features
from datasets.images.normalisation import PUBLISHED, Pixels
from datasets.loading.loaders import Loader, default_workers
from method.configs.cli import Command
from method.configs.loading import Config
from method.evaluation.evaluator import evaluate
from method.evaluation.records import Records
from method.registry import METHODS
from method.runs.comparison import compare, compare_images, find_reference
from method.runs.data import Data, check_images, open_cache, read_data
from method.runs.directory import RunDirectory
from method.runs.folder import HISTORY, METRICS, MODEL, RECORDS, STATE, records_name
from method.runs.frozen import frozen_features
from method.runs.image_inputs import image_entry
from method.runs.inputs import identity_of, label_record, open_digests
from method.runs.recompute import COST_KEYS
from method.runs.run_log import announce, collect_versions, count_left_out, describe_run, logged, save_sets
from method.runs.signature import ORIGINAL, signature
from method.runs.starting import model_facts, original_file, pixels_of, starting_models, to_device
from method.runs.trackers import check_installed, tracking
from method.training.checkpoints import save_model
from method.training.engine import Engine, measure
from method.training.inference import Inference
from method.training.original import Original
from method.training.published import bf16_outputs
from method.unlearners.base import GroupAccuracy, Task, Unlearner
from models.classifier import Classifier
from utils import device as devices
from utils.collectives import check_stop_together
from utils.digests import Digests
from utils.distributed import by_each, first_failure, from_rank_0, local_rank, local_world_size, rank, world_size
from utils.errors import RunError, UserError, disk_full
from utils.locks import LockLost

log = logging.getLogger("unlearning")


@dataclass(frozen=True)
class Job:
    """One run with all that it needs, read and checked before anything is written.

    record: what config.yaml says of it; facts: what its model must share with the pretrained one; original: the frozen
    original and its file; images: the entry of config.yaml; pixels: as the network expects them; features: of a frozen
    backbone, which the networks take in place of images.
    """

    config: Config
    directory: RunDirectory
    data: Data
    digests: Digests
    record: dict[str, Any]
    facts: dict[str, Any]
    model: Classifier
    original: tuple[Classifier, Path] | None
    reference: RunDirectory | None
    cache: ImageCache | None
    images: dict[str, Any] | None
    pixels: Pixels
    features: Features | None


def run(command: Command, directory: RunDirectory) -> list[str] | None:
    """Train, unlearn and evaluate as the configuration says; everything that can be wrong is checked before writing.

    What there is to say of this very run where another process finished it in the meantime, as `check` gives it.
    """
    config = command.config
    check_installed(config)
    device, precision = choose_hardware(config)
    job = prepare(config, directory, device, precision)
    loader = open_loader(job, device)
    check_stop_together()
    with ExitStack() as held, hardware_set(config, device, precision) as hardware, closing(loader):
        from_rank_0(lambda: held.enter_context(directory.alone(config.wait)))
        notes = from_rank_0(lambda: directory.check(config, command.overwrite))
        if notes is not None:
            return notes
        record = {**job.record, "provenance": describe_provenance(job, hardware), "inputs": describe_inputs(job)}
        resumed = from_rank_0(lambda: directory.begin(config, record, command.overwrite))
        from_rank_0(job.digests.keep)
        with logged(directory), outcome_recorded(directory):
            announce(config, job.data, directory, resumed)
            if job.model.loaded:
                log.info("%s", job.model.loaded)
            from_rank_0(lambda: save_sets(config, job.data, directory))
            with tracking(config, directory.path, resumed) as trackers:
                inference = Inference(loader, device, precision, None if job.features else job.pixels)
                if config.imported:
                    metrics = evaluate_imported(job, inference, signature(record))
                else:
                    metrics = train_and_evaluate(job, inference, signature(record), trackers.epoch)
                trackers.metrics(metrics)
            from_rank_0(lambda: directory.finish(metrics))
    return None


def choose_hardware(config: Config) -> tuple[torch.device, torch.dtype]:
    """The device of this process, and the precision on it."""
    device = by_each(lambda: devices.choose_device(config.device, world_size(), local_rank()))
    precision = devices.choose_precision(config.precision, device)
    if config.compile:
        devices.check_compiler(device, world_size())
    return device, precision


@contextmanager
def hardware_set(config: Config, device: torch.device, precision: torch.dtype) -> Iterator[dict[str, Any]]:
    """Threads and arithmetic as the run wants them; yields what config.yaml says of the hardware."""
    with (
        devices.threads_set(config.threads) as threads,
        devices.arithmetic_set(device) as arithmetic,
        devices.memory_shared(),
    ):
        yield {
            "device": devices.describe_device(device),
            "threads": threads,
            "world_size": world_size(),
            "precision": str(precision).removeprefix("torch."),
            **({"arithmetic": arithmetic} if arithmetic else {}),
        }


def prepare(config: Config, directory: RunDirectory, device: torch.device, precision: torch.dtype) -> Job:
    """Read labels and models, find the reference and check the images; UserError for whatever is wrong."""
    data = read_data(config, config.skip_bad_images)
    digests = open_digests(config)
    identity = identity_of(config, digests)
    pixels = pixels_of(config)
    record = describe_run(config, data, identity) | {"pixels": pixels.spell()}
    features = read_features(config, data, identity, device, precision) if config.frozen else None
    facts = model_facts(config, data, identity, features)
    model, original = starting_models(config, data, facts, features)
    reference = find_reference(config, record)
    cache = open_cache(config, data)
    if features is None:
        from_rank_0(lambda: check_images(config, data))
    memory, digest = config.remembered("verified.json"), config.image_digest or directory.knows_content
    images = from_rank_0(lambda: image_entry(data.dataset, memory, digest))
    used = original[1] if original else None, reference.path if reference else None
    from_rank_0(lambda: compare_images(*used, images))
    return Job(
        config, directory, data, digests, record, facts, model, original, reference, cache, images, pixels, features
    )


def read_features(
    config: Config, data: Data, identity: dict[str, Any], device: torch.device, precision: torch.dtype
) -> Features:
    """Those of a frozen backbone, on good images; what is missing beside them is said before they take their time."""
    if METHODS[config.method].from_original:
        original_file(config)
    from_rank_0(lambda: check_images(config, data))
    with hardware_set(config, device, precision):
        return frozen_features(config, data.dataset, identity, device, precision)


def open_loader(job: Job, device: torch.device) -> Loader:
    """Batches of the run's images, from so many processes as were asked for, or as the machine has CPUs for."""
    config, dataset = job.config, job.data.dataset
    workers = default_workers(dataset.in_memory, device, devices.available_cpus() // local_world_size())
    workers = workers if config.num_workers is None else config.num_workers
    return Loader(dataset, config.image_size, workers, devices.pin_memory(device), job.cache, job.features)


def describe_provenance(job: Job, hardware: dict[str, Any]) -> dict[str, Any]:
    """What config.yaml says of hardware, versions and the weights that the run starts from."""
    # A pretrained run can be made anew under the same name.
    return {**hardware, ORIGINAL: job.digests.of(job.original[1]) if job.original else None, **collect_versions()}


def describe_inputs(job: Job) -> dict[str, Any]:
    """What config.yaml says of all that the run reads, by content."""
    inputs = {**label_record(job.config, job.digests), "images": job.images}
    if job.data.table is not None:
        inputs["table"] = job.data.table
    if job.features is not None:
        inputs["backbone"] = job.features.backbone
    if job.reference is not None:
        metrics = job.digests.of(job.reference.file(METRICS))
        inputs["reference"] = {"run": job.reference.path.name, "metrics": metrics}
    return inputs


@contextmanager
def outcome_recorded(directory: RunDirectory) -> Iterator[None]:
    """Whatever ends the run before its time stands in status.json."""

    def end_badly(state: str, reason: str) -> None:
        if rank() == 0:  # without the others: some may have ended
            directory.end_badly(state, reason)

    try:
        yield
    except LockLost:  # the folder is another's now
        raise
    except KeyboardInterrupt as stop:
        end_badly("interrupted", str(stop) or "stopped by the user")
        raise
    except (RunError, UserError, RuntimeError, OSError) as error:
        reason = first_failure(" ".join(str(disk_full(error) or error).split()))
        end_badly("failed", reason)
        raise RunError(f"{directory.path} failed: {reason}") from error
    except Exception as error:  # a defect of the program: its traceback is wanted
        end_badly("failed", first_failure(f"{type(error).__name__}: {error}"))
        raise


def train_and_evaluate(
    job: Job, inference: Inference, sealed_with: dict[str, Any], on_epoch: Callable[[Mapping[str, float | None]], None]
) -> dict[str, Any]:
    """Train, save the model, predict once, compute the metrics; every row of the history is handed to `on_epoch`."""
    config, data, model, directory = job.config, job.data, job.model, job.directory
    to_device(model, inference.device)
    frozen = freeze_original(job, inference)
    unlearner = build_unlearner(config, data, model, frozen, inference, job.features)
    if config.compile:
        model.backbone.compile()
    files = directory.file(STATE), directory.file(HISTORY)
    engine = Engine(config, unlearner, data.dataset, data.splits, inference, *files, on_epoch, sealed_with)
    with devices.random_state_kept(inference.device):  # layers are seeded in every step
        engine.train()
    if frozen is not None:
        frozen.release()
    keep_model(job, sealed_with)
    cost = {"seconds": engine.seconds, "peak_memory_bytes": devices.peak_memory_bytes(inference.device)}
    metrics = predict_and_evaluate(job, inference, directory.file(RECORDS), cost)
    metrics |= unlearner.extra_metrics()
    for name, weights in unlearner.other_weights().items():
        model.load_state_dict(weights)
        metrics[name] = predict_and_evaluate(job, inference, directory.file(records_name(name)), cost)
    return metrics | count_left_out(data)


def evaluate_imported(job: Job, inference: Inference, sealed_with: dict[str, Any]) -> dict[str, Any]:
    """Keep a model that another program trained, predict once, compute the metrics; what it cost is not known."""
    to_device(job.model, inference.device)
    keep_model(job, sealed_with)
    metrics = predict_and_evaluate(job, inference, job.directory.file(RECORDS), dict.fromkeys(COST_KEYS))
    metrics["reasons"] |= dict.fromkeys(COST_KEYS, "the model was imported")
    return metrics | count_left_out(job.data)


def keep_model(job: Job, sealed_with: dict[str, Any]) -> None:
    """Write model.pt, with the facts that say which runs it can start."""
    facts = {"method": job.config.method, "forget": job.data.splits.forget_fingerprint, **job.facts}
    from_rank_0(lambda: save_model(job.directory.file(MODEL), job.model, facts, sealed_with))


def freeze_original(job: Job, inference: Inference) -> Original | None:
    """The original on the device, for the losses that compare with it; None for a run that starts from none."""
    if job.original is None:
        return None
    model, file = job.original
    log.info("original: %s", file)
    return Original(to_device(model, inference.device), inference, job.data.splits.train)


def build_unlearner(
    config: Config,
    data: Data,
    model: nn.Module,
    original: Original | None,
    inference: Inference,
    features: Features | None = None,
) -> Unlearner:
    """The method's object with the facts and services its losses may need."""
    dataset, splits, pixels = data.dataset, data.splits, inference.pixels or PUBLISHED
    darkest, brightest = (pixels.darkest, pixels.brightest) if features is None else features.range_of(splits.train)
    task = Task(
        n_targets=dataset.n_targets,
        n_groups=dataset.n_groups,
        n_rows=len(dataset.target),
        group_counts=torch.from_numpy(dataset.count_groups(splits.train)),
        retain_counts=torch.from_numpy(dataset.count_groups(splits.retain)),
        forget_groups=splits.forget_groups,
        epochs=config.n_epochs,
        seed=config.seed,
        darkest=darkest,
        brightest=brightest,
    )

    def measured(name: str) -> GroupAccuracy:
        return measure(inference, model, dataset, getattr(splits, name), name)

    return METHODS[config.method](model, original, config.params, task, measured)


def predict_and_evaluate(job: Job, inference: Inference, file: Path, cost: dict[str, Any]) -> dict[str, Any]:
    """One prediction pass over all sets; its records are kept, every metric comes from them and `cost`.

    As the published code evaluates, there are two: in fp32, and all in bf16.
    """
    dataset, splits = job.data.dataset, job.data.splits
    rows = np.sort(np.concatenate([splits.train, splits.val, splits.test, splits.left_out]))
    target, in_bf16 = dataset.target[rows], job.config.eval_precision == "bf16"
    plain = inference.at(torch.float32) if in_bf16 else inference
    logits = plain.apply(job.model, job.model, rows, "evaluation").cpu().numpy()
    further = bf16_outputs(inference, job.model, rows, target) if in_bf16 else ()
    labels = (dataset.split[rows], target, dataset.sensitive[rows], dataset.group[rows])
    records = Records.from_logits(rows, *labels, logits, *further)
    return from_rank_0(lambda: evaluate_records(job, records, file, cost))


def evaluate_records(job: Job, records: Records, file: Path, cost: dict[str, Any]) -> dict[str, Any]:
    """Keep the records and compute the metrics."""
    dataset, splits = job.data.dataset, job.data.splits
    records.save(file)
    metrics = evaluate(records, splits, dataset.group_names, dataset.n_targets, dataset.n_sensitive) | cost
    compare(job.config, splits, job.record, metrics, records, job.original[1] if job.original else None)
    return metrics
