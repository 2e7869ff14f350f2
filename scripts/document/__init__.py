"""docs/cli.md, docs/metrics.md and the measures of docs/audit.md, made from the code: python -m scripts.document."""

from collections.abc import Callable
from pathlib import Path

from scripts.document.audit import audit_page
from scripts.document.flags import cli_page
from scripts.document.results import metrics_page

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m scripts.document"
AUDIT = "docs/audit.md"
PAGES: dict[str, Callable[[], str]] = {
    "docs/cli.md": cli_page,
    "docs/metrics.md": metrics_page,
    AUDIT: lambda: audit_page((ROOT / AUDIT).read_text(encoding="utf-8")),
}


def is_stale(page: str) -> bool:
    """Whether a page, such as docs/cli.md, differs from what the code says now."""
    file = ROOT / page
    return not file.exists() or file.read_text(encoding="utf-8") != PAGES[page]()
