"""The rows of every table: finished runs, their retrained references, and the pretrained model's row for every task."""

import dataclasses
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets.splits import load_splits
from method.configs.seeds import Seeds, are_independent
from method.evaluation.evaluator import (
    SCHEMA,
    add_reference,
    attack_keys,
    comparable,
    compare_saved_outputs,
    evaluate,
    output_keys,
)
from method.evaluation.exposure import add_original
from method.evaluation.records import Records, check_belonging
from method.runs.audits import Found
from method.runs.files import PRETRAIN, RETRAIN, read_rows
from method.runs.folder import CONFIG, RECORDS, REDACTED, ROWS, SPLITS, records_name
from method.runs.labels import label, paper_name, rank
from method.runs.originals import DIGEST, NAME, Start, starts_of
from method.runs.reference import Asked
from method.runs.stored import StoredRun, find_reference, reference_of
from utils.errors import RunError, UserError
from utils.tables import is_number

LAST_EPOCH = "without_rewind"  # what SCRUB calls its further weights
FILTERS = {"dataset": str, "task": str, "method": str, "ratio": float, "tag": str, "seed": int}
OF_ROWS = ("method", "tag", "seed")  # the filters that leave out rows of a table; the others leave out whole tables
Starts = Mapping[StoredRun, Start]


@dataclass(frozen=True, eq=False)
class Row:
    """The values of one run, or of one of the two ends of a run with rewind.

    records, splits_of: the files they come from; reference: the retrained run they are compared with, if it is there;
    start: the pretrained run that it started from, None for pretrained models.
    """

    label: str
    rank: tuple
    run: StoredRun
    values: dict[str, Any]
    records: str = RECORDS
    splits_of: StoredRun | None = None  # another run, for a pretrained model's row
    reference: StoredRun | None = None
    start: Start | None = None

    @property
    def seeds(self) -> Seeds:
        """The run's; of a pretrained model's row, those of the retrained model of the runs it is shown beside."""
        return self.splits_of.seeds.of_model(forgets=True) if self.splits_of else self.run.seeds

    @property
    def seed(self) -> int:
        """The run's own of them: several rows of a cell can have the same, and `seeds` tell them apart."""
        return self.seeds.run

    @property
    def seed_name(self) -> int | str:
        """What tells it apart from the other rows of its label: its seed or, where the three differ, all of them."""
        return self.seeds.spell() if self.seeds.given() else self.seed

    @property
    def name(self) -> str:
        """What papers call it."""
        return paper_name(self.run) + self.label.removeprefix(label(self.run))

    @property
    def competes(self) -> bool:
        """Whether this is an unlearned model, not one of those that it is measured by."""
        return self.run.method not in (PRETRAIN, RETRAIN)

    def difference(self, key: str) -> float | None:
        """The value minus that of the retrained model of the same seed; None where one of them is missing."""
        return self.minus(self.reference.metrics if self.reference else {}, key)

    def minus(self, others: Mapping[str, Any], key: str) -> float | None:
        """The value minus another's; None where one of them is missing."""
        own, theirs = comparable(self.values, others).get(key), comparable(others, self.values).get(key)
        return own - theirs if is_number(own) and is_number(theirs) else None


def with_reference(run: StoredRun, values: dict[str, Any], reference: StoredRun | None) -> dict[str, Any]:
    """`values` with ToW and Avg. Gap, where the run was evaluated before its reference was finished."""
    if reference in (None, run) or values.get("reference"):
        return values
    return add_reference({"reasons": {}, **values}, reference.metrics, None, reference.folder.name)


def run_rows(run: StoredRun, runs: Sequence[StoredRun], start: Start | None) -> list[Row]:
    """The row of a run; with SCRUB's rewind, one for the epoch it went back to and one for the last."""
    name, last_epoch = label(run), run.metrics.get(LAST_EPOCH)
    ends = [(name, run.metrics, RECORDS)]
    if isinstance(last_epoch, dict):
        ends = [
            (f"{name} (rewind)", run.metrics, RECORDS),
            (f"{name} (last epoch)", last_epoch, records_name(LAST_EPOCH)),
        ]
    reference = reference_of(run, runs)
    return [
        Row(end, (*rank(run), number), run, with_reference(run, values, reference), records, None, reference, start)
        for number, (end, values, records) in enumerate(ends)
    ]


def pretrain_row(
    pretrain: StoredRun, records: Records, sibling: StoredRun, runs: Sequence[StoredRun], keys: Collection[str]
) -> Row:
    """A pretrained model's row for the task and ratio of `sibling`: its `records`, with the splits of `sibling`.

    keys: the metrics that will be shown; what takes long and is not among them is left out.
    """
    splits = load_splits(sibling.folder / SPLITS)
    check_belonging(records, splits, sibling.stored, sibling.folder / CONFIG)
    groups = sibling.stored["groups"]
    sizes = groups["n_targets"], groups["n_sensitive"]
    repeated = len(splits.forget) > 0 and not set(keys).isdisjoint(attack_keys())
    values = evaluate(records, splits, groups["names"], *sizes, repeated_attacks=repeated)
    if repeated:
        add_original(values, records, splits, records)
    values |= {key: pretrain.metrics[key] for key in ("seconds", "peak_memory_bytes") if key in pretrain.metrics}
    reference = find_reference(sibling, runs, Asked(reweight=False))
    if reference is None:
        reason = "no retrain run (without REWEIGHT) of this task, ratio and seed is finished"
        add_reference(values, None, reason, None)
    else:
        wanted = not set(keys).isdisjoint(output_keys())
        outputs = compare_saved_outputs(records, splits, reference.folder / RECORDS) if wanted else None
        add_reference(values, reference.metrics, None, reference.folder.name, outputs)
    own = (label(pretrain), (*rank(pretrain), 0), pretrain, values)
    return Row(*own, splits_of=sibling, reference=reference)


def row_key(sibling: StoredRun) -> tuple[str | None, list[int]]:
    """What a pretrained model's metrics for the task of `sibling` depend on: its forget set, and the groups of it."""
    return sibling.fingerprint("forget"), (sibling.stored.get("groups") or {}).get("forget") or []


def kept_row(
    pretrain: StoredRun, rows: Sequence[Mapping[str, Any]], sibling: StoredRun, runs: Sequence[StoredRun]
) -> Row:
    """The same of a redacted copy, whose records lack train: from `rows`, what its rows.json keeps."""
    found = next((one for one in rows if (one.get("forget"), one.get("groups")) == row_key(sibling)), None)
    if found is None:
        raise UserError(f"{ROWS} has no metrics for this forget set")
    values = {"reasons": {}, **found["metrics"]}
    reference = find_reference(sibling, runs, Asked(reweight=False))
    own = (label(pretrain), (*rank(pretrain), 0), pretrain, values)
    return Row(*own, splits_of=sibling, reference=reference)


def pretrain_pairs(runs: Sequence[StoredRun], starts: Starts) -> list[tuple[StoredRun, StoredRun]]:
    """Each pretrained run with one run of every table and forget set it serves; with itself if it serves none yet.

    It serves runs that started from it, and those of its data, model and train seed. Pairs of the former come first,
    and of several runs one that has its splits, which a copy of runs keeps of some alone.
    """
    without_splits = {run for run in runs if not os.path.exists(run.folder / SPLITS)}
    pairs = []
    for pretrain in (run for run in runs if run.method == PRETRAIN):
        served: dict[tuple, StoredRun] = {}
        for run in sorted(runs, key=lambda run: (not _started(run, pretrain, starts), run in without_splits)):
            if run.method != PRETRAIN and (_started(run, pretrain, starts) or pretrain.is_original_of(run)):
                served.setdefault((run.table, run.seeds.models), run)
        pairs += [(pretrain, run) for run in served.values() or [pretrain]]
    return sorted(pairs, key=lambda pair: not _started(pair[1], pair[0], starts, (DIGEST,)))


def _started(run: StoredRun, pretrain: StoredRun, starts: Starts, by: Collection[str] = (DIGEST, NAME)) -> bool:
    return run in starts and starts[run].run is pretrain and starts[run].by in by


def check_schema(run: StoredRun) -> StoredRun:
    """`run`, or the same without metrics and with the problem that they are of another schema than this report's."""
    schema = run.metrics.get("schema", 1)
    if run.problem or schema == SCHEMA:
        return run
    remedy = "recompute it with --recompute" if schema < SCHEMA else "read it with the version that made it"
    return dataclasses.replace(run, metrics={}, problem=f"metrics.json has schema {schema}, not {SCHEMA}; {remedy}")


class Report:
    """The rows of every table, and sentences about what is not in them.

    wanted: for each of FILTERS the values asked for; none means all. keys: the metrics that will be shown.
    originals: whether pretrained models that rows started from are needed where the filters leave them out.
    audits: what was found out about the runs, and the files of it that cannot be read, as `read_audits` gives them.
    tables: by Run.table, in the order to be shown; left_out: likewise what the filters leave out of these tables, which
    rows are compared with all the same; missing: (folder, problem), each folder once.
    """

    def __init__(
        self,
        runs: Sequence[StoredRun],
        wanted: Mapping[str, Sequence[Any]],
        keys: Collection[str],
        originals: bool = False,
        audits: tuple[Sequence[Found], Sequence[tuple[str, str]]] = ((), ()),
    ) -> None:
        self.wanted, self.keys, self.found = wanted, keys, audits[0]
        everything = [check_schema(run) for run in runs]
        self.runs = [run for run in everything if not run.problem]
        self.retrained = [run for run in self.runs if run.method == RETRAIN]  # the only ones others are compared with
        self._missing = [(run.place, run.problem) for run in everything if run.problem and self._wants(run, run)]
        self._tables: dict[tuple, list[Row]] = defaultdict(list)
        self.left_out: dict[tuple, list[Row]] = defaultdict(list)
        self._taken: dict[tuple, StoredRun] = {}
        self._read: tuple[StoredRun, Records] | None = None
        self._kept: dict[StoredRun, list[dict[str, Any]]] = {}
        starts = starts_of(self.runs)
        for run in self.runs:
            if run.method != PRETRAIN and self._wants_table(run) and self._takes(run, run):
                self._place(run, run)[run.table] += run_rows(run, self.retrained, starts[run])
        for pretrain, sibling in pretrain_pairs(self.runs, starts):
            hidden = originals and self._wants_table(sibling) and sibling.table in self._tables
            if (hidden or self._wants(pretrain, sibling)) and self._takes(pretrain, sibling):
                self._add_pretrain(pretrain, sibling)
        self.tables = {
            key: sorted(rows, key=lambda row: (row.rank, row.seed))
            for key, rows in sorted(self._tables.items(), key=lambda item: str(item[0]))
        }
        self.missing = by_folder([*self._missing, *audits[1]])

    def all_rows(self, table: tuple) -> list[Row]:
        """The rows of a table with those that the filters leave out, in the order in which they would be shown."""
        return sorted([*self.tables[table], *self.left_out[table]], key=lambda row: (row.rank, row.seed))

    def original_row(self, table: tuple, row: Row) -> Row | None:
        """The row of the pretrained model that a row started from; None where it is not there."""
        start = row.start.run if row.start else None
        rows = self.all_rows(table) if start else ()
        return next((other for other in rows if other.run is start and other.seeds.models == row.seeds.models), None)

    def reference_row(self, table: tuple, row: Row) -> Row | None:
        """The row of the retrained run that a row is compared with; None where it is not there."""
        if row.reference is None:
            return None
        found = next((other for other in self.all_rows(table) if other.run is row.reference), None)
        if found is None:  # of another task with the same forget set, or the same run in another folder
            found = run_rows(row.reference, self.retrained, None)[0]
            self.left_out[table].append(found)
        return found

    def _wants(self, run: StoredRun, sibling: StoredRun) -> bool:
        """Whether the filters ask for `run`, seen in the table of `sibling`; an unreadable run is always named."""
        if not run.config:
            return True
        found = {"method": run.method, "tag": run.config.get("tag", ""), "seed": sibling.config["seed"]}
        own = all(not self.wanted.get(name) or found[name] in self.wanted[name] for name in OF_ROWS)
        return own and self._wants_table(sibling)

    def _wants_table(self, run: StoredRun) -> bool:
        found = {"dataset": run.config["dataset"], "task": run.task, "ratio": run.ratio}
        if run.problem and run.method == PRETRAIN:  # it would have served every task
            del found["task"], found["ratio"]
        return all(not self.wanted.get(name) or value in self.wanted[name] for name, value in found.items())

    def _place(self, run: StoredRun, sibling: StoredRun) -> dict[tuple, list[Row]]:
        """Where a row goes: into the tables, or to what the filters leave out of them."""
        return self._tables if self._wants(run, sibling) else self.left_out

    def _takes(self, run: StoredRun, sibling: StoredRun) -> bool:
        """Whether this is the first run of its label and seeds in the table; a second is named, not averaged in."""
        seeds = run.seeds if run is sibling else sibling.seeds.of_model(forgets=True)
        first = self._taken.setdefault((sibling.table, label(run), seeds), run)
        if first is not run and self._wants(run, sibling):
            reason = f"not counted, the same method and seed as {first.place}"
            if run is not sibling and run.origin != first.origin:
                where = f"{sibling.task}, ratio {sibling.ratio:g}"
                reason = f"no row for {where}: its runs of seed {seeds.train} started from {first.place}"
            self._missing.append((run.place, reason))
        return first is run

    def _add_pretrain(self, pretrain: StoredRun, sibling: StoredRun) -> None:
        try:
            if pretrain is sibling:
                rows = run_rows(pretrain, self.retrained, None)
            elif pretrain.stored.get(REDACTED):
                rows = [kept_row(pretrain, self._kept_of(pretrain), sibling, self.retrained)]
            else:
                rows = [pretrain_row(pretrain, self._records_of(pretrain), sibling, self.retrained, self.keys)]
        except (UserError, RunError) as error:
            problem = f"no row for {sibling.task}, ratio {sibling.ratio:g}: {error}"
            self._missing.append((pretrain.place, problem))
        else:
            self._place(pretrain, sibling)[sibling.table] += rows

    def _kept_of(self, pretrain: StoredRun) -> list[dict[str, Any]]:
        if pretrain not in self._kept:
            try:
                self._kept[pretrain] = read_rows(pretrain.folder / ROWS)
            except ValueError as error:
                raise UserError(f"{ROWS} cannot be read ({error})") from None
        return self._kept[pretrain]

    def _records_of(self, pretrain: StoredRun) -> Records:
        """Read once for all the tables that it serves, one after the other."""
        if self._read is None or self._read[0] is not pretrain:
            self._read = (pretrain, Records.load(pretrain.folder / RECORDS))
        return self._read[1]


def by_folder(problems: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(folder, its problems in a line): each folder once, and each of its problems."""
    grouped: dict[str, dict[str, None]] = defaultdict(dict)
    for folder, problem in problems:
        grouped[folder][problem] = None
    return [(folder, "; ".join(own)) for folder, own in grouped.items()]


def independent(rows: Sequence[Row]) -> bool:
    """Whether each row is of models trained anew; of others an interval over the rows would be too short."""
    return not rows or are_independent([row.seeds for row in rows])


def by_label(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Label -> its rows, one for the seeds of each run: the cells of a table."""
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.label].append(row)
    return grouped


def groups_of(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Counts and test accuracy of every group that a run's sets hold, from its metrics."""
    forgotten = set(values.get("forget_group_names") or [])
    for group in values.get("groups") or []:
        n_train = group.get("n_train", group.get("n_retain", 0) + group.get("n_forget", 0))
        if not n_train and not group.get("n_test"):
            continue
        interval = group.get("test_interval")
        yield {
            "name": group["name"],
            "forget": group["name"] in forgotten,
            "n_train": n_train,
            "n_forget": group.get("n_forget", 0),
            "n_retain": group.get("n_retain", n_train),
            "n_test": group.get("n_test", 0),
            "test_acc": group.get("test_acc"),
            "test_interval": [round(end, 2) for end in interval] if interval else None,
        }
