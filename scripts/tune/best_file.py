"""The YAML file of the best settings, which `main.py --config` takes: an entry for every task that was searched."""

import math
from pathlib import Path
from typing import Any

import yaml

from method.configs.key import SCHEMA
from method.configs.layers import SELECTORS
from method.configs.loading import Config
from method.configs.schema import FALLBACK, keys_of
from method.configs.strict_yaml import read_mapping
from scripts.tune.space import Setting
from utils.errors import UserError
from utils.files import read_text, write_text

HEAD = "# Found by scripts.tune on validation data; each line says for which runs. Give it as --config, or copy lines."
START = "  - "


def entry(config: Config, setting: Setting) -> dict[str, Any]:
    """What the file says of a task: the runs it is for, the setting, and what flags or the user's file had fixed."""
    match = {name: config.values.get(key) for name, key in SELECTORS.items()}
    match = {name: value for name, value in match.items() if value is not None}
    keys, sources = keys_of(config.method), config.sources
    shipped = (SCHEMA, FALLBACK, f"{config.dataset}.yaml", "preset")
    groups = ("training", config.method)
    fixed = [name for name in config.values if keys[name].group in groups and not sources[name].startswith(shipped)]
    return {**match, "set": {**{name: config.values[name] for name in fixed}, **setting}}


def write_best(file: Path, found: dict[str, Any], told: str) -> None:
    """Put an entry into the file, in the place of one for the same runs; the others stay.

    told: what the comment beside it says. UserError for a file that is not one of these.
    """
    lines = [line for line in _lines(file) if _match(_parsed(line)) != _match(found)]
    flow = yaml.safe_dump(found, default_flow_style=True, sort_keys=False, width=math.inf).strip()
    write_text(file, "\n".join([HEAD, "tasks:", *lines, f"{START}{flow}  # {told}"]) + "\n")


def check_best(file: Path) -> None:
    """UserError where the file cannot be added to, or its folder is not there."""
    _lines(file)
    if not file.absolute().parent.is_dir():
        raise UserError(f"--out {file}: there is no folder {file.absolute().parent}; make it, or name another file")


def _lines(file: Path) -> list[str]:
    """The lines of the entries in a file that is there."""
    if not file.exists():
        return []
    read_mapping(file)
    head, *lines = read_text(file).splitlines()
    if head != HEAD or lines[:1] != ["tasks:"] or not all(line.startswith(START) for line in lines[1:]):
        raise UserError(f"--out {file}: a file is there that this command has not written; name another")
    return lines[1:]


def _parsed(line: str) -> dict[str, Any]:
    return yaml.safe_load(line)[0]


def _match(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "set"}
