"""The retrained run that others are compared with is the right one, and its numbers are checked before training."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from cli import refused, written
from trees import make_run, metrics
from workshop import Workshop, metrics_of

from method.evaluation.evaluator import ITSELF
from method.runs.stored import StoredRun, _tell_defaults, read_runs, reference_of
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


# The report asks the same.


def test_the_report_finds_what_the_run_found(workshop: Workshop):
    few = "--miu_critic_steps_first 1 --miu_critic_steps 1"
    for variant in ("salun", "l1_sparse --reweight", f"miu --no-reweight {few}"):
        workshop.ok(variant)
    workshop.ok("salun --reference retrain_reweight --tag b")
    runs = read_runs(workshop.store)
    found = {run.folder.name: reference_of(run, runs) for run in runs if run.method != "pretrain"}
    assert len(found) == 7
    for run in runs:
        if run.folder.name in found:
            expected = run.folder.name if run.metrics["reference"] == ITSELF else run.metrics["reference"]
            assert found[run.folder.name].folder.name == expected
    assert {name for name, own in found.items() if own.folder.name == name} == {
        "retrain_0.5_0",
        "retrain_reweight_0.5_0",
    }


@pytest.mark.parametrize(
    "section, key, value",
    [
        ("config", "model", "resnet18"), ("config", "image_size", 64), ("config", "seed", 1), ("config", "tag", "long"),
        ("config", "weights", "imagenet"), ("config", "rob_approach", "dro"), ("config", "reweight", True),
        ("config", "dataset", "celeba"), ("config", "method", "miu"), ("fingerprints", "data", "another"),
        ("fingerprints", "forget", "another"), ("groups", "forget", [1, 2]),
    ],
)  # fmt: skip
def test_a_run_that_differs_in_one_of_these_is_nobodys_reference(tmp_path: Path, section: str, key: str, value: object):
    salun, retrained = (make_run(tmp_path, method, method, metrics()) for method in ("salun", "retrain"))
    runs = {run.folder: run for run in read_runs(tmp_path)}
    assert reference_of(runs[salun], [*runs.values()]) is runs[retrained]
    stored = yaml.safe_load((retrained / "config.yaml").read_text())
    for part in {section, "identity"} if section == "config" else {section}:
        stored[part][key] = value
    (retrained / "config.yaml").write_text(yaml.safe_dump(stored))
    runs = {run.folder: run for run in read_runs(tmp_path)}
    assert reference_of(runs[salun], [*runs.values()]) is None


@pytest.mark.parametrize("path, there", [("weights/resnet.pth", True), ("weights/other.pth", False)])
def test_weights_of_an_earlier_version_are_compared_by_their_path(tmp_path: Path, path: str, there: bool):
    salun = make_run(tmp_path, "salun", "salun", metrics(), weights="weights/resnet.pth")
    retrained = make_run(tmp_path, "retrain", "retrain", metrics(), weights=path)
    stored = yaml.safe_load((salun / "config.yaml").read_text())
    stored["identity"] = {**stored["identity"], "weights": "sha256 0123456789abcdef"}
    (salun / "config.yaml").write_text(yaml.safe_dump(stored))
    runs = {run.folder: run for run in read_runs(tmp_path)}
    assert (reference_of(runs[salun], [*runs.values()]) is runs[retrained]) == there


def test_what_a_run_recorded_of_its_method_counts_before_what_others_did(tmp_path: Path):
    """A version in between may have changed the default."""
    runs = {recorded: stored_run(tmp_path, recorded) for recorded in (True, False, None)}
    told = _tell_defaults([runs[True], runs[False], runs[None]])
    assert [run.reweights_by_default for run in told] == [True, False, False]


def stored_run(folder: Path, recorded: bool | None) -> StoredRun:
    config = {"method": "x", "dataset": "digits", "model": "small_cnn", "seed": 0, "reweight": True}
    told = {"sources": {"reweight": "--reweight"}} | ({} if recorded is None else {"reweights_by_default": recorded})
    return StoredRun(folder, config, {"config": config, **told})
