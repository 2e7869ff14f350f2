"""Shared by tests that run commands: data sets in the real layouts, and the threads of this process put back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from folders import make_celeba, make_fairface, make_waterbird

import method.evaluation.own  # noqa: F401  (fills METRICS)
from method.evaluation.columns import COLUMNS
from method.evaluation.registry import OWN_METRICS


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
