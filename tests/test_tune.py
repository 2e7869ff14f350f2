"""Searches for hyperparameters: ranges, what is compared, the study and its workers, what is said of the outcome."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli import ROOT, configuration, ok
from scipy.stats import ks_2samp

from datasets.splits import Splits, save_splits
from method.configs.key import SCHEMA
from method.configs.layers import read_layer_file
from method.configs.schema import CONFIG_FILES, all_keys, keys_of, search_ranges
from method.evaluation.records import Records
from method.registry import METHODS
from method.runs.folder import folder_of
from scripts.tune import command, objective, plot
from scripts.tune.best_file import entry, write_best
from scripts.tune.findings import csv_table, describe, find_best, text_table
from scripts.tune.runs import Runs
from scripts.tune.space import Axis, default_setting, find_space, read_setting, spell_setting
from scripts.tune.study import DEFAULT, JOURNAL, TYPED, WORKERS, Study, Trial
from utils.errors import RunError, UserError
from utils.locks import Holder

Capture = pytest.CaptureFixture[str]
TUNABLE = [name for name, method in METHODS.items() if method.from_original]
LR = Axis(all_keys()["lr"], 1e-4, 0.1, log=True)
EPOCHS = Axis(all_keys()["epochs"], 1, 8)
needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="Optuna is not installed")


# Ranges.


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_ranges_that_its_keys_allow(method: str):
    ranges, keys = search_ranges(method), keys_of(method)
    assert ranges
    assert ("lr" in ranges) == METHODS[method].has_epochs
    assert set(METHODS[method].search) <= set(keys)
    for name, found in ranges.items():
        assert found.low < found.high
        assert found.low > 0 or not found.log
        assert found.within in ("", *keys)
        for end in (found.low, found.high):
            assert keys[name].coerce(str(end), "test") == end


@pytest.mark.parametrize("method", TUNABLE)
def test_ranges_hold_the_defaults_and_every_value_that_a_data_set_s_file_has(method: str):
    keys, ranges = keys_of(method), search_ranges(method)
    values = [(name, "schema", keys[name].default) for name in ranges if keys[name].home == SCHEMA]
    for file in CONFIG_FILES.glob("*.yaml"):
        layers = read_layer_file(file)
        tables = [{**layers.plain, **layers.sections.get(method, {})}]
        tables += [one.values for one in layers.tasks if method in one.match["method"]]
        values += [(name, file.name, table[name]) for table in tables for name in ranges if name in table]
    assert {name for name, _, _ in values} == set(ranges)
    assert [one for one in values if not ranges[one[0]].low <= one[2] <= ranges[one[0]].high] == []


def test_flags_are_fixed_and_counts_of_epochs_end_at_the_epochs():
    config = configuration("--method miu --epochs 3 --miu_lambda_mi 2")
    space = find_space(config, [])
    assert {name: axis.describe() for name, axis in space.items()} == {
        "lr": "3e-05:0.3:log", "forget_epochs": "1:3", "miu_mine_lr": "0.0003:0.3:log",
    }  # fmt: skip
    assert default_setting(config, space) == {"lr": 0.01, "forget_epochs": 3, "miu_mine_lr": 0.01}
    assert "forget_epochs" not in find_space(configuration("--method miu --epochs 1"), [])


def test_a_range_that_is_typed_narrows_one_or_adds_one():
    config = configuration("--method rl")
    space = find_space(config, ["lr=0.02:0.5", "relabel=uniform,other", "epochs=2:20"])
    assert (space["lr"].low, space["lr"].high, space["lr"].log) == (0.02, 0.5, False)
    assert space["rl_relabel"].choices == ("uniform", "other")
    assert (space["epochs"].low, space["epochs"].high) == (2, 20)
    assert default_setting(config, space) is None, "0.01 is below the range"
    assert read_setting("--lr 0.1 --epochs 4 --rl_relabel other", None, space)["epochs"] == 4


@pytest.mark.parametrize(
    "flags, text, sentence",
    [
        ("", "lr", "--space lr: expected NAME=LOW:HIGH"),
        ("", "lr=0.1:0.01", "with LOW below HIGH"),
        ("", "lr=0.1", "to fix a value, give --lr itself"),
        ("", "momentum=0:1:log", "begins above 0"),
        ("", "lr=0:1", "lr is 0.0, expected a number above 0"),
        ("", "ssd_alpha=1:2", "ssd_alpha is no hyperparameter of salun; those are epochs, batch_size"),
        ("", "seed=1:2", "seed is no hyperparameter of salun"),
        ("--lr 0.1", "lr=0.1:0.2", "--lr is given too, which fixes its value"),
    ],
)
def test_a_range_that_is_none_is_refused(flags: str, text: str, sentence: str):
    with pytest.raises(UserError, match="--space") as refused:
        find_space(configuration(f"--method salun {flags}"), [text])
    assert sentence in str(refused.value)


def test_values_have_few_digits_and_stay_in_their_range():
    assert LR.round(0.012345) == 0.0123
    assert LR.round(0.0999999) == 0.1
    assert Axis(LR.key, 0.01234, 1.0).round(0.012341) == 0.01234
    assert EPOCHS.round(7) == 7


@pytest.mark.parametrize(
    "axis, value, side",
    [
        (LR, 0.00014, "lower"),  # 5 % of three decades: 0.15
        (LR, 0.00015, ""),
        (LR, 0.072, "upper"),
        (LR, 0.07, ""),
        (EPOCHS, 8, "upper"),
        (EPOCHS, 7, ""),
        (EPOCHS, 1, ""),  # there is none below
        (Axis(all_keys()["rl_relabel"], choices=("uniform", "other")), "other", ""),
    ],
)
def test_edges_are_where_a_range_could_go_on(axis: Axis, value: Any, side: str):
    assert axis.edge(value) == side


# What is compared.


def make_run(folder: Path, retain: str, forget: str, val: str, test: str = "1111") -> Path:
    """A run's records and splits; a text has a 1 for every right prediction. Every second val and test row is of the
    forget group.
    """
    words = (retain, forget, val, test)
    right = np.array([int(letter) for word in words for letter in word])
    rows = np.split(np.arange(len(right)), np.cumsum([len(word) for word in words])[:-1])
    split = np.repeat([0, 0, 1, 2], [len(word) for word in words])
    group = np.concatenate(
        [np.zeros(len(retain)), np.ones(len(forget)), np.arange(len(val)) % 2, np.arange(len(test)) % 2]
    )
    target, sensitive = np.zeros(len(right), dtype=int), group.astype(int)
    logits = np.stack([np.where(right, 1.0 + np.arange(len(right)) / 100, -1.0), np.zeros(len(right))], axis=1)
    folder.mkdir(parents=True, exist_ok=True)
    Records.from_logits(np.arange(len(right)), split, target, sensitive, sensitive, logits).save(folder / "records.npz")
    train = np.concatenate(rows[:2])
    splits = Splits(train, rows[2], rows[3], rows[1], rows[0], (1,), "data", None)
    save_splits(folder / "splits.npz", splits)
    return folder


def test_the_distance_to_the_retrained_model_by_hand(tmp_path: Path):
    ours = make_run(tmp_path / "ours", "1110", "1000", "1101")
    retrained = make_run(tmp_path / "retrained", "1111", "1100", "1001")
    found = objective.distance_to_retrained(ours, retrained)
    # The forget group's validation rows are the second and the fourth: both right, and one of them.
    assert found == {"RA": 75, "UA": 25, "val": 75, "val_of_forget_groups": 100, "distance": (25 + 25 + 25 + 50) / 4}
    assert objective.distance_to_retrained(ours, ours)["distance"] == 0


@pytest.mark.parametrize("damaged", ["0000", "0101"])
def test_no_row_of_the_test_set_changes_either_objective(tmp_path: Path, damaged: str):
    whole, other = (make_run(tmp_path / word, "1110", "1000", "1101", word) for word in ("1111", damaged))
    retrained, damaged_retrained = (
        make_run(tmp_path / f"retrained{word}", "1111", "1100", "1001", word) for word in ("1111", damaged)
    )
    for judge in (objective.distance_to_retrained, objective.distance_without_retrained):
        assert judge(whole, retrained) == judge(other, damaged_retrained)


def test_what_can_be_told_without_a_retrained_model_by_hand(tmp_path: Path):
    original = make_run(tmp_path / "original", "1111", "1111", "1110")
    ours = make_run(tmp_path / "ours", "1111", "0000", "1011")
    found = objective.distance_without_retrained(ours, original)
    # The first group has two right validation rows of two, as before; the second one of two, as before.
    assert found["lost_by_group"] == 0
    assert objective.distance_without_retrained(original, ours)["lost_by_group"] == 0
    worse = make_run(tmp_path / "worse", "1111", "1111", "0010")
    # The first group: 100, then 50; the second: 50, then 0.
    assert objective.distance_without_retrained(worse, original)["lost_by_group"] == 50
    # Every forgotten sample is wrong, and of the group's two held-out ones one: half of them have smaller losses.
    assert found["loss_distance"] == 50
    assert found["distance"] == 25


def test_the_distance_of_losses_is_that_of_kolmogorov_and_smirnov():
    random = np.random.default_rng(0)
    first, second = random.exponential(size=80), random.exponential(1.5, size=33)
    assert objective.largest_difference(first, second) == pytest.approx(ks_2samp(first, second).statistic, abs=1e-12)
    assert objective.largest_difference(first, first) == 0


# The runs.


def test_originals_and_retrained_models_share_the_data_and_not_the_unlearning_s_flags(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("retrain: {epochs: 7}\n")
    given = (
        "--method miu --unlearning_ratio 0.9 --epochs 3 --lr 0.1 --threads 2 --no-wait "
        f"--config {tmp_path / 'mine.yaml'} --checkpoint_dir {tmp_path}"
    )
    runs = Runs("miu", tuple(given.split()), str(tmp_path / "tune"), "retrained")
    (pretrained, words), (retrained, retraining) = runs.needed(4)
    assert words[:4] == ["--method", "pretrain", "--dataset", "digits"]
    for config in (pretrained, retrained):
        assert (config.seed, config.threads, config.wait, config.store_dir) == (4, 2, False, str(tmp_path / "tune"))
    assert (pretrained.epochs, retrained.epochs) == (60, 7)
    assert (retrained.reweight, retrained.unlearning_ratio, "--reweight" in retraining) == (True, 0.9, True)
    assert [config.method for config, _ in replace(runs, objective="without_retrained").needed(4)] == ["pretrain"]
    named = replace(runs, words=(*runs.words, "--original", str(tmp_path), "--reference", str(tmp_path)))
    assert list(named.needed(4)) == []


def test_runs_are_named_by_their_settings_however_long(tmp_path: Path):
    runs = Runs("miu", ("--method", "miu"), str(tmp_path), "retrained")
    config = runs.config(4, {"lr": 3e-05})
    assert (config.tag, config.lr, config.seed) == ("lr3e-05", 3e-05, 4)
    other = runs.config(4, {"lr": 0.1, "miu_lambda_mi": 0.2, "miu_ablate_retain": True})
    assert (other.tag, other.miu_ablate_retain) == ("lr0.1-lambda_mi0.2-ablate_retaintrue", True)
    milestones = [",".join(map(str, range(1, last))) for last in (60, 61)]
    tags = [runs.config(4, {"scheduler": "multistep", "lr_milestones": one}).tag for one in milestones]
    assert len({*tags}) == 2
    assert all(len(tag) < 140 for tag in tags)
    tagged = replace(runs, tag="mine")
    assert tagged.config(4, {"lr": 0.1}).tag == "mine-lr0.1"
    assert {config.tag for config in (tagged.config(4), *(config for config, _ in tagged.needed(4)))} == {""}


# The study.

SPACE = {"lr": LR, "epochs": EPOCHS}
START = {"lr": 0.01, "epochs": 4}


def open_study(folder: Path) -> Study:
    study = Study(folder, SPACE, 0, {"seeds": [10]})
    study.begin_with([(START, DEFAULT)])
    return study


def spend(study: Study, budget: int) -> list[dict[str, Any]]:
    """Judge settings by how far they are from lr 0.003 and 2 epochs, until the budget is spent."""
    with study.worker() as worker:
        while (trial := study.next_trial(worker, budget)) is not None:
            setting = study.setting(trial)
            distance = abs(np.log10(setting["lr"] / 0.003)) + abs(setting["epochs"] - 2)
            trial.set_user_attr("measured", {"10": {"distance": distance}})
            study.end(trial, distance)
    return [trial.setting for trial in study.trials()]


@needs_optuna
def test_a_search_that_goes_on_is_the_one_that_never_stopped(tmp_path: Path):
    whole = spend(open_study(tmp_path / "whole"), 9)
    spend(open_study(tmp_path / "parts"), 4)
    assert spend(open_study(tmp_path / "parts"), 9) == whole
    assert whole[0] == START
    assert len({spell_setting(one) for one in whole}) > 5
    assert spend(open_study(tmp_path / "parts"), 9) == whole, "the budget is spent"


@needs_optuna
def test_the_trial_of_a_worker_that_was_killed_is_lost_and_its_setting_tried_again(tmp_path: Path, capsys: Capture):
    study, folder = open_study(tmp_path), tmp_path / WORKERS / "w1"
    folder.mkdir(parents=True)
    code = (
        "import sys, time; from pathlib import Path; from utils.locks import locked\n"
        "with locked(Path(sys.argv[1]), wait=False):\n    print('here', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    study.next_trial("w1", 3)
    with study.worker() as worker:
        second = study.next_trial(worker, 3)
        assert [one.state for one in study.trials()] == ["running", "running"], "a living worker keeps its trial"
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        study.end(second, 1.0)
    assert len(spend(study, 3)) == 4
    lost, *others = study.trials()
    assert (lost.state, lost.reason, lost.setting) == ("fail", "its worker ended", START)
    again = next(one for one in others if one.origin == DEFAULT)
    assert (again.state, again.setting) == ("complete", START)
    assert sum(one.counts for one in others) == 3
    assert "trial 0 has lost its worker" in capsys.readouterr().err
    assert not list((tmp_path / WORKERS).iterdir())


@needs_optuna
def test_a_worker_of_another_host_is_taken_for_gone_when_its_lock_is_old(tmp_path: Path):
    study, lock = open_study(tmp_path), tmp_path / WORKERS / "w1" / "lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps(asdict(replace(Holder.here(), host="elsewhere"))))
    study.next_trial("w1", 3)
    with study.worker() as worker:
        study.next_trial(worker, 3)
        assert [one.state for one in study.trials()] == ["running", "running"]
        os.utime(lock, (time.time() - 700,) * 2)
        third = study.next_trial(worker, 3)
    assert study.trials()[0].state == "fail"
    assert study.setting(third) == START


@needs_optuna
def test_a_setting_that_fails_again_and_again_is_left_alone(tmp_path: Path):
    study = open_study(tmp_path)
    with study.worker() as worker:
        numbers = []
        for _ in range(4):
            trial = study.next_trial(worker, 5)
            numbers.append(study.setting(trial) == START)
            study.give_up(trial.number)
    assert numbers == [True, True, True, False]


@needs_optuna
def test_a_setting_whose_worker_is_asked_to_stop_is_tried_as_often_as_that_happens(tmp_path: Path):
    study = open_study(tmp_path)
    with study.worker() as worker:
        for _ in range(5):
            trial = study.next_trial(worker, 5)
            assert study.setting(trial) == START
            study.give_up(trial.number, stopped=True)


@needs_optuna
def test_values_that_are_typed_keep_their_digits_and_one_tried_again_is_the_same(tmp_path: Path):
    study = Study(tmp_path, SPACE, 0, {})
    typed = {"lr": 0.0123456789, "epochs": 3}
    study.begin_with([(typed, TYPED)])
    with study.worker() as worker:
        assert study.setting(study.next_trial(worker, 9)) == typed
        found = study.next_trial(worker, 9)
        setting = study.setting(found)
        assert setting["lr"] == float(f"{setting['lr']:.3g}")
        study.give_up(found.number)
        assert study.setting(study.next_trial(worker, 9)) == setting


@needs_optuna
def test_a_worker_waits_while_another_is_at_work_on_the_last_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    study = open_study(tmp_path)
    with study.worker() as one, study.worker() as other:
        trial = study.next_trial(one, 1)
        waited: list[float] = []

        def end_it(seconds: float) -> None:
            waited.append(seconds)
            study.end(trial, 1.0)

        monkeypatch.setattr("scripts.tune.study.time.sleep", end_it)
        assert study.next_trial(other, 1) is None
        assert len(waited) == 1


@needs_optuna
def test_a_journal_that_ends_within_a_line_is_read_on(tmp_path: Path, capsys: Capture):
    before = spend(open_study(tmp_path), 3)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":5,"wor')
    assert spend(open_study(tmp_path), 4)[:3] == before
    assert "ends within a line, which is cut off" in capsys.readouterr().err
    assert all(json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines())


def test_without_optuna_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"needs Optuna.*pip install -r requirements-tune.txt"):
        open_study(tmp_path)


# What is said of the outcome.


def trial(number: int, distances: list[float], lr: float = 0.01, epochs: int = 4, **facts: Any) -> Trial:
    measured = {str(10 + place): {"RA": 90.0, "distance": one} for place, one in enumerate(distances)}
    facts = {"state": "complete", "seconds": 1.0, "reason": "", "origin": "", **facts}
    return Trial(number, setting={"lr": lr, "epochs": epochs}, measured=measured, **facts)


def test_differences_stand_beside_their_noise():
    best, default = trial(2, [2.0, 3.0, 4.0]), trial(0, [4.0, 6.0, 5.0], origin=DEFAULT)
    lines = describe(find_best([default, trial(1, [3.0, 3.1, 3.2]), best], SPACE))
    # Means 3.0, 3.1 and 5.0. Standard deviation 1, divided by sqrt(3). The differences to the default are -2, -3, -1:
    # mean -2, and t with 2 degrees of freedom is 4.3027, times 1 / sqrt(3) is 2.48.
    assert lines[:4] == [
        "best: trial 2: --lr 0.01 --epochs 4: distance 3.00 over 3 seeds, standard deviation of that mean 0.58",
        "against trial 0, the default (5.00): -2.00, 95 % interval -4.48 to 0.48: no more than noise",
        "against trial 1, the second best (3.10): -0.10, 95 % interval -2.34 to 2.14: no more than noise",
        "the smallest of 3 distances is smaller than what its setting has on other seeds",
    ]
    clear = describe(find_best([trial(0, [9.0, 10.0, 11.0], origin=DEFAULT), trial(1, [2.0, 3.0, 4.1])], SPACE))
    assert not any("the second best" in line for line in clear), "that is the default"
    assert "more than noise" in clear[1]
    assert "no more" not in clear[1]


def test_a_default_that_is_best_or_was_lost_or_one_seed_are_said():
    assert describe(find_best([trial(0, [1.0], origin=DEFAULT), trial(1, [2.0])], SPACE))[1:3] == [
        "no setting is better than the default",
        "against trial 1, the second best (2.00): -1.00; one seed does not tell how much of it is noise",
    ]
    lost = trial(0, [], state="pruned", reason="the loss is not finite", origin=DEFAULT)
    told = describe(find_best([lost, trial(1, [2.0])], SPACE))[1]
    assert told == (
        "the default has no distance to compare with (the loss is not finite): nothing says that the best is better"
    )


def test_an_edge_is_warned_of():
    (*_, edge) = describe(find_best([trial(0, [1.0], lr=0.1), trial(1, [2.0])], SPACE))
    assert edge == (
        "warning: lr 0.1 lies at the upper edge of what was searched (0.0001:0.1:log): better values may lie beyond; "
        "widen it by --space"
    )


def test_where_every_setting_fails_the_reasons_are_said():
    failed = [trial(0, [], state="pruned", reason="the loss is not finite"), trial(1, [], state="fail", reason="gone")]
    with pytest.raises(RunError, match=r"no setting came to its end \(gone; the loss is not finite\)"):
        find_best(failed, SPACE)


def test_tables_have_every_trial_and_its_parts():
    early = trial(2, [7.0], state="pruned", reason="worse than others after 1 of 2 seeds")
    findings = find_best([trial(0, [4.0, 6.0], origin=DEFAULT), early, trial(3, [], state="pruned", lr=0.1)], SPACE)
    rows = [line.split(",") for line in csv_table(findings).splitlines()]
    assert rows[0] == [
        *("trial", "state", "origin", "lr", "epochs", "distance", "RA", "distance_10", "RA_10", "distance_11", "RA_11"),
        *("seeds", "seconds", "reason"),
    ]
    assert rows[1][:10] == ["0", "complete", "default", "0.01", "4", "5.0000", "90.0000", "4.0000", "90.0000", "6.0000"]
    assert rows[2][9:] == ["", "", "10", "1.0", "worse than others after 1 of 2 seeds"]
    assert rows[3][3:7] == ["0.1", "4", "", ""]
    assert [line.split()[0] for line in text_table(findings).splitlines()[2:]] == ["0", "2", "3"]


def test_the_picture_has_a_panel_a_hyperparameter_and_the_best_so_far():
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
    trials = [trial(0, [4.0], origin=DEFAULT), trial(1, [9.0], state="pruned"), trial(2, [3.0]), trial(3, [5.0])]
    trials.append(trial(4, [], state="pruned"))
    findings = find_best(trials, SPACE)
    rows = plot.rows(findings)
    assert [row["kind"] for row in rows] == ["default", "given up early", "best", "judged by every seed"]
    assert [row["best_until_then"] for row in rows] == [4, 4, 3, 3]
    picture = plot.draw(findings, "miu on digits").decode()
    for text in ("miu on digits", ">trial<", ">lr<", ">epochs<", "trial 2, best: --lr 0.01 --epochs 4: distance 3.00"):
        assert text in picture, text


# The file for --config.


def test_the_file_gives_main_py_the_values_and_says_whence(tmp_path: Path):
    file = tmp_path / "best.yaml"
    flags = "--unlearning_ratio 0.9 --epochs 3"
    for method, setting in (("miu", {"lr": 5e-05, "miu_lambda_mi": 0.2}), ("scrub --reweight", {"lr": 0.002})):
        write_best(file, entry(configuration(f"--method {method} {flags}"), setting), "distance 3")
    write_best(file, entry(configuration(f"--method miu {flags}"), {"lr": 6e-05, "miu_lambda_mi": 0.3}), "distance 2")
    assert file.read_text().count("method: miu") == 1
    out = ok(f"--method miu --unlearning_ratio 0.9 --config {file} --print_config").out
    where = "best.yaml [method miu, reweight True, rob_approach none, preset strict, split_number 0, ratio 0.9]"
    assert f"lr: 6.0e-05  # {where}" in out
    assert f"miu_lambda_mi: 0.3  # {where}" in out
    assert f"epochs: 3  # {where}" in out
    scrub = configuration(f"--method scrub --unlearning_ratio 0.9 --config {file}")
    assert (scrub.lr, scrub.epochs) == (0.0003, 10), "without REWEIGHT nothing was searched"
    assert configuration(f"--method scrub --reweight --unlearning_ratio 0.9 --config {file}").lr == 0.002
    assert configuration(f"--method miu --unlearning_ratio 0.5 --config {file}").lr == 0.01


# What is refused.


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("--method retrain", "retrain does not unlearn, and has nothing to be near to; a search is for "),
        ("--method miu --dry_run", "--dry_run is for one run; leave it out of a search"),
        ("--method miu --budget 0", "--budget 0: expected a whole number of at least 1"),
        ("--method miu --tune_seeds 1,x", "--tune_seeds 1,x: expected whole numbers from 0"),
        ("--method miu --lambada 1", "--lambada"),
        ("--method miu --try=--lr", "--try '--lr': expected flags with a value each"),
        ("--method miu --try '--momentum 0.1'", "momentum is not searched; what is: lr, forget_epochs, miu_mine_lr"),
        ("--method miu --try '--lr 0.9'", "lr is searched in 3e-05:0.3:log; widen it by --space"),
        ("--method miu --out /nowhere/best.yaml", "there is no folder /nowhere"),
        ("--method boundary_expand --lr 0.1", "nothing is left to search of boundary_expand"),
    ],
)
def test_a_command_that_is_not_right_is_refused(words: str, sentence: str, tmp_path: Path, capsys: Capture):
    budget = [] if "--budget" in words else ["--budget", "2"]
    assert command.main([*shlex.split(words), *budget, "--store_dir", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_kind_is_not_written_over(tmp_path: Path, capsys: Capture):
    (tmp_path / "mine.yaml").write_text("lr: 0.1\n")
    assert command.main(["--method", "miu", "--budget", "2", "--out", str(tmp_path / "mine.yaml")]) == 2
    assert "a file is there that this command has not written" in capsys.readouterr().err


def order_of(words: str, store: Path) -> command.Order:
    wanted, rest = command._parser().parse_known_args(f"--budget 2 --store_dir {store} {words}".split())
    return command._order(wanted, rest)


def test_a_tag_keeps_the_runs_of_another_search_apart(tmp_path: Path):
    """With other flags that are fixed, settings have the same names."""

    def folder(words: str) -> Path:
        runs = order_of(f"--method miu --unlearning_ratio 0.9 {words}", tmp_path).search.runs
        config = runs.config(4, {"lr": 0.1})
        return folder_of(config, config.store_dir)

    other = "--miu_estimator classifier"
    assert folder("") == folder(other), "which the second run is refused for, and told to take a --tag"
    assert folder(f"{other} --tag=classifier").name == "miu-classifier-lr0.1_0.9_4"
    assert folder(f"--tag mine {other}").name == "miu-mine-lr0.1_0.9_4"


def test_a_tag_of_a_file_is_for_the_runs_of_settings(tmp_path: Path):
    """Every search of a data set shares originals and retrained models, so these have none, as with a typed tag."""
    (tmp_path / "mine.yaml").write_text("tag: mine\n")
    words = f"--method miu --unlearning_ratio 0.9 --checkpoint_dir {tmp_path} --config {tmp_path / 'mine.yaml'}"
    for typed, tag in (("", "mine"), ("--tag other", "other")):
        runs = order_of(f"{words} {typed}", tmp_path).search.runs
        assert runs.config(4, {"lr": 0.1}).tag == f"{tag}-lr0.1"
        made = [config for config, _ in runs.needed(4)]
        assert [(config.method, config.tag) for config in made] == [("pretrain", ""), ("retrain", "")]


def test_a_study_is_told_apart_by_what_it_asks(tmp_path: Path):
    def folder(words: str) -> Path:
        return order_of(words, tmp_path).search.folder

    same = folder("--method miu --unlearning_ratio 0.9")
    assert same.name.startswith("search-miu_0.9-")
    assert folder("--method miu --unlearning_ratio 0.9 --budget 9 --jobs 2 --threads 2 --device cpu") == same
    changes = [
        "--epochs 3",
        "--tune_seeds 3",
        "--seed 1",
        "--space lr=0.1:0.2",
        "--objective without_retrained",
        "--tag a",
    ]
    for other in changes:
        assert folder(f"--method miu --unlearning_ratio 0.9 {other}") != same, other
