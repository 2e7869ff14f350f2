"""Layers of a configuration, later wins: schema, fallback.yaml, <dataset>.yaml, --config FILE, flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from datasets import dataset_class
from datasets.deletion.forget_list import list_digest
from method.configs.key import SCHEMA
from method.configs.layers import SELECTORS, LayerFile, name_source, read_layer_file
from method.configs.schema import CONFIG_FILES, FALLBACK, TASK_KEYS, all_keys, key_names, keys_of
from method.configs.seeds import SEEDS, Seeds, read_seeds, settle_seeds
from method.configs.task import Layer, check_groups, name_task, read_requests, settle_task
from method.registry import METHODS, UNSET
from models import TIMM
from utils.device import check_device_name
from utils.errors import UserError

# Keys that count with some choices of another alone.
ONLY_WITH = {
    "lr_step_epochs": ("scheduler", ("step",)),
    "lr_milestones": ("scheduler", ("multistep",)),
    "lr_gamma": ("scheduler", ("step", "multistep", "exponential")),
    "lr_end_factor": ("scheduler", ("linear",)),
    "lr_cosine_epochs": ("scheduler", ("cosine",)),
    "amsgrad": ("optimizer", ("adam", "adamw")),
    "dro_step_size": ("rob_approach", ("dro",)),
    "dro_adjustment": ("rob_approach", ("dro",)),
}
FREEZE = "--freeze_backbone"  # the source of what follows from it, unless somebody says otherwise
FOLLOWS_FROM_FREEZE = {"use_train_aug": False, "cache": "disk"}


@dataclass(frozen=True)
class Imported:
    """A model that another program trained.

    digest: SHA-256 of its file. classes: what its outputs are called, in their order; () for that of the data.
    """

    file: Path
    digest: str
    classes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return what config.yaml says of it: all that is known."""
        return {"file": self.file.name, "sha256": self.digest, "classes": list(self.classes)}


@dataclass(frozen=True)
class Config:
    """The values of one run, frozen; `config.lr` reads one, `sources` says where each came from.

    requests: the names in the forget list, read once, so that the run's name and its forget set are of the same list.
    imported: for a run whose model is not trained here; then there are no values of training, as nobody knows them.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, str]
    notes: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    imported: Imported | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(f"{self.values.get('method')} has no key {name!r}") from None

    def __reduce__(self) -> Any:
        return Config, (dict(self.values), dict(self.sources), self.notes, self.requests, self.imported)

    @property
    def params(self) -> Any:
        """What the method is built with, an instance of its `Params`."""
        names = key_names(self.method)
        return METHODS[self.method].Params(**{field: self.values[key] for field, key in names.items()})

    @property
    def task(self) -> str:
        """`split0`, `multi3`, `groups-3-9.White`, `list-1a2b3c4d`, `random`."""
        return name_task(self.values, self.requests)

    @property
    def data_name(self) -> str:
        """What runs and tables call the data: the data set's name, or that of the user's own folder."""
        return self.values.get("dataset_name") or self.dataset

    @property
    def needs_task_for_target(self) -> bool:
        """Whether even pretrain depends on the task, because another split of the data set has another target."""
        return dataset_class(self.dataset).target_depends_on_split and bool(self.split_number)

    @property
    def is_robust(self) -> bool:
        """Whether it is trained by group DRO or on a subsample; nobody starts from it or compares with it unasked."""
        return self.values.get("rob_approach", "none") != "none"

    @property
    def frozen(self) -> bool:
        """Whether a hidden layer and the last one are all that is trained; an imported model has no such key."""
        return bool(self.values.get("freeze_backbone"))

    def remembered(self, name: str) -> Path:
        """Return where the store folder keeps a file of what was found out about the data; it may be deleted."""
        return Path(self.store_dir) / self.data_name / name

    @property
    def seeds(self) -> Seeds:
        """Who is forgotten, how the models around the run were trained, and how it was unlearned."""
        return read_seeds(self.values, METHODS[self.method].forgets)

    @property
    def n_epochs(self) -> int:
        """Epochs; 1 for a method without any, whose history has one row."""
        return self.values.get("epochs", 1)

    @property
    def reweights(self) -> bool:
        """Whether the retain set is sampled with REWEIGHT."""
        return bool(self.values.get("reweight"))

    def identity(self) -> dict[str, Any]:
        """Return the values that can change a number of this run: two runs are the same if these are equal."""
        skipped = set() if METHODS[self.method].forgets else set(TASK_KEYS)
        if self.needs_task_for_target:
            skipped -= {"split_number"}
        keys = all_keys()
        # What a list says, not where it lies.
        values = {**self.values, "forget_list": list_digest(self.requests) if self.requests else None}
        values |= self._needless()
        skipped |= set() if self.leave_out else {"leave_out"}  # as in runs of earlier versions
        skipped |= set() if self.frozen else {"freeze_backbone", "hidden_dim"}  # likewise
        skipped |= {*SEEDS[1:]}  # absent where they follow --seed, as in runs of earlier versions
        identity = {name: values[name] for name in self.values if not keys[name].execution and name not in skipped}
        identity |= self.seeds.given()
        if self.imported:
            identity |= {"imported": self.imported.digest, "classes": ",".join(self.imported.classes)}
        return identity

    def _needless(self) -> dict[str, None]:
        """Return the keys whose value is what would be done without them too, which an identity does not tell apart."""
        published = self.model.startswith(TIMM) and self.weights == "imagenet"  # timm knows, and is not asked here
        own = {"view": dataset_class(self.dataset).view} | ({} if published else {"mean": "0.5", "std": "0.5"})
        return {name: None for name, value in own.items() if self.values.get(name) == value}


def resolve(
    flags: Mapping[str, Any],
    config_file: Path | None = None,
    reader: Callable[[Path], LayerFile] = read_layer_file,
) -> Config:
    """Make the configuration of these flags (typed values by key name) and this file, which `reader` reads.

    UserError for a file that is not right, for keys of another data set, and for values that contradict each other.
    """
    user = reader(config_file) if config_file else LayerFile("", {}, {}, ())
    fixed = {**user.plain, **flags}
    if "method" not in fixed:
        raise UserError(f"--method is missing; choose one of {', '.join(METHODS)}")
    method, dataset = fixed["method"], fixed.get("dataset", all_keys()["dataset"].default)
    _refuse_other_data_sets(dataset, user, flags)
    fallback, own = read_layer_file(CONFIG_FILES / FALLBACK), _read_own_file(dataset)

    def stacked(selected: Mapping[str, Any] | None) -> Layer:
        """Return every key's value and source, with the entries for tasks that are `selected`."""
        layers = _schema_layers(method, dataset, fixed.get("preset", "strict"))
        for file in (fallback, own):
            layers += file.layers(method, selected)
        layers.append(name_source(FOLLOWS_FROM_FREEZE if fixed.get("freeze_backbone") else {}, FREEZE))
        layers += user.layers(method, selected)
        layers.append({name: (value, f"--{name}") for name, value in flags.items()})
        return _merge(layers, method, dataset)

    # What the entries for tasks are chosen by cannot be set by such an entry, so two rounds are enough.
    first = stacked(None)
    entries = stacked({name: first[key][0] if key in first else None for name, key in SELECTORS.items()})
    values = {name: value for name, (value, _) in entries.items()}
    sources = {name: source for name, (_, source) in entries.items()}
    config = Config(MappingProxyType(values), MappingProxyType(sources))
    _refuse_contradictions(config, flags)
    config = replace(config, requests=read_requests(values))
    return replace(config, notes=_note_frozen(config) + _note_reweight(config) + _note_untuned(own, config))


def _refuse_other_data_sets(dataset: str, user: LayerFile, flags: Mapping[str, Any]) -> None:
    """Refuse keys of other data sets: a column that nobody reads would be a mistake that nobody sees."""
    for given, where in ((user.plain, f"{user.name}: "), (flags, "--")):
        for name in given:
            owners = all_keys()[name].datasets
            if owners and dataset not in owners:
                raise UserError(f"{where}{name} is a key of {', '.join(owners)}, not of {dataset}; leave it out")


def _read_own_file(dataset: str) -> LayerFile:
    """Read <dataset>.yaml; a data set may do without, and then has the values of fallback.yaml."""
    file = CONFIG_FILES / f"{dataset}.yaml"
    return read_layer_file(file) if file.exists() else LayerFile(file.name, {}, {}, ())


def _schema_layers(method: str, dataset: str, preset: str) -> list[Layer]:
    """Return every key's default, and above them what the preset departs in."""
    keys = keys_of(method, dataset)
    defaults = {name: (key.default, key.home) for name, key in keys.items()}
    if "reweight" in keys:
        defaults["reweight"] = (METHODS[method].reweight, keys["reweight"].home)
    departures = {name: key.reference for name, key in keys.items() if key.reference is not UNSET}
    return [defaults, name_source(departures if preset == "reference" else {}, "preset reference")]


def _merge(layers: Sequence[Layer], method: str, dataset: str) -> Layer:
    """Stack layers, of which later ones win, for the keys of a method and data set, with what follows from the task."""
    merged = {name: entry for layer in layers for name, entry in layer.items()}
    settled = dict(settle_task(merged, dataset_class(dataset), METHODS[method].forgets))
    settled |= settle_seeds(settled, method, is_trained=not METHODS[method].from_original)
    keys = keys_of(method, dataset)
    if "rob_approach" in keys and settled["rob_approach"][0] != "none" and settled.get("reweight") == (True, SCHEMA):
        settled["reweight"] = (False, "--rob_approach")
    if "dataset_name" in keys and not settled["dataset_name"][0]:
        settled["dataset_name"] = (_folder_name(settled["data_dir"][0]), "data_dir")
    return {name: settled[name] for name in keys}


def _folder_name(folder: str) -> str:
    """Return the name of a folder as a word that can stand in a path; empty for the root of all."""
    return re.sub(r"[^\w.+-]+", "_", Path(folder).resolve().name)


def _refuse_contradictions(config: Config, flags: Mapping[str, Any]) -> None:
    check_groups(config.values, dataset_class(config.dataset))
    check_device_name(config.device)
    if config.skip_bad_images and not config.verify_data:
        raise UserError("--skip_bad_images needs the check that --no-verify_data leaves out; keep one of them")
    if config.reweights and config.is_robust:
        raise UserError(f"--rob_approach {config.rob_approach} and --reweight both decide how groups count; keep one")
    if config.values.get("head") and config.weights == "none":
        raise UserError(
            f"--head {config.head} is about the last layer in --weights, and there are none; give them, or leave it out"
        )
    _refuse_with_frozen(config, flags)
    _refuse_idle(config, flags)
    config.params.check()


def _refuse_with_frozen(config: Config, flags: Mapping[str, Any]) -> None:
    """Refuse what cannot be said of a head on features that are computed once, or of a whole network."""
    if not config.frozen:
        if flags.get("hidden_dim"):
            raise UserError(f"--hidden_dim is of the hidden layer that {FREEZE} trains; give that too, or leave it out")
        return
    if config.weights == "none":
        raise UserError(
            f"{FREEZE} trains on the features of a network that has learned something, and --weights is none; give "
            "--weights FILE or imagenet"
        )
    if config.head:
        raise UserError(f"--head is about the last layer in --weights, and {FREEZE} leaves that out; leave out --head")
    if config.values.get("use_train_aug"):
        raise UserError(
            f"use_train_aug is true ({config.sources['use_train_aug']}), and {FREEZE} has features of the evaluation "
            "view alone; give --no-use_train_aug"
        )


def _refuse_idle(config: Config, flags: Mapping[str, Any]) -> None:
    """Refuse a flag that belongs to a choice which this run has not made, where nothing would come of it."""
    for name in (name for name in ONLY_WITH if flags.get(name)):
        chooser, choices = ONLY_WITH[name]
        chosen = config.values.get(chooser)
        if chosen not in (None, *choices):
            owner = f"--{chooser} {', '.join(choices)}"
            raise UserError(f"--{name} is of {owner}, and here it is {chosen}; change that, or leave this out")


def _note_frozen(config: Config) -> tuple[str, ...]:
    """Say what is trained of a network whose backbone is frozen, and on what; () elsewhere."""
    if not config.frozen:
        return ()
    return (
        f"{FREEZE}: a hidden layer of {config.hidden_dim} and the last one are trained, on features of the evaluation "
        "view; no pass is augmented",
    )


def _note_reweight(config: Config) -> tuple[str, ...]:
    """Say where a way to treat groups takes REWEIGHT's place in a method that has it by default; () elsewhere."""
    if config.sources.get("reweight") != "--rob_approach":
        return ()
    return (f"--rob_approach {config.rob_approach} takes the place of REWEIGHT, which {config.method} has by default",)


def _note_untuned(own: LayerFile, config: Config) -> tuple[str, ...]:
    """Say in one line which values were made for another task, network or data set; () where there are none."""
    method, details, subject = config.method, [], config.data_name
    if missing := _untuned_for_the_task(own, config):
        subject += f" {config.task} ratio {config.unlearning_ratio:g}"
        details.append(f"these stand at their defaults: {_listed(config, missing)}")
    tuned_model = own.plain.get("model", all_keys()["model"].default)
    others = ["other data"] * ("dataset_name" in config.values) + [tuned_model] * (config.model != tuned_model)
    others += ["whole networks"] * config.frozen
    settings = [name for name, key in keys_of(method).items() if key.group in ("training", method)]
    settings = [name for name in settings if name in config.values]
    from_own = [name for name in settings if config.sources[name].startswith(own.name)]
    if others and from_own:
        subject += f" with {config.model}" * (config.model != tuned_model)
        subject += f" with {FREEZE}" * config.frozen
        details.append(f"{own.name} has these for {' and '.join(others)}: {_listed(config, from_own)}")
    named = method in own.sections or any(method in entry.match["method"] for entry in own.tasks)
    unsaid = (SCHEMA, FALLBACK, own.name, "preset", FREEZE)
    if not named and all(config.sources[name].startswith(unsaid) for name in settings):
        details = [f"{own.name} does not speak of it, so {FALLBACK} and its own defaults count"]
    if not details:
        return ()
    hint = ["python -m scripts.tune searches for better ones on validation data"] * METHODS[method].from_original
    return ("; ".join([f"nobody tuned {method} for {subject}", *details, *hint]),)


def _untuned_for_the_task(own: LayerFile, config: Config) -> list[str]:
    """List the keys that other tasks of this method have tuned values for and this task has not."""
    method, values, sources = config.method, config.values, config.sources
    approach = values.get("rob_approach")
    entries = [entry for entry in own.tasks if method in entry.match["method"]]
    tuned = {
        key for entry in entries if approach in entry.match.get("rob_approach", (approach,)) for key in entry.values
    }
    if not tuned or any(source.startswith(f"{own.name} [method ") for source in sources.values()):
        return []
    return [name for name in values if name in tuned and sources[name].startswith((SCHEMA, FALLBACK))]


def _listed(config: Config, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {config.values[name]}" for name in names)
