"""What CONTRIBUTING.md says to add for a method, a data set, a metric, a network or a flag is all there is to add."""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli import ROOT, ok, run_apart, written
from pages import Snippet, patched, snippets
from test_architecture import forbidden_imports

QUICK = "--dataset digits --epochs 1 --threads 1"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project without what it made."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("main.py", "method", "datasets", "models", "utils", "scripts"):
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copied(ROOT / name, root / name)
    return root


def template(title: str) -> list[Snippet]:
    """The snippets below a heading of CONTRIBUTING.md, in order."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section
    return [one for one in snippets("CONTRIBUTING.md") if one.text in section[1]]


def put(project: Path, title: str) -> None:
    """Do what a section says."""
    for snippet in template(title):
        if snippet.new_file:
            (project / snippet.new_file).write_text(snippet.text)
        for name, edit in snippet.edits().items() if snippet.language == "diff" else ():
            (project / name).write_text(patched((project / name).read_text(), edit))


@pytest.mark.slow
def test_a_method_is_one_file_and_one_import_line(project: Path, python: Path, tmp_path: Path):
    """Its flags, its defaults, REWEIGHT, its run's name, its reference, its metrics and its row come by themselves."""
    put(project, "Add a method")
    for method in ("pretrain", "retrain --reweight"):
        ok(f"--method {method} {QUICK}", store_dir=tmp_path / "store", checkpoint_dir=tmp_path / "none")
    command = f"--method finetune --ce_weight 0.5 {QUICK}"
    result = run_apart(command, root=project, python=python, store_dir=tmp_path / "store")
    assert result.code == 0, result.err
    folder = tmp_path / "store/digits/small_cnn/split0/finetune_0.5_0"
    assert result.out.splitlines()[-1] == f"done: {folder}"
    assert json.loads((folder / "metrics.json").read_text())["reference"] == "retrain_reweight_0.5_0"
    assert {"metrics.json", "model.pt", "done"} <= set(written(folder))
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert stored["config"]["finetune_scale"] == stored["identity"]["finetune_scale"] == 0.5
    assert stored["sources"]["finetune_scale"] == "--finetune_scale"
    assert forbidden_imports("method.unlearners.finetune", ast.parse(template("Add a method")[0].text)) == []
    dry = run_apart(f"{command} --no-reweight --dry_run", root=project, python=python, store_dir=tmp_path / "store").out
    assert f"reads   {folder.with_name('retrain_reweight_0.5_0')}/metrics.json\n" in dry
    assert f"writes  {folder.with_name('finetune_no-reweight_0.5_0')}/\n" in dry
    assert row_of("finetune", project, python, tmp_path / "store") == ("finetune", "retrain + reweight")
    # A run of an earlier version that was told to reweight: the class alone knows that this is the default.
    del stored["reweights_by_default"]
    stored["sources"]["reweight"] = "--reweight"
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    assert row_of("finetune", project, python, tmp_path / "store") == ("finetune", "retrain + reweight")


def row_of(method: str, project: Path, python: Path, store: Path) -> tuple[str, str]:
    """What the report of the copied project calls the one run of a method, and the run that it is compared with."""
    done = subprocess.run(
        [python, "-m", "scripts.report", str(store), "--format", "json"],
        cwd=project, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    runs = json.loads(done.stdout)["runs"]
    (own,) = [run for run in runs if run["config"]["method"] == method]
    return own["label"], next(run["label"] for run in runs if run["id"] == own["reference"])


@pytest.mark.slow
def test_a_data_set_is_one_file_one_registry_line_and_one_yaml(project: Path, python: Path, tmp_path: Path):
    put(project, "Add a data set")
    for command in ("--method pretrain", "--method retrain --unlearning_ratio 0.5", "--method scrub"):
        result = run_apart(
            f"{command} --dataset squares --threads 1", root=project, python=python, store_dir=tmp_path / "store"
        )
        assert result.code == 0, result.err
    assert (tmp_path / "store/squares/small_cnn/split0/scrub_0.5_0/done").exists()
    table = run_apart(
        "--method scrub --dataset squares --dry_run", root=project, python=python, store_dir=tmp_path / "store"
    ).out
    assert "bright left" in table


@pytest.mark.slow
def test_a_metric_and_a_network_are_as_many_lines_as_the_page_says(project: Path, python: Path, tmp_path: Path):
    put(project, "Add a metric")
    put(project, "Add a network")
    result = run_apart(
        f"--method pretrain --model pixels {QUICK}", root=project, python=python, store_dir=tmp_path / "store"
    )
    assert result.code == 0, result.err
    metrics = json.loads((tmp_path / "store/digits/pixels/pretrain_0/metrics.json").read_text())
    with np.load(tmp_path / "store/digits/pixels/pretrain_0/records.npz") as records:
        right, target = records["prediction"] == records["target"], records["target"]
        expected = [100 * right[(records["split"] == 2) & (target == one)].mean() for one in (0, 1)]
    assert metrics["macro_acc"] == pytest.approx(np.mean(expected))
    shown = subprocess.run(
        [python, "-m", "scripts.report", str(tmp_path / "store"), "--columns", "macro", "--format", "csv"],
        cwd=project, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert f",{metrics['macro_acc']}," in shown.stdout


@pytest.mark.slow
def test_a_flag_is_one_line(project: Path, python: Path):
    put(project, "Add a flag")
    assert (
        "nesterov: true  # --nesterov"
        in run_apart("--method ft --nesterov --print_config", root=project, python=python).out
    )
    refused = run_apart("--method ssd --nesterov --print_config", root=project, python=python)
    assert (refused.code, "--nesterov is a flag of" in refused.err) == (2, True)
