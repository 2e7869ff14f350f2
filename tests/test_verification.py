"""Images that cannot be read: found before a run, listed, remembered, left out where that is asked for."""

import json
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli import ok, refused, run, written
from folders import make_fairface

from datasets.digits import Digits
from datasets.fairface import FairFace
from datasets.images import decoding as images
from datasets.images import files as image_files
from datasets.images.verification import bad_images, refuse_bad_images
from datasets.waterbird import Waterbirds
from utils.errors import UserError

SMALL = "--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1 --num_workers 0"
BIRDS = "waterbird_complete95_forest2water2"


@pytest.fixture
def birds(data_dir: Path, tmp_path: Path) -> Waterbirds:
    """A copy to damage."""
    shutil.copytree(data_dir / BIRDS, tmp_path / "data" / BIRDS)
    return Waterbirds.load(tmp_path / "data", 0, 0)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were decoded, as they are."""
    files, real = [], images.open_image
    monkeypatch.setattr(images, "open_image", lambda file, upright: (files.append(file), real(file, upright))[1])
    return files


def cut(file: Path) -> None:
    """Half of a JPEG: its header is whole, so that only decoding shows it."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flags(tmp_path: Path) -> dict[str, Path]:
    return {"data_dir": tmp_path / "data", "store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}


def test_every_kind_of_damage_is_found_with_its_row(birds: Waterbirds, tmp_path: Path):
    cut(birds.file(7))
    birds.file(30).unlink()
    birds.file(70).write_bytes(b"no image")
    birds.file(91).write_bytes(b"")
    found = bad_images(birds, tmp_path / "verified.json")
    assert [(bad.row, bad.path) for bad in found] == [(row, str(birds.path[row])) for row in (7, 30, 70, 91)]
    assert found[1].reason == "No such file or directory"
    assert "truncated" in found[0].reason


def test_rows_that_no_run_reads_are_not_checked(tmp_path: Path):
    """FairFace's rows without service_test have no image in these folders."""
    make_fairface(tmp_path)
    assert bad_images(FairFace.load(tmp_path, 0, 0), tmp_path / "verified.json") == []


def test_images_in_memory_need_no_check(tmp_path: Path):
    assert bad_images(Digits.load(tmp_path, 0, 0), tmp_path / "verified.json") == []
    assert not (tmp_path / "verified.json").exists()


def test_unchanged_images_are_decoded_once(birds: Waterbirds, decoded: list[str], tmp_path: Path):
    memory = tmp_path / "new" / "verified.json"
    assert bad_images(birds, memory) == []
    assert sorted(decoded) == sorted(str(birds.file(row)) for row in range(92))
    decoded.clear()
    assert bad_images(birds, memory) == []
    assert decoded == []


@pytest.mark.parametrize("change", ["size", "time", "missing"])
def test_a_changed_image_makes_the_memory_stale(change: str, birds: Waterbirds, decoded: list[str], tmp_path: Path):
    memory = tmp_path / "verified.json"
    bad_images(birds, memory)
    decoded.clear()
    file, before = birds.file(11), birds.file(11).stat()
    if change == "size":
        cut(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "time":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        file.unlink()
    assert len(bad_images(birds, memory)) == (change != "time")
    assert len(decoded) == 92


def test_bad_images_alone_are_tried_again(birds: Waterbirds, decoded: list[str], tmp_path: Path, monkeypatch):
    """Unchanged on disk, but the file server that failed is back."""
    real = images.open_image
    failing = str(birds.file(5))

    def opened(file: str, upright: bool) -> object:
        return images.UnreadableImage(file, "I/O error") if file == failing else real(file, upright)

    with monkeypatch.context() as patch:
        patch.setattr(images, "open_image", opened)
        assert [bad.reason for bad in bad_images(birds, tmp_path / "verified.json")] == ["I/O error"]
    decoded.clear()
    assert bad_images(birds, tmp_path / "verified.json") == []
    assert decoded == [failing]
    decoded.clear()
    assert bad_images(birds, tmp_path / "verified.json") == []
    assert decoded == []


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"PLACE": 3}', '{"PLACE": {"state": 1}}', "[" * 100000])
def test_a_memory_that_says_nothing_is_made_anew(text: str, birds: Waterbirds, decoded: list[str], tmp_path: Path):
    memory = tmp_path / "verified.json"
    memory.write_text(text.replace("PLACE", str(birds.root.resolve())))
    assert bad_images(birds, memory) == []
    assert len(decoded) == 92
    assert json.loads(memory.read_text())[str(birds.root.resolve())]["bad"] == []


def test_a_memory_that_cannot_be_written_is_done_without(birds: Waterbirds, tmp_path: Path):
    (tmp_path / "store").write_text("a file, not a folder")
    assert bad_images(birds, tmp_path / "store" / "verified.json") == []


def test_writers_at_once_leave_a_whole_memory(birds: Waterbirds, tmp_path: Path):
    memory = tmp_path / "verified.json"
    threads = [threading.Thread(target=bad_images, args=(birds, memory)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(json.loads(memory.read_text())) == [str(birds.root.resolve())]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_the_listing_stops_after_twenty(birds: Waterbirds, tmp_path: Path):
    for row in range(10, 35):
        birds.file(row).write_bytes(b"")
    bad = bad_images(birds, tmp_path / "verified.json")
    with pytest.raises(UserError) as error:
        refuse_bad_images(birds, bad, may_skip=True)
    lines = str(error.value).splitlines()
    assert lines[0] == "25 of 92 images of waterbird cannot be read:"
    assert [line.split(", ")[0].strip() for line in lines[1:21]] == [f"row {row}" for row in range(10, 30)]
    assert lines[21:] == [
        "  and 5 more",
        "put intact copies there, or leave them out with --skip_bad_images",
    ]


def test_a_run_is_refused_before_its_folder_is_made(birds: Waterbirds, tmp_path: Path):
    cut(birds.file(88))
    sentence = refused(f"--method pretrain {SMALL}", **flags(tmp_path))
    assert sentence.startswith(f"1 of 92 images of waterbird cannot be read: row 88, {birds.file(88)} (")
    assert sentence.endswith("; put an intact copy there, or leave it out with --skip_bad_images")
    assert written(tmp_path / "store") == ["waterbird/verified.json"]


def test_bad_images_are_left_out_and_that_is_recorded(birds: Waterbirds, tmp_path: Path):
    rows = [0, 40, 61, 91]
    for row in rows:
        cut(birds.file(row))
    for method in ("pretrain", "retrain"):
        ok(f"--method {method} --skip_bad_images {SMALL}", **flags(tmp_path))
    for place, names in (("pretrain_0", ("train", "val", "test")), ("split0/retrain_0.5_0", ("retain", "forget"))):
        folder = tmp_path / "store/waterbird/small_cnn" / place
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["n_skipped_images"] == 4
        stored = yaml.safe_load((folder / "config.yaml").read_text())
        assert stored["skipped_images"] == {"n": 4, "first": [str(birds.path[row]) for row in rows]}
        assert stored["identity"]["skip_bad_images"] is True
        counts = {name: np.bincount(np.delete(birds.split, rows))[code] for code, name in enumerate(("train", "val"))}
        total = sum(metrics[f"n_{name}"] for name in names)
        assert total == (88 if "train" in names else counts["train"])
        assert "4 images cannot be read and are left out" in (folder / "run.log").read_text()


def test_a_run_that_leaves_out_none_says_so_too(birds: Waterbirds, tmp_path: Path):
    ok(f"--method pretrain --skip_bad_images {SMALL}", **flags(tmp_path))
    folder = tmp_path / "store/waterbird/small_cnn/pretrain_0"
    assert json.loads((folder / "metrics.json").read_text())["n_skipped_images"] == 0
    assert "another run" in refused(f"--method pretrain {SMALL}", **flags(tmp_path))


def test_the_command_for_the_original_leaves_them_out_too(birds: Waterbirds, tmp_path: Path):
    """Its data fingerprint would be another one."""
    cut(birds.file(3))
    sentence = refused(f"--method salun --skip_bad_images {SMALL}", **flags(tmp_path))
    assert "--method pretrain" in sentence
    assert "--skip_bad_images" in sentence


def test_where_nothing_can_be_read_nothing_is_left_out(birds: Waterbirds, tmp_path: Path):
    for row in range(92):
        birds.file(row).write_bytes(b"")
    result = run(f"--method pretrain --skip_bad_images {SMALL}", **flags(tmp_path))
    assert result.code == 2
    assert "92 of 92 images of waterbird cannot be read" in result.err
    assert "--skip_bad_images" not in result.err


def test_rows_left_out_leave_the_others_as_they_were(data_dir: Path):
    whole = Waterbirds.load(data_dir, 0, 0)
    before = whole.fingerprint  # made once and kept
    smaller = whole.without([2, 90])
    kept = np.delete(np.arange(92), [2, 90])
    for name in ("target", "sensitive", "group", "split", "path", "unit"):
        assert (getattr(smaller, name) == getattr(whole, name)[kept]).all()
        assert not getattr(smaller, name).flags.writeable
    assert len(whole) == 92
    assert smaller.fingerprint != before == whole.fingerprint
    assert whole.without([]).fingerprint == before


@pytest.mark.parametrize("chunk", [1, 92])
def test_nobody_waits_for_images_after_an_interruption(birds: Waterbirds, tmp_path: Path, monkeypatch, chunk: int):
    """Neither between chunks of images nor within one."""
    read = []

    def slow(file: str, upright: bool) -> images.UnreadableImage:
        read.append(file)
        time.sleep(0.02)
        return images.UnreadableImage(file, "slow")

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "open_image", slow)
    monkeypatch.setattr(image_files, "check_stop", stop)
    monkeypatch.setattr(image_files, "CHUNK", chunk)
    monkeypatch.setattr(image_files, "PAUSE", 0.1)
    monkeypatch.setattr(image_files, "available_cpus", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        bad_images(birds, tmp_path / "verified.json")
    assert len(read) < 92
    assert not (tmp_path / "verified.json").exists()


def test_the_two_flags_exclude_each_other(tmp_path: Path):
    sentence = refused("--method pretrain --skip_bad_images --no-verify_data", store_dir=tmp_path)
    assert sentence == "--skip_bad_images needs the check that --no-verify_data leaves out; keep one of them"
