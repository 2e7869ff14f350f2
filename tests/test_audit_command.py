"""python -m scripts.audit on made-up runs: who is found, against which reference, and what it refuses."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from trees import NAMES, Capture, make_run, metrics

from datasets.splits import Splits, forget_fingerprint, save_splits
from method.evaluation.per_example import MEASURES
from method.evaluation.records import Records
from method.runs.findings import Finding, read_findings
from method.runs.zips import write_zip
from scripts.audit import command
from scripts.audit.command import main
from scripts.audit.per_example import NO_PLACEBO

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
        save_records(folder, phi)
        save_splits(folder / "splits.npz", splits)
        return folder

    def add_all(self, method: str, **options) -> None:
        for seed in range(N_SEEDS):
            self.add(method, seed, **options)


def save_records(folder: Path, phi: np.ndarray, group: np.ndarray = GROUP) -> None:
    logits = np.zeros((len(phi), 2))
    logits[ROWS, group // 2] = phi
    Records.from_logits(ROWS, SPLIT, group // 2, group % 2, group, logits).save(folder / "records.npz")


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


def test_forgotten_samples_are_told_from_left_out_ones_under_unlearned_models(found: list[Finding]):
    assert pick(found, "ruli_privacy_auc", "salun").low > 55
    for label in ("scrub", "ft"):
        one = pick(found, "ruli_privacy_auc", label)
        assert one.low < 50 < one.high
    assert "--leave_out" in pick(found, "ruli_privacy_auc", "pretrain").reason


def test_every_measure_is_there_for_all_and_for_each_forget_group(found: list[Finding]):
    own = [(one.measure, one.group) for one in found if one.label == "salun"]
    keys = [one.key for one in MEASURES]
    assert sorted(own, key=str) == sorted([(key, group) for key in keys for group in (None, NAMES[2])], key=str)
    assert pick(found, "lira_auc", "salun") == replace_group(pick(found, "lira_auc", "salun", NAMES[2]))
    assert {one.table for one in found} == {TABLE}
    scored = pick(found, "lira_scored", "salun")
    assert 90 < scored.value <= 100
    assert pick(found, "lira_auc", "salun").n == round(scored.value * scored.n / 100)


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
        told = "another index"
    message = refused(capsys, str(tmp_path))
    assert f"{folder} and {tmp_path / 'retrain_0'}" in message or f"{folder} and {tmp_path / 'salun_0'}" in message
    assert told in message
    assert not (tmp_path / "audit.json").exists()


def test_the_table_lines_up_and_the_same_command_gives_the_same_file(tree: Tree, capsys: Capture):
    audit(tree.root, *FEW)
    first = (tree.root / "audit.json").read_bytes()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits, small_cnn, 32 px, weights none, split0, ratio 0.9"
    head, rule, *rows = lines[2 : 4 + 5]
    assert {len(line) for line in (rule, *rows)} == {len(rule)}
    assert head.split()[:2] == ["row", "runs"]
    assert sorted(row.split()[0] for row in rows) == ["ft", "pretrain", "retrain", "salun", "scrub"]
    audit(tree.root, "--groups", *FEW)
    assert (tree.root / "audit.json").read_bytes() == first
    assert sum(NAMES[2] in line for line in capsys.readouterr().out.splitlines()) == 4  # of one pair there is none


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


def test_an_interruption_leaves_the_file_as_it_was(
    tree: Tree, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(runs):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "PARTS", ((interrupted, ()),))
    file = tmp_path / "a.json"
    file.write_text("before")
    assert main([str(tree.root), "--out", str(file)]) == 75
    assert file.read_text() == "before"
    assert "the same command begins anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--seeds", "0"], "--seeds 0: expected a whole number of at least 1"),
        (["--out", "{root}"], "this is a folder"),
        (["--out", "{root}/none/a.json"], "lies in none"),
    ],
)
def test_wrong_usage_is_a_sentence(tree: Tree, capsys: Capture, flags: list[str], told: str):
    assert told in refused(capsys, str(tree.root), *(flag.format(root=tree.root) for flag in flags))


def test_a_folder_without_runs_that_forget_is_refused(tmp_path: Path, capsys: Capture):
    assert "is not a folder" in refused(capsys, str(tmp_path / "none"))
    Tree(tmp_path).add("pretrain", 0)
    assert "no finished run under" in refused(capsys, str(tmp_path))
