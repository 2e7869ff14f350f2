"""The parts of the variance of rows that share trained models: what training adds, and what unlearning adds."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from method.evaluation.columns import Column
from method.evaluation.variance import nested_variance
from scripts.report.collect import Row, independent
from scripts.report.estimates import ALIKE
from utils.tables import HOLE, is_number

HEADER = ("method", "seeds", "metric", "mean", "sd of training", "sd of unlearning")
LEFT = 3  # of its columns are texts
TOLD = (
    "Training and unlearning apart, each with its 95 % interval; seeds: train seeds x runs of each, all of one forget"
    " set. The mean's interval is over the train seeds; those of the standard deviations take values to be normal."
)
Estimate = tuple[float, float, float]  # a value and both ends of its interval
Shown = Callable[[Row, Column], float | None]


class Apart(NamedTuple):
    """A mean, and the standard deviations by training and by unlearning."""

    mean: Estimate
    train: Estimate
    unlearn: Estimate


def hindrance(rows: Sequence[Row]) -> str:
    """Why the parts of the variance of rows that share trained models cannot be told; empty where they can."""
    sizes = sorted(Counter(row.seeds.train for row in rows).values())
    if len({row.seeds.forget for row in rows}) > 1:
        return "they have several forget seeds"
    if len(sizes) == 1:
        return "they have one train seed"
    if sizes[0] != sizes[-1]:
        return f"their train seeds have {sizes[0]} to {sizes[-1]} runs each, not as many all"
    return "their train seeds have one run each" if sizes[0] == 1 else ""


def design(rows: Sequence[Row]) -> tuple[int, int] | None:
    """How many train seeds, and runs of each, where rows are nested and balanced; None where they are not."""
    if independent(rows) or hindrance(rows):
        return None
    n_train = len({row.seeds.train for row in rows})
    return n_train, len(rows) // n_train


def take_apart(values: Mapping[Row, Any]) -> Apart | None:
    """Of the values of nested and balanced rows; None where one is missing, or all are alike."""
    by_train: dict[int, list[float]] = defaultdict(list)
    for row, value in values.items():
        if not is_number(value):
            return None
        by_train[row.seeds.train].append(value)
    parts = nested_variance(list(by_train.values()))
    if parts.train + parts.unlearn <= ALIKE**2:
        return None
    train, unlearn = (
        (math.sqrt(variance), math.sqrt(ends[0]), math.sqrt(ends[1]))
        for variance, ends in ((parts.train, parts.train_ends), (parts.unlearn, parts.unlearn_ends))
    )
    return Apart((parts.mean, *parts.mean_ends), train, unlearn)


def apart_lines(cells: Mapping[str, Sequence[Row]], columns: Sequence[Column], shown: Shown) -> Iterator[list[str]]:
    """A line of HEADER a label and column, of nested and balanced labels alone."""
    for name, rows in cells.items():
        if not (found := design(rows)):
            continue
        for column in columns:
            values = {row: shown(row, column) for row in rows}
            parts = take_apart(values)
            n_missing = [*values.values()].count(None)
            if parts or 0 < n_missing < len(rows):
                texts = [_told(part, column) for part in parts] if parts else [HOLE] * 3
                yield [name, f"{found[0]} x {found[1]}", column.title, *texts]


def _told(found: Estimate, column: Column) -> str:
    """`71.8 (64.9 to 78.8)`, of values as they are shown."""
    value, low, high = (f"{one:z.{column.decimals}f}" for one in found)
    return f"{value} ({low} to {high})"
