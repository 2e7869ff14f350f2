"""The images that a run reads, as config.yaml records them, and what changed since another run read them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets.base import GroupDataset
from datasets.images.files import image_digest, image_record
from datasets.images.verification import count_turned_images

COPIED = (
    "images have changed since, or were copied: their times are others, their sizes are not; --image_digest records "
    "and compares their content"
)


def image_entry(dataset: GroupDataset, memory: Path, digest: bool) -> dict[str, Any] | None:
    """Number, and digests of sizes, of times and, where `digest`, of the content; None where images are in memory.

    turned: how many are turned as EXIF says. memory: as in `bad_images`.
    """
    if dataset.in_memory:
        return None
    entry = {**asdict(image_record(dataset)), "turned": count_turned_images(dataset, memory)}
    return entry | ({"content": image_digest(dataset)} if digest else {})


def recorded_images(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The entry in a config.yaml; None where it has none."""
    return ((stored or {}).get("inputs") or {}).get("images")


def changed_images(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> tuple[bool, str]:
    """Whether images are surely others than `then`, and what there is to say; neither where nothing was recorded."""
    if not then or not now:
        return False, ""
    content = [entry.get("content") for entry in (then, now)]
    if all(content):
        return (True, "the content of images is another") if content[0] != content[1] else (False, "")
    if (then.get("n"), then.get("sizes")) != (now["n"], now["sizes"]):
        return True, "images, or their sizes, are others"
    if then.get("times") != now["times"]:
        return False, COPIED
    return False, ""


def count_turned_otherwise(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> int:
    """How many images are turned as EXIF says now, and were not for a run that recorded nothing of it."""
    turned = (now or {}).get("turned") or 0
    return turned if turned and (then or {}).get("turned") is None else 0
