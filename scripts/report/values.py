"""Moments over seeds."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from utils.tables import is_number


def moments(values: Sequence[Any]) -> dict[str, Any]:
    """n, mean and sample standard deviation of what is a number; None where there are too few."""
    present = [value for value in values if is_number(value)]
    return {
        "n": len(present),
        "mean": fmean(present) if present else None,
        "sd": stdev(present) if len(present) > 1 else None,
    }
