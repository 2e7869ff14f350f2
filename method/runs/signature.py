"""Whose a saved state or a model is: what stands in its seal, and how two of them differ."""

from collections.abc import Mapping
from typing import Any

from method.runs.image_inputs import recorded_images
from method.runs.inputs import defaults
from method.runs.named_files import ORIGINAL

# What decides the last bits of a sum: a half-finished run is continued only where they are the same.
HARDWARE = ("device", "threads", "world_size", "precision", "arithmetic")
PIXELS = {"mean": "mean of the pixels", "std": "standard deviation of the pixels"}
TURNED = "number of images turned as EXIF says"


def signature(record: dict[str, Any]) -> dict[str, Any]:
    """Whose a saved state is, flat: identity, fingerprints, original and hardware, from what config.yaml says."""
    provenance, prints = record.get("provenance") or {}, record.get("fingerprints") or {}
    identity = dict(record.get("identity") or {})
    identity.pop("original", None)  # one that is named and one that is found are the same where their content is
    return {
        **identity,
        **{name: provenance.get(name) for name in HARDWARE},
        "SHA-256 of the pretrained weights": provenance.get(ORIGINAL),
        "data fingerprint": prints.get("data"),
        **_pixels(record),
        TURNED: (recorded_images(record) or {}).get("turned") or None,
        "forget fingerprint": prints.get("forget"),
    }


def _pixels(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the pixels were scaled by; None for 0.5, as earlier versions, which did not say it, had no other."""
    recorded = record.get("pixels") or {}
    return {said: None if recorded.get(name) in (None, "0.5") else recorded[name] for name, said in PIXELS.items()}


def without_hardware(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A signature without what decides the last bits alone."""
    return {name: value for name, value in facts.items() if name not in HARDWARE}


def differences(then: Mapping[str, Any], now: Mapping[str, Any], sentence: str) -> list[str]:
    """A `sentence` with {name}, {then} and {now} for each fact of `now` that `then` has another value of."""
    known = {**defaults(), **then}
    return [
        sentence.format(name=name.replace("_", " "), then=known.get(name), now=value)
        for name, value in now.items()
        if known.get(name) != value
    ]
