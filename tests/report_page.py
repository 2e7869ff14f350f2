"""What the tests of the page do in the browser."""

import json
from pathlib import Path
from typing import Any

import pytest
from browser import Browser

from scripts.report.page import page

pytest.importorskip("vl_convert", reason="vl-convert-python is not installed, which has what draws the page's charts")
MARKUP = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>&amp;\u2028"


def saved(payload: dict[str, Any], folder: Path) -> Path:
    """The page of a payload, as a file."""
    path = folder / "page.html"
    path.write_text(page(payload), encoding="utf-8")
    return path


def click(browser: Browser, selector: str) -> None:
    """Click the first element of the selector."""
    browser.run(f"document.querySelector({json.dumps(selector)}).click()")


def texts(browser: Browser, selector: str) -> list[str]:
    """The texts of all elements of the selector."""
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)")


def rows_of(browser: Browser, selector: str) -> list[list[str]]:
    """The texts of the cells of all rows of the selector."""
    cells = "[...row.cells].map((cell) => cell.textContent)"
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((row) => {cells})")


def open_cell(browser: Browser, name: str) -> None:
    """Open the details of a row, and wait for them."""
    click(browser, f'tr[data-cell="{name}"] .open')
    browser.wait(f"document.getElementById({json.dumps(name)})")


def visible(browser: Browser, selector: str) -> list[str]:
    """The texts of those elements of the selector that take room."""
    shown = "node.getClientRects().length > 0 && getComputedStyle(node).visibility === 'visible'"
    nodes = f"[...document.querySelectorAll({json.dumps(selector)})].filter((node) => {shown})"
    return browser.run(f"{nodes}.map((node) => node.textContent)")


def undisturbed(browser: Browser, file: Path) -> None:
    """No message in the console, and nothing asked for but the file."""
    assert browser.complaints == []
    assert browser.requests == [file.as_uri()]
    assert browser.run("performance.getEntriesByType('resource').length") == 0
