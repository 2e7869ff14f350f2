"""The image files of a table, many at a time: what the file system says of them, their content, and their pixels."""

import contextlib
import hashlib
import importlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from datasets.base import LEFT_OUT, TEST, TRAIN, VAL, GroupDataset
from datasets.images.types import UnreadableImage
from utils.device import available_cpus
from utils.files import sha256_file
from utils.signals import check_stop

CHUNK = 64  # images a thread takes at a time
ROOM = 512 * 2**20  # bytes of images that are decoded at a time, whatever the number of CPUs
PAUSE = 0.5  # seconds between looks at the stop signals
# Part of a state: what was found by other rules, or kept by them, is not taken for what these would find.
CONTRACT = "uint8 (3, H, W), one frame, 8 bits a channel"
Image = torch.Tensor | UnreadableImage
Chunked = Callable[[Callable[[Iterable[int]], Any], np.ndarray], Iterator[Any]]


@dataclass(frozen=True)
class ImageRecord:
    """What the file system says of the images that a run may read, in the table's order.

    n: their number. sizes: SHA-256 over path and size of each. times: over path and time of change.
    """

    n: int
    sizes: str
    times: str


def image_rows(dataset: GroupDataset) -> np.ndarray:
    """The rows whose images a run may read: train, what is left out of it, val and test."""
    return np.flatnonzero(np.isin(dataset.split, (TRAIN, VAL, TEST, LEFT_OUT)))


def image_record(dataset: GroupDataset) -> ImageRecord:
    """From one question to the file system for every image; one that is absent counts as what the system answers."""
    rows, root = image_rows(dataset), str(dataset.root)

    def ask(some: Iterable[int]) -> tuple[str, str]:
        paths = dataset.paths(list(some))
        found = [(f"{len(path)}:{path},", *_stat(os.path.join(root, path))) for path in paths]
        return "".join(f"{path}{size};" for path, size, _ in found), "".join(
            f"{path}{time};" for path, _, time in found
        )

    sizes, times = hashlib.sha256(), hashlib.sha256()
    with threads() as in_chunks:
        for some_sizes, some_times in in_chunks(ask, rows):
            sizes.update(some_sizes.encode())
            times.update(some_times.encode())
    return ImageRecord(len(rows), sizes.hexdigest(), times.hexdigest())


def _stat(file: str) -> tuple[int | str, int | str]:
    """Size and time of change, or the error in place of both."""
    try:
        found = os.stat(file)
    except OSError as error:
        return (f"error {error.errno}",) * 2
    return found.st_size, found.st_mtime_ns


def images_state(dataset: GroupDataset, record: ImageRecord) -> str:
    """SHA-256 of what decides how the images decode: path, size and time of change, and what is asked of them."""
    turned = "turned as EXIF says" if dataset.upright else "as published"
    return hashlib.sha256(f"{CONTRACT}, {turned};{record.n};{record.sizes};{record.times}".encode()).hexdigest()


def image_digest(dataset: GroupDataset) -> str:
    """SHA-256 over path and content of every image that a run may read; reads them all.

    One that cannot be read counts as what the system says of it.
    """

    def digests(some: Iterable[int]) -> str:
        return "".join(f"{len(path)}:{path},{_content(dataset.root / path)};" for path in dataset.paths(list(some)))

    rows, digest = image_rows(dataset), hashlib.sha256()
    with threads() as in_chunks:
        for text in watch_results(in_chunks(digests, rows), len(rows), f"reading the images of {dataset.name}"):
            digest.update(text.encode())
    return digest.hexdigest()


def _content(file: Path) -> str:
    try:
        return sha256_file(file)
    except OSError as error:
        return f"error {error.errno}"


@contextlib.contextmanager
def threads() -> Iterator[Chunked]:
    """A function over chunks of rows, spread over threads (decoding holds no lock of Python's), in order.

    It gets the rows one by one, and none after all of this has been left, by an error or a stop signal.
    """
    n_threads = min(2 * available_cpus(), 32)
    pool, left = ThreadPoolExecutor(n_threads), threading.Event()

    def unless_left(chunk: np.ndarray) -> Iterator[int]:
        for row in chunk.tolist():
            if left.is_set():
                return
            yield row

    def in_chunks(function: Callable[[Iterable[int]], Any], rows: np.ndarray) -> Iterator[Any]:
        ahead: deque[Future] = deque()  # few, which bounds what waits in memory
        for start in range(0, len(rows), CHUNK):
            ahead.append(pool.submit(lambda chunk: function(unless_left(chunk)), rows[start : start + CHUNK]))
            if len(ahead) > 2 * n_threads:
                yield _result(ahead.popleft())
        while ahead:
            yield _result(ahead.popleft())

    try:
        yield in_chunks
    finally:
        left.set()
        pool.shutdown(cancel_futures=True)


def _result(future: Future) -> Any:
    """The result of a chunk, which may take long: Interrupted where a stop signal comes before it."""
    while not wait([future], PAUSE).done:
        check_stop()
    return future.result()


def watch_results(results: Iterator[Any], n: int, title: str) -> Iterator[Any]:
    """The results of chunks of n rows together, with a progress bar and a look at the stop signals."""
    with tqdm(total=n, desc=title, unit="image", disable=None) as bar:
        for number, result in enumerate(results):
            yield result
            check_stop()
            bar.update(min(CHUNK, n - number * CHUNK))


class Room:
    """Bytes that may be taken at once; what is larger than all of them is alone."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        """Within it `wanted` bytes are taken; waits until they are free."""
        wanted = min(wanted, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


class Decoding:
    """The images of a table by the decoder that training uses, in any thread; ROOM bytes of them at a time."""

    def __init__(self, dataset: GroupDataset) -> None:
        # By name: torchvision takes seconds to import, and what is remembered needs none.
        self._open = importlib.import_module("datasets.images.decoding").open_image
        self._dataset, self._room = dataset, Room(ROOM)

    def __call__(self, row: int, use: Callable[[Image], Any]) -> Any:
        """What `use` makes of a row's image, which nobody keeps."""
        opened = self._open(str(self._dataset.file(row)), self._dataset.upright)
        if isinstance(opened, UnreadableImage):
            return use(opened)
        with self._room.taken(opened.size):
            return use(opened.decode())
