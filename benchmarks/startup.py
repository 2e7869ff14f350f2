"""Seconds until main.py answers what needs no training, against `python -c "import torch"`.

    python benchmarks/startup.py [--rows 202599]

--dry_run reads made-up label files in CelebA's layout with as many rows as CelebA has, and "already done" compares them
with those of a finished run: by their digests, which are remembered, and where files are others by their rows.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from made_up import celeba_labels
from side_by_side import REPETITIONS, ROOT, machine, measure_in_turn, table

from method.configs.cli import parse
from method.configs.loading import Config
from method.runs.data import read_data
from method.runs.directory import RunDirectory
from method.runs.folder import MODEL, RECORDS, SPLITS, folder_of
from method.runs.inputs import identity_of, label_record, open_digests
from method.runs.run_log import describe_run
from utils.digests import SETTLED_NS

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
        faces = ["--method", "pretrain", "--dataset", "celeba", "--data_dir", folder]
        time.sleep(SETTLED_NS / 1e9)  # until then label files may change unnoticed, and are not remembered
        for name, same in (("finished", True), ("other", False)):
            finish(parse([*faces, "--store_dir", f"{folder}/{name}"]).config, same)
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
            f"already done, {wanted.rows:,} rows": (MAIN, *faces, "--store_dir", f"{folder}/finished"),
            "the same with label files that are others, row by row": (MAIN, *faces, "--store_dir", f"{folder}/other"),
            "scripts.sweep --list": ("-m", "scripts.sweep", "scripts/grids/digits.yaml"),
        }
        found = measure_in_turn({name: command(words) for name, words in commands.items()}, wanted.repetitions)
    print(machine())
    print(table(found))
    base = found["import torch"]
    for name in list(found)[1:]:
        more = sorted(mine - theirs for mine, theirs in zip(found[name], base, strict=True))
        print(f"{name}: {more[len(more) // 2]:+.2f} s beside it ({more[0]:+.2f} to {more[-1]:+.2f})")


def finish(config: Config, same_files: bool) -> None:
    """What a finished run leaves behind, without training. same_files: or label files with the same rows."""
    directory, data, digests = (
        RunDirectory(folder_of(config, config.store_dir)),
        read_data(config),
        open_digests(config),
    )
    directory.path.mkdir(parents=True)
    inputs = label_record(config, digests)
    inputs["labels"] = inputs["labels"] if same_files else dict.fromkeys(inputs["labels"], "another")
    record = describe_run(config, data, identity_of(config, digests))
    provenance = {"threads": torch.get_num_threads()}
    directory.begin(config, {**record, "provenance": provenance, "inputs": inputs}, overwrite=False)
    for name in (MODEL, RECORDS, SPLITS):
        directory.file(name).touch()
    directory.finish({})
    digests.keep()


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
