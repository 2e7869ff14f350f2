"""Atomic writes (temporary file, fsync, rename), safe reads and hashes: a reader never sees half a file."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import yaml

from utils.errors import disk_full
from utils.locks import verify

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def write_atomic(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it there.

    RunError where the disk is full, LockLost in a folder that another process has taken over.
    """
    verify(path)
    try:
        _write_and_rename(path, write)
    except Exception as error:
        if full := disk_full(error, path):
            raise full from error
        raise


def _write_and_rename(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
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


def read_json(path: Path) -> Any:
    """Read a JSON file; ValueError where it is none."""
    try:
        return json.loads(path.read_text())
    except RecursionError:
        raise ValueError("brackets within brackets without end") from None


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values; ValueError, in one line, where it is none or asks for an object."""
    try:
        return yaml.load(path.read_text(), Loader=SAFE_LOADER)
    except RecursionError:
        raise ValueError("brackets within brackets without end") from None
    except (ValueError, AttributeError, LookupError, yaml.YAMLError) as error:  # PyYAML on `!!timestamp x`, `!!bool x`
        raise ValueError(" ".join(str(error).split()).replace(' in "<unicode string>"', "")) from None


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
