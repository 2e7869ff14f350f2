"""One metadata table per data set: who is in it, with which target, sensitive attribute and split.

The docstring of a data set's class says, in this order: input (x), target (y), sensitive attribute (a), splits, forget
groups, source, licence, citation.
"""

import copy
import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from datasets.labels.nearby import nearby
from utils.errors import UserError

TRAIN, VAL, TEST, LEFT_OUT = 0, 1, 2, 3  # LEFT_OUT: of the labels' train, and no run trains on it
CHUNK = 4096  # rows at a time where each becomes a text
Rows = Sequence[int] | np.ndarray  # of a table, counted from 0


class GroupDataset:
    """Labels of every sample as read-only arrays of equal length; group = target * n_sensitive + sensitive.

    root: the folder of the images, None where `in_memory`. path: image file relative to it, distinct per row.
    unit: what is forgotten together (the path, unless several rows show the same thing). split: 0 train, 1 val, 2 test,
    3 left out of train. Raises UserError for a path listed twice.
    """

    name: str  # of the class; a table that a user names has that name
    target_names: tuple[str, ...] = ()  # of the class: () where only the labels tell
    sensitive_names: tuple[str, ...] = ()
    folder: ClassVar[str]  # under --data_dir, "." for itself; "" where nothing is read from there
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = ()  # of each label file there: of its names, the first counts
    row_for_row: ClassVar[bool] = True  # False: the table's rows are not those of one label file
    built_in: ClassVar[str] = ""  # the version of labels that are in no file
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]]  # (target, sensitive) to forget, per --split_number
    max_multi_group: ClassVar[int] = 0  # largest --multi_group; 0: not offered
    target_depends_on_split: ClassVar[bool] = False
    view: str  # of the class: how an image becomes a square, a key of RESIZES in datasets.images.decoding, or "none"
    upright: ClassVar[bool] = False  # True: images are turned as EXIF says; False: as published
    in_memory: ClassVar[bool] = False  # True: `pixels` holds every image; False: `file` names one
    max_shift: ClassVar[int] = 0  # of the training view where in_memory, in pixels; 0: none
    fixed_size: ClassVar[int | None] = None  # the only --image_size, where images are not resized
    file_column: str = ""  # the column of the label files that holds `path`
    options: ClassVar[tuple[str, ...]] = ()  # keys of the configuration that only `load` of this data set takes
    group_format: ClassVar[str] = "{target} {sensitive}"
    label_file: Path | None = None  # the only one, where it is another than `label_names` says
    pixels: np.ndarray  # uint8 (n, 3, S, S), only where in_memory

    def __init__(
        self,
        root: Path | None,
        path: Sequence[str],
        target: np.ndarray,
        sensitive: np.ndarray,
        split: np.ndarray,
        target_names: tuple[str, ...],
        sensitive_names: tuple[str, ...],
        unit: Sequence[str] | None = None,
    ) -> None:
        self._root = root
        self.target_names, self.sensitive_names = target_names, sensitive_names
        self.target = read_only(target)
        self.sensitive = read_only(sensitive)
        self.split = read_only(split)
        self.group = read_only(self.target * self.n_sensitive + self.sensitive)
        self._path = _encoded(path)
        self._unit = None if unit is None else _encoded(unit)
        self._refuse_repeated_paths()

    @classmethod
    def load(cls, data_dir: Path, split_number: int, seed: int, *_: Any, **options: Any) -> Self:
        """Read the label files (never an image) under `data_dir`; UserError for what is missing or malformed.

        options: a text by each key that `options` of the class names, which its own `load` takes as parameters.
        """
        raise NotImplementedError

    @classmethod
    def data_root(cls, data_dir: Path) -> Path | None:
        """The folder of the labels and images; None where nothing is read."""
        return Path(data_dir) / cls.folder if cls.folder else None

    @classmethod
    def label_files(cls, data_dir: Path, **options: Any) -> list[Path]:
        """The files that `load` reads with these options; of one that is absent its first name."""
        root = cls.data_root(data_dir)
        if root is None:
            return []
        named = [[root / name for name in names] for names in cls.label_names]
        return [next((file for file in files if file.exists()), files[0]) for files in named]

    @property
    def root(self) -> Path:
        """The folder of the labels and images; ValueError where nothing is read."""
        if self._root is None:
            raise ValueError(f"{self.name} is in memory: it has no folder")
        return self._root

    @property
    def n_targets(self) -> int:
        """Number of classes."""
        return len(self.target_names)

    @property
    def n_sensitive(self) -> int:
        """Number of values of the sensitive attribute."""
        return len(self.sensitive_names)

    @property
    def n_groups(self) -> int:
        """Number of pairs of a target and a sensitive value, whether rows have them or not."""
        return self.n_targets * self.n_sensitive

    @property
    def path(self) -> np.ndarray:
        """Image files relative to `root`, texts (n,) made anew at every call; `paths` gives those of some rows."""
        return _texts(self._path)

    @property
    def unit(self) -> np.ndarray:
        """What each row is forgotten with, texts (n,) made anew at every call; `units` gives those of some rows."""
        return _texts(self._path if self._unit is None else self._unit)

    def paths(self, rows: Rows | slice) -> list[str]:
        """The image files of these rows, relative to `root`."""
        return [path.decode() for path in self._path[rows].tolist()]

    def units(self, rows: Rows | slice) -> list[str]:
        """What these rows are forgotten with: rows of one unit go together."""
        values = self._path if self._unit is None else self._unit
        return [unit.decode() for unit in values[rows].tolist()]

    def __len__(self) -> int:
        """Number of samples, those of all splits."""
        return len(self.target)

    def group_name(self, group: int) -> str:
        """A group in words, such as "waterbird on land"."""
        target, sensitive = divmod(int(group), self.n_sensitive)
        return self.group_format.format(target=self.target_names[target], sensitive=self.sensitive_names[sensitive])

    @property
    def group_names(self) -> list[str]:
        """Every group in words, by its number."""
        return [self.group_name(group) for group in range(self.n_groups)]

    def count_groups(self, rows: np.ndarray) -> np.ndarray:
        """How many of these rows are of each group: int64 (n_groups,)."""
        return np.bincount(self.group[rows], minlength=self.n_groups)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of every row's path, target, sensitive and split in table order."""
        digest = hashlib.sha256()
        for start in range(0, len(self), CHUNK):
            some = slice(start, start + CHUNK)
            labels = (values[some].tolist() for values in (self.target, self.sensitive, self.split))
            # The length before a path keeps rows apart whatever characters a path holds.
            rows = [
                f"{len(path)}:{path},{y},{a},{split};"
                for path, y, a, split in zip(self.paths(some), *labels, strict=True)
            ]
            digest.update("".join(rows).encode())
        return digest.hexdigest()

    def file(self, index: int) -> Path:
        """The image file of a row."""
        return self.root / self._path[index].decode()

    def check_images(self) -> None:
        """UserError where the first image of train, val or test is absent, which an absent image folder shows."""
        if self.in_memory:
            return
        _, first_rows = np.unique(self.split, return_index=True)
        for row in first_rows:
            if not os.path.isfile(self.file(row)):
                raise UserError(
                    f"image {self.file(row)} is in the labels but not on disk{nearby(self.root, *self.paths([row]))}: "
                    f"put the images of {self.name} there"
                )

    def leaving_out(self, rows: Rows) -> Self:
        """The same table with these rows in no set but LEFT_OUT; its fingerprint is another one."""
        changed, split = copy.copy(self), self.split.copy()
        changed.__dict__.pop("fingerprint", None)
        split[rows] = LEFT_OUT
        changed.split = read_only(split)
        return changed

    def without(self, rows: Rows) -> Self:
        """The same table without these rows, which must not be in memory; its fingerprint is another one."""
        kept = np.delete(np.arange(len(self)), rows)
        smaller = copy.copy(self)
        smaller.__dict__.pop("fingerprint", None)
        for name in ("target", "sensitive", "split", "group"):
            setattr(smaller, name, read_only(getattr(self, name)[kept]))
        for name in ("_path", "_unit"):
            values = getattr(self, name)
            setattr(smaller, name, None if values is None else read_only(values[kept], bytes))
        return smaller

    def _refuse_repeated_paths(self) -> None:
        paths = self._path.tolist()
        if len(set(paths)) == len(paths):
            return
        first: dict[bytes, int] = {}
        repeated = next(path for row, path in enumerate(paths) if first.setdefault(path, row) != row).decode()
        raise UserError(f"{self.name}: image {repeated} is listed more than once; every image needs exactly one row")


def _encoded(texts: Sequence[str]) -> np.ndarray:
    """(n,) UTF-8 bytes: a text of numpy's takes four bytes a character, and every row the room of the longest."""
    values = np.array([text.encode() for text in texts], dtype=bytes)
    values.setflags(write=False)
    return values


def _texts(values: np.ndarray) -> np.ndarray:
    """(n,) texts of UTF-8 bytes."""
    texts = np.char.decode(values, "utf-8")
    texts.setflags(write=False)
    return texts


def read_only(values: ArrayLike, dtype: type = np.int64) -> np.ndarray:
    """A copy of `values` that cannot be written to."""
    array: np.ndarray = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array
