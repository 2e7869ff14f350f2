"""Which columns --columns asks for."""

from collections.abc import Sequence

from method.evaluation.columns import COLUMNS, MAIN, Column
from utils.errors import UserError


def choose_columns(names: str) -> Sequence[Column]:
    """The columns of `main`, `all`, or a list of keys and titles with commas between; UserError for an unknown one."""
    if names in ("main", "all"):
        return MAIN if names == "main" else COLUMNS
    by_name = {name.lower(): column for column in COLUMNS for name in (column.key, column.title, *column.former)}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name.lower() not in by_name:
            known = ", ".join(column.key for column in COLUMNS)
            raise UserError(f"--columns {name}: no such column; main, all, or some of {known}")
    return tuple(dict.fromkeys(by_name[name.lower()] for name in wanted))
