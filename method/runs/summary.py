"""What a finished run prints."""

from method.evaluation.columns import MAIN
from method.runs.folder import METRICS, RunFolder
from utils.tables import align


def summary(folder: RunFolder) -> str:
    """The published columns of one run, and where the rest is."""
    try:
        metrics = folder.read_metrics()
    except ValueError as error:
        return f"done: {folder.path}, but its {METRICS} cannot be read ({error}); --overwrite makes it anew"
    shown = {column.title: metrics[column.key] for column in MAIN if column.key in metrics}
    cells = ["-" if value is None else f"{value:.1f}" for value in shown.values()]
    table = [align(list(shown), [cells], left=0)] if shown else []
    return "\n".join([*table, f"done: {folder.path}"])
