"""A folder of the user's own: a table with one row an image, and the images that it names."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from datasets.base import TEST, TRAIN, VAL, GroupDataset
from datasets.labels.tables import Table, data_folder, format_count, image_paths, one_row_each, read_csv
from datasets.labels.values import SHOWN, cross_columns, name_values, refuse_too_many
from utils.errors import UserError

FILE = "metadata.csv"
NAMED_SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}
SPLITS = {
    **NAMED_SPLITS, "valid": VAL, "validation": VAL,
    "0": TRAIN, "1": VAL, "2": TEST,
}  # fmt: skip


class Custom(GroupDataset):
    """A data set of the user's own, described in metadata.csv, or the file of `--metadata`, by one row an image.

    Input (x): the image files that column `--filename_column` names, of any size; turned as EXIF says.
    Target (y): column `--target`, two values or more.
    Sensitive attribute (a): column `--sensitive`, or several with commas between, which are crossed into one attribute.
    Splits: column `--split_column`: train, val (or valid, validation), test; or 0, 1, 2; or the words of
        `--split_values`.
    Forget groups: those of `--forget_groups`; none has a number.
    Source, licence, citation: the user's.
    """

    name = "custom"
    folder: ClassVar[str] = "."
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = ((FILE,),)
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]] = ()
    view = "centre"
    upright: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = (
        *("metadata", "split_values", "target", "sensitive", "filename_column", "split_column", "dataset_name"),
    )
    group_format: ClassVar[str] = "{target}, {sensitive}"

    @classmethod
    def label_files(cls, data_dir: Path, metadata: str | None = None, **options: Any) -> list[Path]:
        """The table."""
        return [Path(metadata)] if metadata else super().label_files(data_dir, **options)

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
        metadata: str | None = None,
        split_values: str | None = None,
    ) -> Self:
        """Read the table; `split_number` and `seed` change nothing.

        `target`, `sensitive` (several with commas between), `filename_column` and `split_column` name columns.

        metadata: the table where it is not metadata.csv, relative to where the program runs; images stay relative to
        `data_dir`. split_values: what the splits are called there, train=WORD+WORD,val=WORD,test=WORD.

        Integers are coded in the order of their numbers, names in that of the alphabet. dataset_name: for messages.
        """
        attributes = [name.strip() for name in sensitive.split(",")]
        columns = {"filename_column": [filename_column], "split_column": [split_column]}
        wanted = _distinct({**columns, "target": [target], "sensitive": attributes})
        asked_for = f"{'the table of --metadata' if metadata else FILE} ({','.join(wanted)})"
        root = data_folder(data_dir, cls.folder, "the images" if metadata else asked_for)
        (file,) = cls.label_files(data_dir, metadata)
        table = read_csv(file, list(wanted), asked_for if metadata else f"{asked_for} and the images", wanted)
        table = _stripped(table, filename_column)
        target_names, targets = name_values(table, target)
        if len(target_names) == 1:
            raise UserError(
                f"{table.file}: {target} is {target_names[0]!r} in all {len(targets)} rows; expected two values or more"
            )
        sensitive_names, sensitives = cross_columns(table, attributes)
        refuse_too_many(table, len(target_names), len(sensitive_names), [target, *attributes])
        found = cls(
            root=root,
            path=one_row_each(table, filename_column, image_paths(table, filename_column, root)),
            target=targets,
            sensitive=sensitives,
            split=_splits(table, split_column, split_values),
            target_names=target_names,
            sensitive_names=sensitive_names,
        )
        found.name, found.file_column, found.label_file = dataset_name or cls.name, filename_column, file
        _refuse_equal_names(table, found)
        return found


def _distinct(columns: dict[str, list[str]]) -> dict[str, str]:
    """The flag of each column; UserError for one without a name, and for one that two flags ask for."""
    taken: dict[str, str] = {}
    for flag, names in columns.items():
        for name in names:
            if not name:
                raise UserError(f"--{flag} {','.join(names)!r}: expected the name of a column of the table")
            if name in taken:
                raise UserError(
                    f"--{flag} asks for column {name!r}, which --{taken[name]} asks for too; expected another column"
                )
            taken[name] = flag
    return taken


def _stripped(table: Table, filename_column: str) -> Table:
    """Without the blanks around a value, which make another value of it that looks the same."""
    columns = {
        name: values if name == filename_column else [value.strip() for value in values]
        for name, values in table.columns.items()
    }
    return replace(table, columns=columns)


def _splits(table: Table, column: str, split_values: str | None) -> np.ndarray:
    """(n,) splits of the rows; UserError for a value that is of none, and where none is of train or none of val."""
    words = SPLITS if split_values is None else _read_split_values(split_values)
    if split_values is not None:
        _refuse_other_words(table, column, words)
    remedy = "; name other words with --split_values train=WORD,val=WORD,test=WORD"
    split = table.codes(column, words, ignore_case=True, remedy=remedy)
    for code, name in ((TRAIN, "train"), (VAL, "val")):
        if code not in split:
            found = ", ".join(sorted(set(table[column])))
            raise UserError(
                f"{table.file}: no row is of {name}, {column} is {found}; expected rows of train and val, and of test"
                " to measure on"
            )
    return split


def _read_split_values(text: str) -> dict[str, int]:
    """The code of each word, in lower case, of train=WORD+WORD,val=WORD; UserError for what cannot be meant."""
    where, codes = f"--split_values {text!r}", dict[str, int]()
    for part in text.split(","):
        name, _, words = (piece.strip() for piece in part.partition("="))
        if name not in NAMED_SPLITS:
            raise UserError(f"{where}: {name!r} is no split; expected train=WORD,val=WORD,test=WORD")
        if NAMED_SPLITS[name] in codes.values():
            raise UserError(f"{where}: {name} stands twice; put + between its words, as in {name}=WORD+WORD")
        if not words:
            raise UserError(f"{where}: {name} has no words; expected {name}=WORD, or {name}=WORD+WORD")
        for word in words.split("+"):
            folded = word.strip().lower()
            if not folded or folded in codes:
                problem = "stands twice" if folded else "is no word"
                raise UserError(f"{where}: {word.strip()!r} {problem}; expected words that are each of one split")
            codes[folded] = NAMED_SPLITS[name]
    return codes


def _refuse_other_words(table: Table, column: str, words: Mapping[str, int]) -> None:
    """UserError where --split_values names a word that no row has, or does not name one that some have."""
    counts = Counter(table[column])
    there = {value.lower() for value in counts}
    unnamed = [value for value in counts if value.lower() not in words]
    absent = [word for word in words if word not in there]
    told = [f"does not name {_listed(map(repr, unnamed))}"] if unnamed else []
    told += [f"names {_listed(map(repr, absent))}, which no row has"] if absent else []
    if told:
        found = _listed(f"{value!r} ({format_count(n, 'row')})" for value, n in sorted(counts.items()))
        raise UserError(f"{table.file}: --split_values {' and '.join(told)}; column {column} has {found}")


def _listed(values: Iterable[str]) -> str:
    (*shown,) = values
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more


def _refuse_equal_names(table: Table, dataset: GroupDataset) -> None:
    """UserError where two groups would have one name, which names with commas can bring about."""
    name, times = Counter(map(dataset.group_name, range(dataset.n_groups))).most_common(1)[0]
    if times > 1:
        raise UserError(f"{table.file}: {times} groups would be called {name!r}; expected names without commas")
