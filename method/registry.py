"""METHODS maps the name typed after --method to its class; `param` declares a method's own hyperparameters."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

METHODS: dict[str, type] = {}
UNSET = object()
Class = TypeVar("Class", bound=type)


def register(name: str) -> Callable[[Class], Class]:
    """Class decorator: make the unlearner available as `--method name`."""

    def add(unlearner: Class) -> Class:
        if name in METHODS:
            raise ValueError(f"two methods are registered as {name!r}: {METHODS[name]} and {unlearner}")
        unlearner.name = name
        METHODS[name] = unlearner
        return unlearner

    return add


def param(
    default: Any,
    help: str,
    *,
    aliases: tuple[str, ...] = (),
    choices: tuple = (),
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    reference: Any = UNSET,
) -> Any:
    """A field of an unlearner's `Params`: the key `<method>_<field>`, its flag, its bounds and its published value.

    aliases: further spellings of the flag, without dashes, such as the published code's.
    reference: the value that `--preset reference` gives, where the published code departs from the paper.
    """
    bounds = {"at_least": at_least, "above": above, "at_most": at_most}
    metadata = {"help": help, "aliases": aliases, "choices": choices, "bounds": bounds, "reference": reference}
    return dataclasses.field(default=default, metadata=metadata)
