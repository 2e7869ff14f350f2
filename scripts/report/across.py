"""What happened, of all rows of a table together."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean

from method.configs.seeds import Seeds, are_independent
from method.runs.files import PRETRAIN
from method.runs.labels import paper_name
from method.runs.stored import StoredRun
from scripts.report.cells import Cell, attack_key, compare_attacks
from scripts.report.collect import Row
from scripts.report.estimates import CERTAIN, UNCERTAIN, Score, estimate, estimate_change, points, pool
from scripts.report.wording import (
    TITLES,
    attack_named,
    choose_worst,
    count,
    duration,
    fall,
    imported,
    is_over_forgotten,
    larger,
    listed,
    tell_request,
    test_images,
    whether,
)
from utils.tables import is_number

CLOSENESS = "avg_gap"
FORGOTTEN = {"forget groups": True, "other groups": False}
METHODS, VARIANTS = "methods", "variants (runs with a tag)"
Told = Iterator[tuple[str, str]]  # what a sentence is about, and the sentence; empty where it cannot be said


def tell_table(rows: Sequence[Row], cells: Sequence[Cell]) -> Told:
    """(about, sentence) of a table; of methods first, then of variants."""
    unlearned = [cell for cell in cells if cell.rows[0].competes]
    several = split(unlearned)
    request = tell_request(rows)
    yield "request", request
    if not any(row.run.method != PRETRAIN for row in rows) and not request:
        yield "missing", "Only original models are here: nothing was to be forgotten."
    yield "original", imported(start.run for cell in unlearned for start in cell.starts if start)
    yield "forget_groups", _retraining(unlearned)
    yield from (
        ("harm", _harm(own, kind, whose, forgotten))
        for kind, own in several.items()
        for whose, forgotten in FORGOTTEN.items()
    )
    yield "attack", _control(unlearned)
    yield from (("attack", _attacks(own, kind)) for kind, own in several.items())
    yield "cost", _costs(several[METHODS])
    yield from (("comparison", text) for kind, own in several.items() for text in _comparisons(own, kind))
    yield from (("missing", text) for text in _missing_of_table(unlearned))


def split(cells: Sequence[Cell]) -> dict[str, Sequence[Cell]]:
    """METHODS -> the unlearned rows without a tag, VARIANTS -> those with one, of which many widen an interval.

    Where all have one, all are methods.
    """
    variants = [cell for cell in cells if cell.rows[0].run.config.get("tag")]
    methods = [cell for cell in cells if cell not in variants]
    return {METHODS: methods, VARIANTS: variants} if methods else {METHODS: variants}


def _retraining(cells: Sequence[Cell]) -> str:
    """What the forget groups' accuracy was, and would be had their images never been there."""
    found: dict[str, dict[Seeds, tuple[Score, Score]]] = defaultdict(dict)
    names = list(dict.fromkeys(name for cell in cells for name in cell.groups(True)))
    for cell in cells:
        for row, *both in zip(cell.rows, cell.original, cell.retrained, strict=True):
            before, after = (pool(scores, names) for scores in both)
            if row.reference and before and after:
                found[paper_name(row.reference)].setdefault(row.reference.seeds, (before, after))
    changes = {
        name: change
        for name, own in sorted(found.items())
        if (change := estimate_change(list(own.values()), independent=are_independent(list(own))))
    }
    if not changes:
        return ""
    first = next(iter(changes.values()))
    would = "; or ".join(f"{change.after:.1f} % ({name}), {change.told()}" for name, change in changes.items())
    return (
        f"On {test_images(names, first)}, accuracy is {first.before:.1f} % in the original model. Had the images to be"
        f" forgotten never been there, it would be {would}."
    )


def _harm(cells: Sequence[Cell], kind: str, whose: str, forgotten: bool) -> str:
    """Which group was harmed most by which method, by an interval that holds for all of these pairs at once."""
    asked = [(cell, group) for cell in cells for group in cell.groups(forgotten)]
    changes = {(cell, group): cell.change([group], cell.original, len(asked)) for cell, group in asked}
    found = {key: change for key, change in changes.items() if change}
    if not found:
        return ""
    (cell, group), worst, further = choose_worst(found)
    sizes = {kind: len({one for one, _ in found}), whose: len({name for _, name in found})}
    several = [count(n, what) for what, n in sizes.items() if n > 1]
    of = f"Of {' and '.join(several)}" if several else f"Of the one {whose.removesuffix('s')}"
    whom = f'"{group}"' if sizes[whose] > 1 else f'the {whose.removesuffix("s")} "{group}"'
    if worst.mean >= 0:
        return f"{of}, none took accuracy from any group."
    told = f"{fall(worst)} {_beyond_retraining(cell, group, len(asked))}".strip() if forgotten else fall(worst)
    if further is None:
        numbers = "" if worst.certain else "in numbers "
        return f"{of}, {numbers}{cell.name} harmed {whom} most: {told}"
    beyond = f"{of}, the largest harm beyond noise is that of {cell.name} to {whom}: {told}"
    return f"{beyond} {larger(found[further], further[1], further[0].name)}"


def _beyond_retraining(cell: Cell, group: str, choices: int) -> str:
    """What retraining costs a forget group, and how much more a method does; empty where a seed has but one of both."""
    found, changed = cell.change([group], cell.retrained, choices), cell.change([group], cell.original)
    seeds = ([group in scores for scores in since] for since in (cell.original, cell.retrained))
    if not found or not changed or len({tuple(one) for one in seeds}) > 1:
        return ""
    cost = changed.before - found.before
    costs = f"costs it {points(cost)}" if cost >= 0 else f"gives it {points(cost)}"
    than = f"{cell.name} is" if found.is_none else f"{cell.name} takes"
    return f"Retraining without them ({cell.reference}) {costs}; {than} {found.told('more', 'less')}."


def _control(cells: Sequence[Cell]) -> str:
    """Whether the attack finds what the original models saw."""
    key = attack_key(row for cell in cells for row in cell.rows)
    if not any(cell.attack(key) for cell in cells):
        return ""
    starts = {start.seeds: start for cell in reversed(cells) for start in cell.starts if start}
    independent = bool(starts) and are_independent(list(starts))
    control = compare_attacks(
        ((start.values, start.reference) for start in starts.values()), key, independent=independent
    )
    if not control:
        return ""
    which = "is imported" if imported(start.run for start in starts.values()) else "saw the images"
    return (
        f"{attack_named(key, control)} reaches {control.after:.1f} in the original model, which {which}, and"
        f" {control.before:.1f} in the retrained one, which was not trained on them: {control.told()}."
        f"{'' if control.certain else ' So it says little of what methods leave.'}"
    )


def _attacks(cells: Sequence[Cell], kind: str) -> str:
    """After which methods the attack still finds the images: for all of them at once, and for each taken alone."""
    key = attack_key(row for cell in cells for row in cell.rows)
    found = {cell: change for cell in cells if (change := cell.attack(key, len(cells)))}
    if not found:
        return ""
    cell, most = max(found.items(), key=lambda item: item[1].mean)
    seen = [one for one, change in found.items() if change.certain and change.mean > 0]
    alone = [one.name for one in found if one not in seen and (own := one.attack(key)) and own.certain and own.mean > 0]
    numbers = f"{most.after:.1f} against {most.before:.1f} in its retrained model, {most.told()}"
    if not seen:
        of = f"Of {count(len(found), kind)}, in numbers {cell.name} leaves most" if len(found) > 1 else cell.name
        first = f"{of}: {numbers}{whether(most, 'it can still be told that the images were seen')}."
    else:
        among = f", most after {cell.name}" if len(seen) > 1 else ""
        of = f"Of {count(len(found), kind)}, after" if len(found) > 1 else "After"
        names = listed([one.name for one in seen])
        first = f"{of} {names} it can still be told that the images were seen{among}: {numbers}."
    over = [one.name for one, change in found.items() if is_over_forgotten(change)]
    others = len(found) - len(seen) - len(over)
    rest = f"After the other{f' {others}' if others > 1 else ''} it is {UNCERTAIN}." if seen and others else ""
    single = f"Taken alone, {listed(alone)} {'is' if len(alone) == 1 else 'are'} {CERTAIN}." if alone else ""
    if len(found) > 1 and others and not alone:
        whom = "the others" if over else "these" if seen else "them"
        single = f"Taken alone, none of {whom} is {CERTAIN}."
    if further := [name for name in over if seen or name != cell.name]:  # of that one the first sentence says it
        told = f"Over-forgotten by {CERTAIN}, so that the images stand out by higher losses: {listed(further)}."
        first = f"{first} {told}"
    return " ".join(filter(None, [first, rest, single]))


def _costs(cells: Sequence[Cell]) -> str:
    """The shortest and the longest, and retraining."""
    pairs = {cell: found for cell in cells if (found := cell.seconds())}
    own = {cell: fmean(seconds for _, seconds in found) for cell, found in pairs.items()}
    if not own:
        return ""
    runs = {row.reference for cell in pairs for row in cell.rows if row.reference}
    retraining = fmean(seconds for run in runs if is_number(seconds := run.metrics.get("seconds")))
    fast, slow = min(own, key=own.__getitem__), max(own, key=own.__getitem__)
    took = [f"{duration(own[cell])} ({cell.name})" for cell in dict.fromkeys((fast, slow))]
    return f"Unlearning took {' to '.join(took)}, retraining {duration(retraining)}."


def _comparisons(cells: Sequence[Cell], kind: str) -> Iterator[str]:
    """Methods are compared where their retrained model is the same one."""
    together: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        together[cell.reference].append(cell)
    yield from (_closest(name, own, kind) for name, own in together.items() if name)


def _closest(reference: str, cells: Sequence[Cell], kind: str) -> str:
    """Which of several methods stays closest to the one retrained model that they are compared with."""
    gaps = {
        cell: {row.seeds: gap for row in cell.rows if is_number(gap := row.values.get(CLOSENESS))} for cell in cells
    }
    seeds = Counter(frozenset(own) for own in gaps.values()).most_common(1)[0][0]
    able = {cell: [own[seed] for seed in sorted(seeds)] for cell, own in gaps.items() if seeds and seeds <= own.keys()}
    if len(able) < 2:
        return ""
    apart = are_independent(list(seeds))
    best, *others = sorted(able, key=lambda cell: fmean(able[cell]))
    pairs = {cell: list(zip(able[best], able[cell], strict=True)) for cell in others}
    found = {cell: change for cell in others if (change := estimate(pairs[cell], len(others), independent=apart))}
    unclear = [cell.name for cell in others if not found[cell].certain]
    behind = [cell.name for cell in others if found[cell].certain]
    left_out = [cell.name for cell in cells if cell not in able]
    following, too = found[others[0]], unclear[1:] if not found[others[0]].certain else []
    parts = [
        f"Of {len(able)} {kind} compared with {reference}, {best.name}"
        f" {'is closest to it in numbers' if unclear else 'stays closest to it'}"
        f" ({TITLES[CLOSENESS]} {following.before:.1f}). {others[0].name} {following.verb} {following.told()}"
        f"{f', as it is for {listed(too)}' if too else ''}.",
        f"It is {UNCERTAIN} for {listed(unclear)}." if unclear and following.certain else "",
        f"Farther by {CERTAIN}: {listed(behind)}." if behind and unclear else "",
        f"Not compared, as other seeds were run: {listed(left_out)}." if left_out else "",
    ]
    return " ".join(filter(None, parts))


def _missing_of_table(cells: Sequence[Cell]) -> Iterator[str]:
    if without := [cell.name for cell in cells if not any(cell.starts)]:
        yield f"No original model is here for {listed(without)}: what they changed is not known."
    if alone := [cell.name for cell in cells if not any(row.reference for row in cell.rows)]:
        yield f"No retrained model is here to compare {listed(alone)} with."
    starts: dict[tuple[int | None, int], set[StoredRun]] = defaultdict(set)
    for cell in cells:
        for row, start in zip(cell.rows, cell.starts, strict=True):
            starts[row.seeds.models] |= {start.run} if start else set()
    if any(len(runs) > 1 for runs in starts.values()):
        yield "The methods started from several original models; each is compared with its own."
