"""Rows of the table: what was looked at, how it ended, and the number behind it."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

LONGEST = 300  # letters of a line that somebody else wrote
ERROR = re.compile(r"(?!ChildFailedError)[\w.]*(Error|Exception|Failure)\b")
PASS, FAIL, FIGURE, SKIPPED = "pass", "fail", "figure", "skipped"


@dataclass(frozen=True)
class Row:
    """One line: `name` is what was looked at, `value` what was found, `detail` what it was held against, or why."""

    name: str
    status: str
    value: str = ""
    detail: str = ""

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


Rows = Iterator[Row]


def verdict(name: str, good: bool, value: str, detail: str = "") -> Row:
    """A row that passes or fails."""
    return Row(name, PASS if good else FAIL, value, detail)


def figure(name: str, value: str, detail: str = "") -> Row:
    """A number that nothing is demanded of."""
    return Row(name, FIGURE, value, detail)


def skipped(name: str, why: str) -> Row:
    """What could not be looked at here, and why; neither a pass nor a failure."""
    return Row(name, SKIPPED, "", why)


def reason(said: str) -> str:
    """Of what a process said, the last line that names an error, or else the last there is."""
    lines = [text.strip() for text in said.splitlines() if text.strip(" =-")]
    errors = [text for text in lines if text.startswith("error: ") or ERROR.match(text)]
    return (errors or lines or [""])[-1][:LONGEST]


def line(part: str, row: Row) -> str:
    """The row as it is printed when it is there."""
    said = "; ".join(text for text in (row.value, row.detail) if text)
    return f"{part:<12} {row.status:<8} {row.name}{': ' if said else ''}{said}"
