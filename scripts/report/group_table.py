"""Groups in rows, models in columns: test accuracy, and its change to the original and to the retrained model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.report.collect import Report, Row, by_label, groups_of, independent
from scripts.report.compared import values_of_others
from scripts.report.estimates import Score, estimate_change
from scripts.report.values import moments
from scripts.report.view import average_accuracy
from utils.tables import is_number

ORIGINAL, REFERENCE = "minus original", "minus retrained"
FACTS = ("forget", "n_train", "n_forget", "n_test")  # of a group, beside its name
Groups = Mapping[str, Mapping[str, Any]]  # by name, as groups_of gives them


@dataclass(frozen=True)
class GroupTable:
    """One table: its groups, the forget groups first, and the rows behind each of its columns.

    found: of every row its groups. others: name of a line -> row -> the groups of what the row is compared with; a row
    for which nothing is there is absent.
    """

    key: tuple
    groups: Sequence[Mapping[str, Any]]
    columns: Mapping[str, Sequence[Row]]
    found: Mapping[Row, Groups]
    others: Mapping[str, Mapping[Row, Groups]]

    def accuracy(self, rows: Sequence[Row], group: str) -> dict[str, Any]:
        """What `average_accuracy` gives of the rows that have the group."""
        there = [row for row in rows if group in self.found[row]]
        return average_accuracy((self.found[row][group] for row in there), independent(there))

    def change(self, what: str, rows: Sequence[Row], group: str) -> dict[str, Any]:
        """The accuracy minus that of what each row is compared with: n, mean and sd, and `interval` for 95 %, or None.

        Of several seeds the interval is Student's over the differences of each seed, of one it is from the numbers of
        test samples.
        """
        theirs = self.others[what]
        there = [row for row in rows if _both(group, theirs.get(row), self.found[row])]
        pairs = [(theirs[row][group], self.found[row][group]) for row in there]
        found = estimate_change([(_score(a), _score(b)) for a, b in pairs], independent=independent(there))
        ends = [found.low, found.high] if found and found.low is not None else None
        return moments([own["test_acc"] - other["test_acc"] for other, own in pairs]) | {"interval": ends}

    def column(self, rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
        """What a page shows of the rows of one column: lists in the order of `groups`."""
        names = [group["name"] for group in self.groups]
        return {
            "test_acc": [self.accuracy(rows, name) for name in names],
            "minus_original": [self.change(ORIGINAL, rows, name) for name in names],
            "minus_reference": [self.change(REFERENCE, rows, name) for name in names],
        }


def _both(group: str, *found: Groups | None) -> bool:
    """Whether both have a group's accuracy, on test images."""
    own = [(groups or {}).get(group, {}) for groups in found]
    return all(is_number(one.get("test_acc")) and one["n_test"] for one in own)


def _score(group: Mapping[str, Any]) -> Score:
    return Score(group["test_acc"], group["n_test"])


def group_tables(report: Report, each: bool = False, against: str = "") -> Iterator[GroupTable]:
    """The tables of a report; each: a column a run, else one a label. against: a further row to compare with."""
    for key, rows in report.tables.items():
        found = {row: _by_name(row.values) for row in rows}
        groups = {name: group for own in found.values() for name, group in own.items()}
        compared = {
            ORIGINAL: {row: other.values for row in rows if (other := report.original_row(key, row))},
            REFERENCE: {row: row.reference.metrics for row in rows if row.reference not in (None, row.run)},
            **({f"minus {against}": values_of_others(report, key, against)} if against else {}),
        }
        yield GroupTable(
            key,
            sorted(groups.values(), key=lambda group: not group["forget"]),
            {f"{row.label}, seed {row.seed}": [row] for row in rows} if each else by_label(rows),
            found,
            {what: {row: _by_name(values) for row, values in own.items()} for what, own in compared.items()},
        )


def _by_name(values: Mapping[str, Any]) -> Groups:
    return {group["name"]: group for group in groups_of(values)}
