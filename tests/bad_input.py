"""What a case of bad input is: a short title, and a function that prepares a `Place` and returns the command.

The cases stand in bad_input_<topic>.py; bad_input_table.py has their order and writes the page.
"""

import contextlib
import ctypes
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli import ROOT, ok, run
from folders import make_custom, make_fairface, make_waterbird

from scripts.report import command as report

SMALL = "--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1 --num_workers 0"
PRETRAINED = Path("waterbird/small_cnn/pretrain_0")
RETRAINED = Path("waterbird/small_cnn/split0/retrain_0.5_0")
BIRDS = "waterbird_complete95_forest2water2"


@dataclass(frozen=True)
class Place:
    """A folder of its own for a case; data and checkpoints are copied into it only where a case changes them."""

    tmp: Path
    shared: Path  # data/ and runs/: nobody may change them

    @property
    def store(self) -> Path:
        return self.tmp / "store"

    @property
    def trace(self) -> Path:
        """What a payload would make."""
        return self.tmp / "trace"

    @property
    def data(self) -> Path:
        own = self.tmp / "data"
        return own if own.exists() else self.shared / "data"

    def own_data(self) -> Path:
        """The Waterbirds folder, to damage."""
        return Path(shutil.copytree(self.shared / "data" / BIRDS, self.tmp / "data" / BIRDS))

    def own_fairface(self) -> Path:
        """FairFace's label files, to damage."""
        unwanted = shutil.ignore_patterns("*.jpg")
        source = self.shared / "data" / "fairface"
        return Path(shutil.copytree(source, self.tmp / "data" / "fairface", ignore=unwanted))

    def own_custom(self) -> Path:
        """A custom folder, to damage."""
        return Path(shutil.copytree(self.shared / "data" / "my_data", self.tmp / "data" / "my_data"))

    def own_runs(self) -> Path:
        """A store with a pretrained and a retrained run, to damage."""
        return Path(shutil.copytree(self.shared / "runs", self.store))

    def half_finished(self) -> Path:
        """A store whose pretrained run has ended before its last word."""
        runs = self.own_runs()
        (runs / PRETRAINED / "done").unlink()
        return runs

    def config(self, text: str) -> str:
        """A command with this --config file."""
        (self.tmp / "mine.yaml").write_text(text)
        return f"--method miu --config {self.tmp / 'mine.yaml'}"


def make_shared(folder: Path) -> Path:
    """The data sets and runs that the cases start from."""
    make_waterbird(folder / "data")
    make_fairface(folder / "data")
    make_custom(folder / "data")
    for method in ("pretrain", "retrain"):
        ok(f"--method {method} {SMALL}", data_dir=folder / "data", store_dir=folder / "runs", checkpoint_dir=folder)
    return folder


Prepare = Callable[[Place], str]
CASES: dict[str, tuple[Prepare, Callable]] = {}


@contextlib.contextmanager
def nothing(place: Place):
    yield


def case(title: str, during: Callable = nothing) -> Callable[[Prepare], Prepare]:
    """Register a case; `during` is a context (a full disk) for the command."""

    def register(prepare: Prepare) -> Prepare:
        assert title not in CASES
        CASES[title] = (prepare, during)
        return prepare

    return register


def typed(title: str, command: str) -> None:
    """A case that is nothing but a command."""
    case(title)(lambda place: command)


def forbid(path: Path, mode: int) -> None:
    path.chmod(mode)


@contextlib.contextmanager
def unprivileged(place: Place):
    """Permissions bind."""
    yield


# Running them.


@dataclass(frozen=True)
class Outcome:
    """How a case ended, lines with / between; temporary folders have their names from the page, such as <store>."""

    sentence: str
    code: int


def outcome(title: str, place: Place) -> Outcome:
    """Prepare and run a case."""
    prepare, during = CASES[title]
    command = prepare(place)
    with during(place):
        code, text = _unprivileged(command, place) if during is unprivileged else _run(command, place)
    assert not place.trace.exists(), "a payload was run"
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith(("error: ", "not recomputed: "))), 0)
    return Outcome(" / ".join(line.strip() for line in lines[first:]).removeprefix("error: "), code)


def _run(command: str, place: Place) -> tuple[int, str]:
    """Exit code, and standard error with the folders named."""
    if command.startswith("report "):
        err = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            code = report.main(command.split()[1:])
        return code, _named(err.getvalue(), place)
    flags = {"data_dir": place.data, "store_dir": place.store, "checkpoint_dir": place.tmp / "checkpoints"}
    result = run(command, **{name: value for name, value in flags.items() if f"--{name}" not in command})
    return result.code, _named(result.err, place)


def _named(text: str, place: Place) -> str:
    names = {place.data: "<data>", place.store: "<store>", place.tmp: "<tmp>", place.shared: "<shared>"}
    for path, name in names.items():
        text = re.sub(re.escape(str(path)) + r"(?![\w-])", name, text)
    return text


class Header(ctypes.Structure):
    """Of capset(2)."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def _drop_privileges() -> None:
    """An administrator without capabilities: owner of every file here, bound by its permissions."""
    if os.geteuid() == 0:
        header, none = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
        if ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(header), none):
            raise OSError(ctypes.get_errno(), "capset")


def _unprivileged(command: str, place: Place) -> tuple[int, str]:
    """Run a command in a process of its own without privileges, and make the folder removable again.

    A new one: what is forked from a process that has used a GPU cannot use it.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, __file__, place.tmp, place.shared, command],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    for path in [place.tmp, *place.tmp.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.returncode == 0, done.stderr
    code, text = json.loads(done.stdout)
    return code, text


if __name__ == "__main__":
    folder, shared_folder, given = sys.argv[1:]
    _drop_privileges()
    json.dump(_run(given, Place(Path(folder), Path(shared_folder))), sys.stdout)
