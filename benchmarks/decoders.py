"""The decoder that runs use against others: equal pixels, and microseconds an image, on faces and birds.

    python benchmarks/decoders.py --data_dir data [--faces 2000] [--birds 500]

TorchCodec, torchvision's successor, is measured where it is installed (pip install torchcodec). One core, files in
memory; the fastest of --repetitions.
"""

import argparse
import importlib.util
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from side_by_side import machine

from datasets.base import GroupDataset
from datasets.fairface import FairFace
from datasets.images.decoding import _pixels
from datasets.images.headers import read_header
from datasets.waterbird import Waterbirds
from utils.tables import align

Decoder = Callable[[bytes], torch.Tensor]


def pil(content: bytes) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(content)).convert("RGB"))).permute(2, 0, 1)


def decoders() -> dict[str, Decoder]:
    """By name; the one of the runs first."""
    found = {"of the runs": _pixels, "Pillow": pil}
    if importlib.util.find_spec("torchcodec"):
        found["TorchCodec"] = importlib.import_module("torchcodec.decoders").decode_image
    return found


def contents(data: GroupDataset, n: int) -> list[bytes]:
    """Of n images, drawn from seed 0."""
    rows = np.random.default_rng(0).choice(len(data), min(n, len(data)), replace=False)
    return [data.file(row).read_bytes() for row in rows]


def seconds(decode: Decoder, files: list[bytes]) -> float:
    start = time.perf_counter()
    for content in files:
        decode(content)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="with fairface/ and Waterbirds")
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--birds", type=int, default=500)
    parser.add_argument("--repetitions", type=int, default=5)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for kind, n in ((FairFace, wanted.faces), (Waterbirds, wanted.birds)):
        files = contents(kind.load(wanted.data_dir, 0, 0), n)
        turned = sum(read_header(content).orientation > 1 for content in files)
        times = {name: [] for name in decoders()}
        for _ in range(wanted.repetitions):  # in turn, since a machine's speed drifts
            for name, decode in decoders().items():
                times[name].append(seconds(decode, files))
        for name, decode in decoders().items():
            others = sum(not torch.equal(decode(content), _pixels(content)) for content in files)
            fastest = f"{min(times[name]) / len(files) * 1e6:.0f}"
            rows.append((f"{kind.name}, {name}", str(len(files)), str(turned), str(others), fastest))
    print(machine())
    print(align(("decoder", "images", "turned by EXIF", "of other pixels", "µs an image"), rows, left=1))


if __name__ == "__main__":
    main()
