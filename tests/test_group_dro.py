"""Group DRO and subsampling: the group weights by hand, what a run trains on, and whom it is mistaken for."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from cli import configuration
from tiny import CPU, FORGET_GROUP, GROUP_COUNTS, N_GROUPS, SpyEngine, batch_of, folder, make_run, tiny_data
from torch.nn.functional import cross_entropy
from trees import make_run as write_run
from trees import metrics, shown, table_lines

from method.group_dro import ERM, GroupDRO
from method.losses import kl_to_teacher
from method.registry import METHODS
from method.runs.directory import RunDirectory
from method.runs.folder import SOUGHT, folder_of
from method.runs.reference import Asked, asked_by
from method.runs.search import find
from method.runs.stored import read_runs, reference_of
from utils.errors import UserError


def group_dro(counts: list[int], step_size: float = 0.5, adjustment: float = 0.0) -> GroupDRO:
    return GroupDRO(torch.tensor(counts), step_size, adjustment, CPU)


def logits_of(losses: list[float]) -> torch.Tensor:
    """Two classes; the cross-entropy of class 0 is the loss: log(1 + exp(z)) = loss."""
    return torch.tensor([[0.0, math.log(math.expm1(loss))] for loss in losses])


@pytest.mark.parametrize("adjustment", [0.0, 3.0])
def test_group_weights_and_loss_by_hand(adjustment: float):
    dro = group_dro([4, 9, 0, 16], adjustment=adjustment)
    assert dro.log_q.exp().tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    logits, target = logits_of([1.0, 2.0, 0.5]).requires_grad_(), torch.zeros(3, dtype=torch.int64)
    value = dro.risk(logits, target, torch.tensor([3, 3, 0]))
    # Group means 1.5 and 0.5; group 1 is not in the batch and keeps its weight but for the sum.
    first, last = 0.5 + adjustment / 2, 1.5 + adjustment / 4
    raw = [math.exp(0.5 * first), 1.0, 0.0, math.exp(0.5 * last)]
    q = [one / sum(raw) for one in raw]
    assert dro.metrics()["dro_group_weights"] == pytest.approx(q)
    assert float(value.detach()) == pytest.approx(q[0] * first + q[3] * last)
    value.backward()
    weighted = cross_entropy(logits, target, reduction="none") * torch.tensor([q[3] / 2, q[3] / 2, q[0]])
    torch.testing.assert_close(logits.grad, torch.autograd.grad(weighted.sum(), logits)[0])


def test_weight_goes_to_the_group_with_the_larger_loss_and_to_the_smaller_one_where_losses_are_equal():
    target, group = torch.zeros(2, dtype=torch.int64), torch.tensor([0, 1])
    for losses, adjustment in (([0.1, 2.0], 0.0), ([0.5, 0.5], 1.0)):
        dro = group_dro([100, 4], adjustment=adjustment)
        for _ in range(50):
            dro.risk(logits_of(losses), target, group)
        assert dro.metrics()["dro_group_weights"][1] > 0.99
    dro = group_dro([100, 4])
    dro.risk(logits_of([0.5, 0.5]), target, group)
    assert dro.metrics()["dro_group_weights"] == pytest.approx([0.5, 0.5])


def test_half_precision_does_not_reach_the_group_means():
    target, group = torch.zeros(2, dtype=torch.int64), torch.tensor([0, 1])
    plain, cast = group_dro([1, 1]), group_dro([1, 1])
    expected = plain.risk(logits_of([0.123456, 2.345678]), target, group)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cast.risk(logits_of([0.123456, 2.345678]), target, group), expected)
    assert torch.equal(plain.log_q, cast.log_q)


def test_it_weighs_any_loss_of_samples():
    """Here the divergence from a teacher: the group means of each sample's, weighted by q after its step."""
    student, teacher = torch.randn(3, 4), torch.randn(3, 4)
    each = kl_to_teacher(student, teacher, 2.0, reduction="none")
    assert float(each.mean()) == pytest.approx(float(kl_to_teacher(student, teacher, 2.0)))
    dro, group = group_dro([5, 7]), torch.tensor([0, 1, 1])
    value = dro.risk(student, teacher, group, partial(kl_to_teacher, temperature=2.0))
    q = torch.tensor(dro.metrics()["dro_group_weights"])
    means = torch.stack([each[0], each[1:].mean()])
    torch.testing.assert_close(value, (q * means).sum())
    torch.testing.assert_close(q, torch.softmax(0.5 * means, dim=0))
    plain = ERM(torch.tensor([5, 7]), 0.5, 0.0, CPU).risk(
        student, teacher, group, partial(kl_to_teacher, temperature=2.0)
    )
    assert torch.equal(plain, kl_to_teacher(student, teacher, 2.0))


@pytest.mark.parametrize("method", ["pretrain", "retrain", "miu", "scrub", "bad_teacher"])
def test_batches_of_group_dro_are_balanced_and_count_the_groups_they_train_on(tmp_path: Path, method: str):
    run, data = make_run(method, tmp_path, rob_approach="dro", batch_size=40), tiny_data()
    *_, phase = run.unlearner.phases(0)  # the last is over what is kept
    drawn = np.concatenate([b.index.numpy() for epoch in range(40) for b in run.engine.batches.of(phase, epoch)])
    rows = getattr(run.splits, phase.data)
    assert len(drawn) == 40 * len(rows)
    assert set(drawn) <= set(rows)
    shares = np.bincount(data.group[drawn], minlength=N_GROUPS) / len(drawn)
    assert np.abs(shares - 1 / N_GROUPS).max() < 4 * math.sqrt(5 / 36 / len(drawn))
    counts = list(GROUP_COUNTS)
    if method != "pretrain":
        counts[FORGET_GROUP] = 1
    adjusted = make_run(method, tmp_path, rob_approach="dro", dro_adjustment=1.0).unlearner.approach.adjustment
    assert adjusted.tolist() == pytest.approx([1 / math.sqrt(n) for n in counts])


def test_a_group_that_retain_lost_has_no_weight(tmp_path: Path):
    run = make_run("retrain", tmp_path, rob_approach="dro", unlearning_ratio=1.0)
    run.engine.train()
    weights = run.unlearner.extra_metrics()["dro_group_weights"]
    assert weights[FORGET_GROUP] == 0
    assert sum(weights) == pytest.approx(1)
    assert min(weight for group, weight in enumerate(weights) if group != FORGET_GROUP) > 0


@pytest.mark.parametrize("method, smallest", [("pretrain", 4), ("retrain", 1), ("ft", 1), ("rl", 1)])
def test_a_subsampled_run_trains_on_the_same_equal_groups_in_every_epoch(tmp_path: Path, method: str, smallest: int):
    seen = []
    for number, seed in enumerate((0, 0, 1)):
        place = folder(tmp_path, str(number))
        run = make_run(method, place, SpyEngine, rob_approach="subsample", seed=seed, epochs=3)
        run.engine.train()
        steps = [s for s in run.engine.spied_steps if s.phase.name == run.unlearner.data]
        passes = [[i for s in steps if s.epoch == e for i in s.batch.index.tolist()] for e in range(3)]
        assert len({tuple(one) for one in passes}) == 3  # three orders of one set
        assert len({frozenset(one) for one in passes}) == 1
        assert len(set(passes[0])) == len(passes[0]) == smallest * N_GROUPS
        assert np.bincount(tiny_data().group[passes[0]]).tolist() == [smallest] * N_GROUPS
        seen.append(sorted(passes[0]))
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize("method", ["pretrain", "retrain"])
def test_the_worst_group_chooses_the_epoch_of_group_dro_unless_told_otherwise(method: str):
    base = f"--method {method} --dataset waterbird"
    assert configuration(base).select == "best_val"
    assert configuration(f"{base} --rob_approach subsample").select == "best_val"
    assert configuration(f"{base} --rob_approach dro").select == "worst_group"
    assert configuration(f"{base} --rob_approach dro --select last").select == "last"


def test_no_value_of_group_dro_is_missed_where_it_is_off():
    for dataset in ("digits", "waterbird"):
        assert configuration(f"--method pretrain --dataset {dataset}").notes == ()
        assert configuration(f"--method pretrain --dataset {dataset} --rob_approach dro").notes == ()


# With the methods that start from the original.

RETAINING = [name for name, method in METHODS.items() if method.reweight is not None and method.from_original]


@pytest.mark.parametrize("approach", ["dro", "subsample"])
@pytest.mark.parametrize("method", RETAINING)
def test_it_takes_the_place_of_reweight_and_is_compared_with_the_plain_retrained_run(method: str, approach: str):
    config = configuration(f"--method {method} --rob_approach {approach} --store_dir here")
    assert not config.reweights
    assert asked_by(config) == Asked(reweight=False)
    assert asked_by(configuration(f"--method {method}")) == Asked(reweight=method == "miu")
    assert folder_of(config, "here").name == f"{method}_{approach}_0.5_0"
    told = [note for note in config.notes if "takes the place of REWEIGHT" in note]
    assert len(told) == (method == "miu")
    assert configuration(f"--method {method} --rob_approach {approach} --reference retrain_reweight").reference
    again = configuration(f"--method {method} --rob_approach {approach} --no-reweight")
    assert again.identity() == config.identity()


def test_miu_takes_the_values_that_were_tuned_without_reweight():
    flags = "--method miu --dataset fairface --unlearning_ratio 0.9"
    plain, robust = configuration(f"{flags} --no-reweight"), configuration(f"{flags} --rob_approach dro")
    assert robust.lr == plain.lr != configuration(flags).lr


@pytest.mark.parametrize("method", RETAINING)
def test_a_subsampled_pass_over_retain_leaves_the_other_passes_alone(tmp_path: Path, method: str):
    run = make_run(method, tmp_path, rob_approach="subsample")
    sampled = {phase.data: phase.sampling for phase in run.unlearner.phases(0)}
    assert sampled.pop("retain") == "subsample"
    assert set(sampled.values()) <= {"shuffle"}


# Whom others start from and are compared with.


@pytest.mark.parametrize("approach", ["dro", "subsample"])
def test_it_is_found_by_nobody_who_looks_for_the_plain_run(tmp_path: Path, approach: str):
    flags = f"--store_dir {tmp_path} --checkpoint_dir {tmp_path / 'none'} --unlearning_ratio 0.9"
    salun = configuration(f"--method salun {flags}")
    for method in ("pretrain", "retrain"):
        plain = configuration(f"--method {method} {flags}")
        robust = configuration(f"--method {method} {flags} --rob_approach {approach}")
        place = folder_of(robust, robust.store_dir)
        place.mkdir(parents=True)
        (place / SOUGHT[method]).touch()
        assert find(salun, method)[0] is None
        # Itself starts from nothing, and a retrained one is compared with the plain one.
        assert find(robust, method)[1][1].path == folder_of(plain, plain.store_dir)
        assert robust.identity() != plain.identity()
    assert asked_by(plain).itself
    assert not asked_by(robust).itself
    assert not asked_by(robust).reweight


def test_a_run_of_before_it_could_be_chosen_is_the_plain_one(tmp_path: Path):
    config = configuration("--method pretrain")
    new = ("rob_approach", "dro_step_size", "dro_adjustment")
    earlier = {name: value for name, value in config.identity().items() if name not in (*new, "method")}
    place = write_run(tmp_path, "pretrain_0", "pretrain", metrics(), **earlier)
    assert read_runs(tmp_path)[0].is_plain
    stored = yaml.safe_load((place / "config.yaml").read_text())
    stored |= {"identity": {"method": "pretrain", **earlier}, "fingerprints": {}}
    (place / "config.yaml").write_text(yaml.safe_dump(stored))
    assert RunDirectory(place).holds(config)
    with pytest.raises(UserError, match="rob_approach is 'none' there and 'dro' here"):
        RunDirectory(place).check(configuration("--method pretrain --rob_approach dro"), overwrite=False)


def test_the_report_gives_it_a_row_and_compares_with_the_plain_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_run(tmp_path, "b", "retrain", metrics(80.0), rob_approach="dro")
    write_run(tmp_path, "c", "retrain", metrics(60.0), rob_approach="none")
    write_run(tmp_path, "d", "salun", metrics(50.0))
    runs = {run.folder.name: run for run in read_runs(tmp_path)}
    assert reference_of(runs["d"], list(runs.values())) is runs["c"]
    assert reference_of(runs["b"], list(runs.values())) is runs["c"]
    rows = {line[0]: line for line in table_lines(shown(tmp_path, capsys))}
    # ToW of gaps of 20 and of 10 points; nothing is left out, and nothing is averaged.
    assert rows["retrain + dro"][1] == rows["retrain"][1] == "1"
    assert rows["retrain + dro"][-3:-1] == ["51.2", "20.0"]
    assert rows["salun"][-3:-1] == ["72.9", "10.0"]
    write_run(tmp_path, "e", "miu", metrics(50.0), rob_approach="dro", reweight=False)
    assert "miu + dro" in {line[0] for line in table_lines(shown(tmp_path, capsys))}


def test_one_step_of_both_on_the_same_batch_differs_by_the_weights_alone(tmp_path: Path):
    """With q uniform and equal groups in the batch group DRO's first loss is ERM's, but for the step of q."""
    run = make_run("pretrain", tmp_path, rob_approach="dro", dro_step_size=1e-6)
    data = tiny_data()
    rows = [int(np.flatnonzero((data.group == group) & (data.split == 0))[0]) for group in range(N_GROUPS)]
    batch = batch_of(rows)
    run.model.eval()
    erm = cross_entropy(run.model(batch.image), batch.target)
    torch.testing.assert_close(run.unlearner.fit(batch), erm, rtol=1e-4, atol=0)
