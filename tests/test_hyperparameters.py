"""Every row of the published hyperparameters is what its command line gets."""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cli import configuration

from method.configs import loading

ROWS = list(csv.DictReader((Path(__file__).parent / "hyperparameters.csv").open()))
PUBLISHED_TASKS = {
    "celeba": ("split0 ratio 0.1", "split0 ratio 0.5", "split0 ratio 0.9"),
    "fairface": ("split0 ratio 0.1", "split0 ratio 0.5", "split0 ratio 0.9", "multi3 ratio 0.5", "multi5 ratio 0.5"),
    "waterbird": ("split0 ratio 0.1", "split0 ratio 0.5", "split0 ratio 0.9"),
}
CHOOSES = ("dataset", "task", "method", "reweight")
RENAMED = {"mine_lr": "miu_mine_lr", "lambda_mi": "miu_lambda_mi"}


@pytest.fixture(scope="module", autouse=True)
def each_file_is_read_once() -> Iterator[None]:
    """The package's files do not change between a hundred rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "read_layer_file", cache(loading.read_layer_file))
        yield


def command(row: dict[str, str], task: str) -> str:
    """The command line of a row."""
    name, _, ratio = task.split()
    group = f"--multi_group {name[5:]}" if name.startswith("multi") else f"--split_number {name[5:]}"
    reweight = {"0": "--no-reweight", "1": "--reweight"}[row["reweight"]] if row["method"] != "pretrain" else ""
    return f"--method {row['method']} --dataset {row['dataset']} --unlearning_ratio {ratio} {group} {reweight}"


def typed(text: str, value: Any) -> Any:
    """A cell as the type of the value it is compared with."""
    return {"True": True, "False": False}[text] if isinstance(value, bool) else type(value)(text)


def test_the_table_is_whole():
    assert len(ROWS) == 97
    assert len({tuple(row[name] for name in CHOOSES) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[name] for name in CHOOSES).replace(" ", "_"))
def test_effective_values_are_the_rows(row: dict[str, str]):
    tasks = PUBLISHED_TASKS[row["dataset"]] if row["task"] == "any" else [row["task"]]
    for task in tasks:
        config = configuration(command(row, task))
        values = config.values
        for column in row.keys() - {*CHOOSES}:
            key = RENAMED.get(column, column)
            if row[column]:
                assert values[key] == typed(row[column], values[key]), f"{task}: {key}"
            else:
                assert key not in values, f"{task}: {row['method']} has no {key}"
        assert config.notes == (), "a published task is a tuned one"
