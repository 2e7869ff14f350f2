"""Which runs of a table are models of one kind, and what their records say of the same samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from method.evaluation.records import Records
from method.runs.files import PRETRAIN, RETRAIN
from method.runs.findings import Finding
from method.runs.labels import label as make_label
from method.runs.labels import rank
from method.runs.reference import Asked, misfits
from method.runs.stored import StoredRun
from scripts.audit.reading import read_records, refuse_unlike, whole_runs
from utils.errors import RunError, UserError


@dataclass(frozen=True, eq=False)
class Subject:
    """The finished runs of one label, and those of them that keep their records: `runs`.

    of_one_original: of `runs` the most that differ in their run seed alone; of pretrained and retrained ones these are
    of as many train seeds. retrained: by train seed, the retrained models of the forget set of those, of the kind of
    their reference.
    """

    label: str
    table: tuple
    finished: Sequence[StoredRun]
    runs: Sequence[StoredRun]
    of_one_original: Sequence[StoredRun]
    retrained: Sequence[StoredRun]

    @property
    def is_retrained(self) -> bool:
        """Whether it is itself what others are compared with."""
        return is_reference(self.finished[0])

    @property
    def is_original(self) -> bool:
        """Whether others start from it."""
        return self.finished[0].method == PRETRAIN

    def finding(self, measure: str, value: float | None, **further: Any) -> Finding:
        """One of this label."""
        return Finding(measure, self.table, self.label, value, **further)

    def group_name(self, group: int) -> str:
        """As the report calls the group with this id."""
        return self.runs[0].stored["groups"]["names"][group]


def subjects(runs: Sequence[StoredRun]) -> Iterator[Subject]:
    """One for each label of the finished runs of a table, in the order of the table's rows."""
    table = next((run.table for run in runs if run.method != PRETRAIN), ())
    kept = whole_runs(runs)
    labels = by_label(kept)
    for label, finished in by_label(runs).items():
        found = labels.get(label, [])
        chosen = of_one_original(found) if found else []
        yield Subject(label, table, finished, found, chosen, retrained_for(chosen[0], kept) if chosen else [])


def is_reference(run: StoredRun) -> bool:
    """Whether a run is a retrained model that others are compared with."""
    return run.method == RETRAIN and run.is_plain


def by_label(runs: Sequence[StoredRun]) -> dict[str, list[StoredRun]]:
    """The runs of each label, in the order of a table's rows."""
    found: dict[str, list[StoredRun]] = {}
    for run in in_order(runs):
        found.setdefault(make_label(run), []).append(run)
    return found


def in_order(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """By row of the table, then by seeds."""
    return sorted(runs, key=lambda run: (rank(run), run.seeds.train, run.seeds.run, str(run.folder)))


def of_one_original(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """Of the runs of one label those that share what they are compared on, by run seed: the most there are."""
    sets: dict[tuple, dict[int, StoredRun]] = {}
    for run in runs:
        trained = run.method in (PRETRAIN, RETRAIN)
        shared = (run.fingerprint("data"), run.fingerprint("forget"), None if trained else run.seeds.train)
        sets.setdefault(shared, {}).setdefault(run.seeds.run, run)
    return list(max(sets.values(), key=len).values())


def retrained_for(run: StoredRun, runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The retrained runs that differ from the one it asks for in their train seed alone, one a train seed.

    Pretrain, which asks for none, gets plain ones of the forget set that most of them have. None are searched for where
    a run names its retrained model by a folder.
    """
    asked, ignored = run.asked or Asked(reweight=False), {"train seed"}
    if asked.named:
        return []
    if run.method == PRETRAIN:
        ignored |= {"forget fingerprint", "list of forget groups"}
    plain = [other for other in runs if is_reference(other)]
    fitting = [other for other in plain if {name for name, *_ in misfits(run.facts, other.facts, asked)} <= ignored]
    return sorted(of_one_original(fitting), key=lambda other: other.seeds.train) if fitting else []


def load_together(runs: Sequence[StoredRun], rows: np.ndarray) -> Iterator[Records]:
    """The records of each run for these rows, in their order; UserError where the samples of two runs differ."""
    first: Records | None = None
    for run in runs:
        try:
            records = read_records(run).select(rows)
        except RunError as error:
            raise UserError(f"{run.place} and {runs[0].place} are of other samples: {error}") from None
        first = first or records
        refuse_unlike(run, runs[0], *({"target": one.target, "group": one.group} for one in (records, first)))
        yield records
