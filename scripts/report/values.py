"""Values of rows: their groups, and moments over seeds."""

from collections.abc import Iterator, Mapping, Sequence
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


def groups_of(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Counts and test accuracy of every group that a run's sets hold, from its metrics."""
    forgotten = set(values.get("forget_group_names") or [])
    for group in values.get("groups") or []:
        n_train = group.get("n_train", group.get("n_retain", 0) + group.get("n_forget", 0))
        if not n_train and not group.get("n_test"):
            continue
        interval = group.get("test_interval")
        yield {
            "name": group["name"],
            "forget": group["name"] in forgotten,
            "n_train": n_train,
            "n_forget": group.get("n_forget", 0),
            "n_retain": group.get("n_retain", n_train),
            "n_test": group.get("n_test", 0),
            "test_acc": group.get("test_acc"),
            "test_interval": [round(end, 2) for end in interval] if interval else None,
        }
