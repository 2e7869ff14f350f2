"""The measures of docs/audit.md, from what the formulas declare; the rest of the page is written by hand."""

from method.evaluation.audit import MEASURES
from method.evaluation.measures import Measure
from scripts.document.markdown import code, table

BEGIN, END = "<!-- Made from the code by python -m scripts.document -->\n\n", "\n<!-- until here -->"
TITLES = ("key", "in tables", "unit", "meaning", "definition", "source", "what it cannot tell")


def audit_page(page: str) -> str:
    """The page with its table made anew; ValueError where the marks around the table are missing."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"docs/audit.md lacks {BEGIN.strip()!r} or {END.strip()!r}, between which its table stands")
    return f"{head}{begin}{table(TITLES, map(_row, MEASURES.values()))}{end}{tail}"


def _row(one: Measure) -> list[str]:
    return [code(one.key), one.title, one.unit, one.what, one.definition, one.source, one.limits]
