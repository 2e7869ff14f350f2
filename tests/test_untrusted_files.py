"""Files with a payload: refused in a sentence that names the file, wherever they are read, and nothing is run."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli import Result, error_of, ok, run
from damage import poison_npz, poison_torch, poisonous_yaml, works

from datasets.splits import load_splits
from method.evaluation.records import Records, load_losses
from method.runs.recompute import recompute
from scripts.report import command as report
from utils.errors import UserError

SMALL = "--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1 --num_workers 0"
RESNET = SMALL.replace("small_cnn", "resnet18").replace("--no-pretrained", "")
PRETRAINED, RETRAINED = "waterbird/small_cnn/pretrain_0", "waterbird/small_cnn/split0/retrain_0.5_0"


@pytest.fixture(scope="module")
def runs(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained and a retrained run; nobody may change them."""
    store = tmp_path_factory.mktemp("runs")
    for method in ("pretrain", "retrain"):
        ok(f"--method {method} {SMALL}", data_dir=data_dir, store_dir=store, checkpoint_dir=store / "none")
    return store


@pytest.fixture
def store(runs: Path, tmp_path: Path) -> Path:
    """A copy of them to poison."""
    return Path(shutil.copytree(runs, tmp_path / "store"))


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Path]:
    """What a payload would make; it must work, and nothing may have run it."""
    place = tmp_path / "trace"
    yield place
    assert not place.exists()
    assert works(place)


@pytest.fixture
def command(data_dir: Path, store: Path) -> Callable[[str], Result]:
    """Run a command on the poisoned store."""

    def command(words: str, **flags: Any) -> Result:
        return run(words, data_dir=data_dir, store_dir=store, checkpoint_dir=store / "none", **flags)

    return command


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_an_original(form: str, command: Callable, store: Path, trace: Path):
    poison_torch(store / PRETRAINED / "model.pt", trace, form)
    sentence = error_of(command(f"--method salun {SMALL}"), 2)
    # In the format of old, objects cannot be told from damage without loading them.
    told = "damaged, or no checkpoint" if form == "legacy" else "refused: it holds more than tensors"
    assert sentence.startswith(f"{store / PRETRAINED / 'model.pt'} is {told}")
    named = error_of(command(f"--method salun {SMALL}", original=store / PRETRAINED / "model.pt"), 2)
    assert named == sentence


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_initial_weights(form: str, command: Callable, tmp_path: Path, trace: Path):
    poison_torch(tmp_path / "weights.pt", trace, form)
    sentence = error_of(command(f"--method pretrain {RESNET}", weights=tmp_path / "weights.pt"), 2)
    assert sentence.startswith(f"--weights {tmp_path / 'weights.pt'}: not a file of tensors alone")


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_a_saved_state(form: str, command: Callable, store: Path, trace: Path):
    (store / PRETRAINED / "done").unlink()
    poison_torch(store / PRETRAINED / "last.pt", trace, form)
    sentence = error_of(command(f"--method pretrain {SMALL}"), 1)
    assert f"{store / PRETRAINED / 'last.pt'} is damaged, or no saved state of this run (" in sentence


@pytest.mark.parametrize("form", ["array", "bare"])
@pytest.mark.parametrize("words", ["--method salun", "--method retrain --reweight --reference PLACE"])
def test_a_references_records(words: str, form: str, command: Callable, store: Path, trace: Path):
    poison_npz(store / RETRAINED / "records.npz", trace, form)
    words = words.replace("PLACE", str(store / RETRAINED))
    sentence = error_of(command(f"{words} {SMALL}"), 2)
    assert sentence.startswith(f"cannot read the records in {store / RETRAINED / 'records.npz'} (it holds pickled obj")


@pytest.mark.parametrize("name", [PRETRAINED, RETRAINED])
def test_a_configuration_that_is_stored(name: str, command: Callable, store: Path, trace: Path):
    (store / name / "config.yaml").write_text(poisonous_yaml(trace))
    method = name.split("/")[-1].split("_")[0]
    sentence = error_of(command(f"--method {method} {SMALL}"), 2)
    assert sentence.startswith(f"{store / name / 'config.yaml'} cannot be read (")


def test_a_references_configuration(command: Callable, store: Path, trace: Path):
    (store / RETRAINED / "config.yaml").write_text(poisonous_yaml(trace))
    sentence = error_of(command(f"--method scrub {SMALL}"), 2)
    assert sentence.startswith(f"{store / RETRAINED / 'config.yaml'} cannot be read (")


@pytest.mark.parametrize("text", ["{}", "miu:\n  {}", "tasks: [{{method: miu, set: {{{}}}}}]"])
def test_a_configuration_that_is_given(text: str, command: Callable, tmp_path: Path, trace: Path):
    (tmp_path / "mine.yaml").write_text(text.format(poisonous_yaml(trace).strip()) + "\n")
    sentence = error_of(command(f"--method miu {SMALL}", config=tmp_path / "mine.yaml"), 2)
    assert sentence.startswith(f"{tmp_path / 'mine.yaml'} cannot be read as YAML: could not determine a constructor")


@pytest.mark.parametrize("form", ["array", "bare"])
@pytest.mark.parametrize("name, what", [("records.npz", "records in"), ("splits.npz", "splits")])
def test_recomputing(name: str, what: str, form: str, store: Path, trace: Path, capsys: pytest.CaptureFixture[str]):
    """The other runs are recomputed; the exit code says that one was not."""
    before = (store / RETRAINED / "metrics.json").read_bytes()
    poison_npz(store / RETRAINED / name, trace, form)
    with pytest.raises(UserError, match=f"cannot read the {what} .*{name}"):
        recompute(store / RETRAINED)
    capsys.readouterr()
    assert report.main([str(store), "--recompute"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    place = store / RETRAINED
    assert line.startswith(f"not recomputed: {place}: cannot read the {what} {place / name} (it holds pickled objects")
    assert (place / "metrics.json").read_bytes() == before


def test_recomputing_with_a_poisoned_configuration(store: Path, trace: Path):
    (store / RETRAINED / "config.yaml").write_text(poisonous_yaml(trace))
    with pytest.raises(UserError, match=r"cannot read the groups in .*config\.yaml"):
        recompute(store / RETRAINED)


@pytest.mark.parametrize("form", ["array", "bare"])
def test_the_report_goes_on_without_a_run_and_names_it(form: str, store: Path, trace: Path, capsys):
    """A pretrained model's row for a task is computed from its records and the task's splits."""
    (store / RETRAINED / "config.yaml").write_text(poisonous_yaml(trace))
    shutil.copytree(store / PRETRAINED, store / "other")
    poison_npz(store / PRETRAINED / "records.npz", trace, form)
    for words in ([], ["--out", str(store / "page.html")], ["--format", "json"]):
        assert report.main([str(store), *words]) == 0
    assert f"{store / RETRAINED}: config.yaml cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["array", "bare"])
def test_the_report_refuses_records(form: str, store: Path, trace: Path, capsys):
    poison_npz(store / PRETRAINED / "records.npz", trace, form)
    for words in ([], ["--out", str(store / "page.html")], ["--format", "json"]):
        assert report.main([str(store), *words]) == 0
    assert f"cannot read the records in {store / PRETRAINED / 'records.npz'}" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["a: !!timestamp many", "a: !!bool many", "[" * 5000, "a: !!int many", "\x00", "- 1"])
def test_yaml_that_breaks_its_reader(text: str, command: Callable, store: Path, capsys):
    (store / PRETRAINED / "config.yaml").write_text(text + "\n")
    sentence = error_of(command(f"--method pretrain {SMALL}"), 2)
    assert sentence.startswith(f"{store / PRETRAINED / 'config.yaml'} cannot be read (")
    assert report.main([str(store)]) == 0
    assert f"{store / PRETRAINED}: config.yaml cannot be read" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"cannot read the groups in .*config\.yaml"):
        recompute(store / PRETRAINED)


@pytest.mark.parametrize("damage", ["lone", "scalars", "bits"])
def test_archives_of_another_kind(damage: str, store: Path):
    """A lone array has no names, a number no length, and flipped bits make zipfile fail in ways of its own."""
    file, splits = store / RETRAINED / "records.npz", store / RETRAINED / "splits.npz"
    names = list(Records.__dataclass_fields__)
    if damage == "lone":
        with file.open("wb") as out:
            np.save(out, np.arange(3))
    elif damage == "scalars":
        np.savez(file, **dict.fromkeys(names, np.array(3)))
    if damage != "bits":
        told = "no archive of arrays" if damage == "lone" else ""
        with pytest.raises(UserError, match=rf"cannot read the records in .*records\.npz \({told}"):
            Records.load(file)
        return
    whole, generator = splits.read_bytes(), np.random.default_rng(0)
    refused = 0
    for position in generator.choice(len(whole), 400, replace=False):
        splits.write_bytes(whole[:position] + bytes([whole[position] ^ 0x21]) + whole[position + 1 :])
        try:
            load_splits(splits)
        except UserError:
            refused += 1
    assert refused > 100


def test_some_columns_of_poisoned_records(store: Path, trace: Path):
    poison_npz(store / RETRAINED / "records.npz", trace)
    with pytest.raises(UserError, match=r"records\.npz \(it holds pickled objects, which could run code\)"):
        load_losses(store / RETRAINED / "records.npz")
