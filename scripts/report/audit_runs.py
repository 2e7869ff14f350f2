"""What was found out about single runs, such as by relearn.json, put together over the runs of a label."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from method.configs.seeds import are_independent
from method.evaluation.audit import measure_of
from method.evaluation.intervals import student_interval
from method.runs.audits import Found
from method.runs.findings import ORIGINAL, RETRAINED, Finding
from scripts.report.wording import count
from utils.tables import is_number

ACCURACY, GAP, GROWTH, TIME = "relearn_acc", "relearn_gap", "relearn_growth", "relearn_time"
PLACES = ("step", "share")  # where on a curve a finding stands
MODEL = "model"  # whose number a finding of a run is, of the three models that are tested alike
BESIDE = ("floor", "placebo")  # what a finding itself is compared with
UNKNOWN = "not recorded"
# Which options of a test a measure does not depend on; weights and features depend on those of NO_TRAINING alone.
INDIFFERENT = {ACCURACY: "epochs", GAP: "epochs", TIME: "steps"}
NO_TRAINING = ("seed", "samples", "batch_size", "precision", "retrained")
NONE_SHARED = "its runs were looked at after other steps; test all with the same --steps"


def told_apart(found: Sequence[Found]) -> list[Found]:
    """The same, where tests of a table differ in an option that a measure depends on with that option in `at`.

    So tests of other options get columns and curves of their own, and are never averaged.
    """
    values: dict[tuple, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in found:
        for name, value in _options(one).items():
            values[one.finding.table, one.finding.measure][name].add(value)
    told = []
    for one in found:
        known = values[one.finding.table, one.finding.measure] if one.run else {}
        own = {name: _options(one).get(name, UNKNOWN) for name, others in known.items() if len(others) > 1}
        told.append(one._replace(finding=replace(one.finding, at={**(one.finding.at or {}), **own})) if own else one)
    return told


def _options(one: Found) -> Mapping[str, str]:
    """Those that the number depends on."""
    measure, own = one.finding.measure, one.options or {}
    if measure in INDIFFERENT:
        return {name: value for name, value in own.items() if name != INDIFFERENT[measure]}
    return {name: value for name, value in own.items() if name in NO_TRAINING}


def control_gaps(found: Iterable[Found]) -> Iterator[Found]:
    """The relearn gap of the original: its accuracy minus that of the retrained model, in the same run's test."""
    pairs: dict[tuple, dict[Any, Found]] = defaultdict(dict)
    for one in found:
        own, at = one.finding, dict(one.finding.at or {})
        if one.run and own.measure == ACCURACY and own.value is not None:
            model = at.pop(MODEL, None)
            pairs[one.run, own.group, tuple(at.items())][model] = one
    for (_, _, at), models in pairs.items():
        if ORIGINAL in models and RETRAINED in models:
            original, retrained = (models[name].finding.value or 0.0 for name in (ORIGINAL, RETRAINED))
            own = replace(models[ORIGINAL].finding, measure=GAP, value=original - retrained)
            yield models[ORIGINAL]._replace(finding=replace(own, at={MODEL: ORIGINAL, **dict(at)}))


def place_of(one: Finding) -> tuple[str, float] | None:
    """Where on a curve it stands, such as ("step", 20); None where on none."""
    at = one.at or {}
    return next(((name, at[name]) for name in PLACES if is_number(at.get(name))), None)


def without_place(one: Finding) -> dict[str, Any]:
    """What it is taken at beside that."""
    place = place_of(one)
    return {name: value for name, value in (one.at or {}).items() if place is None or name != place[0]}


def put_together(found: Iterable[Found]) -> Iterator[tuple[Finding, list[Finding]]]:
    """Of the runs of each label what a table shows, and the curve that it is the last place of, empty for none.

    A curve has the places that all of its runs have. A relearn gap is followed by its growth along that curve.
    """
    alike: dict[tuple, list[Found]] = defaultdict(list)
    for one in found:
        own = one.finding
        alike[own.measure, own.label, own.group, tuple(without_place(own).items())].append(one)
    for (measure, *_, at), runs in alike.items():
        curves, off = _curves(runs), [one for one in runs if place_of(one.finding) is None]
        if not curves:
            yield over_runs(runs), []
            continue
        places = _shared(curves)
        if not places:
            yield replace(runs[0].finding, at=dict(at), value=None, runs=len(curves), reason=NONE_SHARED), []
            continue
        last = over_runs([*(curve[places[-1]] for curve in curves), *off])
        yield last, [over_runs([curve[place] for curve in curves]) for place in places]
        if measure == GAP and MODEL not in dict(at) and 0 in places[:-1]:
            yield over_runs([*(_growth(curve[0], curve[places[-1]]) for curve in curves), *map(_as_growth, off)]), []


def _curves(found: Iterable[Found]) -> list[dict[float, Found]]:
    """The curve of each run, by place."""
    curves: dict[Any, dict[float, Found]] = defaultdict(dict)
    for one in found:
        if place := place_of(one.finding):
            curves[one.run][place[1]] = one
    return list(curves.values())


def _shared(curves: Sequence[Mapping[float, Found]]) -> list[float]:
    return sorted(set.intersection(*map(set, curves)))


def _growth(first: Found, last: Found) -> Found:
    """The gap at the last step minus that before the first, of one run."""
    (before, after), own = (first.finding.value, last.finding.value), _as_growth(last)
    value = None if before is None or after is None else after - before
    return own._replace(finding=replace(own.finding, value=value))


def _as_growth(one: Found) -> Found:
    own = one.finding
    return one._replace(finding=replace(own, measure=GROWTH, at=without_place(own), low=None, high=None))


def over_runs(found: Sequence[Found]) -> Finding:
    """The mean over runs, with Student's interval where they are independent; its reason says why some runs lack it.

    An interval is cut at the ends of the measure's range. Where runs did not reach what a time is measured to, the
    median if it is known, else more than the cap.
    """
    findings = [one.finding for one in found]
    if len(found) == 1:
        return findings[0]
    there = [one for one in found if one.finding.value is not None]
    told = _reasons(findings)
    if any(map(_is_capped, findings)):
        return _over_capped(findings, told)
    if not there:
        return replace(findings[0], reason=told, runs=len(found))
    values = [one.finding.value for one in there if one.finding.value is not None]
    seeds = [one.run.seeds for one in there if one.run]
    independent = len(seeds) == len(there) and are_independent(seeds)
    mean, low, high = student_interval(values) if independent else (fmean(values), None, None)
    least, most = measure_of(findings[0].measure).range
    low = low if low is None else max(low, least)
    high = high if high is None else min(high, most)
    own = replace(there[0].finding, value=mean, low=low, high=high, runs=len(there), reason=told)
    floor, placebo = ([value for one in findings if (value := getattr(one, part)) is not None] for part in BESIDE)
    return replace(own, floor=fmean(floor) if floor else None, placebo=fmean(placebo) if placebo else None)


def _is_capped(one: Finding) -> bool:
    """Whether the number is only known to be more than `low`."""
    return one.value is None and one.low is not None


def _over_capped(findings: Sequence[Finding], told: str | None) -> Finding:
    """The median, which a run beyond its cap counts for as the largest; without a value where it is beyond a cap."""
    caps = [one.low for one in findings if _is_capped(one) and one.low is not None]
    times = sorted([one.value for one in findings if one.value is not None]) + [math.inf] * len(caps)
    middle = fmean((times[(len(times) - 1) // 2], times[len(times) // 2]))
    unit = measure_of(findings[0].measure).unit
    beyond = f"{len(caps)} of {count(len(times), 'runs')} took more than {min(caps):g} {unit}".rstrip()
    lacking = [told] if told and len(times) < len(findings) else []
    own = replace(findings[0], high=None, runs=len(times))
    if times[len(times) // 2] <= min(caps):
        return replace(own, value=middle, low=None, reason="; ".join([f"the median, as {beyond}", *lacking]))
    return replace(own, value=None, low=min(caps), reason="; ".join([beyond, *lacking]))


def _reasons(findings: Sequence[Finding]) -> str | None:
    """Why runs lack a number, and how many of them for each reason; None where none lacks it."""
    runs: dict[str, int] = defaultdict(int)
    for one in findings:
        if one.value is None and not _is_capped(one):
            runs[one.reason or "no reason is recorded"] += 1
    if list(runs.values()) == [len(findings)]:
        return next(iter(runs))
    return "; ".join(f"{n} of {count(len(findings), 'runs')}: {reason}" for reason, n in runs.items()) or None
