"""Models of other programs come in, are what others start from, and models go out to where nothing of this is known."""

import csv
import hashlib
import importlib
import json
import pickle
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from cli import configuration, ok, refused, with_flags, words
from pages import snippets, typed_lines
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models import resnet18
from trees import shown
from workshop import HERE, metrics_of, weights_of

from datasets import dataset_class
from method import UserError, load_model
from method.evaluation.records import Records
from method.runs.folder import RunFolder
from method.training import checkpoints
from method.training.checkpoints import FACTS
from models import build_model
from models.importing import adopt
from models.weights import classifier_names, own_names
from scripts import export_model, import_model
from scripts.report import command as report
from scripts.sweep.grid import read_grid
from scripts.sweep.plan import plan
from scripts.sweep.state import is_done, look

Capture = pytest.CaptureFixture[str]
BIRDS = f"--dataset waterbird --model small_cnn --image_size 32 {HERE} --precision fp32 --device cpu"
CLASSES = "waterbird,landbird"  # not the order of the labels
PRETRAINED = "waterbird/small_cnn/pretrain_0"


@pytest.fixture(scope="module")
def network() -> dict[str, Tensor]:
    """A small network's state dict under its own names, outputs in the order of CLASSES."""
    model = build_model("small_cnn", 2, 17, "none")
    with torch.no_grad():  # outputs that depend on the image
        model.head.weight.mul_(30)
    return own_names(model.state_dict(), model.head_name)


@pytest.fixture(scope="module")
def prod(network: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("prod") / "prod.pth"
    torch.save(network, file)
    return file


class Shop:
    """A store, and the commands that fill it."""

    def __init__(self, data_dir: Path, store: Path) -> None:
        self.store = store
        self.folders = {"data_dir": data_dir, "store_dir": store, "checkpoint_dir": store / "none"}

    def bring(self, file: Path, flags: str = f"{BIRDS} --classes {CLASSES}", **folders: Path) -> int:
        """Import a file; the exit code."""
        return import_model.main([str(file), *words(flags, **(self.folders | folders))])

    def imported(self, *arguments: object) -> Path:
        assert self.bring(*arguments) == 0
        return self.store / PRETRAINED

    def refuses(self, capsys: Capture, file: Path, flags: str, **folders: Path) -> str:
        """The one sentence with which an import ends."""
        capsys.readouterr()
        assert self.bring(file, flags, **folders) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        return errors[0]

    def unlearn(self, flags: str) -> Path:
        return Path(ok(flags, **self.folders).out.strip().splitlines()[-1].removeprefix("done: "))


@pytest.fixture
def shop(data_dir: Path, tmp_path: Path) -> Shop:
    return Shop(data_dir, tmp_path / "store")


@pytest.fixture(scope="module")
def filled(data_dir: Path, prod: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """An imported model, and one unlearned from it; nobody may change them."""
    shop = Shop(data_dir, tmp_path_factory.mktemp("filled"))
    shop.imported(prod)
    shop.unlearn(f"--method ssd {BIRDS} --no-pretrained")
    return shop


# Import.


def test_outputs_are_read_as_the_classes_that_are_named(filled: Shop, network: dict[str, Tensor]):
    folder = filled.store / PRETRAINED
    theirs = build_model("small_cnn", 2, 0, "none")
    theirs.load_state_dict(classifier_names(network, theirs.head_name))
    model, theirs = load_model(folder), theirs.eval()
    images = torch.randn(5, 3, 32, 32)
    assert model.classes == ("landbird", "waterbird")
    with torch.no_grad():
        torch.testing.assert_close(model(images), theirs(images)[:, [1, 0]], rtol=0, atol=1e-5)


def test_the_folder_is_a_finished_pretrained_run_that_says_what_is_known(filled: Shop, prod: Path):
    folder = filled.store / PRETRAINED
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert stored["imported"].keys() == {"file", "sha256", "classes"}
    assert (stored["imported"]["file"], stored["imported"]["classes"]) == ("prod.pth", CLASSES.split(","))
    assert stored["config"]["method"] == "pretrain"
    assert stored["config"]["weights"] is None
    assert not {"lr", "epochs", "optimizer", "batch_size", "rob_approach", "select"} & stored["config"].keys()
    assert RunFolder(folder).done
    facts = torch.load(folder / "model.pt", weights_only=True)["facts"]
    assert not {"seed", "weights"} & facts.keys()
    metrics = metrics_of(folder)
    assert metrics["seconds"] is None
    assert metrics["reasons"]["seconds"] == "the model was imported"
    assert len(Records.load(folder / "records.npz")) == sum(metrics[f"n_{name}"] for name in ("train", "val", "test"))


def test_what_is_printed_lets_the_owner_see_whether_it_is_right(shop: Shop, prod: Path, capsys: Capture):
    metrics = metrics_of(shop.imported(prod))
    told = capsys.readouterr().out
    assert "0       waterbird" in told
    assert "1       landbird" in told
    everything = next(line for line in told.splitlines() if line.startswith("all ")).split()
    assert [float(cell) for cell in everything[2::2]] == [
        round(metrics[f"{name}_acc"], 2) for name in ("train", "val", "test")
    ]
    first = metrics["groups"][0]
    assert next(line for line in told.splitlines() if line.startswith(first["name"])).split()[-2] == str(
        first["n_test"]
    )
    commands = [line.split(": ", 1)[1] for line in told.splitlines() if ": python main.py" in line]
    configs = [configuration(command.removeprefix("python main.py ")) for command in commands]
    assert [config.method for config in configs] == ["miu", "retrain"]
    assert all(
        (config.model, config.image_size, config.dataset) == ("small_cnn", 32, "waterbird") for config in configs
    )
    assert "not known" in told


def test_the_same_import_again_is_done_already(shop: Shop, prod: Path, capsys: Capture):
    folder = shop.imported(prod)
    before = (folder / "metrics.json").stat().st_mtime_ns
    shop.imported(prod)
    assert "already done" in capsys.readouterr().out
    assert (folder / "metrics.json").stat().st_mtime_ns == before


def test_another_file_or_order_is_another_import(
    shop: Shop, prod: Path, network: dict, tmp_path: Path, capsys: Capture
):
    folder = shop.imported(prod)
    torch.save({name: value * 2 for name, value in network.items()}, tmp_path / "other.pth")
    sentence = shop.refuses(capsys, tmp_path / "other.pth", f"{BIRDS} --classes {CLASSES}")
    assert f"{folder} holds another run: imported is " in sentence
    assert "classes is " in shop.refuses(capsys, prod, BIRDS)
    assert shop.bring(tmp_path / "other.pth", f"{BIRDS} --classes {CLASSES} --overwrite") == 0


def test_training_never_takes_the_folder_of_an_imported_model_nor_an_import_that_of_a_trained_one(
    shop: Shop, prod: Path, capsys: Capture
):
    folder = shop.imported(prod)
    before = (folder / "model.pt").read_bytes()
    pretrain = f"--method pretrain {BIRDS} --no-pretrained --epochs 1"
    sentence = refused(pretrain, **shop.folders)
    assert f"{folder} holds a model that was imported from prod.pth; give this one a --tag, or --overwrite" in sentence
    assert (folder / "model.pt").read_bytes() == before
    ok(f"{pretrain} --tag mine", **shop.folders)
    sentence = shop.refuses(capsys, prod, f"{BIRDS} --classes {CLASSES} --tag mine")
    assert "pretrain-mine_0 holds a model that was trained here; give this one a --tag, or --overwrite" in sentence


def test_a_tagged_import_is_named_in_the_commands_that_follow(shop: Shop, prod: Path, capsys: Capture):
    assert shop.bring(prod, f"{BIRDS} --classes {CLASSES} --tag prod") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("unlearn from it: "))
    config = configuration(line.split("python main.py ")[1])
    assert (config.original, config.tag) == (str(shop.store / "waterbird/small_cnn/pretrain-prod_0"), "prod")


@pytest.mark.parametrize(
    "flags", ["--lr 0.1", "--epochs 3", "--debug", "--head new", "--rob_approach dro", "--preset reference"]
)
def test_flags_of_training_are_refused(flags: str, shop: Shop, prod: Path, capsys: Capture):
    sentence = shop.refuses(capsys, prod, f"{BIRDS} --classes {CLASSES} {flags}")
    assert (
        f"{flags.split()[0]} says how a model is trained, which nobody knows of an imported one; leave it out"
        in sentence
    )
    assert not shop.store.exists()


@pytest.mark.parametrize("form", ["wrapped", "safetensors", "half"])
def test_a_state_dict_comes_in_many_forms(form: str, network: dict[str, Tensor], shop: Shop, tmp_path: Path):
    file = tmp_path / f"prod.{form}"
    if form == "safetensors":
        save_file(network, file)
    elif form == "wrapped":
        torch.save({"model_state_dict": {f"module.{name}": value for name, value in network.items()}, "epoch": 3}, file)
    else:
        torch.save(
            {name: value.half() if value.is_floating_point() else value for name, value in network.items()}, file
        )
    weights = weights_of(shop.imported(file))
    close = {"rtol": 1e-2, "atol": 1e-3} if form == "half" else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(weights["head.bias"], network["head.bias"][[1, 0]], **close)
    torch.testing.assert_close(weights["backbone.0.weight"], network["0.weight"], **close)


def test_what_is_printed_goes_on_as_the_import_was_made(shop: Shop, network: dict, tmp_path: Path, capsys: Capture):
    """The precision that was asked for; and no ImageNet weights for a network that has none."""
    torch.save({f"_orig_mod.module.{name}": value for name, value in network.items()}, tmp_path / "compiled.pth")
    assert shop.bring(tmp_path / "compiled.pth") == 0
    told = capsys.readouterr().out
    commands = [line for line in told.splitlines() if "main.py" in line]
    assert len(commands) == 2
    assert all("--precision fp32" in line and "--no-pretrained" in line for line in commands)


def test_an_imported_model_starts_runs_of_any_seed_and_initial_weights(filled: Shop, prod: Path, tmp_path: Path):
    shop = Shop(filled.folders["data_dir"], Path(shutil.copytree(filled.store, tmp_path / "store")))
    shop.unlearn(f"--method ssd {BIRDS} --seed 3 --original {shop.store / PRETRAINED}")


def test_an_original_that_is_a_plain_state_dict_is_told_how_to_be_imported(prod: Path, network: dict, shop: Shop):
    other = prod.with_suffix(".safetensors")
    save_file(network, other)
    for file in (prod, other):
        sentence = refused(f"--method ssd {BIRDS} --no-pretrained --original '{file}'", **shop.folders)
        assert "holds a plain state dict" in sentence
        assert (
            f"python -m scripts.import_model {file} --dataset waterbird --model small_cnn --image_size 32" in sentence
        )
        assert "--no-pretrained" not in sentence


def test_a_report_shows_it_as_the_original(filled: Shop, capsys: Capture):
    capsys.readouterr()
    table = shown(filled.store, capsys, "--dataset", "waterbird")
    rows = [line.split()[0] for line in table.splitlines() if line.split()[1:2] == ["1"]]
    assert rows == ["pretrain", "ssd"]


def test_a_sweep_starts_from_it(filled: Shop, tmp_path: Path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("dataset: waterbird\nmethod: ssd\nunlearning_ratio: 0.5\n")
    flags = [*BIRDS.replace("--dataset waterbird", "").split(), "--no-pretrained"]
    flags += [word for name, value in filled.folders.items() for word in (f"--{name}", str(value))]
    needed = next(one for one in plan(read_grid(grid), flags) if one.config.method == "pretrain")
    assert needed.added
    assert look(needed).name == "done"
    assert is_done(needed)


# What does not fit, and the flag that would make it fit.


def spoiled(network: dict[str, Tensor], name: str, folder: Path) -> Path:
    """A file that fits in all but one fact."""
    file = folder / f"{name}.pth"
    model = {
        "outputs": lambda: {**network, "head.weight": torch.zeros(3, 32), "head.bias": torch.zeros(3)},
        "architecture": lambda: own_state("resnet18"),
        "unknown": lambda: {f"layer{number}.weight": value for number, value in enumerate(network.values())},
        "ours": lambda: {f"backbone.{key}": value for key, value in network.items()},
        "shape": lambda: {**network, "0.weight": torch.zeros(9, 3, 3, 3)},
    }[name]
    torch.save(model(), file)
    return file


def own_state(name: str, **options: int) -> dict[str, Tensor]:
    model = build_model(name, 2, 0, "none", **options)
    return own_names(model.state_dict(), model.head_name)


@pytest.mark.parametrize(
    "name, told",
    [
        (
            "outputs",
            "has 3 outputs, and the data has 2 classes (landbird, waterbird); --dataset says which labels are meant",
        ),
        ("architecture", "these are the names and shapes of --model resnet18"),
        ("unknown", "give the --model that was trained"),
        ("ours", "this is a model of this program, which needs no import: give it as --original"),
        ("shape", "of another shape: 0.weight; give the --model that was trained"),
    ],
)
def test_a_file_that_does_not_fit(name: str, told: str, network: dict, shop: Shop, tmp_path: Path, capsys: Capture):
    assert told in shop.refuses(capsys, spoiled(network, name, tmp_path), f"{BIRDS} --classes {CLASSES}")
    assert not shop.store.exists()


@pytest.mark.parametrize(
    "classes, told",
    [
        ("waterbird,seabird", "--classes are waterbird, seabird, and the data's are landbird, waterbird"),
        ("waterbird", "--classes are waterbird, and the data's are landbird, waterbird"),
        ("waterbird,waterbird", "a name stands there twice"),
    ],
)
def test_classes_that_are_not_the_labels(classes: str, told: str, shop: Shop, prod: Path, capsys: Capture):
    assert told in shop.refuses(capsys, prod, f"{BIRDS} --classes {classes}")


def test_files_that_are_no_state_dict(shop: Shop, tmp_path: Path, capsys: Capture):
    assert "there is no such file" in shop.refuses(capsys, tmp_path / "nowhere.pth", BIRDS)
    (tmp_path / "page.pth").write_text("<html>")
    assert "page.pth: " in shop.refuses(capsys, tmp_path / "page.pth", BIRDS)
    with pytest.raises(SystemExit):
        import_model.main([])
    assert import_model.main(["--dataset", "digits", str(tmp_path / "nowhere.pth")]) == 2
    assert "the file to import comes first" in capsys.readouterr().err


def test_a_transformer_of_another_image_size(tmp_path: Path):
    pytest.importorskip("timm")
    model = build_model("timm/test_vit", 2, 0, "none", 64)
    state = own_state("timm/test_vit", image_size=128)
    with pytest.raises(UserError, match="trained on images of another size: give --image_size 128"):
        adopt(model, state, [0, 1], tmp_path / "vit.pth", 64)


FACTS_OF_MODELS = {
    "dataset": ("waterbird", "celeba", "--dataset waterbird"),
    "model": ("resnet18", "resnet34", "--model resnet18"),
    "n_targets": (2, 9, "--dataset, or the --target that it was trained on"),
    "image_size": (32, 64, "--image_size 32"),
    "weights": ("none", "imagenet", "--no-pretrained"),
    "head": ("keep", "new", "--head keep"),
    "freeze_backbone": (False, True, "no --freeze_backbone"),
    "hidden_dim": (512, 64, "--hidden_dim 512"),
    "backbone": ("abc", "def", "--weights FILE, the same one"),
    "mean": ("0.485,0.456,0.406", "0.5", "--mean 0.485,0.456,0.406"),
    "std": ("0.229,0.224,0.225", "0.5", "--std 0.229,0.224,0.225"),
    "view": ("stretch", "centre", "--view stretch"),
    "seed": (0, 1, "--train_seed 0"),
    "leave_out": (0.1, 0.0, "--leave_out 0.1"),
    "data": (
        "1234",
        "5678",
        "--data_dir, --metadata, --split_values and columns, with the labels that it was trained on",
    ),
}


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_that_differs_is_named_with_the_flag_that_makes_it_fit(name: str, tmp_path: Path):
    theirs, ours = ({key: values[place] for key, values in FACTS_OF_MODELS.items()} for place in (0, 1))
    checkpoints.save_model(tmp_path / "model.pt", nn.Linear(1, 1), theirs, {})
    assert checkpoints.read_weights(tmp_path / "model.pt", theirs)
    with pytest.raises(UserError) as error:
        checkpoints.read_weights(tmp_path / "model.pt", {**theirs, name: ours[name]})
    assert f"its {FACTS[name][0]} is {theirs[name]!r}, this run's is {ours[name]!r}" in str(error.value)
    assert f"; give {FACTS_OF_MODELS[name][2]}" in str(error.value)


@pytest.mark.parametrize(
    "changed, flag",
    [
        ("--image_size 40", "--image_size 32"),
        ("--mean 0.4", "--mean 0.5"),
        ("--std 0.2,0.3,0.4", "--std 0.5"),
        ("--view stretch", "--view centre"),
        ("--model resnet18", "--model small_cnn"),
        ("--dataset fairface", "--dataset waterbird"),
    ],
)
def test_a_run_that_does_not_fit_an_imported_model_is_told_the_flag(changed: str, flag: str, filled: Shop):
    original = filled.store / PRETRAINED
    sentence = refused(
        with_flags(f"--method ssd {BIRDS} --no-pretrained --tag other", changed), **filled.folders, original=original
    )
    assert f"give {flag}, or a checkpoint" in sentence


def test_other_labels_are_told(filled: Shop, data_dir: Path, tmp_path: Path):
    shutil.copytree(data_dir / dataset_class("waterbird").folder, tmp_path / dataset_class("waterbird").folder)
    table = tmp_path / dataset_class("waterbird").folder / "metadata.csv"
    first, *rest = table.read_text().splitlines()
    table.write_text("\n".join([first, *rest[:-1]]) + "\n")
    sentence = refused(f"--method ssd {BIRDS} --no-pretrained --tag other", **{**filled.folders, "data_dir": tmp_path})
    assert "give --data_dir, --metadata, --split_values and columns, with the labels that it was trained on" in sentence


# Export, and models in Python.


def exported(capsys: Capture, *arguments: object) -> str:
    capsys.readouterr()
    assert export_model.main([str(one) for one in arguments]) == 0
    return capsys.readouterr().out


def unlearned(shop: Shop) -> Path:
    return shop.store / "waterbird/small_cnn/split0/ssd_0.5_0"


def test_a_loaded_model_gives_the_logits_of_its_run(filled: Shop, data_dir: Path):
    folder = unlearned(filled)
    model, records = load_model(folder), Records.load(folder / "records.npz")
    assert (model.classes, model.image_size, model.view) == (("landbird", "waterbird"), 32, "centre")
    assert not model.training
    birds = dataset_class("waterbird").load(data_dir, 0, 0)
    images = torch.stack([model.preprocess(birds.file(row)) for row in records.index])
    with torch.no_grad():
        logits = model(images)
    np.testing.assert_allclose(logits.numpy(), records.logits, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(logits.argmax(1).numpy(), records.prediction)
    with Image.open(birds.file(0)) as picture:
        torch.testing.assert_close(model.preprocess(picture), images[0], rtol=0, atol=0.1)


def test_what_is_no_finished_run_has_no_model(filled: Shop, tmp_path: Path):
    with pytest.raises(UserError, match="is no folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no run is finished there"):
        load_model(tmp_path)
    kept = Path(shutil.copytree(unlearned(filled), tmp_path / "kept"))
    (kept / "model.pt").unlink()
    (kept / "done").write_text("metrics.json\n")
    with pytest.raises(UserError, match=r"has no model\.pt: what scripts\.keep_runs keeps"):
        load_model(kept)
    (kept / "done").write_text("metrics.json\nmodel.pt\n")
    with pytest.raises(UserError, match=r"it has lost model\.pt"):
        load_model(kept)


def test_a_run_that_did_not_record_its_classes_takes_them_from_the_labels(filled: Shop, tmp_path: Path):
    old = Path(shutil.copytree(unlearned(filled), tmp_path / "old"))
    stored = yaml.safe_load((old / "config.yaml").read_text())
    del stored["groups"]["targets"]
    (old / "config.yaml").write_text(yaml.safe_dump(stored))
    assert load_model(old).classes == ("landbird", "waterbird")
    stored["fingerprints"]["data"] = "of others"
    (old / "config.yaml").write_text(yaml.safe_dump(stored))
    with pytest.raises(UserError, match="did not record its classes, and the labels in .* are others now"):
        load_model(old)


@pytest.mark.parametrize("kind, read", [("state_dict", torch.load), ("safetensors", load_file)])
def test_weights_go_out_under_the_architectures_own_names(
    kind: str, read: Callable, filled: Shop, tmp_path: Path, capsys: Capture
):
    folder, out = unlearned(filled), tmp_path / "out"
    exported(capsys, folder, "--format", kind, "--out", out)
    state, weights = read(out), weights_of(folder)
    assert set(state) == {name.removeprefix("backbone.") for name in weights}
    assert all(torch.equal(state[name.removeprefix("backbone.")], value) for name, value in weights.items())


def test_what_stands_beside_an_export_names_nobody(filled: Shop, data_dir: Path, tmp_path: Path, capsys: Capture):
    birds = dataset_class("waterbird").load(data_dir, 0, 0)
    train = np.flatnonzero(birds.split == 0)[:4]
    (tmp_path / "names.txt").write_text("\n".join(birds.paths(train)) + "\n")
    shop = Shop(data_dir, Path(shutil.copytree(filled.store, tmp_path / "store")))
    folder = shop.unlearn(f"--method ssd {BIRDS} --no-pretrained --forget_list '{tmp_path / 'names.txt'}'")
    out = tmp_path / "out.pth"
    assert str(out) in exported(capsys, folder, "--format", "state_dict", "--out", out)
    text = (tmp_path / "out.pth.json").read_text()
    beside = json.loads(text)
    assert beside["samples"]["forget"] >= 4
    assert beside["samples"]["requests"] == 4
    assert (beside["classes"], beside["image_size"], beside["view"]) == (["landbird", "waterbird"], 32, "centre")
    assert (beside["run"]["method"], beside["run"]["name"]) == ("ssd", "ssd_1_0")
    assert not any(path in text or Path(path).stem in text for path in birds.paths(train))
    assert str(tmp_path) not in text


def test_an_export_never_replaces_a_file_of_the_run_nor_a_folder(filled: Shop, tmp_path: Path, capsys: Capture):
    run, before = unlearned(filled), (unlearned(filled) / "model.pt").read_bytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "beside.pth.json").mkdir()
    for out, told in (
        (run / "model.pt", "lies in the run's own folder"),
        (tmp_path / "folder", "folder is a folder; give the name of a file"),
        (tmp_path / "beside.pth", "beside.pth.json is a folder; give the name of a file"),
    ):
        assert export_model.main([str(run), "--format", "state_dict", "--out", str(out), "--overwrite"]) == 2
        assert told in capsys.readouterr().err
    assert (run / "model.pt").read_bytes() == before
    assert not (tmp_path / "beside.pth").exists()


def test_a_loaded_model_can_be_saved_whole(filled: Shop):
    model = load_model(unlearned(filled))
    again = pickle.loads(pickle.dumps(model))
    images = torch.rand(2, 3, model.image_size, model.image_size)
    assert torch.equal(again(images), model(images))


def test_nothing_is_written_over(filled: Shop, tmp_path: Path, capsys: Capture):
    arguments = [str(unlearned(filled)), "--format", "state_dict", "--out", str(tmp_path / "out.pth")]
    (tmp_path / "out.pth.json").write_text("mine")
    assert export_model.main(arguments) == 2
    assert "out.pth.json is there already" in capsys.readouterr().err
    assert not (tmp_path / "out.pth").exists()
    assert export_model.main([*arguments, "--overwrite"]) == 0
    assert json.loads((tmp_path / "out.pth.json").read_text())["format"] == "state_dict"


def test_a_digest_is_of_the_weights_whatever_the_format(filled: Shop, tmp_path: Path, capsys: Capture):
    found = []
    for kind in ("state_dict", "safetensors"):
        exported(capsys, unlearned(filled), "--format", kind, "--out", tmp_path / kind)
        found.append(json.loads((tmp_path / f"{kind}.json").read_text()))
    assert found[0]["weights_sha256"] == found[1]["weights_sha256"]
    assert found[0]["sha256"] != found[1]["sha256"]


def test_a_program_of_torch_export_gives_the_same_logits(filled: Shop, tmp_path: Path, capsys: Capture):
    exported(capsys, unlearned(filled), "--format", "torch_export", "--out", tmp_path / "out.pt2")
    program, model = torch.export.load(tmp_path / "out.pt2").module(), load_model(unlearned(filled))
    for n in (1, 3):
        images = torch.randn(n, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(program(images), model(images), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_a_network_of_timm_comes_and_goes_as_timm_has_it(name: str, shop: Shop, tmp_path: Path, capsys: Capture):
    timm = pytest.importorskip("timm")
    size = {"img_size": 64} if "vit" in name else {}
    theirs = timm.create_model(name, num_classes=2, **size).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    flags = with_flags(BIRDS, f"--model timm/{name} --image_size 64 --mean 0.5,0.4,0.3 --std 0.2")
    assert shop.bring(tmp_path / "theirs.pth", f"{flags} --classes {CLASSES}") == 0
    folder = shop.store / f"waterbird/timm-{name}/pretrain_0"
    exported(capsys, folder, "--format", "state_dict", "--out", tmp_path / "ours.pth")
    ours, model = timm.create_model(name, num_classes=2, **size).eval(), load_model(folder)
    ours.load_state_dict(torch.load(tmp_path / "ours.pth"))
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images)[:, [1, 0]], rtol=0, atol=1e-5)
        torch.testing.assert_close(model(images), ours(images), rtol=0, atol=1e-5)
    assert (model.mean, model.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


# The engineer's day: docs/your_model.md, as it stands.

PAGE = "docs/your_model.md"
QUICK = ["--threads", "1", "--num_workers", "0", "--precision", "fp32", "--device", "cpu"]


def type_page(folder: Path, names: Path) -> Path:
    """Type every command of the page, with one epoch a run; the folder of the runs that forget what `names` lists."""
    runs = folder
    for snippet in snippets(PAGE):
        if snippet.language == "yaml":
            (folder / "pets.yaml").write_text(snippet.text)
        for line in typed_lines(snippet):
            _, *typed = shlex.split(line.replace("list-LIST", runs.name).replace("names.txt", str(names)))
            if typed[0] == "main.py":
                epochs = [] if "ssd" in typed else ["--epochs", "1"]
                folders = ok(shlex.join([*typed[1:], *epochs, *QUICK])).out.split("done: ")
                runs = Path(folders[-1].strip()).parent
            else:
                started = importlib.import_module(typed[1])
                extra = QUICK if typed[1] == "scripts.import_model" else []
                start = started.main if hasattr(started, "main") else report.main
                assert start([*typed[2:], *extra]) == 0, line
    return runs


@pytest.mark.slow
@pytest.mark.usefixtures("threads_put_back")
def test_a_checkpoint_of_torchvision_comes_in_forgets_and_goes_out_in_four_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    owner = Path(__file__).with_name("owner.py")
    subprocess.run([sys.executable, str(owner), str(tmp_path / "pets")], check=True, timeout=300)
    (tmp_path / "pets/prod.pth").rename(tmp_path / "prod.pth")
    with (tmp_path / "pets/metadata.csv").open() as file:
        table = list(csv.DictReader(file))
    forgotten = [row["Datei"] for row in table if row["Teil"] == "train"][:40]
    (tmp_path / "names.txt").write_text("\n".join(forgotten) + "\n")
    monkeypatch.chdir(tmp_path)
    runs = type_page(tmp_path, tmp_path / "names.txt")

    # The import predicts what the owner's script does, image by image.
    theirs = torch.load(tmp_path / "pets/predicted.pt", weights_only=True)
    imported = tmp_path / "output/pets/resnet18/pretrain_0"
    records, classes = Records.load(imported / "records.npz"), load_model(imported).classes
    assert [classes[code] for code in records.prediction] == theirs["predicted"]
    assert 0 < sum(guess != row["Tier Art"] for guess, row in zip(theirs["predicted"], table, strict=True)) < 20
    in_order = theirs["logits"][:, [("wolf", "cat", "dog").index(name) for name in classes]]
    np.testing.assert_allclose(records.logits, in_order.numpy(), atol=0.02)  # pictures that Pillow read and resized

    # Forty are forgotten, by every method and by retraining, and are compared with it.
    for name in ("ft_1_0", "miu_1_0", "ssd_1_0", "retrain_1_0", "retrain_reweight_1_0"):
        metrics = metrics_of(runs / name)
        assert (metrics["n_forget"], metrics["n_requests"]) == (40, 40)
        assert metrics["reference"] is not None
    assert "pretrain" in capsys.readouterr().out

    # What goes out gives the run's logits where nothing of this program is.
    model, records = load_model(runs / "miu_1_0"), Records.load(runs / "miu_1_0/records.npz")
    images = torch.stack([model.preprocess(tmp_path / "pets" / table[row]["Datei"]) for row in records.index])
    for name, read in (("forgot.pth", torch.load), ("forgot.safetensors", load_file)):
        network = resnet18(num_classes=3).eval().to(memory_format=torch.channels_last)
        network.load_state_dict(read(tmp_path / name))
        batches = images.to(memory_format=torch.channels_last).split(256)  # the run's: a last bit depends on them
        with torch.no_grad():
            assert np.array_equal(torch.cat([network(batch) for batch in batches]).numpy(), records.logits)
    program = torch.export.load(tmp_path / "forgot.pt2").module()
    with torch.no_grad():
        np.testing.assert_allclose(program(images).numpy(), records.logits, rtol=0, atol=1e-4)
    session = onnxruntime.InferenceSession(tmp_path / "forgot.onnx")
    np.testing.assert_allclose(session.run(None, {"images": images.numpy()})[0], records.logits, rtol=0, atol=1e-4)
    for name in ("forgot.pth", "forgot.safetensors", "forgot.pt2", "forgot.onnx"):
        beside = json.loads((tmp_path / f"{name}.json").read_text())
        assert beside["classes"] == ["cat", "dog", "wolf"]
        assert beside["sha256"] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
