"""python -m scripts.audit on made-up runs: who is found, against which reference, and what it refuses."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.special import ndtri
from trees import NAMES, Capture, make_run, metrics

from datasets.splits import Splits, forget_fingerprint, save_splits
from method.evaluation.columns import COLUMNS
from method.evaluation.per_example import MEASURES
from method.evaluation.records import Records
from method.runs.findings import Finding, read_findings, write_findings
from method.runs.zips import write_zip
from scripts.audit import command
from scripts.audit.attacks import NO_LEFT_OUT, NO_PLACEBO
from scripts.audit.command import main
from scripts.report.audit import TITLE
from scripts.report.command import main as report

ROOT = Path(__file__).parent.parent
GROUP = np.arange(480) % 4
SPLIT = np.repeat([0, 1, 2], [320, 80, 80])
ROWS = np.arange(480)
TABLE = ("digits", "small_cnn", 32, "none", "split0", 0.9)
N_SEEDS = 8
FEW = ("--seeds", "3")


class Tree:
    """A folder of runs whose phi is drawn: of a sample 3 more where it is trained on, of a forgotten one `lift`.

    of_group: what unlearning, or REWEIGHT, adds to all samples of the forget groups, held-out ones too.
    """

    def __init__(self, root: Path, forget_groups: tuple[int, ...] = (2,), leave_out: float = 0.0) -> None:
        self.root, self.forget_groups, self.leave_out = root, forget_groups, leave_out
        self.of_sample = np.random.default_rng(99).normal(1, 2, len(ROWS))

    def splits(self, seed: int, forgets: bool = True) -> Splits:
        draw = np.random.default_rng([seed, 7])
        train, left_out = ROWS[SPLIT == 0], ROWS[:0]
        if self.leave_out:
            left_out = np.sort(draw.choice(train, int(self.leave_out * len(train)), replace=False))
            train = np.setdiff1d(train, left_out)
        union = train[np.isin(GROUP[train], self.forget_groups)]
        forget = np.sort(draw.choice(union, int(0.8 * len(union)), replace=False)) if forgets else union[:0]
        val, test = ROWS[SPLIT == 1], ROWS[SPLIT == 2]
        data = f"data{seed}"
        fingerprint = forget_fingerprint(data, forget) if forgets else None
        groups = self.forget_groups if forgets else ()
        return Splits(train, val, test, forget, np.setdiff1d(train, forget), groups, data, fingerprint, left_out)

    def add(self, method: str, seed: int, lift: float = 0.0, of_group: float = 0.0, chance: int = 0, **config) -> Path:
        splits = self.splits(seed, method != "pretrain")
        name = f"{method}_{seed}" + "".join(f"_{value}" for value in config.values())
        folder = make_run(self.root, name, method, metrics(), seed=seed, **config)
        stored = yaml.safe_load((folder / "config.yaml").read_text())
        stored["fingerprints"] = {"data": splits.data_fingerprint, "forget": splits.forget_fingerprint}
        stored["groups"]["forget"] = list(splits.forget_groups)
        (folder / "config.yaml").write_text(yaml.safe_dump(stored))
        draw = np.random.default_rng([seed, len(method), sum(map(ord, name)), chance])
        phi = self.of_sample + draw.normal(0, 0.2) + draw.normal(0, 1, len(ROWS))
        phi[splits.retain] += 3
        phi[splits.forget] += lift
        phi[np.isin(GROUP, self.forget_groups)] += of_group
        save_records(folder, phi, left_out=splits.left_out)
        save_splits(folder / "splits.npz", splits)
        return folder

    def add_all(self, method: str, **options) -> None:
        for seed in range(N_SEEDS):
            self.add(method, seed, **options)


def save_records(
    folder: Path, phi: np.ndarray, group: np.ndarray = GROUP, left_out: np.ndarray | tuple[()] = ()
) -> None:
    logits, split = np.zeros((len(phi), 2)), SPLIT.copy()
    logits[ROWS, group // 2] = phi
    split[np.array(left_out, dtype=np.int64)] = 3
    Records.from_logits(ROWS, split, group // 2, group % 2, group, logits).save(folder / "records.npz")


def audit(root: Path, *flags: str) -> list[Finding]:
    assert main([str(root), *flags]) == 0
    return per_example(root / "audit.json")


def per_example(file: Path) -> list[Finding]:
    """What a file holds of the per-example attacks."""
    keys = {one.key for one in MEASURES}
    return [one for one in read_findings(file)[0] if one.measure in keys]


def pick(found: list[Finding], measure: str, label: str, group: str | None = None) -> Finding:
    (one,) = (one for one in found if (one.measure, one.label, one.group) == (measure, label, group))
    return one


def refused(capsys: Capture, *words: str) -> str:
    assert main(list(words)) == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Originals, retrained models, and methods that leave a trace, change the whole group, or do neither."""
    made = Tree(tmp_path_factory.mktemp("runs"), leave_out=0.3)
    made.add_all("pretrain", lift=3)
    made.add_all("retrain")
    made.add_all("salun", lift=1.5)
    made.add_all("scrub", of_group=2)
    made.add_all("ft", reweight=False)
    return made


@pytest.fixture(scope="module")
def found(tree: Tree) -> list[Finding]:
    return audit(tree.root)


def test_the_original_is_found_and_a_retrained_model_of_another_seed_is_not(found: list[Finding]):
    for name in ("lira", "ruli"):
        original, retrained = (pick(found, f"{name}_auc", label) for label in ("pretrain", "retrain"))
        assert original.low > 90
        assert retrained.low < 50 < retrained.high
        assert (original.runs, retrained.runs) == (N_SEEDS, N_SEEDS // 2)  # a control takes two models
        assert (original.floor, retrained.floor) == (retrained.value, None)
        excess = [pick(found, f"{name}_excess", label) for label in ("pretrain", "retrain")]
        assert excess[0].low > 30
        assert excess[1].low < 0 < excess[1].high


def test_what_was_done_to_the_whole_group_is_no_membership(found: list[Finding]):
    """Trap: the plain AUC says that SCRUB's forgotten samples are told for certain, and held-out ones are too."""
    for name in ("lira", "ruli"):
        scrub, salun, ft = (pick(found, f"{name}_auc", label) for label in ("scrub", "salun", "ft"))
        assert scrub.value > 85
        assert scrub.placebo > 85
        assert ft.low < 50 < ft.high
        assert salun.placebo < 60
        changes = {label: pick(found, f"{name}_excess", label) for label in ("scrub", "salun", "ft")}
        assert changes["salun"].low > 10
        assert changes["salun"].value == pytest.approx(salun.value - salun.placebo)
        for label in ("scrub", "ft"):
            assert changes[label].low < 0 < changes[label].high


def test_near_100_the_distance_orders_what_the_difference_of_aucs_cannot(tmp_path: Path):
    """Both AUCs of the original are near 100, as its groups are known. So the AUCs say that less of it is membership
    than of SalUn, whose forgotten samples stand out by 1.5, those of the original by 3."""
    tree = Tree(tmp_path)
    for seed in range(6):
        tree.add("pretrain", seed, lift=3, of_group=2.5)
        tree.add("retrain", seed)
        tree.add("salun", seed, lift=1.5)
    found = audit(tmp_path)
    for name in ("lira", "ruli"):
        assert pick(found, f"{name}_excess", "pretrain").value < pick(found, f"{name}_excess", "salun").value / 3
        original, salun = (pick(found, f"{name}_excess_d", label) for label in ("pretrain", "salun"))
        assert original.value > salun.value + 0.5 > 1.5
        assert min(original.low, salun.low) > 0
        auc = pick(found, f"{name}_auc", "salun")
        apart = [ndtri(share / 100) for share in (auc.value, auc.placebo)]
        assert salun.value == pytest.approx(2**0.5 * (apart[0] - apart[1]))
        rate, beyond = (pick(found, f"{name}_{key}", "salun") for key in ("tpr_at_1", "excess_tpr_at_1"))
        assert beyond.value == pytest.approx(rate.value - rate.placebo)
        assert beyond.low <= beyond.value <= beyond.high


def test_forgotten_samples_are_told_from_left_out_ones_under_unlearned_models(found: list[Finding]):
    assert pick(found, "ruli_privacy_auc", "salun").low > 55
    for label in ("scrub", "ft"):
        one = pick(found, "ruli_privacy_auc", label)
        assert one.low < 50 < one.high


def test_the_privacy_test_has_its_controls(found: list[Finding]):
    """An original was trained on what others forget and not on what it left out; a retrained model on neither."""
    original, retrained = (pick(found, "ruli_privacy_auc", label) for label in ("pretrain", "retrain"))
    assert original.low > 80
    assert retrained.low < 50 < retrained.high
    assert (original.runs, retrained.runs) == (N_SEEDS, N_SEEDS)
    assert original.floor == pick(found, "ruli_privacy_auc", "salun").floor == retrained.value
    assert original.placebo is None


def test_without_left_out_samples_the_privacy_test_is_null_with_the_reason(tmp_path: Path):
    tree = Tree(tmp_path)
    for seed in range(3):
        tree.add("pretrain", seed, lift=3)
        tree.add("retrain", seed)
        tree.add("salun", seed)
    found = audit(tmp_path)
    for label in ("pretrain", "salun"):
        assert (pick(found, "ruli_privacy_auc", label).value, NO_LEFT_OUT) == (
            None,
            pick(found, "ruli_privacy_auc", label).reason,
        )


def test_every_measure_is_there_for_all_and_for_each_forget_group(found: list[Finding]):
    own = [(one.measure, one.group) for one in found if one.label == "salun"]
    keys = [one.key for one in MEASURES]
    assert sorted(own, key=str) == sorted([(key, group) for key in keys for group in (None, NAMES[2])], key=str)
    assert pick(found, "lira_auc", "salun") == replace_group(pick(found, "lira_auc", "salun", NAMES[2]))
    assert {one.table for one in found} == {TABLE}
    scored = pick(found, "lira_scored", "salun")
    assert 90 < scored.value <= 100
    assert pick(found, "lira_auc", "salun").n == round(scored.value * scored.n / 100)
    assert (scored.floor, scored.low) == (None, None)  # a count is nothing that two models can be apart in


def replace_group(one: Finding) -> Finding:
    return Finding(**{**vars(one), "group": None})


def test_rates_of_few_negatives_are_null_with_the_reason(found: list[Finding]):
    one = pick(found, "lira_tpr_at_01", "salun")
    assert (one.value, one.low) == (None, None)
    assert one.reason.startswith("a false-positive rate of one in 1000 needs 1000 non-members")
    assert pick(found, "lira_tpr_at_1", "pretrain").value > pick(found, "lira_tpr_at_1", "ft").value


def test_groups_are_told_apart(tmp_path: Path):
    tree = Tree(tmp_path, forget_groups=(1, 2))
    for seed in range(N_SEEDS):
        tree.add("retrain", seed)
        folder = tree.add("salun", seed)
        records = Records.load(folder / "records.npz")
        splits = tree.splits(seed)
        exposed = splits.forget[GROUP[splits.forget] == 1]
        phi = records.log_odds
        phi[exposed] += 2.5
        save_records(folder, phi)
    found = audit(tmp_path)
    assert pick(found, "lira_excess", "salun", NAMES[1]).low > 20
    other = pick(found, "lira_excess", "salun", NAMES[2])
    assert other.low < 0 < other.high
    assert pick(found, "lira_excess", "salun", NAMES[2]).value < pick(found, "lira_excess", "salun").value


def test_reweighted_runs_are_told_from_reweighted_retrained_models(tmp_path: Path):
    """Trap: REWEIGHT alone changes the group. Its retrained model is the reference, as that of Avg. Gap is."""
    tree = Tree(tmp_path)
    tree.add_all("retrain")
    tree.add_all("retrain", of_group=2, reweight=True)
    tree.add_all("salun", of_group=2, reweight=True)
    tree.add_all("salun", of_group=2, reweight=False)
    found = audit(tmp_path)
    fair, unfair = pick(found, "lira_auc", "salun + reweight"), pick(found, "lira_auc", "salun")
    assert fair.low < 50 < fair.high
    assert unfair.low > 75
    assert fair.floor == pick(found, "lira_auc", "retrain + reweight").value
    assert unfair.floor == pick(found, "lira_auc", "retrain").value


def test_runs_that_share_a_train_seed_count_once(tmp_path: Path):
    tree = Tree(tmp_path)
    tree.add_all("retrain")
    tree.add_all("salun", lift=1)
    alone = audit(tmp_path)
    for seed in range(N_SEEDS):
        tree.add("salun", seed, chance=1, run_seed=99)
        folder = tmp_path / f"salun_{seed}_99"
        stored = yaml.safe_load((folder / "config.yaml").read_text())
        stored["config"] |= {"seed": 99, "train_seed": seed, "forget_seed": seed}
        (folder / "config.yaml").write_text(yaml.safe_dump(stored))
    assert audit(tmp_path) == alone


def test_what_cannot_be_computed_has_its_reason(tmp_path: Path):
    tree = Tree(tmp_path)
    for seed in range(3):
        tree.add("retrain", seed)
        tree.add("salun", seed, lift=1)
    tree.add_all("ft")
    shutil.move(tree.add("scrub", 0) / "records.npz", tmp_path / "gone")
    found = audit(tmp_path)
    assert pick(found, "lira_auc", "salun").value > 50
    assert pick(found, "lira_auc", "salun").low is None  # without one of them there are too few
    assert pick(found, "lira_auc", "ft").runs == 3
    for label, what in (
        ("scrub", "3 train seeds whose run and retrained model both keep their records; found 0"),
        ("retrain", "3 pairs of retrained models of different train seeds; found 1"),
    ):
        assert pick(found, "ruli_auc", label).reason == f"it needs {what}"
        assert pick(found, "ruli_auc", label).value is None


def test_a_group_without_held_out_samples_has_no_placebo(tmp_path: Path):
    tree = Tree(tmp_path)
    group = np.where((SPLIT > 0) & (GROUP == 2), 3, GROUP)
    for seed in range(4):
        for method in ("retrain", "salun"):
            folder = tree.add(method, seed)
            save_records(folder, Records.load(folder / "records.npz").log_odds, group)
    found = audit(tmp_path)
    assert pick(found, "lira_auc", "salun").placebo is None
    assert (pick(found, "lira_excess", "salun").value, pick(found, "lira_excess", "salun").reason) == (None, NO_PLACEBO)


@pytest.mark.parametrize("what", ["group", "index"])
def test_runs_of_other_data_are_refused_and_both_named(tmp_path: Path, capsys: Capture, what: str):
    tree = Tree(tmp_path)
    for seed in range(3):
        tree.add("retrain", seed)
        folder = tree.add("salun", seed)
    records = Records.load(folder / "records.npz")
    if what == "group":
        save_records(folder, records.log_odds, np.where(ROWS == 5, 3, GROUP))
        told = "another target"
    else:
        records.select(ROWS[:-1]).save(folder / "records.npz")
        splits = tree.splits(2)
        save_splits(folder / "splits.npz", replace(splits, test=splits.test[:-1]))
        told = "another index"
    message = refused(capsys, str(tmp_path))
    assert f"{folder} and {tmp_path / 'retrain_0'}" in message or f"{folder} and {tmp_path / 'salun_0'}" in message
    assert told in message
    assert not (tmp_path / "audit.json").exists()


def test_the_same_command_gives_the_same_file(tree: Tree, capsys: Capture):
    first, few = (tree.root / "audit.json").read_bytes(), tree.root / "few.json"
    audit(tree.root, "--out", str(few), *FEW)
    made = few.read_bytes()
    assert capsys.readouterr().out.splitlines()[0] == "digits, small_cnn, 32 px, weights none, split0, ratio 0.9"
    audit(tree.root, "--groups", "--out", str(few), *FEW)
    assert few.read_bytes() == made
    assert (tree.root / "audit.json").read_bytes() == first
    few.unlink()
    told = [line for line in capsys.readouterr().out.splitlines() if NAMES[2] in line]
    assert told == [f"forgotten samples are of {NAMES[2]}; where its numbers are those of all, they stand once."]


def test_the_table_is_that_of_the_report(tmp_path: Path, capsys: Capture):
    """With placebo and floor, each number of runs where it belongs, and titles in place of keys."""
    tree = Tree(tmp_path)
    for seed in range(6):
        tree.add("retrain", seed)
        tree.add("salun", seed)
    audit(tmp_path)
    told = capsys.readouterr().out
    own = told[told.index(TITLE) : told.index("written:")].strip()
    assert report([str(tmp_path)]) == 0
    assert own in capsys.readouterr().out
    assert "placebo" in own
    assert "floor" in own
    rows = [line.split() for line in own.splitlines()]
    assert ["retrain", "3"] in [row[:2] for row in rows]
    assert ["salun", "6"] in [row[:2] for row in rows]
    keys = {one.key for one in MEASURES} | {column.key for column in COLUMNS}
    assert "noise floor" in own
    assert not keys & set(re.findall(r"\w+_\w+", own))


def test_a_part_of_the_seeds_leaves_the_audit_as_it_is(tree: Tree, capsys: pytest.CaptureFixture[str]):
    before = {file: file.read_bytes() for file in tree.root.rglob("*.json")}
    assert main([str(tree.root), "--seeds", "4"]) == 0
    assert "not written, as --seeds took a part of the runs; --out FILE writes it" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in tree.root.rglob("*.json")} == before


def test_fewer_seeds_by_a_flag(tree: Tree, tmp_path: Path):
    file = tmp_path / "some.json"
    assert main([str(tree.root), "--seeds", "4", "--out", str(file)]) == 0
    found, facts = read_findings(file)
    assert facts["train_seeds"] == [0, 1, 2, 3]
    assert pick(found, "lira_auc", "salun").runs == 4


def test_runs_in_a_zip_have_their_audit_beside_it(tree: Tree, tmp_path: Path):
    files = {str(file.relative_to(tree.root)): file.read_bytes() for file in tree.root.glob("*/*")}
    write_zip(tmp_path / "kept.zip", files)
    assert main([str(tmp_path / "kept.zip")]) == 0
    assert per_example(tmp_path / "kept.audit.json") == audit(tree.root)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("where", ["read_runs", "PARTS"])
def test_a_stop_signal_leaves_the_file_as_it_was_and_is_a_line(
    tree: Tree, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, where: str, name: str
):
    def stopped(runs):
        os.kill(os.getpid(), getattr(signal, name))
        return []

    before = signal.getsignal(getattr(signal, name))
    monkeypatch.setattr(command, where, stopped if where == "read_runs" else (stopped,))
    file = tmp_path / "a.json"
    file.write_text("before")
    assert main([str(tree.root), "--out", str(file)]) == 75
    assert file.read_text() == "before"
    assert signal.getsignal(getattr(signal, name)) == before
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"stopped by {name}: what was written before is as it was; the same command begins anew"


def test_runs_that_are_left_out_are_named_with_the_reason(tmp_path: Path, capsys: Capture):
    tree = Tree(tmp_path)
    for seed in range(3):
        tree.add("retrain", seed)
        tree.add("salun", seed)
    for seed in range(11):
        folder = tree.add("ft", seed)
        (folder / ("done" if seed else "metrics.json")).unlink()
    audit(tmp_path)
    told = capsys.readouterr().out
    assert "left out, 11 of 17 runs:" in told
    assert f"- {tmp_path / 'ft_0'}: metrics.json cannot be read" in told
    assert f"- {tmp_path / 'ft_8'}: no done marker" in told
    assert "- and 1 more\n" in told
    shutil.rmtree(tmp_path / "ft_8")
    audit(tmp_path)
    assert " more\n" not in capsys.readouterr().out.partition("left out, 10 of 16")[2]


@pytest.mark.parametrize("lost", ["records.npz", "redacted"])
def test_runs_without_records_do_not_replace_an_audit(tmp_path: Path, capsys: Capture, lost: str):
    tree = Tree(tmp_path)
    folders = [tree.add(method, 0) for method in ("pretrain", "retrain", "salun")]
    good = tmp_path / "audit.json"
    good.write_text("good")
    for folder in folders[1:]:
        if lost == "redacted":
            stored = yaml.safe_load((folder / "config.yaml").read_text())
            (folder / "config.yaml").write_text(yaml.safe_dump(stored | {"redacted": True}))
        else:
            (folder / lost).unlink()
    assert "keeps its records of all samples" in refused(capsys, str(tmp_path))
    assert good.read_text() == "good"


def test_one_run_is_refused_and_the_folder_of_all_is_named(tmp_path: Path, capsys: Capture):
    deep = Tree(tmp_path / "output" / "digits" / "small_cnn" / "split0").add("salun", 0)
    assert (
        f"is one run, and an audit needs those of several seeds; give their folder: {tmp_path / 'output'}"
        in refused(capsys, str(deep))
    )
    assert not (deep / "audit.json").exists()
    flat = Tree(tmp_path / "runs").add("salun", 0)
    assert f"give their folder: {tmp_path / 'runs'}\n" in refused(capsys, str(flat))


def test_the_place_of_the_answer_is_tried_before_runs_are_read(
    tree: Tree, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    def read_only(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(command, "PARTS", (lambda runs: pytest.fail("it was audited"),))
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    message = refused(capsys, str(tree.root), "--out", str(tmp_path / "a.json"))
    assert f"nothing can be written in {tmp_path} (Read-only file system); give another place with --out" in message
    message = refused(capsys, str(tree.root))
    assert f"nothing can be written in {tree.root} (Read-only file system)" in message


def test_a_part_of_the_seeds_that_is_all_of_them_is_said(tmp_path: Path, capsys: Capture):
    tree = Tree(tmp_path)
    for seed in range(3):
        tree.add("retrain", seed)
        tree.add("salun", seed)
    assert main([str(tmp_path), "--seeds", "3"]) == 0
    assert "--seeds" not in capsys.readouterr().err
    assert main([str(tmp_path), "--seeds", "200"]) == 0
    assert "--seeds 200: it has 3 train seeds, and all of them are taken" in capsys.readouterr().err


def test_the_report_notices_an_audit_of_other_runs(tmp_path: Path, capsys: Capture):
    tree, said = Tree(tmp_path), "not made from the runs that lie here: "

    def told() -> str:
        assert report([str(tmp_path)]) == 0
        return capsys.readouterr().out.partition(said)[2].partition("; make it again")[0]

    for seed in range(4):
        tree.add("retrain", seed)
        tree.add("salun", seed)
    audit(tmp_path)
    assert told() == ""
    tree.add("ft", 0)
    assert told() == "1 of them are new, or made anew, since"
    shutil.rmtree(tmp_path / "ft_0")
    assert told() == ""
    shutil.move(tmp_path / "salun_3", tmp_path / "another_name")
    assert told() == ""  # a place is no part of what a run is
    save_records(tmp_path / "another_name", Records.load(tmp_path / "salun_2" / "records.npz").log_odds)
    assert told() == "1 of them are new, or made anew, since and 1 of its runs are not here as they were"
    assert main([str(tmp_path), "--seeds", "2", "--out", str(tmp_path / "audit.json")]) == 0
    assert told() == "4 of them are new, or made anew, since"
    write_findings(tmp_path / "audit.json", [], {})  # of an earlier version
    assert told() == ""


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--seeds", "0"], "--seeds 0: expected a whole number of at least 1"),
        (["--out", "{root}"], "--out {root}: this is a folder; give the name of a file with --out"),
        (["--out", "{root}/none/a.json"], "there is no folder {root}/none; make it first"),
        (["--out", "/dev/null"], "--out /dev/null: this is no regular file"),
    ],
)
def test_wrong_usage_is_a_sentence(tree: Tree, capsys: Capture, flags: list[str], told: str):
    message = refused(capsys, str(tree.root), *(flag.format(root=tree.root) for flag in flags))
    assert told.format(root=tree.root) in message


def test_a_folder_without_runs_that_forget_is_refused(tmp_path: Path, capsys: Capture):
    assert "is not a folder" in refused(capsys, str(tmp_path / "none"))
    Tree(tmp_path).add("pretrain", 0)
    assert "no finished run under" in refused(capsys, str(tmp_path))


@pytest.mark.slow
def test_the_benchmark_of_groups_reads_the_table_that_forgets_them_all(tmp_path: Path):
    for name, groups, ratio in (("one", (2,), 0.9), ("all", (0, 1, 2, 3), 0.2)):
        tree = Tree(tmp_path / name, groups)
        for seed in range(6):
            for method, lift in (("pretrain", 3), ("retrain", 0), ("salun", 1.5)):
                tree.add(method, seed, lift=lift, unlearning_ratio=ratio)
    command = [sys.executable, str(ROOT / "benchmarks" / "audit_groups.py"), str(tmp_path), "--groups"]
    asked = [*command, "low cold;high warm", "--others", "low warm; high cold"]
    result = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    left_out = [line for line in lines if "ratio 0.9" in line]
    assert [line.split("; ", 1)[1] for line in left_out] == [
        "it forgets samples of high cold, none of low cold; high warm; low warm"
    ]
    found = audit(tmp_path / "all")
    of = {group: pick(found, "lira_excess_d", "salun", group).value for group in NAMES}
    apart = (of["low cold"] + of["high warm"] - of["low warm"] - of["high cold"]) / 2
    (salun,) = (line for line in lines if line.startswith("salun  "))
    assert float(salun.split()[1]) == pytest.approx(apart, abs=0.005)
    refused = subprocess.run(
        [*command, "low cold", "--others", "tall"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "expected a table of finished runs that forgets samples of all groups asked for" in refused.stderr
