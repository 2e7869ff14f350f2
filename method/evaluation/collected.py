"""Metrics as they are found, and the reason of each that is null."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from method.evaluation.metrics import Undefined
from method.evaluation.registry import ORIGINAL, OWN_METRICS, RETRAINED


class Collected:
    """Metrics so far, and for each that is None the reason."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def add(self, key: str, compute: Callable[..., Any], *arguments: Any) -> None:
        """Put compute(*arguments) under `key`."""
        self.add_all((key,), lambda: {key: compute(*arguments)})

    def add_all(self, keys: Sequence[str], compute: Callable[..., Mapping[str, Any]], *arguments: Any) -> None:
        """Put the entries of compute(*arguments), whose keys are `keys`; single ones can be Undefined themselves."""
        try:
            found = compute(*arguments)
        except Undefined as undefined:
            found = dict.fromkeys(keys, undefined)
        for key, value in found.items():
            self.values[key] = None if isinstance(value, Undefined) else value
            if isinstance(value, Undefined):
                self.reasons[key] = str(value)

    def add_registered(self, **given: Any) -> None:
        """Add the registered metrics that need the records of whom is given beside the run's own: one or nobody."""
        beside = next((name for name in (RETRAINED, ORIGINAL) if name in given), "")
        for key, metric in OWN_METRICS.items():
            if metric.beside == beside:
                self.add(key, metric.compute, given)
