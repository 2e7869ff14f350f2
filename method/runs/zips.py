"""Runs in zips: read as those in folders are, and written so that equal runs give equal bytes.

A zip of runs holds their folders as they lie under the folder of results, so that it can be unzipped there.
"""

import atexit
import functools
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from method.runs.findings import RELEARN
from method.runs.folder import CONFIG, DONE, HISTORY, METRICS, RECORDS, ROWS, SPLITS, STATUS, records_name
from utils.arrays import refuse_bombs
from utils.errors import Told, UserError, disk_full
from utils.files import open_regular, write_atomic

if sys.platform == "win32":
    from pathlib import WindowsPath as SystemPath
else:
    from pathlib import PosixPath as SystemPath

READ = re.compile(
    "|".join(map(re.escape, (CONFIG, METRICS, HISTORY, STATUS, SPLITS, RECORDS, ROWS, RELEARN, DONE)))
    + "|"
    + re.escape(records_name("X")).replace("X", r"\w+")
)
MOST_FILES = 100_000
ENCRYPTED = 0x1  # among a member's flags
UNIX = 3
FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # that a zip can hold
LEVEL = 9  # of deflate
_copies: dict[Path, str] = {}  # a run's folder in a zip -> the folder that holds its files


class PathInZip(SystemPath):
    """A path in a zip: its text names the zip and the place in it, and whoever opens it gets the unpacked copy."""

    def __fspath__(self) -> str:
        """The copy of a run's folder, or of a file in one."""
        if self in _copies:
            return _copies[self]
        return os.path.join(_copies[self.parent], self.name) if self.parent in _copies else str(self)


def is_zip(path: Path) -> bool:
    """Whether there is a file, by its name a zip; what is in it is seen when it is read."""
    return path.suffix.lower() == ".zip" and os.path.isfile(path)


def refuse_zip(folder: Path) -> None:
    """UserError where a run that is to be changed lies in a zip."""
    if isinstance(folder, PathInZip):
        file = next(path for path in map(str, (folder, *folder.parents)) if os.path.isfile(path))
        raise UserError(
            f"{file} is a zip, and runs in it are only read; unzip it, and give that folder: "
            f"python -m zipfile -e {file} output"
        )


def unpack(file: Path) -> list[Path]:
    """The folders of the runs in a zip, by path; a copy of what is read of them is kept until Python ends.

    UserError where the zip cannot be read, or has names or sizes that nobody should unpack.
    """
    with _explained(file):
        found = os.stat(file)
        copies = _unpack(file, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
    _copies.update(copies)
    return sorted(copies)


def read_zip(file: Path) -> dict[str, bytes]:
    """Name -> content of every file in a zip; UserError as `unpack`."""
    with _explained(file), open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
        return {member.filename: archive.read(member) for member in _files(archive, os.path.getsize(file))}


def write_zip(file: Path, contents: Mapping[str, bytes]) -> None:
    """Write a zip atomically: names sorted, no times of day, one way to compress."""

    def write(stream: IO[bytes]) -> None:
        with zipfile.ZipFile(stream, "w") as archive:
            for name in sorted(contents):
                member = zipfile.ZipInfo(name, FIRST_TIME)
                member.create_system, member.external_attr = UNIX, (stat.S_IFREG | 0o644) << 16
                archive.writestr(member, contents[name], zipfile.ZIP_DEFLATED, LEVEL)

    write_atomic(file, write)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """UserError, in one sentence, where a zip cannot be read; RunError where there is no space to unpack it."""
    try:
        yield
    except Told:
        raise
    except Exception as error:  # zipfile and zlib raise nearly anything on damaged bytes
        if full := disk_full(error, Path(tempfile.gettempdir())):
            raise full from error
        told = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        reason = told or type(error).__name__
        raise UserError(f"{file} cannot be read ({reason}); get it anew, or unzip it and give that folder") from None


@functools.cache
def _unpack(file: Path, state: tuple[int, ...]) -> dict[Path, str]:
    """The runs' folders in a zip with their copies; state: what tells it from one that is written there later.

    Of the names in the zip only those of READ come to the disk, in numbered folders: none can lead elsewhere.
    """
    with open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
        files = {PurePosixPath(one.filename): one for one in _files(archive, os.path.getsize(file), READ)}
        runs = sorted(path.parent for path in files if path.name == CONFIG)
        place = Path(tempfile.mkdtemp(dir=_place_of_copies()))
        copies = {run: place / str(number) for number, run in enumerate(runs)}
        for folder in copies.values():
            folder.mkdir()
        for path, member in files.items():
            if path.parent in copies:
                with archive.open(member) as source, open(copies[path.parent] / path.name, "xb") as copy:
                    shutil.copyfileobj(source, copy)
    return {PathInZip(file, run): str(folder) for run, folder in copies.items()}


@functools.cache
def _place_of_copies() -> str:
    """A folder that this user alone can look into, removed when Python ends."""
    place = tempfile.mkdtemp(prefix="runs-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def _files(archive: zipfile.ZipFile, size: int, named: re.Pattern[str] | None = None) -> list[zipfile.ZipInfo]:
    """The files in a zip of `size` bytes, or those with such a last name; ValueError where they cannot be unpacked."""
    members = archive.infolist()
    for member in members:
        _refuse_place(member.filename)
    files = [one for one in members if not one.is_dir() and (not named or named.fullmatch(one.filename.split("/")[-1]))]
    for member in files:
        if member.flag_bits & ENCRYPTED:
            raise ValueError(f"{member.filename} in it is encrypted")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"{member.filename} in it is a link or another thing, expected a file")
    if len({member.filename for member in files}) < len(files):
        raise ValueError("it holds two files of the same name")
    refuse_bombs(files, size, MOST_FILES)
    return files


def _refuse_place(name: str) -> None:
    """ValueError for a name that leads out of the folder where a zip is unpacked, on any system, or a crooked one."""
    windows, plain = PureWindowsPath(name), name.removesuffix("/")
    if ".." in windows.parts or windows.drive or windows.root or str(PurePosixPath(plain)) != plain:
        raise ValueError(f"{name} in it is no plain name of a file in a folder")
