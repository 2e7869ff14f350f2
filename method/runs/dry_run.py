"""--dry_run: read the labels, show who would be forgotten and which files the run would touch; no image is opened."""

from pathlib import Path

import numpy as np

from datasets import dataset_class
from method.configs.loading import Config
from method.registry import METHODS
from method.runs.data import Data, describe_requests, read_data
from method.runs.directory import directory_of, find
from method.runs.reference import REFERENCES, is_own_reference, reference_reweights
from utils.tables import align


def describe(config: Config) -> str:
    """The table of groups with their counts, and what would be read and written."""
    data = read_data(config)
    forgets = METHODS[config.method].forgets
    task = f", {config.task}, ratio {config.unlearning_ratio:g}" if forgets else ""
    lines = [f"{config.method} on {config.data_name}{task}, seed {config.seed}", "", group_table(data), ""]
    if data.requests is not None:
        lines.append(f"requests            {describe_requests(data.requests, data.splits)}")
    lines.append(f"data fingerprint    {data.splits.data_fingerprint[:16]}")
    if forgets:
        lines.append(f"forget fingerprint  {data.splits.forget_fingerprint[:16]}")
    lines += [f"reads   {line}" for line in _reads(config)]
    lines.append(f"writes  {directory_of(config, config.store_dir)}/")
    if config.skip_bad_images:
        lines.append("note    images that cannot be read are counted here, and left out of the run")
    return "\n".join(lines + [f"note    {note}" for note in config.notes])


def group_table(data: Data) -> str:
    """One row a group: train, val, test, forget and retain counts; an asterisk marks the groups that forget."""
    dataset, splits = data.dataset, data.splits
    sets = ("train", "val", "test", "forget", "retain")
    counts = np.stack(
        [np.bincount(dataset.group[getattr(splits, name)], minlength=dataset.n_groups) for name in sets], axis=1
    )
    rows = [
        [f"{group}{'*' if group in splits.forget_groups else ''}", dataset.group_name(group), *map(str, counts[group])]
        for group in range(dataset.n_groups)
    ]
    rows.append(["", "all", *map(str, counts.sum(axis=0))])
    return align(["group", "name", *sets], rows, left=2)


def _reads(config: Config) -> list[str]:
    folder = dataset_class(config.dataset).folder
    lines = [f"{Path(config.data_dir) / folder}/"] if folder else []
    needs = []
    if METHODS[config.method].from_original and config.original:
        lines.append(config.original)
    elif METHODS[config.method].from_original:
        needs.append(("pretrain", "model.pt", None))
    if METHODS[config.method].forgets and config.reference not in REFERENCES:
        lines.append(f"{config.reference}/metrics.json")
    elif METHODS[config.method].forgets and not is_own_reference(config):
        needs.append(("retrain", "metrics.json", reference_reweights(config)))
    for method, file, reweight in needs:
        found, places = find(config, file, method, reweight)
        lines.append(str(found.file(file)) if found else f"{places[1] / file} (not there yet)")
    return lines
