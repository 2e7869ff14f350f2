"""What the per-example attacks cost, and how often their intervals hold the truth.

    python benchmarks/audit.py [--samples 160000 --runs 32 --share 0.2] [--repetitions 200] [--only time|coverage]

Time: made-up records of `runs` originals, retrained and unlearned models, which forget `share` of train at random, are
written to a temporary folder; `python -m scripts.audit` reads them in a process of its own.

Coverage: phi is normal, and besides the noise of each sample (sd 1) all samples of a model move together. The truth is
the mean over the repetitions. Cells: in how many per cent of them an interval holds it, and half its mean width in
points. Beside it draws of whole runs with the scores as they are, which are not used.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from scipy.special import ndtr, stdtrit
from side_by_side import ROOT, machine

from datasets.splits import Splits, forget_fingerprint, save_splits
from method.evaluation.membership import auc, tpr_at
from method.evaluation.over_runs import blocks, d_prime, interval
from method.evaluation.per_example import Scores, Side, attack, gaussian
from method.evaluation.records import Records

METHODS = {"pretrain": 3.0, "retrain": 0.0, "salun": 1.0}  # how much a forgotten sample's phi is raised
# The peak of a process alone, without that of the process that started it, in KiB. Linux only.
AUDIT = """
import re, sys, time
from pathlib import Path
from scripts.audit.command import main
main(sys.argv[1:])
print(time.process_time(), re.search(r"VmHWM:\\s*([0-9]+)", Path("/proc/self/status").read_text())[1])
"""
N_DRAWS = 400
# runs, shift of forgotten samples, of the whole group, sd of what moves all samples of a model, share forgotten
CASES = (
    (8, 0.0, 0.0, 0.0, 0.9),
    (8, 0.0, 0.0, 0.3, 0.9),
    (8, 1.0, 0.0, 0.3, 0.9),
    (32, 0.0, 0.0, 0.3, 0.9),
    (32, 0.0, 1.0, 0.3, 0.9),
    (32, 1.0, 0.0, 0.3, 0.9),
    (32, 0.5, 0.5, 0.3, 0.2),
    (100, 0.5, 0.5, 0.3, 0.9),
)
N_SAMPLES = 150
LIMITS = {"excess": (-100.0, 100.0), "excess d'": (-np.inf, np.inf)}


def make_runs(root: Path, n: int, n_runs: int, share: float) -> None:
    """Every run with its records and splits; four groups, a tenth each val and test."""
    rows, draw = np.arange(n), np.random.default_rng(0)
    split = np.repeat([0, 1, 2], [n - 2 * (n // 10), n // 10, n // 10])
    group, of_sample = draw.integers(0, 4, n), draw.normal(1, 2, n)
    train, val, test = (np.flatnonzero(split == code) for code in range(3))
    for seed in range(n_runs):
        data = f"data{seed}"
        chosen = np.sort(draw.choice(train, int(share * len(train)), replace=False))
        for method, lift in METHODS.items():
            forget = train[:0] if method == "pretrain" else chosen
            fingerprint = None if method == "pretrain" else forget_fingerprint(data, forget)
            splits = Splits(
                train, val, test, forget, np.setdiff1d(train, forget), tuple(np.unique(group[forget]).tolist()),
                data, fingerprint,
            )  # fmt: skip
            phi = of_sample + draw.normal(0, 0.2) + draw.normal(0, 1, n)
            phi[np.setdiff1d(train, chosen)] += 3
            phi[chosen] += lift
            folder = root / f"{method}_{seed}"
            folder.mkdir(parents=True)
            logits = np.zeros((n, 2))
            logits[rows, group // 2] = phi
            Records.from_logits(rows, split, group // 2, group % 2, group, logits).save(folder / "records.npz")
            save_splits(folder / "splits.npz", splits)
            write_small_files(folder, method, seed, share, splits)


def write_small_files(folder: Path, method: str, seed: int, share: float, splits: Splits) -> None:
    config = {"method": method, "dataset": "made", "model": "small", "image_size": 32, "weights": "none"}
    config |= {"unlearning_ratio": share, "seed": seed, "tag": "", "reference": "auto", "preset": "strict"}
    config |= {} if method == "pretrain" else {"reweight": False}
    stored = {
        "config": config,
        "identity": config,
        "task": "random",
        "reweights_by_default": False,
        "fingerprints": {"data": splits.data_fingerprint, "forget": splits.forget_fingerprint},
        "groups": {"names": list("abcd"), "n_targets": 2, "n_sensitive": 2, "forget": list(splits.forget_groups)},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    (folder / "metrics.json").write_text('{"schema": 2, "reasons": {}}')
    (folder / "done").touch()


def time_command(n: int, n_runs: int, share: float) -> str:
    """Seconds and peak memory of the command on made-up runs."""
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder), n, n_runs, share)
        command = [sys.executable, "-c", AUDIT, folder, "--out", f"{folder}/found.json", "--groups"]
        start = time.perf_counter()
        told = subprocess.run(
            command, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        seconds = time.perf_counter() - start
    processor, peak = map(float, told.stdout.split()[-2:])
    return (
        f"{n:,} samples, {n_runs} runs each of {', '.join(METHODS)}, {100 * share:g} % of train forgotten:"
        f" {seconds:.0f} s ({processor:.0f} s of processor time), {peak / 2**20:.2f} GiB"
    )


def simulate(case: tuple, draw: np.random.Generator) -> tuple[Side, Side, Side, Side]:
    """Unlearned and retrained models on forgotten samples, and on as many held-out ones."""
    n_runs, lift, of_group, together, share = case
    forgot = draw.random((n_runs, N_SAMPLES)) < share
    moved = [of_group + draw.normal(0, together, (n_runs, 1)), draw.normal(0, together, (n_runs, 1))]
    sides = []
    for own in (lift, 0.0):
        of_sample = draw.normal(0, 2, N_SAMPLES)
        for shift, move in zip((own, 0.0), moved, strict=True):
            phi = of_sample + shift + move + draw.normal(0, 1, (n_runs, N_SAMPLES))
            sides.append(Side(phi, forgot, forgot))
    return sides[0], sides[1], sides[2], sides[3]


def statistics_of(sides: tuple[Side, ...]) -> tuple[dict[str, float], tuple[Scores, Scores]]:
    scores, placebo = attack(sides[0], sides[1], gaussian), attack(sides[2], sides[3], gaussian)
    own, other = (auc(*(side.ratio for side in both)) for both in (scores, placebo))
    rate = tpr_at(*(side.ratio for side in scores), 100)
    n_pairs = len(scores[0].ratio) * len(scores[1].ratio)
    apart = d_prime(own, n_pairs) - d_prime(other, n_pairs)
    return {"AUC": own, "TPR@1%": rate, "excess": own - other, "excess d'": apart}, scores


def half_by_draws(scores: tuple[Scores, Scores], n_runs: int) -> float:
    """Half the width for the AUC where runs are drawn with all their scores, and the scores stay."""
    positive, negative = ([side.ratio[side.run == run] for run in range(n_runs)] for side in scores)
    wins = np.array([[auc(one, other) * len(one) * len(other) for other in negative] for one in positive])
    sizes = np.array([[len(one) * len(other) for other in negative] for one in positive])
    drawn = np.random.default_rng(0).multinomial(n_runs, np.full(n_runs, 1 / n_runs), N_DRAWS)
    values = np.einsum("dm,mk,dk->d", drawn, wins, drawn) / np.einsum("dm,mk,dk->d", drawn, sizes, drawn)
    return float(stdtrit(n_runs - 1, 0.975) * values.std() * np.sqrt(n_runs / (n_runs - 1)))


def coverage_rows(repetitions: int) -> Iterator[list[str]]:
    for number, case in enumerate(CASES):
        n_runs, lift, of_group, together, share = case
        draw = np.random.default_rng(number)
        values, ends, fixed = [], [], []
        for _ in range(repetitions):
            sides = simulate(case, draw)
            value, scores = statistics_of(sides)
            again = [
                statistics_of(tuple(Side(*(own[left] for own in side)) for side in sides))[0] for left in blocks(n_runs)
            ]
            values.append(list(value.values()))
            ends.append(
                [
                    interval(one, [other[key] for other in again], *LIMITS.get(key, (0.0, 100.0)))
                    for key, one in value.items()
                ]
            )
            fixed.append(half_by_draws(scores, n_runs))
        truth, found = np.mean(values, axis=0), np.array(ends)
        held = 100 * np.mean((found[..., 0] <= truth) & (truth <= found[..., 1]), axis=0)
        half = np.mean(found[..., 1] - found[..., 0], axis=0) / 2
        drawn = 100 * np.mean(np.abs(np.array(values)[:, 0] - truth[0]) <= np.array(fixed))
        known = 100 * ndtr((lift + of_group) / np.sqrt(2 + 2 * together**2))
        cells = [f"{mean:.1f}: {own:.0f} ({width:.1f})" for mean, own, width in zip(truth, held, half, strict=True)]
        cells[-1] = f"{truth[-1]:.2f}: {held[-1]:.0f} ({half[-1]:.2f})"
        yield [
            f"{lift:g}", f"{of_group:g}", f"{together:g}", f"{share:g}", str(n_runs), f"{known:.1f}", *cells,
            f"{drawn:.0f}",
        ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=160_000)
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--only", choices=("time", "coverage"), default="")
    wanted = parser.parse_args()
    print(machine())
    if wanted.only != "coverage":
        print(time_command(wanted.samples, wanted.runs, wanted.share), flush=True)
    if wanted.only != "time":
        head = [
            *("shift of F", "of the group", "sd of a model", "share", "runs", "AUC if known"),
            *("AUC", "TPR@1%", "excess", "excess d'", "AUC, by draws"),
        ]
        print(f"mean: held in per cent of {wanted.repetitions} (half width); the last column: held")
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in coverage_rows(wanted.repetitions):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
