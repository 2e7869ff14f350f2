"""What may stand in a file that nobody vouches for: numbers, texts, lists and tables, described once, checked at once.

A description is a function of a plain value (as JSON and YAML give them) that raises `Wrong` for any other value.
"""

import reprlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from utils.text import for_people

Check = Callable[[Any], None]
LARGEST = 1e40  # of a measured number: float32 ends at 3.4e38, which the loss of a diverging run can come near
LARGEST_COUNT = 2**53
LARGEST_WHOLE = 2**63 - 1
LONGEST_NAME, LONGEST_TEXT = 1_000, 20_000  # characters
MOST_ENTRIES = 100_000
DEEPEST = 10  # lists and tables within each other


class Wrong(Exception):
    """A value that is not as described: where it stands, from the inside out, and what is wrong with it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what, self.path = what, list[str]()


def check(value: Any, description: Check, name: str) -> None:
    """ValueError, in one line, where `value`, which is called `name`, is not as described."""
    try:
        description(value)
    except Wrong as wrong:
        place = "".join(reversed(wrong.path)).removeprefix(".") or name
        raise ValueError(for_people(f"{place} {wrong.what}".replace("\n", " "))) from None


def number(low: float = -LARGEST, high: float = LARGEST, slack: float = 0.0, null: bool = False) -> Check:
    """A number from `low` to `high`, or as close as `slack`: no NaN, no truth value; null: or None."""
    least, most = low - slack, high + slack

    def described(value: Any) -> None:
        kind = type(value)
        known = kind is float or (kind is int and -LARGEST_WHOLE <= value <= LARGEST_WHOLE)
        if not (known and least <= value <= most) and not (null and value is None):
            raise Wrong(f"is {_shown(value)}, expected a number from {low:g} to {high:g}")

    return described


def whole(low: int = 0, high: int = LARGEST_COUNT) -> Check:
    """A whole number from `low` to `high`."""

    def described(value: Any) -> None:
        if not (type(value) is int and low <= value <= high):
            raise Wrong(f"is {_shown(value)}, expected a whole number from {low} to {high}")

    return described


def text(longest: int = LONGEST_NAME, empty: bool = True) -> Check:
    """A text that can be written as UTF-8, of at most `longest` characters."""

    def described(value: Any) -> None:
        if type(value) is not str or not (value or empty):
            raise Wrong(f"is {_shown(value)}, expected a text")
        if len(value) > longest:
            raise Wrong(f"is a text of {len(value):,} characters, expected at most {longest:,}")
        if not value.isascii():
            _encoded(value)

    return described


def flag(value: Any) -> None:
    """A truth value, true or false."""
    if type(value) is not bool:
        raise Wrong(f"is {_shown(value)}, expected true or false")


def null_or(description: Check) -> Check:
    """Null, or what is described."""

    def described(value: Any) -> None:
        if value is not None:
            description(value)

    return described


def listed(description: Check, at_least: int = 0, at_most: int = MOST_ENTRIES) -> Check:
    """A list of what is described."""

    def described(value: Any) -> None:
        if type(value) is not list:
            raise Wrong(f"is {_shown(value)}, expected a list")
        if not at_least <= len(value) <= at_most:
            raise Wrong(f"has {len(value):,} entries, expected {at_least:,} to {at_most:,}")
        place = -1
        try:
            for place, own in enumerate(value):  # noqa: B007  (the place is for the message)
                description(own)
        except Wrong as wrong:
            wrong.path.append(f"[{place}]")
            raise

    return described


def table(known: Mapping[str, Check], others: Check | None = None, needed: Collection[str] = ()) -> Check:
    """A table whose known keys are as described each, and further ones as `others` says (any plain value)."""
    rest = others or plain

    def described(value: Any) -> None:
        if type(value) is not dict:
            raise Wrong(f"is {_shown(value)}, expected a table")
        missing = [name for name in needed if name not in value]
        if missing:
            raise Wrong(f"has no {missing[0]}")
        name = None
        try:
            for name, own in value.items():
                if name in known:
                    known[name](own)
                else:
                    _name(name)
                    rest(own)
        except Wrong as wrong:
            wrong.path.append(_step(name))
            raise

    return described


def single(value: Any) -> None:
    """Null, a truth value, a finite number or a text."""
    if type(value) in (list, dict):
        raise Wrong(f"is {_shown(value)}, expected a number or a text")
    plain(value)


def plain(value: Any, depth: int = 0) -> None:
    """Null, a truth value, a finite number, a text, or lists and tables of these."""
    kind = type(value)
    if kind is str:
        _text(value)
    elif kind is float:
        _finite(value)
    elif kind is int:
        _whole(value)
    elif kind is list or kind is dict:
        if depth == DEEPEST:
            raise Wrong(f"holds more than {DEEPEST} lists or tables within each other")
        (_plain_list if kind is list else _plain_table)(value, depth + 1)
    elif value is not None and kind is not bool:
        raise Wrong(f"is {_shown(value)}, expected a number, a text, a list or a table")


def _plain_list(value: list, depth: int) -> None:
    for place, own in enumerate(value):
        try:
            plain(own, depth)
        except Wrong as wrong:
            wrong.path.append(f"[{place}]")
            raise


def _plain_table(value: dict, depth: int) -> None:
    name = None
    try:
        for name, own in value.items():
            _name(name)
            plain(own, depth)
    except Wrong as wrong:
        wrong.path.append(_step(name))
        raise


def anything(value: Any) -> None:
    """Any value: what nobody reads."""


_finite = number(-sys.float_info.max, sys.float_info.max)
_whole = whole(-LARGEST_WHOLE, LARGEST_WHOLE)
_text = text(LONGEST_TEXT)


def _name(name: Any) -> None:
    if type(name) is not str:
        raise Wrong("is no name: expected a text")
    if len(name) > LONGEST_NAME:
        raise Wrong(f"is a name of {len(name):,} characters, expected at most {LONGEST_NAME:,}")
    if not name.isascii():
        _encoded(name)


def _step(name: Any) -> str:
    return f".{name if type(name) is str else _shown(name)}"


def _encoded(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Wrong(f"is {_shown(value)}, which is no text (half of a character)") from None


def _shown(value: Any) -> str:
    """A value in a message: short, and whatever it is."""
    if type(value) is int and abs(value) > LARGEST_WHOLE:
        return "a whole number of more than 64 bits"
    try:
        return reprlib.repr(value)
    except ValueError:  # a number with more digits than Python writes, within it
        return f"a {type(value).__name__}"
