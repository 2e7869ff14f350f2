"""Several processes as one run (torchrun): which one this is, and what is decided once for all of them.

Without torchrun everything here is the identity and imports nothing. Tensors are summed in utils.collectives.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from utils.errors import RunError, UserError
from utils.locks import LockLost
from utils.signals import Interrupted

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# The others wait for rank 0 while it waits for a lock or computes metrics; a peer that died is noticed at once.
PATIENCE = timedelta(days=1)
# A class comes before those that it is derived from.
SHARED_ERRORS = (UserError, RunError, LockLost, Interrupted, KeyboardInterrupt, OSError)
FIRST_FAILURE = "first failure"
_stores: list[Any] = []  # the store that the processes share, while they are joined
_speaker: list[int] = []  # rank of the first to fail, once one has


def world_size() -> int:
    """Processes of the run."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in VARIABLES) else 1


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def local_rank() -> int:
    """Number of this process on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", rank())) if world_size() > 1 else 0


def local_world_size() -> int:
    """Processes of the run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size())) if world_size() > 1 else 1


def share_of(n: int) -> tuple[int, int]:
    """(start, stop) of this process's contiguous share of n things; empty where there are fewer than processes."""
    number, size = rank(), world_size()
    return n * number // size, n * (number + 1) // size


@contextmanager
def joined() -> Iterator[None]:
    """The processes of the run find each other; those that end well leave together."""
    if world_size() == 1:
        yield
        return
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    from utils.device import collective_backend

    store, number, size = next(rendezvous("env://", timeout=PATIENCE))
    group = dist.PrefixStore("group", store)
    dist.init_process_group(collective_backend(), store=group, rank=number, world_size=size, timeout=PATIENCE)
    _stores.append(store)
    try:
        yield
        _wait()
    except Interrupted:
        _wait()  # rank 0 still writes how it ended, and torchrun ends all as soon as one has
        raise
    except Exception as error:
        reason = first_failure(" ".join(str(error).split()))
        if speaks():
            raise
        raise RunError(reason) from error
    finally:
        _stores.clear()
        dist.destroy_process_group()


def _wait() -> None:
    """Until every process is here; on the CPU, where torch's barrier would keep the GPUs busy."""
    import torch
    import torch.distributed as dist

    dist.all_reduce(torch.zeros(()))


def from_rank_0(function: Callable[[], Any]) -> Any:
    """What `function` gives or raises on rank 0, on every rank; only rank 0 calls it.

    The value is one that JSON holds; of errors, SHARED_ERRORS reach the others.
    """
    if world_size() == 1:
        return function()
    if rank() > 0:
        answer = json.loads(_broadcast(""))
        if "error" in answer:
            raise SHARED_ERRORS[answer["error"]](answer["text"])
        return answer["value"]
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
    answers = {source: json.loads(_broadcast(answer, source)) for source in firsts.values()}
    for found in answers.values():
        if "error" in found:
            raise SHARED_ERRORS[found["error"]](found["text"])
    return answers[mine]["value"]


def _answer(function: Callable[[], Any]) -> str:
    """What `function` gives or raises, as JSON."""
    try:
        return json.dumps({"value": function()})
    except SHARED_ERRORS as error:
        kind = next(number for number, known in enumerate(SHARED_ERRORS) if isinstance(error, known))
        return json.dumps({"error": kind, "text": str(error)})


def _broadcast(text: str, source: int = 0) -> str:
    """The text of one process; as bytes, since torch's way for objects unpickles what the network brings."""
    import torch
    import torch.distributed as dist

    content = torch.tensor(list(text.encode()), dtype=torch.uint8)
    size = torch.tensor(len(content))
    dist.broadcast(size, source)
    content = content if rank() == source else torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(content, source)
    return bytes(content.tolist()).decode()


def first_failure(reason: str) -> str:
    """What the first process to fail said; those that fail after it only know that a peer is gone."""
    if not _stores:
        return reason
    try:
        first = _stores[0].compare_set(FIRST_FAILURE, "", f"{rank()} {reason}").decode()
    except RuntimeError:  # the store's host is gone
        first = f"{rank()} {reason}"
    number, _, text = first.partition(" ")
    _speaker[:] = [int(number)]
    return text


def speaks() -> bool:
    """Whether this process is the one that tells how the run went: the first to fail, else rank 0."""
    return rank() == (_speaker[0] if _speaker else 0)
