"""Layers of a configuration, later wins: schema, fallback.yaml, <dataset>.yaml, --config FILE, flags."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from datasets import dataset_class
from datasets.deletion.forget_list import list_digest
from method.configs.schema import SHARED, TASK_KEYS, Key, all_keys, keys_of, own_key_name
from method.configs.strict_yaml import LookAlike, read_mapping
from method.configs.task import Layer, check_groups, name_of_task, requests_of, settle_task
from method.registry import METHODS, UNSET
from utils.device import check_device_name
from utils.errors import UserError

CONFIG_FILES = Path(__file__).parent / "config_files"
# What an entry under `tasks:` may name to say which runs it is for, and the key each is compared with.
SELECTORS = {
    "method": "method",
    "reweight": "reweight",
    "rob_approach": "rob_approach",
    "split_number": "split_number",
    "multi_group": "multi_group",
    "ratio": "unlearning_ratio",
}


@dataclass(frozen=True)
class Config:
    """The values of one run, frozen; `config.lr` reads one, `sources` says where each came from.

    requests: the names in the forget list, read once, so that the run's name and its forget set are of the same list.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, str]
    notes: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(f"{self.values.get('method')} has no key {name!r}") from None

    def __reduce__(self) -> Any:
        return Config, (dict(self.values), dict(self.sources), self.notes, self.requests)

    @property
    def params(self) -> Any:
        """The method's own hyperparameters, an instance of its `Params`."""
        params = METHODS[self.method].Params
        fields = [field.name for field in dataclasses.fields(params)]
        return params(**{name: self.values[own_key_name(self.method, name)] for name in fields})

    @property
    def task(self) -> str:
        """`split0`, `multi3`, `groups-3-9.White`, `list-1a2b3c4d`, `random`."""
        return name_of_task(self.values, self.requests)

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

    def remembered(self, name: str) -> Path:
        """A file of the store folder that keeps what was found out about the data; it may be deleted."""
        return Path(self.store_dir) / self.data_name / name

    @property
    def n_epochs(self) -> int:
        """Epochs; 1 for a method without any, whose history has one row."""
        return self.values.get("epochs", 1)

    @property
    def reweights(self) -> bool:
        """Whether the retain set is sampled with REWEIGHT."""
        return bool(self.values.get("reweight"))

    def identity(self) -> dict[str, Any]:
        """The keys that can change a number of this run: two runs are the same if these are equal."""
        skipped = set() if METHODS[self.method].forgets else set(TASK_KEYS)
        if self.needs_task_for_target:
            skipped -= {"split_number"}
        keys = all_keys()
        # What a list says, not where it lies.
        values = {**self.values, "forget_list": list_digest(self.requests) if self.requests else None}
        return {name: values[name] for name in self.values if not keys[name].execution and name not in skipped}


@dataclass(frozen=True)
class LayerFile:
    """A YAML file: plain keys, one section a method, and entries for tasks."""

    name: str
    plain: dict[str, Any]
    sections: dict[str, dict[str, Any]]
    tasks: list[tuple[dict[str, tuple], dict[str, Any]]]


def read_layer_file(path: Path) -> LayerFile:
    """Read and check one YAML file; UserError for a missing file, bad YAML, an unknown key or a wrong type."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0  # reading it says what is wrong
    return _read_layer_file(path, changed)


@lru_cache(maxsize=32)
def _read_layer_file(path: Path, changed: int) -> LayerFile:
    """`changed` makes a file that was edited another one; a sweep configures hundreds of runs from the same files."""
    content = read_mapping(path)
    # A name with nothing below it is an empty section.
    content = {name: value for name, value in content.items() if not _is_null(value) or name not in ("tasks", *METHODS)}
    tasks = content.pop("tasks", [])
    if not isinstance(tasks, list):
        raise UserError(f"{path.name}, tasks: expected a list of entries, found {tasks!r}")
    sections = {name: content.pop(name) for name in tuple(METHODS) if name in content}
    return LayerFile(
        path.name,
        check_layer(content, None, path.name),
        {name: check_layer(section, name, f"{path.name} [{name}]") for name, section in sections.items()},
        [_task_entry(entry, f"{path.name}, tasks[{number}]") for number, entry in enumerate(tasks)],
    )


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, LookAlike) and value.reading is None)


def check_layer(content: Any, method: str | None, where: str) -> dict[str, Any]:
    """Full names and typed values of one mapping; inside a method's section its own keys stand without prefix."""
    if not isinstance(content, dict):
        raise UserError(f"{where}: expected lines `key: value`, found {content!r}")
    known = all_keys() if method is None else keys_of(method)
    result = {}
    for name, value in content.items():
        full = name
        if method is not None and f"{method}_{name}" in known and name not in SHARED:
            full = f"{method}_{name}"
        if full not in known:
            raise UserError(f"{where}: unknown key {name!r}; main.py --help lists the keys")
        if method is not None and (full in ("method", "dataset", *TASK_KEYS) or known[full].datasets):
            raise UserError(f"{where}: {name} cannot depend on the method")
        result[full] = known[full].coerce(value, where)
    return result


def _task_entry(entry: Any, where: str) -> tuple[dict[str, tuple], dict[str, Any]]:
    """One entry of `tasks:`: what it is for (a value or a list of values each), and what it sets."""
    if not isinstance(entry, dict) or "method" not in entry or not isinstance(entry.get("set"), dict):
        raise UserError(f"{where}: expected method: ..., set: {{...}} and any of {', '.join(SELECTORS)}")
    unknown = set(entry) - {*SELECTORS, "set"}
    if unknown:
        raise UserError(
            f"{where}: unknown {sorted(unknown, key=str)[0]!r}; an entry has {', '.join(SELECTORS)} and set"
        )
    keys = all_keys()
    match = {
        name: tuple(
            keys[SELECTORS[name]].coerce(value, where) for value in (wanted if isinstance(wanted, list) else [wanted])
        )
        for name, wanted in entry.items()
        if name != "set"
    }
    values = {}
    for method in match["method"]:
        values.update(check_layer(entry["set"], method, where))
    if set(values) & {"method", "reweight", *TASK_KEYS}:
        raise UserError(f"{where}: an entry for a task cannot set {', '.join(('method', 'reweight', *TASK_KEYS))}")
    return match, values


def _layer(values: Mapping[str, Any], source: str) -> Layer:
    return {name: (value, source) for name, value in values.items()}


def _file_layers(file: LayerFile, method: str, selected: Mapping[str, Any] | None) -> list[Layer]:
    """Plain keys < the method's section < the entries for the task (none while it is not known yet)."""
    section = _layer(file.sections.get(method, {}), f"{file.name} [{method}]")
    return [_layer(file.plain, file.name), section, {} if selected is None else _task_layer(file, selected)]


def _task_layer(file: LayerFile, selected: Mapping[str, Any]) -> Layer:
    """The values of the matching entries; the more specific wins, a tie between two different values is an error."""
    best: dict[str, tuple[int, Any, str]] = {}
    matching = [entry for entry in file.tasks if all(selected[name] in wanted for name, wanted in entry[0].items())]
    for match, values in sorted(matching, key=lambda entry: -len(entry[0])):
        label = ", ".join(f"{name} {selected[name]}" for name in match)
        for key, value in values.items():
            rank, other, other_label = best.setdefault(key, (len(match), value, label))
            if len(match) == rank and value != other:
                raise UserError(
                    f"{file.name}: two entries for ({other_label}) and ({label}) set {key} to {other!r} and {value!r}; "
                    "make one of them more specific"
                )
    return {key: (value, f"{file.name} [{label}]") for key, (_, value, label) in best.items()}


def resolve(flags: Mapping[str, Any], config_file: Path | None = None) -> Config:
    """The configuration for these flags (typed values by key name) and this --config file."""
    user = read_layer_file(config_file) if config_file else LayerFile("", {}, {}, [])
    fixed = {**user.plain, **flags}
    if "method" not in fixed:
        raise UserError(f"--method is missing; choose one of {', '.join(METHODS)}")
    method, dataset = fixed["method"], fixed.get("dataset", all_keys()["dataset"].default)
    data_class = dataset_class(dataset)
    _refuse_other_data_sets(dataset, user, flags)
    keys = keys_of(method, dataset)
    own = read_layer_file(CONFIG_FILES / f"{dataset}.yaml")
    files = [read_layer_file(CONFIG_FILES / "fallback.yaml"), own, user]

    def stacked(selected: Mapping[str, Any] | None) -> Layer:
        layers = _schema_layers(method, keys, fixed.get("preset", "strict"))
        for file in files:
            layers += _file_layers(file, method, selected)
        layers.append({name: (value, f"--{name}") for name, value in flags.items()})
        merged = {name: entry for layer in layers for name, entry in layer.items()}
        merged = settle_task(merged, data_class, METHODS[method].forgets)
        if "dataset_name" in keys and not merged["dataset_name"][0]:
            merged["dataset_name"] = (_folder_name(merged["data_dir"][0]), "data_dir")
        return {name: merged[name] for name in keys}

    # What the entries for tasks are chosen by cannot be set by such an entry, so two rounds are enough.
    first = stacked(None)
    selected = {name: first[key][0] if key in first else None for name, key in SELECTORS.items()}
    entries = stacked(selected)
    values = {name: value for name, (value, _) in entries.items()}
    sources = {name: source for name, (_, source) in entries.items()}
    check_groups(values, data_class)
    check_device_name(values["device"])
    if values["skip_bad_images"] and not values["verify_data"]:
        raise UserError("--skip_bad_images needs the check that --no-verify_data leaves out; keep one of them")
    config = Config(MappingProxyType(values), MappingProxyType(sources), requests=requests_of(values))
    if config.reweights and config.is_robust:
        raise UserError(f"--rob_approach {config.rob_approach} and --reweight both decide how groups count; keep one")
    idle = [name for name in flags if name.startswith("dro_") and values.get("rob_approach") != "dro"]
    if idle:
        raise UserError(f"--{idle[0]} is of --rob_approach dro, which is not given; give it too, or leave this out")
    config.params.check()
    return replace(config, notes=_untuned(own, config))


def _refuse_other_data_sets(dataset: str, user: LayerFile, flags: Mapping[str, Any]) -> None:
    """A column that nobody reads would be a mistake that nobody sees."""
    for given, where in ((user.plain, f"{user.name}: "), (flags, "--")):
        for name in given:
            owners = all_keys()[name].datasets
            if owners and dataset not in owners:
                raise UserError(f"{where}{name} is a key of {', '.join(owners)}, not of {dataset}; leave it out")


def _folder_name(folder: str) -> str:
    """The name of a folder as a word that can stand in a path; empty for the root of all."""
    return re.sub(r"[^\w.+-]+", "_", Path(folder).resolve().name)


def _schema_layers(method: str, keys: Mapping[str, Key], preset: str) -> list[Layer]:
    """Defaults of the schema, and above them what the preset departs in."""
    defaults = {name: key.default for name, key in keys.items()}
    if "reweight" in keys:
        defaults["reweight"] = METHODS[method].reweight
    published = {
        name: key.reference for name, key in keys.items() if preset == "reference" and key.reference is not UNSET
    }
    return [_layer(defaults, "schema"), _layer(published, "preset reference")]


def _untuned(own: LayerFile, config: Config) -> tuple[str, ...]:
    """A sentence naming the keys that other tasks of this method have tuned values for, where this task has none."""
    method, values, sources = config.method, config.values, config.sources
    approach = values.get("rob_approach")
    entries = [(match, entry) for match, entry in own.tasks if method in match["method"]]
    tuned = {key for match, entry in entries if approach in match.get("rob_approach", (approach,)) for key in entry}
    if not tuned or any(source.startswith(f"{own.name} [method ") for source in sources.values()):
        return ()
    missing = [name for name in values if name in tuned and sources[name].startswith(("schema", "fallback.yaml"))]
    if not missing:
        return ()
    listed = ", ".join(f"{name} {values[name]}" for name in missing)
    task = f"{config.task} ratio {config.unlearning_ratio:g}"
    return (f"nobody tuned {method} for {config.dataset} {task}; from fallback.yaml come {listed}",)
