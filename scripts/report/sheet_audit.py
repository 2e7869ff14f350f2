"""What an audit found, for the audit sheet: a question each, and its answer in a sentence, words before numbers."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from method.runs.findings import Finding
from scripts.report.audit import Audit, shown
from scripts.report.audit_story import EXCESS, RELEARNED, SAMPLES
from scripts.report.estimates import points
from scripts.report.wording import count
from utils.tables import is_number

YES, NO, OPEN = "Yes, by more than noise", "Not beyond noise", "Too few runs to say"
STEP = "step"


class Answer(NamedTuple):
    """A question of the sheet, and the sentence that answers it from what was found of one label."""

    question: str
    text: str


def answers(audit: Audit, name: str) -> Iterator[Answer]:
    """The questions that something was found out about a label, each with its answer, or why there is none."""
    for question, (key, tell) in ASKED.items():
        one = find(audit, name, key)
        if one is None:
            continue
        if one.value is None:
            yield Answer(question, f"Not known{f': {one.reason}' if one.reason else ''}.")
        else:
            yield Answer(question, f"{tell(audit, name, one)}.")


def find(audit: Audit, name: str, key: str) -> Finding | None:
    """What was found of a label, of all groups together; of a measure with several columns, in the first of them."""
    columns = [column for column in (*audit.columns, *audit.empty) if column.measure.key == key]
    if key == RELEARNED:
        columns.sort(key=lambda column: _samples(dict(column.at)))
    return next((one for column in columns if (one := audit.get(name, column))), None)


def _samples(at: dict[str, object]) -> float:
    return n if is_number(n := at.get(SAMPLES)) else float("inf")


def _told_singly(audit: Audit, name: str, one: Finding) -> str:
    attack = find(audit, name, "lira_auc")
    numbers = ""
    if attack is not None and attack.value is not None and attack.placebo is not None:
        numbers = f"AUC {attack.value:.1f}, of held-out images in their place {attack.placebo:.1f}; "
    return f"{_verdict(one, 0.0)}: {numbers}excess {_numbers(one)}"


def _told_from_left_out(audit: Audit, name: str, one: Finding) -> str:
    return f"{_verdict(one, 50.0)}: AUC {_numbers(one)}; 50 is guessing"


def _verdict(one: Finding, guessing: float) -> str:
    if one.low is None or one.high is None:
        return OPEN
    return YES if one.low > guessing else NO


def _told_from_retrained(audit: Audit, name: str, one: Finding) -> str:
    reached = "" if one.floor is None else f", and retrained ones reach {one.floor:.2f} against each other"
    return f"Forgetting quality is {one.value or 0.0:.2f}, where 1 is best{reached} ({_runs(one)})"


def _comes_back(audit: Audit, name: str, one: Finding) -> str:
    samples = _samples(dict(one.at or {}))
    how = f"on retained images and {samples:g} forgotten ones" if samples else "on retained images alone"
    steps = {
        at[STEP]: own.value
        for column, own in audit.curves
        if own.label == name and own.group is None and column.measure.key == RELEARNED
        and is_number((at := dict(own.at or {})).get(STEP)) and _samples(at) == samples and own.value is not None
    }  # fmt: skip
    before = f", before that {_better(steps[min(steps)])}" if len(steps) > 1 else ""
    return f"Fine-tuned {how}, it knows the others {_better(one.value)} than the retrained model{_ends(one)}{before}"


def _better(gap: float | None) -> str:
    return f"{points(gap or 0.0)} {'worse' if (gap or 0.0) < 0 else 'better'}"


def _still_held(audit: Audit, name: str, one: Finding) -> str:
    column = next(column for column in audit.columns if column.measure.key == "probe_acc")
    theirs = audit.part("retrained", name, column)
    beside = "" if theirs is None else f", from the retrained model's on {theirs:.1f} %"
    return f"From its features a linear probe is right on {one.value:.1f} % of the forgotten images{beside}"


def _numbers(one: Finding) -> str:
    return f"{shown(one, 1)[0]}{_ends(one)}".replace("-", "\N{MINUS SIGN}")


def _ends(one: Finding) -> str:
    ends = shown(one, 1)[1].replace("-", "\N{MINUS SIGN}")
    known = ", ".join(filter(None, [f"95 % interval {ends}" if ends else "", _runs(one)]))
    return f" ({known})" if known else ""


def _runs(one: Finding) -> str:
    return count(one.runs, "runs") if one.runs else ""


ASKED: dict[str, tuple[str, Callable[[Audit, str, Finding], str]]] = {
    "Can a single forgotten image be told?": (EXCESS, _told_singly),
    "Can it be told from images that were left out of train?": ("ruli_privacy_auc", _told_from_left_out),
    "Can unlearned models be told from retrained ones?": ("forgetting_quality", _told_from_retrained),
    "Does it come back?": (RELEARNED, _comes_back),
    "What do the features still hold?": ("probe_acc", _still_held),
}
