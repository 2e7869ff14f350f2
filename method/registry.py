"""METHODS maps the name typed after --method to its class; `param` declares a method's own hyperparameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from method.unlearners.base import Unlearner

METHODS: dict[str, type[Unlearner]] = {}
ALIASES: dict[str, str] = {}  # other spellings of a method's name, and the name
UNSET: Any = object()
Method = TypeVar("Method", bound="type[Unlearner]")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Range:
    """Where `scripts.tune` looks for a number: from `low` to `high`, evenly, or with `log` evenly in its logarithm.

    within: the key whose value of the run is the largest that makes a difference, such as `epochs` of a count of them.
    """

    low: float
    high: float
    log: bool = False
    within: str = ""


def register(name: str, *, aliases: tuple[str, ...] = ()) -> Callable[[Method], Method]:
    """Return a class decorator that makes the unlearner `--method name`; ValueError for a name that is taken.

    aliases: further spellings, such as the published code's; configurations and folders have `name`.
    """

    def add(unlearner: Method) -> Method:
        for spelling in (name, *aliases):
            other = METHODS.get(ALIASES.get(spelling, spelling))
            if other is not None:
                raise ValueError(f"two methods are registered as {spelling!r}: {other} and {unlearner}")
        unlearner.name = name
        METHODS[name] = unlearner
        ALIASES.update(dict.fromkeys(aliases, name))
        return unlearner

    return add


def param(
    default: Value,
    help: str,
    *,
    aliases: tuple[str, ...] = (),
    choices: tuple[Value, ...] = (),
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    reference: Value = UNSET,
    search: Range | None = None,
) -> Value:
    """Declare a field of an unlearner's `Params`: the key `<method>_<field>`, its flag, default and bounds.

    A field without default is no `param`: it is a key of the schema, such as `forget_epochs`, that methods share.

    aliases: further spellings of the flag, without dashes, such as the published code's.
    reference: the value that `--preset reference` gives, where the published code departs from the paper.
    search: where a search for hyperparameters looks; None leaves the value as it is.
    """
    metadata = {
        "help": help,
        "aliases": aliases,
        "choices": choices,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "reference": reference,
        "search": search,
    }
    return dataclasses.field(default=default, metadata=metadata)
