"""The retrained run that others are compared with is the right one, and its numbers are checked before training."""

import json
import shutil
from pathlib import Path

import pytest
from cli import refused, written
from workshop import Workshop, metrics_of

from method.training.engine import Engine


@pytest.fixture(scope="module")
def made(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A pretrained run and three retrained ones; nobody may change them."""
    workshop = Workshop(data_dir, tmp_path_factory.mktemp("made"))
    for variant in ("pretrain", "retrain", "retrain --reweight", "retrain --rob_approach dro"):
        workshop.ok(variant)
    return workshop


@pytest.fixture
def workshop(made: Workshop, tmp_path: Path) -> Workshop:
    """A copy to change."""
    return Workshop(made.data_dir, Path(shutil.copytree(made.store, tmp_path / "store")))


def exchange(one: Path, other: Path) -> None:
    one.rename(one.with_name("third"))
    other.rename(one)
    one.with_name("third").rename(other)


@pytest.mark.parametrize(
    "variant, told",
    [
        ("salun", "its reweight is True, expected False"),
        ("l1_sparse --reweight", "its reweight is False, expected True"),
        ("miu --miu_critic_steps_first 1 --miu_critic_steps 1", "its reweight is False, expected True"),
        ("salun --reference retrain_reweight", "its reweight is False, expected True"),
    ],
)
def test_exchanged_references_are_refused(variant: str, told: str, workshop: Workshop):
    exchange(workshop.place("retrain"), workshop.place("retrain --reweight"))
    sentence = refused(workshop.command(variant), **workshop.folders())
    assert "cannot be the reference" in sentence
    assert told in sentence


def test_a_reference_found_by_search_is_not_group_dro(workshop: Workshop):
    shutil.rmtree(workshop.place("retrain"))
    workshop.place("retrain").with_name("retrain_dro_0.5_0").rename(workshop.place("retrain"))
    sentence = refused(workshop.command("salun"), **workshop.folders())
    assert "its rob_approach is dro, expected none" in sentence


def test_a_named_reference_may_be_another_kind_and_the_log_says_how(workshop: Workshop):
    named = workshop.place("retrain").with_name("retrain_dro_0.5_0")
    folder = workshop.ok("salun", reference=named)
    assert metrics_of(folder)["reference"] == named.name
    assert f"the reference {named} was trained with rob_approach dro" in (folder / "run.log").read_text()


def test_its_training_is_its_own(workshop: Workshop):
    """Retraining may need other epochs and rates than unlearning."""
    theirs = metrics_of(workshop.ok("retrain --overwrite --lr 0.02"))
    own = metrics_of(workshop.ok("salun"))
    assert own["reference"] == "retrain_0.5_0"
    assert own["gaps"]["test_acc"] == pytest.approx(abs(own["test_acc"] - theirs["test_acc"]))


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", '"high"', "9" * 400, "1e400", "[1, 2]", "{}", "true", "-1e300"], ids=lambda v: v[:8]
)
@pytest.mark.parametrize("key", ["retain_acc", "forget_group_acc", "mia", "seconds"])
def test_its_metrics_are_validated_before_training(
    key: str, value: str, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
):
    def train(self: Engine) -> None:
        raise AssertionError("trained all the same")

    file = workshop.place("retrain") / "metrics.json"
    stored = json.loads(file.read_text())
    text = json.dumps({**stored, key: "HERE"})
    file.write_text(text.replace('"HERE"', value))
    monkeypatch.setattr(Engine, "train", train)
    sentence = refused(workshop.command("salun"), **workshop.folders())
    assert str(file) in sentence
    assert "salun" not in str(written(workshop.store))
