"""What torchrun, or a cluster's job manager, says of several processes in the environment."""

import os
from datetime import timedelta

from utils.errors import UserError

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
LIMITS = {"RANK": (0, 9999), "WORLD_SIZE": (1, 10_000), "MASTER_PORT": (1, 65_535)}
LIMITS |= {"LOCAL_RANK": LIMITS["RANK"], "LOCAL_WORLD_SIZE": LIMITS["WORLD_SIZE"]}
REMEDY = "start the processes with torchrun, or unset RANK and WORLD_SIZE for a single one"
# The others wait for rank 0 while it waits for a lock or computes metrics; a peer that died is noticed at once.
PATIENCE = timedelta(days=1)


def read_variable(name: str, default: int | None = None) -> int:
    """A variable of the environment; KeyError where it is absent, ValueError where it is no number within LIMITS."""
    if default is not None and name not in os.environ:
        return default
    value, (least, most) = int(os.environ[name]), LIMITS[name]
    if not least <= value <= most:
        raise ValueError(f"{value} is not within {least} and {most}")
    return value


def check_variables() -> None:
    """UserError where the variables that torchrun sets are there in part, or make no sense."""
    if not {"RANK", "WORLD_SIZE"} & os.environ.keys():
        return  # an address alone makes no group
    if os.environ.get("WORLD_SIZE") == "1" and os.environ.get("RANK", "0") == "0":
        return
    for name in (name for name in LIMITS if name in os.environ):
        try:
            read_variable(name)
        except ValueError:
            least, most = LIMITS[name]
            found = f"{name}={os.environ[name]} in the environment"
            raise UserError(f"{found}: expected a whole number from {least} to {most}; {REMEDY}") from None
    absent = [name for name in VARIABLES if not os.environ.get(name)]
    if absent:
        there = ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name not in absent)
        raise UserError(
            f"the environment has {there} but no {' and no '.join(absent)}, so this is neither one of several "
            f"processes nor a single one; {REMEDY}"
        )
    for number, size in (("RANK", "WORLD_SIZE"), ("LOCAL_RANK", "LOCAL_WORLD_SIZE")):
        if {number, size} <= os.environ.keys() and read_variable(number) >= read_variable(size):
            found = f"{number}={os.environ[number]} and {size}={os.environ[size]} in the environment"
            raise UserError(f"{found}: they count from 0, so the largest is {read_variable(size) - 1}; {REMEDY}")
