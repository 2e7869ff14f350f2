"""Which runs an audit was made from: a digest of each, by which a later reader sees that they are others now."""

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

from method.runs.audits import audit_file
from method.runs.findings import read_findings
from method.runs.folder import RECORDS, SPLITS
from method.runs.stored import StoredRun
from utils.errors import UserError
from utils.files import open_regular

MADE_FROM = "made_from"  # its key among the facts of audit.json
LENGTH = 16  # hexadecimal digits of a digest


def digests_of(runs: Sequence[StoredRun]) -> list[str]:
    """Those of the finished ones, sorted: of a run's identity, its metrics, and what its records and splits hold.

    Not of the place where it lies, nor of when it was made: a copy has the same. Nothing large is read, as an archive
    lists the checksums of its arrays.
    """
    return sorted(_digest(run) for run in runs if not run.problem)


def stale_audit(root: Path, runs: Sequence[StoredRun]) -> list[tuple[str, str]]:
    """(place, how they differ) where `runs`, all under `root`, are not those that audit.json was made from.

    None where there is no such file, or it does not say: one of an earlier version, or that of a copy of runs.
    """
    file = audit_file(root)
    try:
        then = read_findings(file)[1].get(MADE_FROM) if os.path.exists(file) else None
    except UserError:  # said where its findings are read
        return []
    if not isinstance(then, list):
        return []
    now, before = set(digests_of(runs)), set(map(str, then))
    if now == before:
        return []
    changes = [f"{len(now - before)} of them are new, or made anew, since"] if now - before else []
    changes += [f"{len(before - now)} of its runs are not here as they were"] if before - now else []
    told = f"not made from the runs that lie here: {' and '.join(changes)}; make it again with python -m scripts.audit"
    return [(file.name, told)]


def _digest(run: StoredRun) -> str:
    what = {
        "identity": run.stored.get("identity") or run.config,
        "fingerprints": run.stored.get("fingerprints"),
        "metrics": run.metrics,
        **{name: _checksums(run.folder / name) for name in (RECORDS, SPLITS)},
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:LENGTH]


def _checksums(file: Path) -> list[tuple[str, int]] | None:
    """Of the arrays in a file, by name; None where it cannot be read."""
    try:
        with open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
            return sorted((member.filename, member.CRC) for member in archive.infolist())
    except Exception:  # zipfile raises nearly anything on damaged bytes; who reads the arrays tells of them
        return None
