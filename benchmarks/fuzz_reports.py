"""Damage one file of one run again and again, and show, recompute, load and keep the runs each time.

    python benchmarks/fuzz_reports.py [--cases 2000] [--seed 0] [--recompute_every 5] [--figures_every 50] [--told N]

A case is a copy of the golden runs with one damaged file (tests/damaged_runs.py): flipped bits, cut files, other values
at every place of a YAML or JSON file, other cells, other arrays, pipes, folders and devices. A command that ends in a
traceback, or has not ended after 10 seconds (figures, --recompute: 120), is counted, and so is a table without a run
that was not damaged; exit code 1 where there is one.
"""

import argparse
import contextlib
import csv
import io
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from damaged_runs import damage  # noqa: E402

from method.api import load_results  # noqa: E402
from scripts import keep_runs  # noqa: E402
from scripts.report import command as report  # noqa: E402
from scripts.sweep import command as sweep  # noqa: E402
from utils.errors import RunError, UserError  # noqa: E402

TREE = ROOT / "tests/golden/output"
SECONDS, LONGER = 10, {"png": 120, "recompute": 120}
GRID = """
dataset: waterbird
method: [pretrain, retrain, retrain+reweight, miu, salun, scrub, l1_sparse]
unlearning_ratio: 0.9
seed: [0, 1]
set: {{model: small_cnn, image_size: 32, weights: none, store_dir: {store}, checkpoint_dir: {store}/none}}
"""


class Endless(BaseException):
    """A command that has not ended; nobody may take it for a file's damage."""


def main() -> int:
    """Every case with every command; a table of what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recompute_every", type=int, default=5, help="of the cases, since it takes seconds")
    parser.add_argument("--figures_every", type=int, default=50)
    parser.add_argument("--told", type=int, default=0, metavar="N", help="print the first N failures in full")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    counts: dict[str, Counter] = {}
    told = options.told
    for number in range(options.cases):
        chance = random.Random(f"{options.seed} {number}")
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder, "output")
            shutil.copytree(TREE, tree)
            run = chance.choice(sorted(file.parent for file in tree.rglob("config.yaml")))
            what = f"{run.name}: {damage(run, chance)}"
            for name, command in commands(tree, number, options).items():
                ended, trace = outcome(command, LONGER.get(name, SECONDS))
                if ended == "ended" and name == "csv" and (gone := others(tree, command(), run)):
                    ended, trace = "others gone", f"{gone}\n"
                counts.setdefault(name, Counter())[ended] += 1
                if ended != "ended" and told > 0:
                    told -= 1
                    print(f"case {number}: {what}; {name}: {ended}\n{trace}", flush=True)
    kinds = ("ended", "traceback", "endless", "others gone")
    print("| command | cases | " + " | ".join(kinds[1:]) + " |\n|---|---|---|---|---|")
    for name, own in counts.items():
        print(f"| {name} | {sum(own.values())} | " + " | ".join(str(own[kind]) for kind in kinds[1:]) + " |")
    return int(any(own[kind] for own in counts.values() for kind in kinds[1:]))


def commands(tree: Path, number: int, options: argparse.Namespace) -> dict[str, Callable[[], str]]:
    """What is done with the runs under a folder; each returns what it printed."""
    beside = tree.parent
    grid = beside / "grid.yaml"
    grid.write_text(GRID.format(store=tree))
    made: dict[str, Callable[[], str]] = {
        "text": lambda: printed(report.main, [str(tree), "--columns", "all"]),
        "csv": lambda: printed(report.main, [str(tree), "--each", "--format", "csv"]),
        "markdown": lambda: printed(report.main, [str(tree), "--each", "--format", "markdown"]),
        "latex": lambda: printed(report.main, [str(tree), "--difference", "--format", "latex"]),
        "json": lambda: printed(report.main, [str(tree), "--format", "json"]),
        "html": lambda: printed(report.main, [str(tree), "--out", str(beside / "page.html")]),
        "load_results": lambda: str(load_results(tree)),
        "keep_runs": lambda: printed(keep_runs.main, [str(tree), str(beside / "kept")]),
        "sweep --status": lambda: printed(sweep.main, [str(grid), "--status"]),
    }
    if number % options.figures_every == 0:
        made["png"] = lambda: printed(report.main, [str(tree), "--out", str(beside / "figures.png")])
    if number % options.recompute_every == 0:
        made["recompute"] = lambda: printed(report.main, [str(tree), "--recompute"])
    return made


def printed(main: Callable[[list[str]], int], words: list[str]) -> str:
    """What a command prints; its exit code must be one of those that a user is told of."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(words)
        out.flush()
    if code not in (0, 1, 2):
        raise AssertionError(f"exit code {code}")
    out.seek(0)
    return out.read()


def outcome(command: Callable[[], str], seconds: int) -> tuple[str, str]:
    """How a command ended, and its traceback."""
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        command()
    except (UserError, RunError):
        pass
    except Endless:
        return "endless", ""
    except BaseException:
        return "traceback", traceback.format_exc(limit=-3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "ended", ""


def others(tree: Path, text: str, damaged: Path) -> list[str]:
    """Finished runs that are in no row though they were not damaged; pretrained ones have their row from others."""
    rows = csv.DictReader(io.StringIO(text))
    shown = {row["folder"] for row in rows}
    runs = {file.parent for file in tree.rglob("done")} - {damaged}
    return sorted(run.name for run in runs if str(run) not in shown and not run.name.startswith("pretrain"))


def _too_long(number: int, frame: object) -> None:
    raise Endless


if __name__ == "__main__":
    sys.exit(main())
