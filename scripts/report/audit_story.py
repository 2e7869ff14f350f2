"""What an audit found about the rows of a table, in sentences."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from statistics import StatisticsError, correlation, fmean

from method.evaluation.audit import measure_of
from method.evaluation.metrics import Z_95
from method.runs.findings import ORIGINAL, Finding
from method.runs.labels import label
from scripts.report.audit import Audit, AuditColumn, shown, told_at
from scripts.report.audit_runs import GAP, GROWTH
from scripts.report.cells import attack_key
from scripts.report.collect import Row, by_label
from scripts.report.estimates import CERTAIN, UNCERTAIN, points
from scripts.report.wording import TITLES, count, listed
from utils.tables import is_number

ATTACK, SAMPLES = "lira_auc", "forgotten_samples"
EXCESSES = ("excess_d", "excess")  # of an attack; the latter has no room near 100, and is all that older files have
FEWEST_METHODS = 4  # methods, for the interval of a rank correlation
LIMIT = 1 - 1e-6  # of a correlation, whose transform is infinite at 1


def tell_audit(audit: Audit, rows: Sequence[Row]) -> list[dict[str, str]]:
    """Sentences of a table, as `story.tell` gives them; without the findings that one needs it is not there."""
    told = [_told_apart(audit, rows), _order(audit, rows), *_comes_back(audit, rows)]
    return [{"about": "audit", "text": text} for text in told if text]


def _told_apart(audit: Audit, rows: Sequence[Row]) -> str:
    """After which methods the per-example attack goes beyond its placebo."""
    found = _of_methods(audit, rows, excess_of(audit))

    def numbers(name: str) -> str:
        attack = _find(audit, name, _column(audit, ATTACK))
        if attack is None or attack.value is None or attack.placebo is None:
            return ""
        return f"{attack.value:.1f} against {attack.placebo:.1f} of its placebo, "

    what = "forgotten samples can still be told one by one by more than their group (U-LiRA, beyond its placebo)"
    return _after(audit, found, what, numbers)


def _comes_back(audit: Audit, rows: Sequence[Row]) -> Iterator[str]:
    """After which methods fine-tuning brings the forget set back, with the fewest samples; a text for each setting."""
    fewest: dict[tuple, AuditColumn] = {}
    for column in audit.columns:  # of a measure they rise with the samples
        at = dict(column.at)
        if column.measure.key == GROWTH and is_number(at.pop(SAMPLES, None)):
            fewest.setdefault(tuple(at.items()), column)
    for setting, column in fewest.items():
        gaps = next((one for one in audit.columns if (one.measure.key, one.at) == (GAP, column.at)), None)
        samples = dict(column.at)[SAMPLES]
        shown_samples = f"retained samples and {samples} forgotten ones" if samples else "retained samples alone"
        options = f" ({', '.join(map(told_at, setting))})" if setting else ""
        what = (
            f"fine-tuning on {shown_samples}{options} brings back more of the rest of the forget set than a retrained"
            " model gains"
        )
        found = _of_methods(audit, rows, column)
        text = _after(audit, found, what, partial(_both_gaps, audit, found, gaps))
        yield " ".join(filter(None, [text, text and _ends(audit, found, gaps), text and _control(audit, found, gaps)]))


def _both_gaps(audit: Audit, found: Mapping[str, Finding], gaps: AuditColumn | None, name: str) -> str:
    """From which gap it grows to which; the mean of differences is the difference of means over the same runs."""
    told = gaps_told(found[name], _find(audit, name, gaps))
    return f"{told}, " if told else ""


def gaps_told(growth: Finding, after: Finding | None) -> str:
    """`from 1.0 to 5.0 points above the retrained model`; empty where both are not of the same runs."""
    if after is None or after.value is None or growth.value is None or after.runs != growth.runs:
        return ""
    numbers = f"from {after.value - growth.value:.1f} to {after.value:.1f} points above the retrained model"
    return numbers.replace("-", "\N{MINUS SIGN}")


def _ends(audit: Audit, found: Mapping[str, Finding], gaps: AuditColumn | None) -> str:
    """Which of those where something comes back end above the retrained model: else it may be what any model learns."""
    grown = [name for name, one in found.items() if (one.low or 0) > 0]
    above = [audit.names[name] for name in grown if ((_find(audit, name, gaps) or found[name]).low or 0) > 0]
    if not grown:
        return ""
    if not above:
        return (
            f"Whether it ends above the retrained model is {UNCERTAIN}; below it, it is no more than any model learns."
        )
    return f"It ends above the retrained model by {CERTAIN} after {listed(above)}: there it was hidden."


def _control(audit: Audit, names: Iterable[str], gaps: AuditColumn | None) -> str:
    """Whether the original, which never forgot, keeps what it knew; of the methods' tests where it keeps least."""
    known = [audit.found.get((name, gaps, None, ORIGINAL)) for name in names] if gaps else []
    controls = [one for one in known if one and one.value is not None]
    if not controls:
        return ""
    least = min(controls, key=lambda one: one.value or 0.0)
    told = f"the original, fine-tuned alike, has {_difference(least)} than the retrained model"
    if is_above(least):
        return f"The control holds: {told}."
    return f"The control fails: {told}, so with these options the test finds nothing that is hidden."


def is_above(control: Finding) -> bool:
    """Whether it is above 0: by more than noise, or by its value alone where it has no interval."""
    return ((control.value if control.low is None else control.low) or 0.0) > 0


def _after(audit: Audit, found: Mapping[str, Finding], what: str, numbers: Callable[[str], str]) -> str:
    """Where a difference is above 0 by more than noise, where most, and where it is not; each method taken alone."""
    values = {name: one.value for name, one in found.items() if one.value is not None}
    if not values:
        return ""
    seen = [name for name in values if (found[name].low or 0) > 0]
    below = [name for name in values if (found[name].high or 0) < 0]
    most = max(seen or values, key=values.__getitem__)
    verdict = f"{numbers(most)}{_difference(found[most])}: {UNCERTAIN if most not in (*seen, *below) else CERTAIN}"
    if all(found[name].low is None for name in values):
        return (
            f"So few runs say nothing of noise, and so not whether {what}. In numbers it is most after"
            f" {audit.names[most]}: {numbers(most)}{_difference(found[most])}."
        )
    if not seen:
        of = (
            f"Of {count(len(values), 'methods')}, none shows beyond noise that"
            if len(values) > 1
            else "It is open whether"
        )
        return f"{of} {what}. In numbers it is most after {audit.names[most]}: {verdict}."
    among = f", most after {audit.names[most]}" if len(seen) > 1 else ""
    first = f"After {listed([audit.names[name] for name in seen])} {what}{among}: {verdict}."
    open_ones = len(values) - len(seen) - len(below)
    parts = [
        first,
        f"It is {UNCERTAIN} for {count(open_ones, 'others')}." if open_ones else "",
        f"Less by {CERTAIN}: {listed([audit.names[name] for name in below])}." if below else "",
        "Each verdict is of a method taken alone." if len(values) > 1 else "",
    ]
    return " ".join(filter(None, parts))


def _difference(one: Finding) -> str:
    measure, value = measure_of(one.measure), one.value or 0.0
    size = f"{abs(value):.{measure.decimals}f} standard deviations" if measure.unit == "sd" else points(value)
    number = f"{size} {'less' if value < 0 else 'more'}"
    ends = shown(one, measure.decimals)[1].replace("-", "\N{MINUS SIGN}")
    runs = count(one.runs, "runs") if one.runs else ""
    return f"{number} ({', '.join(filter(None, [f'95 % interval {ends}' if ends else 'no interval', runs]))})"


def _order(audit: Audit, rows: Sequence[Row]) -> str:
    """Whether the per-example attack and the population attack order the methods alike."""
    found, key = _of_methods(audit, rows, excess_of(audit)), attack_key(rows)
    pairs = []
    for own in by_label([row for row in rows if row.competes]).values():
        one = found.get(label(own[0].run))
        gaps = [gap for row in own if is_number(gap := row.difference(key))]
        if one and one.value is not None and gaps:
            pairs.append((one.value, fmean(gaps)))
    if len(pairs) < FEWEST_METHODS:
        return ""
    try:
        rank = correlation(*(_ranks(values) for values in zip(*pairs, strict=True)))
    except StatisticsError:  # one of them sees no difference at all
        return ""
    half = Z_95 * math.sqrt(1.06 / (len(pairs) - 3))  # of Fisher's transform (Fieller, Hartley and Pearson 1957)
    middle = math.atanh(min(max(rank, -LIMIT), LIMIT))
    low, high = math.tanh(middle - half), math.tanh(middle + half)
    way = "alike" if rank > 0 else "the other way round"
    attacks = f"the per-example attack and the population attack ({TITLES[key]} minus the retrained model's)"
    numbers = f"rank correlation {rank:.2f}, 95 % interval {low:.2f} to {high:.2f}".replace("-", "\N{MINUS SIGN}")
    if low > 0 or high < 0:
        return f"Over {len(pairs)} methods {attacks} order them {way} ({numbers}, if methods were independent)."
    return f"Whether {attacks} order the {len(pairs)} methods alike is {UNCERTAIN} ({numbers})."


def _ranks(values: Sequence[float]) -> list[float]:
    """Places by size; equal values share the mean of theirs."""
    return [sum(other < value for other in values) + sum(other == value for other in values) / 2 for value in values]


def _column(audit: Audit, key: str) -> AuditColumn | None:
    return next((column for column in audit.columns if column.key == key), None)


def excess_of(audit: Audit, attack: str = "lira") -> AuditColumn | None:
    """The column by which an attack is judged: its excess in standard deviations where anybody has one."""
    keys = [f"{attack}_{key}" for key in EXCESSES]
    found = (column for own in (audit.columns, audit.empty) for key in keys for column in own if column.key == key)
    return next(found, None)


def _find(audit: Audit, name: str, column: AuditColumn | None) -> Finding | None:
    return audit.get(name, column) if column else None


def _of_methods(audit: Audit, rows: Sequence[Row], column: AuditColumn | None) -> dict[str, Finding]:
    """The findings of the unlearned rows in a column, by label."""
    names = dict.fromkeys(label(row.run) for row in rows if row.competes)
    return {name: one for name in names if (one := _find(audit, name, column))}
