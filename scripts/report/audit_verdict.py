"""What an audit comes to, a sentence for its controls and one for the methods: they stand above its numbers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from method.evaluation.audit import measure_of
from method.runs.files import PRETRAIN, RETRAIN
from method.runs.findings import Finding
from method.runs.labels import label
from scripts.report.audit import Audit, AuditColumn, shown
from scripts.report.audit_story import excess_of
from scripts.report.collect import Row

FAILS, PASSES, OPEN = "fails", "passes", "is not checked in full"
CHANCE = "Of 20 intervals one leaves out the right value by chance."


class Control(NamedTuple):
    """A test that the original must be found by, and a retrained model of another seed must not.

    key: of the measure that is judged; of an attack with a placebo its beginning, as its excess is judged. right: what
    the retrained model must have within its interval, and the original must exceed; None: the floor, to which the
    original is compared by its value alone. above: whether the original lies above it.
    """

    title: str
    key: str
    right: float | None
    above: bool = True


CONTROLS = (
    Control("U-LiRA", "lira", 0.0),
    Control("RULI", "ruli", 0.0),
    Control("RULI privacy", "ruli_privacy_auc", 50.0),
    Control("F", "forgetting_quality", None, above=False),
    Control("IAM", "iam_score", None),
)


def tell_verdict(audit: Audit, rows: Sequence[Row]) -> list[dict[str, str]]:
    """What `judge` says of the rows of a table."""
    return judge(audit, {label(row.run): "" if row.competes else row.run.method for row in rows})


def judge(audit: Audit, kinds: Mapping[str, str]) -> list[dict[str, str]]:
    """{"about", "text"}: whether the controls pass, then which methods are told from retrained models.

    kinds: PRETRAIN, RETRAIN or "" for an unlearned one, by label. Nothing where no test that has controls was made.
    """
    controls = [text for one in CONTROLS if (text := _judge_controls(audit, kinds, one))]
    chance = f" {CHANCE}" if any(f" {FAILS} " in one for one in controls) else ""
    told = [("Controls", f"{'; '.join(controls)}.{chance}")] if controls else []
    methods = " ".join(_judge_methods(audit, [name for name, kind in kinds.items() if not kind]))
    told += [("Methods", methods)] if methods else []
    return [{"about": about, "text": text} for about, text in told]


def _judge_controls(audit: Audit, kinds: Mapping[str, str], control: Control) -> str:
    """`U-LiRA passes (the original is found, ...)`; empty where the test was not made."""
    column = _column(audit, control.key)
    found = {name: one for name in kinds if (one := _find(audit, name, column)) and one.value is not None}
    if not found:
        return ""
    wrong, missing = [], []
    judged = (PRETRAIN,) if control.right is None else (PRETRAIN, RETRAIN)
    for kind in judged:
        own = {name: one for name, one in found.items() if kinds[name] == kind}
        what = "the original" if kind == PRETRAIN else "a retrained model of another seed"
        missing += [] if own else [f"no number of {what}"]
        for name, one in own.items():
            is_right = _is_right(one, control, kind)
            missing += [f"{audit.names[name]} has too few runs"] if is_right is None else []
            if is_right is False:
                told = filter(None, shown(one, measure_of(one.measure).decimals))
                numbers = " with 95 % interval ".join(told).replace("-", "\N{MINUS SIGN}")
                verb = "is not found" if kind == PRETRAIN else "is told from one of another seed"
                wrong.append(f"{audit.names[name]} {verb}: {numbers}")
    if wrong:
        return f"{control.title} {FAILS} ({'; '.join(wrong)}{'' if control.right is not None else ', by value alone'})"
    if missing:
        return f"{control.title} {OPEN} ({'; '.join(missing)})"
    others = ", retrained models of another seed are not" if RETRAIN in judged else ", by value alone"
    return f"{control.title} {PASSES} (the original is found{others})"


def _is_right(one: Finding, control: Control, kind: str) -> bool | None:
    """Whether a control has what it must have; None where there is no interval, or no floor, to say so."""
    if control.right is None:
        return None if one.value is None or one.floor is None else (one.value > one.floor) == control.above
    if one.low is None or one.high is None:
        return None
    return one.low > control.right if kind == PRETRAIN else one.low <= control.right <= one.high


def _judge_methods(audit: Audit, names: Sequence[str]) -> Iterator[str]:
    """Of the per-example attack: which methods go beyond the placebo by more than noise, which not, which are open."""
    found = {name: one for name in names if (one := _find(audit, name, _column(audit, "lira")))}
    judged = {name: one for name, one in found.items() if one.low is not None and one.high is not None}
    told = [name for name, one in judged.items() if (one.low or 0.0) > 0]
    open_ones = [name for name, one in found.items() if name not in judged and one.value is not None]
    unknown = [name for name, one in found.items() if one.value is None]
    if judged:
        yield f"Told from retrained models beyond the placebo, by more than noise: {_named(audit, told) or 'none'}."
    if len(judged) > len(told):
        yield f"Not told beyond noise: {_named(audit, [name for name in judged if name not in told])}."
    if open_ones:
        yield f"Too few runs to say whether told beyond the placebo: {_named(audit, open_ones)}."
    if unknown:
        yield f"Without a number, for the reason among the notes: {_named(audit, unknown)}."


def _named(audit: Audit, names: Sequence[str]) -> str:
    return ", ".join(audit.names[name] for name in names)


def _column(audit: Audit, key: str) -> AuditColumn | None:
    columns = (*audit.columns, *audit.empty)
    return excess_of(audit, key) or next((column for column in columns if column.key == key), None)


def _find(audit: Audit, name: str, column: AuditColumn | None) -> Finding | None:
    return audit.get(name, column) if column else None
