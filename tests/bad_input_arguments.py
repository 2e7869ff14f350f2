"""Bad input: arguments and configuration files."""

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
typed("group DRO for a method that starts from the original", "--method miu --rob_approach dro")
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


# Configuration.


@case("a --config file that is not there")
def _(place: Place) -> str:
    return f"--method miu --config {place.tmp / 'absent.yaml'}"


case("a --config file with an unknown key")(lambda place: place.config("learning_rate: 0.1\n"))
case("a --config file with a key twice")(lambda place: place.config("lr: 0.1\nseed: 1\nlr: 0.2\n"))
case("a --config file with a value of another type")(lambda place: place.config("epochs: many\n"))
case("a --config file that is no YAML")(lambda place: place.config("lr: [0.1\n"))
case("a --config file with a payload")(lambda place: place.config(poisonous_yaml(place.trace)))
