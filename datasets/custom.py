"""A folder of the user's own: metadata.csv with one row an image, and the images that it names."""

import posixpath
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from datasets.base import TEST, TRAIN, VAL, GroupDataset
from datasets.labels import Table, data_folder, read_csv
from utils.errors import UserError

FILE = "metadata.csv"
SPLITS = {
    "train": TRAIN, "val": VAL, "test": TEST, "valid": VAL, "validation": VAL,
    "0": TRAIN, "1": VAL, "2": TEST,
}  # fmt: skip
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # 007 is a name
Named = tuple[tuple[str, ...], np.ndarray]  # the names of a column's values, and the code of every row


class Custom(GroupDataset):
    """y and a = columns that the user names; several sensitive columns are crossed into one attribute."""

    name: ClassVar[str] = "custom"
    folder: ClassVar[str] = "."
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = ((FILE,),)
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]] = ()
    view: ClassVar[str] = "centre"
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
        """`target`, `sensitive` (several with commas between), `filename_column` and `split_column` name columns.

        Integers are coded in the order of their numbers, names in that of the alphabet. dataset_name: for messages.
        """
        crossed = [name.strip() for name in sensitive.split(",")]
        columns = {"filename_column": [filename_column], "split_column": [split_column]}
        wanted = _distinct({**columns, "target": [target], "sensitive": crossed})
        root = data_folder(data_dir, cls.folder, f"{FILE} ({','.join(wanted)})")
        table = _stripped(read_csv(root / FILE, wanted, f"{FILE} ({','.join(wanted)}) and the images"), filename_column)
        target_names, targets = _named(table, target)
        if len(target_names) == 1:
            raise UserError(
                f"{table.file}: {target} is {target_names[0]!r} in all {len(targets)} rows; expected two values or more"
            )
        sensitive_names, sensitives = _crossed(table, crossed)
        _refuse_too_many(table, len(target_names), len(sensitive_names), [target, *crossed])
        found = cls(
            root=root,
            path=_paths(table, filename_column),
            target=targets,
            sensitive=sensitives,
            split=_splits(table, split_column),
            target_names=target_names,
            sensitive_names=sensitive_names,
        )
        found.name = dataset_name or cls.name
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


def _named(table: Table, column: str) -> Named:
    values = table[column]
    present = set(values)
    if "" in present:
        rows = [row for row, value in enumerate(values) if not value]
        raise table.error(column, rows, "expected a name or an integer")
    integers = {value for value in present if INTEGER.fullmatch(value)}
    if integers and integers != present:
        raise _mixed(table, column, integers)
    names = sorted(present, key=int) if integers else sorted(present)
    codes = {name: code for code, name in enumerate(names)}
    return tuple(names), np.array([codes[value] for value in values], dtype=np.int64)


def _mixed(table: Table, column: str, integers: set[str]) -> UserError:
    """The kind that fewer rows have is taken for the mistake."""
    rows: dict[bool, list[int]] = {True: [], False: []}
    for row, value in enumerate(table[column]):
        rows[value in integers].append(row)
    few, many = sorted(rows.values(), key=len)
    other = f"{table[column][many[0]]!r} on line {table.lines[many[0]]}"
    return table.error(column, few, f"expected integers alone or names alone, and there is {other}")


def _crossed(table: Table, columns: Sequence[str]) -> Named:
    """The product of the columns' values, the last one fastest; "/" stands between the parts of a name."""
    if len(columns) > 1:
        for column in columns:
            rows = [row for row, value in enumerate(table[column]) if "/" in value]
            if rows:
                raise table.error(column, rows, "expected no / in it, which joins the values of crossed columns")
    named = [_named(table, column) for column in columns]
    codes = np.zeros(len(table.lines), dtype=np.int64)
    for names, own in named:
        codes = codes * len(names) + own
    _refuse_too_many(table, 1, np.prod([float(len(names)) for names, _ in named]), columns)
    return tuple("/".join(parts) for parts in product(*(names for names, _ in named))), codes


def _splits(table: Table, column: str) -> np.ndarray:
    split = table.codes(column, SPLITS, ignore_case=True)
    for code, name in ((TRAIN, "train"), (VAL, "val")):
        if code not in split:
            found = ", ".join(sorted(set(table[column])))
            raise UserError(
                f"{table.file}: no row is of {name}, {column} is {found}; expected rows of train and val, and of test"
                " to measure on"
            )
    return split


def _paths(table: Table, column: str) -> list[str]:
    """In one spelling (./a.jpg is a.jpg); UserError for what is not below the folder, and for a file in two rows."""
    values = table[column]
    paths = [posixpath.normpath(value) if value else "" for value in values]
    outside = [row for row, path in enumerate(paths) if not _is_below(path)]
    if outside:
        raise table.error(column, outside, f"expected the path of a file below {table.file.parent}, with / in it")
    first: dict[str, int] = {}
    repeated = [row for row, path in enumerate(paths) if first.setdefault(path, row) != row]
    if repeated:
        line = table.lines[first[paths[repeated[0]]]]
        raise table.error(column, repeated, f"line {line} has it too; expected one row an image")
    return paths


def _is_below(path: str) -> bool:
    """A link may lead anywhere; the path itself may not."""
    return path not in ("", ".", "..") and not path.startswith(("/", "../")) and not set(path) & {"\\", "\0"}


def _refuse_too_many(table: Table, n_targets: int, n_sensitive: float, columns: Sequence[str]) -> None:
    n_rows, n_groups = len(table.lines), int(n_targets * n_sensitive)
    if n_groups > n_rows:
        raise UserError(
            f"{table.file}: {n_groups} groups for {n_rows} rows, from the values of {', '.join(columns)}; expected"
            " columns of few values"
        )


def _refuse_equal_names(table: Table, dataset: GroupDataset) -> None:
    name, times = Counter(map(dataset.group_name, range(dataset.n_groups))).most_common(1)[0]
    if times > 1:
        raise UserError(f"{table.file}: {times} groups would be called {name!r}; expected names without commas")
