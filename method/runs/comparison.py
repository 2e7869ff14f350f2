"""ToW, Avg. Gap and what else compares a run with its retrained run, whose numbers are read from its files."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets.splits import Splits
from method.configs.cli import command_line
from method.configs.loading import Config
from method.evaluation.evaluator import IN_FP32, ITSELF, add_reference, compare_outputs, compare_saved_outputs
from method.evaluation.exposure import add_original, load_original
from method.evaluation.records import Records
from method.runs.directory import RunDirectory
from method.runs.folder import CONFIG, METRICS, MODEL, PRETRAIN, RECORDS, RETRAIN
from method.runs.image_inputs import changed_images, count_turned_otherwise, recorded_images
from method.runs.named_files import REFERENCES
from method.runs.reference import Asked, asked_by, facts_of, misfits, weights_by_path
from method.runs.search import find
from method.runs.signature import TURNED
from method.runs.stored import StoredRun
from utils import sealed
from utils.errors import UserError

log = logging.getLogger("unlearning")


def compare(
    config: Config,
    splits: Splits,
    record: Mapping[str, Any],
    metrics: dict[str, Any],
    records: Records,
    original: Path | None,
) -> None:
    """Add what compares with the original and with the retrained run, or why there is nothing to compare with.

    record: what config.yaml says of the run; original: the model.pt that it starts from. A run that forgets nothing is
    compared with nothing.
    """
    asked = asked_by(config)
    if asked is None:
        return
    add_original(metrics, records, splits, load_original(_original_records(config, record, original)))
    if asked.itself:
        add_reference(metrics, metrics, None, ITSELF, compare_outputs(records, records, splits))
    elif found := find_reference(config, record):
        outputs, theirs = compare_saved_outputs(records, splits, found.file(RECORDS)), reference_metrics(found)
        if IN_FP32 in metrics and IN_FP32 not in theirs:
            log.info("%s was not evaluated in bf16, so ToW and Avg. Gap compare both runs in fp32", found.path)
        add_reference(metrics, theirs, None, found.path.name, outputs)
    else:
        wanted = {"reweight": True} if asked.reweight else {}
        # Commands name folders, which are no part of the metrics.
        reason = f"no finished retrain{' --reweight' if wanted else ''} run of this task and seed to compare with"
        command = command_line(config, RETRAIN, **wanted)
        log.warning("tow, avg_gap and what else compares are null: %s; make it with: %s", reason, command)
        add_reference(metrics, None, reason, None)


def find_reference(config: Config, record: Mapping[str, Any]) -> RunDirectory | None:
    """The finished retrained run to compare with; None without one, or where the run is its own.

    UserError for one that does not fit, or cannot be read.
    """
    asked = asked_by(config)
    if asked is None or asked.itself:
        return None
    found = _named(config) if asked.named else _searched(config, asked)
    if found is None:
        return None
    reference_metrics(found)
    if found.file(RECORDS).exists():
        Records.load(found.file(RECORDS))
    _check(found, record, asked)
    return found


def _original_records(config: Config, record: Mapping[str, Any], original: Path | None) -> Path | None:
    """The records of the original; of a retrained run, which starts from none, those of the one that others start from.

    None for a model that is no run's, and where none is finished, fits, and can be read: the run is trained by now, and
    has its other metrics.
    """
    if original is not None:
        return original.parent / RECORDS if original.name == MODEL else None
    try:
        found, _ = find(config, PRETRAIN)
        if found is None or not found.done:
            return None
        run, theirs = (StoredRun(found.path, one["config"], dict(one)) for one in (record, found.read_config()))
    except (OSError, ValueError):
        return None
    return found.file(RECORDS) if theirs.is_original_of(run) else None


def _named(config: Config) -> RunDirectory:
    found = RunDirectory(Path(config.reference))
    if not found.done:
        raise UserError(
            f"--reference {config.reference}: no finished run is there; give a run's folder, or {', '.join(REFERENCES)}"
        )
    return found


def _searched(config: Config, asked: Asked) -> RunDirectory | None:
    found, _ = find(config, RETRAIN, asked.reweight)
    return None if found is None else RunDirectory(found.path)


def reference_metrics(found: RunDirectory) -> dict[str, Any]:
    """Its metrics.json; UserError where it holds what cannot be compared with."""
    try:
        return found.read_metrics()
    except ValueError as error:
        raise UserError(
            f"{found.file(METRICS)} of the retrained run cannot be read ({error}); make that run again with --overwrite"
        ) from None


def _check(found: RunDirectory, record: Mapping[str, Any], asked: Asked) -> None:
    """UserError where the run that was found is not the reference of this one."""
    own, theirs = facts_of(record), facts_of(found.record() or {})
    for name, value, expected in misfits(own, theirs, asked):
        raise UserError(
            f"{found.path} cannot be the reference: its {name} is {value}, expected {expected}; "
            "retrain with this run's data, model and seed"
        )
    if weights_by_path(own, theirs):
        log.warning("the content of the weights of %s was not recorded then, and is not compared", found.path)
    if other_kind := list(misfits(own, theirs, replace(asked, named=False))):
        told = ", ".join(f"{name} {value}" for name, value, _ in other_kind)
        log.info("the reference %s was trained with %s; a search would not find it", found.path, told)


def compare_images(original: Path | None, reference: Path | None, images: dict[str, Any] | None) -> None:
    """Say which of the two were made from other images than `images`; UserError where theirs were read another way.

    original: the model.pt that the run starts from; reference: the folder of the run that it is compared with.
    """
    for folder in filter(None, (original and original.parent, reference)):
        stored = RunDirectory(folder).record() if (folder / CONFIG).exists() else None
        facts = sealed.read_facts(original) if stored is None and original is not None else None
        then = recorded_images(stored) if facts is None else {"turned": facts.get(TURNED) or 0}
        if n_turned := count_turned_otherwise(then, images):
            raise UserError(
                f"{folder} was made by a version that read images as they lie, and {n_turned} of them are turned now, "
                "as EXIF says; make it again with --overwrite"
            )
        _, said = changed_images(then, images)
        if said:
            log.warning("%s: %s", folder, said)
