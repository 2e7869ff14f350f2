"""What a finished run prints."""

from method.runs.directory import RunDirectory
from method.runs.files import read_metrics
from utils.tables import align

COLUMNS = {
    "retain_acc": "RA", "forget_acc": "UA", "test_acc": "TA", "mia": "MIA", "equalized_odds": "EO",
    "forget_group_acc": "GA", "tow": "ToW", "avg_gap": "Avg. Gap", "worst_group_acc": "worst group",
}  # fmt: skip


def summary(directory: RunDirectory) -> str:
    """The published columns of one run, and where the rest is."""
    try:
        metrics = read_metrics(directory.file("metrics.json"))
    except ValueError as error:
        return f"done: {directory.path}, but its metrics.json cannot be read ({error}); --overwrite makes it anew"
    shown = {title: metrics[key] for key, title in COLUMNS.items() if key in metrics}
    cells = ["-" if value is None else f"{value:.1f}" for value in shown.values()]
    table = [align(list(shown), [cells], left=0)] if shown else []
    return "\n".join([*table, f"done: {directory.path}"])
