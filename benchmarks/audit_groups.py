"""Are some groups more exposed than others? The difference of their excesses in a per-example attack, over the runs.

    python benchmarks/audit_groups.py FOLDER --groups "GROUP;GROUP" --others "GROUP;GROUP" [--measure lira_excess_d]

FOLDER holds runs such as those of scripts/grids/digits_audit_random.yaml. Of each table that forgets samples of all the
groups, a line a method: the mean of the measure over the first groups minus its mean over the others. The interval
leaves out one run after the other, of all groups together, and makes fits and scores anew (jackknife), so groups are
not taken as independent. Below: the same between the original and a method, or two methods, of the same seeds.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from method.evaluation.over_runs import interval
from method.runs.files import PRETRAIN, RETRAIN
from method.runs.stored import StoredRun, read_runs
from scripts.audit.attacks import Case, make_cases, measure_efficacy
from scripts.audit.command import tables_of
from scripts.audit.pairs import pairings
from scripts.audit.reading import Samples, whole_runs
from scripts.report.naming import title


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a method, and one a pair of methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--others", required=True)
    parser.add_argument("--measure", default="lira_excess_d")
    wanted = parser.parse_args(arguments)
    asked = [[name.strip() for name in text.split(";")] for text in (wanted.groups, wanted.others)]
    tables = tables_of([run for run in read_runs(wanted.folder) if not run.problem])
    compared = [_tell_table(title(table), own, asked, wanted.measure) for table, own in tables.items()]
    if not any(compared):
        parser.error(f"{wanted.folder}: expected a table of finished runs that forgets samples of all groups asked for")


def _tell_table(name: str, runs: Sequence[StoredRun], asked: Sequence[Sequence[str]], measure: str) -> bool:
    """Print the lines of one table; False, and why, where it does not forget samples of all the groups."""
    pairs = [pairing for pairing in pairings(whole_runs(runs)) if not pairing.label.startswith(RETRAIN)]
    if not pairs:
        print(f"{name}: left out; it has no runs and retrained models to compare", flush=True)
        return False
    used = dict.fromkeys(run for pairing in pairs for pair in pairing.pairs for run in pair)
    samples = Samples([run for run in used if run.method != PRETRAIN])
    names = {samples.group_name(int(group)): int(group) for group in np.unique(samples.group)}
    absent = [group for side in asked for group in side if group not in names]
    if absent:
        print(f"{name}: left out; it forgets samples of {'; '.join(names)}, none of {'; '.join(absent)}", flush=True)
        return False
    print(name)
    found = {}
    for pairing in pairs:
        case, _ = make_cases(pairing, samples)
        found[pairing.label] = differences(case, [[names[group] for group in side] for side in asked], measure)
        print(f"{pairing.label:24} {told(found[pairing.label])}", flush=True)
    for first, second in combinations(found, 2):
        print(f"{first} minus {second}: {told(found[first] - found[second])}")
    return True


def differences(case: Case, sides: Sequence[Sequence[int]], measure: str) -> np.ndarray:
    """Mean over the first groups minus that over the others, (1 + M,): of all runs, then without each of them."""
    n, everyone = len(case.sides[0][0]), np.arange(len(case.group))
    found = []
    for kept in (np.ones(n, dtype=bool), *~np.eye(n, dtype=bool)):
        values = {key: outcome.value for key, outcome in measure_efficacy(case.of(kept, everyone)).items()}
        first, second = (np.mean([values[measure, group] for group in groups]) for groups in sides)
        found.append(first - second)
    return np.array(found)


def told(values: np.ndarray) -> str:
    """A difference with its interval."""
    ends = interval(values[0], values[1:], -np.inf, np.inf)
    return f"{values[0]:.2f}" + (f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else "")


if __name__ == "__main__":
    main()
