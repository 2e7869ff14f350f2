"""What was found out about the runs under a folder: by audit.json beside them, and by relearn.json in each."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from method.runs.findings import AUDIT, RELEARN, Finding, read_findings
from method.runs.labels import label
from method.runs.stored import StoredRun
from method.runs.zips import is_zip
from utils.errors import UserError


class Found(NamedTuple):
    """A finding, and the run that it is of; None for one that is made from several runs."""

    finding: Finding
    run: StoredRun | None


def audit_file(root: Path) -> Path:
    """Where the audit of the runs under a folder lies, or of those in a zip: runs.zip has runs.audit.json beside it."""
    return root.with_name(f"{root.stem}.{AUDIT}") if is_zip(root) else root / AUDIT


def read_audits(root: Path, runs: Sequence[StoredRun]) -> tuple[list[Found], list[tuple[str, str]]]:
    """The findings about `runs`, which lie under `root`, and (place, problem) of the files that cannot be read.

    What relearn.json says of its run counts for where the run stands now.
    """
    found: list[Found] = []
    problems: list[tuple[str, str]] = []
    for file, run in _files(root, runs):
        try:
            findings, _ = read_findings(file)
        except UserError as error:
            problems.append((run.place if run else AUDIT, str(error)))
            continue
        if run is None:
            found += [Found(one, None) for one in findings]
        else:
            found += [Found(replace(one, table=run.table, label=label(run)), run) for one in findings]
    return found, problems


def _files(root: Path, runs: Sequence[StoredRun]) -> Iterator[tuple[Path, StoredRun | None]]:
    places: list[tuple[Path, StoredRun | None]] = [(audit_file(root), None)]
    places += [(run.folder / RELEARN, run) for run in runs if not run.problem]
    return (place for place in places if os.path.exists(place[0]))
