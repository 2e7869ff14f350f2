"""Deletion requests: how a list is read, and which rows it names."""

from pathlib import Path

import numpy as np
import pytest

from datasets.base import GroupDataset
from datasets.forget_list import SHOWN, find_requests, list_digest, read_forget_list
from utils.errors import UserError


class Faces(GroupDataset):
    name = "faces"
    forget_pairs = ((1, 0),)


PATHS = ("train/1.jpg", "train/2.jpg", "train/3.jpg", "val/1.jpg", "val/9.jpg", "test/8.jpg", "train/7")
SPLIT = (0, 0, 0, 0, 1, 2, 0)


def faces() -> Faces:
    zeros = np.zeros(len(PATHS), dtype=int)
    return Faces(None, PATHS, zeros, zeros, np.array(SPLIT), ("young", "old"), ("a", "b"))


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str | bytes, name: str = "list.txt") -> Path:
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


@pytest.mark.parametrize(
    "text, name, column",
    [
        ("b.jpg\na.jpg\n12\n", "list.txt", None),
        ("\ufeff# asked for in June\r\n\r\n  a.jpg \r\n12\r\n./b.jpg", "list.txt", None),
        ("b.jpg\na.jpg\n12\n", "list", None),
        ("who\na.jpg\nb.jpg\n12\n", "list.csv", None),
        ("# June\n\nwho\n12\n\n\na.jpg\n# more\nb.jpg\n", "list.CSV", None),
        ("ticket,image_id,when\n1,a.jpg,\n2, b.jpg ,x\n3,12,\n", "list.csv", None),
        ("ticket,File\n1,a.jpg\n2,b.jpg\n3,12\n", "list.csv", None),
        ('"of, whom",file,x\n"a, b",a.jpg,\nb,b.jpg,\nc,12,\n', "list.csv", None),
        ("file,picture\nx,a.jpg\ny,b.jpg\nz,12\n", "list.csv", "picture"),
        ("file,path\nx,a.jpg\ny,b.jpg\nz,12\n", "list.csv", "path"),
        ("file\na.jpg\nb.jpg\n12\n", "list.txt", "file"),
    ],
)
def test_names_are_read(text, name, column, written):
    assert read_forget_list(written(text, name), column) == ("12", "a.jpg", "b.jpg")


def test_a_name_that_stands_twice_is_kept_twice_and_counts_once(written):
    names = read_forget_list(written("b\na\nb\n"), None)
    assert names == ("a", "b", "b")
    assert list_digest(names) == list_digest(["b", "a"])
    assert list_digest(["ab", "c"]) != list_digest(["a", "bc"])


@pytest.mark.parametrize(
    "text, name, column, told",
    [
        ("", "list.txt", None, "names nothing"),
        ("# nobody\n\n", "list.txt", None, "names nothing"),
        ("file\n", "list.csv", None, "names nothing"),
        ("", "list.csv", None, "names nothing"),
        (b"\xff\xd8\xff\xe0 a JPEG", "list.txt", None, "is no UTF-8 text"),
        ("train/1.jpg\ntrain/2.jpg\n", "list.csv", None, "expected a header, found train/1.jpg"),
        ("17\n18\n", "list.csv", None, "expected a header, found 17"),
        (
            "a,b\n1,2\n",
            "list.csv",
            None,
            "no column called file, filename, path, image, img_filename, image_id among a, b",
        ),
        ("file,path\n1,2\n", "list.csv", None, "2 columns (file, path) among file, path; name the one to read with"),
        ("a,b\n1,2\n", "list.csv", "c", "has no column 'c': found a, b"),
        ("file,b\n1,2\n3\n", "list.csv", None, "list.csv, line 3: 1 fields, expected 2"),
        ("file,b\n1,2\n,3\n", "list.csv", None, "list.csv, line 3: file is '', expected a name"),
        ('file,b\n"1\n2",3\n', "list.csv", None, "file is '1\\n2', expected a name"),
    ],
)
def test_a_file_that_is_no_list(text, name, column, told, written):
    with pytest.raises(UserError) as error:
        read_forget_list(written(text, name), column)
    assert told in str(error.value)
    assert name in str(error.value)


def test_a_file_that_cannot_be_opened(tmp_path: Path):
    for path in (tmp_path / "absent.txt", tmp_path, Path("")):
        with pytest.raises(UserError, match=f"--forget_list {path} cannot be read"):
            read_forget_list(path, None)


@pytest.mark.parametrize(
    "names, rows",
    [
        (["train/2.jpg"], [1]),
        (["2.jpg", "3.jpg"], [1, 2]),
        (["0", "6"], [0, 6]),
        (["7"], [6]),  # an image's name, before it is a number
        (["002", "val/1.jpg"], [2, 3]),
    ],
)
def test_rows_by_path_by_name_and_by_number(names, rows):
    found = find_requests(faces(), names, skip_unknown=False)
    assert found.rows.tolist() == rows
    assert (found.n, found.left_out) == (len(names), {})


MIXED = (
    "train/1.jpg",
    "0",
    "1.jpg",
    "5",
    "9.jpg",
    "nobody.jpg",
    "7000",
    "-1",
    "train/2.jpg",
    "train/2.jpg",
    "Train/3.jpg",
)


def test_what_cannot_be_forgotten_is_listed_by_kind():
    with pytest.raises(UserError) as error:
        find_requests(faces(), MIXED, skip_unknown=False)
    sentence = str(error.value)
    assert sentence == (
        "--forget_list: of 11 names these cannot be forgotten:"
        " 4 not in the labels of faces (nobody.jpg, 7000, -1, Train/3.jpg);"
        " 1 the name of several images, whose paths tell them apart (1.jpg);"
        " 2 of an image that the list names before (0, train/2.jpg);"
        " 2 in val or test, not in train (5, 9.jpg);"
        " correct the list, or leave them out with --skip_unknown"
    )


def test_what_cannot_be_forgotten_can_be_left_out():
    found = find_requests(faces(), MIXED, skip_unknown=True)
    assert found.rows.tolist() == [0, 1]
    assert found.left_out == {
        "unknown": ("nobody.jpg", "7000", "-1", "Train/3.jpg"),
        "ambiguous": ("1.jpg",),
        "duplicate": ("0", "train/2.jpg"),
        "not_in_train": ("5", "9.jpg"),
    }
    assert (found.n, found.n_left_out) == (11, 9)


def test_ten_names_are_shown_and_the_others_counted():
    with pytest.raises(UserError) as error:
        find_requests(faces(), [f"x{number:02d}" for number in range(25)], skip_unknown=False)
    assert (
        f"25 not in the labels of faces (x00, x01, x02, {', '.join(f'x{n:02d}' for n in range(3, SHOWN))} and 15 more)"
        in str(error.value)
    )


def test_something_must_remain():
    with pytest.raises(UserError, match="1 not in the labels.*correct the list, in which nothing else is"):
        find_requests(faces(), ["x"], skip_unknown=True)


def test_numbers_are_of_the_labels_whatever_images_are_left_out():
    """--skip_bad_images takes rows out of the table after the list was understood."""
    dataset = faces()
    found = find_requests(dataset, ["0", "2", "train/7"], skip_unknown=False).without(dataset, [1, 2, 4])
    smaller = dataset.without([1, 2, 4])
    assert smaller.paths(found.rows) == ["train/1.jpg", "train/7"]
    assert found.left_out == {"unreadable": ("train/3.jpg",)}
    assert (found.n, found.n_left_out) == (3, 1)
    assert found.without(smaller, []).rows.tolist() == found.rows.tolist()
