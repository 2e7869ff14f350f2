"""What a run did to each group: the audit sheet's table of accuracies and changes, and the same for programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from method.evaluation.metrics import wilson_interval
from scripts.report.estimates import Estimate, Score, estimate_change
from scripts.report.sheet import AFTER, BEFORE, RETRAINED, Line, Sheet
from scripts.report.sheet_html import paragraph, table, text
from scripts.report.tabular import written
from utils.tables import HOLE

LONGEST_TABLE = 12  # groups: more would not fit on two pages
ENDS = ("", "_low", "_high")  # of what has an interval


def harm(sheet: Sheet, file: Path) -> list[str]:
    """Accuracy on test images by group: before, after, retrained, with intervals."""
    told = [
        paragraph(
            *(text for about in ("original", "forget_groups", "others", "missing") for text in sheet.story[about])
        )
    ]
    if not sheet.lines:
        return told
    sums, groups = ([line for line in sheet.lines if line.is_sum is kind] for kind in (True, False))
    shown = sums + (_most_changed(groups)[:LONGEST_TABLE] if len(groups) > LONGEST_TABLE else groups)
    there = [who for who in (BEFORE, AFTER, RETRAINED) if any(who in line.scores for line in shown)]
    head = ["group", *there, *(f"after minus {who}" for who in there if who != AFTER)]
    n_groups, hidden = len(groups), len(sheet.lines) - len(shown)
    rows = [("sum" if line.is_sum else "one", _harm_cells(line, there, n_groups)) for line in shown]
    return [
        *told,
        table(head, rows, "harm"),
        paragraph(
            "Accuracy in percent on n test images, which no model was trained on; below each number its 95 % interval."
            " Below each group: how many of its training images were forgotten. Changes in points; their intervals,"
            f" from the numbers of test images, {_at_once(n_groups)}are rather too wide. An asterisk: the interval"
            " leaves out zero, which is more than noise. Without it, it is too noisy to say.",
            "The report's page marks each change alone, and a sentence above says for how many groups its interval"
            " holds; this table allows for all."
            if n_groups > 1
            else "",
            f"Shown first are losses that are more than noise; {hidden} more groups are in {file.stem}-groups.csv."
            if hidden
            else "",
            kind="note",
        ),
    ]


def _at_once(n_groups: int) -> str:
    return f"hold for all {n_groups} groups at once (Bonferroni) and " if n_groups > 1 else ""


def _most_changed(groups: Sequence[Line]) -> list[Line]:
    """The groups that changed by more than noise, the largest losses first, then the others."""
    found = {line.name: changed(line.scores.get(BEFORE), line.scores.get(AFTER), len(groups)) for line in groups}

    def place(line: Line) -> tuple[bool, float]:
        change = found[line.name]
        return (False, change.mean) if change and change.certain else (True, 0.0)

    return sorted(groups, key=place)


def _harm_cells(line: Line, there: Sequence[str], n_groups: int) -> list[str]:
    after = line.scores.get(AFTER)
    n = next((score.n for score in line.scores.values()), 0)
    about = f"{line.n_forget:,} of {line.n_train:,} forgotten, n = {n:,}"
    cells = [f'{text(line.name)}<span class="interval">{about}</span>']
    cells += [_accuracy(line.scores.get(who)) for who in there]
    return cells + [_change(line.scores.get(who), after, n_groups) for who in there if who != AFTER]


def _accuracy(score: Score | None) -> str:
    return HOLE if score is None else f"{score.accuracy:.1f}{_interval(*_ends(score))}"


def _ends(score: Score) -> tuple[float, float]:
    return wilson_interval(round(score.accuracy * score.n / 100), score.n)


def _change(other: Score | None, after: Score | None, n_groups: int) -> str:
    change = changed(other, after, n_groups)
    if change is None:
        return HOLE
    mark = "*" if change.certain else ""
    return f"{signed(change.mean)}{mark}{_interval(change.low or 0.0, change.high or 0.0, signed)}"


def changed(other: Score | None, after: Score | None, choices: int) -> Estimate | None:
    """What changed from one to the other; None where one of them is not there."""
    return estimate_change([(other, after)], choices) if other and after else None


def _interval(low: float, high: float, form: Any = "{:.1f}".format) -> str:
    return f'<span class="interval">{form(low)} to {form(high)}</span>'


def signed(value: float) -> str:
    """A change with its sign, a real minus."""
    return f"{value:+.1f}".replace("-", "\u2212") if round(value, 1) else "0.0"


def groups_csv(sheet: Sheet) -> str:
    """The whole table of harm, for programs; intervals of changes are those of the sheet."""
    people = (BEFORE, AFTER, RETRAINED)
    names = {who: who.split()[0] for who in people}
    parts = [*names.values(), *(f"after_minus_{names[who]}" for who in people if who != AFTER)]
    n_groups = sum(not line.is_sum for line in sheet.lines)
    header = ["group", "n_forget", "n_train", "n_test", *(f"{part}{end}" for part in parts for end in ENDS)]
    lines = []
    for line in sheet.lines:
        n = next((score.n for score in line.scores.values()), 0)
        values: list[Any] = [line.name, line.n_forget, line.n_train, n]
        for score in map(line.scores.get, people):
            values += [score.accuracy, *_ends(score)] if score else [None] * 3
        for other in (line.scores.get(who) for who in people if who != AFTER):
            change = changed(other, line.scores.get(AFTER), n_groups)
            values += [change.mean, change.low, change.high] if change else [None] * 3
        lines.append(values)
    return written(header, lines)
