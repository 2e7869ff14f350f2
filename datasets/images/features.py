"""Features that a frozen network has of every image, in place of the images: in memory, or in a file for all runs.

The file holds (n, dim) float32 by row of the table, and last a trailer with the state that it was made from.
"""

import hashlib
import struct
from pathlib import Path
from typing import IO

import numpy as np
import torch

from datasets.base import GroupDataset
from datasets.images.files import image_record, images_state
from datasets.images.types import ImageSource
from utils.files import write_atomic

FILE = "features"
TRAILER = struct.Struct("<8s64s64sqq")  # a mark, the state, the digest of the network, rows and columns
MARK = b"feature1"


class Features(ImageSource):
    """Features by row of the table, (n, dim) float32; nothing is augmented.

    backbone: SHA-256 of the tensors of the network that made them.
    """

    augments = False

    def __init__(self, values: np.ndarray, backbone: str) -> None:
        self.values, self.backbone = values, backbone

    @property
    def dim(self) -> int:
        """Features an image."""
        return self.values.shape[1]

    def __getitems__(self, batch: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
        """float32 (B, dim) of rows; their seeds change nothing."""
        return torch.from_numpy(self.values[batch[0]])

    def range_of(self, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The least and the largest value of each feature over these rows."""
        some = self.values[rows]
        return tuple(some.min(axis=0).tolist()), tuple(some.max(axis=0).tolist())

    def save(self, file: Path, state: str) -> None:
        """Write them with the state that they were made from; RunError where the disk is full."""

        def write(opened: IO[bytes]) -> None:
            opened.write(np.ascontiguousarray(self.values).data)
            opened.write(TRAILER.pack(MARK, state.encode(), self.backbone.encode(), *self.values.shape))

        write_atomic(file, write)


def open_features(file: Path, state: str) -> Features | None:
    """The features in the file; None where there is none of this state, or it is not whole."""
    try:
        content = np.memmap(file, dtype=np.uint8, mode="r")
        mark, found, backbone, n, dim = TRAILER.unpack(content[-TRAILER.size :].tobytes())
    except (OSError, ValueError, struct.error):
        return None
    if (mark, found.decode()) != (MARK, state) or len(content) != 4 * n * dim + TRAILER.size:
        return None
    values = content[: -TRAILER.size].view(np.float32).reshape(n, dim)
    return Features(values, backbone.decode())


def features_state(dataset: GroupDataset, made_by: str) -> str:
    """SHA-256 of what the features depend on: the images, in the table's order, and `made_by`, what reads them."""
    if dataset.in_memory:
        images = hashlib.sha256(np.ascontiguousarray(dataset.pixels).data).hexdigest()
    else:
        images = images_state(dataset, image_record(dataset))
    return hashlib.sha256(f"{images};{len(dataset)};{made_by}".encode()).hexdigest()
