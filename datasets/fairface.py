"""FairFace: faces with age, gender and race, balanced over race."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from datasets.base import TEST, TRAIN, VAL, GroupDataset
from datasets.labels.tables import Table, data_folder, image_paths, read_csv
from datasets.splits import count_share, seeded_order

LAYOUT = "fairface_label_train.csv, fairface_label_val.csv (file,age,gender,race,service_test), train/ and val/"
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
RACES = ("Black", "Southeast Asian", "Middle Eastern", "Indian", "Latino_Hispanic", "White", "East Asian")
GENDERS = ("Female", "Male")
NAMES = {"age": AGES, "race": RACES, "gender": GENDERS}  # by code
TRAIN_SHARE = 0.9  # of the train file; the rest is val, and the val file is test
FLAGS = {"true": 1, "false": 0}
# 3-9 and 10-19 as a spreadsheet program writes them back: 03-Sep, 9-Mar, Oct-19, 19-Oct, 2024-03-09, 3/9/2024.
DATE = re.compile(r"\d{1,4}[-/. ][a-z]{3}|[a-z]{3}[-/. ]\d{1,4}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", re.IGNORECASE)


@dataclass(frozen=True)
class Labels:
    """Of the n faces that `service_test` marks: n image files, (n,) splits, and (n,) codes by column.

    split: 0 train, 1 val, 2 test; codes: places in the column's tuple of NAMES.
    """

    path: list[str]
    split: np.ndarray
    codes: dict[str, np.ndarray]


class FairFace(GroupDataset):
    """FairFace, of which the faces are used that its column `service_test` marks.

    Input (x): faces, aligned by the authors with a margin (their "padding") of 0.25.
    Target (y): `age`, nine ranges: 0-2, 3-9, 10-19, 20-29, 30-39, 40-49, 50-59, 60-69, more than 70.
    Sensitive attribute (a): `race`, seven values: those of RACES, in its order.
    Splits: of the authors' train file 90 % are train and 10 % val, drawn by `--train_seed`; their val file is test. Of
        the whole data set 36,226 train, 4,026 val, 5,162 test.
    Forget groups: (y, a) by `--split_number`: 0 (20-29, Black), 1 (50-59, Latino_Hispanic), 2 (3-9, White),
        3 (more than 70, East Asian), 4 (30-39, Middle Eastern). `--multi_group` k crosses the ages and the races of the
        first k of them: 9 groups for 3, 25 for 5.
    Source: https://github.com/joojs/fairface
    Licence: CC BY 4.0.
    Citation: Kimmo Karkkainen and Jungseock Joo, FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age
        for Bias Measurement and Mitigation, WACV 2021.
    """

    name = "fairface"
    folder: ClassVar[str] = "fairface"
    row_for_row: ClassVar[bool] = False
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = (("fairface_label_train.csv",), ("fairface_label_val.csv",))
    target_names = AGES
    sensitive_names = RACES
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]] = ((3, 0), (6, 4), (1, 5), (8, 6), (4, 2))
    max_multi_group: ClassVar[int] = 5
    view = "centre"
    file_column = "file"

    @classmethod
    def load(cls, data_dir: Path, split_number: int, seed: int) -> Self:
        """Read both label files; `seed` decides which tenth of the train file is val, `split_number` nothing."""
        root = data_folder(data_dir, cls.folder, LAYOUT)
        labels = read_labels(root, seed, ("age", "race"))
        return cls(
            root=root,
            path=labels.path,
            target=labels.codes["age"],
            sensitive=labels.codes["race"],
            split=labels.split,
            target_names=AGES,
            sensitive_names=RACES,
        )


def read_labels(root: Path, seed: int, columns: Sequence[str]) -> Labels:
    """Both label files in `root`, with some columns of NAMES; `seed` decides which tenth of the train file is val."""
    path: list[list[str]] = []
    codes: dict[str, list[np.ndarray]] = {column: [] for column in columns}
    for name in ("train", "val"):
        table = read_csv(root / f"fairface_label_{name}.csv", ("file", *columns, "service_test"), LAYOUT)
        # Spreadsheet programs write True as TRUE, which means the same.
        used = table.codes("service_test", FLAGS, ignore_case=True).astype(bool)
        path.append(list(compress(image_paths(table, "file"), used)))
        for column in columns:
            codes[column].append(_codes(table, column)[used])
    return Labels(
        path=path[0] + path[1],
        split=np.concatenate([_train_or_val(path[0], seed), np.full(len(path[1]), TEST)]),
        codes={column: np.concatenate(parts) for column, parts in codes.items()},
    )


def _train_or_val(paths: Sequence[str], seed: int) -> np.ndarray:
    order = seeded_order("train", seed, paths)
    in_train = set(order[: count_share(TRAIN_SHARE, len(order))])
    return np.array([TRAIN if path in in_train else VAL for path in paths], dtype=np.int64)


def _codes(table: Table, column: str) -> np.ndarray:
    dates = [row for row, age in enumerate(table[column]) if DATE.fullmatch(age)] if column == "age" else []
    if dates:
        raise table.error(
            "age", dates, "a spreadsheet program turned ages such as 3-9 and 10-19 into dates; use the original file"
        )
    return table.codes(column, {name: code for code, name in enumerate(NAMES[column])})
