"""Learning rates of one method on `digits`, compared by what validation data and the train set show; no test column.

    python benchmarks/tune.py METHOD LR [LR ...] [--seeds 10 11 12] [--store_dir DIR] [-- main.py arguments]

For every rate the mean distance to the retrained model in accuracy on R, on F, on V and on V's samples of the forget
groups, over the seeds; the runs, and what they start from, are kept in --store_dir.
"""

import argparse
import contextlib
import io
import shlex
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import main as program  # noqa: E402
from datasets.splits import load_splits  # noqa: E402
from method.comparison import reference_reweights  # noqa: E402
from method.configs.cli import parse  # noqa: E402
from method.evaluation.records import Records  # noqa: E402
from method.rundir import directory_of  # noqa: E402


def main() -> None:
    """One line a rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("rates", nargs="+", metavar="LR")
    parser.add_argument("--seeds", nargs="+", default=["10", "11", "12"])
    parser.add_argument("--store_dir", default="output")
    own = sys.argv[1:]
    own, arguments = (own[: own.index("--")], own[own.index("--") + 1 :]) if "--" in own else (own, [])
    options = parser.parse_args(own)
    common = f"--dataset digits --unlearning_ratio 0.9 --threads 1 --store_dir {shlex.quote(options.store_dir)}"
    common = shlex.split(f"{common} --checkpoint_dir {shlex.quote(options.store_dir)}") + arguments
    references = [reference(options.method, [*common, "--seed", seed]) for seed in options.seeds]
    print("lr: distance; RA, UA, val, val of the forget group", flush=True)
    print(f"retrained: {shown(np.mean(references, axis=0))}", flush=True)
    for rate in options.rates:
        words = ["--method", options.method, *common, "--lr", rate, "--tag", f"lr{rate}", "--seed"]
        found = [accuracies([*words, seed]) for seed in options.seeds]
        if any(one is None for one in found):
            print(f"{rate}: failed", flush=True)
            continue
        distance = np.abs(np.array(found) - np.array(references)).mean()
        print(f"{rate}: {distance:.1f}; {shown(np.mean(found, axis=0))}", flush=True)


def shown(values: np.ndarray) -> str:
    """Percentages."""
    return ", ".join(f"{value:.1f}" for value in values)


def reference(method: str, common: list[str]) -> list[float]:
    """The accuracies of the retrained model of a seed, which is made, as is the pretrained one, where it is missing."""
    assert accuracies(["--method", "pretrain", *common], judge=False) is not None
    config = parse(["--method", method, *common]).config
    found = accuracies(["--method", "retrain", *common, *["--reweight"] * reference_reweights(config)])
    assert found is not None
    return found


def accuracies(words: list[str], judge: bool = True) -> list[float] | None:
    """Percent right on R, F, V, and V's samples of the forget groups; None for a run that failed."""
    config = parse(words).config
    with contextlib.redirect_stdout(io.StringIO()):  # what a run prints has columns of the test set
        code = program.main(words)
    if code:
        if code == 1:
            return None
        raise SystemExit(code)
    if not judge:
        return []
    folder = directory_of(config, config.store_dir)
    records, splits = Records.load(folder / "records.npz"), load_splits(folder / "splits.npz")
    of_forget_groups = records.index[np.isin(records.group, splits.forget_groups)]
    sets = splits.retain, splits.forget, splits.val, np.intersect1d(splits.val, of_forget_groups)
    return [100 * float(records.correct[np.isin(records.index, rows)].mean()) for rows in sets]


if __name__ == "__main__":
    main()
