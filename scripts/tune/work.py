"""What a worker of a search does: it makes what all settings need, and then tries one after the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.tune.objective import DISTANCE, mean_distance
from scripts.tune.runs import Runs
from scripts.tune.space import Axis, spell_setting
from scripts.tune.study import MEASURED, REASON, SECONDS, Study
from utils.errors import Diverged, RunError, UserError
from utils.terminal import say

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Search:
    """A search that a command asks for. folder: the study's. seeds: those that every setting is tried with."""

    runs: Runs
    space: dict[str, Axis]
    seeds: Sequence[int]
    folder: Path


def work(search: Search, study: Study, budget: int) -> None:
    """Try settings until the budget is spent, beside other workers of the same study."""
    with study.worker() as worker:
        search.runs.prepare(search.seeds)
        while (trial := study.next_trial(worker, budget)) is not None:
            _try(search, study, trial)


def _try(search: Search, study: Study, trial: "optuna.Trial") -> None:
    """Judge a trial's setting by every seed; worse than others by the first ones, or diverging, it ends early."""
    setting, began, reason = study.setting(trial), time.monotonic(), ""
    measured: dict[str, dict[str, float]] = {}
    try:
        for seed in search.seeds:
            measured[str(seed)] = search.runs.measure(seed, setting)
            trial.set_user_attr(MEASURED, measured)
            trial.report(mean_distance(measured), len(measured))
            if len(measured) < len(search.seeds) and trial.should_prune():
                reason = f"worse than others after {len(measured)} of {len(search.seeds)} seeds"
                break
    except RunError as error:
        if not isinstance(error.__cause__, Diverged):
            study.give_up(trial.number)
            raise
        reason = str(error.__cause__)
    except (UserError, KeyboardInterrupt) as error:
        study.give_up(trial.number, stopped=isinstance(error, KeyboardInterrupt))
        raise
    except study.optuna.exceptions.UpdateFinishedTrialError:
        say(f"trial {trial.number} was given up by another process, which took this one for gone")
        return
    trial.set_user_attr(SECONDS, round(time.monotonic() - began, 1))
    trial.set_user_attr(REASON, reason)
    study.end(trial, None if reason else mean_distance(measured))
    outcome = reason or f"{DISTANCE} {mean_distance(measured):.2f}"
    say(f"trial {trial.number} ({study.finished()} done): {spell_setting(setting)}: {outcome}")
