"""The parts of a test as findings, a number each, and as a few lines for people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from method.evaluation.metrics import Undefined
from method.evaluation.relearning import accuracy_of, relearn_epochs
from method.runs.findings import MODELS, RETRAINED, UNLEARNED, Finding
from method.runs.labels import label
from method.runs.stored import StoredRun
from utils.tables import HOLE, align, cell

Parts = Mapping[str, Any]


@dataclass(frozen=True)
class Writer:
    """Makes findings of one run; names: of the groups, by number."""

    run: StoredRun
    names: Sequence[str]

    def found(self, measure: str, value: float | None, at: dict[str, Any], **facts: Any) -> Finding:
        """One of them; group: its number, None for all."""
        group = facts.pop("group", None)
        name = None if group is None else self.names[group]
        return Finding(measure, self.run.table, label(self.run), value, name, at, runs=1, **facts)


def findings(run: StoredRun, names: Sequence[str], forgotten: Sequence[int], parts: Parts) -> list[Finding]:
    """All of them, of a test whose parts are complete; names: of the groups, by number."""
    writer, changed = Writer(run, names), (UNLEARNED, RETRAINED)
    return [
        *(one for k in forgotten for one in _curves(writer, k, parts)),
        *(_time(writer, model, parts[f"time {model}"]) for model in MODELS),
        *(writer.found("l2_to_original", parts[f"distance {model}"], {"model": model}) for model in changed),
        *(one for model in changed for one in _line(writer, model, parts[f"line {model}"])),
        *_probe(writer, parts["features"]),
        *_alike(writer, parts["features"]["cka"]),
    ]


def _curves(writer: Writer, k: int, parts: Parts) -> Iterator[Finding]:
    """Accuracy of every model on the rest, and the unlearned one's minus the retrained one's, by step and group."""
    curves = {model: parts[f"curve {k} {model}"] for model in MODELS}
    if reason := curves[UNLEARNED].get("reason"):
        yield writer.found("relearn_gap", None, {"forgotten_samples": k}, reason=reason)
        return
    count = np.array(curves[UNLEARNED]["count"])
    for number, step in enumerate(curves[UNLEARNED]["steps"]):
        at = {"forgotten_samples": k, "step": step}
        for group in (None, *np.flatnonzero(count).tolist()):
            n = int(count.sum() if group is None else count[group])
            own = {model: accuracy_of(np.array(one["correct"][number]), count, group) for model, one in curves.items()}
            for model, value in own.items():
                yield writer.found("relearn_acc", value, {"model": model, **at}, group=group, n=n)
            yield writer.found("relearn_gap", own[UNLEARNED] - own[RETRAINED], at, group=group, n=n)


def _time(writer: Writer, model: str, curve: Parts) -> Finding:
    count = np.array(curve["count"])
    accuracies = [accuracy_of(np.array(own), count) for own in curve["correct"]]
    value, cap, reason = None, None, None
    try:
        value = relearn_epochs(curve["steps"], accuracies, curve["target"], curve["steps_a_pass"])
    except Undefined as why:
        cap, reason = curve["steps"][-1] / curve["steps_a_pass"], str(why)
    return writer.found("relearn_time", value, {"model": model}, n=int(count.sum()), low=cap, reason=reason)


def _line(writer: Writer, model: str, line: Parts) -> Iterator[Finding]:
    for samples, own in line["accuracy"].items():
        at = {"model": model, "samples": samples}
        yield writer.found("lmc_barrier", line["barrier"][samples], at, n=line["n"][samples])
        for number, value in enumerate(own):
            share = number / (len(own) - 1)
            yield writer.found("lmc_acc", value, {**at, "share": share}, n=line["n"][samples])


def _probe(writer: Writer, known: Parts) -> Iterator[Finding]:
    count = np.array(known["count"])
    for model, own in known["probe"].items():
        for group in (None, *np.flatnonzero(count).tolist()):
            reason = own.get("reason")
            value = None if reason else accuracy_of(np.array(own["correct"]), count, group)
            n = int(count.sum() if group is None else count[group])
            yield writer.found("probe_acc", value, {"model": model}, group=group, n=n, reason=reason)


def _alike(writer: Writer, entries: Sequence[Parts]) -> Iterator[Finding]:
    for own in entries:
        at, value = {"model": own["model"], "samples": own["samples"]}, own.get("value")
        yield writer.found("cka", value, at, group=own["group"], n=own["n"], reason=own.get("reason"))


def describe(found: Sequence[Finding]) -> str:
    """A table of the gaps, and what else a person wants to know at once; of all groups together."""
    whole = [one for one in found if one.group is None]
    gaps = [one for one in whole if one.measure == "relearn_gap" and one.at and one.value is not None]
    steps = sorted({one.at["step"] for one in gaps if one.at})
    shown: dict[int, dict[int, float]] = {}
    for one in gaps:
        shown.setdefault((one.at or {})["forgotten_samples"], {})[(one.at or {})["step"]] = one.value or 0.0
    grown = {k: {**own, None: own[max(own)] - own[min(own)]} for k, own in shown.items()}
    rows = [[str(k), *(cell([own.get(step)]) for step in (*steps, None))] for k, own in grown.items()]
    title = "accuracy on the rest of the forget set, unlearned minus retrained, after so many steps, and its growth:"
    lines = [title, align(["forgotten samples", *map(str, steps), "growth"], rows)] if rows else []
    lines += [f"{one.measure} {one.at}: {one.reason}" for one in whole if one.value is None]
    others = ("relearn_time", "l2_to_original", "lmc_barrier", "probe_acc", "cka")
    rows = [
        [" ".join([name, *(_spell(samples))]), *(_value(whole, name, model, samples) for model in MODELS)]
        for name in others
        for samples in dict.fromkeys((one.at or {}).get("samples") for one in whole if one.measure == name)
    ]
    return "\n".join([*lines, "", align(["", *MODELS], rows)])


def _spell(samples: str | None) -> list[str]:
    return [samples] if samples else []


def _value(found: Sequence[Finding], measure: str, model: str, samples: str | None) -> str:
    own = [one for one in found if one.measure == measure and (one.at or {}).get("model") == model]
    own = [one for one in own if (one.at or {}).get("samples") == samples]
    if own and own[0].value is None and own[0].low is not None:
        return f"> {own[0].low:g}"
    return cell([one.value for one in own], 2) if own else HOLE
