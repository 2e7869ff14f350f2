"""`--eval_precision bf16`: what the published functions give, by their definition, and what is of which pass."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cli import ROOT, configuration, run
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor
from torch.nn.functional import softplus
from trees import Capture, shown
from workshop import Workshop, assert_same_run, metrics_of, weights_of

from datasets import dataset_class
from datasets.images.normalisation import normalise
from datasets.loading.loaders import Loader
from datasets.splits import Splits, load_splits
from method.evaluation.evaluator import IN_FP32, add_reference, comparable, evaluate
from method.evaluation.membership import published_attack
from method.evaluation.records import Records
from method.runs.recompute import recompute
from method.training.inference import BATCH_SIZE
from method.training.published import bf16_loss
from models import build_model
from utils.errors import UserError

GOLDEN = ROOT / "tests/golden/output/waterbird/small_cnn/split0"
RUNS = ("retrain_0.9_0", "miu_0.9_1", "scrub_0.9_0")
OF_BOTH = ("retain_acc", "forget_acc", "val_acc", "test_acc", "mia", "mia_forest_auc", "mia_baseline")


def in_bf16(logits: np.ndarray, target: np.ndarray) -> tuple[Tensor, Tensor]:
    """Logits in bf16, and their losses as CUDA has them: a sum in fp32 that is rounded to bf16 once, at the end."""
    rounded = torch.from_numpy(np.array(logits)).to(torch.bfloat16)
    below_top = rounded.float() - rounded.float().amax(dim=1, keepdim=True)
    of_target = below_top[torch.arange(len(target)), torch.from_numpy(np.array(target))]
    return rounded, (below_top.exp().sum(dim=1).log() - of_target).to(torch.bfloat16)


def published_mia(retain: Tensor, val: Tensor, forget: Tensor) -> float:
    """The largest share of F called non-member by six forests on the loss, members R and non-members V."""
    seen = torch.cat([retain, val]).float().numpy()[:, None]
    is_member = np.repeat([1.0, 0.0], [len(retain), len(val)])
    shares = []
    for n_trees in (20, 50, 100):
        for criterion in ("gini", "entropy"):
            forest = RandomForestClassifier(n_trees, criterion=criterion, random_state=0).fit(seen, is_member)
            shares.append(100 * (1 - forest.predict(forget.float().numpy()[:, None]).mean()))
    return max(shares)


def golden(name: str) -> tuple[Records, Splits, tuple]:
    """A golden run's records, with those in bf16 that follow from its logits; its splits, and what its groups are."""
    folder = GOLDEN / name
    plain = Records.load(folder / "records.npz")
    labels = (plain.index, plain.split, plain.target, plain.sensitive, plain.group, plain.logits)
    rounded = torch.from_numpy(np.array(plain.logits)).to(torch.bfloat16)
    both = Records.from_logits(*labels, rounded.float().numpy(), bf16_loss(rounded, np.array(plain.target)))
    groups = yaml.safe_load((folder / "config.yaml").read_text())["groups"]
    return both, load_splits(folder / "splits.npz"), (groups["names"], groups["n_targets"], groups["n_sensitive"])


@pytest.mark.parametrize("name", RUNS)
def test_three_golden_runs_have_the_published_mia_and_accuracies_to_the_digit(name: str):
    records, splits, groups = golden(name)
    found, before = evaluate(records, splits, *groups), metrics_of(GOLDEN / name)
    logits, loss = in_bf16(records.logits, records.target)
    right = (logits.argmax(dim=1) == torch.from_numpy(np.array(records.target))).numpy()
    place = {int(row): number for number, row in enumerate(records.index)}
    where = {one: [place[row] for row in getattr(splits, one).tolist()] for one in ("retain", "forget", "val", "test")}
    assert found["mia"] == pytest.approx(
        published_mia(*(loss[where[one]] for one in ("retain", "val", "forget"))), abs=1e-9
    )
    for one, rows in where.items():
        assert found[f"{one}_acc"] == 100 * right[rows].sum() / len(rows)
    # The pass in fp32 has what the run had, and all other metrics are of it.
    assert found[IN_FP32] == {key: before[key] for key in OF_BOTH}
    rest = set(found) - {*OF_BOTH, IN_FP32}
    for row in before["groups"]:  # that of the original's records too
        row.pop("retain_exposure")
    assert {key: found[key] for key in rest - {"reasons"}} == {key: before[key] for key in rest - {"reasons"}}


def test_the_golden_runs_tell_bf16_from_fp32():
    """Otherwise the test above could not fail."""
    found = [
        evaluate(records, splits, *groups, repeated_attacks=False) for records, splits, groups in map(golden, RUNS)
    ]
    assert all(one["mia"] != one[IN_FP32]["mia"] for one in found)
    assert all(one["mia_baseline"] == one[IN_FP32]["mia_baseline"] for one in found)


def test_losses_in_bf16_by_hand():
    logits = np.array([[0.0, 0.0], [12.0, 0.0], [40.0, 0.0], [0.0, 40.0], [1.001, 0.0]], dtype=np.float32)
    found = bf16_loss(torch.from_numpy(logits), np.zeros(5, dtype=np.int64)).tolist()
    assert found[0] == 0.69140625  # 177 / 256, the number of eight bits that is nearest to log 2
    # 1 + exp(-12) is 1 + 52 * 2^-23 in fp32, whose logarithm has seven bits and more.
    assert found[1] == pytest.approx(52 * 2**-23, rel=2**-8)
    assert found[2:4] == [0.0, 40.0]  # 1 + exp(-40) is 1
    assert found[4] == float(torch.tensor(np.log1p(np.exp(-1.0))).to(torch.bfloat16))  # 1.001 is 1


@pytest.mark.slow
def test_in_bf16_the_attack_calls_nobody_non_member_where_train_is_as_large_as_celebas():
    """Losses without any signal: every one of a thousand values has more members than non-members."""
    draw = np.random.default_rng(0)
    margins = [torch.from_numpy(draw.normal(6, 3.5, n).astype(np.float32)) for n in (161_522, 19_867, 1_248, 19_962)]
    logits = [torch.stack([margin, torch.zeros_like(margin)], dim=1) for margin in margins]
    losses = [bf16_loss(one, np.zeros(len(one), dtype=np.int64)) for one in logits]
    assert len(np.unique(np.concatenate(losses))) < 1_200
    assert published_attack(*losses)["mia"] == 0
    assert published_attack(*(softplus(-one).double().numpy() for one in margins))["mia"] > 4


@pytest.fixture(scope="module")
def shop(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(data_dir, tmp_path_factory.mktemp("bf16"))
    for method in (
        "pretrain",
        "retrain",
        "retrain --eval_precision bf16 --tag bf16",
        "ft",
        "ft --eval_precision bf16 --tag bf16",
    ):
        made.ok(method)
    return made


def folder(shop: Workshop, name: str) -> Path:
    return shop.store / "waterbird/small_cnn/split0" / name


def by_hand(shop: Workshop, run_folder: Path, dtype: torch.dtype) -> Tensor:
    """Logits of all images in a plain pass: network and head under autocast to `dtype`, or all in fp32."""
    data = dataset_class("waterbird").load(shop.data_dir, 0, 0)
    network = build_model("small_cnn", 2, 0, "none")
    network.load_state_dict(weights_of(run_folder))
    network.eval()
    head = torch.nn.Linear(network.head.in_features, network.head.out_features)
    head.load_state_dict(network.head.state_dict())
    rows, outputs = np.arange(len(data.target)), []
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
        for batch in Loader(data, 32, 0, False).batches(rows, BATCH_SIZE, None):
            outputs.append(head(network.backbone(normalise(batch["image"], torch.channels_last))))
    assert outputs[0].dtype == dtype
    return torch.cat(outputs).float()


@pytest.mark.slow
def test_both_passes_are_recorded_and_the_training_is_the_same(shop: Workshop):
    plain, both = folder(shop, "ft_0.5_0"), folder(shop, "ft-bf16_0.5_0")
    weights, others = weights_of(plain), weights_of(both)
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    records = Records.load(both / "records.npz")
    half = by_hand(shop, both, torch.bfloat16)
    np.testing.assert_array_equal(records.bf16_logits, half.numpy())
    np.testing.assert_array_equal(records.logits, by_hand(shop, both, torch.float32).numpy())
    np.testing.assert_array_equal(records.bf16_loss, in_bf16(half.numpy(), records.target)[1].float().numpy())
    assert Records.load(plain / "records.npz").bf16_logits is None


@pytest.mark.slow
def test_metrics_are_made_anew_from_the_records(shop: Workshop):
    for name in ("ft-bf16_0.5_0", "retrain-bf16_0.5_0"):
        stored = metrics_of(folder(shop, name))
        assert set(stored[IN_FP32]) == set(OF_BOTH)
        assert recompute(folder(shop, name)) == stored


@pytest.mark.slow
def test_a_table_says_what_mia_reads_without_signal_only_where_losses_are_in_fp32(shop: Workshop, capsys: Capture):
    assert "Without any signal" not in shown(shop.store, capsys)
    assert "Without any signal" in shown(shop.store, capsys, "--method", "ft", "--tag", "")


@pytest.mark.slow
def test_two_runs_are_compared_in_the_precision_that_both_have(shop: Workshop):
    both, plain = metrics_of(folder(shop, "ft-bf16_0.5_0")), metrics_of(folder(shop, "retrain_0.5_0"))
    assert both["reference"] == "retrain_0.5_0"
    assert both["gaps"]["mia"] == abs(both[IN_FP32]["mia"] - plain["mia"])
    assert "compare both runs in fp32" in (folder(shop, "ft-bf16_0.5_0") / "run.log").read_text()
    published = metrics_of(folder(shop, "retrain-bf16_0.5_0"))
    add_reference(both, published, None, "retrain-bf16_0.5_0")
    assert both["gaps"]["mia"] == abs(both["mia"] - published["mia"])
    assert comparable(published, plain)["mia"] == published[IN_FP32]["mia"]
    assert comparable(plain, published) == plain


@pytest.mark.parametrize(
    "name, changed, told",
    [
        ("bf16_loss", lambda loss: 4 * loss, "bf16_loss is not that of bf16_logits"),
        ("bf16_loss", lambda loss: loss + 1e-9, "bf16_loss holds what is no finite number of bf16"),
        ("bf16_logits", lambda logits: logits + np.float32(1e-6), "bf16_logits holds what is no finite number of bf16"),
        ("bf16_logits", lambda logits: logits[:, :1], "bf16_logits has the shape"),
        ("bf16_loss", lambda loss: -loss - 1, "no finite number from 0"),
    ],
)
def test_a_changed_pass_is_noticed(name: str, changed: Any, told: str, tmp_path: Path):
    records, _, _ = golden(RUNS[0])
    file = tmp_path / "records.npz"
    np.savez(file, **{**records.arrays, name: changed(np.array(records.arrays[name]))})
    with pytest.raises(UserError, match=told):
        Records.load(file)
    np.savez(file, **{key: array for key, array in records.arrays.items() if key != name})
    with pytest.raises(UserError, match=f"{name} is not in it"):
        Records.load(file)


# The configuration.


def test_only_the_preset_evaluates_in_bf16():
    assert configuration("--method scrub").eval_precision == "auto"
    for method in ("pretrain", "retrain", "miu", "iu"):
        assert configuration(f"--method {method} --preset reference").eval_precision == "bf16"
    assert configuration("--method miu --preset reference --eval_precision auto").eval_precision == "auto"
    refused = run("--method miu --eval_precision fp16")
    assert (refused.code, "expected one of auto, bf16" in refused.err) == (2, True)


PUBLISHED_DRO = {
    "celeba": (
        {"batch_size": 32, "lr": 0.001, "dro_step_size": 0.1},
        {"batch_size": 256, "lr": 0.1, "dro_step_size": 0.1},
    ),
    "fairface": (
        {"batch_size": 32, "lr": 0.1, "dro_step_size": 0.001},
        {"batch_size": 32, "lr": 0.1, "dro_step_size": 0.001},
    ),
    "waterbird": (
        {"batch_size": 256, "lr": 0.01, "dro_step_size": 0.01},
        {"batch_size": 32, "lr": 0.001, "dro_step_size": 0.001},
    ),
}


@pytest.mark.parametrize("dataset", PUBLISHED_DRO)
def test_group_dro_has_the_published_values_of_the_data_set(dataset: str):
    for method, published in zip(("pretrain", "retrain"), PUBLISHED_DRO[dataset], strict=True):
        plain = configuration(f"--method {method} --dataset {dataset}")
        strict = configuration(f"--method {method} --dataset {dataset} --rob_approach dro")
        other = {**published, "select": "worst_group", "rob_approach": "dro"}
        assert dict(strict.values) == {**plain.values, **other}
        assert strict.notes == ()
        reference = configuration(f"--method {method} --dataset {dataset} --rob_approach dro --preset reference")
        fp32 = {"select": "best_val", "precision": "fp32", "eval_precision": "auto", "preset": "reference"}
        assert dict(reference.values) == {**strict.values, **fp32}


def test_the_reference_preset_keeps_the_best_average_on_every_data_set():
    for dataset in (*PUBLISHED_DRO, "digits"):
        config = configuration(f"--method pretrain --dataset {dataset} --rob_approach dro --preset reference")
        assert (config.select, config.precision, config.eval_precision) == ("best_val", "fp32", "auto")


@pytest.mark.slow
def test_commands_that_are_told_ask_for_the_same_evaluation(shop: Workshop, tmp_path: Path):
    told = shop.run("ft --eval_precision bf16 --seed 5").err
    assert "--method pretrain" in told
    assert "--eval_precision bf16" in told
    assert "--eval_precision" not in shop.run("ft --seed 5").err


@pytest.mark.slow
def test_the_same_bits_twice(shop: Workshop, tmp_path: Path):
    again = Workshop(shop.data_dir, tmp_path)
    made = again.ok("retrain --eval_precision bf16 --tag bf16", checkpoint_dir=shop.store)  # with the same original
    assert_same_run(made, folder(shop, "retrain-bf16_0.5_0"))
