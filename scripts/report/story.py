"""What happened, in sentences made from the numbers: of a table, and of each of its labels.

`tell` gives both for a table; `tell_cell` those of one label, or of a single run. Every sentence is a dict of `about`
(one of ABOUT) and `text`, one printable line. Where its numbers are missing there is none, and what is missing is said.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from method.evaluation.columns import COLUMNS
from method.runs.files import PRETRAIN, RETRAIN
from method.runs.folder import IMPORTED
from method.runs.labels import paper_name
from method.runs.stored import StoredRun
from scripts.report.collect import Report, Row, by_label, groups_of
from scripts.report.compared import reference_name
from scripts.report.estimates import CERTAIN, UNCERTAIN, Estimate, Score, estimate, estimate_change, pool, scores_of
from utils.tables import is_number, one_line
from utils.text import for_people

ABOUT = ("request", "original", "forget_groups", "harm", "others", "attack", "cost", "comparison", "missing")
ATTACK, GROUP_ATTACK = "mia_auc", "mia_group_auc"
TITLES = {column.key: column.title for column in COLUMNS}
CLOSENESS = "avg_gap"
QUOTE = '"'
SHOWN = 3  # names in a list, before "and 4 more"
K = TypeVar("K")
Sentences = list[dict[str, str]]
Originals = Mapping[Row, Row | None]


@dataclass(frozen=True)
class Cell:
    """The rows of a label, one a seed, and the row of the original that each started from, None where it is not there.

    own, original, retrained: for each row the test accuracies by group of its own model, of its original, and of its
    retrained model; empty where there are none.
    """

    rows: Sequence[Row]
    starts: Sequence[Row | None]
    own: Sequence[Mapping[str, Score]]
    original: Sequence[Mapping[str, Score]]
    retrained: Sequence[Mapping[str, Score]]

    @property
    def name(self) -> str:
        """What papers call it."""
        return self.rows[0].name

    @property
    def after(self) -> str:
        """`after SalUn`, or of a model that unlearned nothing `in Retrained`."""
        return f"{'after' if self.rows[0].competes else 'in'} {self.name}"

    @property
    def reference(self) -> str:
        """What it is compared with, in the words of papers; empty for none."""
        return " or ".join(dict.fromkeys(filter(None, (reference_name(row, paper_name) for row in self.rows))))

    def groups(self, forgotten: bool) -> list[str]:
        """The names of the forget groups, or of the others, that the test set holds."""
        found = {name: None for scores in self.own for name in scores}
        asked = set(forget_groups(self.rows))
        return [name for name in found if (name in asked) == forgotten]

    def change(self, names: Sequence[str], since: Sequence[Mapping[str, Score]], choices: int = 1) -> Estimate | None:
        """Of the test images of these groups together: the accuracy minus that of `original` or `retrained`."""
        found = [(pool(before, names), pool(after, names)) for before, after in zip(since, self.own, strict=True)]
        return estimate_change([(a, b) for a, b in found if a is not None and b is not None], choices)

    def against_reference(self, key: str, choices: int = 1) -> Estimate | None:
        """A metric against that of the retrained model of the same seed."""
        return estimate(self.pairs(key), choices)

    def pairs(self, key: str) -> list[tuple[float, float]]:
        """(the retrained model's, its own) of a metric, for the seeds that have both."""
        theirs = [row.reference.metrics.get(key) if row.reference else None for row in self.rows]
        found = zip(theirs, (row.values.get(key) for row in self.rows), strict=True)
        return [(a, b) for a, b in found if is_number(a) and is_number(b)]


def originals_of(report: Report, table: tuple, rows: Iterable[Row]) -> dict[Row, Row | None]:
    """The row of the original model of each row; None where it is not there."""
    return {row: report.original_row(table, row) for row in rows}


def tell(rows: Sequence[Row], originals: Originals) -> tuple[Sentences, dict[str, Sentences]]:
    """The sentences of a table, and those of each of its labels."""
    cells = make_cells(rows, originals)
    return tell_table(list(cells.values())), {label: tell_cell(cell) for label, cell in cells.items()}


def make_cells(rows: Sequence[Row], originals: Originals) -> dict[str, Cell]:
    """The labels of a table with what their sentences are made from."""
    known: dict[Row | StoredRun | None, dict[str, Score]] = {None: {}}

    def scores(of: Row | StoredRun | None) -> dict[str, Score]:
        if of not in known:
            known[of] = scores_of(of.values if isinstance(of, Row) else of.metrics if of else {})
        return known[of]

    return {
        label: Cell(
            own,
            [originals.get(row) for row in own],
            [scores(row) for row in own],
            [scores(originals.get(row)) for row in own],
            [scores(row.reference) for row in own],
        )
        for label, own in by_label(rows).items()
    }


def tell_cell(cell: Cell) -> Sentences:
    """What unlearning did, of the rows of one label."""
    method = cell.rows[0].run.method
    told = [("request", tell_request(cell.rows)), ("original", _original_told(cell))]
    told += [("forget_groups", text) for text in _forget_groups_told(cell)]
    told += [("others", _others_told(cell)), ("attack", _attack_told(cell)), ("cost", _cost_told(cell))]
    told += [("missing", text) for text in _missing(cell) if method != PRETRAIN]
    return _sentences(told)


def _sentences(told: Iterable[tuple[str, str]]) -> Sentences:
    return [{"about": about, "text": one_line(for_people(text))} for about, text in told if text]


def forget_groups(rows: Sequence[Row]) -> list[str]:
    """The groups that were forgotten from."""
    return list(dict.fromkeys(name for row in rows for name in row.values.get("forget_group_names") or ()))


def listed(names: Sequence[str], quote: str = "") -> str:
    """`a, b and c`, or `a, b, c and 4 more`."""
    shown = [f"{quote}{name}{quote}" for name in names]
    if len(shown) > SHOWN + 1:
        shown = [*shown[:SHOWN], f"{len(names) - SHOWN} more"]
    comma = "; " if not quote and any("," in name for name in shown) else ", "
    return (comma.strip() + " and " if comma == "; " else " and ").join(
        filter(None, [comma.join(shown[:-1]), *shown[-1:]])
    )


def groups_told(names: Sequence[str]) -> str:
    """Groups by name, and how many where that is not seen."""
    return f"{len(names)} groups ({listed(names, QUOTE)})" if len(names) > SHOWN + 1 else listed(names, QUOTE)


def span(numbers: Iterable[float]) -> str:
    """`453`, or over seeds `453 to 455`."""
    found = sorted(set(numbers))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def tell_request(rows: Sequence[Row]) -> str:
    """What was asked to be forgotten, of rows of one forget set a seed."""
    counted = [list(groups_of(row.values)) for row in rows if row.run.method != PRETRAIN or row.splits_of]
    counted = [groups for groups in counted if any(group["n_forget"] for group in groups)]
    if not counted:
        sizes = [n for row in rows if is_number(n := row.values.get("n_forget"))]
        return f"{span(sizes)} training images were to be forgotten." if sizes else ""
    config, names = (rows[0].splits_of or rows[0].run).config, forget_groups(rows)
    everything = config.get("unlearning_type") == "random" or bool(config.get("forget_list"))
    n_train = span(sum(group["n_train"] for group in own if everything or group["forget"]) for own in counted)
    n_forget = span(sum(group["n_forget"] for group in own) for own in counted)
    how = "drawn from all groups" if config.get("unlearning_type") == "random" else f"of {groups_told(names)}"
    if config.get("forget_list"):
        how = f"named in a list, of {groups_told(names)}"
    elif not everything:
        return f"{n_forget} of the {n_train} training images {how} were to be forgotten."
    return f"{n_forget} of the {n_train} training images, {how}, were to be forgotten."


def _original_told(cell: Cell) -> str:
    run = cell.rows[0].run
    if run.method == PRETRAIN:
        told = "An original model: it was trained on all training images, those to be forgotten too."
        return _imported([run]) or told
    if run.method == RETRAIN:
        return "A retrained model: it was trained from scratch without the images to be forgotten."
    starts = [row.start for row, there in zip(cell.rows, cell.starts, strict=True) if row.start and there]
    notes = dict.fromkeys(start.told for start in starts if start.told)
    told = f"Its original model was {' or '.join(notes)}." if notes else ""
    return " ".join(filter(None, [told, _imported([start.run for start in starts if start.run])]))


def _imported(runs: Sequence[StoredRun]) -> str:
    if not any(run.stored.get(IMPORTED) for run in runs):
        return ""
    return (
        " It was imported: another program trained it, so its seed, and that it saw these images, are not known here."
    )


def _forget_groups_told(cell: Cell) -> list[str]:
    names = cell.groups(forgotten=True)
    if not names:
        return []
    since, to = cell.change(names, cell.original), cell.change(names, cell.retrained)
    told = []
    if since:
        told.append(
            f"{_where(names, since)}, accuracy is {since.before:.1f} % in the original model and {since.after:.1f} %"
            f" {cell.after}: {since.told()}."
        )
    if to and cell.reference != cell.name:
        told += [] if since else [f"{_where(names, to)}, accuracy is {to.after:.1f} %."]
        told.append(
            f"Had the forgotten images never been there, it would be {to.before:.1f} % ({cell.reference})."
            f" {cell.name} has {to.told()}."
        )
    if len(names) > 1:
        told.append(_worst_told(cell, names, "forget groups"))
    return told


def _where(names: Sequence[str], found: Estimate) -> str:
    return f"On the test images of {groups_told(names)} ({_n(found)})"


def _n(found: Estimate) -> str:
    return f"n = {span(found.n_images)}"


def _from_to(found: Estimate) -> str:
    return f"from {found.before:.1f} % to {found.after:.1f} % ({_n(found)}), {found.told()}."


def _others_told(cell: Cell) -> str:
    return _worst_told(cell, cell.groups(forgotten=False), "other groups")


def _worst_told(cell: Cell, names: Sequence[str], whose: str) -> str:
    """The group that lost most among several, by an interval that holds for all of them at once."""
    changes = {name: cell.change([name], cell.original, len(names)) for name in names}
    found = {name: change for name, change in changes.items() if change}
    if not found:
        return ""
    name, worst, least = choose_worst(found)
    if worst.mean >= 0:
        return f"None of the {len(found)} {whose} lost accuracy on its test images."
    few = f'Of the {len(found)} {whose}, "{name}"' if len(found) > 1 else f'The {whose[:-1]}, "{name}",'
    if least is None:
        return f"{few} lost most: {_from_to(worst)}"
    larger = f'Larger in numbers, but {UNCERTAIN}: "{least}", {-found[least].mean:.1f} points.'
    return f"{few} has the largest loss beyond noise: {_from_to(worst)} {larger}"


def choose_worst(changes: Mapping[K, Estimate]) -> tuple[K, Estimate, K | None]:
    """The largest fall that is more than noise, and what fell more but may be noise (None: nothing).

    Without any beyond noise, the largest in numbers.
    """
    certain = [key for key, change in changes.items() if change.certain and change.mean < 0]
    lowest = min(changes, key=lambda key: changes[key].mean)
    worst = min(certain or [lowest], key=lambda key: changes[key].mean)
    return worst, changes[worst], None if worst == lowest else lowest


def attack_key(rows: Iterable[Row]) -> str:
    """The balanced attack; where its non-members had to be filled with other groups, the one within the groups."""
    return GROUP_ATTACK if any(row.values.get("mia_filled") for row in rows) else ATTACK


def _attack_told(cell: Cell) -> str:
    key = attack_key(cell.rows)
    found = cell.against_reference(key)
    own = [value for row in cell.rows if is_number(value := row.values.get(key))]
    if not own or cell.rows[0].run.method == RETRAIN:
        return ""
    if found is None:
        none = "no retrained model is here that this could be compared with"
        return f"{_attack_named(key)} reaches {fmean(own):.1f} {cell.after}; {none}."
    end = " whether it can be told that they were seen"
    if found.certain:
        end = ", so it can be told that they were seen" if found.mean > 0 else ", but not a trace of having seen them"
    return (
        f"{_attack_named(key)} reaches {found.after:.1f} {cell.after} and {found.before:.1f} in the retrained model,"
        f" which never saw the images: {found.told()}{end}."
    )


def _attack_named(key: str) -> str:
    return f"A membership attack ({TITLES[key]}, 50 is a guess)"


def _cost_told(cell: Cell) -> str:
    pairs = [(theirs, own) for theirs, own in cell.pairs("seconds") if own]
    if not pairs or not cell.rows[0].competes:
        seconds = [value for row in cell.rows if is_number(value := row.values.get("seconds"))]
        return f"Training took {_time(fmean(seconds))}." if seconds else ""
    theirs, own = (fmean(values) for values in zip(*pairs, strict=True))
    ratio = estimate([(0.0, retrained / unlearned) for retrained, unlearned in pairs])
    times = f", {ratio.after:.1f} times as long ({ratio.interval()})" if ratio else ""
    return f"It took {_time(own)}; retraining took {_time(theirs)}{times}."


def _time(seconds: float) -> str:
    for limit, unit, name in ((7200, 3600, "h"), (120, 60, "min"), (10, 1, "s")):
        if seconds >= limit:
            return f"{seconds / unit:.{0 if unit == 1 else 1}f} {name}"
    return f"{seconds:.1f} s"


def _missing(cell: Cell) -> list[str]:
    """What is not here that a sentence would need."""
    told = []
    if not any(cell.own):
        told.append("Accuracies by group were not stored, so what happened to the groups is not known.")
    lost = [row for row, there in zip(cell.rows, cell.starts, strict=True) if there is None]
    if lost and cell.rows[0].competes:
        reasons = dict.fromkeys(row.start.told for row in lost if row.start and row.start.told)
        seeds = "" if len(lost) == len(cell.rows) else f" (seed {', '.join(str(row.seed) for row in lost)})"
        why = f" ({' or '.join(reasons)})" if reasons else ""
        told.append(f"Its original model is not here{seeds}{why}: what unlearning changed is not known.")
    unmatched = [row for row in cell.rows if row.reference is None]
    if unmatched:
        seeds = "" if len(unmatched) == len(cell.rows) else f" (seed {', '.join(str(row.seed) for row in unmatched)})"
        told.append(f"Its retrained model is not here{seeds}: what accuracy would be without the images is not known.")
    reasons = dict.fromkeys(
        reason for row in cell.rows if (reason := (row.values.get("reasons") or {}).get(attack_key(cell.rows)))
    )
    told += [f"There is no membership attack: {' or '.join(reasons)}."] if reasons else []
    return told


def tell_table(cells: Sequence[Cell]) -> Sentences:
    """What happened, of all rows of a table together; methods are compared where one retrained model is theirs."""
    rows = [row for cell in cells for row in cell.rows]
    unlearned = [cell for cell in cells if cell.rows[0].competes]
    request = tell_request(rows)
    told = [("request", request)]
    if not request:
        told = [("missing", "Only original models are here: nothing was asked to be forgotten.")]
    told += [("forget_groups", _retraining_told(cells))]
    told += [("harm", text) for text in _harm_told(unlearned)]
    told += [("attack", text) for text in _attacks_told(unlearned)]
    told += [("cost", _costs_told(unlearned))]
    told += [("comparison", text) for text in _comparisons_told(unlearned)]
    told += [("missing", text) for text in _missing_of_table(unlearned)]
    return _sentences(told)


def _retraining_told(cells: Sequence[Cell]) -> str:
    """What the forget groups' accuracy was, and would be had their images never been there."""
    found: dict[str, dict[tuple, tuple[Score, Score]]] = defaultdict(dict)
    names = next((own for cell in cells if (own := cell.groups(forgotten=True))), [])
    for cell in cells:
        for row, start, *both in zip(cell.rows, cell.starts, cell.original, cell.retrained, strict=True):
            before, after = (pool(scores, names) for scores in both)
            if row.competes and row.reference and before and after:
                found[paper_name(row.reference)][row.reference, start] = before, after
    changes = {name: change for name, pairs in found.items() if (change := estimate_change(list(pairs.values())))}
    if not changes:
        return ""
    first = next(iter(changes.values()))
    would = "; or ".join(f"{changes[name].after:.1f} % ({name}), {changes[name].told()}" for name in sorted(changes))
    return (
        f"{_where(names, first)}, accuracy is {first.before:.1f} % in the original model. Had the images to be"
        f" forgotten never been there, it would be {would}."
    )


def _harm_told(cells: Sequence[Cell]) -> list[str]:
    """Which forget group was harmed most by which method, and which of the other groups."""
    asked = [(whose, forgotten) for whose, forgotten in (("forget groups", True), ("other groups", False))]
    return [_harm_of(cells, whose, forgotten) for whose, forgotten in asked]


def _harm_of(cells: Sequence[Cell], whose: str, forgotten: bool) -> str:
    asked = {(cell.name, group): cell for cell in cells for group in cell.groups(forgotten)}
    changes = {key: cell.change([key[1]], cell.original, len(asked)) for key, cell in asked.items()}
    found = {key: change for key, change in changes.items() if change}
    if not found:
        return ""
    (method, group), worst, least = choose_worst(found)
    if worst.mean >= 0:
        return f"No method took accuracy from any of the {whose}."
    n_methods, n_groups = (len(set(names)) for names in zip(*found, strict=True))
    few = f"Of {_count(n_methods, 'methods')} and {_count(n_groups, whose)}"
    if least is None:
        return f'{few}, {method} harmed "{group}" most: {_from_to(worst)}'
    larger = f'Larger in numbers, but {UNCERTAIN}: {least[0]} to "{least[1]}", {-found[least].mean:.1f} points.'
    return f'{few}, the largest harm beyond noise is that of {method} to "{group}": {_from_to(worst)} {larger}'


def _count(n: int, what: str) -> str:
    return f"{n} {what if n != 1 else what[:-1]}"


def _attacks_told(cells: Sequence[Cell]) -> list[str]:
    """Whether the attack finds what the original model saw, and after which methods it still does."""
    key = attack_key(row for cell in cells for row in cell.rows)
    starts = {start: None for cell in cells for start in cell.starts if start and start.reference}
    pairs = [(start.reference.metrics.get(key), start.values.get(key)) for start in starts if start.reference]
    control = estimate([(a, b) for a, b in pairs if is_number(a) and is_number(b)])
    found = {cell.name: change for cell in cells if (change := cell.against_reference(key, len(cells)))}
    if not found:
        return []
    seen = {name: change for name, change in found.items() if change.certain and change.mean > 0}
    told = []
    if control:
        told.append(
            f"{_attack_named(key)} reaches {control.after:.1f} in the original model, which saw the images, and"
            f" {control.before:.1f} in the retrained one, which did not: {control.told()}."
        )
    if not seen:
        what = "whether it can still be told that the images were seen"
        return [*told, f"Of {_count(len(found), 'methods')}, it is {UNCERTAIN} after any {what}."]
    name, most = max(seen.items(), key=lambda item: item[1].mean)
    others = f" After the other {len(found) - len(seen)} it is {UNCERTAIN}." if len(seen) < len(found) else ""
    return [
        *told,
        f"After {listed(list(seen))} it can still be told that the images were seen, most after {name}:"
        f" {most.after:.1f}, {most.told()}.{others}",
    ]


def _costs_told(cells: Sequence[Cell]) -> str:
    """The shortest and the longest, and retraining."""
    pairs = {cell.name: found for cell in cells if (found := cell.pairs("seconds"))}
    own = {name: fmean(seconds for _, seconds in found) for name, found in pairs.items()}
    if not own:
        return ""
    retraining = fmean(seconds for found in pairs.values() for seconds, _ in found)
    fast, slow = (choose(own, key=lambda name: own[name]) for choose in (min, max))
    took = f"{_time(own[fast])} ({fast})" + (f" to {_time(own[slow])} ({slow})" if fast != slow else "")
    return f"Unlearning took {took}, retraining {_time(retraining)}; means over the seeds."


def _comparisons_told(cells: Sequence[Cell]) -> list[str]:
    """Of the methods that are compared with one and the same retrained model, which stays closest to it."""
    together: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.reference and any(is_number(row.values.get(CLOSENESS)) for row in cell.rows):
            together[cell.reference].append(cell)
    return [_closest_told(name, own) for name, own in together.items()]


def _closest_told(reference: str, cells: Sequence[Cell]) -> str:
    gaps = {
        cell.name: {row.seed: value for row in cell.rows if is_number(value := row.values.get(CLOSENESS))}
        for cell in cells
    }
    seeds = Counter(frozenset(own) for own in gaps.values()).most_common(1)[0][0]
    able = {name: [own[seed] for seed in sorted(seeds)] for name, own in gaps.items() if seeds <= own.keys()}
    best, *others = sorted(able, key=lambda name: fmean(able[name]))
    if not others:
        return ""
    pairs = {name: list(zip(able[best], able[name], strict=True)) for name in others}
    found = {name: change for name in others if (change := estimate(pairs[name], len(others)))}
    unclear = [name for name in others if not found[name].certain]
    behind = [name for name in others if found[name].certain]
    left_out = [name for name in gaps if name not in able]
    of = f"Of {len(able)} methods compared with {reference}"
    gap = f"{TITLES[CLOSENESS]} {fmean(able[best]):.1f}"
    closest = "stays closest to it" if not unclear else "is closest to it in numbers"
    first = f"{of}, {best} {closest} ({gap}). {others[0]} has {found[others[0]].told()}"
    first += f", as it is for {listed(unclear[1:])}." if unclear[1:] and unclear[0] == others[0] else "."
    parts = [
        first,
        f"It is {UNCERTAIN} for {listed(unclear)}." if unclear and unclear[0] != others[0] else "",
        f"Farther by {CERTAIN}: {listed(behind)}." if behind and unclear else "",
        f"Not compared, as their seeds are others: {listed(left_out)}." if left_out else "",
    ]
    return " ".join(filter(None, parts))


def _missing_of_table(cells: Sequence[Cell]) -> list[str]:
    told = []
    without = [cell.name for cell in cells if not any(cell.starts)]
    if without:
        told.append(f"No original model is here for {listed(without)}: what they changed is not known.")
    alone = [cell.name for cell in cells if not any(row.reference for row in cell.rows)]
    if alone:
        told.append(f"No retrained model is here for {listed(alone)}: they are not compared with it.")
    starts: dict[int, set[StoredRun]] = defaultdict(set)
    for cell in cells:
        for row, start in zip(cell.rows, cell.starts, strict=True):
            starts[row.seed] |= {start.run} if start else set()
    if any(len(runs) > 1 for runs in starts.values()):
        told.append("The methods started from several original models; each is compared with its own.")
    return told
