"""METRICS maps a key of metrics.json to a metric of one's own; `register` adds one, and its column of the report."""

import inspect
import logging
import math
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from method.evaluation.columns import BEST, COLUMNS, NO_COLUMNS, Column
from method.evaluation.metrics import Undefined
from utils.text import for_people

RETRAINED = "retrained"  # the parameter that asks for the records of the retrained run
PARAMETERS = ("records", "splits", RETRAINED)
Function = Callable[..., float]
OWN_METRICS: dict[str, "Metric"] = {}
log = logging.getLogger("unlearning")


@dataclass(frozen=True)
class Metric:
    """A registered function; takes: which of PARAMETERS; limits, null: what docs/metrics.md says beside the column."""

    function: Function
    takes: tuple[str, ...]
    column: Column
    limits: str
    null: str

    @property
    def compares(self) -> bool:
        """Whether it needs the records of the retrained run."""
        return RETRAINED in self.takes

    def compute(self, given: Mapping[str, Any]) -> float:
        """Its value; `given` has what it takes. Undefined, with the reason, where there is none.

        A mistake in it is one of the reasons: the run keeps its other metrics, and this one can be made up for.
        """
        key = self.column.key
        try:
            value = float(self.function(**{name: given[name] for name in self.takes}))
        except Undefined as undefined:
            raise Undefined(for_people(str(undefined))) from None
        except Exception as error:
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"
            reason = for_people(f"{key} failed{_place(error)}: {what}")
            log.warning("%s; mend it, and python -m scripts.report --recompute computes it", reason)
            raise Undefined(reason) from error
        if not math.isfinite(value):
            raise Undefined(f"{key} gave {value}, which is no number that can be stored")
        return value


def register_metric(
    key: str,
    *,
    title: str,
    what: str,
    best: str = "",
    unit: str = "%",
    limits: str = "",
    null: str = "",
    decimals: int = 1,
) -> Callable[[Function], Function]:
    """Return a decorator that makes a function the metric `key` of metrics.json, and a column of the report.

    The function names what it takes: `records` and `splits` of the run, and `retrained`, the records of the run that it
    is compared with. It returns a number, and raises Undefined, with the reason, where the samples do not determine it.

    title, what: of the column, and its meaning in a phrase. best: the value of a column that is the best, "reference"
    (the one closest to the retrained run's), "high", "low", or "" for none. unit, limits, null: such as "nats",
    "0 and more" and when it is null. ValueError for a name that is taken, and for what cannot be meant.
    """
    _refuse_taken(key, title)
    if best not in BEST:
        raise ValueError(f"metric {key!r}: best is {best!r}, expected one of {', '.join(map(repr, BEST))}")

    def add(function: Function) -> Function:
        takes = tuple(inspect.signature(function).parameters)
        if not {"records", RETRAINED} & {*takes} or not {*takes} <= {*PARAMETERS}:
            raise ValueError(f"metric {key!r} takes ({', '.join(takes)}), expected some of {', '.join(PARAMETERS)}")
        column = Column(key, title, what, best, unit, decimals=decimals)
        OWN_METRICS[key] = Metric(function, takes, column, limits, null)
        COLUMNS.append(column)
        return function

    return add


def _place(error: Exception) -> str:
    """The line of the function in which it failed; empty where only its result was at fault."""
    _, *within = traceback.extract_tb(error.__traceback__)
    return f" in line {within[0].lineno} of {os.path.basename(within[0].filename)}" if within else ""


def _refuse_taken(key: str, title: str) -> None:
    """ValueError for a key or title by which another column could be meant, or none."""
    if not key.isidentifier() or not title.strip() or "," in title:
        raise ValueError(f"metric {key!r}, {title!r}: expected a key such as macro_acc, and a title without commas")
    taken = {name.lower() for column in COLUMNS for name in (column.key, column.title, *column.former)}
    for name in (key, title):
        if name.lower() in {*taken, *NO_COLUMNS}:
            raise ValueError(f"metric {key!r}: something is called {name!r} already; choose another name")
