"""Decoded images in one memory-mapped file, which the workers of a run, or several runs, share.

The pixels stand one after the other as (H, W, 3) bytes; behind them an index (n, 3) int64 of offset, height and width
by row of the table (height 0: no image), and last a trailer with the state of the folder that it was made from.
"""

import hashlib
import os
import shutil
import struct
import tempfile
import threading
import warnings
import weakref
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch

from datasets.base import GroupDataset
from datasets.images.files import Decoding, Image, image_record, image_rows, images_state, threads, watch_results
from datasets.images.types import UnreadableImage
from utils.device import available_memory
from utils.distributed import from_one_a_machine
from utils.errors import RunError, UserError
from utils.files import write_atomic
from utils.locks import locked

CACHES = ("none", "ram", "disk")
FILE = "decoded"
TRAILER = struct.Struct("<8s64sq")  # a mark, the state, the rows of the index
MARK = b"images-1"
SAMPLE = 64  # images that the size of all is estimated from


class ImageCache:
    """Decoded images by row of the table. Pickled for a worker, it is opened there by its path."""

    def __init__(self, path: str, state: str):
        """ValueError where the file is none of this state, or not whole; OSError where it cannot be opened."""
        self.path, self.state = path, state
        content = np.memmap(path, dtype=np.uint8, mode="r")
        mark, found, n = TRAILER.unpack(content[-TRAILER.size :].tobytes())
        if (mark, found.decode()) != (MARK, state):
            raise ValueError("made from other images")
        index = content[-TRAILER.size - 24 * n : -TRAILER.size]
        self._index = np.frombuffer(index.tobytes(), dtype=np.int64).reshape(n, 3)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._pixels = torch.from_numpy(content.view(np.ndarray))  # nobody writes to it

    def image(self, row: int) -> torch.Tensor | None:
        """uint8 (3, H, W) as the decoder gave it; None where it could not be decoded."""
        start, height, width = self._index[row].tolist()
        if height == 0:
            return None
        return self._pixels[start : start + 3 * height * width].view(height, width, 3).permute(2, 0, 1)

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` that have no image."""
        return rows[self._index[rows, 1] == 0]

    def __reduce__(self) -> tuple:
        return ImageCache, (self.path, self.state)


def ram_cache(dataset: GroupDataset) -> ImageCache:
    """Decode every image of train, val and test into memory that goes with this run; UserError for too little.

    Of several processes of the run the first on a machine does it, and the others of that machine open its memory.
    """
    made: list[ImageCache] = []

    def make() -> tuple[str, str]:
        made.append(_in_memory(dataset))
        return made[0].path, made[0].state

    path, state = from_one_a_machine(make)
    return made[0] if made else _of_another(path, state)


def _in_memory(dataset: GroupDataset) -> ImageCache:
    rows = image_rows(dataset)
    available = available_memory()
    needed = estimated_bytes(dataset, rows)
    if available is not None and needed > available:
        raise UserError(
            f"--cache ram: the decoded images of {dataset.name} take about {gibibytes(needed)} and "
            f"{gibibytes(available)} of memory are available; give --cache disk, or leave it out"
        )
    state = images_state(dataset, image_record(dataset))
    file, path = _memory_file()
    _fill(file, dataset, rows, state)
    file.flush()
    cache = ImageCache(path, state)
    weakref.finalize(cache, file.close)  # not before: that would end the memory, or remove the file
    return cache


def _of_another(path: str, state: str) -> ImageCache:
    """The memory that another process of this machine has filled, held by this one too for its own workers."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        cache = ImageCache(f"/proc/{os.getpid()}/fd/{handle}" if path.startswith("/proc/") else path, state)
    except (OSError, ValueError, struct.error) as error:
        raise RunError(
            f"--cache ram: the images that another process of this machine has decoded cannot be opened at {path} "
            f"({error}); give --cache disk"
        ) from None
    weakref.finalize(cache, os.close, handle)
    return cache


def disk_cache(dataset: GroupDataset, folder: Path) -> ImageCache:
    """The cache below `folder`, made unless it is there; of several processes one makes it, and the others wait.

    UserError where the folder cannot be written to or has too little space, RunError where the disk gets full.
    """
    rows = image_rows(dataset)
    place = folder / f"images-{hashlib.sha256(str(dataset.root.resolve()).encode()).hexdigest()[:8]}"
    state = images_state(dataset, image_record(dataset))
    cache = _opened(place / FILE, state)
    if cache is not None:
        return cache
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--cache disk: {place} cannot be made ({error.strerror}); make it writable") from None
    with locked(place, wait=True):
        return _opened(place / FILE, state) or _made(place / FILE, dataset, rows, state)


def _opened(file: Path, state: str) -> ImageCache | None:
    """The cache in the file; None where there is none of this state: it is made anew, which replaces the file."""
    try:
        return ImageCache(str(file), state)
    except (OSError, ValueError, struct.error):
        return None


def _made(file: Path, dataset: GroupDataset, rows: np.ndarray, state: str) -> ImageCache:
    for left in file.parent.glob(f".{file.name}.*"):  # by a process that was killed
        left.unlink(missing_ok=True)
    needed, free = estimated_bytes(dataset, rows), shutil.disk_usage(file.parent).free
    if needed > free:
        raise UserError(
            f"--cache disk: the decoded images of {dataset.name} take about {gibibytes(needed)} and "
            f"{gibibytes(free)} are free at {file.parent}; free space, or leave it out"
        )
    write_atomic(file, lambda opened: _fill(opened, dataset, rows, state))
    return ImageCache(str(file), state)


def _memory_file() -> tuple[IO[bytes], str]:
    """A file in memory that ends with this process, and a path by which its workers can open it."""
    if hasattr(os, "memfd_create"):  # not bound to the size of /dev/shm
        handle = os.memfd_create("decoded-images")
        return os.fdopen(handle, "wb"), f"/proc/{os.getpid()}/fd/{handle}"
    # The system keeps it in memory as far as it can.
    file = tempfile.NamedTemporaryFile(prefix="decoded-images-")  # noqa: SIM115 (lives as long as the cache)
    return file, file.name


def _fill(file: IO[bytes], dataset: GroupDataset, rows: np.ndarray, state: str) -> None:
    """Written by the threads as they come, in any order: none waits in memory for those before it."""
    decoding, index, lock = Decoding(dataset), np.zeros((len(dataset), 3), dtype=np.int64), threading.Lock()

    def keep(row: int, image: Image) -> None:
        if not isinstance(image, UnreadableImage):
            pixels = image.permute(1, 2, 0).contiguous().numpy().data
            with lock:
                index[row] = file.tell(), *image.shape[1:]
                file.write(pixels)

    def keep_some(some: Iterable[int]) -> None:
        for row in some:
            decoding(row, partial(keep, row))

    with threads() as in_chunks:
        for _ in watch_results(in_chunks(keep_some, rows), len(rows), f"decoding the images of {dataset.name}"):
            pass
    file.write(index.tobytes())
    file.write(TRAILER.pack(MARK, state.encode(), len(index)))


def estimated_bytes(dataset: GroupDataset, rows: np.ndarray) -> int:
    """What all images take, from some of them; those that cannot be read count as the others."""
    decoding = Decoding(dataset)
    some = rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64)]
    sizes = [decoding(row, lambda image: 0 if isinstance(image, UnreadableImage) else image.numel()) for row in some]
    return int(np.mean([size for size in sizes if size]) * len(rows)) if any(sizes) else 0


def gibibytes(size: float) -> str:
    """A number of bytes in GiB, with one decimal."""
    return f"{size / 2**30:.1f} GiB"
