"""Texts that come from files and from people, as they may stand in a message: short, and without control characters."""

import logging
import math

LONGEST_WORD, LONGEST_TEXT = 1_000, 20_000  # characters; a path of the system has at most 4,096
WORD_ENDS, TEXT_ENDS = 200, 8_000  # what is left of a longer one, at its start and at its end


def printable(text: str) -> str:
    """`text` with what a terminal would act on or not show (control, format and surrogate characters) as escapes."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape", "surrogatepass").decode("ascii")
        for one in text
    )


def shorten(text: str, longest: int = LONGEST_TEXT, ends: int = TEXT_ENDS) -> str:
    """`text`, or where it is longer its start and its end, with how many characters are left out between them."""
    if len(text) <= longest:
        return text
    return f"{text[:ends]}... ({len(text) - 2 * ends:,} characters left out) ...{text[-ends:]}"


def for_people(text: str) -> str:
    """A message: printable, no word of it and not the whole longer than a screen takes."""
    if len(text) > LONGEST_WORD:
        words = (shorten(word, LONGEST_WORD, WORD_ENDS) for word in text.split(" "))
        text = shorten(" ".join(words))
    return printable(text)


def estimate(seconds: float) -> str:
    """A time that is expected, no finer than that can be: 40 s, 7 min, 2.5 h."""
    if seconds < 95:
        return f"{10 * math.ceil(seconds / 10)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5700 else f"{seconds / 3600:.1f} h"


class PrintableFormatter(logging.Formatter):
    """Lines of a log without control characters, whatever the names in them hold."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, with control characters as escapes."""
        return printable(super().format(record))
