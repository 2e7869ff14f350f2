"""The README's commands mean what they say; --help, --print_config and --dry_run work for every data set."""

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from cli import ROOT, configuration, ok, python_apart, refused, run, words, written

from datasets import DATASETS, dataset_class
from method.configs.schema import all_keys, keys_of
from method.registry import METHODS

FAIRFACE = Path(os.environ.get("GROUP_UNLEARNING_DATA", ROOT.parent / "shared" / "data"))
needs_fairface = pytest.mark.skipif(
    not (FAIRFACE / "fairface" / "fairface_label_train.csv").exists(),
    reason=f"no FairFace in {FAIRFACE}; GROUP_UNLEARNING_DATA names another folder",
)
FILE_DATASETS = ("celeba", "fairface", "waterbird")
N_GROUPS = {"celeba": 4, "digits": 4, "fairface": 63, "waterbird": 4}  # those with forget groups of their own

# The command, then what it must mean.
README_COMMANDS = {
    "--method pretrain --dataset celeba --unlearning_ratio 0.5": {"epochs": 30, "lr": 0.01, "weights": "imagenet"},
    "--method retrain --dataset waterbird --unlearning_ratio 0.1": {
        "unlearning_ratio": 0.1, "task": "split0", "epochs": 30, "reweight": False, "weight_decay": 0.001,
    },
    "--method miu --dataset fairface --unlearning_ratio 0.9": {
        "unlearning_ratio": 0.9, "task": "split0", "reweight": True, "lr": 0.1, "miu_mine_lr": 0.01,
    },
    "--method miu --dataset fairface --multi_group 5": {
        "unlearning_ratio": 0.5, "multi_group": 5, "split_number": None, "task": "multi5", "lr": 0.01,
    },
    "--method salun --dataset celeba --unlearning_ratio 0.5": {"batch_size": 256, "salun_saliency_ratio": 0.5},
    "--method scrub --dataset celeba --unlearning_ratio 0.5": {"batch_size": 256, "scrub_batch_size_retain": 128},
    "--method l1_sparse --dataset celeba --unlearning_ratio 0.5": {"batch_size": 32, "l1_sparse_penalty": 5e-4},
}  # fmt: skip


@pytest.mark.parametrize("command", README_COMMANDS)
def test_readme_commands_mean_what_they_say(command: str):
    config = configuration(command)
    _, method, _, dataset, *_ = command.split()
    assert (config.method, config.dataset, config.model, config.image_size) == (method, dataset, "resnet18", 224)
    assert (config.seed, config.tag, config.preset) == (0, "", "strict")
    for name, value in README_COMMANDS[command].items():
        assert getattr(config, name) == value, name


def test_a_run_without_a_data_set_is_on_digits():
    config = configuration("--method miu")
    assert (config.dataset, config.model, config.image_size, config.weights) == ("digits", "small_cnn", 32, "none")
    assert (config.data_dir, config.store_dir, config.checkpoint_dir) == ("data", "output", "checkpoints")


@pytest.mark.parametrize("spelling", ["--lr 0.5", "--lr=0.5", "--lr 0.5 --lr 5e-1"])
def test_ways_to_give_a_value(spelling: str):
    assert configuration(f"--method miu {spelling}").lr == 0.5


# --help.


@pytest.fixture(scope="module")
def help_text() -> str:
    return ok("--help").out


def test_help_lists_every_flag(help_text: str):
    for name, key in all_keys().items():
        for flag in (name, *key.aliases):
            assert re.search(rf"--{flag}\b", help_text), flag
        first_words = " ".join(key.help.split()[:2])
        assert first_words in re.sub(r"\s+", " ", help_text), name
    others = ("rob_approach", "ablate_rw", "no-pretrained", "no-reweight", "config", "overwrite")
    for flag in (*others, "print_config", "dry_run"):
        assert f"--{flag}" in help_text


def test_help_is_grouped(help_text: str):
    titles = re.findall(r"^(\S.*):$", help_text, flags=re.MULTILINE)
    assert titles[0] == "options"
    shared = {"what to run", "data and model", "training", "execution", "files", "instead of running"}
    assert shared <= set(titles)
    own = {method for method in METHODS if any(key.group == method for key in all_keys().values())}
    assert own == {
        *(
            "miu",
            "salun",
            "scrub",
            "l1_sparse",
            "rl",
            "falw",
            "neggrad_plus",
            "bad_teacher",
            "boundary_shrink",
            "iu",
            "ssd",
        )
    }
    assert {f"only with --method {method}" for method in own} <= set(titles)
    scrub = help_text.split("only with --method scrub:")[1].split("\n\n")[0]
    assert set(re.findall(r"^  (--scrub_\w+)", scrub, flags=re.MULTILINE)) == {
        f"--{name}" for name, key in all_keys().items() if key.group == "scrub"
    }


def test_help_names_methods_data_sets_and_exit_codes(help_text: str):
    assert "{" + ",".join(METHODS) + "}" in help_text
    assert re.search(r"75\s+interrupted", help_text)
    assert "{" + ",".join(DATASETS) + "}" in help_text


# --print_config.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dataset", N_GROUPS)
def test_print_config_prints_flat_yaml_with_sources_and_nothing_else(dataset: str, method: str, tmp_path: Path):
    result = ok(f"--method {method} --dataset {dataset} --print_config", store_dir=tmp_path / "store")
    config = configuration(f"--method {method} --dataset {dataset}", store_dir=tmp_path / "store")
    assert result.err == ""
    assert yaml.safe_load(result.out) == dict(config.values)
    lines = result.out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(keys_of(method, dataset))
    assert [line.split("  # ")[-1] for line in lines] == list(config.sources.values())
    assert written(tmp_path) == []


def test_print_config_needs_no_data(tmp_path: Path):
    assert (
        "dataset: celeba  # --dataset"
        in ok("--method miu --dataset celeba --print_config", data_dir=tmp_path / "nowhere").out.splitlines()
    )


# --dry_run.


def table_of(text: str) -> dict[int, dict[str, int | bool | str]]:
    """The groups of a dry run, by id; and what `all` of them sum to, under -1."""
    lines = text.split("\n\n")[1].splitlines()
    assert lines[0].split() == ["group", "name", "train", "val", "test", "forget", "retain"]
    table = {}
    for line in lines[2:]:
        head, counts = line.rsplit(maxsplit=5)[0], [int(cell) for cell in line.split()[-5:]]
        number, _, name = head.strip().partition(" ")
        row = dict(zip(("train", "val", "test", "forget", "retain"), counts, strict=True))
        total = head.strip() == "all"
        key = -1 if total else int(number.rstrip("*"))
        table[key] = {**row, "marked": number.endswith("*"), "name": "all" if total else name.strip()}
    return table


@pytest.fixture(scope="module")
def labels_only(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data sets without a single image: whoever opened one would fail."""
    copy = tmp_path_factory.mktemp("labels")
    shutil.copytree(data_dir, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.jpg"))
    assert not list(copy.rglob("*.jpg"))
    return copy


@pytest.mark.parametrize("dataset", N_GROUPS)
@pytest.mark.parametrize("method", ["pretrain", "miu"])
def test_dry_run_counts_without_opening_an_image(dataset: str, method: str, labels_only: Path, tmp_path: Path):
    store = tmp_path / "store"
    result = ok(
        f"--method {method} --dataset {dataset} --unlearning_ratio 0.5 --dry_run",
        data_dir=labels_only, store_dir=store, checkpoint_dir=tmp_path / "checkpoints",
    )  # fmt: skip
    table = table_of(result.out)
    total = table.pop(-1)
    assert len(table) == N_GROUPS[dataset]
    for row in (*table.values(), total):
        assert row["forget"] + row["retain"] == row["train"]
    for name in ("train", "val", "test", "forget", "retain"):
        assert total[name] == sum(row[name] for row in table.values()) > (-1 if name == "forget" else 0)
    marked = [group for group, row in table.items() if row["marked"]]
    assert (len(marked), total["forget"] > 0) == ((0, False) if method == "pretrain" else (1, True))
    assert written(tmp_path) == []
    assert f"writes  {store}/" in result.out
    if dataset != "digits":
        assert re.search(rf"^reads   {re.escape(str(labels_only))}/\S+/$", result.out, re.MULTILINE)
    if method == "miu":
        model = "small_cnn" if dataset == "digits" else "resnet18"
        assert f"reads   {store}/{dataset}/{model}/pretrain_0/model.pt (not there yet)" in result.out
        assert f"{model}/split0/retrain_reweight_0.5_0/metrics.json (not there yet)" in result.out


def test_dry_run_of_hand_made_folders_counts_what_is_in_them(labels_only: Path, tmp_path: Path):
    out = ok(
        "--method scrub --dataset waterbird --unlearning_ratio 0.5 --dry_run", data_dir=labels_only, store_dir=tmp_path
    ).out
    table = table_of(out)
    assert [table[group]["train"] for group in range(4)] == [20, 12, 12, 16]
    assert [table[group]["forget"] for group in range(4)] == [0, 0, 6, 0]
    assert [table[group]["name"] for group in range(4)] == [
        "landbird on land", "landbird on water", "waterbird on land", "waterbird on water"
    ]  # fmt: skip
    assert "scrub on waterbird, split0, ratio 0.5, seed 0" in out


@pytest.mark.parametrize("groups, n", [("--multi_group 2", 4), ("--multi_group 3", 9), ("--multi_group 5", 25)])
def test_dry_run_marks_every_group_of_a_multi_group_task(groups: str, n: int, labels_only: Path, tmp_path: Path):
    out = ok(f"--method miu --dataset fairface {groups} --dry_run", data_dir=labels_only, store_dir=tmp_path).out
    assert sum(bool(row["marked"]) for row in table_of(out).values()) == n
    assert f"miu on fairface, multi{groups[-1]}, ratio 0.5, seed 0" in out


def test_dry_run_of_a_list_counts_what_it_names(labels_only: Path, tmp_path: Path):
    (tmp_path / "list.txt").write_text("001.Species/Bird_0001.jpg\nBird_0040.jpg\nrow:40\ngone.jpg\n")
    command = "--method scrub --dataset waterbird --skip_unknown --dry_run"
    out = ok(command, data_dir=labels_only, store_dir=tmp_path / "store", forget_list=tmp_path / "list.txt").out
    table = table_of(out)
    assert [(table[group]["forget"], table[group]["marked"]) for group in range(4)] == [
        (1, True), (0, False), (2, True), (0, False)
    ]  # fmt: skip
    assert "requests            3 of 4 names in the list are forgotten; left out: 1 unknown" in out
    assert not (tmp_path / "store").exists()


def test_dry_run_says_what_is_there(data_dir: Path, tmp_path: Path):
    """A model in the checkpoint folder is found before one in the store folder."""
    for folder in ("checkpoints", "store"):
        place = tmp_path / folder / "waterbird/resnet18/pretrain_3"
        place.mkdir(parents=True)
        (place / "model.pt").touch()
    command = "--method salun --dataset waterbird --seed 3 --dry_run"
    folders = {"store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "checkpoints"}
    out = ok(command, data_dir=data_dir, **folders).out
    assert f"reads   {tmp_path}/checkpoints/waterbird/resnet18/pretrain_3/model.pt\n" in out
    (tmp_path / "checkpoints/waterbird/resnet18/pretrain_3/model.pt").unlink()
    out = ok(command, data_dir=data_dir, **folders).out
    assert f"reads   {tmp_path}/store/waterbird/resnet18/pretrain_3/model.pt\n" in out


def test_dry_run_repeats_what_nobody_tuned(labels_only: Path, tmp_path: Path):
    out = ok(
        "--method miu --dataset waterbird --split_number 1 --dry_run", data_dir=labels_only, store_dir=tmp_path
    ).out
    assert "note    nobody tuned miu for waterbird split1 ratio 0.5" in out


@needs_fairface
def test_dry_run_on_fairface_agrees_with_the_known_counts(tmp_path: Path):
    out = ok("--method miu --dataset fairface --dry_run", data_dir=FAIRFACE, store_dir=tmp_path).out
    table = table_of(out)
    total = table.pop(-1)
    assert len(table) == 63
    names = ["20-29 Black", "50-59 Latino_Hispanic", "3-9 White", "more than 70 East Asian", "30-39 Middle Eastern"]
    rows = {row["name"]: row for row in table.values()}
    assert [rows[name]["train"] + rows[name]["val"] for name in names] == [999, 133, 233, 22, 564]
    assert [rows[name]["test"] for name in names] == [127, 14, 37, 5, 62]
    assert sum(row["test"] == 0 for row in table.values()) == 1
    of_twenties = sum(row["test"] for name, row in rows.items() if name.startswith("20-29"))
    assert round(100 * of_twenties / total["test"], 1) == 37.2
    assert total["train"] == (9 * (total["train"] + total["val"])) // 10
    assert [row["name"] for row in table.values() if row["marked"]] == ["20-29 Black"]
    assert rows["20-29 Black"]["forget"] == rows["20-29 Black"]["train"] // 2 == total["forget"]


@pytest.mark.skipif(
    not (FAIRFACE / dataset_class("waterbird").folder).is_dir(),
    reason=f"no Waterbirds in {FAIRFACE}; GROUP_UNLEARNING_DATA names another folder",
)
def test_dry_run_on_waterbirds_agrees_with_the_published_counts(tmp_path: Path):
    command = "--method pretrain --dataset waterbird --model timm/tf_efficientnet_lite0 --image_size 112 --dry_run"
    table = table_of(ok(command, data_dir=FAIRFACE, store_dir=tmp_path).out)
    assert [row["train"] for row in table.values()] == [3498, 184, 56, 1057, 4795]
    assert [row["test"] for row in table.values()] == [2255, 2255, 642, 642, 5794]


@needs_fairface
def test_dry_run_on_fairface_forgets_nested_sets_of_many_groups(tmp_path: Path):
    forgotten = []
    for ratio in ("0.1", "0.9"):
        command = f"--method scrub --dataset fairface --multi_group 3 --unlearning_ratio {ratio} --dry_run"
        table = table_of(ok(command, data_dir=FAIRFACE, store_dir=tmp_path).out)
        total = table.pop(-1)
        marked = [row for row in table.values() if row["marked"]]
        assert len(marked) == 9
        assert total["forget"] == sum(row["forget"] for row in marked)
        assert total["forget"] == int(ratio[-1]) * sum(row["train"] for row in marked) // 10
        forgotten.append([row["forget"] for row in table.values()])
    assert all(few <= many for few, many in zip(*forgotten, strict=True))


def test_help_and_dry_run_import_nothing_heavy(labels_only: Path, tmp_path: Path):
    """torchvision, scikit-learn and the compiler take seconds to import; none reads labels nor prints help."""
    groups = "--forget_groups '20-29:black'"
    dry = words(f"--method miu --dataset fairface {groups} --dry_run", data_dir=labels_only, store_dir=tmp_path)
    code = f"""
import sys
import main
for arguments in ({dry!r}, ["--method", "miu", "--print_config"], ["--help"]):
    try:
        assert main.main(arguments) == 0
    except SystemExit as stop:
        assert stop.code == 0
heavy = ("torchvision", "sklearn", "vl_convert", "torch._dynamo", "method.training.engine")
print("IMPORTED", [name for name in heavy if name in sys.modules])
"""
    result = python_apart(code)
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == "IMPORTED []"


# What is refused while parsing.


@pytest.mark.parametrize(
    "command, told",
    [
        ("", ["--method is missing", "retrain"]),
        ("--method", ["--method", "expected one argument"]),
        ("--method unlearn", ["method is 'unlearn'", "scrub"]),
        ("--method miu --dataset cifar", ["dataset is 'cifar'", "waterbird"]),
        ("--method miu --epoch 3", ["unknown argument --epoch", "did you mean --epochs?"]),
        ("--method miu --unlearn_ratio 0.5", ["unknown argument --unlearn_ratio", "did you mean --unlearning_ratio?"]),
        ("--method miu --unlearning_rati=0.5", ["unknown argument --unlearning_rati", "--unlearning_ratio?"]),
        ("--metho miu", ["unknown argument --metho", "did you mean --method?"]),
        ("--method miu --over", ["unknown argument --over"]),
        ("--method miu --colour blue", ["unknown argument --colour", "--help"]),
        ("--method miu -lr 3", ["unknown argument -lr"]),
        ("miu", ["unknown argument miu", "--help"]),
        ("--method miu --epochs", ["--epochs", "expected one argument"]),
        ("--method miu --epochs ten", ["--epochs", "'ten'", "a whole number at least 1"]),
        ("--method miu --epochs 1.5", ["'1.5'", "a whole number"]),
        ("--method miu --epochs 0", ["epochs is 0"]),
        ("--method miu --lr fast", ["'fast'", "a number above 0"]),
        ("--method miu --lr inf", ["lr is inf"]),
        ("--method miu --tensorboard yes", ["unknown argument yes"]),
        ("--method miu --use_train_aug maybe", ["--use_train_aug maybe: expected true or false"]),
        ("--method miu --optimizer lion", ["'lion'", "sgd, adam"]),
        ("--method miu --seed -1", ["seed is -1", "at least 0"]),
        ("--method miu --rob_approach other", ["--rob_approach other", "target_reweight", "none, dro, subsample"]),
        ("--method ga --rob_approach dro", ["--rob_approach is a flag of", "scrub", "not of ga"]),
        ("--method retrain --rob_approach dro --reweight", ["--rob_approach dro and --reweight", "keep one"]),
        ("--method miu --rob_approach dro --reweight", ["--rob_approach dro and --reweight", "keep one"]),
        ("--method miu --rob_approach dro --ablate_retain", ["--ablate_retain", "--rob_approach dro", "keep one"]),
        ("--method retrain --dro_step_size 0.1", ["--dro_step_size is of --rob_approach dro", "leave this out"]),
        ("--method pretrain --dro_step_size 0", ["dro_step_size is 0.0", "above 0"]),
        ("--method ssd --epochs 3", ["--epochs is a flag of", "not of ssd"]),
        ("--method iu --lr 0.1", ["--lr is a flag of", "not of iu"]),
        ("--method ssd --reweight", ["--reweight does not apply to ssd"]),
        ("--method iu --no-reweight", ["reweight does not apply to iu"]),
        ("--method scrub --ablate_rw", ["--ablate_rw is a flag of miu, not of scrub"]),
        ("--method pretrain --ablate_rw", ["--ablate_rw is a flag of miu, not of pretrain"]),
        ("--method pretrain --reweight", ["--reweight does not apply to pretrain"]),
        ("--method pretrain --no-reweight", ["reweight does not apply to pretrain"]),
        ("--method pretrain --rob_approach target_reweight", ["--reweight does not apply to pretrain"]),
        ("--method scrub --lambda_mi 3", ["--miu_lambda_mi is a flag of miu, not of scrub"]),
        ("--method salun --forget_epochs 3", ["--forget_epochs is a flag of", "miu", "scrub", "not of salun"]),
        ("--method miu --select last", ["--select is a flag of", "pretrain", "not of miu"]),
        ("--method retrain --scrub_rewind", ["--scrub_rewind is a flag of scrub, not of retrain"]),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence(command: str, told: list[str], tmp_path: Path):
    sentence = refused(command, store_dir=tmp_path)
    for word in told:
        assert word in sentence
    assert written(tmp_path) == []


@pytest.mark.parametrize("flag", ["--unlearning", "--image", "--check", "--scrub_a", "--print", "--dry", "--no-rew"])
def test_abbreviations_are_refused(flag: str):
    assert f"unknown argument {flag}" in refused(f"--method scrub {flag} 1")


def test_help_beats_everything():
    assert run("--method nonsense --help").code == 0


@pytest.mark.parametrize("method", ["pretrain", "retrain"])
def test_what_a_run_does_not_start_from_cannot_be_named(method: str):
    sentence = refused(f"--method {method} --original here")
    owners = ", ".join(name for name, kind in METHODS.items() if kind.from_original)
    assert sentence == f"--original is a flag of {owners}, not of {method}; leave it out"


def test_pretrain_is_compared_with_nothing():
    sentence = refused("--method pretrain --reference here")
    owners = ", ".join(name for name in METHODS if name != "pretrain")
    assert sentence.startswith(f"--reference is a flag of {owners}, not of pretrain")


@pytest.mark.parametrize("flag", ["store_dir", "data_dir", "checkpoint_dir"])
@pytest.mark.parametrize("empty", ["", " "])
def test_a_folder_has_a_name(flag: str, empty: str):
    """No name would mean the folder that Python runs in."""
    sentence = refused("--method pretrain", **{flag: empty})
    assert sentence == f"--{flag}: {flag} is {empty!r}, expected the name of a folder (. is the current one)"


@pytest.mark.parametrize("flag", ["weights", "reference", "forget_list"])
@pytest.mark.parametrize("empty", ["", " "])
def test_a_path_has_a_name(flag: str, empty: str):
    """But that of --original, which is searched for without one."""
    sentence = refused("--method retrain", **{flag: empty})
    assert sentence == f"--{flag}: {flag} is {empty!r}, expected a path that is not empty"


@pytest.mark.parametrize("device", ["cpu:3", "cpu:0"])
def test_only_cuda_devices_have_numbers(device: str, tmp_path: Path):
    assert f"--device {device}" in refused("--method pretrain", device=device, store_dir=tmp_path)


def test_a_key_that_an_older_run_did_not_know_stands_at_its_default(tmp_path: Path):
    """Its folder still holds the same run, unless the key is now given."""
    command = "--method pretrain --dataset digits --epochs 1 --threads 1"
    ok(command, store_dir=tmp_path)
    file = next(tmp_path.rglob("config.yaml"))
    stored = yaml.safe_load(file.read_text())
    assert stored["identity"].pop("skip_bad_images") is False
    file.write_text(yaml.safe_dump(stored | {"identity": {**stored["identity"], "original": ""}}))
    assert "already done" in ok(command, store_dir=tmp_path).out
    assert "skip_bad_images is False there and True here" in refused(f"{command} --skip_bad_images", store_dir=tmp_path)
