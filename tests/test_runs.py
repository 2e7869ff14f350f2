"""Whole runs from the command line: what they leave behind, that they can be repeated, continued and found again."""

import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from cli import ROOT, configuration, error_of, ok, python_apart, refused, run_apart, with_flags, words, written
from folders import make_celeba
from workshop import (
    ANYWHERE,
    FILES,
    PARTS,
    SHORT,
    SMALL,
    VARIANTS,
    Workshop,
    assert_same_run,
    history_of,
    interruptions,
    metrics_of,
    weights_of,
)

from datasets.splits import load_splits
from method.registry import METHODS
from method.runs.folder import folder_of
from method.runs.recompute import recompute
from method.training.engine import Engine
from utils import sealed
from utils.device import choose_device, describe_device
from utils.tensors import save_sealed


def every_method(workshop: Workshop) -> Workshop:
    """Every method, run once to the end."""
    for variant in VARIANTS:
        assert workshop.ok(variant) == workshop.place(variant)
    return workshop


@pytest.fixture(scope="module")
def finished(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Every method on the CPU; nobody may change it."""
    return every_method(Workshop(data_dir, tmp_path_factory.mktemp("finished")))


@pytest.fixture(scope="module")
def anywhere(finished: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Every method on the device that a run takes by itself here; nobody may change it."""
    if default_device() == "cpu":
        return finished
    return every_method(Workshop(finished.data_dir, tmp_path_factory.mktemp("anywhere"), ANYWHERE))


def default_device() -> str:
    """What a run without --device says of its device."""
    return describe_device(choose_device("auto"))


@pytest.fixture
def workshop(data_dir: Path, tmp_path: Path) -> Workshop:
    """An empty store."""
    return Workshop(data_dir, tmp_path / "store")


# What a run leaves behind.


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_of_a_finished_run(variant: str, anywhere: Workshop):
    folder = anywhere.place(variant)
    more = {"records_without_rewind.npz"} if "rewind" in variant else set()
    assert set(written(folder)) == FILES | more
    assert json.loads((folder / "status.json").read_text()) == {"state": "done", "reason": None}
    listed = (folder / "done").read_text().splitlines()
    assert listed == sorted({"metrics.json", "model.pt", "records.npz", "splits.npz"} | more)
    assert [row["epoch"] for row in history_of(folder)] == ["0", "1", "2"]
    assert "starting" in (folder / "run.log").read_text()


@pytest.mark.parametrize("variant", VARIANTS)
def test_config_yaml_says_what_was_run_and_from_where(variant: str, anywhere: Workshop):
    stored = yaml.safe_load((anywhere.place(variant) / "config.yaml").read_text())
    config = configuration(f"--method {variant} {anywhere.settings}", **anywhere.folders())
    assert stored["config"] == dict(config.values)
    assert stored["sources"] == dict(config.sources)
    assert stored["sources"]["epochs"] == "--epochs"
    assert stored["identity"] == config.identity()
    assert stored["task"] == "split0"
    provenance = stored["provenance"]
    assert (provenance["device"], provenance["threads"]) == (default_device(), 1)
    assert provenance["torch"] == str(torch.__version__)
    assert provenance["precision"] in ("float32", "bfloat16")
    assert {"python", "numpy", "commit", "dirty"} <= set(provenance)
    assert stored["groups"]["names"][2] == "waterbird on land"
    pretrain = variant == "pretrain"
    assert stored["groups"]["forget"] == ([] if pretrain else [2])
    splits = load_splits(anywhere.place(variant) / "splits.npz")
    assert stored["fingerprints"] == {"data": splits.data_fingerprint, "forget": splits.forget_fingerprint}
    assert (stored["fingerprints"]["forget"] is None) == pretrain
    assert (len(splits.train), len(splits.forget)) == (60, 0 if pretrain else 6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_metrics_hold_no_nan_and_no_paths(variant: str, anywhere: Workshop):
    folder = anywhere.place(variant)
    metrics = metrics_of(folder)
    text = json.dumps(metrics)
    for forbidden in (str(anywhere.store), str(anywhere.data_dir), "/", "\\\\"):
        assert forbidden not in text
    if variant == "pretrain":
        assert not {"retain_acc", "forget_acc", "mia", "tow", "avg_gap"} & set(metrics)
        assert 0 <= metrics["train_acc"] <= 100
        return
    for name in (*PARTS, "tow", "avg_gap"):
        assert name in metrics
        assert 0 <= metrics[name] <= 100 if metrics[name] is not None else metrics["reasons"][name]


@pytest.mark.parametrize("variant", VARIANTS)
def test_metrics_can_be_computed_again_from_the_saved_files(variant: str, anywhere: Workshop):
    folder = anywhere.place(variant)
    stored = metrics_of(folder)
    name = stored.get("reference")
    reference = folder if name == "itself" else folder.parent / name if name else None
    assert json.loads(json.dumps(recompute(folder, reference))) == stored


def test_both_rows_of_a_rewound_scrub(anywhere: Workshop):
    metrics = metrics_of(anywhere.place("scrub --scrub_rewind"))
    assert metrics["rewind_epoch"] in (-1, 0, 1, 2)
    assert set(PARTS) <= set(metrics["without_rewind"])


def test_references_are_the_reweighted_retrain_run_where_that_is_the_gold_standard(finished: Workshop):
    references = {
        variant.split()[0] + variant.count("--reweight") * "+": finished.place(variant) for variant in VARIANTS
    }
    named = {name: metrics_of(folder).get("reference") for name, folder in references.items()}
    assert named == {
        "pretrain": None, "retrain": "itself", "retrain+": "itself", "miu": "retrain_reweight_0.5_0",
        "salun": "retrain_0.5_0", "scrub": "retrain_0.5_0", "l1_sparse+": "retrain_reweight_0.5_0",
    }  # fmt: skip
    itself = metrics_of(finished.place("retrain"))
    assert (itself["tow"], itself["avg_gap"]) == (100.0, 0.0)


def test_the_gap_is_to_the_numbers_that_the_reference_wrote(finished: Workshop, tmp_path: Path):
    """Read from its metrics.json, never computed again; and a reference in the checkpoint folder goes first."""
    checkpoints = tmp_path / "checkpoints"
    for variant in ("pretrain", "retrain"):
        shutil.copytree(finished.place(variant), checkpoints / "waterbird/small_cnn" / VARIANTS[variant])
    file = checkpoints / "waterbird/small_cnn/split0/retrain_0.5_0/metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **dict.fromkeys(PARTS, 40.0)}))
    store = Path(shutil.copytree(finished.store, tmp_path / "store"))
    shutil.rmtree(store / "waterbird/small_cnn/split0/salun_0.5_0")
    metrics = metrics_of(Workshop(finished.data_dir, store).ok("salun", checkpoint_dir=checkpoints))
    own = metrics_of(finished.place("salun"))
    assert [metrics[name] for name in PARTS] == [own[name] for name in PARTS]
    assert metrics["avg_gap"] == pytest.approx(np.mean([abs(own[name] - 40) for name in PARTS]), abs=1e-12)
    parts = [1 - abs(own[name] - 40) / 100 for name in PARTS[:3]]
    assert metrics["tow"] == pytest.approx(100 * math.prod(parts), abs=1e-12)


def test_without_a_reference_the_log_says_how_to_get_it(finished: Workshop, tmp_path: Path):
    workshop = Workshop(finished.data_dir, tmp_path)
    folder = workshop.ok("l1_sparse", original=finished.place("pretrain"))
    metrics = metrics_of(folder)
    assert (metrics["tow"], metrics["avg_gap"], metrics["reference"]) == (None, None, None)
    assert metrics["reasons"]["tow"] == metrics["reasons"]["avg_gap"]
    assert "retrain" in metrics["reasons"]["tow"]
    log = (folder / "run.log").read_text()
    command = shlex.split(log[log.index("--method retrain") :].splitlines()[0])
    config = configuration(shlex.join(command))
    assert folder_of(config, config.store_dir) == tmp_path / "waterbird/small_cnn/split0/retrain_0.5_0"


@pytest.mark.parametrize(
    "typed, name", [("ga", "ga"), ("boundary_sh", "boundary_shrink"), ("boundary_exp", "boundary_expand")]
)
def test_what_uses_the_forget_set_alone_ends_like_any_other(typed: str, name: str, finished: Workshop, tmp_path: Path):
    """One name whatever was typed, compared with plain retraining, and a network of the shape it began with."""
    store = Path(shutil.copytree(finished.store, tmp_path / "store"))
    folder = Workshop(finished.data_dir, store).ok(f"{typed} --lr 0.001 --evaluate_every 1")
    assert folder.name == f"{name}_0.5_0"
    assert set(written(folder)) == FILES
    assert metrics_of(folder)["reference"] == "retrain_0.5_0"
    assert metrics_of(folder)["tow"] is not None
    assert yaml.safe_load((folder / "config.yaml").read_text())["config"]["method"] == name
    weights, start = weights_of(folder), weights_of(finished.place("pretrain"))
    assert {key: value.shape for key, value in weights.items()} == {key: value.shape for key, value in start.items()}
    assert not torch.equal(weights["head.weight"], start["head.weight"])
    with np.load(folder / "records.npz") as records:
        assert records["logits"].shape[1] == 2
    assert all(row["val_acc"] for row in history_of(folder))


def test_miu_without_reweight_is_still_compared_with_the_reweighted_retrain_run(finished: Workshop, tmp_path: Path):
    """The gold standard of group-robust unlearning is the same for the method and its ablation."""
    few = "--miu_critic_steps_first 3 --miu_critic_steps 2"
    store = Path(shutil.copytree(finished.store, tmp_path / "store"))
    folder = Workshop(finished.data_dir, store).ok(f"miu --ablate_rw {few}")
    assert folder.name == "miu_no-reweight_0.5_0"
    metrics, reference = metrics_of(folder), metrics_of(finished.place("retrain --reweight"))
    assert metrics["reference"] == "retrain_reweight_0.5_0"
    assert metrics["avg_gap"] == pytest.approx(np.mean([abs(metrics[name] - reference[name]) for name in PARTS]))


def test_a_reference_of_other_weights_is_refused(finished: Workshop, tmp_path: Path):
    other = Workshop(finished.data_dir, tmp_path / "other")
    weights = tmp_path / "weights.pt"
    torch.save({name[len("backbone.") :]: w for name, w in weights_of(finished.place("pretrain")).items()
                if name.startswith("backbone.")}, weights)  # fmt: skip
    reference = other.ok("retrain", weights=weights)
    command = f"--method l1_sparse {SMALL} --tag compared"
    sentence = refused(
        command, **finished.folders(store_dir=tmp_path, reference=reference, original=finished.place("pretrain"))
    )
    assert "cannot be the reference: its weights is" in sentence


@pytest.mark.parametrize("kind, name", [("retrain", "retrain_0.5_0"), ("retrain_reweight", "retrain_reweight_0.5_0")])
def test_a_reference_can_be_chosen(kind: str, name: str, finished: Workshop, tmp_path: Path):
    store = Path(shutil.copytree(finished.store, tmp_path / "store"))
    workshop = Workshop(finished.data_dir, store)
    assert metrics_of(workshop.ok("l1_sparse --tag chosen", reference=kind))["reference"] == name
    folder = finished.store / "waterbird/small_cnn/split0" / name
    assert metrics_of(workshop.ok("l1_sparse --tag named", reference=folder))["reference"] == name


def test_a_run_prints_the_published_columns(finished: Workshop, tmp_path: Path):
    out = ok(f"--method retrain {SMALL}", **Workshop(finished.data_dir, tmp_path).folders()).out.splitlines()
    titles, cells = out[0].split(), out[2].split()
    assert titles[:8] == ["RA", "UA", "TA", "MIA", "EO", "GA", "ToW", "Avg."]
    metrics = metrics_of(finished.place("retrain"))
    assert cells[:6] == [f"{metrics[name]:.1f}" for name in PARTS]


def test_lost_groups_and_untuned_tasks_stand_in_the_log(workshop: Workshop):
    folder = workshop.ok("retrain --reweight --unlearning_ratio 1 --split_number 1")
    assert "REWEIGHT cannot restore landbird on water" in (folder / "run.log").read_text()
    workshop.ok("pretrain")
    folder = workshop.ok("miu --split_number 1 --miu_critic_steps_first 1 --miu_critic_steps 1")
    assert "nobody tuned miu for waterbird split1 ratio 0.5" in (folder / "run.log").read_text()


# Where runs are.


@pytest.mark.parametrize(
    "command, place",
    [
        ("--method pretrain", "digits/small_cnn/pretrain_0"),
        ("--method pretrain --unlearning_ratio 0.9 --seed 3", "digits/small_cnn/pretrain_3"),
        ("--method pretrain --tag long", "digits/small_cnn/pretrain-long_0"),
        ("--method pretrain --dataset celeba", "celeba/resnet18/pretrain_0"),
        ("--method pretrain --dataset celeba --split_number 1", "celeba/resnet18/split1/pretrain_0"),
        ("--method pretrain --dataset fairface --multi_group 3", "fairface/resnet18/pretrain_0"),
        ("--method pretrain --dataset fairface --split_number 2", "fairface/resnet18/pretrain_0"),
        ("--method retrain", "digits/small_cnn/split0/retrain_0.5_0"),
        ("--method retrain --reweight --unlearning_ratio 0.9", "digits/small_cnn/split0/retrain_reweight_0.9_0"),
        ("--method pretrain --rob_approach dro", "digits/small_cnn/pretrain_dro_0"),
        ("--method pretrain --rob_approach none", "digits/small_cnn/pretrain_0"),
        ("--method retrain --rob_approach subsample --tag x", "digits/small_cnn/split0/retrain_subsample-x_0.5_0"),
        ("--method miu --rob_approach dro", "digits/small_cnn/split0/miu_dro_0.5_0"),
        ("--method miu --rob_approach dro --ablate_rw", "digits/small_cnn/split0/miu_dro_0.5_0"),
        ("--method scrub --rob_approach subsample", "digits/small_cnn/split0/scrub_subsample_0.5_0"),
        ("--method retrain --no-reweight", "digits/small_cnn/split0/retrain_0.5_0"),
        ("--method miu --unlearning_ratio 1", "digits/small_cnn/split0/miu_1_0"),
        ("--method miu --reweight", "digits/small_cnn/split0/miu_0.5_0"),
        ("--method miu --ablate_rw", "digits/small_cnn/split0/miu_no-reweight_0.5_0"),
        ("--method miu --ablate_unlearn", "digits/small_cnn/split0/miu_ablate-unlearn_0.5_0"),
        ("--method miu --ablate_rw --ablate_retain", "digits/small_cnn/split0/miu_no-reweight_ablate-retain_0.5_0"),
        ("--method miu --ablate_unlearn --tag x", "digits/small_cnn/split0/miu_ablate-unlearn-x_0.5_0"),
        ("--method scrub --dataset fairface --multi_group 5", "fairface/resnet18/multi5/scrub_0.5_0"),
        ("--method salun --dataset waterbird --split_number 1", "waterbird/resnet18/split1/salun_0.5_0"),
        ("--method scrub --dataset celeba --model resnet50", "celeba/resnet50/split0/scrub_0.5_0"),
    ],
)  # fmt: skip
def test_the_name_of_a_run(command: str, place: str):
    assert folder_of(configuration(command), "output") == Path("output") / place


def test_one_pretrained_model_serves_every_ratio(finished: Workshop, tmp_path: Path):
    """And the forget sets of the ratios are nested."""
    workshop = Workshop(finished.data_dir, tmp_path / "store")
    forgotten, before = [], (finished.place("pretrain") / "model.pt").read_bytes()
    for ratio in (0.1, 0.5, 0.9):
        folder = workshop.ok(f"l1_sparse --unlearning_ratio {ratio} --epochs 1", checkpoint_dir=finished.store)
        forgotten.append(set(load_splits(folder / "splits.npz").forget.tolist()))
        assert f"original: {finished.place('pretrain')}" in (folder / "run.log").read_text()
    assert [len(rows) for rows in forgotten] == [1, 6, 10]
    assert forgotten[0] < forgotten[1] < forgotten[2]
    assert (finished.place("pretrain") / "model.pt").read_bytes() == before
    assert [path for path in written(workshop.store) if "pretrain" in path] == []


def test_models_are_looked_for_in_the_checkpoint_folder_first(finished: Workshop, tmp_path: Path):
    checkpoints = tmp_path / "checkpoints"
    lone = checkpoints / "waterbird/small_cnn/pretrain_0"
    lone.mkdir(parents=True)
    shutil.copy(finished.place("pretrain") / "model.pt", lone)
    store = tmp_path / "store"
    shutil.copytree(finished.place("pretrain"), store / "waterbird/small_cnn/pretrain_0")
    workshop = Workshop(finished.data_dir, store)
    folder = workshop.ok("salun --epochs 1", checkpoint_dir=checkpoints)
    assert f"original: {lone / 'model.pt'}\n" in (folder / "run.log").read_text()
    assert written(checkpoints) == ["waterbird/small_cnn/pretrain_0/model.pt"]
    (lone / "model.pt").unlink()
    folder = workshop.ok("salun --epochs 1 --tag again", checkpoint_dir=checkpoints)
    assert f"original: {store}/waterbird/small_cnn/pretrain_0/model.pt\n" in (folder / "run.log").read_text()


def test_an_original_can_be_named_as_folder_or_file(finished: Workshop, tmp_path: Path):
    workshop = Workshop(finished.data_dir, tmp_path)
    folder = workshop.ok("salun", original=finished.place("pretrain"))
    named = workshop.ok("salun --tag file", original=finished.place("pretrain") / "model.pt")
    weights, others = weights_of(folder), weights_of(named)
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_a_tag_stands_beside_and_changes_no_number(finished: Workshop, tmp_path: Path):
    """Nor does it change which pretrained and retrained runs are looked for."""
    workshop = Workshop(finished.data_dir, tmp_path)
    folder = workshop.ok("salun --tag mine", checkpoint_dir=finished.store)
    assert folder == tmp_path / "waterbird/small_cnn/split0/salun-mine_0.5_0"
    assert_same_run(folder, finished.place("salun"))


def test_pretrain_and_retrain_start_from_equal_weights(workshop: Workshop):
    """With a learning rate too small to move a weight, what is saved are the initial weights."""
    pretrain, retrain = (workshop.ok(f"{method} --lr 1e-30") for method in ("pretrain", "retrain"))
    other = workshop.ok("pretrain --lr 1e-30 --seed 1")
    first, second, third = (
        {name: value for name, value in weights_of(folder).items() if not is_statistic(name)}
        for folder in (pretrain, retrain, other)
    )
    # Zeros do move, by as little as the learning rate says.
    assert all(torch.allclose(first[name], second[name], rtol=0, atol=1e-25) for name in first)
    assert not torch.allclose(first["head.weight"], third["head.weight"])


def is_statistic(name: str) -> bool:
    """A buffer of batch norm, which moves whatever the learning rate."""
    return name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")


# Done is done.


def test_a_finished_run_is_not_repeated(finished: Workshop):
    folder = finished.place("salun")
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    result = finished.run("salun")
    assert (result.code, result.out, result.err) == (0, f"already done: {folder}\n", "")
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before


@pytest.mark.parametrize("flags", ["--unlearning_ratio 0.9", "--split_number 1", "--num_workers 2", "--device auto"])
def test_pretrain_of_another_task_is_already_done(flags: str, finished: Workshop):
    assert finished.run(f"pretrain {flags}").out == f"already done: {finished.place('pretrain')}\n"


def test_already_done_is_said_before_anything_heavy_is_imported(finished: Workshop):
    arguments = words(f"--method salun {SMALL}", **finished.folders())
    heavy = ("torchvision", "sklearn", "vl_convert", "torch._dynamo", "method.training.engine", "method.runs.runner")
    code = f"""
import sys
import main
assert main.main({arguments!r}) == 0
print("IMPORTED", [name for name in {heavy!r} if name in sys.modules])
"""
    result = python_apart(code)
    assert result.code == 0, result.err
    assert result.out.splitlines() == [f"already done: {finished.place('salun')}", "IMPORTED []"]


# Repeating a run.


@pytest.mark.parametrize("variant", VARIANTS)
def test_overwrite_reproduces_a_run_to_the_last_digit(variant: str, finished: Workshop, tmp_path: Path):
    """Whatever the global generators were at, and whatever ran before."""
    store = Path(shutil.copytree(finished.store, tmp_path / "store"))
    marker = Workshop(finished.data_dir, store).place(variant) / "records_of_another_version.npz"
    marker.touch()
    torch.manual_seed(len(variant))
    np.random.seed(len(variant))
    again = Workshop(finished.data_dir, store).ok(f"{variant} --overwrite")
    assert not marker.exists()
    assert_same_run(again, finished.place(variant))


def test_another_seed_is_another_run(finished: Workshop, tmp_path: Path):
    other = Workshop(finished.data_dir, tmp_path).ok("retrain --seed 1")
    assert not torch.equal(weights_of(other)["head.weight"], weights_of(finished.place("retrain"))["head.weight"])
    first, second = (load_splits(place / "splits.npz") for place in (other, finished.place("retrain")))
    assert first.forget.tolist() != second.forget.tolist()


FACES = (
    "--dataset fairface --model small_cnn --image_size 32 --no-pretrained --threads 1 --epochs 2 --batch_size 40 "
    "--device cpu"
)
MIU = "miu --miu_critic_steps_first 3 --miu_critic_steps 2"
FACE_RUNS = ("pretrain", "retrain --reweight", MIU, "scrub", "neggrad_plus --reweight")


@pytest.fixture(scope="module")
def faces(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """FairFace with training augmentation, no workers."""
    workshop = Workshop(data_dir, tmp_path_factory.mktemp("faces"), FACES)
    assert configuration(f"--method scrub {FACES} --use_train_aug").use_train_aug
    return [workshop.ok(f"{method} --use_train_aug", num_workers=0) for method in FACE_RUNS]


def test_the_number_of_workers_changes_no_number(faces: list[Path], data_dir: Path, tmp_path: Path):
    workshop = Workshop(data_dir, tmp_path, FACES)
    for method, folder in zip(FACE_RUNS, faces, strict=True):
        assert_same_run(workshop.ok(f"{method} --use_train_aug", num_workers=2), folder)


def test_augmentation_is_on_in_that_comparison(faces: list[Path], data_dir: Path, tmp_path: Path):
    plain = Workshop(data_dir, tmp_path, FACES).ok("pretrain --no-use_train_aug", num_workers=0)
    assert not torch.equal(weights_of(plain)["head.weight"], weights_of(faces[0])["head.weight"])


@pytest.mark.slow
def test_a_process_of_its_own_changes_no_number(faces: list[Path], data_dir: Path, tmp_path: Path):
    folders = Workshop(data_dir, tmp_path).folders()
    result = run_apart(f"--method pretrain {FACES} --use_train_aug --num_workers 0", cwd=tmp_path, **folders)
    assert result.code == 0, result.err
    assert result.err.splitlines()[0].startswith("starting ")
    assert "\r" not in result.err, "progress bars are silent where nobody watches"
    assert_same_run(tmp_path / "fairface/small_cnn/pretrain_0", faces[0])


# Interrupting and continuing.


@pytest.fixture
def interrupted_after_an_epoch() -> Iterator[Callable[[], None]]:
    """Within a test every run is interrupted; call what this gives to end the interruptions."""
    with ExitStack() as held:
        held.enter_context(interruptions())
        yield held.close


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    variant: str, finished: Workshop, tmp_path: Path, interrupted_after_an_epoch: Callable[[], None]
):
    workshop = Workshop(finished.data_dir, tmp_path)
    result = workshop.run(variant, checkpoint_dir=finished.store)
    assert (result.code, result.out) == (75, "")
    assert result.err.splitlines()[-1] == "interrupted: run the same command to continue"
    folder = workshop.place(variant)
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert len(history_of(folder)) == 1
    assert {"last.pt", "config.yaml"} <= set(written(folder))
    assert not {"done", "metrics.json", "model.pt"} & set(written(folder))
    interrupted_after_an_epoch()
    assert workshop.ok(variant, checkpoint_dir=finished.store) == folder
    assert "continuing" in (folder / "run.log").read_text()
    assert not (folder / "last.pt").exists()
    assert_same_run(folder, finished.place(variant))


@pytest.fixture
def half(finished: Workshop, tmp_path: Path, interrupted_after_an_epoch: Callable[[], None]) -> Workshop:
    """A store with a half-finished pretrain run."""
    workshop = Workshop(finished.data_dir, tmp_path / "half")
    assert workshop.run("pretrain").code == 75
    interrupted_after_an_epoch()
    return workshop


def test_a_half_finished_run_is_not_continued_with_other_threads(half: Workshop, threads_put_back: None):
    before = {name: (half.store / name).read_bytes() for name in written(half.store)}
    sentence = refused(f"--method pretrain {with_flags(SMALL, '--threads 2')}", **half.folders())
    assert "half finished" in sentence
    assert "threads was 1 and is 2" in sentence
    assert {name: (half.store / name).read_bytes() for name in written(half.store)} == before


def test_a_half_finished_run_is_not_continued_on_other_data(half: Workshop, tmp_path: Path):
    """One label changed in the meantime."""
    name = "waterbird_complete95_forest2water2"
    shutil.copytree(half.data_dir / name, tmp_path / "data" / name)
    file = tmp_path / "data" / name / "metadata.csv"
    file.write_text(file.read_text().replace(".jpg,0,0,0,", ".jpg,1,0,0,", 1))
    sentence = refused(f"--method pretrain {SMALL}", **half.folders(data_dir=tmp_path / "data"))
    assert "holds another run: the labels are others: their data fingerprint is" in sentence


def test_a_half_finished_run_is_not_continued_from_other_pretrained_weights(
    finished: Workshop, tmp_path: Path, interrupted_after_an_epoch: Callable[[], None]
):
    workshop = Workshop(finished.data_dir, tmp_path)
    shutil.copytree(finished.place("pretrain"), workshop.place("pretrain"))
    assert workshop.run("salun").code == 75
    interrupted_after_an_epoch()
    workshop.ok("pretrain --overwrite --lr 0.02")
    sentence = refused(f"--method salun {SMALL}", **workshop.folders())
    assert "half finished" in sentence
    assert "SHA-256 of the pretrained weights was" in sentence


@pytest.mark.parametrize("fact, other", [("device", "another"), ("precision", "another")])
def test_a_half_finished_run_is_not_continued_on_other_hardware(half: Workshop, fact: str, other: str):
    file = half.place("pretrain") / "last.pt"
    facts = sealed.read_facts(file)
    save_sealed(file, torch.load(file, weights_only=True), {**facts, fact: other})
    assert f"{fact} was {other} and is" in refused(f"--method pretrain {SMALL}", **half.folders())


def test_a_finished_run_says_that_its_pretrained_model_was_made_anew(finished: Workshop, tmp_path: Path):
    workshop = Workshop(finished.data_dir, tmp_path)
    for variant in ("pretrain", "salun"):
        shutil.copytree(finished.place(variant), workshop.place(variant))
    assert workshop.run("salun").err == ""
    workshop.ok("pretrain --overwrite --lr 0.02")
    result = workshop.run("salun")
    assert result.out.startswith("already done")
    assert "was made with another pretrained run than" in result.err


def test_a_retrained_run_of_other_settings_can_be_made_in_place_of_the_old(finished: Workshop, tmp_path: Path):
    """The folder's old run is no reference of the new one."""
    workshop = Workshop(finished.data_dir, tmp_path)
    shutil.copytree(finished.place("retrain"), workshop.place("retrain"))
    folder = workshop.ok("retrain --image_size 40 --overwrite")
    assert metrics_of(folder)["reference"] == "itself"


def test_a_half_finished_run_of_other_settings_is_left_alone(half: Workshop):
    assert "lr is 0.01 there and 0.5 here" in refused(f"--method pretrain {SMALL} --lr 0.5", **half.folders())


def test_a_half_finished_run_can_be_started_anew(half: Workshop, finished: Workshop, threads_put_back: None):
    folder = half.ok("pretrain --overwrite")
    assert "continuing" not in (folder / "run.log").read_text()
    assert_same_run(folder, finished.place("pretrain"))


def test_a_half_finished_model_starts_no_other_run(half: Workshop):
    assert "starts from a pretrained model" in refused(f"--method salun {SMALL}", **half.folders())


def test_a_damaged_state_is_one_sentence(half: Workshop):
    state = half.place("pretrain") / "last.pt"
    for damaged in (state.read_bytes()[:1000], b"", b"no state"):
        state.write_bytes(damaged)
        sentence = error_of(half.run("pretrain"), 1)
        assert str(state) in sentence
        assert "--overwrite" in sentence


def test_a_defect_of_the_program_leaves_no_run_running(workshop: Workshop, monkeypatch: pytest.MonkeyPatch):
    """Its traceback is wanted; that the run failed stands in its folder."""

    def broken(self: Engine) -> None:
        raise ZeroDivisionError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "train", broken)
        with pytest.raises(ZeroDivisionError):
            workshop.run("pretrain")
    status = json.loads((workshop.place("pretrain") / "status.json").read_text())
    assert status == {"state": "failed", "reason": "ZeroDivisionError: a defect"}
    workshop.ok("pretrain")


@pytest.mark.slow
def test_ctrl_c_with_workers(data_dir: Path, tmp_path: Path):
    """The signal reaches the workers too; the same command then ends as if there had been none."""
    settings = with_flags(FACES, "--epochs 8 --num_workers 2")
    started, straight = (Workshop(data_dir, tmp_path / name, settings) for name in ("started", "straight"))
    folder = started.store / "fairface/small_cnn/pretrain_0"
    process = subprocess.Popen(
        [sys.executable, ROOT / "main.py", *words(f"--method pretrain {settings}", **started.folders())],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (folder / "last.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert 1 <= len(history_of(folder)) < 8
    assert_same_run(started.ok("pretrain"), straight.ok("pretrain"))


def test_a_failed_run_can_be_repaired(workshop: Workshop):
    """Another learning rate is another run, so the failed one must be overwritten or a tag given."""
    error_of(workshop.run("pretrain --lr 1e30"), 1)
    folder = workshop.place("pretrain")
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "failed"
    assert "not finite" in status["reason"]
    assert "not finite" in error_of(workshop.run("pretrain --lr 1e30"), 1)
    assert "lr is 1e+30 there and 0.01 here" in refused(f"--method pretrain {SMALL}", **workshop.folders())
    workshop.ok("pretrain --tag lower")
    workshop.ok("pretrain --overwrite")
    assert json.loads((folder / "status.json").read_text()) == {"state": "done", "reason": None}


def test_a_retrained_run_that_is_not_finished_is_no_reference(
    finished: Workshop, tmp_path: Path, interrupted_after_an_epoch: Callable[[], None]
):
    workshop = Workshop(finished.data_dir, tmp_path)
    assert workshop.run("retrain").code == 75
    interrupted_after_an_epoch()
    metrics = metrics_of(workshop.ok("salun", original=finished.place("pretrain")))
    assert metrics["reference"] is None


# The README's commands, on folders in the real layouts.

FEW_CRITIC_STEPS = "--miu_critic_steps_first 3 --tag few"
# FairFace's own 0.1 over the five steps that these folders allow ruins the pretrained model: in eval mode its features
# are a thousand times larger than in training, and MIU's critics rightly fail on them.
GENTLE = "--lr 0.01"


@pytest.fixture(scope="module")
def real_layout(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(data_dir, tmp_path_factory.mktemp("real layout"), SHORT)


@pytest.mark.parametrize(
    "methods",
    [
        ["pretrain --dataset celeba --unlearning_ratio 0.5", "l1_sparse --dataset celeba --unlearning_ratio 0.5"],
        ["retrain --dataset waterbird --unlearning_ratio 0.1"],
        [f"pretrain --dataset fairface {GENTLE}", f"miu --dataset fairface --multi_group 5 {FEW_CRITIC_STEPS}"],
        ["retrain --dataset digits --unlearning_ratio 0.9"],
    ],
    ids=["celeba", "waterbird", "fairface", "digits"],
)
def test_readme_commands_run_to_the_end(methods: list[str], real_layout: Workshop):
    for method in methods:
        check_finished(real_layout.ok(method))


def check_finished(folder: Path) -> None:
    assert set(written(folder)) >= FILES
    metrics = metrics_of(folder)
    assert 0 <= metrics["test_acc"] <= 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        "salun --dataset celeba --unlearning_ratio 0.5",
        "scrub --dataset celeba --unlearning_ratio 0.5",
        "miu --dataset fairface --unlearning_ratio 0.9",
        "miu --dataset fairface --multi_group 5",
    ],
)
def test_the_other_readme_commands_run_to_the_end(method: str, real_layout: Workshop):
    dataset = method.split()[2]
    assert real_layout.run(f"pretrain --dataset {dataset} {GENTLE}").code == 0
    check_finished(real_layout.ok(method))


@pytest.fixture(scope="module")
def layouts(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Workshop]:
    """A store for each data set, CelebA's with either form of the labels, with a pretrained model."""
    csv_dir = tmp_path_factory.mktemp("csv")
    make_celeba(csv_dir, form="csv")
    sources = {"celeba-txt": data_dir, "celeba-csv": csv_dir, "waterbird": data_dir, "fairface": data_dir}
    # The data sets' own network on the smallest of them.
    networks = dict.fromkeys(("celeba-txt", "celeba-csv", "fairface"), "--model small_cnn")
    return {
        name: Workshop(
            source, tmp_path_factory.mktemp(name), f"--dataset {name.split('-')[0]} {networks.get(name, '')} {SHORT}"
        )
        for name, source in {**sources, "digits": data_dir}.items()
    }


UNLEARNERS = [name for name, kind in METHODS.items() if kind.from_original]
EVERY_METHOD = ("retrain", "retrain --reweight", *UNLEARNERS)
# Those that ask which groups there are and which forget; the others see a task's samples alone.
OF_GROUPS = ("retrain", "retrain --reweight", "miu", "scrub --scrub_rewind")
EVERY_TASK = {
    "celeba-txt": ("", "--split_number 1"),
    "celeba-csv": ("",),
    "waterbird": ("", "--split_number 1"),
    "fairface": ("--split_number 4", "--multi_group 3", "--multi_group 5"),
    "digits": ("",),
}


@pytest.mark.slow
@pytest.mark.parametrize("name, task", [(name, task) for name, tasks in EVERY_TASK.items() for task in tasks])
def test_every_method_runs_on_every_data_set(name: str, task: str, layouts: dict[str, Workshop]):
    """In the order of the table, so that every method finds its reference; on further tasks of a data set, a few."""
    workshop = layouts[name]
    assert workshop.run(f"pretrain {GENTLE} {task}" if name == "celeba-txt" else f"pretrain {GENTLE}").code == 0
    first = task == EVERY_TASK[name][0] and name != "celeba-csv"
    for method in EVERY_METHOD if first else OF_GROUPS:
        few = FEW_CRITIC_STEPS if method == "miu" else ""
        folder = workshop.ok(f"{method} {task} {few} --unlearning_ratio 0.9")
        check_finished(folder)
        assert metrics_of(folder)["reference"] is not None


def test_both_label_forms_of_celeba_are_the_same_run(data_dir: Path, tmp_path: Path):
    make_celeba(tmp_path / "csv", form="csv")
    settings = f"--dataset celeba --model small_cnn {SHORT} --device cpu"
    folders = [
        Workshop(source, tmp_path / name, settings).ok("retrain")
        for name, source in (("from txt", data_dir), ("from csv", tmp_path / "csv"))
    ]
    assert_same_run(*folders)
