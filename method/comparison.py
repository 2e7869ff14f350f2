"""ToW and Avg. Gap against the retrained run, whose numbers are read from its metrics.json."""

import logging
from pathlib import Path
from typing import Any

from method.configs.cli import command_line
from method.configs.loading import Config
from method.evaluation.evaluator import add_reference
from method.registry import METHODS
from method.rundir import RunDirectory, find, read_metrics
from method.task_data import Data
from utils.errors import UserError

log = logging.getLogger("unlearning")


def compare(config: Config, data: Data, metrics: dict[str, Any]) -> None:
    """Add tow and avg_gap, or why there are none."""
    if config.reference == "auto" and config.method == "retrain" and _reweighted(config) == config.reweights:
        add_reference(metrics, metrics, None, "itself")
        return
    found, hint = find_reference(config, data)
    if found is None:
        log.warning("tow and avg_gap are null: %s", hint)
        add_reference(metrics, None, hint, None)
    else:
        add_reference(metrics, read_metrics(found), None, found.path.name)


def _reweighted(config: Config) -> bool:
    """Reweighted methods, and MIU with or without it, are compared with the reweighted retrain run."""
    if config.reference in ("retrain", "retrain_reweight"):
        return config.reference == "retrain_reweight"
    return config.reweights or METHODS[config.method].reweight is True


def find_reference(config: Config, data: Data) -> tuple[RunDirectory | None, str]:
    """The finished retrained run to compare with, or None and how to get it; UserError for one that does not fit."""
    if config.reference in ("auto", "retrain", "retrain_reweight"):
        found, _ = find(config, "done", "retrain", _reweighted(config))
        wanted = {"reweight": True} if _reweighted(config) else {}
        hint = f"no retrained run to compare with; make it with: {command_line(config, 'retrain', **wanted)}"
    else:
        found = RunDirectory(Path(config.reference))
        hint = f"--reference {config.reference} holds no finished run"
    if found is None or not found.done or read_metrics(found) is None:
        return None, hint
    _check(found, config, data)
    return found, ""


def _check(found: RunDirectory, config: Config, data: Data) -> None:
    """A reference must have forgotten the same samples, and been trained on the same images from the same weights."""
    stored = found.record() or {}
    theirs = {"forget": stored.get("fingerprints", {}).get("forget")}
    mine = {"forget": data.splits.forget_fingerprint}
    for name in ("image_size", "weights", "seed"):
        theirs[name], mine[name] = stored.get("identity", {}).get(name), config.values[name]
    for name, title in (
        ("forget", "forget fingerprint"),
        ("image_size", "image size"),
        ("weights", "initial weights"),
        ("seed", "seed"),
    ):
        if theirs[name] != mine[name]:
            raise UserError(
                f"{found.path} cannot be the reference: its {title} is {theirs[name]}, this run's is {mine[name]}; "
                "retrain with this run's data, model and seed"
            )
