"""Several processes against one: statistics, bounds, logits, every method's weights, and whole runs under torchrun."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import processes
import pytest
import torch
import yaml
from cli import ROOT, written
from test_meeting import free_port
from tiny import folder
from torch import Tensor, nn

from datasets.waterbird import Waterbirds
from models.batch_norm import Global, across_processes
from utils import collectives, distributed
from utils.device import choose_device
from utils.errors import RunError, UserError
from utils.signals import Interrupted

SHARED_ROWS = ("out", "image", "kept", "features")  # every process has its own rows of these
Found = dict[str, Any]
FILES = sorted(
    [
        "config.yaml",
        "done",
        "history.csv",
        "metrics.json",
        "model.pt",
        "records.npz",
        "run.log",
        "splits.npz",
        "status.json",
    ]
)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """What three processes computed together."""
    return processes.start(3, "parts", tmp_path_factory.mktemp("three"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The same in one process."""
    return processes.start(1, "parts", tmp_path_factory.mktemp("alone"))[0]


def assert_close(together: list[dict[str, Tensor]], alone: dict[str, Tensor], tolerance: float) -> None:
    """The processes agree bit for bit, and with one process but for rounding."""
    for name, expected in alone.items():
        values = [one[name] for one in together]
        if name in SHARED_ROWS:
            torch.testing.assert_close(torch.cat(values), expected, rtol=tolerance, atol=tolerance)
            continue
        assert all(torch.equal(value, values[0]) for value in values), name
        torch.testing.assert_close(values[0], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n", processes.SIZES)
@pytest.mark.slow
def test_batch_norm_is_that_of_the_whole_batch(three: list[Found], alone: Found, n: int):
    """Uneven shares (2, 2, 3) and an empty one (0, 1, 1)."""
    assert_close([one["batch_norm"][n] for one in three], alone["batch_norm"][n], 1e-5)
    assert int(alone["batch_norm"][n]["0.num_batches_tracked"]) == 1


@pytest.mark.parametrize("n", processes.SIZES)
@pytest.mark.slow
def test_the_bound_and_its_gradient_are_those_of_the_whole_batch(three: list[Found], alone: Found, n: int):
    assert_close([one["bound"][n] for one in three], alone["bound"][n], 1e-5)


@pytest.mark.slow
def test_logits_are_bit_equal_on_every_process(three: list[Found], alone: Found):
    for size, logits in alone["inference"].items():
        assert all(torch.equal(one["inference"][size], logits) for one in three)
    assert not torch.equal(alone["inference"]["16"], torch.zeros_like(alone["inference"]["16"]))


@pytest.mark.parametrize("name", processes.METHODS)
@pytest.mark.slow
def test_every_method_ends_where_one_process_does(three: list[Found], alone: Found, name: str):
    """Two epochs with augmentation, an empty share among the forget set's batches."""
    expected = alone["methods"][name]
    assert_close([one["methods"][name]["weights"] for one in three], expected["weights"], 1e-5)
    for one in three:
        assert one["methods"][name]["history"] == three[0]["methods"][name]["history"]
        for row, wanted in zip(one["methods"][name]["history"], expected["history"], strict=True):
            assert row == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    kept = [f"last_after_{n}.pt" for n in range(3)] if name == "scrub" else []
    assert [one["methods"][name]["files"] for one in three] == [["history.csv", "last.pt", *kept], [], []]


@pytest.mark.slow
def test_rank_0_decides_and_the_first_to_fail_speaks(three: list[Found]):
    found = [one["decisions"] for one in three]
    for one in found:
        assert one["value"] == {"ü": [0, None, True]}
        assert one["error"] == "refused by 0"
        assert one["any"] == [True, False]
    assert [one["first"] for one in found] == ["disk full"] * 3
    assert [one["speaks"] for one in found] == [False, True, False]
    assert [one["slices"] for one in found] == [[(0, 2), (7, 7)], [(2, 4), (7, 8)], [(4, 7), (8, 9)]]
    assert [one["batches"] for one in found] == [[(0, 7), (16, 18)], [(7, 14)], [(14, 16)]]


# One process.


def test_one_process_is_alone_and_leaves_numbers_as_they_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASTER_ADDR", "node1")  # a cluster's, without the other variables
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert (distributed.world_size(), distributed.rank(), distributed.local_world_size()) == (1, 0, 1)
    assert distributed.own_range(7) == (0, 7)
    values = torch.randn(6)
    assert collectives.total(values) is values
    assert torch.equal(collectives.mean(values), values.mean())
    with distributed.joined():
        assert distributed.from_rank_0(lambda: values) is values
        assert [collectives.any_of(flag) for flag in (True, False)] == [True, False]
    assert distributed.first_failure("reason") == "reason"
    assert distributed.speaks()


def test_batch_norm_in_eval_mode_and_its_names_are_torchs():
    layer, other = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5)), nn.BatchNorm2d(5)
    names, image = list(layer.state_dict()), processes.images(4)
    across_processes(layer)
    assert isinstance(layer[1], Global)
    assert list(layer.state_dict()) == names
    assert torch.equal(layer[1].eval()(image), other.eval()(image))
    with pytest.raises(TypeError, match="0 is a SyncBatchNorm, not known"):
        across_processes(nn.Sequential(nn.SyncBatchNorm(3)))
    with pytest.raises(TypeError, match="0 is a InstanceNorm2d, not known"):
        across_processes(nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True)))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer[1].train()(image[:1, :, :1, :1])


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_keeps_the_running_statistics_that_torch_keeps(momentum: float | None):
    layer, other = (nn.Sequential(nn.BatchNorm2d(5, momentum=momentum)) for _ in range(2))
    across_processes(layer)
    for n in (4, 6):
        torch.testing.assert_close(layer(processes.images(n)), other(processes.images(n)))
    assert int(layer[0].num_batches_tracked) == 2
    torch.testing.assert_close(layer.state_dict(), other.state_dict())


class Bent(nn.BatchNorm2d):
    """Batch norm with more around it."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image * 2).relu()


class OfItsOwn(nn.BatchNorm2d):
    """Normalised in a way that nobody else knows."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image - image.mean(dim=0)


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, Bent])
@pytest.mark.parametrize("affine", [True, False])
def test_what_a_layer_does_beside_batch_norm_it_does_still(kind: type[nn.Module], affine: bool):
    dims = {nn.BatchNorm1d: (6, 5), nn.BatchNorm3d: (6, 5, 2, 3, 2)}.get(kind, (6, 5, 3, 2))
    image = torch.randn(dims, generator=torch.Generator().manual_seed(0))
    layer, other = (nn.Sequential(kind(5, affine=affine)) for _ in range(2))
    across_processes(layer)
    for mode in (True, True, False):
        torch.testing.assert_close(layer.train(mode)(image), other.train(mode)(image))
    torch.testing.assert_close(layer.state_dict(), other.state_dict())


def test_batch_norm_of_its_own_is_refused_where_it_trains():
    layer = nn.Sequential(OfItsOwn(5))
    across_processes(layer)
    assert layer.eval()(processes.images(4)).shape == (4, 5, 3, 2)
    with pytest.raises(TypeError, match="GlobalOfItsOwn has a batch norm of its own"):
        layer.train()(processes.images(4))


def test_running_statistics_of_several_processes_hold_no_gradient():
    layer = nn.Sequential(nn.Conv2d(5, 5, 1), nn.BatchNorm2d(5))
    across_processes(layer)
    layer(processes.images(4)).sum().backward()
    assert not any(buffer.requires_grad for buffer in layer.buffers())
    layer.eval()(processes.images(4)).sum().backward()  # which torch refuses where they would hold one


def test_batch_norm_of_bf16_is_computed_in_fp32():
    layer = nn.Sequential(nn.BatchNorm2d(5))
    across_processes(layer)
    image = processes.images(6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(image)
    assert out.dtype is torch.bfloat16
    torch.testing.assert_close(out, layer(image.float()).bfloat16(), rtol=0, atol=0)


def test_each_of_several_processes_has_a_device_of_its_own():
    assert choose_device("cpu", processes=2, number=1) == torch.device("cpu")
    with pytest.raises(UserError, match="--device mps is one device, and this run has 2 processes"):
        choose_device("mps", processes=2)
    with pytest.raises(UserError, match="process 64 of this machine has no GPU of its own"):
        choose_device("cuda", processes=65, number=64)


# Whole runs.


@pytest.mark.slow
def test_ten_steps_on_digits_end_where_one_process_does(tmp_path: Path):
    """In fp32 from equal weights, a shorter last batch among them: parameters within 1e-4."""
    one = processes.start(1, "ten_steps", folder(tmp_path, "one"))[0]
    torch.save(one["pretrain"], tmp_path / "original.pt")
    two = processes.start(2, "ten_steps", folder(tmp_path, "two"), ORIGINAL=str(tmp_path / "original.pt"))
    for method, weights in one.items():
        differences = {name: float((two[0][method][name] - value).abs().max()) for name, value in weights.items()}
        largest = max(differences, key=differences.get)
        print(f"{method}: {differences[largest]:.1e} in {largest}")
        assert differences[largest] <= 1e-4
        assert all(torch.equal(two[1][method][name], two[0][method][name]) for name in weights)


def torchrun(command: str, store: Path) -> subprocess.Popen:
    """main.py in two processes on the CPU, on digits unless told otherwise."""
    command = command if "--dataset" in command else f"--dataset digits {command}"
    common = f"--device cpu --precision fp32 --store_dir {store} --checkpoint_dir {store / 'none'}"
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(ROOT / "main.py")]
    return subprocess.Popen(
        [sys.executable, *words, *shlex.split(f"{command} {common}")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


@pytest.mark.slow
def test_whole_runs_leave_one_set_of_files_and_continue(tmp_path: Path):
    pretrain, apart = "--method pretrain --epochs 2 --save_every 5", tmp_path / "apart"
    run = tmp_path / "digits/small_cnn/pretrain_0"
    process = torchrun(pretrain, tmp_path)
    while not (run / "last.pt").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, out) == (1, "")  # torchrun's own, whatever its processes end with
    assert err.count("stopped by SIGTERM: run the same command to continue") == 1
    assert json.loads((run / "status.json").read_text())["state"] == "interrupted"
    assert {"last.pt", "config.yaml"} <= set(written(run))
    assert not {"lock", "done", "model.pt"} & set(written(run))

    code, out, err = ended(torchrun(pretrain, tmp_path))
    assert code == 0, err
    assert out.count(f"done: {run}") == 1
    assert err.count(f"continuing {run}") == 1
    assert written(run) == FILES
    assert yaml.safe_load((run / "config.yaml").read_text())["provenance"]["world_size"] == 2
    code, out, _ = ended(torchrun(pretrain, tmp_path))
    assert (code, out) == (0, f"already done: {run}\n")

    # What was interrupted ends as what was not, to the last bit.
    code, _, err = ended(torchrun(pretrain, apart))
    assert code == 0, err
    files = (root / "digits/small_cnn/pretrain_0/model.pt" for root in (tmp_path, apart))
    one, other = (torch.load(file, weights_only=True) for file in files)
    assert all(torch.equal(one["model"][name], value) for name, value in other["model"].items())

    code, out, err = ended(torchrun("--method salun --epochs 1 --unlearning_ratio 0.5", tmp_path))
    assert code == 0, err
    assert written(tmp_path / "digits/small_cnn/split0/salun_0.5_0") == FILES
    code, out, err = ended(torchrun("--method miu --original nowhere", tmp_path))
    assert (code, out) == (1, "")
    assert err.count("error: --original nowhere: no model.pt there") == 1


@pytest.mark.slow
def test_damaged_images_are_found_and_left_out_by_all_processes(data_dir: Path, tmp_path: Path):
    birds = "waterbird_complete95_forest2water2"
    shutil.copytree(data_dir / birds, tmp_path / "data" / birds)
    image = Waterbirds.load(tmp_path / "data", 0, 0).file(6)
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    small = "--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 1 --num_workers 0"
    pretrain = f"--method pretrain {small} --data_dir {tmp_path / 'data'}"
    code, out, err = ended(torchrun(pretrain, tmp_path))
    assert (code, out) == (1, "")
    assert err.count("error: 1 of 92 images of waterbird cannot be read: row 6, ") == 1
    assert not (tmp_path / "waterbird/small_cnn").exists()

    code, out, err = ended(torchrun(f"{pretrain} --skip_bad_images", tmp_path))
    assert code == 0, err
    run = tmp_path / "waterbird/small_cnn/pretrain_0"
    assert written(run) == FILES
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["n_skipped_images"] == 1
    assert sum(metrics[f"n_{name}"] for name in ("train", "val", "test")) == 91


def by_hand(store: Path, *flags: str, **variables: str) -> list[tuple[int, str]]:
    """main.py in a process for each of these flags; exit codes and standard errors."""
    shared = {"WORLD_SIZE": str(len(flags)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    running = [
        subprocess.Popen(
            [sys.executable, ROOT / "main.py", *shlex.split(words), "--store_dir", store],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | shared | variables | {"RANK": str(rank)},
        )
        for rank, words in enumerate(flags)
    ]
    try:
        said = [process.communicate(timeout=120)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    return [(process.returncode, text) for process, text in zip(running, said, strict=True)]


@pytest.mark.slow
def test_more_processes_than_gpus_are_refused_by_all_in_one_sentence(tmp_path: Path):
    """On a machine with one GPU, as tests/pretend_gpu has it."""
    command = "--method pretrain --dataset digits --device cuda"
    ends = by_hand(tmp_path, command, command, PYTHONPATH=str(ROOT / "tests" / "pretend_gpu"))
    assert [code for code, _ in ends] == [2, 2]
    assert "".join(said for _, said in ends) == (
        "error: process 1 of this machine has no GPU of its own: the machine offers 1; "
        "start as many processes as there are GPUs, or give --device cpu\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [0, 1])
def test_what_one_process_was_asked_wrongly_ends_all_with_2(tmp_path: Path, wrong: int):
    """The other only sees that its peer is gone: it is silent, and ends with the same code."""
    flags = ["--method pretrain --dataset digits --device cpu"] * 2
    flags[wrong] = "--method salun --dataset digits --device cpu --original nowhere"
    ends = by_hand(tmp_path, *flags)
    assert [code for code, _ in ends] == [2, 2]
    assert "".join(said for _, said in ends) == (
        "error: --original nowhere: no model.pt there; give a pretrained run's folder\n"
    )


class Broken:
    """A collective whose peer has gone."""

    def wait(self, *patience: object) -> None:
        raise RuntimeError("[somewhere] Connection closed by peer. Advice")

    def is_completed(self) -> bool:
        return True


class Store:
    """What the processes have told each other."""

    def __init__(self, *words: str) -> None:
        self.words = {*words}

    def check(self, words: list[str]) -> bool:
        return self.words.issuperset(words)

    def set(self, word: str, value: str) -> None:
        self.words.add(word)


@pytest.mark.parametrize(
    "told, raised", [((distributed.FIRST_FAILURE,), RunError), ((distributed.STOPPED,), Interrupted), ((), Interrupted)]
)
def test_a_peer_that_failed_is_no_stop_though_torchrun_sends_its_signal(told, raised, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distributed, "_stores", [Store(*told)])
    monkeypatch.setattr(distributed, "_alone", [])
    monkeypatch.setattr(distributed, "_speaker", [])
    monkeypatch.setattr("utils.signals._asked", ["SIGTERM"])
    with pytest.raises(raised):
        distributed.finished(Broken())
