"""No endless wait: workers, files and peers that hang, stop or die; each scene ends by itself or by one SIGTERM."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli import ROOT, with_flags, words, written
from test_meeting import NAMES, free_port
from workshop import SMALL, Workshop, assert_same_run

fcntl = pytest.importorskip("fcntl")  # signals and processes as POSIX has them
LONG = SMALL.replace("--epochs 3", "--epochs 60").replace("--num_workers 0", "--save_every 1000")
WORKERS = "--num_workers 2"
# main.py in which reading an image never ends once a file is there, as on a file server that has gone.
HANGING = """
import os, sys
import datasets.images.decoding as images
open_image, (mark, *arguments) = images.open_image, sys.argv[1:]
pipe, _ = os.pipe()
def hanging(file, upright=False):
    if os.path.exists(mark):
        os.read(pipe, 1)
    return open_image(file, upright)
images.open_image = hanging
sys.argv = ["main.py", *arguments]
import runpy
runpy.run_path("main.py", run_name="__main__")
"""
LIMIT = 10  # seconds from one SIGTERM to the end

pytestmark = pytest.mark.slow
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")


class Scene:
    """A run in a process of its own, with what it says."""

    def __init__(self, folder: Path, arguments: list[str], program: list[str], **variables: str):
        self.said = folder / f"said_{len(list(folder.glob('said_*')))}"
        others = {name: value for name, value in os.environ.items() if name not in NAMES}
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [*program, *arguments],
                cwd=ROOT,
                stdout=said,
                stderr=said,
                env=others | {"OMP_NUM_THREADS": "1"} | variables,
            )

    @property
    def text(self) -> str:
        return self.said.read_text()

    def until(self, true: Callable[[], object], seconds: float = 120) -> None:
        """Wait for something to become true while the process lives."""
        deadline = time.monotonic() + seconds
        while not true() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert true(), self.text

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and last line, after one signal, within LIMIT; None: by itself, a minute at most."""
        began = time.monotonic()
        if number is not None:
            self.process.send_signal(number)
        self.process.wait(timeout=60)
        seconds = time.monotonic() - began
        line = (self.text.splitlines() or [""])[-1]
        print(f"ended after {seconds:.1f} s: {line}")
        assert number is None or seconds < LIMIT, self.text
        assert "Traceback" not in self.text
        return self.process.returncode, line

    def workers(self) -> list[int]:
        """Its image workers."""
        return [pid for pid in children(self.process.pid) if "resource_tracker" not in command_of(pid)]


def children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.fixture
def workshop(data_dir: Path, tmp_path: Path) -> Workshop:
    return Workshop(data_dir, tmp_path / "store", LONG)


@contextmanager
def running(
    workshop: Workshop, flags: str = WORKERS, program: tuple[str, ...] = ("main.py",), **variables: str
) -> Iterator[Scene]:
    """`pretrain` under way: an epoch or more is behind it, which `last.pt` shows."""
    arguments = words(f"--method pretrain {with_flags(LONG, flags)}", **workshop.folders())
    scene = Scene(workshop.store.parent, arguments, [sys.executable, *program], **variables)
    try:
        yield scene
    finally:
        scene.process.kill()
        scene.process.wait()


def state_of(workshop: Workshop) -> Path:
    return workshop.place("pretrain") / "last.pt"


def assert_goes_on(workshop: Workshop) -> None:
    """The run was saved, and the same command ends as what was not interrupted."""
    folder = workshop.place("pretrain")
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert {"last.pt"} <= set(written(folder))
    assert not {"lock", "done"} & set(written(folder))
    straight = Workshop(workshop.data_dir, workshop.store.parent / "straight", workshop.settings)
    assert_same_run(workshop.ok("pretrain --num_workers 0"), straight.ok("pretrain --num_workers 0"))


# Workers.


@needs_proc
def test_a_stopped_worker_is_not_waited_for_after_a_signal(workshop: Workshop):
    with running(workshop) as scene:
        scene.until(state_of(workshop).exists)
        for pid in scene.workers():
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3)
        stopped = scene.workers()
        before = state_of(workshop).stat().st_mtime_ns
        assert scene.end() == (75, "stopped by SIGTERM: run the same command to continue")
        assert len(stopped) == 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in stopped), "they are gone with it"
    assert state_of(workshop).stat().st_mtime_ns > before
    assert_goes_on(workshop)


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
def test_a_worker_that_dies_ends_the_run_with_a_sentence(workshop: Workshop, number: signal.Signals):
    with running(workshop) as scene:
        scene.until(state_of(workshop).exists)
        (pid, _) = scene.workers()
        os.kill(pid, number)
        code, line = scene.end(None)
    assert code == 1
    assert f"failed: worker process {pid}, which reads images, was ended by the signal" in line
    assert "give a lower --num_workers (0: none), and the same command goes on" in line
    assert json.loads((workshop.place("pretrain") / "status.json").read_text())["state"] == "failed"


@needs_proc
def test_workers_do_not_outlive_a_killed_run(workshop: Workshop):
    with running(workshop) as scene:
        scene.until(state_of(workshop).exists)
        workers = scene.workers()
        scene.process.kill()
        scene.process.wait()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(workers) == 2
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def small_shared_memory() -> list[str]:
    """A program under which /dev/shm has 64 kB; skips where that cannot be made."""
    tool = shutil.which("unshare")
    prefix = [tool or "unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"', "sh"]
    if tool is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare and the right to mount")
    return prefix


def test_a_small_shared_memory_means_no_workers(workshop: Workshop):
    arguments = words(f"--method pretrain {SMALL} {WORKERS}".replace("--num_workers 0", ""), **workshop.folders())
    scene = Scene(workshop.store.parent, arguments, [*small_shared_memory(), sys.executable, "main.py"])
    assert scene.end(None)[0] == 0
    assert scene.text.count("images are read without worker processes (2 were to be): /dev/shm has 0 MiB free") == 1


def test_a_long_temporary_folder_means_no_workers(workshop: Workshop, tmp_path: Path):
    long = tmp_path / ("t" * 100)
    long.mkdir()
    arguments = words(f"--method pretrain {SMALL} {WORKERS}".replace("--num_workers 0", ""), **workshop.folders())
    scene = Scene(workshop.store.parent, arguments, [sys.executable, "main.py"], TMPDIR=str(long))
    assert scene.end(None)[0] == 0
    said = "images are read without worker processes (2 were to be): a socket in the folder for temporary files"
    assert scene.text.count(said) == 1


# Files that never answer.


@pytest.mark.parametrize("flags", ["--num_workers 0", "--num_workers 0 --threads 3"])
def test_reading_without_end_is_left_with_the_state_saved(workshop: Workshop, tmp_path: Path, flags: str):
    mark = tmp_path / "mark"
    with running(workshop, flags, ("-c", HANGING, str(mark))) as scene:
        scene.until(state_of(workshop).exists)
        mark.touch()
        time.sleep(2)
        assert scene.end() == (75, "stopped by SIGTERM: run the same command to continue")
    if "3" not in flags:
        assert_goes_on(workshop)


def test_a_check_that_hangs_is_left(workshop: Workshop, tmp_path: Path):
    """The check waits for its threads, which nothing ends but the end of the process."""
    (tmp_path / "mark").touch()
    with running(workshop, "--num_workers 0", ("-c", HANGING, str(tmp_path / "mark"))) as scene:
        scene.until(lambda: scene.process.poll() is not None or time.sleep(8) or True)
        code, line = scene.end()
    assert code == 75
    assert line.startswith("stopped by SIGTERM while waiting at datasets/")
    assert not workshop.place("pretrain").exists()


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="needs a pipe whose size can be set")
def test_a_pipe_that_nobody_reads_is_left(workshop: Workshop):
    """Such as a pager that was stopped: what is to be said cannot be."""
    unread, end = os.pipe()
    os.write(end, b"x" * (fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)))
    arguments = words(f"--method pretrain {LONG} {WORKERS}", **workshop.folders())
    process = subprocess.Popen([sys.executable, "main.py", *arguments], cwd=ROOT, stdout=end, stderr=end)
    folder = workshop.place("pretrain")
    deadline = time.monotonic() + 60
    while not (folder / "lock").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    began = time.monotonic()
    process.terminate()
    assert process.wait(timeout=60) == 75
    assert time.monotonic() - began < LIMIT
    os.close(end)
    os.close(unread)
    assert (folder / "config.yaml").exists()


# Several processes.


@contextmanager
def two(workshop: Workshop) -> Iterator[list[Scene]]:
    """Two processes of one run, as torchrun starts them, under way."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    arguments = words(f"--method pretrain {LONG} --num_workers 0 --device cpu", **workshop.folders())
    program = [sys.executable, "main.py"]
    scenes = [Scene(workshop.store.parent, arguments, program, **shared, RANK=rank) for rank in "01"]
    try:
        scenes[0].until(state_of(workshop).exists)
        yield scenes
    finally:
        for scene in scenes:
            scene.process.kill()
            scene.process.wait()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stopped_peer_is_not_waited_for_after_a_signal(workshop: Workshop, rank: int):
    with two(workshop) as scenes:
        scenes[1 - rank].process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        code, line = scenes[rank].end()
        assert code == 75
        assert line == "stopped by SIGTERM while waiting for another of its processes: run the same command to continue"
        if rank == 0:
            folder = workshop.place("pretrain")
            assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
            assert {"last.pt"} <= set(written(folder))


def test_a_killed_peer_ends_the_run(workshop: Workshop):
    with two(workshop) as scenes:
        scenes[1].process.kill()
        code, line = scenes[0].end(None)
    assert code == 1
    assert "failed: another of the 2 processes is gone (" in line


def test_one_signal_to_any_stops_all_after_the_same_step(workshop: Workshop):
    with two(workshop) as scenes:
        codes = [scenes[1].end(), scenes[0].end(None)]
    assert [code for code, _ in codes] == [75, 75]
    folder = workshop.place("pretrain")
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
