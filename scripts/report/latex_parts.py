"""The parts of LaTeX tables: environments, lines, numbers, and text as LaTeX prints it."""

import re
from collections.abc import Sequence
from statistics import fmean, stdev

from scripts.report.collect import Row
from scripts.report.compared import Marks
from utils.tables import HOLE, one_line

# A bracket or a star behind the end of a row would be an argument of it.
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "*": "{*}",
}  # fmt: skip
LAST_LATIN = "\u017f"
LEAST, LINE = 0.7, 345  # how far a table is narrowed; pt, a line of the class `article`
WIDTHS = 70, 52  # pt: of `minus retrained` and of an interval in \scriptsize
LETTER, BETWEEN = 4.9, 12  # pt, about: a letter, and what stands between two columns
MARKUP = re.compile(r"\\[a-z]+|[${}^\\]")


def document(tables: Sequence[str]) -> str:
    """Tables below the comment on what they need."""
    text = "\n".join(tables)
    further = (
        ["% has letters beyond Latin: compile with LuaLaTeX or XeLaTeX"] if max(text, default="") > LAST_LATIN else []
    )
    return "\n".join([r"% needs \usepackage{booktabs,graphicx}", *further, text])


def environment(caption: Sequence[str], name: str, spec: str, body: Sequence[str]) -> str:
    """A table environment: sentences of the caption, its label without `tab:`, the columns' letters, the lines."""
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"  \centering",
            rf"  \caption{{{' '.join(filter(None, caption))}}}",
            rf"  \label{{tab:{name}}}",
            # As wide as it is, or as the text where that is narrower.
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"  \begin{{tabular}}{{{spec}}}",
            r"    \toprule",
            *(f"    {line}" for line in body),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def fitting(heads: Sequence[Sequence[str]], widths: tuple[float, float], most: int) -> list[slice]:
    """Blocks of columns that need not be narrowed below LEAST, about: of one to `most` columns, as even as that gives.

    heads: of each column, and of narrow ones that stand beside it in the same block. widths: in pt, of the first
    column, which stands in every block, and the least one of the others.
    """
    needed = [sum(LETTER * len(MARKUP.sub("", head)) + BETWEEN for head in beside) for _, *beside in heads]
    needed = [
        more + max(LETTER * len(MARKUP.sub("", head)), widths[1]) + BETWEEN
        for (head, *_), more in zip(heads, needed, strict=True)
    ]
    blocks, start = [], 0
    for end in range(1, len(heads) + 1):
        if end in (len(heads), start + most) or sum(needed[start : end + 1]) > LINE / LEAST - widths[0]:
            blocks.append(slice(start, end))
            start = end
    even = -(-len(heads) // max(1, len(blocks)))
    evener = fitting(heads, widths, even) if even < most else blocks
    return evener if len(evener) == len(blocks) else blocks


def setting_told(key: tuple) -> str:
    """What a table was run on, for a caption."""
    dataset, model, image_size, _, task, _ = key
    return f"{dataset}, {model}, {image_size} pixels" + (f", {task}" if task else "")


def references_told(marks: Marks, lines: str = "rows") -> str:
    """The sentence on references for a caption; lines: as in Marks.sentences."""
    signs = marks.sentences(lines)
    return re.sub(r"(\{\*\})+", lambda stars: f"${sign(stars[0].replace('{*}', '*'))}$", escape(signs))


def sign(mark: str) -> str:
    """A mark as mathematics; empty without one."""
    return f"^{{{mark}}}" if mark else ""


def called(row: Row, mark: str) -> str:
    """The name of a row with its mark."""
    return escape(row.name) + (f"${sign(mark)}$" if mark else "")


def line(cells: Sequence[str]) -> str:
    """A row of a table."""
    return rf"{' & '.join(cells)} \\"


def number(found: Sequence[float | None], decimals: int = 1, bold: bool = False) -> str:
    """Mean and deviation of what is there, with [k] where only k are."""
    values = [value for value in found if value is not None]
    if not values:
        return "--"
    mean = f"{fmean(values):z.{decimals}f}"
    mean = rf"\mathbf{{{mean}}}" if bold else mean
    deviation = f"_{{\\pm {stdev(values):.{decimals}f}}}" if len(values) > 1 else ""
    return f"${mean}{deviation}$" + (rf"\,[{len(values)}]" if len(values) < len(found) else "")


def numbers_below(named: str, cells: Sequence[tuple[str, str, str]]) -> list[str]:
    """A line of numbers, each with a note, and below it one of their intervals, where there are some."""
    found = [
        "--" if mean == HOLE else re.sub("[->]", r"$\g<0>$", mean) + (rf"\,{count}" if count else "")
        for mean, _, count in cells
    ]
    intervals = [rf"\scriptsize {ends.replace('-', '$-$')}" if ends else "" for _, ends, _ in cells]
    return [line([named, *found]), *([line(["", *intervals])] if any(intervals) else [])]


def escape(text: str) -> str:
    """Text as LaTeX prints it, in one line: an empty one would end a caption; hyphens stay as many as they are."""
    escaped = "".join(SPECIAL.get(letter, letter) for letter in one_line(text))
    return re.sub(r"(?<=-)-", "{}-", escaped).replace("ℓ1", r"$\ell_1$")
