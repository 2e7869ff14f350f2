"""A PDF whose bytes say nothing but what is drawn: vl-convert writes parts of it in an order of chance."""

import re

OBJECT = re.compile(rb"^(\d+) 0 obj\n(.*?)\nendobj\n", re.DOTALL | re.MULTILINE)
NAMED = re.compile(rb"(?:^ +/[a-z]+\d+ \d+ 0 R\n){2,}", re.MULTILINE)  # fonts and the like, a line each
REFERENCE = re.compile(rb"\b(\d+) 0 R\b")


def in_order(pdf: bytes) -> bytes:
    """The same document with sorted resources, and its objects in the order in which they are first named."""
    parts = {int(number): _split(body) for number, body in OBJECT.findall(pdf)}
    trailer = pdf[pdf.rindex(b"trailer") : pdf.rindex(b"startxref")]
    numbers: dict[int, int] = {}
    waiting = _named(trailer)
    while waiting:
        number = waiting.pop(0)
        if number not in numbers:
            numbers[number] = len(numbers) + 1
            waiting[:0] = _named(parts[number][0])
    written = pdf[: pdf.index(b" 0 obj")].rpartition(b"\n")[0] + b"\n"
    places = []
    for number, new in numbers.items():
        places.append(len(written))
        head, stream = parts[number]
        written += b"%d 0 obj\n%b%b\nendobj\n\n" % (new, _renumbered(head, numbers), stream)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = re.sub(rb"/Size \d+", b"/Size %d" % (len(places) + 1), _renumbered(trailer, numbers))
    table = b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(places) + 1, table)
    return written + table + size + b"startxref\n%d\n%%%%EOF\n" % len(written)


def _split(body: bytes) -> tuple[bytes, bytes]:
    """An object's dictionary, sorted, and its stream, if it has one."""
    head, mark, stream = body.partition(b"\nstream\n")
    return NAMED.sub(lambda found: b"".join(sorted(found[0].splitlines(keepends=True))), head), mark + stream


def _named(text: bytes) -> list[int]:
    return [int(number) for number in REFERENCE.findall(text)]


def _renumbered(text: bytes, numbers: dict[int, int]) -> bytes:
    return REFERENCE.sub(lambda found: b"%d 0 R" % numbers[int(found[1])], text)
