"""scripts/skewed_faces.py: who is kept, what is written, and that main.py reads it."""

import csv
import os
from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cli import ok, written
from folders import write_csv, write_image

from datasets.custom import Custom
from datasets.fairface import AGES, FairFace
from datasets.splits import seeded_order
from scripts import skewed_faces

REAL_DATA = Path(os.environ.get("GROUP_UNLEARNING_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
HEADER = ["file", "age", "gender", "race", "service_test"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A data folder with FairFace labels: per gender, race (three) and age (all) 30 in the train file, one in val's."""
    for name, n in (("train", 30), ("val", 1)):
        cells = product(("Female", "Male"), ("Black", "White", "Indian"), AGES, range(n))
        rows = [[f"{name}/{row}.jpg", age, gender, race, True] for row, (gender, race, age, _) in enumerate(cells)]
        rows[3][-1] = False
        write_csv(tmp_path / f"data/fairface/fairface_label_{name}.csv", HEADER, rows)
    return tmp_path / "data"


def make(faces: Path, out: Path, *flags: str) -> list[dict[str, str]]:
    assert skewed_faces.main(["--data_dir", str(faces), "--out", str(out), *flags]) == 0
    with (out / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def cells(rows: list[dict[str, str]], split: str) -> dict[str, int]:
    return Counter(f"{row['gender']} {row['race']}" for row in rows if row["split"] == split)


@pytest.mark.parametrize("share", ["0.2", "0.25", "0.3"])
def test_a_minority_is_the_largest_part_up_to_its_share(faces: Path, tmp_path: Path, share: str):
    rows = make(faces, tmp_path / "out", "--share", share)
    assert set(rows[0]) == {"filename", "split", "gender", "race", "age"}
    assert {row["race"] for row in rows} == {"Black", "White"}
    assert {row["age"] for row in rows} == set(AGES[2:])
    for split in ("train", "val"):
        count = cells(rows, split)
        for few, many in (("Female Black", "Female White"), ("Male White", "Male Black")):
            n, total = count[few], count[few] + count[many]
            assert 0 < Fraction(n, total) <= Fraction(share) < Fraction(n + 1, total + 1)
    assert cells(rows, "test") == {"Female Black": 6, "Female White": 7, "Male Black": 7, "Male White": 7}


def test_splits_are_those_of_fairface_and_the_kept_are_first_in_the_seeds_order(faces: Path, tmp_path: Path):
    rows = make(faces, tmp_path / "out", "--share", "0.25", "--seed", "3")
    own = FairFace.load(faces, 0, 3)
    split_of = dict(zip(own.path.tolist(), own.split.tolist(), strict=True))
    assert all(("train", "val", "test")[split_of[row["filename"]]] == row["split"] for row in rows)
    everyone = make(faces, tmp_path / "all", "--plain", "--seed", "3")
    candidates = [row["filename"] for row in everyone if is_old_black_woman(row) and row["split"] == "train"]
    kept = {row["filename"] for row in rows if is_old_black_woman(row) and row["split"] == "train"}
    assert kept == set(seeded_order("skewed_faces", 3, candidates)[: len(kept)])
    order = [row["filename"] for row in everyone]
    assert [row["filename"] for row in rows] == sorted((row["filename"] for row in rows), key=order.index)


def is_old_black_woman(row: dict[str, str]) -> bool:
    return (row["gender"], row["race"]) == ("Female", "Black") and row["age"] in AGES[2:]


def test_the_same_seed_is_the_same_table(faces: Path, tmp_path: Path):
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        make(faces, tmp_path / out, "--seed", seed)
    a, b, c = ((tmp_path / out / "metadata.csv").read_bytes() for out in "abc")
    assert a == b != c


def test_plain_keeps_every_face_that_fairface_uses(faces: Path, tmp_path: Path):
    rows, own = make(faces, tmp_path / "out", "--plain"), FairFace.load(faces, 0, 0)
    assert [row["filename"] for row in rows] == own.path.tolist()
    assert [row["age"] for row in rows] == [AGES[code] for code in own.target.tolist()]
    assert len(rows) == 31 * 2 * 3 * 9 - 2, "rows whose service_test is not true are left out"


def test_the_table_that_is_printed(faces: Path, tmp_path: Path, capsys: Capture):
    rows = make(faces, tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["group", "train", "val", "test", "of", "its", "gender", "in", "train"]
    train, val = (cells(rows, split)["Female Black"] for split in ("train", "val"))
    share = 100 * train / (train + cells(rows, "train")["Female White"])
    assert lines[2].split() == ["Female,", "Black", str(train), str(val), "6", f"{share:.2f}", "%"]
    assert lines[-1] == f"written: {tmp_path}/out/metadata.csv, {tmp_path}/out/config.yaml"


def test_main_reads_what_is_written(faces: Path, tmp_path: Path):
    for out, flags, names in (
        ("skewed", [], ["Female, Black", "Female, White", "Male, Black", "Male, White"]),
        (
            "plain",
            ["--plain"],
            ["Female, Black/0-2", "Female, Black/10-19", "Female, Black/20-29", "Female, Black/3-9"],
        ),
    ):
        make(faces, tmp_path / out, *flags)
        text = ok(
            "--method pretrain --dry_run", config=tmp_path / out / "config.yaml", store_dir=tmp_path / "store"
        ).out
        assert text.startswith(f"pretrain on {out}, seed 0")
        groups = [line.rsplit(maxsplit=5)[0].lstrip("0123456789 ") for line in text.split("\n\n")[1].splitlines()[2:6]]
        assert groups == names
        assert f"writes  {tmp_path}/store/{out}/resnet18/pretrain_0/" in text
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("system", ["links", "hard links", "copies"])
def test_images_are_there_whatever_links_the_system_makes(
    faces: Path, tmp_path: Path, system: str, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*paths: object, **options: object) -> None:
        raise OSError("not on this system")

    table = FairFace.load(faces, 0, 0)
    for number, path in enumerate(table.path.tolist()):
        write_image(faces / "fairface" / path, number, width=8, height=8)
    if system != "links":
        monkeypatch.setattr(Path, "symlink_to", refuse)
    if system == "copies":
        monkeypatch.setattr(os, "link", refuse)
    make(faces, tmp_path / "out")
    data = Custom.load(tmp_path / "out", 0, 0, target="gender", sensitive="race")
    assert all(data.file(row).read_bytes() == (faces / "fairface" / data.path[row]).read_bytes() for row in (0, -1))
    assert (tmp_path / "out/train").is_symlink() == (system == "links")
    hard = data.file(0).stat().st_ino == (faces / "fairface" / data.path[0]).stat().st_ino
    assert hard == (system != "copies")
    monkeypatch.undo()
    if system == "links":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "data").rename(tmp_path / "elsewhere/data")
        (tmp_path / "out").rename(tmp_path / "elsewhere/out")
        assert (tmp_path / "elsewhere/out" / data.path[0]).is_file(), "links are relative"


@pytest.mark.parametrize(
    "flags, told",
    [
        (["--share", "0"], "--share 0: expected a number above 0 and below 0.5"),
        (["--share", "half"], "--share half: expected a number above 0 and below 0.5"),
        (["--share", "0.4"], ""),
        (["--share", "0.001"], "--share 0.001: that is 0 of "),
        (["--data_dir", "nowhere"], "no data folder nowhere/fairface: expected fairface_label_train.csv"),
    ],
)
def test_wrong_flags(faces: Path, tmp_path: Path, capsys: Capture, flags: list[str], told: str):
    code = skewed_faces.main(["--data_dir", str(faces), "--out", str(tmp_path / "out"), *flags])
    assert told in capsys.readouterr().err
    assert code == (2 if told else 0)
    assert bool(written(tmp_path / "out")) == (code == 0)


def test_more_than_there_are_and_a_folder_with_something_in_it(faces: Path, tmp_path: Path, capsys: Capture):
    file = faces / "fairface/fairface_label_train.csv"
    kept = [line for line in file.read_text().splitlines() if "Female,Black" not in line]
    file.write_text("\n".join([*kept, "train/9999.jpg,20-29,Female,Black,True"]) + "\n")
    out = ["--data_dir", str(faces), "--out", str(tmp_path / "out")]
    assert skewed_faces.main(out) == 2
    assert " faces of (Female, Black) in " in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert skewed_faces.main([*out, "--plain"]) == 2
    assert f"--out {tmp_path}/out is there already, and not empty" in capsys.readouterr().err
    assert written(tmp_path / "out") == ["mine.txt"]


@pytest.mark.skipif(
    not (REAL_DATA / "fairface").is_dir(),
    reason=f"no FairFace subset in {REAL_DATA}; GROUP_UNLEARNING_DATA names another folder",
)
def test_real_fairface_subset(tmp_path: Path):
    rows = make(REAL_DATA, tmp_path / "out", "--share", "0.2")
    assert cells(rows, "train") == {"Female Black": 279, "Female White": 1119, "Male Black": 1068, "Male White": 267}
    assert cells(rows, "test") == {"Female Black": 133, "Female White": 151, "Male Black": 187, "Male White": 151}
    data = Custom.load(tmp_path / "out", 0, 0, target="gender", sensitive="race")
    data.check_images()
    assert np.bincount(data.split).tolist() == [2733, 304, 622]
