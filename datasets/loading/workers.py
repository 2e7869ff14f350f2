"""The processes that read images: whether they can hand batches over, whether they are well, and their end."""

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from datasets.loading.reading import describe_process, is_stopped, read_in_a_thread, why_no_handover
from utils.distributed import STOP_PATIENCE, leaving_alone, rank, world_size
from utils.errors import RunError
from utils.signals import LOOK_SECONDS, TELL_SECONDS, check_stop, ignore_stop_signals, stop_asked

AHEAD = 2  # batches that each worker reads ahead
log = logging.getLogger("unlearning")


@dataclass(frozen=True)
class NotShared:
    """What a worker returns instead of a batch that it cannot share with the main process."""

    reason: str


class Pool:
    """Reads the batches that `sampler` plans, with workers that live as long as it does, or without.

    in_thread: read in a thread, for what may be waited for; images in memory are there.
    """

    def __init__(self, source: Dataset, sampler: Any, n_workers: int, pin_memory: bool, in_thread: bool) -> None:
        self.n_workers, self._in_thread = n_workers, in_thread
        self._loader = DataLoader(
            source,
            batch_sampler=sampler,
            num_workers=n_workers,
            collate_fn=_handed_over,
            pin_memory=pin_memory,
            worker_init_fn=_ignore_signals,
            prefetch_factor=AHEAD if n_workers else None,
            persistent_workers=n_workers > 0,
            generator=torch.Generator(),  # its own, or every pass would advance the global one
        )
        self._workers: list[BaseProcess] = []
        self._given_up = False  # whether a batch was waited for in vain
        self._number = 0  # of the batch that is read, from 0 in every pass

    def why_without_workers(self, batch_bytes: int) -> str | None:
        """Why batches of this size cannot be handed over by the workers; None where they can."""
        # What the workers have read, and what is in use here.
        return why_no_handover(batch_bytes, AHEAD * self.n_workers + 2) if self.n_workers else None

    def read(self) -> Iterator[Any]:
        """The planned batches, with an eye on workers and signals.

        RunError where a worker has died; Interrupted where a stop signal comes while a batch does not.
        """
        if not self._in_thread:
            yield from self._loader
            return
        self._start()
        self._number = 0
        try:
            for images in read_in_a_thread(lambda: iter(self._loader), self._waiting):
                yield images
                self._number += 1
        except (RuntimeError, OSError, EOFError) as error:  # the last two: it died while it handed a batch over
            self._given_up = True
            raise self._worker_lost(LOOK_SECONDS) or error from None

    def _start(self) -> None:
        """Start the workers, which is the main thread's to do."""
        if self.n_workers and self._loader._iterator is None:
            before = multiprocessing.active_children()
            with _signal_handlers_kept():
                iter(self._loader)
            started = [process for process in multiprocessing.active_children() if process not in before]
            self._workers = sorted(started, key=lambda process: process.pid or 0)

    def _waiting(self, seconds: float) -> None:
        """What to do while a batch takes its time: stop where that is asked for, and say so every minute.

        RunError where a worker has died.
        """
        if stop_asked() and (world_size() == 1 or seconds > STOP_PATIENCE):
            self._given_up = True
            if world_size() > 1:
                raise leaving_alone("while waiting for images")
            check_stop()
        lost = self._worker_lost()
        if lost is not None:
            raise lost
        if seconds % TELL_SECONDS:
            return
        who = ""
        if self._workers:
            # They take turns, but one that is stopped while it hands over a batch out of turn holds up the others.
            turn = self._workers[self._number % len(self._workers)]
            process = next((worker for worker in [turn, *self._workers] if is_stopped(worker.pid)), turn)
            who = f" from worker process {process.pid}{describe_process(process.pid)}"
        level = logging.WARNING if rank() == 0 else logging.CRITICAL  # only this process knows
        log.log(level, "waiting for a batch of images%s, for %d s by now", who, seconds)

    def _worker_lost(self, seconds: float = 0.0) -> RunError | None:
        """What to say of a worker that ended by itself; None where all live. seconds: how long one may take to end."""
        for worker in self._workers:
            worker.join(seconds)
            seconds = 0.0  # for all of them together
        ended = ((worker.pid, worker.exitcode) for worker in self._workers if worker.exitcode is not None)
        pid, code = next(ended, (None, 0))
        if pid is None:
            return None
        self._given_up = True
        how = f"was ended by the signal {signal.Signals(-code).name}" if code < 0 else "ended"
        return RunError(
            f"worker process {pid}, which reads images, {how}, as happens where memory runs out: give a lower "
            "--num_workers (0: none), and the same command goes on from the last saved state"
        )

    def close(self) -> None:
        """End the workers, in mid-pass too; calling it again does nothing."""
        if self._given_up:
            _kill(self._workers)  # asked politely, each would be waited for
        iterator = self._loader._iterator
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            self._shut_down(iterator._shutdown_workers)  # torch has no public name for it
            self._loader._iterator = None
        _kill([worker for worker in self._workers if worker.is_alive()])  # such as one that is stopped
        self._workers = []

    def _shut_down(self, shut_down: Callable[[], None]) -> None:
        """Let torch give back what it holds; without waiting for a lock that a killed worker may have died with."""
        if not self._given_up:
            shut_down()
            return
        thread = threading.Thread(target=shut_down, daemon=True)
        thread.start()
        thread.join(LOOK_SECONDS)


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Within it torch starts workers, with a handler by which a dead one would be an error anywhere in this program."""
    main = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD")
    handler = signal.getsignal(signal.SIGCHLD) if main else None
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGCHLD, handler)


def _kill(workers: list[BaseProcess]) -> None:
    """End processes that hold nothing of worth."""
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(LOOK_SECONDS)  # at once, unless the system itself waits for a broken disk


def _handed_over(batch: Any) -> Any:
    """The batch as it is; of a worker in shared memory: left to its queue, a failure there would be lost."""
    if get_worker_info() is None or not isinstance(batch, torch.Tensor):
        return batch
    try:
        return batch.share_memory_()
    except (OSError, RuntimeError) as error:
        return NotShared(f"a worker cannot share a batch ({str(error).splitlines()[0]})")


def _ignore_signals(worker: int) -> None:
    ignore_stop_signals()
