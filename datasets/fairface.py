"""FairFace (Karkkainen and Joo, WACV 2021): faces with age and race, balanced over race."""

import re
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from datasets.base import TEST, TRAIN, VAL, GroupDataset
from datasets.labels import Table, data_folder, read_csv
from datasets.splits import seeded_order, share_of

LAYOUT = "fairface_label_train.csv, fairface_label_val.csv (file,age,gender,race,service_test), train/ and val/"
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
RACES = ("Black", "Southeast Asian", "Middle Eastern", "Indian", "Latino_Hispanic", "White", "East Asian")
TRAIN_SHARE = 0.9  # of the train file; the rest is val, and the val file is test
FLAGS = {"true": 1, "false": 0}
# 3-9 and 10-19 as a spreadsheet program writes them back: 03-Sep, 9-Mar, Oct-19, 19-Oct, 2024-03-09, 3/9/2024.
DATE = re.compile(r"\d{1,4}[-/. ][a-z]{3}|[a-z]{3}[-/. ]\d{1,4}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", re.IGNORECASE)


class FairFace(GroupDataset):
    """y = age, a = race, of the faces that `service_test` marks."""

    name: ClassVar[str] = "fairface"
    folder: ClassVar[str] = "fairface"
    target_names = AGES
    sensitive_names = RACES
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]] = ((3, 0), (6, 4), (1, 5), (8, 6), (4, 2))
    max_multi_group: ClassVar[int] = 5
    view: ClassVar[str] = "centre"

    @classmethod
    def load(cls, data_dir: Path, split_number: int, seed: int) -> Self:
        """`seed` decides which tenth of the train file is val."""
        root = data_folder(data_dir, cls.folder, LAYOUT)
        path, target, sensitive = [], [], []
        for name in ("train", "val"):
            table = read_csv(root / f"fairface_label_{name}.csv", ("file", "age", "race", "service_test"), LAYOUT)
            # Spreadsheet programs write True as TRUE, which means the same.
            used = table.codes("service_test", FLAGS, ignore_case=True).astype(bool)
            path.append(np.array(table["file"])[used])
            target.append(_ages(table)[used])
            sensitive.append(table.codes("race", {race: code for code, race in enumerate(RACES)})[used])
        return cls(
            root=root,
            path=np.concatenate(path),
            target=np.concatenate(target),
            sensitive=np.concatenate(sensitive),
            split=np.concatenate([_train_or_val(path[0], seed), np.full(len(path[1]), TEST)]),
            target_names=AGES,
            sensitive_names=RACES,
        )


def _train_or_val(paths: np.ndarray, seed: int) -> np.ndarray:
    order = seeded_order("train", seed, paths.tolist())
    in_train = np.isin(paths, order[: share_of(TRAIN_SHARE, len(order))])
    return np.where(in_train, TRAIN, VAL)


def _ages(table: Table) -> np.ndarray:
    dates = [row for row, age in enumerate(table["age"]) if DATE.fullmatch(age)]
    if dates:
        raise table.error(
            "age", dates, "a spreadsheet program turned ages such as 3-9 and 10-19 into dates; use the original file"
        )
    return table.codes("age", {age: code for code, age in enumerate(AGES)})
