"""The command line: flags made from the schema, the published spellings beside them, errors in one sentence."""

import argparse
import difflib
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from datasets import dataset_class
from method.configs.key import Key
from method.configs.layers import read_layer_file
from method.configs.loading import Config, resolve
from method.configs.published import read_const_file, translate
from method.configs.schema import all_keys, keys_of
from method.configs.task import task_flags
from method.registry import ALIASES, METHODS
from utils.errors import UserError
from utils.paths import typed_path
from utils.terminal import Parser

PUBLISHED_REWEIGHT = "target_reweight"  # a value of --rob_approach
EXIT_CODES = """exit codes: 0 done or already done; 1 the run failed (reason in status.json); 2 wrong usage,
configuration or files; 75 interrupted, the same command continues."""

OTHER_SPELLINGS = (
    ("miu", "--ablate_rw", "ablate_rw", False, "published spelling of --no-reweight, for miu"),
    ("what to run", "--debug", "tag", "debug", "published spelling of --epochs 1 --tag debug"),
    ("data and model", "--no-pretrained", "weights", "none", "the same as --weights none"),
    ("execution", "--no_wait", "wait", False, "the same as --no-wait"),
)


@dataclass(frozen=True)
class Command:
    """What was typed: the configuration and what to do with it."""

    config: Config
    print_config: bool
    dry_run: bool
    overwrite: bool


class Said(NamedTuple):
    """A flag as it was typed, such as `--no-pretrained` or `--l1_penalty 0.1`, and the value that it gives its key."""

    typed: str
    value: Any


class _Noted(argparse.Action):
    """Keeps every time that a key was given: of two that contradict each other neither may win silently."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        typed = option_string or ""
        if isinstance(values, list) and values:
            said = Said(" ".join([typed, *values]), ",".join(values))
        else:
            said = Said(typed, self.const) if self.nargs == 0 else Said(f"{typed} {values}", values)
        setattr(namespace, self.dest, [*getattr(namespace, self.dest, ()), said])


class _Switch(argparse.BooleanOptionalAction):
    """--name and --no-name, noted likewise."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        typed = option_string or ""
        said = Said(typed, not typed.startswith("--no-"))
        setattr(namespace, self.dest, [*getattr(namespace, self.dest, ()), said])


class _Parser(Parser):
    """argparse whose errors are UserErrors, with the nearest flag where one is misspelt."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; main.py --help lists the flags")


def _name_type(key: Key) -> str:
    if key.choices:
        family = (f"{key.family}NAME",) if key.family else ()
        return "{" + ",".join(map(str, (*key.choices, *family))) + "}"
    return "N" if key.rising else {int: "N", float: "X", str: "TEXT"}[key.type]


def _add_flag(group: Any, key: Key) -> None:
    """Add a key's flag and its other spellings; values stay text here and are typed by the schema."""
    names = [f"--{key.name}", *(f"--{alias}" for alias in key.aliases)]
    default = "" if key.default in (None, "") else f" ({key.home}: {key.default})"
    text = (key.help + default).replace("%", "%%")
    if key.type is bool:
        group.add_argument(*names, dest=key.name, action=_Switch, help=text)
    else:
        several = {"nargs": "+"} if key.rising else {}
        group.add_argument(*names, dest=key.name, action=_Noted, metavar=_name_type(key), help=text, **several)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of all flags of all methods, grouped; nothing may be abbreviated."""
    parser = _Parser(
        prog="main.py",
        usage="python main.py --method METHOD [--dataset NAME] [--unlearning_ratio X] [flags]",
        description="Group-robust machine unlearning: train, forget, evaluate.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups: dict[str, Any] = {}
    for key in all_keys().values():
        if key.group not in groups:
            own = key.methods == (key.group,)
            groups[key.group] = parser.add_argument_group(f"only with --method {key.group}" if own else key.group)
        _add_flag(groups[key.group], key)
    for group, flag, dest, value, text in OTHER_SPELLINGS:
        groups[group].add_argument(flag, dest=dest, action=_Noted, nargs=0, const=value, help=text)
    files = groups["files"]
    files.add_argument(
        "--config", action=_Noted, metavar="FILE", help="a YAML file above those of the package, below the flags"
    )
    files.add_argument(
        "--const_file", action=_Noted, metavar="FILE", help="the same for a YAML file of the published code"
    )
    files.add_argument(
        "--overwrite", action="store_true", help="remove this run's folder, if there is one, and start anew"
    )
    what = parser.add_argument_group("instead of running").add_mutually_exclusive_group()
    what.add_argument("--print_config", action="store_true", help="print the configuration with sources and exit")
    what.add_argument(
        "--dry_run", action="store_true", help="read the labels, print groups, counts and files, and exit"
    )
    return parser


def _refuse_unknown(arguments: list[str], parser: argparse.ArgumentParser) -> NoReturn:
    flag = arguments[0].split("=")[0]
    known = [name.removeprefix("--") for name in parser._option_string_actions]
    near = difflib.get_close_matches(flag.removeprefix("--"), known, n=1) if flag.startswith("--") else []
    hint = f"did you mean --{near[0]}?" if near else "main.py --help lists the flags"
    raise UserError(f"unknown argument {flag}: {hint}")


def parse(arguments: list[str]) -> Command:
    """Parse the words of a command line; UserError for anything that is not right."""
    parser = build_parser()
    found, unknown = parser.parse_known_args(translate(arguments))
    if unknown:
        _refuse_unknown(unknown, parser)
    given = vars(found)
    orders = {name: given.pop(name, False) for name in ("print_config", "dry_run", "overwrite")}
    files = [said for name in ("config", "const_file") for said in given.pop(name, ())]
    config_file = _agree(files, typed_path)
    reader = read_const_file if files and files[0].typed.startswith("--const_file") else read_layer_file
    _translate_debug(given)
    ablates_reweight = "ablate_rw" in given
    _translate_reweight(given)
    keys = all_keys()
    flags = {name: _agree(said, partial(keys[name].coerce, where=f"--{name}")) for name, said in given.items()}
    config = resolve(flags, config_file, reader)
    _refuse_other_methods(config.method, flags, ablates_reweight)
    return Command(config, **orders)


def _agree(said: Sequence[Said], convert: Callable[[Any], Any]) -> Any:
    """Return the one value that was given, however often, or None; UserError, naming both flags, for two values."""
    values = [convert(one.value) for one in said]
    for one, value in zip(said, values, strict=True):
        if value != values[0]:
            raise UserError(f"{said[0].typed} and {one.typed} contradict each other; keep one of them")
    return values[0] if values else None


def _translate_reweight(given: dict[str, Any]) -> None:
    """Turn --rob_approach target_reweight and --ablate_rw into --reweight / --no-reweight."""
    approach, ours = given.get("rob_approach", []), all_keys()["rob_approach"].choices
    for one in approach:
        if one.value not in (PUBLISHED_REWEIGHT, *ours):
            raise UserError(f"--rob_approach {one.value}: expected {PUBLISHED_REWEIGHT}, or one of {', '.join(ours)}")
    wanted = [*given.pop("ablate_rw", ()), *given.get("reweight", ())]
    if _agree(approach, str) == PUBLISHED_REWEIGHT:
        wanted += [Said(one.typed, True) for one in given.pop("rob_approach")]
    if wanted:
        given["reweight"] = wanted


def _translate_debug(given: dict[str, Any]) -> None:
    """Let --debug, which names the run, make it one of a single epoch, where the method has epochs."""
    said = [one for one in given.get("tag", ()) if one.typed == "--debug"]
    methods = {ALIASES.get(one.value, one.value) for one in given.get("method", ())}
    if said and all(METHODS[name].has_epochs for name in methods if name in METHODS):
        given["epochs"] = [*given.get("epochs", ()), Said("--debug", "1")]


def _refuse_other_methods(method: str, flags: dict[str, Any], ablates_reweight: bool) -> None:
    known = keys_of(method)
    if ablates_reweight and not METHODS[method].reweight:
        owners = ", ".join(name for name, unlearner in METHODS.items() if unlearner.reweight)
        raise UserError(f"--ablate_rw is a flag of {owners}, not of {method}, which has no REWEIGHT unless asked for")
    for name in flags:
        if name in known:
            continue
        if name == "reweight":
            raise UserError(
                f"--reweight does not apply to {method}, which does not train on the retain set; leave it out"
            )
        others = ", ".join(all_keys()[name].methods or ())
        raise UserError(f"--{name} is a flag of {others}, not of {method}; leave it out")


def flat_yaml(config: Config) -> str:
    """Write a configuration as lines of `key: value  # source`, which --config reads back."""
    lines = []
    for name, value in config.values.items():
        text = yaml.safe_dump(value, default_flow_style=True, width=math.inf).splitlines()[0]
        lines.append(f"{name}: {text}  # {config.sources[name]}")
    return "\n".join(lines) + "\n"


def command_line(config: Config, method: str, **values: Any) -> str:
    """Spell the command that makes the run this one needs: `method` on the same data and model."""
    flags = {**_differing_flags(config, method), **values}
    return spell(["python", "main.py", "--method", method, "--dataset", config.dataset], flags)


def import_line(config: Config, file: Path) -> str:
    """Spell the command that imports `file` as the pretrained model of this run's data and architecture."""
    flags = _differing_flags(config, "pretrain")
    flags.pop("weights", None)  # nobody knows what it started from
    return spell(["python", "-m", "scripts.import_model", str(file), "--dataset", config.dataset], flags)


def _differing_flags(config: Config, method: str) -> dict[str, Any]:
    """Return what says which data, task and model are meant, where it is not the default."""
    task = task_flags(config.values) if METHODS[method].forgets else {}
    task |= {"split_number": config.split_number} if config.needs_task_for_target else {}
    default = resolve({"method": method, "dataset": config.dataset, **task}).values
    flags = dict(task)
    own = dataset_class(config.dataset).options
    further = ("head", "mean", "std", "view", "eval_precision")
    folders = ("data_dir", "store_dir", "checkpoint_dir")
    seeds = config.seeds.of_model(METHODS[method].forgets)
    values = {**config.values, "seed": seeds.run, "forget_seed": None, **seeds.given()}
    own += ("freeze_backbone", "hidden_dim") if config.frozen else ()
    for name in (*own, "leave_out", "seed", "forget_seed", "model", "image_size", "weights", *further, *folders):
        if values.get(name) != default.get(name):
            flags[name] = values[name]
    return flags | ({"skip_bad_images": True} if config.skip_bad_images else {})


def spell(words: Sequence[str], flags: Mapping[str, Any]) -> str:
    """Spell a command that begins with these words and goes on with these flags."""
    words = list(words)
    for name, value in flags.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += ["--no-pretrained"] if (name, value) == ("weights", "none") else [f"--{name}", str(value)]
    return shlex.join(words)
