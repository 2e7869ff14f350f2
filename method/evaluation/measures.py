"""What an audit finds out, one `Measure` each: its name in files and tables, what it means, and what it cannot tell."""

import math
from typing import NamedTuple

PERCENT, DIFFERENCE = (0.0, 100.0), (-100.0, 100.0)  # ranges, of a share and of the difference of two


class Measure(NamedTuple):
    """A number of audit.json or relearn.json; key, title, unit: as those of a column.

    what: its meaning, in a phrase. definition: how it is computed, in a sentence or a formula. source: the paper, with
    the year. limits: what it cannot tell. best: HIGH or LOW of `method.evaluation.columns`, or "" where the value of a
    model that was not trained on the forget set is best. range: the smallest and the largest value that it can have.
    """

    key: str
    title: str
    what: str
    definition: str
    source: str
    limits: str
    unit: str = "%"
    best: str = ""
    decimals: int = 1
    range: tuple[float, float] = (-math.inf, math.inf)
