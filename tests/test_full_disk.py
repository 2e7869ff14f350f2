"""A disk without space: one sentence that says so, nothing half-written, and the same command goes on from there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cli import Result, error_of, ok, run, written
from damage import full_disk

from utils.errors import RunError
from utils.files import write_atomic, write_json, write_text

# On the CPU, where alone a run can be made again to the last bit.
DIGITS = "--method pretrain --dataset digits --epochs 2 --threads 1 --device cpu"
PLACE = Path("digits/small_cnn/pretrain_0")
REMEDY = "cannot be written, the disk is full (No space left on device): free space and run the same command to go on"
VARYING = ("seconds", "peak_memory_bytes")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run that nothing happened to."""
    store = tmp_path_factory.mktemp("undisturbed")
    ok(DIGITS, store_dir=store, checkpoint_dir=store / "none")
    return store


def pretrain(store: Path) -> Result:
    return run(DIGITS, store_dir=store, checkpoint_dir=store / "none")


def same_run(one: Path, other: Path) -> None:
    """Model, records and metrics are equal to the last bit, and no temporary file is left."""
    for name in ("model.pt", "records.npz"):
        assert (one / PLACE / name).read_bytes() == (other / PLACE / name).read_bytes()
    metrics = [json.loads((store / PLACE / "metrics.json").read_text()) for store in (one, other)]
    for values in metrics:
        for key in VARYING:
            values.pop(key)
    assert metrics[0] == metrics[1]
    assert written(one) == written(other)


# Within write_atomic.


@pytest.mark.parametrize("room", [0, 100, 5000])
def test_what_stood_there_stays(room: int, tmp_path: Path):
    file = tmp_path / "last.pt"
    file.write_bytes(b"the last good state")
    with full_disk("last.pt", room=room), pytest.raises(RunError) as error:
        write_atomic(file, lambda out: torch.save({"a": torch.zeros(9000), "b": torch.zeros(9000)}, out))
    assert str(error.value) == f"{file} {REMEDY}"
    assert file.read_bytes() == b"the last good state"
    assert os.listdir(tmp_path) == ["last.pt"]


def test_another_error_is_not_taken_for_a_full_disk(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "absent" / "a.txt", "text")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert os.listdir(tmp_path) == []


# In a run.


@pytest.mark.parametrize(
    "name, after",
    [("last.pt", 1), ("history.csv", 1), ("model.pt", 0), ("records.npz", 0), ("metrics.json", 0), ("done", 0)],
)
def test_a_run_that_meets_a_full_disk_is_continued(name: str, after: int, undisturbed: Path, tmp_path: Path):
    with full_disk(name, after=after, room=None if name == "done" else 100):
        sentence = error_of(pretrain(tmp_path), 1)
    assert sentence == f"{tmp_path / PLACE} failed: {tmp_path / PLACE / name} {REMEDY}"
    status = json.loads((tmp_path / PLACE / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("failed", f"{tmp_path / PLACE / name} {REMEDY}")
    state = torch.load(tmp_path / PLACE / "last.pt", weights_only=True)
    assert len(state["history"]) == (after if name in ("last.pt", "history.csv") else 2)
    assert not [file for file in written(tmp_path) if Path(file).name.startswith(".")]
    assert pretrain(tmp_path).code == 0
    log = (tmp_path / PLACE / "run.log").read_text()
    assert log.count("continuing") == 1
    same_run(tmp_path, undisturbed)


@pytest.mark.parametrize("name", ["config.yaml", "splits.npz"])
def test_no_space_at_the_very_start(name: str, undisturbed: Path, tmp_path: Path):
    with full_disk(name):
        assert error_of(pretrain(tmp_path), 1).endswith(f"{tmp_path / PLACE / name} {REMEDY}")
    assert pretrain(tmp_path).code == 0
    same_run(tmp_path, undisturbed)


def test_a_status_that_cannot_be_written_hides_nothing(undisturbed: Path, tmp_path: Path):
    """Its first writing says that the run started; the second would say that it failed."""
    with full_disk("last.pt"), full_disk("status.json", after=1):
        assert error_of(pretrain(tmp_path), 1) == f"{tmp_path / PLACE} failed: {tmp_path / PLACE / 'last.pt'} {REMEDY}"
    assert pretrain(tmp_path).code == 0
    same_run(tmp_path, undisturbed)


# A real one.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB; skipped where this user or this container may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if not shutil.which("mount"):
        pytest.skip("there is no mount here")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip() or done.returncode}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that takes all but `leave` bytes."""
    ballast, found = disk / "ballast", os.statvfs(disk)
    ballast.write_bytes(bytes(found.f_bavail * found.f_frsize - leave))
    return ballast


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
@pytest.mark.parametrize("leave", [0, 40_000, 500_000])
def test_a_small_disk_that_fills_up_and_is_freed(leave: int, small_disk: Path, undisturbed: Path):
    """Wherever the run stops: at its folder, its first files, its state or its model."""
    ballast, store = fill(small_disk, leave), small_disk / "store"
    sentence = error_of(pretrain(store), 1)
    assert sentence.endswith(REMEDY)
    assert str(store / PLACE) in sentence
    assert not [file for file in written(store) if Path(file).name.startswith(".")]
    ballast.unlink()
    assert pretrain(store).code == 0
    same_run(store, undisturbed)
