"""Hyperparameters of unlearning methods, chosen by the train set and validation data; no test column.

    python benchmarks/tune.py [miu salun salun+reweight ...] [--ratios 0.1 0.5 0.9] [--jobs 2] [--out search.csv]
    python benchmarks/tune.py miu --try "--lr 0.02" "--lr 0.03 --miu_lambda_mi 2" [-- main.py arguments]

A setting is judged by its distance to the retrained model of the same seed (with REWEIGHT for MIU and for reweighted
methods): the mean difference in accuracy on R, on F, on V and on V's samples of the forget groups, over the seeds. The
search spends twelve settings on every method and ratio: seven learning rates, the same for all methods; three other
values of the method's own parameter at the best of them; and two rates between the best one and its neighbours, with
the best value. --try judges settings of your own in place of the search. What stands after -- goes to every run;
without it the data set is `digits`. Runs are kept in --store_dir, with what they start from, and are not made twice.
"""

import argparse
import contextlib
import csv
import io
import math
import multiprocessing
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from side_by_side import with_extra

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import main as program  # noqa: E402
from datasets.splits import load_splits  # noqa: E402
from method.configs.cli import parse  # noqa: E402
from method.evaluation.records import Records  # noqa: E402
from method.runs.folder import folder_of  # noqa: E402
from method.runs.reference import asked_by  # noqa: E402

ROWS = ("miu", "salun", "salun+reweight", "scrub", "scrub+reweight", "l1_sparse", "l1_sparse+reweight")
RATES = ("0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1")
BETWEEN = (0.6, 1.7)  # times the best rate
# The parameter that, beside the learning rate, decides how far a method goes: its default and three other values.
OWN = {
    "miu": ("miu_lambda_mi", "1", ("0.1", "0.3", "3")),
    "salun": ("salun_saliency_ratio", "0.5", ("0.2", "0.8", "1")),
    "scrub": ("forget_epochs", "5", ("1", "3", "8")),
    "l1_sparse": ("l1_sparse_penalty", "0.0005", ("0.00005", "0.00015", "0.0015")),
}
COLUMNS = ("method", "ratio", "setting", "distance", "RA", "UA", "val", "val_of_forget_groups")
Setting = dict[str, str]


@dataclass
class Task:
    """A method, with REWEIGHT or as it is by default, at one ratio; found: the distance of every setting tried."""

    row: str
    ratio: str
    common: list[str]
    seeds: list[str]
    report: Callable[[list[str]], None]
    pool: ProcessPoolExecutor
    found: list[tuple[float, Setting]] = field(default_factory=list)

    @property
    def method(self) -> str:
        return self.row.partition("+")[0]

    def words(self, setting: Setting) -> list[str]:
        """The command line of a setting, but for its seed; a tag keeps its runs apart."""
        flags = [word for name, value in setting.items() for word in (f"--{name}", value)]
        tag = "-".join(f"{name.removeprefix(self.method + '_')}{value}" for name, value in setting.items())
        reweight = ["--reweight"] * self.row.endswith("+reweight")
        task = ["--method", self.method, *reweight, "--unlearning_ratio", self.ratio, *self.common]
        return [*task, *["--tag", tag] * bool(tag), *flags]

    def reference(self, seed: str) -> list[str]:
        """The command line of the retrained run that those of a seed are compared with."""
        reweight = ["--reweight"] * asked_by(parse(self.words({})).config).reweight
        return ["--method", "retrain", *reweight, "--unlearning_ratio", self.ratio, *self.common, "--seed", seed]

    def search(self) -> None:
        """Rates, the method's own parameter, rates in between."""
        name, default, values = OWN[self.method]
        self.judge([{"lr": rate, name: default} for rate in RATES])
        at_best_rate = self.best()
        self.judge([at_best_rate | {name: value} for value in values])
        best = self.best()
        self.judge([best | {"lr": f"{float(best['lr']) * factor:.3g}"} for factor in BETWEEN])

    def best(self) -> Setting:
        """The setting of the smallest distance so far."""
        return min(self.found, key=lambda one: one[0])[1]

    def judge(self, settings: list[Setting]) -> None:
        """Run every setting with every seed, and say how far from the retrained models it ends."""
        words = [[*self.words(setting), "--seed", seed] for setting in settings for seed in self.seeds]
        results = list(self.pool.map(accuracies, words))
        references = np.array(list(self.pool.map(accuracies, map(self.reference, self.seeds))))
        for number, setting in enumerate(settings):
            ours = results[number * len(self.seeds) :][: len(self.seeds)]
            failed = any(one is None for one in ours)
            distance = math.inf if failed else float(np.abs(np.array(ours) - references).mean())
            self.found.append((distance, setting))
            means = [] if failed else [f"{value:.1f}" for value in np.mean(ours, axis=0)]
            text = " ".join(f"--{name} {value}" for name, value in setting.items())
            self.report([self.row, self.ratio, text, f"{distance:.2f}", *means])


def main() -> None:
    """A line a setting, then the best of every task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="METHOD[+reweight]")
    parser.add_argument("--try", nargs="+", dest="settings", metavar="FLAGS", help="settings in place of the search")
    parser.add_argument("--ratios", nargs="+", default=["0.1", "0.5", "0.9"])
    parser.add_argument("--seeds", nargs="+", default=["10", "11", "12"])
    parser.add_argument("--store_dir", default="output")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each with one thread")
    parser.add_argument("--out", type=Path, help="a CSV file of every setting tried")
    own = sys.argv[1:]
    own, extra = (own[: own.index("--")], own[own.index("--") + 1 :]) if "--" in own else (own, [])
    options = parser.parse_args(own)
    common = ["--threads", "1", "--store_dir", options.store_dir, "--checkpoint_dir", options.store_dir]
    common = with_extra(common, extra or ["--dataset", "digits"])
    lines: list[list[str]] = []

    def report(line: list[str]) -> None:
        lines.append(line)
        print(", ".join(line), flush=True)

    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        points = [(row, ratio) for row in options.rows for ratio in options.ratios]
        tasks = [Task(row, ratio, common, options.seeds, report, pool) for row, ratio in points]
        print(", ".join(COLUMNS), flush=True)
        list(pool.map(accuracies, needed(tasks)))
        for task in tasks:
            if options.settings:
                task.judge([flags_of(text) for text in options.settings])
            else:
                task.search()
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *lines])
    print("\nbest:")
    for task in tasks:
        distance, setting = min(task.found, key=lambda one: one[0])
        print(f"{task.row}, {task.ratio}: {setting}, distance {distance:.2f}")


def flags_of(text: str) -> Setting:
    """The values in `--lr 0.02 --miu_lambda_mi 2`."""
    words = text.split()
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}


def needed(tasks: Iterable[Task]) -> list[list[str]]:
    """Command lines of the pretrained and the retrained runs, each once, the first ones first."""
    pretrained = [["--method", "pretrain", *task.common, "--seed", seed] for task in tasks for seed in task.seeds]
    retrained = [task.reference(seed) for task in tasks for seed in task.seeds]
    return [list(words) for words in dict.fromkeys(map(tuple, [*pretrained, *retrained]))]


def accuracies(words: list[str]) -> list[float] | None:
    """Percent right on R, F, V, and V's samples of the forget groups; None for a run that failed.

    Nothing but zeros for a pretrained model, which has no forget set.
    """
    config = parse(words).config
    # What a run prints has columns of the test set.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = program.main(words)
    if code == 1:
        return None
    if code:
        raise SystemExit(f"{' '.join(words)}\n{said.getvalue()}")
    if config.method == "pretrain":
        return [0.0] * 4
    folder = folder_of(config, config.store_dir)
    records, splits = Records.load(folder / "records.npz"), load_splits(folder / "splits.npz")
    of_forget_groups = records.index[np.isin(records.group, splits.forget_groups)]
    sets = splits.retain, splits.forget, splits.val, np.intersect1d(splits.val, of_forget_groups)
    found = [records.correct[np.isin(records.index, rows)] for rows in sets]
    return [100 * float(values.mean()) if len(values) else math.nan for values in found]


if __name__ == "__main__":
    main()
