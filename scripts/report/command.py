"""python -m scripts.report output [filters] [--format F] [--out FILE]: collect every run under a folder and show it."""

import argparse
import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from method.evaluation.columns import COLUMNS, Column
from method.runs.audits import read_audits
from method.runs.folder import METRICS
from method.runs.made_from import stale_audit
from method.runs.originals import starts_of
from method.runs.recompute import recompute
from method.runs.stored import StoredRun, read_runs, reference_of
from method.runs.zips import refuse_zip
from scripts.report import groups
from scripts.report.collect import FILTERS, Report
from scripts.report.columns import choose_columns
from scripts.report.compared import RETRAINED
from scripts.report.figures import KINDS, save_figures
from scripts.report.latex import as_latex
from scripts.report.page import page
from scripts.report.payload import payload
from scripts.report.sheet_request import KEY
from scripts.report.tabular import as_csv
from scripts.report.text import document
from scripts.report.tokens import told_of_git
from utils.errors import RunError, UserError
from utils.files import write_json, write_text
from utils.paths import typed_path
from utils.tables import one_line
from utils.terminal import Parser, on_terminal, say, tell, terminal_width

MAIN_COLUMNS = "main"
TABLES = ("text", "markdown", "csv", "latex")  # of the columns asked for
TEXTS = (*TABLES, "json")
FILES = ("html", *KINDS)  # need --out
BARE = ("csv", "latex", *KINDS)  # have no place for what is not in them
SHEETS = (".html", ".pdf")
SUFFIXES = {
    ".txt": "text", ".md": "markdown", ".csv": "csv", ".tex": "latex", ".json": "json",
    ".html": "html", ".png": "png", ".pdf": "pdf", ".svg": "svg",
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
    parser.add_argument(
        "--columns", default=MAIN_COLUMNS, metavar="LIST", help="main, all, or keys and titles with commas"
    )
    parser.add_argument("--each", action="store_true", help="one row a run instead of mean and deviation over seeds")
    parser.add_argument(
        "--difference",
        action="store_true",
        help="the difference to the retrained model of the same seed, with intervals and p values: instead of the "
        "value, in LaTeX and CSV beside it",
    )
    parser.add_argument("--against", metavar="ROW", help="the same to another row, such as miu or 'salun + reweight'")
    parser.add_argument(
        "--by",
        choices=("method", "group"),
        default="method",
        help="what stands in the rows; group: test accuracy of every group, with the change to the original model and "
        "to the retrained one (default: method)",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="first make every finished run's metrics.json anew from its records, without the model",
    )
    parser.add_argument(
        "--sheet",
        type=typed_path,
        metavar="FILE",
        help="write the audit sheet of one run to FILE.html or FILE.pdf: of the run's folder, or of the only unlearned "
        "run that fits",
    )
    parser.add_argument(
        "--redact",
        type=typed_path,
        metavar="COPY",
        help="write a copy of the runs that is fit to be shared to the new folder COPY, with tokens in place of names, "
        "rows and paths",
    )
    return parser.parse_args(arguments)


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the report; the exit code is 2 where there is nothing to report on."""
    wanted = _parse(arguments)
    try:
        if wanted.sheet:
            return _write_sheet(wanted)
        if wanted.redact:
            return _redact(wanted)
        kind = _format(wanted)
        columns = choose_columns(wanted.columns)
        runs = read_runs(wanted.path)
        whole = True
        if wanted.recompute:
            whole = recompute_all(runs)
            runs = read_runs(wanted.path)
        filters = {name: vars(wanted)[name] or () for name in FILTERS}
        keys = [column.key for column in (columns if kind in TABLES else COLUMNS) if wanted.by == "method"]
        originals = kind not in TABLES or wanted.by == "group" or bool(wanted.against)
        found, problems = read_audits(wanted.path, runs)
        report = Report(runs, filters, keys, originals, (found, [*problems, *stale_audit(wanted.path, runs)]))
        if not report.tables and not report.missing:
            raise UserError(f"no run under {wanted.path} fits --{', --'.join(FILTERS)} as given; leave one of them out")
        for folder, problem in report.missing if kind in BARE else ():
            say(f"note: {folder}: {problem}")
        if kind in KINDS:
            with _told(wanted.out):
                files = save_figures(payload(report, wanted.path, columns), wanted.out, kind)
            tell(f"written: {len(files)} figures, the first {files[0]}" if files[1:] else f"written: {files[0]}")
            return 0 if whole else RunError.exit_code
        text = _render(report, kind, columns, wanted)
        if wanted.out is None:
            tell(text, end="")
        else:
            with _told(wanted.out):
                write_text(wanted.out, text)
            tell(f"written: {wanted.out}")
    except (UserError, RunError) as error:
        say(f"error: {error}")
        return error.exit_code
    return 0 if whole else RunError.exit_code


def _write_sheet(wanted: argparse.Namespace) -> int:
    """The audit sheet, with what lies beside it."""
    from scripts.report import sheet, sheet_page  # the methods, whose import takes torch's

    file = wanted.sheet
    _refuse_further_flags(wanted, "--sheet")
    _check_file(file, "--sheet")
    if file.suffix.lower() not in SHEETS:
        raise UserError(f"--sheet {file}: expected a name that ends in {' or '.join(SHEETS)}")
    made = sheet.make_sheet(wanted.path, {name: vars(wanted)[name] or () for name in FILTERS})
    with _told(file, "--sheet"):
        files = sheet_page.write_sheet(made, file)
    private = [*(path for path in files if path.name.endswith("-names.csv")), made.run.folder.parent / KEY]
    tell("\n".join([*(f"written: {path}" for path in files), *told_of_git(filter(os.path.exists, private))]))
    return 0


def _redact(wanted: argparse.Namespace) -> int:
    """The copy that is fit to be shared."""
    from scripts.report.redact import redact  # the keys, whose import takes torch's

    _refuse_further_flags(wanted, "--redact")
    if given := [name for name in FILTERS if vars(wanted)[name]]:
        raise UserError(f"--{given[0]} does not go with --redact, which copies every run; give the folder of fewer")
    tell("\n".join(redact(wanted.path, wanted.redact)))
    return 0


def _refuse_further_flags(wanted: argparse.Namespace, flag: str) -> None:
    """UserError for flags of the tables beside one that makes none."""
    defaults = {"format": None, "out": None, "columns": MAIN_COLUMNS, "each": False, "difference": False}
    defaults |= {"against": None, "by": "method", "recompute": False, "sheet": None, "redact": None}
    given = [name for name, value in defaults.items() if vars(wanted)[name] != value and f"--{name}" != flag]
    if given:
        raise UserError(f"--{given[0]} does not go with {flag}; leave it out")


def _render(report: Report, kind: str, columns: Sequence[Column], wanted: argparse.Namespace) -> str:
    """The report in one of the formats that are texts, or the page."""
    against, each, path = wanted.against or (RETRAINED if wanted.difference else ""), wanted.each, wanted.path
    width = 0 if wanted.out else terminal_width()
    if wanted.by == "group":
        return {
            "text": lambda: groups.as_text(report, each, against, False, width),
            "markdown": lambda: groups.as_text(report, each, against, markdown=True),
            "csv": lambda: groups.as_csv(report, each, against),
            "latex": lambda: groups.as_latex(report, each, against),
            "json": lambda: groups.as_json(report, path, each, against),
        }[kind]()
    return {
        "text": lambda: document(report, columns, False, each, against, width),
        "markdown": lambda: document(report, columns, True, each, against),
        "csv": lambda: as_csv(report, columns, each, against),
        "latex": lambda: as_latex(report, columns, against),
        "json": lambda: json.dumps(payload(report, path, columns), indent=1, allow_nan=False) + "\n",
        "html": lambda: page(payload(report, path, columns)),
    }[kind]()


@contextlib.contextmanager
def _told(out: Path, flag: str = "--out") -> Iterator[None]:
    """UserError where a file cannot be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{flag} {out}: it cannot be written ({reason}); give the name of another file") from None


def _format(wanted: argparse.Namespace) -> str:
    """The format asked for, or that of FILE's ending; UserError where FILE cannot be made, or flags do not fit."""
    out, suffix = wanted.out, wanted.out.suffix.lower() if wanted.out else ""
    if wanted.out is not None:
        _check_file(wanted.out)
    if out is not None and wanted.format is None and suffix not in SUFFIXES:
        ending = f"{suffix} is no ending that says a format" if suffix else "its name has no ending that says a format"
        raise UserError(f"--out {out}: {ending}; expected {', '.join(SUFFIXES)}, or give --format too")
    kind = wanted.format or SUFFIXES.get(suffix, "text")
    if out is None and kind in FILES:
        raise UserError(f"--format {kind} makes a file: give its name with --out report.{kind}")
    if wanted.difference and wanted.against:
        raise UserError("--difference is to the retrained model and --against to another row; give one of them")
    if wanted.by == "group":
        _check_groups(wanted, kind)
    elif wanted.each and kind not in ("text", "markdown", "csv"):
        raise UserError(f"--each is for text, markdown and csv, not for --format {kind}; leave it out")
    elif (wanted.difference or wanted.against) and kind not in TABLES:
        raise UserError(
            f"--difference and --against are for tables ({', '.join(TABLES)}), not for --format {kind}, which has the "
            "differences to the retrained model anyway; leave them out"
        )
    return kind


def _check_file(out: Path, flag: str = "--out") -> None:
    """UserError for a name that no file can get."""
    if not _is_name(out):
        raise UserError(f"{flag} {out}: no file can have this name; give another")
    if os.path.isdir(out):
        raise UserError(f"{flag} {out}: this is a folder; give a file's name")
    if os.path.exists(out) and (not os.path.isfile(out) or out.parent == Path("/dev")):  # it would be replaced
        raise UserError(f"{flag} {out}: this is no regular file; give another name, or leave {flag} out to print")
    if not os.path.isdir(out.parent):
        raise UserError(f"{flag} {out}: there is no folder {out.parent}; make it first")


def _check_groups(wanted: argparse.Namespace, kind: str) -> None:
    """UserError for what does not go with --by group."""
    if kind in FILES:
        raise UserError(f"--by group is for {', '.join(TEXTS)}; --format {kind} has the groups of every run anyway")
    if wanted.columns != MAIN_COLUMNS:
        raise UserError("--by group shows test accuracies alone; leave --columns out")
    if wanted.difference:
        raise UserError("--by group has the difference to the retrained model anyway; leave --difference out")


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
    originals = {run: start.run.folder for run, start in starts_of(finished).items() if start.run}
    finished.sort(key=lambda run: own[id(run)] is not run)
    whole = not unreadable
    for run in unreadable:
        _not_recomputed(run, run.problem)
    for run in finished:
        reference = own[id(run)]
        try:
            values = recompute(run.folder, reference.folder if reference else None, originals.get(run))
            write_json(run.folder / METRICS, values)
        except (UserError, RunError) as error:
            whole = _not_recomputed(run, str(error))
        except OSError as error:
            whole = _not_recomputed(run, f"{METRICS} cannot be written ({error.strerror or error})")
    return whole


def _not_recomputed(run: StoredRun, reason: str) -> bool:
    say(f"not recomputed: {run.place}: {one_line(reason)}")
    return False
