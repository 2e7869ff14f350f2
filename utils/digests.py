"""SHA-256 of files, remembered: a file is read again where its size, times or inode are others."""

import contextlib
import os
import time
from pathlib import Path

from utils.errors import RunError
from utils.files import read_memory, sha256_file, write_json

# A file that changed this shortly before it was read may change again with the same time on it.
SETTLED_NS = 2 * 10**9


class Digests:
    """The memory is a file, best effort: where it cannot be read or written, files are read again."""

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        self._known = read_memory(memory)
        self._changed = False

    def of(self, path: Path) -> str:
        """SHA-256 of a file's content, hexadecimal; OSError where there is no such file."""
        key, state = str(path.resolve()), _state(path)
        known = self._known.get(key)
        if isinstance(known, list) and known[:-1] == state and isinstance(known[-1], str):
            return known[-1]
        digest = sha256_file(path)
        newest = max(state[1], state[2])
        if _state(path) == state and time.time_ns() - newest > SETTLED_NS:
            self._known[key] = [*state, digest]
            self._changed = True
        return digest

    def keep(self) -> None:
        """Write what was found out. Of two processes that do at once one is forgotten."""
        if not self._changed:
            return
        with contextlib.suppress(OSError, RunError):
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.memory, {**read_memory(self.memory), **self._known})
            self._changed = False


def _state(path: Path) -> list[int]:
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
