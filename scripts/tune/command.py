"""python -m scripts.tune --method NAME [flags of main.py] --budget N [--jobs K] [--out best.yaml]."""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from method.configs.cli import parse
from method.configs.published import translate
from method.registry import METHODS
from method.runs.folder import folder_of
from scripts.tune.best_file import check_best, entry, write_best
from scripts.tune.findings import Findings, csv_table, describe, find_best, text_table
from scripts.tune.local import run_workers
from scripts.tune.objective import DISTANCE, OBJECTIVES, mean_distance
from scripts.tune.plot import draw
from scripts.tune.runs import OWN_STORE, Runs
from scripts.tune.space import SYNTAX, Setting, default_setting, find_space, read_setting
from scripts.tune.study import DEFAULT, TYPED, Study
from scripts.tune.work import Search, work
from utils.device import gpu_names
from utils.errors import RunError, UserError
from utils.files import write_atomic, write_text
from utils.paths import typed_path
from utils.signals import INTERRUPTED, stop_signals_noted
from utils.terminal import Parser, on_terminal, say, tell

EPILOG = """All other flags are those of main.py: they are the same in all runs, and what they fix is not searched.
exit codes: 0 the budget is spent; 1 it is not; 2 wrong usage; 75 interrupted: the same command goes on."""
SEEDS = (10, 11, 12)
TABLE, BEST, PICTURE = "trials.csv", "best.yaml", "search.svg"
NOT_HERE = ("print_config", "dry_run", "overwrite")
OWN_PLACE = ("--store_dir", "--tag")  # a search puts its runs there and names them by their settings


@dataclass(frozen=True)
class Order:
    """A checked command. start: the settings to begin with, each with its origin; seed: of the sampler."""

    search: Search
    budget: int
    jobs: int | None
    out: Path | None
    seed: int
    start: tuple[tuple[Setting, str], ...]
    question: dict[str, Any]


def _parser() -> Parser:
    parser = Parser(
        "python -m scripts.tune",
        usage="python -m scripts.tune --method METHOD --budget N [flags of main.py]",
        description="Search the hyperparameters of a method for a data set and task, on train and validation data.",
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--budget", type=int, required=True, metavar="N", help="settings to judge, over all workers")
    parser.add_argument(
        "--jobs", type=int, metavar="K", help="settings at a time on this machine (default: one a GPU, or 1)"
    )
    parser.add_argument(
        "--out", type=typed_path, metavar="FILE", help="the best setting as YAML for --config; entries are added to it"
    )
    parser.add_argument(
        "--tune_seeds", default=",".join(map(str, SEEDS)), metavar="N,N", help="seeds that every setting is tried "
        "with, apart from those of the tables (default: %(default)s)"
    )  # fmt: skip
    parser.add_argument(
        "--space", action="append", default=[], metavar="RANGE", help=f"another range, or one more: {SYNTAX}"
    )
    parser.add_argument(
        "--try", action="append", default=[], dest="settings", metavar="FLAGS", help="a setting to judge before the "
        "search chooses any, such as '--lr 0.01'; may be repeated"
    )  # fmt: skip
    parser.add_argument(
        "--objective", choices=OBJECTIVES, default=OBJECTIVES[0], help="the distance to the retrained model of the "
        "seed, or what can be told without one (docs/tuning.md)"
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the search itself (default: 0)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)  # one of the processes of --jobs
    return parser


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Search, or go on with the search; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    wanted, rest = _parser().parse_known_args(words)
    order = _order(wanted, rest)
    study = Study(order.search.folder, order.search.space, order.seed, order.question)
    study.begin_with(order.start)
    try:
        if wanted.worker:
            return _work(order, study)
        jobs = order.jobs or max(1, len(gpu_names()))
        if study.finished() < order.budget:
            code = _work(order, study) if jobs == 1 else run_workers(words, jobs, gpu_names())
            if code == INTERRUPTED or study.finished() < order.budget:
                say(f"{study.finished()} of {order.budget} settings are judged: run the same command to continue")
                return code or RunError.exit_code
    except KeyboardInterrupt as stop:
        say(f"{str(stop) or 'interrupted'}: run the same command to continue")
        return INTERRUPTED
    report(order, find_best(study.trials(), order.search.space))
    return 0


def _work(order: Order, study: Study) -> int:
    with stop_signals_noted(INTERRUPTED):
        work(order.search, study, order.budget)
    return 0


def _order(wanted: argparse.Namespace, rest: Sequence[str]) -> Order:
    """Check what was typed; UserError for what is not right."""
    for name, value in (("budget", wanted.budget), ("jobs", wanted.jobs)):
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: expected a whole number of at least 1")
    if wanted.out is not None:
        check_best(wanted.out)
    seeds = _read_seeds(wanted.tune_seeds)
    runs = _runs(translate(list(rest)), wanted.objective)
    config = runs.config(seeds[0])
    space = find_space(config, wanted.space)
    default = default_setting(config, space)
    typed = [read_setting(text, default, space) for text in wanted.settings]
    start = ((default, DEFAULT),) if default else ()
    if default is None:
        say("the default has a value outside the ranges given, so the search does not begin with it")
    for seed in seeds:
        runs.check(seed)
    question = {
        "identity": {name: one for name, one in config.identity().items() if name not in (*space, "seed", "tag")},
        "space": {name: axis.describe() for name, axis in space.items()},
        "default": default,
        "seeds": seeds,
        "objective": wanted.objective,
        "search_seed": wanted.seed,
        **({"tag": runs.tag} if runs.tag else {}),
    }
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:8]
    run = folder_of(config, config.store_dir)  # whose name ends in its seed
    folder = run.with_name(f"search-{run.name.rpartition('_')[0]}-{digest}")
    search = Search(runs, space, seeds, folder)
    return Order(
        search, wanted.budget, wanted.jobs, wanted.out, wanted.seed,
        (*start, *((setting, TYPED) for setting in typed)), question,
    )  # fmt: skip


def _runs(words: list[str], objective: str) -> Runs:
    """The runs that the flags of main.py mean; UserError for flags that a search has no place for."""
    command = parse(words)
    config = command.config
    if not METHODS[config.method].from_original:
        tunable = ", ".join(name for name, method in METHODS.items() if method.from_original)
        raise UserError(f"{config.method} does not unlearn, and has nothing to be near to; a search is for {tunable}")
    for name in NOT_HERE:
        if getattr(command, name):
            raise UserError(f"--{name} is for one run; leave it out of a search")
    kept, waiting = [], iter(words)
    for word in waiting:
        if word in OWN_PLACE:
            next(waiting)
        elif not word.startswith(tuple(f"{flag}=" for flag in OWN_PLACE)):
            kept.append(word)
    return Runs(config.method, tuple(kept), str(Path(config.store_dir) / OWN_STORE), objective, config.tag)


def _read_seeds(text: str) -> tuple[int, ...]:
    """The seeds of `--tune_seeds`; UserError where they are none."""
    try:
        seeds = tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0:
        raise UserError(
            f"--tune_seeds {text}: expected whole numbers from 0 with commas between them, such as 10,11,12"
        )
    return seeds


def report(order: Order, findings: Findings) -> None:
    """Print and keep what was found."""
    search, best, default = order.search, findings.best, findings.default
    counted = sum(trial.counts for trial in findings.trials)
    compared = f", default {mean_distance(default.measured):.2f}" if default else ""
    told = (
        f"{DISTANCE} {mean_distance(best.measured):.2f}{compared}; objective {search.runs.objective}, "
        f"{counted} settings, seeds {', '.join(map(str, search.seeds))}"
    )
    run = search.runs.config(search.seeds[0])
    found = entry(run, best.setting)
    for file in filter(None, (search.folder / BEST, order.out)):
        write_best(file, found, told)
    write_text(search.folder / TABLE, csv_table(findings))
    what = search.folder.name.removeprefix("search-").rpartition("-")[0]
    picture = draw(findings, f"{what}: {run.data_name}, {run.model}, {run.task}")
    write_atomic(search.folder / PICTURE, lambda file: file.write(picture))
    tell("\n".join([text_table(findings), "", *describe(findings)]))
    tell(f"all trials: {search.folder / TABLE}; picture: {search.folder / PICTURE}")
    tell(f"for --config: {order.out or search.folder / BEST}")
