"""A folder of the user's own: what its metadata.csv means, every way it can be wrong, and its flags."""

import os
import tracemalloc
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli import configuration, ok, refused, written
from folders import make_custom

from datasets.custom import Custom
from datasets.groups import forget_groups
from method.configs.schema import all_keys
from method.runs.stored import read_runs
from utils.errors import UserError

HEADER = "filename,split,target,sensitive"
GOOD = ("a.jpg,train,no,x", "b.jpg,train,yes,y", "c.jpg,val,no,x", "d.jpg,test,yes,x")


def write(folder: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8", newline: str = "\n") -> Path:
    text = newline.join([header, *rows]) + newline
    (folder / "metadata.csv").write_bytes(text.encode(encoding))
    return folder


def load(folder: Path, **columns: str) -> Custom:
    return Custom.load(folder, 0, 0, **columns)


def message(folder: Path, **columns: str) -> str:
    with pytest.raises(UserError) as error:
        load(folder, **columns)
    return str(error.value)


# What the table means.


def test_columns_become_codes(tmp_path: Path):
    data = load(write(tmp_path, *GOOD))
    assert data.path.tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert (data.target_names, data.sensitive_names) == (("no", "yes"), ("x", "y"))
    assert data.target.tolist() == [0, 1, 0, 1]
    assert data.sensitive.tolist() == [0, 1, 0, 0]
    assert data.split.tolist() == [0, 0, 1, 2]
    assert [data.group_name(group) for group in range(4)] == ["no, x", "no, y", "yes, x", "yes, y"]
    assert data.file(1) == tmp_path / "b.jpg"


def test_any_column_can_be_meant(tmp_path: Path):
    header = "id,race,file,sex,part,note"
    rows = ['1,b,a.jpg,m,train,"x, y"', "2,w,b.jpg,f,val,", "3,w,c.jpg,m,test,z"]
    rows += ["4,w,d.jpg,m,train,z"]
    folder = write(tmp_path, *rows, header=header)
    data = load(folder, target="sex", sensitive="race", filename_column="file", split_column="part")
    assert data.path.tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert (data.target.tolist(), data.sensitive.tolist(), data.split.tolist()) == (
        [1, 0, 1, 1], [0, 1, 1, 1], [0, 1, 2, 0]
    )  # fmt: skip


def test_splits_by_name_in_any_case_and_by_code(tmp_path: Path):
    words = ["train", "Train", "VAL", "valid", "Validation", "TEST", "0", "1", "2"]
    rows = [f"{row}.jpg,{word},{row % 2},x" for row, word in enumerate(words)]
    assert load(write(tmp_path, *rows)).split.tolist() == [0, 0, 1, 1, 1, 2, 0, 1, 2]


def test_integers_are_sorted_by_number_and_shown_as_they_are(tmp_path: Path):
    rows = [f"{row}.jpg,{row % 2},{age},1" for row, age in enumerate((10, 9, -3, 10, 100, 9))]
    data = load(write(tmp_path, *rows))
    assert data.target_names == ("-3", "9", "10", "100")
    assert data.target.tolist() == [2, 1, 0, 2, 3, 1]
    assert data.group_name(3) == "100, 1"


def test_names_are_sorted_by_the_alphabet_and_zeros_in_front_make_a_name(tmp_path: Path):
    rows = [f"{row}.jpg,{row % 2},{name},1" for row, name in enumerate(("10", "09", "1", "b9", "b10", "A"))]
    mixed = message(write(tmp_path, *rows))
    told = "target is '10' (1 such row, and 1 row with 1 other wrong value); expected integers alone or names alone"
    assert f"line 2: {told}" in mixed
    assert mixed.endswith("and there is '09' on line 3")
    rows = [row for row in rows if ",10," not in row and ",1,1" not in row]
    assert load(write(tmp_path, *rows, "z.jpg,0,A,1")).target_names == ("09", "A", "b10", "b9")


def test_several_sensitive_columns_are_crossed(tmp_path: Path):
    header = "filename,split,target,race,gender,age"
    rows = [
        "a.jpg,0,n,White,Male,30",
        "b.jpg,0,y,Black,Female,4",
        "c.jpg,1,n,White,Female,30",
        "d.jpg,2,y,Black,Male,4",
    ]
    rows += [f"{row}.jpg,0,n,Black,Male,30" for row in range(12)]
    folder = write(tmp_path, *rows, header=header)
    two = load(folder, sensitive="race,gender")
    assert two.sensitive_names == ("Black/Female", "Black/Male", "White/Female", "White/Male")
    assert two.sensitive[:4].tolist() == [3, 0, 2, 1]
    three = load(folder, sensitive="gender, age, race")
    assert three.sensitive_names[:5] == (
        "Female/4/Black", "Female/4/White", "Female/30/Black", "Female/30/White", "Male/4/Black"
    )  # fmt: skip
    assert [three.sensitive_names[code] for code in three.sensitive[:4]] == [
        "Male/30/White", "Female/4/Black", "Female/30/White", "Male/4/Black"
    ]  # fmt: skip
    assert np.bincount(three.group, minlength=three.n_groups).min() == 0, "a group may be empty"


def test_one_sensitive_value_is_allowed(tmp_path: Path):
    data = load(write(tmp_path, *(row.replace(",y", ",x") for row in GOOD[:1]), "b.jpg,1,yes,x"))
    assert (data.n_sensitive, data.n_groups) == (1, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "utf-8-sig"},
        {"newline": "\r\n"},
        {"newline": "\r\n\r\n"},
        {"header": " filename , split,target,sensitive"},
    ],
)
def test_ways_to_write_the_same_table(tmp_path: Path, options: dict[str, str]):
    plain = load(write(tmp_path, *GOOD))
    other = load(write(tmp_path, *(row.replace(",x", ", x ") for row in GOOD), **options))
    assert other.fingerprint == plain.fingerprint
    assert other.sensitive_names == plain.sensitive_names


def test_quoted_commas_and_paths_in_one_spelling(tmp_path: Path):
    data = load(
        write(tmp_path, '"./x, y/1.jpg",train,a,"p, q"', "x//2.jpg,val,b,r", "x/../3.jpg,test,b,r", "4.jpg,0,a,r")
    )
    assert data.path.tolist() == ["x, y/1.jpg", "x/2.jpg", "3.jpg", "4.jpg"]
    assert data.group_name(0) == "a, p, q"


# Labels that only look right.


def rows_of(column: str, values: Sequence[str]) -> list[str]:
    """A row a value of this column, in train and val in turn."""
    other = {"target": "{}.jpg,{},{},x", "sensitive": "{}.jpg,{},{},{}"}[column]
    return [other.format(n, ("train", "val")[n % 2], *((value,) if column == "target" else (n % 2, value)))
            for n, value in enumerate(values)]  # fmt: skip


def test_integers_that_passed_through_a_table_with_a_hole_are_the_integers(tmp_path: Path):
    values = ("2.0", "1.0", "10.0", "-3.00", "2.0", "0.", "1.0")
    data = load(write(tmp_path, *rows_of("target", values)))
    assert data.target_names == ("-3", "0", "1", "2", "10")
    assert [data.target_names[code] for code in data.target] == ["2", "1", "10", "-3", "2", "0", "1"]
    plain = load(write(tmp_path, *rows_of("target", [value.partition(".")[0] for value in values])))
    assert plain.fingerprint == data.fingerprint


def test_a_number_of_a_group_is_the_value_that_the_labels_have(tmp_path: Path):
    """Never the code, which would be the other class."""
    for ones, twos in (("1", "2"), ("1.0", "2.0")):
        values = [
            f"{n}.jpg,{split},{y},{a}" for n, (split, y, a) in enumerate(product(("train", "val"), (ones, twos), "ab"))
        ]
        data = load(write(tmp_path, *values))
        ((target, sensitive),) = forget_groups(data, None, None, "1:a")
        assert data.group_name(target * data.n_sensitive + sensitive) == "1, a"
        for typed in ("0:a", "1.0:a", "01:a", "1:0"):
            with pytest.raises(UserError, match="--forget_groups: custom has no "):
                forget_groups(data, None, None, typed)


def test_decimals_are_names_as_they_are_spelled(tmp_path: Path):
    data = load(write(tmp_path, *rows_of("target", ("1.5", "10.0", "1.0", "1.0"))))
    assert data.target_names == ("1.0", "1.5", "10.0")
    for typed in ("0:x", "1:x"):
        with pytest.raises(UserError, match="custom has no target"):
            forget_groups(data, None, None, typed)
    told = message(write(tmp_path, *rows_of("target", ("1.5", "1", "2", "2"))))
    assert "target is '1.5' (1 such row); expected integers alone or names alone" in told
    told = message(write(tmp_path, *rows_of("target", ("a", "b", "2.0", "b"))))
    assert "line 4: target is '2.0' (1 such row); expected integers alone or names alone" in told


@pytest.mark.parametrize("column", ["target", "sensitive"])
@pytest.mark.parametrize(
    "word",
    [
        *("", " ", "\u00a0", "\u200b", "nan", "NaN", "-NaN", "None", "NONE", "NA", "na", "N/A", "n/a", "<NA>", "#N/A"),
        *("null", "NULL", "NaT", "nil", "?", "-", "--", "\u2014", ".", " N/A ", "n.a.", "#DIV/0!", "n\u200ban"),
    ],
)
def test_words_for_no_value_are_no_values(tmp_path: Path, column: str, word: str):
    told = message(write(tmp_path, *rows_of(column, ["yes", "no", word, "yes", word, "?"])))
    assert f"metadata.csv, line 4: {column} is {word.strip()!r} (" in told
    assert "expected a name or an integer, and it says that there is no value: give a word for it" in told
    n_same, others = (3, "") if word.strip() == "?" else (2, ", and 1 row with 1 other wrong value")
    assert f"({n_same} such rows{others})" in told


def test_words_for_no_value_in_crossed_columns_and_in_the_split(tmp_path: Path):
    rows = [f"{n}.jpg,{n % 2},{n % 2},{value},c" for n, value in enumerate(("a", "b", "N/A", "a", "b", "a"))]
    folder = write(tmp_path, *rows, header=f"{HEADER},more")
    assert "line 4: sensitive is 'N/A' (1 such row)" in message(folder, sensitive="sensitive,more")
    assert "says that there is no value" in message(folder, sensitive="sensitive,more")
    told = message(write(tmp_path, *GOOD, "e.jpg,nan,no,x", "f.jpg,NA,no,x", "g.jpg,nan,no,x"))
    assert "line 6: split is 'nan' (2 such rows, and 1 row with 1 other wrong value); expected one of train" in told


@pytest.mark.parametrize("word", ["unknown", "other", "no", "nano", "Nancy", "na\u00efve", "+", "0", "missing"])
def test_words_that_are_values(tmp_path: Path, word: str):
    other = "1" if word == "0" else "yes"
    assert word in load(write(tmp_path, *rows_of("target", [other, other, word, word]))).target_names


ALIKE = [
    ("Male", "male"),
    ("Male", "Male\u200b"),
    ("Male", "\ufeffMale"),
    ("Male", "Ma\u00adle"),
    ("Male", "Male\ufe0f"),
    ("M\u00fcller", "Mu\u0308ller"),
    ("M\u00dcLLER", "mu\u0308ller"),
    ("East Asian", "East  Asian"),
    ("East Asian", "East\u00a0Asian"),
    ("East Asian", "east\u2009asian"),
    ("1", "1.0"),
    ("007", "7.0"),
    ("0.50", "0.5"),
    ("1e1", "10.0"),
]


@pytest.mark.parametrize("column", ["target", "sensitive"])
@pytest.mark.parametrize("one, other", ALIKE)
def test_one_value_in_two_spellings_is_told_with_both(tmp_path: Path, column: str, one: str, other: str):
    told = message(write(tmp_path, *rows_of(column, [one, one, other, one, "3.5" if one[0] in "01" else "x"])))
    spellings = {one: f"{one!a} (3 rows, the first on line 2)", other: f"{other!a} (1 row, the first on line 4)"}
    listed = " and ".join(spellings[value] for value in sorted(spellings))
    assert (
        f"metadata.csv: {column} has 1 value in more than one spelling: {listed}; spell each value in one way" in told
    )


def test_values_that_differ_are_none(tmp_path: Path):
    values = (
        "Muller",
        "M\u00fcller",
        "x-y",
        "x y",
        "xy",
        "\u0430",
        "a",
        "\u043c\u043e\u0439",
        "\u043c\u043e\u0438",
        "1st",
    )
    assert len(load(write(tmp_path, *rows_of("sensitive", values * 3))).sensitive_names) == len(values)


def test_a_split_with_an_invisible_character_is_none(tmp_path: Path):
    told = message(write(tmp_path, *GOOD, "e.jpg,train\u200b,no,x"))
    assert "line 6: split is 'train\\u200b' (1 such row); expected one of train" in told


# Everything that can be wrong with it.


@pytest.mark.parametrize(
    "rows, told",
    [
        (["e.jpg,dev,no,x"], "line 6: split is 'dev' (1 such row); expected one of train, val, test, valid"),
        (["e.jpg,,no,x"], "line 6: split is '' (1 such row); expected one of train"),
        (["e.jpg,train,,x", "f.jpg,train, ,x"], "line 6: target is '' (2 such rows); expected a name or an integer"),
        (["e.jpg,train,no,"], "line 6: sensitive is '' (1 such row); expected a name or an integer"),
        (["e.jpg,train,1,x"], "line 6: target is '1' (1 such row); expected integers alone or names alone"),
        (["e.jpg,train,no"], "line 6: 3 fields, expected 4 as in the header"),
        ([",train,no,x"], "line 6: filename is '' (1 such row); expected the path of a file below"),
        (["/etc/e.jpg,train,no,x"], "line 6: filename is '/etc/e.jpg' (1 such row); expected the path of a file below"),
        (["../e.jpg,train,no,x"], "line 6: filename is '../e.jpg' (1 such row); expected the path of a file below"),
        (["f/../../e.jpg,train,no,x"], "line 6: filename is 'f/../../e.jpg'"),
        (["f\\e.jpg,train,no,x"], "line 6: filename is 'f\\\\e.jpg' (1 such row); expected the path of a file below"),
        (["f\0.jpg,train,no,x"], "line 6: "),
        ([".,train,no,x"], "line 6: filename is '.'"),
        (
            ["a.jpg,train,no,x", "./b.jpg,train,no,x"],
            "line 6: filename is 'a.jpg' (1 such row, and 1 row with 1 other wrong value); line 2 has it too",
        ),
        (["./b.jpg,train,no,x"], "line 6: filename is './b.jpg' (1 such row); line 3 has it too; expected one row"),
        (['"e.jpg,train,no,x'], "line 6: "),
    ],
)  # fmt: skip
def test_bad_rows(tmp_path: Path, rows: list[str], told: str):
    said = message(write(tmp_path, *GOOD, *rows))
    assert said.startswith(f"{tmp_path}/metadata.csv, line ")
    assert told in said


LONG = [
    ("a" * 256, "4096 bytes, and of 255 between two /"),
    ("ä" * 128, "4096 bytes, and of 255 between two /"),
    ("/".join(["d" * 250] * 17), "expected a path of at most 4096 bytes"),
    ("a" * 131_000, "expected a path of at most 4096 bytes"),
]


@pytest.mark.parametrize("path, told", LONG)
def test_a_path_longer_than_a_system_has_is_refused(tmp_path: Path, path: str, told: str):
    said = message(write(tmp_path, *GOOD, f"{path},train,no,x"))
    assert told in said
    assert len(said) < 2000
    fitting = "/".join(["d" * 255] * 15 + ["ä" * 127])
    assert load(write(tmp_path, *GOOD, f"{fitting},train,no,x")).paths([4]) == [fitting]


def test_a_long_path_gives_no_other_row_its_room(tmp_path: Path):
    folder = write(tmp_path, *(f"{n}.jpg,{n % 2},{n % 2},x" for n in range(30_000)), f"{'a' * 131_000},0,0,x")
    tracemalloc.start()
    try:
        assert "expected a path of at most 4096 bytes" in message(folder)
        assert tracemalloc.get_traced_memory()[1] < 60e6, "bytes; an array as wide as the longest path has 15.7e9"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "rows, told",
    [
        ([], "metadata.csv has no rows below its header: expected one per image"),
        (["a.jpg,0,no,x", "b.jpg,1,no,x"], "metadata.csv: target is 'no' in all 2 rows; expected two values or more"),
        (
            ["a.jpg,0,no,x", "b.jpg,2,yes,x"],
            "metadata.csv: no row is of val, split is 0, 2; expected rows of train and",
        ),
        (["a.jpg,val,no,x", "b.jpg,Test,yes,x"], "metadata.csv: no row is of train, split is Test, val; expected rows"),
        (
            ["a.jpg,0,1,5", "b.jpg,1,2,6", "c.jpg,0,3,7"],
            "metadata.csv: 9 groups for 3 rows, from the values of target, sen",
        ),
        (
            [
                'a.jpg,0,"p, q",r',
                'b.jpg,1,p,"q, r"',
                "c.jpg,2,z,z",
                "d.jpg,2,z,z",
                *(f"{n}.jpg,0,z,z" for n in range(9)),
            ],
            "metadata.csv: 2 groups would be called 'p, q, r'; expected names without commas",
        ),
    ],
)
def test_tables_of_good_rows_that_are_wrong_together(tmp_path: Path, rows: list[str], told: str):
    assert told in message(write(tmp_path, *rows))


def test_without_test_rows_there_is_a_table(tmp_path: Path):
    assert 2 not in load(write(tmp_path, *GOOD[:3], "e.jpg,val,yes,x")).split


@pytest.mark.parametrize(
    "header, columns, told",
    [
        ("file,split,target,sensitive", {}, "metadata.csv has no column 'filename': found file, split, target"),
        (HEADER, {"target": "label"}, "metadata.csv has no column 'label': found filename, split, target, sensitive"),
        (HEADER, {"sensitive": "sensitive,race"}, "metadata.csv has no column 'race': found filename,"),
        (HEADER, {"sensitive": "target"}, "--sensitive asks for column 'target', which --target asks for too"),
        (HEADER, {"sensitive": "sensitive,sensitive"}, "--sensitive asks for column 'sensitive', which --sensitive"),
        (HEADER, {"sensitive": "sensitive,"}, "--sensitive 'sensitive,': expected the name of a column of the table"),
        (HEADER, {"split_column": ""}, "--split_column '': expected the name of a column of the table"),
        ("filename;split;target;sensitive", {}, "has no column 'filename': found filename;split;target;sensitive"),
        (f"{HEADER},target", {}, "metadata.csv has more than one column 'target': expected one; rename the others"),
    ],
)  # fmt: skip
def test_columns_that_are_not_there_or_meant_twice(tmp_path: Path, header: str, columns: dict[str, str], told: str):
    assert told in message(write(tmp_path, *GOOD, header=header), **columns)


def test_a_slash_in_a_crossed_value_is_refused(tmp_path: Path):
    folder = write(tmp_path, *(f"{row}.jpg,{row % 2},{row % 2},a/b,c" for row in range(9)), header=f"{HEADER},more")
    assert load(folder).sensitive_names == ("a/b",)
    assert "line 2: sensitive is 'a/b' (9 such rows); expected no / in it" in message(
        folder, sensitive="sensitive,more"
    )


def test_files_that_cannot_be_read(tmp_path: Path):
    assert f"no data folder {tmp_path}/absent: expected metadata.csv (filename,split,target" in message(
        tmp_path / "absent"
    )
    assert f"no label file {tmp_path}/metadata.csv: expected metadata.csv" in message(tmp_path)
    write(tmp_path, *GOOD, "é.jpg,0,no,x", encoding="latin-1")
    assert f"cannot read label file {tmp_path}/metadata.csv" in message(tmp_path)
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "metadata.csv").mkdir()
    assert "metadata.csv (it is a folder, expected a regular file)" in message(tmp_path)
    (tmp_path / "metadata.csv").rmdir()
    os.mkfifo(tmp_path / "metadata.csv")
    assert "metadata.csv (it is a named pipe, expected a regular file)" in message(tmp_path)


# Its keys.

BY_CONTENT = {"metadata", "split_values"}  # what they lead to is compared
OWN = {"target", "sensitive", "filename_column", "split_column", "dataset_name"} | BY_CONTENT
CUSTOM = "--method pretrain --dataset custom"


def test_its_keys_are_its_own_and_identity():
    assert {name for name, key in all_keys().items() if key.datasets == ("custom",)} == OWN
    assert set(configuration(CUSTOM).identity()) & OWN == OWN - BY_CONTENT
    assert not OWN & set(configuration("--method pretrain --dataset celeba").values)
    one, other = (configuration(f"{CUSTOM} --sensitive {name}") for name in ("race", "race,age"))
    assert one.identity() != other.identity()


@pytest.mark.parametrize("name", sorted(OWN))
def test_other_data_sets_refuse_its_keys(name: str, tmp_path: Path):
    assert refused(f"--method miu --dataset celeba --{name} word") == (
        f"--{name} is a key of custom, not of celeba; leave it out"
    )
    (tmp_path / "mine.yaml").write_text(f"{name}: word\n")
    assert refused("--method miu --dataset digits", config=tmp_path / "mine.yaml") == (
        f"mine.yaml: {name} is a key of custom, not of digits; leave it out"
    )
    (tmp_path / "mine.yaml").write_text(f"dataset: custom\nmiu: {{{name}: word}}\n")
    assert refused("--method miu", config=tmp_path / "mine.yaml") == (
        f"mine.yaml [miu]: {name} cannot depend on the method"
    )


@pytest.mark.parametrize(
    "flags, name",
    [
        ("--data_dir some/faces", "faces"),
        ("--data_dir some/faces/", "faces"),
        ("--data_dir 'my faces (2)'", "my_faces_2_"),
        ("--data_dir some/faces --dataset_name skewed", "skewed"),
        ("--data_dir /", "custom"),
    ],
)
def test_runs_go_by_the_folders_name_or_a_given_one(flags: str, name: str):
    assert configuration(f"{CUSTOM} {flags}").data_name == name


@pytest.mark.parametrize("name", [".", "..", "a/b"])
def test_a_name_cannot_lead_out_of_the_store(name: str):
    told = "expected a text of letters, digits, and . _ + - (not . or .. alone)"
    assert told in refused(f"{CUSTOM} --dataset_name {name}")


def test_without_the_groups_to_forget_only_pretrain_has_a_task():
    told = refused("--method miu --dataset custom")
    assert told.startswith("custom has no forget groups of its own: say what to forget with --forget_groups")


# Through the command line.

FORGET = "--forget_groups Female:Black"
SMALL = "--model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1 --num_workers 0"


def table_of(text: str) -> dict[str, list[int]]:
    """The counts of a dry run by the groups' names."""
    rows = [line.rsplit(maxsplit=5) for line in text.split("\n\n")[1].splitlines()[2:]]
    return {head.lstrip("0123456789* "): list(map(int, counts)) for head, *counts in rows}


def test_dry_run_counts_by_name(tmp_path: Path):
    folder = make_custom(tmp_path)
    out = ok(f"--method retrain --dataset custom {FORGET} --dry_run", data_dir=folder, store_dir=tmp_path / "store").out
    assert table_of(out) == {
        "Female, Black": [12, 2, 2, 6, 6],
        "Female, White": [8, 2, 2, 0, 8],
        "Male, Black": [8, 2, 2, 0, 8],
        "Male, White": [12, 2, 2, 0, 12],
        "all": [40, 8, 8, 6, 34],
    }
    assert out.startswith("retrain on my_data, groups-Female.Black, ratio 0.5, seed 0")
    assert f"reads   {folder}/\n" in out
    assert f"writes  {tmp_path}/store/my_data/resnet18/groups-Female.Black/retrain_0.5_0/" in out


def test_a_config_beside_the_data_holds_everything(tmp_path: Path):
    folder = make_custom(tmp_path)
    content = {
        "dataset": "custom", "data_dir": str(folder), "dataset_name": "faces", "target": "target",
        "sensitive": "sensitive,age", "image_size": 32, "model": "small_cnn", "pretrain": {"epochs": 3},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    config = configuration("--method pretrain", config=folder / "config.yaml")
    assert (config.data_name, config.epochs, config.sensitive) == ("faces", 3, "sensitive,age")
    assert config.sources["sensitive"] == "config.yaml"
    out = ok("--method pretrain --dry_run", config=folder / "config.yaml", store_dir=tmp_path / "store").out
    names = [name for name in table_of(out) if name.startswith("Female")]
    assert names == ["Female, Black/20", "Female, Black/30", "Female, White/20", "Female, White/30"]


def test_print_config_round_trips(tmp_path: Path):
    flags = f"{CUSTOM} --data_dir {make_custom(tmp_path)} --sensitive age"
    (tmp_path / "mine.yaml").write_text(ok(f"{flags} --print_config").out)
    again = configuration("--method pretrain", config=tmp_path / "mine.yaml")
    assert dict(again.values) == dict(configuration(flags).values)


def test_neither_configuration_nor_already_done_reads_the_labels(tmp_path: Path, threads_put_back: None):
    folder, places = make_custom(tmp_path), {"store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    command = f"{CUSTOM} {SMALL}"
    ok(command, data_dir=folder, **places)
    (folder / "metadata.csv").unlink()
    done = ok(command, data_dir=folder, **places)
    assert done.out.startswith(f"already done: {tmp_path}/store/my_data/small_cnn/pretrain_0 (the labels are not in ")
    ok(f"{command} --print_config", data_dir=folder)
    other = refused(f"{command} --sensitive age", data_dir=folder, **places)
    assert "holds another run: sensitive is 'sensitive' there and 'age' here" in other


def test_every_step_runs_and_the_report_calls_it_by_its_name(tmp_path: Path, threads_put_back: None):
    """Pretrain from the command in the message, reweighted retraining, MIU, a damaged image left out, a cache."""
    folder, places = make_custom(tmp_path), {"store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    (folder / "faces/3.jpg").write_text("no image")
    flags = f"--dataset custom --sensitive sensitive,age --skip_bad_images --cache disk {SMALL}"
    missing = refused(f"--method miu {flags} --forget_groups Female:Black/20", data_dir=folder, **places)
    pretrain = missing.split("python main.py ")[1]
    assert "--sensitive sensitive,age" in pretrain
    assert "--dataset_name my_data" in pretrain
    ok(f"{pretrain} --epochs 1 --threads 1 --num_workers 0")
    for command in ("retrain", "retrain --reweight", "miu"):
        ok(f"--method {command} {flags} --forget_groups Female:Black/20", data_dir=folder, **places)
    runs = read_runs(tmp_path / "store")
    assert {run.config["dataset"] for run in runs} == {"my_data"}
    assert [run.problem for run in runs] == [""] * 4
    miu = next(run for run in runs if run.method == "miu")
    assert miu.metrics["forget_group_names"] == ["Female, Black/20"]
    assert miu.metrics["tow"] is not None
    assert miu.metrics["n_skipped_images"] == 1
    assert "my_data/verified.json" in written(tmp_path / "store")


@pytest.mark.parametrize("change", ["one sensitive value", "no test rows"])
def test_tables_with_less_than_usual_run_too(change: str, tmp_path: Path, threads_put_back: None):
    folder, places = make_custom(tmp_path), {"store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    text = (folder / "metadata.csv").read_text()
    old, new = {"one sensitive value": ("White", "Black"), "no test rows": (",test,", ",val,")}[change]
    (folder / "metadata.csv").write_text(text.replace(old, new))
    for method in ("pretrain", f"retrain --reweight {FORGET}", f"miu {FORGET}"):
        ok(f"--method {method} --dataset custom {SMALL}", data_dir=folder, **places)
    metrics = next(run.metrics for run in read_runs(tmp_path / "store") if run.method == "miu")
    null = {"one sensitive value": "equalized_odds", "no test rows": "test_acc"}[change]
    assert metrics[null] is None
    assert metrics["reasons"][null]
    assert metrics["retain_acc"] is not None
