"""The grid file: what is crossed, what every run has, and what the runs of one method have; read strictly."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from method.configs.layers import check_layer
from method.configs.schema import all_keys
from method.configs.seeds import SEEDS
from method.configs.strict_yaml import read_mapping
from method.registry import ALIASES, METHODS
from utils.errors import UserError

TASKS = ("split_number", "multi_group", "forget_groups", "forget_list", "unlearning_type")
CROSSED = ("dataset", "unlearning_ratio", *TASKS, *SEEDS)
PARTS = ("method", *CROSSED, "set", "per_method", "tags")
VARIANT = re.compile(r"(\w+)(?:([+-])reweight|\+(dro|subsample))?")


@dataclass(frozen=True)
class Variant:
    """A method, with REWEIGHT, without it, or as it is by default (None); rob_approach: how groups count.

    tag: with the flags that the grid's `tags` gives to this method under this name.
    """

    method: str
    reweight: bool | None = None
    rob_approach: str = "none"
    tag: str = ""


@dataclass(frozen=True)
class Grid:
    """A checked grid file. points: the crossed values that one command line names, but for the method."""

    file: Path
    variants: tuple[Variant, ...]
    points: tuple[Mapping[str, Any], ...]
    common: Mapping[str, Any]
    per_method: Mapping[str, Mapping[str, Any]]
    tags: Mapping[str, Mapping[str, Mapping[str, Any]]]


def read_grid(file: Path) -> Grid:
    """Read a grid; UserError naming the file and the key for anything that is not right."""
    return check_grid(file, read_mapping(file))


def check_grid(file: Path, content: Mapping[str, Any]) -> Grid:
    """The grid of what `file` says; UserError as `read_grid` has it."""
    unknown = [name for name in content if name not in PARTS]
    if unknown:
        in_set = " (put it under set:)" if unknown[0] in all_keys() else ""
        raise UserError(f"{file}: unknown key {unknown[0]!r}{in_set}; a grid has {', '.join(PARTS)}")
    if "method" not in content:
        raise UserError(f"{file}: method is missing; list the methods to run, such as [retrain, retrain+reweight, miu]")
    axes = {name: _values(file, name, content[name]) for name in CROSSED if name in content}
    names = [_variant(file, value) for value in _listed(file, "method", content["method"])]
    tags = _tags(file, content.get("tags"), {one.method for one in names})
    names += [replace(one, tag=tag) for tag, methods in tags.items() for one in names if one.method in methods]
    return Grid(
        file,
        tuple(dict.fromkeys(names)),
        tuple(_points(axes)),
        _flags(content.get("set"), None, f"{file}, set"),
        _per_method(file, content.get("per_method"), "per_method"),
        tags,
    )


def first_seeds(grid: Grid, n: int) -> Grid:
    """The same grid with the first n of its seeds alone; UserError where it lists fewer."""
    seeds = list(dict.fromkeys(point["seed"] for point in grid.points if "seed" in point))
    if len(seeds) < n:
        raise UserError(f"{grid.file}: --seeds {n} is more than the {len(seeds)} seeds that it lists")
    return replace(grid, points=tuple(point for point in grid.points if point["seed"] in seeds[:n]))


def _listed(file: Path, name: str, value: Any) -> list[Any]:
    """The values of a key as a list; a single one stands for a list of one."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UserError(f"{file}: {name} is an empty list; give at least one value, or leave {name} out")
    return values


def _values(file: Path, name: str, value: Any) -> list[Any]:
    values = [all_keys()[name].coerce(one, str(file)) for one in _listed(file, name, value)]
    twice = [one for number, one in enumerate(values) if one is None or one in values[:number]]
    if twice:
        found = "is empty" if twice[0] is None else f"lists {twice[0]} twice"
        raise UserError(f"{file}: {name} {found}; give every value once")
    return values


def _variant(file: Path, value: Any) -> Variant:
    found = VARIANT.fullmatch(value) if isinstance(value, str) else None
    method = ALIASES.get(found[1], found[1]) if found else None
    if found is None or method not in METHODS:
        raise UserError(
            f"{file}: method is {value!r}, expected one of {', '.join(METHODS)}, or one with +reweight, -reweight, "
            "+dro or +subsample"
        )
    return Variant(method, None if found[2] is None else found[2] == "+", found[3] or "none")


def _points(axes: Mapping[str, list[Any]]) -> Iterator[Mapping[str, Any]]:
    """One mapping a combination. Tasks are put together, not crossed, as a run has one; of a list nothing is drawn."""
    tasks = [{name: value} for name in TASKS for value in axes.get(name, [])] or [{}]
    crossed = [name for name in ("dataset", *SEEDS, "unlearning_ratio") if name in axes]
    seen = []
    for parts in product(*([{name: value} for value in axes[name]] for name in crossed), tasks):
        point = {name: value for part in parts for name, value in part.items()}
        if "forget_list" in point:
            for drawn in ("unlearning_ratio", "forget_seed"):
                point.pop(drawn, None)
        if point not in seen:
            seen.append(point)
            yield point


def _flags(content: Any, method: str | None, where: str) -> dict[str, Any]:
    flags = check_layer({} if content is None else content, method, where)
    for name in flags:
        if name in ("method", *CROSSED):
            raise UserError(f"{where}: {name} is crossed: give it beside set:, as a value or a list")
        if name in ("reweight", "rob_approach"):
            raise UserError(f"{where}: {name} goes with a method's name, as in retrain+reweight or pretrain+dro")
    return flags


def _tags(file: Path, content: Any, methods: set[str]) -> dict[str, dict[str, dict[str, Any]]]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{file}, tags: expected `tag: {{method: {{flag: value}}}}`, found {content!r}")
    tags = {}
    for given, flags in content.items():
        where = f"tags, {given}"
        tag = all_keys()["tag"].coerce(given, f"{file}, {where}")
        tags[tag] = _per_method(file, flags, where)
        strangers = set(tags[tag]) - methods
        if strangers:
            raise UserError(f"{file}, {where}: no run of this grid has the method {sorted(strangers)[0]}")
        if not all(tags[tag].values()):
            raise UserError(f"{file}, {where}: expected `method: {{flag: value}}`, found {flags!r}")
    return tags


def _per_method(file: Path, content: Any, key: str) -> dict[str, dict[str, Any]]:
    where = f"{file}, {key}"
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{where}: expected `method: {{flag: value}}`, found {content!r}")
    for method in content:
        if method not in METHODS:
            raise UserError(f"{where}: {method!r} is no method; expected one of {', '.join(METHODS)}")
    return {method: _flags(flags, method, f"{where}, {method}") for method, flags in content.items()}
