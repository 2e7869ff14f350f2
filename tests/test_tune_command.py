"""The command that searches, on tiny images: it ends at its budget, goes on, and loses no more than a trial."""

import contextlib
import csv
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import ROOT, configuration, ok, with_flags
from workshop import SMALL

from method.runs.folder import METRICS
from scripts import export_model, import_model
from scripts.tune import command
from utils.locks import holder

pytestmark = pytest.mark.slow
TASK = f"--method salun --unlearning_ratio 0.5 {SMALL} --tune_seeds 3,4"
ALONE = "--device cpu --threads 1 --num_workers 0"
QUICK = "pretrain: {epochs: 1}\nretrain: {epochs: 1}\n"


def words(data_dir: Path, store: Path, given: str) -> list[str]:
    (store / "quick.yaml").write_text(QUICK)
    places = ["--config", str(store / "quick.yaml")]
    places += ["--data_dir", str(data_dir), "--store_dir", str(store), "--checkpoint_dir", str(store / "none")]
    return [*shlex.split(with_flags(TASK, given)), *places]


def table(folder: Path) -> list[dict[str, str]]:
    """The trials of the only study in a store folder."""
    with next(folder.glob("tune/**/trials.csv")).open() as file:
        return list(csv.DictReader(file))


def test_a_search_ends_at_its_budget_goes_on_and_makes_nothing_twice(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], threads_put_back: None
):
    best = tmp_path / "best.yaml"
    given = f"--try '--lr 1e-3' --out {best} --space lr=1e-4:1e35:log"
    assert command.main(words(data_dir, tmp_path, f"{given} --budget 2")) == 0
    first = capsys.readouterr()
    assert [row["origin"] for row in table(tmp_path)] == ["default", "--try"]
    assert first.err.count("is made, for all settings") == 4
    made = {file: file.stat().st_mtime_ns for file in tmp_path.glob(f"**/{METRICS}")}
    assert len(made) == 8

    # A setting that diverges counts, and ends nothing.
    assert command.main(words(data_dir, tmp_path, f"{given} --budget 4 --try '--lr 1e34'")) == 0
    rows = table(tmp_path)
    assert [row["state"] for row in rows] == ["complete", "complete", "pruned", rows[3]["state"]]
    assert "is not finite" in rows[2]["reason"]
    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert command.main(words(data_dir, tmp_path, f"{given} --budget 4")) == 0
    assert table(tmp_path) == rows

    row = min((row for row in rows if row["state"] == "complete"), key=lambda row: float(row["distance"]))
    found = configuration(f"--method salun --dataset waterbird --unlearning_ratio 0.5 --config {best}")
    assert found.lr == float(row["lr"])
    assert f"lr: {found.lr}" in ok(f"--method salun --dataset waterbird --config {best} --print_config").out
    assert (next(tmp_path.glob("tune/**/search.svg"))).read_text().startswith("<svg")


def test_without_a_retrained_model_none_is_made(data_dir: Path, tmp_path: Path, threads_put_back: None):
    assert command.main(words(data_dir, tmp_path, "--budget 1 --objective without_retrained")) == 0
    (row,) = table(tmp_path)
    assert float(row["distance"]) == pytest.approx(
        (float(row["lost_by_group"]) + float(row["loss_distance"])) / 2, abs=1e-3
    )
    assert not list(tmp_path.glob("**/retrain*"))


def test_beside_a_model_of_another_program_a_search_names_what_needs_no_retrained_one(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], threads_put_back: None
):
    place = f"--data_dir {data_dir} --store_dir {tmp_path} --checkpoint_dir {tmp_path / 'none'}"
    ok(f"--method pretrain {SMALL} {place}")
    trained = next(tmp_path.glob("**/pretrain_0"))
    weights, model = tmp_path / "weights.safetensors", tmp_path / "imported"
    exported = f"{trained} --format safetensors --out {weights}"
    assert export_model.main(exported.split()) == 0
    imported = f"{weights} --dataset waterbird --model small_cnn --image_size 32 {ALONE} --data_dir {data_dir}"
    assert import_model.main([*imported.split(), "--store_dir", str(model)]) == 0
    original = next(model.glob("**/pretrain_0"))
    assert command.main(words(data_dir, tmp_path, f"--budget 1 --original {original}")) == 2
    assert "was trained by another program" in capsys.readouterr().err
    given = f"--budget 1 --original {original} --objective without_retrained"
    assert command.main(words(data_dir, tmp_path, given)) == 0


@contextlib.contextmanager
def started(data_dir: Path, store: Path, given: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own."""
    line = [sys.executable, "-W", "ignore", "-m", "scripts.tune", *words(data_dir, store, given)]
    child = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def test_a_killed_worker_costs_its_trial_and_a_stopped_one_nothing(data_dir: Path, tmp_path: Path):
    given = "--budget 4 --epochs 30"  # time enough to be killed in
    with started(data_dir, tmp_path, given) as one, started(data_dir, tmp_path, given) as other:
        end = time.monotonic() + 120
        while not (at_work := [holder(run) for run in tmp_path.glob("tune/**/salun-*") if holder(run) is not None]):
            assert time.monotonic() < end, "no trial was begun"
            time.sleep(0.05)
        victim, survivor = (one, other) if one.pid == at_work[0].pid else (other, one)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        with started(data_dir, tmp_path, given) as again:
            time.sleep(0.5)
            survivor.send_signal(signal.SIGTERM)
            told = survivor.communicate(timeout=60)[0]
            assert survivor.returncode in (0, 75, -15), told
            told = again.communicate(timeout=180)[0]
            assert again.returncode == 0, told
    rows = table(tmp_path)
    assert sum(row["state"] in ("complete", "pruned") for row in rows) == 4, told
    lost = [row for row in rows if row["state"] == "fail"]
    assert 1 <= len(lost) <= 2
    assert all(any(row["lr"] == other["lr"] for other in rows if other["state"] != "fail") for row in lost)
    assert not list(tmp_path.glob("tune/**/workers/*"))


def test_jobs_are_workers_of_one_study(data_dir: Path, tmp_path: Path):
    with started(data_dir, tmp_path, "--budget 4 --jobs 2") as child:
        told = child.communicate(timeout=180)[0]
    assert child.returncode == 0, told
    assert told.count("best: trial") == 1
    assert sum(row["state"] in ("complete", "pruned") for row in table(tmp_path)) == 4
