"""Every measure of an audit, by its key, in the order in which tables show them."""

from method.evaluation import forgetting_quality, interpolated, margins, per_example, relearning, representation
from method.evaluation.measures import Measure

# What the modules of the formulas declare, a line a module.
PARTS: tuple[tuple[Measure, ...], ...] = (
    per_example.MEASURES,
    forgetting_quality.MEASURES,
    margins.MEASURES,
    interpolated.MEASURES,
    relearning.MEASURES,
    representation.MEASURES,
)
MEASURES: dict[str, Measure] = {measure.key: measure for part in PARTS for measure in part}


def measure_of(key: str) -> Measure:
    """The measure of a key; one that this version does not know goes by its key, and has neither unit nor meaning."""
    return MEASURES.get(key) or Measure(key, key.replace("_", " "), "", "", "", "", unit="")
