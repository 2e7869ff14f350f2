"""The labels and index sets of a run, read without touching an image."""

from dataclasses import dataclass
from pathlib import Path

from datasets import dataset_class
from datasets.base import GroupDataset
from datasets.groups import forget_groups
from datasets.splits import Splits, make_splits
from method.configs.loading import Config
from method.registry import METHODS


@dataclass(frozen=True)
class Data:
    """The table and its index sets."""

    dataset: GroupDataset
    splits: Splits


def read_data(config: Config) -> Data:
    """Read the labels and split them; pretrain forgets nothing, so its forget set is empty."""
    kind = dataset_class(config.dataset)
    dataset = kind.load(Path(config.data_dir), config.split_number or 0, config.seed)
    pairs = forget_groups(dataset, config.split_number, config.multi_group) if METHODS[config.method].forgets else ()
    return Data(dataset, make_splits(dataset, pairs, config.unlearning_ratio, config.seed))
