"""Shared by tests that run commands: data sets in the real layouts, and the threads of this process put back."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import groupby
from pathlib import Path

import pytest
import torch
import warm
from browser import Browser
from folders import make_celeba, make_fairface, make_waterbird

import method.evaluation.own  # noqa: F401  (fills METRICS)
from method.evaluation.columns import COLUMNS
from method.evaluation.registry import OWN_METRICS


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin the share of each of several workers with slow tests, so that no long one is waited for at the end.

    A worker has an equal part of the list; one that has done its own takes from the end of another's. Slow tests are
    dealt out by files, whose fixtures they share.
    """
    n = getattr(config, "workerinput", {}).get("workercount", 1)
    if n == 1:
        return
    slow, quick = [], []
    for item in items:
        (slow if item.get_closest_marker("slow") else quick).append(item)
    files = [list(tests) for _, tests in groupby(slow, key=lambda item: item.path)]
    items[:] = [
        item
        for k in range(n)
        for part in (*files[k::n], quick[len(quick) * k // n : len(quick) * (k + 1) // n])
        for item in part
    ]


@pytest.fixture(scope="session", autouse=True)
def without_metrics_of_ones_own() -> None:
    """What runs and reports hold is compared to the letter, and a checkout may have metrics beside those."""
    COLUMNS[:] = [column for column in COLUMNS if column.key not in OWN_METRICS]
    OWN_METRICS.clear()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three data sets in their real layouts, CelebA with .txt labels; nobody may change it."""
    root = tmp_path_factory.mktemp("data")
    make_celeba(root)
    make_fairface(root)
    make_waterbird(root)
    return root


@pytest.fixture
def threads_put_back() -> Iterator[None]:
    """`--threads` holds for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def python() -> Iterator[Path]:
    """A `python` that starts at once (warm.py)."""
    # Not in pytest's folder: its name would make the path of the socket too long.
    with tempfile.TemporaryDirectory(prefix="warm") as folder:
        place, python = Path(folder, "socket"), Path(folder, "python")
        forks = sys.platform == "linux"  # elsewhere a fork of what has imported torch may crash
        words = f'-I -S "{warm.__file__}" "{place}"' if forks else ""
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        python.chmod(0o755)
        with started_server(place) if forks else nullcontext():
            yield python


@contextmanager
def started_server(place: Path) -> Iterator[None]:
    """The server of warm.py, which ends when this does, and when this process is killed."""
    command, pipes = [sys.executable, warm.__file__, place], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, env=os.environ | {"OMP_NUM_THREADS": "1"}) as server:
        assert server.stdout.readline() == b"ready\n"
        yield


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for the tests of a file."""
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened
