"""The whole table as JSON and Markdown."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from scripts.acceptance.options import PARTS, Options
from scripts.acceptance.rows import FAIL, FIGURE, PASS, SKIPPED, Row
from utils.tables import align_markdown

NAME = "acceptance"
Results = Mapping[str, tuple[list[Row], float]]


def counted(rows: list[Row]) -> str:
    """How many rows passed, failed, are figures and were skipped, in words."""
    counts = Counter(row.status for row in rows)
    return ", ".join(f"{counts[status]} {status}" for status in (PASS, FAIL, FIGURE, SKIPPED) if counts[status])


def accepted(results: Results) -> bool:
    """Whether something passed and nothing failed."""
    statuses = {row.status for rows, _ in results.values() for row in rows}
    return PASS in statuses and FAIL not in statuses


def write(results: Results, options: Options, command: str) -> list[Path]:
    """Write the table as JSON and as Markdown, from what there is so far; returns both files."""
    files = [options.out / f"{NAME}.{kind}" for kind in ("json", "md")]
    files[0].write_text(as_json(results, command), encoding="utf-8")
    files[1].write_text(as_markdown(results, command), encoding="utf-8")
    return files


def machine(results: Results) -> dict[str, str]:
    """The facts of the part called machine, by name."""
    return {row.name: row.value for row in results.get("machine", ([], 0))[0] if row.status == FIGURE}


def as_json(results: Results, command: str) -> str:
    """The table as JSON: machine, command, verdict, and every row by part."""
    parts = {
        name: {"seconds": round(seconds, 1), "rows": [*map(asdict, rows)]} for name, (rows, seconds) in results.items()
    }
    whole = {"machine": machine(results), "command": command, "accepted": accepted(results), "parts": parts}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def as_markdown(results: Results, command: str) -> str:
    """The table as Markdown: a heading, the machine, a line a part, and all rows."""
    proves = {part.name: part.proves for part in PARTS}
    facts = [*machine(results).items(), ("command", command)]
    parts = [(name, proves.get(name, ""), counted(rows), f"{seconds:.0f}") for name, (rows, seconds) in results.items()]
    all_rows = [
        (name, row.status, row.name, row.value, row.detail)
        for name, (rows, _) in results.items()
        for row in rows
        if name != "machine" or row.status == FAIL
    ]
    texts = ["# Accepted" if accepted(results) else "# Not accepted"]
    texts.append(align_markdown(("machine", ""), facts, left=2))
    texts.append(align_markdown(("part", "proves that", "rows", "seconds"), parts, left=3))
    if all_rows:
        texts.append(align_markdown(("part", "status", "what", "found", "held against, or why"), all_rows, left=5))
    return "\n\n".join(texts) + "\n"
