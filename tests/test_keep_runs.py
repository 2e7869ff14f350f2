"""scripts/keep_runs.py on the golden tree of short real runs."""

from pathlib import Path

import pytest
import yaml
from cli import ROOT
from trees import Capture, shown

from scripts import keep_runs

TREE = ROOT / "tests/golden/output"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    assert keep_runs.main([str(TREE), str(tmp_path / "kept")]) == 0
    return tmp_path / "kept"


@pytest.mark.parametrize("flags", [(), ("--each",), ("--difference",)])
def test_the_tables_are_those_of_the_original(kept: Path, capsys: Capture, flags: tuple[str, ...]) -> None:
    theirs, ours = (shown(root, capsys, *flags).partition("Not in the tables:")[0] for root in (TREE, kept))
    assert "pretrain" in ours
    assert ours.split("In percent:")[0].rstrip() == theirs.rstrip()


def test_no_model_no_log_and_few_arrays(kept: Path) -> None:
    assert not list(kept.rglob("model.pt")) + list(kept.rglob("run.log")) + list(kept.rglob("status.json"))
    records = {file.parent.name for file in kept.rglob("records.npz")}
    assert records == {file.parent.name for file in TREE.rglob("pretrain*/done")}
    assert 0 < len(list(kept.rglob("splits.npz"))) < len(list(TREE.rglob("splits.npz")))


def test_unfinished_runs_are_named(capsys: Capture, tmp_path: Path) -> None:
    assert keep_runs.main([str(TREE), str(tmp_path / "kept")]) == 0
    told = capsys.readouterr().out
    assert "11 runs kept in" in told
    assert "l1_sparse_0.9_0: failed: the loss of phase retain is not finite" in told
    assert not list(tmp_path.rglob("l1_sparse_0.9_0"))


def test_paths_of_the_machine_are_left_out(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    golden = next(TREE.rglob("pretrain_0/done")).parent
    stored = yaml.safe_load((golden / "config.yaml").read_text())
    stored["config"] |= {"data_dir": "/home/someone/data", "store_dir": "output"}
    run = source / "pretrain_0"
    run.mkdir(parents=True)
    for file in golden.iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    (run / "config.yaml").write_text(yaml.safe_dump(stored))
    assert keep_runs.main([str(source), str(target)]) == 0
    config = yaml.safe_load((target / "pretrain_0/config.yaml").read_text())["config"]
    assert config == stored["config"] | {"data_dir": "data"}


def test_a_folder_without_runs(tmp_path: Path, capsys: Capture) -> None:
    assert keep_runs.main([str(tmp_path), str(tmp_path / "kept")]) == 2
    assert f"error: no run under {tmp_path}" in capsys.readouterr().err
