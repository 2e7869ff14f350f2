"""Whole runs of main.py, each in a process of its own as a person starts it, and where their seconds go."""

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from jobs import SHARE_OF_TEST
from made_up import fairface_cut

from scripts.acceptance import ROOT
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Row, Rows, figure, guarded, reason, verdict

JOBS = ("pretrain", "retrain", "retrain --reweight", "miu", "salun", "scrub", "l1_sparse")
QUICK_JOBS = ("pretrain", "retrain --reweight", "miu")
FACES = (
    "--dataset fairface --image_size 224 --no-pretrained --batch_size 32 --epochs 2 --lr 0.01 --unlearning_ratio 0.5"
)
DIGITS = "--dataset digits --unlearning_ratio 0.9"
QUICK_FACES, MOST_FACES = 300, 6000  # of which one in five is for the test set
SHOWN = ("start", "reading", "training", "evaluation", "saving")


def rows(options: Options) -> Rows:
    """A row a run; those that unlearn need the first."""
    with tempfile.TemporaryDirectory() as folder:
        words = DIGITS
        if options.data_dir is None:
            yield figure("images", "digits, drawn by the program", "no --data_dir was given")
        else:
            words, n = f"{FACES} --data_dir {folder}", QUICK_FACES if options.quick else MOST_FACES
            fairface_cut(options.data_dir, Path(folder), n - n // SHARE_OF_TEST, n // SHARE_OF_TEST)
            yield figure("images", f"the first {n:,} faces at most, 224 px, 2 epochs" if not options.quick else "faces")
        if options.quick:
            words = words.replace("--image_size 224", "--image_size 32 --model small_cnn").replace("--epochs 2", "")
            words += " --epochs 1"
        for job in QUICK_JOBS if options.quick else JOBS:
            flags = [*words.split(), "--device", options.device]
            yield from guarded(job, partial(timed, job, flags, Path(folder)))


def timed(job: str, words: list[str], folder: Path) -> Row:
    """Run a job to its end; a row with its seconds and where they went."""
    clocks = folder / "clocks.json"
    clocks.unlink(missing_ok=True)
    command = [sys.executable, "-m", "scripts.acceptance.clocked", str(clocks), "--method", *job.split(), *words]
    start = time.monotonic()
    done = subprocess.run([*command, "--store_dir", str(folder / "output")], cwd=ROOT, capture_output=True, text=True)
    seconds = time.monotonic() - start
    print(f"== {job}\n{done.stdout}{done.stderr}", flush=True)
    if done.returncode or not clocks.exists():
        said = reason(done.stdout + done.stderr)
        return verdict(job, False, f"ended with {done.returncode} after {seconds:.0f} s", said)
    parts = json.loads(clocks.read_text())
    told = [f"{name} {parts.get(name, 0):.1f}" for name in SHOWN]
    rest = seconds - sum(parts.get(name, 0) for name in SHOWN)
    return verdict(job, True, f"{seconds:.1f} s", ", ".join([*told, f"the rest {rest:.1f}"]))
