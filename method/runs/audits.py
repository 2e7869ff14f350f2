"""What was found out about the runs under a folder: by audit.json beside them, and by relearn.json in each."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from method.runs.files import PRETRAIN, RETRAIN
from method.runs.findings import AUDIT, RELEARN, UNLEARNED, Finding, read_findings
from method.runs.labels import label
from method.runs.stored import StoredRun, reference_of
from method.runs.zips import is_zip
from utils.errors import UserError

# What of a relearning test's question is no option: whom it asks, and where. A curve of k forgotten samples does not
# depend on the other k.
NO_OPTIONS = ("forgotten", "forget_fingerprint", "weights", "hardware")
# Keys by which runs of one forget set and seed differ.
TELLING = ("method", "reweight", "rob_approach", "preset", "tag")
USUAL = "that of Avg. Gap"
TIME = "relearn_time"


class Found(NamedTuple):
    """A finding, and the run that it is of; None for one that is made from several runs.

    options: of the relearning test, spelled; None where the file does not tell them.
    """

    finding: Finding
    run: StoredRun | None
    options: Mapping[str, str] | None = None


def audit_file(root: Path) -> Path:
    """Where the audit of the runs under a folder lies, or of those in a zip: runs.zip has runs.audit.json beside it."""
    return root.with_name(f"{root.stem}.{AUDIT}") if is_zip(root) else root / AUDIT


def read_audits(root: Path, runs: Sequence[StoredRun]) -> tuple[list[Found], list[tuple[str, str]]]:
    """The findings about `runs`, which lie under `root`, and (place, problem) of the files that cannot be used.

    What relearn.json says of its run counts for where the run stands now; one of another run is a problem.
    """
    found: list[Found] = []
    problems: list[tuple[str, str]] = []
    retrained = [run for run in runs if run.method == RETRAIN and not run.problem]
    for file, run in _files(root, runs):
        try:
            findings, facts = read_findings(file)
            if run is not None:
                check_run(file, run, findings, facts)
        except UserError as error:
            problems.append((run.place if run else AUDIT, str(error)))
            continue
        if run is None:
            found += [Found(one, None) for one in findings]
        else:
            options, question = _options(run, facts, retrained), question_in(facts)
            found += [
                Found(_with_cap(replace(one, table=run.table, label=label(run)), question), run, options)
                for one in findings
            ]
    return found, problems


def _files(root: Path, runs: Sequence[StoredRun]) -> Iterator[tuple[Path, StoredRun | None]]:
    places: list[tuple[Path, StoredRun | None]] = [(audit_file(root), None)]
    places += [(run.folder / RELEARN, run) for run in runs if not run.problem]
    return (place for place in places if os.path.exists(place[0]))


def question_in(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a relearning test answers, of the facts of its file; empty where they do not tell, as in a redacted copy."""
    return _table(facts.get("question"))


def identity(run: StoredRun) -> dict[str, str]:
    """By what a relearning test knows its run where there are no weights to compare, as in kept runs."""
    return {"seed": run.seeds.spell(), **{name: str(run.config.get(name)) for name in TELLING}}


def check_run(file: Path, run: StoredRun, findings: Sequence[Finding], facts: Mapping[str, Any]) -> None:
    """UserError where a relearning test is of another run than that whose folder it lies in.

    Runs of one forget set are told apart by the digest of model.pt, without one by method and seed. A file of an
    earlier version records only the folder's name and the label: of another run both differ.
    """
    question, names = question_in(facts), _table(facts.get("runs"))
    forget = question.get("forget_fingerprint")
    compared = [("its forget fingerprint", forget, run.fingerprint("forget"))]
    tested = _table(question.get("weights")).get(UNLEARNED)
    if tested is not None and run.model_sha256 is not None:
        compared += [("the SHA-256 of its model.pt", tested, run.model_sha256)]
    elif recorded := _table(facts.get("of")):
        compared += [(f"its {name}", recorded.get(name), own) for name, own in identity(run).items()]
    elif names.get(UNLEARNED) not in (None, run.folder.name):
        compared += [("its label", one.label, label(run)) for one in findings[:1]]
    for what, then, now in compared:
        if None not in (then, now) and then != now:
            raise UserError(
                f"{file} is of another run: {what} is {then}, expected {now}; it was copied here, or the run was made "
                "again, and python -m scripts.relearn tests this one"
            )


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _options(run: StoredRun, facts: Mapping[str, Any], retrained: Sequence[StoredRun]) -> dict[str, str] | None:
    """The options of a test, spelled, and which retrained run it compares with; None where they are not told."""
    question = question_in(facts)
    if not question:
        return None
    spelled = {name: _spell(value) for name, value in question.items() if name not in NO_OPTIONS}
    spelled["precision"] = str(_table(question.get("hardware")).get("precision"))
    return spelled | {"retrained": _compared_with(run, _table(facts.get("runs")).get("retrained"), retrained)}


def _spell(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _compared_with(run: StoredRun, name: Any, retrained: Sequence[StoredRun]) -> str:
    """USUAL, or the label of a retrained run that somebody named in its place, its folder's name where it is not here.

    A retrained run is always tested against a named one.
    """
    usual = None if run.method in (PRETRAIN, RETRAIN) else reference_of(run, retrained)
    if usual is None or name in (None, usual.folder.name):
        return USUAL
    return next((label(one) for one in retrained if one.folder.name == name), str(name))


def _with_cap(one: Finding, question: Mapping[str, Any]) -> Finding:
    """A relearn time that was given up, with the epochs that it exceeds as `low`; earlier versions did not say it."""
    cap = question.get("epochs")
    if one.measure != TIME or one.value is not None or one.low is not None or type(cap) is not int:
        return one
    return replace(one, low=float(cap))
