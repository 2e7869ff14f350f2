"""The measures of docs/audit.md by question, from what the formulas declare; the rest is written by hand."""

from method.evaluation.audit import MEASURES
from method.evaluation.measures import Measure
from scripts.document.markdown import code, table
from scripts.report.audit_tables import EXPLAINED, QUESTIONS, question_of, sentences, shared_of

BEGIN, END = "<!-- Made from the code by python -m scripts.document -->\n\n", "\n<!-- until here -->"
TITLES = ("key", "in tables", "unit", "meaning")
NAMES = {"definition": "How", "source": "Source", "limits": "Limits"}  # of EXPLAINED


def audit_page(page: str) -> str:
    """The page with its tables made anew; ValueError where the marks around them are missing."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"docs/audit.md lacks {BEGIN.strip()!r} or {END.strip()!r}, between which its tables stand")
    return f"{head}{begin}{_tables()}{end}{tail}"


def _tables() -> str:
    """A section a question: what several of its measures share once, then a table with the rest of each."""
    parts = []
    for question in QUESTIONS:
        measures = [one for one in MEASURES.values() if question_of(one) is question]
        shared = shared_of(measures)
        told = [f"- {NAMES[name]}: {' '.join(shared[name])}" for name in EXPLAINED if shared[name]]
        rows = [_row(one, shared) for one in measures]
        titles = [*TITLES, *NAMES.values()]
        kept = [place for place in range(len(titles)) if any(row[place] for row in rows)]
        grid = table([titles[place] for place in kept], ([row[place] for place in kept] for row in rows))
        parts += [f"### {question.title}\n", *(["\n".join(told) + "\n"] if told else []), grid] if measures else []
    return "\n".join(parts)


def _row(one: Measure, shared: dict[str, list[str]]) -> list[str]:
    rest = [" ".join(part for part in sentences(getattr(one, name)) if part not in shared[name]) for name in EXPLAINED]
    return [code(one.key), one.title, one.unit, one.what, *rest]
