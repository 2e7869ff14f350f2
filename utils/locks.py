"""One process at a time in a folder: an exclusive lock file that outlives neither its holder nor a takeover.

The file names its holder and is touched every 30 s. It is stale when the holder is known to be gone (same host, boot
and process namespace), or when it is 10 minutes older than a file just touched beside it: both times are the file
system's, so clocks that differ between hosts do not matter. Taking over is itself behind a lock, and files.write_atomic
asks `verify` before every rename, so that a holder that slept through a takeover writes nothing.

Why not filelock (4.3.1): there every process watches the lock of another host for ten minutes before it takes it over,
which one that does not wait never does; and a holder that slept may write for up to a minute after a takeover.
"""

import contextlib
import json
import logging
import os
import re
import secrets
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from utils.errors import UserError, disk_full
from utils.signals import Interrupted, check_stop

log = logging.getLogger("unlearning")
LOCK = "lock"
TOUCH_SECONDS = 30.0
STALE_SECONDS = 600.0
LOOK_SECONDS = 1.0
NAME_SECONDS = 60.0  # how often a waiting process names the holder
LARGEST = 4096  # bytes; a lock has some 200
LARGEST_PID = 2**31 - 1
_held: dict[Path, "Holder"] = {}  # by folder; write_atomic cannot know which run it writes for


class LockLost(Interrupted):
    """Another process took the folder over; this one must not write there any more."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. namespace: of process ids, which containers have of their own; started: ticks since boot."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str | None
    token: str

    @classmethod
    def here(cls) -> "Holder":
        """A holder that is this process, with a new token."""
        pid = os.getpid()
        return cls(socket.gethostname(), _boot(), _namespace(), pid, _started(pid), secrets.token_hex(16))

    def describe(self) -> str:
        """The holder in a message: `process 12 on host`."""
        return f"process {self.pid} on {self.host}"

    def gone(self) -> bool:
        """Whether the process is known to have ended; False where that cannot be told from here."""
        if (self.host, self.boot, self.namespace) != (socket.gethostname(), _boot(), _namespace()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and another user's
        started = _started(self.pid)
        return started is not None and started != self.started


@contextlib.contextmanager
def locked(folder: Path, wait: bool) -> Iterator[None]:
    """Hold `folder`, which must exist, alone. Waits for another holder, naming it every minute.

    Interrupted where wait is False and another process holds it; UserError where no lock can be made.
    """
    folder = folder.resolve()
    path = folder / LOCK
    mine, released = _acquire(path, wait), threading.Event()
    threading.Thread(target=_keep_fresh, args=(path, mine, released), name=f"touches {path}", daemon=True).start()
    _held[folder] = mine
    try:
        yield
    finally:
        del _held[folder]
        released.set()
        with contextlib.suppress(OSError):
            if _read(path) == mine:
                path.unlink()


def _keep_fresh(path: Path, mine: Holder, released: threading.Event) -> None:
    while not released.wait(TOUCH_SECONDS):
        with contextlib.suppress(OSError):  # gone or unreachable: verify() will tell the one who writes
            if _read(path) == mine:
                os.utime(path)


def verify(path: Path) -> None:
    """Raise LockLost if `path` lies in a folder that this process held and another has taken over."""
    if not _held:
        return
    for folder in path.resolve().parents:
        if folder in _held and _read(folder / LOCK) != _held[folder]:
            raise LockLost(f"another process has taken {folder} over; this one has stopped without writing")


def holder(folder: Path) -> Holder | None:
    """Who is at work in `folder`; None if nobody is, or only a stale lock is left."""
    path = folder / LOCK
    found = _read(path)
    if found is None or found.gone():
        return None
    with contextlib.suppress(OSError):  # a folder that cannot be written to: its lock counts
        return None if _old(path) else found
    return found


def _acquire(path: Path, wait: bool) -> Holder:
    named = -NAME_SECONDS
    while True:
        mine = Holder.here()
        try:
            if _create(path, mine) or _take_over(path, mine):
                return mine
        except OSError as error:
            sentence = f"{path} cannot be made ({error.strerror}); change the folder's permissions or choose another"
            raise disk_full(error, path) or UserError(sentence) from None
        other = _read(path)
        who = other.describe() if other else "another process"
        if not wait:
            raise Interrupted(f"{path.parent} is held by {who}; nothing was done")
        if time.monotonic() - named >= NAME_SECONDS:
            log.info("waiting for %s, which is at work in %s", who, path.parent)
            named = time.monotonic()
        check_stop()
        time.sleep(LOOK_SECONDS)


def _create(path: Path, mine: Holder) -> bool:
    """Make the lock file, whole from its first moment, unless it is there."""
    temporary = _written_beside(path, mine)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: its content comes a moment after its name
        return _create_by_name(path, mine)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _create_by_name(path: Path, mine: Holder) -> bool:
    try:
        file = path.open("x")
    except FileExistsError:
        return False
    try:
        with file:
            json.dump(asdict(mine), file)
    except BaseException:  # such as a full disk: an empty lock would keep everybody out
        path.unlink(missing_ok=True)
        raise
    return True


def _take_over(path: Path, mine: Holder) -> bool:
    """Replace a stale lock. Only who holds the lock on this very holder's succession may, so never two of them.

    That lock is made in the same way, and can itself be stale and be taken over.
    """
    other = _read(path)
    if not _is_stale(path, other):
        return False
    succession = path.with_name(f"{path.name}.{other.token[:12] if other else 'unreadable'}")
    if not _create(succession, mine) and not _take_over(succession, mine):
        return False
    try:
        if _read(path) != other or not _is_stale(path, other):
            return False  # somebody was faster, and may have worked and gone since
        os.replace(_written_beside(path, mine), path)
        log.info("took %s over from %s, which is gone", path.parent, other.describe() if other else "a process")
        return True
    finally:
        succession.unlink(missing_ok=True)


def _is_stale(path: Path, found: Holder | None) -> bool:
    return bool(found and found.gone()) or _old(path)


def _written_beside(path: Path, mine: Holder) -> Path:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(mine), file)
        os.chmod(temporary, 0o644)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return Path(temporary)


def _read(path: Path) -> Holder | None:
    """Its holder; None where there is no such file, or it is none that this program wrote."""
    try:
        found = Holder(**json.loads(_content(path)))
        return found if _is_sound(found) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _content(path: Path) -> bytes:
    """Opened anew each time: that is when a network file system asks its server. A pipe is not waited for."""
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no file")
        return file.read(LARGEST)


def _is_sound(found: Holder) -> bool:
    """Whether it may be asked for: to a process number of 0 or -1 a signal would go to whole groups of processes."""
    texts = (found.host, found.boot, found.namespace, found.token, found.started or "")
    return (
        all(isinstance(text, str) for text in texts)
        and type(found.pid) is int
        and 0 < found.pid <= LARGEST_PID
        and bool(re.fullmatch(r"\w+", found.token))  # it stands in a file's name
    )


def _old(path: Path) -> bool:
    """Whether a file was last touched 10 minutes before one that is touched now, by the same clock."""
    try:
        touched = path.stat().st_mtime
    except FileNotFoundError:
        return False
    with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent) as now:
        return os.stat(now.name).st_mtime - touched > STALE_SECONDS


def _boot() -> str:
    return _text("/proc/sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process started, so that a number used again is not taken for it; None where the system does not say."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()  # its name may hold anything
    if len(fields) < 20:
        return None
    return "ended" if fields[0] in "ZX" else fields[19]  # a process nobody has waited for yet


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
