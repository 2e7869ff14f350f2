"""The study of a search: trials in a journal that several processes write, whoever of them ends in whatever way.

A worker holds a lock in the study's folder as long as it lives, which its trials name. So a trial whose worker has
ended is known, and its setting is tried again. Trials are given out, and given up, by one process at a time.
"""

import contextlib
import os
import secrets
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.tune.space import Axis, Setting
from utils.errors import UserError
from utils.files import write_json
from utils.locks import holder, locked
from utils.seeding import derive_seed
from utils.signals import check_stop
from utils.terminal import say

if TYPE_CHECKING:
    import optuna

JOURNAL, QUESTION, WORKERS = "journal.log", "study.json", "workers"
FIRST_AT_RANDOM = 5  # trials before the search learns from them, and before one is given up for being worse
MOST_TRIES = 3  # of a setting whose trial fails
LOOK_SECONDS = 1.0
WORKER, MEASURED, SECONDS, REASON, TRIES, ORIGIN = "worker", "measured", "seconds", "reason", "tries", "origin"
DEFAULT, TYPED, FOUND = "default", "--try", ""


@dataclass(frozen=True)
class Trial:
    """A trial as the journal has it. state: complete, pruned, running, waiting or fail.

    measured: what was found, by seed. reason: why a trial failed, or diverged. origin: DEFAULT, TYPED or FOUND.
    """

    number: int
    state: str
    setting: Setting
    measured: Mapping[str, Mapping[str, float]]
    seconds: float
    reason: str
    origin: str

    @property
    def counts(self) -> bool:
        """Whether it is a part of the budget."""
        return self.state in ("complete", "pruned")


class Study:
    """A study in its folder, which is made with the settings to begin with where it is new.

    question: what is searched, by which two studies are told apart. seed: of the sampler.
    """

    def __init__(self, folder: Path, space: Mapping[str, Axis], seed: int, question: Mapping[str, Any]):
        self.folder, self.space, self.seed = folder, space, seed
        self.optuna = _optuna()
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, wait=True):
            self._mend()
            write_json(folder / QUESTION, question)
            backend = self.optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
            self.study = self.optuna.create_study(
                storage=self.optuna.storages.JournalStorage(backend),
                study_name="tune",
                direction="minimize",
                load_if_exists=True,
                pruner=self.optuna.pruners.MedianPruner(n_startup_trials=FIRST_AT_RANDOM),
            )

    def _mend(self) -> None:
        """Cut off a line that was not written to its end, as on a full disk: nobody would read beyond it."""
        journal = self.folder / JOURNAL
        if not journal.exists():
            return
        with _held(self.optuna.storages.journal.JournalFileSymlinkLock(str(journal))):
            content = journal.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                say(f"{journal} ends within a line, which is cut off")
                os.truncate(journal, whole)

    def begin_with(self, settings: Sequence[tuple[Setting, str]]) -> None:
        """Put these settings, each with its origin, before those that the search chooses; each once."""
        with locked(self.folder, wait=True):
            for setting, origin in settings:
                self.study.enqueue_trial(setting, user_attrs={ORIGIN: origin}, skip_if_exists=True)

    def trials(self) -> list[Trial]:
        """Every trial so far, in the order of their numbers."""
        return [
            Trial(
                one.number,
                one.state.name.lower(),
                self._setting(one),
                one.user_attrs.get(MEASURED, {}),
                one.user_attrs.get(SECONDS, 0.0),
                one.user_attrs.get(REASON, "its worker ended" if one.state.name == "FAIL" else ""),
                one.user_attrs.get(ORIGIN, FOUND),
            )
            for one in self.study.get_trials(deepcopy=False)
        ]

    def _setting(self, trial: "optuna.trial.FrozenTrial") -> Setting:
        """What a trial tries: values that were put in as they are, those that the search chose with few digits."""
        fixed = trial.system_attrs.get("fixed_params")
        if fixed is not None:
            return {name: fixed[name] for name in self.space}
        return {name: axis.round(trial.params[name]) for name, axis in self.space.items() if name in trial.params}

    def finished(self) -> int:
        """How much of the budget is spent."""
        return sum(trial.counts for trial in self.trials())

    @contextlib.contextmanager
    def worker(self) -> Iterator[str]:
        """Be a worker of this study; gives the name that its trials have."""
        name = secrets.token_hex(4)
        folder = self.folder / WORKERS / name
        folder.mkdir(parents=True)
        try:
            with locked(folder, wait=False):
                yield name
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def next_trial(self, worker: str, budget: int) -> "optuna.Trial | None":
        """A trial for a worker; None when the budget is spent. Waits while others are at work on the last ones."""
        while True:
            with locked(self.folder, wait=True):
                self._give_up_dead()
                trials = self.trials()
                if sum(trial.counts for trial in trials) >= budget:
                    return None
                if sum(trial.counts or trial.state == "running" for trial in trials) < budget:
                    return self._ask(worker, len(trials))
            check_stop()
            time.sleep(LOOK_SECONDS)

    def _ask(self, worker: str, n_trials: int) -> "optuna.Trial":
        """The next trial: a function of the seed and of the trials before it."""
        seed = derive_seed("tune", self.seed, n_trials) % 2**32
        sampler = self.optuna.samplers.TPESampler
        self.study.sampler = sampler(n_startup_trials=FIRST_AT_RANDOM, constant_liar=True, seed=seed)
        trial = self.study.ask({name: self._distribution(axis) for name, axis in self.space.items()})
        trial.set_user_attr(WORKER, worker)
        return trial

    def setting(self, trial: "optuna.Trial") -> Setting:
        """The values that a trial is to try."""
        return self._setting(self.study.get_trials(deepcopy=False)[trial.number])

    def _distribution(self, axis: Axis) -> Any:
        kinds = self.optuna.distributions
        if axis.choices:
            return kinds.CategoricalDistribution(axis.choices)
        kind = kinds.IntDistribution if axis.key.type is int else kinds.FloatDistribution
        return kind(axis.low, axis.high, log=axis.log)

    def end(self, trial: "optuna.Trial", value: float | None) -> None:
        """Record how a trial ended; None as value: it was given up as worse than others, or diverged."""
        states = self.optuna.trial.TrialState
        self.study.tell(trial, value, states.PRUNED if value is None else states.COMPLETE)

    def give_up(self, number: int, stopped: bool = False) -> None:
        """Record a trial as failed, and have its setting tried again, unless that was done often.

        stopped: its worker was asked to stop, which says nothing against the setting.
        """
        with locked(self.folder, wait=True):
            self._give_up(number, stopped)

    def _give_up_dead(self) -> None:
        """Give up the trials whose workers have ended."""
        for trial in self.study.get_trials(deepcopy=False, states=(self.optuna.trial.TrialState.RUNNING,)):
            worker = trial.user_attrs.get(WORKER)
            folder = self.folder / WORKERS / str(worker)
            if worker is None or holder(folder) is None:
                say(f"trial {trial.number} has lost its worker; its setting is tried again")
                self._give_up(trial.number)
                if worker is not None:
                    shutil.rmtree(folder, ignore_errors=True)

    def _give_up(self, number: int, stopped: bool = False) -> None:
        trial = self.study.get_trials(deepcopy=False)[number]
        if trial.state.is_finished():
            return
        self.study.tell(number, state=self.optuna.trial.TrialState.FAIL)
        tries, setting = trial.user_attrs.get(TRIES, 1) + (not stopped), self._setting(trial)
        if tries <= MOST_TRIES and len(setting) == len(self.space):
            self.study.enqueue_trial(setting, user_attrs={TRIES: tries, ORIGIN: trial.user_attrs.get(ORIGIN, FOUND)})


def _optuna() -> Any:
    """The package that searches; UserError where it is absent."""
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            f"scripts.tune needs Optuna, which cannot be imported ({error}); pip install -r requirements-tune.txt"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


@contextlib.contextmanager
def _held(lock: Any) -> Iterator[None]:
    """Hold one of Optuna's locks, which it takes itself for every line that it writes."""
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
