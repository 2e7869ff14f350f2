"""Which retrained run a run is compared with: what it asks for, and which one is that. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from method.configs.seeds import read_seeds
from method.registry import METHODS
from method.runs.files import RETRAIN
from method.runs.named_files import REFERENCES, is_path

if TYPE_CHECKING:
    from method.configs.loading import Config

WEIGHTS_PATH = "path of the weights"
SHARED = ("model", "image_size", "weights", "head", "hidden_dim", "mean", "std", "view")
KIND = ("reweight", "rob_approach")


@dataclass(frozen=True)
class Asked:
    """The retrained run that a run asks to be compared with.

    reweight: whether that is trained with REWEIGHT. named: given by its folder, not searched for. itself: it is the
    very run that asks; group DRO and subsampling are not.
    """

    reweight: bool
    named: bool = False
    itself: bool = False


def asked_by(config: Config) -> Asked | None:
    """What a run with this configuration asks for; None where it forgets nothing."""
    method = METHODS[config.method]
    return read_asked(config.values, bool(method.reweight)) if method.forgets else None


def read_asked(config: Mapping[str, Any], reweights_by_default: bool) -> Asked:
    """What --reference says of a run that forgets.

    auto: the one with REWEIGHT for reweighted runs, and for methods that reweight by default, with or without it; the
    plain one for group DRO and subsampling.
    """
    word, reweights = config.get("reference") or "auto", bool(config.get("reweight"))
    robust = config.get("rob_approach", "none") != "none"
    wants_reweight = reweights or (reweights_by_default and not robust)
    if word not in REFERENCES:
        return Asked(wants_reweight, named=True)
    wanted = dict(zip(REFERENCES, (wants_reweight, False, True), strict=True))[word]
    retrained = config["method"] == RETRAIN and not robust
    return Asked(wanted, itself=retrained and wanted == reweights)


def facts_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What decides whether a run is the reference of another, from its config.yaml."""
    config = record.get("config") or {}
    values, fingerprints = {**config, **(record.get("identity") or {})}, record.get("fingerprints") or {}
    values["hidden_dim"] = values.get("hidden_dim") if values.get("freeze_backbone") else None  # of a whole network
    return {
        "method": values.get("method"),
        "forget fingerprint": fingerprints.get("forget"),
        # Other groups can have the same forget set: then metrics of the forget groups are of other samples.
        "list of forget groups": (record.get("groups") or {}).get("forget"),
        "leave_out": values.get("leave_out") or 0.0,
        "data fingerprint": fingerprints.get("data"),
        "train seed": read_seeds(values, forgets=True).train if "seed" in values else None,
        **{name: values.get(name) for name in SHARED},
        "reweight": bool(values.get("reweight")),
        "rob_approach": values.get("rob_approach", "none"),
        WEIGHTS_PATH: config.get("weights"),
    }


def misfits(own: Mapping[str, Any], theirs: Mapping[str, Any], asked: Asked) -> Iterator[tuple[str, Any, Any]]:
    """(name, found, expected) of all that keeps a run from being the reference of another; nothing where it is right.

    own: `facts_of` the run that is compared; theirs: of the other. One that is named may be of another kind.
    """
    kind = {} if asked.named else {"reweight": asked.reweight, "rob_approach": "none"}
    shared = (fact for fact in own.items() if fact[0] not in ("method", WEIGHTS_PATH, *KIND))
    for name, value in chain([("method", RETRAIN)], shared, kind.items()):
        if theirs[name] != value and not (name == "weights" and weights_by_path(own, theirs)):
            yield name, theirs[name], value


def weights_by_path(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether the other run recorded the path of its weights and not their content, and it is the path of these."""
    path, other = own[WEIGHTS_PATH], theirs["weights"]
    return bool(path and other and is_path("weights", other) and Path(other).resolve() == Path(path).resolve())
