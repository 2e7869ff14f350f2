"""Which groups a task forgets."""

from itertools import product

from datasets.base import GroupDataset
from utils.errors import UserError

Pair = tuple[int, int]


def forget_groups(
    dataset: GroupDataset | type[GroupDataset], split_number: int | None, multi_group: int | None
) -> tuple[Pair, ...]:
    """The (target, sensitive) pairs to forget, sorted.

    `split_number` names one pair (0 where both are None); `multi_group` = k crosses the targets and the sensitive
    values of the first k pairs. UserError for both together, for a number out of range and for a data set that has
    no multi-group task.
    """
    if multi_group is None:
        return (_single_pair(dataset, split_number or 0),)
    if split_number is not None:
        raise UserError(
            f"--multi_group {multi_group} and --split_number {split_number} both choose the groups to forget: give one"
        )
    if dataset.max_multi_group == 0:
        raise UserError(f"--multi_group {multi_group}: {dataset.name} has no multi-group task; use --split_number")
    if not 2 <= multi_group <= dataset.max_multi_group:
        raise UserError(f"--multi_group {multi_group}: {dataset.name} expects 2 to {dataset.max_multi_group}")
    targets, sensitives = zip(*dataset.forget_pairs[:multi_group], strict=True)
    return tuple(sorted(set(product(targets, sensitives))))


def task_name(split_number: int | None, multi_group: int | None) -> str:
    """The name of a task in a run's folder: split0, multi3."""
    return f"split{split_number or 0}" if multi_group is None else f"multi{multi_group}"


def _single_pair(dataset: GroupDataset | type[GroupDataset], split_number: int) -> Pair:
    n_pairs = len(dataset.forget_pairs)
    if n_pairs == 0:
        raise UserError(f"--split_number {split_number}: {dataset.name} has no numbered groups; use --forget_groups")
    if not 0 <= split_number < n_pairs:
        expected = "0" if n_pairs == 1 else f"0 to {n_pairs - 1}"
        raise UserError(f"--split_number {split_number}: {dataset.name} expects {expected}")
    return dataset.forget_pairs[split_number]
