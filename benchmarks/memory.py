"""Peak memory of whole runs on 20,000 and on 200,000 images, and how many bytes a sample adds.

    python benchmarks/memory.py [--rows 20000 200000] [--methods pretrain retrain miu] [main.py arguments]

Made-up labels in CelebA's layout; every image is the same small JPEG under a name of its own. Counted is the
proportional set size of the run's process and its workers together (pages that they share count once), sampled, without
pages of files: those are libraries, the same for any data, and 100 MiB of them come and go as they are used.
The runs leave the published membership attack out; a last row gives the same for it alone, in a process that does
nothing else. Linux only: it reads /proc.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import torch
from made_up import celeba_labels
from side_by_side import ROOT, machine, with_extra
from torchvision.io import write_jpeg

from datasets.celeba import IMAGES
from utils.tables import align

COMMON = "--dataset celeba --model small_cnn --image_size 32 --no-pretrained --epochs 1 --batch_size 512 --threads 1"
PAUSE = 0.1  # seconds between samples
WITHOUT_ATTACK = """
import sys
from method.evaluation import membership, metrics
def left_out(*losses):
    raise metrics.Undefined("left out of this measurement")
membership.published_attack = left_out
import main
sys.exit(main.main(sys.argv[1:]))
"""
ATTACK_ALONE = """
import sys
import numpy as np
from method.evaluation.membership import published_attack
n, draw = int(sys.argv[1]), np.random.default_rng(0)
sets = (0.2, 0.76), (0.35, 0.1), (0.3, 0.04), (0.35, 0.1)  # mean loss and share of the samples of R, V, F, T
published_attack(*(draw.exponential(scale, int(share * n)) for scale, share in sets))
"""


def make_data(root: Path, n: int) -> None:
    """Labels, and as many hard links to one image; a file system allows only some of them to each."""
    names = celeba_labels(root, n)
    folder = root / "celeba" / IMAGES
    image = torch.randint(256, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for number, name in enumerate(names):
        if number % 10_000 == 0:
            source = folder / name
            write_jpeg(image, str(source))
        else:
            os.link(source, folder / name)


def peak_bytes(code: str, words: list[str]) -> int:
    """The largest sum over a Python process with this code and its workers while it runs; SystemExit where it fails."""
    command = [sys.executable, "-c", code, *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr))
    reader.start()
    peak = 0
    while True:
        try:
            process.wait(PAUSE)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, sum(map(proportional_bytes, family(process.pid))))
    reader.join()
    if process.returncode:
        raise SystemExit("".join(lines))
    return peak


def family(pid: int) -> list[int]:
    """A process and those it has started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def proportional_bytes(pid: int) -> int:
    """PSS of what is no file; 0 where the process has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=(20_000, 200_000))
    parser.add_argument("--methods", nargs="+", default=["pretrain", "retrain", "miu"])
    parser.add_argument("--repetitions", type=int, default=3)
    wanted, extra = parser.parse_known_args()
    peaks: dict[str, list[int]] = {}
    for n in wanted.rows:
        found: dict[str, list[int]] = {}
        with tempfile.TemporaryDirectory() as folder:
            make_data(Path(folder), n)
            common = with_extra([*COMMON.split(), "--data_dir", folder], extra)
            for repetition in range(wanted.repetitions):
                for method in wanted.methods:
                    words = ["--method", method, *common, "--store_dir", f"{folder}/output{repetition}"]
                    found.setdefault(method, []).append(peak_bytes(WITHOUT_ATTACK, words))
                    print(f"  {method}, {n:,} rows: {found[method][-1] / 2**20:,.0f} MiB", flush=True)
        found["published attack alone"] = [peak_bytes(ATTACK_ALONE, [str(n)]) for _ in range(wanted.repetitions)]
        for name, values in found.items():
            peaks.setdefault(name, []).append(int(statistics.median(values)))
    few, many = wanted.rows
    rows = [
        (method, *(f"{peak / 2**20:,.0f}" for peak in found), f"{(found[1] - found[0]) / (many - few):,.0f}")
        for method, found in peaks.items()
    ]
    print(machine())
    print(align(("run", f"MiB, {few:,}", f"MiB, {many:,}", "bytes a sample"), rows, left=1))


if __name__ == "__main__":
    main()
