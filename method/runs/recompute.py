"""A run's metrics made anew from its files, without the model."""

import os
from pathlib import Path
from typing import Any

from datasets.splits import Splits, load_splits
from method.evaluation.evaluator import ITSELF, add_reference, compare_saved_outputs, compared_keys, evaluate
from method.evaluation.exposure import NO_ORIGINAL, add_original, load_original, original_keys
from method.evaluation.records import Records, check_belonging
from method.runs.folder import CONFIG, METRICS, RECORDS, REDACTED, SPLITS, RunFolder, records_name
from utils.errors import RunError, UserError

GONE = "its reference is not there to be compared with"
REMEDY = "run that command again with --overwrite"
COST_KEYS = ("seconds", "peak_memory_bytes")  # of the whole run, so also of its further weights


def recompute(folder: Path, reference: Path | None = None, original: Path | None = None) -> dict[str, Any]:
    """What metrics.json of the run in `folder` should be; nothing is written.

    reference: the folder of the retrained run to compare with, `folder` itself for one that is its own; original: that
    of the pretrained run that it started from; None keeps the comparison that is stored. Times, memory and a method's
    own keys are kept. UserError names a file it cannot read, or the folder where records and splits do not belong
    together.
    """
    stored, facts = _read(folder), _config(folder)
    if facts.get(REDACTED):
        raise UserError(
            f"{folder} is a redacted copy, which has no records of train: its metrics are those of the original folder,"
            " and are made anew there alone"
        )
    splits = load_splits(folder / SPLITS)
    if reference is None and stored.get("reference") == ITSELF:
        reference = folder
    own = reference is not None and reference.resolve() == folder.resolve()
    theirs = None if own or reference is None else _read(reference)

    def made(name: str, old: dict[str, Any]) -> dict[str, Any]:
        records = Records.load(folder / name)
        check_belonging(records, splits, facts, folder / CONFIG)
        cost = {key: old[key] for key in COST_KEYS if key in old}
        nested = {
            key: made(records_name(key), cost | value)
            for key, value in old.items()
            if isinstance(value, dict) and key.isidentifier() and os.path.exists(folder / records_name(key))
        }
        groups = [facts["groups"][name] for name in ("names", "n_targets", "n_sensitive")]
        values = {**old, **evaluate(records, splits, *groups), **nested}
        kept = {key: text for key, text in (old.get("reasons") or {}).items() if values.get(key, 0) is None}
        values["reasons"] = kept | values["reasons"]
        if len(splits.forget) == 0:
            return values
        if original is None:
            _keep_original(values, old)
        else:
            add_original(values, records, splits, load_original(original / RECORDS))
        return _compared(values, old, records, splits, reference, values if own else theirs)

    try:
        return made(RECORDS, stored)
    except RunError as error:
        raise UserError(f"{folder}: {error}") from None


def _compared(
    values: dict[str, Any],
    old: dict[str, Any],
    records: Records,
    splits: Splits,
    reference: Path | None,
    theirs: dict[str, Any] | None,
) -> dict[str, Any]:
    """`values` with the comparison: with `theirs`, or as it was stored."""
    if reference is not None and theirs is not None:
        name = ITSELF if theirs is values else reference.name
        return add_reference(values, theirs, None, name, compare_saved_outputs(records, splits, reference / RECORDS))
    keys = compared_keys()
    reasons = {key: text for key, text in (old.get("reasons") or {}).items() if key in keys}
    kept = {key: old.get(key) for key in (*keys, "gaps", "reference")}
    missing = {key: GONE for key in keys if kept[key] is None and key not in reasons}
    return values | kept | {"reasons": values["reasons"] | reasons | missing}


def _keep_original(values: dict[str, Any], old: dict[str, Any]) -> None:
    """Put into `values` the comparison with the original as it was stored."""
    keys, told = original_keys(), old.get("reasons") or {}
    missing = {key: told.get(key, NO_ORIGINAL) for key in keys if old.get(key) is None}
    values |= {key: old.get(key) for key in keys} | {"reasons": values["reasons"] | missing}
    changes = {row["name"]: row.get("retain_exposure") for row in old.get("groups") or ()}
    for row in values["groups"]:
        row["retain_exposure"] = changes.get(row["name"])


def _read(folder: Path) -> dict[str, Any]:
    try:
        return RunFolder(folder).read_metrics()
    except ValueError as error:
        raise UserError(f"cannot read {folder / METRICS} ({error}): {REMEDY}") from None


def _config(folder: Path) -> dict[str, Any]:
    try:
        return RunFolder(folder).read_config()
    except ValueError as error:
        raise UserError(f"cannot read the groups in {folder / CONFIG} ({error}): {REMEDY}") from None
