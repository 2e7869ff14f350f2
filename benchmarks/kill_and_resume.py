"""Kill every method again and again, go on each time, and compare with a run that was left alone.

    python benchmarks/kill_and_resume.py [--kills 10] [--epochs 20] [--seed 0] [--run NAME] [-- main.py arguments]

SIGKILL comes at random moments: one in four while a start reads its data and its saved state, the others after it has
saved anew, at times that together cover more than half of the run on average. Model, records, history and metrics must
be equal to the last bit, times and memory apart; exit code 1 where they are not.
"""

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
TIMES = ("seconds", "peak_memory_bytes", "speedup")
VARIANTS = ("pretrain", "retrain", "retrain --reweight", "miu", "salun", "scrub --scrub_rewind", "l1_sparse")


def main() -> int:
    """Every method in turn; a line of a table each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    only = "these alone (default: all); unlearning needs pretrain first"
    parser.add_argument("--run", action="append", choices=VARIANTS, help=only)
    parser.add_argument("arguments", nargs="*", help="for main.py")
    options = parser.parse_args()
    moments, unequal = random.Random(options.seed), 0
    places_named = "state before the first epoch, in mid-epoch, between epochs"
    print(f"| run | seconds alone | kills | {places_named} | bit-equal |", flush=True)
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        straight, killed = Path(folder, "straight"), Path(folder, "killed")
        for variant in options.run or VARIANTS:
            words = [*f"--dataset digits --unlearning_ratio 0.9 --threads 1 --epochs {options.epochs}".split()]
            words = ["--method", *variant.split(), *words, "--save_every", "7", *options.arguments]
            begin, train = run_alone(words, straight)
            places = run_killed(words, killed, straight, (begin, train), options.kills, moments)
            differing = differences(straight, killed)
            unequal += bool(differing)
            verdict = "yes" if not differing else f"NO: {', '.join(differing)}"
            print(f"| `{variant}` | {begin + train:.1f} | {len(places)} | {tally(places)} | {verdict} |", flush=True)
    return int(unequal > 0)


def command(words: list[str], store: Path, checkpoints: Path) -> list[str]:
    """The command line; pretrained and retrained runs come from the folder of undisturbed runs."""
    folders = ["--store_dir", str(store), "--checkpoint_dir", str(checkpoints)]
    return [sys.executable, str(ROOT / "main.py"), *words, *folders]


def run_alone(words: list[str], store: Path) -> tuple[float, float]:
    """An undisturbed run; returns its seconds from the lock to the first saved state, and from there to the end."""
    process = subprocess.Popen(command(words, store, store), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for_lock(store, process)
    start = time.monotonic()
    wait_for_state(store, process, 0)
    saved = time.monotonic()
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(errors.decode())
    return saved - start, time.monotonic() - saved


def run_killed(
    words: list[str], store: Path, checkpoints: Path, alone: tuple[float, float], kills: int, moments: random.Random
) -> list[str]:
    """Start and kill `kills` times, then let it end; returns where it was each time."""
    begin, train = alone
    places = []
    for _ in range(kills):
        before = saved_at(store)
        process = subprocess.Popen(command(words, store, checkpoints), stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        wait_for_lock(store, process)
        if moments.random() < 0.25:
            time.sleep(moments.uniform(0, begin))
        else:
            wait_for_state(store, process, before)
            time.sleep(moments.uniform(0, 1.5 * train / kills))
        if process.poll() is not None:
            break  # it ended before its time had come
        process.kill()
        process.communicate()
        places.append(where(store))
    done = subprocess.run(command(words, store, checkpoints), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return places


def saved_at(store: Path) -> int:
    """When the unfinished run's state was last saved; 0 where there is none."""
    try:
        return max((file.stat().st_mtime_ns for file in store.rglob("last.pt")), default=0)
    except FileNotFoundError:  # just removed: the run is done
        return 0


def wait_for_state(store: Path, process: subprocess.Popen, before: int) -> None:
    """Until the state is saved anew, or the process has ended."""
    while process.poll() is None and saved_at(store) <= before:
        time.sleep(0.002)


def wait_for_lock(store: Path, process: subprocess.Popen) -> None:
    """Until the run's own process is at work, or has ended."""
    while process.poll() is None:
        for lock in store.rglob("lock"):
            text = lock.read_text() if lock.exists() else ""
            if f'"pid": {process.pid},' in text:
                return
        time.sleep(0.002)


def where(store: Path) -> str:
    """Where the saved state of the unfinished run is."""
    states = list(store.rglob("last.pt"))
    if not states:
        return "before"
    position = torch.load(states[0], weights_only=True)["position"]
    return "mid-epoch" if position["step"] else "between epochs"


def tally(places: list[str]) -> str:
    """How often each."""
    return ", ".join(str(places.count(place)) for place in ("before", "mid-epoch", "between epochs"))


def differences(straight: Path, killed: Path) -> list[str]:
    """Files of the run made last under `killed` that differ from the undisturbed one's."""
    folder = max(killed.rglob("done"), key=lambda file: file.stat().st_mtime_ns).parent
    other = straight / folder.relative_to(killed)
    found = []
    if metrics(folder) != metrics(other):
        found.append("metrics.json")
    if history(folder) != history(other):
        found.append("history.csv")
    ours, theirs = (torch.load(place / "model.pt", weights_only=True)["model"] for place in (folder, other))
    if list(ours) != list(theirs) or not all(torch.equal(ours[name], theirs[name]) for name in ours):
        found.append("model.pt")
    with np.load(folder / "records.npz") as ours, np.load(other / "records.npz") as theirs:
        if not all(np.array_equal(ours[name], theirs[name]) for name in theirs.files):
            found.append("records.npz")
    return found


def metrics(folder: Path) -> dict:
    """metrics.json without times."""
    return without_times(json.loads((folder / "metrics.json").read_text()))


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name not in TIMES}
    return value


def history(folder: Path) -> list[dict[str, str]]:
    """history.csv without times."""
    with (folder / "history.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


if __name__ == "__main__":
    sys.exit(main())
