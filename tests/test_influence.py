"""SSD and IU on a tiny network: importances by brute force, H^-1 v by the dense inverse, and runs without epochs."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import (
    FORGET_GROUP,
    Run,
    SpyEngine,
    batch_of,
    buffers,
    changed,
    folder,
    make_run,
    outcome,
    snapshot,
    task,
    trained_network,
)
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from method.unlearners import iu
from method.unlearners.iu import IU
from method.unlearners.ssd import SSD
from utils.errors import RunError

WITHOUT_EPOCHS = ("ssd", "iu")


def flat(values) -> Tensor:
    return torch.cat([value.detach().flatten() for value in values])


def gradient(model: nn.Module, rows: np.ndarray | list[int]) -> Tensor:
    """Of the mean loss over these rows."""
    batch, weights = batch_of(rows), list(model.parameters())
    loss = cross_entropy(model(batch.image.to(weights[0].dtype)), batch.target)
    return flat(torch.autograd.grad(loss, weights))


def batches(run: Run, name: str) -> list[list[int]]:
    return [step.batch.index.tolist() for step in run.engine.spied_steps if step.phase.name == name]


# SSD.


@pytest.mark.parametrize("flags", [{}, {"ssd_alpha": 0.5, "ssd_dampening": 0.3}, {"batch_size": 100}])
def test_ssd_against_brute_force(tmp_path: Path, flags: dict):
    run = make_run("ssd", tmp_path, SpyEngine, augment=True, **flags)
    run.engine.train()
    model = trained_network().eval()
    importance = {}
    for name, rows in (("forget", run.splits.forget), ("train", run.splits.train)):
        parts = batches(run, name)
        assert [row for part in parts for row in part] == rows.tolist()
        importance[name] = sum(gradient(model, part) ** 2 for part in parts) / len(parts)
    before, after = flat(model.parameters()).tolist(), flat(run.model.parameters()).tolist()
    alpha, dampening = run.unlearner.p.alpha, run.unlearner.p.dampening
    n_dampened = 0
    for theta, i_f, i_d, found in zip(before, importance["forget"], importance["train"], after, strict=True):
        if i_f > alpha * i_d:
            n_dampened += 1
            assert found == pytest.approx(min(dampening * float(i_d) / float(i_f), 1) * theta, rel=1e-3, abs=1e-7)
        else:
            assert found == theta
    assert 0 < n_dampened < len(before)
    share = pytest.approx(100 * n_dampened / len(before))
    assert run.unlearner.extra_metrics() == {"dampened_share": share}
    assert run.history[0]["dampened_share"] == share


def test_dampening_by_hand():
    model = nn.Linear(5, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0, -3.0, 4.0, 5.0]]))
    ssd = SSD(model, None, SSD.Params(alpha=2.0, dampening=3.0), task(), lambda name: None)
    # Not selected at exactly alpha; lambda I_D / I_F above 1 leaves the weight; without any importance nothing happens.
    ssd.dampen([torch.tensor([[4.0, 12.0, 5.0, 0.0, 7.0]])], [torch.tensor([[2.0, 2.0, 2.0, 0.0, 0.0]])])
    assert model.weight.tolist() == [[1.0, 1.0, -3.0, 4.0, 0.0]]
    assert ssd.n_dampened == 3


def test_a_large_alpha_leaves_the_original(tmp_path: Path):
    run = make_run("ssd", tmp_path, ssd_alpha=1e9)
    run.engine.train()
    assert changed(snapshot(trained_network()), snapshot(run.model)) == set()
    assert run.history[0]["dampened_share"] == 0


# IU.


def right_hand_side(run: Run, model: nn.Module) -> Tensor:
    """1/N sum_F - N_F / (N N_R) sum_R, sample by sample."""
    forget, retain = run.splits.forget, run.splits.retain
    n = len(forget) + len(retain)
    v = sum(gradient(model, [row]) for row in forget) / n
    return v - len(forget) / (n * len(retain)) * sum(gradient(model, [row]) for row in retain)


@pytest.mark.parametrize("damping", [1.0, 0.01])
def test_iu_against_the_dense_inverse_and_woodburys_recursion(
    tmp_path: Path, damping: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(iu, "TOLERANCE", 1e-9)
    run = make_run("iu", tmp_path, SpyEngine, augment=True, iu_damping=damping, iu_scale=0.5, iu_fisher_batches=6)
    run.model.double()
    image = run.inference.image
    run.inference.image = lambda pixels: image(pixels).double()
    run.engine.train()
    model = trained_network().double().eval()
    passes = batches(run, "fisher")
    rows = [row for part in passes[:6] for row in part]
    assert len(rows) == 24
    assert set(rows) <= set(run.splits.retain.tolist())
    assert all(passes[i : i + 6] == passes[:6] for i in range(0, len(passes), 6))
    v, samples = right_hand_side(run, model), [gradient(model, [row]) for row in rows]
    fisher = sum(torch.outer(g, g) for g in samples) / len(samples)
    dense = torch.linalg.solve(fisher + damping * torch.eye(len(v), dtype=torch.float64), v)
    step = flat(run.model.parameters()) - flat(model.parameters())
    assert float((step - 0.5 * dense).norm() / (0.5 * dense).norm()) < 1e-6
    # WoodFisher: H_i^-1 = H_i-1^-1 - (H_i-1^-1 g)(H_i-1^-1 g)^T / (n + g^T H_i-1^-1 g), from 1 / damping on.
    inverse = torch.eye(len(v), dtype=torch.float64) / damping
    for g in samples:
        o = inverse @ g
        inverse -= torch.outer(o, o) / (len(samples) + g @ o)
    assert float((inverse @ v - dense).norm() / dense.norm()) < 1e-9
    # The Fisher matrix counts: without it the step would be another.
    assert float((dense - v / damping).norm() / dense.norm()) > 0.05
    assert run.unlearner.extra_metrics()["iu_residual"] < 1e-9


def test_iu_in_single_precision_is_near_the_dense_inverse(tmp_path: Path):
    run = make_run("iu", tmp_path, SpyEngine, iu_damping=0.1, iu_fisher_batches=11, batch_size=4)
    run.engine.train()
    model = trained_network().eval()
    rows = [row for part in batches(run, "fisher")[:11] for row in part]
    v, samples = right_hand_side(run, model), [gradient(model, [row]) for row in rows]
    fisher = sum(torch.outer(g, g).double() for g in samples) / len(samples)
    dense = torch.linalg.solve(fisher + 0.1 * torch.eye(len(v), dtype=torch.float64), v.double())
    step = (flat(run.model.parameters()) - flat(model.parameters())).double()
    assert float((step - dense).norm() / dense.norm()) < 1e-3
    found = run.unlearner.extra_metrics()
    assert found["iu_residual"] <= iu.TOLERANCE
    assert found["iu_solver_steps"] + 1 == len(batches(run, "fisher")) / 11  # and one product to measure the residual


@pytest.mark.parametrize("steps, converges", [(1, False), (3, False), (200, True)])
def test_iu_measures_its_residual_and_warns_where_it_has_not_converged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, steps: int, converges: bool
):
    """The step itself, put into v - H x with H made of the samples' gradients one by one."""
    run = make_run("iu", tmp_path, SpyEngine, iu_damping=0.01, iu_fisher_batches=6, iu_solver_steps=steps)
    with caplog.at_level("WARNING", logger="unlearning"):
        run.engine.train()
    model = trained_network().eval()
    v = right_hand_side(run, model).double()
    samples = [gradient(model, [row]).double() for part in batches(run, "fisher")[:6] for row in part]
    x = flat(run.model.parameters()).double() - flat(model.parameters()).double()
    h_x = sum(g * (g @ x) for g in samples) / len(samples) + 0.01 * x
    found = run.unlearner.extra_metrics()
    assert found["iu_true_residual"] == pytest.approx(float((v - h_x).norm() / v.norm()), rel=0.02, abs=2e-5)
    assert run.history[0]["iu_true_residual"] == found["iu_true_residual"]
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert (found["iu_true_residual"] < 2 * iu.TOLERANCE) == converges
    if converges:
        assert told == []
    else:
        (sentence,) = told
        assert (
            f"after {steps} steps |v - Hx| / |v| is {found['iu_true_residual']:.2g}, expected at most 0.0001"
            in sentence
        )


@pytest.mark.parametrize(
    "carried, measured, warns", [(9e-5, 9e-3, False), (9e-5, 1.1e-2, True), (1.1e-4, 1.1e-4, True)]
)
def test_rounding_that_leads_the_solver_astray_is_told_too(
    caplog: pytest.LogCaptureFixture, carried: float, measured: float, warns: bool
):
    unlearner = IU(trained_network(), None, IU.Params(), task(), lambda name: None)
    unlearner.solved = {"iu_solver_steps": 7, "iu_residual": carried, "iu_true_residual": measured}
    with caplog.at_level("WARNING", logger="unlearning"):
        unlearner.warn_unsolved()
    assert ["after 7 steps" in record.message for record in caplog.records] == [True] * warns


def test_iu_raises_the_loss_on_f_and_hardly_moves_that_on_r(tmp_path: Path):
    run = make_run("iu", tmp_path, iu_scale=2.0)
    run.engine.train()

    def loss(model: nn.Module, rows: np.ndarray) -> float:
        batch = batch_of(rows)
        return float(cross_entropy(model.eval()(batch.image), batch.target).detach())

    forget, retain = (
        loss(run.model, rows) - loss(trained_network(), rows) for rows in (run.splits.forget, run.splits.retain)
    )
    assert forget > 0
    assert retain < 0.1 * forget


def test_iu_of_scale_zero_is_the_original(tmp_path: Path):
    run = make_run("iu", tmp_path, iu_scale=0.0)
    run.engine.train()
    assert changed(snapshot(trained_network()), snapshot(run.model)) == set()


def test_the_solver_stops_at_its_steps_and_says_how_far_it_came(tmp_path: Path):
    run = make_run("iu", tmp_path, SpyEngine, iu_damping=1e-4, iu_solver_steps=2, iu_fisher_batches=3)
    run.engine.train()
    assert len(batches(run, "fisher")) == (2 + 1) * 3
    found = run.unlearner.extra_metrics()
    assert found["iu_solver_steps"] == 2
    assert found["iu_residual"] > iu.TOLERANCE


def test_a_step_that_is_not_finite_fails_the_run():
    unlearner = IU(trained_network(), None, IU.Params(), task(), lambda name: None)
    before = snapshot(unlearner.model)
    with pytest.raises(RunError, match="--iu_damping"):
        unlearner.move(torch.full((213,), torch.inf))
    assert changed(before, snapshot(unlearner.model)) == set()


# Runs without epochs.


@pytest.mark.parametrize("method", WITHOUT_EPOCHS)
def test_a_method_without_epochs_has_one_row_and_leaves_original_and_buffers_alone(tmp_path: Path, method: str):
    run = make_run(method, tmp_path, SpyEngine, augment=True)
    original = snapshot(run.original.module)
    run.engine.train()
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    own = {"ssd": ["dampened_share"], "iu": ["iu_solver_steps", "iu_residual", "iu_true_residual"]}[method]
    assert list(rows[0]) == ["epoch", "seconds", *own]
    assert [row["epoch"] for row in rows] == ["0"]
    assert float(rows[0]["seconds"]) == pytest.approx(run.engine.seconds) != 0
    moved = changed(original, snapshot(run.model))
    assert moved
    assert not moved & buffers(run.model)
    assert changed(original, snapshot(run.original.module)) == set()
    assert not any(step.batch.augmented for step in run.engine.spied_steps)


@pytest.mark.parametrize("method", WITHOUT_EPOCHS)
def test_looks_at_the_validation_set_are_possible(tmp_path: Path, method: str):
    run = make_run(method, tmp_path, evaluate_every=1)
    run.engine.train()
    assert 0 <= run.history[0]["val_worst_group_acc"] <= run.history[0]["val_acc"] <= 100


class StoppedEngine(SpyEngine):
    def _step(self, *arguments) -> Tensor:
        if len(self.spied_steps) == 10:
            raise KeyboardInterrupt
        return super()._step(*arguments)


@pytest.mark.parametrize("method", WITHOUT_EPOCHS)
def test_stopped_it_starts_again_and_finished_it_runs_no_step_again(tmp_path: Path, method: str):
    whole = make_run(method, folder(tmp_path, "whole"), SpyEngine)
    whole.engine.train()
    stopped = make_run(method, tmp_path, StoppedEngine)
    with pytest.raises(KeyboardInterrupt):
        stopped.engine.train()
    assert not (tmp_path / "last.pt").exists()
    continued = make_run(method, tmp_path, SpyEngine)
    continued.engine.train()
    assert len(continued.engine.spied_steps) == len(whole.engine.spied_steps)
    again = make_run(method, tmp_path, SpyEngine)
    again.engine.train()
    assert again.engine.spied_steps == []
    assert outcome(whole) == outcome(continued) == outcome(again)


@pytest.mark.parametrize("method", WITHOUT_EPOCHS)
def test_a_forget_set_of_one_sample(tmp_path: Path, method: str):
    run = make_run(method, tmp_path, SpyEngine, unlearning_ratio=0.1)
    run.engine.train()
    assert batches(run, "forget") == [run.splits.forget.tolist()]
    assert len(run.splits.forget) == 1
    assert FORGET_GROUP in run.splits.forget_groups
    assert all(value.isfinite().all() for value in snapshot(run.model).values())
