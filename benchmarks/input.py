"""Images a second from JPEG files to normalised batches, against PIL, on one core.

    python benchmarks/input.py --data_dir data [--image_size 224] [--rows 1000]

All end with the same: float32 batches, channels-last, normalised; but for "to bytes", which is what a worker does where
a GPU normalises. Without workers, so that one core does it all.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from baseline import evaluation_transform, pil_loader, training_transform
from side_by_side import REPETITIONS, machine, measure_in_turn, table

from datasets.base import TRAIN
from datasets.fairface import FairFace
from datasets.images.cache import ram_cache
from datasets.images.decoding import read_image
from datasets.images.normalisation import normalise
from datasets.loading.loaders import Loader

BATCH_SIZE = 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="a folder with fairface/")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    data = FairFace.load(wanted.data_dir, 0, 0)
    rows = np.flatnonzero(data.split == TRAIN)[: wanted.rows]
    size = wanted.image_size
    # The cache holds these rows alone, so that little memory is enough.
    few = data.without(np.setdiff1d(np.arange(len(data)), rows))
    plain, kept = Loader(data, size, 0, False), Loader(few, size, 0, False, ram_cache(few))

    def ours(augment_seed: int | None, loader: Loader = plain, rows: np.ndarray = rows, floats: bool = True) -> None:
        for batch in loader.batches(rows, BATCH_SIZE, augment_seed):
            if floats:
                normalise(batch["image"], torch.channels_last)

    def pil(transform) -> None:
        for image, *_ in pil_loader(data, rows, transform, BATCH_SIZE, 0):
            image.contiguous(memory_format=torch.channels_last)

    def decode() -> None:
        for row in rows:
            read_image(str(data.file(row)))

    views = {
        "training view": {
            "PIL": lambda: pil(training_transform(size)),
            "ours": lambda: ours(0),
            "ours, to bytes": lambda: ours(0, floats=False),
            "ours, --cache ram": lambda: ours(0, kept, np.arange(len(few))),
            "decoding alone": decode,
        },
        "evaluation view": {
            "PIL": lambda: pil(evaluation_transform(size)),
            "ours": lambda: ours(None),
            "ours, to bytes": lambda: ours(None, floats=False),
            "ours, --cache ram": lambda: ours(None, kept, np.arange(len(few))),
        },
    }
    print(f"FairFace, 224 x 224 JPEG to {size} px, {wanted.rows:,} images, batches of {BATCH_SIZE}, one core")
    print(machine())
    for name, sides in views.items():
        for side in sides.values():
            side()  # brings the files into the system's memory
        print(f"\n{name}\n{table(measure_in_turn(sides, wanted.repetitions), wanted.rows, 'images')}")


if __name__ == "__main__":
    main()
