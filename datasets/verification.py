"""Every image decoded once before a run, by the decoder that training uses; what was found is remembered."""

import contextlib
import hashlib
import importlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from datasets.base import TEST, TRAIN, VAL, GroupDataset
from datasets.loaders import UnreadableImage
from utils.device import available_cpus
from utils.errors import RunError, UserError
from utils.files import read_json, write_json
from utils.signals import check_stop

SHOWN = 20  # images that a message names
CHUNK = 64  # images a thread takes at a time


@dataclass(frozen=True)
class BadImage:
    """A row of the table (counted from 0, as `index` in the records) whose image cannot be read."""

    row: int
    path: str
    reason: str


def bad_images(dataset: GroupDataset, memory: Path) -> list[BadImage]:
    """The images of train, val and test that cannot be read, by row.

    memory: a file that keeps what was found by the state of the image folder, so that only the first check of unchanged
    images decodes them all. Images that were bad are tried again every time: a file server may have been to blame.
    """
    if dataset.in_memory:
        return []
    rows = image_rows(dataset)
    with threads() as in_chunks:
        # Before decoding: a file that changes meanwhile makes the state stale.
        state = images_state(dataset, rows, in_chunks)
        known = _recall(memory, dataset, state)
        suspects = rows if known is None else rows[np.isin(dataset.paths(rows), known)]
        found = _decode(dataset, suspects, in_chunks)
    paths = [bad.path for bad in found]
    if paths != known:
        remember(memory, dataset, state, paths)
    return found


def image_rows(dataset: GroupDataset) -> np.ndarray:
    """The rows whose images a run may read."""
    return np.flatnonzero(np.isin(dataset.split, (TRAIN, VAL, TEST)))


def refuse_bad_images(dataset: GroupDataset, bad: Sequence[BadImage], may_skip: bool) -> None:
    """UserError that lists the images that cannot be read, if there are any. may_skip: offer to leave them out."""
    if not bad:
        return
    first = dataset.file(bad[0].row)
    if len(bad) == len(dataset) and not any(dataset.file(one.row).exists() for one in bad[:SHOWN]):
        raise UserError(
            f"image {first} and all others of {dataset.name} are in the labels but not on disk: put them there"
        )
    listed = [f"row {one.row}, {dataset.file(one.row)} ({one.reason})" for one in bad[:SHOWN]]
    listed += [f"and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    copy, them = ("an intact copy", "it") if len(bad) == 1 else ("intact copies", "them")
    remedy = f"put {copy} there" + (f", or leave {them} out with --skip_bad_images" if may_skip else "")
    what = f"{len(bad)} of {len(dataset)} images of {dataset.name} cannot be read"
    if len(bad) == 1:
        raise UserError(f"{what}: {listed[0]}; {remedy}")
    raise UserError("\n  ".join([f"{what}:", *listed]) + f"\n{remedy}")


Chunked = Callable[[Callable[[np.ndarray], Any], np.ndarray], Iterator[Any]]


@contextlib.contextmanager
def threads() -> Iterator[Chunked]:
    """A function over chunks of rows, spread over threads (decoding holds no lock of Python's), in order."""
    n_threads = min(2 * available_cpus(), 32)
    with ThreadPoolExecutor(n_threads) as pool:

        def in_chunks(function: Callable[[np.ndarray], Any], rows: np.ndarray) -> Iterator[Any]:
            ahead: deque[Future] = deque()  # few, which bounds what waits in memory
            try:
                for start in range(0, len(rows), CHUNK):
                    ahead.append(pool.submit(function, rows[start : start + CHUNK]))
                    if len(ahead) > 2 * n_threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:  # left in the middle: what has not begun never does
                for waiting in ahead:
                    waiting.cancel()

        yield in_chunks


def images_state(dataset: GroupDataset, rows: np.ndarray, in_chunks: Chunked) -> str:
    """SHA-256 of path, size and time of change of every image."""

    def stat(chunk: np.ndarray) -> str:
        return "".join(f"{len(path)}:{path},{_stat(dataset.root / path)};" for path in dataset.paths(chunk))

    digest = hashlib.sha256()
    for text in in_chunks(stat, rows):
        digest.update(text.encode())
    return digest.hexdigest()


def _stat(file: Path) -> str:
    try:
        found = os.stat(file)
    except OSError as error:
        return f"error {error.errno}"
    return f"{found.st_size},{found.st_mtime_ns}"


def decoder() -> Callable[[str], torch.Tensor | UnreadableImage]:
    """The one that training uses. By name: torchvision takes seconds to import, and what is remembered needs none."""
    return importlib.import_module("datasets.images").read_image


def _decode(dataset: GroupDataset, rows: np.ndarray, in_chunks: Chunked) -> list[BadImage]:
    if not len(rows):
        return []
    read_image = decoder()

    def decode(chunk: np.ndarray) -> list[BadImage]:
        read = [(row, read_image(str(dataset.file(row)))) for row in chunk.tolist()]
        return [
            BadImage(row, *dataset.paths([row]), image.reason)
            for row, image in read
            if isinstance(image, UnreadableImage)
        ]

    found: list[BadImage] = []
    with tqdm(total=len(rows), desc=f"checking the images of {dataset.name}", unit="image", disable=None) as bar:
        for number, bad in enumerate(in_chunks(decode, rows)):
            found += bad
            check_stop()
            bar.update(min(CHUNK, len(rows) - number * CHUNK))
    return found


def _stored(memory: Path) -> dict[str, Any]:
    try:
        stored = read_json(memory)
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _recall(memory: Path, dataset: GroupDataset, state: str) -> list[str] | None:
    """Paths of the images that were bad when the folder was in this state; None where nothing is known of it."""
    entry = _stored(memory).get(str(dataset.root.resolve()))
    if not isinstance(entry, dict) or entry.get("state") != state or not isinstance(entry.get("bad"), list):
        return None
    return [str(path) for path in entry["bad"]]


def remember(memory: Path, dataset: GroupDataset, state: str, bad: list[str]) -> None:
    """Keep what was found. Best effort: of two who write at once one is forgotten, and checks anew."""
    stored = _stored(memory) | {str(dataset.root.resolve()): {"state": state, "bad": bad}}
    with contextlib.suppress(OSError, RunError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, stored)
