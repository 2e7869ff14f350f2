"""What a run reads, compared by content: its labels, and the files that flags name. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from datasets import dataset_class
from datasets.base import GroupDataset
from datasets.images.verification import count_turned_images
from datasets.splits import leave_out
from method.configs.loading import Config
from method.configs.schema import all_keys
from method.runs.data import splits_of
from method.runs.image_inputs import changed_images, image_entry, recorded_images
from method.runs.named_files import MARK, NAMING, shorten_digest
from utils.digests import Digests
from utils.distributed import world_size


def open_digests(config: Config) -> Digests:
    """The digests that the store folder remembers."""
    return Digests(config.remembered("digests.json"))


def named_file(config: Config, key: str) -> Path | None:
    """The file that a key names; None where it is a word, or the method has no such key."""
    words, part = NAMING[key]
    value = config.values.get(key)
    if value is None or value in words:
        return None
    path = Path(value)
    return path / part if part and path.is_dir() else path


def identity_of(config: Config, digests: Digests) -> dict[str, Any]:
    """The configuration's identity with the content of files in place of their paths; paths where they are absent."""
    identity = config.identity()
    for key in NAMING:
        file = named_file(config, key)
        if file is not None and (digest := _digest(file, digests)):
            identity[key] = shorten_digest(digest)
    return identity


def label_record(config: Config, digests: Digests) -> dict[str, Any]:
    """What config.yaml says of the labels: the folder they lie in, and the digest of each file; OSError without one."""
    kind = dataset_class(config.dataset)
    root = kind.data_root(Path(config.data_dir))
    files = kind.label_files(Path(config.data_dir), **{name: config.values[name] for name in kind.options})
    labels = {file.name: digests.of(file) for file in files}
    labels |= {kind.built_in: "comes with the program"} if kind.built_in else {}
    return {"folder": str(root.resolve()) if root else None, "labels": labels}


def _digest(file: Path, digests: Digests) -> str | None:
    try:
        return digests.of(file)
    except OSError:
        return None


def defaults() -> dict[str, Any]:
    """Where a key stands that a run does not have, as another version knew it for other methods alone."""
    return {name: key.default for name, key in all_keys().items()}


@dataclass(frozen=True)
class Comparison:
    """How a run in a folder differs from the one asked for, what could not be compared, and other hardware."""

    differing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hardware: list[str] = field(default_factory=list)


def compare(config: Config, stored: Mapping[str, Any], original: Path | None, digests: Digests) -> Comparison:
    """The run that config.yaml (`stored`) tells of, with the one that `config` asks for.

    original: the pretrained weights that a search finds for it.
    """
    found = Comparison()
    _compare_identities(config, stored, original, digests, found)
    labels = _labels_now(config, digests, found)
    if labels is not None:
        _compare_labels(config, stored, labels, found)
        _compare_images(config, stored, labels, found)
    _note_hardware(config, stored, found)
    return found


def _compare_identities(
    config: Config, stored: Mapping[str, Any], original: Path | None, digests: Digests, found: Comparison
) -> None:
    identities: list[dict[str, Any]] = [identity_of(config, digests), stored["identity"]]
    mine, theirs = ({**defaults(), **identity} for identity in identities)
    for key in {**identities[0], **identities[1]}:
        here, there = mine.get(key), theirs.get(key)
        if key == "original":
            here, there = _origins(here, there, stored, original, digests)
        unknown = _not_compared(key, here, there, config, stored) if key in NAMING else None
        if unknown:
            found.notes.append(unknown)
        elif here != there:
            found.differing.append(f"{key} is {there!r} there and {here!r} here")


def _not_compared(key: str, here: Any, there: Any, config: Config, stored: Mapping[str, Any]) -> str | None:
    """Why the content of two files under one path cannot be compared; None where it can, or the paths are others."""
    typed, then = config.values.get(key), stored["config"].get(key)
    words = NAMING[key][0]
    named = all(value is not None and value not in words for value in (typed, then))
    if not named or Path(str(typed)).resolve() != Path(str(then)).resolve():
        return None
    if not str(here).startswith(MARK):
        return f"{key} {typed} is not there, and is not compared"
    if not str(there).startswith(MARK):
        return f"the content of {key} was not recorded then, and is not compared"
    return None


def _origins(here: Any, there: Any, stored: Mapping[str, Any], original: Path | None, digests: Digests) -> tuple:
    """Both originals by content: of one that a search found, and of every earlier one, the digest stands elsewhere."""
    if not here and not there:
        return here, there
    if not here and original is not None and (digest := _digest(original, digests)):
        here = shorten_digest(digest)
    then = (stored.get("provenance") or {}).get("original_sha256")
    return here, shorten_digest(then) if then else there


def _labels_now(config: Config, digests: Digests, found: Comparison) -> dict[str, str] | None:
    """The digest of each label file; None where one is absent, which is noted."""
    try:
        return label_record(config, digests)["labels"]
    except OSError:
        found.notes.append(f"the labels are not in {_place_of_labels(config)}, and are not compared")
        return None


def _folder(config: Config) -> Path | None:
    return dataset_class(config.dataset).data_root(Path(config.data_dir))


def _place_of_labels(config: Config) -> str:
    """Their folder, or the table that --metadata names."""
    return config.values.get("metadata") or str(_folder(config))


def _compare_labels(config: Config, stored: Mapping[str, Any], labels: dict[str, str], found: Comparison) -> None:
    """By file; where it or its words for splits are others, or none is known, by the table and the forget set made."""
    recorded = stored.get("inputs") or {}
    words = (values.get("split_values") for values in (config.values, stored["config"]))
    if labels and labels == recorded.get("labels") and len(set(words)) == 1:
        return
    then = dict(stored.get("fingerprints") or {})
    if config.skip_bad_images:  # those are without the images that could not be read
        then = {"data": recorded.get("table")}
    if then.get("data") is None:
        found.notes.append("the labels were not recorded then, and are not compared")
        return
    table = _table(config, labels)
    now = {"data": table.fingerprint}
    if now["data"] == then["data"] and then.get("forget"):
        now["forget"] = splits_of(config, table).forget_fingerprint or ""
    found.differing.extend(
        f"the labels are others: their {name} fingerprint is {then[name][:16]} there and {now[name][:16]} here, in "
        f"{_place_of_labels(config)}; they may need to be put back"
        for name in now
        if now[name] != then[name]
    )
    groups, names = (stored.get("groups") or {}).get("names"), table.group_names
    if not found.differing and groups not in (None, names):
        found.differing.append(f"the groups are called {', '.join(groups)} there and {', '.join(names)} here")


def _compare_images(config: Config, stored: Mapping[str, Any], labels: dict[str, str], found: Comparison) -> None:
    """Those in another folder, and where their content is asked for; a run that starts looks at those in its own."""
    recorded, folder, then = stored.get("inputs") or {}, _folder(config), recorded_images(stored)
    if folder is None or found.differing:
        return
    memory = config.remembered("verified.json")
    if not then:
        if stored["config"].get("data_dir") != config.data_dir or config.image_digest:
            found.notes.append("the images were not recorded then, and are not compared")
        turned = count_turned_images(_table(config, labels), memory) if dataset_class(config.dataset).upright else 0
        if turned:
            found.notes.append(f"{turned} images are turned now, as EXIF says, and were not then")
        return
    known = Path(recorded.get("folder") or "")
    here = folder.resolve() if known.is_absolute() else Path(folder.resolve().name)
    if here == known and not config.image_digest:
        return
    if config.skip_bad_images:
        found.notes.append(f"the images in {folder} are not compared")
        return
    surely, said = changed_images(then, image_entry(_table(config, labels), memory, config.image_digest))
    if config.image_digest and not then.get("content"):
        found.notes.append("the content of images was not recorded then, and is not compared")
    if said:
        (found.differing if surely else found.notes).append(f"{said} in {folder}")


def _note_hardware(config: Config, stored: Mapping[str, Any], found: Comparison) -> None:
    """What decides the last bits of a number alone; a device is compared where one was asked for."""
    then = stored.get("provenance") or {}
    here = {"threads": config.threads or torch.get_num_threads(), "world_size": world_size()}
    for name, value in here.items():
        if then.get(name) not in (None, value):
            what = f"{name.replace('_', ' ')} {then[name]}"
            found.hardware.append(f"made with {what}, here {value}: last bits may differ")
    if config.device != "auto" and then.get("device") and (config.device == "cpu") != (then["device"] == "cpu"):
        found.hardware.append(f"made on {then['device']}, here --device {config.device}: last bits may differ")


def _table(config: Config, labels: dict[str, str]) -> GroupDataset:
    """The data set as its labels are now; `labels`, their digests, say when they are others."""
    options = tuple((name, config.values[name]) for name in dataset_class(config.dataset).options)
    table = config.dataset, config.data_dir, config.split_number or 0, config.seeds.train, options, config.leave_out
    return _load(*table, str(labels))


@lru_cache(maxsize=4)
def _load(
    dataset: str, data_dir: str, split: int, seed: int, options: tuple, share: float, labels: str
) -> GroupDataset:
    """Read a table once: a sweep asks for hundreds of runs on the same labels."""
    return leave_out(dataset_class(dataset).load(Path(data_dir), split, seed, **dict(options)), share, seed)
