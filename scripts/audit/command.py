"""python -m scripts.audit FOLDER [--out FILE]: what several finished runs tell together, written to audit.json."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from method.runs.audits import Found, audit_file
from method.runs.files import PRETRAIN
from method.runs.findings import Finding, write_findings
from method.runs.made_from import MADE_FROM, digests_of
from method.runs.originals import starts_of
from method.runs.stored import StoredRun, read_runs
from scripts.audit import per_example, quality
from scripts.audit.checks import refuse_place, refuse_run, refuse_without_records
from scripts.audit.table import as_text
from scripts.report.naming import title
from utils.errors import UserError
from utils.paths import typed_path
from utils.signals import INTERRUPTED, stop_signals_raised
from utils.tables import one_line
from utils.terminal import Parser, on_terminal, say, tell, terminal_width

PARTS: tuple[Callable[[Sequence[StoredRun]], Iterator[Finding]], ...] = (per_example.examine, quality.examine)
EPILOG = """The file is made anew from the runs' records every time, without models and without training. It is whole or
not there. python -m scripts.report FOLDER shows it."""
MOST_TOLD = 10  # runs that are left out
Tables = Mapping[tuple, Sequence[StoredRun]]


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
    try:
        with stop_signals_raised():
            return _audit(wanted)
    except KeyboardInterrupt as stop:
        reason = str(stop) or "interrupted"
        say(f"{reason}: what was written before is as it was; the same command begins anew")
        return INTERRUPTED


def _audit(wanted: argparse.Namespace) -> int:
    if wanted.seeds is not None and wanted.seeds < 1:
        raise UserError(f"--seeds {wanted.seeds}: expected a whole number of at least 1")
    if wanted.out is not None:
        refuse_place(wanted.out, f"--out {wanted.out}")
    refuse_run(wanted.path)
    runs = read_runs(wanted.path)
    file = wanted.out or (audit_file(wanted.path) if wanted.seeds is None else None)
    if file is not None:
        refuse_place(file, str(file))
    finished = [run for run in runs if not run.problem]
    tables = tables_of(finished, wanted.seeds)
    if not tables:
        told = f"no finished run under {wanted.path} forgets anything; make some with a sweep"
        raise UserError("\n".join([told, *_left_out(runs)]))
    refuse_without_records(wanted.path, tables.values())
    findings = list(_findings(tables, wanted.seeds))
    used = list(dict.fromkeys(run for own in tables.values() for run in own))
    if file is not None:
        _write(file, findings, finished if wanted.seeds is None else used)
    found = [Found(one, None) for one in findings]
    parts = [as_text(used, found, tables, wanted.groups, terminal_width()), "\n".join(_left_out(runs))]
    told = f"written: {file}" if file else "not written, as --seeds took a part of the runs; --out FILE writes it"
    tell("\n\n".join(filter(None, [*parts, told])))
    return 0


def _findings(tables: Tables, n_seeds: int | None) -> Iterator[Finding]:
    for table, own in tables.items():
        say(f"{title(table)}: {len(own)} runs")
        there = len({run.seeds.train for run in own})
        if n_seeds is not None and there < n_seeds:
            say(f"--seeds {n_seeds}: it has {there} train seeds, and all of them are taken")
        for part in PARTS:
            yield from part(own)


def _write(file: Path, findings: Sequence[Finding], made_from: Sequence[StoredRun]) -> None:
    seeds = sorted({run.seeds.train for run in made_from})
    try:
        write_findings(file, findings, {"train_seeds": seeds, MADE_FROM: digests_of(made_from)})
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error}); give another --out") from None


def _left_out(runs: Sequence[StoredRun]) -> list[str]:
    """Lines on the runs that are not finished or cannot be read, and why."""
    problems = [f"- {run.place}: {one_line(run.problem)}" for run in runs if run.problem]
    further = [f"- and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
    return [f"left out, {len(problems)} of {len(runs)} runs:", *problems[:MOST_TOLD], *further] if problems else []


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
