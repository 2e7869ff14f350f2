"""Reading label files: columns by name, values by an explicit list, and an error that names the file and the line."""

import csv
import io
import os
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType

import numpy as np

from utils import files
from utils.errors import UserError

LARGEST = 2**30  # bytes of a label file or a list
LONGEST_PATH, LONGEST_PART = 4096, 255  # bytes of a path in the labels, and of a name in it: what systems allow
NEVER_IN_PATHS = {"\\", "\0"} | ({":"} if os.name == "nt" else set())  # a drive's name leads out of the folder
DELIMITERS = {",": "commas", "\t": "tabs"}
# In the paths of all rows between line ends: what only a path that leaves its folder has, or another spelling of one.
ODD_IN_PATHS = (
    *("\n/", "/\n", "\n\n", "//", "/./", "\n./", "/.\n", "\n.\n", "/../", "\n../", "/..\n", "\n..\n"),
    *NEVER_IN_PATHS,
)


@dataclass(frozen=True)
class Table:
    """The wanted columns of a label file as text, and the file's line number of each row."""

    file: Path
    columns: dict[str, Sequence[str]]
    lines: Sequence[int]

    def __getitem__(self, column: str) -> Sequence[str]:
        return self.columns[column]

    def codes(self, column: str, allowed: Mapping[str, int], ignore_case: bool = False, remedy: str = "") -> np.ndarray:
        """int64 codes of a column. UserError for another value: the first one, its line and how many there are."""
        values = self.columns[column]
        if ignore_case:
            values = [value.lower() for value in values]
        try:
            return np.array([allowed[value] for value in values], dtype=np.int64)
        except KeyError:
            bad_rows = [row for row, value in enumerate(values) if value not in allowed]
            raise self.error(column, bad_rows, f"expected one of {', '.join(allowed)}{remedy}") from None

    def error(self, column: str, bad_rows: Sequence[int], expected: str) -> UserError:
        """What is wrong with a column, by its first bad row: how many have its value, and how many another bad one."""
        first, values = bad_rows[0], self.columns[column]
        wrong = Counter(values[row] for row in bad_rows)
        same = wrong.pop(values[first])
        rows = format_count(same, "such row")
        if wrong:
            rows += f", and {format_count(wrong.total(), 'row')} with {format_count(len(wrong), 'other wrong value')}"
        return UserError(f"{self.file}, line {self.lines[first]}: {column} is {values[first]!r} ({rows}); {expected}")


def format_count(n: int, what: str) -> str:
    """A number with its noun: 1 row, 2 rows."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def data_folder(data_dir: Path, folder: str, layout: str) -> Path:
    """`data_dir`/`folder`; UserError with the expected layout where it is absent."""
    root = Path(data_dir) / folder
    if not root.is_dir():
        raise UserError(f"no data folder {root}: expected {layout} in it; put it there or give its --data_dir")
    return root


def read_label_text(file: Path, layout: str) -> str:
    """A label file's text, in which a line feed alone ends a line.

    UserError where the file is absent, no regular file, or no UTF-8 text.
    """
    try:
        text = files.read_text(file, "utf-8-sig", LARGEST)
    except FileNotFoundError:
        raise UserError(f"no label file {file}: expected {layout} in {file.parent}; put it there") from None
    except OSError as error:
        raise UserError(f"cannot read label file {file} ({error.strerror}): make it readable") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read label file {file} ({error}): expected UTF-8 text; get a fresh copy") from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_csv(file: Path, wanted: Sequence[str], layout: str, flags: Mapping[str, str] = MappingProxyType({})) -> Table:
    """The `wanted` columns (two or more) of a CSV or TSV file with a header; flags: what names a column.

    UserError for a missing column, for a ragged row, and for a header that has the columns with either delimiter.
    """
    text = read_label_text(file, layout)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_find_delimiter(file, text, wanted))
    try:
        header = [name.strip() for name in next(reader, [])]
        pick = itemgetter(*column_numbers(file, header, wanted, flags))
        width = len(header)
        cells, lines = [], []
        for row in reader:
            if len(row) == width:
                cells.extend(pick(row))
                lines.append(reader.line_num)
            elif row:
                raise ragged_line_error(file, reader.line_num, len(row), width)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: no CSV ({error}); get a fresh copy of the file") from None
    return table_of(file, wanted, cells, lines)


def header_of(file: Path, layout: str, wanted: Sequence[str]) -> list[str]:
    """The names of the columns of a CSV or TSV file that has the `wanted` ones."""
    text = read_label_text(file, layout)
    return _split_header(text, _find_delimiter(file, text, wanted))


def _find_delimiter(file: Path, text: str, wanted: Sequence[str]) -> str:
    """The delimiter by which the first line names all `wanted` columns, whatever the file is called."""
    first = text[: text.find("\n") + 1] or text
    if "\t" not in first:
        return ","
    headers = {delimiter: _split_header(first, delimiter) for delimiter in DELIMITERS}
    fitting = [delimiter for delimiter, header in headers.items() if {*wanted} <= {*header}]
    if len(fitting) > 1:
        counts = " and ".join(f"by {DELIMITERS[one]} {len(headers[one])} columns" for one in fitting)
        raise UserError(
            f"{file} can be read in two ways, {counts}, each with {', '.join(wanted)}; rename the columns of one"
        )
    return fitting[0] if fitting else max(headers, key=lambda one: len(headers[one]))


def _split_header(text: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])]
    except csv.Error:
        return []


def column_numbers(
    file: Path, header: Sequence[str], wanted: Sequence[str], flags: Mapping[str, str] = MappingProxyType({})
) -> list[int]:
    """Where the `wanted` names stand in `header`; UserError naming the first that is not there, and those that are."""
    missing = [name for name in wanted if name not in header]
    if missing:
        remedy = f"; --{flags[missing[0]]} names another" if missing[0] in flags else ""
        raise UserError(f"{file} has no column {missing[0]!r}: found {', '.join(header) or 'an empty file'}{remedy}")
    repeated = [name for name in wanted if header.count(name) > 1]
    if repeated:
        raise UserError(f"{file} has more than one column {repeated[0]!r}: expected one; rename the others")
    return [header.index(name) for name in wanted]


def table_of(file: Path, wanted: Sequence[str], cells: list[str], lines: Sequence[int]) -> Table:
    """A Table from its cells, row after row (a tuple per row would take seconds more); UserError for no row."""
    if not lines:
        raise UserError(f"{file} has no rows below its header: expected one per image; get a fresh copy of the file")
    return Table(file, {name: cells[column :: len(wanted)] for column, name in enumerate(wanted)}, lines)


def image_paths(table: Table, column: str, root: Path | None = None) -> Sequence[str]:
    """A column of image files relative to `root`, or to the labels' folder, in one spelling: ./a.jpg is a.jpg.

    UserError for one that is not below that folder (a link in it may lead anywhere), or longer than systems allow.
    """
    values = table[column]
    if _are_plain(values):
        return values
    paths = [posixpath.normpath(value) if value else "" for value in values]
    outside = [row for row, path in enumerate(paths) if not _is_below(path)]
    if outside:
        raise table.error(
            column, outside, f"expected the path of a file below {root or table.file.parent}, with / in it"
        )
    # Before an array gives every row the room of the longest.
    long = [row for row, path in enumerate(paths) if _is_too_long(path)]
    if long:
        limit = f"{LONGEST_PATH} bytes, and of {LONGEST_PART} between two /"
        raise table.error(column, long, f"expected a path of at most {limit}")
    return paths


def one_row_each(table: Table, column: str, paths: Sequence[str]) -> Sequence[str]:
    """The `paths` that stand for a column's values; UserError for one in two rows, naming both."""
    if len(set(paths)) < len(paths):
        first: dict[str, int] = {}
        repeated = [row for row, path in enumerate(paths) if first.setdefault(path, row) != row]
        line = table.lines[first[paths[repeated[0]]]]
        raise table.error(column, repeated, f"line {line} has it too; expected one row an image")
    return paths


def _are_plain(values: Sequence[str]) -> bool:
    """Whether no path needs a closer look; row by row that would take as long as reading the file."""
    joined = "\n" + "\n".join(values) + "\n"
    n_bytes = max(map(len, values)) * (1 if joined.isascii() else 4)
    return n_bytes <= LONGEST_PART and not any(part in joined for part in ODD_IN_PATHS)


def _is_below(path: str) -> bool:
    return path not in ("", ".", "..") and not path.startswith(("/", "../")) and not set(path) & NEVER_IN_PATHS


def _is_too_long(path: str) -> bool:
    content = path.encode()
    return len(content) > LONGEST_PATH or max(map(len, content.split(b"/"))) > LONGEST_PART


def ragged_line_error(file: Path, line: int, found: int, expected: int) -> UserError:
    """A row with another number of fields than its header says."""
    return UserError(f"{file}, line {line}: {found} fields, expected {expected} as in the header; repair that line")
