"""Every image decoded once before a run, by the decoder that training uses; what was found is remembered."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import GroupDataset
from datasets.images.files import Decoding, Image, image_record, image_rows, images_state, threads, watch_results
from datasets.images.headers import LARGEST_FILE, UPRIGHT, read_header
from datasets.images.types import UnreadableImage
from datasets.labels.nearby import nearby
from utils.errors import RunError, UserError
from utils.files import read_bytes, read_memory, write_json

SHOWN = 20  # images that a message names
LOOKED_FOR = 3  # absent ones among them


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
    # Before decoding: a file that changes meanwhile makes the state stale.
    state = images_state(dataset, image_record(dataset))
    known = _recall(memory, dataset, state)
    found = _decode(dataset, rows if known is None else rows[np.isin(dataset.paths(rows), known)])
    paths = [bad.path for bad in found]
    if paths != known:
        remember(memory, dataset, state, paths)
    return found


def refuse_bad_images(dataset: GroupDataset, bad: Sequence[BadImage], may_skip: bool) -> None:
    """UserError that lists the images that cannot be read, if there are any. may_skip: offer to leave them out."""
    if not bad:
        return
    first = dataset.file(bad[0].row)
    if len(bad) == len(dataset) and not any(os.path.exists(dataset.file(one.row)) for one in bad[:SHOWN]):
        raise UserError(
            f"image {first} and all others of {dataset.name} are in the labels but not on disk"
            f"{nearby(dataset.root, bad[0].path)}: put them there"
        )
    absent = [one for one in bad[:SHOWN] if not os.path.exists(dataset.file(one.row))][:LOOKED_FOR]
    hints = {one.row: nearby(dataset.root, one.path) for one in absent}
    listed = [f"row {one.row}, {dataset.file(one.row)} ({one.reason}{hints.get(one.row, '')})" for one in bad[:SHOWN]]
    listed += [f"and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
    copy, them = ("an intact copy", "it") if len(bad) == 1 else ("intact copies", "them")
    remedy = f"put {copy} there" + (f", or leave {them} out with --skip_bad_images" if may_skip else "")
    what = f"{len(bad)} of {len(dataset)} images of {dataset.name} cannot be read"
    if len(bad) == 1:
        raise UserError(f"{what}: {listed[0]}; {remedy}")
    raise UserError("\n  ".join([f"{what}:", *listed]) + f"\n{remedy}")


def _decode(dataset: GroupDataset, rows: np.ndarray) -> list[BadImage]:
    if not len(rows):
        return []
    decoding = Decoding(dataset)

    def check(some: Iterable[int]) -> list[BadImage]:
        reasons = ((row, decoding(row, _why_not)) for row in some)
        return [BadImage(row, dataset.paths([row])[0], reason) for row, reason in reasons if reason]

    with threads() as in_chunks:
        title = f"checking the images of {dataset.name}"
        return [bad for some in watch_results(in_chunks(check, rows), len(rows), title) for bad in some]


def _why_not(image: Image) -> str | None:
    return image.reason if isinstance(image, UnreadableImage) else None


def count_turned_images(dataset: GroupDataset, memory: Path) -> int:
    """How many images a run reads turned, as EXIF says; 0 where they are read as published.

    Earlier versions turned none, so where it is not 0 their runs are of other images. Only headers are read, and what
    was found is kept in `memory` as by `bad_images`.
    """
    if dataset.in_memory or not dataset.upright:
        return 0
    state = images_state(dataset, image_record(dataset))
    known = _entry(memory, dataset, state).get("turned")
    if isinstance(known, int):
        return known

    def count(some: Iterable[int]) -> int:
        return sum(_is_turned(dataset.file(row)) for row in some)

    rows = image_rows(dataset)
    with threads() as in_chunks:
        found = sum(watch_results(in_chunks(count, rows), len(rows), f"reading the headers of {dataset.name}"))
    _remember(memory, dataset, state, turned=found)
    return found


def _is_turned(file: Path) -> bool:
    try:
        header = read_header(read_bytes(file, LARGEST_FILE))
    except (OSError, ValueError):
        return False
    return header is not None and header.orientation != UPRIGHT


def _entry(memory: Path, dataset: GroupDataset, state: str) -> dict[str, Any]:
    """What is remembered of the folder in this state."""
    entry = read_memory(memory).get(str(dataset.root.resolve()))
    return entry if isinstance(entry, dict) and entry.get("state") == state else {}


def _recall(memory: Path, dataset: GroupDataset, state: str) -> list[str] | None:
    """Paths of the images that were bad when the folder was in this state; None where nothing is known of it."""
    bad = _entry(memory, dataset, state).get("bad")
    return [str(path) for path in bad] if isinstance(bad, list) else None


def remember(memory: Path, dataset: GroupDataset, state: str, bad: list[str]) -> None:
    """Keep which images were bad. Best effort: of two who write at once one is forgotten, and checks anew."""
    _remember(memory, dataset, state, bad=bad)


def _remember(memory: Path, dataset: GroupDataset, state: str, **found: Any) -> None:
    entry = _entry(memory, dataset, state) | {"state": state} | found
    stored = read_memory(memory) | {str(dataset.root.resolve()): entry}
    with contextlib.suppress(OSError, RunError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, stored)
