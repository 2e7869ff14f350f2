"""What is searched: the hyperparameters of a method, each with the values that it may take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from method.configs.key import Key
from method.configs.loading import Config
from method.configs.schema import keys_of, search_ranges
from method.registry import Range
from utils.errors import UserError

DIGITS = 3  # significant ones, of a value that is tried
EDGE = 0.05  # the share of a range, at either end, that counts as its edge
SYNTAX = "NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=VALUE,VALUE"
Setting = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """A hyperparameter and its values: from low to high, evenly or in the logarithm, or one of `choices`."""

    key: Key
    low: Any = None
    high: Any = None
    log: bool = False
    choices: tuple = ()

    def describe(self) -> str:
        """Its values as `--space` spells them."""
        if self.choices:
            return ",".join(map(spell, self.choices))
        return f"{spell(self.low)}:{spell(self.high)}" + ":log" * self.log

    def round(self, value: Any) -> Any:
        """A value as it is tried, of few digits and never beyond the range."""
        if self.choices or self.key.type is not float:
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def holds(self, value: Any) -> bool:
        """Whether a value is among those that are searched."""
        return value in self.choices if self.choices else value is not None and self.low <= value <= self.high

    def edge(self, value: Any) -> str:
        """`lower` or `upper` where a number lies at an end of its range that could be moved; else empty."""
        if self.choices:
            return ""
        low, high, at = (math.log(one) if self.log else one for one in (self.low, self.high, value))
        near = EDGE * (high - low) if self.key.type is float else 0
        if at - low <= near and not self._ends_at(self.low, self.key.at_least):
            return "lower"
        return "upper" if high - at <= near and not self._ends_at(self.high, self.key.at_most) else ""

    def _ends_at(self, end: float, bound: float | None) -> bool:
        return bound is not None and end == bound


def find_space(config: Config, texts: Sequence[str]) -> dict[str, Axis]:
    """The hyperparameters of a run that are searched, by key; those that a flag of the command gives are not.

    texts: ranges that take the place of the declared ones, or add one. UserError for one that is not right, and where
    nothing is left.
    """
    keys, values = keys_of(config.method), config.values
    fixed = {name for name in values if config.sources[name].startswith("--")}
    declared = {name: one for name, one in search_ranges(config.method).items() if name not in fixed}
    space = {name: _of_range(keys[name], one, values) for name, one in declared.items()}
    for text in texts:
        axis = _read(text, config)
        if axis.key.name in fixed:
            raise UserError(f"--space {text}: --{axis.key.name} is given too, which fixes its value; keep one of them")
        space[axis.key.name] = axis
    space = {name: axis for name, axis in space.items() if axis.choices or axis.low < axis.high}
    if not space:
        raise UserError(f"nothing is left to search of {config.method}; leave out a flag, or give --space {SYNTAX}")
    return space


def _of_range(key: Key, declared: Range, values: Mapping[str, Any]) -> Axis:
    high = min(declared.high, values[declared.within]) if declared.within else declared.high
    return Axis(key, key.type(declared.low), key.type(high), declared.log)


def _read(text: str, config: Config) -> Axis:
    """The axis that `--space` names; UserError where it names none."""
    name, equals, values = text.partition("=")
    keys, method, where = keys_of(config.method, config.dataset), config.method, f"--space {text}"
    name = f"{method}_{name}" if f"{method}_{name}" in keys else name
    if not equals:
        raise UserError(f"{where}: expected {SYNTAX}")
    if name not in keys or keys[name].group not in ("training", method):
        raise UserError(f"{where}: {name} is no hyperparameter of {method}; those are {', '.join(_searchable(method))}")
    key = keys[name]
    low, colon, rest = values.partition(":")
    if not colon:
        return Axis(key, choices=_choices(key, values, where))
    high, _, scale = rest.partition(":")
    ends = [key.coerce(end, where) for end in (low, high)]
    if scale not in ("", "log") or key.type not in (int, float) or ends[0] >= ends[1]:
        raise UserError(f"{where}: expected {SYNTAX}, with LOW below HIGH")
    if scale and ends[0] <= 0:
        raise UserError(f"{where}: a range by its logarithm begins above 0")
    return Axis(key, ends[0], ends[1], log=bool(scale))


def _choices(key: Key, values: str, where: str) -> tuple:
    found = tuple(dict.fromkeys(key.coerce(value, where) for value in values.split(",")))
    if len(found) < 2:
        raise UserError(f"{where}: expected {SYNTAX}; to fix a value, give --{key.name} itself")
    return found


def _searchable(method: str) -> list[str]:
    return [name for name, key in keys_of(method).items() if key.group in ("training", method)]


def default_setting(config: Config, space: Mapping[str, Axis]) -> Setting | None:
    """The values that a run has without a search; None where one of them is not searched."""
    setting = {name: config.values[name] for name in space}
    for name, declared in search_ranges(config.method).items():
        # More forget epochs than epochs are as many.
        if name in space and declared.within and setting[name] > space[name].high == config.values[declared.within]:
            setting[name] = space[name].high
    return setting if all(axis.holds(setting[name]) for name, axis in space.items()) else None


def read_setting(text: str, default: Setting | None, space: Mapping[str, Axis]) -> Setting:
    """The setting in `--lr 0.02 --miu_lambda_mi 2`; what it leaves out has its default. UserError where it is none."""
    words, where = text.split(), f"--try {text!r}"
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise UserError(f"{where}: expected flags with a value each, such as --try '--lr 0.01'")
    given = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    unknown = sorted(set(given) - set(space))
    if unknown:
        raise UserError(f"{where}: {unknown[0]} is not searched; what is: {', '.join(space)}")
    setting = (default or {}) | {name: space[name].key.coerce(value, where) for name, value in given.items()}
    for name, axis in space.items():
        if name not in setting:
            raise UserError(f"{where}: --{name} is missing, as its default is not in the range that is searched")
        if not axis.holds(setting[name]):
            raise UserError(f"{where}: {name} is searched in {axis.describe()}; widen it by --space")
    return setting


def spell(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def spell_setting(setting: Setting) -> str:
    """A setting as flags."""
    return " ".join(f"--{name} {spell(value)}" for name, value in setting.items())
