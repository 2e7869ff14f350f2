"""What a part is told, and how long it may take."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

QUICK, SHORT, FULL = "quick", "short", "full"


def given_path(text: str) -> Path:
    """A path of the command line, which counts from where the command was given; the scripts move away from there."""
    return Path(os.environ.get("GIVEN_FROM", "."), text).expanduser().resolve()


@dataclass(frozen=True)
class Options:
    """device: as for main.py; scope: a smoke of everything (quick), the default (short), or all (full).

    data_dir: a folder with fairface/, or None. out: where logs and results go.
    """

    device: str = "cuda"
    scope: str = SHORT
    data_dir: Path | None = None
    out: Path = Path("output/accept")

    @property
    def quick(self) -> bool:
        """Whether a smoke is all that is wanted."""
        return self.scope == QUICK

    @property
    def full(self) -> bool:
        """Whether every part is wanted at length."""
        return self.scope == FULL

    def as_json(self) -> str:
        """The options as the process of a part is given them."""
        return json.dumps({name: value and str(value) for name, value in asdict(self).items()})

    @classmethod
    def from_json(cls, text: str) -> "Options":
        """The options from what `as_json` gave."""
        known = json.loads(text)
        folder = known["data_dir"]
        return cls(known["device"], known["scope"], Path(folder) if folder else None, Path(known["out"]))


@dataclass(frozen=True)
class Part:
    """A function of the options that gives rows, what it proves, and the seconds it may take by scope.

    A scope that is absent leaves the part out unless it is named.
    """

    name: str
    function: str
    proves: str
    limits: dict[str, int]

    def limit(self, scope: str) -> int:
        """Of a part that is named, although the scope leaves it out, the next larger."""
        return self.limits.get(scope, self.limits[FULL])


PARTS = (
    Part("machine", "scripts.acceptance.machine:rows", "what machine this is", {QUICK: 120, SHORT: 120, FULL: 120}),
    Part("tests", "scripts.acceptance.suite:rows", "the test suite passes", {QUICK: 180, SHORT: 330, FULL: 1200}),
    Part(
        "correctness",
        "scripts.acceptance.correctness:rows",
        "the device computes what the CPU does",
        {QUICK: 180, SHORT: 300, FULL: 900},
    ),
    Part(
        "waiting",
        "scripts.acceptance.waiting:rows",
        "no step waits, no step keeps memory",
        {QUICK: 180, SHORT: 180, FULL: 600},
    ),
    Part(
        "speed", "scripts.acceptance.speed:rows", "the engine is near a bare loop", {QUICK: 120, SHORT: 180, FULL: 1500}
    ),
    Part(
        "whole_job",
        "scripts.acceptance.whole_job:rows",
        "whole runs, and where their seconds go",
        {QUICK: 180, FULL: 1800},
    ),
    Part("processes", "scripts.acceptance.processes:rows", "several processes are one run", {QUICK: 180, FULL: 600}),
)
