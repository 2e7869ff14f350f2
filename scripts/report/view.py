"""A cell with its runs and their partners, and the accuracy of a group over runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from utils.tables import is_number


@dataclass(frozen=True)
class View:
    """A cell with its runs, or some of them, one a seed; `everything`: all runs of the report by id."""

    table: dict[str, Any]
    cell: dict[str, Any]
    runs: list[dict[str, Any]]
    everything: dict[str, dict[str, Any]]

    def of(self, run: dict[str, Any]) -> "View":
        """The same of one run alone."""
        return replace(self, runs=[run])

    def partners(self) -> dict[str, list[dict[str, Any]]]:
        """The runs before, after and retrained, as far as there are any; a run is not shown twice."""
        own = {run["id"] for run in self.runs}
        named = {"before": "original", "after": "id", "retrained": "reference"}
        found = {}
        for role, key in named.items():
            ids = dict.fromkeys(run[key] for run in self.runs if run[key] in self.everything)
            found[role] = [self.everything[name] for name in ids if role == "after" or name not in own]
        return {role: runs for role, runs in found.items() if runs}

    def groups(self) -> list[dict[str, Any]]:
        """The groups of the first seed's run, the forget groups first."""
        return sorted(self.runs[0].get("groups") or [], key=lambda group: not group["forget"])


def average_accuracy(runs: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """A group's test accuracy over runs: mean, and the mean ends of the 95 % intervals; None without any."""
    groups = [group for run in runs for group in run.get("groups") or [] if group["name"] == name]
    found = [group for group in groups if is_number(group["test_acc"])]
    intervals = [group["test_interval"] for group in found if group["test_interval"]]
    if not found:
        return None
    return {
        "value": fmean(group["test_acc"] for group in found),
        "interval": [fmean(ends) for ends in zip(*intervals, strict=True)] if intervals else None,
    }
