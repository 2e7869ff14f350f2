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

RETRAINED, ORIGINAL = "retrained", "original"  # the parameters that ask for the records of another model
PARAMETERS = ("records", "splits", RETRAINED, ORIGINAL)
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
    def beside(self) -> str:
        """Whose records it needs beside the run's own: RETRAINED, ORIGINAL, or "" for nobody's."""
        return next((name for name in (RETRAINED, ORIGINAL) if name in self.takes), "")

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
    is compared with, or `original`, those of the model before unlearning. It returns a number, and raises Undefined,
    with the reason, where the samples do not determine it.

    title, what: of the column, and its meaning in a phrase. best: the value of a column that is the best, "reference"
    (the one closest to the retrained run's), "high", "low", or "" for none. unit, limits, null: such as "nats",
    "0 and more" and when it is null. ValueError for a name that is taken, and for what cannot be meant.
    """
    _refuse_taken(key, title)
    if best not in BEST:
        raise ValueError(f"metric {key!r}: best is {best!r}, expected one of {', '.join(map(repr, BEST))}")

    def add(function: Function) -> Function:
        takes = tuple(inspect.signature(function).parameters)
        if not {*takes} - {"splits"} or not {*takes} <= {*PARAMETERS}:
            raise ValueError(f"metric {key!r} takes ({', '.join(takes)}), expected some of {', '.join(PARAMETERS)}")
        if {RETRAINED, ORIGINAL} <= {*takes}:
            raise ValueError(f"metric {key!r} takes both {RETRAINED} and {ORIGINAL}, expected one of them")
        column = Column(key, title, what, best, unit, decimals=decimals)
        OWN_METRICS[key] = Metric(function, takes, column, limits, null)
        COLUMNS.append(column)
        return function

    return add


def keys_beside(whom: str) -> tuple[str, ...]:
    """The keys of the registered metrics that need the records of `whom`: RETRAINED or ORIGINAL."""
    return tuple(key for key, metric in OWN_METRICS.items() if metric.beside == whom)


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
