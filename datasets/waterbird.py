"""Waterbirds (Sagawa et al., ICLR 2020): birds cut out of CUB and pasted onto land or water."""

from pathlib import Path
from typing import ClassVar, Self

from datasets.base import GroupDataset
from datasets.labels.tables import data_folder, image_paths, read_csv

FILE = "metadata.csv"
LAYOUT = f"{FILE} (img_id,img_filename,y,split,place,place_filename) and the image folders that it names"


class Waterbirds(GroupDataset):
    """y = landbird or waterbird, a = land or water behind it."""

    name = "waterbird"
    folder: ClassVar[str] = "waterbird_complete95_forest2water2"
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = ((FILE,),)
    target_names = ("landbird", "waterbird")
    sensitive_names = ("land", "water")
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]] = ((1, 0), (0, 1))
    view: ClassVar[str] = "centre"
    file_column = "img_filename"
    group_format: ClassVar[str] = "{target} on {sensitive}"

    @classmethod
    def load(cls, data_dir: Path, split_number: int, seed: int) -> Self:
        root = data_folder(data_dir, cls.folder, LAYOUT)
        table = read_csv(root / FILE, (cls.file_column, "y", "split", "place"), LAYOUT)
        return cls(
            root=root,
            path=image_paths(table, cls.file_column),
            target=table.codes("y", {"0": 0, "1": 1}),
            sensitive=table.codes("place", {"0": 0, "1": 1}),
            split=table.codes("split", {"0": 0, "1": 1, "2": 2}),
            target_names=cls.target_names,
            sensitive_names=cls.sensitive_names,
        )
