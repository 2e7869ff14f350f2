"""How much of a method's variance is the training of its original, and how much is unlearning.

    python benchmarks/nested_seeds.py docs/results/digits_seeds.zip

Of runs with one forget seed, as many unlearning seeds of every train seed, it prints a line a method and metric: the
mean with its 95 % interval (Student's, over the train seeds), and both standard deviations with theirs.
"""

import argparse
import math
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from method.evaluation.metrics import Undefined  # noqa: E402
from method.evaluation.variance import Parts, nested_variance  # noqa: E402
from method.runs.labels import paper_name  # noqa: E402
from method.runs.stored import read_runs  # noqa: E402

KEYS = {"forget_group_acc": "GA", "forget_acc": "UA", "test_acc": "TA", "avg_gap": "Avg. Gap", "mia_auc": "MIA AUC"}


def parts_of(path: Path) -> dict[str, dict[str, Parts]]:
    """The parts of every metric of KEYS by method; those whose runs are not nested and balanced are left out."""
    found: dict[str, dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for run in sorted(read_runs(path), key=lambda run: run.place):
        for key in KEYS if run.metrics else ():
            if (value := run.metrics.get(key)) is not None:
                found[paper_name(run)][key][run.seeds.train].append(value)
    parts: dict[str, dict[str, Parts]] = defaultdict(dict)
    for name, own in found.items():
        for key, by_train in own.items():
            try:
                parts[name][key] = nested_variance(list(by_train.values()))
            except Undefined:
                continue
    return parts


def told(variance: float, ends: tuple[float, float]) -> str:
    """A standard deviation with its interval."""
    return f"{math.sqrt(variance):.1f} ({math.sqrt(ends[0]):.1f} to {math.sqrt(ends[1]):.1f})"


def main() -> None:
    """A line a method and metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a folder or zip of runs")
    print("| method | metric | mean | sd of training | sd of unlearning |\n|---|---|---|---|---|")
    for name, own in parts_of(parser.parse_args().path).items():
        for key, parts in own.items():
            low, high = parts.mean_ends
            mean = f"{parts.mean:.1f} ({low:.1f} to {high:.1f})"
            train, unlearn = told(parts.train, parts.train_ends), told(parts.unlearn, parts.unlearn_ends)
            print(f"| {name} | {KEYS[key]} | {mean} | {train} | {unlearn} |")


if __name__ == "__main__":
    main()
