"""Every key of a configuration, one table a group of --help; a method's own keys are the fields of its `Params`."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from datasets import DATASETS, dataset_class
from method import unlearners  # noqa: F401  (fills METHODS)
from method.configs.key import Key
from method.configs.strict_yaml import read_mapping
from method.registry import ALIASES, METHODS, UNSET, Range
from method.unlearners.base import Unlearner
from models import MODELS, TIMM
from utils.device import DEVICES
from utils.errors import UserError

CONFIG_FILES = Path(__file__).parent / "config_files"
FALLBACK = "fallback.yaml"
MOST_AT_ONCE = 1024  # processes or threads; many more, and none can be started
# What pretrain does not depend on.
TASK_KEYS = (
    *("unlearning_ratio", "unlearning_type", "split_number", "multi_group", "forget_groups", "forget_list"),
    "skip_unknown",
)


def _methods(of: Callable[[type[Unlearner]], bool]) -> tuple[str, ...]:
    return tuple(name for name, method in METHODS.items() if of(method))


def _table(group: str, execution: bool = False, shared: bool = False) -> Callable[..., Key]:
    """Return a constructor of keys of one group; a key that data sets name in their `options` is theirs alone.

    shared: of the methods alone whose `Params` have a field of the key's name, without default.
    """

    def key(name: str, kind: type, help: str, methods: tuple[str, ...] | None = None, **facts: Any) -> Key:
        datasets = tuple(one for one in DATASETS if name in dataset_class(one).options)
        if shared:
            methods = tuple(one for one in METHODS if name in plain_fields(one))
        facts = {"execution": execution, "datasets": datasets or None, **facts}
        return Key(name, kind, help, group, methods=methods, **facts)

    return key


def _what_to_run() -> list[Key]:
    key, shared = _table("what to run"), _table("what to run", shared=True)
    published = ", ".join(f"{alias} is {name}" for alias, name in ALIASES.items())
    reweighted = ", ".join(_methods(lambda method: method.reweight is True))
    return [
        key("method", str, f"what to run; published spellings: {published}", default=None,
            choices=tuple(METHODS), synonyms=ALIASES),
        key("dataset", str, "data set", default="digits", choices=tuple(DATASETS)),
        key("unlearning_ratio", float, "share of the forget groups' train samples to forget", default=0.5,
            above=0, at_most=1),
        key("unlearning_type", str, "draw what is forgotten from the forget groups, or from all of train",
            default="group", choices=("group", "random")),
        key("split_number", int, "which forget group of the data set (default 0)", default=None,
            nullable=True, at_least=0),
        key("multi_group", int, "forget from K ages x K races (FairFace, 2 to 5)", default=None, nullable=True),
        key("forget_groups", str, "which groups, by name or number: 'TARGET:SENSITIVE, ...'", default=None,
            nullable=True),
        key("forget_list", str, "a file of all that is to be forgotten: images (files, or rows as row:17), one a line, "
            "or a column of a CSV file", default=None, nullable=True, path=True),
        key("forget_list_column", str, "which column of a CSV file (default: the only one, or file, image_id, ...)",
            default=None, nullable=True, execution=True),
        key("skip_unknown", bool, "leave out names in the list that are not in train, instead of refusing it",
            default=False),
        key("seed", int, "seed of all that is drawn; with the next two, of how the run itself is trained or unlearned",
            default=0, at_least=0),
        key("forget_seed", int, "seed of who is forgotten (default: --seed)", default=None, nullable=True, at_least=0,
            methods=_methods(lambda method: method.forgets)),
        key("train_seed", int, "seed of the original and the retrained model: initial weights, order, and what else "
            "decides who is in train (default: --seed)", default=None, nullable=True, at_least=0),
        key("reweight", bool, "REWEIGHT: sample the retain set with the group shares of the whole train set; on by "
            f"default in {reweighted}", default=None, methods=_methods(lambda method: method.reweight is not None)),
        shared("rob_approach", str, "groups in the pass over the retain set (in pretrain: the train set): dro (group "
               "DRO), subsample (as many samples of every group as the smallest has), in place of REWEIGHT; "
               "target_reweight is the published spelling of --reweight", default="none",
               choices=("none", "dro", "subsample")),
        key("preset", str, "methods as their papers state them, or miu, salun and the evaluation as the published code "
            "runs them", default="strict", choices=("strict", "reference")),
        key("eval_precision", str, "auto evaluates as in training, logits and losses in fp32; bf16 as published: "
            "accuracies of sets and MIA from logits and losses in bf16, all else from a pass in fp32",
            default="auto", choices=("auto", "bf16"), reference="bf16"),
        key("tag", str, "a word added to the run's name, to keep variants side by side", default="", word=True),
    ]  # fmt: skip


def _other_runs() -> list[Key]:
    """List keys of the runs that one starts from and is compared with."""
    key = _table("what to run")
    return [
        key("original", str, "run folder of the pretrained model to start from, instead of the one looked for",
            default="", path=True, methods=_methods(lambda method: method.from_original)),
        key("reference", str, "what ToW compares with: auto, retrain, retrain_reweight, or a run folder",
            default="auto", path=True, methods=_methods(lambda method: method.forgets)),
    ]  # fmt: skip


def _data_and_model() -> list[Key]:
    key, custom = _table("data and model"), _table("only with --dataset custom")
    return [
        key("model", str, "architecture; timm/NAME is one of timm's that ends in a linear layer", default="resnet18",
            choices=tuple(sorted(MODELS)), family=TIMM),
        key("image_size", int, "side of the square images, in pixels", default=224, at_least=8),
        key("weights", str, "initial weights of pretrain and retrain: imagenet, none, or a file", default="imagenet",
            path=True),
        key("head", str, "what becomes of a last layer in these weights that has as many outputs as there are classes: "
            "keep starts from it, new leaves it out", default=None, nullable=True, choices=("keep", "new")),
        key("freeze_backbone", bool, "train a hidden layer and a last one alone, on the features that the network of "
            "--weights has of the evaluation view; they are computed once", default=False),
        key("hidden_dim", int, "with --freeze_backbone: outputs of that hidden layer, the features of every method and "
            "measure", default=512, at_least=1),
        key("mean", str, "what is taken from pixels between 0 and 1, for all channels or as RED,GREEN,BLUE (default: "
            "0.5, with --weights imagenet timm's own)", default=None, nullable=True, channels=True, at_least=0,
            at_most=1),
        key("std", str, "what they are then divided by (default: likewise)", default=None, nullable=True,
            channels=True, at_least=1e-6, at_most=1),
        key("view", str, "how images become square in evaluation: centre resizes and cuts, stretch changes the aspect "
            "(default: the data set's own)", default=None, nullable=True, choices=("centre", "stretch"),
            datasets=tuple(name for name in DATASETS if not dataset_class(name).in_memory)),
        key("leave_out", float, "share of train, drawn by the train seed, that no run trains on and all runs predict: "
            "samples that no model has seen", default=0.0, at_least=0, below=1),
        key("skip_bad_images", bool, "leave out images that cannot be read, instead of refusing to run", default=False),
        # By content alone: what the table says is compared, not where it lies or how it spells a split.
        custom("metadata", str, "the table of labels, CSV or TSV (default: metadata.csv in --data_dir)", default=None,
               nullable=True, path=True, execution=True),
        custom("split_values", str, "what the split column calls them: train=training+extra,val=dev,test=test (default:"
               " train, val, test and the like, or 0, 1, 2)", default=None, nullable=True, execution=True),
        custom("target", str, "column of the table with what the model predicts", default="target"),
        custom("sensitive", str, "column of the sensitive attribute; several (race,age) are crossed",
               default="sensitive"),
        custom("filename_column", str, "column of the images' files, relative to the folder", default="filename"),
        custom("split_column", str, "column that says train, val or test (or 0, 1, 2)", default="split"),
        custom("dataset_name", str, "what runs and tables call the data (default: the folder's name)", default="",
               word=True),
    ]  # fmt: skip


def _training() -> list[Key]:
    """List keys whose defaults stand in fallback.yaml."""
    key, shared = _table("training"), _table("training", shared=True)
    with_epochs = _methods(lambda method: method.has_epochs)
    return [
        key("epochs", int, "passes over the retain set", at_least=1, methods=with_epochs),
        key("batch_size", int, "samples a step", at_least=1),
        key("lr", float, "learning rate", above=0, methods=with_epochs, search=Range(3e-5, 0.3, log=True)),
        key("optimizer", str, "optimiser", choices=("sgd", "adam", "adamw"), methods=with_epochs),
        key("amsgrad", bool, "AMSGrad's variant of adam and adamw", methods=with_epochs),
        key("momentum", float, "momentum of SGD", at_least=0, at_most=1, methods=with_epochs),
        key("weight_decay", float, "weight decay", at_least=0, methods=with_epochs),
        key("scheduler", str, "learning rate over the epochs", choices=("const", "cosine", "step", "multistep",
            "exponential", "linear"), methods=with_epochs),
        key("lr_step_epochs", int, "step: epochs between two falls of the learning rate", at_least=1,
            aliases=("step_size",), methods=with_epochs),
        key("lr_milestones", str, "multistep: the epochs, counted from the end of the warm-up, at whose beginning the "
            "learning rate falls", rising=True, aliases=("milestones",), methods=with_epochs),
        key("lr_gamma", float, "step, multistep, exponential: what the learning rate is multiplied by where it falls",
            above=0, at_most=1, aliases=("gamma",), methods=with_epochs),
        key("lr_end_factor", float, "linear: the part of the learning rate that it falls towards", at_least=0,
            at_most=1, methods=with_epochs),
        key("lr_cosine_epochs", int, "cosine: epochs from the learning rate to 0; 0, or more than --epochs, takes all "
            "after the warm-up", at_least=0, aliases=("t_max",), methods=with_epochs),
        key("warmup_epochs", int, "epochs of linear warm-up before the schedule", at_least=0, methods=with_epochs),
        key("max_grad_norm", float, "clip the gradient's norm to this; 0 does not clip", at_least=0,
            aliases=("clip_grad",), methods=with_epochs),
        key("use_train_aug", bool, "augment the forget and retain images in training", methods=with_epochs),
        shared("forget_epochs", int, "epochs that have a pass over the forget set", at_least=0,
               aliases=("forgetting_epochs",), search=Range(1, 10, within="epochs")),
        shared("select", str, "which epoch's weights are kept", choices=("best_val", "last", "worst_group")),
        shared("dro_step_size", float, "step size of the group weights of --rob_approach dro", above=0,
               aliases=("dro_lr",)),
        shared("dro_adjustment", float, "C of --rob_approach dro: C / sqrt(n) is added to the loss of a group of n",
               at_least=0),
        key("precision", str, "auto is bf16 where the hardware has it", choices=("auto", "bf16", "fp32"),
            aliases=("dtype",)),
        key("compile", bool, "compile the network with torch.compile"),
    ]  # fmt: skip


def _execution() -> list[Key]:
    key = _table("execution", execution=True)
    return [
        key("verify_data", bool, "before training decode every image once; the store folder remembers it",
            default=True),
        key("image_digest", bool, "record the content of all images too, and compare it between runs", default=False),
        key("cache", str, "keep decoded images: ram, for this run; disk, in the store folder, for all runs (with "
            "--freeze_backbone features; disk, its default, keeps them)", default="none",
            choices=("none", "ram", "disk")),
        key("device", str, DEVICES, default="auto"),
        key("num_workers", int, "processes that read images (default: by CPUs, 0 on a CPU)", default=None,
            nullable=True, at_least=0, at_most=MOST_AT_ONCE),
        key("threads", int, "threads inside operations (sums depend on it)", default=None, nullable=True, at_least=1,
            at_most=MOST_AT_ONCE),
        key("evaluate_every", int, "epochs between looks at the validation set, for history.csv alone; 0: none",
            default=0, at_least=0),
        key("save_every", int, "save the state every so many steps too, beside every epoch; 0: only then", default=500,
            at_least=0),
        key("wait", bool, "wait where another process is at work on the same run; else exit with 75", default=True),
        key("tensorboard", bool, "write event files for TensorBoard into the run's folder", default=False),
        key("wandb", bool, "log to Weights & Biases; WANDB_MODE=offline keeps it in the run's folder", default=False),
        key("wandb_project", str, "the project there", default="group-robust-unlearning", word=True,
            aliases=("project",)),
    ]  # fmt: skip


def _files() -> list[Key]:
    key = _table("files", execution=True)
    return [
        key("data_dir", str, "folder of the data sets", default="data", path=True, folder=True),
        key("store_dir", str, "folder the runs are written to", default="output", path=True, folder=True),
        key("checkpoint_dir", str, "read-only, searched first for pretrained and retrained runs",
            default="checkpoints", path=True, folder=True),
    ]  # fmt: skip


def plain_fields(method: str) -> tuple[str, ...]:
    """List the fields of a method's `Params` without default: keys of the tables above, under the same names."""
    fields = dataclasses.fields(METHODS[method].Params)
    return tuple(field.name for field in fields if field.default is dataclasses.MISSING)


def key_names(method: str) -> dict[str, str]:
    """Map each field of a method's `Params` to its key: `<method>_<field>`, or the same name without default."""
    plain = plain_fields(method)
    fields = [field.name for field in dataclasses.fields(METHODS[method].Params)]
    return {name: name if name in plain else f"{method}_{name}" for name in fields}


def _own_keys(method: str, common: Mapping[str, Key]) -> list[Key]:
    """Make the keys that a method's `Params` declare; ValueError for a field that is neither `param` nor common key."""
    params, names = METHODS[method].Params, key_names(method)
    kinds, keys = typing.get_type_hints(params), []
    given = {key.name for key in common.values() if key.applies(method) and key.datasets is None}
    for field in dataclasses.fields(params):
        name = names[field.name]
        if field.metadata:
            facts = {"default": field.default, "methods": (method,), **field.metadata}
            keys.append(Key(name, kinds[field.name], group=method, **facts))
        elif name not in given:
            raise ValueError(
                f"{params.__qualname__}.{field.name} of {method}: declare it by param(), or leave its default out "
                "where the tables in method/configs/schema.py have it for this method"
            )
    return keys


def _with_default(key: Key, fallback: Mapping[Any, Any]) -> Key:
    """Add the default that stands in fallback.yaml to a key that has none; UserError where it is missing there."""
    if key.default is not UNSET:
        return key
    if key.name not in fallback:
        raise UserError(f"{FALLBACK}: {key.name} is missing; its default stands there alone, so write one")
    return dataclasses.replace(key, default=key.coerce(fallback[key.name], FALLBACK), home=FALLBACK)


@cache
def all_keys() -> dict[str, Key]:
    """Return every key of every method, by name, in the order of --help; UserError for a broken fallback.yaml."""
    fallback = read_mapping(CONFIG_FILES / FALLBACK)
    tables = (_what_to_run, _data_and_model, _training, _other_runs, _execution, _files)
    keys = {key.name: _with_default(key, fallback) for table in tables for key in table()}
    return keys | {key.name: key for method in METHODS for key in _own_keys(method, keys)}


def keys_of(method: str, dataset: str | None = None) -> dict[str, Key]:
    """Return the keys that a run of `method` has, on `dataset` or (None) on any of them."""
    return {name: key for name, key in all_keys().items() if key.applies(method, dataset)}


def search_ranges(method: str) -> dict[str, Range]:
    """Return where a search looks for each hyperparameter of a method, in the order of --help."""
    found = {name: METHODS[method].search.get(name, key.search) for name, key in keys_of(method).items()}
    return {name: one for name, one in found.items() if one is not None}
