"""A cell with its runs and their partners, and the accuracy of a group over runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from method.evaluation.intervals import student_factor
from scripts.report.estimates import ALIKE
from scripts.report.values import moments
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


def average_accuracy(groups: Iterable[Mapping[str, Any]], independent: bool = True) -> dict[str, Any]:
    """Test accuracy (%) of a group of each run: n, mean and sd, and `interval` for 95 %, or None.

    Of several seeds the interval is Student's over them, within 0 and 100; of one seed, and of seeds that are all
    alike, it is Wilson's, from the number of test images. Runs that are not `independent` have none.
    """
    there = [group for group in groups if is_number(group["test_acc"])]
    values = [group["test_acc"] for group in there]
    interval = next((list(group["test_interval"]) for group in there if group["test_interval"]), None)
    found, factor = moments(values), student_factor(len(values))
    if len(values) > 1 and not independent:
        interval = None
    elif factor is not None and max(values) - min(values) > ALIKE:
        half = factor * found["sd"]
        interval = within_percent(found["mean"] - half, found["mean"] + half)
    return found | {"interval": interval}


def within_percent(low: float, high: float) -> list[float]:
    """Both ends of the interval of a share: none lies beyond 0 and 100."""
    return [max(low, 0.0), min(high, 100.0)]
