"""Run directories read back: everything comes from their files, nothing from their names."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from method.runs.files import PRETRAIN, one_line, read_config, read_metrics, read_status
from method.runs.zips import is_zip, unpack
from utils.errors import UserError
from utils.text import for_people

RETRAIN = "retrain"
SETTING = ("dataset", "model", "image_size", "weights")


@dataclass(frozen=True, eq=False)
class StoredRun:
    """One run directory; `problem` says why its metrics are not there, and is empty where they are.

    marked: the run ended well, whether or not its files can be read.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)  # the whole config.yaml
    metrics: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    marked: bool = False

    @property
    def place(self) -> str:
        """Its folder, for people."""
        return for_people(str(self.folder))

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
        return (*self._setting(), self.config.get("seed"), self.fingerprint("data"))

    @property
    def table(self) -> tuple:
        """What the runs of one table share: data set, model, image size, initial weights, task and ratio."""
        return (*self._setting(), self.task, self.ratio)

    def _setting(self) -> tuple:
        """Initial weights by their content where the run recorded it: the same file may lie in two places."""
        identity = self.stored.get("identity") or {}
        values = {**self.config, "weights": identity.get("weights") or self.config.get("weights")}
        return tuple(values.get(name, "") for name in SETTING)

    def fingerprint(self, name: str) -> str | None:
        """The `data` or the `forget` fingerprint."""
        return (self.stored.get("fingerprints") or {}).get(name)


def read_runs(root: Path) -> list[StoredRun]:
    """Every run directory (a folder with config.yaml) under `root`, by path; UserError if there is none.

    root: a folder or a zip; zips in a folder are looked into. A folder or zip in it that cannot be looked into is
    among the runs, as one with that problem.
    """
    if not (os.path.isdir(root) or is_zip(root)):
        raise UserError(f"{root} is not a folder; give the folder that runs were written to, such as output")
    runs = sorted(_walk_zip(root) if is_zip(root) else _walk(root), key=lambda run: run.folder)
    if not runs:
        raise UserError(f"no run under {root} (a run is a folder with a config.yaml); make one with python main.py")
    return runs


def _walk(root: Path) -> Iterator[StoredRun]:
    """The runs under a folder, in no order; links to folders are not followed, so that there is an end."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except FileNotFoundError:  # removed since it was listed
            continue
        except OSError as error:
            yield StoredRun(folder, problem=f"the folder cannot be read ({one_line(error.strerror or str(error))})")
            continue
        run = _read_run(folder) if "config.yaml" in found else None
        if run:
            yield run
        # A config.yaml within a run's folder is another program's, such as that of Weights & Biases.
        if not (run and run.config):
            waiting += [folder / name for name, is_folder in found.items() if is_folder]
            for file in filter(is_zip, (folder / name for name in found)):
                try:
                    yield from _walk_zip(file)
                except UserError as error:
                    yield StoredRun(file, problem=str(error))


def _walk_zip(file: Path) -> Iterator[StoredRun]:
    """The runs in a zip, the same ones as in a folder that it is unzipped to; UserError where it cannot be read."""
    outer = None
    for folder in unpack(file):  # by path: what lies within a run follows it
        if outer is None or not folder.is_relative_to(outer):
            run = _read_run(folder)
            yield run
            outer = folder if run.config else outer


def find_reference(run: StoredRun, runs: Sequence[StoredRun], reweight: bool) -> StoredRun | None:
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


def _read_run(folder: Path) -> StoredRun:
    marked = os.path.exists(folder / "done")
    try:
        stored = read_config(folder / "config.yaml")
    except ValueError as error:
        return StoredRun(folder, problem=f"config.yaml cannot be read ({error})", marked=marked)
    config = stored["config"]
    # Data of the user's own go by their own name.
    config = {**config, "dataset": config.get("dataset_name") or config["dataset"]}
    if not marked:
        return StoredRun(folder, config, stored, problem=_state(folder))
    try:
        return StoredRun(folder, config, stored, {"reasons": {}, **read_metrics(folder / "metrics.json")}, marked=True)
    except ValueError as error:
        return StoredRun(folder, config, stored, problem=f"metrics.json cannot be read ({error})", marked=True)


def _state(folder: Path) -> str:
    """What status.json says of a run without a `done` marker."""
    try:
        status = read_status(folder / "status.json")
    except ValueError as error:
        return f"not finished, and status.json cannot be read ({error})"
    return ": ".join(filter(None, (status["state"], status["reason"])))
