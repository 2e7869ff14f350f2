"""A table that was made for something else: any name, commas or tabs, own words for the splits; it stays as it is."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from cli import configuration, ok, refused
from folders import make_custom

from datasets.custom import Custom
from datasets.deletion.forget_list import Names
from datasets.deletion.requests import find_requests
from utils.errors import UserError

HEADER = "image path\tfold\tkind\tplace"
ROWS = (
    "a.jpg\ttraining\tno\tx, y",
    "b.jpg\tTraining\tyes\tz",
    "c.jpg\tdev\tno\tz",
    "d.jpg\theld-out\tyes\tz",
    "e.jpg\textra\tyes\tz",
)
WORDS = "train=training+extra, val=dev, test=held-out"
COLUMNS = {"filename_column": "image path", "split_column": "fold", "target": "kind", "sensitive": "place"}
CUSTOM = "--method pretrain --dataset custom --model small_cnn --image_size 32 --no-pretrained"
SHORT = "--epochs 1 --threads 1 --num_workers 0"


def write(file: Path, *rows: str, header: str = HEADER) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def load(folder: Path, file: Path, words: str | None = WORDS, **columns: str) -> Custom:
    return Custom.load(folder, 0, 0, metadata=str(file), split_values=words, **{**COLUMNS, **columns})


def message(folder: Path, file: Path, words: str | None = WORDS, **columns: str) -> str:
    with pytest.raises(UserError) as error:
        load(folder, file, words, **columns)
    return str(error.value)


@pytest.mark.parametrize("name", ["labels.tsv", "labels.csv", "labels.txt", "labels"])
def test_tabs_are_read_whatever_the_file_is_called(tmp_path: Path, name: str):
    data = load(tmp_path, write(tmp_path / "tables" / name, *ROWS))
    assert data.path.tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"]
    assert data.split.tolist() == [0, 0, 1, 2, 0]
    assert data.sensitive_names == ("x, y", "z")
    assert data.file(0) == tmp_path / "a.jpg", "images stay relative to the data's folder"


@pytest.mark.parametrize("name", ["labels.tsv", "labels.csv"])
def test_commas_are_read_whatever_the_file_is_called(tmp_path: Path, name: str):
    rows = [",".join(f'"{cell}"' for cell in row.split("\t")) for row in ROWS]
    file = write(tmp_path / name, *rows, header=HEADER.replace("\t", ","))
    assert load(tmp_path, file).fingerprint == load(tmp_path, write(tmp_path / "other", *ROWS)).fingerprint


def test_a_column_name_may_hold_the_other_delimiter(tmp_path: Path):
    data = load(tmp_path, write(tmp_path / "a.tsv", *(f"{row}\t1" for row in ROWS), header=f"{HEADER}\tage, in years"))
    assert len(data) == 5
    rows = [f"{row}.jpg,{('training', 'dev')[row % 2]},{row % 2},x,1" for row in range(4)]
    header = "image path,fold,kind,place,a\tb"
    assert len(load(tmp_path, write(tmp_path / "b.csv", *rows, header=header), "train=training,val=dev")) == 4


def test_a_table_that_can_be_read_in_two_ways_is_refused(tmp_path: Path):
    both = "\t".join(["image path,fold,kind,place,", *COLUMNS.values()])
    told = message(tmp_path, write(tmp_path / "both.csv", *ROWS, header=both))
    assert told == (
        f"{tmp_path}/both.csv can be read in two ways, by commas 5 columns and by tabs 5 columns, each with image path,"
        " fold, kind, place; rename the columns of one"
    )


def test_a_column_that_is_not_there_is_told_with_those_of_the_better_reading(tmp_path: Path):
    file = write(tmp_path / "labels.tsv", *ROWS)
    assert message(tmp_path, file, target="label") == (
        f"{file} has no column 'label': found image path, fold, kind, place; --target names another"
    )


@pytest.mark.parametrize(
    "words, told",
    [
        ("train=training+extra,val=dev", "does not name 'held-out'; column fold has 'Training' (1 row), 'dev' (1 row)"),
        ("train=training,val=dev,test=held-out", "does not name 'extra'; column fold has 'Training' (1 row)"),
        (f"{WORDS}+tset", "names 'tset', which no row has; column fold has 'Training' (1 row)"),
        ("train=training,val=valid", "does not name 'dev', 'held-out', 'extra' and names 'valid', which no row has"),
        ("training=train,val=dev", "'training' is no split; expected train=WORD,val=WORD,test=WORD"),
        ("training,val=dev", "'training' is no split; expected train=WORD,val=WORD,test=WORD"),
        ("", "'' is no split; expected train=WORD"),
        (f"{WORDS},train=more", "train stands twice; put + between its words, as in train=WORD+WORD"),
        ("train=training,val=TRAINING", "'TRAINING' stands twice; expected words that are each of one split"),
        ("train=training+,val=dev", "'' is no word; expected words that are each of one split"),
        ("train", "train has no words; expected train=WORD, or train=WORD+WORD"),
    ],
)  # fmt: skip
def test_words_that_cannot_be_meant(tmp_path: Path, words: str, told: str):
    said = message(tmp_path, write(tmp_path / "labels.tsv", *ROWS), words)
    assert told in said
    assert "--split_values" in said


def test_without_words_the_error_names_the_flag(tmp_path: Path):
    told = message(tmp_path, write(tmp_path / "labels.tsv", *ROWS), None)
    assert (
        "line 2: fold is 'training' (1 such row, and 4 rows with 4 other wrong values); expected one of train" in told
    )
    assert told.endswith("0, 1, 2; name other words with --split_values train=WORD,val=WORD,test=WORD")


def test_train_and_val_need_rows_by_other_words_too(tmp_path: Path):
    rows = (*ROWS[:2], *(row.replace(".jpg", "/2.jpg") for row in ROWS[:2]))
    told = message(tmp_path, write(tmp_path / "labels.tsv", *rows), "train=training")
    assert "no row is of val, fold is Training, training; expected rows of train and val" in told


def test_files_that_are_not_there(tmp_path: Path):
    file = tmp_path / "tables/labels.tsv"
    columns = "(image path,fold,kind,place)"
    assert message(tmp_path, file) == (
        f"no label file {file}: expected the table of --metadata {columns} in {file.parent}; put it there"
    )
    write(file, *ROWS)
    assert f"no data folder {tmp_path}/none: expected the images in it" in message(tmp_path / "none", file)
    outside = message(tmp_path, write(file, *ROWS, "../f.jpg\tdev\tno\tz"))
    assert f"'../f.jpg' (1 such row); expected the path of a file below {tmp_path}, with / in it" in outside


def test_a_deletion_list_goes_by_a_column_of_the_table(tmp_path: Path):
    rows = [f"{row}\t{patient}" for row, patient in zip(ROWS, "PQRST", strict=True)]
    data = load(tmp_path, write(tmp_path / "far/labels.tsv", *rows, header=f"{HEADER}\tpatient"))
    assert find_requests(data, Names(["patient:Q", "e.jpg"]), False).rows.tolist() == [1, 4]


# Through the command line.


def renamed(folder: Path, file: Path) -> Path:
    """The table of the hand-made folder with tabs, and other words for its splits; its own is removed."""
    text = (folder / "metadata.csv").read_text().replace(",", "\t").replace("\ttrain\t", "\ttraining\t")
    (folder / "metadata.csv").unlink()
    file.write_text(text.replace("\tval\t", "\tdev\t"))
    return file


def test_the_same_labels_in_another_file_are_the_same_run(tmp_path: Path, threads_put_back: None):
    folder, places = make_custom(tmp_path), {"store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    done = ok(f"{CUSTOM} {SHORT}", data_dir=folder, **places).out.splitlines()[-1].removeprefix("done: ")
    copy = tmp_path / "copy of labels.csv"
    copy.write_bytes((folder / "metadata.csv").read_bytes())
    again = f"already done: {done}"
    assert ok(f"{CUSTOM} {SHORT}", data_dir=folder, metadata=copy, **places).out.splitlines() == [again]
    # The same table, with its words the other way round.
    swapped = refused(f"{CUSTOM} {SHORT} --split_values train=train,val=test,test=val", data_dir=folder, **places)
    assert "holds another run: the labels are others" in swapped
    words = {"split_values": "train=training,val=dev,test=test"}
    table = renamed(folder, tmp_path / "labels.tsv")
    assert ok(f"{CUSTOM} {SHORT}", data_dir=folder, metadata=table, **words, **places).out.splitlines() == [again]
    other = refused(
        f"{CUSTOM} {SHORT}", data_dir=folder, metadata=table, split_values="train=training+test,val=dev", **places
    )
    assert "holds another run: the labels are others" in other
    assert f"in {table}; they may need to be put back" in other
    table.unlink()
    gone = ok(f"{CUSTOM} {SHORT}", data_dir=folder, metadata=table, **words, **places).out
    assert gone == f"{again} (the labels are not in {table}, and are not compared)\n"


@pytest.mark.slow
def test_every_step_runs_on_a_table_as_it_is(tmp_path: Path, threads_put_back: None):
    folder, places = make_custom(tmp_path), {"store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    table = renamed(folder, tmp_path / "my labels.tsv")
    before = hashlib.sha256(table.read_bytes()).hexdigest(), sorted(folder.iterdir())
    own = {"data_dir": folder, "metadata": table, "split_values": "train=training,val=dev,test=test"}
    forget = f"--method ft {CUSTOM.removeprefix('--method pretrain')} --forget_groups Female:Black"
    out = ok(f"{forget} --dry_run", **own, **places).out
    assert f"reads   {table}\n" in out
    missing = refused(f"{forget} {SHORT}", **own, **places)
    ok(f"{missing.split('python main.py ')[1]} {SHORT}")
    miu = ok(f"{forget} {SHORT}", **own, **places).out.splitlines()[-1].removeprefix("done: ")
    assert json.loads((Path(miu) / "metrics.json").read_text())["n_forget"] == 6
    stored = yaml.safe_load((Path(miu) / "config.yaml").read_text())
    assert stored["inputs"]["labels"] == {table.name: before[0]}
    assert (hashlib.sha256(table.read_bytes()).hexdigest(), sorted(folder.iterdir())) == before


def test_a_table_is_named_from_where_the_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = make_custom(tmp_path)
    renamed(folder, tmp_path / "labels.tsv")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        "dataset: custom\ndata_dir: my_data\nmetadata: labels.tsv\nsplit_values: train=training,val=dev,test=test\n"
    )
    out = ok("--method pretrain --config mine.yaml --dry_run").out
    assert next(line for line in out.splitlines() if line.split()[:1] == ["all"]).split()[1:4] == ["40", "8", "8"]
    assert configuration("--method pretrain --config mine.yaml").metadata == "labels.tsv"
