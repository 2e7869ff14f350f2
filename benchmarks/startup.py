"""Seconds until main.py answers what needs no training, against `python -c "import torch"`.

    python benchmarks/startup.py [--rows 202599]

--dry_run reads made-up label files in CelebA's layout with as many rows as CelebA has.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from made_up import celeba_labels
from side_by_side import REPETITIONS, ROOT, machine, measure_in_turn, table

MAIN = str(ROOT / "main.py")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=202_599)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        celeba_labels(Path(folder), wanted.rows)
        store = ["--store_dir", f"{folder}/output", "--data_dir", folder]
        digits = ["--method", "pretrain", "--epochs", "1", *store]
        python(MAIN, *digits)  # to be "already done"
        commands = {
            "import torch": ("-c", "import torch"),
            "--help": (MAIN, "--help"),
            "--print_config": (MAIN, "--method", "miu", "--dataset", "celeba", "--print_config"),
            f"--dry_run, {wanted.rows:,} rows": (
                MAIN,
                "--method",
                "retrain",
                "--dataset",
                "celeba",
                *store,
                "--dry_run",
            ),
            "already done": (MAIN, *digits),
            "utils.sweep --list": ("-m", "utils.sweep", "scripts/grids/digits.yaml"),
        }
        found = measure_in_turn({name: command(words) for name, words in commands.items()}, wanted.repetitions)
    print(machine())
    print(table(found))
    base = found["import torch"]
    for name in list(found)[1:]:
        more = sorted(mine - theirs for mine, theirs in zip(found[name], base, strict=True))
        print(f"{name}: {more[len(more) // 2]:+.2f} s beside it ({more[0]:+.2f} to {more[-1]:+.2f})")


def command(words: tuple[str, ...]):
    """A side that runs Python with these words."""
    return lambda: python(*words)


def python(*words: str) -> None:
    """Run it in the project's folder, its output thrown away; SystemExit where it fails."""
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    main()
