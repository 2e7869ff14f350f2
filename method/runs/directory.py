"""A run's directory: where it is, whether it is done already, what is written when. Imports nothing heavy."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from method.configs.loading import Config
from method.registry import METHODS
from method.runs.files import read_config
from method.runs.image_inputs import changed_images, recorded_images
from method.runs.inputs import NAMING, REFERENCES, Comparison, compare, is_path, open_digests
from method.runs.removal import DONE, clear, empty, refuse_links, remove_state
from method.runs.signature import ORIGINAL, differences, signature, without_hardware
from utils import sealed
from utils.digests import Digests
from utils.errors import RunError, UserError, disk_full
from utils.files import read_text, write_json, write_text
from utils.locks import LOCK, locked
from utils.paths import run_directory

log = logging.getLogger("unlearning")
NEEDED = ("metrics.json", "model.pt", "records.npz")  # of every finished run


def directory_of(config: Config, root: str, method: str | None = None, reweight: bool | None = None) -> Path:
    """The run folder of `config` under `root`; with `method`, that of the run it starts from or is compared with."""
    own = method is None
    method = method or config.method
    default = METHODS[method].reweight
    reweight = config.values.get("reweight") if own else reweight
    variant = ""
    if default is not None and reweight is not None and reweight != default:
        variant = "_reweight" if reweight else "_no-reweight"
    if own and config.is_robust:
        variant = f"_{config.rob_approach}"
    ablated = [name.split("ablate_")[1] for name, value in config.values.items() if "ablate_" in name and value is True]
    if own and ablated:
        variant += "_ablate-" + "-".join(ablated)
    forgets = METHODS[method].forgets
    return run_directory(
        Path(root),
        dataset=config.data_name,
        model=config.model,
        method=method,
        seed=config.seed,
        task=config.task if forgets or config.needs_task_for_target else None,
        unlearning_ratio=config.unlearning_ratio if forgets else None,
        variant=variant,
        tag=config.tag if own else "",
    )


@dataclass(frozen=True)
class RunDirectory:
    """The folder of one run."""

    path: Path

    def file(self, name: str) -> Path:
        """A file in it."""
        return self.path / name

    @property
    def done(self) -> bool:
        """Whether the run ended well, and still has what it had then."""
        return self.file(DONE).exists() and not self.lost()

    @property
    def knows_content(self) -> bool:
        """Whether the content of images was recorded when this run was begun, so that it is compared."""
        begun = self.file("config.yaml").exists() and not self.done
        return bool(begun and (recorded_images(self.record()) or {}).get("content"))

    def lost(self) -> list[str]:
        """The files that a run marked as done has no more."""
        try:
            names = read_text(self.file(DONE)).split("\n")[:-1] or NEEDED  # an earlier version's marker is empty
        except (OSError, ValueError):
            names = NEEDED
        return [name for name in names if not self.file(name).exists()]

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
            found["reference"] = (reference.get("metrics"), searched_reference(config, reference.get("run")))
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
        file = self.file("config.yaml")
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
            stored = read_config(file)
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

    def begin(self, config: Config, facts: dict[str, Any], overwrite: bool) -> bool:
        """Record the run; True where a half-finished run is continued."""
        if overwrite:
            empty(self.path)
        refuse_links(self.path)
        half, before = self.file("last.pt").exists(), self.record()
        self._say_what_changed(config, before, facts)
        record = {
            "config": dict(config.values),
            "sources": dict(config.sources),
            **facts,
            "identity": facts["identity"] | _unrecorded(before),
            "task": config.task,
        }
        if half:
            self._check_continuation(record)
        clear(self.path)
        write_text(self.file("config.yaml"), yaml.safe_dump(record, sort_keys=False))
        self.status("running")
        return half

    def _say_what_changed(self, config: Config, before: dict[str, Any] | None, facts: dict[str, Any]) -> None:
        """Of a run that was begun or done here, and is gone on with or made again."""
        if before is None:
            return
        if lost := self.lost() if self.file(DONE).exists() else []:
            log.warning("%s was done, and has lost %s: it is made again", self.path, ", ".join(lost))
        found = self.compared(config, open_digests(config))
        _, said = changed_images(recorded_images(before), recorded_images(facts))
        for note in [*(found.notes if found else ()), *([said] if said else ())]:
            log.warning("%s: %s", self.path, note)

    def _check_continuation(self, record: dict[str, Any]) -> None:
        """A half-finished run goes on as what it was: the same run, samples and hardware, or not at all."""
        file, now = self.file("last.pt"), signature(record)
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
        write_json(self.file("status.json"), {"state": state, "reason": reason})

    def end_badly(self, state: str, reason: str) -> None:
        """Record it where that is possible: what ended the run, such as a full disk, may forbid this too."""
        with suppress(OSError, RunError):
            self.status(state, reason)

    def finish(self, metrics: dict[str, Any]) -> None:
        """Write the metrics and the marker, and only then let go of the state for resuming."""
        write_json(self.file("metrics.json"), metrics)
        self.status("done")
        write_text(self.file(DONE), "".join(f"{name}\n" for name in files_of(self.path)))
        remove_state(self.path)


def files_of(folder: Path) -> list[str]:
    """The files without which a run is not done, sorted: what its marker lists."""
    return sorted({*NEEDED, "splits.npz", *(file.name for file in folder.glob("records_*.npz"))})


def _unrecorded(before: dict[str, Any] | None) -> dict[str, Any]:
    """Files that an earlier version knew by their path: what they held when the run was begun, nobody knows."""
    identity = (before or {}).get("identity") or {}
    return {key: value for key in NAMING if (value := identity.get(key)) and is_path(key, value)}


def check_beside(model: Path) -> None:
    """UserError where the model.pt of a run's folder is of another run than the config.yaml beside it."""
    facts, config = sealed.read_facts(model), model.with_name("config.yaml")
    if facts is None:
        log.info("%s was written by an earlier version, and has no checksum", model)
        return
    if model.name != "model.pt" or not config.exists():
        return
    try:
        stored = read_config(config)
    except ValueError:  # another program's: the model has its own facts
        return
    beside = without_hardware(signature(stored)) if "identity" in stored else {}
    differing = differences(facts, beside, "{name} is {then} there and {now} here")
    if differing:
        raise UserError(
            f"{model} is of another run than the config.yaml beside it: {'; '.join(differing)}; put back the files of "
            "one run, or make it anew with --overwrite"
        )


def find_original(config: Config) -> Path | None:
    """model.pt of the pretrained run that a search finds; None where the run names its own, or starts from none."""
    if not METHODS[config.method].from_original or config.original:
        return None
    found, _ = find(config, "model.pt", "pretrain")
    return found.file("model.pt") if found else None


def find(
    config: Config, file: str, method: str, reweight: bool | None = None
) -> tuple[RunDirectory | None, list[Path]]:
    """The pretrained or retrained run of `config` that has `file`: in the checkpoint folder, then in the store folder.

    Returns it, or None, and the folders that were looked into.
    """
    places = [directory_of(config, root, method, reweight) for root in (config.checkpoint_dir, config.store_dir)]
    found = next((RunDirectory(place) for place in places if (place / file).exists()), None)
    return found, places


def searched_reference(config: Config, name: str | None) -> Path | None:
    """metrics.json of the retrained run of this name beside `config`'s, in the checkpoint or the store folder."""
    folders = (directory_of(config, root).parent for root in (config.checkpoint_dir, config.store_dir))
    files = (folder / name / "metrics.json" for folder in folders) if name else ()
    return next((file for file in files if file.exists()), None)
