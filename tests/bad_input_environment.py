"""Bad input: what the environment says of several processes."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from bad_input import Place, case

RUN = "--method pretrain --dataset digits"
ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def variables(**values: str) -> Callable[[Place], AbstractContextManager[None]]:
    """These variables of the environment while the command runs."""

    @contextmanager
    def during(place: Place) -> Iterator[None]:
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    return during


def started_with(title: str, **values: str) -> None:
    """A case that is nothing but these variables."""
    case(title, variables(**values))(lambda place: RUN)


started_with("an empty WORLD_SIZE", WORLD_SIZE="")
started_with("a RANK that is no number", WORLD_SIZE="2", RANK="foo", **ADDRESS)
started_with("a RANK beyond the processes", WORLD_SIZE="2", RANK="2", **ADDRESS)
started_with("a MASTER_PORT that no machine has", WORLD_SIZE="2", RANK="0", **ADDRESS | {"MASTER_PORT": "70000"})
started_with("an empty LOCAL_RANK", WORLD_SIZE="2", RANK="0", LOCAL_RANK="", **ADDRESS)
started_with("RANK and WORLD_SIZE without an address", WORLD_SIZE="2", RANK="0")
