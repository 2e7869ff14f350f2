"""IAM of a table's runs: each between its original and a retrained model of another train seed, a third one beside."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.splits import load_splits
from method.evaluation.interpolated import MEASURES, membership_scores
from method.evaluation.membership import auc
from method.evaluation.records import Records, load_losses
from method.runs.findings import Finding
from method.runs.folder import RECORDS, SPLITS
from method.runs.stored import StoredRun
from scripts.audit.models import Subject, retrained_for
from utils.errors import UserError

MOST_RUNS = 8  # of a label, whose scores are averaged
NO_MODELS = "it needs the original, and retrained models of two other train seeds that have the same forget set"


class Scores(NamedTuple):
    """Membership scores of the train samples, the n_forget forgotten ones first; all (n,)."""

    asked: np.ndarray
    control: np.ndarray
    group: np.ndarray
    n_forget: int


def examine_interpolated(subject: Subject, runs: Sequence[StoredRun]) -> Iterator[Finding]:
    """Of all groups and of each that has forgotten samples; runs: the readable ones of the table.

    The original's and the retrained model's own rows are the controls: the first is to be found, the second is not.
    """
    cache: dict[Path, tuple[np.ndarray, np.ndarray]] = {}
    chosen = sorted(subject.runs, key=lambda run: (run.seeds.run, run.seeds.train))[:MOST_RUNS]
    scored = [found for run in chosen if (found := _score(run, runs, cache))]
    if not scored:
        yield from (subject.finding(one.key, None, reason=NO_MODELS) for one in MEASURES)
        return
    groups = sorted({int(group) for one in scored for group in np.unique(one.group[: one.n_forget])})
    for group in (None, *groups):
        name = None if group is None else subject.group_name(group)
        parts = [part for one in scored if len((part := _of_group(one, group)).asked[: part.n_forget])]
        n = round(float(np.mean([part.n_forget for part in parts])))
        means = [_mean_forgotten(part) for part in parts]
        yield _averaged(subject, "iam_score", means, group=name, n=n)
        aucs = [_told_apart(part) for part in parts if part.n_forget < len(part.asked)]
        yield _averaged(subject, "iam_auc", aucs, group=name, n=n)


def _score(
    run: StoredRun, runs: Sequence[StoredRun], cache: dict[Path, tuple[np.ndarray, np.ndarray]]
) -> Scores | None:
    """None where the original, the shadow or the control is missing."""
    original = next((other for other in runs if other.is_plain and other.is_original_of(run)), None)
    seed = run.seeds.train
    others = [other for other in retrained_for(run, runs) if other.seeds.train != seed]
    others.sort(key=lambda other: (other.seeds.train < seed, other.seeds.train))  # the next one, and round
    if original is None or len(others) < 2:
        return None
    splits = load_splits(others[0].folder / SPLITS)
    rows = np.concatenate([splits.forget, splits.retain])
    fitted, unseen, asked, control = (_probabilities(one, rows, cache) for one in (original, others[0], run, others[1]))
    group = Records.load(run.folder / RECORDS).select(rows).group
    own, floor = (membership_scores(fitted, unseen, one) for one in (asked, control))
    return Scores(own, floor, group, len(splits.forget))


def _probabilities(run: StoredRun, rows: np.ndarray, cache: dict[Path, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Of the targets of these rows, (n,); UserError where a row is not recorded."""
    if run.folder not in cache:
        index, loss = load_losses(run.folder / RECORDS)
        order = np.argsort(index)
        cache[run.folder] = index[order], np.exp(-loss[order])
    index, probability = cache[run.folder]
    place = np.minimum(np.searchsorted(index, rows), len(index) - 1)
    if not np.array_equal(index[place], rows):
        raise UserError(f"{run.place} has no records of all samples that the other runs of its table have")
    return probability[place]


def _of_group(scores: Scores, group: int | None) -> Scores:
    """Those of a group; None: of all groups that have forgotten samples."""
    wanted = np.unique(scores.group[: scores.n_forget]) if group is None else [group]
    own = np.isin(scores.group, wanted)
    n_forget = int(np.count_nonzero(own[: scores.n_forget]))
    return Scores(scores.asked[own], scores.control[own], scores.group[own], n_forget)


def _mean_forgotten(part: Scores) -> tuple[float, float]:
    """Of the model that is asked and of the control, percent."""
    asked, control = (100.0 * float(one[: part.n_forget].mean()) for one in (part.asked, part.control))
    return asked, control


def _told_apart(part: Scores) -> tuple[float, float]:
    """AUC of the model that is asked and of the control: forgotten samples are to have the lower scores."""
    asked, control = (auc(-one[: part.n_forget], -one[part.n_forget :]) for one in (part.asked, part.control))
    return asked, control


def _averaged(
    subject: Subject, measure: str, found: Sequence[tuple[float, float]], *, group: str | None, n: int
) -> Finding:
    if not found:
        return subject.finding(measure, None, group=group, reason="no sample of this group is retained")
    value, floor = map(float, np.mean(found, axis=0))
    return subject.finding(measure, value, floor=floor, group=group, n=n, runs=len(found))
