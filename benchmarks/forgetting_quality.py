"""Time and memory of forgetting quality, KLoM, IAM and noise floors, of made-up runs with as many samples as CelebA.

    python benchmarks/forgetting_quality.py [--samples 160000 --forget 50000] [--runs 32]

So many runs of one original and as many retrained ones, with two classes and four groups, lie in a temporary folder;
everything is read from their files. Timed is `scripts.audit.quality.examine` in a process of its own, in seconds of its
processor, so that what runs beside it counts little. Its peak memory is that of all resident pages, with libraries.
With --runs 32 the folder takes 1.1 GB.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from side_by_side import machine

from datasets.splits import Splits, forget_fingerprint, save_splits
from method.evaluation.evaluator import evaluate
from method.evaluation.records import Records
from method.runs.folder import RECORDS, SPLITS
from method.runs.stored import StoredRun
from scripts.audit.quality import examine
from utils.tables import align

NAMES = ("0, 0", "0, 1", "1, 0", "1, 1")
DATA = "made up"
KINDS = {"forgetting": "forgetting quality and score", "klom": "KLoM", "iam": "IAM"}
FLOORS = "noise floors"


def make_runs(root: Path, n: int, n_forget: int, n_runs: int) -> list[StoredRun]:
    """One original with so many unlearned runs, and so many retrained ones; half of the samples are train's."""
    rows, half = np.arange(n), n // 2
    n_forget = min(n_forget, half - 1)
    train, val, test = rows[:half], rows[half : half + n // 4], rows[half + n // 4 :]
    forget = train[:n_forget]
    splits = Splits(train, val, test, forget, train[n_forget:], (0, 1, 2, 3), DATA, forget_fingerprint(DATA, forget))
    whole = replace(splits, forget=train[:0], retain=train, forget_fingerprint=None)
    base, split = np.random.default_rng(0).normal(2, 2, n), np.repeat([0, 1, 2], [len(train), len(val), len(test)])
    seeds = [("pretrain", seed, seed) for seed in range(2)]
    seeds += [("retrain", seed, seed) for seed in range(n_runs)] + [("ft", seed, 0) for seed in range(n_runs)]
    metrics, runs = None, []
    for number, (method, seed, train_seed) in enumerate(seeds):
        phi = base + np.random.default_rng(number).normal(0, 1, n)
        phi[forget] += {"pretrain": 3, "retrain": 0, "ft": 0.5}[method]
        logits = np.zeros((n, 2), dtype=np.float32)
        logits[rows, rows % 4 // 2] = phi
        records = Records.from_logits(rows, split, rows % 4 // 2, rows % 2, rows % 4, logits)
        folder = root / str(number)
        folder.mkdir()
        records.save(folder / RECORDS)
        own = whole if method == "pretrain" else splits
        save_splits(folder / SPLITS, own)
        if method == "retrain":
            metrics = metrics or evaluate(records, splits, NAMES, 2, 2, repeated_attacks=False)
        runs.append(stored_run(folder, method, seed, train_seed, metrics or {}, own))
    return runs


def stored_run(folder: Path, method: str, seed: int, train_seed: int, metrics: dict, splits: Splits) -> StoredRun:
    """What would be read from its files."""
    config = {"dataset": "made_up", "model": "small", "image_size": 8, "weights": "none", "unlearning_ratio": 0.5}
    config |= {"method": method, "seed": seed, "train_seed": train_seed}
    fingerprints = {"data": DATA, "forget": splits.forget_fingerprint}
    groups = {"names": NAMES, "n_targets": 2, "n_sensitive": 2, "forget": list(splits.forget_groups)}
    stored = {"config": config, "task": "split0", "reweights_by_default": False}
    stored |= {"fingerprints": fingerprints, "groups": groups}
    return StoredRun(folder, config, stored, metrics, marked=True)


def measure(runs: Sequence[StoredRun]) -> tuple[dict[str, float], int]:
    """Seconds by what was computed, with its reading, and the peak of the process's memory in bytes."""
    spent: dict[str, float] = {}
    last = time.process_time()
    for finding in examine(runs):
        kind = KINDS.get(finding.measure.split("_")[0], FLOORS)
        now = time.process_time()
        spent[kind], last = spent.get(kind, 0.0) + now - last, now
    unit = 1 if sys.platform == "darwin" else 1024
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Make, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, size in (("samples", 160_000), ("forget", 50_000), ("runs", 32)):
        parser.add_argument(f"--{name}", type=int, default=size)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = make_runs(Path(folder), wanted.samples, wanted.forget, wanted.runs)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            spent, peak = pool.submit(measure, runs).result()
    print(f"{wanted.samples:,} samples, {wanted.forget:,} forgotten, {wanted.runs} + {wanted.runs} runs, three labels")
    print(machine())
    rows = [(kind, f"{seconds:.1f}") for kind, seconds in spent.items()]
    rows.append(("all", f"{sum(spent.values()):.1f}"))
    print(align(("", "CPU seconds"), rows))
    print(f"peak memory {peak / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
