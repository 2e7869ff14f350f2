"""python -m scripts.audit FOLDER [--out FILE]: what several finished runs tell together, written to audit.json."""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from method.evaluation import per_example as formulas
from method.evaluation.measures import Measure
from method.runs.audits import audit_file
from method.runs.files import PRETRAIN
from method.runs.findings import Finding, write_findings
from method.runs.originals import starts_of
from method.runs.stored import StoredRun, read_runs
from scripts.audit import per_example, quality
from scripts.report.naming import title
from utils.errors import UserError
from utils.paths import typed_path
from utils.signals import INTERRUPTED
from utils.tables import HOLE, align
from utils.terminal import Parser, on_terminal, say, tell, terminal_width

# What audits the runs of a table, and the measures that it finds out, a line a part.
PARTS: tuple[tuple[Callable[[Sequence[StoredRun]], Iterator[Finding]], Sequence[Measure]], ...] = (
    (per_example.examine, formulas.MEASURES),
    (quality.examine, quality.MEASURES),
)
EPILOG = """The file is made anew from the runs' records every time, without models and without training. It is whole or
not there. python -m scripts.report FOLDER shows it."""


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "python -m scripts.audit",
        description="Audit finished runs of several seeds: whether forgotten samples can still be told.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "path", nargs="?", type=typed_path, default=Path("output"), help="folder or zip of runs (default: output)"
    )
    parser.add_argument(
        "--out", type=typed_path, metavar="FILE", help="write to FILE (default: audit.json in the folder, or beside a "
        "zip, with its name before it)"
    )  # fmt: skip
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="M",
        help="only the first M train seeds of each table, what fewer runs would tell: "
        "it is printed, and written with --out alone",
    )
    parser.add_argument("--groups", action="store_true", help="print a row for each group too")
    return parser.parse_args(arguments)


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Audit every table, write and print what was found; returns the exit code."""
    wanted = _parse(arguments)
    file = wanted.out or (audit_file(wanted.path) if wanted.seeds is None else None)
    if wanted.out is not None and (os.path.isdir(wanted.out) or not os.path.isdir(wanted.out.parent)):
        raise UserError(f"--out {wanted.out}: this is a folder, or lies in none; give the name of a file")
    if wanted.seeds is not None and wanted.seeds < 1:
        raise UserError(f"--seeds {wanted.seeds}: expected a whole number of at least 1")
    tables = tables_of([run for run in read_runs(wanted.path) if not run.problem], wanted.seeds)
    if not tables:
        raise UserError(f"no finished run under {wanted.path} forgets anything; make some with a sweep")
    findings = []
    try:
        for table, own in tables.items():
            say(f"{title(table)}: {len(own)} runs")
            findings += [finding for part, _ in PARTS for finding in part(own)]
    except KeyboardInterrupt:
        say("interrupted: what was written before is as it was; the same command begins anew")
        return INTERRUPTED
    seeds = sorted({run.seeds.train for own in tables.values() for run in own})
    if file is not None:
        _write(file, findings, seeds)
    width = terminal_width()
    tell("\n\n".join(as_text(findings, table, wanted.groups, width) for table in tables))
    tell(f"written: {file}" if file else "not written, as --seeds took a part of the runs; --out FILE writes it")
    return 0


def _write(file: Path, findings: Sequence[Finding], seeds: Sequence[int]) -> None:
    try:
        write_findings(file, findings, {"train_seeds": seeds})
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error}); give another --out") from None


def tables_of(runs: Sequence[StoredRun], n_seeds: int | None = None) -> dict[tuple, list[StoredRun]]:
    """The runs of each table, by `StoredRun.table`, with the pretrained ones that they start from.

    n_seeds: those of as many train seeds alone, the lowest of the table.
    """
    found: dict[tuple, list[StoredRun]] = {}
    starts = starts_of(runs)
    for run in runs:
        if run.method != PRETRAIN:
            found.setdefault(run.table, []).append(run)
    for table, own in found.items():
        first = sorted({run.seeds.train for run in own})[:n_seeds]
        found[table] = [run for run in own if run.seeds.train in first]
        found[table] += dict.fromkeys(start for run in found[table] if (start := starts[run].run) is not None)
    return dict(sorted(found.items(), key=lambda item: str(item[0])))


def as_text(findings: Sequence[Finding], table: tuple, groups: bool, width: int) -> str:
    """A row a label, or a label and group, and a column a measure: values with their intervals; then why some lack."""
    own = [one for one in findings if one.table == table and one.at is None and (groups or one.group is None)]
    measures = {one.key: one for _, part in PARTS for one in part}
    columns = [key for key in measures if any(one.measure == key and one.value is not None for one in own)]
    rows: dict[tuple[str, str | None], dict[str, Finding]] = {}
    for one in own:
        rows.setdefault((one.label, one.group), {})[one.measure] = one
    header = ["row", *(["group"] if groups else []), "runs", *(measures[key].title for key in columns)]
    lines = []
    for (label, group), by_key in rows.items():
        n = next((one.runs for one in by_key.values() if one.runs is not None), None)
        cells = [_cell(by_key.get(key), measures[key].decimals) for key in columns]
        lines.append([label, *([group or "all"] if groups else []), HOLE if n is None else str(n), *cells])
    reasons: dict[str, dict[str, None]] = {}
    for one in own:
        if one.reason:
            titles = measures[one.measure].title if one.measure in measures else one.measure
            reasons.setdefault(one.reason, {})[f"{titles} of {one.label}"] = None
    told = [f"- {_few(list(places))}: {reason}" for reason, places in reasons.items()]
    return "\n".join([title(table), "", align(header, lines, 1 + groups, width), *([""] if told else []), *told])


def _few(places: Sequence[str], most: int = 4) -> str:
    further = f" and {len(places) - most} more" if len(places) > most else ""
    return ", ".join(places[:most]) + further


def _cell(finding: Finding | None, decimals: int) -> str:
    if finding is None or finding.value is None:
        return HOLE
    text = f"{finding.value:z.{decimals}f}"
    if finding.low is None or finding.high is None:
        return text
    return f"{text} ({finding.low:z.{decimals}f} to {finding.high:z.{decimals}f})"
