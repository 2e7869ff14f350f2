"""Decoded images that are kept: the same numbers, made once, never half, and refused where there is no room."""

import errno
import json
import multiprocessing
import os
import pickle
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli import ROOT, ok, refused, run
from folders import make_waterbird

from datasets.digits import Digits
from datasets.images import cache as caches
from datasets.images import decoding as images
from datasets.images.cache import FILE, ImageCache, disk_cache, ram_cache
from datasets.images.decoding import FileImages, read_image
from datasets.loading.loaders import Loader
from datasets.waterbird import Waterbirds
from utils.errors import RunError, UserError

SMALL = "--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1"
UNEQUAL = ("seconds", "peak_memory_bytes")
ORDER = np.array([3, 17, 3, 40, 5, 88, 61, 2, 91])


@pytest.fixture
def birds(tmp_path: Path) -> Waterbirds:
    make_waterbird(tmp_path / "data")
    return Waterbirds.load(tmp_path / "data", 0, 0)


def place(folder: Path) -> Path:
    """The folder of the one disk cache below."""
    return next(folder.glob("images-*"))


def one_process_made_it(arguments: tuple[str, str]) -> int:
    """In a process of its own: how many images it decoded."""
    data_dir, folder = arguments
    decoded, real = [], images.open_image
    images.open_image = lambda file, upright: (decoded.append(file), real(file, upright))[1]
    disk_cache(Waterbirds.load(Path(data_dir), 0, 0), Path(folder))
    return len(decoded)


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_every_image_is_as_the_decoder_gave_it(birds: Waterbirds, tmp_path: Path, kind: str):
    kept = ram_cache(birds) if kind == "ram" else disk_cache(birds, tmp_path)
    for row in range(len(birds)):
        expected = read_image(str(birds.file(row)))
        assert torch.equal(kept.image(row), expected)
        assert kept.image(row).stride() == expected.stride()
    assert torch.equal(pickle.loads(pickle.dumps(kept)).image(17), kept.image(17))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_batches_are_the_same_and_no_file_is_opened(birds: Waterbirds, tmp_path: Path, kind: str, workers: int):
    plain = Loader(birds, 32, 0, False)
    kept = ram_cache(birds) if kind == "ram" else disk_cache(birds, tmp_path)
    loader = Loader(birds, 32, workers, False, kept)
    expected = {seed: [batch["image"] for batch in plain.batches(ORDER, 4, seed)] for seed in (None, 7)}
    for row in range(len(birds)):
        birds.file(row).unlink()
    for seed, batches in expected.items():
        found = [batch["image"] for batch in loader.batches(ORDER, 4, seed)]
        assert all(torch.equal(one, other) for one, other in zip(found, batches, strict=True))
    loader.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_what_this_one_holds(birds: Waterbirds, method: str):
    kept = FileImages(birds, 32, ram_cache(birds))
    request = (np.array([5, 6]), np.array([-1, 3]))
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert torch.equal(pool.apply(kept.__getitems__, (request,)), kept.__getitems__(request))


def test_a_run_has_the_same_metrics_and_reads_no_image_twice(birds: Waterbirds, tmp_path: Path):
    found = {}
    for kind in ("none", "ram", "disk", "disk"):
        store = tmp_path / f"{kind}{len(found)}"
        flags = {"data_dir": tmp_path / "data", "store_dir": store, "checkpoint_dir": tmp_path / "none"}
        ok(f"--method pretrain --cache {kind} --num_workers {len(found) % 2} {SMALL}", **flags)
        metrics = json.loads((store / "waterbird/small_cnn/pretrain_0/metrics.json").read_text())
        found[store.name] = {key: value for key, value in metrics.items() if key not in UNEQUAL}
        remembered = json.loads((store / "waterbird/verified.json").read_text())
        assert [entry["bad"] for entry in remembered.values()] == [[]]
    assert all(values == found["none0"] for values in found.values())
    assert len(found) == 4


def test_filling_it_is_the_check_of_the_images(birds: Waterbirds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    birds.file(7).write_bytes(birds.file(7).read_bytes()[:-40])
    flags = {"data_dir": tmp_path / "data", "store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    decoded, real = [], images.open_image
    monkeypatch.setattr(images, "open_image", lambda file, upright: (decoded.append(file), real(file, upright))[1])
    sentence = refused(f"--method pretrain --cache disk --num_workers 0 {SMALL}", **flags)
    assert sentence.startswith(f"1 of 92 images of waterbird cannot be read: row 7, {birds.file(7)} (")
    assert decoded.count(str(birds.file(8))) <= 2  # one of them to see how large images are
    result = run(f"--method pretrain --cache disk --no-verify_data --num_workers 0 {SMALL}", **flags)
    assert result.code == 1
    assert str(birds.file(7)) in result.err
    ok(f"--method pretrain --cache disk --skip_bad_images --overwrite --num_workers 0 {SMALL}", **flags)


@pytest.mark.parametrize("n", [3, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_many_processes_make_it_once(birds: Waterbirds, tmp_path: Path, n: int):
    arguments = [(str(tmp_path / "data"), str(tmp_path / "store"))] * n
    with multiprocessing.get_context("fork").Pool(n) as pool:
        decoded = pool.map(one_process_made_it, arguments, chunksize=1)
    assert sorted(decoded) == [0] * (n - 1) + [len(birds) + min(caches.SAMPLE, len(birds))]
    assert sorted(os.listdir(place(tmp_path / "store"))) == [FILE]


def test_changed_images_replace_it(birds: Waterbirds, tmp_path: Path):
    before = disk_cache(birds, tmp_path)
    birds.file(3).write_bytes(birds.file(4).read_bytes())
    after = disk_cache(birds, tmp_path)
    assert torch.equal(after.image(3), before.image(4))
    assert not torch.equal(after.image(3), before.image(3))  # who has the old one open keeps it
    assert len(list(tmp_path.glob("images-*"))) == 1


@pytest.mark.parametrize("harm", ["truncated", "empty", "foreign"])
def test_a_damaged_one_is_made_anew(birds: Waterbirds, tmp_path: Path, harm: str):
    state = disk_cache(birds, tmp_path).state
    file = place(tmp_path) / FILE
    whole = file.read_bytes()
    file.write_bytes({"truncated": whole[:-1], "empty": b"", "foreign": b"x" * 1000}[harm])
    (file.parent / f".{FILE}.abc").write_bytes(b"left by a process that was killed")
    with pytest.raises((ValueError, OSError, struct.error)):
        ImageCache(str(file), state)
    again = disk_cache(birds, tmp_path)
    assert file.stat().st_size == len(whole)
    assert all(torch.equal(again.image(row), read_image(str(birds.file(row)))) for row in range(len(birds)))
    assert os.listdir(file.parent) == [FILE]


def test_too_little_memory_is_said_before_anything_is_decoded(
    birds: Waterbirds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(caches, "available_memory", lambda: 1000)
    with pytest.raises(UserError, match=r"--cache ram: the decoded images .* take about 0\.0 GiB and 0\.0 GiB"):
        ram_cache(birds)
    monkeypatch.setattr(caches.shutil, "disk_usage", lambda path: type("usage", (), {"free": 10}))
    with pytest.raises(UserError, match="--cache disk: .* are free at "):
        disk_cache(birds, tmp_path)


def test_a_disk_that_gets_full_leaves_nothing(birds: Waterbirds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(caches, "_fill", full)
    with pytest.raises(RunError, match="the disk is full"):
        disk_cache(birds, tmp_path)
    assert os.listdir(place(tmp_path)) == []


def test_a_store_that_cannot_be_written_to_is_named(birds: Waterbirds, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--cache disk: .* cannot be made"):
        disk_cache(birds, tmp_path / "file")


def test_images_in_memory_need_none(tmp_path: Path):
    flags = {"store_dir": tmp_path, "checkpoint_dir": tmp_path / "none"}
    ok("--method pretrain --dataset digits --epochs 1 --cache ram --threads 1", **flags)
    assert Digits.in_memory


def test_the_memory_of_a_ram_cache_ends_with_its_process(birds: Waterbirds, tmp_path: Path):
    code = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from datasets.images.cache import ram_cache
from datasets.waterbird import Waterbirds
print(ram_cache(Waterbirds.load(Path({str(tmp_path / "data")!r}), 0, 0)).path)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()


def in_processes(n: int, code: str, **variables: str) -> list[str]:
    """What each of n processes of one run prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=ROOT,
            env=os.environ | shared | variables | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(n)
    ]
    told = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * n
    return told


@pytest.mark.slow
def test_the_processes_of_a_machine_hold_one_copy(birds: Waterbirds):
    """One decodes, all read the same memory; and so do their workers, by the path that each has of it."""
    code = f"""
import json, os
from pathlib import Path
from datasets.images import decoding as images
from datasets.images import files as image_files
from datasets.images.cache import ram_cache
from datasets.waterbird import Waterbirds
from utils.distributed import joined
decoded, real = [], images.open_image
images.open_image = lambda file, upright: (decoded.append(file), real(file, upright))[1]
birds = Waterbirds.load(Path({str(birds.root.parent)!r}), 0, 0)
with joined():
    cache = ram_cache(birds)
    n = len(decoded)
    equal = [bool((cache.image(row) == real(str(birds.file(row)), False).decode()).all()) for row in range(92)]
    again = cache.__reduce__()[0](*cache.__reduce__()[1])
    place = os.stat(cache.path)
    print(json.dumps([n, all(equal), str(os.getpid()) in cache.path, [place.st_dev, place.st_ino]]))
    assert again.image(3).equal(cache.image(3))
"""
    first, second = (json.loads(told) for told in in_processes(2, code))
    assert first[:3] == [92 + caches.SAMPLE, True, True]
    assert second[:3] == [0, True, True]
    assert first[3] == second[3]


@pytest.mark.slow
def test_each_machine_has_a_copy_and_what_one_refuses_all_refuse():
    """Four processes on two machines, in turn, as some job managers deal them out."""
    code = """
import json, os, socket
from utils.distributed import from_one_a_machine, joined
from utils.errors import UserError
number = int(os.environ["RANK"])
socket.gethostname = lambda: f"machine {number % 2}"
def refuse():
    if number == 1:
        raise UserError("too little memory")
    return number
with joined():
    value = from_one_a_machine(lambda: [number])
    try:
        refused = from_one_a_machine(refuse)
    except UserError as error:
        refused = str(error)
    print(json.dumps([value, refused]))
"""
    told = [json.loads(text) for text in in_processes(4, code)]
    assert told == [[[number % 2], "too little memory"] for number in range(4)]


def test_memory_that_cannot_be_opened_is_said(tmp_path: Path):
    with pytest.raises(RunError, match="--cache ram: the images that another process .*; give --cache disk"):
        caches._of_another(str(tmp_path / "gone"), "0" * 64)


@pytest.mark.slow
def test_a_run_of_two_processes_is_the_same_with_a_cache(birds: Waterbirds, tmp_path: Path):
    """Under torchrun; model and metrics to the last bit."""
    found = []
    for kind in ("none", "ram", "disk"):
        flags = f"--data_dir {birds.root.parent} --store_dir {tmp_path / kind} --checkpoint_dir {tmp_path / 'none'}"
        words = f"--method pretrain --cache {kind} --num_workers 1 --device cpu {SMALL} {flags}".split()
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(ROOT / "main.py")]
        subprocess.run([sys.executable, *launch, *words], check=True, capture_output=True, timeout=300)
        run = tmp_path / kind / "waterbird/small_cnn/pretrain_0"
        metrics = json.loads((run / "metrics.json").read_text())
        model = torch.load(run / "model.pt", weights_only=True)["model"]
        found.append(({key: value for key, value in metrics.items() if key not in UNEQUAL}, model))
    for metrics, model in found[1:]:
        assert metrics == found[0][0]
        assert all(torch.equal(value, found[0][1][name]) for name, value in model.items())
