"""The rows of a label beside what they are compared with: what sentences are made from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from method.runs.labels import paper_name
from method.runs.stored import StoredRun
from scripts.report.collect import Report, Row, by_label, independent
from scripts.report.compared import reference_name
from scripts.report.estimates import Attack, Estimate, Score, estimate_attack, estimate_change, pool, scores_of
from utils.tables import is_number

ATTACK, GROUP_ATTACK, FILLED = "mia_auc", "mia_group_auc", "mia_filled"
Originals = Mapping[Row, Row | None]


@dataclass(frozen=True, eq=False)
class Cell:
    """The rows of a label, one a seed, and the row of the original that each started from, None where it is not there.

    own, original, retrained: for each row the test accuracies by group of its own model, of its original, and of its
    retrained model; empty where there are none.
    """

    rows: Sequence[Row]
    starts: Sequence[Row | None]
    own: Sequence[Mapping[str, Score]]
    original: Sequence[Mapping[str, Score]]
    retrained: Sequence[Mapping[str, Score]]

    @property
    def name(self) -> str:
        """What papers call it."""
        return self.rows[0].name

    @property
    def independent(self) -> bool:
        """Whether each row is of models trained anew, so that an interval over them says something of chance."""
        return independent(self.rows)

    @property
    def after(self) -> str:
        """`after SalUn`, or of a model that unlearned nothing `in Retrained`."""
        return f"{'after' if self.rows[0].competes else 'in'} {self.name}"

    @property
    def reference(self) -> str:
        """What it is compared with, in the words of papers; empty for none, and for a model that is its own."""
        others = [row for row in self.rows if row.reference is not row.run]
        return " or ".join(dict.fromkeys(filter(None, (reference_name(row, paper_name) for row in others))))

    def groups(self, forgotten: bool) -> list[str]:
        """The names of the forget groups, or of the others, as far as the test set holds them."""
        asked = set(forget_groups(self.rows))
        return [
            name for name in dict.fromkeys(name for own in self.own for name in own) if (name in asked) == forgotten
        ]

    def change(self, names: Sequence[str], since: Sequence[Mapping[str, Score]], choices: int = 1) -> Estimate | None:
        """Of the test images of these groups together: the accuracy minus that of `original` or `retrained`."""
        found = [(pool(before, names), pool(after, names)) for before, after in zip(since, self.own, strict=True)]
        return estimate_change([(a, b) for a, b in found if a is not None and b is not None], choices, self.independent)

    def attack(self, key: str, choices: int = 1) -> Estimate | None:
        """The AUC of a membership attack minus that on the retrained model of the same seed."""
        return compare_attacks(((row.values, row.reference) for row in self.rows), key, choices, self.independent)

    def seconds(self) -> list[tuple[float, float]]:
        """How long retraining took and how long this, for the seeds where both are known."""
        theirs = [row.reference.metrics.get("seconds") if row.reference else None for row in self.rows]
        found = zip(theirs, (row.values.get("seconds") for row in self.rows), strict=True)
        return [(a, b) for a, b in found if is_number(a) and is_number(b) and min(a, b) > 0]


def make_cells(rows: Sequence[Row], originals: Originals) -> dict[str, Cell]:
    """The cells of a table by label; originals: of each row that of its original model (`originals_of`)."""
    known: dict[Row | StoredRun, dict[str, Score]] = {}

    def scores(of: Row | StoredRun | None) -> dict[str, Score]:
        if of is None:
            return {}
        if of not in known:
            known[of] = scores_of(of.values if isinstance(of, Row) else of.metrics)
        return known[of]

    return {
        label: Cell(
            own,
            [originals.get(row) for row in own],
            [scores(row) for row in own],
            [scores(originals.get(row)) for row in own],
            [scores(row.reference) for row in own],
        )
        for label, own in by_label(rows).items()
    }


def originals_of(report: Report, table: tuple, rows: Iterable[Row]) -> dict[Row, Row | None]:
    """The row of the original model of each row; None where it is not there."""
    return {row: report.original_row(table, row) for row in rows}


def compare_attacks(
    pairs: Iterable[tuple[Mapping[str, Any], StoredRun | None]], key: str, choices: int = 1, independent: bool = True
) -> Estimate | None:
    """Of (a model's values, its retrained run): the AUC of an attack minus that on the retrained model."""
    found = []
    for values, retrained in pairs:
        own, theirs = values.get(key), retrained.metrics.get(key) if retrained else None
        if is_number(own) and is_number(theirs):
            n = _n_attacked(values, key)
            found.append((Attack(theirs, n), Attack(own, n)))
    return estimate_attack(found, choices, independent)


def _n_attacked(values: Mapping[str, Any], key: str) -> int:
    """How many members an attack compares with as many non-members; 0 where it is not known."""
    if key == ATTACK:
        return values.get("n_forget") or 0
    groups = values.get("groups") or []
    return sum(min(g.get("n_forget", 0), g.get("n_val", 0) + g.get("n_test", 0)) for g in groups)


def attack_key(rows: Iterable[Row]) -> str:
    """The balanced attack; where its non-members had to be filled with other groups, the one within the groups."""
    return GROUP_ATTACK if any(row.values.get(FILLED) for row in rows) else ATTACK


def forget_groups(rows: Iterable[Row]) -> list[str]:
    """The groups that were forgotten from."""
    return list(dict.fromkeys(name for row in rows for name in row.values.get("forget_group_names") or ()))
