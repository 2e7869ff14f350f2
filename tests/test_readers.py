"""Each reader on a hand-made folder in the real layout, every way its labels can be wrong, and the real subset."""

import os
from pathlib import Path

import numpy as np
import pytest
from folders import CELEBA_ATTRIBUTES, make_celeba, make_fairface, make_waterbird, write_csv

from datasets.celeba import CelebA
from datasets.fairface import AGES, FairFace
from datasets.labels.tables import read_csv
from datasets.splits import seeded_order
from datasets.waterbird import Waterbirds
from utils.errors import UserError

REAL_DATA = Path(os.environ.get("GROUP_UNLEARNING_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
WATERBIRD_HEADER = "img_id,img_filename,y,split,place,place_filename"


def edit(file: Path, old: str, new: str, count: int = 1) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, count))


def write_waterbird(root: Path, *rows: str, header: str = WATERBIRD_HEADER) -> Path:
    folder = root / Waterbirds.folder
    folder.mkdir(exist_ok=True)
    (folder / "metadata.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def write_fairface(root: Path, train: list[str], val: tuple[str, ...] = ("val/1.jpg,0-2,Male,White,True",)) -> Path:
    folder = root / "fairface"
    folder.mkdir(exist_ok=True)
    for name, rows in (("train", train), ("val", val)):
        text = "\n".join(["file,age,gender,race,service_test", *rows]) + "\n"
        (folder / f"fairface_label_{name}.csv").write_text(text)
    return root


def write_celeba(root: Path, names: list[str], blond: list[int], male: list[int], attractive: list[int]) -> Path:
    """Blanks as the real file has them: runs between values, one at the end of a line."""
    folder = root / "celeba"
    folder.mkdir(exist_ok=True)
    lines = [str(len(names)), " ".join(CELEBA_ATTRIBUTES) + " "]
    for name, *labels in zip(names, blond, male, attractive, strict=True):
        known = dict(zip(("Blond_Hair", "Male", "Attractive"), labels, strict=True))
        lines.append(f"{name} {' '.join(f'{known.get(attribute, -1):2d}' for attribute in CELEBA_ATTRIBUTES)} ")
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (folder / "list_eval_partition.txt").write_text("".join(f"{name} {row % 3}\n" for row, name in enumerate(names)))
    return root


def load(dataset, root, split_number=0, seed=0):
    return dataset.load(root, split_number, seed)


# Waterbirds


def test_waterbird(tmp_path):
    rows = ("1,a/1.jpg,0,0,1,/o/x.jpg", "2,a/2.jpg,1,2,0,/o/y.jpg", "3,b/3.jpg,1,1,1,/o/z.jpg")
    data = load(Waterbirds, write_waterbird(tmp_path, *rows))
    assert data.path.tolist() == ["a/1.jpg", "a/2.jpg", "b/3.jpg"]
    assert data.target.tolist() == [0, 1, 1]
    assert data.sensitive.tolist() == [1, 0, 1]
    assert data.split.tolist() == [0, 2, 1]
    assert data.group.tolist() == [1, 2, 3]
    assert data.file(1) == tmp_path / "waterbird_complete95_forest2water2" / "a" / "2.jpg"
    assert [data.group_name(group) for group in range(4)] == [
        "landbird on land", "landbird on water", "waterbird on land", "waterbird on water"
    ]  # fmt: skip


def test_waterbird_columns_are_found_by_name(tmp_path):
    header = '\ufeffplace, y,comment,split,"img_filename"'
    data = load(Waterbirds, write_waterbird(tmp_path, '1,0,"a, quoted",2,a/1.jpg', "", "0,1,,0,a/2.jpg", header=header))
    assert data.path.tolist() == ["a/1.jpg", "a/2.jpg"]
    assert (data.target.tolist(), data.sensitive.tolist(), data.split.tolist()) == ([0, 1], [1, 0], [2, 0])


@pytest.mark.parametrize(
    "row, message",
    [
        ("2,a/2.jpg,2,0,1,x", "metadata.csv, line 3: y is '2' (1 such row); expected one of 0, 1"),
        ("2,a/2.jpg,1,3,1,x", "metadata.csv, line 3: split is '3' (1 such row); expected one of 0, 1, 2"),
        ("2,a/2.jpg,1,0,-1,x", "metadata.csv, line 3: place is '-1' (1 such row); expected one of 0, 1"),
        ("2,a/2.jpg,1,0", "metadata.csv, line 3: 4 fields, expected 6"),
        ("2,a/1.jpg,1,0,1,x", "image a/1.jpg is listed more than once"),
        (f"2,{'a' * 200_000},1,0,1,x", "metadata.csv, line 3: no CSV"),
    ],
)
def test_waterbird_bad_rows(tmp_path, row, message):
    with pytest.raises(UserError) as error:
        load(Waterbirds, write_waterbird(tmp_path, "1,a/1.jpg,0,0,1,x", row))
    assert message in str(error.value)


def test_waterbird_bad_files(tmp_path):
    with pytest.raises(UserError, match=r"no data folder .*waterbird_complete95_forest2water2.*metadata\.csv"):
        load(Waterbirds, tmp_path)
    write_waterbird(tmp_path, "1,a/1.jpg,0,0,x", header="img_id,img_filename,y,split,background")
    with pytest.raises(UserError, match="no column 'place': found img_id, img_filename, y, split, background"):
        load(Waterbirds, tmp_path)
    write_waterbird(tmp_path)
    with pytest.raises(UserError, match="no rows"):
        load(Waterbirds, tmp_path)
    file = tmp_path / Waterbirds.folder / "metadata.csv"
    file.write_bytes(b"")
    with pytest.raises(UserError, match="an empty file"):
        load(Waterbirds, tmp_path)
    file.write_bytes(b"\xff\xfe\x00i")
    with pytest.raises(UserError, match="cannot read label file .*metadata.csv.*UTF-8"):
        load(Waterbirds, tmp_path)
    file.unlink()
    with pytest.raises(UserError, match="no label file .*metadata.csv: expected"):
        load(Waterbirds, tmp_path)


# FairFace


def test_fairface_codes_in_the_order_of_the_paper(tmp_path):
    ages = ["0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"]
    races = ["Black", "Southeast Asian", "Middle Eastern", "Indian", "Latino_Hispanic", "White", "East Asian"] * 2
    rows = [f"train/{row}.jpg,{ages[row]},Male,{races[row]},True" for row in range(9)]
    data = load(FairFace, write_fairface(tmp_path, rows))
    assert data.target.tolist() == [*range(9), 0]
    assert data.sensitive.tolist() == [*range(7), 0, 1, 5]
    assert (data.n_targets, data.n_sensitive, data.n_groups) == (9, 7, 63)
    assert data.group_name(21) == "20-29 Black"
    assert data.group[0] == 0
    assert data.group[8] == 8 * 7 + 1


def test_fairface_uses_service_test_rows_only_however_true_is_written(tmp_path):
    flags = ["True", "TRUE", "true", "False", "FALSE"]
    rows = [f"train/{row}.jpg,3-9,Male,White,{flag}" for row, flag in enumerate(flags)]
    data = load(FairFace, write_fairface(tmp_path, rows))
    assert data.path.tolist() == ["train/0.jpg", "train/1.jpg", "train/2.jpg", "val/1.jpg"]


def test_fairface_train_and_val_are_a_seeded_cut_of_the_train_file(tmp_path):
    rows = [f"train/{row}.jpg,3-9,Male,White,True" for row in range(57)]
    root = write_fairface(tmp_path, rows)
    data, same, other = (load(FairFace, root, seed=seed) for seed in (0, 0, 1))
    assert np.bincount(data.split).tolist() == [51, 6, 1], "floor(0.9 * 57) = 51"
    assert data.path[:57].tolist() == [f"train/{row}.jpg" for row in range(57)], "rows keep the order of the file"
    order = seeded_order("train", 0, data.path[:57].tolist())
    assert set(data.path[data.split == 1]) == set(order[51:])
    assert data.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize("age", ["03-Sep", "9-Mar", "Oct-19", "19-Oct", "09.03.2024", "3/9/2024"])
def test_fairface_ages_that_a_spreadsheet_rewrote(tmp_path, age):
    good = "train/1.jpg,20-29,Male,White,True"
    rows = [good, good.replace("1.jpg", "2.jpg"), *(f"train/{row}.jpg,{age},Male,White,False" for row in (3, 4, 5))]
    with pytest.raises(UserError) as error:
        load(FairFace, write_fairface(tmp_path, rows))
    assert f"fairface_label_train.csv, line 4: age is '{age}' (3 such rows); a spreadsheet program" in str(error.value)


@pytest.mark.parametrize(
    "row, message",
    [
        ("train/2.jpg,20-30,Male,White,True", "line 3: age is '20-30' (1 such row); expected one of 0-2, 3-9, 10-19"),
        ("train/2.jpg,20-29,Male,Martian,True", "line 3: race is 'Martian' (1 such row); expected one of Black,"),
        ("train/2.jpg,20-29,Male,White,WAHR", "line 3: service_test is 'WAHR' (1 such row); expected one of true,"),
        ("train/2.jpg,20-29,Male,White,1", "line 3: service_test is '1' (1 such row); expected one of true, false"),
        ("train/2.jpg,20-29,Male,White", "line 3: 4 fields, expected 5"),
    ],
)
def test_fairface_bad_rows(tmp_path, row, message):
    with pytest.raises(UserError) as error:
        load(FairFace, write_fairface(tmp_path, ["train/1.jpg,20-29,Male,White,True", row]))
    assert message in str(error.value)


def test_fairface_bad_files(tmp_path):
    with pytest.raises(UserError, match=r"no data folder .*fairface: expected fairface_label_train.csv"):
        load(FairFace, tmp_path)
    folder = write_fairface(tmp_path, ["train/1.jpg,20-29,Male,White,True"]) / "fairface"
    edit(folder / "fairface_label_val.csv", "service_test", "service")
    with pytest.raises(UserError, match="val.csv has no column 'service_test': found file, age, gender, race, service"):
        load(FairFace, tmp_path)
    (folder / "fairface_label_val.csv").unlink()
    with pytest.raises(UserError, match="no label file .*fairface_label_val.csv"):
        load(FairFace, tmp_path)


# CelebA


def test_celeba(tmp_path):
    names = ["000001.jpg", "000002.jpg", "000003.jpg"]
    root = write_celeba(tmp_path, names, blond=[1, -1, -1], male=[1, 1, -1], attractive=[-1, 1, -1])
    data = load(CelebA, root)
    assert data.path.tolist() == [f"img_align_celeba/{name}" for name in names]
    assert data.target.tolist() == [1, 0, 0]
    assert data.sensitive.tolist() == [1, 1, 0]
    assert data.split.tolist() == [0, 1, 2]
    assert [data.group_name(group) for group in range(4)] == [
        "not blond female", "not blond male", "blond female", "blond male"
    ]  # fmt: skip
    attractive = load(CelebA, root, split_number=1)
    assert attractive.target.tolist() == [0, 1, 0]
    assert attractive.group_name(3) == "attractive male"
    assert attractive.fingerprint != data.fingerprint


def test_celeba_csv_says_the_same_and_txt_wins(tmp_path):
    txt, csv = tmp_path / "txt", tmp_path / "csv"
    make_celeba(txt)
    folder = make_celeba(csv, form="csv")
    assert not list(folder.glob("*.txt"))
    for split_number in (0, 1):
        assert load(CelebA, txt, split_number).fingerprint == load(CelebA, csv, split_number).fingerprint
    write_celeba(csv, ["000001.jpg"], blond=[1], male=[1], attractive=[1])
    assert load(CelebA, csv).path.tolist() == ["img_align_celeba/000001.jpg"]


def test_celeba_partition_in_another_order(tmp_path):
    root = write_celeba(tmp_path, ["1.jpg", "2.jpg"], blond=[1, -1], male=[1, 1], attractive=[1, 1])
    (root / "celeba" / "list_eval_partition.txt").write_text("2.jpg 2\n1.jpg 1\n")
    assert load(CelebA, root).split.tolist() == [1, 2]


@pytest.mark.parametrize(
    "file, old, new, message",
    [
        ("attr", "80\n", "79\n", "line 1: the count is '79' but 80 rows follow"),
        ("attr", "80\n", "eighty\n", "line 1: the count is 'eighty' but 80 rows follow"),
        ("attr", "Blond_Hair ", "Blonde_Hair ", "no column 'Blond_Hair': found image_id, 5_o_Clock_Shadow,"),
        ("attr", "Male ", "Man ", "no column 'Male': found image_id,"),
        ("attr", "000002.jpg ", "000002.jpg 1 ", "list_attr_celeba.txt, line 4: 42 fields, expected 41"),
        ("attr", "000002.jpg ", "900002.jpg ", "disagree: 2 images, the first 000002.jpg, are in only one of them"),
        ("eval", "000080.jpg 2\n", "", "disagree: 1 images, the first 000080.jpg"),
        ("eval", "000003.jpg 0", "000003.jpg 3", "list_eval_partition.txt, line 3: partition is '3' (1 such row)"),
        ("eval", "000003.jpg 0", "000003.jpg", "list_eval_partition.txt, line 3: 1 fields, expected 2"),
    ],
)
def test_celeba_bad_labels(tmp_path, file, old, new, message):
    folder = make_celeba(tmp_path)
    edit(folder / {"attr": "list_attr_celeba.txt", "eval": "list_eval_partition.txt"}[file], old, new)
    with pytest.raises(UserError) as error:
        load(CelebA, tmp_path)
    assert message in str(error.value)


@pytest.mark.parametrize("split_number, attribute", [(0, "Blond_Hair"), (0, "Male"), (1, "Attractive")])
def test_celeba_unknown_value(tmp_path, split_number, attribute):
    names = ["1.jpg", "2.jpg", "3.jpg"]
    labels = {"Blond_Hair": [1, 1, 1], "Male": [1, 1, 1], "Attractive": [1, 1, 1]} | {attribute: [1, 0, 0]}
    root = write_celeba(tmp_path, names, labels["Blond_Hair"], labels["Male"], labels["Attractive"])
    with pytest.raises(UserError) as error:
        load(CelebA, root, split_number)
    assert f"line 4: {attribute} is '0' (2 such rows); expected one of -1, 1" in str(error.value)


def test_celeba_csv_errors(tmp_path):
    folder = make_celeba(tmp_path, form="csv")
    write_csv(folder / "list_eval_partition.csv", ["image_id", "part"], [["000001.jpg", 0]])
    with pytest.raises(UserError, match="list_eval_partition.csv has no column 'partition': found image_id, part"):
        load(CelebA, tmp_path)
    edit(folder / "list_attr_celeba.csv", "Male", "Man")
    with pytest.raises(UserError, match="list_attr_celeba.csv has no column 'Male'"):
        load(CelebA, tmp_path)


def test_celeba_missing_files(tmp_path):
    with pytest.raises(UserError, match="no data folder .*celeba: expected list_attr_celeba and list_eval_partition"):
        load(CelebA, tmp_path)
    folder = make_celeba(tmp_path)
    (folder / "list_eval_partition.txt").unlink()
    with pytest.raises(UserError, match="no label file .*list_eval_partition.txt"):
        load(CelebA, tmp_path)
    (folder / "list_attr_celeba.txt").unlink()
    with pytest.raises(UserError, match="no label file .*list_attr_celeba.txt"):
        load(CelebA, tmp_path)


# The folders that other tests train on, and the real subset


@pytest.mark.parametrize(
    "make, dataset, n_rows",
    [(make_celeba, CelebA, 80), (make_waterbird, Waterbirds, 92), (make_fairface, FairFace, 226)],
)
def test_hand_made_folders(tmp_path, make, dataset, n_rows):
    folder = make(tmp_path)
    data = load(dataset, tmp_path)
    assert len(data) == n_rows
    assert all(data.file(row).is_file() for row in range(n_rows))
    data.check_images()
    test_groups = set(data.group[data.split == 2].tolist())
    assert test_groups == set(range(data.n_groups))
    for split_number, (target, sensitive) in enumerate(dataset.forget_pairs):
        of_task = load(dataset, tmp_path, split_number)
        group = target * data.n_sensitive + sensitive
        assert np.sum((of_task.group == group) & (of_task.split == 0)) >= 10
    folder.rename(folder.with_name("labels_only"))
    with pytest.raises(UserError, match=r"image .* is in the labels but not on disk"):
        data.check_images()


# Paths that leave the folder, of every reader; and counts in messages.

OUTSIDE = (
    "/etc/passwd.jpg",
    "../1.jpg",
    "a/../../1.jpg",
    "..",
    ".",
    "a\\1.jpg",
    "a\0.jpg",
    "",
    "x/..",
    "./..",
    "//x/1.jpg",
)
TOO_LONG = ("a" * 256, f"x/{'ä' * 128}.jpg", "/".join(["d" * 250] * 17), "a" * 130_000)


def with_path(root: Path, dataset, path: str) -> None:
    """A data folder of four images, one of them called so."""
    quoted = '"' + path + '"'
    if dataset is Waterbirds:
        write_waterbird(root, "1,a/1.jpg,0,0,1,x", f"2,{quoted},0,0,1,x", "3,a/3.jpg,0,1,1,x", "4,a/4.jpg,0,2,1,x")
    elif dataset is FairFace:
        rest = ",20-29,Male,White,True"
        write_fairface(root, [f"train/1.jpg{rest}", f"{quoted}{rest}", f"train/3.jpg{rest}"])
    else:
        names = ["1.jpg", path, "3.jpg", "4.jpg"]
        (root / "celeba").mkdir()
        write_csv(root / "celeba/list_attr_celeba.csv", ["image_id", "Blond_Hair", "Male"], [[n, 1, 1] for n in names])
        write_csv(root / "celeba/list_eval_partition.csv", ["image_id", "partition"], [[n, 0] for n in names])


@pytest.mark.parametrize("dataset", [Waterbirds, FairFace, CelebA])
@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_stay_in_the_data_folder(tmp_path, dataset, path):
    with_path(tmp_path, dataset, path)
    with pytest.raises(UserError) as error:
        load(dataset, tmp_path)
    assert f", line 3: {dataset.file_column} is {path!r} (1 such row); expected the path of a file below" in str(
        error.value
    )


@pytest.mark.parametrize("dataset", [Waterbirds, FairFace, CelebA])
@pytest.mark.parametrize("path", TOO_LONG)
def test_paths_are_no_longer_than_systems_have(tmp_path, dataset, path):
    with_path(tmp_path, dataset, path)
    with pytest.raises(UserError) as error:
        load(dataset, tmp_path)
    assert f", line 3: {dataset.file_column} is " in str(error.value)
    assert "expected a path of at most 4096 bytes, and of 255 between two /" in str(error.value)


@pytest.mark.parametrize("dataset", [Waterbirds, FairFace, CelebA])
@pytest.mark.parametrize(
    "path", ["..a/1.jpg", "a../.1.jpg", "a...b.jpg", ".a/..b/...", "~/1.jpg", "$HOME/1.jpg", "ä" * 127]
)
def test_paths_that_only_look_odd(tmp_path, dataset, path):
    with_path(tmp_path, dataset, path)
    prefix = "img_align_celeba/" if dataset is CelebA else ""
    assert f"{prefix}{path}" in load(dataset, tmp_path).paths(slice(None))


@pytest.mark.parametrize("dataset", [Waterbirds, FairFace, CelebA])
def test_one_image_under_two_spellings_is_listed_twice(tmp_path, dataset):
    first = {Waterbirds: "a/1.jpg", FairFace: "train/1.jpg", CelebA: "1.jpg"}[dataset]
    with_path(tmp_path, dataset, f"./x/..//{first}")
    with pytest.raises(UserError, match=f"image .*{first} is listed more than once"):
        load(dataset, tmp_path)


def test_a_lone_surrogate_is_no_text(tmp_path):
    write_waterbird(tmp_path, "1,a/1.jpg,0,0,1,x")
    file = tmp_path / Waterbirds.folder / "metadata.csv"
    file.write_bytes(file.read_bytes().replace(b"a/1", b"a/\xed\xb2\x80"))
    with pytest.raises(UserError, match="cannot read label file .*expected UTF-8 text"):
        load(Waterbirds, tmp_path)


@pytest.mark.parametrize("kind", ["a named pipe", "a folder"])
def test_label_files_are_regular_files(tmp_path, kind):
    folder = make_celeba(tmp_path)
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        (folder / name).rename(folder / "kept")
        (folder / name).mkdir() if kind == "a folder" else os.mkfifo(folder / name)
        with pytest.raises(UserError, match=f"cannot read label file .*{name} .it is {kind}, expected a regular file"):
            load(CelebA, tmp_path)
        (folder / name).rmdir() if kind == "a folder" else (folder / name).unlink()
        (folder / "kept").rename(folder / name)


@pytest.mark.parametrize(
    "bad, told",
    [
        ("2", "line 3: y is '2' (1 such row); expected"),
        ("2 2 2", "line 3: y is '2' (3 such rows); expected"),
        ("2 0 3", "line 3: y is '2' (1 such row, and 1 row with 1 other wrong value); expected"),
        ("2 3 3 2", "line 3: y is '2' (2 such rows, and 2 rows with 1 other wrong value); expected"),
        ("x 3 2 x 3 1", "line 3: y is 'x' (2 such rows, and 3 rows with 2 other wrong values); expected"),
    ],
)
def test_counts_are_of_what_is_shown(tmp_path, bad, told):
    rows = [f"1,b/{n}.jpg,{y},0,1,x" for n, y in enumerate(bad.split())]
    with pytest.raises(UserError) as error:
        load(Waterbirds, write_waterbird(tmp_path, "1,a/1.jpg,0,0,0,x", *rows))
    assert told in str(error.value)


def test_an_image_in_two_rows_of_the_partition(tmp_path):
    """The last one would win, and nobody would notice."""
    root = write_celeba(tmp_path, ["1.jpg", "2.jpg"], blond=[1, -1], male=[1, 1], attractive=[1, 1])
    (root / "celeba" / "list_eval_partition.txt").write_text("2.jpg 2\n1.jpg 1\n2.jpg 0\n")
    with pytest.raises(
        UserError, match=r"partition.txt, line 3: image_id is '2.jpg' \(1 such row\); line 1 has it too"
    ):
        load(CelebA, root)


needs_real_data = pytest.mark.skipif(
    not (REAL_DATA / "fairface").is_dir(),
    reason=f"no FairFace subset in {REAL_DATA}; GROUP_UNLEARNING_DATA names another folder",
)


@needs_real_data
def test_real_fairface_subset():
    data = load(FairFace, REAL_DATA)
    assert np.bincount(data.split).tolist() == [16792, 1866, 2380]
    in_test = data.split == 2
    pairs = [(data.target == target) & (data.sensitive == sensitive) for target, sensitive in FairFace.forget_pairs]
    assert [int(np.sum(pair & ~in_test)) for pair in pairs] == [999, 133, 233, 22, 564]
    assert [int(np.sum(pair & in_test)) for pair in pairs] == [127, 14, 37, 5, 62]
    assert np.sum(np.bincount(data.group[in_test], minlength=63) == 0) == 1
    share_of_20_29 = np.mean(data.target[in_test] == AGES.index("20-29"))
    assert round(100 * share_of_20_29, 1) == 37.2
    data.check_images()


TABLES = {
    "blank lines": ("a,b\n1,x\n\n\n2,y\n\n3,z\n", [2, 5, 7]),
    "blank lines before": ("a,b\n\n\n1,x\n", [4]),
    "a cell over two lines": ('a,b\n"1\n",x\n2,y\n', [3, 4]),
    "other line ends": ("a,b\r\n\r\n1,x\r\n2,y", [3, 4]),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_line_that_is_named_is_the_line_in_the_file(tmp_path: Path, name: str):
    """An editor counts blank lines too; of a cell over several, its row's last is named."""
    text, lines = TABLES[name]
    file = tmp_path / "labels.csv"
    file.write_bytes(text.encode())
    assert list(read_csv(file, ("a", "b"), "labels.csv").lines) == lines
    file.write_bytes((text.rstrip("\r\n") + "\n\n4\n").encode())
    with pytest.raises(UserError, match=f"line {lines[-1] + 2}: 1 field"):
        read_csv(file, ("a", "b"), "labels.csv")
