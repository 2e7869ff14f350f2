"""What an audit found, as tables show it: a row a label, a column a measure, and the noise floors of metrics."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any, NamedTuple

from method.configs.seeds import are_independent
from method.evaluation.audit import MEASURES, measure_of
from method.evaluation.columns import COLUMNS, DIFFERENCE, VALUE, Column
from method.evaluation.intervals import student_interval
from method.evaluation.measures import Measure
from method.runs.audits import Found
from method.runs.findings import Finding
from method.runs.labels import label, paper_name
from scripts.report.collect import Report
from scripts.report.compared import RETRAINED
from scripts.report.wording import TITLES, listed
from utils.tables import HOLE, is_number

TITLE = "Audit: is it really forgotten?"
READ = "A value with its 95 % interval, where it has one."
FLOOR_READ = "Noise floor: the same between retrained models of different seeds."
PARTS = {  # what stands beside a value
    "placebo": "Placebo: the same attack on held-out samples of the same groups.",
    "floor": FLOOR_READ,
    "retrained": "Retrained: the same of the retrained model.",
    "original": "Original: the same of the original model.",
}
FLOOR = "noise floor: two models of {}"
BESIDE = ("floor", "placebo")  # those of them that are of the finding itself
PLACES = ("step", "share")  # where on a curve a finding stands; a table shows the last one
MODEL, OWN = "model", "unlearned"  # whose number a finding of a run is, of the three models that are tested alike
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

    def parts(self, column: AuditColumn) -> list[str]:
        """Which of PARTS a column has for any label."""
        return [part for part in PARTS if (column, part) in self._parts]

    @cached_property
    def _parts(self) -> set[tuple[AuditColumn, str]]:
        own = dict.fromkeys((name, column, group) for name, column, group, _ in self.found)
        return {(place[1], part) for place in own for part in PARTS if self.part(part, *place) is not None}

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
            one, decimals = self.get(name, column, group), column.measure.decimals
            found.append(shown(one, decimals))
            found += [(digits(self.part(part, name, column, group), decimals), "") for part in self.parts(column)]
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
                one = self.get(name, column, group)
                if one and one.value is None and one.reason:
                    found[one.reason][f"{name}, {group}" if group else name].append(column.title)
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
        steps = [step for _, one in self.curves if is_number(step := (one.at or {}).get(PLACES[0]))]
        last = max(steps, default=None)
        told = [READ, *(meaning for part, meaning in PARTS.items() if part in parts)]
        told += [f"Of a curve its last {PLACES[0]}, {last}."] if last is not None else []
        return [" ".join(told)]

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
    return column.distance == ((DIFFERENCE if against == RETRAINED else "none") if against else VALUE)


def shown(one: Finding | None, decimals: int, scale: float = 1.0) -> tuple[str, str]:
    """A value and its interval as text."""
    if one is None or one.value is None:
        return HOLE, ""
    ends = (digits(end if end is None else scale * end, decimals) for end in (one.low, one.high))
    interval = " to ".join(ends) if one.low is not None and one.high is not None else ""
    return digits(scale * one.value, decimals), interval


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
    for one in _merged(one for one in report.found if one.finding.table == key and one.run in (None, *runs)):
        if one.measure in metrics:
            if one.group is None and not one.at:
                floors[one.label][one.measure] = one
        elif one.label in rows:
            column, model, is_on_curve = _place(one)
            curves += [(column, one)] if is_on_curve else []
            if not (is_on_curve and MODEL in (one.at or ())):  # curves of three models are a figure, and no column
                found[one.label, column, one.group, model] = one  # of a curve the last place stays
    curves.sort(key=lambda one: rows.index(one[1].label))
    valued = {column for (_, column, *_), one in found.items() if one.value is not None}
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


def _place(one: Finding) -> tuple[AuditColumn, str, bool]:
    """Its column, the model whose number it is, and whether it stands on a curve."""
    at = dict(one.at or {})
    places, model = [at.pop(place) for place in PLACES if place in at], at.pop(MODEL, OWN)
    return AuditColumn(measure_of(one.measure), tuple(at.items())), model, bool(places)


def _in_order(columns: Iterable[AuditColumn]) -> list[AuditColumn]:
    """Each once, in the order of MEASURES; what these do not know comes last."""
    order = {name: number for number, name in enumerate(MEASURES)}
    return sorted(dict.fromkeys(columns), key=lambda column: order.get(column.measure.key, len(order)))


def _merged(found: Iterable[Found]) -> Iterator[Finding]:
    """Findings of single runs, such as those of relearn.json, put together over the runs of a label."""
    alike: dict[tuple, list[Found]] = defaultdict(list)
    for one in found:
        own = one.finding
        alike[own.measure, own.label, own.group, tuple((own.at or {}).items())].append(one)
    return map(_over_runs, alike.values())


def _over_runs(found: Sequence[Found]) -> Finding:
    """Their mean, with Student's interval where the runs are independent."""
    findings = [one.finding for one in found]
    if len(found) == 1:
        return findings[0]
    there = [one for one in found if one.finding.value is not None]
    if not there:
        reasons = dict.fromkeys(one.reason for one in findings if one.reason)
        return replace(findings[0], reason=" or ".join(reasons) or None, runs=len(found))
    values = [one.finding.value for one in there if one.finding.value is not None]
    seeds = [one.run.seeds for one in there if one.run]
    independent = len(seeds) == len(there) and are_independent(seeds)
    mean, low, high = student_interval(values) if independent else (fmean(values), None, None)
    floor, placebo = ([value for one in findings if (value := getattr(one, part)) is not None] for part in BESIDE)
    own = replace(there[0].finding, value=mean, low=low, high=high, runs=len(there), reason=None)
    return replace(own, floor=fmean(floor) if floor else None, placebo=fmean(placebo) if placebo else None)
