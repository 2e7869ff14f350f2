"""What an image file says of itself before it is decoded: size, frames, bits and the EXIF orientation.

Read here because a decoder asks for the memory first, and because it takes 2 microseconds of the 130 of a small JPEG
(PIL: 16). Only the formats that the decoder knows.
"""

import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

MOST_PIXELS = 178_956_970  # where PIL, too, takes a file for an attack: half a gigabyte of pixels
LARGEST_FILE = 3 * MOST_PIXELS  # bytes, as many as its pixels take
UPRIGHT = 1
ORIENTATION = 0x0112  # the EXIF tag
PNG = b"\x89PNG"
PNG_HELD = 4 + 4 + 3 + 3  # as Pillow reads it, as it converts it, and as an array, twice
EXIF = b"Exif\0\0"
BYTE_ORDERS: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
# JPEG: every "start of frame", those of them that are progressive, and what stands alone, without a length.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
ALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))
ENDS = frozenset((0xD9, 0xDA))  # of the file, and of its header
DAMAGED = "its header is damaged or cut off"


class Header(NamedTuple):
    """Size in pixels as stored, the number of pictures, bits a channel; orientation: 1 to 8 as in EXIF.

    held: bytes a pixel that decoding takes.
    """

    width: int
    height: int
    frames: int = 1
    bits: int = 8
    orientation: int = UPRIGHT
    held: int = 3


def read_header(content: bytes) -> Header | None:
    """The header of a JPEG, PNG, GIF or WebP file; None for another kind of file, ValueError where no size is found."""
    if content[:3] == b"\xff\xd8\xff":
        return _jpeg(content)
    if content[:4] == PNG:
        return _png(content)
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return _gif(content)
    if content[:4] == b"RIFF" and content[8:15] == b"WEBPVP8":
        return _webp(content)
    return None


def _jpeg(content: bytes) -> Header:
    """As libjpeg goes from marker to marker: over what is none, and over bytes that fill. EXIF is before the size."""
    at, orientation, end = 2, None, len(content) - 9
    while 0 <= (at := content.find(b"\xff", at)) < end:
        marker = content[at + 1]
        if marker in FRAMES:
            height, width = content[at + 5] << 8 | content[at + 6], content[at + 7] << 8 | content[at + 8]
            # A progressive one's coefficients are all there before the first pixel.
            return Header(width, height, 1, 8, orientation or UPRIGHT, 9 if marker in PROGRESSIVE else 3)
        if marker == 0xFF or marker in ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        size = content[at + 2] << 8 | content[at + 3]
        if marker == 0xE1 and orientation is None and content[at + 4 : at + 10] == EXIF:
            orientation = _orientation(content[at + 10 : at + 2 + size])
        if marker in ENDS:
            break
        at += 2 + max(size, 2)
    raise ValueError(DAMAGED)


def _png(content: bytes) -> Header:
    if content[12:16] != b"IHDR" or len(content) < 33:
        raise ValueError(DAMAGED)
    frames, orientation = 1, UPRIGHT
    at, pixels_begun = 33, False
    while len(kind := content[at + 4 : at + 8]) == 4:
        size = _big(content, at, 4)
        if kind == b"acTL" and not pixels_begun:  # behind them it counts for nothing
            frames = _big(content, at + 8, 4)
        elif kind == b"eXIf":
            orientation = _orientation(content[at + 8 : at + 8 + size])
        pixels_begun |= kind == b"IDAT"
        at += 12 + size
    return Header(_big(content, 16, 4), _big(content, 20, 4), frames, content[24], orientation, PNG_HELD)


def png_pixels(content: bytes) -> bytes:
    """A PNG with its critical parts alone, each as its checksum says; ValueError where one is damaged or cut off.

    Pillow compares no checksum of pixels, so a flipped bit would be other pixels; and it refuses a file for the size or
    the checksum of its texts, which decide no pixel.
    """
    parts, at, kind = [content[:8]], 8, b""
    while kind != b"IEND":
        kind, end = content[at + 4 : at + 8], at + 12 + _big(content, at, 4)
        if len(kind) < 4 or end > len(content):
            raise ValueError("it is cut off")
        if not kind[0] & 0x20:  # a capital letter
            if zlib.crc32(content[at + 4 : end - 4]) != _big(content, end - 4, 4):
                raise ValueError(f"its part {kind.decode('ascii', 'replace')} is damaged: the checksum is wrong")
            parts.append(content[at:end])
        at = end
    return b"".join(parts)


def _gif(content: bytes) -> Header:
    """The largest size in a GIF: a picture may be larger than the screen that it is put on."""
    width, height, frames = _little(content, 6, 2), _little(content, 8, 2), 0
    at = 13 + _colours(content[10:11])
    while (kind := content[at : at + 1]) in (b"!", b","):
        if kind == b",":
            frames += 1
            width, height = max(width, _little(content, at + 5, 2)), max(height, _little(content, at + 7, 2))
            at += 11 + _colours(content[at + 9 : at + 10])  # and the code size
        else:
            at += 2
        while size := _little(content, at, 1):
            at += 1 + size
        at += 1
    return Header(width, height, frames)


def _colours(flags: bytes) -> int:
    """Bytes of the table of colours that the flags announce."""
    return 3 << (flags[0] % 8 + 1) if flags and flags[0] >= 0x80 else 0


def _webp(content: bytes) -> Header:
    frames, orientation, size = 0, UPRIGHT, None
    for kind, start, end in _riff(content):
        if kind == b"VP8X":
            size = _little(content, start + 4, 3) + 1, _little(content, start + 7, 3) + 1
        elif kind == b"VP8 ":
            size = size or (_little(content, start + 6, 2) & 0x3FFF, _little(content, start + 8, 2) & 0x3FFF)
        elif kind == b"VP8L":
            bits = _little(content, start + 1, 4)
            size = size or ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        elif kind == b"EXIF":
            orientation = _orientation(content[start:end].removeprefix(EXIF))
        frames += kind == b"ANMF"
    if size is None:
        raise ValueError(DAMAGED)
    return Header(*size, frames=max(frames, 1), orientation=orientation)


def _riff(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of every part."""
    at = 12
    while len(kind := content[at : at + 4]) == 4:
        size = _little(content, at + 4, 4)
        yield kind, at + 8, at + 8 + size
        at += 8 + size + size % 2


def _orientation(tiff: bytes) -> int:
    """Of EXIF's first directory; where it says nothing that EXIF knows, the image stands as it is."""
    order = BYTE_ORDERS.get(tiff[:2])
    if order is None:
        return UPRIGHT
    at = int.from_bytes(tiff[4:8], order)
    entries = int.from_bytes(tiff[at : at + 2], order)
    for entry in range(at + 2, min(at + 2 + 12 * entries, len(tiff) - 11), 12):
        if int.from_bytes(tiff[entry : entry + 2], order) == ORIENTATION:
            found = int.from_bytes(tiff[entry + 8 : entry + 10], order)
            return found if 1 <= found <= 8 else UPRIGHT
    return UPRIGHT


def _big(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "big")


def _little(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "little")
