"""CelebA: celebrity faces with forty binary attributes, labels as .txt or as .csv."""

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from datasets.base import GroupDataset
from datasets.labels.tables import (
    Table,
    column_numbers,
    data_folder,
    image_paths,
    one_row_each,
    ragged_line_error,
    read_csv,
    read_label_text,
    table_of,
)
from utils.errors import UserError

IMAGES = "img_align_celeba"
LAYOUT = f"list_attr_celeba and list_eval_partition, both as .txt or .csv, and the images in {IMAGES}/"
SENSITIVE = "Male"
TARGETS = (("Blond_Hair", "blond"), ("Attractive", "attractive"))  # per --split_number
ATTRIBUTE_CODES = {"-1": 0, "1": 1}
PARTITION_CODES = {"0": 0, "1": 1, "2": 2}


class CelebA(GroupDataset):
    """CelebA, the large-scale CelebFaces attributes data set.

    Input (x): faces of celebrities, aligned and cropped by the authors, 178 x 218 pixels, squeezed into a square.
    Target (y): `Blond_Hair` (`--split_number` 0) or `Attractive` (1): 0 no, 1 yes.
    Sensitive attribute (a): `Male`: 0 female, 1 male.
    Splits: the authors': 162,770 train, 19,867 val, 19,962 test.
    Forget groups: `--split_number` 0: blond male, (y, a) = (1, 1), 1,387 in train; 1: attractive male, (1, 1).
    Source: https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
    Licence: non-commercial research alone, by the agreement on that page.
    Citation: Ziwei Liu, Ping Luo, Xiaogang Wang and Xiaoou Tang, Deep Learning Face Attributes in the Wild, ICCV 2015.
    """

    name = "celeba"
    folder: ClassVar[str] = "celeba"
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("list_attr_celeba.txt", "list_attr_celeba.csv"),
        ("list_eval_partition.txt", "list_eval_partition.csv"),
    )
    target_names = ("not blond", "blond")  # of split 0
    sensitive_names = ("female", "male")
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]] = ((1, 1), (1, 1))
    target_depends_on_split: ClassVar[bool] = True
    view = "stretch"
    file_column = "image_id"

    @classmethod
    def load(cls, data_dir: Path, split_number: int, seed: int) -> Self:
        """Read the attributes and the partition; `split_number` decides the target, `seed` nothing."""
        root = data_folder(data_dir, cls.folder, LAYOUT)
        attribute, adjective = TARGETS[split_number]
        attribute_file, partition_file = cls.label_files(data_dir)
        attributes = _read_attributes(attribute_file, (cls.file_column, attribute, SENSITIVE))
        partition = _read_partition(partition_file)
        return cls(
            root=root,
            path=[f"{IMAGES}/{name}" for name in image_paths(attributes, cls.file_column)],
            target=attributes.codes(attribute, ATTRIBUTE_CODES),
            sensitive=attributes.codes(SENSITIVE, ATTRIBUTE_CODES),
            split=_split_of(attributes, partition),
            target_names=(f"not {adjective}", adjective),
            sensitive_names=cls.sensitive_names,
        )


def _read_attributes(file: Path, wanted: tuple[str, ...]) -> Table:
    if file.suffix == ".csv":
        return read_csv(file, wanted, LAYOUT)
    count, names, *rows = (read_label_text(file, LAYOUT) + "\n").split("\n")
    header = ["image_id", *names.split()]
    table = _read_rows(file, header, wanted, rows, first_line=3)
    if count.strip() != str(len(table.lines)):
        raise UserError(
            f"{file}, line 1: the count is {count.strip()!r} but {len(table.lines)} rows follow; get a complete copy"
        )
    return table


def _read_partition(file: Path) -> Table:
    wanted = ("image_id", "partition")
    if file.suffix == ".csv":
        return read_csv(file, wanted, LAYOUT)
    return _read_rows(file, wanted, wanted, read_label_text(file, LAYOUT).split("\n"), first_line=1)


def _read_rows(file: Path, header: Sequence[str], wanted: tuple[str, ...], rows: list[str], first_line: int) -> Table:
    """Rows of fields between runs of blanks; only the wanted of the forty are kept."""
    pick = itemgetter(*column_numbers(file, header, wanted))
    width = len(header)
    cells, lines = [], []
    for line, row in enumerate(rows, first_line):
        fields = row.split()
        if len(fields) == width:
            cells.extend(pick(fields))
            lines.append(line)
        elif fields:
            raise ragged_line_error(file, line, len(fields), width)
    return table_of(file, wanted, cells, lines)


def _split_of(attributes: Table, partition: Table) -> np.ndarray:
    """The partition of every row of the attribute file, whatever the order of either."""
    named = one_row_each(partition, "image_id", partition["image_id"])
    split = dict(zip(named, partition.codes("partition", PARTITION_CODES).tolist(), strict=True))
    names = attributes["image_id"]
    if split.keys() != set(names):
        only_in_one = sorted(split.keys() ^ set(names))
        raise UserError(
            f"{attributes.file} and {partition.file} disagree: {len(only_in_one)} images, the first {only_in_one[0]},"
            f" are in only one of them; take both from the same copy of CelebA"
        )
    return np.array([split[name] for name in names], dtype=np.int64)
