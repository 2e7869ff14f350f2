"""Several processes as one run (torchrun): which one this is, and what is decided once for all of them.

Without torchrun everything here is the identity and imports nothing. Tensors are summed in utils.collectives.
"""

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from utils.environment import PATIENCE, REMEDY, VARIABLES, check_variables, read_variable
from utils.errors import RunError, UserError
from utils.locks import LockLost
from utils.signals import LOOK_SECONDS, TELL_SECONDS, Interrupted, asked_seconds, interrupted, stop_asked

log = logging.getLogger("unlearning")
# After a stop signal, or a failure, they are waited for so long: usually all of them have heard it, and stop after the
# same step.
STOP_PATIENCE, LEAVE_PATIENCE = 5.0, 2.0
# A class comes before those that it is derived from.
SHARED_ERRORS = (UserError, RunError, LockLost, Interrupted, KeyboardInterrupt, OSError)
FIRST_FAILURE, STOPPED, HEARD = "first failure", "stopped", "heard"
_stores: list[Any] = []  # the store that the processes share, while they are joined
_speaker: list[int] = []  # rank of the first to fail, once one has
_alone: list[bool] = []  # whether this process has given the others up


def world_size() -> int:
    """Processes of the run."""
    return _numbers()[1]


def rank() -> int:
    """Number of this process, from 0."""
    return _numbers()[0]


def local_rank() -> int:
    """Number of this process on its machine, from 0."""
    return read_variable("LOCAL_RANK", rank()) if world_size() > 1 else 0


def local_world_size() -> int:
    """Processes of the run on this machine."""
    return read_variable("LOCAL_WORLD_SIZE", world_size()) if world_size() > 1 else 1


def _numbers() -> tuple[int, int]:
    """Rank and number of processes; (0, 1) also where the variables make no sense, which `joined` refuses."""
    try:
        number, size = read_variable("RANK"), read_variable("WORLD_SIZE")
    except (KeyError, ValueError):
        return 0, 1
    return (number, size) if all(map(os.environ.get, VARIABLES)) and number < size else (0, 1)


def own_range(n: int) -> tuple[int, int]:
    """(start, stop) of this process's contiguous share of n things; empty where there are fewer than processes."""
    number, size = rank(), world_size()
    return n * number // size, n * (number + 1) // size


@contextmanager
def joined() -> Iterator[None]:
    """The processes of the run find each other; those that end well leave together.

    UserError where the environment does not say clearly which process this is.
    """
    _speaker[:] = [rank()]  # nobody else can speak for it yet
    check_variables()
    if world_size() == 1:
        yield
        return
    import torch.distributed as dist

    if not dist.is_available():
        raise UserError(f"this build of torch has no torch.distributed, which {world_size()} processes need; {REMEDY}")

    from utils.device import collective_backend
    from utils.meeting import meet

    _alone.clear()
    store = meet(rank(), world_size(), os.environ["MASTER_ADDR"], read_variable("MASTER_PORT"))
    group = dist.PrefixStore("group", store)
    dist.init_process_group(collective_backend(), store=group, rank=rank(), world_size=world_size(), timeout=PATIENCE)
    _stores.append(store)
    _speaker.clear()
    failed = False
    try:
        yield
        _wait(STOP_PATIENCE)
    except Interrupted:
        if not _alone:
            with suppress(Interrupted, RunError):
                _wait(LEAVE_PATIENCE)  # rank 0 still writes how it ended, and torchrun ends all as soon as one has
        raise
    except Exception as error:
        failed = True
        reason, code = _first_failure(" ".join(str(error).split()), getattr(error, "exit_code", RunError.exit_code))
        if speaks():
            raise
        raise (UserError if code == UserError.exit_code else RunError)(reason) from error
    finally:
        if not _alone:  # it would wait for what this process no longer waits for
            dist.destroy_process_group()
        if failed:
            _let_the_others_hear(store)
        _stores.clear()


def _let_the_others_hear(store: Any) -> None:
    """They look up in the store who failed, and it may be rank 0's: that one stays a moment longer, until all have."""
    deadline = time.monotonic() + STOP_PATIENCE
    with suppress(RuntimeError):  # the store's host is gone
        store.add(HEARD, 1)
        while rank() == 0 and store.add(HEARD, 0) < world_size() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)


def _wait(patience: float) -> None:
    """Until every process is here; on the CPU, where torch's barrier would keep the GPUs busy."""
    import torch
    import torch.distributed as dist

    finished(dist.all_reduce(torch.zeros(()), async_op=True), patience)


def finished(work: Any, patience: float = STOP_PATIENCE) -> None:
    """Wait for a collective of tensors on the CPU.

    Interrupted where a stop signal has come and the others do not in `patience` seconds; RunError where one is gone.
    """
    if _alone:  # it has left already, and the others with it
        raise interrupted("")
    began = told = time.monotonic()
    while not _completed(work):
        now = time.monotonic()
        if stop_asked() and min(now - began, asked_seconds()) > patience:
            raise leaving_alone("while waiting for another of its processes")
        if rank() == 0 and now - told > TELL_SECONDS:
            told = now
            log.warning("waiting for another of the %d processes, for %d s by now", world_size(), now - began)
    try:
        work.wait()
    except RuntimeError as error:
        # torchrun stops the others as soon as one has failed: that signal is not why this run ends.
        if not _has_said(FIRST_FAILURE) and (stop_asked() or _has_said(STOPPED)):
            raise leaving_alone("") from error
        raise RunError(f"another of the {world_size()} processes is gone ({_cause(error)})") from error


def _completed(work: Any) -> bool:
    """Wait for LOOK_SECONDS at most, in which Python does not see signals."""
    with suppress(RuntimeError):  # not yet, or an error, which the next wait tells
        work.wait(timedelta(seconds=LOOK_SECONDS))
    return work.is_completed()


def _cause(error: RuntimeError) -> str:
    """What gloo says, without the place in its source and its advice."""
    return str(error).partition("] ")[2].partition(". ")[0] or str(error)


def leaving_alone(where: str) -> Interrupted:
    """What to raise where this process stops in the middle of a step: it can no longer wait for the others."""
    _alone.append(True)
    _speaker[:] = [rank()]
    if _stores:
        with suppress(RuntimeError):
            _stores[0].set(STOPPED, "")
    return interrupted(where)


def _has_said(word: str) -> bool:
    """Whether another process has said so: that it STOPPED because of a signal, or a FIRST_FAILURE."""
    try:
        return bool(_stores) and _stores[0].check([word])
    except RuntimeError:  # the store's host is gone
        return False


def from_rank_0(function: Callable[[], Any]) -> Any:
    """What `function` gives or raises on rank 0, on every rank; only rank 0 calls it.

    The value is one that JSON holds; of errors, SHARED_ERRORS reach the others.
    """
    if world_size() == 1:
        return function()
    if rank() > 0:
        return _value(_broadcast(""))
    try:
        value = function()
    except SHARED_ERRORS as error:
        kind = next(number for number, known in enumerate(SHARED_ERRORS) if isinstance(error, known))
        _broadcast(json.dumps({"error": kind, "text": str(error)}))
        raise
    _broadcast(json.dumps({"value": value}))
    return value


def from_one_a_machine(function: Callable[[], Any]) -> Any:
    """As `from_rank_0`, on every machine: what `function` gives on the first of its processes, which alone calls it.

    An error of one machine is raised on all.
    """
    if world_size() == 1:
        return function()
    hosts = [_broadcast(socket.gethostname(), source) for source in range(world_size())]
    firsts = {host: hosts.index(host) for host in hosts}
    mine = firsts[hosts[rank()]]
    answer = _answer(function) if mine == rank() else ""
    answers = {source: _broadcast(answer, source) for source in firsts.values()}
    values = {source: _value(answer) for source, answer in answers.items()}
    return values[mine]


def by_each(function: Callable[[], Any]) -> Any:
    """What `function` gives on this process, of any type; an error of one process is raised on all."""
    kept: list[Any] = []
    if world_size() == 1:
        return function()
    answer = _answer(lambda: kept.append(function()))
    for found in [_broadcast(answer, source) for source in range(world_size())]:
        _value(found)
    return kept[0]


def _answer(function: Callable[[], Any]) -> str:
    """What `function` gives or raises, as JSON."""
    try:
        return json.dumps({"value": function()})
    except SHARED_ERRORS as error:
        kind = next(number for number, known in enumerate(SHARED_ERRORS) if isinstance(error, known))
        return json.dumps({"error": kind, "text": str(error)})


def _value(answer: str) -> Any:
    """The value in an answer, or its error raised."""
    found = json.loads(answer)
    if "error" in found:
        raise SHARED_ERRORS[found["error"]](found["text"])
    return found["value"]


def _broadcast(text: str, source: int = 0) -> str:
    """The text of one process; as bytes, since torch's way for objects unpickles what the network brings."""
    import torch
    import torch.distributed as dist

    content = torch.tensor(list(text.encode()), dtype=torch.uint8)
    size = torch.tensor(len(content))
    finished(dist.broadcast(size, source, async_op=True))
    content = content if rank() == source else torch.empty(int(size), dtype=torch.uint8)
    finished(dist.broadcast(content, source, async_op=True))
    return bytes(content.tolist()).decode()


def first_failure(reason: str) -> str:
    """What the first process to fail said; those that fail after it only know that a peer is gone."""
    return _first_failure(reason, RunError.exit_code)[0]


def _first_failure(reason: str, code: int) -> tuple[str, int]:
    """What the first to fail said, and its exit code."""
    if not _stores:
        return reason, code
    own = f"{rank()} {code} {reason}"
    try:
        first = _stores[0].compare_set(FIRST_FAILURE, "", own).decode()
    except RuntimeError:  # the store's host is gone
        first = own
    number, first_code, text = first.split(" ", 2)
    _speaker[:] = [int(number)]
    return text, int(first_code)


def speaks() -> bool:
    """Whether this process is the one that tells how the run went: the first to fail, else rank 0."""
    return rank() == (_speaker[0] if _speaker else 0)
