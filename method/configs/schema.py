"""Every key of a configuration: its type, default, bounds, flag and whether it can change a number."""

import dataclasses
import math
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from datasets import DATASETS, dataset_class
from method import unlearners  # noqa: F401  (fills METHODS)
from method.configs.strict_yaml import LookAlike
from method.registry import ALIASES, METHODS, UNSET
from models import MODELS
from utils.device import DEVICES
from utils.errors import UserError
from utils.paths import check_characters, expand_path
from utils.text import shorten

LONGEST_INT = 63  # bits beside the sign, as arrays and files have them
MOST_AT_ONCE = 1024  # processes or threads; many more, and none can be started
LONGEST_VALUE = 300  # characters of one that is refused
REWEIGHT_HELP = "REWEIGHT: sample the retain set with the group shares of the whole train set; on by default in miu"
METHOD_HELP = "what to run; published spellings: " + ", ".join(f"{alias} is {name}" for alias, name in ALIASES.items())
ROB_APPROACH_HELP = (
    "groups in pretrain and retrain: dro (group DRO), subsample (as many samples of every group as the smallest has); "
    "target_reweight is the published spelling of --reweight, for any method that has it"
)
# What pretrain does not depend on.
TASK_KEYS = (
    *("unlearning_ratio", "unlearning_type", "split_number", "multi_group", "forget_groups", "forget_list"),
    "skip_unknown",
)


@dataclass(frozen=True)
class Key:
    """One key; `name` is the same in flags, YAML files and code.

    execution: cannot change a number, so it is not compared between runs.
    methods, datasets: those that have it; None means all. word: a text that can stand in a file's name. path: a file, a
    folder, or a word that stands for one (`weights`, `reference`). folder: a path that is not empty, which would mean
    the folder that Python runs in. synonyms: other spellings of its choices.
    """

    name: str
    type: type
    default: Any
    help: str
    group: str
    execution: bool = False
    nullable: bool = False
    methods: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    choices: tuple = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    word: bool = False
    path: bool = False
    folder: bool = False
    aliases: tuple[str, ...] = ()
    synonyms: Mapping[str, str] = dataclasses.field(default_factory=dict)
    reference: Any = UNSET

    def coerce(self, value: Any, where: str) -> Any:
        """`value` (from YAML or the command line) as this key's type; UserError naming `where` it stood."""
        if isinstance(value, LookAlike):
            value = self._meant(value, where)
        if value is None or (self.nullable and value == "null"):
            if self.nullable:
                return None
            raise UserError(f"{where}: {self.name} is empty, expected {self._expected()}")
        try:
            found = _convert(value, self.type)
        except (TypeError, ValueError, OverflowError):
            hint = "" if self.type is not str or isinstance(value, str) else "; in quotes it is one"
            raise self._refusal(value, where, hint) from None
        if isinstance(found, str):
            check_characters(found, f"{where}: {self.name}")
            found = self.synonyms.get(found, found)
        if self.path:
            found = expand_path(found, f"{where}: {self.name}")
        if self._out_of_bounds(found):
            raise self._refusal(found, where, f" within {LONGEST_INT} bits" if _too_long(found) else "")
        return found

    def _meant(self, value: LookAlike, where: str) -> Any:
        """What YAML reads, where this key can mean nothing else by it."""
        of_its_type = isinstance(value.reading, bool) if self.type is bool else value.reading is None
        if of_its_type and self.type is not str:
            return value.reading
        raise UserError(f"{where}: {self.name} is {value.describe()}")

    def _refusal(self, value: Any, where: str, hint: str) -> UserError:
        shown = shorten(repr(value), LONGEST_VALUE, LONGEST_VALUE // 3)
        return UserError(f"{where}: {self.name} is {shown}, expected {self._expected()}{hint}")

    def _out_of_bounds(self, value: Any) -> bool:
        if self.choices and value not in self.choices:
            return True
        if isinstance(value, float) and not math.isfinite(value):
            return True
        if _too_long(value):
            return True
        if self.word and not re.fullmatch(r"(?!\.{1,2}$)[\w.+-]*", value):
            return True
        if self.folder and not value.strip():
            return True
        return (
            (self.at_least is not None and value < self.at_least)
            or (self.above is not None and value <= self.above)
            or (self.at_most is not None and value > self.at_most)
        )

    def _expected(self) -> str:
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        if self.word:
            return "a text of letters, digits, and . _ + - (not . or .. alone)"
        if self.folder:
            return "the name of a folder (. is the current one)"
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[self.type]
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("at least", self.at_least), ("above", self.above), ("at most", self.at_most))
            if bound is not None
        ]
        return " ".join([kind, " and ".join(bounds)]).strip()


def _too_long(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() > LONGEST_INT


def _convert(value: Any, kind: type) -> Any:
    """Convert without guessing: YAML reads 1e-4 as a string and `off` as False, so strings and types are checked."""
    if kind is bool:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise TypeError
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    if kind is not str and isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError  # Python takes 1_0 for 10, and digits of every script
    if kind is int:
        if isinstance(value, float):
            raise TypeError
        return int(value)
    if kind is float:
        return float(value)
    if not isinstance(value, str):
        raise TypeError
    return value


def _common(group: str, execution: bool = False) -> Any:
    """A constructor of keys that share their help group; a key that data sets name as theirs is theirs alone."""

    def key(name: str, kind: type, default: Any, help: str, **options: Any) -> Key:
        owners = tuple(dataset for dataset in DATASETS if name in dataset_class(dataset).options) or None
        return Key(name, kind, default, help, group, **{"execution": execution, "datasets": owners, **options})

    return key


def _common_keys() -> list[Key]:
    task, model, train = _common("what to run"), _common("data and model"), _common("training")
    run, files = _common("execution", execution=True), _common("files", execution=True)
    custom = _common("only with --dataset custom")
    reweighting = tuple(name for name, method in METHODS.items() if method.reweight is not None)
    with_epochs = {"methods": tuple(name for name, method in METHODS.items() if method.has_epochs)}
    return [
        task("method", str, None, METHOD_HELP, choices=tuple(METHODS), synonyms=ALIASES),
        task("dataset", str, "digits", "data set", choices=tuple(DATASETS)),
        task("unlearning_ratio", float, 0.5, "share of the forget groups' train samples to forget", above=0, at_most=1),
        task("unlearning_type", str, "group", "draw what is forgotten from the forget groups, or from all of train",
             choices=("group", "random")),
        task("split_number", int, None, "which forget group of the data set (default 0)", nullable=True, at_least=0),
        task("multi_group", int, None, "forget from K ages x K races (FairFace, 2 to 5)", nullable=True),
        task("forget_groups", str, None, "which groups, by name or number: 'TARGET:SENSITIVE, ...'", nullable=True),
        task("forget_list", str, None, "a file of all that is to be forgotten: images (files, or rows as row:17), one "
             "a line, or a column of a CSV file", nullable=True, path=True),
        task("forget_list_column", str, None, "which column of a CSV file (default: the only one, or file, image_id, "
             "...)", nullable=True, execution=True),
        task("skip_unknown", bool, False, "leave out names in the list that are not in train, instead of refusing it"),
        task("seed", int, 0, "seed of splits, initial weights, order and augmentation", at_least=0),
        task("reweight", bool, None, REWEIGHT_HELP, methods=reweighting),
        task("rob_approach", str, "none", ROB_APPROACH_HELP, methods=_methods_with("rob_approach"),
             choices=("none", "dro", "subsample")),
        task("preset", str, "strict", "methods as their papers state them, or as the published code runs them",
             choices=("strict", "reference")),
        task("tag", str, "", "a word added to the run's name, to keep variants side by side", word=True),
        model("model", str, "resnet18", "architecture", choices=tuple(sorted(MODELS))),
        model("image_size", int, 224, "side of the square images, in pixels", at_least=8),
        model("weights", str, "imagenet", "initial weights of pretrain and retrain: imagenet, none, or a file",
              path=True),
        model("skip_bad_images", bool, False, "leave out images that cannot be read, instead of refusing to run"),
        custom("target", str, "target", "column of metadata.csv with what the model predicts"),
        custom("sensitive", str, "sensitive", "column of the sensitive attribute; several (race,age) are crossed"),
        custom("filename_column", str, "filename", "column of the images' files, relative to the folder"),
        custom("split_column", str, "split", "column that says train, val or test (or 0, 1, 2)"),
        custom("dataset_name", str, "", "what runs and tables call the data (default: the folder's name)", word=True),
        train("epochs", int, 10, "passes over the retain set", at_least=1, **with_epochs),
        train("batch_size", int, 32, "samples a step", at_least=1),
        train("lr", float, 0.1, "learning rate", above=0, **with_epochs),
        train("optimizer", str, "sgd", "optimiser", choices=("sgd", "adam"), **with_epochs),
        train("momentum", float, 0.9, "momentum of SGD", at_least=0, at_most=1, **with_epochs),
        train("weight_decay", float, 1e-4, "weight decay", at_least=0, **with_epochs),
        train("scheduler", str, "const", "learning rate over the epochs", choices=("const", "cosine"), **with_epochs),
        train("warmup_epochs", int, 0, "epochs of linear warm-up before the schedule", at_least=0, **with_epochs),
        train("max_grad_norm", float, 0.0, "clip the gradient's norm to this; 0 does not clip", at_least=0,
              **with_epochs),
        train("use_train_aug", bool, True, "augment the forget and retain images in training", **with_epochs),
        train("forget_epochs", int, 5, "epochs that have a pass over the forget set", at_least=0,
              methods=_methods_with("forget_epochs"), aliases=("forgetting_epochs",)),
        train("select", str, "best_val", "which epoch's weights are kept", methods=_methods_with("select"),
              choices=("best_val", "last", "worst_group")),
        train("dro_step_size", float, 0.01, "step size of the group weights of --rob_approach dro", above=0,
              methods=_methods_with("dro_step_size")),
        train("dro_adjustment", float, 0.0, "C of --rob_approach dro: C / sqrt(n) is added to the loss of a group of n",
              at_least=0, methods=_methods_with("dro_adjustment")),
        train("precision", str, "auto", "auto is bf16 where the hardware has it", choices=("auto", "bf16", "fp32")),
        train("compile", bool, False, "compile the network with torch.compile"),
        task("original", str, "", "run folder of the pretrained model to start from, instead of the one looked for",
             path=True, methods=tuple(name for name, method in METHODS.items() if method.from_original)),
        task("reference", str, "auto", "what ToW compares with: auto, retrain, retrain_reweight, or a run folder",
             path=True, methods=tuple(name for name, method in METHODS.items() if method.forgets)),
        run("verify_data", bool, True, "before training decode every image once; the store folder remembers it"),
        run("image_digest", bool, False, "record the content of all images too, and compare it between runs"),
        run("cache", str, "none", "keep decoded images: ram, for this run; disk, in the store folder, for all runs",
            choices=("none", "ram", "disk")),
        run("device", str, "auto", DEVICES),
        run("num_workers", int, None, "processes that read images (default: by CPUs, 0 on a CPU)", nullable=True,
            at_least=0, at_most=MOST_AT_ONCE),
        run("threads", int, None, "threads inside operations (sums depend on it)", nullable=True, at_least=1,
            at_most=MOST_AT_ONCE),
        run("evaluate_every", int, 0, "epochs between looks at the validation set, for history.csv alone; 0: none",
            at_least=0),
        run("save_every", int, 500, "save the state every so many steps too, beside every epoch; 0: only then",
            at_least=0),
        run("wait", bool, True, "wait where another process is at work on the same run; else exit with 75"),
        run("tensorboard", bool, False, "write event files for TensorBoard into the run's folder"),
        run("wandb", bool, False, "log to Weights & Biases; WANDB_MODE=offline keeps it in the run's folder"),
        run("wandb_project", str, "group-robust-unlearning", "the project there", word=True),
        files("data_dir", str, "data", "folder of the data sets", path=True, folder=True),
        files("store_dir", str, "output", "folder the runs are written to", path=True, folder=True),
        files("checkpoint_dir", str, "checkpoints", "read-only, searched first for pretrained and retrained runs",
              path=True, folder=True),
    ]  # fmt: skip


SHARED = ("forget_epochs", "select", "rob_approach", "dro_step_size", "dro_adjustment")


def _methods_with(field: str) -> tuple[str, ...]:
    """The methods whose Params have `field`: a key that several methods share keeps its plain name."""
    return tuple(
        name for name, method in METHODS.items() if field in {item.name for item in dataclasses.fields(method.Params)}
    )


def own_key_name(method: str, field: str) -> str:
    """The key of a field of a method's Params: `<method>_<field>`, or the plain name of a shared key."""
    return field if field in SHARED else f"{method}_{field}"


def _own_keys(method: str) -> list[Key]:
    """The keys declared by a method's Params."""
    params = METHODS[method].Params
    kinds = typing.get_type_hints(params)
    keys = []
    for field in dataclasses.fields(params):
        if field.name in SHARED:
            continue
        options = {name: value for name, value in field.metadata["bounds"].items() if value is not None}
        keys.append(
            Key(
                own_key_name(method, field.name),
                kinds[field.name],
                field.default,
                field.metadata["help"],
                group=method,
                methods=(method,),
                choices=field.metadata["choices"],
                aliases=field.metadata["aliases"],
                reference=field.metadata["reference"],
                **options,
            )
        )
    return keys


@cache
def all_keys() -> dict[str, Key]:
    """Every key of every method, by name, in the order of --help."""
    keys = _common_keys() + [key for method in METHODS for key in _own_keys(method)]
    return {key.name: key for key in keys}


def keys_of(method: str, dataset: str | None = None) -> dict[str, Key]:
    """The keys that a run of `method` has, on `dataset` or (None) on any of them."""
    return {
        name: key
        for name, key in all_keys().items()
        if (key.methods is None or method in key.methods)
        and (key.datasets is None or dataset is None or dataset in key.datasets)
    }
