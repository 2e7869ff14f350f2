"""--dry_run: read the labels, show who would be forgotten and which files the run would touch; no image is opened."""

from pathlib import Path

import numpy as np

from datasets import dataset_class
from datasets.splits import INDEX_SETS
from method.configs.loading import Config
from method.registry import METHODS
from method.runs.data import Data, describe_requests, read_data
from method.runs.folder import METRICS, MODEL, PRETRAIN, RETRAIN, folder_of
from method.runs.reference import asked_by
from method.runs.search import find
from models import check_model
from utils.tables import align


def describe(config: Config) -> str:
    """The table of groups with their counts, and what would be read and written."""
    folder = folder_of(config, config.store_dir)  # refuses a name that is too long, before anything is read
    check_model(config.model)
    data = read_data(config)
    task = f", {config.task}, ratio {config.unlearning_ratio:g}" if METHODS[config.method].forgets else ""
    lines = [f"{config.method} on {config.data_name}{task}, {config.seeds.describe()}", "", group_table(data), ""]
    if data.requests is not None:
        lines.append(f"requests            {describe_requests(data.requests, data.splits)}")
    lines.append(f"data fingerprint    {data.splits.data_fingerprint[:16]}")
    if data.splits.forget_fingerprint:
        lines.append(f"forget fingerprint  {data.splits.forget_fingerprint[:16]}")
    lines += [f"reads   {line}" for line in _reads(config)]
    lines.append(f"writes  {folder}/")
    if config.skip_bad_images:
        lines.append("note    images that cannot be read are counted here, and left out of the run")
    return "\n".join(lines + [f"note    {note}" for note in config.notes])


def group_table(data: Data) -> str:
    """One row a group: train, val, test, forget and retain counts; an asterisk marks the groups that forget.

    What is left out of train is counted where there is some.
    """
    dataset, splits = data.dataset, data.splits
    sets = {name: getattr(splits, name) for name in INDEX_SETS}
    sets |= {"left out": splits.left_out} if len(splits.left_out) else {}
    counts = np.stack([dataset.count_groups(rows) for rows in sets.values()], axis=1)
    rows = [
        [f"{group}{'*' if group in splits.forget_groups else ''}", name, *map(str, counts[group])]
        for group, name in enumerate(dataset.group_names)
    ]
    rows.append(["", "all", *map(str, counts.sum(axis=0))])
    return align(["group", "name", *sets], rows, left=2)


def _reads(config: Config) -> list[str]:
    folder = dataset_class(config.dataset).folder
    lines = [f"{Path(config.data_dir) / folder}/"] if folder else []
    lines += [config.metadata] if config.values.get("metadata") else []
    if METHODS[config.method].from_original:
        lines.append(config.original or _sought(config, PRETRAIN, MODEL))
    asked = asked_by(config)
    if asked is not None and asked.named:
        lines.append(f"{config.reference}/{METRICS}")
    elif asked is not None and not asked.itself:
        lines.append(_sought(config, RETRAIN, METRICS, asked.reweight))
    return lines


def _sought(config: Config, method: str, name: str, reweight: bool | None = None) -> str:
    """The file of the pretrained or retrained run, or where it would be."""
    found, places = find(config, method, reweight)
    return str(found.file(name)) if found else f"{places[1].file(name)} (not there yet)"
