"""A folder for `--dataset custom` made of FairFace's labels: gender with a minority race in each, or all as it is.

    python -m scripts.skewed_faces --data_dir data --out data/skewed_faces
    python -m scripts.skewed_faces --data_dir data --out data/plain_faces --plain

Skewed: Black and White faces of age 10 and more; in train and in val so few of (Male, White) and (Female, Black) are
kept that they are `--share` of their gender. Test keeps all. Images are linked, not copied.
"""

import argparse
import csv
import io
import os
import shutil
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import yaml

from datasets.base import TEST, TRAIN, VAL
from datasets.custom import FILE
from datasets.fairface import AGES, LAYOUT, NAMES, FairFace, Labels, read_labels
from datasets.labels.tables import data_folder
from datasets.splits import seeded_order
from utils.errors import RunError, UserError
from utils.files import write_text
from utils.paths import typed_path
from utils.tables import align
from utils.terminal import Parser, on_terminal, say, tell

COLUMNS = ("gender", "race", "age")
SPLIT_NAMES = {TRAIN: "train", VAL: "val", TEST: "test"}
MINORITIES = {("Female", "Black"): ("Female", "White"), ("Male", "White"): ("Male", "Black")}  # and what is kept whole
FIRST_AGE = "10-19"


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Write the folder and print who is in it; returns the exit code."""
    wanted = _parse(arguments)
    try:
        root = data_folder(wanted.data_dir, FairFace.folder, LAYOUT)
        labels = read_labels(root, wanted.seed, COLUMNS)
        rows = np.arange(len(labels.path)) if wanted.plain else draw_skewed_rows(labels, wanted.share, wanted.seed)
        write_folder(wanted.out, root, labels, rows, "race,age" if wanted.plain else "race")
    except (UserError, RunError) as error:
        say(f"error: {error}")
        return error.exit_code
    tell(f"{format_group_table(labels, rows)}\n\nwritten: {wanted.out / FILE}, {wanted.out / 'config.yaml'}")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "python -m scripts.skewed_faces",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data_dir", type=typed_path, default=Path("data"), help="the folder that holds fairface/")
    parser.add_argument("--out", type=typed_path, required=True, help="the folder to make")
    parser.add_argument("--share", default="0.25", help="of a gender's train images, those of its minority (0.25)")
    parser.add_argument("--seed", type=int, default=0, help="which tenth of the train file is val, and who is kept (0)")
    parser.add_argument("--plain", action="store_true", help="every face; races and ages crossed as sensitive")
    return parser.parse_args(arguments)


def draw_skewed_rows(labels: Labels, share: str, seed: int) -> np.ndarray:
    """The rows to keep, sorted: in train and in val a minority is the largest part of its gender up to `share`."""
    part = _fraction(share)
    old = labels.codes["age"] >= AGES.index(FIRST_AGE)
    kept = []
    for minority, majority in MINORITIES.items():
        for split in SPLIT_NAMES:
            few, many = (
                np.flatnonzero(_cell(labels, *cell) & old & (labels.split == split)) for cell in (minority, majority)
            )
            if split != TEST:
                n = int(part * len(many) / (1 - part))
                if not 0 < n <= len(few):
                    cell = f"({', '.join(minority)}) in {SPLIT_NAMES[split]}"
                    raise UserError(f"--share {share}: that is {n} of {len(few)} faces of {cell}; give another share")
                few = _first(labels, few, n, seed)
            kept += [few, many]
    return np.sort(np.concatenate(kept))


def _fraction(share: str) -> Fraction:
    """The decimal number that --share gives, exactly; UserError unless it is between 0 and 0.5."""
    try:
        found = Fraction(share)
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if not 0 < found < Fraction(1, 2):
        raise UserError(f"--share {share}: expected a number above 0 and below 0.5, as a minority's is")
    return found


def _cell(labels: Labels, gender: str, race: str) -> np.ndarray:
    codes = {"gender": gender, "race": race}
    return np.all([labels.codes[name] == NAMES[name].index(value) for name, value in codes.items()], axis=0)


def _first(labels: Labels, rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    paths = [labels.path[row] for row in rows]
    first = set(seeded_order("skewed_faces", seed, paths)[:n])
    return rows[[path in first for path in paths]]


def format_group_table(labels: Labels, rows: np.ndarray) -> str:
    """Gender and race: how many in train, val and test, and which part of the gender's train images."""
    cells = []
    split = labels.split[rows]
    for gender in NAMES["gender"]:
        of_gender = labels.codes["gender"][rows] == NAMES["gender"].index(gender)
        for race in NAMES["race"]:
            here = _cell(labels, gender, race)[rows]
            counts = [int(np.sum(here & (split == code))) for code in SPLIT_NAMES]
            share = counts[TRAIN] / max(1, np.sum(of_gender & (split == TRAIN)))
            if any(counts):
                cells.append([f"{gender}, {race}", *map(str, counts), f"{100 * share:.2f} %"])
    totals = [str(np.sum(split == code)) for code in SPLIT_NAMES]
    return align(["group", *SPLIT_NAMES.values(), "of its gender in train"], [*cells, ["all", *totals, ""]])


def write_folder(out: Path, root: Path, labels: Labels, rows: np.ndarray, sensitive: str) -> None:
    """Links to the images, config.yaml and, last, metadata.csv; UserError where `out` has something in it."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["filename", "split", *COLUMNS])
    named = {column: np.array(NAMES[column])[labels.codes[column][rows]].tolist() for column in COLUMNS}
    splits = [SPLIT_NAMES[code] for code in labels.split[rows].tolist()]
    paths = [labels.path[row] for row in rows]
    table.writerows(zip(paths, splits, *named.values(), strict=True))
    config = {"dataset": "custom", "data_dir": str(out), "target": "gender", "sensitive": sensitive}
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"--out {out} is there already, and not empty; remove it, or give another one")
        out.mkdir(parents=True, exist_ok=True)
        link_images(root, out, paths)
        write_text(out / "config.yaml", yaml.safe_dump(config, sort_keys=False))
        write_text(out / FILE, text.getvalue())
    except OSError as error:
        raise UserError(f"--out {out} cannot be written to ({error.strerror}); choose another folder") from None


def link_images(root: Path, out: Path, paths: Sequence[str]) -> None:
    """One symbolic link an image folder; hard links or copies of the images where the system makes none."""
    folders = sorted({path.split("/")[0] for path in paths})
    try:
        for folder in folders:
            (out / folder).symlink_to(os.path.relpath(root.resolve() / folder, out.resolve()))
    except (OSError, ValueError, NotImplementedError):  # ValueError: on another drive
        for path in paths:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(root / path, out / path)
            except OSError:
                shutil.copyfile(root / path, out / path)


if __name__ == "__main__":
    sys.exit(main())
