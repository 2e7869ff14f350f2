"""What a YAML file says: plain keys, one section a method, and entries for tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from method.configs.schema import TASK_KEYS, all_keys, keys_of
from method.configs.strict_yaml import LookAlike, read_mapping
from method.configs.task import Layer
from method.registry import METHODS
from utils.errors import UserError

# What an entry under `tasks:` may name to say which runs it is for, and the key each is compared with.
SELECTORS = {
    "method": "method",
    "reweight": "reweight",
    "rob_approach": "rob_approach",
    "preset": "preset",
    "split_number": "split_number",
    "multi_group": "multi_group",
    "ratio": "unlearning_ratio",
}


@dataclass(frozen=True)
class TaskEntry:
    """An entry of `tasks:`. match: the values of each selector that it is for; values: what it sets."""

    match: Mapping[str, tuple]
    values: Mapping[str, Any]

    def fits(self, selected: Mapping[str, Any]) -> bool:
        """Say whether it is for the run with these values of the selectors."""
        return all(selected[name] in wanted for name, wanted in self.match.items())


@dataclass(frozen=True)
class LayerFile:
    """The checked content of a YAML file."""

    name: str
    plain: Mapping[str, Any]
    sections: Mapping[str, Mapping[str, Any]]
    tasks: tuple[TaskEntry, ...]

    def layers(self, method: str, selected: Mapping[str, Any] | None) -> list[Layer]:
        """List plain keys < the method's section < the entries for the task (none while `selected` is not known).

        UserError for two entries that are equally specific and set a key to different values.
        """
        section = name_source(self.sections.get(method, {}), f"{self.name} [{method}]")
        return [name_source(self.plain, self.name), section, {} if selected is None else self._task_layer(selected)]

    def _task_layer(self, selected: Mapping[str, Any]) -> Layer:
        """Merge the values of the entries that fit; the more specific wins."""
        best: dict[str, tuple[int, Any, str]] = {}
        fitting = [entry for entry in self.tasks if entry.fits(selected)]
        for entry in sorted(fitting, key=lambda entry: -len(entry.match)):
            rank, label = len(entry.match), ", ".join(f"{name} {selected[name]}" for name in entry.match)
            for key, value in entry.values.items():
                best_rank, best_value, best_label = best.setdefault(key, (rank, value, label))
                if rank == best_rank and value != best_value:
                    raise UserError(
                        f"{self.name}: two entries for ({best_label}) and ({label}) set {key} to {best_value!r} and "
                        f"{value!r}; make one of them more specific"
                    )
        return {key: (value, f"{self.name} [{label}]") for key, (_, value, label) in best.items()}


def name_source(values: Mapping[str, Any], source: str) -> Layer:
    """Make a layer of these values, which all come from `source`."""
    return {name: (value, source) for name, value in values.items()}


def read_layer_file(path: Path) -> LayerFile:
    """Read and check one YAML file; UserError for a missing file, bad YAML, an unknown key or a wrong type."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0  # reading it says what is wrong
    return _read_layer_file(path, changed)


@lru_cache(maxsize=32)
def _read_layer_file(path: Path, changed: int) -> LayerFile:
    """Read a file once for the hundreds of runs of a sweep, and again where `changed`, when it was edited, differs."""
    content = read_mapping(path)
    # A name with nothing below it is an empty section.
    content = {name: value for name, value in content.items() if not _is_null(value) or name not in ("tasks", *METHODS)}
    tasks = content.pop("tasks", [])
    if not isinstance(tasks, list):
        raise UserError(f"{path.name}, tasks: expected a list of entries, found {tasks!r}")
    sections = {name: content.pop(name) for name in METHODS if name in content}
    return LayerFile(
        path.name,
        check_layer(content, None, path.name),
        {name: check_layer(section, name, f"{path.name} [{name}]") for name, section in sections.items()},
        tuple(_task_entry(entry, f"{path.name}, tasks[{number}]") for number, entry in enumerate(tasks)),
    )


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, LookAlike) and value.reading is None)


def check_layer(content: Any, method: str | None, where: str) -> dict[str, Any]:
    """Return full names and typed values of a mapping; in a method's section its own keys stand without prefix.

    UserError, naming `where`, for what is no mapping, an unknown key, a wrong value, or a key that no method decides.
    """
    if not isinstance(content, dict):
        raise UserError(f"{where}: expected lines `key: value`, found {content!r}")
    known = all_keys() if method is None else keys_of(method)
    result = {}
    for name, value in content.items():
        full = f"{method}_{name}" if f"{method}_{name}" in known else name
        if full not in known:
            raise UserError(f"{where}: unknown key {name!r}; main.py --help lists the keys")
        if method is not None and (full in ("method", "dataset", *TASK_KEYS) or known[full].datasets):
            raise UserError(f"{where}: {name} cannot depend on the method")
        result[full] = known[full].coerce(value, where)
    return result


def _task_entry(entry: Any, where: str) -> TaskEntry:
    if not isinstance(entry, dict) or "method" not in entry or not isinstance(entry.get("set"), dict):
        raise UserError(f"{where}: expected method: ..., set: {{...}} and any of {', '.join(SELECTORS)}")
    unknown = set(entry) - {*SELECTORS, "set"}
    if unknown:
        raise UserError(
            f"{where}: unknown {sorted(unknown, key=str)[0]!r}; an entry has {', '.join(SELECTORS)} and set"
        )
    match = {name: _wanted(name, value, where) for name, value in entry.items() if name != "set"}
    values: dict[str, Any] = {}
    for method in match["method"]:
        values.update(check_layer(entry["set"], method, where))
    if set(values) & {"method", "reweight", *TASK_KEYS}:
        raise UserError(f"{where}: an entry for a task cannot set {', '.join(('method', 'reweight', *TASK_KEYS))}")
    return TaskEntry(match, values)


def _wanted(selector: str, value: Any, where: str) -> tuple:
    """Type the values of a selector, of which a list gives several."""
    key = all_keys()[SELECTORS[selector]]
    return tuple(key.coerce(one, where) for one in (value if isinstance(value, list) else [value]))
