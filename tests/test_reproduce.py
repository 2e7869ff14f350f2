"""docs/reproduce.md: the grids hold every row of the paper's tables, and the cost is what its arithmetic gives."""

import re
from functools import cache
from itertools import product

import pytest
from cli import ROOT

from method.configs.loading import Config
from scripts.sweep.grid import read_grid
from scripts.sweep.plan import plan

PRESET = ["--preset", "reference"]
UNLEARNERS = ("miu", "salun", "scrub", "l1_sparse")
SEEDS, RATIOS = (0, 1, 2), (0.1, 0.5, 0.9)
# Train, validation and test images of the data sets as they are published.
SIZES = {"celeba": (162_770, 19_867, 19_962), "fairface": (36_226, 4_026, 5_162), "waterbird": (4_795, 1_199, 5_794)}
IMAGES_A_SECOND = 2_236  # forward and backward, as docs/performance.md has it
FORWARD = 1 / 3  # of them


@cache
def runs(grid: str) -> list[Config]:
    """The configurations of a grid's runs, as the page's commands make them."""
    return [one.config for one in plan(read_grid(ROOT / f"scripts/grids/{grid}.yaml"), PRESET)]


@pytest.mark.parametrize("grid", ["celeba", "fairface", "waterbird", "fairface_multi"])
def test_a_grid_holds_every_row_of_its_table(grid: str):
    multi = grid == "fairface_multi"
    tasks = product((0.5,), ("multi3", "multi5")) if multi else product(RATIOS, ("split0",))
    rows = product(SEEDS, tasks, ("retrain", *UNLEARNERS), (False, True))
    expected = {(seed, *task, method, reweight) for seed, task, method, reweight in rows}
    found = [one for one in runs(grid) if one.method != "pretrain"]
    keys = [(one.seed, one.unlearning_ratio, one.task, one.method, one.reweights) for one in found]
    assert len(keys) == len(set(keys))
    assert set(keys) == expected
    assert [one.seed for one in runs(grid) if one.method == "pretrain"] == list(SEEDS)
    assert {one.preset for one in runs(grid)} == {"reference"}
    assert all(one.notes == () for one in runs(grid)), "every row has its published hyperparameters"


def images(config: Config) -> float:
    """Of one run, as forward and backward passes: training with all of train in place of retain, and evaluation."""
    train, val, test = SIZES[config.dataset]
    evaluation = 2 * FORWARD * (train + val + test)
    if config.method in ("pretrain", "retrain"):
        return config.epochs * (train + FORWARD * val) + evaluation
    if config.method == "scrub":  # the original's outputs on plain images are made once
        return config.epochs * train + FORWARD * train + evaluation
    if config.method == "miu":  # the original, with batch norm by each batch, is asked at every step
        steps = config.miu_critic_steps_first + (config.epochs - 1) * config.miu_critic_steps
        return config.epochs * (1 + FORWARD) * train + FORWARD * steps * config.batch_size + evaluation
    return config.epochs * train + evaluation


def test_the_cost_on_the_page_is_what_its_arithmetic_gives():
    page = (ROOT / "docs/reproduce.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)\.yaml` \| (.*) \|$", page, re.MULTILINE))
    total = 0.0
    for grid in ("celeba", "fairface", "fairface_multi", "waterbird"):
        millions = sum(map(images, runs(grid))) / 1e6
        hours = millions * 1e6 / IMAGES_A_SECOND / 3600
        total += hours
        print(f"| `{grid}.yaml` | {len(runs(grid))} | {millions:,.1f} | {hours:.1f} |")
        assert rows[grid] == f"{len(runs(grid))} | {millions:,.1f} | {hours:.1f}"
    print(total)
    assert f"**{total:.0f} GPU hours" in page
    assert "2,236 images/s" in (ROOT / "docs/performance.md").read_text()
