"""A key of the configuration: its type and bounds, and how what was typed becomes a value of that type."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from method.configs.strict_yaml import LookAlike
from method.registry import UNSET, Range
from utils.errors import UserError
from utils.paths import check_characters, expand_path
from utils.text import shorten

SCHEMA = "schema"  # the source of a default that no file holds; config.yaml of every run has this word
LONGEST_INT = 63  # bits beside the sign, as arrays and files have them
LONGEST_VALUE = 300  # characters of one that is refused


@dataclass(frozen=True)
class Key:
    """One key; `name` is the same in flags, YAML files and code.

    default, home: its value where no layer says another, and where that stands: in the schema, or in a file.
    execution: cannot change a number, so it is not compared between runs. methods, datasets: those that have it; None
    means all. word: a text that can stand in a file's name. path: a file, a folder, or a word that stands for one
    (`weights`, `reference`); an empty one, which would mean the folder that Python runs in, is refused where it is not
    the default. folder: the path of one. rising: a text of whole numbers above 0, each above the one before, which a
    list may give. channels: a text of one number within the bounds, or of three, for red, green and blue, which a list
    may give. synonyms: other spellings of its choices. family: how values begin that count beside the choices.
    reference: what the preset of this name sets. search: where a search for hyperparameters looks, unless the method
    has a range of its own.
    """

    name: str
    type: type
    help: str
    group: str
    default: Any = UNSET
    home: str = SCHEMA
    execution: bool = False
    nullable: bool = False
    methods: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    choices: tuple = ()
    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    at_most: float | None = None
    word: bool = False
    path: bool = False
    folder: bool = False
    rising: bool = False
    channels: bool = False
    aliases: tuple[str, ...] = ()
    synonyms: Mapping[str, str] = dataclasses.field(default_factory=dict)
    family: str = ""
    reference: Any = UNSET
    search: Range | None = None

    def applies(self, method: str, dataset: str | None = None) -> bool:
        """Say whether a run of `method` on `dataset` (None: on any) has this key."""
        return (self.methods is None or method in self.methods) and (
            self.datasets is None or dataset is None or dataset in self.datasets
        )

    @property
    def bounds(self) -> tuple[tuple[str, float | None], ...]:
        """Each bound of its numbers with the words that stand before it; None where it has no such bound."""
        return (
            ("at least", self.at_least), ("above", self.above), ("below", self.below), ("at most", self.at_most)
        )  # fmt: skip

    def coerce(self, value: Any, where: str) -> Any:
        """Return `value` (from YAML or the command line) as this key's type; UserError naming `where` it stood."""
        if isinstance(value, LookAlike):
            value = self._read_meaning(value, where)
        if value is None or (self.nullable and value == "null"):
            if self.nullable:
                return None
            raise UserError(f"{where}: {self.name} is empty, expected {self._describe_expected()}")
        try:
            found = self._spell(value)
        except (TypeError, ValueError, OverflowError):
            quoted = self.type is str and not (self.rising or self.channels or isinstance(value, str))
            hint = "; in quotes it is one" if quoted else ""
            raise self._make_refusal(value, where, hint) from None
        if isinstance(found, str):
            check_characters(found, f"{where}: {self.name}")
            found = self.synonyms.get(found, found)
        if self.path:
            found = expand_path(found, f"{where}: {self.name}")
        if self._is_out_of_bounds(found):
            raise self._make_refusal(found, where, f" within {LONGEST_INT} bits" if _is_too_long(found) else "")
        return found

    def _spell(self, value: Any) -> Any:
        """Convert to this key's type; lists of numbers to a text that is the same however they were written."""
        if self.rising:
            return _spell_rising(value)
        return _spell_channels(value, self._is_beyond) if self.channels else _convert(value, self.type)

    def _read_meaning(self, value: LookAlike, where: str) -> Any:
        """Return what YAML reads, where this key can mean nothing else by it."""
        of_its_type = isinstance(value.reading, bool) if self.type is bool else value.reading is None
        if of_its_type and self.type is not str:
            return value.reading
        raise UserError(f"{where}: {self.name} is {value.describe()}")

    def _make_refusal(self, value: Any, where: str, hint: str) -> UserError:
        shown = shorten(repr(value), LONGEST_VALUE, LONGEST_VALUE // 3)
        return UserError(f"{where}: {self.name} is {shown}, expected {self._describe_expected()}{hint}")

    def _is_out_of_bounds(self, value: Any) -> bool:
        if self.choices and value not in self.choices:
            return not (self.family and re.fullmatch(rf"{self.family}(?!\.)[\w.-]+", value))
        if isinstance(value, float) and not math.isfinite(value):
            return True
        if _is_too_long(value):
            return True
        if self.word and not re.fullmatch(r"(?!\.{1,2}$)[\w.+-]*", value):
            return True
        if self.path and self.default != "" and not value.strip():
            return True
        return not self.channels and self._is_beyond(value)

    def _is_beyond(self, value: Any) -> bool:
        return (
            (self.at_least is not None and value < self.at_least)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
            or (self.at_most is not None and value > self.at_most)
        )

    def _describe_expected(self) -> str:
        if self.choices:
            family = f", or {self.family}NAME" if self.family else ""
            return "one of " + ", ".join(str(choice) for choice in self.choices) + family
        if self.word:
            return "a text of letters, digits, and . _ + - (not . or .. alone)"
        if self.folder:
            return "the name of a folder (. is the current one)"
        if self.path:
            return "a path that is not empty"
        if self.rising:
            return "whole numbers above 0 that rise, with commas between them"
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[self.type]
        kind = "one number, or three with commas between them, each" if self.channels else kind
        bounds = [f"{word} {bound:g}" for word, bound in self.bounds if bound is not None]
        return " ".join([kind, " and ".join(bounds)]).strip()


def _is_too_long(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() > LONGEST_INT


def _spell_rising(value: Any) -> str:
    """Return `5,8` for [5, 8], `5, 8` or `5,8`; ValueError where they are no whole numbers above 0 that rise."""
    words = value if isinstance(value, list) else str(value).split(",")
    numbers = [_convert(word, int) for word in words]
    if not numbers or numbers != sorted(set(numbers)) or numbers[0] < 1 or _is_too_long(numbers[-1]):
        raise ValueError
    return ",".join(map(str, numbers))


def _spell_channels(value: Any, is_beyond: Callable[[float], bool]) -> str:
    """Return `0.5` for 0.5, `0.5,0.5,0.5` or a list of them; ValueError where they are not 1 or 3, or one is beyond."""
    words = value if isinstance(value, list) else str(value).split(",")
    numbers = [_convert(word, float) for word in words]
    if len(numbers) not in (1, 3) or any(is_beyond(number) or not math.isfinite(number) for number in numbers):
        raise ValueError
    return ",".join(map(repr, numbers if len(set(numbers)) > 1 else numbers[:1]))


def _convert(value: Any, kind: type) -> Any:
    """Convert without guessing: YAML reads 1e-4 as a string and `off` as False, so strings and types are checked."""
    if kind is bool:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise TypeError
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    if kind is not str and isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError  # Python takes 1_0 for 10, and digits of every script
    if kind is int:
        if isinstance(value, float):
            raise TypeError
        return int(value)
    if kind is float:
        return float(value)
    if not isinstance(value, str):
        raise TypeError
    return value
