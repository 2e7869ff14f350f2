"""A deletion request: names of images or numbers of rows in a file, and which rows of a data set they are."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.base import TRAIN, GroupDataset
from datasets.labels import column_numbers, ragged
from utils.errors import UserError

COLUMNS = ("file", "filename", "path", "image", "img_filename", "image_id")
KINDS = {
    "unknown": "not in the labels of {dataset}",
    "ambiguous": "the name of several images, whose paths tell them apart",
    "duplicate": "of an image that the list names before",
    "not_in_train": "in val or test, not in train",
}
UNREADABLE = "unreadable"  # the image was left out by --skip_bad_images
SHOWN = 10


def read_forget_list(file: Path, column: str | None) -> tuple[str, ...]:
    """The names in a list, sorted, each as often as it stands there.

    One name a line; in a file that ends in .csv, or with a `column`, one column below a header: the one called
    `column`, or the only one, or one of COLUMNS. Blank lines and lines that begin with # are skipped. UserError for a
    file that cannot be read, has no such column, or names nothing.
    """
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise UserError(f"--forget_list {file} cannot be read ({error.strerror}); give a text or CSV file") from None
    except UnicodeDecodeError:
        raise UserError(f"--forget_list {file} is no UTF-8 text; give a text or CSV file") from None
    if file.suffix.lower() == ".csv" or column is not None:
        names = list(_column(file, text, column))
    else:
        names = list(_lines(text))
    if not names:
        raise UserError(f"--forget_list {file} names nothing; expected at least one image file or row number")
    return tuple(sorted(name.removeprefix("./") for name in names))


def list_digest(names: Iterable[str]) -> str:
    """SHA-256, hexadecimal, of the set of names."""
    return hashlib.sha256("".join(f"{len(name)}:{name}," for name in sorted(set(names))).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Requests:
    """What became of a list: int64 `rows` of train that it names, sorted, and by kind the names that were left out."""

    n: int
    rows: np.ndarray
    left_out: dict[str, tuple[str, ...]]

    @property
    def n_left_out(self) -> int:
        return sum(map(len, self.left_out.values()))

    def without(self, dataset: GroupDataset, bad_rows: Sequence[int]) -> "Requests":
        """The same for the table without these rows, whose requests are left out."""
        kept = np.delete(np.arange(len(dataset)), bad_rows)
        gone = self.rows[np.isin(self.rows, bad_rows)]
        left_out = self.left_out | ({UNREADABLE: tuple(dataset.paths(gone))} if len(gone) else {})
        return Requests(self.n, np.flatnonzero(np.isin(kept, self.rows)), left_out)


def find_requests(dataset: GroupDataset, names: Sequence[str], skip_unknown: bool) -> Requests:
    """The rows of train that a list names: by path, by file name where only one image has it, or by number.

    UserError that lists what is unknown, ambiguous, there twice or not in train, unless it may be left out; then for a
    list of which nothing remains.
    """
    rows, left_out = set(), {kind: [] for kind in KINDS}
    for name, row in zip(names, _rows(dataset, names), strict=True):
        if isinstance(row, str):
            left_out[row].append(name)
        elif row in rows:
            left_out["duplicate"].append(name)
        elif dataset.split[row] != TRAIN:
            left_out["not_in_train"].append(name)
        else:
            rows.add(row)
    found = {kind: tuple(wrong) for kind, wrong in left_out.items() if wrong}
    if found and not (skip_unknown and rows):
        raise _refusal(dataset, len(names), found, skip_unknown)
    return Requests(len(names), np.array(sorted(rows), dtype=np.int64), found)


def _lines(text: str) -> Iterator[str]:
    lines = (line.strip() for line in text.split("\n"))
    return (line for line in lines if line and not line.startswith("#"))


def _column(file: Path, text: str, column: str | None) -> Iterator[str]:
    """The cells of one column."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row) or row[0].lstrip().startswith("#"):
                continue
            if not header:
                header = [name.strip() for name in row]
                number = _column_number(file, header, column)
                continue
            if len(row) != len(header):
                raise ragged(file, reader.line_num, len(row), len(header))
            name = row[number].strip()
            if not name or "\n" in name:
                raise UserError(f"{file}, line {reader.line_num}: {header[number]} is {name!r}, expected a name")
            yield name
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: no CSV ({error}); get a fresh copy of the file") from None


def _column_number(file: Path, header: list[str], column: str | None) -> int:
    """Which column holds the names."""
    if column is not None:
        return column_numbers(file, header, (column,))[0]
    # Taken for a header, a first name would not be forgotten, and nobody would notice.
    if len(header) == 1 and re.search(r"[./]|^[0-9]+$", header[0]):
        raise UserError(f"{file}: expected a header, found {header[0]}; put a line such as file above the names")
    known = header if len(header) == 1 else [name for name in header if name.lower() in COLUMNS]
    if len(known) != 1:
        found = f"{len(known)} columns ({', '.join(known)})" if known else f"no column called {', '.join(COLUMNS)}"
        raise UserError(f"{file} has {found} among {', '.join(header)}; name the one to read with --forget_list_column")
    return header.index(known[0])


def _rows(dataset: GroupDataset, names: Sequence[str]) -> Iterator[int | str]:
    """Of each name its row, or "unknown" or "ambiguous"."""
    paths = dataset.paths(slice(None))
    by_path = {path: row for row, path in enumerate(paths)}
    by_file: dict[str, int | str] = {}
    if not by_path.keys() >= set(names):
        for row, path in enumerate(paths):
            file = path.rpartition("/")[2]
            by_file[file] = "ambiguous" if file in by_file else row
    for name in names:
        if name in by_path:
            yield by_path[name]
        elif name in by_file:
            yield by_file[name]
        else:
            yield int(name) if re.fullmatch(r"[0-9]{1,12}", name) and int(name) < len(paths) else "unknown"


def _refusal(dataset: GroupDataset, n: int, wrong: dict[str, tuple[str, ...]], skip_unknown: bool) -> UserError:
    told = []
    for kind, names in wrong.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        told.append(f"{len(names)} {KINDS[kind].format(dataset=dataset.name)} ({', '.join(names[:SHOWN])}{more})")
    remedy = "correct the list, in which nothing else is"
    if not skip_unknown:
        remedy = "correct the list, or leave them out with --skip_unknown"
    return UserError(f"--forget_list: of {n} names these cannot be forgotten: {'; '.join(told)}; {remedy}")
