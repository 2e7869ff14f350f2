"""A store folder with the commands that fill it, and when two runs are the same to the last bit."""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cli import Result, configuration, ok, run, with_flags

from method.registry import ALIASES, METHODS
from method.runs.folder import folder_of
from method.training.engine import Engine
from method.training.resume import Resumable

HERE = "--threads 1 --num_workers 0"
# Waterbirds with the small network: under a second a run, on whatever device the machine has.
ANYWHERE = f"--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 3 --batch_size 24 {HERE}"
# On the CPU, where alone a run can be made again to the last bit.
SMALL = f"{ANYWHERE} --device cpu"
# What the README's commands are followed by on a hand-made folder.
SHORT = f"--image_size 32 --no-pretrained --epochs 1 --precision fp32 {HERE}"  # bf16 would be another run
VARIANTS = {
    "pretrain": "pretrain_0",
    "retrain": "split0/retrain_0.5_0",
    "retrain --reweight": "split0/retrain_reweight_0.5_0",
    "miu --miu_critic_steps_first 3 --miu_critic_steps 2": "split0/miu_0.5_0",
    "salun": "split0/salun_0.5_0",
    "scrub --scrub_rewind": "split0/scrub_0.5_0",
    "l1_sparse --reweight": "split0/l1_sparse_reweight_0.5_0",
}
FILES = {
    *("config.yaml", "splits.npz", "history.csv", "model.pt", "records.npz", "metrics.json", "run.log"),
    *("status.json", "done"),
}
EPOCHS = re.compile(r"--epochs \d+")
NOT_REPEATABLE = ("seconds", "peak_memory_bytes", "speedup")
PARTS = ("retain_acc", "forget_acc", "test_acc", "mia", "equalized_odds", "forget_group_acc")


def metrics_of(folder: Path) -> dict[str, Any]:
    """metrics.json, in which NaN and infinity are no JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{folder}: {constant} in metrics.json")

    return json.loads((folder / "metrics.json").read_text(), parse_constant=refuse)


def repeatable(metrics: Any) -> Any:
    """Metrics without time and memory."""
    if isinstance(metrics, dict):
        return {name: repeatable(value) for name, value in metrics.items() if name not in NOT_REPEATABLE}
    return metrics


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model.pt", weights_only=True)["model"]


def history_of(folder: Path) -> list[dict[str, str]]:
    """history.csv without times."""
    with (folder / "history.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(one: Path, other: Path) -> None:
    """Metrics, predictions, history and weights, to the last bit: of runs on the CPU, as SMALL has them."""
    for folder in (one, other):
        device = yaml.safe_load((folder / "config.yaml").read_text())["provenance"]["device"]
        assert device == "cpu", f"{folder} was made on {device}, where nothing is promised to the last bit"
    assert repeatable(metrics_of(one)) == repeatable(metrics_of(other))
    assert history_of(one) == history_of(other)
    weights, others = weights_of(one), weights_of(other)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    for name in ("records.npz", "splits.npz"):
        with np.load(one / name) as a, np.load(other / name) as b:
            assert all(np.array_equal(a[key], b[key]) for key in a.files)


@contextmanager
def interruptions() -> Iterator[None]:
    """Ctrl-C in the second step after the first saved epoch of every run."""
    steps_since_saving: list[int] = []
    step, save_state = Engine._step, Resumable.save

    def saving(self: Resumable, *arguments: Any) -> None:
        save_state(self, *arguments)
        steps_since_saving.append(0)

    def stepping(self: Engine, *arguments: Any) -> torch.Tensor:
        if steps_since_saving:
            steps_since_saving[-1] += 1
            if steps_since_saving[-1] == 2:
                raise KeyboardInterrupt
        return step(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resumable, "save", saving)
        patch.setattr(Engine, "_step", stepping)
        yield


class Workshop:
    """A store folder with the commands that fill it."""

    def __init__(self, data_dir: Path, store: Path, settings: str = SMALL):
        self.data_dir, self.store, self.settings = data_dir, store, settings

    def folders(self, **other: Path) -> dict[str, Path]:
        return {"data_dir": self.data_dir, "store_dir": self.store, "checkpoint_dir": self.store / "none", **other}

    def command(self, method: str, *given: str) -> str:
        """The settings are for methods with epochs; the others refuse how many."""
        name, _, flags = method.partition(" ")
        has_epochs = METHODS[ALIASES.get(name, name)].has_epochs
        settings = self.settings if has_epochs else EPOCHS.sub("", self.settings)
        settings = with_flags(settings, flags)
        # What is given beside the command takes the place of the settings too.
        return f"--method {name} {settings.replace('--no-pretrained', '') if 'weights' in given else settings}"

    def run(self, method: str, **other: Any) -> Result:
        return run(self.command(method, *other), **self.folders(**other))

    def ok(self, method: str, **other: Any) -> Path:
        """Run to the end; returns the run's folder."""
        command = self.command(method, *other)
        out = ok(command, **self.folders(**other)).out
        config = configuration(command, **self.folders(**other))
        folder = folder_of(config, config.store_dir)
        assert out.splitlines()[-1] == f"done: {folder}"
        return folder

    def place(self, variant: str) -> Path:
        return self.store / "waterbird/small_cnn" / VARIANTS[variant]
