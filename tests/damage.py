"""Files that would run code if they were loaded carelessly, and a disk without space."""

import contextlib
import errno
import io
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch


class Payload:
    """Pickled code that leaves a trace when it is loaded."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def works(trace: Path) -> bool:
    """Whether the payload leaves its trace where it is loaded: otherwise a test without a trace shows nothing."""
    pickle.loads(pickle.dumps(Payload(trace)))
    return trace.exists()


def poison_torch(file: Path, trace: Path, form: str = "zip") -> None:
    """A checkpoint of either kind with a payload beside what it holds, or a bare pickle of one."""
    if form == "bare":
        file.write_bytes(pickle.dumps({"model": Payload(trace)}))
        return
    stored = torch.load(file, weights_only=True) if file.exists() else {}
    torch.save({**stored, "more": Payload(trace)}, file, _use_new_zipfile_serialization=form == "zip")


def poison_npz(file: Path, trace: Path, form: str = "array") -> None:
    """An archive whose arrays hold payloads, or a bare pickle of one."""
    if form == "bare":
        file.write_bytes(pickle.dumps(Payload(trace)))
        return
    with np.load(file) as stored:
        names = stored.files
    with file.open("wb") as out:
        np.savez(out, **{name: np.array([Payload(trace)], dtype=object) for name in names})


def poisonous_yaml(trace: Path) -> str:
    """A line that an unsafe loader would run."""
    return f"epochs: !!python/object/apply:os.mkdir ['{trace}']\n"


def no_space() -> OSError:
    """What the system answers where nothing more can be written."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Full(io.RawIOBase):
    """A file on a disk that has `room` bytes left."""

    def __init__(self, room: int) -> None:
        self.room = room

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise no_space()
        return len(data)


@contextlib.contextmanager
def full_disk(*names: str, after: int = 0, room: int | None = 100) -> Iterator[None]:
    """No space for the files of these names: each is written whole `after` times, then after `room` bytes it fails.

    room: None leaves not even a directory entry.
    """
    full, seen, real = set(), {}, (tempfile.mkstemp, os.fdopen)

    def mkstemp(*arguments: Any, prefix: str = "", **options: Any) -> tuple[int, str]:
        name = prefix.strip(".")
        seen[name] = seen.get(name, 0) + 1
        now = name in names and seen[name] > after
        if now and room is None:
            raise no_space()
        handle, file = real[0](*arguments, prefix=prefix, **options)
        full.add(handle) if now else full.discard(handle)
        return handle, file

    def fdopen(handle: int, *arguments: Any, **options: Any) -> Any:
        if handle not in full:
            return real[1](handle, *arguments, **options)
        full.discard(handle)
        os.close(handle)
        return io.BufferedWriter(_Full(room or 0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "mkstemp", mkstemp)
        patch.setattr(os, "fdopen", fdopen)
        yield
    assert min(seen.get(name, 0) for name in names) > after, f"nobody wrote them: {seen}"
