"""Bad input: arguments and configuration files."""

import os

from bad_input import Place, case, typed
from damage import poisonous_yaml

# Arguments.

typed("no method", "--dataset digits")
typed("a method that does not exist", "--method finetune")
typed("a data set that does not exist", "--method pretrain --dataset cifar10")
typed("a misspelt flag", "--method pretrain --sead 3")
typed("an abbreviated flag", "--method retrain --unlearning 0.5")
typed("a flag without its value", "--method pretrain --seed")
typed("a seed that is no whole number", "--method pretrain --seed 1.5")
typed("a learning rate of 0", "--method pretrain --lr 0")
typed("a ratio above 1", "--method retrain --unlearning_ratio 1.5")
typed("a ratio that is no number", "--method retrain --unlearning_ratio nan")
typed("a flag of another method", "--method salun --scrub_alpha 0.5")
typed("REWEIGHT for pretrain", "--method pretrain --reweight")
typed("REWEIGHT for a method that never sees the retain set", "--method ga --reweight")
typed("group DRO for a method without a pass over retain", "--method ga --rob_approach dro")
typed("group DRO and REWEIGHT at once", "--method retrain --rob_approach dro --reweight")
typed("a way to treat groups that does not exist", "--method retrain --rob_approach gdro")
typed("epochs for a method without any", "--method ssd --epochs 3")
typed("an original for pretrain, which starts from none", "--method pretrain --original output/other")
typed("a reference for pretrain, which is compared with none", "--method pretrain --reference retrain")
typed("a split number that the data set does not have", "--method miu --dataset fairface --split_number 5")
typed("two tasks at once", "--method miu --dataset fairface --multi_group 3 --split_number 1")
typed("a group by number and by name", "--method miu --split_number 0 --forget_groups 1:0")
typed("a group without its sensitive value", "--method miu --dataset waterbird --forget_groups waterbird")
typed("a group that the data set does not have", "--method miu --dataset waterbird --forget_groups duck:land")
typed("groups for samples at random", "--method miu --unlearning_type random --forget_groups 1:0")
typed("leave to skip names without a list", "--method retrain --skip_unknown")
typed("a tag with a slash", "--method pretrain --tag a/b")
typed("an empty store folder", "--method pretrain --store_dir ''")
typed("a numbered CPU", "--method pretrain --device cpu:3")
typed("a device that does not exist", "--method pretrain --device tpu")
typed("an image size that the data set does not have", "--method pretrain --dataset digits --image_size 64")
typed("two flags that exclude each other", "--method pretrain --skip_bad_images --no-verify_data")


typed("weights given and forbidden", "--method pretrain --weights mine.pt --no-pretrained")
typed("a flag twice, with two values", "--method pretrain --seed 1 --seed 2")
typed("two spellings of a flag, with two values", "--method miu --lambda_mi 1 --miu_lambda_mi 2")
typed("two things to do instead of running", "--method miu --print_config --dry_run")
typed("a variable in a path that no shell has replaced", "--method pretrain --data_dir '$DATA/faces'")
typed("the home folder of nobody", "--method pretrain --data_dir ~nobody-is-called-so/data")
typed("a tag that makes a folder's name too long", f"--method pretrain --tag {'t' * 300}")
typed("a number of four hundred digits", f"--method pretrain --seed {'9' * 400}")
typed("a hundred thousand threads", "--method pretrain --threads 100000")


# Configuration.


@case("a --config file that is not there")
def _(place: Place) -> str:
    return f"--method miu --config {place.tmp / 'absent.yaml'}"


case("a --config file with an unknown key")(lambda place: place.config("learning_rate: 0.1\n"))
case("a --config file with a key twice")(lambda place: place.config("lr: 0.1\nseed: 1\nlr: 0.2\n"))
case("a --config file with a value of another type")(lambda place: place.config("epochs: many\n"))
case("a --config file that is no YAML")(lambda place: place.config("lr: [0.1\n"))
case("a --config file with a payload")(lambda place: place.config(poisonous_yaml(place.trace)))
case("an octal number in a --config file")(lambda place: place.config("seed: 010\n"))
case("a group that YAML reads as a time")(lambda place: place.config("forget_groups: 1:0\n"))
case("a word that YAML reads as true")(lambda place: place.config("tag: on\n"))
case("a word that YAML reads as a date")(lambda place: place.config("tag: 2024-06-01\n"))
case("a home folder that YAML reads as null")(lambda place: place.config("data_dir: ~\n"))
case("a variable in a --config file")(lambda place: place.config("data_dir: $DATA/faces\n"))
case("a number of four hundred digits in a --config file")(lambda place: place.config(f"lr: {'9' * 400}\n"))
case("a path with a null character")(lambda place: place.config('data_dir: "a\\0b"\n'))
case("a path with half a character")(lambda place: place.config('data_dir: "a\\ud800b"\n'))
case("a --config file of brackets within brackets")(lambda place: place.config("lr: " + "[" * 100_000))
case("a --config file larger than any")(lambda place: place.config("# nothing\n" * 200_000))


@case("a --config file whose aliases make millions of values")
def _(place: Place) -> str:
    lines = ["a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]"]
    lines += [f"{new}: &{new} [{', '.join(['*' + old] * 9)}]" for old, new in zip("abcdefg", "bcdefgh", strict=True)]
    return place.config("\n".join(lines))


@case("a --config file that is a pipe")
def _(place: Place) -> str:
    os.mkfifo(place.tmp / "mine.yaml")
    return f"--method miu --config {place.tmp / 'mine.yaml'}"


typed("a --config file that is a device", "--method miu --config /dev/zero")
