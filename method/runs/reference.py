"""ToW and Avg. Gap against the retrained run, whose numbers are read from its metrics.json."""

import logging
from pathlib import Path
from typing import Any

from method.configs.cli import command_line
from method.configs.loading import Config
from method.evaluation.evaluator import ITSELF, add_reference, compare_outputs, compare_saved_outputs
from method.evaluation.records import Records
from method.registry import METHODS
from method.runs.data import Data
from method.runs.directory import RunDirectory, find
from method.runs.files import read_metrics
from method.runs.image_inputs import changed_images, count_turned_otherwise, recorded_images
from method.runs.inputs import REFERENCES, identity_of, is_path, open_digests
from method.runs.signature import TURNED
from utils import sealed
from utils.errors import UserError

log = logging.getLogger("unlearning")


def compare(config: Config, data: Data, metrics: dict[str, Any], records: Records) -> None:
    """Add what compares with the retrained run, or why there is nothing to compare with."""
    if is_own_reference(config):
        add_reference(metrics, metrics, None, ITSELF, compare_outputs(records, records, data.splits))
        return
    found = find_reference(config, data)
    if found is None:
        wanted = {"reweight": True} if reference_reweights(config) else {}
        # Commands name folders, which are no part of the metrics.
        reason = f"no finished retrain{' --reweight' if wanted else ''} run of this task and seed to compare with"
        command = command_line(config, "retrain", **wanted)
        log.warning("tow, avg_gap and what else compares are null: %s; make it with: %s", reason, command)
        add_reference(metrics, None, reason, None)
    else:
        outputs = compare_saved_outputs(records, data.splits, found.path)
        add_reference(metrics, reference_metrics(found), None, found.path.name, outputs)


def is_own_reference(config: Config) -> bool:
    """Whether this is the very retrained run that it would be compared with; group DRO and subsampling are not."""
    retrains = METHODS[config.method].forgets and not METHODS[config.method].from_original
    return (
        retrains
        and not config.is_robust
        and config.reference in REFERENCES
        and reference_reweights(config) == config.reweights
    )


def reference_reweights(config: Config) -> bool:
    """Whether the reference is the reweighted retrain run: for reweighted methods, and for MIU with or without it."""
    if config.reference in ("retrain", "retrain_reweight"):
        return config.reference == "retrain_reweight"
    return config.reweights or METHODS[config.method].reweight is True


def find_reference(config: Config, data: Data) -> RunDirectory | None:
    """The finished retrained run to compare with, if there is one; UserError for one that does not fit."""
    if config.reference in REFERENCES:
        found, _ = find(config, "done", "retrain", reference_reweights(config))
    else:
        found = RunDirectory(Path(config.reference))
        if not found.done:
            kinds = ", ".join(REFERENCES)
            raise UserError(
                f"--reference {config.reference}: no finished run is there; give a run's folder, or {kinds}"
            )
    if found is None:
        return None
    reference_metrics(found)
    if found.file("records.npz").exists():
        Records.load(found.file("records.npz"))
    _check(found, config, data)
    return found


def reference_metrics(found: RunDirectory) -> dict[str, Any]:
    """Its metrics.json; UserError where it holds what cannot be compared with."""
    file = found.file("metrics.json")
    try:
        return read_metrics(file)
    except ValueError as error:
        raise UserError(
            f"{file} of the retrained run cannot be read ({error}); make that run again with --overwrite"
        ) from None


def _check(found: RunDirectory, config: Config, data: Data) -> None:
    """A reference must have forgotten the same samples, and been trained on the same images from the same weights."""
    stored = found.record() or {}
    forgot, identity = stored.get("fingerprints", {}).get("forget"), stored.get("identity", {})
    compared = {"method": ("retrain", identity.get("method"))}
    compared["forget fingerprint"] = (data.splits.forget_fingerprint, forgot)
    # Other groups can have the same forget set, and then the metrics of the forget groups are not of the same samples.
    groups = stored.get("groups", {}).get("forget")
    compared["list of forget groups"] = (list(data.splits.forget_groups), groups)
    for name in ("model", "image_size", "seed"):
        compared[name] = (config.values[name], identity.get(name))
    weights, its_weights = identity_of(config, open_digests(config))["weights"], identity.get("weights")
    by_path = is_path("weights", its_weights) and Path(its_weights).resolve() == Path(config.weights).resolve()
    if not by_path:
        compared["weights"] = (weights, its_weights)
    kind = {"reweight": reference_reweights(config), "rob_approach": "none"}
    its_kind = {"reweight": bool(identity.get("reweight")), "rob_approach": identity.get("rob_approach", "none")}
    searched = config.reference in REFERENCES
    if searched:
        compared |= {name: (kind[name], its_kind[name]) for name in kind}
    for name, (expected, theirs) in compared.items():
        if theirs != expected:
            raise UserError(
                f"{found.path} cannot be the reference: its {name} is {theirs}, expected {expected}; "
                "retrain with this run's data, model and seed"
            )
    if by_path:
        log.warning("the content of the weights of %s was not recorded then, and is not compared", found.path)
    if not searched and its_kind != kind:
        told = ", ".join(f"{name} {its_kind[name]}" for name in kind if its_kind[name] != kind[name])
        log.info("the reference %s was trained with %s; a search would not find it", found.path, told)


def compare_images(original: Path | None, reference: Path | None, images: dict[str, Any] | None) -> None:
    """Say which of the two were made from other images than `images`; UserError where theirs were read another way.

    original: the model.pt that the run starts from; reference: the folder of the run that it is compared with.
    """
    for folder in filter(None, (original and original.parent, reference)):
        stored = RunDirectory(folder).record() if (folder / "config.yaml").exists() else None
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
