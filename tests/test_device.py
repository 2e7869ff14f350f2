"""What the machine offers: precisions of other builds of torch, CPUs within a container's quota, default threads."""

import builtins
import contextlib
import io
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace

import joblib.externals.loky.backend.context as loky
import pytest
import torch

from datasets.loading.loaders import default_workers
from utils import device
from utils.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "one_dnn, names, expected",
    [
        (True, {"_is_avx512_bf16_supported": True, "_is_amx_tile_supported": False}, torch.bfloat16),
        (True, {"_is_avx512_bf16_supported": False, "_is_amx_tile_supported": True}, torch.bfloat16),
        (True, {"_is_avx512_bf16_supported": False, "_is_amx_tile_supported": False}, torch.float32),
        (True, {"_is_avx512_bf16_supported": True}, torch.bfloat16),  # a build for another processor, or an older one
        (True, {}, torch.float32),
        (False, {"_is_avx512_bf16_supported": True}, torch.float32),
        (None, {"_is_avx512_bf16_supported": True}, torch.float32),  # no oneDNN in this build
    ],
)
def test_precision_is_chosen_by_any_build_of_torch(
    monkeypatch: pytest.MonkeyPatch, one_dnn: bool | None, names: dict[str, bool], expected: torch.dtype
):
    known = {name: (lambda value=value: value) for name, value in names.items()}
    operations = SimpleNamespace() if one_dnn is None else SimpleNamespace(_is_mkldnn_bf16_supported=lambda: one_dnn)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: one_dnn is not None)
    monkeypatch.setattr(torch, "ops", SimpleNamespace(mkldnn=operations))
    monkeypatch.setattr(torch, "cpu", SimpleNamespace(**known))
    assert device.choose_precision("auto", CPU) is expected
    assert device.choose_precision("bf16", CPU) is torch.bfloat16


def test_without_one_dnn_its_names_are_not_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch, "ops", SimpleNamespace())
    assert device.choose_precision("auto", CPU) is torch.float32


def files_of(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """These files of the system's groups of processes, and no others of the kind."""
    real_open, real_exists = builtins.open, os.path.exists

    def opened(path: str, *arguments, **more):
        return io.StringIO(files[path]) if path in files else real_open(path, *arguments, **more)

    def exists(path: str) -> bool:
        return path in files if str(path).startswith("/sys/fs/cgroup/cpu") else real_exists(path)

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(os.path, "exists", exists)


QUOTAS = {
    "second version": ({"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
    "first version": (
        {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
        3,
    ),
    "second version without a quota": ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
    "first version without a quota": (
        {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
        64,
    ),
    "none": ({}, 64),
}


@pytest.fixture
def large_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 CPUs, all of them this process's, and torch's count of them."""
    monkeypatch.setattr(loky, "_cpu_count_affinity", lambda count: 64)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    for name in ("LOKY_MAX_CPU_COUNT", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The number of threads that torch is given, without giving it them."""
    threads = [64]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    return lambda: threads[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="quotas of Linux")
@pytest.mark.parametrize("name", QUOTAS)
def test_cpus_are_those_that_the_quota_allows(
    monkeypatch: pytest.MonkeyPatch, large_host: None, set_to: Callable[[], int], name: str
):
    files, cpus = QUOTAS[name]
    files_of(monkeypatch, files)
    assert device.available_cpus() == cpus
    assert default_workers(False, torch.device("meta"), device.available_cpus()) == min(cpus - 1, 8)
    with device.threads_set(None) as threads:
        assert (threads, set_to()) == (cpus, cpus)
    assert set_to() == 64
    with device.threads_set(5) as threads:
        assert threads == 5
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # whoever says how many means it
        with monkeypatch.context() as patch:
            patch.setenv(name, "64")
            with device.threads_set(None) as threads:
                assert threads == 64


def test_without_a_quota_threads_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, large_host: None, set_to: Callable[[], int]
):
    files_of(monkeypatch, {})
    torch.set_num_threads(100)
    with device.threads_set(None) as threads:
        assert threads == 100


def test_cuda_takes_float32_as_such_and_what_was_set_before_comes_back(monkeypatch: pytest.MonkeyPatch):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

    def settings() -> tuple[bool, ...]:
        return cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32

    before = settings()
    try:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = True, False, True, True
        with device.arithmetic_set(torch.device("cuda")) as recorded:
            assert settings() == (False, True, False, False)
        assert recorded == {"cudnn_benchmark": False, "cudnn_deterministic": True, "tf32": False}
        assert settings() == (True, False, True, True)
        with device.arithmetic_set(CPU) as recorded:
            assert settings() == (True, False, True, True)
            assert recorded is None
    finally:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before


def test_what_is_fetched_is_what_was_there():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    state = {"modules": {"model": network.state_dict()}, "list": [torch.ones(2), (1, "a")], "n": 3, "none": None}
    found = device.fetch(state)
    assert found["list"][0].equal(torch.ones(2))
    assert (found["list"][1], found["n"], found["none"]) == ((1, "a"), 3, None)
    weights = found["modules"]["model"]
    assert weights._metadata == network.state_dict()._metadata, "by which older files are understood"
    assert all(weights[name] is not None and weights[name].equal(value) for name, value in network.state_dict().items())
    assert found is not state


def test_a_gpu_is_waited_for_once_and_before_anything_is_read(monkeypatch: pytest.MonkeyPatch):
    asked, waited = [], []

    def empty_like(tensor: torch.Tensor, **where: object) -> torch.Tensor:
        assert where == {"device": "cpu", "pin_memory": True}
        place = torch.zeros(2)
        place.copy_ = lambda source, non_blocking: asked.append((place, source)) or place
        return place

    def synchronize(where: torch.device) -> None:
        waited.append((where, len(asked)))
        for place, source in asked:
            place.fill_(source.number)

    monkeypatch.setattr(device.torch, "empty_like", empty_like)
    monkeypatch.setattr(device, "synchronize", synchronize)
    cards = [Card(number) for number in range(1, 4)]
    found = device.fetch({"a": cards[0], "b": [cards[1], (cards[2], "text")]})
    assert waited == [(torch.device("cuda", 0), 3)], "once, when all were asked for"
    assert [one.tolist() for one in (found["a"], found["b"][0], found["b"][1][0])] == [[1, 1], [2, 2], [3, 3]]
    assert found["b"][1][1] == "text"
    assert all(one is not place for one in (found["a"], found["b"][0]) for place, _ in asked), "ordinary memory"


class Card(torch.Tensor):
    """A tensor that says it is on a GPU."""

    def __new__(cls, number: int):
        made = torch.zeros(2).as_subclass(cls)
        made.number = number
        return made

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", 0)


def test_the_cpu_needs_nothing_sent_and_no_kernel_fused():
    values = torch.arange(3)
    assert device.send(values, CPU) is values
    assert device.fused([torch.zeros(1)]) is None


@pytest.mark.parametrize(
    "name, triton, found, refused",
    [
        ("cuda", True, {"gcc"}, None),
        ("cuda", True, {"g++"}, "the package triton, and a C compiler"),
        ("cuda", False, {"gcc"}, "the package triton, and a C compiler"),
        ("cpu", False, {"g++"}, None),
        ("cpu", True, {"gcc"}, r"a C\+\+ compiler"),
    ],
)
def test_compilers_are_looked_for_before_the_run(
    monkeypatch: pytest.MonkeyPatch, name: str, triton: bool, found: set[str], refused: str | None
):
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(device.shutil, "which", lambda program: program if program in found else None)
    monkeypatch.setattr(device, "find_spec", lambda package: object() if triton else None)
    with contextlib.nullcontext() if refused is None else pytest.raises(UserError, match=refused):
        device.check_compiler(torch.device(name))
