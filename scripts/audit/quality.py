"""What many runs of one forget set tell together: forgetting quality, KLoM, IAM, and the noise floors of distances."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.splits import Splits, load_splits
from method.evaluation import forgetting_quality, interpolated, margins
from method.evaluation.forgetting_quality import FEWEST, forgetting_points
from method.evaluation.halves import Distance, Halved, measure_halved
from method.evaluation.margins import margin_divergences
from method.runs.findings import Finding
from method.runs.folder import SPLITS
from method.runs.stored import StoredRun
from scripts.audit.floors import examine_floors
from scripts.audit.interpolated import examine_interpolated
from scripts.audit.models import Subject, load_together, subjects
from scripts.audit.reading import whole_runs

QUALITY = (*forgetting_quality.MEASURES, *margins.MEASURES)
MEASURES = (*QUALITY, *interpolated.MEASURES)
FEWEST_RETRAINED = 2 * FEWEST  # as their halves are compared


@dataclass(frozen=True, eq=False)
class Models:
    """What M models say of the same samples; forgotten ones first, then retained, then test.

    phi: (M, n). retain_acc, test_acc: (M,), percent. group: (n,), ids. sets: where each set's samples stand.
    """

    phi: np.ndarray
    retain_acc: np.ndarray
    test_acc: np.ndarray
    group: np.ndarray
    sets: Mapping[str, slice]


def examine(runs: Sequence[StoredRun]) -> Iterator[Finding]:
    """Every finding of one table; runs: the finished ones of it, and the pretrained ones that they start from.

    UserError where runs are of other samples. What cannot be computed is there with its reason.
    """
    kept, loaded = whole_runs(runs), dict[tuple[str, ...], Models]()
    for subject in subjects(runs):
        yield from _examine_quality(subject, loaded)
        yield from examine_interpolated(subject, kept, runs)
    yield from examine_floors(runs)


def _examine_quality(subject: Subject, loaded: dict[tuple[str, ...], Models]) -> Iterator[Finding]:
    """F, the challenge's score and KLoM; loaded: what is kept between labels, the retrained models."""
    models = subject.of_one_original
    if reason := _too_few(subject):
        yield from (subject.finding(one.key, None, runs=len(models), reason=reason) for one in QUALITY)
        return
    key, splits = tuple(str(run.folder) for run in subject.retrained), load_splits(subject.retrained[0].folder / SPLITS)
    if key not in loaded:
        loaded.clear()  # one kind of retrained model at a time
        loaded[key] = _load(subject.retrained, splits)
    retrained = loaded[key]
    own = retrained if subject.is_retrained else _load(models, splits)
    yield from _quality_of_forgetting(subject, own, retrained)
    yield from _distances_of_margins(subject, own, retrained)


def _too_few(subject: Subject) -> str:
    """Why forgetting quality cannot be computed; empty where it can."""
    n, n_retrained = len(subject.of_one_original), len(subject.retrained)
    if n < FEWEST and not subject.is_retrained:
        wanted = "pretrained models of {} train seeds" if subject.is_original else (
            "{} runs that differ in their run seed alone (--seed, beside one --train_seed and one --forget_seed)"
        )  # fmt: skip
        return f"it needs {wanted.format(FEWEST)}, with records; found {n}{_gone(subject)}"
    if n_retrained < FEWEST_RETRAINED:
        return (
            f"it needs retrained models of {FEWEST_RETRAINED} train seeds and one forget set (--forget_seed), with"
            f" records; found {n_retrained}{_gone(subject) if subject.is_retrained else ''}"
        )
    return ""


def _gone(subject: Subject) -> str:
    """The end of a sentence where records are missing."""
    n, n_all = len(subject.finished) - len(subject.runs), len(subject.finished)
    return f", as the records of {n} of its {n_all} runs were not kept" if n else ""


def _load(runs: Sequence[StoredRun], splits: Splits) -> Models:
    parts = (splits.forget, splits.retain, splits.test)
    ends = np.cumsum([len(part) for part in parts])
    forget, retain, test = (slice(*ends_of) for ends_of in zip([0, *ends[:-1]], ends, strict=True))
    phi, accuracies = [], []
    group = np.empty(0, dtype=np.int64)
    for records in load_together(runs, np.concatenate(parts)):
        correct, group = records.published.correct, records.group
        phi.append(records.log_odds)
        accuracies.append([100.0 * correct[part].mean() if len(correct[part]) else np.nan for part in (retain, test)])
    retain_acc, test_acc = np.array(accuracies).T
    sets = {"forget": forget, "retain": retain, "test": test}
    return Models(np.stack(phi), retain_acc, test_acc, group, sets)


def _quality_of_forgetting(subject: Subject, own: Models, retrained: Models) -> Iterator[Finding]:
    forget = own.sets["forget"]
    phi, others = own.phi[:, forget], retrained.phi[:, forget]
    halved = _halved(subject, phi, others, forgetting_points)
    for finding in _means(subject, "forgetting_quality", halved, own.group[forget]):
        yield finding
        if finding.group is None and finding.value is not None:
            yield _score(subject, finding, own, retrained)
    n_models = min(len(phi), len(others))
    if not subject.is_retrained and n_models > halved.n_models:
        points = forgetting_points(phi[:n_models], others[:n_models])
        at = {"models": n_models}
        yield subject.finding("forgetting_quality", float(points.mean()), at=at, n=len(points), runs=n_models)


def _score(subject: Subject, quality: Finding, own: Models, retrained: Models) -> Finding:
    pairs = ((own.retain_acc, retrained.retain_acc), (own.test_acc, retrained.test_acc))
    ratios = [np.mean(mine) / np.mean(theirs) if np.mean(theirs) else np.nan for mine, theirs in pairs]
    kept = float(np.prod(ratios))
    if not np.isfinite(kept):
        reason = "there is no test sample, or no retrained model is right on one"
        return subject.finding("forgetting_score", None, runs=quality.runs, reason=reason)
    value = (quality.value or 0.0) * kept
    return subject.finding("forgetting_score", value, floor=quality.floor, n=quality.n, runs=quality.runs)


def _distances_of_margins(subject: Subject, own: Models, retrained: Models) -> Iterator[Finding]:
    halved = _halved(subject, own.phi, retrained.phi, margin_divergences)
    for name, part in own.sets.items():
        of_set = Halved(halved.distance[part], halved.floor[part], halved.n_models)
        yield from _means(subject, f"klom_{name}", of_set, own.group[part])


def _halved(subject: Subject, own: np.ndarray, retrained: np.ndarray, distance: Distance) -> Halved:
    halved = measure_halved(own, retrained, distance)
    return halved._replace(distance=halved.floor) if subject.is_retrained else halved


def _means(subject: Subject, measure: str, halved: Halved, group: np.ndarray) -> Iterator[Finding]:
    """The mean over all samples, and over those of each group."""
    if not len(group):
        yield subject.finding(measure, None, runs=halved.n_models, reason="there is no such sample")
        return
    for one in (None, *np.unique(group).tolist()):
        chosen = slice(None) if one is None else group == one
        name = None if one is None else subject.group_name(one)
        distance, floor = halved.distance[chosen], float(halved.floor[chosen].mean())
        n_models = halved.n_models
        yield subject.finding(measure, float(distance.mean()), group=name, floor=floor, n=len(distance), runs=n_models)
