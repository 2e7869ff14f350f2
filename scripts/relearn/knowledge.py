"""What weights and features know without being trained: distances, the straight line to the original, probe and CKA."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from method.evaluation.metrics import Undefined
from method.evaluation.representation import barrier, linear_cka, probe, weight_distance
from method.runs.findings import MODELS, ORIGINAL, RETRAINED
from models.classifier import Classifier
from scripts.relearn.bench import Bench
from scripts.relearn.curves import counts, look_at

POINTS = 11  # on a line, ends included
HELD_OUT, FORGET = "held-out", "forget"
Parts = dict[str, Any]


def distance(bench: Bench, name: str) -> float:
    """Euclidean distance of model `name` to the original over all parameters."""
    one, other = (
        [parameter.detach().float().cpu().numpy() for parameter in bench.networks[which].parameters()]
        for which in (name, ORIGINAL)
    )
    return weight_distance(one, other)


def line(bench: Bench, name: str) -> Parts:
    """Accuracies, percent, at 11 points from the original to model `name`, by the samples asked for: val and forget.

    Parameters are mixed, and running statistics of batch norm computed anew at every point.
    """
    start, end = (bench.networks[which].state_dict() for which in (ORIGINAL, name))
    between = bench.copy_of(ORIGINAL)
    found: dict[str, list[float]] = {"val": [], FORGET: []}
    for share in np.linspace(0.0, 1.0, POINTS).tolist():
        between.load_state_dict(mix(start, end, share))
        recompute_statistics(bench, between)
        for what, rows in (("val", bench.val), (FORGET, bench.splits.forget)):
            correct, count = counts(look_at(bench, between, rows))
            found[what].append(100.0 * int(correct.sum()) / int(count.sum()))
    return {
        "accuracy": found,
        "barrier": {what: barrier(np.array(own)) for what, own in found.items()},
        "n": {"val": len(bench.val), FORGET: len(bench.splits.forget)},
    }


def mix(one: dict[str, Tensor], other: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """(1 - share) one + share other of all floating-point entries, those of `one` elsewhere; the ends are exact."""
    return {
        name: (1 - share) * value + share * other[name] if value.is_floating_point() else value
        for name, value in one.items()
    }


@torch.no_grad()
def recompute_statistics(bench: Bench, network: Classifier) -> None:
    """Give batch norm the mean over batches of the statistics that the drawn retain samples have in this network.

    All else stays in eval mode. A network without running statistics stays as it is.
    """
    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
        layer.momentum = None  # the plain mean
    # `apply` puts what it is given into eval mode, and these layers are to stay as they are.
    bench.inference.apply(nn.Identity(), network, bench.splits.retain, "statistics")
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.eval()
        layer.momentum = momentum


def features(bench: Bench) -> Parts:
    """What a probe gets right on the forget set, and CKA to the retrained model; by model, samples and group.

    probe: right predictions and samples by group, or the reason why there is none; n_held_out: samples it is fitted on.
    cka: entries of model, samples, group (None for all), n and value, or the reason why there is none.
    """
    rows = {HELD_OUT: bench.held_out, FORGET: bench.splits.forget}
    known = {name: {what: _features(bench, name, own) for what, own in rows.items()} for name in MODELS}
    target, group = bench.dataset.target, bench.dataset.group
    probes = {}
    for name in MODELS:
        called = attempt(probe, known[name][HELD_OUT], target[rows[HELD_OUT]], known[name][FORGET])
        if isinstance(called, str):
            probes[name] = {"reason": called}
            continue
        right = rows[FORGET][called == target[rows[FORGET]]]
        probes[name] = {"correct": bench.dataset.count_groups(right).tolist()}
    alike = list(_alike(known, {what: group[own] for what, own in rows.items()}, np.unique(group[rows[FORGET]])))
    return {
        "probe": probes,
        "count": bench.dataset.count_groups(rows[FORGET]).tolist(),
        "n_held_out": len(rows[HELD_OUT]),
        "cka": alike,
    }


def _features(bench: Bench, name: str, rows: np.ndarray) -> np.ndarray:
    network = bench.networks[name]
    return bench.inference.apply(network, network.features, rows, "features").cpu().numpy()


def _alike(
    known: dict[str, dict[str, np.ndarray]], groups: dict[str, np.ndarray], forgotten: np.ndarray
) -> Iterator[Parts]:
    """CKA of every other model to the retrained one: all samples, and those of each forgotten group."""
    for name in (one for one in MODELS if one != RETRAINED):
        for what, group in groups.items():
            for own in (None, *forgotten.tolist()):
                inside = np.ones(len(group), dtype=bool) if own is None else group == own
                pair = known[name][what][inside], known[RETRAINED][what][inside]
                found = attempt(linear_cka, *pair)
                entry = {"model": name, "samples": what, "group": own, "n": int(inside.sum())}
                yield entry | ({"reason": found} if isinstance(found, str) else {"value": found})


def attempt(compute: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """What it gives for these arrays, or the reason, a text, where they do not determine it."""
    try:
        return compute(*arrays)
    except Undefined as reason:
        return str(reason)
