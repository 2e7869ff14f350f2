"""The relearning test: formulas with known answers, fine-tuning on a tiny network, parts that are kept, the command."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cli import ROOT, ok
from tiny import (
    CPU,
    N_GROUPS,
    SIZE,
    TinyNet,
    settings,
    snapshot,
    tiny_data,
    trained_network,
)
from torch import nn
from torch.nn.functional import cross_entropy

from datasets.loading.loaders import Loader
from datasets.splits import make_splits
from method.evaluation import relearning, representation
from method.evaluation.metrics import Undefined
from method.evaluation.relearning import accuracy_of, relearn_epochs
from method.evaluation.representation import barrier, hsic, linear_cka, probe, weight_distance
from method.runs.audits import read_audits
from method.runs.findings import MODELS, ORIGINAL, RELEARN, RELEARN_PARTS, RETRAINED, UNLEARNED, read_findings
from method.runs.removal import OWN
from method.runs.stored import read_runs
from method.training.inference import Inference
from scripts.relearn import command, parts
from scripts.relearn.bench import Bench, Options, training_config
from scripts.relearn.curves import relearn_curve, relearn_time, rising, shown_rows
from scripts.relearn.knowledge import features, line, mix, recompute_statistics
from scripts.relearn.parts import Store, curve
from scripts.relearn.results import describe, findings
from utils.errors import UserError

NO_FEATURES = {"probe": {}, "count": [], "n_held_out": 0, "cka": []}
OPTIONS = Options(forgotten=(0, 2, 50), steps=(1, 3), epochs=2, lr=0.05)


def make_bench(options: Options = OPTIONS, **networks: nn.Module) -> Bench:
    """The bench of the tiny data: 9 of the 10 samples of a group are forgotten; networks take the place of its own."""
    config, data = settings("retrain", batch_size=8), tiny_data()
    splits = make_splits(data, data.forget_pairs, 0.9, 0)
    inference = Inference(Loader(data, SIZE, 0, False), CPU, torch.float32)
    own = {UNLEARNED: TinyNet(3), RETRAINED: TinyNet(2), ORIGINAL: trained_network()}
    found = {name: networks.get(name, own[name]).eval() for name in MODELS}
    return Bench(training_config(config, options), options, data, splits, splits.forget[::-1], inference, found)


# Formulas.


def test_hsic_is_the_mean_over_all_quadruples_of_different_samples():
    rng = np.random.default_rng(0)
    one, other = (features @ features.T for features in (rng.normal(size=(7, 2)), rng.normal(size=(7, 3))))
    terms = [
        one[i, j] * other[i, j] + one[i, j] * other[q, r] - 2 * one[i, j] * other[i, q]
        for i, j, q, r in permutations(range(7), 4)
    ]
    assert hsic(one, other) == pytest.approx(np.mean(terms))


def test_cka_is_invariant_to_shift_rotation_and_scale_and_about_0_for_unrelated_features():
    rng = np.random.default_rng(1)
    one = rng.normal(size=(60, 5))
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    assert linear_cka(one, -3.0 * one @ rotation + 7.0) == pytest.approx(100.0)
    # With more features than samples, where the biased estimate is near 100.
    unrelated = [linear_cka(rng.normal(size=(40, 80)), rng.normal(size=(40, 80))) for _ in range(50)]
    assert abs(np.mean(unrelated)) < 2.0


@pytest.mark.parametrize(("features", "told"), [(np.eye(19), "needs 20 samples"), (np.ones((20, 3)), "the same")])
def test_cka_is_undefined_where_samples_do_not_determine_it(features, told):
    with pytest.raises(Undefined, match=told):
        linear_cka(features, features)


def test_a_probe_tells_what_a_line_separates_and_needs_two_targets():
    rng = np.random.default_rng(2)
    target = np.arange(40) % 2
    known = np.stack([100.0 + target + 0.1 * rng.normal(size=40), np.zeros(40)], axis=1)
    assert probe(known, target, np.array([[100.0, 0.0], [101.0, 5.0]])).tolist() == [0, 1]
    with pytest.raises(Undefined, match="two targets"):
        probe(known, np.zeros(40), known)


def test_distance_and_barrier_are_those_worked_out_by_hand():
    assert weight_distance([np.array([[1.0, 2.0]]), np.array([3.0])], [np.array([[1.0, 0.0]]), np.array([0.0])]) == (
        pytest.approx(13**0.5)
    )
    assert barrier(np.array([90.0, 70.0, 60.0])) == pytest.approx(5.0)  # 75 expected in the middle
    assert barrier(np.array([50.0, 80.0, 60.0])) == 0.0


def test_relearn_time_is_the_first_step_within_a_point_of_the_original():
    assert relearn_epochs([0, 2, 5, 8], [50.0, 88.9, 89.0, 95.0], 90.0, 4) == 5 / 4
    with pytest.raises(Undefined, match=r"after 2 epochs the accuracy is at most 60.0 %, expected 90.0 % less 1"):
        relearn_epochs([0, 8], [60.0, 50.0], 90.0, 4)
    assert accuracy_of(np.array([3, 1]), np.array([4, 1])) == 80.0
    assert accuracy_of(np.array([3, 1]), np.array([4, 1]), 0) == 75.0


def test_every_measure_says_what_it_is_and_where_it_ends():
    measures = (*relearning.MEASURES, *representation.MEASURES)
    assert len({one.key for one in measures}) == len(measures)
    assert all(one.title and one.what and one.definition and one.source and one.limits for one in measures)


# Fine-tuning.


def test_steps_of_relearning_rise_to_the_last():
    assert rising(1) == (0, 1)
    assert rising(12) == (0, 1, 2, 3, 4, 5, 6, 8, 10, 12)


def test_shown_samples_are_nested_and_the_rest_is_all_that_is_not_shown():
    bench = make_bench()
    shown = [set(shown_rows(bench, k)[0]) for k in (0, 2, 5)]
    assert [len(rows) for rows in shown] == [0, 2, 5]
    assert shown[0] < shown[1] < shown[2]
    assert set(shown_rows(bench, 2)[1]) == set(bench.pool) - shown[1]


def test_what_shows_the_same_thing_as_a_shown_sample_is_not_asked_for():
    bench = make_bench()
    twins = {int(row): "one person" for row in bench.pool[1:4]}
    data = SimpleNamespace(units=lambda rows: [twins.get(int(row), str(row)) for row in rows])
    _, rest = shown_rows(replace(bench, dataset=data), 2)
    assert set(rest) == set(bench.pool[4:])


def test_one_step_of_a_curve_is_the_step_of_sgd_written_out(monkeypatch):
    bench = make_bench(replace(OPTIONS, steps=(1,)))
    rows = np.concatenate([bench.splits.retain, bench.pool[:2]])
    all_at_once = {**bench.config.values, "batch_size": len(rows), "momentum": 0.9, "weight_decay": 0.01}
    bench = replace(bench, config=replace(bench.config, values=all_at_once))
    trained = bench.copy_of(UNLEARNED)
    monkeypatch.setattr(Bench, "copy_of", lambda self, name: trained)
    relearn_curve(bench, UNLEARNED, 2)

    data, model = tiny_data(), bench.networks[UNLEARNED]
    model.train()
    loss = cross_entropy(model(data.images(rows)), torch.tensor(data.target[rows]))
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for after, before, gradient in zip(trained.parameters(), model.parameters(), gradients, strict=True):
        torch.testing.assert_close(after, before - 0.05 * (gradient + 0.01 * before), rtol=1e-5, atol=1e-6)


def test_two_copies_of_a_model_have_the_same_curve_and_are_left_as_they_were():
    bench = make_bench(unlearned=TinyNet(11), retrained=TinyNet(11))
    before = snapshot(bench.networks[UNLEARNED])
    own, other = (relearn_curve(bench, name, 0) for name in (UNLEARNED, RETRAINED))
    assert own == other
    assert own["steps"] == [0, 1, 3]
    assert sum(own["count"]) == len(bench.pool)
    assert len({tuple(correct) for correct in own["correct"]}) > 1  # it trains
    after = snapshot(bench.networks[UNLEARNED])
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_model_that_never_changed_has_a_relearn_time_of_0():
    found = relearn_time(make_bench(), ORIGINAL)
    assert found["steps"] == [0]
    changed = relearn_time(make_bench(), UNLEARNED)
    assert changed["steps"][-1] > 0
    assert changed["target"] == found["target"]
    assert changed["steps_a_pass"] == 1  # nine samples in batches of eight: a last one alone joins the others


def test_more_forgotten_samples_than_there_are_leave_the_curve_out_with_a_reason():
    bench = make_bench()
    assert "none is left" in curve(bench, UNLEARNED, 9)["reason"]
    assert "steps" in curve(bench, UNLEARNED, 8)


# Weights and features.


def test_weights_are_mixed_half_and_half_in_the_middle_and_exact_at_the_ends():
    one, other = TinyNet(1).state_dict(), TinyNet(2).state_dict()
    middle = mix(one, other, 0.5)
    torch.testing.assert_close(middle["head.weight"], (one["head.weight"] + other["head.weight"]) / 2)
    for share, end in ((0.0, one), (1.0, other)):
        assert all(torch.equal(value, end[name]) for name, value in mix(one, other, share).items())


def test_running_statistics_become_those_of_the_retain_samples():
    bench, network = make_bench(), TinyNet(3).eval()
    recompute_statistics(bench, network)
    with torch.no_grad():
        maps = network.backbone[0](tiny_data().images(bench.splits.retain))
    torch.testing.assert_close(network.backbone[1].running_mean, maps.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(network.backbone[1].running_var, maps.var(dim=(0, 2, 3)))
    assert not any(layer.training for layer in network.modules())
    assert network.backbone[1].momentum == 0.1


def test_a_line_from_a_model_to_itself_is_flat():
    found = line(make_bench(unlearned=trained_network()), UNLEARNED)
    assert found["barrier"] == {"val": 0.0, "forget": 0.0}
    assert all(len(own) == 11 and len(set(own)) == 1 for own in found["accuracy"].values())


def test_features_of_equal_models_are_alike_and_probes_of_equal_models_agree():
    found = features(make_bench(unlearned=TinyNet(2)))
    whole = {(one["model"], one["samples"]): one for one in found["cka"] if one["group"] is None}
    assert whole[UNLEARNED, "held-out"]["value"] == pytest.approx(100.0)
    assert whole[ORIGINAL, "held-out"]["value"] < 100.0
    assert "needs 20 samples" in whole[UNLEARNED, "forget"]["reason"]
    assert found["probe"][UNLEARNED] == found["probe"][RETRAINED]
    assert sum(found["count"]) == 9
    assert found["n_held_out"] == 5 * N_GROUPS


# Parts.


def test_an_interrupted_test_goes_on_and_ends_as_one_that_was_not(tmp_path, monkeypatch):
    question = {"steps": [1, 3], "lr": 0.05, "weights": dict.fromkeys(MODELS, "x")}
    monkeypatch.setattr(parts, "features", lambda bench: NO_FEATURES)
    short = replace(OPTIONS, forgotten=(2,))
    whole = Store.opened(tmp_path, question, {}).complete(make_bench(short), lambda *told: None)
    (tmp_path / RELEARN_PARTS).unlink()

    with monkeypatch.context() as patch:
        patch.setattr(parts, "line", interrupt)
        cut_off = Store.opened(tmp_path, question, {})
        with pytest.raises(KeyboardInterrupt):
            cut_off.complete(make_bench(short), lambda *told: None)
    begun = []
    store = Store.opened(tmp_path, question, {})
    assert store.complete(make_bench(short), lambda *told: begun.append(told)) == whole
    assert json.loads((tmp_path / RELEARN_PARTS).read_text())["parts"] == whole
    assert [name for name, *_ in begun] == ["line unlearned model", "distance retrained model", "line retrained model",
                                            "features"]  # fmt: skip


SOUND = {"steps": [0, 1, 3], "correct": [[0, 2], [1, 2], [1, 1]], "count": [1, 2]}


@pytest.mark.parametrize(
    ("name", "part", "told"),
    [
        ("curve 0 unlearned", {**SOUND, "steps": [0, 1, 2]}, r"its steps are \[0, 1, 2\], expected \[0, 1, 3\]"),
        ("curve 0 unlearned", {**SOUND, "correct": [[0, 2], [1, 2]]}, "it has 2 looks, expected one at each of 2"),
        ("curve 0 unlearned", {**SOUND, "correct": [[0, 2], [1, 3], [1, 1]]}, "more right predictions than samples"),
        ("curve 0 unlearned", {"steps": [0, 1, 3]}, "it has no correct"),
        ("time unlearned", SOUND, "it has no target"),
        ("distance unlearned", "far", "it is 'far', expected a number"),
        ("line unlearned", {"accuracy": {"val": [1.0, 200.0]}, "barrier": {}, "n": {}}, "is 200.0, expected a number"),
        ("features", {**NO_FEATURES, "cka": [{"model": "x"}]}, "has no samples"),
    ],
)
def test_a_part_that_is_not_as_written_is_computed_anew_and_the_others_are_kept(tmp_path, name, part, told):
    question = {"steps": [1, 3], "weights": {}}
    kept = {"curve 2 unlearned": SOUND, "distance retrained": 1.5, "curve 9 unlearned": {"reason": "none is left"}}
    stored = {"version": 1, "question": question, "parts": {**kept, name: part}}
    (tmp_path / RELEARN_PARTS).write_text(json.dumps(stored))
    store = Store.opened(tmp_path, question, {})
    assert store.parts == kept
    (line,) = store.damaged
    assert re.match(f"{name}: .*{told}", line)


def test_parts_of_another_version_are_not_used(tmp_path):
    question = {"steps": [1, 3], "weights": {}}
    stored = {"question": question, "parts": {"distance retrained": 1.5}}
    for version, changed in ((None, []), (1, []), (2, ["the version of its parts was 2 and is 1"])):
        own = stored if version is None else {**stored, "version": version}  # the first ones had none
        (tmp_path / RELEARN_PARTS).write_text(json.dumps(own))
        store = Store.opened(tmp_path, question, {})
        assert (store.changed, bool(store.parts)) == (changed, not changed)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_option_starts_anew_and_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "parts_of", lambda bench: [("features", "", lambda: NO_FEATURES)])
    then, now = {"lr": 0.05, "weights": {UNLEARNED: "x"}}, {"lr": 0.1, "weights": {UNLEARNED: "y"}}
    Store.opened(tmp_path, then, {}).complete(make_bench(), lambda *told: None)
    assert Store.opened(tmp_path, then, {}).parts == {"features": NO_FEATURES}
    store = Store.opened(tmp_path, now, {})
    assert (store.parts, store.changed) == ({}, ["lr was 0.05 and is 0.1", "weights: unlearned was x and is y"])


def test_parts_of_the_retrained_model_are_computed_once_for_several_runs(tmp_path, monkeypatch):
    for name in ("relearn_curve", "relearn_time", "line", "features"):
        monkeypatch.setattr(parts, name, lambda *asked: {})
    known, begun = {}, []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        weights = {UNLEARNED: name, RETRAINED: "r", ORIGINAL: "o"}
        store = Store.opened(tmp_path / name, {"weights": weights}, known)
        store.complete(make_bench(), lambda told, *_: begun.append(told))
    twice = {told for told in begun if begun.count(told) == 2}
    assert twice == {told for told in begun if "unlearned" in told or told == "features"}


def test_the_gap_of_a_finding_is_the_difference_of_two_others():
    bench = make_bench()
    found_parts = {name: compute() for name, _, compute in parts.parts_of(bench)}
    run = SimpleNamespace(table=("tiny",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.relearn.results.label", lambda run: "miu")
        found = findings(run, tiny_data().group_names, OPTIONS.forgotten, found_parts)
    at = {"forgotten_samples": 2, "step": 3}
    accuracy = {
        (one.at["model"], one.group): one.value
        for one in found
        if one.measure == "relearn_acc" and at.items() <= one.at.items()
    }
    gaps = {one.group: one.value for one in found if one.measure == "relearn_gap" and one.at == at}
    assert gaps == {group: accuracy[UNLEARNED, group] - accuracy[RETRAINED, group] for group in (None, "b y")}
    left_out = [one for one in found if one.at == {"forgotten_samples": 50}]
    assert [one.value for one in left_out] == [None]
    assert all((one.value is None) == bool(one.reason) for one in found)
    assert {one.measure for one in found} | {"relearn_growth"} == {
        one.key for one in (*relearning.MEASURES, *representation.MEASURES)
    }
    assert "forgotten samples" in describe(found)


# The command.


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--forgotten 5,1", "--forgotten 5,1: expected whole numbers from 0 that rise"),
        ("--forgotten 1,x", "--forgotten 1,x: expected whole numbers"),
        ("--steps 0,10", "--steps: steps is '0,10', expected whole numbers above 0 that rise"),
        ("--epochs 0", "--epochs: epochs is 0, expected a whole number at least 1"),
        ("--lr 0", "--lr: lr is 0.0, expected a number above 0"),
        ("--samples 5", "--samples: samples is 5"),
        ("--threads none", "--threads: threads is 'none'"),
        ("", "holds no run"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(flags, told, tmp_path, capsys):
    assert command.main([str(tmp_path), *flags.split()]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_runs_are_read_ends_it_with_one_line_and_75(number, tmp_path, monkeypatch, capsys):
    read = []

    def find(folder: Path, *others: object) -> None:
        read.append(folder)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(command, "find_trio", find)
    assert command.main([str(tmp_path), str(tmp_path / "other")]) == 75
    assert read == [tmp_path]
    assert capsys.readouterr().err == f"stopped by {signal.Signals(number).name}: run the same command to continue\n"


@pytest.mark.parametrize("name", [RELEARN, RELEARN_PARTS])
def test_the_place_of_the_answer_is_tried_before_anything_is_computed(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "find_trio", lambda *asked: None)
    monkeypatch.setattr(command, "relearn", lambda *asked: pytest.fail("it was begun"))
    (tmp_path / name).mkdir()
    assert command.main([str(tmp_path)]) == 2
    assert f"{name} is no regular file, and the answer is to stand there; move it elsewhere" in capsys.readouterr().err
    (tmp_path / name).rmdir()

    def refuse(**asked: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    assert command.main([str(tmp_path)]) == 2
    assert f"{tmp_path} cannot be written to (Permission denied)" in capsys.readouterr().err


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short runs on digits that belong together, and a retrained one of another ratio."""
    root = tmp_path_factory.mktemp("runs")
    common = "--dataset digits --epochs 1 --threads 1 --device cpu"
    ok(f"--method pretrain {common}", store_dir=root)
    kinds = ("retrain --reweight", "retrain", "miu", "ft")
    for further in (*(f"{kind} --unlearning_ratio 0.9" for kind in kinds), f"{kinds[0]} --unlearning_ratio 0.5"):
        ok(f"--method {further} {common}", store_dir=root)
    return root / "digits" / "small_cnn"


QUICK = ("--forgotten", "0,3", "--steps", "2,4", "--epochs", "1", "--samples", "200", "--threads", "1")


@pytest.mark.slow
def test_a_run_is_tested_once_and_the_same_way_and_goes_on_where_it_was_interrupted(runs, monkeypatch, capsys):
    folder = runs / "split0" / "miu_0.9_0"
    assert command.main([str(folder), *QUICK]) == 0
    first = (folder / RELEARN).read_bytes()
    found, facts = read_findings(folder / RELEARN)
    assert {one.table for one in found} == {("digits", "small_cnn", 32, "none", "split0", 0.9)}
    assert {one.label for one in found} == {"miu"}
    assert facts["runs"]["retrained"] == "retrain_reweight_0.9_0"
    assert facts["question"]["lr"] == pytest.approx(0.001)
    capsys.readouterr()
    assert command.main([str(folder), *QUICK]) == 0
    assert "already done" in capsys.readouterr().out

    with monkeypatch.context() as patch:
        patch.setattr(parts, "relearn_time", interrupt)
        assert command.main([str(folder), *QUICK, "--overwrite"]) == 75
    assert (folder / RELEARN_PARTS).exists()
    assert command.main([str(folder), *QUICK, "--overwrite"]) == 0
    assert (folder / RELEARN).read_bytes() == first
    assert not (folder / RELEARN_PARTS).exists()
    assert all(OWN.fullmatch(file.name) for file in folder.iterdir())  # --overwrite of the run still removes it all

    capsys.readouterr()
    assert command.main([str(folder), *QUICK, "--seed", "1"]) == 0
    assert "seed was 0 and is 1" in capsys.readouterr().err
    assert (folder / RELEARN).read_bytes() != first


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say which signals are caught")
def test_sigterm_while_it_is_imported_ends_it_with_one_line_and_75(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.relearn", str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    while not _catches(process.pid, signal.SIGTERM):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)  # the import is waited for, on a busy machine too
    assert (process.returncode, err) == (75, "stopped by SIGTERM: run the same command to continue\n")


def _catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal, as Linux tells."""
    text = Path(f"/proc/{pid}/status").read_text()
    return bool(int(text.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


@pytest.mark.slow
def test_an_answer_that_was_copied_from_another_run_is_noticed_and_made_anew(runs, capsys):
    own, other = (runs / "split0" / name for name in ("ft_0.9_0", "miu_0.9_0"))
    assert command.main([str(own), *QUICK]) == 0
    shutil.copy(own / RELEARN, other / RELEARN)
    found, problems = read_audits(runs, read_runs(runs))
    assert {one.run.folder.name for one in found} == {"ft_0.9_0"}
    assert [place for place, _ in problems] == [str(other)]
    assert "is of another run: the SHA-256 of its model.pt is" in problems[0][1]
    (other / "model.pt").rename(other / "kept.pt")
    _, problems = read_audits(runs, read_runs(runs))
    assert "is of another run: its method is ft, expected miu" in problems[0][1]
    (other / "kept.pt").rename(other / "model.pt")
    capsys.readouterr()
    assert command.main([str(other), *QUICK]) == 0
    assert "is of another run" in capsys.readouterr().err
    assert read_audits(runs, read_runs(runs))[1] == []


@pytest.mark.slow
def test_the_retrained_run_is_that_of_the_average_gap_and_others_must_fit(runs, capsys, tmp_path):
    split = runs / "split0"
    assert command.find_trio(split / "miu_0.9_0").retrained.folder.name == "retrain_reweight_0.9_0"
    assert command.find_trio(split / "ft_0.9_0").retrained.folder.name == "retrain_0.9_0"
    assert command.find_trio(split / "ft_0.9_0", split / "retrain_reweight_0.9_0").original.folder.name == "pretrain_0"
    for folder, retrained, told in [
        (runs / "pretrain_0", None, "forgets nothing"),
        (split / "retrain_0.9_0", None, "is itself what it would be compared with"),
        (split / "retrain_0.9_0", split / "retrain_0.9_0", "is itself what it would be compared with"),
        (split / "miu_0.9_0", split / "retrain_reweight_0.5_0", "does not fit .*: its forget fingerprint is"),
        (split / "miu_0.9_0", split / "ft_0.9_0", "is a run of ft, expected one of retrain"),
    ]:
        with pytest.raises(UserError, match=told):
            command.find_trio(folder, retrained)
    alone = tmp_path / "split0" / "miu_0.9_0"
    shutil.copytree(split / "miu_0.9_0", alone)
    with pytest.raises(UserError, match="no retrained model with REWEIGHT .* --retrained"):
        command.find_trio(alone)
    with pytest.raises(UserError, match="the original of .* --original"):
        command.find_trio(alone, split / "retrain_reweight_0.9_0")
    (alone / "model.pt").unlink()
    assert command.main([str(alone)]) == 2
    assert "has no model.pt, which is to be fine-tuned" in capsys.readouterr().err
