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

NO_RECORDS = "the records of the original, or of retrained models of two other train seeds, were not kept"
NO_OWN_RECORDS = "the records of its runs were not kept"


class Scores(NamedTuple):
    """Membership scores of the forgotten samples, and their groups; all (n,)."""

    asked: np.ndarray
    control: np.ndarray
    group: np.ndarray


def examine_interpolated(
    subject: Subject, runs: Sequence[StoredRun], finished: Sequence[StoredRun]
) -> Iterator[Finding]:
    """Of all forgotten samples and of each group's; runs: of the finished ones of the table, those with records.

    The original's and the retrained model's own rows are the controls: the first is to be found, the second is not.
    """
    (measure,) = (one.key for one in MEASURES)
    by_models: dict[tuple, list[StoredRun]] = {}
    ordered = sorted(subject.runs, key=lambda run: (run.seeds.run, run.seeds.train))
    asked = (run for run in ordered if _models_around(run, runs))
    for run in islice(asked, MOST_RUNS):
        by_models.setdefault((run.origin, run.fingerprint("forget")), []).append(run)
    scored = [scores for own in by_models.values() for scores in _score(own, _models_around(own[0], runs))]
    if not scored:
        yield subject.finding(measure, None, reason=_why_not(subject, finished))
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


def _why_not(subject: Subject, finished: Sequence[StoredRun]) -> str:
    if not any(_models_around(run, finished) for run in subject.finished):
        return NO_MODELS
    return NO_RECORDS if subject.runs else NO_OWN_RECORDS


def _models_around(run: StoredRun, runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The original, the shadow and the control of a run; empty where one is missing."""
    original = next((other for other in runs if other.is_plain and other.is_original_of(run)), None)
    seed = run.seeds.train
    others = [other for other in retrained_for(run, runs) if other.seeds.train != seed]
    others.sort(key=lambda other: (other.seeds.train < seed, other.seeds.train))  # the next one, and round
    return [original, *others[:2]] if original and len(others) > 1 else []


def _score(own: Sequence[StoredRun], around: Sequence[StoredRun]) -> Iterator[Scores]:
    """Of runs that share the models around them."""
    rows = load_splits(around[1].folder / SPLITS).forget
    loaded = load_together([*around, *own], rows)
    original, shadow = (next(loaded).confidence for _ in range(2))
    control = membership_scores(original, shadow, next(loaded).confidence)
    for records in loaded:
        yield Scores(membership_scores(original, shadow, records.confidence), control, records.group)
