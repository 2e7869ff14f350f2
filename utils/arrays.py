"""Arrays from .npz files that nobody vouches for: numbers and texts as expected, never objects, in bounded memory."""

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

import numpy as np

from utils.files import open_regular

# What an archive may hold in all, bytes. Compressed records and splits hold five times their file's size.
EXPANSION, ALWAYS, LARGEST = 20, 2**20, 8 * 2**30
MOST_MEMBERS = 1_000
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
OBJECTS = "it holds pickled objects, which could run code"
PICKLED = b"\x80"  # how a pickle begins
KINDS = {"i": "whole numbers", "f": "numbers with a fraction", "U": "a text"}


class Array(NamedTuple):
    """What an array must be: `kind` as numpy's dtype.kind (i, f or U), and how many dimensions."""

    kind: str
    dimensions: int = 1


NONE: Mapping[str, Array] = MappingProxyType({})


def read_npz(path: Path, expected: Mapping[str, Array], optional: Mapping[str, Array] = NONE) -> list[np.ndarray]:
    """Some of the arrays in a file, read alone; ValueError, in one line, where that cannot be done.

    optional: arrays that follow those where the file has one of them, and so must have all.

    An array of objects is a pickle, which could run code; numpy loads none unless told to. Nothing is unpacked, and no
    memory taken, before the archive's directory and the array's header agree on how much it is.
    """
    try:
        with open_regular(path) as file:
            if file.read(1) == PICKLED:
                raise ValueError(OBJECTS)
            size = file.seek(0, os.SEEK_END)
            archive = zipfile.ZipFile(file)
            refuse_bombs(archive.infolist(), size)
            known = {name.removesuffix(".npy") for name in archive.namelist()}
            wanted = {**expected, **(optional if known.intersection(optional) else {})}
            return [_read_array(archive, name, description) for name, description in wanted.items()]
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except zipfile.BadZipFile as error:
        raise ValueError(f"no archive of arrays, or a damaged one: {error}") from None
    except Exception as error:  # numpy, zipfile and zlib raise nearly anything on damaged bytes
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def refuse_bombs(members: Sequence[zipfile.ZipInfo], size: int, most: int = MOST_MEMBERS) -> None:
    """ValueError where an archive of `size` bytes unpacks to too much, or to more than `most` parts.

    By its directory alone; parts that lie within each other count as often as they are named.
    """
    total = sum(member.file_size for member in members)
    if len(members) > most or total > min(LARGEST, max(ALWAYS, EXPANSION * size)):
        raise ValueError(f"{size:,} bytes that would unpack to {total:,} in {len(members):,} parts")


def _read_array(archive: zipfile.ZipFile, name: str, expected: Array) -> np.ndarray:
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"{name} is not in it") from None
    with archive.open(member) as file:
        shape, dtype = _header(file)
        if dtype.hasobject:
            raise ValueError(OBJECTS)
        if dtype.kind != expected.kind or len(shape) != expected.dimensions:
            raise ValueError(
                f"{name} is {len(shape)}-dimensional and of type {str(dtype)[:40]}, expected "
                f"{expected.dimensions}-dimensional and {KINDS[expected.kind]}"
            )
        if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise ValueError(f"{name} does not hold what its header says")
        file.seek(0)
        return np.lib.format.read_array(file)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"it has arrays in numpy's format {version}, expected 1.0 or 2.0")
    shape, _, dtype = HEADERS[version](file)
    return shape, dtype
