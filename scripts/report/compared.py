"""What the rows of a table are compared with: names, marks and values."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from method.evaluation.evaluator import ITSELF
from method.runs.files import PRETRAIN
from method.runs.folder import RECORDS
from method.runs.labels import label
from method.runs.stored import StoredRun
from scripts.report.collect import Report, Row, by_label
from scripts.report.naming import title
from utils.errors import UserError

RETRAINED = "the retrained model"  # what differences are taken to, unless a row's label is given
NONE = "none, as theirs is not here"
Called = Callable[[StoredRun], str]
Others = Mapping[Row, Mapping[str, Any]]  # the values that a row's differences are taken to


class Other(NamedTuple):
    """What a row is compared with: its values, its run, and the name of the file of its records there."""

    values: Mapping[str, Any]
    run: StoredRun
    records: str = RECORDS


def reference_name(row: Row, called: Called = label) -> str:
    """What a row is compared with, as rows are called; "" for none, the folder's name for a run that is not here.

    Where ToW and Avg. Gap were computed with another run than differences are taken to, both are named.
    """
    stored = str(row.values.get("reference") or "")
    if row.reference is None:
        return called(row.run) if stored == ITSELF else stored
    name = called(row.reference)
    return name if stored in ("", ITSELF, row.reference.folder.name) else f"{name} (ToW and Avg. Gap: {stored})"


@dataclass(frozen=True)
class Marks:
    """The references of a table's rows. usual: of the rows without a mark; others: mark -> reference."""

    usual: str
    others: Mapping[str, str]
    of: Mapping[str, str]  # label of a row -> its mark

    def sentences(self, lines: str = "rows") -> str:
        """For a line above a table; empty where no row has a reference. lines: rows, or columns where models are."""
        if not self.usual:
            return ""
        further = (f"; of {lines} with {mark}: {name}" for mark, name in self.others.items())
        return f"Reference (same seed): {self.usual}{''.join(further)}."


def mark_rows(rows: Sequence[Row], called: Called = label) -> Marks:
    """Marks of the rows that are compared with another reference than most; *, **, ...

    A retrained row that is compared with itself has none.
    """
    labelled = by_label(rows)
    names = {name: _references(own, called) for name, own in labelled.items()}
    names = {name: found for name, found in names.items() if found != called(labelled[name][0].run)}
    competing = Counter(found for name, found in names.items() if found and labelled[name][0].competes)
    usual = next(iter((competing or Counter(filter(None, names.values()))).most_common(1)), ("", 0))[0]
    others = dict.fromkeys(found for found in names.values() if found != usual) if usual else {}
    marks = {found: "*" * number for number, found in enumerate(others, 1)}
    return Marks(
        usual,
        {mark: found or NONE for found, mark in marks.items()},
        {name: marks.get(found, "") for name, found in names.items()},
    )


def _references(rows: Sequence[Row], called: Called) -> str:
    return " or ".join(dict.fromkeys(filter(None, (reference_name(row, called) for row in rows))))


def left_out_names(report: Report, table: tuple, others: Sequence[str]) -> list[str]:
    """The labels of what the filters leave out of a table and its rows are compared with; others: beside references."""
    shown = {row.label for row in report.tables[table]}
    partners = [label(row.reference) for row in report.tables[table] if row.reference]
    further = [row.label for row in report.left_out[table] if {row.label, row.name} & {*others}]
    return [name for name in dict.fromkeys([*further, *partners]) if name not in shown]


def values_of_others(report: Report, table: tuple, against: str) -> Others:
    """The values of `others_of`."""
    return {row: other.values for row, other in others_of(report, table, against).items()}


def has_row(report: Report, table: tuple, against: str) -> bool:
    """Whether differences in a table can be taken to `against`, as `others_of` has it."""
    return against == RETRAINED or any(against in (row.label, row.name) for row in report.all_rows(table))


def others_of(report: Report, table: tuple, against: str) -> dict[Row, Other]:
    """What each row is compared with: its retrained model, or the row labelled or named `against` of its seed.

    Of a pretrained model only what a run started from. None where another table alone has such a row; UserError where
    no table has.
    """
    rows = report.tables[table]
    if against == RETRAINED:
        return {row: Other(row.reference.metrics, row.reference) for row in rows if row.reference}
    everything = report.all_rows(table)
    wanted = [row for row in everything if against in (row.label, row.name)]
    if not wanted and any(has_row(report, key, against) for key in report.tables):
        return {}
    if not wanted:
        labels = ", ".join(dict.fromkeys(row.label for row in everything))
        raise UserError(f"--against {against!r}: no such row in the table {title(table)}; it has {labels}")
    by_seeds, trained = {row.seeds: row for row in wanted}, not wanted[0].competes
    own = {row: row.seeds.of_model(forgets=True) if trained else row.seeds for row in rows}
    found = {row: by_seeds[seeds] for row, seeds in own.items() if seeds in by_seeds}
    if wanted[0].run.method == PRETRAIN and wanted[0].run.is_plain:  # not of a network that it did not start from
        found = {row: other for row, other in found.items() if not row.start or row.start.run is other.run}
    return {row: Other(other.values, other.run, other.records) for row, other in found.items()}
