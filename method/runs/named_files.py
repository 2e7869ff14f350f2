"""Keys of the configuration that can name a file, and how an identity holds what is in it. No torch."""

from typing import Any

from method.runs.folder import METRICS, MODEL

REFERENCES = ("auto", "retrain", "retrain_reweight")  # words of --reference; any other value is a run's folder
# Keys that can name a file: the words that they hold otherwise, and what counts of a folder.
NAMING = {
    "weights": (("none", "imagenet"), ""),
    "original": (("",), MODEL),
    "reference": (REFERENCES, METRICS),
}
MARK = "sha256 "
# Keys of config.yaml's provenance: SHA-256 of the weights that a run starts from, and of its own where a copy has none.
ORIGINAL, KEPT_WITHOUT = "original_sha256", "model_sha256"


def shorten_digest(digest: str) -> str:
    """A digest as identities and messages hold it."""
    return f"{MARK}{digest[:16]}"


def is_path(key: str, value: Any) -> bool:
    """Whether an identity names a file by its path, as earlier versions did, and this one where there is none."""
    return value not in NAMING[key][0] and not str(value).startswith(MARK)
