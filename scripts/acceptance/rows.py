"""Rows of the table: what was looked at, how it ended, and the number behind it."""

import json
import re
import traceback
from collections.abc import Callable, Iterator
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
        """The row as one line of JSON."""
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


def guarded(name: str, check: Callable[[], Row | Rows]) -> Rows:
    """What a check finds; where it breaks, a row that fails, so that what comes after it is looked at all the same."""
    try:
        found = check()
        yield from (found,) if isinstance(found, Row) else found
    except (Exception, SystemExit) as error:  # a benchmark's way to say that a run failed
        yield broken(name, error)


def broken(name: str, error: BaseException) -> Row:
    """A check that ended by an exception: its type and a line of it; the log gets all of it."""
    traceback.print_exception(error)
    return Row(name, FAIL, type(error).__name__, told_by(error))


def told_by(error: BaseException) -> str:
    """A line of an exception: the one that names an error, or the first; of what a process said, the last."""
    lines, said = str(error).strip().splitlines(), reason(str(error))
    if isinstance(error, SystemExit) or names_error(said) or not lines:
        return said
    return lines[0][:LONGEST]


def reason(said: str) -> str:
    """Of what a process said, the last line that names an error, or else the last there is."""
    lines = [text.strip() for text in said.splitlines() if text.strip(" =-")]
    return ([text for text in lines if names_error(text)] or lines or [""])[-1][:LONGEST]


def names_error(text: str) -> bool:
    """Whether a line is that of an error."""
    return text.startswith("error: ") or ERROR.match(text) is not None


def line(part: str, row: Row) -> str:
    """The row as it is printed when it is there."""
    said = "; ".join(text for text in (row.value, row.detail) if text)
    return f"{part:<12} {row.status:<8} {row.name}{': ' if said else ''}{said}"
