"""Which models of a table the per-example attacks compare: pairs of one seed, an unlearned model and its reference."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from method.runs.files import PRETRAIN, RETRAIN
from method.runs.labels import label, rank
from method.runs.originals import starts_of
from method.runs.stored import StoredRun, reference_of


class Pair(NamedTuple):
    """A model, and the retrained one that it is told from."""

    model: StoredRun
    retrained: StoredRun


class Subject(NamedTuple):
    """The pairs of a label, one a train seed. reference: the label of their retrained models.

    is_control: both are retrained models, of different seeds.
    """

    label: str
    reference: str
    pairs: Sequence[Pair]
    is_control: bool = False


def subjects(runs: Sequence[StoredRun]) -> Iterator[Subject]:
    """One for each label of the runs of a table; controls first, as the others stand beside them."""
    ordered = sorted(runs, key=lambda run: (rank(run), run.seeds.train, run.seeds.run, str(run.folder)))
    labels: dict[str, list[StoredRun]] = {}
    for run in ordered:
        if run.method != PRETRAIN:
            labels.setdefault(label(run), []).append(run)
    references = {name: own for name, own in labels.items() if is_reference(own[0])}
    for name, own in references.items():
        alone = [pair.model for pair in _one_a_seed([Pair(run, run) for run in own])]
        yield Subject(name, name, list(map(Pair, alone[::2], alone[1::2])), is_control=True)
    yield from _originals(runs, references)
    for name, own in labels.items():
        if name not in references:
            found = ((run, reference_of(run, ordered)) for run in own)
            pairs = _one_a_seed([Pair(run, reference) for run, reference in found if reference])
            yield Subject(name, label(pairs[0].retrained) if pairs else "", pairs)


def is_reference(run: StoredRun) -> bool:
    """Whether a run is a retrained model that others are compared with."""
    return run.method == RETRAIN and run.is_plain


def _originals(runs: Sequence[StoredRun], references: dict[str, list[StoredRun]]) -> Iterator[Subject]:
    """The original models, told from the retrained ones without REWEIGHT or, without any, from those with it."""
    retrained = next(iter(references.values()), [])
    starts, found = starts_of(runs), dict[str, list[Pair]]()
    for run in retrained:
        if (start := starts[run].run) is not None:
            found.setdefault(label(start), []).append(Pair(start, run))
    for name, pairs in found.items():
        yield Subject(name, label(retrained[0]), _one_a_seed(pairs))


def _one_a_seed(pairs: Sequence[Pair]) -> list[Pair]:
    """The first of each train seed: the others share models with it, and would tell the attacker of itself."""
    found: dict[int, Pair] = {}
    for pair in pairs:
        found.setdefault(pair.retrained.seeds.train, pair)
    return list(found.values())
