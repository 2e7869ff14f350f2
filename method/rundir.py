"""A run's directory: where it is, whether it is done already, what is written when. Imports nothing heavy."""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from method.configs.loading import Config
from method.configs.schema import all_keys
from method.registry import METHODS
from utils.errors import RunError, UserError, disk_full
from utils.files import read_json, read_yaml, sha256_file, write_json, write_text
from utils.locks import LOCK, locked
from utils.paths import run_directory

log = logging.getLogger("unlearning")
# What decides the last bits of a sum: a half-finished run is continued only where they are the same.
HARDWARE = ("device", "threads", "world_size", "precision")
ORIGINAL = "original_sha256"  # of the weights it starts from


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
        """Whether the run ended well."""
        return self.file("done").exists()

    def check(self, config: Config, overwrite: bool) -> bool:
        """Whether this very run is done. UserError where the folder holds another run."""
        if overwrite or not self.path.exists() or not self.holds(config):
            return False
        if self.done:
            self._warn_of_another_original(config, self.record() or {})
        return self.done

    def holds(self, config: Config) -> bool:
        """Whether this run was begun in the folder, which exists. UserError where it holds another run."""
        stored = self.record()
        if stored is None:
            return False
        # A key that one of them does not have stands at its default: another version knew it for other methods.
        defaults = {name: key.default for name, key in all_keys().items()}
        identities = [config.identity(), stored.get("identity", {})]
        mine, theirs = ({**defaults, **identity} for identity in identities)
        differing = [key for key in {**identities[0], **identities[1]} if mine.get(key) != theirs.get(key)]
        if differing:
            listed = "; ".join(f"{key} is {theirs.get(key)!r} there and {mine.get(key)!r} here" for key in differing)
            raise UserError(f"{self.path} holds another run: {listed}. Give this one a --tag, or --overwrite that one")
        return True

    def _warn_of_another_original(self, config: Config, stored: dict[str, Any]) -> None:
        """A pretrained run can be made anew under the same name; what started from the earlier one stays as it is."""
        then = (stored.get("provenance") or {}).get(ORIGINAL)
        found = None if config.values.get("original") or not then else find(config, "model.pt", "pretrain")[0]
        if found and sha256_file(found.file("model.pt")) != then:
            log.warning(
                "%s started from other weights than %s holds now; --overwrite makes it anew", self.path, found.path
            )

    def record(self) -> dict[str, Any] | None:
        """config.yaml; None in an empty folder, UserError where it cannot be read."""
        file = self.file("config.yaml")
        if not self.path.is_dir() or not os.access(self.path, os.R_OK | os.X_OK):
            raise UserError(f"{self.path} is no folder that can be read; move it, or choose another --store_dir")
        if not file.exists():
            # Another process may be at its first moments here: a lock, and files that still have temporary names.
            if any(not entry.name.startswith((LOCK, ".")) for entry in self.path.iterdir()):
                raise UserError(
                    f"{self.path} has files but no config.yaml, so it is no run's folder; move it or --overwrite it"
                )
            return None
        try:
            stored = read_yaml(file)
            if not isinstance(stored, dict) or not isinstance(stored.get("identity"), dict):
                raise ValueError("no identity in it")
        except OSError as error:
            raise UserError(f"{file} cannot be read ({error.strerror}); make it readable") from None
        except ValueError as error:
            raise UserError(f"{file} cannot be read ({error}); --overwrite starts that run anew") from None
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
            self._empty()
        half = self.file("last.pt").exists()
        if half:
            self._check_continuation(facts)
        record = {
            "config": dict(config.values),
            "sources": dict(config.sources),
            "identity": config.identity(),
            "task": config.task,
            **facts,
        }
        write_text(self.file("config.yaml"), yaml.safe_dump(record, sort_keys=False))
        self.status("running")
        return half

    def _empty(self) -> None:
        """Remove everything but the lock that this process holds."""
        try:
            for entry in self.path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name != LOCK:
                    entry.unlink()
        except OSError as error:
            raise UserError(f"{self.path} cannot be emptied ({error.strerror}); remove it by hand") from None

    def _check_continuation(self, facts: dict[str, Any]) -> None:
        """A half-finished run goes on with the same samples on the same hardware, or not at all."""
        stored = self.record() or {}
        compared = [("provenance", key, key) for key in HARDWARE]
        compared.append(("provenance", ORIGINAL, "SHA-256 of the pretrained weights"))
        compared += [("fingerprints", key, f"{key} fingerprint") for key in facts["fingerprints"]]
        differing = []
        for part, key, title in compared:
            then, now = stored.get(part, {}).get(key), facts[part][key]
            if then != now:
                differing.append(f"{title} was {then} and is {now}")
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
        write_text(self.file("done"), "")
        self.file("last.pt").unlink(missing_ok=True)


def find(
    config: Config, file: str, method: str, reweight: bool | None = None
) -> tuple[RunDirectory | None, list[Path]]:
    """The pretrained or retrained run of `config` that has `file`: in the checkpoint folder, then in the store folder.

    Returns it, or None, and the folders that were looked into.
    """
    places = [directory_of(config, root, method, reweight) for root in (config.checkpoint_dir, config.store_dir)]
    found = next((RunDirectory(place) for place in places if (place / file).exists()), None)
    return found, places


def read_metrics(directory: RunDirectory) -> dict[str, Any] | None:
    """metrics.json of a finished run; None where it cannot be read."""
    try:
        metrics = read_json(directory.file("metrics.json"))
    except (OSError, ValueError):
        return None
    return metrics if isinstance(metrics, dict) else None
