"""What a redacted copy keeps of audit.json and relearn.json: numbers by method and by group, and no options.

They hold no row of a sample: a number is of all forgotten samples, or of those of a group, as in metrics.json.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from method.evaluation.audit import MEASURES
from method.evaluation.columns import COLUMNS
from method.runs.audits import USUAL, Found, audit_file, read_audits
from method.runs.findings import AUDIT, MODELS, RELEARN, VERSION, Finding
from method.runs.folder import CONFIG
from method.runs.labels import label
from method.runs.stored import StoredRun
from scripts.report.audit_runs import told_apart
from scripts.report.redact_files import Redacted
from scripts.report.redact_metrics import UNTOLD
from utils.errors import UserError

# The texts in `at`, which are words of the program.
WORDS = (*MODELS, USUAL, "forget", "held-out", "retain", "val", "validation", "test")
NUMBERS = re.compile(r"[\d.,e+-]+|True|False")  # options by which tests are told apart
Called = Mapping[tuple[tuple, str], tuple[tuple, str]]


def redact_audits(
    root: Path, made: Mapping[StoredRun, Redacted], places: Mapping[StoredRun, Path]
) -> dict[Path, bytes]:
    """The files by their places in the copy. made: of each run what the copy has; UserError for one that is broken."""
    found, problems = read_audits(root, list(made))
    if problems:
        raise UserError(problems[0][1])
    called = {(run.table, label(run)): _called(run, own.contents[CONFIG]) for run, own in made.items()}
    groups = {name for run in made for name in (run.stored.get("groups") or {}).get("names", ())}
    files: dict[Path, list[dict]] = {Path(AUDIT): []} if os.path.exists(audit_file(root)) else {}
    for one in told_apart(found):  # the copy has no options by which a reader could tell them apart
        place = places[one.run] / RELEARN if one.run else Path(AUDIT)
        files.setdefault(place, [])
        if _is_kept(one, called, groups):
            files[place].append(asdict(_redacted(one.finding, called)))
    return {
        place: (json.dumps({"version": VERSION, "findings": own}, indent=2, ensure_ascii=False) + "\n").encode()
        for place, own in files.items()
    }


def _called(run: StoredRun, config: bytes) -> tuple[tuple, str]:
    """The table and the label of a run in the copy, in which tokens stand for what the owner named."""
    stored = yaml.safe_load(config)
    own = {**stored["config"], "dataset": stored["config"].get("dataset_name") or stored["config"]["dataset"]}
    copy = StoredRun(run.folder, own, stored, defaults=run.defaults)
    return copy.table, label(copy)


def _is_kept(one: Found, called: Called, groups: set[str]) -> bool:
    """Whether it is of a run that the copy has, of one of its groups, and in the program's words alone."""
    own = one.finding
    known = own.measure in MEASURES or own.measure in {column.key for column in COLUMNS}
    texts = [value for value in (own.at or {}).values() if isinstance(value, str)]
    words = all(text in WORDS or NUMBERS.fullmatch(text) for text in texts)
    return known and words and (own.table, own.label) in called and (own.group is None or own.group in groups)


def _redacted(own: Finding, called: Called) -> Finding:
    table, name = called[own.table, own.label]
    return replace(own, table=table, label=name, reason=UNTOLD if own.reason else None)
