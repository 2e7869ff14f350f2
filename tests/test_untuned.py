"""One line of the log says which values were made for another task, network or data set, and none where all fit."""

from pathlib import Path

import pytest
from cli import configuration, ok
from folders import make_custom

from method.configs import loading

HINT = "; python -m scripts.tune searches for better ones on validation data"
CELEBA = "--method miu --dataset celeba"
CUSTOM = "--dataset custom --data_dir faces"


@pytest.mark.parametrize(
    "command",
    [
        CELEBA,
        "--method pretrain --dataset fairface",
        "--method retrain --dataset waterbird --rob_approach dro",
        "--method iu",
        "--method ft --lr 0.02",
        "--method pretrain",
        "--method ft --dataset celeba --lr 0.1",  # chosen for it
    ],
)
def test_values_that_were_made_for_this_are_not_announced(command: str):
    assert configuration(command).notes == ()


@pytest.mark.parametrize(
    "command, note",
    [
        (
            f"{CELEBA} --model resnet50 --lr 0.02",
            "nobody tuned miu for celeba with resnet50; celeba.yaml has these for resnet18: batch_size 256, scheduler"
            f" cosine, use_train_aug False, miu_lambda_mi 10.0{HINT}",
        ),
        (
            f"{CELEBA} --split_number 1 --model resnet50",
            "nobody tuned miu for celeba split1 ratio 0.5 with resnet50; these stand at their defaults: use_train_aug"
            " True; celeba.yaml has these for resnet18: batch_size 256, lr 0.001, scheduler cosine, miu_lambda_mi 10.0"
            f"{HINT}",
        ),
        (
            "--method pretrain --model resnet18",
            "nobody tuned pretrain for digits with resnet18; digits.yaml has these for small_cnn: epochs 60, batch_size"
            " 64, weight_decay 0.003, scheduler cosine, warmup_epochs 1, select last",
        ),
        (
            f"--method pretrain {CUSTOM}",
            "nobody tuned pretrain for faces; custom.yaml has these for other data: epochs 30, lr 0.01, scheduler"
            " cosine, warmup_epochs 2",
        ),
        (
            f"--method scrub {CUSTOM} --forget_groups a:b --model small_cnn",
            "nobody tuned scrub for faces with small_cnn; custom.yaml has these for other data and resnet18: lr 0.001,"
            f" scheduler cosine, use_train_aug False{HINT}",
        ),
        (
            "--method ft --dataset waterbird",
            "nobody tuned ft for waterbird; waterbird.yaml does not speak of it, so fallback.yaml and its own defaults"
            f" count{HINT}",
        ),
    ],
)
def test_values_that_were_made_for_something_else_are_named(command: str, note: str):
    assert configuration(command).notes == (note,)


def test_a_data_set_without_a_file_of_its_own_has_those_of_fallback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "fallback.yaml").write_bytes((loading.CONFIG_FILES / "fallback.yaml").read_bytes())
    monkeypatch.setattr(loading, "CONFIG_FILES", tmp_path)
    config = configuration("--method retrain --dataset waterbird")
    assert (config.epochs, config.sources["epochs"]) == (10, "fallback.yaml")
    assert config.notes == (
        "nobody tuned retrain for waterbird; waterbird.yaml does not speak of it, so fallback.yaml and its own defaults"
        " count",
    )


def test_a_dry_run_shows_the_line(tmp_path: Path):
    folder = make_custom(tmp_path)
    out = ok("--method pretrain --dataset custom --dry_run", data_dir=folder, store_dir=tmp_path / "store").out
    assert [line for line in out.splitlines() if line.startswith("note")] == [
        "note    nobody tuned pretrain for my_data; custom.yaml has these for other data: epochs 30, lr 0.01, scheduler"
        " cosine, warmup_epochs 2"
    ]
