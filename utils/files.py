"""Atomic writes (temporary file, fsync, rename), safe reads and hashes: a reader never sees half a file."""

import errno
import hashlib
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import yaml

from utils.errors import disk_full
from utils.locks import verify

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LARGEST_TEXT = 64 * 2**20  # bytes of a file that is read whole, unless its reader says otherwise
LARGEST_YAML = 4 * 2**20
PIECE = 16 * 2**20  # bytes
MOST_VALUES = 100_000  # in a YAML file, with every alias in full: what is 40 lines can be 10 ** 9 values
SEPARATORS = "\n,[{"  # one of them stands between any two entries
MOST_DIGITS = 40
PART = ".part"  # the end of a name while a file is written
# Of a file that is made the usual way; it can only be read by setting it, which other threads would notice later.
UMASK = os.umask(0o022)
os.umask(UMASK)
# What a path can name beside a file.
FILE_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it there.

    RunError where the disk is full, LockLost in a folder that another process has taken over. OSError where the path
    names a device, a pipe or a socket: to rename a file there would remove it, /dev/null too.
    """
    verify(path)
    _refuse_special(path)
    try:
        _write_and_rename(path, write)
    except Exception as error:
        if full := disk_full(error, path):
            raise full from error
        raise


def _refuse_special(path: Path) -> None:
    kind = stat.S_IFMT(os.lstat(path).st_mode) if os.path.lexists(path) else stat.S_IFREG
    if kind not in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR):
        told = FILE_TYPES.get(kind, "no file")
        raise OSError(errno.EINVAL, f"it is {told}, expected a regular file", str(path))


def _write_and_rename(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~UMASK)
        verify(path)  # again: writing may have taken long
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically, UTF-8."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically as JSON; NaN is refused, so that null always has its reason."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def open_regular(path: str | Path) -> BufferedReader:
    """Open a file for reading; OSError where it is none: a pipe would be waited for, a device never ends."""
    return os.fdopen(_regular(path)[0], "rb")


def _regular(path: str | Path) -> tuple[int, int]:
    """Handle and size of a regular file."""
    # Without waiting for somebody who writes into a pipe.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        kind = FILE_TYPES.get(stat.S_IFMT(found.st_mode), "no file")
        raise OSError(errno.EINVAL, f"it is {kind}, expected a regular file", str(path))
    return handle, found.st_size


def read_bytes(path: str | Path, at_most: int = LARGEST_TEXT) -> bytes:
    """A regular file's content; OSError where it is another thing, or larger than `at_most` bytes.

    Without the layers of Python's files, which take longer than a small file: every image is read by this.
    """
    handle, size = _regular(path)
    try:
        content = os.read(handle, size + 1) if size <= at_most else b""
        # It grew meanwhile, or is larger than one call gives.
        while size <= at_most >= len(content) and (more := os.read(handle, PIECE)):
            content += more
    finally:
        os.close(handle)
    if max(size, len(content)) > at_most:
        raise OSError(errno.EFBIG, f"it is larger than {at_most / 2**20:g} MiB", str(path))
    return content


def read_text(path: str | Path, encoding: str = "utf-8", at_most: int = LARGEST_TEXT) -> str:
    """A regular file's text, in UTF-8 whatever the locale; OSError as `read_bytes`, UnicodeDecodeError for no text.

    Line ends are as they stand there.
    """
    return read_bytes(path, at_most).decode(encoding)


def read_json(path: Path, at_most: int = LARGEST_TEXT) -> Any:
    """Read a JSON file; ValueError where it is none: NaN, infinities and numbers beyond float64 are no JSON either."""
    try:
        return json.loads(
            read_text(path, at_most=at_most), parse_constant=_no_number, parse_float=_float, parse_int=_int
        )
    except RecursionError:
        raise ValueError("brackets within brackets without end") from None


def read_memory(path: Path) -> dict[str, Any]:
    """The table in a JSON file that may be deleted at any time; empty where it cannot be read."""
    try:
        stored = read_json(path)
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _float(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _no_number(text)


def _int(text: str) -> int:
    return int(text) if len(text) <= MOST_DIGITS else _no_number(f"a number of {len(text)} digits")


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values; ValueError, in one line, where it is none or asks for an object."""
    try:
        return load_yaml(read_text(path, at_most=LARGEST_YAML), SAFE_LOADER)
    except (ValueError, AttributeError, LookupError, yaml.YAMLError) as error:  # PyYAML on `!!timestamp x`, `!!bool x`
        raise ValueError(" ".join(str(error).split()).replace(' in "<unicode string>"', "")) from None


def load_yaml(text: str, loader: type) -> Any:
    """What `yaml.load` gives; ValueError where aliases or brackets make more of it than anybody wrote."""
    if sum(map(text.count, SEPARATORS)) > MOST_VALUES:  # before the parser takes minutes to find that out
        raise ValueError(f"more than {MOST_VALUES:,} lines and entries")
    parser = loader(text)
    try:
        node = parser.get_single_node()
        if node is None:
            return None
        if _expanded(node, {}) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values, with every alias in full")
        return parser.construct_document(node)
    except RecursionError:
        raise ValueError("brackets within brackets without end") from None
    finally:
        parser.dispose()


def _expanded(node: yaml.Node, known: dict[int, int]) -> int:
    """Values in a node, those of an alias counted wherever it stands; one within itself has no end."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # while its own values are counted
        children = (child for entry in node.value for child in (entry if isinstance(entry, tuple) else (entry,)))
        known[id(node)] = 1 + sum(_expanded(child, known) for child in children)
    return known[id(node)]


def sha256_file(path: Path) -> str:
    """SHA-256 of a regular file's bytes, hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
