"""A deletion request as a file: which names stand in it, what they may mean, and how they are written down again.

A name is a path, a file name or one without its extension; `row:17` is a row by its number, `COLUMN:17` a value in a
column of the labels. `./` before a name says that it is a file's, whatever it looks like.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from datasets.labels.spelling import parse_number
from datasets.labels.tables import LARGEST, column_numbers, ragged_line_error
from utils.errors import UserError
from utils.files import read_text

FILE_COLUMNS = ("file", "filename", "path", "image", "img_filename")  # cells are names as in a text list
ROW_COLUMNS = ("index", "row")
COLUMNS = (*FILE_COLUMNS, "image_id", *ROW_COLUMNS)  # read by default where a file has several columns
ROW = re.compile(r"row:([0-9]{1,12})")
ROW_CELL = re.compile(r"(?:row:)?([0-9]{1,12})(?:\.0*)?")
OWN_FILE = "./"
HEADER, COMMENT = "a header", "a comment"


class Names(tuple[str, ...]):
    """The names in a list, sorted, each as often as it stands there; with what tells whether they were read right.

    file: the list. column: the header above the names of a CSV file, "" for a text list. passed_over: line, text, and
    what it was taken for instead of a name (HEADER, COMMENT).
    """

    file: str = "--forget_list"
    column: str = ""
    passed_over: tuple[tuple[int, str, str], ...] = ()


def read_forget_list(file: Path, column: str | None) -> Names:
    """The names in a list.

    One name a line, without blank lines and comments, which begin with #; in a file that ends in .csv, or with a
    `column`, one column below a header: the one called `column`, or the only one, or one of COLUMNS. UserError for a
    file that cannot be read, has no such column, or names nothing.
    """
    try:
        text = read_text(file, "utf-8-sig", LARGEST)
    except OSError as error:
        raise UserError(f"--forget_list {file} cannot be read ({error.strerror}); give a text or CSV file") from None
    except UnicodeDecodeError:
        raise UserError(f"--forget_list {file} is no UTF-8 text; give a text or CSV file") from None
    except ValueError as error:  # a path that no system has
        raise UserError(f"--forget_list {str(file)!r} cannot be read ({error}); give a text or CSV file") from None
    passed_over: list[tuple[int, str, str]] = []
    if is_table := file.suffix.lower() == ".csv" or column is not None:
        header, found = _column(file, text, column)
        if column is None and found:
            passed_over.append(header)
    else:
        found = list(_lines(text, passed_over))
    if not found:
        raise UserError(f"--forget_list {file} names nothing; expected at least one image file, or a row as row:17")
    names = Names(sorted(found))
    names.file, names.passed_over = f"--forget_list {file}", tuple(passed_over)
    names.column = header[1] if is_table else ""
    return names


def list_digest(names: Iterable[str]) -> str:
    """SHA-256, hexadecimal, of the set of names."""
    return hashlib.sha256("".join(f"{len(name)}:{name}," for name in sorted(set(names))).encode()).hexdigest()


def as_text(names: Iterable[str]) -> str:
    """A text list that is read as these names, in their order, each once."""
    return "".join(f"{_line(name)}\n" for name in dict.fromkeys(names))


def _line(name: str) -> str:
    """`name` as it may stand in a line: what begins like a comment, or with a blank, is marked as a file's name."""
    return f"{OWN_FILE}{name}" if name[0] in "#\ufeff" or name[0].isspace() else name


def _name(text: str) -> str:
    """Without ./ in front, which changes nothing, unless it keeps a file's name from being read as COLUMN:VALUE."""
    name = text
    while name.startswith(OWN_FILE) and name != OWN_FILE:
        name = name.removeprefix(OWN_FILE)
    is_marked = name != text or _line(name) != name
    return f"{OWN_FILE}{name}" if is_marked and ":" in name.partition("/")[0] else name


def _lines(text: str, passed_over: list[tuple[int, str, str]]) -> Iterator[str]:
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = line.strip()
        if line.startswith("#"):
            passed_over.append((number, line, COMMENT))
        elif line:
            yield _name(line)


def _column(file: Path, text: str, column: str | None) -> tuple[tuple[int, str, str], list[str]]:
    """The header above the names with its line, and the names below it; a row of blanks is none."""
    reader = csv.reader(io.StringIO(text, newline=""))
    width, number, header, names = 0, 0, (1, "", HEADER), []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if not width:
                width, number = len(row), _column_number(file, [name.strip() for name in row], column)
                header = (reader.line_num, row[number].strip(), HEADER)
                continue
            if len(row) != width:
                raise ragged_line_error(file, reader.line_num, len(row), width)
            names.append(_cell(f"{file}, line {reader.line_num}", header[1], row[number].strip()))
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: no CSV ({error}); get a fresh copy of the file") from None
    return header, names


def _cell(where: str, column: str, cell: str) -> str:
    """The name that a cell of this column is: a file as it stands, a row, or a value that means something there."""
    if not cell or re.search(r"[\r\n]", cell):
        raise UserError(f"{where}: {column} is {cell!r}, expected a name")
    kind = column.casefold()
    if kind in ROW_COLUMNS:
        if not (found := ROW_CELL.fullmatch(cell)):
            raise UserError(f"{where}: {column} is {cell!r}, expected the number of a row, counted from 0")
        return f"row:{int(found[1])}"
    is_value = parse_number(cell) is not None or not re.search(r"[./]", cell)
    return f"{kind}:{cell}" if is_value and kind not in FILE_COLUMNS and not ROW.fullmatch(cell) else _name(cell)


def _column_number(file: Path, header: list[str], column: str | None) -> int:
    """Which column holds the names."""
    if column is not None:
        number = column_numbers(file, header, (column,))[0]
    # Taken for a header, a first name would not be forgotten, and nobody would notice.
    elif len(header) == 1 and re.search(r"[./]|^[0-9]+$|^row:[0-9]+$", header[0]):
        raise UserError(f"{file}: expected a header, found {header[0]}; put a line such as file above the names")
    else:
        number = _known_column(file, header)
    if re.match(r"#|\ufeff|\./", header[number]) or re.search(r"[\r\n]", header[number]):
        raise UserError(
            f"{file}: expected a header, found {header[number]!r}; a CSV file has no comments, so put a line such as"
            " file above the names, or call the column that"
        )
    return number


def _known_column(file: Path, header: list[str]) -> int:
    known = header if len(header) == 1 else [name for name in header if name.casefold() in COLUMNS]
    if len(known) != 1:
        found = f"{len(known)} columns ({', '.join(known)})" if known else f"no column called {', '.join(COLUMNS)}"
        raise UserError(f"{file} has {found} among {', '.join(header)}; name the one to read with --forget_list_column")
    return header.index(known[0])
