"""`--sheet`: one run as two pages to hand to somebody. Here which run, and the facts; sheet_page.py writes them."""

import os
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from method.configs.cli import spell
from method.configs.key import SCHEMA as BY_SCHEMA
from method.configs.schema import FALLBACK, all_keys
from method.registry import METHODS
from method.runs.audits import audit_file, read_audits
from method.runs.files import PRETRAIN, RETRAIN
from method.runs.folder import CONFIG, IMPORTED, LOG, REDACTED, SPLITS
from method.runs.labels import label
from method.runs.stored import StoredRun, read_runs
from method.runs.zips import is_zip
from scripts.report.audit import audit_of
from scripts.report.cells import Cell, make_cells
from scripts.report.collect import FILTERS, Report, Row, groups_of
from scripts.report.estimates import Score, pool
from scripts.report.naming import without_paths
from scripts.report.sheet_audit import Answer, answers
from scripts.report.sheet_request import Request, read_request
from scripts.report.story import tell_cell
from utils.errors import UserError
from utils.files import read_text
from utils.tables import is_number

MAY_NAME_PATHS = ("original", "missing")  # what sentences are about
ATTACKS = ("mia_auc", "mia_group_auc")
DEPTH = 4  # of a run's folder below that of the results
SHOWN_PLACES = 8  # of runs among which one is to be chosen
TIME = re.compile(r"^(\d{4}-\d\d-\d\d) (\d\d:\d\d)", re.MULTILINE)
IN_A_PAPER = re.compile(r"\b(19|20)\d\d\b")
NOT_REPEATED = ("method", "forget_list", "store_dir", "checkpoint_dir", "wandb_project", "wandb", "tensorboard", "wait")
FOLLOWS = {"unlearning_ratio": "--forget_list", "reweight": "--rob_approach"}  # from another flag, with which it goes


@dataclass(frozen=True)
class Line:
    """A line of the table of harm: a group, or (is_sum) several together.

    scores: on its test images, by BEFORE, AFTER and RETRAINED; absent where there is none.
    """

    name: str
    n_forget: int
    n_train: int
    scores: Mapping[str, Score]
    is_sum: bool


BEFORE, AFTER, RETRAINED = "before", "after", "retrained without them"


@dataclass(frozen=True)
class Sheet:
    """What the sheet says of a run.

    ended: date and time by the clock of the machine, "" where no log tells. partners: by BEFORE, AFTER and RETRAINED
    the row, None where it is not there. story: what happened, as sentences by what they are about.
    """

    run: StoredRun
    row: Row
    partners: Mapping[str, Row | None]
    request: Request | None
    ended: str = ""
    lines: Sequence[Line] = ()
    story: Mapping[str, Sequence[str]] = field(default_factory=dict)
    audited: Sequence[Answer] = ()

    @property
    def is_exact(self) -> bool:
        """Whether the model was trained anew without what is forgotten."""
        return self.run.method == RETRAIN

    @property
    def redacted(self) -> bool:
        """Whether the run lies in a copy in which tokens stand for names and rows."""
        return bool(self.run.stored.get(REDACTED))

    def metric(self, who: str, key: str) -> float | None:
        """A metric of one of the three, None where it is not there."""
        row = self.partners[who]
        value = row.values.get(key) if row else None
        return value if is_number(value) else None

    def weights(self) -> dict[str, tuple[str, str]]:
        """By BEFORE and AFTER the SHA-256 of the weights, "" where it is not known, and what there is to say of it."""
        provenance, original = self.run.stored.get("provenance") or {}, self.partners[BEFORE]
        recorded, own = str(provenance.get("original_sha256") or ""), self.run.model_sha256
        found = original.run.model_sha256 if original else None
        start = self.row.start
        if self.is_exact:
            before = "", "a retrained model starts from no trained weights"
        elif recorded and recorded == found:
            before = recorded, "recorded by the run, and that of the original model found beside it"
        elif recorded:
            before = recorded, "recorded by the run; the original model is not here to be compared"
        else:
            before = (
                "",
                without_paths(f"not recorded by the run ({start.told})") if start and start.told else "not recorded",
            )
        kept = not self.redacted and os.path.exists(self.run.folder / "model.pt")
        here = "of model.pt in the run's folder" if kept else "recorded; the weights themselves are not in this copy"
        after = (own, here) if own else ("", "model.pt is not in this copy of the run, and its digest was not recorded")
        return {BEFORE: before, AFTER: after}


def make_sheet(path: Path, filters: Mapping[str, Sequence[Any]]) -> Sheet:
    """The sheet of the one run that is meant: a run's folder, or the only unlearned run in a folder or zip that fits.

    UserError where none is meant, or several, or one of which there is nothing to say.
    """
    runs, run = _choose(path, filters)
    _refuse(run)
    others = [one for one in runs[1:] if one.config]  # of the rest nobody knows what they are
    partners = [one for one in others if one.method == PRETRAIN or _is_retrained_of(one, run)]
    partners += [one for one in others if _has_splits_of(one, run)][:1]
    own: dict[str, Sequence[Any]] = {"dataset": [run.config["dataset"]], "task": [run.task], "ratio": [run.ratio]}
    found = read_audits(_audited(path), [run])
    report = Report([run, *partners], {name: own.get(name, ()) for name in FILTERS}, ATTACKS, True, found)
    table = run.table
    row = next((row for row in report.tables.get(table, ()) if row.run is run), None)
    if row is None:
        problem = next((problem for place, problem in report.missing if place == run.place), "it has no row")
        raise UserError(f"{run.place}: {problem}; so there is no sheet of it")
    original, reference = report.original_row(table, row), report.reference_row(table, row)
    if row.run.method == RETRAIN:
        reference = None  # it is what others are compared with
    (cell,) = make_cells([row], {row: original}).values()
    story: dict[str, list[str]] = defaultdict(list)
    for sentence in tell_cell(cell):
        told = sentence["text"]  # a group's name may have a slash, and stands in no sentence of these two
        story[sentence["about"]].append(without_paths(told) if sentence["about"] in MAY_NAME_PATHS else told)
    trio = {BEFORE: original, AFTER: row, RETRAINED: reference}
    audited = [*answers(audit_of(report, table), label(run))]
    audited += [Answer("Not told:", without_paths(f"the audit of {place}: {problem}.")) for place, problem in found[1]]
    return Sheet(run, row, trio, read_request(run), ended(run), _lines(cell), story, audited)


def _audited(path: Path) -> Path:
    """The folder or zip whose audit tells of a run: the one that was given, or the nearest one around it."""
    return next(
        (place for place in (path, *path.absolute().parents[:DEPTH]) if os.path.exists(audit_file(place))), path
    )


def _is_retrained_of(run: StoredRun, other: StoredRun) -> bool:
    """Whether a run may be the retrained model of another: the rest is seen when one is sought."""
    return run.method == RETRAIN and run.config["seed"] == other.config["seed"]


def _has_splits_of(run: StoredRun, other: StoredRun) -> bool:
    """Whether a run keeps the splits of another, which lacks them in a copy: an original model is evaluated on them."""
    alike = run.table == other.table and run.config["seed"] == other.config["seed"]
    return alike and not os.path.exists(other.folder / SPLITS) and os.path.exists(run.folder / SPLITS)


def _choose(path: Path, filters: Mapping[str, Sequence[Any]]) -> tuple[list[StoredRun], StoredRun]:
    """The runs among which partners are looked for, and the run that is meant, the first of them."""
    zipped = next((one for one in path.parents if is_zip(one)), None)
    if os.path.exists(path / CONFIG) or zipped:
        if any(filters.values()):
            raise UserError(f"{path} is one run, and --{', --'.join(FILTERS)} choose among several; leave them out")
        runs = read_runs(zipped) if zipped else _read_beside(path)
        own = [run for run in runs if str(run.folder) == str(path)]
        if not own:
            raise UserError(f"{path}: there is no such run in {zipped}")
    else:
        runs = read_runs(path)
        own = [run for run in runs if _fits(run, filters)]
        if len(own) != 1:
            shown = "\n  ".join(run.place for run in own[:SHOWN_PLACES]) + ("\n  ..." if own[SHOWN_PLACES:] else "")
            what = f"{len(own)} unlearned runs:\n  {shown}\n" if own else "no unlearned run that fits; "
            such = f", such as: python -m scripts.report {shlex.quote(own[0].place)} --sheet FILE" if own else ""
            raise UserError(f"--sheet is of one run, and {path} has {what}give filters, or the folder of one{such}")
    return own + [run for run in runs if run is not own[0]], own[0]


def _fits(run: StoredRun, filters: Mapping[str, Sequence[Any]]) -> bool:
    """Whether filters ask for a run: for an unlearned one, unless a method is named."""
    if run.problem:
        return False
    found = {"dataset": run.config["dataset"], "task": run.task, "ratio": run.ratio}
    found |= {"method": run.method, "tag": run.config.get("tag", ""), "seed": run.config["seed"]}
    wanted = all(not values or found[name] in values for name, values in filters.items())
    return wanted and (bool(filters["method"]) or run.method not in (PRETRAIN, RETRAIN))


def _read_beside(path: Path) -> list[StoredRun]:
    """The run in a folder, and those that lie where its original and its retrained model would: no walk further."""
    own = read_runs(path)[0]
    place = Path(os.path.abspath(path))
    patterns = [(place.parent, "*"), (place.parent.parent, "*")]
    if own.config and place.parent.name == own.stored.get("task"):  # the folder of its task, in that of its model
        patterns.append((place.parent.parent, "*/*"))
    folders = dict.fromkeys(file.parent for root, pattern in patterns for file in root.glob(f"{pattern}/{CONFIG}"))
    return [own, *(run for folder in folders if folder != place for run in read_runs(folder))]


def _refuse(run: StoredRun) -> None:
    """UserError for a run that has nothing to tell."""
    if run.problem:
        raise UserError(
            f"{run.place}: {run.problem}. A sheet tells of a finished run; the command that began it finishes it"
        )
    if run.method == PRETRAIN:
        what = "an imported" if run.stored.get(IMPORTED) else "an original"
        raise UserError(f"{run.place} is {what} model, which forgot nothing; give the folder of a run that did")


def ended(run: StoredRun) -> str:
    """Date and time in the last line of the log, or what a redacted copy says of it."""
    kept = run.stored.get(REDACTED)
    if isinstance(kept, dict):
        return str(kept.get("ended") or "")
    try:
        found = TIME.findall(read_text(run.folder / LOG))
    except (OSError, ValueError):
        return ""
    return " ".join(found[-1]) if found else ""


def _lines(cell: Cell) -> list[Line]:
    """Sums of the forget groups, of the others and of all, then the groups: those that lost most of train first."""
    row = cell.rows[0]
    of = {BEFORE: cell.original[0], AFTER: cell.own[0]}
    of |= {} if row.run.method == RETRAIN else {RETRAINED: cell.retrained[0]}
    groups = sorted(
        groups_of(row.values),
        key=lambda group: (not group["forget"], -group["n_forget"] / max(1, group["n_train"]), group["name"]),
    )
    forgotten, others = ([group for group in groups if group["forget"] is asked] for asked in (True, False))
    sums = [("forget groups together", forgotten), ("other groups together", others)] if forgotten and others else []
    sums += [("all groups together", groups)] if groups else []
    parts = [(name, own, True) for name, own in sums] + [(group["name"], [group], False) for group in groups]
    return [_line(name, own, of, is_sum) for name, own, is_sum in parts]


def _line(name: str, groups: Sequence[Mapping[str, Any]], of: Mapping[str, Mapping[str, Score]], is_sum: bool) -> Line:
    pooled = {who: pool(scores, [group["name"] for group in groups]) for who, scores in of.items()}
    n_forget, n_train = (sum(group[key] for group in groups) for key in ("n_forget", "n_train"))
    return Line(name, n_forget, n_train, {who: score for who, score in pooled.items() if score}, is_sum)


def describe_method(run: StoredRun) -> tuple[str, str]:
    """What the method does, and the paper that it comes from, as its file says; "" where no paper stands there.

    The file of a method begins with its name; the paper follows in the second paragraph, or stands in the first.
    """
    kind = METHODS.get(run.method)
    if kind is None:
        return f"This version of the program has no method {run.method}, so nothing is said of it.", ""
    paragraphs = [" ".join(part.split()) for part in (sys.modules[kind.__module__].__doc__ or "").split("\n\n")]
    paper = next((part for part in paragraphs[1::-1] if IN_A_PAPER.search(part)), "")
    return " ".join((kind.__doc__ or "").split("\n")[0].split()), paper


def command(run: StoredRun) -> str:
    """The command that makes the run again, without the paths of the machine: what was typed or stood in a user's file.

    A list is read from forget_list.txt, and FILE or FOLDER stands for every other path.
    """
    keys, config, sources = all_keys(), run.stored["config"], run.stored.get("sources") or {}
    own = (BY_SCHEMA, FALLBACK, f"{config['dataset']}.yaml")
    flags: dict[str, Any] = {}
    for name, value in config.items():
        source, key = str(sources.get(name, BY_SCHEMA)), keys.get(name)
        known = source.split(" [")[0] in own or source.startswith("preset")
        if name in NOT_REPEATED or value in (None, "") or key is None or known or FOLLOWS.get(name) == source:
            continue
        flags[name] = ("FOLDER" if key.folder else "FILE") if key.path and _is_somewhere(value) else value
    words = ["python", "main.py", "--method", run.method]
    listed = {"forget_list": "forget_list.txt"} if config.get("forget_list") else {}
    return spell(words, listed | flags)


def _is_somewhere(value: Any) -> bool:
    """Whether the value of a key that can hold a path is one, not a word."""
    return str(value) not in ("none", "imagenet", "auto", RETRAIN, "retrain_reweight")
