"""One metadata table per data set: who is in it, with which target, sensitive attribute and split."""

import copy
import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from datasets.labels.nearby import nearby
from utils.errors import UserError

TRAIN, VAL, TEST = 0, 1, 2
CHUNK = 4096  # rows at a time where each becomes a text


class GroupDataset:
    """Labels of every sample as read-only arrays of equal length; group = target * n_sensitive + sensitive.

    path: image file relative to `root`, distinct per row. unit: what is forgotten together (the path, unless several
    rows show the same thing). split: 0 train, 1 val, 2 test. Raises UserError for a path listed twice.

    A data set is a subclass. Its docstring says, in this order: input, target (y), sensitive attribute (a), splits,
    forget groups, source, licence, citation.
    """

    name: str
    target_names: tuple[str, ...] = ()  # of the class: () where only the labels tell
    sensitive_names: tuple[str, ...] = ()
    folder: ClassVar[str]  # under --data_dir, "." for itself; "" where nothing is read from there
    label_names: ClassVar[tuple[tuple[str, ...], ...]] = ()  # of each label file there: of its names, the first counts
    row_for_row: ClassVar[bool] = True  # False: the table's rows are not those of one label file
    built_in: ClassVar[str] = ""  # the version of labels that are in no file
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]]  # (target, sensitive) to forget, per --split_number
    max_multi_group: ClassVar[int] = 0  # largest --multi_group; 0: not offered
    target_depends_on_split: ClassVar[bool] = False
    view: ClassVar[str]  # how an image becomes a square: a key of RESIZES in datasets.images.decoding, or "none"
    upright: ClassVar[bool] = False  # True: images are turned as EXIF says; False: as published
    in_memory: ClassVar[bool] = False  # True: `pixels` holds every image; False: `file` names one
    max_shift: ClassVar[int] = 0  # of the training view where in_memory, in pixels; 0: none
    fixed_size: ClassVar[int | None] = None  # the only --image_size, where images are not resized
    file_column: str = ""  # the column of the label files that holds `path`
    options: ClassVar[tuple[str, ...]] = ()  # keys of the configuration that only `load` of this data set takes
    group_format: ClassVar[str] = "{target} {sensitive}"
    pixels: np.ndarray  # every image, uint8 (n, 3, S, S), only where in_memory

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

        split_number: the task, for a target that depends on it; seed: for splits that are drawn; options: the keys
        that the class names in `options`.
        """
        raise NotImplementedError

    @classmethod
    def data_root(cls, data_dir: Path) -> Path | None:
        """The folder of the labels and images; None where nothing is read."""
        return Path(data_dir) / cls.folder if cls.folder else None

    @classmethod
    def label_files(cls, data_dir: Path) -> list[Path]:
        """The files that `load` reads; of one that is absent its first name."""
        root = cls.data_root(data_dir)
        named = [[root / name for name in names] for names in cls.label_names] if root else []
        return [next((file for file in files if file.exists()), files[0]) for files in named]

    @property
    def root(self) -> Path:
        """The folder of the images; ValueError where they are in memory."""
        if self._root is None:
            raise ValueError(f"the images of {self.name} are in memory, in no folder")
        return self._root

    @property
    def n_targets(self) -> int:
        """How many values the target has."""
        return len(self.target_names)

    @property
    def n_sensitive(self) -> int:
        """How many values the sensitive attribute has."""
        return len(self.sensitive_names)

    @property
    def n_groups(self) -> int:
        """How many groups there are, those without a sample among them."""
        return self.n_targets * self.n_sensitive

    @property
    def path(self) -> np.ndarray:
        """(n,) image files, relative to `root`; decoded anew at every call, so `paths` is quicker for some rows."""
        return _texts(self._path)

    @property
    def unit(self) -> np.ndarray:
        """(n,) what is forgotten together; decoded anew at every call, so `units` is quicker for some rows."""
        return _texts(self._path if self._unit is None else self._unit)

    def paths(self, rows: Sequence[int] | np.ndarray | slice) -> list[str]:
        """The image files of some rows, relative to `root`."""
        return [path.decode() for path in self._path[rows].tolist()]

    def units(self, rows: Sequence[int] | np.ndarray | slice) -> list[str]:
        """What some rows are forgotten together with; rows with equal units are."""
        values = self._path if self._unit is None else self._unit
        return [unit.decode() for unit in values[rows].tolist()]

    def __len__(self) -> int:
        """How many samples there are, in all splits."""
        return len(self.target)

    def group_name(self, group: int) -> str:
        """A group in words, such as "waterbird on land"."""
        target, sensitive = divmod(int(group), self.n_sensitive)
        return self.group_format.format(target=self.target_names[target], sensitive=self.sensitive_names[sensitive])

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

    def without(self, rows: Sequence[int]) -> Self:
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
        seen: set[bytes] = set()
        for path in self._path.tolist():
            if path in seen:
                raise UserError(
                    f"{self.name}: image {path.decode()} is listed more than once; every image needs exactly one row"
                )
            seen.add(path)


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


def read_only(values: Sequence | np.ndarray, dtype: type = np.int64) -> np.ndarray:
    """A copy of `values` that cannot be written to."""
    array: np.ndarray = np.array(values, dtype=dtype)
    array.setflags(write=False)
    return array
