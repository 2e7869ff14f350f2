"""The table of bad input in docs/reliability.md: the topics in their order, and the rows of the page.

The test runs every case and compares it with its row. After a change that is meant, make the rows anew from the
project's folder with

    PYTHONPATH=. python tests/bad_input_table.py
"""

import importlib
import re
import sys
import tempfile
from pathlib import Path

from bad_input import CASES, Outcome, Place, make_shared, outcome
from cli import ROOT

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- bad input: begin -->", "<!-- bad input: end -->"
TOPICS = ("arguments", "environment", "labels", "images", "runs", "reports")
for topic in TOPICS:
    importlib.import_module(f"bad_input_{topic}")  # registers its cases


def row(number: int, title: str, found: Outcome) -> str:
    """A row of the table."""
    sentence = found.sentence.replace("|", "\\|").replace("`", "'")
    return f"| {number} | {title} | `{sentence}` | {found.code} |"


def rows_on_page() -> dict[str, str]:
    """The rows of the page, by title."""
    table = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    rows = [line for line in table.splitlines() if re.match(r"\| \d", line)]
    return {line.split(" | ")[1]: line for line in rows}


def write_page() -> None:
    """Run every case and put its row on the page."""
    with tempfile.TemporaryDirectory() as folder:
        shared, rows = make_shared(Path(folder) / "shared"), []
        for number, title in enumerate(CASES, 1):
            place = Place(Path(folder) / f"case{number}", shared)
            place.tmp.mkdir()
            rows.append(row(number, title, outcome(title, place)))
    before, rest = PAGE.read_text().split(BEGIN)
    table = "\n".join(["| | what was done | the sentence | exit code |", "|---|---|---|---|", *rows])
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    write_page()
    sys.exit(0)
