"""Pieces of the audit sheet's HTML, in which every text is text, whatever it holds; and HTML as PDF."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from utils.errors import UserError
from utils.tables import one_line


def text(value: object) -> str:
    """Anything as text of the page: no markup, no control characters, one line."""
    return html.escape(one_line(str(value)))


def section(heading: str, parts: Iterable[str]) -> list[str]:
    """A heading with what stands below it."""
    return [f"<h2>{heading}</h2>", *parts]


def paragraph(*sentences: str, kind: str = "") -> str:
    """Sentences, which are plain text."""
    own, told = f' class="{kind}"' if kind else "", " ".join(filter(None, sentences))
    return f"<p{own}>{text(told)}</p>" if told else ""


def bullets(items: Iterable[str]) -> str:
    """A list of what is HTML already."""
    return "<ul>\n" + "\n".join(f"<li>{item}</li>" for item in items) + "\n</ul>"


def facts(lines: Sequence[tuple[str, str]]) -> str:
    """A table of two columns, plain text in both."""
    rows = "\n".join(f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in lines)
    return f'<table class="facts">\n{rows}\n</table>'


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], kind: str) -> str:
    """A table; rows: the class of each and its cells, which are HTML already; the first is a heading."""
    heads = "".join(f'<th scope="col">{text(one)}</th>' for one in head)
    lines = []
    for own, (name, *cells) in rows:
        values = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f'<tr class="{own}"><th scope="row">{name}</th>{values}</tr>')
    body = "\n".join(["<thead>", f"<tr>{heads}</tr>", "</thead>", "<tbody>", *lines, "</tbody>"])
    return f'<div class="scroll"><table class="{kind}">\n{body}\n</table></div>'


def as_pdf(text: str) -> bytes:
    """The sheet as PDF; UserError where WeasyPrint or a library that it needs is not installed."""
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:  # the latter where pango is missing
        raise UserError(
            "a PDF needs the package weasyprint and the library pango, which cannot be loaded"
            f" ({' '.join(str(error).split())[:200]}): pip install -r requirements-pdf.txt, or give FILE.html and print"
            " that from a browser"
        ) from None

    def refuse(url: str, *_: Any, **__: Any) -> Any:
        raise ValueError(f"nothing is loaded: {url}")

    return HTML(string=text, url_fetcher=refuse).write_pdf()
