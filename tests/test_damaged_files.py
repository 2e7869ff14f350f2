"""Labels without a needed set, and files that are damaged or something else: one sentence that says what to do."""

import csv
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from cli import error_of, ok, refused, run, written
from folders import make_waterbird

from method.training.checkpoints import load_weights, read_weights
from utils.errors import UserError

SMALL = "--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1 --num_workers 0"
PRETRAINED = "waterbird/small_cnn/pretrain_0"
SPLIT_CODES = {"train": "0", "val": "1", "test": "2"}
PAGE = b"<!DOCTYPE html>\n<html><body>404: no such file</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0\nsize 44700000\n"


@pytest.fixture(scope="module")
def checkpoints(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a pretrained run; nobody may change it."""
    store = tmp_path_factory.mktemp("checkpoints")
    ok(f"--method pretrain {SMALL}", **folders(data_dir, store))
    return store


@pytest.fixture
def copy(checkpoints: Path, tmp_path: Path) -> Path:
    """A copy of that run to damage."""
    return Path(shutil.copytree(checkpoints, tmp_path / "copy"))


def folders(data_dir: Path, store: Path) -> dict[str, Path]:
    """The flags that keep a command away from every other folder."""
    return {"data_dir": data_dir, "store_dir": store, "checkpoint_dir": store / "none"}


def saved(content: Any, file: Path) -> bytes:
    """What torch.save writes."""
    torch.save(content, file)
    return file.read_bytes()


# Labels that leave a set empty.


def relabel(data_dir: Path, keep: Any) -> None:
    """Waterbirds in `data_dir`, only the rows for which `keep` is true."""
    labels = make_waterbird(data_dir) / "metadata.csv"
    with labels.open(newline="") as file:
        header, *rows = csv.reader(file)
    rows = [row for row in rows if keep(dict(zip(header, row, strict=True)))]
    with labels.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.mark.parametrize("method", ["pretrain", "retrain"])
@pytest.mark.parametrize("name, n_rows", [("train", 32), ("val", 76)])
def test_labels_without_train_or_val_rows(name: str, n_rows: int, method: str, tmp_path: Path):
    relabel(tmp_path / "data", lambda row: row["split"] != SPLIT_CODES[name])
    sentence = refused(f"--method {method} {SMALL}", **folders(tmp_path / "data", tmp_path / "store"))
    for word in (f"the {name} set of waterbird is empty", f"none of {n_rows} rows", "give labels"):
        assert word in sentence
    assert written(tmp_path / "store") == []


def test_forgetting_all_of_train_asks_for_a_smaller_ratio(tmp_path: Path):
    """Train holds nothing but the forget group, waterbirds on land."""
    relabel(tmp_path / "data", lambda row: row["split"] != "0" or (row["y"], row["place"]) == ("1", "0"))
    flags = folders(tmp_path / "data", tmp_path / "store")
    sentence = refused(f"--method retrain {SMALL} --unlearning_ratio 1", **flags)
    for word in ("--unlearning_ratio 1", "all 12 train samples of waterbird", "retain set is empty", "smaller ratio"):
        assert word in sentence
    assert written(tmp_path / "store") == []


def test_an_empty_test_set_leaves_its_metrics_null_with_reasons(tmp_path: Path):
    relabel(tmp_path / "data", lambda row: row["split"] != "2")
    ok(f"--method retrain {SMALL}", **folders(tmp_path / "data", tmp_path / "store"))
    metrics = json.loads(next((tmp_path / "store").rglob("metrics.json")).read_text())
    assert (metrics["n_test"], metrics["test_acc"]) == (0, None)
    assert metrics["reasons"]["test_acc"]
    assert metrics["retain_acc"] is not None


# model.pt.


@pytest.mark.parametrize(
    "content", [PAGE, POINTER, b"", b"hello\n", b"."], ids=["page", "pointer", "empty", "text", "."]
)
def test_a_pretrained_model_that_is_another_file(content: bytes, copy: Path, data_dir: Path, tmp_path: Path):
    file = copy / PRETRAINED / "model.pt"
    file.write_bytes(content)
    sentence = refused(f"--method salun {SMALL}", **folders(data_dir, tmp_path / "store") | {"checkpoint_dir": copy})
    assert sentence.startswith(f"{file} is damaged, or no checkpoint of this program (")
    assert "make it again, or put an intact copy there" in sentence
    assert "code" not in sentence


@pytest.mark.parametrize(
    "content", [[1, 2], {"model": {}}, {"model": [1], "facts": {}}, {"model": {3: 4}, "facts": {}}]
)
def test_a_torch_file_that_is_no_pretrained_model(content: Any, tmp_path: Path):
    saved(content, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"model\.pt is damaged, or no checkpoint of this program"):
        read_weights(tmp_path / "model.pt", {})


@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:Defining your")
def test_whatever_bits_flip_a_model_is_loaded_or_refused_in_a_sentence(tmp_path: Path):
    """Every byte in turn: names, shapes, values, the archive's directory. No damage is said to be code."""
    network, file = torch.nn.Linear(2, 1), tmp_path / "model.pt"
    whole = saved({"model": network.state_dict(), "facts": {"seed": 0}}, file)
    sentences = []
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0x04]) + whole[position + 1 :])
        try:
            load_weights(network, read_weights(file, {"seed": 0}), file)
        except UserError as error:
            sentences.append(str(error))
    assert len(sentences) > 100
    assert not [sentence for sentence in sentences if "could run code" in sentence]


@pytest.mark.parametrize("form", ["zip", "pickle"])
def test_a_whole_file_with_more_than_tensors_says_so(form: str, tmp_path: Path):
    file, content = tmp_path / "model.pt", {"model": {}, "facts": {"folder": Path("here")}}
    if form == "zip":
        saved(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"model\.pt is refused: it holds more than tensors .* make it again"):
        read_weights(file, {})


# last.pt.


@pytest.mark.parametrize(
    "content",
    [b"some notes\n", PAGE, POINTER, {"epoch": 3}, [1, 2], {"history": [], "seconds": 0.0, "modules": {}}, Path("a")],
    ids=["text", "page", "pointer", "keys", "list", "modules", "object"],
)
def test_a_saved_state_that_is_none(content: Any, copy: Path, data_dir: Path, tmp_path: Path):
    """The run is half finished: its folder holds last.pt and is not done."""
    place = copy / PRETRAINED
    (place / "done").unlink()
    (place / "last.pt").write_bytes(content if isinstance(content, bytes) else saved(content, tmp_path / "content"))
    sentence = error_of(run(f"--method pretrain {SMALL}", **folders(data_dir, copy)), 1)
    assert f"{place / 'last.pt'} is damaged, or no saved state of this run (" in sentence
    assert sentence.endswith("--overwrite starts the run anew")
    assert "weights_only" not in sentence
    ok(f"--method pretrain {SMALL} --overwrite", **folders(data_dir, copy))
    assert (place / "done").exists()


def test_a_device_without_memory_is_not_taken_for_a_damaged_state(
    copy: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    """To say --overwrite would throw away a good state."""

    def full(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    (copy / PRETRAINED / "done").unlink()
    (copy / PRETRAINED / "last.pt").write_bytes(b"any")
    monkeypatch.setattr(torch, "load", full)
    sentence = error_of(run(f"--method pretrain {SMALL}", **folders(data_dir, copy)), 1)
    assert "out of memory" in sentence
    assert "--overwrite" not in sentence


# --config.


@pytest.mark.parametrize(
    "text, told",
    [
        ("lr: 0.1\nd: 2020-13-45\n", ["cannot be read as YAML", "'2020-13-45'", "line 2"]),
        ("epochs: !!int many\n", ["cannot be read as YAML", "'many'", "line 1"]),
        ("epochs: !!timestamp many\n", ["cannot be read as YAML", "'many'"]),
        ("epochs: !!bool many\n", ["cannot be read as YAML", "'many'"]),
        ("a: " + "[" * 5000 + "]" * 5000, ["cannot be read as YAML"]),
        ("tasks: [{method: miu, set: {lr: 0.1}, 3: 1, speed: 2}]\n", ["tasks[0]", "unknown 3", "an entry has method"]),
        ("tasks: [{method: miu, set: {lr: 0.1}, ~: 1, 2020-12-01: 2, x: 3}]\n", ["tasks[0]", "unknown"]),
    ],
    ids=["date", "int", "timestamp", "bool", "deep", "mixed", "nothing"],
)
def test_configuration_files_with_strange_values_and_keys(text: str, told: list[str], tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(text)
    sentence = refused("--method miu", config=tmp_path / "mine.yaml")
    assert "mine.yaml" in sentence
    for word in told:
        assert word in sentence
