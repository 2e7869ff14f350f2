"""NegGrad+, whose steps take a batch of each set, and FaLW by group, which weighs what is still known."""

import copy
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import (
    CPU,
    FORGET_GROUP,
    N_GROUPS,
    SIZE,
    FlippingLoader,
    SpyEngine,
    batch_of,
    build,
    folder,
    make_run,
    snapshot,
    tiny_data,
    trained_network,
)
from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import METHODS
from method.training.engine import measure
from method.training.inference import Inference
from method.unlearners.base import Batch, GroupAccuracy
from method.unlearners.falw import FaLW, forgetting_weight, unseen_of
from method.unlearners.neggrad_plus import NegGradPlus
from method.unlearners.rl import RandomLabels
from utils.errors import Diverged, UserError

LR, MOMENTUM, DECAY = 0.05, 0.9, 0.01


def sgd_by_hand(model: torch.nn.Module, loss: Tensor) -> None:
    """The first step of SGD with weight decay; momentum has nothing to carry on yet."""
    weights = list(model.parameters())
    with torch.no_grad():
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight -= LR * (gradient + DECAY * weight)


def first_step(tmp_path: Path, method: str, **flags: Any) -> tuple[torch.nn.Module, Batch, dict[str, Tensor]]:
    """The network before the first step of a run in train mode, the step's batch, and the engine's weights after it."""
    flags = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "epochs": 1, **flags}
    run = make_run(method, tmp_path, SpyEngine, unlearning_ratio=0.5, **flags)
    run.engine.train()
    step = run.engine.spied_steps[0]
    return trained_network().train(), step.batch, step.after["model"]


def assert_equal_to(weights: dict[str, Tensor], expected: torch.nn.Module) -> None:
    """To 1e-6, batch norm's buffers as well."""
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-6, atol=1e-6)


# NegGrad+.


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_a_step_of_neggrad_plus_is_the_one_written_by_hand(tmp_path: Path, alpha: float):
    model, batch, after = first_step(tmp_path, "neggrad_plus", neggrad_plus_alpha=alpha)
    kept = cross_entropy(model(batch.image), batch.target)
    forgotten = cross_entropy(model(batch.beside.image), batch.beside.target)
    sgd_by_hand(model, alpha * kept - (1 - alpha) * forgotten)
    assert_equal_to(after, model)
    assert int(after["backbone.1.num_batches_tracked"]) == 40 + 2  # two batches one after the other


def test_alpha_of_one_half_on_the_same_batch_takes_no_step():
    """Where both sets are the same samples, the two gradients cancel."""
    unlearner = build(NegGradPlus, alpha=0.5)
    batch = batch_of(range(12))
    loss = unlearner.fit(batch) + unlearner.ascend(batch)
    assert float(loss.detach()) == 0.0
    gradients = torch.autograd.grad(loss, list(unlearner.model.parameters()))
    assert all(float(gradient.abs().max()) < 1e-7 for gradient in gradients)


def test_the_less_alpha_the_more_is_forgotten_while_the_rest_is_kept(tmp_path: Path):
    data, forgotten, kept = tiny_data(), [], []
    for alpha in (1.0, 0.95, 0.9):
        flags = {"epochs": 6, "lr": 0.01, "neggrad_plus_alpha": alpha}
        run = make_run("neggrad_plus", folder(tmp_path, str(alpha)), unlearning_ratio=0.5, **flags)
        run.engine.train()
        run.model.eval()
        for losses, rows in ((forgotten, run.splits.forget), (kept, run.splits.retain)):
            losses.append(float(cross_entropy(run.model(data.images(rows)), torch.tensor(data.target[rows])).detach()))
    assert forgotten == sorted(forgotten)
    assert forgotten[2] > forgotten[0] + 1
    assert max(kept) < min(kept) + 0.3


@pytest.mark.parametrize("reweight", [False, True])
def test_an_epoch_is_one_pass_over_r_with_f_gone_through_again_and_again(tmp_path: Path, reweight: bool):
    run = make_run("neggrad_plus", tmp_path, SpyEngine, reweight=reweight)  # R has 45 samples, F 9, batches 4
    run.engine.train()
    retain, forget = run.splits.retain.tolist(), run.splits.forget.tolist()
    rounds = []
    for epoch in (0, 1):
        batches = [step.batch for step in run.engine.spied_steps if step.epoch == epoch]
        assert [len(batch.index) for batch in batches] == [4] * 10 + [5]  # a last one of one joins the one before
        assert [len(batch.beside.index) for batch in batches] == [4] * 11
        seen = [row for batch in batches for row in batch.index.tolist()]
        assert set(seen) <= set(retain)
        assert (sorted(seen) == retain) != reweight
        beside = [row for batch in batches for row in batch.beside.index.tolist()]
        rounds += [tuple(beside[start : start + 9]) for start in range(0, 36, 9)]
        assert len(set(beside[36:])) == 8  # the beginning of a fifth round
    assert all(sorted(one) == forget for one in rounds)
    assert len(set(rounds)) == len(rounds)


def test_batches_hold_no_sample_twice_where_the_forget_set_is_smaller_than_one(tmp_path: Path):
    run = make_run("neggrad_plus", tmp_path, SpyEngine, batch_size=20)
    run.engine.train()
    forget = run.splits.forget.tolist()
    assert all(sorted(step.batch.beside.index.tolist()) == forget for step in run.engine.spied_steps)
    # The mean over the same samples in another order is the same loss; the order is new all the same.
    assert len({tuple(step.batch.beside.index.tolist()) for step in run.engine.spied_steps}) > 1


def test_batches_from_any_step_on_are_those_of_the_whole_pass(tmp_path: Path):
    batches = make_run("neggrad_plus", tmp_path, augment=True).engine.batches
    (phase,) = make_run("neggrad_plus", folder(tmp_path, "other")).unlearner.phases(0)
    whole = list(batches.of(phase, 1))
    assert all(batch.augmented and batch.beside.augmented for batch in whole)
    for first in (1, 7, len(whole)):
        rest = list(batches.of(phase, 1, first))
        assert len(rest) == len(whole) - first
        for batch, same in zip(rest, whole[first:], strict=True):
            for one, other in ((batch, same), (batch.beside, same.beside)):
                assert torch.equal(one.index, other.index)
                assert torch.equal(one.image, other.image)
    batches.close()


def test_what_reads_the_second_set_is_closed_after_training(tmp_path: Path):
    closed = []

    class ClosingLoader(FlippingLoader):
        def close(self) -> None:
            closed.append(self)
            super().close()

    run = make_run("neggrad_plus", tmp_path)
    loader = ClosingLoader(tiny_data(), SIZE, 0, False)
    run.inference.loader = loader
    run.engine.train()
    assert len(closed) == 1
    assert closed[0] is not loader


def test_history_has_the_loss_of_the_step_and_that_of_the_second_set(tmp_path: Path):
    run = make_run("neggrad_plus", tmp_path, SpyEngine, neggrad_plus_alpha=0.0)
    run.engine.train()
    for epoch, row in enumerate(run.history):
        losses = [step.loss for step in run.engine.spied_steps if step.epoch == epoch]
        assert row["retain_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
        assert row["forget_loss"] == pytest.approx(row["retain_loss"], rel=1e-5)  # with alpha 0 nothing else is there


def test_an_ascent_without_end_is_told(tmp_path: Path):
    run = make_run("neggrad_plus", tmp_path, epochs=30, lr=1e30, neggrad_plus_alpha=0.0, momentum=0.0)
    with pytest.raises(Diverged, match="the loss of phase retain is not finite"):
        run.engine.train()


# FaLW.


@pytest.mark.parametrize(
    "p, mean, spread, balance, weight",
    [
        (0.9, 0.5, 0.4, 1.0, 1 + math.tanh(1)),
        (0.1, 0.5, 0.4, 1.0, 1 - math.tanh(1)),
        (0.5, 0.5, 0.4, 0.3, 1.0),
        (0.9, 0.5, 0.4, 2.0, 1 + math.sqrt(math.tanh(1))),  # a small group reacts more sharply
        (0.7, 0.5, 0.4, 0.5, 1 + math.tanh(0.5) ** 2),
        (1.0, 0.5, 0.0, 1.0, 2.0),  # no spread: the limit
        (0.5, 0.5, 0.0, 1.0, 1.0),
        (0.2, 0.5, 0.0, 0.7, 0.0),
        (1.0, 0.0, 1e-30, 1.0, 2.0),
    ],
)
def test_weights_by_hand(p: float, mean: float, spread: float, balance: float, weight: float):
    found = forgetting_weight(torch.tensor([p]), torch.tensor([[mean], [spread]]), torch.tensor([balance]))
    assert found.tolist() == pytest.approx([weight], abs=1e-6)


def test_a_step_of_falw_is_the_one_written_by_hand(tmp_path: Path):
    flags = {"falw_tau": 0.5, "falw_relabel": "other", "seed": 3}
    model, batch, after = first_step(tmp_path, "falw", **flags)
    data = tiny_data()
    unlearner = build(FaLW, facts={"seed": 3}, relabel="other")
    labels = unlearner.relabel(batch)
    val = np.flatnonzero((data.split == 1) & (data.group == FORGET_GROUP))
    with torch.no_grad():
        known = trained_network()(data.images(val)).double().softmax(dim=1)[range(len(val)), data.target[val]]
    logits = model(batch.image)
    z = (logits.detach().softmax(dim=1)[range(len(labels)), batch.target] - known.mean()) / known.std()
    # All of F is of one group of six: B = (1 / 6)^0.5.
    weight = 1 + z.sign() * z.abs().tanh() ** math.sqrt(N_GROUPS)
    losses = -logits.log_softmax(dim=1)[range(len(labels)), labels]
    sgd_by_hand(model, (weight.float() * losses).mean())
    assert_equal_to(after, model)


def test_far_from_every_boundary_of_its_weights_it_is_random_labels():
    """With a spread without bounds every z is 0, and every weight 1."""
    one, other = build(RandomLabels), build(FaLW)
    other.unseen = torch.stack([torch.zeros(N_GROUPS), torch.full((N_GROUPS,), 1e30)])
    other.balance = torch.ones(N_GROUPS)
    batch = batch_of(range(20), one.draw_labels, seed=3)
    assert float(other.random_labels(batch).detach()) == pytest.approx(float(one.random_labels(batch).detach()), 1e-6)


def test_weights_are_no_part_of_the_gradient():
    unlearner = build(FaLW)
    unlearner.unseen = torch.stack([torch.full((N_GROUPS,), 0.5), torch.full((N_GROUPS,), 0.2)])
    unlearner.balance = torch.full((N_GROUPS,), 0.8)
    batch = batch_of(range(20), unlearner.draw_labels)
    model = copy.deepcopy(unlearner.model)
    logits = model(batch.image)
    p = logits.detach().softmax(dim=1)[range(20), batch.target]
    weight = forgetting_weight(p, unlearner.unseen[:, batch.group], unlearner.balance[batch.group])
    assert float(weight.max() - weight.min()) > 0.5
    (weight * cross_entropy(logits, batch.drawn, reduction="none")).mean().backward()
    unlearner.random_labels(batch).backward()
    for mine, its in zip(model.parameters(), unlearner.model.parameters(), strict=True):
        torch.testing.assert_close(its.grad, mine.grad, rtol=1e-6, atol=1e-7)


def test_small_groups_of_the_forget_set_have_the_larger_balance():
    """F has 8 samples of group 0 and 2 of group 5; of six groups."""
    counts = {"group_counts": torch.tensor([12, 6, 9, 10, 4, 13]), "retain_counts": torch.tensor([4, 6, 9, 10, 4, 11])}
    unlearner = build(FaLW, facts=counts, tau=0.5)
    assert unlearner.groups == [0, 5]
    assert unlearner.balance[[0, 5]].tolist() == pytest.approx([math.sqrt(10 / 48), math.sqrt(10 / 12)])
    assert build(FaLW, facts=counts, tau=0.0).balance.tolist() == [1.0] * N_GROUPS


def accuracy_on(groups: list[int], confidence: list[float]) -> GroupAccuracy:
    """A validation set of these samples; how many are right is of no interest."""
    count = torch.bincount(torch.tensor(groups), minlength=N_GROUPS)
    return GroupAccuracy(count, count, torch.tensor(groups), torch.tensor(confidence, dtype=torch.float64))


def test_a_group_without_two_samples_in_val_takes_those_of_its_target_and_that_is_told(caplog: Any):
    val = accuracy_on([0, 0, 2, 3, 3], [0.0, 0.0, 0.5, 0.7, 0.9])
    assert unseen_of(val, 3, 2) == pytest.approx((0.8, math.sqrt(0.02)))
    assert unseen_of(val, 2, 2) == pytest.approx((0.7, 0.2))  # 0.5, 0.7 and 0.9: those of target 1
    retain_counts = torch.tensor([12, 6, 5, 10, 4, 13])
    unlearner = build(FaLW, measure=lambda name: val, facts={"retain_counts": retain_counts})
    with caplog.at_level(logging.WARNING):
        assert list(unlearner.prepare()) == []
    assert (
        "val has fewer than 2 samples of group 2; what is forgotten of it is compared with all of its target there"
        in (caplog.text)
    )
    assert unlearner.unseen[:, 2].tolist() == pytest.approx([0.7, 0.2])


def test_a_target_without_two_samples_in_val_is_refused():
    val = accuracy_on([0, 0, 2], [0.0, 0.0, 0.5])
    with pytest.raises(UserError, match="val, which has 1 samples of target 1, expected 2 or more"):
        unseen_of(val, 3, 2)


def test_val_is_measured_by_the_model_as_it_is_when_an_epoch_begins(tmp_path: Path):
    run = make_run("falw", tmp_path, SpyEngine, epochs=3)
    asked, real = [], run.unlearner.measure
    run.unlearner.measure = lambda name: asked.append((name, snapshot(run.model))) or real(name)
    run.engine.train()
    assert [name for name, _ in asked] == ["val"] * 3  # not after the last epoch
    starts = [spied.before["model"] for spied in run.engine.passes if spied.phase.data == "forget"]
    for (_, measured), start in zip(asked, starts, strict=True):
        assert all(torch.equal(measured[name], start[name]) for name in start)


def test_a_measured_set_tells_how_sure_every_prediction_is():
    data, model = tiny_data(), trained_network()
    rows = np.flatnonzero(data.split == 1)[::-1].copy()
    found = measure(Inference(FlippingLoader(data, SIZE, 0, False), CPU, torch.float32), model, data, rows, "val")
    with torch.no_grad():
        expected = model(data.images(rows)).double().softmax(dim=1)[range(len(rows)), data.target[rows]]
    torch.testing.assert_close(found.confidence, expected, rtol=1e-6, atol=1e-6)
    assert found.group.tolist() == data.group[rows].tolist()
    assert found.count.tolist() == [3] * N_GROUPS


def test_methods_stand_in_the_order_of_their_files_whichever_imports_another():
    files = [kind.__module__ for kind in METHODS.values()]
    assert files == sorted(files)
    assert list(METHODS)[-2:] == ["pretrain", "retrain"]
