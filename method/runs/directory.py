"""A run's folder as the runner sees it: whether it is done already, what is written when. Imports nothing heavy."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import yaml

from method.configs.loading import Config
from method.runs.folder import CONFIG, DONE, IMPORTED, METRICS, STATE, STATUS, RunFolder
from method.runs.image_inputs import changed_images, recorded_images
from method.runs.inputs import Comparison, compare, open_digests
from method.runs.named_files import NAMING, REFERENCES, is_path
from method.runs.removal import clear, empty, refuse_links, remove_state
from method.runs.search import find_named_reference, find_original
from method.runs.signature import ORIGINAL, differences, signature
from utils import sealed
from utils.digests import Digests
from utils.errors import RunError, UserError, disk_full
from utils.files import write_json, write_text
from utils.locks import LOCK, locked

log = logging.getLogger("unlearning")


@dataclass(frozen=True)
class RunDirectory(RunFolder):
    """The folder of one run that is to be made: compared, begun, gone on with and finished."""

    @property
    def knows_content(self) -> bool:
        """Whether the content of images was recorded when this run was begun, so that it is compared."""
        begun = self.file(CONFIG).exists() and not self.done
        return bool(begun and (recorded_images(self.record()) or {}).get("content"))

    def check(self, config: Config, overwrite: bool) -> list[str] | None:
        """What there is to say of this very run where it is done; None where it is not, UserError for another run."""
        if overwrite or not self.path.exists():
            return None
        digests = open_digests(config)
        found = self.compared(config, digests)
        if found is None or not self.done:
            return None
        digests.keep()
        return found.notes + found.hardware + self._searched(config, self.record() or {}, digests)

    def already_done(self, notes: list[str]) -> str:
        """The answer to a command whose run is done; notes: what `check` gave."""
        return f"already done: {self.path}" + (f" ({'; '.join(notes)})" if notes else "")

    def holds(self, config: Config) -> bool:
        """Whether this run was begun in the folder, which exists. UserError where it holds another run."""
        return self.compared(config, open_digests(config)) is not None

    def compared(self, config: Config, digests: Digests) -> Comparison | None:
        """With the run that was begun here; None where none was, UserError for another."""
        stored = self.record()
        if stored is None:
            return None
        if bool(stored.get(IMPORTED)) != bool(config.imported):
            what = "was trained here" if config.imported else f"was imported from {stored[IMPORTED].get('file')}"
            raise UserError(f"{self.path} holds a model that {what}; give this one a --tag, or --overwrite that one")
        found = compare(config, stored, find_original(config), digests)
        if found.differing:
            raise UserError(
                f"{self.path} holds another run: {'; '.join(found.differing)}. Give this one a --tag, or --overwrite "
                "that one"
            )
        return found

    def _searched(self, config: Config, stored: dict[str, Any], digests: Digests) -> list[str]:
        """What is not there any more of the runs that a search found for this one; a warning where one is another now.

        They can be made anew under the same name; what started from the earlier ones stays as it is.
        """
        found, reference = {}, (stored.get("inputs") or {}).get("reference") or {}
        if not config.values.get("original"):
            found["pretrained run"] = ((stored.get("provenance") or {}).get(ORIGINAL), find_original(config))
        if config.values.get("reference") in REFERENCES:
            found["reference"] = (reference.get("metrics"), find_named_reference(config, reference.get("run")))
        gone = []
        for what, (then, file) in found.items():
            if then is None:
                continue
            if file is None:
                gone.append(f"the {what} is not there, and is not compared")
            elif digests.of(file) != then:
                log.warning("%s was made with another %s than %s is now", self.path, what, file.parent)
        return gone

    def record(self) -> dict[str, Any] | None:
        """config.yaml; None in an empty folder, UserError where it cannot be read."""
        file = self.file(CONFIG)
        if not self.path.is_dir() or not os.access(self.path, os.R_OK | os.X_OK):
            raise UserError(f"{self.path} is no folder that can be read; move it, or choose another --store_dir")
        if not file.exists():
            # Another process may be at its first moments here: a lock, and files that still have temporary names.
            if any(not entry.name.startswith((LOCK, ".")) for entry in self.path.iterdir()):
                raise UserError(
                    f"{self.path} has files but no config.yaml, so it is no run's folder; move it, or choose another "
                    "--store_dir"
                )
            return None
        try:
            stored = self.read_config()
            if "identity" not in stored:
                raise ValueError("no identity in it")
        except ValueError as error:
            raise UserError(
                f"{file} cannot be read ({error}); make it readable, or --overwrite starts that run anew"
            ) from None
        return stored

    @contextmanager
    def alone(self, wait: bool) -> Iterator[None]:
        """Make the folder and hold it; Interrupted where another process does and `wait` is False."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sentence = f"{self.path} cannot be made ({error.strerror}); choose another --store_dir"
            raise disk_full(error, self.path) or UserError(sentence) from None
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise UserError(f"{self.path} cannot be written to; change its permissions or choose another --store_dir")
        with locked(self.path, wait):
            yield

    def begin(self, config: Config, record: dict[str, Any], overwrite: bool) -> bool:
        """Write config.yaml, which says `record`; True where a half-finished run is continued."""
        if overwrite:
            empty(self.path)
        refuse_links(self.path)
        half, before = self.file(STATE).exists(), self.record()
        self._say_what_changed(config, before, record)
        record = {**record, "identity": record["identity"] | _unrecorded(before), "task": config.task}
        if half:
            self._check_continuation(record)
        clear(self.path)
        write_text(self.file(CONFIG), yaml.safe_dump(record, sort_keys=False))
        self.status("running")
        return half

    def _say_what_changed(self, config: Config, before: dict[str, Any] | None, record: dict[str, Any]) -> None:
        """Of a run that was begun or done here, and is gone on with or made again."""
        if before is None:
            return
        if lost := self.lost() if self.marked else []:
            log.warning("%s was done, and has lost %s: it is made again", self.path, ", ".join(lost))
        found = self.compared(config, open_digests(config))
        _, said = changed_images(recorded_images(before), recorded_images(record))
        for note in [*(found.notes if found else ()), *([said] if said else ())]:
            log.warning("%s: %s", self.path, note)

    def _check_continuation(self, record: dict[str, Any]) -> None:
        """A half-finished run goes on as what it was: the same run, samples and hardware, or not at all."""
        file, now = self.file(STATE), signature(record)
        try:
            then = sealed.read_facts(file)
        except ValueError as error:
            raise RunError(f"{file} is damaged ({error}): --overwrite starts the run anew") from None
        except OSError as error:
            raise UserError(f"{file} cannot be read ({error.strerror}); make it readable") from None
        if then is None:
            log.info("%s was written by an earlier version, and has no checksum", file)
            then = {**now, **signature({**(self.record() or {}), "identity": {}})}  # that was compared before
        differing = differences(then, now, "{name} was {then} and is {now}")
        surely, said = changed_images(recorded_images(self.record()), recorded_images(record))
        differing += [said] if surely else []
        if differing:
            raise UserError(
                f"{self.path} is half finished and would go on differently: {'; '.join(differing)}. "
                "Continue it as it was started, or --overwrite it"
            )

    def status(self, state: str, reason: str | None = None) -> None:
        """Record how the run stands: running, interrupted, failed or done."""
        write_json(self.file(STATUS), {"state": state, "reason": reason})

    def end_badly(self, state: str, reason: str) -> None:
        """Record it where that is possible: what ended the run, such as a full disk, may forbid this too."""
        with suppress(OSError, RunError):
            self.status(state, reason)

    def finish(self, metrics: dict[str, Any]) -> None:
        """Write the metrics and the marker, and only then let go of the state for resuming."""
        write_json(self.file(METRICS), metrics)
        self.status("done")
        write_text(self.file(DONE), "".join(f"{name}\n" for name in self.list_needed()))
        remove_state(self.path)


def _unrecorded(before: dict[str, Any] | None) -> dict[str, Any]:
    """Files that an earlier version knew by their path: what they held when the run was begun, nobody knows."""
    identity = (before or {}).get("identity") or {}
    return {key: value for key in NAMING if (value := identity.get(key)) and is_path(key, value)}
