"""The owner's words that a redacted copy keeps, and whether one of them names somebody who asked."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from datasets.deletion.forget_list import OWN_FILE
from method.configs.schema import all_keys
from method.runs.stored import StoredRun
from scripts.report.redact_files import OF_OWNER

EXTENSION = re.compile(r"\.[A-Za-z]\w{0,4}$")


def owners_words(run: StoredRun, place: Path, others: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(text, what it is) of all that the owner named and the copy keeps; others: of `place`, the program's words."""
    groups, config = run.stored.get("groups") or {}, run.stored["config"]
    yield from ((name, "the name of a group") for name in groups.get("names", ()))
    yield from ((name, "the name of a class") for name in groups.get("targets", ()))
    for values in (config, run.stored.get("identity") or {}):
        for name, key in all_keys().items():
            is_free = key.type is str and not (key.choices or key.path or key.execution) and name not in OF_OWNER
            if is_free and isinstance(values.get(name), str) and values[name] != key.default:
                yield values[name], f"--{name}"
    parts = {*place.parts, str(run.stored.get("task") or "")}
    yield from ((part, "a folder or a task") for part in sorted(parts.difference(others)))


class Names:
    """Names of a list, found in texts as whole words, however they are spelled: case, accents' form, separators."""

    def __init__(self, names: Iterable[str]) -> None:
        self._known = {_words(form): name for name in names for form in _forms(name) if form}

    def within(self, text: str) -> str | None:
        """A name that stands in a text; one of digits alone where it is all of the text."""
        words = _words(text)
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                part = words[start:end]
                if part in self._known and (part == words or not "".join(part).isdigit()):
                    return self._known[part]
        return None


def _forms(name: str) -> set[str]:
    """A name without column and folder, and without extension too."""
    bare = name.removeprefix(OWN_FILE)
    column, colon, value = bare.partition(":")
    if bare == name and colon and "/" not in column:
        bare = value
    file = re.split(r"[/\\]", bare)[-1]
    return {file, EXTENSION.sub("", file)}


def _words(text: str) -> tuple[str, ...]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return tuple(re.findall(r"[^\W_]+", folded)) or (folded,)
