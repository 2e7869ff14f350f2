"""Differences between rows and what they are compared with: their two chances apart, and tests over the seeds."""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from datasets.splits import load_splits
from method.evaluation.columns import Column
from method.evaluation.evaluator import compared_keys
from method.evaluation.intervals import holm, paired_p, student_interval
from method.evaluation.records import Records, check_belonging
from method.evaluation.uncertainty import KEYS, NO_RECORDS, OTHER_SAMPLES, Difference, compare
from method.runs.folder import CONFIG, REDACTED, SPLITS
from scripts.report.collect import Report, Row, by_label, independent
from scripts.report.compared import Other, has_row, others_of
from scripts.report.estimates import ALIKE
from utils.errors import RunError, UserError
from utils.tables import HOLE, is_number

OVER_SEEDS, P_VALUE, OVER_IMAGES = "over seeds", "p (Holm)", "over images"
TOLD = (
    "95 % intervals of these differences, each for itself: not corrected for the number of rows. Over seeds: paired,"
    " by Student's t. Over images, of accuracies, EO and DP: the models stay as they are, and other images are drawn;"
    " of several seeds the mean of their ends. p: paired t test over the seeds, corrected for the number of rows in the"
    " column (Holm)."
)
OF_A_RUN = (
    "95 % intervals of these differences over images, of accuracies, EO and DP, each for itself: not corrected for the"
    " number of rows. The models stay as they are, and other images are drawn."
)
ONE_SEED, SHARED, ALL_ALIKE = "one seed only", "its runs share trained models", "all seeds are alike"
FIXED = "of a retrained model this is fixed by definition"
WITHOUT_TRAIN = "redacted copies have no records of train"
LEAST_P = 0.001  # what is below is not told apart
Ends = tuple[float, float]
OfImages = tuple[Mapping[str, Difference], Mapping[str, str]]  # as `compare` gives them


class Paired(NamedTuple):
    """Of a label in a column: both ends over seeds, p before and after Holm's correction, both ends over images.

    None for what there is not. n, n_images: how many of the label's runs have a difference, and its interval over
    images.
    """

    n: int
    seeds: Ends | None
    raw_p: float | None
    p: float | None
    images: Ends | None
    n_images: int


@dataclass(frozen=True)
class PairedTable:
    """The differences of a table. rows: by label, or one a run, without those that are compared with themselves.

    found: label and key of a column -> `Paired`. why_not: why a label has no interval -> what lacks it.
    """

    rows: Mapping[str, Sequence[Row]]
    found: Mapping[tuple[str, str], Paired]
    why_not: Mapping[str, Sequence[str]]

    def lines(self, columns: Sequence[Column]) -> Iterator[tuple[str, dict[str, list[str]]]]:
        """(label, what a line says -> a text a column), without lines that would be empty."""
        for name, rows in self.rows.items():
            own = [(self.found[name, column.key], column) for column in columns]
            lines = {
                OVER_SEEDS: [_ends_told(one.seeds, column) for one, column in own],
                P_VALUE: [_p_told(one.p) for one, _ in own],
                OVER_IMAGES: [
                    _ends_told(one.images, column) + (f" [{one.n_images}]" if 0 < one.n_images < len(rows) else "")
                    for one, column in own
                ],
            }
            if kept := {what: texts for what, texts in lines.items() if any(text != HOLE for text in texts)}:
                yield name, kept

    def reasons(self, name: str) -> list[str]:
        """Why intervals of one of the rows are missing."""
        return [reason for reason, who in self.why_not.items() if name in who]

    def notes(self) -> list[str]:
        """Why intervals are missing."""
        everyone = len(self.rows) if len(self.rows) > 1 else 0
        return [
            f"{'all rows' if len(who) == everyone else ', '.join(who)}: {reason}"
            for reason, who in self.why_not.items()
        ]


def in_lines(rows: Sequence[Row], each: bool) -> dict[str, list[Row]]:
    """What stands in a line: the rows of a label, or one row, with its seeds in the name."""
    return {f"{row.label}, seed {row.seeds.spell()}": [row] for row in rows} if each else by_label(rows)


def compare_rows(
    report: Report, table: tuple, columns: Sequence[Column], against: str, each: bool = False
) -> PairedTable:
    """The differences of a table's rows to the row labelled `against`, or to RETRAINED.

    each: of every run, where seeds have no interval. A table without a row `against` has a sentence alone. Records are
    read here, and nowhere else for a table.
    """
    if not has_row(report, table, against):
        return _nothing(in_lines(report.tables[table], each), columns, against)
    others = {
        row: other
        for row, other in others_of(report, table, against).items()
        if (other.run, other.records) != (row.run, row.records)
    }
    shown = [row for row in report.tables[table] if row in others]
    rows = in_lines(shown, each)
    keys = [column.key for column in columns]
    images = _over_images(others) if not {*keys}.isdisjoint(KEYS) else {}
    found = {(name, key): _pair(own, key, others, images) for name, own in rows.items() for key in keys}
    fixed = {(name, key) for name, own in rows.items() for key in keys if _is_fixed(own, key)}
    for key in keys:
        corrected = holm([None if (name, key) in fixed else found[name, key].raw_p for name in rows])
        for name, p in zip(rows, corrected, strict=True):
            found[name, key] = found[name, key]._replace(p=p)
    return PairedTable(rows, found, _why_not(rows, found, columns, fixed, images, each))


def _nothing(rows: Mapping[str, Sequence[Row]], columns: Sequence[Column], against: str) -> PairedTable:
    """Of a table without the row that others are compared with."""
    found = {(name, column.key): Paired(0, None, None, None, None, 0) for name in rows for column in columns}
    return PairedTable(rows, found, {f"no difference, as the table has no row {against!r}": list(rows)})


def _why_not(
    rows: Mapping[str, Sequence[Row]],
    found: Mapping[tuple[str, str], Paired],
    columns: Sequence[Column],
    fixed: Collection[tuple[str, str]],
    images: Mapping[Row, OfImages],
    each: bool,
) -> dict[str, list[str]]:
    """Reasons of what is missing -> which lines it is missing in."""
    why_not: dict[str, list[str]] = defaultdict(list)
    for name, own in rows.items():
        if not each and (reason := _why_no_test(own, [found[name, column.key] for column in columns])):
            why_not[f"no interval over seeds and no p: {reason}"].append(name)
    for name in rows:
        tests = [one for one in columns if (name, one.key) in fixed and found[name, one.key].raw_p is not None]
        if tests:
            why_not[f"no p of {', '.join(one.title for one in tests)}: {FIXED}"].append(name)
    for name, own in rows.items():
        for reason, titles in _without_images(own, columns, images).items():
            which = "" if titles is None else f" of {', '.join(titles)}"
            why_not[f"no interval{which} over images: {reason}"].append(name)
    return why_not


def _is_fixed(rows: Sequence[Row], key: str) -> bool:
    """Whether a value is what it is by definition: rows compared with themselves, of which no test can tell a thing."""
    return key in compared_keys() and all(row.reference is row.run for row in rows)


def _pair(rows: Sequence[Row], key: str, others: Mapping[Row, Other], images: Mapping[Row, OfImages]) -> Paired:
    apart = {row: value for row in rows if is_number(value := row.minus(others[row].values, key))}
    values, seeds, p = list(apart.values()), None, None
    if len(values) > 1 and independent(list(apart)) and max(values) - min(values) > ALIKE:
        _, low, high = student_interval(values)
        seeds, p = (low, high) if low is not None and high is not None else None, paired_p(values)
    own = [images[row][0][key] for row in rows if row in images and key in images[row][0]]
    ends = (fmean(one.low for one in own), fmean(one.high for one in own)) if own else None
    return Paired(len(values), seeds, p, None, ends, len(own))


def _why_no_test(rows: Sequence[Row], found: Sequence[Paired]) -> str:
    """Why no column of a label has an interval over seeds; empty where one has, or there is no difference at all."""
    most = max((one.n for one in found), default=0)
    if not most or any(one.seeds for one in found):
        return ""
    return ONE_SEED if most == 1 else ALL_ALIKE if independent(rows) else SHARED


def _without_images(
    rows: Sequence[Row], columns: Sequence[Column], images: Mapping[Row, OfImages]
) -> dict[str, list[str] | None]:
    """reason -> titles of the columns that have no interval over images for it, None for all that could have one."""
    able = [column for column in columns if column.key in KEYS]
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows if able else ():
        for column in able:
            if reason := images[row][1].get(column.key):
                found[reason][column.title] = None
    return {reason: None if len(titles) == len(able) else list(titles) for reason, titles in found.items()}


def _over_images(others: Mapping[Row, Other]) -> dict[Row, OfImages]:
    """What `compare` gives of each row and what it is compared with; where files cannot be read, the reason."""
    read = lru_cache(maxsize=1)(Records.load)  # many rows are compared with the same run, one after the other
    found: dict[Row, OfImages] = {}
    for row, other in sorted(others.items(), key=lambda pair: (pair[1].run.folder, pair[1].records)):
        try:
            found[row] = _compare(row, other, read)
        except (UserError, RunError) as error:
            found[row] = {}, dict.fromkeys(KEYS, str(error))
    return found


def _compare(row: Row, other: Other, read: Callable[[Path], Records]) -> OfImages:
    """UserError or RunError where a file cannot be read, or the files of a run do not belong together."""
    splitting = row.splits_of or row.run
    files = row.run.folder / row.records, other.run.folder / other.records, splitting.folder / SPLITS
    if any(run.stored.get(REDACTED) for run in (row.run, other.run)):
        return {}, dict.fromkeys(KEYS, WITHOUT_TRAIN)
    if not all(map(os.path.exists, files)):
        return {}, dict.fromkeys(KEYS, NO_RECORDS)
    if len({splitting.fingerprint("forget"), other.run.fingerprint("forget")} - {None}) > 1:
        return {}, dict.fromkeys(KEYS, OTHER_SAMPLES)
    theirs, own, splits = read(files[1]), Records.load(files[0]), load_splits(files[2])
    for records in (own, theirs):
        check_belonging(records, splits, splitting.stored, splitting.folder / CONFIG)
    groups = splitting.stored["groups"]
    return compare(own, theirs, splits, groups["n_targets"], groups["n_sensitive"])


def _ends_told(ends: Ends | None, column: Column) -> str:
    """`-1.2 to 3.4`, in the unit that is shown."""
    return HOLE if ends is None else " to ".join(f"{end * column.scale:z.{column.decimals}f}" for end in ends)


def _p_told(p: float | None) -> str:
    return HOLE if p is None else f"<{LEAST_P}" if p < LEAST_P else f"{p:.3f}"
