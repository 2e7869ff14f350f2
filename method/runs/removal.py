"""What a run writes into its folder, and so all that is ever removed from one."""

import re
import shutil
from pathlib import Path

from method.runs.findings import RELEARN, RELEARN_PARTS
from method.runs.folder import APPENDED, CONFIG, DONE, RENAMED, STATE, records_name, state_name
from utils.errors import UserError
from utils.files import PART, read_yaml
from utils.locks import LOCK

FURTHER = (re.escape(name("X")).replace("X", r"\w+") for name in (records_name, state_name))
TESTED = (RELEARN, RELEARN_PARTS)  # what was found out about the model, and not by the run itself
WHOLE = rf"({'|'.join([*map(re.escape, (*RENAMED, *TESTED)), *FURTHER])})"
LOCKS = r"(\.?lock(\.[0-9a-z_]{8,12})?)"  # one on its succession, and what is written before it is renamed
OF_SYSTEMS = r"(\.DS_Store|Thumbs\.db|desktop\.ini)"  # which file managers write wherever somebody looks
# What a write that was killed leaves behind.
TEMPORARY = re.compile(rf"\.{WHOLE}\.[a-z0-9_]{{8}}{re.escape(PART)}")
OWN = re.compile(rf"{WHOLE}|{TEMPORARY.pattern}|{LOCKS}|{OF_SYSTEMS}|{'|'.join(map(re.escape, APPENDED))}")


def refuse_links(folder: Path) -> None:
    """UserError for a link where something would be written through it."""
    if linked := [name for name in APPENDED if (folder / name).is_symlink()]:
        raise UserError(f"{folder / linked[0]} is a link, through which nothing is written; remove it")


def empty(folder: Path) -> None:
    """Remove a run but for the lock on it; UserError, with nothing removed, for anything but a run of this program."""
    if folder.is_symlink():
        raise UserError(f"{folder} is a link, and --overwrite removes runs alone; remove it by hand")
    names = sorted(entry.name for entry in folder.iterdir())
    strangers = [name for name in names if not OWN.fullmatch(name)]
    if strangers or _is_foreign(folder, names):
        what = f"{strangers[0]}, which no run writes" if strangers else "no config.yaml of this program"
        raise UserError(
            f"{folder} has {what}, and --overwrite removes runs alone; move that elsewhere, or choose another "
            "--store_dir"
        )
    try:
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != LOCK:
                entry.unlink()
    except OSError as error:
        raise UserError(f"{folder} cannot be emptied ({error.strerror}); remove it by hand") from None


def _is_foreign(folder: Path, names: list[str]) -> bool:
    """Whether there are files and a config.yaml of another program, or none; a damaged one is taken for ours."""
    if all(name.startswith((LOCK, ".")) for name in names):
        return False
    try:
        stored = read_yaml(folder / CONFIG)
    except OSError:
        return True
    except ValueError:
        return False
    return not isinstance(stored, dict) or not isinstance(stored.get("identity"), dict)


def remove_state(folder: Path) -> None:
    """Remove what a half-finished run goes on from: last.pt first, without which the files beside it mean nothing."""
    for file in (folder / STATE, *folder.glob(state_name("*"))):
        file.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove the marker of a run that is made again, what is known of its model, and what killed writes left."""
    for entry in folder.iterdir():
        if entry.name in (DONE, *TESTED) or (TEMPORARY.fullmatch(entry.name) and entry.is_file()):
            entry.unlink()
