"""The command line: flags made from the schema, the published spellings beside them, errors in one sentence."""

import argparse
import difflib
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from datasets import dataset_class
from method.configs.loading import Config, resolve
from method.configs.schema import Key, all_keys, keys_of
from method.configs.task import task_flags
from method.registry import METHODS
from utils.errors import UserError

PUBLISHED_REWEIGHT = "target_reweight"  # a value of --rob_approach
EXIT_CODES = """exit codes: 0 done or already done; 1 the run failed (reason in status.json); 2 wrong usage,
configuration or files; 75 interrupted, the same command continues."""


@dataclass(frozen=True)
class Command:
    """What was typed: the configuration and what to do with it."""

    config: Config
    print_config: bool
    dry_run: bool
    overwrite: bool


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are UserErrors, with the nearest flag where one is misspelt."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; main.py --help lists the flags")


def _type_name(key: Key) -> str:
    if key.choices:
        return "{" + ",".join(str(choice) for choice in key.choices) + "}"
    return {int: "N", float: "X", str: "TEXT"}[key.type]


def _add(group: Any, key: Key) -> None:
    """Add a key's flag and its other spellings; values stay text here and are typed by the schema."""
    names = [f"--{key.name}", *(f"--{alias}" for alias in key.aliases)]
    default = "" if key.default in (None, "") else f" (schema: {key.default})"
    text = (key.help + default).replace("%", "%%")
    if key.type is bool:
        group.add_argument(*names, dest=key.name, action=argparse.BooleanOptionalAction, help=text)
    else:
        group.add_argument(*names, dest=key.name, metavar=_type_name(key), help=text)


def build_parser() -> argparse.ArgumentParser:
    """All flags of all methods, grouped; nothing may be abbreviated."""
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
        _add(groups[key.group], key)
    groups["miu"].add_argument("--ablate_rw", action="store_true", help="published spelling of --no-reweight, for miu")
    groups["data and model"].add_argument(
        "--no-pretrained", dest="weights", action="store_const", const="none", help="the same as --weights none"
    )
    groups["execution"].add_argument(
        "--no_wait", dest="wait", action="store_const", const=False, help="the same as --no-wait"
    )
    files = groups["files"]
    files.add_argument("--config", metavar="FILE", help="a YAML file above those of the package, below the flags")
    files.add_argument(
        "--overwrite", action="store_true", help="remove this run's folder, if there is one, and start anew"
    )
    what = parser.add_argument_group("instead of running")
    what.add_argument("--print_config", action="store_true", help="print the configuration with sources and exit")
    what.add_argument(
        "--dry_run", action="store_true", help="read the labels, print groups, counts and files, and exit"
    )
    return parser


def _unknown(arguments: list[str], parser: argparse.ArgumentParser) -> UserError:
    flag = arguments[0].split("=")[0]
    known = [name.removeprefix("--") for name in parser._option_string_actions]
    near = difflib.get_close_matches(flag.removeprefix("--"), known, n=1) if flag.startswith("--") else []
    hint = f"did you mean --{near[0]}?" if near else "main.py --help lists the flags"
    return UserError(f"unknown argument {flag}: {hint}")


def parse(arguments: list[str]) -> Command:
    """Parse a command line into a Command; UserError for anything that is not right."""
    parser = build_parser()
    found, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise _unknown(unknown, parser)
    given = vars(found)
    orders = {name: given.pop(name, False) for name in ("print_config", "dry_run", "overwrite")}
    config_file = given.pop("config", None)
    ablates_reweight = given.get("ablate_rw", False)
    _published_reweight(given)
    keys = all_keys()
    flags = {name: keys[name].coerce(value, f"--{name}") for name, value in given.items()}
    config = resolve(flags, Path(config_file) if config_file else None)
    _refuse_other_methods(config.method, flags, ablates_reweight)
    return Command(config, **orders)


def _published_reweight(given: dict[str, Any]) -> None:
    """Turn --rob_approach target_reweight and --ablate_rw into --reweight / --no-reweight."""
    approach, ours = given.get("rob_approach"), all_keys()["rob_approach"].choices
    if approach not in (None, PUBLISHED_REWEIGHT, *ours):
        raise UserError(f"--rob_approach {approach}: expected {PUBLISHED_REWEIGHT}, or one of {', '.join(ours)}")
    wanted = set()
    if approach == PUBLISHED_REWEIGHT:
        del given["rob_approach"]
        wanted = {True}
    ablate = given.pop("ablate_rw", False)
    wanted |= {False} if ablate else set()
    wanted |= {given["reweight"]} if "reweight" in given else set()
    if len(wanted) > 1:
        raise UserError("the flags ask for REWEIGHT and for none; keep one of them")
    if wanted:
        given["reweight"] = wanted.pop()


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
        others = ", ".join(all_keys()[name].methods)
        raise UserError(f"--{name} is a flag of {others}, not of {method}; leave it out")


def flat_yaml(config: Config) -> str:
    """`key: value  # source`, one line a key; --config reads it back."""
    lines = []
    for name, value in config.values.items():
        text = yaml.safe_dump(value, default_flow_style=True, width=math.inf).splitlines()[0]
        lines.append(f"{name}: {text}  # {config.sources[name]}")
    return "\n".join(lines) + "\n"


def command_line(config: Config, method: str, **values: Any) -> str:
    """The command that makes the run this one needs: `method` on the same data and model."""
    task = task_flags(config.values) if METHODS[method].forgets else {}
    task |= {"split_number": config.split_number} if config.needs_task_for_target else {}
    default = resolve({"method": method, "dataset": config.dataset, **task}).values
    flags = dict(task)
    own = dataset_class(config.dataset).options
    for name in (*own, "seed", "model", "image_size", "weights", "data_dir", "store_dir", "checkpoint_dir"):
        if config.values[name] != default[name]:
            flags[name] = config.values[name]
    flags |= {"skip_bad_images": True} if config.skip_bad_images else {}
    words = ["python", "main.py", "--method", method, "--dataset", config.dataset]
    for name, value in {**flags, **values}.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += ["--no-pretrained"] if (name, value) == ("weights", "none") else [f"--{name}", str(value)]
    return shlex.join(words)
