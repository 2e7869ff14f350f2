"""Spellings: which texts look the same, which are numbers, and which say that there is no value."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
LOOKS_NUMERIC = re.compile(r"[+\-\u2212]?(?:\d[\d.,_']*|[.,]\d+)(?:e[+-]?\d+)?%?", re.IGNORECASE)
MOST_DIGITS = 100  # characters of a number; a longer one is a text
# Shown as nothing, though Unicode counts them as letters or marks.
NOT_SHOWN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(0xFE00 + n) for n in range(16)}
# As `fold_spelling` gives them; what spreadsheets, statistics programs and pandas write where a table has a hole.
MISSING = frozenset(
    (
        "",
        "nan",
        "-nan",
        "+nan",
        "nat",
        "none",
        "null",
        "nil",
        "inf",
        "-inf",
        "na",
        "n/a",
        "n.a.",
        "n.a",
        "<na>",
        "<n/a>",
        "#n/a",
        "#na",
    )
    + ("#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "#null!", "#value!", "#ref!", "#name?", "#num!")
    + ("#div/0!", "undefined", "(null)", "(none)", "(blank)", "?", "??", "???", "-", "--", "---", "\u2013", "\u2014")
    + (".", "..", "...", "\u2026")
)


def parse_number(text: str) -> Decimal | None:
    """The number that a text writes, exactly (1, 1.0 and +1e0 are equal); None where it is none."""
    if len(text) <= MOST_DIGITS and NUMBER.fullmatch(text):
        return Decimal(text)
    return None


def looks_numeric(text: str) -> bool:
    """Whether somebody would take it for a number, whatever its digits, signs and blanks."""
    return LOOKS_NUMERIC.fullmatch("".join(text.split())) is not None


def fold_spelling(text: str) -> str:
    """What a text looks like: without its case, invisible characters, doubled blanks, and ways to compose a letter."""
    if not text.isascii() or not text.isprintable():
        text = unicodedata.normalize("NFC", "".join(one for one in text if _is_seen(one)))
    # Lower case may compose letters anew.
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def compose(text: str) -> str:
    """The text in Unicode's composed form: an umlaut is one character, however it was typed."""
    return unicodedata.normalize("NFC", text)


def find_spelled_alike(values: Iterable[str]) -> list[list[str]]:
    """Of different texts those that are one: the same number, or the same look; each list sorted."""
    groups: dict[Decimal | str, list[str]] = {}
    for value in sorted(set(values)):
        number = parse_number(value)
        groups.setdefault(fold_spelling(value) if number is None else number, []).append(value)
    return [spellings for spellings in groups.values() if len(spellings) > 1]


def is_missing(value: str) -> bool:
    """Whether a cell says that there is no value."""
    return fold_spelling(value) in MISSING


def _is_seen(one: str) -> bool:
    """Whether a character is seen; blanks are, as a space."""
    return one.isspace() or (unicodedata.category(one) not in ("Cc", "Cf") and one not in NOT_SHOWN)
