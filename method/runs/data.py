"""The labels and index sets of a run, read without touching an image, and the check of its images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import dataset_class
from datasets.base import GroupDataset
from datasets.deletion.requests import Requests, find_requests
from datasets.groups import forget_groups
from datasets.images.cache import ImageCache, disk_cache, ram_cache
from datasets.images.files import image_rows
from datasets.images.verification import bad_images, refuse_bad_images, remember
from datasets.splits import Splits, leave_out, make_listed_splits, make_random_splits, make_splits
from method.configs.loading import Config
from method.configs.task import RANDOM
from method.registry import METHODS
from utils.distributed import from_rank_0
from utils.text import for_people


@dataclass(frozen=True)
class Data:
    """The table and its index sets.

    skipped: the images that were left out, None where none may be. requests: what a forget list asks for, if there is
    one. table: the fingerprint of the table before images were left out, where some may be.
    """

    dataset: GroupDataset
    splits: Splits
    skipped: tuple[str, ...] | None = None
    requests: Requests | None = None
    table: str | None = None


def read_data(config: Config, skip_bad_images: bool = False) -> Data:
    """Read the labels and split them; pretrain forgets nothing, so its forget set is empty.

    skip_bad_images: decode the images, and split what can be read.
    """
    kind = dataset_class(config.dataset)
    options = {name: config.values[name] for name in kind.options}
    dataset = kind.load(Path(config.data_dir), config.split_number or 0, config.seeds.train, **options)
    dataset = leave_out(dataset, config.leave_out, config.seeds.train)
    dataset.view = config.values.get("view") or dataset.view
    skipped = table = None
    requests = _requests(config, dataset)
    if skip_bad_images:
        rows = from_rank_0(lambda: _rows_to_skip(config, dataset))
        requests = requests and requests.without(dataset, rows)
        dataset, skipped, table = dataset.without(rows), tuple(dataset.paths(rows)), dataset.fingerprint
    return Data(dataset, _splits(config, dataset, requests), skipped, requests, table)


def splits_of(config: Config, dataset: GroupDataset) -> Splits:
    """The index sets of the run on this table, of which nothing is left out."""
    return _splits(config, dataset, _requests(config, dataset))


def _requests(config: Config, dataset: GroupDataset) -> Requests | None:
    """What the forget list asks for, if there is one; pretrain asks for nothing."""
    if not (config.requests and METHODS[config.method].forgets):
        return None
    return find_requests(dataset, config.requests, config.skip_unknown)


def _splits(config: Config, dataset: GroupDataset, requests: Requests | None) -> Splits:
    """The splits of the task; pretrain's forget nothing."""
    seed = config.seeds.forget or 0  # any, where nothing is drawn
    if not METHODS[config.method].forgets:
        return make_splits(dataset, (), config.unlearning_ratio, seed)
    if requests is not None:
        return make_listed_splits(dataset, requests.rows)
    if config.unlearning_type == RANDOM:
        return make_random_splits(dataset, config.unlearning_ratio, seed)
    pairs = forget_groups(dataset, config.split_number, config.multi_group, config.forget_groups)
    return make_splits(dataset, pairs, config.unlearning_ratio, seed)


def describe_requests(requests: Requests, splits: Splits) -> str:
    """What became of a forget list, in words."""
    told = [f"{len(requests.rows)} of {requests.n} names in the list are forgotten"]
    if requests.left_out:
        kinds = (f"{len(names)} {kind.replace('_', ' ')}" for kind, names in requests.left_out.items())
        told.append(f"left out: {', '.join(kinds)}")
    further = len(splits.forget) - len(requests.rows)
    if further:
        told.append(f"{further} other samples show the same as one of them and are forgotten with it")
    if requests.matched:
        told.append(_ends([f"{name} -> {path}" for name, path in requests.matched]))
    return for_people("; ".join(told))


def _ends(told: Sequence[str]) -> str:
    """The first and the last, by which somebody sees that the names were read as they were meant."""
    return told[0] if len(told) == 1 else f"first {told[0]}, last {told[-1]}"


def check_images(config: Config, data: Data) -> None:
    """UserError that lists the images that cannot be read, unless they are left out or nobody wants to know."""
    if config.verify_data and data.skipped is None:
        refuse_bad_images(data.dataset, bad_images(data.dataset, _memory(config)), may_skip=True)


def open_cache(config: Config, data: Data) -> ImageCache | None:
    """The decoded images, where --cache asks for them; filling it has checked them, which is remembered."""
    dataset = data.dataset
    if config.cache == "none" or dataset.in_memory or config.frozen:  # features are kept then
        return None
    if config.cache == "disk":
        from_rank_0(lambda: _checked_by(_on_disk(config, dataset), config, data))
        return _on_disk(config, dataset)
    cache = ram_cache(dataset)
    from_rank_0(lambda: _checked_by(cache, config, data))
    return cache


def _on_disk(config: Config, dataset: GroupDataset) -> ImageCache:
    return disk_cache(dataset, Path(config.store_dir) / config.data_name)


def _checked_by(cache: ImageCache, config: Config, data: Data) -> None:
    """Of the whole table alone: the check of a smaller one would make that of the whole forgotten."""
    if not data.skipped:
        missing = cache.missing(image_rows(data.dataset))
        remember(_memory(config), data.dataset, cache.state, data.dataset.paths(missing))


def _rows_to_skip(config: Config, dataset: GroupDataset) -> list[int]:
    """Rows of the images that cannot be read; UserError where none can."""
    bad = bad_images(dataset, _memory(config))
    if len(bad) == len(dataset):
        refuse_bad_images(dataset, bad, may_skip=False)
    return [one.row for one in bad]


def _memory(config: Config) -> Path:
    return config.remembered("verified.json")
