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
from scripts.report.payload import SETTING
from scripts.report.values import moments
from utils.tables import is_number, one_line
from utils.text import for_people

# How a text begins that a spreadsheet would run; the last four are full-width letters, which some take for the first.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
PARTS = ("", "_sd", "_n", "_difference", "_difference_sd")


def as_csv(report: Report, columns: Sequence[Column], each: bool, against: str = "") -> str:
    """One line a run, or one a cell with n, mean, sd over seeds and mean and sd of the difference.

    against: the row that differences are taken to, or RETRAINED; without it to the reference, and none where `each`.
    Stored units, full precision; an empty field is a hole. A text that a spreadsheet would run has an apostrophe before
    it; line ends, tabs and control characters in one are escapes. What an audit found of a cell follows its metrics.
    """
    audits, found = audits_of(report) if not each else ({}, {})
    further = ["folder", "reference"] if each else ["reference"]
    further += ["against"] if against not in ("", RETRAINED) else []
    parts = ("", "_difference") if each and against else ("",) if each else PARTS
    header = [*SETTING, "label", "method", "seed" if each else "n", *further]
    lines, audited = [], dict[str, Any]()
    for key, rows in report.tables.items():
        others = values_of_others(report, key, against or RETRAINED)
        for name, own in [(row.label, [row]) for row in rows] if each else by_label(rows).items():
            facts = {
                "folder": for_people(own[0].run.folder.as_posix()),
                "reference": " or ".join(dict.fromkeys(filter(None, map(reference_name, own)))),
                "against": against,
            }
            count = own[0].seeds.spell() if each else len(own)
            values = [_value(own, column, part, others) for column in columns for part in parts]
            audited = audits[key].flat(found, label(own[0].run)) if found else {}
            values += audited.values()
            lines.append([*key, name, own[0].run.method, count, *(facts[fact] for fact in further), *values])
    header += [f"{column.key}{part}" for column in columns for part in parts]
    return written([*header, *audited], lines)


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


def _value(rows: Sequence[Row], column: Column, part: str, others: Others) -> float | None:
    """One of PARTS over the rows of a cell; of a single row its value too."""
    key = column.key
    nothing: Mapping[str, Any] = {}
    if part.startswith("_difference"):
        found = moments([row.minus(others.get(row, nothing), key) for row in rows])
    else:
        found = moments([value for row in rows if is_number(value := row.values.get(key))])
    return found[{"_sd": "sd", "_n": "n", "_difference_sd": "sd"}.get(part, "mean")]
