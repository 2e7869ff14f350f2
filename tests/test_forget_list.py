"""Deletion requests: how a list is read, and which rows it names."""

import csv
import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from folders import make_custom, make_fairface

from datasets.base import GroupDataset
from datasets.custom import Custom
from datasets.deletion.forget_list import as_text, list_digest, read_forget_list
from datasets.deletion.requests import SHOWN, Requests, find_requests
from datasets.fairface import FairFace
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
        ("b.jpg\ra.jpg\r12\r", "list.txt", None),
        ("././b.jpg\n./a.jpg\n./12", "list", None),
        ("file\na.jpg\nb.jpg\n12\n", "list.csv", None),
        ("\n,,\nfile,x,y\n12,,\n\n,,\n ./a.jpg ,#,\nb.jpg,,\n", "list.CSV", None),
        ("ticket,image,when\n1,a.jpg,\n2, b.jpg ,x\n3,12,\n", "list.csv", None),
        ("ticket,File\n1,a.jpg\n2,b.jpg\n3,12\n", "list.csv", None),
        ('"of, whom",file,x\n"a, b",a.jpg,\nb,b.jpg,\nc,12,\n', "list.csv", None),
        ("file,path\nx,a.jpg\ny,b.jpg\nz,12\n", "list.csv", "path"),
        ("file\na.jpg\nb.jpg\n12\n", "list.txt", "file"),
    ],
)
def test_names_are_read(text, name, column, written):
    assert read_forget_list(written(text, name), column) == ("12", "a.jpg", "b.jpg")


@pytest.mark.parametrize(
    "text, column, names",
    [
        ("index\n17\n3.0\nrow:5\n007\n", None, ("row:17", "row:3", "row:5", "row:7")),
        ("ticket,Row\n1,17\n2,3\n", None, ("row:17", "row:3")),
        ("index,file\n17,a.jpg\n", "index", ("row:17",)),
        ("img_id\n17\n3.0\nrow:5\n", None, ("img_id:17", "img_id:3.0", "row:5")),
        ("ticket,Image_ID\n1,000001\n2,a.jpg\n3,b/c\n4,x\n", None, ("a.jpg", "b/c", "image_id:000001", "image_id:x")),
        ("file,picture\nx,a.jpg\ny,12\n", "picture", ("a.jpg", "picture:12")),
    ],
)  # fmt: skip
def test_what_a_column_holds_is_part_of_its_names(text, column, names, written):
    assert read_forget_list(written(text, "list.csv"), column) == tuple(sorted(names))


def test_names_of_files_have_the_digests_that_they_always_had(written):
    """Runs are named after them."""
    for text, name in (
        ("train/2.jpg\n1.jpg\n", "list.txt"),
        ("image_id\n1.jpg\n./train/2.jpg\n", "list.csv"),
        ("who,photo\na,1.jpg\nb,train/2.jpg\n", "list.csv"),
    ):
        names = read_forget_list(written(text, name), "photo" if "photo" in text else None)
        assert list_digest(names) == hashlib.sha256(b"5:1.jpg,11:train/2.jpg,").hexdigest()


@pytest.mark.parametrize(
    "text, names",
    [
        ("number,file\n#4712,a.jpg\n # x ,b.jpg\n", ("a.jpg", "b.jpg")),
        ("file,number\n#3.jpg,1\n# 4.jpg,2\n", ("# 4.jpg", "#3.jpg")),
        ("#,file\n1,a.jpg\n", ("a.jpg",)),
    ],
)
def test_there_are_no_comments_in_a_table(text, names, written):
    assert read_forget_list(written(text, "list.csv"), None) == names


STRANGE = (
    *("#3.jpg", "# 4.jpg", "##", " a.jpg", "\u00a0b.jpg", "\u3000c.jpg", "\ufeffd.jpg", "\tx/e.jpg", "a b.jpg"),
    *("#", "row:3", "./row:3", "./img_id:17", "img_id:17", "x/row:3", "./#row:3", "a, b.jpg", '"q".jpg', "-", "./"),
    *("f\u0308.jpg", "..", "x/./y", "\u202egpj.exe", "a\x1cb", "a\x85b", "a\u2028b", "a\x0bb"),
)


def test_a_list_that_is_written_down_is_read_as_the_same_names(written):
    for names in (STRANGE, *((name,) for name in STRANGE)):
        again = read_forget_list(written(as_text(names), "forget_list.txt"), None)
        assert again == tuple(sorted(names))
        assert list_digest(again) == list_digest(names)
    assert as_text(("b", "a", "b")) == "b\na\n"


@pytest.mark.parametrize("name", [*STRANGE, "#row:3", " a:b"])
def test_names_from_a_table_are_written_down_without_loss(name, written):
    for column in ("file", "image_id", "picture"):
        with (file := written("", "list.csv")).open("w", newline="") as out:
            csv.writer(out).writerows([["n", column], [1, name]])
        names = read_forget_list(file, column)
        assert read_forget_list(written(as_text(names), "forget_list.txt"), None) == names


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
            "no column called file, filename, path, image, img_filename, image_id, index, row among a, b",
        ),
        ("row:3\nrow:4\n", "list.csv", None, "expected a header, found row:3"),
        ("# June\nfile\na.jpg\n", "list.csv", None, "found '# June'; a CSV file has no comments"),
        ("#,file\n1,a.jpg\n", "list.csv", "#", "found '#'; a CSV file has no comments"),
        ("index,file\n1,2\n", "list.csv", None, "2 columns (index, file) among index, file; name the one to read with"),
        ("index\n1\na.jpg\n", "list.csv", None, "list.csv, line 3: index is 'a.jpg', expected the number of a row"),
        ("row\n-1\n", "list.csv", None, "list.csv, line 2: row is '-1', expected the number of a row, counted from 0"),
        ("row\n1.5\n", "list.csv", None, "list.csv, line 2: row is '1.5', expected the number of a row"),
        ('file,b\n"1\r2",3\n', "list.csv", None, "file is '1\\r2', expected a name"),
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
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "absent.txt", tmp_path, Path(""), tmp_path / "pipe.csv"):
        with pytest.raises(UserError, match=f"--forget_list {path} cannot be read"):
            read_forget_list(path, None)
    for path in ("a\0b", "a\udc80b"):
        with pytest.raises(UserError, match="--forget_list '?a.*b'? cannot be read") as error:
            read_forget_list(Path(path), None)
        assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "names, rows",
    [
        (["train/2.jpg"], [1]),
        (["2.jpg", "3.jpg"], [1, 2]),
        (["2", "train/3"], [1, 2]),
        (["7", "train/1"], [0, 6]),
        (["row:0", "row:6"], [0, 6]),
        (["row:002", "val/1.jpg"], [2, 3]),
        (["./2", "file:3", "image_id:7"], [1, 2, 6]),
    ],
)
def test_rows_by_path_by_name_by_stem_and_by_number(names, rows):
    found = find_requests(faces(), names, skip_unknown=False)
    assert found.rows.tolist() == rows
    assert (found.n, found.left_out) == (len(names), {})
    assert [faces().paths([row])[0] for row in rows] == sorted(path for _, path in found.matched)
    assert [name for name, _ in found.matched] == names


@pytest.mark.parametrize("name", ["0", "4", "000003", "12", "row:7", "row:-1", "row:", "Row:x", "row:1e0", "index:70"])
def test_a_bare_number_is_no_row(name):
    with pytest.raises(UserError, match=f"1 not in the labels of faces .{name}."):
        find_requests(faces(), [name], skip_unknown=False)


def test_a_number_that_is_unknown_is_told_how_a_row_is_asked_for():
    for name, row in (("000012", 12), ("image_id:12", 12), ("0", 0)):
        with pytest.raises(UserError, match=f"a row is asked for as row:{row}, counted from 0"):
            find_requests(faces(), ["x.jpg", name], skip_unknown=False)
    with pytest.raises(UserError) as error:
        find_requests(faces(), ["x.jpg"], skip_unknown=False)
    assert "row:" not in str(error.value)


TWO_WAYS = {
    "12": ("12.png", "x/12"),  # a name without extension of one, a name of another
    "1.jpg": ("1.jpg", "x/1.jpg"),  # a path, and a name
    "x/5": ("x/5", "x/5.jpg"),  # a path, and a path without extension
    "9": ("a/9.jpg", "b/9.png"),
    "row:3": ("row:3", "x/7.jpg"),  # a file, and a row
}


def two_ways() -> Faces:
    paths = ["12.png", "x/12", "1.jpg", "x/7.jpg", "x/1.jpg", "x/5", "x/5.jpg", "a/9.jpg", "b/9.png", "row:3", "z"]
    zeros = np.zeros(len(paths), dtype=int)
    return Faces(None, paths, zeros, zeros, zeros, ("young", "old"), ("a", "b"))


@pytest.mark.parametrize("name, both", TWO_WAYS.items())
def test_a_name_that_fits_two_images_is_told_with_both(name, both):
    data = two_ways()
    paths = data.paths(slice(None))
    first, second = (f"{path} (row {paths.index(path)})" for path in sorted(both, key=paths.index))
    with pytest.raises(UserError) as error:
        find_requests(data, [name, "z"], skip_unknown=False)
    told = f"1 of several images, which their paths or rows (row:17) tell apart ({name}: {first}, {second})"
    assert told in str(error.value)
    found = find_requests(data, [name, "z"], skip_unknown=True)
    assert (found.rows.tolist(), found.left_out) == ([10], {"ambiguous": (name,)})
    for path in both:
        assert find_requests(data, [f"row:{paths.index(path)}"] if path != "x/7.jpg" else ["7"], False).n == 1


def test_a_file_that_is_called_like_a_row_is_asked_for_with_a_point_and_a_slash():
    assert find_requests(two_ways(), ["./row:3"], skip_unknown=False).rows.tolist() == [9]


MIXED = (
    "train/1.jpg",
    "row:0",
    "1.jpg",
    "row:5",
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
        " 1 of several images, which their paths or rows (row:17) tell apart (1.jpg: train/1.jpg (row 0),"
        " val/1.jpg (row 3));"
        " 2 of an image that the list names before (row:0, train/2.jpg);"
        " 2 in val or test, not in train (row:5, 9.jpg);"
        " a number is the name of a file, and a row is asked for as row:7000, counted from 0;"
        " correct the list, or leave them out with --skip_unknown"
    )


def test_what_cannot_be_forgotten_can_be_left_out():
    found = find_requests(faces(), MIXED, skip_unknown=True)
    assert found.rows.tolist() == [0, 1]
    assert found.left_out == {
        "unknown": ("nobody.jpg", "7000", "-1", "Train/3.jpg"),
        "ambiguous": ("1.jpg",),
        "duplicate": ("row:0", "train/2.jpg"),
        "not_in_train": ("row:5", "9.jpg"),
    }
    assert (found.n, found.n_left_out) == (11, 9)
    assert found.matched == (("train/1.jpg", "train/1.jpg"), ("train/2.jpg", "train/2.jpg"))


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
    found = find_requests(dataset, ["row:0", "row:2", "train/7"], skip_unknown=False).without(dataset, [1, 2, 4])
    smaller = dataset.without([1, 2, 4])
    assert smaller.paths(found.rows) == ["train/1.jpg", "train/7"]
    assert found.left_out == {"unreadable": ("train/3.jpg",)}
    assert found.matched == (("row:0", "train/1.jpg"), ("train/7", "train/7"))
    assert (found.n, found.n_left_out) == (3, 1)
    assert found.without(smaller, []).rows.tolist() == found.rows.tolist()


# What stands in the list's file beside the names.


@pytest.mark.parametrize("header", ["train", "2", "x2", "3.jpg"])
@pytest.mark.parametrize("name", ["list.csv"])
def test_a_header_that_is_a_name_in_the_data_is_an_error(header, name, written):
    """A list without a header would lose its first name."""
    dataset = faces()
    if header in ("train", "x2"):  # no image is called that
        names = read_forget_list(written(f"{header}\ntrain/1.jpg\n", name), None)
        assert find_requests(dataset, names, skip_unknown=False).rows.tolist() == [0]
    elif header == "3.jpg":
        with pytest.raises(UserError, match="expected a header, found 3.jpg; put a line such as file above"):
            read_forget_list(written(f"{header}\ntrain/1.jpg\n", name), None)
    else:
        with pytest.raises(UserError, match="expected a header, found 2; put a line"):
            read_forget_list(written(f"{header}\ntrain/1.jpg\n", name), None)


def words(*paths: str) -> Faces:
    zeros = np.zeros(len(paths), dtype=int)
    return Faces(None, paths, zeros, zeros, zeros, ("young", "old"), ("a", "b"))


@pytest.mark.parametrize("path", ["faces/anna.jpg", "anna", "x/y/anna.tar.gz", "faces/anna"])
@pytest.mark.parametrize("skip_unknown", [False, True])
def test_a_first_name_that_was_taken_for_a_header_is_told(path, skip_unknown, written):
    file = written("anna\nbob.jpg\n\ncarl.jpg\n", "list.csv")
    data = words(path.replace(".tar.gz", ".gz"), "bob.jpg", "carl.jpg", "dora.jpg")
    names = read_forget_list(file, None)
    with pytest.raises(UserError) as error:
        find_requests(data, names, skip_unknown)
    assert f"--forget_list {file}, line 1: 'anna' is taken for a header, and is a name of an image of faces" in str(
        error.value
    )
    assert str(error.value).endswith("put a line such as file above the names, or give that column another name")
    assert find_requests(words("bob.jpg", "carl.jpg", "dora.jpg"), names, skip_unknown).rows.tolist() == [0, 1]
    asked = read_forget_list(file, "anna")
    assert find_requests(data, asked, skip_unknown).rows.tolist() == [1, 2], "a column that was asked for is one"


def test_a_header_that_is_a_known_word_and_a_name_is_told_too(written):
    names = read_forget_list(written("ticket,file\n1,bob.jpg\n", "list.csv"), None)
    with pytest.raises(
        UserError, match="line 1: 'file' is taken for a header, and is a name of an image of faces .x/file"
    ):
        find_requests(words("x/file.jpg", "bob.jpg", "carl.jpg"), names, skip_unknown=False)


def test_a_comment_that_is_a_name_in_the_data_is_an_error(written):
    text = "# asked for in June\n#3.jpg\nbob.jpg\n"
    names = read_forget_list(written(text), None)
    data = words("x/#3.jpg", "bob.jpg", "carl.jpg")
    for skip_unknown in (False, True):
        with pytest.raises(
            UserError, match=r"line 2: '#3.jpg' is taken for a comment, and is a name.*write \./ in front"
        ):
            find_requests(data, names, skip_unknown)
    assert find_requests(words("bob.jpg", "carl.jpg"), names, skip_unknown=False).rows.tolist() == [0]
    marked = read_forget_list(written(text.replace("#3", "./#3")), None)
    assert find_requests(data, marked, skip_unknown=False).rows.tolist() == [0, 1]


def test_what_stands_beside_the_names_goes_with_them(written):
    """A configuration is handed from process to process."""
    names = read_forget_list(written("anna\nbob.jpg\n", "list.csv"), None)
    again = pickle.loads(pickle.dumps(names))
    assert (again, again.file, again.column, again.passed_over) == (
        names,
        names.file,
        "anna",
        ((1, "anna", "a header"),),
    )


# Columns that the labels have too.

OWN = "filename,split,target,sensitive,img_id,Image,row,code"
ROWS = (
    "a/1.jpg,train,x,p,3,z.jpg,1,007",
    "a/2.jpg,train,y,p,1,a/1.jpg,0,8",
    "a/3.jpg,train,x,q,2,3.jpg,2,9",
    "a/4.jpg,val,y,q,,a/4.jpg,3,9",
    "a/5.jpg,train,y,q,5,a/5.jpg,7,11.5",
)


@pytest.fixture
def own(tmp_path: Path) -> Custom:
    (tmp_path / "metadata.csv").write_text("\n".join([OWN, *ROWS]) + "\n")
    return Custom.load(tmp_path, 0, 0)


def asked_for(own: Custom, written, text: str, column: str | None = None, skip_unknown: bool = False) -> list[int]:
    return find_requests(own, read_forget_list(written(text, "list.csv"), column), skip_unknown).rows.tolist()


@pytest.mark.parametrize(
    "text, column, rows",
    [
        ("img_id\n1\n3\n", None, [0, 1]),  # 1 and 3 are names of files, too
        ("IMG_ID\n1.0\n+2\n", None, [1, 2]),
        ("ticket,img_id\n1,5\n", "img_id", [4]),
        ("code\n7\n8.0\n11.50\n", None, [0, 1, 4]),
        ("filename\n1\na/2.jpg\n", None, [0, 1]),
        ("Image\na/5.jpg\n", None, [4]),  # the same image either way
        ("Image\n3\n", None, "1 of another image, or of none, by the labels' own column Image"),
        ("Image\na/1.jpg\n", None, "1 of another image, or of none, by the labels' own column Image"),
        ("image\nz.jpg\n", None, "which a text list asks for as image:VALUE (z.jpg)"),
        ("img_id\n4\n", None, "1 not in the labels of custom (img_id:4)"),
        ("img_id\n\n1\nrow:4\n", None, [1, 4]),
        ("code\n9\n", None, "1 of several images, which their paths or rows (row:17) tell apart (code:9: a/3.jpg (row"),
        ("row\n2\n", None, [2]),
        ("row\n0\n", None, "1 of another image, or of none, by the labels' own column row"),
        ("row\n4\n", None, "1 of another image, or of none, by the labels' own column row"),
        ("index\n2\n", None, [2]),
        ("index\n0\n", None, "1 of several images"),  # which the labels' own column row numbers otherwise
        ("photo\n1\n", None, "'photo' is no column by which images of custom are told apart, so call it file where"),
        ("photo\na/1.jpg\n", None, [0]),
    ],
)  # fmt: skip
def test_a_column_that_the_labels_have_is_matched_to_it_or_refused(own, written, text, column, rows):
    if isinstance(rows, list):
        assert asked_for(own, written, text, column) == rows
    else:
        with pytest.raises(UserError) as error:
            asked_for(own, written, text, column)
        assert rows in str(error.value)


def test_a_text_list_may_name_a_column(own):
    for names, rows in ((["img_id:1", "Image:z.jpg", "row:2"], [0, 1, 2]), (["code:007", "index:4"], [0, 4])):
        assert find_requests(own, names, skip_unknown=False).rows.tolist() == rows
    for name in ("row:0", "row:1"):  # the labels' own column says otherwise
        with pytest.raises(UserError, match="1 of several images"):
            find_requests(own, [name], skip_unknown=False)


def test_a_run_of_a_column_is_made_again_from_what_it_wrote_down(own, written):
    names = read_forget_list(written("img_id\n3\n1\n", "list.csv"), None)
    again = read_forget_list(written(as_text(names), "forget_list.txt"), None)
    first, second = (find_requests(own, those, skip_unknown=False) for those in (names, again))
    assert first.rows.tolist() == second.rows.tolist() == [0, 1]
    assert list_digest(names) == list_digest(again)


def test_labels_that_change_while_they_are_read(own, written, tmp_path: Path):
    (tmp_path / "metadata.csv").write_text("\n".join([OWN, *ROWS[1:]]) + "\n")
    with pytest.raises(UserError, match="metadata.csv changed while it was read"):
        asked_for(own, written, "img_id\n1\n")


def test_no_label_file_is_read_for_names_of_files(own, tmp_path: Path):
    (tmp_path / "metadata.csv").unlink()
    assert find_requests(own, ["a/1.jpg", "2", "3.jpg"], skip_unknown=False).rows.tolist() == [0, 1, 2]


def test_requests_without_matches_are_possible():
    assert Requests(0, np.empty(0, dtype=np.int64), {}).matched == ()


def test_a_value_of_the_labels_own_column_may_look_like_a_file(tmp_path: Path, written):
    folder = make_custom(tmp_path)
    lines = (folder / "metadata.csv").read_text().splitlines()
    ids = ["patient", *(f"P.{number}/a" for number in range(len(lines) - 1))]
    joined = [f"{line},{one}" for line, one in zip(lines, ids, strict=True)]
    (folder / "metadata.csv").write_text("\n".join(joined) + "\n")
    names = read_forget_list(written("patient\nP.3/a\nP.7/a\n", "a.csv"), None)
    assert find_requests(Custom.load(folder, 0, 0), names, False).rows.tolist() == [3, 7]


def test_rows_of_a_table_that_is_no_label_file_are_not_guessed(tmp_path: Path, written):
    """FairFace leaves rows out and joins two files: which row 6 is meant?"""
    make_fairface(tmp_path)
    names = read_forget_list(written("index\n6\n", "a.csv"), None)
    with pytest.raises(UserError, match="may be those of a label file or those of the table of fairface"):
        find_requests(FairFace.load(tmp_path, 0, 0), names, False)
    assert find_requests(FairFace.load(tmp_path, 0, 0), ["row:6"], False).rows.tolist() == [6]
