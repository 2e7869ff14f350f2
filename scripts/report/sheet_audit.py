"""What an audit found, for the audit sheet: a question each, and its answer in a sentence, words before numbers."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from method.evaluation.audit import measure_of
from method.runs.findings import ORIGINAL, RETRAINED, Finding
from scripts.report.audit import Audit, AuditColumn, is_told, shown
from scripts.report.audit_runs import GAP, GROWTH, TIME
from scripts.report.audit_story import SAMPLES, excess_of, gaps_told, is_above
from scripts.report.wording import count
from utils.tables import is_number

YES, NO, OPEN = "Yes, by more than noise", "Not beyond noise", "Too few runs to say"
ATTACK = "lira"


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
        if not is_told(one):
            yield Answer(question, f"Not known{f': {one.reason}' if one.reason else ''}.")
        else:
            yield Answer(question, f"{tell(audit, name, one)}.")


def find(audit: Audit, name: str, key: str) -> Finding | None:
    """What was found of a label, of all groups together; of a measure with several columns, in the first of them.

    key: of the measure, or ATTACK for the excess by which that attack is judged.
    """
    column = _column(audit, name, key)
    return audit.get(name, column) if column else None


def _column(audit: Audit, name: str, key: str) -> AuditColumn | None:
    excess = excess_of(audit, key)
    columns = [column for column in (*audit.columns, *audit.empty) if column.measure.key == key or column == excess]
    columns.sort(key=_samples)
    return next((column for column in columns if audit.get(name, column)), None)


def _samples(column: AuditColumn) -> float:
    return n if is_number(n := dict(column.at).get(SAMPLES)) else float("inf")


def _told_singly(audit: Audit, name: str, one: Finding) -> str:
    attack = find(audit, name, "lira_auc")
    numbers = ""
    if attack is not None and attack.value is not None and attack.placebo is not None:
        numbers = f"AUC {attack.value:.1f}, of held-out images in their place {attack.placebo:.1f}; "
    unit = " standard deviations" if measure_of(one.measure).unit == "sd" else ""
    return f"{_verdict(one, 0.0)}: {numbers}excess {_numbers(one, unit)}"


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
    column = _column(audit, name, GROWTH)
    at = column.at if column else ()
    gaps = next((other for other in audit.columns if (other.measure.key, other.at) == (GAP, at)), None)
    after = audit.get(name, gaps) if gaps else None
    samples = _samples(column) if column else 0
    how = f"on retained images and {samples:g} forgotten ones" if samples else "on retained images alone"
    known = f"what it knows of the others goes {told}, " if (told := gaps_told(one, after)) else ""
    text = f"{_verdict(one, 0.0)}: fine-tuned {how}, {known}growth {_numbers(one, ' points')}"
    if text.startswith(YES) and after and (after.low or 0.0) <= 0:
        text += "; that it ends above the retrained model is not beyond noise, so any model may learn as much"
    control = audit.found.get((name, gaps, None, ORIGINAL)) if gaps else None
    if control and control.value is not None and not is_above(control):
        text += "; the original, the control, does not stay above the retrained model, so read nothing from this"
    return text


def _learned_again(audit: Audit, name: str, one: Finding) -> str:
    column = _column(audit, name, TIME)
    theirs = audit.found.get((name, column, None, RETRAINED)) if column else None
    beside = f", the retrained model after {_epochs(theirs)}" if theirs and is_told(theirs) else ""
    why = f"; {one.reason}" if one.reason else ""
    return f"After {_epochs(one)} epochs of fine-tuning on the forget set{_ends(one)}{beside}{why}"


def _epochs(one: Finding) -> str:
    return shown(one, measure_of(one.measure).decimals)[0].replace("> ", "more than ")


def _still_held(audit: Audit, name: str, one: Finding) -> str:
    column = next(column for column in audit.columns if column.measure.key == "probe_acc")
    theirs = audit.part("retrained", name, column)
    beside = "" if theirs is None else f", from the retrained model's on {theirs:.1f} %"
    return f"From its features a linear probe is right on {one.value:.1f} % of the forgotten images{beside}"


def _numbers(one: Finding, unit: str = "") -> str:
    return f"{_shown(one)[0]}{unit}{_ends(one)}"


def _ends(one: Finding) -> str:
    ends = _shown(one)[1]
    known = ", ".join(filter(None, [f"95 % interval {ends}" if ends else "", _runs(one)]))
    return f" ({known})" if known else ""


def _shown(one: Finding) -> tuple[str, str]:
    value, ends = shown(one, measure_of(one.measure).decimals)
    return value.replace("-", "\N{MINUS SIGN}"), ends.replace("-", "\N{MINUS SIGN}")


def _runs(one: Finding) -> str:
    return count(one.runs, "runs") if one.runs else ""


ASKED: dict[str, tuple[str, Callable[[Audit, str, Finding], str]]] = {
    "Can a single forgotten image be told?": (ATTACK, _told_singly),
    "Can it be told from images that were left out of train?": ("ruli_privacy_auc", _told_from_left_out),
    "Can unlearned models be told from retrained ones?": ("forgetting_quality", _told_from_retrained),
    "Does it come back?": (GROWTH, _comes_back),
    "How soon is it learned again?": (TIME, _learned_again),
    "What do the features still hold?": ("probe_acc", _still_held),
}
