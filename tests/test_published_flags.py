"""The published code's command lines: every flag of its parser works, or says what to use here."""

from pathlib import Path

import cli
import pytest
from cli import configuration
from published_flags import CASES, PAGE, Case, page

from method import run
from utils.errors import UserError

# Of the parser of github.com/tdemin16/group-robust_machine_unlearning, in its order.
PARSER = """
name description model pretrained checkpoint_dir pretrain_name dataset data_dir download method rob_approach
unlearning_type unlearning_ratio split_number multi_group tmlr_rebuttal_exp ablate_rw ablate_alignment ablate_unlearn
ablate_retain const_file retrain_name control_bias mine_lr lambda_mi l1_penalty alpha_hessian alpha_scrub gamma_scrub
forgetting_epochs temperature_scrub batch_size_retain use_train_aug saliency_threshold ssd_dampening_constant
ssd_selection_weighting dro_lr compute_freq train_aug_group batch_size epochs lr clip_grad momentum weight_decay
optimizer amsgrad scheduler t_max step_size milestones gamma warmup_epochs evaluate_every dtype seed num_workers
drop_last pin_memory debug save store_dir wandb project entity offline store_csv csv_store_dir store_curves
curves_store_dir
"""
# As those of the published code are written: every key, whatever the method.
CONST = """batch_size: 64
epochs: 10
lr: 2e-2
clip_grad: 0.0
momentum: 0.9
weight_decay: 3e-3
optimizer: "sgd"
amsgrad: False
scheduler: "exp"
t_max: float("inf")
step_size: 5
milestones:
  - 7
gamma: 0.1
warmup_epochs: 2
evaluate_every: 0
forgetting_epochs: 5
use_train_aug: False
ssd_dampening_constant: 0.1
ssd_selection_weighting: 0.2
jtt_upsample: 2
dro_lr: 0.01
compute_freq: False
mine_lr: 0.01
lambda_mi: 1
"""


@pytest.fixture
def const_file(tmp_path: Path) -> Path:
    file = tmp_path / "published.yaml"
    file.write_text(CONST)
    return file


def test_every_flag_of_the_parser_is_tried():
    tried = {word.removeprefix("--") for case in CASES for word in case.typed.split() if word.startswith("--")}
    assert tried == set(PARSER.split())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.typed}")
def test_a_published_flag_works_or_says_what_to_use(case: Case, const_file: Path):
    typed = case.typed.replace("FILE", str(const_file))
    method = "" if "--method" in typed else f"--method {case.method}"
    if case.told:
        assert cli.refused(f"{method} {typed}") == case.told
        return
    config, dataset = configuration(f"{method} {typed}"), case.sets.get("dataset", "digits")
    assert {name: config.values[name] for name in case.sets} == case.sets
    plain = configuration(f"--method {case.method} --dataset {dataset}")
    # Nothing else is another value, but what follows from these: the task's number, and what was tuned for a task.
    settled = {"split_number"} if case.sets.keys() & {"unlearning_type", "multi_group"} else set()
    differing = {name for name, value in config.values.items() if plain.values.get(name) != value}
    differing = {name for name in differing if not config.sources[name].startswith(f"{dataset}.yaml [")}
    assert differing - settled <= case.sets.keys()


def test_the_page_lists_every_case():
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("joined", ["--use_train_aug=False", "--pretrained=f --use_train_aug=no", "--use_train_aug 0"])
def test_true_and_false_as_the_published_parser_takes_them(joined: str):
    assert configuration(f"--method scrub {joined} --seed 2").use_train_aug is False
    assert configuration(f"--method scrub {joined.replace('False', 'True')} --seed 2").seed == 2


@pytest.mark.parametrize(
    "typed, told",
    [
        ("--use_train_aug perhaps", "--use_train_aug perhaps: expected true or false"),
        ("--save", None),
        ("--download", "--download true: nothing is downloaded"),
        ("--pretrained True --no-pretrained", "--weights imagenet and --no-pretrained contradict each other"),
        ("--debug --epochs 3", "--epochs 3 and --debug contradict each other"),
        ("--debug --tag mine", "--debug and --tag mine contradict each other"),
        ("--dtype float16", "precision is 'float16', expected one of auto, bf16, fp32"),
    ],
)
def test_values_that_the_published_parser_has_not(typed: str, told: str | None):
    if told is None:
        assert configuration(f"--method miu {typed}").method == "miu"
    else:
        assert told in cli.refused(f"--method miu {typed}")


def test_published_words_after_a_value_that_ends_the_line():
    assert (
        cli.refused("--method miu --model") == "argument --model: expected one argument; main.py --help lists the flags"
    )
    assert configuration("--method miu --pretrain_name pretrain").method == "miu"


# Files.


def test_a_published_file_sets_what_its_method_reads_there(const_file: Path):
    scrub = configuration("--method scrub", const_file=const_file)
    assert (scrub.scheduler, scrub.lr, scrub.lr_cosine_epochs, scrub.lr_milestones) == ("exponential", 0.02, 0, "7")
    assert (scrub.warmup_epochs, scrub.sources["lr"]) == (0, "published.yaml")
    retrain = configuration("--method retrain", const_file=const_file)
    assert (retrain.warmup_epochs, retrain.sources["max_grad_norm"]) == (2, "published.yaml [retrain]")
    ssd = configuration("--method ssd", const_file=const_file)
    assert (ssd.ssd_dampening, ssd.ssd_alpha, ssd.batch_size) == (0.1, 0.2, 64)
    assert configuration("--method miu --lr 0.5", const_file=const_file).lr == 0.5


@pytest.mark.parametrize(
    "text, told",
    [
        ("learning_rate: 0.1\n", "published.yaml: 'learning_rate' is no key of the published files"),
        ("lr: fast\n", "published.yaml: lr is 'fast', expected a number above 0"),
        ("milestones: [5, 3]\n", "published.yaml: lr_milestones is [5, 3], expected whole numbers above 0 that rise"),
        ("7: 1\n", "published.yaml: 7 is no key of the published files"),
    ],
)
def test_a_file_that_is_none(text: str, told: str, const_file: Path):
    const_file.write_text(text)
    assert told in cli.refused("--method scrub", const_file=const_file)
    assert "unknown key" in cli.refused("--method scrub", config=const_file) or "lr is" in told


def test_both_kinds_of_files_at_once(const_file: Path):
    sentence = cli.refused(f"--method scrub --config {const_file.parent / 'other.yaml'}", const_file=const_file)
    assert "contradict each other" in sentence


def test_the_python_interface_takes_published_flags_too():
    with pytest.raises(UserError, match="--entity me: set WANDB_ENTITY"):
        run(method="miu", entity="me")
    with pytest.raises(UserError, match="--store_csv: every run has its metrics.json"):
        run(method="miu", store_csv=True)
