"""A finished run's model as a file for others, and beside it what they must know to use it."""

from pathlib import Path
from typing import Any

import torch

from method.configs.seeds import read_seeds
from method.runs.files import PRETRAIN
from method.runs.finished import RunModel, load_model
from models.exporting import FORMATS, digest, own_state
from utils.errors import UserError
from utils.files import sha256_file, write_atomic, write_json


def export(run: Path, kind: str, out: Path, overwrite: bool) -> str:
    """Write the model of `run` as `kind`, a key of FORMATS, into `out` and what belongs to it into `out`.json.

    Returns what was done, in words. UserError for what is no finished run, and for files that are there already.
    """
    beside = out.with_name(f"{out.name}.json")
    if blocked := [file for file in (out, beside) if file.is_dir()]:
        raise UserError(f"--out {out}: {blocked[0]} is a folder; give the name of a file")
    if out.resolve().parent == run.resolve():
        raise UserError(f"--out {out} lies in the run's own folder, whose files it could replace; give another place")
    if there := [file for file in (out, beside) if file.exists() and not overwrite]:
        raise UserError(f"{there[0]} is there already; give another --out, or --overwrite to replace it")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}; make it first")
    model = load_model(run)
    content = FORMATS[kind](model.network, model.image_size)
    write_atomic(out, lambda file: file.write(content))
    write_json(beside, {"format": kind, "sha256": sha256_file(out), **describe(model)})
    return f"written: {out} and {beside}"


def describe(model: RunModel) -> dict[str, Any]:
    """What somebody needs who uses the model elsewhere; of what was forgotten the numbers alone."""
    config, metrics = model.stored["config"], model.folder.read_metrics()
    counted = {name: metrics[f"n_{name}"] for name in ("forget", "retain", "requests") if f"n_{name}" in metrics}
    return {
        "weights_sha256": digest(own_state(model.network)),
        "model": model.architecture,
        "classes": list(model.classes),
        "image_size": model.image_size,
        "view": model.view,
        "turned_as_exif_says": model.upright,
        "mean": list(model.mean),
        "std": list(model.std),
        "run": {
            "name": model.folder.path.resolve().name,
            **{name: config.get(name) for name in ("method", "unlearning_ratio", "seed")},
            **read_seeds(config, config["method"] != PRETRAIN).given(),
            "task": model.stored.get("task"),
            "commit": (model.stored.get("provenance") or {}).get("commit"),
        },
        "samples": counted,
        "torch": str(torch.__version__),
    }
