"""docs/cli.md: every flag of main.py from the schema, and those of the scripts from their parsers."""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from method.configs.cli import EXIT_CODES, OTHER_SPELLINGS, build_parser
from method.configs.key import Key
from method.configs.layers import LayerFile, TaskEntry, read_layer_file
from method.configs.schema import CONFIG_FILES, FALLBACK, all_keys, search_ranges
from method.registry import ALIASES, METHODS, UNSET, Range
from scripts import export_model, import_model, keep_runs, skewed_faces
from scripts.acceptance import __main__ as acceptance
from scripts.acceptance import pack
from scripts.audit import command as audit
from scripts.document.markdown import code, codes, table
from scripts.relearn import command as relearn
from scripts.report import command as report
from scripts.sweep import command as sweep
from scripts.tune import command as tune

SCRIPTS = Path(__file__).resolve().parents[1]
# What reads the arguments of every script with flags of its own, by the command that starts it.
COMMANDS: dict[str, Callable[[list[str]], Any]] = {
    "python -m scripts.report": report.main,
    "python -m scripts.sweep": sweep.main,
    "python -m scripts.tune": tune.main,
    "python -m scripts.audit": audit.main,
    "python -m scripts.relearn": relearn.main,
    "python -m scripts.keep_runs": keep_runs.main,
    "python -m scripts.import_model": import_model.main,
    "python -m scripts.export_model": export_model.main,
    "python -m scripts.skewed_faces": skewed_faces.main,
    "bash scripts/accept_gpu.sh": acceptance.options_of,
    "bash scripts/pack_for_gpu.sh": pack.main,
}
HEAD = """# Every flag

Made from the code by `python -m scripts.document`; do not edit it by hand.

`python main.py --help` lists the same flags. A flag of another method, an abbreviation or a wrong type is an error, and
the nearest flag is named. The name of a flag, without its dashes, is its key in YAML files and its argument in Python.

A default counts where neither a flag nor a file says another value. `other on` names the data sets whose file does:
[values by data set](#values-by-data-set). `--print_config` prints every value of a run with its source.

"""


def cli_page() -> str:
    """The whole page."""
    parts = [HEAD, *_flag_sections(), _other_spellings(), _orders(), _unchanging(), _exit_codes()]
    return "".join([*parts, *_data_set_sections(), _search_section(), *_script_sections(), _shell_section()])


# Flags of main.py.


def _flag_sections() -> Iterator[str]:
    """A table a group, in the order of --help."""
    groups: dict[str, list[Key]] = {}
    for key in all_keys().values():
        groups.setdefault(key.group, []).append(key)
    for group, keys in groups.items():
        own = group in METHODS and all(key.methods == (group,) for key in keys)
        titles = ["flag", "takes", "default", "meaning"]
        shared = any(key.methods for key in keys) and not own
        rows = [_flag_row(key, shared) for key in keys]
        title = f"only with --method {group}" if own else group
        yield f"## {title}\n\n{table([*titles, 'methods'] if shared else titles, rows)}\n"


def _flag_row(key: Key, shared: bool) -> list[str]:
    """Spellings, type, default, meaning, and (in a group that methods share in part) the methods that have the key."""
    names = [f"--{key.name}", *(f"--{alias}" for alias in key.aliases)]
    published = "" if key.reference is UNSET else f"; with `--preset reference` {code(_shown(key.reference))}"
    row = [codes(names), _takes(key), _default(key), key.help + published]
    return [*row, _method_list(key.methods)] if shared else row


def _takes(key: Key) -> str:
    """Type, choices and bounds."""
    if key.choices:
        return ", ".join(map(str, (*key.choices, *([f"{key.family}NAME"] if key.family else []))))
    if key.type is bool:
        return f"a switch, with `--no-{key.name}`"
    if key.channels:
        return "a number, or three"
    if key.rising:
        return "whole numbers that rise"
    kind = {int: "whole number", float: "number", str: "path" if key.path else "word" if key.word else "text"}[key.type]
    return " ".join([kind, ", ".join(f"{word} {bound:g}" for word, bound in key.bounds if bound is not None)]).strip()


def _default(key: Key) -> str:
    """The default, and the data sets whose file says another value."""
    if key.name == "reweight":
        return f"on in {', '.join(name for name, method in METHODS.items() if method.reweight)}"
    value = "" if key.default in (None, "", UNSET) else code(_shown(key.default))
    others = ", ".join(file.stem for file in _files() if file.name != FALLBACK and key.name in _keys_of(file))
    return "; ".join(filter(None, (value, others and f"other on {others}")))


def _method_list(methods: tuple[str, ...] | None) -> str:
    if methods is None:
        return "all"
    others = [name for name in METHODS if name not in methods]
    return f"all but {', '.join(others)}" if len(others) < len(methods) else ", ".join(methods)


def _other_spellings() -> str:
    """What the published commands and common habit write instead."""
    rows = [[code(flag), help] for _, flag, _, _, help in OTHER_SPELLINGS]
    rows += [[code(f"--method {alias}"), f"the same as `--method {name}`"] for alias, name in ALIASES.items()]
    rows += [["`--rob_approach target_reweight`", "published spelling of `--reweight`"]]
    return f"## other spellings\n\n{table(['typed', 'meaning'], rows)}\n"


def _orders() -> str:
    """Flags that are no keys of a configuration."""
    keys = all_keys()
    known = {"help", *keys, *(alias for key in keys.values() for alias in key.aliases)}
    known |= {flag.removeprefix("--") for _, flag, _, _, _ in OTHER_SPELLINGS}
    actions = [one for one in _actions(build_parser()) if one.option_strings[0].removeprefix("--") not in known]
    return f"## instead of running, and files\n\n{table(['flag', 'meaning'], map(_action_row, actions))}\n"


def _unchanging() -> str:
    """The keys that are no part of a run's identity."""
    names = "".join(f"- `--{name}`\n" for name, key in all_keys().items() if key.execution)
    return (
        "## What does not make another run\n\nEvery flag above belongs to a run's identity but these, which change no "
        "number. Of a table of labels or a list, what it says is compared, not its name or its words; `--device` and "
        f"`--threads` decide last bits.\n\n{names}\n"
    )


def _exit_codes() -> str:
    found = re.findall(r"(\d+) ([^;]+)[;.]", " ".join(EXIT_CODES.split()))
    return f"## Exit codes of main.py\n\n{table(['code', 'when'], found)}\n"


# Values by data set.


def _files() -> list[Path]:
    """The files under method/configs/config_files, fallback.yaml first."""
    return sorted(CONFIG_FILES.glob("*.yaml"), key=lambda file: (file.name != FALLBACK, file.name))


def _keys_of(file: Path) -> set[str]:
    """Every key that a file sets, for whomever."""
    layer = read_layer_file(file)
    tables = [layer.plain, *layer.sections.values(), *(entry.values for entry in layer.tasks)]
    return {key for table in tables for key in table}


def _data_set_sections() -> Iterator[str]:
    """What each file under method/configs/config_files says, and for whom."""
    yield "## Values by data set\n\n"
    yield "Later wins: schema, `fallback.yaml`, the data set's file, `--config FILE`, flags. Within a file a method's\n"
    yield "section wins over plain values, and an entry for a task over both.\n\n"
    for file in _files():
        layer = read_layer_file(file)
        title = f"every data set ({FALLBACK})" if file.name == FALLBACK else file.stem
        yield f"### {title}\n\n"
        yield "".join(f"- {code(key)}: {told}\n" for key, told in _by_key(layer).items())
        yield "".join(f"- {_entry(entry)}\n" for entry in layer.tasks)
        yield "\n"


def _by_key(layer: LayerFile) -> dict[str, str]:
    """Key -> its values, each with the methods that it is for."""
    found: dict[str, dict[str, list[str]]] = {}
    for key, value in layer.plain.items():
        found.setdefault(key, {})[code(_shown(value))] = []
    for method, values in layer.sections.items():
        for key, value in values.items():
            found.setdefault(key, {}).setdefault(code(_shown(value)), []).append(method)
    return {
        key: "; ".join(f"{value} ({', '.join(methods)})" if methods else value for value, methods in values.items())
        for key, values in found.items()
    }


def _entry(entry: TaskEntry) -> str:
    """Which runs an entry for tasks is for, and what it sets."""
    match = (f"{name} {' or '.join(map(_shown, wanted))}" for name, wanted in entry.match.items())
    values = codes(f"{key}: {_shown(value)}" for key, value in entry.values.items())
    return f"{', '.join(match)}: {values}"


def _shown(value: Any) -> str:
    """A value as YAML writes it."""
    return f"{value:g}" if isinstance(value, float) else yaml.safe_dump(value).splitlines()[0]


def _search_section() -> str:
    """Where `scripts.tune` looks, by hyperparameter, for the methods of each range."""
    found: dict[tuple[str, Range], list[str]] = {}
    for method in METHODS:
        if METHODS[method].from_original:
            for name, one in search_ranges(method).items():
                found.setdefault((name, one), []).append(method)
    rows = [[code(name), _range(one), ", ".join(methods)] for (name, one), methods in found.items()]
    head = "## What a search looks through\n\nThe ranges of `python -m scripts.tune`, which `--space` changes.\n\n"
    return f"{head}{table(['key', 'range', 'methods'], rows)}\n"


def _range(one: Range) -> str:
    scale = ", by its logarithm" if one.log else ""
    return f"{one.low:g} to {one.high:g}{scale}" + (f", at most `--{one.within}`" if one.within else "")


# The scripts.


class _Caught(Exception):
    """Carries a script's parser away from where it was about to parse."""


def parser_of(start: Callable[[list[str]], Any]) -> argparse.ArgumentParser:
    """The parser that a script makes for itself, caught as it is asked to parse."""

    def catch(parser: argparse.ArgumentParser, *arguments: Any, **options: Any) -> None:
        raise _Caught(parser)

    with patch.object(argparse.ArgumentParser, "parse_known_args", catch):  # parse_args asks it too
        try:
            start([])
        except _Caught as caught:
            return caught.args[0]
    raise AssertionError(f"{start} parses no arguments")


def _actions(parser: argparse.ArgumentParser) -> Iterable[argparse.Action]:
    return [action for action in parser._actions if action.dest != "help"]


def _action_row(action: argparse.Action) -> list[str]:
    """A flag or an argument, as it is typed, and its help."""
    takes = f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
    if action.choices is not None and not action.metavar:
        takes = f" {{{','.join(map(str, action.choices))}}}"
    typed = [f"{name}{takes}" for name in action.option_strings] or [str(action.metavar or action.dest.upper())]
    return [codes(typed), (action.help or "").replace("%%", "%")]


def _script_sections() -> Iterator[str]:
    yield "## Scripts\n\n"
    for command, start in COMMANDS.items():
        parser = parser_of(start)
        first = (parser.description or "").split("\n\n")[0].removesuffix(".")
        yield f"### {command}\n\n{first}.\n\n"
        yield table(["flag", "meaning"], map(_action_row, _actions(parser))) + "\n"


def _shell_section() -> str:
    """What the comment at the top of each shell script says that people start."""
    files = [*sorted(SCRIPTS.glob("*.sh")), SCRIPTS / "slurm" / "submit.sh"]
    told = [_comment(file) for file in files if not file.name.startswith("_")]
    return "### Shell scripts\n\n" + "\n\n".join(told) + "\n"


def _comment(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    size = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:size])
    return f"`{file.relative_to(SCRIPTS.parent)}`\n\n```text\n{text}\n```"
