"""Schedules against torch's own, and every optimiser's step against torch's on the same gradients."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cli import configuration, refused
from tiny import make_run
from torch import Tensor, nn
from torch.optim import lr_scheduler

from method.configs.schema import all_keys
from method.training.optimizers import SCHEDULES, build_optimizer, learning_rate

EPOCHS, LR = 12, 0.8
TORCHS: dict[str, tuple[dict[str, Any], Callable[[Any, int], Any]]] = {
    "const": ({}, lambda optimizer, left: lr_scheduler.ConstantLR(optimizer, factor=1.0)),
    "step": (
        {"lr_step_epochs": 3, "lr_gamma": 0.3},
        lambda optimizer, left: lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.3),
    ),
    "multistep": (
        {"lr_milestones": "2,5,6", "lr_gamma": 0.3},
        lambda optimizer, left: lr_scheduler.MultiStepLR(optimizer, milestones=[2, 5, 6], gamma=0.3),
    ),
    "exponential": ({"lr_gamma": 0.7}, lambda optimizer, left: lr_scheduler.ExponentialLR(optimizer, gamma=0.7)),
    "cosine": ({}, lambda optimizer, left: lr_scheduler.CosineAnnealingLR(optimizer, T_max=left)),
    "linear": (
        {"lr_end_factor": 0.1},
        lambda optimizer, left: lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=left),
    ),
}


def setting(scheduler: str, **values: Any) -> SimpleNamespace:
    known = {name: key.default for name, key in all_keys().items() if name.startswith("lr_")}
    return SimpleNamespace(
        **(known | {"lr": LR, "epochs": EPOCHS, "warmup_epochs": 0, "scheduler": scheduler} | values)
    )


def torchs(make: Callable[[Any, int], Any], n: int) -> list[float]:
    """What a scheduler of torch sets in n epochs."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler, found = make(optimizer, n), []
    for _ in range(n):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_every_schedule_is_compared():
    assert set(TORCHS) == set(SCHEDULES) == set(all_keys()["scheduler"].choices)


@pytest.mark.parametrize("warmup_epochs", [0, 1, 4])
@pytest.mark.parametrize("scheduler", TORCHS)
def test_a_schedule_is_torchs_own_from_the_end_of_the_warm_up(scheduler: str, warmup_epochs: int):
    values, make = TORCHS[scheduler]
    config = setting(scheduler, warmup_epochs=warmup_epochs, **values)
    for epoch in range(warmup_epochs):
        for step in range(4):
            assert learning_rate(config, epoch, step, 4) == pytest.approx(
                LR * (4 * epoch + step + 1) / warmup_epochs / 4
            )
    expected = torchs(make, EPOCHS - warmup_epochs)
    for epoch, rate in enumerate(expected, start=warmup_epochs):
        for step in (0, 3):
            assert learning_rate(config, epoch, step, 4) == pytest.approx(rate, rel=1e-12, abs=1e-12)
    assert scheduler == "const" or min(expected) < LR / 2


@pytest.mark.parametrize("asked, t_max", [(0, 10), (5, 5), (12, 12), (13, 10)])
def test_cosine_over_so_many_epochs_as_the_published_code_takes(asked: int, t_max: int):
    config = setting("cosine", warmup_epochs=2, lr_cosine_epochs=asked)
    expected = torchs(lambda optimizer, left: lr_scheduler.CosineAnnealingLR(optimizer, T_max=t_max), 10)
    found = [learning_rate(config, epoch, 0, 4) for epoch in range(2, 12)]
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


# The optimisers.


def stepped(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> Tensor:
    """A weight after five steps of gradients that grow and shrink."""
    for scale in (1.0, 5.0, 0.1, 0.1, 0.1):
        weight.grad = scale * torch.tensor([1.0, -2.0, 0.5])
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize(
    "flags, kind, facts",
    [
        ("--optimizer adam", torch.optim.Adam, {}),
        ("--optimizer adam --amsgrad", torch.optim.Adam, {"amsgrad": True}),
        ("--optimizer adamw", torch.optim.AdamW, {}),
        ("--optimizer adamw --amsgrad", torch.optim.AdamW, {"amsgrad": True}),
        ("--momentum 0.5", torch.optim.SGD, {"momentum": 0.5}),
    ],
)
def test_an_optimiser_takes_torchs_steps(flags: str, kind: type[torch.optim.Optimizer], facts: dict[str, Any]):
    config = configuration(f"--method ft --lr 0.05 --weight_decay 0.5 {flags}")
    ours, theirs = (nn.Parameter(torch.tensor([1.0, 2.0, -3.0])) for _ in range(2))
    found = stepped(build_optimizer(config, [ours]), ours)
    assert torch.equal(found, stepped(kind([theirs], lr=0.05, weight_decay=0.5, **facts), theirs))


def test_adamws_weight_decay_is_no_part_of_the_gradient():
    """Where the gradient is zero the weight shrinks by 1 - lr * decay, and by lr alone with Adam's."""
    for name, expected in (("adamw", 1 - 0.05 * 0.5), ("adam", 1 - 0.05)):
        weight = nn.Parameter(torch.ones(1))
        config = configuration(f"--method ft --lr 0.05 --weight_decay 0.5 --optimizer {name}")
        optimizer = build_optimizer(config, [weight])
        weight.grad = torch.zeros(1)
        optimizer.step()
        assert float(weight.detach()) == pytest.approx(expected)


@pytest.mark.parametrize(
    "scheduler, rates", [("multistep", [0.1, 0.1, 0.05, 0.025]), ("exponential", [0.1, 0.05, 0.025, 0.0125])]
)
def test_a_run_goes_by_the_schedule(tmp_path: Path, scheduler: str, rates: list[float]):
    flags = {"lr": 0.1, "lr_gamma": 0.5, "epochs": 4, "optimizer": "adamw", "batch_size": 40}
    milestones = {"lr_milestones": "2,3"} if scheduler == "multistep" else {}
    run = make_run("ft", tmp_path, scheduler=scheduler, **flags, **milestones)
    run.engine.train()
    assert [row["lr"] for row in run.history] == pytest.approx(rates)


# How they are typed.


@pytest.mark.parametrize("typed", ["--lr_milestones 3,5", "--milestones 3 5", "--milestones=3,5"])
def test_milestones(typed: str):
    assert configuration(f"--method ft --scheduler multistep {typed} --seed 1").lr_milestones == "3,5"


@pytest.mark.parametrize("text", ["[3, 5]", "'3, 5'", "\n- 3\n- 5"])
def test_milestones_in_a_file(text: str, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(f"scheduler: multistep\nlr_milestones: {text}\n")
    assert configuration("--method ft", config=tmp_path / "mine.yaml").lr_milestones == "3,5"


@pytest.mark.parametrize("typed", ["5,3", "3,3", "0,3", "-1", "3.5", "three", "''", "3,,5", "9" * 30])
def test_milestones_that_are_none(typed: str):
    sentence = refused(f"--method ft --scheduler multistep --lr_milestones={typed}")
    assert "expected whole numbers above 0 that rise, with commas between them" in sentence


@pytest.mark.parametrize(
    "flags, told",
    [
        ("--lr_gamma 0.5", "--lr_gamma is of --scheduler step, multistep, exponential, and here it is const"),
        ("--milestones 3", "--lr_milestones is of --scheduler multistep, and here it is const"),
        ("--scheduler step --t_max 3", "--lr_cosine_epochs is of --scheduler cosine, and here it is step"),
        ("--lr_end_factor 0.5", "--lr_end_factor is of --scheduler linear, and here it is const"),
        ("--step_size 5", "--lr_step_epochs is of --scheduler step, and here it is const"),
        ("--amsgrad", "--amsgrad is of --optimizer adam, adamw, and here it is sgd"),
        ("--rob_approach subsample --dro_lr 1", "--dro_step_size is of --rob_approach dro, and here it is subsample"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(flags: str, told: str):
    assert refused(f"--method retrain --dataset waterbird {flags}") == f"{told}; change that, or leave this out"
