"""python -m scripts.quickstart [--all] [main.py arguments]: the methods on `digits`, then a table and a page."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.groups import refuse_two_tasks
from method.configs.schema import all_keys
from method.configs.strict_yaml import read_mapping
from method.registry import METHODS
from scripts.report import command as report
from scripts.sweep.grid import CROSSED, check_grid
from scripts.sweep.local import run_here
from scripts.sweep.plan import plan
from utils.device import available_cpus, gpu_names
from utils.errors import UserError
from utils.terminal import Parser, on_terminal, say

CHOOSING = ("split_number", "multi_group", "forget_groups", "forget_list")  # two of them would be two tasks
GRID = Path(__file__).parent / "grids/quickstart.yaml"


def _parse(arguments: Sequence[str] | None) -> tuple[dict[str, Any], list[str]]:
    """The grid with what is given in place of its own, and the flags that every run gets."""
    parser = Parser(
        "bash scripts/quickstart.sh",
        description="MIU and the baselines of its paper, so many at once as there are CPUs, or one a GPU; then a table "
        "and a page. All further flags are for main.py, and every run gets them; those for one run alone, such "
        "as --overwrite, --dry_run, --tag and --reweight, are refused. Finished runs are not repeated.",
        allow_abbrev=False,
    )
    parser.add_argument("--all", action="store_true", help="every method there is")
    keys = all_keys()
    for name in CROSSED:
        flags = [f"--{spelling}" for spelling in (name, *keys[name].aliases)]
        parser.add_argument(*flags, dest=name, metavar="VALUE", help=keys[name].help, action="append")
    given, extra = parser.parse_known_args(arguments)
    content = read_mapping(GRID)
    if given.all:
        content["method"] += [name for name in METHODS if name not in content["method"]]
    own = {name: _agree(name, vars(given)[name]) for name in CROSSED if vars(given)[name] is not None}
    refuse_two_tasks({name: own[name] for name in CHOOSING if name in own})
    return content | own, extra


def _agree(name: str, typed: Sequence[str]) -> Any:
    """The value of a flag, however often it was given; UserError for two values, and for one that is none."""
    values = [all_keys()[name].coerce(text, f"--{name}") for text in typed]
    for text, value in zip(typed, values, strict=True):
        if value != values[0]:
            raise UserError(f"--{name} {typed[0]} and --{name} {text} contradict each other; keep one of them")
    return values[0]


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not done, then show all; the exit code is the sweep's, or the report's."""
    try:
        content, extra = _parse(arguments)
        runs = plan(check_grid(GRID, content), extra)
        gpus, threads = gpu_names(), runs[0].config.threads or 1
        code = run_here(runs, None if gpus else max(1, available_cpus() // threads), gpus)
    except UserError as error:
        say(f"error: {error}")
        return UserError.exit_code
    if code:
        return code
    config = runs[-1].config
    store = Path(config.store_dir)
    say("", sys.stdout)
    code = report.main([str(store), "--dataset", config.data_name, "--ratio", str(config.unlearning_ratio)])
    code = code or report.main([str(store), "--out", str(store / "report.html")])
    if not code:
        say(f"the page to look at: {store / 'report.html'}", sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
