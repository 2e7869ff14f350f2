"""Run directories read back: everything comes from their files, nothing from their names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import read_json, read_yaml

PRETRAIN, RETRAIN = "pretrain", "retrain"
SETTING = ("dataset", "model", "image_size", "weights")


@dataclass(frozen=True, eq=False)
class Run:
    """One run directory; `problem` says why its metrics are not there, and is empty for a finished run."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)  # the whole config.yaml
    metrics: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def method(self) -> str:
        return self.config.get("method", "")

    @property
    def task(self) -> str:
        """`split0`, `multi3`, ...; empty for pretrain, which serves every task."""
        return "" if self.method == PRETRAIN else str(self.stored.get("task", ""))

    @property
    def ratio(self) -> float:
        """The share forgotten; 0 for pretrain."""
        return 0.0 if self.method == PRETRAIN else float(self.config["unlearning_ratio"])

    @property
    def is_robust(self) -> bool:
        """Whether it was trained by group DRO or on a subsample."""
        return self.config.get("rob_approach", "none") != "none"

    @property
    def is_plain(self) -> bool:
        """Whether others start from it, or are compared with it, unless they name another."""
        return not (self.config.get("tag") or self.is_robust)

    @property
    def origin(self) -> tuple:
        """What a run shares with the pretrained and the retrained model it belongs to: data, model and seed."""
        return (*(self.config.get(name) for name in (*SETTING, "seed")), self.fingerprint("data"))

    @property
    def table(self) -> tuple:
        """What the runs of one table share: data set, model, image size, initial weights, task and ratio."""
        return (*(self.config.get(name, "") for name in SETTING), self.task, self.ratio)

    def fingerprint(self, name: str) -> str | None:
        """The `data` or the `forget` fingerprint."""
        return (self.stored.get("fingerprints") or {}).get(name)


def read_runs(root: Path) -> list[Run]:
    """Every run directory (a folder with config.yaml) under `root`, by path; UserError if there is none."""
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give the folder that runs were written to, such as output")
    folders = {file.parent for file in root.rglob("config.yaml")}
    # A config.yaml within a run's folder is another program's, such as that of Weights & Biases.
    runs = [_read_run(folder) for folder in sorted(folders) if folders.isdisjoint(folder.parents)]
    if not runs:
        raise UserError(f"no run under {root} (a run is a folder with a config.yaml); make one with python main.py")
    return runs


def find_reference(run: Run, runs: Sequence[Run], reweight: bool) -> Run | None:
    """The finished retrain run of the same data, forget set, model and seed; of several, the one beside `run`."""
    same = [
        other
        for other in runs
        if (other.method, bool(other.config.get("reweight"))) == (RETRAIN, reweight)
        and other.is_plain
        and not other.problem
        and (other.origin, other.fingerprint("forget")) == (run.origin, run.fingerprint("forget"))
    ]
    return min(same, key=lambda other: other.folder.parent != run.folder.parent, default=None)


def _read_run(folder: Path) -> Run:
    try:
        stored = read_yaml(folder / "config.yaml")
        config = stored["config"]
        # Data of the user's own go by their own name.
        config = {**config, "dataset": config.get("dataset_name") or config["dataset"]}
        run = Run(folder, {name: config[name] for name in ("method", "dataset", "model", "seed")} | config, stored)
        _ = (run.table, run.origin)  # reads every value that a table needs
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Run(folder, problem="config.yaml cannot be read")
    if not (folder / "done").exists():
        return Run(folder, config, stored, problem=_state(folder))
    try:
        return Run(folder, config, stored, {"reasons": {}, **read_json(folder / "metrics.json")})
    except (OSError, ValueError, TypeError):
        return Run(folder, config, stored, problem="metrics.json cannot be read")


def _state(folder: Path) -> str:
    """What status.json says of a run without a `done` marker."""
    try:
        status = read_json(folder / "status.json")
        return f"{status['state']}: {status['reason']}" if status.get("reason") else str(status["state"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return "not finished, and status.json cannot be read"
