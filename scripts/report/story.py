"""What happened, in sentences made from the numbers: of a table, and of each of its labels.

`tell` gives both for the rows of a table, `tell_cell` those of one label, or of one run. Every sentence is a dict of
`about` and `text`, one printable line. Where its numbers are missing there is none, and what is missing is said.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from method.runs.files import PRETRAIN, RETRAIN
from scripts.report.across import Told, tell_table
from scripts.report.cells import Cell, Originals, attack_key, make_cells
from scripts.report.collect import Row
from scripts.report.estimates import estimate, pool
from scripts.report.wording import (
    attack_named,
    choose_worst,
    duration,
    fall,
    imported,
    larger,
    name_groups,
    span,
    tell_request,
    test_images,
    whether,
)
from utils.tables import is_number, one_line
from utils.text import for_people

LARGEST_LOG = 700.0  # whose exponential a float can hold
Sentences = list[dict[str, str]]


def tell(rows: Sequence[Row], originals: Originals) -> tuple[Sentences, dict[str, Sentences]]:
    """The sentences of a table, and those of each of its labels; originals: as `cells.originals_of` gives them.

    about: request, original, forget_groups, harm, others, attack, cost, comparison, missing.
    """
    cells = make_cells(rows, originals)
    is_many = len([cell for cell in cells.values() if cell.rows[0].competes]) > 1
    of_labels = {label: tell_cell(own, is_many and own.rows[0].competes) for label, own in cells.items()}
    return _sentences(tell_table(rows, list(cells.values()))), of_labels


def tell_cell(cell: Cell, is_one_of_many: bool = False) -> Sentences:
    """The sentences of one label; of a single run make a cell of its row, with that of its original (`make_cells`).

    is_one_of_many: whether a table has other methods too, for all of which it has another verdict on the attack.
    """
    return _sentences(_of_cell(cell, is_one_of_many))


def _sentences(told: Told) -> Sentences:
    return [{"about": about, "text": one_line(for_people(text))} for about, text in told if text]


def _of_cell(cell: Cell, is_one_of_many: bool) -> Told:
    forget_groups, others = (cell.groups(forgotten) for forgotten in (True, False))
    yield "request", tell_request(cell.rows)
    yield "original", _original(cell)
    yield "forget_groups", _before_and_after(cell, forget_groups)
    yield "forget_groups", _had_they_not_been_there(cell, forget_groups)
    yield "forget_groups", _worst_group(cell, forget_groups, "forget groups") if forget_groups[1:] else ""
    yield "others", _worst_group(cell, others, "other groups")
    yield "attack", _attack(cell, is_one_of_many)
    yield "cost", _cost(cell)
    if cell.rows[0].run.method != PRETRAIN:
        yield from (("missing", text) for text in _missing(cell))


def _original(cell: Cell) -> str:
    run = cell.rows[0].run
    if run.method == PRETRAIN:
        known = "This is an original model: it was trained on all training images, also those to be forgotten."
        return imported([run]) or known
    if run.method == RETRAIN:
        return "This is a retrained model: it was trained from scratch without the images to be forgotten."
    starts = [row.start for row, there in zip(cell.rows, cell.starts, strict=True) if row.start and there]
    told = " or ".join(dict.fromkeys(start.told for start in starts if start.told))
    found = f"The original model was {told}." if told else ""
    return " ".join(filter(None, [found, imported([start.run for start in starts if start.run])]))


def _before_and_after(cell: Cell, names: Sequence[str]) -> str:
    found = cell.change(names, cell.original)
    if found:
        return (
            f"On {test_images(names, found)}, accuracy is {found.before:.1f} % in the original model and"
            f" {found.after:.1f} % {cell.after}: {found.told()}."
        )
    own = [score for scores in cell.own if (score := pool(scores, names))]
    if not own:
        return ""
    mean, n = fmean(score.accuracy for score in own), span(score.n for score in own)
    return f"On the test images of {name_groups(names)} (n = {n}), accuracy is {mean:.1f} % {cell.after}."


def _had_they_not_been_there(cell: Cell, names: Sequence[str]) -> str:
    found = cell.change(names, cell.retrained) if cell.reference else None
    if not found:
        return ""
    without = f"Had the images to be forgotten never been there, it would be {found.before:.1f} % ({cell.reference})."
    return f"{without} {cell.name} {found.verb} {found.told()}."


def _worst_group(cell: Cell, names: Sequence[str], whose: str) -> str:
    """The group that lost most among several, by an interval that holds for all of them at once."""
    changes = {name: cell.change([name], cell.original, len(names)) for name in names}
    found = {name: change for name, change in changes.items() if change}
    if not found:
        return ""
    name, worst, further = choose_worst(found)
    of = f"Of the {len(found)} {whose}" if len(found) > 1 else f"Of the one {whose.removesuffix('s')}"
    if worst.mean >= 0:
        return f"{of}, none lost accuracy on its test images."
    if further is None:
        numbers = "" if worst.certain else "in numbers "
        return f'{of}, {numbers}"{name}" lost most: {fall(worst)}'
    return f'{of}, "{name}" has the largest loss beyond noise: {fall(worst)} {larger(found[further], further)}'


def _attack(cell: Cell, is_one_of_many: bool) -> str:
    key = attack_key(cell.rows)
    own = [value for row in cell.rows if is_number(value := row.values.get(key))]
    if not own or cell.rows[0].run.method == RETRAIN:
        return ""
    found = cell.attack(key)
    if found is None:
        return (
            f"{attack_named(key)} reaches {fmean(own):.1f} {cell.after}; there is no retrained model to compare with."
        )
    seen = "it can still be told that they were seen" if cell.rows[0].competes else "it can be told that they were seen"
    alone = " for this method alone" if is_one_of_many and found.certain else ""
    return (
        f"{attack_named(key, found)} reaches {found.after:.1f} {cell.after} and {found.before:.1f} in the retrained"
        f" model, which was not trained on the images: {found.told()}{alone}{whether(found, seen)}."
    )


def _cost(cell: Cell) -> str:
    pairs = cell.seconds()
    if not pairs or not cell.rows[0].competes:
        own = [value for row in cell.rows if is_number(value := row.values.get("seconds"))]
        return f"It took {duration(fmean(own))}." if own else ""
    theirs, mine = (fmean(values) for values in zip(*pairs, strict=True))
    return f"It took {duration(mine)}; retraining took {duration(theirs)}{_times(pairs, cell.independent)}."


def _times(pairs: Sequence[tuple[float, float]], independent: bool) -> str:
    """How many times as long the first of each pair is: the geometric mean, as quotients are not symmetric."""
    found = estimate([(math.log(b), math.log(a)) for a, b in pairs], independent=independent)
    if found is None:
        return ""
    limits = (found.mean, found.low, found.high)
    times, *ends = (None if end is None else math.exp(min(end, LARGEST_LOG)) for end in limits)
    told = replace(found, before=0.0, after=times or 0.0, low=ends[0], high=ends[1])
    return f", {told.after:.1f} times as long ({told.interval()})"


def _missing(cell: Cell) -> Iterator[str]:
    """What is not here that a sentence would need."""
    if not any(cell.own):
        yield "Accuracies by group were not stored: what happened to the groups is not known."
    elif not cell.groups(True):
        yield "The test set has no image of the forget groups: what happened to them is not known."
    lost = [row for row, there in zip(cell.rows, cell.starts, strict=True) if there is None]
    if lost and cell.rows[0].competes:
        why = " or ".join(dict.fromkeys(filter(None, (_lost(row) for row in lost))))
        seeds = _of_seeds(lost, cell.rows)
        yield f"The original model is not here{seeds}{why and f': {why}'}. What unlearning changed is not known."
    unmatched = [row for row in cell.rows if row.reference is None]
    if unmatched:
        seeds = _of_seeds(unmatched, cell.rows)
        yield f"The retrained model is not here{seeds}. What retraining would give is not known."
    key = attack_key(cell.rows)
    reasons = dict.fromkeys(str(reason) for row in cell.rows if (reason := (row.values.get("reasons") or {}).get(key)))
    if reasons:
        yield f"There is no membership attack: {' or '.join(reasons)}."


def _lost(row: Row) -> str:
    """Why the original of a row is not there."""
    if row.start is None or row.start.run is None:
        return row.start.told.removeprefix("not found: ") if row.start else ""
    found = row.start.told or "found by the digest of its weights"
    return f"{found}; its answers on these images are not here"


def _of_seeds(some: Sequence[Row], rows: Sequence[Row]) -> str:
    return "" if len(some) == len(rows) else f" (seed {', '.join(row.seeds.spell() for row in some)})"
