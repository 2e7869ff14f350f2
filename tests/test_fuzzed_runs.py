"""One damaged file after another, drawn by a seed: no command ends in a traceback, and the other runs are shown."""

import csv
import io
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cli import ROOT
from damaged_runs import damage
from trees import Capture

from method.api import load_results
from scripts import keep_runs
from scripts.report import command as report
from scripts.sweep import command as sweep

TREE = ROOT / "tests/golden/output"
RUNS = ("pretrain_0", "retrain_0.9_0", "retrain_reweight_0.9_0", "miu_0.9_0", "scrub_0.9_0", "l1_sparse_0.9_0")
CASES = 8  # of each seed
GRID = {
    "dataset": "waterbird",
    "method": ["pretrain", "retrain", "retrain+reweight", "miu", "scrub", "l1_sparse"],
    "unlearning_ratio": 0.9,
    "set": {"model": "small_cnn", "image_size": 32, "weights": "none"},
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Where the runs of a case are."""
    return tmp_path / "output"


def make(tree: Path) -> list[Path]:
    """Whole runs, in place of those that are there."""
    shutil.rmtree(tree, ignore_errors=True)
    runs = []
    for name in RUNS:
        source = next(TREE.rglob(name))
        runs.append(Path(shutil.copytree(source, tree / source.relative_to(TREE))))
    return runs


def commands(tree: Path) -> list[Callable[[], int]]:
    """All that look at runs, but for the two tables that every case is shown in, and --recompute, which takes long."""
    beside = tree.parent
    folders = {"store_dir": str(tree), "checkpoint_dir": str(beside / "none")}
    (beside / "grid.yaml").write_text(yaml.safe_dump(GRID | {"set": {**GRID["set"], **folders}}))
    return [
        lambda: report.main([str(tree), "--each", "--columns", "all", "--out", str(beside / "table.md")]),
        lambda: report.main([str(tree), "--difference", "--out", str(beside / "table.tex")]),
        lambda: report.main([str(tree), "--out", str(beside / "report.json")]),
        lambda: report.main([str(tree), "--out", str(beside / "page.html")]),
        lambda: int(load_results(tree).empty),
        lambda: keep_runs.main([str(tree), str(beside / "kept")]),
        lambda: sweep.main([str(beside / "grid.yaml"), "--status"]),
    ]


ENDS = [{0}, {0}, {0}, {0}, {0}, {0, 1}, {0, 1}]  # the exit codes that docs/report.md and docs/sweeps.md tell


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_of_one_file_ends_in_a_traceback_or_hides_another_run(seed: int, tree: Path, capsys: Capture) -> None:
    for number in range(CASES):
        chance = random.Random(f"{seed} {number}")
        runs = make(tree)
        run = chance.choice(runs)
        what = f"{run.name}: {damage(run, chance)}"
        assert report.main([str(tree), "--each", "--format", "csv"]) == 0, what
        shown = {Path(row["folder"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
        # Pretrained models have rows that are made with other runs' splits.
        expected = {one for one in runs if (one / "done").exists() and not one.name.startswith("pretrain")}
        assert expected - {run} <= shown, what
        assert report.main([str(tree)]) == 0, what
        named = capsys.readouterr().out.partition("Not in the tables:")[2]
        assert run in shown or run.name in named or run.name.startswith("pretrain"), what
        which = number % len(ENDS)
        assert commands(tree)[which]() in ENDS[which], what
        capsys.readouterr()


@pytest.mark.parametrize("number", range(4))
def test_what_can_be_recomputed_is_and_the_rest_is_named(number: int, tree: Path, capsys: Capture) -> None:
    chance = random.Random(f"recompute {number}")
    runs = make(tree)
    run = chance.choice(runs[:-1])
    what = f"{run.name}: {damage(run, chance)}"
    for other in {*runs[2:]} - {run}:  # each takes a second
        shutil.rmtree(other)
    code = report.main([str(tree), "--recompute"])
    told = capsys.readouterr().err
    assert code in (0, 1), what
    assert (code == 1) == ("not recomputed: " in told), what


def test_every_kind_of_damage_is_drawn(tree: Path) -> None:
    """What the other tests damage is what they mean to."""
    drawn = set()
    for number in range(30):
        (run, *_) = make(tree)
        drawn.add(damage(run, random.Random(number)).partition(":")[0])
        files = [file for file in run.rglob("*") if file.is_file()]
        assert len(files) < 7 or any(
            file.read_bytes() != (next(TREE.rglob(run.name)) / file.name).read_bytes() for file in files
        )
    assert drawn == {"config.yaml", "metrics.json", "history.csv", "records.npz", "splits.npz", "status.json"}
