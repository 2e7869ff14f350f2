"""The story of one run, top to bottom."""

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from datasets.loading.loaders import Loader, default_workers
from method.configs.cli import Command, command_line
from method.configs.loading import Config
from method.evaluation.evaluator import evaluate
from method.evaluation.records import Records
from method.registry import METHODS
from method.runs.data import Data, check_images, open_cache, read_data
from method.runs.directory import RunDirectory, check_beside, find
from method.runs.image_inputs import image_entry
from method.runs.inputs import identity_of, label_record, named_file, open_digests
from method.runs.reference import compare, compare_images, find_reference, is_own_reference
from method.runs.run_log import announce, collect_versions, count_left_out, describe_run, logged, save_sets
from method.runs.signature import ORIGINAL, signature
from method.runs.trackers import check_installed, tracking
from method.training.checkpoints import load_model, load_weights, save_model
from method.training.engine import Engine, measure
from method.training.inference import Inference
from method.training.original import Original
from method.unlearners.base import Task, Unlearner
from models import build_model
from utils import device as devices
from utils.collectives import check_stop_together
from utils.digests import Digests
from utils.distributed import by_each, first_failure, from_rank_0, local_rank, local_world_size, rank, world_size
from utils.errors import RunError, UserError, disk_full
from utils.locks import LockLost

log = logging.getLogger("unlearning")


def run(command: Command, directory: RunDirectory) -> list[str] | None:
    """Train, unlearn and evaluate as the configuration says; everything that can be wrong is checked before writing.

    What there is to say of this very run where another process finished it in the meantime, as `check` gives it.
    """
    config = command.config
    check_installed(config)
    device = by_each(lambda: devices.choose_device(config.device, world_size(), local_rank()))
    precision = devices.choose_precision(config.precision, device)
    if config.compile:
        devices.check_compiler(device, world_size())
    data = read_data(config, config.skip_bad_images)
    digests = open_digests(config)
    identity = identity_of(config, digests)
    facts = model_facts(config, data, identity)
    model, original = starting_models(config, data, facts)
    compares = METHODS[config.method].forgets and not is_own_reference(config)
    reference = find_reference(config, data) if compares else None
    cache = open_cache(config, data)
    from_rank_0(lambda: check_images(config, data))
    memory, digest = config.remembered("verified.json"), config.image_digest or directory.knows_content
    images = from_rank_0(lambda: image_entry(data.dataset, memory, digest))
    from_rank_0(lambda: compare_images(original and original[1], reference and reference.path, images))
    workers = default_workers(data.dataset.in_memory, device, devices.available_cpus() // local_world_size())
    workers = workers if config.num_workers is None else config.num_workers
    loader = Loader(data.dataset, config.image_size, workers, devices.pin_memory(device), cache)
    check_stop_together()
    with (
        ExitStack() as held,
        devices.threads_set(config.threads) as threads,
        devices.arithmetic_set(device) as arithmetic,
        devices.memory_shared(),
        closing(loader),
    ):
        from_rank_0(lambda: held.enter_context(directory.alone(config.wait)))
        notes = from_rank_0(lambda: directory.check(config, command.overwrite))
        if notes is not None:
            return notes
        provenance = {
            "device": devices.describe_device(device),
            "threads": threads,
            "world_size": world_size(),
            "precision": str(precision).removeprefix("torch."),
            **({"arithmetic": arithmetic} if arithmetic else {}),
            # Which weights it started from: a pretrained run can be made anew under the same name.
            ORIGINAL: digests.of(original[1]) if original else None,
            **collect_versions(),
        }
        inputs = inputs_of(config, data, images, reference, digests)
        written = {"identity": identity, **describe_run(data, provenance), "inputs": inputs}
        resumed = from_rank_0(lambda: directory.begin(config, written, command.overwrite))
        from_rank_0(digests.keep)
        inference = Inference(loader, device, precision)
        with logged(directory), outcome_recorded(directory):
            announce(config, data, directory, resumed)
            from_rank_0(lambda: save_sets(config, data, directory))
            with tracking(config, directory.path, resumed) as trackers:
                sealed_with = signature(written)
                metrics = train_and_evaluate(
                    config, data, model, original, inference, directory, facts, sealed_with, trackers.epoch
                )
                trackers.metrics(metrics)
            from_rank_0(lambda: directory.finish(metrics))
    return None


def inputs_of(
    config: Config, data: Data, images: dict[str, Any] | None, reference: RunDirectory | None, digests: Digests
) -> dict[str, Any]:
    """What config.yaml says of all that the run reads, by content."""
    inputs = {**label_record(config, digests), "images": images}
    if data.table is not None:
        inputs["table"] = data.table
    if reference is not None:
        inputs["reference"] = {"run": reference.path.name, "metrics": digests.of(reference.file("metrics.json"))}
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


def model_facts(config: Config, data: Data, identity: dict[str, Any]) -> dict[str, Any]:
    """What a pretrained model and the runs that start from it must share."""
    weights = named_file(config, "weights")
    if weights is not None and not weights.is_file():
        raise UserError(f"--weights {weights}: no such file; give a state dict of {config.model}, or --no-pretrained")
    return {
        "dataset": config.dataset,
        "model": config.model,
        "n_targets": data.dataset.n_targets,
        "image_size": config.image_size,
        "weights": identity["weights"],
        "seed": config.seed,
        "data": data.splits.data_fingerprint,
    }


def starting_models(
    config: Config, data: Data, facts: dict[str, Any]
) -> tuple[nn.Module, tuple[nn.Module, Path] | None]:
    """The network to train, and the frozen original with the file it came from (None for pretrain and retrain)."""
    if not METHODS[config.method].from_original:
        return build_model(config.model, data.dataset.n_targets, config.seed, config.weights), None
    path = original_file(config)
    weights = load_model(path, {"method": "pretrain", **facts})
    model = build_model(config.model, data.dataset.n_targets, config.seed, "none")
    load_weights(model, weights, path)
    check_beside(path)
    return model, (copy.deepcopy(model), path)


def original_file(config: Config) -> Path:
    """model.pt of the pretrained run; UserError with the command that makes it."""
    if config.original:
        path = Path(config.original)
        path = path / "model.pt" if path.is_dir() else path
        if not path.is_file():
            raise UserError(f"--original {config.original}: no model.pt there; give a pretrained run's folder")
        return path
    found, places = find(config, "model.pt", "pretrain")
    if found is None:
        raise UserError(
            f"{config.method} starts from a pretrained model, and there is none in {places[0]} or {places[1]}; "
            f"make it with: {command_line(config, 'pretrain')}"
        )
    return found.file("model.pt")


def train_and_evaluate(
    config: Config,
    data: Data,
    model: nn.Module,
    original: tuple[nn.Module, Path] | None,
    inference: Inference,
    directory: RunDirectory,
    facts: dict[str, Any],
    sealed_with: dict[str, Any],
    on_epoch: Callable[[dict[str, float]], None],
) -> dict[str, Any]:
    """Train, save the model, predict once, compute the metrics; every row of the history is handed to `on_epoch`."""
    dataset, splits = data.dataset, data.splits
    memory_format = devices.memory_format(inference.device)
    model.to(inference.device, memory_format=memory_format)
    frozen = None
    if original is not None:
        log.info("original: %s", original[1])
        frozen = Original(original[0].to(inference.device, memory_format=memory_format), inference, splits.train)
    unlearner = build_unlearner(config, data, model, frozen, inference)
    if config.compile:
        model.backbone.compile()
    files = directory.file("last.pt"), directory.file("history.csv")
    engine = Engine(config, unlearner, dataset, splits, inference, *files, on_epoch, sealed_with)
    engine.train()
    if frozen is not None:
        frozen.release()
    facts = {"method": config.method, "forget": splits.forget_fingerprint, **facts}
    from_rank_0(lambda: save_model(directory.file("model.pt"), model, facts, sealed_with))
    cost = {"seconds": engine.seconds, "peak_memory_bytes": devices.peak_memory_bytes(inference.device)}
    metrics = predict_and_evaluate(config, data, model, inference, directory.file("records.npz"), cost)
    metrics |= unlearner.extra_metrics()
    for name, weights in unlearner.other_weights().items():
        model.load_state_dict(weights)
        metrics[name] = predict_and_evaluate(
            config, data, model, inference, directory.file(f"records_{name}.npz"), cost
        )
    return metrics | count_left_out(data)


def build_unlearner(
    config: Config, data: Data, model: nn.Module, original: Original | None, inference: Inference
) -> Unlearner:
    """The method's object with the facts and services its losses may need."""
    dataset, splits = data.dataset, data.splits
    sets = (splits.train, splits.retain)
    counts = [torch.from_numpy(np.bincount(dataset.group[rows], minlength=dataset.n_groups)) for rows in sets]
    task = Task(
        n_targets=dataset.n_targets,
        n_groups=dataset.n_groups,
        n_rows=len(dataset.target),
        group_counts=counts[0],
        retain_counts=counts[1],
        forget_groups=splits.forget_groups,
        epochs=config.n_epochs,
        seed=config.seed,
    )

    def measured(name: str):
        return measure(inference, model, dataset, getattr(splits, name), name)

    return METHODS[config.method](model, original, config.params, task, measured)


def predict_and_evaluate(
    config: Config, data: Data, model: nn.Module, inference: Inference, file: Path, cost: dict[str, Any]
) -> dict[str, Any]:
    """One prediction pass over train, val and test; its records are kept, every metric comes from them and `cost`."""
    dataset, splits = data.dataset, data.splits
    rows = np.sort(np.concatenate([splits.train, splits.val, splits.test]))
    logits = inference.apply(model, model, rows, "evaluation").cpu().numpy()
    columns = (getattr(dataset, name)[rows] for name in ("split", "target", "sensitive", "group"))
    records = Records.from_logits(rows, *columns, logits)
    return from_rank_0(lambda: evaluate_records(config, data, records, file, cost))


def evaluate_records(config: Config, data: Data, records: Records, file: Path, cost: dict[str, Any]) -> dict[str, Any]:
    """Keep the records and compute the metrics."""
    dataset = data.dataset
    records.save(file)
    names = [dataset.group_name(group) for group in range(dataset.n_groups)]
    metrics = evaluate(records, data.splits, names, dataset.n_targets, dataset.n_sensitive) | cost
    if METHODS[config.method].forgets:
        compare(config, data, metrics, records)
    return metrics
