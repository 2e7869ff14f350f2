"""The published code's command lines and files of hyperparameters, in the spellings of this program.

Flags that have only another name there are aliases of their keys. Here stand those that take other values, and what to
use in place of those that there is no such thing for. docs/published_flags.md lists every flag of that code.
"""

from pathlib import Path
from typing import Any

from method.configs.layers import LayerFile
from method.configs.schema import all_keys
from method.configs.strict_yaml import read_mapping
from utils.errors import UserError

TRUE, FALSE = ("true", "t", "y", "yes", "1"), ("false", "f", "n", "no", "0")
# (flag, value) -> the words of this program; none where it is so anyway.
WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("--unlearning_type", "bias"): ("--unlearning_type", "group"),
    ("--multi_group", "0"): ("--multi_group", "null"),
    ("--scheduler", "exp"): ("--scheduler", "exponential"),
    ("--dtype", "bfloat16"): ("--precision", "bf16"),
    ("--dtype", "float32"): ("--precision", "fp32"),
    ("--model", "vit_base_patch16_224"): ("--model", "timm/vit_base_patch16_224"),
    ("--pretrain_name", "pretrain"): (),
    ("--retrain_name", "retrain"): ("--reference", "retrain"),
    ("--retrain_name", "target_reweight_retrain"): ("--reference", "retrain_reweight"),
}
# Flags whose value is true or false, and the words for the one and the other; None where only the other works.
SWITCHES: dict[str, tuple[tuple[str, ...] | None, tuple[str, ...] | None]] = {
    "--use_train_aug": (("--use_train_aug",), ("--no-use_train_aug",)),
    "--amsgrad": (("--amsgrad",), ("--no-amsgrad",)),
    "--pretrained": (("--weights", "imagenet"), ("--weights", "none")),
    "--download": (None, ()),
    "--control_bias": ((), None),
    "--compute_freq": (None, ()),
    "--train_aug_group": ((), None),
    "--drop_last": (None, ()),
    "--pin_memory": ((), None),
    "--save": ((), None),
}
UNREAD = "the published code reads it nowhere; leave it out"
TABLE = "every run has its metrics.json; python -m scripts.report output --each --format csv makes a table of them"
CURVES = "every run has a row an epoch in its history.csv, with --evaluate_every 1 the accuracy on val too"
# What to use in place of a flag, or of its values that WORDS and SWITCHES do not have.
INSTEAD = {
    "--name": "a run is named after what it is; --tag WORD adds a word",
    "--description": "a run is named after what it is; --tag WORD adds a word",
    "--pretrain_name": "give the run to start from, such as --original output/celeba/resnet18/pretrain_dro_0",
    "--retrain_name": "expected retrain or target_reweight_retrain; give the folder of another run with --reference",
    "--download": "nothing is downloaded; docs/data.md says where each data set comes from",
    "--tmlr_rebuttal_exp": "give the pairs to forget by name, --forget_groups 'TARGET:SENSITIVE, ...'",
    "--control_bias": "MIU without REWEIGHT and calibration is --ablate_rw --ablate_alignment",
    "--compute_freq": UNREAD,
    "--train_aug_group": UNREAD,
    "--drop_last": "the last batch of a pass is trained on too, as it is by default there; leave it out",
    "--pin_memory": "memory is pinned where the device gains by it; leave it out",
    "--save": "a run is its folder; give --store_dir FOLDER, and remove that afterwards",
    "--entity": "set WANDB_ENTITY in the environment",
    "--offline": "set WANDB_MODE=offline in the environment",
    "--store_csv": TABLE,
    "--csv_store_dir": TABLE,
    "--store_curves": CURVES,
    "--curves_store_dir": CURVES,
}
REFUSED_VALUES = {
    ("--dataset", "imagenetr"): "a folder of images with a table of labels is read by --dataset custom",
    ("--dataset", "multinli"): "texts are not for this program; a folder of images is read by --dataset custom",
    ("--model", "bert"): "texts are not for this program; --model timm/NAME is any network for images of timm's",
    ("--rob_approach", "target_dro"): "the published code has no such method either; "
    "give dro, subsample or target_reweight",
}
UNREAD_KEYS = ("jtt_upsample", "compute_freq")  # of files
OF_TRAINING = ("clip_grad", "warmup_epochs")  # which only pretrain and retrain read there
ENDLESS = 'float("inf")'  # a t_max


def translate(words: list[str]) -> list[str]:
    """Spell a published command line as this program does; UserError for what there is nothing for."""
    translated, waiting = [], list(words)
    while waiting:
        flag, joined, value = waiting.pop(0).partition("=")
        given = value if joined else waiting[0] if waiting and not waiting[0].startswith("--") else None
        found = _spell(flag, given)
        if found is None:
            translated.append(flag + joined + value)
        else:
            translated += found
            waiting = waiting[0 if joined or given is None else 1 :]
    return translated


def _spell(flag: str, value: str | None) -> tuple[str, ...] | None:
    """The words for a flag with this value (None: it has none); None where they are this program's already."""
    if (flag, value) in REFUSED_VALUES:
        raise UserError(f"{flag} {value}: {REFUSED_VALUES[flag, value or '']}")
    if (flag, value) in WORDS:
        return WORDS[flag, value or ""]
    if flag in SWITCHES:
        return _spell_switch(flag, value)
    if flag in INSTEAD:
        raise UserError(f"{flag}{'' if value is None else f' {value}'}: {INSTEAD[flag]}")
    return None


def _spell_switch(flag: str, value: str | None) -> tuple[str, ...] | None:
    word = (value or "true").lower()
    if word not in (*TRUE, *FALSE):
        raise UserError(f"{flag} {value}: expected true or false")
    words = SWITCHES[flag][word in FALSE]
    if words is None:
        raise UserError(f"{flag} {value or 'true'}: {INSTEAD[flag]}")
    return words


def read_const_file(path: Path) -> LayerFile:
    """Read a file of hyperparameters of the published code; UserError for a key that those do not have."""
    keys = all_keys()
    names = {alias: name for name, key in keys.items() for alias in (name, *key.aliases)}
    plain: dict[str, Any] = {}
    of_training: dict[str, Any] = {}
    for given, value in read_mapping(path).items():
        if given in UNREAD_KEYS:
            continue
        if given not in names:
            raise UserError(
                f"{path.name}: {given!r} is no key of the published files; for this program's give --config"
            )
        found = keys[names[given]].coerce(_spell_value(f"--{given}", value), path.name)
        (of_training if given in OF_TRAINING else plain)[names[given]] = found
    return LayerFile(path.name, plain, {"pretrain": of_training, "retrain": of_training}, ())


def _spell_value(flag: str, value: Any) -> Any:
    """A value of a file as this program writes it."""
    if (flag, value) == ("--t_max", ENDLESS):
        return 0
    return WORDS[flag, value][-1] if isinstance(value, str) and (flag, value) in WORDS else value
