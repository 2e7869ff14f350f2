"""The words that sentences share: how they name groups, numbers and falls."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from method.evaluation.columns import COLUMNS
from method.runs.folder import IMPORTED
from method.runs.stored import StoredRun
from scripts.report.cells import forget_groups
from scripts.report.collect import Row, groups_of
from scripts.report.estimates import UNCERTAIN, Estimate, points
from utils.tables import is_number

TITLES = {column.key: column.title for column in COLUMNS}
SHOWN = 3  # names in a list, before "and 4 more"
K = TypeVar("K")


def tell_request(rows: Sequence[Row]) -> str:
    """What was asked to be forgotten, of rows of one task; empty where nothing was."""
    forgetting = [row for row in rows if row.values.get("n_forget")]
    if not forgetting:
        return ""
    values, config = [row.values for row in forgetting], (forgetting[0].splits_of or forgetting[0].run).config
    listed_names, random = config.get("forget_list"), config.get("unlearning_type") == "random"
    names, tables = forget_groups(forgetting), [list(groups_of(one)) for one in values]
    sizes = [
        sum(group["n_train"] for group in groups if group["forget"] or listed_names or random) for groups in tables
    ]
    n_forget = span(one["n_forget"] for one in values)
    of = f"{n_forget} of the {span(sizes)} training images" if all(sizes) else f"{n_forget} training images"
    were = "was" if n_forget == "1" else "were"
    if random:
        return f"{of}, drawn from all groups, {were} to be forgotten."
    if listed_names:
        n_names = span(n for one in values if is_number(n := one.get("n_requests")))
        how = f"as a list of {n_names} names asked" if n_names else "as a list asked"
        whose = f"; they are of {name_groups(names)}" if names else ""
        return f"{of} {were} to be forgotten, {how}{whose}."
    return f"{of} of {name_groups(names)} {were} to be forgotten." if names else f"{of} {were} to be forgotten."


def listed(names: Sequence[str], quote: str = "") -> str:
    """`a, b and c`, or `a, b, c and 4 more`."""
    shown = [f"{quote}{name}{quote}" for name in names]
    if len(names) > SHOWN + 1:
        shown = [*shown[:SHOWN], f"{len(names) - SHOWN} more"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def name_groups(names: Sequence[str]) -> str:
    """Groups in quotes; where not all are named, how many there are."""
    shown = listed(names, '"')
    return f"{len(names)} groups ({shown})" if len(names) > SHOWN + 1 else shown


def span(numbers: Iterable[float]) -> str:
    """`453`, or over seeds `453 to 455`; empty for none."""
    found = sorted(set(numbers))
    return " to ".join(f"{number:,}" for number in dict.fromkeys([*found[:1], *found[-1:]]))


def count(n: int, what: str) -> str:
    """`1 method`, `8 methods`."""
    return f"{n} {what if n != 1 else what.removesuffix('s')}"


def duration(seconds: float) -> str:
    """A time that was measured: 0.4 s, 12 s, 3.5 min, 2.1 h."""
    for limit, unit, name in ((7200, 3600, "h"), (120, 60, "min")):
        if seconds >= limit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def test_images(names: Sequence[str], found: Estimate) -> str:
    """`the test images of "a" and "b" (n = 252)`."""
    return f"the test images of {name_groups(names)} (n = {span(found.n_images)})"


def choose_worst(changes: Mapping[K, Estimate]) -> tuple[K, Estimate, K | None]:
    """The largest fall that is more than noise, and what fell further but may be noise (None: nothing did).

    Where no fall is more than noise, the largest in numbers.
    """
    lowest = min(changes, key=lambda key: changes[key].mean)
    certain = [key for key, change in changes.items() if change.certain and change.mean < 0]
    worst = min(certain, key=lambda key: changes[key].mean, default=lowest)
    return worst, changes[worst], None if worst == lowest else lowest


def fall(found: Estimate) -> str:
    """From which accuracy to which, by how much, and whether that is more than noise."""
    return f"from {found.before:.1f} % to {found.after:.1f} % (n = {span(found.n_images)}), {found.told()}."


def larger(found: Estimate, group: str, method: str = "") -> str:
    """A fall that is larger than one that was told, but may be noise."""
    who = f'{method} to "{group}"' if method else f'"{group}"'
    at_once = f" for all {found.choices} at once" if found.choices > 1 else ""
    return f"Larger in numbers, but {UNCERTAIN}{at_once}: {who}, {points(found.mean)}."


def whether(found: Estimate, seen: str) -> str:
    """The end of a sentence on an attack: what its verdict says of whether images were seen."""
    if not found.certain:
        return f" whether {seen}"
    over = ": they are over-forgotten" if is_over_forgotten(found) else ""
    return f", so {seen}" if found.mean > 0 else f", but not as a trace of having been seen{over}"


def is_over_forgotten(attack: Estimate) -> bool:
    """Whether the images stand out by higher losses: an AUC under 50, and below the retrained model's beyond noise."""
    return attack.certain and attack.mean < 0 and attack.after < 50


def imported(runs: Iterable[StoredRun]) -> str:
    """What is not known of originals that another program trained; empty where none was imported."""
    if not any(run.stored.get(IMPORTED) for run in runs):
        return ""
    return "The original model is imported: with which seed and on which images it was trained is not known here."


def attack_named(key: str, found: Estimate | None = None) -> str:
    """`A membership attack (MIA AUC, 50 is guessing, n = 452)`."""
    n = f", n = {span(found.n_images)}" if found and any(found.n_images) else ""
    return f"A membership attack ({TITLES[key]}, 50 is guessing{n})"
