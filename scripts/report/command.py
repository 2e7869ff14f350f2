"""python -m scripts.report output [filters] [--format F] [--out FILE]: collect every run under a folder and show it."""

import argparse
import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from method.evaluation.columns import COLUMNS
from method.runs.folder import METRICS
from method.runs.recompute import recompute
from method.runs.stored import StoredRun, read_runs, reference_of
from method.runs.zips import refuse_zip
from scripts.report.collect import FILTERS, Report
from scripts.report.columns import choose_columns
from scripts.report.figures import save_figures
from scripts.report.page import page
from scripts.report.payload import payload
from scripts.report.tabular import as_csv, as_latex
from scripts.report.text import RETRAINED, document
from utils.errors import RunError, UserError
from utils.files import write_json, write_text
from utils.paths import typed_path
from utils.tables import one_line
from utils.terminal import Parser, on_terminal, say, tell

TABLES = ("text", "markdown", "csv", "latex")  # of the columns asked for
TEXTS = (*TABLES, "json")
FILES = ("html", "png", "pdf")  # need --out
SUFFIXES = {
    ".txt": "text", ".md": "markdown", ".csv": "csv", ".tex": "latex", ".json": "json",
    ".html": "html", ".png": "png", ".pdf": "pdf",
}  # fmt: skip


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "python -m scripts.report",
        description="Tables, figures and a page of every finished run under a folder.",
        epilog=f"columns: {', '.join(column.key for column in COLUMNS)}",
        allow_abbrev=False,
    )
    parser.add_argument(
        "path", nargs="?", type=typed_path, default=Path("output"), help="folder or zip of runs (default: output)"
    )
    for name, kind in FILTERS.items():
        untagged = "; '' for runs without one" if name == "tag" else ""
        parser.add_argument(f"--{name}", type=kind, action="append", help=f"only this {name}; repeatable{untagged}")
    parser.add_argument("--format", choices=(*TEXTS, *FILES), help="default: what FILE's name says, else text")
    parser.add_argument("--out", type=typed_path, metavar="FILE", help="write to FILE instead of printing")
    parser.add_argument("--columns", default="main", metavar="LIST", help="main, all, or keys and titles with commas")
    parser.add_argument("--each", action="store_true", help="one row a run instead of mean and deviation over seeds")
    parser.add_argument(
        "--difference",
        action="store_true",
        help="text, markdown: the difference to the retrained model of the same seed instead of the value",
    )
    parser.add_argument("--against", metavar="ROW", help="the same to another row, such as miu or 'salun + reweight'")
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="first make every finished run's metrics.json anew from its records, without the model",
    )
    return parser.parse_args(arguments)


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the report; the exit code is 2 where there is nothing to report on."""
    wanted = _parse(arguments)
    try:
        kind = _format(wanted)
        columns = choose_columns(wanted.columns)
        runs = read_runs(wanted.path)
        whole = True
        if wanted.recompute:
            whole = recompute_all(runs)
            runs = read_runs(wanted.path)
        against = wanted.against or (RETRAINED if wanted.difference else "")
        shown = columns if kind in TABLES else COLUMNS
        filters = {name: vars(wanted)[name] or () for name in FILTERS}
        report = Report(runs, filters, [column.key for column in shown])
        if not report.tables and not report.missing:
            raise UserError(f"no run under {wanted.path} fits --{', --'.join(FILTERS)} as given; leave one of them out")
        if kind in ("png", "pdf"):
            with _told(wanted.out):
                save_figures(payload(report, wanted.path), wanted.out, kind)
            return 0 if whole else RunError.exit_code
        text = {
            "text": lambda: document(report, columns, False, wanted.each, against),
            "markdown": lambda: document(report, columns, True, wanted.each, against),
            "csv": lambda: as_csv(report, columns, wanted.each),
            "latex": lambda: as_latex(report, columns),
            "json": lambda: json.dumps(payload(report, wanted.path), indent=1, allow_nan=False) + "\n",
            "html": lambda: page(payload(report, wanted.path)),
        }[kind]()
        if wanted.out is None:
            tell(text, end="")
        else:
            with _told(wanted.out):
                write_text(wanted.out, text)
    except (UserError, RunError) as error:
        say(f"error: {error}")
        return error.exit_code
    return 0 if whole else RunError.exit_code


@contextlib.contextmanager
def _told(out: Path) -> Iterator[None]:
    """UserError where a file cannot be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--out {out}: it cannot be written ({reason}); give the name of another file") from None


def _format(wanted: argparse.Namespace) -> str:
    """The format asked for, or that of FILE's suffix; UserError where FILE is missing or cannot be made."""
    suffix = wanted.out.suffix.lower() if wanted.out else ""
    kind = wanted.format or SUFFIXES.get(suffix, "text")
    if wanted.out is None and kind in FILES:
        raise UserError(f"--format {kind} makes a file: give its name with --out report.{kind}")
    if wanted.out is not None and not _is_name(wanted.out):
        raise UserError(f"--out {wanted.out}: no file can have this name; give another")
    if wanted.out is not None and os.path.isdir(wanted.out):
        raise UserError(f"--out {wanted.out}: this is a folder; give a file's name")
    if wanted.out is not None and not os.path.isdir(wanted.out.parent):
        raise UserError(f"--out {wanted.out}: there is no folder {wanted.out.parent}; make it first")
    if wanted.difference and wanted.against:
        raise UserError("--difference is to the retrained model and --against to another row; give one of them")
    differences = wanted.difference or wanted.against
    if (wanted.each or differences) and kind not in ("text", "markdown", "csv"):
        raise UserError(f"--each, --difference and --against are for tables, not for --format {kind}; leave them out")
    if differences and kind == "csv":
        raise UserError("--difference, --against: CSV has values and differences to the retrained; leave it out")
    return kind


def _is_name(out: Path) -> bool:
    """Whether the system can have a file of this name."""
    try:
        return b"\0" not in os.fsencode(out)
    except UnicodeEncodeError:
        return False


def recompute_all(runs: Sequence[StoredRun]) -> bool:
    """Make metrics.json anew where a run is finished, the retrained ones first, as others are compared with them.

    Returns whether all could be; what could not is named on standard error. UserError where one lies in a zip.
    """
    for run in runs:
        refuse_zip(run.folder)
    unreadable = [run for run in runs if run.marked and not run.config]
    finished = [run for run in runs if run.marked and run.config]
    own = {id(run): reference_of(run, finished) for run in finished}
    finished.sort(key=lambda run: own[id(run)] is not run)
    whole = not unreadable
    for run in unreadable:
        _not_recomputed(run, run.problem)
    for run in finished:
        reference = own[id(run)]
        try:
            write_json(run.folder / METRICS, recompute(run.folder, reference.folder if reference else None))
        except (UserError, RunError) as error:
            whole = _not_recomputed(run, str(error))
        except OSError as error:
            whole = _not_recomputed(run, f"{METRICS} cannot be written ({error.strerror or error})")
    return whole


def _not_recomputed(run: StoredRun, reason: str) -> bool:
    say(f"not recomputed: {run.place}: {one_line(reason)}")
    return False
