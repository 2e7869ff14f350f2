"""Tables for other programs: CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from method.evaluation.columns import Column
from method.runs.labels import label
from scripts.report.audit import audits_of
from scripts.report.collect import Report, Row, by_label
from scripts.report.compared import RETRAINED, Others, reference_name, values_of_others
from scripts.report.nested import design, take_apart
from scripts.report.paired import Paired, PairedTable, compare_rows, in_lines
from scripts.report.payload import SETTING
from scripts.report.values import moments
from utils.tables import one_line
from utils.text import for_people

# How a text begins that a spreadsheet would run; the last four are full-width letters, which some take for the first.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
PARTS = ("", "_sd", "_n", "_difference", "_difference_sd")
OF_PAIRS = ("_seeds_low", "_seeds_high", "_p", "_images_low", "_images_high")
OF_NESTED = (
    *("_mean_low", "_mean_high", "_train_sd", "_train_sd_low", "_train_sd_high"),
    *("_unlearn_sd", "_unlearn_sd_low", "_unlearn_sd_high"),
)


def as_csv(report: Report, columns: Sequence[Column], each: bool, against: str = "") -> str:
    """One line a run, or one a cell with n, mean, sd over seeds and mean and sd of the difference.

    against: the row that differences are taken to, or RETRAINED; without it to the reference, and none where `each`.
    With it OF_PAIRS too, and why some are not there; OF_NESTED where a cell is nested and balanced. What an audit found
    of a cell follows its metrics. Stored units, full precision; an empty field is a hole. A text that a spreadsheet
    would run has an apostrophe before it; line ends, tabs and control characters in one are escapes.
    """
    audits, found = audits_of(report) if not each else ({}, {})
    further = ["folder", "reference"] if each else ["reference"]
    further += ["against"] if against not in ("", RETRAINED) else []
    further += ["no_interval"] if against else []
    parts = _parts(report, each, against)
    header = [*SETTING, "label", "method", "seed" if each else "n", *further]
    lines, audited = [], dict[str, Any]()
    for key, rows in report.tables.items():
        others = values_of_others(report, key, against or RETRAINED)
        paired = compare_rows(report, key, columns, against, each) if against else PairedTable({}, {}, {})
        for name, own in in_lines(rows, each).items():
            facts = {
                "folder": for_people(own[0].run.folder.as_posix()),
                "reference": " or ".join(dict.fromkeys(filter(None, map(reference_name, own)))),
                "against": against,
                "no_interval": "; ".join(paired.reasons(name)),
            }
            count = own[0].seeds.spell() if each else len(own)
            values = [
                {**_values(own, column, others), **_of_pairs(paired.found.get((name, column.key)))}
                for column in columns
            ]
            audited = audits[key].flat(found, label(own[0].run)) if found else {}
            lines.append(
                [*key, own[0].label, own[0].run.method, count]
                + [facts[fact] for fact in further]
                + [value.get(part) for value in values for part in parts]
                + [*audited.values()]
            )
    header += [f"{column.key}{part}" for column in columns for part in parts]
    return written([*header, *audited], lines)


def _parts(report: Report, each: bool, against: str) -> tuple[str, ...]:
    """What the fields of a column are called, after its key."""
    if each:
        return ("", "_difference", *OF_PAIRS[-2:]) if against else ("",)
    nested = any(design(own) for rows in report.tables.values() for own in by_label(rows).values())
    return (*PARTS, *(OF_PAIRS if against else ()), *(OF_NESTED if nested else ()))


def written(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Lines as CSV, texts as no spreadsheet runs them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([map(_inert, line) for line in lines])
    return text.getvalue()


def _inert(value: Any) -> Any:
    """A text in one line that no spreadsheet takes for a formula; a number as it is."""
    if not isinstance(value, str):
        return value
    return f"'{line}" if (line := one_line(value)).startswith(FORMULA) else line


def _values(rows: Sequence[Row], column: Column, others: Others) -> dict[str, float | None]:
    """PARTS over the rows of a cell, and OF_NESTED where it is nested and balanced."""
    nothing: Mapping[str, Any] = {}
    own = moments([row.values.get(column.key) for row in rows])
    difference = moments([row.minus(others.get(row, nothing), column.key) for row in rows])
    found = (own["mean"], own["sd"], own["n"], difference["mean"], difference["sd"])
    values = dict(zip(PARTS, found, strict=True))
    apart = take_apart({row: row.values.get(column.key) for row in rows}) if design(rows) else None
    if apart:
        values |= zip(OF_NESTED, (*apart.mean[1:], *apart.train, *apart.unlearn), strict=True)
    return values


def _of_pairs(found: Paired | None) -> dict[str, float | None]:
    if found is None:
        return {}
    ends = [one or (None, None) for one in (found.seeds, found.images)]
    return dict(zip(OF_PAIRS, (*ends[0], found.p, *ends[1]), strict=True))
