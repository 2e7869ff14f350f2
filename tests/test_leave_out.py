"""--leave_out: a share of train that no run trains on, drawn before the forget set, and predicted by every run."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cli import configuration, ok, refused
from test_redact import redacted
from test_splits import toy
from test_sweep import planned
from trees import make_run
from workshop import Workshop, metrics_of

from datasets.base import LEFT_OUT, TEST, TRAIN, VAL
from datasets.deletion.requests import find_requests
from datasets.sampling import reweight_weights
from datasets.splits import arrays_of, leave_out, load_splits, make_listed_splits, make_splits, save_splits
from method.configs.cli import command_line
from method.evaluation.records import Records
from method.runs.data import read_data
from method.runs.folder import PRETRAIN, RETRAIN, folder_of
from method.runs.reference import Asked, facts_of, misfits
from method.runs.stored import read_runs
from method.training.batches import Batches
from scripts.keep_runs import main as keep_runs
from scripts.report.collect import Report
from scripts.report.naming import title
from utils.errors import UserError

FORGET = ((1, 0),)
OF_MIU = "--method miu --unlearning_ratio 0.9 --leave_out 0.1"


def smallest(purpose: str, seed: int, units: list[str], n: int) -> set[str]:
    """The n units with the smallest SHA-256 of purpose, seed and unit, by a second way."""
    digests = {hashlib.sha256(f"{purpose}:{seed}:{unit}".encode()).hexdigest(): unit for unit in units}
    return {digests[digest] for digest in sorted(digests)[:n]}


# The draw.


def test_the_share_is_drawn_by_the_train_seed_before_the_forget_set():
    dataset = toy()
    reduced = leave_out(dataset, 0.1, seed=7)
    splits = make_splits(reduced, FORGET, 0.9, seed=3)
    wanted = smallest("leave_out", 7, dataset.paths(range(90)), 9)
    assert set(dataset.paths(splits.left_out)) == wanted
    remaining = sorted({*range(50)} - {*splits.left_out.tolist()})
    n_forget = len(remaining) * 9 // 10
    assert set(dataset.paths(splits.forget)) == smallest("forget", 3, dataset.paths(remaining), n_forget)
    assert splits.train.tolist() == sorted({*range(90)} - {*splits.left_out.tolist()})
    assert (splits.val.tolist(), splits.test.tolist()) == ([*range(90, 100)], [*range(100, 110)])
    assert reduced.split[splits.left_out].tolist() == [LEFT_OUT] * 9
    with pytest.raises(ValueError, match="read-only"):
        splits.left_out[0] = 0


def test_shares_are_decimal_nested_and_of_units():
    dataset = toy(units=3)  # 90 rows of train are 30 units
    drawn = [make_splits(leave_out(dataset, share, 0), (), 0.5, 0).left_out for share in (0.1, 0.58, 0.99)]
    assert [len(rows) for rows in drawn] == [9, 51, 87]  # 3, 17 and 29 of 30 units
    assert set(drawn[0]) < set(drawn[1]) < set(drawn[2])
    for rows in drawn:
        assert len(set(dataset.units(rows))) * 3 == len(rows), "a unit is left out whole"


def test_nothing_is_left_out_at_0_and_the_table_is_the_same():
    dataset = toy()
    assert leave_out(dataset, 0.0, 0) is dataset
    splits = make_splits(dataset, FORGET, 0.5, 0)
    assert (splits.left_out.tolist(), splits.left_out.dtype) == ([], np.int64)
    assert "left_out" not in arrays_of(splits)


def test_the_data_fingerprint_differs_with_share_and_seed():
    dataset = toy()
    tables = [dataset, *(leave_out(dataset, *draw) for draw in ((0.1, 0), (0.2, 0), (0.1, 1)))]
    assert len({table.fingerprint for table in tables}) == 4
    assert leave_out(toy(), 0.1, 0).fingerprint == tables[1].fingerprint
    assert dataset.split.tolist().count(LEFT_OUT) == 0, "the table that was given is as it was"


def test_a_share_that_leaves_out_nothing_is_refused():
    with pytest.raises(UserError, match=r"--leave_out 0.01 leaves out no sample: toy has 90 train samples"):
        leave_out(toy(), 0.01, 0)
    with pytest.raises(UserError, match="the train set of toy is empty"):
        leave_out(toy(split=np.repeat([VAL, TEST], [50, 60])), 0.5, 0)


@pytest.mark.parametrize("share", ["1", "-0.1", "nan", "a"])
def test_other_shares_are_refused(share: str):
    told = refused(f"--method pretrain --leave_out {share}")
    assert "leave_out is" in told
    assert "expected a number at least 0 and below 1" in told


def test_a_list_that_names_what_is_left_out_is_refused_or_says_so():
    reduced = leave_out(toy(), 0.1, 0)
    gone, kept = (int(np.flatnonzero(reduced.split == code)[0]) for code in (LEFT_OUT, TRAIN))
    names = [f"row:{gone}", f"row:{kept}", "row:95"]
    with pytest.raises(UserError) as error:
        find_requests(reduced, names, skip_unknown=False)
    assert f"1 left out of train by --leave_out, so no model is trained on them (row:{gone})" in str(error.value)
    found = find_requests(reduced, names, skip_unknown=True)
    assert found.left_out == {"not_in_train": ("row:95",), "not_trained_on": (f"row:{gone}",)}
    assert make_listed_splits(reduced, found.rows).forget.tolist() == [kept]


def test_a_unit_that_is_left_out_is_not_forgotten_with_another():
    dataset = toy(units=3)
    reduced = leave_out(dataset, 0.5, 0)
    splits = make_splits(reduced, FORGET, 1.0, 0)
    assert not set(dataset.units(splits.forget)) & set(dataset.units(splits.left_out))


# Files.


def test_splits_with_and_without_it_are_read_back(tmp_path: Path):
    for share in (0.0, 0.1):
        splits = make_splits(leave_out(toy(), share, 0), FORGET, 0.5, 0)
        save_splits(tmp_path / "splits.npz", splits)
        with np.load(tmp_path / "splits.npz") as arrays:
            assert ("left_out" in arrays.files) == (share > 0)
        found = load_splits(tmp_path / "splits.npz")
        for name, value in vars(splits).items():
            assert np.array_equal(getattr(found, name), value), name


@pytest.mark.parametrize(
    "rows, told",
    [
        ([2, 1], "left_out holds rows that are not sorted"),
        ([-1], "left_out holds rows that are not sorted, not different, or below 0"),
        ([95], "train, val, test and what is left out share rows"),
        ([0], "train, val, test and what is left out share rows"),
    ],
)
def test_changed_splits_are_refused(rows: list[int], told: str, tmp_path: Path):
    dataset = leave_out(toy(), 0.1, 0)
    splits = make_splits(dataset, FORGET, 0.5, 0)
    rows = splits.train[:1].tolist() if rows == [0] else rows
    save_splits(tmp_path / "splits.npz", replace(splits, left_out=np.array(rows)))
    with pytest.raises(UserError, match=told):
        load_splits(tmp_path / "splits.npz")


# Identity, names, and what belongs together.


@pytest.mark.parametrize("method", ["pretrain", "retrain", "miu"])
def test_identity_and_name_are_those_of_earlier_versions_at_0(method: str):
    plain, zero = (configuration(f"--method {method}{flag}") for flag in ("", " --leave_out 0"))
    assert "leave_out" not in plain.identity()
    assert zero.identity() == plain.identity()
    assert folder_of(zero, "output") == folder_of(plain, "output")
    assert configuration(f"--method {method} --leave_out 0.1").identity() == {**plain.identity(), "leave_out": 0.1}


def test_a_run_and_what_it_needs_leave_out_the_same():
    config = configuration(f"{OF_MIU} --seed 3 --train_seed 1 --tag a")
    names = {
        None: "miu-a_leave0.1_0.9_3-t1",
        PRETRAIN: "pretrain_leave0.1_1",
        RETRAIN: "retrain_reweight_leave0.1_0.9_1-f3",
    }
    for method, name in names.items():
        assert folder_of(config, "output", method, reweight=method and True).name == name
    for method, flags in ((PRETRAIN, {}), (RETRAIN, {"reweight": True})):
        line = command_line(config, method, **flags).removeprefix("python main.py ")
        assert folder_of(configuration(line), "output").name == names[method]
    told = ok(f"{OF_MIU} --dry_run").out
    assert "/pretrain_leave0.1_0/model.pt (not there yet)" in told
    assert "/retrain_reweight_leave0.1_0.9_0/metrics.json (not there yet)" in told
    assert told.splitlines()[2].split() == ["group", "name", "train", "val", "test", "forget", "retain", "left", "out"]
    assert "left out" not in ok("--method miu --dry_run").out


def test_a_sweep_makes_what_belongs_together(tmp_path: Path):
    runs = planned(tmp_path, dataset="digits", unlearning_ratio=0.9, method="miu", seed=0, set={"leave_out": 0.1})
    names = ["pretrain_leave0.1_0", "retrain_reweight_leave0.1_0.9_0", "miu_leave0.1_0.9_0"]
    assert [run.folder.name for run in runs] == names
    assert runs[2].needs == (0, 1)


def test_the_forget_set_and_the_counts_are_of_what_remains():
    whole, reduced = (read_data(configuration(f"--method miu --unlearning_ratio 0.9{flag}"))
                      for flag in ("", " --leave_out 0.1"))  # fmt: skip
    splits = reduced.splits
    assert (len(whole.splits.train), len(splits.train), len(splits.left_out)) == (4800, 4320, 480)
    assert set(splits.train) | set(splits.left_out) == set(whole.splits.train)
    assert set(splits.forget) < set(splits.train)
    counts, own = (data.dataset.count_groups(data.splits.train) for data in (whole, reduced))
    assert (own + reduced.dataset.count_groups(splits.left_out) == counts).all()
    (group,) = splits.forget_groups
    assert 0 < len(splits.forget) <= own[group] * 0.9
    group_of = reduced.dataset.group
    weights, _ = reweight_weights(group_of[splits.retain], group_of[splits.train])
    shares = np.bincount(group_of[splits.retain], weights, len(own)) / weights.sum()
    assert np.allclose(shares, own / own.sum()), "REWEIGHT restores the shares of what is trained on"


def test_a_retrained_run_that_leaves_out_another_share_is_no_reference():
    def facts(share: float, data: str) -> dict[str, Any]:
        config = {"method": "retrain", "seed": 0, "leave_out": share}
        return facts_of({"config": config, "identity": config, "fingerprints": {"data": data, "forget": "f"}})

    earlier = facts_of({"config": {"method": "retrain", "seed": 0}, "fingerprints": {"data": "d", "forget": "f"}})
    asked = Asked(reweight=False)
    assert list(misfits(facts(0.1, "e"), facts(0.1, "e"), asked)) == []
    assert list(misfits(facts(0.0, "d"), earlier, asked)) == []
    assert [name for name, *_ in misfits(facts(0.1, "e"), earlier, asked)] == ["leave_out", "data fingerprint"]


def test_runs_with_and_without_it_stand_in_tables_of_their_own(tmp_path: Path):
    for number, share in enumerate((None, 0.0, 0.1)):
        extra = {} if share is None else {"leave_out": share}
        make_run(tmp_path, f"run{number}", "ga", {"schema": 2, "reasons": {}}, seed=number, **extra)
    tables = Report(read_runs(tmp_path), {}, ()).tables
    assert sorted(len(rows) for rows in tables.values()) == [1, 2]
    assert sorted(title(key).split(",")[0] for key in tables) == ["digits", "digits (leave_out 0.1)"]


# A run.


@pytest.fixture(scope="module")
def workshop(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    flags = "--dataset digits --image_size 32 --epochs 1 --batch_size 256 --threads 1 --device cpu --leave_out 0.25"
    return Workshop(data_dir, tmp_path_factory.mktemp("leave_out"), flags)


@pytest.fixture(scope="module")
def made(workshop: Workshop) -> dict[str, tuple[Path, set[int]]]:
    """The folder of each run, and the rows that its batches held."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        batches, seen = Batches.of, set()

        def spied(self: Batches, *arguments: Any) -> Any:
            for batch in batches(self, *arguments):
                seen.update(batch.index.tolist())
                yield batch

        patch.setattr(Batches, "of", spied)
        for method in ("pretrain", "retrain", "ft"):
            seen.clear()
            found[method] = workshop.ok(method), set(seen)
    return found


def test_what_is_left_out_is_recorded_and_never_in_a_batch(made: dict[str, tuple[Path, set[int]]]):
    drawn = []
    for method, (folder, seen) in made.items():
        splits, records = load_splits(folder / "splits.npz"), Records.load(folder / "records.npz")
        assert len(splits.left_out) == 1200
        assert seen == set((splits.train if method == "pretrain" else splits.retain).tolist())
        assert not seen & set(splits.left_out.tolist())
        assert np.array_equal(records.index[records.split == LEFT_OUT], splits.left_out)
        assert np.array_equal(np.sort(records.index[records.split == TRAIN]), splits.train)
        assert np.isfinite(records.select(splits.left_out).log_odds).all()
        drawn.append((splits.data_fingerprint, splits.left_out.tolist()))
        metrics = metrics_of(folder)
        n_train = metrics["n_train"] if method == "pretrain" else metrics["n_retain"] + metrics["n_forget"]
        assert n_train == len(splits.train) == 3600
        assert "1200 further samples are left out of train by --leave_out 0.25" in (folder / "run.log").read_text()
        assert yaml.safe_load((folder / "config.yaml").read_text())["identity"]["leave_out"] == 0.25
    assert drawn[0] == drawn[1] == drawn[2]
    assert metrics_of(made["pretrain"][0])["train_acc"] == pytest.approx(_train_accuracy(made["pretrain"][0]))
    assert metrics_of(made["ft"][0])["reference"] == made["retrain"][0].name == "retrain_leave0.25_0.5_0"


def _train_accuracy(folder: Path) -> float:
    records = Records.load(folder / "records.npz")
    return 100 * float((records.prediction == records.target)[records.split == TRAIN].mean())


def test_the_original_must_leave_out_the_same(made: dict[str, tuple[Path, set[int]]], workshop: Workshop):
    original = made["pretrain"][0]
    told = workshop.run("ft --leave_out 0 --tag whole", original=original)
    assert told.code == 2
    assert "its share of train that is left out is 0.25, this run's is 0.0; give --leave_out 0.25, or" in told.err


def test_a_redacted_copy_has_no_records_of_it(made: dict[str, tuple[Path, set[int]]], tmp_path: Path):
    folder = made["ft"][0]
    redacted(folder.parents[3], tmp_path / "copy")
    before = Records.load(folder / "records.npz")
    own = tmp_path / "copy" / folder.relative_to(folder.parents[3])
    after, splits = Records.load(own / "records.npz"), load_splits(own / "splits.npz")
    assert (np.bincount(before.split)[1:3] == np.bincount(after.split)[1:]).all(), "of val and test all"
    assert not set(after.index) & {*splits.train, *splits.left_out}
    assert len(splits.left_out) == 1200
    assert splits.left_out.min() > len(before), "rows have tokens"


def test_a_copy_that_is_kept_has_who_was_left_out(made: dict[str, tuple[Path, set[int]]], tmp_path: Path):
    folder = made["ft"][0]
    assert keep_runs([str(folder.parents[3]), str(tmp_path / "kept")]) == 0
    (splits,) = (tmp_path / "kept").rglob("ft_*/splits.npz")
    assert np.array_equal(load_splits(splits).left_out, load_splits(folder / "splits.npz").left_out)
