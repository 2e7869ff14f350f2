"""Bad input ends in one clear sentence and a non-zero exit, and leaves nothing half-written."""

import json
import os
import pickle
import shlex
import shutil
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cli import configuration, error_of, ok, refused, run, with_flags, written
from damage import Payload

from datasets import DATASETS, dataset_class
from method.configs.cli import parse
from utils import device

README_COMMANDS = (
    "--method pretrain --dataset celeba --unlearning_ratio 0.5",
    "--method retrain --dataset waterbird --unlearning_ratio 0.1",
    "--method miu --dataset fairface --unlearning_ratio 0.9",
    "--method miu --dataset fairface --multi_group 5",
    "--method salun --dataset celeba --unlearning_ratio 0.5",
    "--method scrub --dataset celeba --unlearning_ratio 0.5",
    "--method l1_sparse --dataset celeba --unlearning_ratio 0.5",
)
LABELS = {
    "celeba": "celeba/list_attr_celeba.txt",
    "fairface": "fairface/fairface_label_train.csv",
    "waterbird": "waterbird_complete95_forest2water2/metadata.csv",
}
# Waterbirds with the small network: under a second a run.
SMALL = "--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1 --num_workers 0"


@pytest.fixture(scope="module")
def checkpoints(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a pretrained and a retrained run (ratio 0.5); nobody may change it."""
    store = tmp_path_factory.mktemp("checkpoints")
    for method in ("pretrain", "retrain"):
        ok(f"--method {method} {SMALL}", data_dir=data_dir, store_dir=store, checkpoint_dir=store / "none")
    return store


@pytest.fixture
def copy(checkpoints: Path, tmp_path: Path) -> Path:
    """A copy of those runs to damage."""
    return Path(shutil.copytree(checkpoints, tmp_path / "copy"))


@pytest.fixture
def refuse(data_dir: Path, tmp_path: Path) -> Callable[..., str]:
    """The sentence with which a command is refused; the store folder must stay as empty as it was."""
    store = tmp_path / "store"

    def refuse(command: str, **flags: Any) -> str:
        sentence = refused(command, **{"data_dir": data_dir, "store_dir": store, "checkpoint_dir": store, **flags})
        assert written(store) == []
        return sentence

    return refuse


def changed(file: Path, old: str, new: str, count: int = 1) -> None:
    """Edit a text file."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, count))


# Missing and damaged labels.


@pytest.mark.parametrize("command", README_COMMANDS)
def test_without_the_data_every_readme_command_says_what_is_missing(command: str, refuse, tmp_path: Path):
    config = configuration(command)
    folder = tmp_path / "empty" / LABELS[config.dataset].split("/")[0]
    sentence = refuse(command, data_dir=tmp_path / "empty")
    assert f"no data folder {folder}" in sentence
    assert Path(LABELS[config.dataset]).stem in sentence
    assert "--data_dir" in sentence


@pytest.mark.parametrize("dataset", LABELS)
@pytest.mark.parametrize("order", ["", "--dry_run"])
def test_missing_label_file(dataset: str, order: str, refuse, data_dir: Path, tmp_path: Path):
    shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("*.jpg"))
    (tmp_path / "data" / LABELS[dataset]).unlink()
    sentence = refuse(f"--method pretrain --dataset {dataset} {order}", data_dir=tmp_path / "data")
    assert f"no label file {tmp_path / 'data' / LABELS[dataset]}" in sentence


@pytest.mark.parametrize(
    "dataset, old, new, told",
    [
        ("waterbird", "place,", "where,", ["no column 'place'", "where"]),
        ("fairface", "race", "origin", ["no column 'race'", "origin"]),
        ("celeba", "Blond_Hair", "Fair_Hair", ["no column 'Blond_Hair'"]),
        ("waterbird", ".jpg,0,0,0,", ".jpg,2,0,0,", ["line 2", "y is '2'", "1 such row", "expected one of 0, 1"]),
        ("celeba", "000001.jpg -1", "000001.jpg", ["line 3", "40 fields, expected 41"]),
        ("fairface", ",White,", ",Martian,", ["race is 'Martian'", "1 such row", "East Asian"]),
        ("fairface", "more than 70", "70+", ["age is '70+'", "more than 70"]),
        ("fairface", ",True\n", ",perhaps\n", ["line 2", "service_test is 'perhaps'"]),
    ],
)  # fmt: skip
def test_damaged_labels(dataset: str, old: str, new: str, told: list[str], refuse, data_dir: Path, tmp_path: Path):
    shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("*.jpg"))
    file = tmp_path / "data" / LABELS[dataset]
    changed(file, old, new)
    sentence = refuse(f"--method pretrain --dataset {dataset}", data_dir=tmp_path / "data")
    for word in (str(file), *told):
        assert word in sentence


@pytest.mark.parametrize("mangled", ["03-Sep", "9-Mar"])
def test_ages_that_a_spreadsheet_program_mangled(mangled: str, refuse, data_dir: Path, tmp_path: Path):
    shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("*.jpg"))
    file = tmp_path / "data" / LABELS["fairface"]
    rows = file.read_text().splitlines()
    bad = [number for number, row in enumerate(rows, 1) if ",3-9," in row]
    changed(file, ",3-9,", f",{mangled},", count=-1)
    sentence = refuse("--method miu --dataset fairface", data_dir=tmp_path / "data")
    for word in (str(file), f"line {bad[0]}", repr(mangled), f"{len(bad)} such rows", "spreadsheet"):
        assert word in sentence


def test_missing_images_are_found_before_anything_is_written(data_dir: Path, tmp_path: Path):
    shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("*.jpg"))
    folders = {"data_dir": tmp_path / "data", "store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    sentence = refused(f"--method pretrain {SMALL}", **folders)
    assert "001.Species/Bird_0001.jpg and all others of waterbird" in sentence
    assert "not on disk" in sentence
    assert written(tmp_path / "store") == ["waterbird/verified.json"]


# Ratios and groups.


@pytest.mark.parametrize(
    "ratio, told",
    [
        ("0", "above 0"),
        ("-1", "above 0"),
        ("1.5", "at most 1"),
        ("nan", "above 0"),
        ("inf", "at most 1"),
        ("half", "a number"),
        ("50%", "a number"),
        ("0,5", "a number"),
    ],
)
@pytest.mark.parametrize("method", ["pretrain", "retrain"])
def test_ratios_that_are_none(method: str, ratio: str, told: str, refuse):
    sentence = refuse(f"--method {method} --unlearning_ratio {ratio}")
    assert "--unlearning_ratio" in sentence
    assert told in sentence


def test_ratio_that_forgets_no_sample_says_how_many_there_are(refuse):
    sentence = refuse(f"--method retrain {SMALL} --unlearning_ratio 0.05")
    for word in ("--unlearning_ratio 0.05 forgets no sample", "12 train samples", "waterbird on land", "larger ratio"):
        assert word in sentence


@pytest.mark.parametrize(
    "flags, told",
    [
        ("--dataset fairface --multi_group 3 --split_number 1", ["--multi_group 3", "--split_number 1"]),
        ("--dataset fairface --multi_group 3 --split_number 0", ["--multi_group 3", "--split_number 0"]),
        ("--dataset waterbird --multi_group 3", ["--multi_group 3", "waterbird has no multi-group task"]),
        ("--dataset digits --multi_group 3", ["--multi_group 3", "digits has no multi-group task"]),
        ("--dataset celeba --multi_group 3", ["--multi_group 3", "celeba has no multi-group task"]),
        ("--dataset fairface --multi_group 1", ["--multi_group 1", "2 to 5"]),
        ("--dataset fairface --multi_group 6", ["--multi_group 6", "2 to 5"]),
        ("--dataset fairface --split_number 5", ["--split_number 5", "0 to 4"]),
        ("--dataset waterbird --split_number 2", ["--split_number 2", "0 to 1"]),
        ("--dataset digits --split_number 1", ["--split_number 1", "expects 0"]),
        ("--dataset fairface --forget_groups 3-9", ["'3-9' is no group", "expected TARGET:SENSITIVE"]),
        ("--dataset fairface --forget_groups 3-9:Klingon", ["no sensitive 'Klingon'", "Southeast Asian", "0 to 6"]),
        ("--dataset celeba --forget_groups attractive:male", ["no target 'attractive'", "not blond, blond"]),
        ("--dataset fairface --multi_group 3 --forget_groups 0:0", ["--multi_group 3 and --forget_groups", "give one"]),
        ("--unlearning_type random --split_number 0", ["--split_number 0 and --unlearning_type random", "give one"]),
        ("--unlearning_type all", ["unlearning_type is 'all'", "group, random"]),
        ("--forget_list absent.txt", ["--forget_list absent.txt cannot be read", "No such file"]),
        ("--forget_list .", ["--forget_list . cannot be read", "folder"]),
        ("--forget_list ''", ["'', expected a path that is not empty"]),
        ("--forget_list_column file", ["--forget_list_column goes with --forget_list FILE"]),
        ("--dataset waterbird --split_number -1", ["split_number is -1"]),
        ("--model resnet99 --no-pretrained", ["model is 'resnet99'", "resnet18"]),
        ("--dataset digits --image_size 64", ["--image_size 64", "32 x 32"]),
        ("--dataset digits --image_size 4", ["image_size is 4", "at least 8"]),
        ("--dataset digits --weights imagenet", ["small_cnn has no ImageNet weights", "--no-pretrained"]),
        ("--dataset digits --weights absent.pt", ["--weights absent.pt", "no such file", "--no-pretrained"]),
        ("--dataset digits --tag a/b", ["tag"]),
        ("--dataset digits --device tpu", ["--device tpu", "expected auto, cpu, cuda"]),
        ("--dataset digits --device gpu", ["--device gpu", "expected auto, cpu, cuda"]),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(flags: str, told: list[str], refuse):
    sentence = refuse(f"--method retrain {flags}")
    for word in told:
        assert word in sentence


@pytest.mark.parametrize("there, name", [(0, "cuda"), (0, "cuda:0"), (1, "cuda:1"), (2, "cuda:7")])
def test_a_device_that_is_absent(refuse, there: int, name: str, monkeypatch: pytest.MonkeyPatch):
    """Whatever this machine has."""
    monkeypatch.setattr(device.torch.cuda, "device_count", lambda: there)
    sentence = refuse("--method pretrain --dataset digits", device=name)
    assert f"--device {name}: this machine offers {there} CUDA devices" in sentence
    assert "--device auto" in sentence


# ImageNet weights and weight files.


def test_imagenet_weights_that_cannot_be_fetched(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_network(*arguments: Any, **options: Any) -> None:
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    command = "--method pretrain --dataset waterbird --threads 1"
    sentence = error_of(run(command, data_dir=data_dir, store_dir=tmp_path / "store"), 2)
    assert written(tmp_path / "store") == []
    for word in ("resnet18-f37072fd.pth", str(tmp_path / "cache"), "--no-pretrained", "--weights FILE", "no network"):
        assert word in sentence


def test_a_malicious_weights_file_is_not_run(refuse, tmp_path: Path):
    trace, file = tmp_path / "trace", tmp_path / "weights.pt"
    torch.save({"conv1.weight": Payload(trace)}, file)
    assert "never loaded" in refuse("--method pretrain --dataset digits", weights=file)
    assert not trace.exists()


def test_weights_of_another_network(refuse, tmp_path: Path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "weights.pt")
    sentence = refuse("--method pretrain --dataset digits", weights=tmp_path / "weights.pt")
    assert "not the weights of this --model" in sentence


# The pretrained model.


def command_in(sentence: str) -> list[str]:
    """The arguments of the command that a sentence ends with."""
    return shlex.split(sentence.split("python main.py ")[1])


@pytest.mark.parametrize("dataset", [name for name in DATASETS if dataset_class(name).forget_pairs])
@pytest.mark.parametrize("method", ["miu", "salun", "scrub", "l1_sparse"])
def test_without_a_pretrained_model_the_command_that_makes_it_is_printed(
    dataset: str, method: str, refuse, data_dir: Path, tmp_path: Path
):
    sentence = refuse(f"--method {method} --dataset {dataset} --seed 3 --unlearning_ratio 0.9")
    assert f"{method} starts from a pretrained model" in sentence
    arguments = command_in(sentence)
    pretrain = parse(arguments).config
    assert (pretrain.method, pretrain.dataset, pretrain.seed) == ("pretrain", dataset, 3)
    assert (pretrain.data_dir, pretrain.store_dir) == (str(data_dir), str(tmp_path / "store"))


def test_the_printed_command_makes_the_model(data_dir: Path, tmp_path: Path):
    """Every flag that the model must share is in it, wherever it was given; what it need not share is not."""
    (tmp_path / "mine.yaml").write_text("image_size: 32\nmodel: small_cnn\nepochs: 1\nseed: 4\nthreads: 1\n")
    folders = {"data_dir": data_dir, "store_dir": tmp_path / "a store", "checkpoint_dir": tmp_path / "none"}
    command = (
        "--method l1_sparse --dataset waterbird --no-pretrained --num_workers 0 --tag mine --reweight --l1_penalty 0"
    )
    sentence = refused(command, config=tmp_path / "mine.yaml", **folders)
    arguments = command_in(sentence)
    for flag in ("--tag", "--reweight", "--l1_sparse_penalty", "--unlearning_ratio"):
        assert flag not in arguments
    assert "--no-pretrained" in arguments
    ok(shlex.join(arguments) + " --epochs 1 --threads 1 --num_workers 0")
    ok(command, config=tmp_path / "mine.yaml", **folders)
    log = next((tmp_path / "a store").rglob("l1_sparse*/run.log")).read_text()
    assert "make it with: python main.py --method retrain" in log
    retrain = parse(command_in(log.strip())).config
    assert (retrain.method, retrain.reweight, retrain.image_size, retrain.seed) == ("retrain", True, 32, 4)


def test_celebas_other_target_needs_its_own_pretrained_model(refuse):
    sentence = refuse("--method scrub --dataset celeba --split_number 1 --no-pretrained --image_size 32")
    assert "celeba/resnet18/split1/pretrain_0" in sentence
    assert command_in(sentence)[4:] == [
        "--split_number", "1", "--image_size", "32", "--no-pretrained", *command_in(sentence)[9:]
    ]  # fmt: skip
    assert parse(command_in(sentence)).config.split_number == 1


@pytest.mark.parametrize(
    "fact, wrong, told",
    [
        ("model", "resnet18", ["architecture is 'resnet18'", "'small_cnn'"]),
        ("n_targets", 9, ["number of classes is 9", "is 2"]),
        ("image_size", 64, ["image size is 64", "is 32"]),
        ("seed", 5, ["seed is 5", "is 0"]),
        ("weights", "imagenet", ["initial weights is 'imagenet'", "'none'"]),
        ("dataset", "celeba", ["data set is 'celeba'", "'waterbird'"]),
        ("data", "0" * 64, ["data fingerprint is '000", "this run's is"]),
        ("method", "miu", ["method is 'miu'", "'pretrain'"]),
    ],
)
def test_a_checkpoint_that_does_not_fit(fact: str, wrong: object, told: list[str], copy: Path, refuse):
    file = copy / "waterbird/small_cnn/pretrain_0/model.pt"
    stored = torch.load(file, weights_only=True)
    assert stored["facts"][fact] != wrong
    stored["facts"][fact] = wrong
    torch.save(stored, file)
    sentence = refuse(f"--method salun {SMALL}", checkpoint_dir=copy)
    for word in (str(file), *told):
        assert word in sentence


@pytest.mark.parametrize(
    "flags, told",
    [("--image_size 40", "image size is 32"), ("--seed 1", "seed is 0"), ("--model resnet18", "architecture")],
)
def test_an_original_that_is_named_must_fit_too(flags: str, told: str, checkpoints: Path, refuse):
    original = checkpoints / "waterbird/small_cnn/pretrain_0"
    sentence = refuse(f"--method scrub {with_flags(SMALL, flags)}", original=original)
    assert told in sentence
    assert "does not fit" in sentence


def test_a_pretrained_model_of_other_data(copy: Path, refuse, data_dir: Path, tmp_path: Path):
    """One label changed: the fingerprint shows it, and both are named."""
    shutil.copytree(
        data_dir / "waterbird_complete95_forest2water2", tmp_path / "data/waterbird_complete95_forest2water2"
    )
    changed(tmp_path / "data" / LABELS["waterbird"], ".jpg,0,0,0,", ".jpg,1,0,0,")
    sentence = refuse(f"--method salun {SMALL}", checkpoint_dir=copy, data_dir=tmp_path / "data")
    ours = torch.load(copy / "waterbird/small_cnn/pretrain_0/model.pt", weights_only=True)["facts"]["data"]
    assert "data fingerprint" in sentence
    assert repr(ours) in sentence


def test_a_retrained_model_is_no_original(checkpoints: Path, refuse):
    retrained = checkpoints / "waterbird/small_cnn/split0/retrain_0.5_0"
    assert "method is 'retrain'" in refuse(f"--method salun {SMALL}", original=retrained)


def test_an_original_that_is_not_there(refuse, tmp_path: Path):
    for place in (tmp_path / "absent", tmp_path):
        assert f"--original {place}: no model.pt there" in refuse(f"--method salun {SMALL}", original=place)


def test_a_checkpoint_whose_weights_are_another_networks(copy: Path, refuse):
    """The facts say one thing, the tensors another: strict loading notices."""
    file = copy / "waterbird/small_cnn/pretrain_0/model.pt"
    stored = torch.load(file, weights_only=True)
    name = next(iter(stored["model"]))
    for weights, told in (
        ({key: value for key, value in stored["model"].items() if key != name}, "Missing key"),
        ({**stored["model"], "extra": torch.zeros(1)}, "Unexpected key"),
        ({**stored["model"], name: torch.zeros(1)}, "size mismatch"),
    ):
        torch.save({**stored, "model": weights}, file)
        sentence = refuse(f"--method salun {SMALL}", checkpoint_dir=copy)
        assert "holds another network" in sentence
        assert told in sentence


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "text", "plain", "tensor", "list"])
def test_a_damaged_checkpoint(damage: str, copy: Path, refuse):
    file = copy / "waterbird/small_cnn/pretrain_0/model.pt"
    whole = file.read_bytes()
    weights = torch.load(file, weights_only=True)["model"]
    if damage == "plain":
        torch.save(weights, file)
    elif damage == "tensor":
        torch.save(torch.zeros(3), file)
    elif damage == "list":
        torch.save({"model": [1, 2], "facts": "nothing"}, file)
    else:
        texts = {"cut": whole[: len(whole) // 2], "empty": b"", "noise": bytes(range(256)) * 40, "text": b"hello\n"}
        file.write_bytes(texts[damage])
    sentence = refuse(f"--method salun {SMALL}", checkpoint_dir=copy)
    assert str(file) in sentence


def test_a_malicious_checkpoint_is_not_run(copy: Path, refuse, tmp_path: Path):
    file, trace = copy / "waterbird/small_cnn/pretrain_0/model.pt", tmp_path / "trace"
    stored = torch.load(file, weights_only=True)
    torch.save({**stored, "facts": {**stored["facts"], "more": Payload(trace)}}, file)
    assert f"{file} is refused" in refuse(f"--method salun {SMALL}", checkpoint_dir=copy)
    file.write_bytes(pickle.dumps({"model": Payload(trace)}))
    assert str(file) in refuse(f"--method salun {SMALL}", checkpoint_dir=copy)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists(), "the payload itself must work, or the test shows nothing"


# The retrained reference.


def test_a_reference_that_forgot_other_samples(copy: Path, refuse):
    folder = copy / "waterbird/small_cnn/split0"
    shutil.copytree(folder / "retrain_0.5_0", folder / "retrain_0.9_0")
    sentence = refuse(f"--method scrub {SMALL} --unlearning_ratio 0.9", checkpoint_dir=copy)
    assert str(folder / "retrain_0.9_0") in sentence
    assert "forget fingerprint" in sentence


@pytest.mark.parametrize(
    "flags, told",
    [
        ("--image_size 40", ["image_size is 32", "expected 40"]),
        ("--seed 1", ["forget fingerprint"]),
        ("--split_number 1", ["forget fingerprint"]),
        ("--model resnet18", ["model is small_cnn", "expected resnet18"]),
    ],
)
def test_a_reference_of_another_kind(flags: str, told: list[str], checkpoints: Path, refuse):
    reference = checkpoints / "waterbird/small_cnn/split0/retrain_0.5_0"
    sentence = refuse(f"--method retrain --reweight {with_flags(SMALL, flags)}", reference=reference)
    assert str(reference) in sentence
    for word in told:
        assert word in sentence


def test_a_reference_must_be_a_finished_retrain_run(copy: Path, refuse, tmp_path: Path):
    command = f"--method retrain --reweight {SMALL}"
    assert f"--reference {tmp_path / 'absent'}" in refuse(command, reference=tmp_path / "absent")
    assert "pretrain" in refuse(command, reference=copy / "waterbird/small_cnn/pretrain_0")
    retrained = copy / "waterbird/small_cnn/split0/retrain_0.5_0"
    (retrained / "done").unlink()
    assert "no finished run" in refuse(command, reference=retrained)


# Folders.


def test_a_folder_with_another_run_names_what_differs(copy: Path, data_dir: Path):
    before = {name: (copy / name).read_bytes() for name in written(copy)}
    folders = {"data_dir": data_dir, "store_dir": copy, "checkpoint_dir": copy / "none"}
    sentence = refused(f"--method pretrain {SMALL} --lr 0.5 --momentum 0.25 --batch_size 20", **folders)
    for word in ("lr is 0.01 there and 0.5 here", "momentum is 0.9 there and 0.25 here", "batch_size", "--tag"):
        assert word in sentence
    assert "--overwrite" in sentence
    assert "weight_decay" not in sentence
    assert {name: (copy / name).read_bytes() for name in written(copy)} == before


def test_a_folder_that_is_no_run(data_dir: Path, tmp_path: Path):
    place = tmp_path / "store/waterbird/small_cnn/pretrain_0"
    place.mkdir(parents=True)
    (place / "holiday.jpg").touch()
    folders = {"data_dir": data_dir, "store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    sentence = refused(f"--method pretrain {SMALL}", **folders)
    assert f"{place} has files but no config.yaml" in sentence
    assert written(place) == ["holiday.jpg"]


@pytest.mark.parametrize("text", ["a: [", "just words", "config: {}", ""])
def test_a_run_whose_config_is_damaged(text: str, copy: Path, data_dir: Path):
    file = copy / "waterbird/small_cnn/pretrain_0/config.yaml"
    file.write_text(text)
    folders = {"data_dir": data_dir, "store_dir": copy, "checkpoint_dir": copy / "none"}
    sentence = refused(f"--method pretrain {SMALL}", **folders)
    assert f"{file} cannot be read" in sentence
    assert "--overwrite" in sentence


@pytest.mark.parametrize("flags", ["", "--overwrite"])
def test_a_file_where_the_runs_folder_should_be(flags: str, data_dir: Path, tmp_path: Path):
    place = tmp_path / "digits/small_cnn/pretrain_0"
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    sentence = refused(f"--method pretrain --epochs 1 {flags}", data_dir=data_dir, store_dir=tmp_path)
    assert sentence.startswith(str(place))
    assert place.read_text() == "mine"


def test_a_folder_that_cannot_be_written_to(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Permissions do not bind an administrator, so the answer of the system is given for it."""
    place = tmp_path / "digits/small_cnn/pretrain_0"
    place.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == place and mode & os.W_OK))
    sentence = refused("--method pretrain --epochs 1", data_dir=data_dir, store_dir=tmp_path)
    assert sentence == f"{place} cannot be written to; change its permissions or choose another --store_dir"


@pytest.mark.parametrize("text", ['{"test_acc": 5', "[1]"])
def test_a_reference_whose_metrics_are_damaged(text: str, copy: Path, refuse):
    reference = copy / "waterbird/small_cnn/split0/retrain_0.5_0"
    (reference / "metrics.json").write_text(text)
    sentence = refuse(f"--method scrub {SMALL}", checkpoint_dir=copy)
    assert f"{reference / 'metrics.json'} of the retrained run cannot be read" in sentence
    assert "--overwrite" in sentence


def test_one_image_is_no_batch_where_features_shrink_to_a_pixel(data_dir: Path, tmp_path: Path):
    folders = {"data_dir": data_dir, "store_dir": tmp_path}
    command = "--dataset waterbird --model resnet18 --image_size 32 --no-pretrained --epochs 1 --batch_size 1"
    sentence = error_of(run(f"--method pretrain {command}", **folders), 1)
    assert "has a batch of one image, on which batch norm cannot train at this --image_size" in sentence


def test_a_store_folder_that_cannot_be_made(data_dir: Path, tmp_path: Path):
    store = tmp_path / "store"
    store.write_text("a file, not a folder")
    sentence = refused(f"--method pretrain {SMALL}", data_dir=data_dir, store_dir=store)
    assert f"{store}/waterbird/small_cnn/pretrain_0 cannot be made" in sentence
    assert "--store_dir" in sentence
    assert written(tmp_path) == ["store"]


# A run that started and failed.


def test_a_loss_that_is_not_finite_fails_the_run(data_dir: Path, tmp_path: Path):
    folders = {"data_dir": data_dir, "store_dir": tmp_path, "checkpoint_dir": tmp_path / "none"}
    result = run(f"--method pretrain {with_flags(SMALL, '--epochs 3')} --lr 1e30 --warmup_epochs 0", **folders)
    sentence = error_of(result, 1)
    folder = tmp_path / "waterbird/small_cnn/pretrain_0"
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "failed"
    assert "loss of phase train is not finite" in status["reason"]
    assert sentence == f"{folder} failed: {status['reason']}"
    assert set(written(folder)) <= {"config.yaml", "splits.npz", "status.json", "run.log", "history.csv", "last.pt"}
    assert result.out == ""


def test_without_the_check_a_damaged_image_fails_the_run_and_is_named(data_dir: Path, tmp_path: Path):
    shutil.copytree(
        data_dir / "waterbird_complete95_forest2water2", tmp_path / "data/waterbird_complete95_forest2water2"
    )
    image = tmp_path / "data/waterbird_complete95_forest2water2/007.Species/Bird_0007.jpg"
    intact = image.read_bytes()
    image.write_bytes(intact[:100])
    folders = {"data_dir": tmp_path / "data", "store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    sentence = error_of(run(f"--method pretrain --no-verify_data {SMALL}", **folders), 1)
    assert f"cannot read image {image}" in sentence
    folder = tmp_path / "store/waterbird/small_cnn/pretrain_0"
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"
    assert not (folder / "done").exists()
    image.write_bytes(intact)
    ok(f"--method pretrain {SMALL}", **folders)
    assert json.loads((folder / "status.json").read_text()) == {"state": "done", "reason": None}
    assert (folder / "done").exists()
