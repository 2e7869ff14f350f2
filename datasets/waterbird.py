"""Waterbirds: birds cut out of CUB-200-2011 and pasted onto scenes of Places, mostly the kind that they live in."""

from pathlib import Path
from typing import ClassVar, Self

from datasets.base import GroupDataset
from datasets.labels.tables import data_folder, image_paths, read_csv

FILE = "metadata.csv"
LAYOUT = f"{FILE} (img_id,img_filename,y,split,place,place_filename) and the image folders that it names"


class Waterbirds(GroupDataset):
    """Waterbirds.

    Input (x): photographs of birds of CUB-200-2011 on backgrounds of Places, of various sizes.
    Target (y): the kind of bird: 0 landbird, 1 waterbird.
    Sensitive attribute (a): the background: 0 land, 1 water.
    Splits: the authors': 4,795 train, 1,199 val, 5,794 test. The background fits 95 % of the birds of train (3,498
        landbirds on land and 184 on water, 56 waterbirds on land and 1,057 on water), and half of each kind in val and
        test.
    Forget groups: (y, a) by `--split_number`: 0 waterbird on land, (1, 0); 1 landbird on water, (0, 1).
    Source: the archive waterbird_complete95_forest2water2, https://github.com/kohpangwei/group_DRO
    Licence: none is named there; WILDS, which offers it too, restricts it to non-commercial research and education.
    Citation: Shiori Sagawa, Pang Wei Koh, Tatsunori B. Hashimoto and Percy Liang, Distributionally Robust Neural
        Networks for Group Shifts: On the Importance of Regularization for Worst-Case Generalization, ICLR 2020.
    """

    name = "waterbird"
    folder: ClassVar[str] = "waterbird_complete95_forest2water2"
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = ((FILE,),)
    target_names = ("landbird", "waterbird")
    sensitive_names = ("land", "water")
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]] = ((1, 0), (0, 1))
    view = "centre"
    file_column = "img_filename"
    group_format: ClassVar[str] = "{target} on {sensitive}"

    @classmethod
    def load(cls, data_dir: Path, split_number: int, seed: int) -> Self:
        """Read metadata.csv, the same for every `split_number` and `seed`."""
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
