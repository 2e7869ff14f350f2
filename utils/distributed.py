"""Several processes as one run (torchrun): which one this is, and what is decided once for all of them.

Without torchrun everything here is the identity and imports nothing. Tensors are summed in utils.collectives.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from utils.errors import RunError, UserError

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# The others wait for rank 0 while it waits for a lock or computes metrics; a peer that died is noticed at once.
PATIENCE = timedelta(days=1)
SHARED_ERRORS = {error.__name__: error for error in (UserError, RunError)}
FIRST_FAILURE = "first failure"
_stores: list[Any] = []  # the store that the processes share, while they are joined


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
        wait()
    finally:
        _stores.clear()
        dist.destroy_process_group()


def wait() -> None:
    """Until every process is here; on the CPU, where torch's barrier would keep the GPUs busy."""
    if world_size() > 1:
        import torch
        import torch.distributed as dist

        dist.all_reduce(torch.zeros(()))


def from_rank_0(function: Callable[[], Any]) -> Any:
    """What `function` gives or raises on rank 0, on every rank; only rank 0 calls it.

    The value is one that JSON holds; of errors, UserError and RunError reach the others.
    """
    if world_size() == 1:
        return function()
    answer: dict[str, Any] = {}
    if rank() == 0:
        try:
            answer = {"value": function()}
        except tuple(SHARED_ERRORS.values()) as error:
            answer = {"error": type(error).__name__, "text": str(error)}
    answer = json.loads(_broadcast(json.dumps(answer)))
    if "error" in answer:
        raise SHARED_ERRORS[answer["error"]](answer["text"])
    return answer["value"]


def _broadcast(text: str) -> str:
    """Rank 0's text; as bytes, since torch's way for objects unpickles what the network brings."""
    import torch
    import torch.distributed as dist

    content = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    size = torch.tensor(len(content))
    dist.broadcast(size, 0)
    content = content if rank() == 0 else torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(content, 0)
    return bytes(content.tolist()).decode()


def first_failure(reason: str) -> tuple[bool, str]:
    """Whether this process is the first to fail, and what the first said.

    Those that fail after it only know that a peer is gone. Before the processes have joined, all fail alike: rank 0 is
    the one to say so.
    """
    if not _stores:
        return rank() == 0, reason
    mine = f"{rank()} {reason}"
    try:
        first = _stores[0].compare_set(FIRST_FAILURE, "", mine).decode()
    except RuntimeError:  # the store's host is gone
        return True, reason
    return first == mine, first.split(" ", 1)[1]
