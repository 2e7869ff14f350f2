"""Two flags that give one key two values: neither wins silently."""

import itertools

import pytest
from cli import configuration, refused

from method import run
from method.configs.cli import build_parser
from method.configs.schema import all_keys
from method.registry import ALIASES, METHODS
from utils.errors import UserError

VALUES = {int: ("8", "9"), float: ("0.25", "0.5"), str: ("a", "b")}
# Of `miu`, but for those that another method has alone.
OWNERS = {name: (key.methods or ("miu",)) for name, key in all_keys().items()}


def spellings(name: str) -> list[tuple[str, str]]:
    """Every way to give a key, as (what is typed, the value that it stands for), with two values each."""
    key, found = all_keys()[name], []
    for action in build_parser()._actions:
        if action.dest not in (name, "ablate_rw" if name == "reweight" else name):
            continue
        for flag in action.option_strings:
            if action.nargs == 0:
                switch = str(action.const) if action.const is not None else str(not flag.startswith("--no-"))
                found.append((flag, switch))
            else:
                values = key.choices[:2] or VALUES[int if key.rising else float if key.channels else key.type]
                found += [(f"{flag} {value}", str(value)) for value in values]
    return found


@pytest.mark.parametrize("name", [name for name in all_keys() if name != "method"])
def test_every_pair_of_spellings_of_every_key(name: str):
    method = next(one for one in METHODS if one in OWNERS[name])
    pairs = [pair for pair in itertools.permutations(spellings(name), 2) if pair[0][1] != pair[1][1]]
    assert pairs
    for (first, _), (second, _) in pairs:
        command = f"{first} {second} --method {method}"
        sentence = refused(command)
        assert sentence.endswith(" contradict each other; keep one of them"), (command, sentence)
        assert {*sentence.removesuffix(" contradict each other; keep one of them").split(" and ")} == {first, second}


@pytest.mark.parametrize(
    "flags",
    [
        "--weights mine.pt --no-pretrained",
        "--no-pretrained --weights mine.pt",
        "--wait --no_wait",
        "--no-wait --wait",
        "--seed 1 --seed 2",
        "--lr 0.1 --seed 1 --lr 0.2",
        "--forgetting_epochs 3 --forget_epochs 4",
        "--lambda_mi 1 --miu_lambda_mi 2",
        "--reweight --ablate_rw",
        "--ablate_rw --rob_approach target_reweight",
        "--no-reweight --rob_approach target_reweight",
        "--rob_approach dro --rob_approach target_reweight",
        "--split_number 0 --split_number null",
        "--config a.yaml --config b.yaml",
    ],
)
def test_examples(flags: str):
    assert refused(f"--method miu {flags}").endswith("contradict each other; keep one of them")


def test_methods_too():
    assert refused("--method miu --method scrub") == (
        "--method miu and --method scrub contradict each other; keep one of them"
    )
    for spelling, name in ALIASES.items():
        assert configuration(f"--method {spelling} --method {name}").method == name


@pytest.mark.parametrize(
    "flags",
    [
        "--seed 1 --seed 1",
        "--lr 0.5 --lr=5e-1",
        "--weights none --no-pretrained",
        "--no-wait --no_wait",
        "--lambda_mi 1 --miu_lambda_mi 1.0",
        "--ablate_rw --no-reweight --no-reweight",
        "--tensorboard --tensorboard",
    ],
)
def test_the_same_value_twice_is_no_contradiction(flags: str):
    assert configuration(f"--method miu --dataset waterbird {flags}").method == "miu"


def test_only_one_thing_can_be_asked_for_instead_of_running():
    sentence = refused("--method miu --print_config --dry_run")
    assert "--print_config" in sentence
    assert "--dry_run" in sentence


@pytest.mark.parametrize(
    "flags",
    [
        {"weights": "mine.pt", "pretrained": False},
        {"reweight": True, "ablate_rw": True},
        {"lambda_mi": 1, "miu_lambda_mi": 2},
        {"reweight": False, "rob_approach": "target_reweight"},
        {"wait": True, "no_wait": True},
    ],
)
def test_the_python_interface(flags: dict):
    with pytest.raises(UserError, match="contradict each other"):
        run(method="miu", **flags)
