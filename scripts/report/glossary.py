"""The words of docs/glossary.md, for the page."""

import re
from functools import cache
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "glossary.md"
CELL = re.compile(r"(?<!\\)\|")
COMMA = re.compile(r"[,;] (?![^(]*\))")  # between words, not within a formula
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
EMPHASIS = re.compile(r"(\*\*?)(\S[^*]*)\1")


@cache
def read_glossary() -> dict[str, str]:
    """Word -> meaning, as plain text; words that share a row have the same. Empty where the file is not there."""
    return parse(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}


def parse(text: str) -> dict[str, str]:
    """The rows of all tables of two columns, without their heads; ValueError for a word that has two meanings."""
    found: dict[str, str] = {}
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        cells = [plain(cell) for cell in CELL.split(line)[1:-1]]
        if len(cells) != 2 or set(cells[0]) <= set("-: ") or re.fullmatch(r"[|:\- ]+", following):
            continue
        for word in COMMA.split(cells[0]):
            if found.setdefault(word, cells[1]) != cells[1]:
                raise ValueError(f"{word!r} has two meanings: {found[word]!r} and {cells[1]!r}")
    return found


def plain(cell: str) -> str:
    """A cell without Markdown's marks; of a link its text."""
    shown = EMPHASIS.sub(r"\2", LINK.sub(r"\1", cell))
    return shown.replace("`", "").replace(r"\|", "|").strip()
