"""Reading label files: columns by name, values by an explicit list, and an error that names the file and the line."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from utils.errors import UserError


@dataclass(frozen=True)
class Table:
    """The wanted columns of a label file as text, and the file's line number of each row."""

    file: Path
    columns: dict[str, Sequence[str]]
    lines: Sequence[int]

    def __getitem__(self, column: str) -> Sequence[str]:
        return self.columns[column]

    def codes(self, column: str, allowed: Mapping[str, int], ignore_case: bool = False) -> np.ndarray:
        """int64 codes of a column. UserError for another value: the first one, its line and how many there are."""
        values = self.columns[column]
        if ignore_case:
            values = [value.lower() for value in values]
        try:
            return np.array([allowed[value] for value in values], dtype=np.int64)
        except KeyError:
            bad_rows = [row for row, value in enumerate(values) if value not in allowed]
            raise self.error(column, bad_rows, f"expected one of {', '.join(allowed)}") from None

    def error(self, column: str, bad_rows: Sequence[int], expected: str) -> UserError:
        """What is wrong with a column, by its first bad row."""
        first = bad_rows[0]
        rows = "1 such row" if len(bad_rows) == 1 else f"{len(bad_rows)} such rows"
        return UserError(
            f"{self.file}, line {self.lines[first]}: {column} is {self.columns[column][first]!r} ({rows}); {expected}"
        )


def data_folder(data_dir: Path, folder: str, layout: str) -> Path:
    """`data_dir`/`folder`; UserError with the expected layout where it is absent."""
    root = Path(data_dir) / folder
    if not root.is_dir():
        raise UserError(f"no data folder {root}: expected {layout} in it; put it there or give its --data_dir")
    return root


def read_text(file: Path, layout: str) -> str:
    """A label file's text; UserError where it is absent or no UTF-8 text."""
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"no label file {file}: expected {layout} in {file.parent}; put it there") from None
    except OSError as error:
        raise UserError(f"cannot read label file {file} ({error.strerror}): make it readable") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read label file {file} ({error}): expected UTF-8 text; get a fresh copy") from None


def read_csv(file: Path, wanted: Sequence[str], layout: str) -> Table:
    """The `wanted` columns (two or more) of a CSV file with a header; UserError for a missing one or a ragged row."""
    reader = csv.reader(io.StringIO(read_text(file, layout), newline=""))
    try:
        header = [name.strip() for name in next(reader, [])]
        pick = itemgetter(*column_numbers(file, header, wanted))
        width = len(header)
        cells, lines = [], []
        for row in reader:
            if len(row) == width:
                cells.extend(pick(row))
                lines.append(reader.line_num)
            elif row:
                raise ragged(file, reader.line_num, len(row), width)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: no CSV ({error}); get a fresh copy of the file") from None
    return table_of(file, wanted, cells, lines)


def column_numbers(file: Path, header: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where the `wanted` names stand in `header`; UserError naming the first that is not there, and those that are."""
    missing = [name for name in wanted if name not in header]
    if missing:
        raise UserError(f"{file} has no column {missing[0]!r}: found {', '.join(header) or 'an empty file'}")
    repeated = [name for name in wanted if header.count(name) > 1]
    if repeated:
        raise UserError(f"{file} has more than one column {repeated[0]!r}: expected one; rename the others")
    return [header.index(name) for name in wanted]


def table_of(file: Path, wanted: Sequence[str], cells: list[str], lines: Sequence[int]) -> Table:
    """A Table from its cells, row after row (a tuple per row would take seconds more); UserError for no row."""
    if not lines:
        raise UserError(f"{file} has no rows below its header: expected one per image; get a fresh copy of the file")
    return Table(file, {name: cells[column :: len(wanted)] for column, name in enumerate(wanted)}, lines)


def ragged(file: Path, line: int, found: int, expected: int) -> UserError:
    """A row with another number of fields than its header says."""
    return UserError(f"{file}, line {line}: {found} fields, expected {expected} as in the header; repair that line")
