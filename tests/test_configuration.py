"""Layers, sources, strict YAML, task entries, --config, presets, published spellings, and a run's identity."""

import dataclasses
import hashlib
import os
import pickle
from pathlib import Path

import pytest
import yaml
from cli import configuration, ok, refused

from datasets import DATASETS
from datasets.digits import Digits
from method.configs import loading, schema
from method.configs.key import Key
from method.configs.schema import all_keys, keys_of
from method.registry import METHODS, UNSET, param
from method.unlearners.base import NoParams, Unlearner
from utils.errors import UserError

EXECUTION = {
    "device", "num_workers", "cache", "threads", "data_dir", "store_dir", "checkpoint_dir",
    "tensorboard", "wandb", "wandb_project", "save_every", "wait", "verify_data", "evaluate_every",
    "forget_list_column", "image_digest", "metadata", "split_values",
}  # fmt: skip


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Package files of the test's own: write(fallback=..., digits=...) replaces them."""
    monkeypatch.setattr(loading, "CONFIG_FILES", tmp_path)

    def write(**texts: str) -> None:
        for name in ("fallback", "digits", "fairface"):
            (tmp_path / f"{name}.yaml").write_text(texts.get(name, ""))

    write()
    return write


@pytest.fixture
def config_file(tmp_path: Path):
    """A --config file with this text."""

    def write(text: str, name: str = "mine.yaml") -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


def test_every_layer_overrides_the_one_below_and_is_named(layers, config_file):
    """From the schema up, one layer more at a time; all lower ones go on saying something else."""
    own = config_file("")
    texts = {"fallback": "", "digits": "", "mine": ""}
    entry = "tasks:\n  - {method: l1_sparse, ratio: 0.5, set: {penalty: %s}}\n"
    steps = [
        ("fallback", "l1_sparse_penalty: 1.0e-1\n", 0.1, "fallback.yaml"),
        ("fallback", "l1_sparse: {penalty: 0.2}\n", 0.2, "fallback.yaml [l1_sparse]"),
        ("digits", "l1_sparse_penalty: 0.3\n", 0.3, "digits.yaml"),
        ("digits", "l1_sparse: {penalty: 0.4}\n", 0.4, "digits.yaml [l1_sparse]"),
        ("digits", entry % 0.5, 0.5, "digits.yaml [method l1_sparse, ratio 0.5]"),
        ("mine", "l1_sparse_penalty: 0.6\n", 0.6, "mine.yaml"),
        ("mine", "l1_sparse: {penalty: 0.7}\n", 0.7, "mine.yaml [l1_sparse]"),
        ("mine", entry % 0.8, 0.8, "mine.yaml [method l1_sparse, ratio 0.5]"),
    ]
    config = configuration("--method l1_sparse", config=own)
    assert (config.l1_sparse_penalty, config.sources["l1_sparse_penalty"]) == (5e-4, "schema")
    for file, text, value, source in steps:
        texts[file] += text
        layers(**texts)
        own.write_text(texts["mine"])
        config = configuration("--method l1_sparse", config=own)
        assert (config.l1_sparse_penalty, config.sources["l1_sparse_penalty"]) == (value, source)
    config = configuration("--method l1_sparse --l1_penalty 0.9", config=own)
    assert (config.l1_sparse_penalty, config.sources["l1_sparse_penalty"]) == (0.9, "--l1_sparse_penalty")


def test_a_preset_lies_between_schema_and_files(layers):
    assert configuration("--method salun --preset reference").sources["salun_frozen"] == "preset reference"
    layers(fallback="salun: {frozen: values}")
    config = configuration("--method salun --preset reference")
    assert (config.salun_frozen, config.sources["salun_frozen"]) == ("values", "fallback.yaml [salun]")


@pytest.mark.parametrize("method", METHODS)
def test_preset_reference_gives_the_published_departures(method: str):
    strict, reference = configuration(f"--method {method}"), configuration(f"--method {method} --preset reference")
    departures = {name: key.reference for name, key in keys_of(method).items() if key.reference is not UNSET}
    for name, value in reference.values.items():
        assert value == {**strict.values, **departures, "preset": "reference"}[name]
        assert (reference.sources[name] == "preset reference") == (name in departures)


def test_the_published_departures_are_those_of_the_methods_page():
    miu = configuration("--method miu --preset reference").params
    assert (miu.marginal, miu.psi_features, miu.original_mode) == ("uniform", "model", "train")
    assert (miu.critic_steps_first, miu.critic_steps) == (101, 11)
    assert (miu.critic_refreshes_bn, miu.mean_updates) == (True, "every_pass")
    salun = configuration("--method salun --preset reference").params
    assert (salun.frozen, salun.saliency, salun.relabel) == ("gradients", "batch_means", "uniform")
    strict = configuration("--method miu").params
    assert (strict.marginal, strict.psi_features, strict.original_mode) == ("histogram", "original", "eval")
    assert (strict.critic_steps_first, strict.critic_steps) == (100, 10)
    assert configuration("--method salun").params.frozen == "values"


def test_a_flag_beats_the_preset():
    config = configuration("--method miu --preset reference --miu_critic_steps 3")
    assert (config.miu_critic_steps, config.sources["miu_critic_steps"]) == (3, "--miu_critic_steps")


# One home for each default.


def test_files_only_say_what_differs():
    """A value that repeats the one below it would hide later changes of the latter."""
    fallback = loading.read_layer_file(loading.CONFIG_FILES / "fallback.yaml")
    defaults = {name: key.default for name, key in all_keys().items()}
    for name in ("fallback", *DATASETS):
        file = loading.read_layer_file(loading.CONFIG_FILES / f"{name}.yaml")
        plain = {} if file == fallback else file.plain
        assert not {key for key, value in plain.items() if defaults[key] == value}, name
        for method, section in file.sections.items():
            general = {} if file == fallback else fallback.sections.get(method, {})
            below = {**defaults, **general, **plain}
            assert not {key for key, value in section.items() if below[key] == value}, (name, method)


def test_defaults_of_training_stand_in_fallback_yaml_alone():
    fallback = loading.read_layer_file(loading.CONFIG_FILES / "fallback.yaml").plain
    assert fallback == {
        "batch_size": 32, "epochs": 10, "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "optimizer": "sgd",
        "scheduler": "const", "warmup_epochs": 0, "max_grad_norm": 0, "forget_epochs": 5, "use_train_aug": True,
        "select": "best_val", "dro_step_size": 0.01, "dro_adjustment": 0, "precision": "auto", "compile": False,
        "amsgrad": False, "lr_step_epochs": 5, "lr_milestones": "7", "lr_gamma": 0.1, "lr_end_factor": 0.1,
        "lr_cosine_epochs": 0,
    }  # fmt: skip
    assert {key.name for key in schema._training()} == set(fallback)
    assert all(key.default is UNSET for key in schema._training())
    for name, key in all_keys().items():
        assert (key.home == "fallback.yaml") == (name in fallback), name
        assert key.default is not UNSET, name
    published = {"pretrain", "retrain", "salun", "scrub", "l1_sparse", "miu"}
    assert not published & set(loading.read_layer_file(loading.CONFIG_FILES / "fallback.yaml").sections)
    assert configuration("--method miu --dataset celeba --split_number 1").sources["forget_epochs"] == "fallback.yaml"


def test_a_change_in_fallback_yaml_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (schema.CONFIG_FILES / "fallback.yaml").read_text()
    monkeypatch.setattr(schema, "CONFIG_FILES", tmp_path)
    declared = schema.all_keys.__wrapped__
    (tmp_path / "fallback.yaml").write_text(text.replace("momentum: 0.9 ", "momentum: 0.8 "))
    assert declared()["momentum"].default == 0.8
    (tmp_path / "fallback.yaml").write_text(text.replace("momentum: 0.9 ", "momentum: much "))
    with pytest.raises(UserError, match=r"fallback.yaml: momentum is 'much', expected a number"):
        declared()
    (tmp_path / "fallback.yaml").write_text(text.replace("momentum: 0.9 ", ""))
    with pytest.raises(UserError, match="fallback.yaml: momentum is missing"):
        declared()


def declared_with(monkeypatch: pytest.MonkeyPatch, **attributes: object) -> dict[str, Key]:
    """The keys where there is a further method, `odd`, with these attributes."""
    monkeypatch.setitem(METHODS, "odd", type("Odd", (Unlearner,), attributes))
    return schema.all_keys.__wrapped__()


def params(**fields: object) -> type:
    """A method's `Params` with fields of a whole number: ... stands for no default."""
    listed = [(name, int) if value is ... else (name, int, value) for name, value in fields.items()]
    return dataclasses.make_dataclass("Params", listed, bases=(NoParams,), frozen=True)


def test_a_key_is_shared_by_the_methods_whose_params_name_it(monkeypatch: pytest.MonkeyPatch):
    assert all_keys()["forget_epochs"].methods == ("miu", "scrub")
    assert all_keys()["select"].methods == ("pretrain", "retrain")
    over_retain = {name for name, method in METHODS.items() if method.reweight is not None}
    for name in ("rob_approach", "dro_step_size", "dro_adjustment"):
        assert set(all_keys()[name].methods) == {"pretrain", *over_retain}, name
    own = params(forget_epochs=..., batch_size=..., size=param(3, "its size", at_least=1))
    keys = declared_with(monkeypatch, Params=own)
    assert keys["forget_epochs"].methods == ("miu", "scrub", "odd")
    assert keys["batch_size"].methods is None
    assert (keys["odd_size"].default, keys["odd_size"].at_least, keys["odd_size"].methods) == (3, 1, ("odd",))
    assert [name for name in keys if name.startswith("odd_")] == ["odd_size"]
    assert schema.key_names("odd") == {"forget_epochs": "forget_epochs", "batch_size": "batch_size", "size": "odd_size"}


@pytest.mark.parametrize("field", [{"size": 3}, {"size": ...}, {"forget_epochs": 5}, {"target": ...}, {"lr": ...}])
def test_a_field_that_is_no_key_is_noticed(field: dict[str, object], monkeypatch: pytest.MonkeyPatch):
    """Neither a `param`, nor a key that the method has: a plain default would be a second home."""
    with pytest.raises(ValueError, match=rf"Params\.{next(iter(field))} of odd: declare it by param\(\)"):
        declared_with(monkeypatch, Params=params(**field), has_epochs=False)


def test_help_names_the_methods_that_reweight_by_default(monkeypatch: pytest.MonkeyPatch):
    assert all_keys()["reweight"].help.endswith("; on by default in miu")
    assert declared_with(monkeypatch, reweight=True)["reweight"].help.endswith("; on by default in miu, odd")


def test_config_is_frozen():
    config = configuration("--method miu")
    with pytest.raises(TypeError):
        config.values["lr"] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.values = {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.params.mine_lr = 1.0


def test_config_can_be_pickled():
    """Workers of a data loader are started with what the run holds."""
    config = configuration("--method scrub --epochs 3")
    copy = pickle.loads(pickle.dumps(config))
    assert (dict(copy.values), dict(copy.sources)) == (dict(config.values), dict(config.sources))


# Strict YAML.


@pytest.mark.parametrize(
    "text, told",
    [
        ("lr: 0.1\nepochs: 3\nlr: 0.2\n", ["line 3", "lr stands twice"]),
        ("miu:\n  lambda_mi: 1\n  lambda_mi: 2\n", ["line 3", "lambda_mi stands twice"]),
        ("learning_rate: 0.1\n", ["unknown key 'learning_rate'"]),
        ("salun: {lambda_mi: 1}\n", ["[salun]", "unknown key 'lambda_mi'"]),
        ("on: 1\n", ["unknown key 'on'"]),
        ("lr: fast\n", ["lr is 'fast'", "expected a number above 0"]),
        ("lr: [0.1]\n", ["lr is [0.1]", "expected a number"]),
        ("lr:\n", ["lr is empty"]),
        ("lr: true\n", ["lr is True", "expected a number"]),
        ("lr: .inf\n", ["lr is inf", "expected a number"]),
        ("lr: .nan\n", ["lr is nan", "expected a number"]),
        ("lr: 0\n", ["lr is 0.0", "above 0"]),
        ("epochs: true\n", ["epochs is True", "expected a whole number at least 1"]),
        ("epochs: 2.0\n", ["epochs is 2.0", "expected a whole number"]),
        ("epochs: 0\n", ["epochs is 0", "at least 1"]),
        ("scheduler: off\n", ["scheduler is off in line 1", "reads as false", "quote it"]),
        ("tag: off\n", ["tag is off in line 1", "reads as false", "quote it ('off')"]),
        ("tag: 12\n", ["tag is 12", "expected a text", "in quotes it is one"]),
        ("use_train_aug: 1\n", ["use_train_aug is 1", "true or false"]),
        ("use_train_aug: 'yes'\n", ["use_train_aug is 'yes'", "true or false"]),
        ("lr: {a: 1\n", ["cannot be read as YAML", "line 2"]),
        ("lr: 0.1\n\tepochs: 3\n", ["cannot be read as YAML", "line 2"]),
        ("? [a, b]\n: 1\n", ["cannot be read as YAML", "unhashable"]),
        ("!!python/object/apply:os.getcwd []\n", ["cannot be read as YAML", "python/object"]),
        ("- lr\n- epochs\n", ["expected lines `key: value`", "list"]),
        ("just words\n", ["expected lines `key: value`", "str"]),
        ("miu: 3\n", ["[miu]", "expected lines `key: value`", "3"]),
        ("miu: false\n", ["[miu]", "expected lines `key: value`", "False"]),
        ("miu: {dataset: digits}\n", ["[miu]", "dataset cannot depend on the method"]),
        ("tasks: 3\n", ["tasks", "3"]),
        ("tasks: {method: miu}\n", ["tasks"]),
        ("tasks: [miu]\n", ["tasks[0]", "expected method"]),
        ("tasks: [{ratio: 0.5, set: {lr: 1}}]\n", ["tasks[0]", "expected method"]),
        ("tasks: [{method: miu, ratio: 0.5}]\n", ["tasks[0]", "set"]),
        ("tasks: [{method: mui, set: {lr: 1}}]\n", ["tasks[0]", "method is 'mui'", "one of", "pretrain"]),
        ("tasks: [{method: miu, rate: 0.5, set: {lr: 1}}]\n", ["tasks[0]", "unknown 'rate'", "ratio"]),
        ("tasks: [{method: miu, ratio: half, set: {lr: 1}}]\n", ["tasks[0]", "'half'", "a number"]),
        ("tasks: [{method: salun, set: {lambda_mi: 1}}]\n", ["tasks[0]", "unknown key 'lambda_mi'"]),
    ],
)  # fmt: skip
def test_bad_yaml_is_one_sentence_that_names_the_file(text: str, told: list[str], config_file):
    sentence = refused("--method l1_sparse --print_config", config=config_file(text))
    assert "mine.yaml" in sentence
    for word in told:
        assert word in sentence


def test_yaml_that_is_no_text(config_file, tmp_path: Path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01lr: 1")
    assert "binary.yaml cannot be read as YAML" in refused("--method miu", config=tmp_path / "binary.yaml")
    absent = tmp_path / "absent.yaml"
    assert f"no configuration file {absent}" in refused("--method miu", config=absent)
    assert "cannot be read" in refused("--method miu", config=tmp_path)


@pytest.mark.parametrize("text, value", [("1e-4", 1e-4), ("1.0e4", 1e4), ("1", 1.0), ("5e-05", 5e-5), ("'0.25'", 0.25)])
def test_numbers_that_yaml_reads_as_something_else(text: str, value: float, config_file):
    config = configuration("--method miu", config=config_file(f"lr: {text}\n"))
    assert config.lr == value
    assert type(config.lr) is float


@pytest.mark.parametrize("text, value", [("off", False), ("on", True), ("false", False), ("'true'", True)])
def test_true_and_false(text: str, value: bool, config_file):
    assert configuration("--method miu", config=config_file(f"use_train_aug: {text}\n")).use_train_aug is value


LOOK_ALIKES = [
    ("seed: 010", "seed", "010", "the number 8"),
    ("seed: -010", "seed", "-010", "the number -8"),
    ("seed: 0x1F", "seed", "0x1F", "the number 31"),
    ("seed: 0b11", "seed", "0b11", "the number 3"),
    ("seed: 1_000", "seed", "1_000", "the number 1000"),
    ("seed: 12:30:45", "seed", "12:30:45", "the number 45045"),
    ("lr: 1_0.5", "lr", "1_0.5", "the number 10.5"),
    ("lr: 1:30.5", "lr", "1:30.5", "the number 90.5"),
    ("forget_groups: 1:0", "forget_groups", "1:0", "the number 60"),
    ("tag: on", "tag", "on", "true"),
    ("tag: No", "tag", "No", "false"),
    ("tag: 2024-06-01", "tag", "2024-06-01", "a date"),
    ("tag: 2024-06-01 12:00:00", "tag", "2024-06-01 12:00:00", "a date"),
    ("tag: ~", "tag", "~", "null"),
    ("data_dir: ~", "data_dir", "~", "null"),
    ("forget_list: ~", "forget_list", "~", "null"),
    ("tag: 0x" + "f" * 5000, "tag", "0xffff", "a number of many digits"),
    ("tag: !!binary aGk=", "tag", "aGk=", "something else than a text"),
    ("epochs: yes", "epochs", "yes", "true"),
]


@pytest.mark.parametrize("text, name, value, reading", LOOK_ALIKES)
def test_what_yaml_reads_as_something_else_is_refused(text: str, name: str, value: str, reading: str, config_file):
    sentence = refused("--method miu", config=config_file(f"lr: 0.1\n{text}\n" if name != "lr" else f"\n{text}\n"))
    assert f"mine.yaml: {name} is {value}" in sentence
    for word in ("in line 2", f"YAML reads as {reading}", f"quote it ('{value}"):
        assert word in sentence


@pytest.mark.parametrize(
    "text, name, value",
    [
        ("seed: '010'", "seed", 10),
        ("seed: 08", "seed", 8),
        ("seed: +3", "seed", 3),
        ("forget_groups: '1:0'", "forget_groups", "high digit:warm tint"),
        ('tag: "on"', "tag", "on"),
        ("tag: y", "tag", "y"),
        ("tag: '2024-06-01'", "tag", "2024-06-01"),
        ("split_number: ~", "split_number", 0),
        ("split_number: null", "split_number", 0),
        ("forget_list:", "forget_list", None),
        ("compile: yes", "compile", True),
        ("lr: .5", "lr", 0.5),
        ("lr: 1.", "lr", 1.0),
        ("lr: 1e3", "lr", 1000.0),
        ("lr: 007.5", "lr", 7.5),
    ],
)
def test_what_has_one_reading_is_read(text: str, name: str, value: object, config_file):
    assert configuration("--method miu", config=config_file(f"{text}\n")).values[name] == value


def test_look_alikes_in_sections_entries_and_names(config_file):
    for text in (
        "miu: {lambda_mi: 010}",
        "tasks: [{method: miu, ratio: 1:0, set: {lr: 1}}]",
        "&a lr: &b 010\nseed: *b",
    ):
        assert "which YAML reads as" in refused("--method miu", config=config_file(f"{text}\n"))
    assert "unknown key '010'" in refused("--method miu", config=config_file("010: 3\n"))
    assert "010 stands twice" in refused("--method miu", config=config_file("010: 3\n010: 4\n"))


def test_print_config_quotes_what_would_be_read_as_something_else(config_file):
    for tag in ("on", "010", "1_000", "2024-06-01", "y", "08", "1e5", "0o7"):
        printed = config_file(ok(f"--method miu --tag {tag} --print_config").out)
        assert configuration("", config=printed).tag == tag


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_configuration_is_a_regular_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path / "pipe", "a named pipe"), ("/dev/null", "a device"), (tmp_path, "a folder")):
        sentence = refused("--method miu", config=path)
        assert sentence.startswith(f"{path} cannot be read (it is {what}, expected a regular file)")


def test_an_empty_file_changes_nothing(config_file):
    for text in ("", "# nothing\n", "miu:\ntasks:\n"):
        assert configuration("--method miu", config=config_file(text)).values == configuration("--method miu").values


# Sections and entries for tasks.


def test_a_section_is_for_its_method_alone(config_file):
    file = config_file("scrub: {lr: 0.5, alpha: 0.25}\nmiu: {lambda_mi: 7}\n")
    scrub, miu = configuration("--method scrub", config=file), configuration("--method miu", config=file)
    assert (scrub.lr, scrub.scrub_alpha) == (0.5, 0.25)
    assert miu.lr != 0.5
    assert (miu.miu_lambda_mi, miu.sources["miu_lambda_mi"]) == (7.0, "mine.yaml [miu]")
    salun = configuration("--method salun", config=file)
    assert "mine.yaml" not in "".join(salun.sources.values())


def test_a_key_of_another_method_in_a_shared_file_does_not_matter(config_file):
    """One file may hold the keys of all methods; only those of the run's own count."""
    file = config_file("scrub_alpha: 0.5\nmiu_lambda_mi: 3\n")
    values = configuration("--method scrub", config=file).values
    assert values["scrub_alpha"] == 0.5
    assert "miu_lambda_mi" not in values


TASKS = """
tasks:
  - {method: miu, set: {lr: 0.01}}
  - {method: miu, ratio: 0.5, set: {lr: 0.02, epochs: 4}}
  - {method: miu, ratio: 0.5, reweight: false, set: {lr: 0.03}}
  - {method: miu, ratio: [0.1, 0.9], split_number: 0, set: {lr: 0.04}}
  - {method: [scrub, salun], multi_group: 3, set: {lr: 0.05}}
"""


@pytest.mark.parametrize(
    "command, lr, epochs",
    [
        ("--method miu --unlearning_ratio 0.7", 0.01, 10),
        ("--method miu --unlearning_ratio 0.5", 0.02, 4),
        ("--method miu --unlearning_ratio 0.5 --no-reweight", 0.03, 4),
        ("--method miu --unlearning_ratio 0.1", 0.04, 10),
        ("--method miu --unlearning_ratio 0.9", 0.04, 10),
        ("--method miu --unlearning_ratio 0.9 --split_number 1", 0.01, 10),
        ("--method miu --multi_group 3", 0.02, 4),
        ("--method salun --multi_group 3", 0.05, 10),
        ("--method scrub --multi_group 3 --unlearning_ratio 0.1", 0.05, 10),
        ("--method scrub --multi_group 4", 0.1, 10),
        ("--method scrub --multi_group 3 --lr 0.7", 0.7, 10),
    ],
)
def test_the_more_specific_entry_wins(command: str, lr: float, epochs: int, layers):
    layers(fairface=TASKS)
    config = configuration(f"{command} --dataset fairface")
    assert (config.lr, config.epochs) == (lr, epochs)


def test_a_tie_between_entries_is_an_error(layers):
    tie = "tasks:\n  - {method: miu, ratio: 0.5, set: {lr: 1}}\n  - {method: miu, reweight: true, set: {lr: %s}}\n"
    layers(digits=tie % 2)
    sentence = refused("--method miu --print_config")
    for word in ("digits.yaml", "method miu, ratio 0.5", "method miu, reweight True", "lr", "1.0", "2.0"):
        assert word in sentence
    assert configuration("--method miu --no-reweight").lr == 1.0
    assert configuration("--method miu --unlearning_ratio 0.9").lr == 2.0
    layers(digits=tie % 1)
    assert configuration("--method miu").lr == 1.0


def test_a_tie_is_settled_by_a_more_specific_entry(layers):
    tie = "tasks:\n  - {method: miu, ratio: 0.5, set: {lr: 1}}\n  - {method: miu, reweight: true, set: {lr: 2}}\n"
    layers(digits=tie + "  - {method: miu, ratio: 0.5, reweight: true, set: {lr: 3}}\n")
    assert configuration("--method miu").lr == 3.0


@pytest.mark.parametrize(
    "key, value", [("reweight", "false"), ("unlearning_ratio", 0.5), ("split_number", 0), ("skip_unknown", "true")]
)
def test_an_entry_cannot_set_what_chooses_it(key: str, value: object, config_file):
    file = config_file(f"tasks:\n  - {{method: miu, set: {{{key}: {value}}}}}\n")
    sentence = refused("--method miu --print_config", config=file)
    assert "tasks[0]" in sentence
    assert key in sentence


def test_a_section_can_choose_the_task_entries(layers):
    """REWEIGHT from a section decides which entry counts, just as from a flag."""
    entries = "tasks:\n  - {method: scrub, reweight: true, set: {lr: 0.3}}\n"
    layers(digits=entries)
    assert configuration("--method scrub").lr == 0.1
    layers(digits="scrub: {reweight: true}\n" + entries)
    assert configuration("--method scrub").lr == 0.3


def test_tasks_nobody_tuned_are_named():
    notes = configuration("--method miu --dataset celeba --split_number 1").notes
    assert len(notes) == 1
    assert "nobody tuned miu for celeba split1 ratio 0.5" in notes[0]
    assert "use_train_aug True" in notes[0]
    assert (
        "lr" not in notes[0].replace("use_train_aug", "").split("defaults")[1]
    )  # lr is shared by all of celeba's tasks


@pytest.mark.parametrize(
    "command",
    [
        "--method miu --dataset celeba --unlearning_ratio 0.5",
        "--method miu --dataset fairface --unlearning_ratio 0.9",
        "--method miu --dataset fairface --multi_group 5",
        "--method miu --dataset waterbird --unlearning_ratio 0.1 --no-reweight",
        "--method scrub --dataset fairface --multi_group 3",
        "--method salun --dataset celeba --split_number 1",
        "--method pretrain --dataset fairface",
        "--method miu --dataset celeba --split_number 1 --use_train_aug",
    ],
)
def test_no_note_where_all_is_tuned_or_given(command: str):
    assert configuration(command).notes == ()


@pytest.mark.parametrize(
    "command", ["--method miu --dataset fairface --multi_group 4", "--method miu --dataset waterbird --split_number 1"]
)
def test_a_note_for_every_other_task(command: str):
    notes = configuration(command).notes
    assert len(notes) == 1
    assert "mine_lr" in notes[0]


# --config FILE.


@pytest.mark.parametrize(
    "command",
    [
        "--method miu --dataset fairface --multi_group 5 --unlearning_ratio 0.5 --seed 3 --lr 1e-5",
        "--method pretrain --dataset celeba --split_number 1 --threads 2",
        "--method salun --dataset waterbird --preset reference --reweight --tag null",
        "--method scrub --scrub_rewind",
        "--method scrub --dataset fairface --forget_groups 'more than 70:6,0-2:white'",
        "--method scrub --unlearning_type random --unlearning_ratio 0.1",
        "--method l1_sparse --l1_penalty 2e-07 --num_workers 0 --data_dir 'a # folder: with \"marks\"' --store_dir '~'",
        f"--method retrain --data_dir '{'a long folder name ' * 12}end'",
    ],
)
def test_printed_configuration_is_read_back(command: str, config_file):
    printed = ok(f"{command} --print_config").out
    config, again = configuration(command), configuration("", config=config_file(printed))
    assert dict(again.values) == dict(config.values)
    assert set(again.sources.values()) <= {"mine.yaml"}
    assert again.identity() == config.identity()


def test_flags_go_above_the_file(config_file):
    file = config_file("method: scrub\ndataset: waterbird\nlr: 0.5\nepochs: 2\n")
    config = configuration("--lr 0.25", config=file)
    assert (config.method, config.dataset, config.lr, config.epochs) == ("scrub", "waterbird", 0.25, 2)
    assert [config.sources[key] for key in ("method", "lr", "epochs")] == ["mine.yaml", "--lr", "mine.yaml"]
    assert configuration("--method salun", config=file).method == "salun"


def test_a_file_chooses_the_preset(config_file):
    config = configuration("--method salun", config=config_file("preset: reference\n"))
    assert (config.salun_frozen, config.sources["salun_frozen"]) == ("gradients", "preset reference")


def test_published_reweight_spellings_work_with_a_file(config_file):
    file = config_file("method: miu\n")
    assert configuration("--ablate_rw", config=file).reweight is False
    assert configuration("--rob_approach target_reweight", config=config_file("method: scrub\n")).reweight is True


# Published spellings.


@pytest.mark.parametrize(
    "method, spelling, key, value",
    [
        ("scrub", "--alpha_scrub 0.125", "scrub_alpha", 0.125),
        ("scrub", "--gamma_scrub 0.5", "scrub_gamma", 0.5),
        ("scrub", "--temperature_scrub 2", "scrub_temperature", 2.0),
        ("scrub", "--batch_size_retain 64", "scrub_batch_size_retain", 64),
        ("scrub", "--forgetting_epochs 3", "forget_epochs", 3),
        ("miu", "--forgetting_epochs 3", "forget_epochs", 3),
        ("l1_sparse", "--l1_penalty 0.25", "l1_sparse_penalty", 0.25),
        ("salun", "--saliency_threshold 0.25", "salun_saliency_ratio", 0.25),
        ("miu", "--mine_lr 0.25", "miu_mine_lr", 0.25),
        ("miu", "--lambda_mi 3", "miu_lambda_mi", 3.0),
        ("miu", "--ablate_rw", "reweight", False),
        ("miu", "--ablate_alignment", "miu_ablate_alignment", True),
        ("miu", "--ablate_unlearn", "miu_ablate_unlearn", True),
        ("miu", "--ablate_retain", "miu_ablate_retain", True),
        ("scrub", "--rob_approach target_reweight", "reweight", True),
        ("retrain", "--rob_approach target_reweight", "reweight", True),
        ("pretrain", "--no-pretrained", "weights", "none"),
    ],
)
def test_published_spellings_are_the_same_key(method: str, spelling: str, key: str, value: object):
    published = configuration(f"--method {method} --dataset waterbird {spelling}")
    before = configuration(f"--method {method} --dataset waterbird").values
    assert before[key] != value
    assert published.values == {**before, key: value}
    assert published.sources[key] == f"--{key}"
    ours = f"--{key} {value}" if not isinstance(value, bool) else f"--{key}" if value else f"--no-{key}"
    assert configuration(f"--method {method} --dataset waterbird {ours}").values == published.values


def test_reweight_defaults():
    assert {method: configuration(f"--method {method}").values.get("reweight") for method in METHODS} == {
        "pretrain": None, "retrain": False, "miu": True, "salun": False, "scrub": False, "l1_sparse": False,
        "ft": False, "rl": False, "bad_teacher": False, "ga": None, "boundary_shrink": None, "boundary_expand": None,
        "neggrad_plus": False, "falw": False, "ssd": None, "iu": None,
    }  # fmt: skip


def test_reweight_for_and_against_is_an_error():
    assert "--ablate_rw and --reweight contradict" in refused("--method miu --reweight --ablate_rw")
    told = refused("--method scrub --no-reweight --rob_approach target_reweight")
    assert "--no-reweight and --rob_approach target_reweight contradict" in told
    assert configuration("--method miu --no-reweight --ablate_rw").reweight is False


# What is forgotten.


@pytest.mark.parametrize(
    "typed",
    ["waterbird:land, landbird:water", "landbird:water,waterbird:land,1:0", " WaterBird : LAND ,0:1", "1:0,0:1,0:1"],
)
def test_every_spelling_of_the_same_groups_is_the_same_run(typed: str):
    config = configuration("--method scrub --dataset waterbird", forget_groups=typed)
    assert config.forget_groups == "landbird:water, waterbird:land"
    assert config.task == "groups-landbird.water+waterbird.land"
    assert (config.split_number, config.multi_group) == (None, None)


def test_a_list_is_its_names_in_any_order_wherever_it_lies(tmp_path: Path):
    lists = {
        "a.txt": "x.jpg\n7\ny.jpg\n",
        "b.txt": "# June\n\ny.jpg\nx.jpg\n./7\n",
        "c.csv": "n,file\n1,7\n2,y.jpg\n3,x.jpg\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    one, other, third = (configuration("--method miu", forget_list=tmp_path / name) for name in lists)
    assert one.requests == other.requests == third.requests == ("7", "x.jpg", "y.jpg")
    assert one.identity() == other.identity() == third.identity()
    digest = hashlib.sha256(b"1:7,5:x.jpg,5:y.jpg,").hexdigest()
    assert one.identity()["forget_list"] == digest
    assert one.task == f"list-{digest[:8]}"
    (tmp_path / "a.txt").write_text("x.jpg\n7\nz.jpg\n")
    assert configuration("--method miu", forget_list=tmp_path / "a.txt").task != one.task
    assert pickle.loads(pickle.dumps(one)).task == one.task


def test_all_of_a_list_is_forgotten(tmp_path: Path, config_file):
    (tmp_path / "list.txt").write_text("x.jpg\n")
    command = f"--method miu --forget_list {tmp_path / 'list.txt'}"
    config = configuration(command)
    assert (config.unlearning_ratio, config.sources["unlearning_ratio"]) == (1.0, "--forget_list")
    assert "--unlearning_ratio 0.9 does not apply to --forget_list" in refused(f"{command} --unlearning_ratio 0.9")
    assert configuration(f"{command} --unlearning_ratio 1").identity() == config.identity()
    printed = config_file(ok(f"{command} --print_config").out)
    assert configuration("", config=printed).identity() == config.identity()


def test_a_data_set_without_forget_groups_must_be_told_what_to_forget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Its names are known when the labels are read, not before."""

    class Untold(Digits):
        forget_pairs = target_names = sensitive_names = ()

        @classmethod
        def load(cls, data_dir, split_number, seed):
            return Digits.load(data_dir, split_number, seed)

    monkeypatch.setattr("datasets.digits.Digits", Untold)
    sentence = refused("--method scrub")
    for flag in ("--forget_groups TARGET:SENSITIVE", "--forget_list FILE", "--unlearning_type random"):
        assert flag in sentence
    assert configuration("--method pretrain").split_number is None
    assert "digits has no numbered groups; use --forget_groups" in refused("--method scrub --split_number 0")
    config = configuration("--method scrub", forget_groups="high digit :warm tint,Odd:Blue/1")
    assert config.forget_groups == "Odd:Blue/1, high digit:warm tint"
    command = "--method scrub --forget_groups 'high digit:warm tint' --dry_run"
    assert "groups-high_digit.warm_tint." in ok(command, store_dir=tmp_path).out
    assert "digits has no target 'Odd'; expected one of low digit, high digit" in refused(
        "--method scrub --forget_groups Odd:0 --dry_run", store_dir=tmp_path
    )


def test_the_entries_for_a_group_are_not_for_the_same_group_by_name(layers):
    layers(digits="tasks:\n  - {method: scrub, split_number: 0, set: {lr: 0.3}}\n")
    by_number, by_name = configuration("--method scrub"), configuration("--method scrub --forget_groups 1:0")
    assert (by_number.lr, by_name.lr) == (0.3, 0.1)
    assert "nobody tuned scrub for digits groups-high_digit.warm_tint." in by_name.notes[0]


# Identity.


@pytest.mark.parametrize("method", METHODS)
def test_identity_is_what_can_change_a_number(method: str):
    """Every key of the method is either compared or known not to matter."""
    identity = set(configuration(f"--method {method} --dataset fairface").identity())
    of_task = {"unlearning_ratio", "unlearning_type", "split_number", "multi_group", "forget_groups", "forget_list"}
    left_out = EXECUTION | (of_task | {"skip_unknown"} if method == "pretrain" else set())
    left_out |= {"forget_seed", "train_seed"}  # there where they differ from --seed alone: tests/test_seeds.py
    left_out |= {"leave_out"}  # there above 0 alone: tests/test_leave_out.py
    left_out |= {"freeze_backbone", "hidden_dim"}  # there where the first is on: tests/test_frozen.py
    assert identity == set(keys_of(method, "fairface")) - left_out
    assert {name for name, key in all_keys().items() if key.execution} == EXECUTION


def test_execution_keys_do_not_change_the_identity():
    execution = "--device cpu --num_workers 3 --threads 2 --data_dir a --store_dir b --checkpoint_dir c"
    plain, moved = configuration("--method miu"), configuration(f"--method miu {execution}")
    assert moved.values != plain.values
    assert moved.identity() == plain.identity()


@pytest.mark.parametrize(
    "flag",
    [
        *("--seed 1", "--unlearning_ratio 0.4", "--split_number 1", "--no-reweight", "--preset reference", "--tag a"),
        *("--model small_cnn", "--image_size 64", "--weights none", "--lr 0.3", "--miu_mine_lr 0.5"),
        *(
            "--precision bf16",
            "--eval_precision bf16",
            "--compile",
            "--original here",
            "--reference retrain",
            "--skip_bad_images",
        ),
        *("--forget_groups 1:0", "--unlearning_type random", "--forget_seed 1", "--train_seed 1", "--leave_out 0.1"),
    ],
)
def test_any_other_key_does(flag: str):
    base = "--method miu --dataset waterbird"
    assert configuration(f"{base} {flag}").identity() != configuration(base).identity()


@pytest.mark.parametrize(
    "flag",
    [
        "--unlearning_ratio 0.1",
        "--split_number 1",
        "--multi_group 3",
        "--forget_groups 0:0",
        "--unlearning_type random",
    ],
)
def test_pretrain_does_not_depend_on_the_task(flag: str):
    base = "--method pretrain --dataset fairface"
    assert configuration(f"{base} {flag}").identity() == configuration(base).identity()


def test_celebas_other_target_is_another_pretrained_model():
    """Attractive in place of blond: the label that the model predicts depends on the split."""
    first, second = (configuration(f"--method pretrain --dataset celeba --split_number {n}") for n in (0, 1))
    assert first.identity() != second.identity()
    assert "split_number" not in first.identity()
    assert first.identity() == configuration("--method pretrain --dataset celeba --unlearning_ratio 0.9").identity()


def test_leaving_out_a_default_is_the_same_run():
    explicit = "--dataset digits --split_number 0 --unlearning_ratio 0.5 --seed 0 --reweight --preset strict"
    assert configuration(f"--method miu {explicit}").identity() == configuration("--method miu").identity()


def test_combinations_without_a_loss_are_refused():
    sentence = refused("--method miu --ablate_alignment --ablate_retain")
    assert "--ablate_alignment" in sentence
    assert "--ablate_retain" in sentence


def test_a_key_of_another_method_cannot_be_read():
    with pytest.raises(AttributeError, match="scrub has no key 'miu_lambda_mi'"):
        configuration("--method scrub").miu_lambda_mi  # noqa: B018


def test_sections_of_the_package_files_are_valid_for_every_method():
    """Each file is read whole whichever method runs, so a mistake in another method's section shows at once."""
    for file in sorted(loading.CONFIG_FILES.glob("*.yaml")):
        assert loading.read_layer_file(file).name == file.name
        assert isinstance(yaml.safe_load(file.read_text()), dict)
    assert {file.stem for file in loading.CONFIG_FILES.glob("*.yaml")} == {"fallback", *DATASETS}


def test_a_mistake_in_another_methods_section_shows_at_once(config_file):
    with pytest.raises(UserError, match="scrub"):
        configuration("--method miu", config=config_file("scrub: {alpha: high}\n"))
