"""The table of bad input on the page of reliability says what happens, case by case (tests/bad_input_table.py)."""

from pathlib import Path

import pytest
from bad_input import CASES, Place, make_shared, outcome
from bad_input_table import row, rows_on_page


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets and runs that the cases start from."""
    return make_shared(tmp_path_factory.mktemp("shared"))


def numbered_cases() -> list:
    """Those of another user are processes of their own, of several seconds each."""
    return [
        pytest.param(number, title, id=title.replace(" ", "-"), marks=[pytest.mark.slow] * ("without leave" in title))
        for number, title in enumerate(CASES, 1)
    ]


@pytest.mark.parametrize("number, title", numbered_cases())
def test_a_row_says_what_comes(number: int, title: str, shared: Path, tmp_path: Path, threads_put_back: None):
    found = outcome(title, Place(tmp_path, shared))
    assert found.code in (1, 2)
    assert "Traceback" not in found.sentence
    assert row(number, title, found) == rows_on_page()[title]


def test_the_page_has_no_other_rows():
    assert list(rows_on_page()) == list(CASES)
    assert len(CASES) >= 30
