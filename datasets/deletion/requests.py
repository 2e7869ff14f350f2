"""Which rows of a data set a deletion list names; what fits none, or several, is told apart and never guessed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from datasets.base import LEFT_OUT, TRAIN, GroupDataset
from datasets.deletion.forget_list import COMMENT, FILE_COLUMNS, HEADER, OWN_FILE, ROW, ROW_COLUMNS, Names
from datasets.labels.spelling import parse_number
from datasets.labels.tables import header_of, image_paths, read_csv
from utils.errors import UserError

REASONS = {
    "unknown": "not in the labels of {dataset}",
    "ambiguous": "of several images, which their paths or rows (row:17) tell apart",
    "other_column": "of another image, or of none, by the labels' own column {column}, which a text list asks for as"
    " {column}:VALUE",
    "duplicate": "of an image that the list names before",
    "not_in_train": "in val or test, not in train",
    "not_trained_on": "left out of train by --leave_out, so no model is trained on them",
}
UNREADABLE = "unreadable"  # the image was left out by --skip_bad_images
SHOWN = 10
REMEDIES = {
    HEADER: "put a line such as file above the names, or give that column another name",
    COMMENT: f"write {OWN_FILE} in front of a name that begins with #, or a blank after the # of a comment",
}


@dataclass(frozen=True, eq=False)
class Requests:
    """What became of a list: int64 `rows` of train that it names, sorted, and by kind the names that were left out.

    matched: name and path of each of them, in the order of the names.
    """

    n: int
    rows: np.ndarray
    left_out: dict[str, tuple[str, ...]]
    matched: tuple[tuple[str, str], ...] = ()

    @property
    def n_left_out(self) -> int:
        """Number of names that were left out."""
        return sum(map(len, self.left_out.values()))

    def without(self, dataset: GroupDataset, bad_rows: Sequence[int]) -> "Requests":
        """What became of the list in the table without these rows, whose requests are left out."""
        kept = np.delete(np.arange(len(dataset)), bad_rows)
        gone = dict.fromkeys(dataset.paths(self.rows[np.isin(self.rows, bad_rows)]))
        left_out = self.left_out | ({UNREADABLE: tuple(gone)} if gone else {})
        matched = tuple(pair for pair in self.matched if pair[1] not in gone)
        return Requests(self.n, np.flatnonzero(np.isin(kept, self.rows)), left_out, matched)


def find_requests(dataset: GroupDataset, names: Sequence[str], skip_unknown: bool) -> Requests:
    """The rows of train that a list names: by path, file name (without extension too), row, or column of the labels.

    UserError that lists what fits no image or several, is there twice or not in train, unless it may be left out; then
    for a list of which nothing remains, and for a line that was taken for no name though an image is called that.
    """
    index = _Index(dataset, names if isinstance(names, Names) else Names(names))
    index.refuse_passed_over()
    index.refuse_rows_of_another_table()
    found: dict[int, str] = {}
    left_out: dict[str, list[str]] = {kind: [] for kind in REASONS}
    for name in names:
        fitting = index.rows(name)
        row = fitting[0] if fitting else -1
        kind = index.kind(name, fitting)
        if kind is None and row in found:
            kind = "duplicate"
        elif kind is None and dataset.split[row] != TRAIN:
            kind = "not_trained_on" if dataset.split[row] == LEFT_OUT else "not_in_train"
        if kind is None:
            found[row] = name
        else:
            left_out[kind].append(name)
    wrong = {kind: tuple(those) for kind, those in left_out.items() if those}
    if wrong and not (skip_unknown and found):
        raise index.refusal(wrong, skip_unknown)
    matched = tuple(zip(found.values(), dataset.paths(list(found)), strict=True))
    return Requests(len(names), np.array(sorted(found), dtype=np.int64), wrong, matched)


class _Index:
    """The rows that each name of a list fits, by every way to read it."""

    def __init__(self, dataset: GroupDataset, names: Names) -> None:
        self.dataset, self.names = dataset, names
        self.by_value = cache(self._by_value)
        texts = {text for _, text, _ in names.passed_over}.union(*map(self._file_texts, names))
        self.by_file = _rows_by_file(dataset, texts)

    @cached_property
    def own_columns(self) -> dict[str, list[str]]:
        """Columns of the labels beside the files', by their names in lower case.

        There are none where several files hold the labels, in which an image has nothing but its file in common.
        """
        found: dict[str, list[str]] = {}
        if len(self.dataset.label_names) == 1:
            for column in header_of(*self.label_file, [self.dataset.file_column]):
                if column != self.dataset.file_column:
                    found.setdefault(column.casefold(), []).append(column)
        return found

    @property
    def label_file(self) -> tuple[Path, str]:
        """The only file of the labels, and its name."""
        ((name,),) = self.dataset.label_names
        return self.dataset.label_file or self.dataset.root / name, name

    def rows(self, name: str) -> list[int]:
        """The rows that a name fits, sorted."""
        text, column = name.removeprefix(OWN_FILE), self.names.column.casefold()
        found = set(self.by_file.get(text, ()))
        if column and column not in FILE_COLUMNS and column in self.own_columns:
            found.update(self.by_value(column).get(_value(text), ()))  # a value may look like a file, as P.3 does
        for column, value in _columns(name):
            if column in self.own_columns:
                found.update(self.by_value(column).get(_value(value), ()))
            elif self._is_of_files(column):
                found.update(self.by_file.get(value, ()))
            if column == "row" or (column in ROW_COLUMNS and column not in self.own_columns):
                found.update(_row(value, len(self.dataset)))
        return sorted(found)

    def kind(self, name: str, rows: list[int]) -> str | None:
        """What is wrong with a name that fits these rows; None for nothing."""
        column = self.names.column.casefold()
        if column and column in self.own_columns and not self._is_of_column(name, column):
            value = name.removeprefix("row:") if column in ROW_COLUMNS else name.removeprefix(OWN_FILE)
            if self.by_value(column).get(_value(value), []) != rows:
                return "other_column"
        if len(rows) != 1:
            return "ambiguous" if rows else "unknown"
        return None

    def refuse_passed_over(self) -> None:
        """UserError for a line of the list that was taken for no name and is called like an image."""
        for line, text, taken_for in self.names.passed_over:
            if rows := self.by_file.get(text):
                path = self.dataset.paths(rows[:1])[0]
                raise UserError(
                    f"{self.names.file}, line {line}: {text!r} is taken for {taken_for}, and is a name of an image of"
                    f" {self.dataset.name} ({path}); {REMEDIES[taken_for]}"
                )

    def refuse_rows_of_another_table(self) -> None:
        """UserError for a column of row numbers where they could be counted in two ways."""
        column, dataset = self.names.column.casefold(), self.dataset
        if column in ROW_COLUMNS and column not in self.own_columns and not dataset.row_for_row:
            raise UserError(
                f"{self.names.file}: {column!r} holds numbers of rows, which may be those of a label file or those of "
                f"the table of {dataset.name}, which leaves rows out and joins files; name files, or ask for row:17 in "
                "a text list, as `index` in records.npz counts"
            )

    def refusal(self, wrong: dict[str, tuple[str, ...]], skip_unknown: bool) -> UserError:
        """All that is wrong with the list, by kind."""
        told = []
        for kind, names in wrong.items():
            what = REASONS[kind].format(dataset=self.dataset.name, column=self.names.column)
            shown = map(self._fitting if kind == "ambiguous" else str, names[:SHOWN])
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            told.append(f"{len(names)} {what} ({', '.join(shown)}{more})")
        told += self._hints(wrong.get("unknown", ()))
        remedy = "correct the list, in which nothing else is"
        if not skip_unknown:
            remedy = "correct the list, or leave them out with --skip_unknown"
        n = len(self.names)
        return UserError(f"--forget_list: of {n} names these cannot be forgotten: {'; '.join(told)}; {remedy}")

    def _hints(self, unknown: Sequence[str]) -> Iterator[str]:
        """How to ask for what an unknown name may have meant."""
        column, name = self.names.column, self.dataset.name
        if any(one.startswith(f"{column.casefold()}:") for one in unknown) and not self._is_known(column.casefold()):
            yield (
                f"{column!r} is no column by which images of {name} are told apart, so call it file where it holds"
                " files, with or without extension, and index where it holds numbers of rows"
            )
        numbers = (re.fullmatch(r"(?:([^:]*):)?([0-9]{1,12})", one) for one in unknown)
        of_files = (found[2] for found in numbers if found and (not found[1] or self._is_of_files(found[1])))
        if number := next(of_files, None):
            yield f"a number is the name of a file, and a row is asked for as row:{int(number)}, counted from 0"

    def _fitting(self, name: str) -> str:
        rows = self.rows(name)
        told = [f"{path} (row {row})" for row, path in zip(rows[:2], self.dataset.paths(rows[:2]), strict=True)]
        more = f" and {len(rows) - 2} more" if len(rows) > 2 else ""
        return f"{name}: {', '.join(told)}{more}"

    def _is_of_column(self, name: str, column: str) -> bool:
        """Whether a name from the list's column says itself what it is a value of."""
        return column not in ROW_COLUMNS and (name.startswith(f"{column}:") or ROW.fullmatch(name) is not None)

    def _is_of_files(self, column: str) -> bool:
        return column in (*FILE_COLUMNS, "image_id", self.dataset.file_column.casefold())

    def _is_known(self, column: str) -> bool:
        return column in self.own_columns or column in ROW_COLUMNS or self._is_of_files(column)

    def _file_texts(self, name: str) -> set[str]:
        return {name.removeprefix(OWN_FILE), *(value for _, value in _columns(name))}

    def _by_value(self, column: str) -> dict[Decimal | str, list[int]]:
        """Rows by the value of one of the labels' own columns; numbers are equal as numbers."""
        dataset = self.dataset
        found: dict[Decimal | str, list[int]] = {}
        file, layout = self.label_file
        for own in self.own_columns[column]:
            table = read_csv(file, (dataset.file_column, own), layout)
            if list(image_paths(table, dataset.file_column)) != dataset.paths(slice(None)):
                raise UserError(f"{table.file} changed while it was read; run the same command again")
            for row, value in enumerate(table[own]):
                if value.strip() and row not in (rows := found.setdefault(_value(value), [])):
                    rows.append(row)
        return found


def _rows_by_file(dataset: GroupDataset, wanted: set[str]) -> dict[str, list[int]]:
    """Of each wanted text the rows whose path or file name it is, with or without extension."""
    found: dict[str, list[int]] = {}
    for row, path in enumerate(dataset.paths(slice(None)) if wanted else ()):
        folder, slash, file = path.rpartition("/")
        stem = file.rpartition(".")[0] or file
        for text in {path, file, stem, f"{folder}{slash}{stem}"} & wanted:
            found.setdefault(text, []).append(row)
    return found


def _columns(name: str) -> Iterator[tuple[str, str]]:
    """Every way to read a name as COLUMN:VALUE, the column in lower case."""
    if name.startswith(OWN_FILE):
        return
    for colon in re.finditer(":", name):
        yield name[: colon.start()].strip().casefold(), name[colon.end() :].strip()


def _row(value: str, n_rows: int) -> Iterable[int]:
    return (int(value),) if re.fullmatch(r"[0-9]{1,12}", value) and int(value) < n_rows else ()


def _value(text: str) -> Decimal | str:
    number = parse_number(text.strip())
    return text.strip() if number is None else number
