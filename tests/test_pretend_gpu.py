"""What failed on the first machine with a GPU holds as on one with a GPU; and tests/pretend_gpu is such a machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from cli import ROOT, python_apart, run_apart
from workshop import ANYWHERE, SMALL, Workshop, assert_same_run, metrics_of, weights_of

FOLDER = ROOT / "tests" / "pretend_gpu"
FAILED = (
    "test_reliability_table.py::test_a_row_says_what_comes[a-store-folder-without-leave-to-write]",
    "test_reliability_table.py::test_a_row_says_what_comes[a-run's-folder-without-leave-to-write]",
    "test_reliability_table.py::test_a_row_says_what_comes[a-label-file-without-leave-to-read]",
    "test_reliability_table.py::test_a_row_says_what_comes[an-image-without-leave-to-read]",
    "test_runs.py::test_config_yaml_says_what_was_run_and_from_where",
    "test_runs.py::test_both_label_forms_of_celeba_are_the_same_run",
    "test_metrics.py::test_metrics_are_recomputed_from_the_records_not_from_what_was_stored",
    # What was skipped there, and what is newer and would have failed.
    "test_bad_input.py::test_a_device_that_is_absent",
    "test_runs.py::test_pretrain_of_another_task_is_already_done",
)
# Processes in which the device was used before and after they were forked.
FORKING = """
import os
from datasets.loading.loaders import default_workers
from utils import device

gpu = device.choose_device("auto")
print(device.gpu_names(), default_workers(False, gpu, 4), default_workers(False, device.choose_device("cpu"), 4))
if os.fork() == 0:
    print(device.describe_device(gpu), flush=True)
    os._exit(0)
os.wait()
device.choose_precision("auto", gpu)
if os.fork() == 0:
    try:
        device.describe_device(gpu)
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """For processes that are started in the test."""
    paths = [str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.mark.slow
def test_what_failed_on_a_machine_with_a_gpu_holds(pretended: None):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in FAILED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    assert re.match(r"21 passed in ", done.stdout.splitlines()[-1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_it_cannot_be_used_in_a_process_forked_after_it_was(pretended: None):
    result = python_apart(FORKING)
    assert result.code == 0, result.err
    devices, name, refusal = result.out.splitlines()
    assert devices == "['0'] 3 0"
    assert name == "Pretended GPU"
    assert refusal.startswith("Cannot re-initialize CUDA in forked subprocess.")


def test_what_a_run_on_it_records_can_be_read(pretended: None, data_dir: Path, tmp_path: Path):
    """By the next start of the same command, and by a run that begins at its model."""
    workshop = Workshop(data_dir, tmp_path, ANYWHERE)
    for name, said in (("pretrain", "done: "), ("pretrain", "already done: "), ("salun", "done: ")):
        result = run_apart(workshop.command(name), **workshop.folders())
        assert result.code == 0, result.err
        assert result.out.splitlines()[-1] == f"{said}{workshop.place(name)}"
    arithmetic = yaml.safe_load((workshop.place("salun") / "config.yaml").read_text())["provenance"]["arithmetic"]
    assert arithmetic == {"cudnn_benchmark": False, "cudnn_deterministic": True, "tf32": False}


@pytest.mark.slow
def test_a_run_on_it_is_none_on_the_cpu(pretended: None, data_dir: Path, tmp_path: Path):
    """It says so, its memory is counted, and nobody gets its last bits again; `--device cpu` is what it always was."""
    made = {
        (device, time): Workshop(data_dir, tmp_path / f"{device} {time}", settings)
        for device, settings in (("gpu", ANYWHERE), ("cpu", SMALL))
        for time in (1, 2)
    }
    for workshop in made.values():
        assert run_apart(workshop.command("pretrain"), **workshop.folders()).code == 0
    folders = {name: workshop.place("pretrain") for name, workshop in made.items()}
    found = yaml.safe_load((folders["gpu", 1] / "config.yaml").read_text())["provenance"]
    assert (found["device"], found["precision"]) == ("Pretended GPU", "bfloat16")
    assert isinstance(metrics_of(folders["gpu", 1])["peak_memory_bytes"], int)
    one, other = (weights_of(folders["gpu", time])["head.weight"] for time in (1, 2))
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, rtol=0, atol=0.05)
    assert metrics_of(folders["cpu", 1])["peak_memory_bytes"] is None
    assert_same_run(folders["cpu", 1], folders["cpu", 2])
