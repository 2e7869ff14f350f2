"""YAML that is read as it is written: no key twice, and no value that means another thing than its text says."""

import datetime
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from utils.errors import UserError
from utils.files import load_yaml, read_text
from utils.text import shorten

LARGEST = 2**20  # bytes of a configuration; longer ones take seconds
TEXT = "tag:yaml.org,2002:str"
LONGEST = 60  # characters of a value in a message
# What every version of YAML, and whoever reads the line, takes for the same value.
PLAIN = re.compile(
    r"null|Null|NULL|"
    r"true|True|TRUE|false|False|FALSE|"
    r"[-+]?(?:0|[1-9][0-9]*)|"
    r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|"
    r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|"
)


class LookAlike(str):
    """A text that YAML 1.1 takes for something else: 010 for 8, 1:0 for 60, `on` for true, ~ for null.

    reading: what YAML takes it for; line: where it stands, from 1.
    """

    reading: Any
    line: int

    def __new__(cls, text: str, reading: Any, line: int) -> "LookAlike":
        """Keep the text beside what YAML takes it for."""
        one = super().__new__(cls, text)
        one.reading, one.line = reading, line
        return one

    def describe(self) -> str:
        """Say where it stands, what YAML takes it for, and how to write what was meant."""
        text = shorten(str(self), LONGEST, LONGEST // 3)
        remedy = f"quote it ('{text}') to have it read as it is written"
        if self.reading is None:
            remedy = f"write null for no value, or {remedy}"
        return f"{text} in line {self.line}, which YAML reads as {_describe_reading(self.reading)}; {remedy}"


def _describe_reading(reading: Any) -> str:
    if isinstance(reading, (bool, type(None))):
        return {True: "true", False: "false", None: "null"}[reading]
    if isinstance(reading, (int, float)):
        # Python writes no number of thousands of digits.
        return f"the number {reading}" if abs(reading) < 10**LONGEST else "a number of many digits"
    return "a date" if isinstance(reading, datetime.date) else "something else than a text"


class StrictLoader(yaml.SafeLoader):
    """YAML without duplicate keys (PyYAML would keep the last, silently) and without look-alikes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that stands twice."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _make_error(f"{key.value} stands twice; keep one", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a LookAlike for what YAML reads as another value than it looks like."""
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, AttributeError, LookupError):  # how PyYAML fails on the 45th of a month, or `!!int x`
            text = f"{str(node.value)[:40]!r} is no such value as it looks like; correct it, or quote it as a text"
            raise _make_error(text, node) from None
        if isinstance(node, yaml.ScalarNode) and node.tag != TEXT and not PLAIN.fullmatch(node.value):
            return LookAlike(node.value, value, node.start_mark.line + 1)
        return value


def _make_error(text: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)


def _describe_problem(error: Exception) -> str:
    """Say what is wrong, and where; without the lines themselves, which can be long."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split()).replace(' in "<unicode string>"', "")
    told = ", ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark or error.context_mark
    return f"{told} (line {mark.line + 1}, column {mark.column + 1})" if mark else told


def read_mapping(path: Path) -> dict[Any, Any]:
    """Read the mapping in a YAML file, empty for an empty file; UserError for anything else."""
    try:
        content = load_yaml(read_text(path, at_most=LARGEST), StrictLoader)
    except FileNotFoundError:
        raise UserError(f"no configuration file {path}; give the path of a YAML file") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give the path of a YAML file") from None
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {_describe_problem(error)}") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected lines `key: value`, found a {type(content).__name__}")
    return content
