"""What of a file's content stands in a message: no control characters, no more than people read."""

import logging

import pytest

from utils.errors import RunError, UserError
from utils.text import PrintableFormatter, for_people, printable, shorten


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Männer ± 3\tand\nmore", "Männer ± 3\tand\nmore"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\rb\0\x9b", "a\\rb\\x00\\x9b"),
        ("left\u202eright", "left\\u202eright"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("lone \udcff", "lone \\udcff"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text: str, shown: str):
    assert printable(text) == shown
    printable(text).encode()


def test_a_long_word_is_shortened_and_says_by_how_much():
    told = for_people(f"image {'a' * 131_000} is not there")
    assert told == f"image {'a' * 200}... (130,600 characters left out) ...{'a' * 200} is not there"


def test_a_long_text_keeps_its_start_and_its_end():
    told = for_people("start " + "word " * 100_000 + "end")
    assert len(told) < 20_000
    assert told.startswith("start word")
    assert told.endswith("word end")
    assert shorten("short") == "short"


@pytest.mark.parametrize("kind", [UserError, RunError])
def test_errors_and_the_log_tell_it_in_this_way(kind: type[Exception]):
    assert str(kind("a\x1bb")) == "a\\x1bb"
    record = logging.LogRecord("unlearning", logging.INFO, "", 0, "reading %s", ("a\x1bb",), None)
    assert PrintableFormatter("%(message)s").format(record) == "reading a\\x1bb"
