"""audit.json and relearn.json: what was found out about finished runs, a `Finding` a number, in checked files."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from utils.checks import Check, check, listed, null_or, number, single, table, text, whole
from utils.errors import UserError
from utils.files import read_json, write_json

AUDIT, RELEARN = "audit.json", "relearn.json"
RELEARN_PARTS = "relearn_parts.json"  # of a relearning test that is not finished
UNLEARNED, RETRAINED, ORIGINAL = MODELS = ("unlearned", "retrained", "original")  # what relearn.json calls the three
VERSION = 1
LARGEST = 64 * 2**20  # bytes
NUMBER = number(null=True)


@dataclass(frozen=True)
class Finding:
    """One number of an audit, and what it is to be compared with.

    measure: the key of a `Measure`. table: what `StoredRun.table` holds, in its order; label: of the row, as
    `method.runs.labels.label` calls it. group: its name, None for all. at: where on a curve it stands, such as
    {"forgotten_samples": 5, "step": 20}. low, high: the ends of its 95 % interval; low without a value: the number is
    larger than that. floor: the same between retrained models of different seeds; placebo: the same attack on samples
    that were not trained on. n: samples or pairs that it is made from; runs: how many runs. reason: why value is
    None, or what else is to be known of it.
    """

    measure: str
    table: tuple[Any, ...]
    label: str
    value: float | None
    group: str | None = None
    at: Mapping[str, Any] | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    placebo: float | None = None
    n: int | None = None
    runs: int | None = None
    reason: str | None = None


CHECKS: dict[str, Check] = {
    **dict.fromkeys(("value", "low", "high", "floor", "placebo"), NUMBER),
    **dict.fromkeys(("n", "runs"), null_or(whole())),
    **dict.fromkeys(("measure", "label"), text(empty=False)),
    "table": listed(single),
    "group": null_or(text()),
    "at": null_or(table({}, others=single)),
    "reason": null_or(text(20_000)),
}
FILE = table(
    {"version": whole(1, VERSION), "findings": listed(table(CHECKS, needed=("measure", "table", "label")))},
    needed=("version", "findings"),
)


def write_findings(file: Path, findings: Sequence[Finding], facts: Mapping[str, Any]) -> None:
    """Write them atomically; facts: what else a reader wants to know, such as the command's options, plain values."""
    write_json(file, {"version": VERSION, **facts, "findings": [asdict(one) for one in findings]})


def read_findings(file: Path) -> tuple[list[Finding], dict[str, Any]]:
    """The findings and the facts of a file; UserError, naming it, where it cannot be read."""
    try:
        found = read_json(file, LARGEST)
        check(found, FILE, "the file")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file} ({error}): make it again") from None
    names = {field.name for field in fields(Finding)}
    findings = [
        Finding(**{key: value for key, value in one.items() if key in names} | {"table": tuple(one["table"])})
        for one in found.pop("findings")
    ]
    return findings, found
