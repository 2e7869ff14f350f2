"""The runs of a search: the originals and retrained models that it needs, and a run of every setting and seed.

They are ordinary runs, in a store folder of their own within that of the command, and are not made twice.
"""

import hashlib
import random
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from method.configs.cli import command_line, parse
from method.configs.loading import Config
from method.configs.schema import all_keys
from method.configs.task import OF_LISTS
from method.runs.folder import PRETRAIN, RECORDS, RETRAIN, RunFolder, folder_of
from method.runs.inputs import named_file
from method.runs.making import make_run
from method.runs.reference import Asked, asked_by
from method.runs.search import find
from scripts.tune.objective import OBJECTIVES, distance_to_retrained, distance_without_retrained
from scripts.tune.space import Setting, spell
from utils.errors import UserError
from utils.locks import holder
from utils.signals import check_stop
from utils.terminal import say

OWN_STORE = "tune"  # within --store_dir
LONGEST_TAG = 120
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Runs:
    """What the command line says of every run: the words that its user gave, but for folders and seeds.

    store: where runs are written. objective: one of OBJECTIVES. tag: what names of settings' runs begin with.
    """

    method: str
    words: tuple[str, ...]
    store: str
    objective: str
    tag: str = ""

    def config(self, seed: int, setting: Setting | None = None) -> Config:
        """The configuration of a setting's run (None: of one with the values that a run has without a search)."""
        return parse(self._words(seed, setting or {})).config

    def _words(self, seed: int, setting: Setting) -> list[str]:
        parts = [f"{name.removeprefix(f'{self.method}_')}{spell(value)}" for name, value in setting.items()]
        own = [self.tag] if self.tag and parts else []  # what a setting's runs are compared with has none
        tag = "".join(one if one.isalnum() or one in ".+-" else "_" for one in "-".join(own + parts))
        if len(tag) > LONGEST_TAG:
            tag = f"{tag[:LONGEST_TAG]}-{hashlib.sha256(tag.encode()).hexdigest()[:8]}"
        flags = [f"--{name}={spell(value)}" for name, value in setting.items() if not isinstance(value, bool)]
        flags += [f"--{'' if on else 'no-'}{name}" for name, on in setting.items() if isinstance(on, bool)]
        return [*self.words, "--store_dir", self.store, "--seed", str(seed), f"--tag={tag}", *flags]

    def measure(self, seed: int, setting: Setting) -> dict[str, float]:
        """Make a setting's run, and say how it ended; what `objective` compares it with must be there."""
        command = parse(self._words(seed, setting))
        check_stop()  # what comes before a run begins, the run itself does not hear of
        folder = make_run(command)[0].path
        if self.objective == OBJECTIVES[0]:
            return distance_to_retrained(folder, self.retrained(command.config))
        return distance_without_retrained(folder, self.original(command.config))

    def original(self, config: Config) -> Path:
        """The folder of the original with its records; UserError where these are absent."""
        named, found = named_file(config, "original"), find(config, PRETRAIN)[0]
        folder = named.parent if named else found.path if found else None
        if folder is None or not (folder / RECORDS).exists():
            raise UserError(
                f"the validation accuracies of the original are compared, and {folder or 'its folder'} has no "
                f"{RECORDS}; give a run's whole folder as --original, or leave it out"
            )
        return folder

    def retrained(self, config: Config) -> Path:
        """The folder of the retrained run that a run is compared with."""
        asked = self._asked(config)
        found = None if asked.named else find(config, RETRAIN, asked.reweight)[0]
        return found.path if found else Path(config.reference)

    def prepare(self, seeds: Sequence[int]) -> None:
        """Make what the runs of these seeds start from and are compared with, or wait while another process does."""
        while missing := [(config, words) for seed in seeds for config, words in self.needed(seed)]:
            check_stop()
            for config, words in random.sample(missing, len(missing)):  # others begin elsewhere
                folder = folder_of(config, config.store_dir)
                if holder(folder) is None:
                    say(f"{folder} is made, for all settings")
                    make_run(parse(words))
                    break
            else:
                time.sleep(LOOK_SECONDS)

    def needed(self, seed: int) -> Iterator[tuple[Config, list[str]]]:
        """The pretrained and the retrained run of a seed, where they are not there: configuration and command line."""
        config = self.config(seed)
        if named_file(config, "original") is None and not _is_there(config, PRETRAIN):
            yield self._other_run(config, PRETRAIN)
        if self.objective != OBJECTIVES[0]:
            return
        asked = self._asked(config)
        if not asked.named and not _is_there(config, RETRAIN, asked.reweight):
            yield self._other_run(config, RETRAIN, **({"reweight": True} if asked.reweight else {}))

    def check(self, seed: int) -> None:
        """UserError where no retrained model can be had, and the objective asks for one."""
        config = self.config(seed)
        if self.objective != OBJECTIVES[0] or self._asked(config).named:
            return
        named, found = named_file(config, "original"), find(config, PRETRAIN)[0]
        original = RunFolder(named.parent) if named else found
        if original is not None and original.is_imported:
            raise UserError(
                f"{original.path} was trained by another program, so no model can be retrained as it was; name one by "
                "--reference FOLDER with its seed as --tune_seeds, or judge settings without: --objective "
                f"{OBJECTIVES[1]} (docs/tuning.md says what that can tell)"
            )

    def _asked(self, config: Config) -> Asked:
        asked = asked_by(config)
        if asked is None:
            raise UserError(f"{config.method} forgets nothing, so there is nothing to compare it with")
        return asked

    def _other_run(self, config: Config, method: str, **flags: bool) -> tuple[Config, list[str]]:
        """The run of another method that this one needs, by the values that the two share."""
        words = shlex.split(command_line(config, method, **flags))[2:]
        keys = all_keys()
        for name, value in config.values.items():
            typed = config.sources[name].startswith("--") and keys[name].execution and f"--{name}" not in words
            typed = typed and name not in OF_LISTS
            if typed and isinstance(value, bool):
                words.append(f"--{name}" if value else f"--no-{name}")
            elif typed and value is not None:
                words += [f"--{name}", str(value)]
        words += [word for flag in ("--config", "--const_file") for word in _given(self.words, flag)]
        words.append("--tag=")  # that of a file is for the runs of settings, as a typed one is
        return parse(words).config, words


def _is_there(config: Config, method: str, reweight: bool | None = None) -> bool:
    """Whether the run is in the checkpoint folder, or is done in the store folder."""
    found, (checkpoints, store) = find(config, method, reweight)
    return found is not None and (found.path == checkpoints.path != store.path or found.done)


def _given(words: Sequence[str], flag: str) -> list[str]:
    """A flag of the command line with its value; empty where it is not given."""
    for number, word in enumerate(words):
        if word == flag or word.startswith(f"{flag}="):
            return list(words[number : number + 1 + (word == flag)])
    return []
