"""Runs with one damaged file each, as disks, editors and other programs leave them: drawn by a seeded generator."""

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

TOO_LARGE = "1e400 stands here"  # a number that no float holds; written bare
LONG = int("7" * 400)
VALUES: tuple[Any, ...] = (
    None, True, "text", "", "half a \ud800 letter", "two\nlines", "\x1b[31mred", "x" * 100_000,
    [], [1], ["a", None], {}, {"a": 1}, [[[[[[[[[[[[1]]]]]]]]]]]],
    float("nan"), float("inf"), TOO_LARGE, LONG, 2**70, -1, -1e300, 1e300, 0.5,
)  # fmt: skip
CELLS = ("", "text", "nan", "inf", "1e400", "9" * 400, "-5", "1e300", "=1+1", '"', "a,b", "a\nb", "\0", "x" * 200_000)
TEXTS = (b"", b"\xff\xfe\x00", b"[1, 2]", b"<html>404</html>", b"null", b"{}", b"[" * 5000, b"- 1\n", b"0", b"\0" * 100)
RUN_FILES = ("config.yaml", "metrics.json", "history.csv", "records.npz", "splits.npz", "status.json")
Damage = Callable[[Path, random.Random], str]


def damage(folder: Path, chance: random.Random, special: bool = True) -> str:
    """Damage one file of the run in `folder`; returns what was done. special: also by what is no regular file."""
    file = folder / chance.choice([name for name in RUN_FILES if (folder / name).exists()])
    own: list[Damage] = [flip_bit, cut, other_text]
    own += {".yaml": [set_value] * 6, ".json": [set_value] * 6, ".csv": [set_cell] * 4, ".npz": [set_array] * 6}[
        file.suffix
    ]
    own += [no_file] if special else []
    return f"{file.name}: {chance.choice(own)(file, chance)}"


def flip_bit(file: Path, chance: random.Random) -> str:
    """One bit of the file."""
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    replace(file, bytes(content))
    return f"bit of byte {place} flipped"


def cut(file: Path, chance: random.Random) -> str:
    """The end is missing."""
    content = file.read_bytes()
    n = chance.randrange(len(content))
    replace(file, content[:n])
    return f"cut after {n} bytes"


def other_text(file: Path, chance: random.Random) -> str:
    """Something else altogether."""
    content = chance.choice(TEXTS)
    replace(file, content)
    return f"now {content[:20]!r}"


def no_file(file: Path, chance: random.Random) -> str:
    """What can have a file's name and is none, or is not there, or has no end."""
    kind = chance.choice(("absent", "folder", "pipe", "loop", "endless"))
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "loop":
        file.symlink_to(file.name)
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    return kind


def set_value(file: Path, chance: random.Random) -> str:
    """Another value somewhere in a JSON or YAML file, or a key less."""
    is_json = file.suffix == ".json"
    stored = json.loads(file.read_text()) if is_json else yaml.safe_load(file.read_text())
    place = chance.choice(list(places(stored)))
    *way, last = place
    within = stored
    for step in way:
        within = within[step]
    told = "/".join(map(str, place))
    if chance.random() < 0.15:
        del within[last]
        told += " removed"
    else:
        within[last] = value = chance.choice(VALUES)
        told += f" is {repr(value)[:40]}"
    text = json.dumps(stored) if is_json else yaml.safe_dump(stored, sort_keys=False)
    for quoted in (f'"{TOO_LARGE}"', TOO_LARGE):
        text = text.replace(quoted, "1e400" if is_json else "1.0e+400")
    replace(file, text.encode())
    return told


def places(value: Any, way: tuple = ()) -> Iterator[tuple]:
    """The way to every value within a table or list."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, own in steps:
        yield (*way, step)
        yield from places(own, (*way, step))


def set_cell(file: Path, chance: random.Random) -> str:
    """Another cell somewhere in a CSV file, or a cell less, or a line more."""
    lines = [line.split(",") for line in file.read_text().splitlines()]
    line = chance.choice(lines)
    place = chance.randrange(len(line))
    kind = chance.choice(("cell", "cell", "cell", "less", "more"))
    value = chance.choice(CELLS)
    if kind == "cell":
        line[place] = value
    elif kind == "less":
        del line[place]
    else:
        lines.append([value])
    replace(file, "\n".join(map(",".join, lines)).encode())
    return f"{kind} {value[:20]!r}"


def set_array(file: Path, chance: random.Random) -> str:
    """An array of other values, type or shape, or an array less."""
    with np.load(file) as stored:
        arrays = dict(stored)
    name = chance.choice(sorted(arrays))
    array = arrays[name]
    changed = {
        "removed": lambda: None,
        "empty": lambda: array[:0] if array.ndim else np.array([]),
        "shorter": lambda: array[:-1] if array.ndim else np.array(1),
        "deeper": lambda: array[None],
        "text": lambda: np.full(array.shape, "text"),
        "objects": lambda: np.full(array.shape, None, dtype=object),
        "fractions": lambda: np.full(array.shape, 0.5),
        "nan": lambda: np.full(array.shape, np.nan),
        "huge": lambda: np.full(array.shape, 2**62),
        "negative": lambda: np.full(array.shape, -3),
        "complex": lambda: np.full(array.shape, 1j),
        "truth": lambda: np.full(array.shape, True),
        "times": lambda: np.full(array.shape, np.datetime64("2020-01-01")),
        "reversed": lambda: array[::-1] if array.ndim else array,
        "one apart": lambda: array + 1 if array.dtype.kind in "if" else np.array("other"),
    }
    kind = chance.choice(sorted(changed))
    value = changed[kind]()
    arrays = {key: own for key, own in arrays.items() if key != name} | ({name: value} if value is not None else {})
    file.unlink()
    np.savez(file, **arrays)
    return f"{name} {kind}"


def replace(file: Path, content: bytes) -> None:
    """A copy's files may be links to the original's."""
    file.unlink()
    file.write_bytes(content)
