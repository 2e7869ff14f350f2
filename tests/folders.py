"""Small data sets in the real layouts, with real JPEG files, for tests that read them or run on them.

Each function takes the data_dir and returns the data set's folder in it. Forget groups have at least ten train rows,
so that ratio 0.1 forgets something.
"""

import csv
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.fairface import AGES, RACES, FairFace

CELEBA_NAMES_LINE = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair"
    " Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male"
    " Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks"
    " Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace"
    " Wearing_Necktie Young "
)
CELEBA_ATTRIBUTES = CELEBA_NAMES_LINE.split()
WATERBIRD_COLUMNS = ("img_id", "img_filename", "y", "split", "place", "place_filename")
WATERBIRD_TRAIN = {(0, 0): 20, (0, 1): 12, (1, 0): 12, (1, 1): 16}


def make_celeba(root: Path, form: str = "txt") -> Path:
    """80 images, labels as .txt or .csv; each of blond, male and attractive in all combinations, in every split."""
    folder = root / "celeba"
    combinations = list(product((-1, 1), repeat=3))
    # Train 6, val 2, test 2 of each: 12 blond males and 12 attractive males in train.
    rows = [(code, labels) for code, n in ((0, 6), (1, 2), (2, 2)) for labels in combinations * n]
    names = [f"{number:06d}.jpg" for number in range(1, len(rows) + 1)]
    values = [_celeba_values(*labels, number) for number, (_, labels) in enumerate(rows)]
    for number, name in enumerate(names):
        write_image(folder / "img_align_celeba" / name, number, width=44, height=54)
    if form == "csv":
        attributes = ([name, *row] for name, row in zip(names, values, strict=True))
        write_csv(folder / "list_attr_celeba.csv", ["image_id", *CELEBA_ATTRIBUTES], attributes)
        partition = ([name, code] for name, (code, _) in zip(names, rows, strict=True))
        write_csv(folder / "list_eval_partition.csv", ["image_id", "partition"], partition)
        return folder
    lines = [str(len(names)), CELEBA_NAMES_LINE]
    lines += [f"{name} {' '.join(f'{value:2d}' for value in row)} " for name, row in zip(names, values, strict=True)]
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    partition = [f"{name} {code}\n" for name, (code, _) in zip(names, rows, strict=True)]
    (folder / "list_eval_partition.txt").write_text("".join(partition))
    return folder


def make_fairface(root: Path) -> Path:
    """All 63 groups in train and test, the five forget pairs with 20 rows each; some rows not for service tests."""
    folder = root / "fairface"
    for name, n_forget, first in (("train", 20, 0), ("val", 2, 1000)):
        rows = []
        for target, sensitive in product(range(len(AGES)), range(len(RACES))):
            for _ in range(n_forget if (target, sensitive) in FairFace.forget_pairs else 1):
                file = f"{name}/{len(rows) + 1}.jpg"
                write_image(folder / file, first + len(rows), width=40, height=40)
                rows.append([file, AGES[target], "Female", RACES[sensitive], True])
        # Their images do not exist: whoever reads these rows notices.
        rows.insert(3, [f"{name}/9001.jpg", "3-9", "Male", "White", False])
        rows.append([f"{name}/9002.jpg", "20-29", "Male", "Black", False])
        write_csv(folder / f"fairface_label_{name}.csv", ["file", "age", "gender", "race", "service_test"], rows)
    return folder


def make_waterbird(root: Path, times: int = 1) -> Path:
    """60 train, 16 val and 16 test images (`times` as many) of varying size, one of them grey."""
    folder = root / "waterbird_complete95_forest2water2"
    cells = [(0, cell, times * n) for cell, n in WATERBIRD_TRAIN.items()]
    cells += [(split, cell, times * 4) for split in (1, 2) for cell in WATERBIRD_TRAIN]
    rows: list[list] = []
    for split, (target, place), n in cells:
        for _ in range(n):
            number = len(rows) + 1
            file = f"{number:03d}.Species/Bird_{number:04d}.jpg"
            write_image(folder / file, number, width=40 + number % 9, height=48 - number % 7, grey=number == 5)
            background = f"/{'fo'[place]}/{('forest', 'ocean')[place]}/{number:08d}.jpg"
            rows.append([number, file, target, split, place, background])
    write_csv(folder / "metadata.csv", WATERBIRD_COLUMNS, rows)
    return folder


def make_custom(root: Path) -> Path:
    """40 train, 8 val and 8 test images with the columns' usual names, and an age beside them."""
    folder = root / "my_data"
    counts = {"train": {"Female": (12, 8), "Male": (8, 12)}, "val": dict.fromkeys(("Female", "Male"), (2, 2))}
    counts["test"] = counts["val"]
    cells = [
        (split, target, race, n)
        for split, targets in counts.items()
        for target, numbers in targets.items()
        for race, n in zip(("Black", "White"), numbers, strict=True)
    ]
    rows: list[list] = []
    for split, target, race, n in cells:
        for _ in range(n):
            file = f"faces/{len(rows)}.jpg"
            write_image(folder / file, len(rows), width=40, height=44)
            rows.append([file, split, target, race, 20 + 10 * (len(rows) % 2)])
    write_csv(folder / "metadata.csv", ["filename", "split", "target", "sensitive", "age"], rows)
    return folder


def write_image(file: Path, number: int, width: int, height: int, grey: bool = False) -> None:
    """A JPEG of a gradient whose colours are a function of `number`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 60, width)[None, :, None] + np.linspace(0, 60, height)[:, None, None]
    colour = np.array([37 * number % 130, 59 * number % 130, 83 * number % 130])
    image = Image.fromarray((ramp + colour).astype(np.uint8))
    (image.convert("L") if grey else image).save(file, quality=90)


def write_csv(file: Path, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    """A CSV file with a header."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([header, *rows])


def _celeba_values(blond: int, male: int, attractive: int, number: int) -> list[int]:
    """The forty attributes of a row; those that nobody asks for vary with `number`."""
    known = {"Blond_Hair": blond, "Male": male, "Attractive": attractive}
    return [known.get(name, 1 if (number + column) % 3 else -1) for column, name in enumerate(CELEBA_ATTRIBUTES)]
