"""What an audit found, as tables show it: a row a label, a column a measure, and the noise floors of metrics."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from method.evaluation.audit import MEASURES, measure_of
from method.evaluation.columns import COLUMNS, DIFFERENCE, VALUE, Column
from method.evaluation.measures import Measure
from method.runs.findings import MODELS, ORIGINAL, RETRAINED, UNLEARNED, Finding
from method.runs.labels import label, paper_name
from scripts.report.audit_runs import (
    BESIDE,
    GAP,
    MODEL,
    PLACES,
    control_gaps,
    place_of,
    put_together,
    told_apart,
    without_place,
)
from scripts.report.collect import Report
from scripts.report.compared import RETRAINED as THE_RETRAINED
from scripts.report.wording import TITLES, listed
from utils.tables import HOLE, is_number

TITLE = "Audit: is it really forgotten?"
READ = "A value with its 95 % interval, where it has one."
FLOOR_READ = "Noise floor: the same between retrained models of different seeds."
PARTS = {  # what stands beside a value
    "placebo": "Placebo: the same attack on held-out samples of the same groups.",
    "floor": FLOOR_READ,
    RETRAINED: "Retrained: the same of the retrained model.",
    ORIGINAL: "Original: the same of the original model.",
}
FLOOR = "noise floor: two models of {}"
OWN = UNLEARNED  # whose number a finding of a run is, unless `at` names another of the three models
FIELDS = ("value", "low", "high", "n", "runs")  # of a finding, for other programs
At = tuple[tuple[str, Any], ...]


class AuditColumn(NamedTuple):
    """A measure, and what it is taken at beside the place on a curve, such as 5 forgotten samples."""

    measure: Measure
    at: At = ()

    @property
    def title(self) -> str:
        """Its title, with what it is taken at."""
        return ", ".join([self.measure.title, *map(told_at, self.at)])

    @property
    def key(self) -> str:
        """Its key, likewise: relearn_acc@forgotten_samples=5."""
        return "@".join([self.measure.key, *(f"{name}={value}" for name, value in self.at)])


def told_at(one: tuple[str, Any]) -> str:
    """`5 forgotten samples`, or `control: original`."""
    name, value = one[0].replace("_", " "), one[1]
    return f"{value:g} {name}" if is_number(value) else f"{name}: {value}"


@dataclass(frozen=True)
class Audit:
    """What was found out about the rows of one table.

    labels: of rows, in the table's order. names: what papers call them and the retrained models. found: by label,
    column and group, None for all. curves: what stands on a curve. floors: by label of a retrained model and key of a
    metric.
    """

    labels: Sequence[str]
    names: Mapping[str, str]
    columns: Sequence[AuditColumn]
    empty: Sequence[AuditColumn]
    groups: Sequence[str]
    found: Mapping[tuple[str, AuditColumn, str | None, str], Finding]
    curves: Sequence[tuple[AuditColumn, Finding]]
    floors: Mapping[str, Mapping[str, Finding]]

    def get(self, name: str, column: AuditColumn, group: str | None = None) -> Finding | None:
        """What was found of a label, None where it was not looked for."""
        return self.found.get((name, column, group, OWN))

    def part(self, part: str, name: str, column: AuditColumn, group: str | None = None) -> float | None:
        """What stands beside that, one of PARTS; None where nothing does."""
        if part not in BESIDE:
            one = self.found.get((name, column, group, part))
            return one.value if one else None
        return getattr(self.get(name, column, group), part, None)

    def beyond(self, part: str, name: str, column: AuditColumn, group: str | None = None) -> float | None:
        """What another model's number is larger than, where no more is known of it."""
        one = self.found.get((name, column, group, part))
        return one.low if one and one.value is None else None

    def shown_part(self, part: str, name: str, column: AuditColumn, group: str | None) -> str:
        """The same as text."""
        decimals = column.measure.decimals
        if part not in BESIDE:
            return shown(self.found.get((name, column, group, part)), decimals)[0]
        return digits(self.part(part, name, column, group), decimals)

    def parts(self, column: AuditColumn) -> list[str]:
        """Which of PARTS a column has for any label."""
        return [part for part in PARTS if (column, part) in self._parts]

    @cached_property
    def _parts(self) -> set[tuple[AuditColumn, str]]:
        own = dict.fromkeys((name, column, group) for name, column, group, _ in self.found)
        return {(place[1], part) for place in own for part in PARTS if self.shown_part(part, *place) != HOLE}

    def lines(self, by_group: bool) -> Iterator[tuple[str, str | None]]:
        """(label, group): a line a label or, by group, also one for each group that something was found of."""
        for name in self.labels:
            for group in (None, *(self.groups if by_group else ())):
                if any(self.get(name, column, group) for column in self.columns) and not self._repeats(name, group):
                    yield name, group

    def _repeats(self, name: str, group: str | None) -> bool:
        """Whether a group says what all say together, as where one group was forgotten."""
        own = [(self.get(name, one, group), self.get(name, one)) for one in (*self.columns, *self.empty)]
        return group is not None and all(one is None or replace(one, group=None) == whole for one, whole in own)

    def cells(self, name: str, group: str | None) -> list[tuple[str, str]]:
        """A number and its interval of each column and of each of its parts; "" for no interval."""
        found = []
        for column in self.columns:
            found.append(shown(self.get(name, column, group), column.measure.decimals))
            found += [(self.shown_part(part, name, column, group), "") for part in self.parts(column)]
        return found

    def flat(self, columns: Mapping[AuditColumn, Sequence[str]], name: str, group: str | None = None) -> dict[str, Any]:
        """What was found of a label, by column of a CSV file; columns: with those of PARTS that any table has."""
        found: dict[str, Any] = {}
        for column, parts in columns.items():
            one = self.get(name, column, group)
            found |= {f"{column.key}_{field}": getattr(one, field, None) for field in FIELDS}
            found |= {f"{column.key}_{part}": self.part(part, name, column, group) for part in parts}
        return {key.removesuffix("_value"): value for key, value in found.items()}

    def holes(self, by_group: bool) -> list[str]:
        """Why values are missing: a sentence a reason."""
        found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        places = [(name, group) for name in self.labels for group in (None, *(self.groups if by_group else ()))]
        places = [(name, group) for name, group in places if not self._repeats(name, group)]
        for name, group in places:
            for column in (*self.columns, *self.empty):
                for model in MODELS:
                    one = self.found.get((name, column, group, model))
                    if one and one.reason:
                        title = column.title if model == OWN else f"{column.title} of the {model} model"
                        found[one.reason][f"{name}, {group}" if group else name].append(title)
        for name, floors in self.floors.items():
            for key, one in floors.items():
                if one.value is None and one.reason:
                    found[one.reason][FLOOR.format(name)].append(TITLES.get(key, key))
        told = defaultdict(list)
        for reason, rows in found.items():
            for titles in dict.fromkeys(map(tuple, rows.values())):
                own = [row for row, others in rows.items() if tuple(others) == titles]
                told[reason].append(f"{listed(titles)} of {listed(own)}")
        return [f"{'; '.join(rows)}: {reason}" for reason, rows in told.items()]

    def facts(self) -> list[str]:
        """How the numbers are read."""
        parts = {part for column in self.columns for part in self.parts(column)}
        told = [READ, *(meaning for part, meaning in PARTS.items() if part in parts)]
        told += self._last_steps()
        return [" ".join(told)]

    def _last_steps(self) -> list[str]:
        """Which step of a curve stands in the table: the last one that all runs of a row have."""
        lasts: dict[float, dict[str, None]] = defaultdict(dict)
        for (name, *_), one in self.found.items():
            place = place_of(one)
            if place and place[0] == PLACES[0]:
                lasts[place[1]][name] = None
        if len(lasts) < 2:
            return [f"Of a curve its last step, {step:g}." for step in lasts]
        whose = "; ".join(f"{step:g} ({listed(list(names))})" for step, names in sorted(lasts.items()))
        return [f"Of a curve the last step that all runs of the row have: {whose}."]

    def floor_lines(self, columns: Sequence[Column], against: str) -> Iterator[tuple[str, list[Finding | None]]]:
        """(label, a floor a column) of each retrained model that has one for a column that is shown.

        Of a distance to the retrained model beside its values, of another metric beside differences to that model.
        """
        for name, own in self.floors.items():
            there = {key: one for key, one in own.items() if one.value is not None}
            found = [there.get(column.key) if has_floor(column, against) else None for column in columns]
            if any(found):
                yield name, found


def has_floor(column: Column, against: str) -> bool:
    """Whether what a column shows is a distance to the retrained model."""
    return column.distance == ((DIFFERENCE if against == THE_RETRAINED else "none") if against else VALUE)


def shown(one: Finding | None, decimals: int, scale: float = 1.0) -> tuple[str, str]:
    """A value and its interval as text; `> 20` where the value is only known to be larger."""
    if one is None or one.value is None:
        return (HOLE if one is None or one.low is None else f"> {digits(scale * one.low, decimals)}"), ""
    ends = (digits(end if end is None else scale * end, decimals) for end in (one.low, one.high))
    interval = " to ".join(ends) if one.low is not None and one.high is not None else ""
    return digits(scale * one.value, decimals), interval


def is_told(one: Finding | None) -> bool:
    """Whether there is a number: a value, or what it is larger than."""
    return one is not None and not (one.value is None and one.low is None)


def digits(value: float | None, decimals: int) -> str:
    """A number with so many decimals, and no minus before a zero."""
    return HOLE if value is None else f"{value:z.{decimals}f}"


def audits_of(report: Report) -> tuple[dict[tuple, Audit], dict[AuditColumn, list[str]]]:
    """The audit of every table, and the columns of all of them with those of PARTS that they have."""
    audits = {key: audit_of(report, key) for key in report.tables}
    parts: dict[AuditColumn, list[str]] = {}
    for audit in audits.values():
        for column in audit.columns:
            parts[column] = list(dict.fromkeys([*parts.get(column, []), *audit.parts(column)]))
    return audits, parts


def audit_of(report: Report, key: tuple) -> Audit:
    """What was found out about the rows of a table; without columns and floors where nothing was."""
    runs = dict.fromkeys(row.run for row in report.tables[key])
    rows = list(dict.fromkeys(map(label, runs)))
    found: dict[tuple[str, AuditColumn, str | None, str], Finding] = {}
    curves: list[tuple[AuditColumn, Finding]] = []
    floors: dict[str, dict[str, Finding]] = defaultdict(dict)
    metrics = {column.key for column in COLUMNS} - MEASURES.keys()
    own = told_apart([one for one in report.found if one.finding.table == key and one.run in (None, *runs)])
    for one, curve in put_together([*own, *control_gaps(own)]):
        if one.measure in metrics:
            if one.group is None and not one.at:
                floors[one.label][one.measure] = one
        elif one.label in rows:
            column, model = _place(one)
            curves += [(column, point) for point in curve]
            # Accuracies of three models over a curve are a figure, and no column.
            if one.measure == GAP or not (curve and MODEL in (one.at or ())):
                found[one.label, column, one.group, model] = one
    curves.sort(key=lambda one: rows.index(one[1].label))
    valued = {column for (_, column, *_), one in found.items() if is_told(one)}
    columns = _in_order(column for _, column, *_ in found)
    return Audit(
        labels=[one for one in rows if any(one == name for name, *_ in found)],
        names={label(run): paper_name(run) for run in (*runs, *report.retrained)},
        columns=[column for column in columns if column in valued],
        empty=[column for column in columns if column not in valued],
        groups=list(dict.fromkeys(group for _, _, group, _ in found if group is not None)),
        found=found,
        curves=curves,
        floors=floors,
    )


def _place(one: Finding) -> tuple[AuditColumn, str]:
    """Its column, and the model whose number it is."""
    at = without_place(one)
    model = at.pop(MODEL, OWN)
    return AuditColumn(measure_of(one.measure), tuple(at.items())), model


def _in_order(columns: Iterable[AuditColumn]) -> list[AuditColumn]:
    """Each once, in the order of MEASURES and of what they are taken at; what these do not know comes last."""
    found = list(dict.fromkeys(columns))
    order = {key: number for number, key in enumerate(dict.fromkeys([*MEASURES, *(one.measure.key for one in found)]))}

    def rank(column: AuditColumn) -> tuple:
        at = [(name, not is_number(own), own if is_number(own) else 0.0, str(own)) for name, own in column.at]
        return order[column.measure.key], at

    return sorted(found, key=rank)
