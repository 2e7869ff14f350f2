"""Run directories read back: everything comes from their files, nothing from their names."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from method.configs.key import SCHEMA
from method.configs.seeds import Seeds, read_seeds
from method.registry import METHODS
from method.runs.files import PRETRAIN, one_line
from method.runs.folder import CONFIG, DONE, IMPORTED, METRICS, MODEL, STATUS, RunFolder, model_name
from method.runs.named_files import KEPT_WITHOUT
from method.runs.reference import Asked, facts_of, misfits, read_asked
from method.runs.zips import is_zip, unpack
from utils.digests import Digests
from utils.errors import UserError
from utils.text import for_people

MEMORY = "digests.json"  # in a store's folder of a data set
SETTING = ("dataset", "model", "image_size", "weights")
WEIGHTS = SETTING.index("weights")


@dataclass(frozen=True, eq=False)
class StoredRun:
    """One run directory; `problem` says why its metrics are not there, and is empty where they are.

    marked: the run ended well, whether or not its files can be read. defaults: whether methods reweight by default, by
    method, as far as this run and those read with it tell.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)  # the whole config.yaml
    metrics: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    marked: bool = False
    defaults: Mapping[str, bool] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Its folder, for people."""
        return for_people(str(self.folder))

    @property
    def method(self) -> str:
        """The name of its method; empty where config.yaml cannot be read."""
        return self.config.get("method", "")

    @property
    def task(self) -> str:
        """`split0`, `multi3`, ...; empty for pretrain, which serves every task."""
        return "" if self.method == PRETRAIN else str(self.stored.get("task", ""))

    @property
    def ratio(self) -> float:
        """The share forgotten; 0 for pretrain."""
        return 0.0 if self.method == PRETRAIN else float(self.config["unlearning_ratio"])

    @cached_property
    def seeds(self) -> Seeds:
        """Who was forgotten, how the models around it were trained, and how it was unlearned; not of an unread run."""
        return read_seeds(self.config, self.method != PRETRAIN)

    @property
    def reweights_by_default(self) -> bool:
        """Whether REWEIGHT belongs to the method, so that its absence is what a label names."""
        if self.config.get("reweight") is None:  # the method cannot
            return False
        own = _recorded_default(self)
        known = self.defaults.get(self.method) if own is None else own
        return _reweights_by_class(self.method) if known is None else known

    @property
    def asked(self) -> Asked | None:
        """The retrained run that this one asks to be compared with; None for pretrain."""
        return None if self.method == PRETRAIN else read_asked(self.config, self.reweights_by_default)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What decides whether this is the reference of another run, or another one of this."""
        return facts_of(self.stored)

    @property
    def is_robust(self) -> bool:
        """Whether it was trained by group DRO or on a subsample."""
        return self.config.get("rob_approach", "none") != "none"

    @property
    def is_plain(self) -> bool:
        """Whether others start from it, or are compared with it, unless they name another."""
        return not (self.config.get("tag") or self.is_robust)

    @cached_property
    def origin(self) -> tuple:
        """What a run shares with the pretrained and the retrained model it belongs to: data, model and train seed."""
        return (*self._setting(), self.seeds.train, self.fingerprint("data"))

    def is_original_of(self, other: "StoredRun") -> bool:
        """Whether this is a pretrained run of another's data, model and seed; an imported one knows no more of it."""
        mine, theirs = self.origin, other.origin
        if self.stored.get(IMPORTED):  # its initial weights are not known
            mine, theirs = (origin[:WEIGHTS] + origin[WEIGHTS + 1 :] for origin in (mine, theirs))
        return self.method == PRETRAIN and mine == theirs

    @cached_property
    def model_sha256(self) -> str | None:
        """SHA-256 of its model.pt, or what is recorded of it where it was not kept; None where neither is known."""
        recorded = (self.stored.get("provenance") or {}).get(KEPT_WITHOUT) or None
        # A store remembers the digests of its files; what is found out here is not written into it.
        stores = [place for place in self.folder.parents[:4] if os.path.exists(place / MEMORY)] or [self.folder]
        try:
            return Digests(stores[0] / MEMORY).of(self.folder / MODEL)
        except (OSError, ValueError):  # not there, or no regular file
            return recorded and str(recorded)

    @property
    def table(self) -> tuple:
        """What the runs of one table share: data set, model, image size, initial weights, task and ratio.

        Data of which a share is left out of train is other data, and called so: `digits (leave_out 0.1)`.
        """
        dataset, *setting = self._setting()
        share = self.config.get("leave_out")
        return f"{dataset} (leave_out {share:g})" if share else dataset, *setting, self.task, self.ratio

    def _setting(self) -> tuple:
        """Initial weights by their content where the run recorded it: the same file may lie in two places."""
        identity = self.stored.get("identity") or {}
        weights = "unknown" if self.stored.get(IMPORTED) else self.config.get("weights")
        values = {**self.config, "weights": identity.get("weights") or weights}
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
    return _tell_defaults(runs)


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
        run = _read_run(folder) if CONFIG in found else None
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


def find_reference(run: StoredRun, runs: Sequence[StoredRun], asked: Asked) -> StoredRun | None:
    """The finished run among `runs` that `run` is to be compared with; of several, the one beside it."""
    found = [
        other
        for other in runs
        if not other.problem
        and not other.config.get("tag")
        and other.config["dataset"] == run.config["dataset"]
        and not any(misfits(run.facts, other.facts, asked))
    ]
    return min(found, key=lambda other: other.folder.parent != run.folder.parent, default=None)


def reference_of(run: StoredRun, runs: Sequence[StoredRun]) -> StoredRun | None:
    """The run that `run` asks to be compared with, perhaps itself; None where it is named, or not among `runs`."""
    if run.asked is None or run.asked.named:
        return None
    return run if run.asked.itself else find_reference(run, runs, run.asked)


def _read_run(path: Path) -> StoredRun:
    folder = RunFolder(path)
    try:
        stored = folder.read_config()
    except ValueError as error:
        return StoredRun(path, problem=f"{CONFIG} cannot be read ({error})", marked=folder.marked)
    config = stored["config"]
    # Data of the user's own go by their own name, and a head on a frozen network is no whole one.
    config = {**config, "dataset": config.get("dataset_name") or config["dataset"], "model": model_name(config)}
    if not folder.marked:
        return StoredRun(path, config, stored, problem=_state(folder))
    try:
        return StoredRun(path, config, stored, {"reasons": {}, **folder.read_metrics()}, marked=True)
    except ValueError as error:
        return StoredRun(path, config, stored, problem=f"{METRICS} cannot be read ({error})", marked=True)


def _state(folder: RunFolder) -> str:
    """What status.json says of a run without a `done` marker."""
    try:
        status = folder.read_status()
    except ValueError as error:
        if not os.path.exists(folder.file(STATUS)):
            return f"no {DONE} marker and no {STATUS}: an older copy, or a run that was cut off"
        return f"not finished, and {STATUS} cannot be read ({error})"
    return ": ".join(filter(None, (status["state"], status["reason"])))


def _tell_defaults(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The same runs, each with what all of them tell of their methods: for those of an earlier version."""
    told = {run.method: default for run in runs if (default := _recorded_default(run)) is not None}
    return [replace(run, defaults=told) for run in runs]


def _recorded_default(run: StoredRun) -> bool | None:
    """Whether the method reweights by default; None where an earlier version did not record it.

    Even then it shows where nobody said --reweight or --no-reweight: the value is the default.
    """
    if (recorded := run.stored.get("reweights_by_default")) is not None:
        return recorded
    given = (run.stored.get("sources") or {}).get("reweight") != SCHEMA
    return None if given else bool(run.config.get("reweight"))


@cache
def _reweights_by_class(method: str) -> bool:
    """What the method's class says, whose import takes torch's; False for a method that this version does not have."""
    from method.configs import schema  # noqa: F401  (fills METHODS)

    return method in METHODS and bool(METHODS[method].reweight)
