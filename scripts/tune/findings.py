"""What a search found: the best setting, how sure that is, and the table of all trials."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from method.evaluation.intervals import student_interval
from scripts.tune.objective import ACCURACIES, DISTANCE, LOSS_DISTANCE, LOST, mean_distance
from scripts.tune.space import Axis, spell, spell_setting
from scripts.tune.study import DEFAULT, Trial
from utils.errors import RunError
from utils.tables import HOLE, align

PARTS = (*ACCURACIES, LOST, LOSS_DISTANCE)
MOST_ROWS = 25


@dataclass(frozen=True)
class Findings:
    """The trials of a study that has ended, the best one first among those that were judged by every seed."""

    trials: Sequence[Trial]
    ranked: Sequence[Trial]
    space: Mapping[str, Axis]

    @property
    def best(self) -> Trial:
        """The trial of the smallest distance."""
        return self.ranked[0]

    @property
    def default(self) -> Trial | None:
        """The trial of the values that runs have without a search, if it came to its end."""
        return next((trial for trial in self.ranked if trial.origin == DEFAULT), None)


def find_best(trials: Sequence[Trial], space: Mapping[str, Axis]) -> Findings:
    """Rank the trials; RunError where none came to its end."""
    ended = [trial for trial in trials if trial.state == "complete"]
    if not ended:
        reasons = "; ".join(sorted({trial.reason for trial in trials if trial.reason}))
        raise RunError(f"no setting came to its end ({reasons}); give other ranges by --space, or a larger --budget")
    return Findings(trials, sorted(ended, key=lambda trial: (mean_distance(trial.measured), trial.number)), space)


def describe(findings: Findings) -> list[str]:
    """The best setting, its difference to the default and to the second best, and what warns of either."""
    best = findings.best
    distances = _distances(best)
    spread = ""
    if len(distances) > 1:
        sd = statistics.stdev(distances) / len(distances) ** 0.5
        spread = f", standard deviation of that mean {sd:.2f}"
    head = f"best: trial {best.number}: {spell_setting(best.setting)}"
    lines = [f"{head}: {DISTANCE} {mean_distance(best.measured):.2f} over {_seeds(len(distances))}{spread}"]
    lines += _against_default(findings)
    second = next(iter(findings.ranked[1:]), None)
    if second is not None and second is not findings.default:
        lines.append(_compared(best, second, f"trial {second.number}, the second best"))
    if len(findings.ranked) > 1:
        lines.append(
            f"the smallest of {len(findings.ranked)} distances is smaller than what its setting has on other seeds"
        )
    return [*lines, *_edges(best, findings.space)]


def _against_default(findings: Findings) -> list[str]:
    default = findings.default
    if default is None:
        told = next((trial.reason or trial.state for trial in findings.trials if trial.origin == DEFAULT), "not tried")
        return [f"the default has no distance to compare with ({told}): nothing says that the best is better"]
    if default is findings.best:
        return ["no setting is better than the default"]
    return [_compared(findings.best, default, f"trial {default.number}, the default")]


def _compared(best: Trial, other: Trial, name: str) -> str:
    """How much smaller the best distance is than another's, paired by seed, and whether that is more than noise."""
    differences = [one - two for one, two in zip(_distances(best), _distances(other), strict=True)]
    mean, low, high = student_interval(differences)
    told = f"against {name} ({mean_distance(other.measured):.2f}): {mean:+.2f}"
    if low is None or high is None:
        return f"{told}; one seed does not tell how much of it is noise"
    return f"{told}, 95 % interval {low:.2f} to {high:.2f}: {'more' if high < 0 else 'no more'} than noise"


def _edges(best: Trial, space: Mapping[str, Axis]) -> list[str]:
    found = {name: axis.edge(best.setting[name]) for name, axis in space.items()}
    return [
        f"warning: {name} {spell(best.setting[name])} lies at the {side} edge of what was searched "
        f"({space[name].describe()}): better values may lie beyond; widen it by --space"
        for name, side in found.items()
        if side
    ]


def _distances(trial: Trial) -> list[float]:
    return [one[DISTANCE] for one in trial.measured.values()]


def _seeds(n: int) -> str:
    return f"{n} seed{'s' * (n != 1)}"


def text_table(findings: Findings) -> str:
    """The trials by their distance, the best first, as lines for a terminal."""
    others = [trial for trial in findings.trials if trial.counts and trial.state != "complete"]
    shown = [*findings.ranked, *others][:MOST_ROWS]
    parts = [name for name in PARTS if any(name in _means(trial) for trial in shown)]
    rows = [_row(trial, findings.space, parts) for trial in shown]
    head = ["trial", *findings.space, "from", DISTANCE, *parts, "seeds"]
    left_out = len(findings.ranked) + len(others) - len(shown)
    return align(head, rows) + f"\n... and {left_out} more" * bool(left_out)


def _row(trial: Trial, space: Mapping[str, Axis], parts: Sequence[str]) -> list[str]:
    return [str(trial.number), *(spell(trial.setting[name]) for name in space), _origin(trial), *_cells(trial, parts)]


def _origin(trial: Trial) -> str:
    return trial.origin or "search"


def _cells(trial: Trial, parts: Sequence[str]) -> list[str]:
    means = _means(trial)
    numbers = [f"{means[name]:.2f}" if name in means else HOLE for name in (DISTANCE, *parts)]
    return [*numbers, str(len(trial.measured)) if trial.measured else "diverged"]


def _means(trial: Trial) -> dict[str, float]:
    """Of every number the mean over the seeds that have it."""
    names = dict.fromkeys(name for one in trial.measured.values() for name in one)
    return {name: statistics.fmean(one[name] for one in trial.measured.values() if name in one) for name in names}


def csv_table(findings: Findings) -> str:
    """Every trial in the order of its number: setting, state, distance and its parts, of all seeds and of each."""
    seeds = list(dict.fromkeys(seed for trial in findings.trials for seed in trial.measured))
    names = [name for name in (DISTANCE, *PARTS) if any(name in _means(trial) for trial in findings.trials)]
    by_seed = [(seed, name) for seed in seeds for name in names]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    further = [f"{name}_{seed}" for seed, name in by_seed]
    writer.writerow(["trial", "state", "origin", *findings.space, *names, *further, "seeds", "seconds", "reason"])
    for trial in findings.trials:
        means = _means(trial)
        numbers = [means.get(name) for name in names]
        numbers += [trial.measured.get(seed, {}).get(name) for seed, name in by_seed]
        writer.writerow(
            [
                *(trial.number, trial.state, _origin(trial)),
                *(spell(trial.setting[name]) if name in trial.setting else "" for name in findings.space),
                *("" if value is None else f"{value:.4f}" for value in numbers),
                *(" ".join(trial.measured), trial.seconds, trial.reason),
            ]
        )
    return file.getvalue()
