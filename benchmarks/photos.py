"""Peak memory of the check of the images and of filling the caches, on photos of twelve megapixels.

    python benchmarks/photos.py [--photos 256] [--cached 16] [--cpus 2 16]

Made-up JPEGs of 4000 x 3000 pixels under --folder, hard links to four of them: two baseline, two progressive, which the
decoder holds twice more of. Counted is what the process takes without pages of files (as benchmarks/memory.py does),
and without the decoded images that `--cache ram` keeps, which are such a file. Linux only.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from memory import peak_bytes
from PIL import Image
from side_by_side import machine

from utils.tables import align

WIDTH, HEIGHT = 4000, 3000
# A data set of all that lies in a folder, on a machine that seems to have so many CPUs.
DATA = """
import os, sys
from pathlib import Path
os.sched_getaffinity = lambda pid: set(range(int(sys.argv[2])))
import numpy as np
from datasets.base import GroupDataset
class Photos(GroupDataset):
    name, folder, view = "photos", "", "centre"
folder, own = Path(sys.argv[1]), Path(*sys.argv[1:])
names = sorted(file.name for file in folder.glob("*.jpg"))
zeros = np.zeros(len(names), dtype=np.int64)
photos = Photos(folder, names, zeros, zeros, zeros, ("y",), ("a",))
"""
WORK = {
    "the libraries alone": "import datasets.images.decoding",
    "check": "from datasets.images.verification import bad_images\nassert not bad_images(photos, own / 'ok.json')",
    "--cache ram": "from datasets.images.cache import ram_cache\nram_cache(photos)",
    "--cache disk": "from datasets.images.cache import disk_cache\ndisk_cache(photos, own)",
}


def make_photos(folder: Path, n: int) -> None:
    """Noise over gradients: files of some megabytes, as a camera makes them."""
    for kind in range(4):
        draw = np.random.default_rng(kind)
        ramp = np.linspace(0, 120, WIDTH)[None, :, None] + np.linspace(0, 90, HEIGHT)[:, None, None]
        pixels = ramp + draw.integers(0, 40, (HEIGHT, WIDTH, 1)) + [0, 3 * kind, 5 * kind]
        first = folder / f"{kind}.jpg"
        Image.fromarray(pixels.astype(np.uint8)).save(first, quality=85, progressive=kind >= 2)
        for number in range(kind + 4, n, 4):
            os.link(first, folder / f"{number}.jpg")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=256, help="that the check decodes")
    parser.add_argument("--cached", type=int, default=16, help="that the caches keep, 36 MB each")
    parser.add_argument("--cpus", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--folder", help="for the temporary files, by default the system's")
    wanted = parser.parse_args()
    rows = []
    for work, code in WORK.items():
        n = wanted.cached if "cache" in work else wanted.photos
        with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
            make_photos(Path(folder), n)
            peaks = [peak_bytes(DATA + code, [folder, str(cpus)]) for cpus in wanted.cpus]
        rows.append((f"{work}, {n} photos", *(f"{peak / 2**20:,.0f}" for peak in peaks)))
        print(f"  {rows[-1]}", flush=True)
    print(machine())
    print(align(("", *(f"MiB, {cpus} CPUs" for cpus in wanted.cpus)), rows, left=1))


if __name__ == "__main__":
    main()
