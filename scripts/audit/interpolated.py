"""IAM of a table's runs: each between its original and a retrained model of another train seed, a third one beside."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from datasets.splits import load_splits
from method.evaluation.interpolated import MEASURES, membership_scores
from method.runs.findings import Finding
from method.runs.folder import SPLITS
from method.runs.stored import StoredRun
from scripts.audit.models import Subject, load_together, retrained_for

MOST_RUNS = 8  # of a label, whose scores are averaged
NO_MODELS = "it needs the original, and retrained models of two other train seeds that have the same forget set"


class Scores(NamedTuple):
    """Membership scores of the forgotten samples, and their groups; all (n,)."""

    asked: np.ndarray
    control: np.ndarray
    group: np.ndarray


def examine_interpolated(subject: Subject, runs: Sequence[StoredRun]) -> Iterator[Finding]:
    """Of all forgotten samples and of each group's; runs: the readable ones of the table.

    The original's and the retrained model's own rows are the controls: the first is to be found, the second is not.
    """
    (measure,) = (one.key for one in MEASURES)
    chosen = sorted(subject.runs, key=lambda run: (run.seeds.run, run.seeds.train))
    # A retrained model asks for an original of its seed, and not every seed has one.
    scored = list(islice((found for run in chosen if (found := _score(run, runs))), MOST_RUNS))
    if not scored:
        yield subject.finding(measure, None, reason=NO_MODELS)
        return
    for group in (None, *np.unique(np.concatenate([one.group for one in scored])).tolist()):
        parts = [np.isin(one.group, one.group if group is None else group) for one in scored]
        means = [
            (100.0 * one.asked[part].mean(), 100.0 * one.control[part].mean(), np.count_nonzero(part))
            for one, part in zip(scored, parts, strict=True)
            if part.any()
        ]
        value, floor, n = map(float, np.mean(means, axis=0))
        name = None if group is None else subject.group_name(group)
        yield subject.finding(measure, value, group=name, floor=floor, n=round(n), runs=len(means))


def _score(run: StoredRun, runs: Sequence[StoredRun]) -> Scores | None:
    """None where the original, the shadow or the control is missing."""
    original = next((other for other in runs if other.is_plain and other.is_original_of(run)), None)
    seed = run.seeds.train
    others = [other for other in retrained_for(run, runs) if other.seeds.train != seed]
    others.sort(key=lambda other: (other.seeds.train < seed, other.seeds.train))  # the next one, and round
    if original is None or len(others) < 2:
        return None
    rows = load_splits(others[0].folder / SPLITS).forget
    loaded = load_together([original, others[0], run, others[1]], rows)
    fitted, unseen, asked, control = loaded
    own, floor = (membership_scores(fitted.confidence, unseen.confidence, one.confidence) for one in (asked, control))
    return Scores(own, floor, asked.group)
