"""Random tokens for names, rows and paths, the same in all runs of one redacted copy, and the key that undoes them."""

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError

TOKEN_BYTES = 6
FIRST_ROW, LAST_ROW = 2**40, 2**47  # beyond any row of a table, so that no token is another's number
chance = secrets.SystemRandom()  # what a copy shows of its numbers tells nothing of the others


class Tokens:
    """Tokens of texts and of rows; texts: what a token stands for, by kind and token."""

    def __init__(self) -> None:
        self.texts: dict[str, dict[str, str]] = {}
        self._known: dict[tuple[str, str], str] = {}
        self._rows: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._asked: dict[str, set[int]] = {}

    def of(self, kind: str, text: str) -> str:
        """The token of a text: `kind-` and twelve random hexadecimal digits."""
        return self.put(kind, text, f"{kind}-{secrets.token_hex(TOKEN_BYTES)}")

    def put(self, kind: str, text: str, token: str) -> str:
        """The same, with this token where the text has none yet."""
        known = self._known.setdefault((kind, text), token)
        self.texts.setdefault(kind, {})[known] = text
        return known

    def add_rows(self, data: str, sets: Iterable[np.ndarray], asked: np.ndarray) -> None:
        """Rows of a table, to be called before `row_tokens`; asked: those whose people asked to be forgotten."""
        rows, _ = self._rows.get(data, (np.array([], dtype=np.int64),) * 2)
        rows = np.unique(np.concatenate([rows, *sets, asked]))
        self._rows[data] = rows, rows
        self._asked.setdefault(data, set()).update(asked.tolist())

    def draw_rows(self) -> None:
        """Draw the tokens of all rows that were added: everybody's, as numbers that are missing would tell the rest."""
        for data, (rows, _) in self._rows.items():
            drawn = chance.sample(range(FIRST_ROW, LAST_ROW), len(rows))
            self._rows[data] = rows, np.array(drawn, dtype=np.int64)

    def row_tokens(self, data: str, rows: np.ndarray) -> np.ndarray:
        """Tokens of these rows, in their order."""
        known, drawn = self._rows[data]
        return drawn[np.searchsorted(known, rows)]

    def as_json(self, copy: Path) -> str:
        """The key: token -> name, token -> row of those who asked, and what else tokens stand for."""
        rows = {}
        for data, asked in self._asked.items():
            numbers = np.array(sorted(asked), dtype=np.int64)
            tokens = self.row_tokens(data, numbers) if len(numbers) else numbers
            rows[data] = {str(token): row for token, row in zip(tokens.tolist(), numbers.tolist(), strict=True)}
        names = self.texts.get("name", {})
        others = {kind: own for kind, own in self.texts.items() if kind != "name"}
        found: dict[str, Any] = {"copy": copy.name, "names": names, "rows_by_data_fingerprint": rows, **others}
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def told_of_git(files: Iterable[Path]) -> list[str]:
    """A warning for each of these private files that lies in a git work tree."""
    tops = {
        file: next((top for top in file.absolute().parents if os.path.lexists(top / ".git")), None) for file in files
    }
    return [f"warning: {file} is in the git work tree {top}; never commit it" for file, top in tops.items() if top]


def write_key(file: Path, text: str) -> None:
    """Write the key for its owner's eyes alone; UserError where there is one already, or it cannot be written."""
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as new:
            new.write(text)
    except OSError as error:
        raise UserError(f"{file}, the key of the copy, cannot be written ({error.strerror or error})") from None
