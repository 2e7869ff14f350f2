"""A folder of the user's own: metadata.csv with one row an image, and the images that it names."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from datasets.base import TEST, TRAIN, VAL, GroupDataset
from datasets.labels.tables import Table, data_folder, image_paths, one_row_each, read_csv
from datasets.labels.values import cross_columns, name_values, refuse_too_many
from utils.errors import UserError

FILE = "metadata.csv"
SPLITS = {
    "train": TRAIN, "val": VAL, "test": TEST, "valid": VAL, "validation": VAL,
    "0": TRAIN, "1": VAL, "2": TEST,
}  # fmt: skip


class Custom(GroupDataset):
    """A data set of the user's own, described in metadata.csv by one row an image.

    Input (x): the image files that column `--filename_column` names, of any size; turned as EXIF says.
    Target (y): column `--target`, two values or more.
    Sensitive attribute (a): column `--sensitive`, or several with commas between, which are crossed into one attribute.
    Splits: column `--split_column`: train, val (or valid, validation), test; or 0, 1, 2.
    Forget groups: those of `--forget_groups`; none has a number.
    Source, licence, citation: the user's.
    """

    name = "custom"
    folder: ClassVar[str] = "."
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = ((FILE,),)
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]] = ()
    view = "centre"
    upright: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("target", "sensitive", "filename_column", "split_column", "dataset_name")
    group_format: ClassVar[str] = "{target}, {sensitive}"

    @classmethod
    def load(
        cls,
        data_dir: Path,
        split_number: int,
        seed: int,
        target: str = "target",
        sensitive: str = "sensitive",
        filename_column: str = "filename",
        split_column: str = "split",
        dataset_name: str = "",
    ) -> Self:
        """Read metadata.csv; `split_number` and `seed` change nothing.

        `target`, `sensitive` (several with commas between), `filename_column` and `split_column` name columns.

        Integers are coded in the order of their numbers, names in that of the alphabet. dataset_name: for messages.
        """
        attributes = [name.strip() for name in sensitive.split(",")]
        columns = {"filename_column": [filename_column], "split_column": [split_column]}
        wanted = _distinct({**columns, "target": [target], "sensitive": attributes})
        root = data_folder(data_dir, cls.folder, f"{FILE} ({','.join(wanted)})")
        table = _stripped(read_csv(root / FILE, wanted, f"{FILE} ({','.join(wanted)}) and the images"), filename_column)
        target_names, targets = name_values(table, target)
        if len(target_names) == 1:
            raise UserError(
                f"{table.file}: {target} is {target_names[0]!r} in all {len(targets)} rows; expected two values or more"
            )
        sensitive_names, sensitives = cross_columns(table, attributes)
        refuse_too_many(table, len(target_names), len(sensitive_names), [target, *attributes])
        found = cls(
            root=root,
            path=one_row_each(table, filename_column, image_paths(table, filename_column)),
            target=targets,
            sensitive=sensitives,
            split=_splits(table, split_column),
            target_names=target_names,
            sensitive_names=sensitive_names,
        )
        found.name, found.file_column = dataset_name or cls.name, filename_column
        _refuse_equal_names(table, found)
        return found


def _distinct(columns: dict[str, list[str]]) -> list[str]:
    """All columns; UserError for one without a name, and for one that two flags ask for."""
    taken: dict[str, str] = {}
    for flag, names in columns.items():
        for name in names:
            if not name:
                raise UserError(f"--{flag} {','.join(names)!r}: expected the name of a column of {FILE}")
            if name in taken:
                raise UserError(
                    f"--{flag} asks for column {name!r}, which --{taken[name]} asks for too; expected another column"
                )
            taken[name] = flag
    return list(taken)


def _stripped(table: Table, filename_column: str) -> Table:
    """Without the blanks around a value, which make another value of it that looks the same."""
    columns = {
        name: values if name == filename_column else [value.strip() for value in values]
        for name, values in table.columns.items()
    }
    return replace(table, columns=columns)


def _splits(table: Table, column: str) -> np.ndarray:
    """(n,) splits of the rows; UserError where none is of train or none of val."""
    split = table.codes(column, SPLITS, ignore_case=True)
    for code, name in ((TRAIN, "train"), (VAL, "val")):
        if code not in split:
            found = ", ".join(sorted(set(table[column])))
            raise UserError(
                f"{table.file}: no row is of {name}, {column} is {found}; expected rows of train and val, and of test"
                " to measure on"
            )
    return split


def _refuse_equal_names(table: Table, dataset: GroupDataset) -> None:
    """UserError where two groups would have one name, which names with commas can bring about."""
    name, times = Counter(map(dataset.group_name, range(dataset.n_groups))).most_common(1)[0]
    if times > 1:
        raise UserError(f"{table.file}: {times} groups would be called {name!r}; expected names without commas")
