"""What a run's numbers depend on: one run again and again with other flags, compared bit for bit.

    python benchmarks/equality.py --data_dir data [--methods pretrain miu] [--rows 500] [main.py arguments]

Flags that say how to compute (workers, the cache of decoded images, looks at the validation set) must change nothing.
--compile and another number of threads may add up in another order; the table says how far that goes.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from jobs import run, with_models
from side_by_side import machine

from utils.tables import align

FLAGS = {
    "no worker": ["--num_workers", "0"],
    "2 workers": ["--num_workers", "2"],
    "--cache ram": ["--cache", "ram"],
    "--cache disk": ["--cache", "disk"],
    "--evaluate_every 1": ["--evaluate_every", "1"],
    "--save_every 1": ["--save_every", "1"],
    "1 thread": ["--threads", "1"],
    "--compile": ["--compile"],
}
COSTS = ("seconds", "speedup", "peak_memory_bytes")  # of a run, not its result


def numbers(values: object, name: str = "") -> dict[str, float]:
    """Every number in metrics.json by its place in it."""
    if isinstance(values, dict):
        found = {}
        for key, value in values.items():
            if key not in COSTS:
                found |= numbers(value, f"{name}.{key}")
        return found
    if isinstance(values, list):
        return numbers(dict(enumerate(values)), name)
    return {name: float(values)} if isinstance(values, (int, float)) and not isinstance(values, bool) else {}


def row_of(name: str, base: Path, other: Path) -> tuple[str, ...]:
    """How far weights, logits and metrics of two runs' folders are apart."""
    weights = [torch.load(folder / "model.pt", weights_only=True)["model"] for folder in (base, other)]
    apart = max(float((weights[0][key].double() - weights[1][key].double()).abs().max()) for key in weights[0])
    records = [dict(np.load(folder / "records.npz")) for folder in (base, other)]
    logits = float(np.abs(records[0]["logits"].astype(float) - records[1]["logits"]).max())
    predictions = np.count_nonzero(records[0]["prediction"] != records[1]["prediction"])
    metrics = [numbers(json.loads((folder / "metrics.json").read_text())) for folder in (base, other)]
    gaps = {key: abs(metrics[0][key] - metrics[1][key]) for key in metrics[0].keys() & metrics[1].keys()}
    differing = sum(gap > 0 for gap in gaps.values()) + len(metrics[0].keys() ^ metrics[1].keys())
    return (
        name,
        f"{apart:.1e}" if apart else "0",
        f"{logits:.1e}" if logits else "0",
        f"{predictions} of {len(records[0]['prediction'])}",
        f"{differing} of {len(gaps)}",
        *(f"{gaps[f'.{key}']:.2g}" for key in ("test_acc", "forget_acc") if f".{key}" in gaps),
    )


def main() -> None:
    """Run and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="a folder with fairface/")
    parser.add_argument("--methods", nargs="+", default=["scrub", "miu"])
    parser.add_argument("--image_size", default="64")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--epochs", default="2")
    wanted, extra = parser.parse_known_args()
    heads = ("flags", "weights", "logits", "predictions", "metrics", "TA", "UA")
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        common = with_models(wanted.data_dir, Path(folder), wanted.rows, wanted.image_size, extra)
        for method in wanted.methods:
            words = ["--method", method, "--epochs", wanted.epochs, "--lr", "0.01", *common]
            runs = {}
            for number, flags in enumerate([[], *FLAGS.values()]):
                run([*words, *flags, "--tag", f"v{number}"])
                runs[number] = next(Path(folder).glob(f"output/**/{method}-v{number}_*/done")).parent
            rows = [row_of(name, runs[0], runs[number]) for number, name in enumerate(FLAGS, 1)]
            print(f"\n{method}: differences from the run without these flags")
            print(align(heads, rows, left=1), flush=True)


if __name__ == "__main__":
    main()
