"""Which models of a table the per-example attacks compare: pairs of one seed, an unlearned model and its reference."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from method.runs.files import PRETRAIN
from method.runs.labels import label
from method.runs.originals import starts_of
from method.runs.stored import StoredRun, reference_of
from scripts.audit.models import by_label, in_order, is_reference


class Pair(NamedTuple):
    """A model, and the retrained one that it is told from."""

    model: StoredRun
    retrained: StoredRun


class Pairing(NamedTuple):
    """The pairs of a label, one a train seed. reference: the label of their retrained models.

    is_control: both are retrained models, of different seeds.
    """

    label: str
    reference: str
    pairs: Sequence[Pair]
    is_control: bool = False


def pairings(runs: Sequence[StoredRun]) -> Iterator[Pairing]:
    """One for each label of the runs of a table; controls first, as the others stand beside them."""
    labels = by_label([run for run in runs if run.method != PRETRAIN])
    references = {name: own for name, own in labels.items() if is_reference(own[0])}
    for name, own in references.items():
        alone = [pair.model for pair in _one_a_seed([Pair(run, run) for run in own])]
        yield Pairing(name, name, list(map(Pair, alone[::2], alone[1::2])), is_control=True)
    yield from _originals(runs, references)
    ordered = in_order(runs)
    for name, own in labels.items():
        if name not in references:
            found = ((run, reference_of(run, ordered)) for run in own)
            pairs = _one_a_seed([Pair(run, reference) for run, reference in found if reference])
            yield Pairing(name, label(pairs[0].retrained) if pairs else "", pairs)


def _originals(runs: Sequence[StoredRun], references: Mapping[str, list[StoredRun]]) -> Iterator[Pairing]:
    """The original models, told from the retrained ones without REWEIGHT or, without any, from those with it."""
    retrained = next(iter(references.values()), [])
    starts, found = starts_of(runs), dict[str, list[Pair]]()
    for run in retrained:
        if (start := starts[run].run) is not None:
            found.setdefault(label(start), []).append(Pair(start, run))
    for name, pairs in found.items():
        yield Pairing(name, label(retrained[0]), _one_a_seed(pairs))


def _one_a_seed(pairs: Sequence[Pair]) -> list[Pair]:
    """The first of each train seed: the others share models with it, and would tell the attacker of itself."""
    found: dict[int, Pair] = {}
    for pair in pairs:
        found.setdefault(pair.retrained.seeds.train, pair)
    return list(found.values())
