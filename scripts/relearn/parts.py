"""The parts of a test: computed one after the other, each kept as soon as it is there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from method.runs.findings import MODELS, RELEARN_PARTS, RETRAINED, UNLEARNED
from scripts.relearn.bench import Bench
from scripts.relearn.curves import relearn_curve, relearn_time, shown_rows
from scripts.relearn.knowledge import distance, features, line
from scripts.relearn.part_checks import misfit
from utils.files import read_memory, write_json
from utils.signals import check_stop

VERSION = 1  # of what parts hold

Part = tuple[str, str, Callable[[], Any]]  # its name, the model that it is of ("" for all), and what computes it


def parts_of(bench: Bench) -> Iterator[Part]:
    """All parts in their order."""
    for k in bench.options.forgotten:
        for model in MODELS:
            yield f"curve {k} {model}", model, partial(curve, bench, model, k)
    for model in MODELS:
        yield f"time {model}", model, partial(relearn_time, bench, model)
    for model in (UNLEARNED, RETRAINED):
        yield f"distance {model}", model, partial(distance, bench, model)
        yield f"line {model}", model, partial(line, bench, model)
    yield "features", "", partial(features, bench)


def curve(bench: Bench, model: str, k: int) -> dict[str, Any]:
    """The curve of a model, or the reason why so many forgotten samples cannot be shown."""
    n = len(bench.pool)
    if k >= n or not len(shown_rows(bench, k)[1]):
        return {"reason": f"of {n} forgotten samples none is left to be asked for where {k} are shown"}
    return relearn_curve(bench, model, k)


@dataclass
class Store:
    """Finished parts in a file of the run's folder.

    question: what they answer, plain values. known: parts of models that several runs share, by what they depend on.
    changed: in words, what the parts that were there answered otherwise, for which they are left out. damaged: which of
    them are not as this program writes them, for which these alone are left out.
    """

    file: Path
    question: dict[str, Any]
    known: dict[str, Any]
    parts: dict[str, Any] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @classmethod
    def opened(cls, folder: Path, question: dict[str, Any], known: dict[str, Any]) -> "Store":
        """What an earlier start has left of the same question."""
        file = folder / RELEARN_PARTS
        stored = read_memory(file)
        then, parts = stored.get("question"), stored.get("parts")
        if not isinstance(then, dict) or not isinstance(parts, dict):
            return cls(file, question, known)
        version = stored.get("version", 1)  # earlier versions did not say it
        changed = [] if version == VERSION else [f"the version of its parts was {version} and is {VERSION}"]
        changed += differences(then, question)
        if changed:
            return cls(file, question, known, {}, changed)
        wrong = {name: told for name, part in parts.items() if (told := misfit(name, part, question))}
        sound = {name: part for name, part in parts.items() if name not in wrong}
        return cls(file, question, known, sound, damaged=[f"{name}: {told}" for name, told in wrong.items()])

    def complete(self, bench: Bench, tell: Callable[[str, int, int], None]) -> dict[str, Any]:
        """All parts; those that are not there yet are computed and kept.

        tell: is given the name of each that is begun, its number, and how many there are.
        """
        wanted = list(parts_of(bench))
        for number, (name, model, compute) in enumerate(wanted, start=1):
            check_stop()
            if name in self.parts:
                continue
            key = self._shared_key(name, model)
            if key not in self.known:
                tell(f"{name} model" if model else name, number, len(wanted))
                self.known[key] = compute()
            self.parts[name] = self.known[key]
            write_json(self.file, {"version": VERSION, "question": self.question, "parts": self.parts})
        return self.parts

    def _shared_key(self, name: str, model: str) -> str:
        """A retrained model's curve does not depend on the unlearned model that it is compared with."""
        alone = {UNLEARNED} if model not in ("", UNLEARNED) else set()
        weights = {which: own for which, own in self.question["weights"].items() if which not in alone}
        return repr((name, {**self.question, "weights": weights}))


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two questions, in words; tables within them by their entries."""
    found = []
    for name in {**then, **now}:
        before, after = then.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += [f"{name}: {one}" for one in differences(before, after)]
        elif before != after:
            found.append(f"{name} was {before} and is {after}")
    return found
