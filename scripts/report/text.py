"""Tables with titles and notes, in aligned text or Markdown."""

import functools
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from method.configs.seeds import SEEDS
from method.evaluation.columns import COLUMNS, Column
from method.evaluation.evaluator import IN_FP32
from method.evaluation.measures import Measure
from method.runs.files import PRETRAIN
from scripts.report.audit import FLOOR, FLOOR_READ, TITLE, audit_of, shown
from scripts.report.audit_tables import AuditTable, tables_of, told_of
from scripts.report.audit_verdict import tell_verdict
from scripts.report.collect import Report, Row, by_label, independent
from scripts.report.compared import Others, left_out_names, mark_rows, values_of_others
from scripts.report.naming import title
from scripts.report.nested import HEADER, LEFT, apart_lines, hindrance
from scripts.report.nested import TOLD as APART
from scripts.report.paired import OF_A_RUN, TOLD, compare_rows
from utils.tables import HOLE, align, align_markdown, cell, in_markdown, is_number, one_line

TITLES = {column.key: column.title for column in COLUMNS}
CLOSENESS = (
    f"{TITLES['tow']} and {TITLES['avg_gap']}: closeness to the retrained model of the same seed, with REWEIGHT where"
    " the method or the run has it."
)
FILLED = 118  # letters of a line of explanations
NOT_COMPUTED = "not computed by this run; python -m scripts.report --recompute does it"
DIFFERENCES = "Shown: differences, the value minus that of {} of the same seed."
CELLS = "Several seeds: mean ± sample standard deviation; [k] where only k of them have the value; - where none has."


def document(
    report: Report, columns: Sequence[Column], markdown: bool, each: bool, against: str = "", width: int = 0
) -> str:
    """All tables, then the runs that are in none, then what the columns mean.

    against: show differences to RETRAINED, or to the row of this label, in place of values. UserError where a table
    has no such row. width: letters of a line of text, 0 for any number.
    """
    parts = [
        part
        for key in report.tables
        for part in (
            _table(report, key, columns, markdown, each, against, width),
            *audited(report, key, markdown, width),
        )
    ]
    if not parts:
        parts = ["No finished run to show."]
    return joined(parts, report, legend(columns), markdown, width)


def audited(report: Report, key: tuple, markdown: bool, width: int, by_group: bool = False) -> list[str]:
    """What an audit found out about the rows of a table: its verdict, a narrow table a question, notes and meanings.

    Nothing where there was no audit.
    """
    audit, rows = audit_of(report, key), report.tables[key]
    if not (audit.columns or audit.empty):
        return []
    marks, remarks = mark_rows(rows).of, audit.holes(by_group)
    tables = [_question(table, marks, markdown, width) for table in tables_of(audit, by_group)]
    facts = [f"{one['about']}: {one['text']}" for one in tell_verdict(audit, rows)]
    facts += told_of(audit) if tables else []
    meaning = meanings([column.measure for column in audit.columns])
    if markdown:
        above, last = [f"#### {TITLE}", *map(in_markdown, facts)], in_markdown(meaning)
    else:
        told = (fill(one, width) for one in facts)
        above, last = ["\n".join([TITLE, "-" * len(TITLE), *told])], fill(meaning, width)
    return ["\n\n".join(filter(None, [*above, *tables, bullets("", remarks, markdown) if remarks else "", last]))]


def _question(table: AuditTable, marks: Mapping[str, str], markdown: bool, width: int) -> str:
    """The heading of a question, and below it its table, in blocks that are no wider than can be read."""
    title, left = table.question.title, len(table.names(marks)[0])
    blocks = table.blocks(marks, 0 if markdown else min(width or FILLED, FILLED))
    draw = align_markdown if markdown else align
    grids = [draw(header, lines, left) for header, *lines in blocks]
    return "\n\n".join(
        [f"##### {in_markdown(title)}" if markdown else f"{title}\n\n{grids[0]}", *grids[not markdown :]]
    )


def joined(parts: Sequence[str], report: Report, meaning: str, markdown: bool, width: int) -> str:
    """Tables, and below them the runs that are in none and what is shown; sentences in lines of `width`."""
    listed = [f"{folder}: {problem}" for folder, problem in report.missing]
    missing = [bullets("Not in the tables:", listed, markdown)] if listed else []
    last = meaning if markdown else fill(meaning, width)
    lines = "\n\n".join([*parts, *missing, last]).split("\n")
    return "\n".join(_wrapped(line, width) if width and not markdown else line for line in lines) + "\n"


def fill(text: str, width: int) -> str:
    """Sentences in lines of `width`, 0 for any, and no longer than can be read."""
    return textwrap.fill(one_line(text), min(width or FILLED, FILLED))


def _wrapped(line: str, width: int) -> str:
    """A line that is too long at blanks alone: paths stay whole."""
    indent = "  " if line.startswith("- ") else ""
    filled = textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled if len(line) > width else line


def legend(columns: Sequence[Column]) -> str:
    """What the columns mean, in a paragraph."""
    return " ".join([meanings(columns), CLOSENESS, CELLS])


def meanings(columns: Sequence[Column] | Sequence[Measure]) -> str:
    """What columns or measures mean, by their units; those of one meaning together."""
    by_unit: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for column in columns:
        if column.what:
            by_unit[column.unit][column.what][column.title] = None
    names = {"%": "In percent: ", "": ""}
    return " ".join(
        names.get(unit, f"In {unit}: ") + " ".join(f"{', '.join(titles)}: {what}." for what, titles in told.items())
        for unit, told in by_unit.items()
    )


def forget_group_names(rows: Sequence[Row]) -> list[str]:
    """The groups that were forgotten from."""
    return next((row.values["forget_group_names"] for row in rows if row.values.get("forget_group_names")), [])


def mia_baseline(rows: Sequence[Row]) -> float | None:
    """What MIA is near to without any signal; None where no row says so, or one has losses in bf16, where it is not."""
    if any(IN_FP32 in row.values for row in rows):
        return None
    return next((value for row in rows if is_number(value := row.values.get("mia_baseline"))), None)


def notes(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Why there are holes, and rows whose seeds were not run alike, or share what was trained."""
    told = []
    for reason, places in _holes(rows, columns).items():
        listed = [f"{what} (seed {', '.join(map(str, seeds))})" for what, seeds in places.items()]
        told.append(f"{'; '.join(listed)}: {reason}")
    for name, own in by_label(rows).items():
        identities = [row.run.stored.get("identity") or {} for row in own]
        keys = {key for identity in identities for key in identity} - {*SEEDS, "original", "reference"}
        unlike = sorted(key for key in keys if len({repr(identity.get(key)) for identity in identities}) > 1)
        told += [f"the runs of {name} differ in {', '.join(unlike)}, beside their seeds"] if unlike else []
        if not independent(own):
            why_not = hindrance(own)
            told.append(
                f"the {len(own)} runs of {name} share trained models, and their ± is not that of independent ones"
                + (f"; training and unlearning cannot be told apart, as {why_not}" if why_not else "")
            )
    return told + _other_originals(rows)


def _other_originals(rows: Sequence[Row]) -> list[str]:
    """Which rows did not start from the pretrained models that the table shows, and what is known of theirs."""
    if not any(row.run.method == PRETRAIN for row in rows):
        return []
    found: dict[tuple[str, str], list[int | str]] = defaultdict(list)
    for row in rows:
        if row.competes and row.start and row.start.run is None:
            found[row.label, row.start.told].append(row.seed_name)
    return [
        f"the original model of {name} (seed {', '.join(map(str, seeds))}): {told}"
        for (name, told), seeds in found.items()
    ]


def shown_value(row: Row, column: Column, others: Others | None = None) -> float | None:
    """The number of a row to print in a column; with `others` the difference to them."""
    value = row.values.get(column.key) if others is None else row.minus(others.get(row, {}), column.key)
    return value * column.scale if is_number(value) else None


def _table(
    report: Report, key: tuple, columns: Sequence[Column], markdown: bool, each: bool, against: str, width: int
) -> str:
    rows, header = report.tables[key], ["method", "seed" if each else "n", *(column.title for column in columns)]
    others, marks = values_of_others(report, key, against) if against else None, mark_rows(rows).of
    if each:
        header.append("worst group is")
        lines = [_each_line(row, columns, others) for row in rows]
        labels = [row.label for row in rows]
    else:
        lines = [_mean_line(name, own, columns, others) for name, own in by_label(rows).items()]
        labels = list(by_label(rows))
    for line, name in zip(lines, labels, strict=True):
        line[0] += f" {mark}" if (mark := marks.get(name)) else ""
    floors = [] if each else list(_floor_lines(report, key, columns, against))
    lines += floors
    grid = align_markdown(header, lines) if markdown else align(header, lines, width=width)
    told = [
        *([DIFFERENCES.format(against)] if against else []),
        *([f"{FLOOR_READ} Its n: how many models."] if floors else []),
    ]
    parts = [grid, *(_paired(report, key, columns, markdown, each, against, width) if against else [])]
    if not each:
        apart = list(apart_lines(by_label(rows), columns, functools.partial(shown_value, others=others)))
        parts += _explained(APART, HEADER, apart, LEFT, markdown, width)
    return frame(report, key, parts, [against], columns, markdown, told=told)


def _paired(
    report: Report, key: tuple, columns: Sequence[Column], markdown: bool, each: bool, against: str, width: int
) -> list[str]:
    """Below a table of differences: their intervals and p values, and why some are not there."""
    found = compare_rows(report, key, columns, against, each)
    lines = [
        [name if number == 0 else "", what, *texts]
        for name, own in found.lines(columns)
        for number, (what, texts) in enumerate(own.items())
    ]
    header, remarks = ["method", "", *(column.title for column in columns)], found.notes()
    grid = _explained(OF_A_RUN if each else TOLD, header, lines, 2, markdown, width)
    return [*grid, *([bullets("", remarks, markdown)] if remarks else [])]


def _explained(
    told: str, header: Sequence[str], lines: Sequence[Sequence[str]], left: int, markdown: bool, width: int
) -> list[str]:
    """A further table, whose first `left` columns are texts, below what it shows; nothing without lines."""
    if not lines:
        return []
    if markdown:
        return [in_markdown(told), align_markdown(header, lines, left)]
    return [fill(told, width), align(header, lines, left, width)]


def frame(
    report: Report,
    key: tuple,
    parts: Sequence[str],
    others: Sequence[str],
    columns: Sequence[Column],
    markdown: bool,
    lines: str = "rows",
    told: Sequence[str] = (),
) -> str:
    """A table's title and facts, the `parts` that hold its numbers, and its notes.

    others: labels of rows that these are compared with, beside references. lines: where a model stands, rows or
    columns. told: what else to say above the numbers.
    """
    heading, facts, remarks = (
        title(key),
        [*_facts(report, key, others, lines), *told],
        notes(report.tables[key], columns),
    )
    if markdown:
        above = [f"### {in_markdown(heading)}", *map(in_markdown, facts)]
    else:
        above = ["\n".join([one_line(heading), "=" * len(one_line(heading)), *map(one_line, facts)])]
    return "\n\n".join([*above, *parts, *([bullets("", remarks, markdown)] if remarks else [])])


def _facts(report: Report, key: tuple, others: Sequence[str], lines: str) -> list[str]:
    """What was forgotten, what MIA reads where the loss carries no signal, and what the rows are compared with."""
    rows = report.tables[key]
    names, baseline, hidden = forget_group_names(rows), mia_baseline(rows), left_out_names(report, key, others)
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    signal = f" Without any signal MIA reads about {baseline:.0f}." if baseline is not None else ""
    left_out = [f"The filters leave out {', '.join(hidden)}, with which {lines} are compared all the same."]
    return [
        *([f"Forget groups: {listed}.{signal}"] if names else []),
        *filter(None, [mark_rows(rows).sentences(lines)]),
        *(left_out if hidden else []),
    ]


def _mean_line(name: str, rows: Sequence[Row], columns: Sequence[Column], others: Others | None) -> list[str]:
    cells = [cell([shown_value(row, column, others) for row in rows], column.decimals) for column in columns]
    return [name, str(len(rows)), *cells]


def _each_line(row: Row, columns: Sequence[Column], others: Others | None) -> list[str]:
    worst, n = row.values.get("worst_group"), row.values.get("worst_group_n")
    values = [cell([shown_value(row, column, others)], column.decimals) for column in columns]
    return [row.label, row.seeds.spell(), *values, f"{worst} (n {n})" if worst else HOLE]


def _floor_lines(report: Report, key: tuple, columns: Sequence[Column], against: str) -> Iterator[list[str]]:
    """The distances between two retrained models, as an audit found them, in the columns that show such distances."""
    for name, found in audit_of(report, key).floor_lines(columns, against):
        cells = [shown(one, column.decimals, column.scale) for one, column in zip(found, columns, strict=True)]
        n = max(one.runs or 0 for one in found if one)
        numbers = (f"{number} ({ends})" if ends else number for number, ends in cells)
        yield [FLOOR.format(name), str(n or HOLE), *numbers]


def _holes(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, dict[str, list[int | str]]]:
    """reason -> "columns of a label" -> seeds."""
    holes: dict[str, dict[str, list[int | str]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        reasons = row.values.get("reasons") or {}
        titles: dict[str, list[str]] = defaultdict(list)
        for column in columns:
            is_new = column.key not in row.values and row.run.method != PRETRAIN
            reason = reasons.get(column.key) or (NOT_COMPUTED if is_new else "")
            if reason and not is_number(row.values.get(column.key)):
                titles[reason].append(column.title)
        for reason, missing in titles.items():
            holes[reason][f"{', '.join(missing)} of {row.label}"].append(row.seed_name)
    return holes


def bullets(heading: str, lines: Sequence[str], markdown: bool) -> str:
    """Lines of a list, below its heading where it has one."""
    form = in_markdown if markdown else one_line
    return "\n".join([*([heading, ""] if heading else []), *(f"- {form(line)}" for line in lines)])
