"""Checkpoints that say whose they are and whether they are whole: facts and a checksum in the archive's comment.

torch.save writes a zip archive. Its comment, which torch and zip programs pass over, becomes a mark, the facts as JSON
and last the SHA-256 of all bytes before it. A file that an earlier version wrote has no comment.
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from utils.files import open_regular

START, END = b"PK\3\4", b"PK\5\6"  # of an archive, and of the record at its end
END_SIZE, LONGEST_COMMENT = 22, 0xFFFF
MARK = b"sealed-1 "
SUM_SIZE = 64
CHUNK = 2**20


def seal(file: IO[bytes], facts: dict[str, Any]) -> None:
    """Put `facts` and the checksum behind the archive in `file`, which is open for reading and writing."""
    comment = MARK + json.dumps(facts, sort_keys=True).encode()
    length = len(comment) + SUM_SIZE
    if length > LONGEST_COMMENT:
        raise ValueError(f"facts of {length} bytes do not fit into the comment of an archive")
    file.seek(-2, os.SEEK_END)  # where the length of the comment, 0, stands
    file.write(struct.pack("<H", length) + comment)
    checksum = _checksum(file, file.tell())
    file.seek(0, os.SEEK_END)
    file.write(checksum.encode())


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], dict[str, Any] | None]]:
    """The file at its start, and its facts after the checksum was compared; None where it has none.

    ValueError where the file is not as it was written, OSError where it cannot be opened.
    """
    with open_regular(path) as file:
        facts = _facts(file)
        file.seek(0)
        yield file, facts


def read_facts(path: Path) -> dict[str, Any] | None:
    """The facts in a checkpoint, and errors as `opened` raises them."""
    with opened(path) as (_, facts):
        return facts


def _facts(file: IO[bytes]) -> dict[str, Any] | None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_SIZE - LONGEST_COMMENT))
    tail = file.read()
    file.seek(0)
    end = tail.rfind(END)
    if end < 0 or len(tail) - end < END_SIZE:
        if file.read(len(START)) == START:
            raise ValueError("its end is missing")
        return None  # no archive: a file of another kind
    (length,) = struct.unpack("<H", tail[end + END_SIZE - 2 : end + END_SIZE])
    comment = tail[end + END_SIZE :]
    if length != len(comment):
        raise ValueError("its end is damaged")
    if not comment:
        return None
    if not comment.startswith(MARK) or length < len(MARK) + SUM_SIZE:
        raise ValueError("its end is damaged, or another program's")
    if comment[-SUM_SIZE:].decode("ascii", "replace") != _checksum(file, size - SUM_SIZE):
        raise ValueError("its checksum is wrong: it is not as it was written")
    return json.loads(comment[len(MARK) : -SUM_SIZE])


def _checksum(file: IO[bytes], size: int) -> str:
    """SHA-256 of the first `size` bytes, hexadecimal."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(CHUNK, size))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()
