"""Who asked to be forgotten, for the audit sheet: counts, a keyed digest of the list, and what became of each name."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets.deletion.forget_list import OWN_FILE, as_text, read_forget_list
from method.runs.folder import FORGET_LIST
from method.runs.stored import StoredRun
from scripts.report.tabular import written
from utils.errors import UserError
from utils.files import read_text

KEY = "forget_list.key"  # beside the folders of the runs, so that a run can be given away without it
KEY_BYTES = 32
FORGOTTEN, UNREADABLE, UNSURE = "forgotten", "unreadable", "forgotten or unreadable"
# What became of a name, by the word of config.yaml's `requests`.
OUTCOMES = {
    FORGOTTEN: "its image was in train, and the model unlearned it",
    "unknown": "no image of the data is called so; nothing was forgotten for it",
    "ambiguous": "several images are called so; none was forgotten for it",
    "other_column": "it is the name of another image by another column; nothing was forgotten for it",
    "duplicate": "it means an image that the list names more than once; the image was forgotten",
    "not_in_train": "its image is in val or test, and no model was trained on it; nothing was forgotten for it",
    "not_trained_on": "its image was left out of train, and no model was trained on it; nothing was forgotten for it",
    UNREADABLE: "its image could not be read and was left out; nothing was forgotten for it",
    UNSURE: "an image that could not be read was left out; the run did not record by which name it was asked for",
}


@dataclass(frozen=True)
class Request:
    """A list of names that a run was asked to forget.

    n: names in it. left_out: by kind the names for which nothing, or nothing more, was forgotten. names: every name
    once; empty where the run's folder has none. text: forget_list.txt, as its digest is taken.
    """

    n: int
    left_out: Mapping[str, list[str]]
    names: tuple[str, ...] = ()
    text: bytes = field(default=b"", repr=False)

    @property
    def n_forgotten(self) -> int:
        """Names whose images were forgotten."""
        return self.n - sum(map(len, self.left_out.values()))

    def outcomes(self) -> Iterator[tuple[str, str]]:
        """(name, a key of OUTCOMES), of each name once."""
        kinds = {name: kind for kind, names in self.left_out.items() if kind != UNREADABLE for name in names}
        unread = set(self.left_out.get(UNREADABLE, ()))
        nameless = unread - set(self.names)  # an earlier version recorded paths
        for name in self.names:
            if name in unread or any(_is_name_of(name, path) for path in nameless):
                yield name, UNREADABLE
            elif name in kinds:
                yield name, kinds[name]
            else:  # a row, or a value in a column, says nothing of its path
                yield name, UNSURE if nameless and ":" in name.removeprefix(OWN_FILE) else FORGOTTEN

    def as_csv(self) -> str:
        """A line a name; no text in it is run by a spreadsheet."""
        lines = [(name, kind.replace("_", " "), OUTCOMES[kind]) for name, kind in self.outcomes()]
        return written(("name", "outcome", "meaning"), lines)


def read_request(run: StoredRun) -> Request | None:
    """The request that a run answers; None for one without a list. UserError for a list that cannot be read."""
    stored = run.stored.get("requests")
    if not isinstance(stored, dict):
        return None
    left_out = check_request(stored, run)
    file = run.folder / FORGET_LIST
    if not os.path.exists(file):  # a kept copy has none
        return Request(stored["n"], left_out)
    names = tuple(dict.fromkeys(read_forget_list(Path(os.fspath(file)), None)))
    return Request(stored["n"], left_out, names, as_text(names).encode())


def check_request(stored: Mapping[str, Any], run: StoredRun) -> dict[str, list[str]]:
    """The names that were left out, by kind; UserError where config.yaml does not say that."""
    left_out, n = stored.get("skipped", {}), stored.get("n")
    is_listed = isinstance(left_out, dict) and all(
        kind in OUTCOMES and isinstance(names, list) and all(isinstance(name, str) for name in names)
        for kind, names in left_out.items()
    )
    if not is_listed or not isinstance(n, int) or n < sum(map(len, left_out.values())):
        raise UserError(f"{run.place}: `requests` in config.yaml does not say what became of a list; get the file anew")
    return left_out


def _is_name_of(name: str, path: str) -> bool:
    """Whether a name of a list is a path, a file name, or one of them without extension."""
    folder, slash, file = path.rpartition("/")
    stem = file.rpartition(".")[0] or file
    return name.removeprefix(OWN_FILE) in (path, file, stem, f"{folder}{slash}{stem}")


def keyed_digest(request: Request, folder: Path) -> str:
    """HMAC-SHA-256, hexadecimal, of forget_list.txt under the key beside the run's `folder`, made if there is none.

    UserError where the key cannot be read or made.
    """
    return hmac.new(_key(folder.parent / KEY), request.text, hashlib.sha256).hexdigest()


def _key(file: Path) -> bytes:
    try:
        # Whoever else makes it at the same time wins, and this reads theirs.
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as new:
            new.write(secrets.token_hex(KEY_BYTES) + "\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise UserError(
            f"{file}, the key of the list's digest, cannot be written ({error.strerror or error}); make its folder"
            " writable, or copy the runs to one that is"
        ) from None
    try:
        key = bytes.fromhex(read_text(file))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}, the key of the list's digest, cannot be read ({error})") from None
    if len(key) != KEY_BYTES:
        raise UserError(
            f"{file} holds {len(key)} bytes, expected {KEY_BYTES} in hexadecimal: it is no key of a list's digest; put"
            " the right one back, or remove it for a new key, which gives another digest"
        )
    return key
