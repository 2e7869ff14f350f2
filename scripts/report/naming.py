"""What tables, files and labels of a paper are called."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

PATH, LEFT_OUT = re.compile(r"[^\s(]*[/\\]\S*?(?=[),;:.]*(?:\s|$))"), "(left out)"
LONGEST = 60  # characters of a part of a file's name


def without_paths(text: str) -> str:
    """A sentence for others' eyes: words that may be paths, with a slash or a backslash in them, are left out."""
    return PATH.sub(LEFT_OUT, text)


def title(key: tuple) -> str:
    """A table's title, of a StoredRun.table: digits, small_cnn, 32 px, weights none, split0, ratio 0.9."""
    dataset, model, image_size, weights, task, ratio = key
    shown = [dataset, model, f"{image_size} px", f"weights {Path(str(weights)).name}"]
    return ", ".join(shown + ([task, f"ratio {ratio:g}"] if task else ["pretrained only"]))


def table_names(keys: Sequence[tuple], with_ratio: bool = True) -> list[str]:
    """For files, of StoredRun.tables: digits-split0-0.9; with model and image size where that is said of several."""
    tasks = [(key[4], *([key[5]] if with_ratio else [])) if key[4] else ("pretrained",) for key in keys]
    short = [_join(key[0], *task) for key, task in zip(keys, tasks, strict=True)]
    long = [_join(*key[:3], *task) for key, task in zip(keys, tasks, strict=True)]
    return make_unique(long[i] if short.count(name) > 1 else name for i, name in enumerate(short))


def make_unique(texts: Iterable[str]) -> list[str]:
    """A part of a file's name for each text, no two alike on any system: letters, digits, dots, dashes, underscores."""
    taken: set[str] = set()
    names = []
    for text in texts:
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        name = first = re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-.")[:LONGEST] or "unnamed"
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{first}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _join(*parts: object) -> str:
    return "-".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)
