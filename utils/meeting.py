"""How the processes of a run find each other: told who is missing, and stopped by a signal like everything else."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist

from utils.environment import PATIENCE, REMEDY
from utils.errors import RunError, UserError
from utils.signals import TELL_SECONDS, check_stop

FIRST_SECONDS = 3.0  # before it is first said who is missing
LOOK_SECONDS = 0.2
HANDSHAKE = timedelta(seconds=4)  # with a store that listens
NAMED = 8  # ranks that a line names
log = logging.getLogger("unlearning")


def meet(rank: int, world_size: int, address: str, port: int) -> dist.Store:
    """The store that all processes share, once all are there.

    Interrupted where a stop signal comes before; UserError where rank 0 cannot listen, RunError where nobody comes.
    """
    news = _News(rank, world_size, f"{address}:{port}")
    store = _serve(world_size, port) if rank == 0 and not _agent_serves() else _connect(news, address, port)
    try:
        store.set(_key(rank), "")
        _gather(store, news)
    except RuntimeError as error:
        raise RunError(f"process {rank} of {world_size}: what it met at {address}:{port} is gone; {REMEDY}") from error
    except KeyboardInterrupt:
        with suppress(RuntimeError):
            store.delete_key(_key(rank))  # the others wait for the one that comes in its place
        raise
    store.set_timeout(PATIENCE)
    return store


class _News:
    """Says every minute who has not come."""

    def __init__(self, rank: int, world_size: int, place: str) -> None:
        self.rank, self.world_size, self.place = rank, world_size, place
        self.began = time.monotonic()
        self._next = FIRST_SECONDS

    def due(self) -> float | None:
        """The seconds of waiting where it is time to say so, else None.

        Interrupted where a stop signal has come, RunError after a day.
        """
        check_stop()
        waited = time.monotonic() - self.began
        if waited > PATIENCE.total_seconds():
            raise RunError(f"process {self.rank} of {self.world_size} has waited a day at {self.place}; {REMEDY}")
        if waited < self._next:
            return None
        self._next = waited + TELL_SECONDS
        return waited

    def log_waiting(self, waited: float, what: str) -> None:
        """Log what this process waits for, whatever the log's level is for those that are not the first."""
        level = logging.WARNING if self.rank == 0 else logging.CRITICAL
        log.log(level, "process %d of %d, for %.0f s: %s; %s", self.rank, self.world_size, waited, what, REMEDY)


def _key(rank: int) -> str:
    return f"here/{rank}"


def _agent_serves() -> bool:
    """Whether torchrun holds the store itself."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)


def _serve(world_size: int, port: int) -> dist.Store:
    """Rank 0's: it connects to itself by the name that always works, whatever MASTER_ADDR is."""
    libuv = os.environ.get("USE_LIBUV", "1") == "1"  # as torch's own rendezvous
    try:
        return dist.TCPStore(
            "localhost", port, world_size, True, HANDSHAKE, wait_for_workers=False, multi_tenant=True, use_libuv=libuv
        )
    except RuntimeError as error:
        used = "EADDRINUSE" in str(error) or "address already in use" in str(error)
        why = "another program listens there" if used else str(error).partition("\n")[0]
        raise UserError(
            f"MASTER_PORT={port} in the environment: process 0 cannot listen there ({why}); "
            f"give a port that is free, or {REMEDY}"
        ) from None


def _connect(news: _News, address: str, port: int) -> dist.Store:
    """The others': tried by a socket of our own, since torch's would let no signal through."""
    while True:
        try:
            socket.create_connection((address, port), timeout=1).close()
            break
        except OSError as error:
            why = error.strerror or "no answer"
        waited = news.due()
        if waited is not None:
            news.log_waiting(waited, f"waiting for process 0 at {news.place} (MASTER_ADDR:MASTER_PORT; {why})")
        time.sleep(LOOK_SECONDS)
    try:
        return _ask_in_time(
            lambda: dist.TCPStore(address, port, news.world_size, False, HANDSHAKE, wait_for_workers=False)
        )
    except (RuntimeError, TimeoutError) as error:
        check_stop()
        found = f"MASTER_ADDR={address} and MASTER_PORT={port} in the environment"
        raise UserError(f"{found}: what listens there does not answer as a process of this run; {REMEDY}") from error


def _ask_in_time(ask: Callable[[], dist.Store]) -> dist.Store:
    """What `ask` gives or raises; TimeoutError where nothing comes, as from a program that accepts and is silent."""
    answer: Future[dist.Store] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except RuntimeError as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="asks process 0", daemon=True).start()
    return answer.result(2 * HANDSHAKE.total_seconds())


def _gather(store: dist.Store, news: _News) -> None:
    """Until every process has left its key."""
    missing = list(range(news.world_size))
    while missing:
        if store.check([_key(missing[0])]):
            missing.pop(0)
            continue
        waited = news.due()
        if waited is not None and 0 in (news.rank, missing[0]):  # one says it; another where that one is missing
            absent = [number for number in missing if not store.check([_key(number)])]
            names = ", ".join(map(str, absent[:NAMED])) + (", ..." if len(absent) > NAMED else "")
            come = f"{news.world_size - len(absent)} of {news.world_size} have come to {news.place}"
            news.log_waiting(waited, f"waiting for process{'es' * (len(absent) > 1)} {names}; {come}")
        time.sleep(LOOK_SECONDS)
