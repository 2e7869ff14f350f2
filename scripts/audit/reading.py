"""The runs of one table as arrays over the same samples: what every sample is to a run, and what its model says of it.

A run is read twice: its splits, small, when samples are chosen, and its records, of which phi of these samples is kept.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datasets.splits import load_splits
from method.evaluation.records import Records, check_belonging
from method.runs.files import PRETRAIN, RETRAIN
from method.runs.folder import CONFIG, RECORDS, REDACTED, SPLITS
from method.runs.stored import StoredRun
from utils.errors import UserError

ABSENT, RETAINED, FORGOTTEN, HELD_OUT, LEFT_OUT = range(5)  # what a sample is to a run; the last two: never trained on
PARTS = {"retain": RETAINED, "forget": FORGOTTEN, "val": HELD_OUT, "test": HELD_OUT, "left_out": LEFT_OUT}
ALIKE = ("index", "target", "sensitive", "group")
SEED = 0


def whole_runs(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Those that keep records of all samples, which a redacted copy and runs kept for a table do not."""
    return [
        run
        for run in runs
        if not run.stored.get(REDACTED) and all(os.path.exists(run.folder / name) for name in (RECORDS, SPLITS))
    ]


def read_records(run: StoredRun) -> Records:
    """All of them; UserError where they cannot be read, or are not of the run's own splits."""
    records = Records.load(run.folder / RECORDS)
    check_belonging(records, load_splits(run.folder / SPLITS), run.stored, run.folder / CONFIG)
    return records


def refuse_unlike(run: StoredRun, first: StoredRun, theirs: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """UserError, naming both runs, where a column of `own`, which is the first run's, is another in `theirs`."""
    for name, column in own.items():
        if not np.array_equal(column, theirs[name]):
            raise UserError(
                f"{run.place} and {first.place} do not fit together: their records have another {name}, so they are of"
                " other data; audit each in a folder of its own"
            )


class Samples:
    """The samples of a table that are forgotten in any of `runs`, and in their groups those that all runs hold out.

    rows: of the data set's table; the first n_forgotten are those forgotten. group: of each, its id. stand_in: for each
    forgotten one a held-out one of its group, as its place among the rows, or -1. UserError where the runs that are
    read are not of the same samples; then it names both.
    """

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self._first = runs[0]
        self._all = _in_order(read_records(self._first))
        self._parts = {run: self._part_of(run) for run in runs}
        self._kept: dict[StoredRun, np.ndarray] = {}
        index, group = self._all["index"], self._all["group"]
        forgotten, held_out = np.zeros(len(index), dtype=bool), np.ones(len(index), dtype=bool)
        for code in self._parts.values():
            forgotten |= code == FORGOTTEN
            held_out &= code == HELD_OUT
        held_out &= np.isin(group, np.unique(group[forgotten]))
        self._places = np.concatenate([np.flatnonzero(forgotten), np.flatnonzero(held_out)])
        self.n_forgotten = int(forgotten.sum())
        self.rows, self.group = index[self._places], group[self._places]
        self.stand_in = _stand_ins(self.group[: self.n_forgotten], self.group[self.n_forgotten :])
        self._names = self._first.stored["groups"]["names"]

    def group_name(self, group: int) -> str:
        """As the report calls the group with this id."""
        return self._names[group]

    def forgotten(self, run: StoredRun, code: int = FORGOTTEN) -> np.ndarray:
        """Which of the forgotten samples are `code` to this run; bool (n_forgotten,)."""
        return self._parts[run][self._places[: self.n_forgotten]] == code

    def phi(self, run: StoredRun) -> np.ndarray:
        """Log odds of `rows` under a run's model, float64 (n,); kept of models that several rows ask for."""
        if run in self._kept:
            return self._kept[run]
        records = read_records(run)
        if run is not self._first:
            refuse_unlike(run, self._first, _in_order(records), self._all)
        phi = records.select(self.rows).log_odds
        if run.method in (PRETRAIN, RETRAIN):
            self._kept[run] = phi
        return phi

    def _part_of(self, run: StoredRun) -> np.ndarray:
        """What each sample is to a run; int8, in the order of the index."""
        splits, index = load_splits(run.folder / SPLITS), self._all["index"]
        code = np.full(len(index), ABSENT, dtype=np.int8)
        for name, number in PARTS.items():
            rows = getattr(splits, name)
            place = np.minimum(np.searchsorted(index, rows), len(index) - 1)
            if not np.array_equal(index[place], rows):
                raise UserError(
                    f"{run.place} and {self._first.place} do not fit together: the records of the latter lack samples"
                    " of the former's splits; audit each in a folder of its own"
                )
            code[place] = number
        return code


def _in_order(records: Records) -> dict[str, np.ndarray]:
    """What must be alike in all runs, by the index."""
    order = np.argsort(records.index)
    return {name: getattr(records, name)[order] for name in ALIKE}


def _stand_ins(forgotten: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """For each forgotten sample, by its group, a held-out one: each as often as any other, give or take one."""
    found = np.full(len(forgotten), -1)
    generator = np.random.default_rng(SEED)
    for group in np.unique(forgotten):
        own, others = np.flatnonzero(forgotten == group), np.flatnonzero(held_out == group)
        if len(others):
            found[own] = len(forgotten) + np.resize(generator.permutation(others), len(own))
    return found
