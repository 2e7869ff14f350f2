"""A folder of the user's own: what its metadata.csv means, every way it can be wrong, and its flags."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli import ROOT, configuration, ok, refused, written
from folders import make_custom

from datasets.custom import Custom
from method.configs.schema import all_keys
from utils.errors import UserError
from utils.runs import read_runs

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
    assert "line 2: target is '10' (2 such rows); expected integers alone or names alone" in mixed
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
        (["a.jpg,train,no,x", "./b.jpg,train,no,x"], "line 6: filename is 'a.jpg' (2 such rows); line 2 has it too"),
        (["./b.jpg,train,no,x"], "line 6: filename is './b.jpg' (1 such row); line 3 has it too; expected one row"),
        (['"e.jpg,train,no,x'], "line 6: "),
    ],
)  # fmt: skip
def test_bad_rows(tmp_path: Path, rows: list[str], told: str):
    said = message(write(tmp_path, *GOOD, *rows))
    assert said.startswith(f"{tmp_path}/metadata.csv, line ")
    assert told in said


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
        (HEADER, {"sensitive": "sensitive,"}, "--sensitive 'sensitive,': expected the name of a column of metadata"),
        (HEADER, {"split_column": ""}, "--split_column '': expected the name of a column of metadata.csv"),
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
    assert "Is a directory" in message(tmp_path)


# Its keys.

OWN = {"target", "sensitive", "filename_column", "split_column", "dataset_name"}
CUSTOM = "--method pretrain --dataset custom"


def test_its_keys_are_its_own_and_identity():
    assert {name for name, key in all_keys().items() if key.datasets == ("custom",)} == OWN
    assert set(configuration(CUSTOM).identity()) >= OWN
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
    assert done.out == f"already done: {tmp_path}/store/my_data/small_cnn/pretrain_0\n"
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


# docs/custom_data.md.

PAGE = (ROOT / "docs/custom_data.md").read_text()


def test_the_configurations_on_the_page_are_valid(tmp_path: Path):
    texts = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(texts) == 2
    for text in texts:
        (tmp_path / "config.yaml").write_text(text)
        for command in ("pretrain --print_config", "pretrain --epochs 1 --print_config"):
            ok(f"--method {command}", config=tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text(texts[0])
    config = configuration("--method pretrain", config=tmp_path / "config.yaml")
    assert (config.data_name, config.sensitive, config.image_size, config.epochs) == ("faces", "race,age", 128, 20)


def test_the_page_lists_its_keys_with_their_defaults():
    rows = dict(re.findall(r"^\| `--(\w+)` \| `(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == {name: all_keys()[name].default for name in OWN - {"dataset_name"}}


def test_the_commands_on_the_page_are_understood():
    lines = re.findall(r"python main\.py ((?:.|\\\n)+)", PAGE)
    typed = [line for line in lines if "--config" not in line and "FLAGS" not in line]
    commands = [line.replace("\\\n", " ").split("  #")[0] for line in typed]
    assert len(commands) == 3
    assert [configuration(command).data_name for command in commands] == ["my_data"] * 3
