"""What lies where an image should be: under a name that reads like its own, a folder too deep or too high."""

import os
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

EXTENSIONS = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic"))
MOST_ENTRIES = 500_000  # of a folder; more are not looked through
MOST_FOLDERS = 50  # within a folder


def nearby(root: Path, path: str) -> str:
    """What is there in place of the absent image root/path, as the end of a sentence; "" where there is nothing.

    A few folders are listed, whatever the number of images.
    """
    file = root / path
    if os.path.islink(file):
        return f", though a link to {os.readlink(file)}, which is absent"
    found = next(_candidates(root, PurePosixPath(path).parts), None)
    return f", though {found[0]} is: {found[1]}" if found else ""


def _candidates(root: Path, parts: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """Files that may be meant, with what is different; the likeliest first."""
    folder, rest, renamed = _as_far_as_it_goes(root, parts)
    if not rest:
        yield folder, renamed
        return
    below = (folder / name for name in _entries(folder) if os.path.isdir(folder / name))
    places = [place for inner in islice(below, MOST_FOLDERS) for place in (inner.joinpath(*rest), inner / rest[-1])]
    # Without some of its folders, or beside the folder that it should be in.
    places += [*(root.joinpath(*parts[drop:]) for drop in range(1, len(parts))), root.parent.joinpath(*parts)]
    for place in filter(os.path.isfile, places):
        depth = len(place.parts) - len(root.joinpath(*parts).parts)
        yield place, "another folder" if depth == 0 else f"a folder {'deeper' if depth > 0 else 'higher'}"


def _as_far_as_it_goes(root: Path, parts: tuple[str, ...]) -> tuple[Path, tuple[str, ...], str]:
    """The deepest folder on the way, what of the way is left, and how names differed; nothing left: it is the file."""
    place, how = root, ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        fits = os.path.isfile if last else os.path.isdir
        if fits(place / part):
            place = place / part
            continue
        fitting = (name for name in _entries(place) if _alike(part, name, last) and fits(place / name))
        alike = next(fitting, None)
        if alike is None:
            return place, parts[number:], how
        place, how = place / alike, _difference(part, alike)
    return place, (), how


def _entries(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in islice(entries, MOST_ENTRIES))
    except OSError:
        return []


def _alike(wanted: str, found: str, with_extension: bool) -> bool:
    if _read(wanted) == _read(found):
        return True
    (stem, _), (other, extension) = os.path.splitext(_read(wanted)), os.path.splitext(_read(found))
    return with_extension and stem == other and extension in EXTENSIONS


def _read(name: str) -> str:
    """A name as it is read: without what nobody sees."""
    shown = "".join(letter for letter in unicodedata.normalize("NFC", name) if unicodedata.category(letter) != "Cf")
    return shown.strip().casefold()


def _difference(wanted: str, found: str) -> str:
    if _read(wanted) != _read(found):
        return "another extension"
    if wanted.casefold() == found.casefold():
        return "other capital letters"
    if wanted.strip() == found.strip():
        return "a blank at an end of the name"
    if unicodedata.normalize("NFC", wanted) == unicodedata.normalize("NFC", found):
        return "letters composed otherwise (Unicode NFC and NFD)"
    return "a name that only reads alike"
