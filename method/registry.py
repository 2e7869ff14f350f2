"""METHODS maps the name typed after --method to its class; `param` declares a method's own hyperparameters."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

METHODS: dict[str, type] = {}
ALIASES: dict[str, str] = {}  # other spellings of a method's name, and the name
UNSET = object()
Class = TypeVar("Class", bound=type)


def register(name: str, *, aliases: tuple[str, ...] = ()) -> Callable[[Class], Class]:
    """Class decorator: make the unlearner available as `--method name`.

    aliases: further spellings, such as the published code's; configurations and folders have `name`.
    """

    def add(unlearner: Class) -> Class:
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
