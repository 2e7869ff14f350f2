"""What an audit found, a narrow table a question: the measures that answer it, and the rows that have an answer."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from method.evaluation.measures import Measure
from scripts.report.audit import Audit, AuditColumn, is_told, told_at
from utils.tables import HOLE, is_number

SAMPLES = "forgotten_samples"
EXPLAINED = ("definition", "source", "limits")  # what is told of a measure beside its meaning
END_OF_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")  # no `et al. 2025`
Grid = list[list[str]]  # of text, the header first


class Question(NamedTuple):
    """A question, the beginnings of the keys of the measures that answer it, and that of their titles.

    family: what the titles begin with, and heads below the question need not repeat.
    """

    title: str
    keys: tuple[str, ...]
    family: str = ""


QUESTIONS = (  # the longest beginning of a key counts
    Question("Can a single forgotten sample be told? By U-LiRA", ("lira_",), "U-LiRA "),
    Question("Can a single forgotten sample be told? By RULI", ("ruli_",), "RULI "),
    Question("Can forgotten samples be told from samples left out of train?", ("ruli_privacy_",), "RULI "),
    Question("Can unlearned models be told from retrained ones?", ("forgetting_", "klom_", "iam_")),
    Question("Is it gone, or only hidden?", ("relearn_",), "relearn "),
    Question("What do weights and features still hold?", ("l2_", "lmc_", "probe_", "cka")),
    Question("Other measures", ("",)),
)


@dataclass(frozen=True)
class AuditTable:
    """A question, what was found out about it, and the lines that have a value: (label, group or None for all)."""

    question: Question
    audit: Audit
    lines: Sequence[tuple[str, str | None]]

    def head(self, column: AuditColumn) -> str:
        """The title of a column, short: without the family's name, and k for the number of forgotten samples."""
        at = [f"k = {one[1]}" if one[0] == SAMPLES and is_number(one[1]) else told_at(one) for one in column.at]
        return ", ".join([column.measure.title.removeprefix(self.question.family), *at])

    def heads(self) -> list[list[str]]:
        """For each column its head, and those of what stands beside its values."""
        return [[self.head(column), *self.audit.parts(column)] for column in self.audit.columns]

    def cells(self, name: str, group: str | None) -> list[list[tuple[str, str]]]:
        """A number and its interval below each of `heads`."""
        found = iter(self.audit.cells(name, group))
        return [list(islice(found, len(heads))) for heads in self.heads()]

    def runs(self, name: str, group: str | None) -> str:
        """From how many runs the numbers of a line are: `8`, or where they differ `5 to 8`; a hole where none says."""
        found = [one.runs for column in self.audit.columns if (one := self.audit.get(name, column, group)) and one.runs]
        return " to ".join(map(str, dict.fromkeys([min(found), max(found)]))) if found else HOLE

    def names(self, marks: Mapping[str, str]) -> Grid:
        """A header and what a line is called, with the mark of its reference; the group too where any line has one."""
        by_group = any(group for _, group in self.lines)
        named = [
            [f"{name} {marks.get(name, '')}".rstrip(), *([group or "all"] * by_group)] for name, group in self.lines
        ]
        return [["method", *(["group"] * by_group)], *named]

    def blocks(self, marks: Mapping[str, str], width: int) -> list[Grid]:
        """Grids of text of at most `width` letters (0: any), with the names; a value and its parts are together."""
        runs = [["runs"], *([self.runs(*line)] for line in self.lines)]
        found = [self.cells(*line) for line in self.lines]
        parts = [
            [heads, *([f"{number} ({ends})" if ends else number for number, ends in cells[place]] for cells in found)]
            for place, heads in enumerate(self.heads())
        ]
        first = _beside(self.names(marks), runs)
        blocks = [first]
        for part in parts:
            wider = _beside(blocks[-1], part)
            if width and blocks[-1] is not first and _width(wider) > width:
                wider = _beside(first, part)
                blocks.append(wider)
            blocks[-1] = wider
        return blocks


def _beside(grid: Grid, further: Grid) -> Grid:
    return [[*line, *more] for line, more in zip(grid, further, strict=True)]


def _width(grid: Grid) -> int:
    """Letters of a line, with two blanks between columns."""
    return sum(max(map(len, column)) + 2 for column in zip(*grid, strict=True)) - 2


def question_of(measure: Measure) -> Question:
    """The question that a measure answers."""
    keys = [(key, one) for one in QUESTIONS for key in one.keys if measure.key.startswith(key)]
    return max(keys, key=lambda pair: len(pair[0]))[1]


def tables_of(audit: Audit, by_group: bool) -> Iterator[AuditTable]:
    """A table for each question that something was found out about, in the order of QUESTIONS."""
    for question in QUESTIONS:
        own = replace(audit, columns=[column for column in audit.columns if question_of(column.measure) is question])
        lines = [
            (name, group)
            for name, group in own.lines(by_group)
            if any(is_told(own.get(name, column, group)) for column in own.columns)
        ]
        if lines:
            yield AuditTable(question, own, lines)


def shared_of(measures: Sequence[Measure]) -> dict[str, list[str]]:
    """By EXPLAINED the sentences that two or more measures share, each once: they are told of all together."""
    found = {}
    for name in EXPLAINED:
        counted = Counter(one for measure in measures for one in dict.fromkeys(sentences(getattr(measure, name))))
        found[name] = [one for one, n in counted.items() if n > 1]
    return found


def sentences(text: str) -> list[str]:
    """A text's sentences, each with its full stop."""
    return [f"{one.removesuffix('.')}." for one in END_OF_SENTENCE.split(text) if one]


def told_of(audit: Audit) -> list[str]:
    """How the numbers are read, and where the rows of a group are that has none of its own."""
    samples = any(name == SAMPLES for column in audit.columns for name, _ in column.at)
    told = [*audit.facts(), *(["k: how many forgotten samples the model was fine-tuned on."] if samples else [])]
    if len(audit.groups) == 1:
        told.append(
            f"All forgotten samples are of {audit.groups[0]}; where its numbers are those of all, they stand once."
        )
    return [" ".join(told)]
