"""Grids: what they become, how the runs stand, and sweeps on this machine, several at once among them."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli import ROOT, configuration
from workshop import metrics_of

from method.configs.cli import parse
from scripts.sweep import command
from scripts.sweep.grid import first_seeds, read_grid
from scripts.sweep.plan import PlannedRun, plan
from scripts.sweep.slurm_jobs import plan_slurm_jobs
from scripts.sweep.state import DONE, WAITING, State, look, states
from utils import device
from utils.errors import UserError
from utils.locks import locked

Capture = pytest.CaptureFixture[str]
SMALL: dict[str, Any] = {"dataset": "digits", "unlearning_ratio": 0.9, "method": ["salun"]}
FAST = {"epochs": 1, "threads": 1, "num_workers": 0, "batch_size": 512}


def grid_file(folder: Path, **content: Any) -> Path:
    """A grid whose runs are stored beside it."""
    file = folder / "grid.yaml"
    content["set"] = {
        "store_dir": str(folder / "out"),
        "checkpoint_dir": str(folder / "ckpt"),
        **content.get("set", {}),
    }
    file.write_text(yaml.safe_dump(content))
    return file


def planned(folder: Path, *extra: str, **content: Any) -> list[PlannedRun]:
    return plan(read_grid(grid_file(folder, **content)), extra)


def names(runs: list[PlannedRun]) -> list[str]:
    return [run.folder.name for run in runs]


def make(run: PlannedRun, state: str = "done", reason: str | None = None) -> None:
    """The folder of a run that stands like this."""
    run.folder.mkdir(parents=True)
    known = {"config": dict(run.config.values), "identity": run.config.identity()}
    (run.folder / "config.yaml").write_text(yaml.safe_dump(known))
    (run.folder / "status.json").write_text(json.dumps({"state": state, "reason": reason}))
    if state == "done":
        for name in ("model.pt", "metrics.json", "records.npz", "done"):
            (run.folder / name).touch()


def refused(capsys: Capture, *words: Any) -> str:
    """The sentence with which a command is refused."""
    assert command.main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    return captured.err.removeprefix("error: ").strip()


def test_what_a_run_needs_is_added_and_shared_runs_stand_once(tmp_path: Path):
    runs = planned(tmp_path, **{**SMALL, "unlearning_ratio": [0.5, 0.9], "method": ["miu", "salun", "scrub+reweight"]})
    assert names(runs) == [
        "pretrain_0",
        *("retrain_reweight_0.5_0", "retrain_0.5_0", "retrain_reweight_0.9_0", "retrain_0.9_0"),
        *("miu_0.5_0", "salun_0.5_0", "scrub_reweight_0.5_0", "miu_0.9_0", "salun_0.9_0", "scrub_reweight_0.9_0"),
    ]
    assert [run.needs for run in runs] == [(), (), (), (), (), (0, 1), (0, 2), (0, 1), (0, 3), (0, 4), (0, 3)]
    assert [run.index for run in runs] == list(range(11))
    assert all(run.added for run in runs[:5])
    assert not any(run.added for run in runs[5:])


def test_published_names_of_methods_are_the_methods(tmp_path: Path):
    runs = planned(tmp_path, **{**SMALL, "method": ["boundary_sh", "boundary_shrink"]})
    assert names(runs) == ["pretrain_0", "retrain_0.9_0", "boundary_shrink_0.9_0"]


def test_every_number_needs_only_smaller_ones(tmp_path: Path):
    content = {**SMALL, "method": ["retrain", "salun"], "seed": [1, 0], "set": {"reference": "retrain_reweight"}}
    runs = planned(tmp_path, **content)
    assert sorted(names(runs)[2:4]) == ["retrain_reweight_0.9_0", "retrain_reweight_0.9_1"]
    assert all(need < run.index for run in runs for need in run.needs)
    assert [len(run.needs) for run in runs] == [0, 0, 0, 0, 1, 2, 1, 2]


def test_named_models_are_not_made(tmp_path: Path):
    flags = {"original": "/models/pretrain_0", "reference": "/models/retrain_0.9_0"}
    assert names(planned(tmp_path, **SMALL, set=flags)) == ["salun_0.9_0"]


def test_the_pretrained_run_depends_on_the_task_where_its_target_does(tmp_path: Path):
    runs = planned(tmp_path, dataset="celeba", split_number=[0, 1], method="pretrain", unlearning_ratio=[0.1, 0.5])
    assert [str(run.folder.relative_to(tmp_path / "out/celeba/resnet18")) for run in runs] == [
        "pretrain_0",
        "split1/pretrain_0",
    ]
    assert "--split_number" not in runs[0].arguments
    assert "--split_number" in runs[1].arguments


def test_tasks_are_put_together_not_crossed(tmp_path: Path):
    runs = planned(tmp_path, dataset="fairface", split_number=[0, 1], multi_group=[3], method=["retrain"])
    assert [run.folder.parent.name for run in runs] == ["split0", "split1", "multi3"]


def test_tasks_of_every_kind_are_put_together(tmp_path: Path):
    """A list has no ratio, and its file only the runs that forget."""
    file = tmp_path / "requests.txt"
    file.write_text("1.jpg\n2.jpg\n")
    runs = planned(
        tmp_path,
        dataset="waterbird",
        unlearning_ratio=[0.5, 0.9],
        forget_groups=["waterbird:land, 0:1"],
        forget_list=str(file),
        unlearning_type="random",
        method="salun",
    )
    by_task = {"groups": "groups-landbird.water+waterbird.land", "random": "random"}
    by_task["list"] = next(run.config.task for run in runs if run.config.requests)
    tasks = [run.folder.parent.name for run in runs]
    assert {kind: tasks.count(task) for kind, task in by_task.items()} == {"groups": 4, "random": 4, "list": 2}
    assert names(runs)[0] == "pretrain_0"
    assert not any("forget" in word or "unlearning" in word for word in runs[0].arguments)
    of_list = [run for run in runs if run.folder.parent.name == by_task["list"]]
    assert names(of_list) == ["retrain_1_0", "salun_1_0"]
    assert all(str(file) in run.arguments for run in of_list)


def test_flags_of_a_list_are_not_for_its_pretrained_run(tmp_path: Path):
    (tmp_path / "requests.txt").write_text("1.jpg\n")
    lists = {"forget_list": str(tmp_path / "requests.txt")}
    runs = planned(tmp_path, method="salun", **lists, set={"skip_unknown": True})
    assert names(runs) == ["pretrain_0", "retrain_1_0", "salun_1_0"]
    assert ["--skip_unknown" in run.arguments for run in runs] == [False, True, True]


def test_a_tag_is_for_the_listed_runs(tmp_path: Path):
    """Nobody looks for a pretrained or a retrained model that has one."""
    runs = planned(tmp_path, **SMALL, set={"tag": "x"})
    assert names(runs) == ["pretrain_0", "retrain_0.9_0", "salun-x_0.9_0"]


def test_flags_of_one_method_and_of_all_runs(tmp_path: Path):
    content = {
        **SMALL,
        "method": ["miu", "salun"],
        "per_method": {"miu": {"critic_steps": 3}, "pretrain": {"epochs": 7}},
    }
    runs = planned(
        tmp_path, "--lr", "0.5", **content, set={"epochs": 2, "use_train_aug": False, "weight_decay": "1e-4"}
    )
    configs = {run.config.method: run.config for run in runs}
    assert [configs[name].epochs for name in ("pretrain", "retrain", "miu")] == [7, 2, 2]
    assert configs["miu"].miu_critic_steps == 3
    assert all(run.config.lr == 0.5 for run in runs)
    assert configs["salun"].use_train_aug is False
    assert configs["salun"].weight_decay == 1e-4


def test_tags_run_their_methods_once_more_with_other_flags(tmp_path: Path):
    """Every row of the method, with REWEIGHT or not; the others stay as they are."""
    content = {**SMALL, "method": ["salun", "salun+reweight", "miu"], "per_method": {"salun": {"lr": 0.5}}}
    tags = {"other": {"salun": {"relabel": "other"}}, "slow": {"salun": {"lr": 0.1}, "miu": {"lr": 0.2}}}
    runs = planned(tmp_path, **content, tags=tags)
    listed = [run for run in runs if not run.added]
    found = {name: run.config for name, run in zip(names(listed), listed, strict=True)}
    assert set(found) == {
        "salun_0.9_0", "salun_reweight_0.9_0", "miu_0.9_0", "salun-other_0.9_0", "salun_reweight-other_0.9_0",
        "salun-slow_0.9_0", "salun_reweight-slow_0.9_0", "miu-slow_0.9_0",
    }  # fmt: skip
    values = {name: (config.lr, config.values.get("salun_relabel")) for name, config in found.items()}
    assert values["salun_0.9_0"] == (0.5, "uniform")
    assert values["salun_reweight-other_0.9_0"] == (0.5, "other")
    assert values["salun-slow_0.9_0"] == (0.1, "uniform")
    assert values["miu-slow_0.9_0"][0] == 0.2


def test_the_listed_commands_are_the_runs(tmp_path: Path, capsys: Capture):
    file = grid_file(tmp_path, **{**SMALL, "method": ["miu-reweight", "scrub"], "seed": [0, 1]}, set={"epochs": 3})
    assert command.main([str(file), "--", "--lr", "0.25"]) == 0
    header, rule, *rows = capsys.readouterr().out.splitlines()
    runs = plan(read_grid(file), ["--lr", "0.25"])
    assert len(rows) == len(runs)
    start = header.index("command")
    for run, row in zip(runs, rows, strict=True):
        python, main, *arguments = shlex.split(row[start:])
        assert (python, main) == ("python", "main.py")
        assert parse(arguments).config.identity() == run.config.identity()
        assert row[: header.index("needs")].split() == [str(run.index)]
        assert row[header.index("needs") : start].replace("-", "").split() == [str(need) for need in run.needs]


@pytest.mark.parametrize(
    "content, sentence",
    [
        ({"method": "salun", "seeds": 1}, "unknown key 'seeds'; a grid has method, dataset,"),
        ({"method": "salun", "epochs": 1}, "unknown key 'epochs' (put it under set:)"),
        ({"dataset": "digits"}, "method is missing"),
        ({"method": "salon"}, "method is 'salon', expected one of"),
        ({"method": "salun+rewight"}, "method is 'salun+rewight'"),
        ({"method": []}, "method is an empty list"),
        ({"method": "pretrain+reweight"}, "--reweight does not apply to pretrain"),
        ({"method": "salun", "seed": [0, "one"]}, "seed is 'one', expected a whole number"),
        ({"method": "salun", "seed": [0, 0]}, "seed lists 0 twice"),
        (
            {"method": "salun", "unlearning_ratio": 2},
            "unlearning_ratio is 2.0, expected a number above 0 and at most 1",
        ),
        ({"method": "salun", "multi_group": None}, "multi_group is empty"),
        ({"method": "salun", "dataset": "mnist"}, "dataset is 'mnist', expected one of"),
        ({"method": "salun", "multi_group": 3}, "digits"),
        ({"method": "salun", "forget_groups": "10:00"}, "digits has no target '10'"),
        ({"method": "salun", "forget_groups": 600}, "forget_groups is 600, expected a text"),  # 10:00 without quotes
        ({"method": "salun", "forget_groups": [{"high digit": "warm tint"}]}, "forget_groups is {"),
        ({"method": "salun", "forget_list": "absent.txt"}, "--forget_list absent.txt cannot be read"),
        (
            {"method": "salun", "unlearning_type": "group", "set": {"skip_unknown": True}},
            "goes with --forget_list FILE",
        ),
        ({"method": "salun", "set": {"forget_list": "absent.txt"}}, "set: forget_list is crossed"),
        ({"method": "salun", "set": {"epocs": 1}}, "set: unknown key 'epocs'"),
        ({"method": "salun", "set": {"epochs": "many"}}, "set: epochs is 'many', expected a whole number"),
        ({"method": "salun", "set": {"seed": 1}}, "set: seed is crossed"),
        ({"method": "salun", "set": {"reweight": True}}, "set: reweight goes with a method's name"),
        ({"method": "pretrain", "set": {"rob_approach": "dro"}}, "set: rob_approach goes with a method's name"),
        ({"method": "ga+dro"}, "--rob_approach is a flag of "),
        (
            {"method": ["salun", "miu"], "set": {"miu_critic_steps": 1}},
            "does not apply to salun; put it under per_method",
        ),
        ({"method": "salun", "per_method": {"salon": {"lr": 1}}}, "per_method: 'salon' is no method"),
        ({"method": "salun", "per_method": {"miu": {"lr": 1}}}, "per_method: no run of this grid has the method miu"),
        ({"method": "salun", "per_method": {"salun": {"lambda": 1}}}, "per_method, salun: unknown key 'lambda'"),
        ({"method": "salun", "per_method": ["salun"]}, "per_method: expected `method: {flag: value}`"),
        ({"method": "salun", "tags": ["x"]}, "tags: expected `tag: {method: {flag: value}}`, found ['x']"),
        ({"method": "salun", "tags": {"a b": {"salun": {"lr": 1}}}}, "tag is 'a b'"),
        ({"method": "salun", "tags": {"x": {"miu": {"lr": 1}}}}, "tags, x: no run of this grid has the method miu"),
        ({"method": "salun", "tags": {"x": {"salun": {"lambda": 1}}}}, "tags, x, salun: unknown key 'lambda'"),
        ({"method": "salun", "tags": {"x": {"salun": {}}}}, "tags, x: expected `method: {flag: value}`"),
        ({"method": "salun", "tags": {"x": {"salun": {"seed": 1}}}}, "tags, x, salun: seed is crossed"),
    ],
)
def test_a_wrong_grid_is_refused_in_one_sentence(content: dict, sentence: str, tmp_path: Path, capsys: Capture):
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(content))
    told = refused(capsys, file)
    assert str(file) in told
    assert sentence in told


def test_a_key_that_stands_twice_and_a_missing_file_are_refused(tmp_path: Path, capsys: Capture):
    (tmp_path / "grid.yaml").write_text("method: salun\nseed: 1\nseed: 2\n")
    assert "seed stands twice" in refused(capsys, tmp_path / "grid.yaml")
    assert "none.yaml" in refused(capsys, tmp_path / "none.yaml")


def test_group_dro_and_subsampling_are_rows_of_their_own_that_nobody_starts_from(tmp_path: Path):
    runs = planned(tmp_path, **{**SMALL, "method": ["pretrain+dro", "retrain+subsample", "salun"]})
    # The subsampled run is compared with the retrained one, as salun is.
    assert sorted(names(runs)) == [
        "pretrain_0",
        "pretrain_dro_0",
        "retrain_0.9_0",
        "retrain_subsample_0.9_0",
        "salun_0.9_0",
    ]
    assert [run.added for run in runs if run.folder.name in ("pretrain_0", "retrain_0.9_0")] == [True, True]
    salun = next(run for run in runs if run.config.method == "salun")
    assert sorted(runs[number].folder.name for number in salun.needs) == ["pretrain_0", "retrain_0.9_0"]


@pytest.mark.parametrize("flags", ["--seed 3", "--tag x", "--overwrite", "--reweight", "--method miu", "--no_wait"])
def test_flags_that_would_make_other_runs_are_refused(flags: str, tmp_path: Path, capsys: Capture):
    told = refused(capsys, grid_file(tmp_path, **SMALL), "--", *flags.split())
    assert "cannot be given to every run of a sweep" in told


def test_flags_after_the_grid_take_the_place_of_its_own(tmp_path: Path):
    grid = {**SMALL, "method": "salun", "set": {"lr": 0.25, "threads": 1, "wait": True}}
    runs = planned(tmp_path, "--threads", "2", "--lr", "0.5", **grid)
    assert {(run.config.lr, run.config.threads) for run in runs} == {(0.5, 2)}
    assert all(run.arguments.count("--threads") == run.arguments.count("--lr") == 1 for run in runs)
    with pytest.raises(UserError, match="--threads 2 and --threads 3 contradict each other"):
        planned(tmp_path, "--threads", "2", "--threads", "3", **grid)


@pytest.mark.parametrize(
    "text", ["seed: 010", "forget_groups: [1:0]", "tags: {on: {salun: {lr: 1}}}", "set: {tag: no}"]
)
def test_look_alikes_in_a_grid_are_refused(text: str, tmp_path: Path, capsys: Capture):
    (tmp_path / "grid.yaml").write_text(f"method: salun\n{text}\n")
    assert "which YAML reads as" in refused(capsys, tmp_path / "grid.yaml")


def test_two_runs_with_one_folder_are_refused(tmp_path: Path, capsys: Capture):
    """A folder's name has ten digits of the ratio."""
    file = grid_file(tmp_path, **{**SMALL, "unlearning_ratio": [0.5, 0.50000000001]})
    told = refused(capsys, file)
    assert f"two runs would have the folder {tmp_path}/out/digits/small_cnn/split0/" in told
    assert "differ in unlearning_ratio" in told


@pytest.mark.parametrize(
    "name, count",
    [
        ("quickstart", 7),
        ("digits", 155),
        ("digits_audit", 1100),
        ("digits_audit_random", 640),
        ("digits_fidelity", 145),
        ("digits_miu", 85),
        ("digits_miu_map", 215),
        ("digits_quality", 259),
        ("digits_quality_retrained", 96),
        ("digits_seeds", 120),
        ("digits_seeds_classifier", 70),
        ("celeba", 93),
        ("fairface", 93),
        ("waterbird", 93),
        ("waterbird_lite0", 320),
        ("fairface_multi", 63),
        ("skewed_faces", 105),
        ("skewed_faces_fidelity", 145),
        ("skewed_faces_miu_map", 129),
        ("fairface_64", 33),
        ("fairface_64_all", 21),
        ("fairface_64_multi", 11),
    ],  # fmt: skip
)
def test_shipped_grids(name: str, count: int):
    runs = plan(read_grid(ROOT / f"scripts/grids/{name}.yaml"))
    assert len(runs) == count
    assert len({run.folder for run in runs}) == count
    other = {"quickstart": "digits", "skewed": "custom"}
    first = name.partition("_")[0]
    assert {run.config.dataset for run in runs} == {other.get(first, first)}


def test_every_shipped_grid_is_counted():
    counted = test_shipped_grids.pytestmark[0].args[1]
    assert sorted(file.stem for file in (ROOT / "scripts/grids").iterdir()) == sorted(name for name, _ in counted)


def test_the_grid_of_the_audit_leaves_out_alike_and_shares_no_model():
    runs = plan(first_seeds(read_grid(ROOT / "scripts/grids/digits_audit.yaml"), 2))
    assert len(runs) == 22
    assert not any(run.added for run in runs), "the grid names all that is needed"
    assert {run.config.leave_out for run in runs} == {0.1}
    for run in runs:
        assert {runs[need].config.seed for need in run.needs} <= {run.config.seed}


def test_unlearned_models_of_the_quality_grid_share_one_original_and_find_their_retrained_one():
    quality, retrained = (
        plan(first_seeds(read_grid(ROOT / f"scripts/grids/{name}.yaml"), 3))
        for name in ("digits_quality", "digits_quality_retrained")
    )
    assert names(quality)[:3] == ["pretrain_0", "retrain_reweight_0.9_0", "retrain_0.9_0"]
    assert len(quality) == 3 + 8 * 3
    assert all(run.needs[0] == 0 and run.config.seeds[:2] == (0, 0) for run in quality[3:])
    assert {run.folder for run in quality[1:3]} < {run.folder for run in retrained}
    assert sorted(names(retrained))[:4] == ["pretrain_0", "pretrain_1", "pretrain_2", "retrain_0.9_0"]


def test_the_first_seeds_of_a_grid_can_be_asked_for(tmp_path: Path, capsys: Capture):
    file = grid_file(tmp_path, **{**SMALL, "method": "pretrain", "seed": [3, 1, 2]})
    assert command.main([str(file), "--seeds", "2"]) == 0
    assert re.findall(r"--seed (\d)", capsys.readouterr().out) == ["3", "1"]
    assert "--seeds 4 is more than the 3 seeds that it lists" in refused(capsys, file, "--seeds", "4")
    for words in (["--seeds", "0"], ["--seeds", "1", "--index", "0"], ["--seeds", "1", "--slurm_jobs"]):
        with pytest.raises(SystemExit):
            command.main([str(file), *words])


# How runs stand.


def test_states(tmp_path: Path, capsys: Capture):
    content = {**SMALL, "method": ["miu", "salun"], "seed": [0, 1]}
    runs = planned(tmp_path, **content)
    by_name = {run.folder.name: run for run in runs}
    make(by_name["pretrain_0"])
    make(by_name["retrain_0.9_0"], "running")
    make(by_name["retrain_reweight_0.9_0"], "failed", "the loss is not finite")
    make(by_name["pretrain_1"], "interrupted")
    with locked(by_name["pretrain_1"].folder, wait=False):
        found = dict(zip(names(runs), states(runs), strict=True))
        code = command.main([str(tmp_path / "grid.yaml"), "--status"])
    number = by_name["retrain_reweight_0.9_0"].index
    assert found == {
        "pretrain_0": DONE,
        "pretrain_1": State("running", f" on {os.uname().nodename} pid {os.getpid()}"),
        "retrain_reweight_0.9_0": State("failed", ": the loss is not finite"),
        "retrain_0.9_0": State("interrupted"),
        "retrain_reweight_0.9_1": WAITING,
        "retrain_0.9_1": WAITING,
        "miu_0.9_0": State("blocked", f" by run {number}"),
        "salun_0.9_0": WAITING,
        "miu_0.9_1": WAITING,
        "salun_0.9_1": WAITING,
    }
    assert code == 1
    out = capsys.readouterr().out
    assert out.endswith("10 runs: 1 done, 1 running, 1 interrupted, 1 failed, 5 waiting, 1 blocked\n")
    assert f"by run {number}\n" in out


@pytest.mark.parametrize("damage", ["text", "list", "pipe", "endless", "no state", "numbers", "absent", "red"])
def test_a_status_that_cannot_be_read_is_an_interrupted_run(damage: str, tmp_path: Path, capsys: Capture):
    runs = planned(tmp_path, **SMALL)
    make(runs[0], "failed", "reason")
    file = runs[0].folder / "status.json"
    file.unlink()
    if damage == "pipe":
        os.mkfifo(file)
    elif damage == "endless":
        file.symlink_to("/dev/zero")
    elif damage != "absent":
        content = {"text": '{"state": ', "list": "[]", "no state": "{}", "numbers": '{"state": 5, "reason": 6}'}
        file.write_text(content.get(damage, json.dumps({"state": "failed", "reason": "\x1b[31mred\nand two lines"})))
    assert command.main([str(tmp_path / "grid.yaml"), "--status"]) == 1
    told = capsys.readouterr().out
    expected = r"failed: \x1b[31mred and two lines" if damage == "red" else "interrupted"
    assert expected in next(line for line in told.splitlines() if str(runs[0].folder) in line)
    assert "\x1b" not in told


@pytest.mark.parametrize("damage", ["text", "pipe", "folder", "bomb", "identity"])
def test_a_configuration_that_cannot_be_read_is_a_failed_run(damage: str, tmp_path: Path, capsys: Capture):
    runs = planned(tmp_path, **SMALL)
    make(runs[0])
    file = runs[0].folder / "config.yaml"
    file.unlink()
    if damage == "pipe":
        os.mkfifo(file)
    elif damage == "folder":
        file.mkdir()
    else:
        levels = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 12))
        file.write_text({"text": "config: [", "bomb": f"x0: &x0 [a]\n{levels}", "identity": "identity: [1]"}[damage])
    assert command.main([str(tmp_path / "grid.yaml"), "--status"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if str(file) in line)
    assert f"failed: {file} cannot be read (" in line


def test_a_queue_that_is_not_there(tmp_path: Path, capsys: Capture):
    planned(tmp_path, **SMALL)
    assert "--queue" in refused(capsys, tmp_path / "grid.yaml", "--slurm_jobs", "--queue", tmp_path / "absent")


def test_status_is_0_only_when_all_are_done(tmp_path: Path, capsys: Capture):
    runs = planned(tmp_path, **SMALL)
    for run in runs[:-1]:
        make(run)
    assert command.main([str(tmp_path / "grid.yaml"), "--status"]) == 1
    make(runs[-1])
    assert command.main([str(tmp_path / "grid.yaml"), "--status"]) == 0
    assert capsys.readouterr().out.endswith("3 runs: 3 done\n")


def test_another_run_in_the_folder_is_no_done_run(tmp_path: Path):
    make(planned(tmp_path, **SMALL, set={"lr": 0.5})[0])
    state = look(planned(tmp_path, **SMALL)[0])
    assert state.name == "failed"
    assert "holds another run: lr is 0.5 there" in state.detail


def test_checkpoints_serve_instead_of_what_is_only_needed(tmp_path: Path):
    place = tmp_path / "ckpt/digits/small_cnn"
    (place / "pretrain_0").mkdir(parents=True)
    (place / "pretrain_0/model.pt").touch()
    assert [state.name for state in states(planned(tmp_path, **SMALL))] == ["done", "waiting", "waiting"]
    listed = planned(tmp_path, **{**SMALL, "method": ["pretrain", "salun"]})
    assert [state.name for state in states(listed)] == ["waiting"] * 3


def test_a_run_is_not_started_before_what_it_needs(tmp_path: Path, capsys: Capture):
    file = grid_file(tmp_path, **SMALL)
    assert "run 2 needs run 0" in refused(capsys, file, "--index", 2)
    assert "the runs of this grid have the numbers 0 to 2" in refused(capsys, file, "--index", 3)


# What a scheduler is given.


def test_chains_hold_what_is_neither_done_nor_queued(tmp_path: Path):
    runs = planned(tmp_path, **{**SMALL, "method": ["miu", "salun", "scrub"], "seed": [0, 1]})
    make(runs[0])
    assert plan_slurm_jobs(runs, states(runs), None) == (
        "digits/small_cnn/0 retrain 2-3 -\ndigits/small_cnn/0 unlearn 6-8 -\n"
        "digits/small_cnn/1 pretrain 1 -\ndigits/small_cnn/1 retrain 4-5 -\ndigits/small_cnn/1 unlearn 9-11 -\n"
    )
    queue = tmp_path / "queue"
    here = tmp_path / "grid.yaml"
    queue.write_text(f"7 3 {here}\n8 1 {here}\n8 10 {here}\nN/A N/A (null)\n9 1 {tmp_path}/gone.yaml\n9 99 {here}\n")
    assert plan_slurm_jobs(runs, states(runs), queue) == (
        "digits/small_cnn/0 retrain 2 -\ndigits/small_cnn/0 unlearn 6-8 7_3\n"
        "digits/small_cnn/1 retrain 4-5 8_1\ndigits/small_cnn/1 unlearn 9,11 8_1\n"
    )


def test_numbers_in_the_queue_are_those_of_the_grid_they_were_submitted_with(tmp_path: Path):
    old = tmp_path / "old"
    old.mkdir()
    shared = {"store_dir": str(tmp_path / "shared")}
    grid_file(old, **SMALL, set=shared)
    runs = planned(tmp_path, **{**SMALL, "seed": [5, 0]}, set=shared)
    (tmp_path / "queue").write_text(f"7 0 {old / 'grid.yaml'}\n")
    lines = plan_slurm_jobs(runs, states(runs), tmp_path / "queue").splitlines()
    assert "digits/small_cnn/0 retrain 3 7_0" in lines
    assert not any(line.startswith("digits/small_cnn/0 pretrain") for line in lines)


# GPUs, which these machines need not have.


@pytest.mark.parametrize(
    "visible, count, expected",
    [
        (None, 2, ["0", "1"]),
        ("3,5", 2, ["3", "5"]),
        ("GPU-ab, GPU-cd", 2, ["GPU-ab", "GPU-cd"]),
        ("", 0, []),
        (None, 0, []),
    ],
)
def test_gpus_are_named_as_this_process_sees_them(
    visible: str | None, count: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(device.torch.cuda, "device_count", lambda: count)
    assert device.gpu_names() == expected
    assert device.environment_for("GPU-cd")["CUDA_VISIBLE_DEVICES"] == "GPU-cd"
    assert device.environment_for(None) == dict(os.environ)


# Whole sweeps.


def sweep(file: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.sweep", str(file), *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(condition: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def starts(root: Path) -> dict[str, int]:
    """How often each run was started, by its log."""
    logs = root.rglob("run.log")
    return {log.parent.name: len(re.findall(r" INFO (?:starting|continuing) ", log.read_text())) for log in logs}


@pytest.mark.slow
def test_a_failed_run_blocks_what_depends_on_it_and_nothing_else(tmp_path: Path):
    content = {"dataset": "digits", "unlearning_ratio": 0.9, "method": ["miu", "salun"]}
    # A finite loss is out of reach at this rate.
    file = grid_file(tmp_path, **content, set=FAST, per_method={"salun": {"lr": 1e30}})
    make_fail = plan(read_grid(file))[1]
    assert make_fail.folder.name == "retrain_reweight_0.9_0"
    make_fail.folder.mkdir(parents=True)
    (make_fail.folder / "notes.txt").write_text("not a run")
    process = sweep(file, "--run", "--jobs", "2")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 1, out
    table = out.split("\n\n")[-2]
    assert re.search(r"^0 .*pretrain_0 +done$", table, re.M)
    assert re.search(r"^1 .*retrain_reweight_0.9_0 +failed: .*has files but no config.yaml", table, re.M)
    assert re.search(r"^2 .*retrain_0.9_0 +done$", table, re.M)
    assert re.search(r"^3 .*miu_0.9_0 +blocked by run 1$", table, re.M)
    assert re.search(r"^4 .*salun_0.9_0 +failed: .*not finite", table, re.M)
    assert out.endswith("5 runs: 2 done, 2 failed, 1 blocked\n")
    assert starts(tmp_path) == {"pretrain_0": 1, "retrain_0.9_0": 1, "salun_0.9_0": 1}


@pytest.mark.slow
def test_a_signal_reaches_the_runs_and_the_same_command_continues(tmp_path: Path):
    file = grid_file(tmp_path, dataset="digits", method="pretrain", seed=[0, 1, 2], set={**FAST, "epochs": 4})
    process = sweep(file, "--run", "--jobs", "2")
    saved = [tmp_path / f"out/digits/small_cnn/pretrain_{seed}/last.pt" for seed in (0, 1)]
    until(lambda: all(one.exists() for one in saved))
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 75, out
    assert out.endswith("3 runs: 2 interrupted, 1 waiting\nstopped: run the same command to continue\n")
    process = sweep(file, "--run", "--jobs", "2")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert re.findall(r"^run \d done after \d+ s, (\d of 3)", out, re.M) == ["1 of 3", "2 of 3", "3 of 3"]
    assert starts(tmp_path) == {"pretrain_0": 2, "pretrain_1": 2, "pretrain_2": 1}


@pytest.mark.slow
def test_one_run_by_its_number(tmp_path: Path):
    file = grid_file(tmp_path, **SMALL, set=FAST)
    process = sweep(file, "--index", "0")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert out.splitlines()[-1] == f"done: {tmp_path}/out/digits/small_cnn/pretrain_0"
    assert configuration(f"--method pretrain --store_dir {tmp_path}/out").store_dir == f"{tmp_path}/out"


@pytest.mark.slow
def test_eight_processes_on_one_sweep_run_everything_once(tmp_path: Path):
    file = grid_file(tmp_path, **{**SMALL, "method": ["retrain", "salun"], "seed": [0, 1]}, set=FAST)
    processes = [sweep(file, "--run") for _ in range(8)]
    ended = [(process.communicate(timeout=500)[0], process.returncode) for process in processes]
    assert [code for _, code in ended] == [0] * 8, "\n\n".join(out for out, _ in ended)
    assert starts(tmp_path) == dict.fromkeys(names(plan(read_grid(file))), 1)
    for run in plan(read_grid(file)):
        assert metrics_of(run.folder)
        assert not (run.folder / "lock").exists()
