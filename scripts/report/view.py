"""The numbers behind the figures: a cell with its runs, its partners before and retrained, and means over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from utils.tables import is_number


@dataclass(frozen=True)
class View:
    """A cell with its runs, one a seed; `everything`: all runs of the report by id."""

    table: dict[str, Any]
    cell: dict[str, Any]
    runs: list[dict[str, Any]]
    everything: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """The label, and what it was run on."""
        task = [self.table["task"], f"ratio {self.table['ratio']:g}"] if self.table["task"] else []
        seeds = f"{len(self.runs)} seeds" if len(self.runs) > 1 else f"seed {self.runs[0]['seed']}"
        return f"{self.cell['label']} ({', '.join([self.table['dataset'], *task])}; {seeds})"

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

    def histories(self) -> list[dict[str, list]]:
        """The histories of the cell's runs, column -> values, of those that have one."""
        return [run["history"] for run in self.runs if run.get("history")]

    def histograms(self) -> list[dict[str, list]]:
        """The loss histograms of the cell's runs, set -> counts, of those that have one."""
        return [run["losses"] for run in self.runs if run.get("losses")]


def has(table: dict[str, Any], column: dict[str, Any]) -> bool:
    """Whether any cell has a value of the column."""
    return any(cell["n"].get(column["key"]) for cell in table["cells"])


def any_number(histories: Sequence[dict[str, list]], key: str) -> bool:
    """Whether a column of any history holds a number."""
    return any(is_number(value) for history in histories for value in history.get(key, ()))


def last_epoch(view: View) -> float:
    """The last epoch of the cell's runs, at least 1, so that all of its curves share an axis."""
    return max([1, *(epoch for history in view.histories() for epoch in epochs(history))])


def epochs(history: dict[str, list]) -> Sequence[float]:
    """The column of that name, or the numbers of the rows where there is none."""
    return history.get("epoch") or range(max(map(len, history.values()), default=0))


def average_accuracy(runs: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """A group's test accuracy over runs: mean, each, and the mean ends of the 95 % intervals; None without any."""
    groups = [group for run in runs for group in run.get("groups") or [] if group["name"] == name]
    found = [group for group in groups if is_number(group["test_acc"])]
    intervals = [group["test_interval"] for group in found if group["test_interval"]]
    if not found:
        return None
    return {
        "value": fmean(group["test_acc"] for group in found),
        "each": [group["test_acc"] for group in found],
        "interval": [fmean(ends) for ends in zip(*intervals, strict=True)] if intervals else None,
    }


def compute_shares(histograms: Sequence[dict[str, list]], name: str) -> list[float] | None:
    """A set's histogram of the loss in percent of the set, averaged over runs; None where the set is empty."""
    counts = [histogram[name] for histogram in histograms if sum(histogram.get(name) or ())]
    return [fmean(bins) for bins in zip(*([100 * n / sum(own) for n in own] for own in counts), strict=True)] or None


def describe_attack(view: View) -> str:
    """The AUC of the balanced attacks, as a caption."""

    def told(key: str) -> str:
        mean, deviation, over = view.cell["mean"].get(key), view.cell["sd"].get(key), "seeds"
        if len(view.runs) == 1:
            deviation, over = view.runs[0]["metrics"].get(f"{key}_sd"), "draws"
        if not is_number(mean):
            return "none"
        return f"{mean:.1f}" + (f" ± {deviation:.1f} over {over}" if is_number(deviation) else "")

    return (
        "first and last bin hold what lies beyond; balanced attack, AUC in percent (50: no signal): "
        f"{told('mia_auc')};\nwith non-members of the forget groups alone: {told('mia_group_auc')}"
    )
