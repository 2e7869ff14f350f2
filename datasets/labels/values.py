"""The values of a label column as names and codes, where only the labels know them; no guess at what a value means."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np

from datasets.labels.spelling import find_spelled_alike, is_missing, parse_number
from datasets.labels.tables import Table, format_count
from utils.errors import UserError

INTEGER = re.compile(r"(0|-?[1-9][0-9]{0,17})(\.0*)?")  # 007 is a name; 1.0 was an integer before a table had a hole
SHOWN = 10
Named = tuple[tuple[str, ...], np.ndarray]  # the names of a column's values, and the code of every row


def name_values(table: Table, column: str) -> Named:
    """Integers in the order of their numbers (2.0 is called 2), names in that of the alphabet, as they are spelled.

    UserError for a value that says that there is none, for one value in two spellings, and for integers among names.
    """
    values = table[column]
    present = set(values)
    _refuse_missing(table, column, present)
    _refuse_spelled_alike(table, column, present)
    integers = {value: found[1] for value in present if (found := INTEGER.fullmatch(value))}
    if len(integers) == len(present):
        return _coded([integers[value] for value in values], sorted(integers.values(), key=int))
    if integers and not _are_decimals(present):
        raise _mixed(table, column, set(integers))
    return _coded(values, sorted(present))


def cross_columns(table: Table, columns: Sequence[str]) -> Named:
    """The product of the columns' values, the last one fastest; "/" stands between the parts of a name."""
    parts = [name_values(table, column) for column in columns]
    for column in columns if len(columns) > 1 else ():
        rows = [row for row, value in enumerate(table[column]) if "/" in value]
        if rows:
            raise table.error(column, rows, "expected no / in it, which joins the values of crossed columns")
    codes = np.zeros(len(table.lines), dtype=np.int64)
    for names, own in parts:
        codes = codes * len(names) + own
    refuse_too_many(table, 1, math.prod(float(len(names)) for names, _ in parts), columns)
    return tuple("/".join(words) for words in product(*(names for names, _ in parts))), codes


def refuse_too_many(table: Table, n_targets: int, n_sensitive: float, columns: Sequence[str]) -> None:
    """UserError for more groups than rows, which an id makes, or a measured number."""
    n_rows, n_groups = len(table.lines), int(n_targets * n_sensitive)
    if n_groups > n_rows:
        raise UserError(
            f"{table.file}: {n_groups} groups for {n_rows} rows, from the values of {', '.join(columns)}; expected"
            " columns of few values"
        )


def _coded(values: Sequence[str], names: Sequence[str]) -> Named:
    codes = {name: code for code, name in enumerate(names)}
    return tuple(names), np.array([codes[value] for value in values], dtype=np.int64)


def _refuse_missing(table: Table, column: str, present: set[str]) -> None:
    missing = {value for value in present if is_missing(value)}
    if missing:
        rows = [row for row, value in enumerate(table[column]) if value in missing]
        expected = "expected a name or an integer, and it says that there is no value"
        raise table.error(column, rows, f"{expected}: give a word for it, such as unknown, or leave these rows out")


def _refuse_spelled_alike(table: Table, column: str, present: set[str]) -> None:
    """UserError for one value in two spellings, escaped: what makes them two is often not to be seen."""
    alike = find_spelled_alike(present)
    if not alike:
        return
    n_rows = Counter(table[column])
    first = dict(zip(reversed(table[column]), reversed(table.lines), strict=True))
    told = [
        " and ".join(
            f"{ascii(value)} ({format_count(n_rows[value], 'row')}, the first on line {first[value]})" for value in one
        )
        for one in alike[:SHOWN]
    ]
    more = f"; and {format_count(len(alike) - SHOWN, 'more value')}" if len(alike) > SHOWN else ""
    raise UserError(
        f"{table.file}: {column} has {format_count(len(alike), 'value')} in more than one spelling: {'; '.join(told)}"
        f"{more}; spell each value in one way"
    )


def _are_decimals(present: set[str]) -> bool:
    """1.0 beside 1.5 is no integer; 1 beside 1.5 is one value too many for a column of either."""
    return all(parse_number(value) is not None and "." in value for value in present)


def _mixed(table: Table, column: str, integers: set[str]) -> UserError:
    """An error for integers among names; the kind that fewer rows have is taken for the mistake."""
    rows: dict[bool, list[int]] = {True: [], False: []}
    for row, value in enumerate(table[column]):
        rows[value in integers].append(row)
    few, many = sorted(rows.values(), key=len)
    other = f"{table[column][many[0]]!r} on line {table.lines[many[0]]}"
    return table.error(column, few, f"expected integers alone or names alone, and there is {other}")
