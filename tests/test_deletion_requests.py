"""Forgetting what a list names, groups by name, or samples at random: whole runs on the hand-made Waterbirds."""

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli import configuration, ok, refused
from folders import make_waterbird
from workshop import SMALL, Workshop, assert_same_run, metrics_of

from datasets.splits import load_splits
from method.evaluation.recompute import recompute
from method.evaluation.records import Records
from method.rundir import RunDirectory, directory_of

FEW = "--miu_critic_steps_first 3 --miu_critic_steps 2"
# Train's images, in the order of the labels: 1-20 landbird on land, 21-32 landbird on water, 33-44 waterbird on land.
NUMBERS = (*range(1, 4), *range(21, 33), *range(33, 38))
COMPOSITION = [("landbird on land", 3, 20), ("landbird on water", 12, 12), ("waterbird on land", 5, 12)]


def image(number: int) -> str:
    return f"{number:03d}.Species/Bird_{number:04d}.jpg"


def write_list(file: Path, names: list[str]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("# asked for in June\n" + "\n".join(names) + "\n")
    return file


def write_shuffled(file: Path) -> Path:
    """The same names in another order, as a column of a table."""
    names = [image(number) for number in np.random.default_rng(0).permutation(NUMBERS)]
    file.write_text("ticket,file\n" + "".join(f"{ticket},{name}\n" for ticket, name in enumerate(names)))
    return file


@pytest.fixture(scope="module")
def finished(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A pretrained run, and a retrained and an unlearned one of a list; nobody may change them."""
    workshop = Workshop(data_dir, tmp_path_factory.mktemp("finished"))
    requests = write_list(workshop.store / "requests.txt", [image(number) for number in NUMBERS])
    workshop.ok("pretrain")
    for method in ("retrain --reweight", f"miu {FEW}"):
        workshop.ok(method, forget_list=requests)
    return workshop


def folder_of(finished: Workshop, name: str) -> Path:
    config = configuration(f"--method miu {SMALL}", forget_list=finished.store / "requests.txt")
    return finished.store / "waterbird/small_cnn" / config.task / name


@pytest.fixture
def beside(finished: Workshop, tmp_path: Path) -> Workshop:
    """A store that has the pretrained model alone."""
    store = tmp_path / "store/waterbird/small_cnn"
    shutil.copytree(finished.store / "waterbird/small_cnn/pretrain_0", store / "pretrain_0")
    return Workshop(finished.data_dir, tmp_path / "store")


def test_the_composition_of_what_was_forgotten_stands_in_the_result(finished: Workshop):
    folder = folder_of(finished, "miu_1_0")
    metrics, splits = metrics_of(folder), load_splits(folder / "splits.npz")
    assert splits.forget.tolist() == sorted(number - 1 for number in NUMBERS)
    assert splits.forget_groups == (0, 1, 2)
    assert [(row["name"], row["n_forget"], row["n_train"]) for row in metrics["forget_composition"]] == COMPOSITION
    assert (metrics["n_forget"], metrics["n_requests"], metrics["n_skipped_requests"]) == (20, 20, 0)
    assert metrics["reference"] == "retrain_reweight_1_0"
    test = Records.load(folder / "records.npz").select(splits.test)
    accuracy = [100 * test.correct[test.group == group].mean() for group in splits.forget_groups]
    assert [row["test_acc"] for row in metrics["forget_composition"]] == pytest.approx(accuracy)
    assert metrics["forget_group_acc_weighted"] == pytest.approx(np.average(accuracy, weights=[3, 12, 5]))
    assert metrics["forget_group_acc"] == pytest.approx(100 * test.correct[test.group < 3].mean())
    assert recompute(folder) == metrics


def test_the_run_says_and_keeps_what_it_forgot(finished: Workshop):
    folder = folder_of(finished, "miu_1_0")
    log = (folder / "run.log").read_text()
    told = ", ".join(f"{name} {n} of {of}" for name, n, of in COMPOSITION)
    assert f"20 forget ({told}), 40 retain" in log
    assert "20 of 20 names in the list are forgotten" in log
    assert "REWEIGHT cannot restore landbird on water: no sample of it is retained" in log
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert stored["requests"] == {"n": 20, "n_skipped": 0, "skipped": {}}
    assert stored["task"] == folder.parent.name
    assert (folder / "forget_list.txt").read_text().splitlines() == sorted(map(image, NUMBERS))


def test_a_shuffled_list_is_the_same_run_to_the_last_bit(finished: Workshop, beside: Workshop, tmp_path: Path):
    shuffled = write_shuffled(tmp_path / "elsewhere.csv")
    for method, name in (("retrain --reweight", "retrain_reweight_1_0"), (f"miu {FEW}", "miu_1_0")):
        folder = beside.ok(method, forget_list=shuffled)
        assert folder.name == name
        assert folder.parent.name == folder_of(finished, name).parent.name
        assert_same_run(folder, folder_of(finished, name))
        fingerprints = [
            yaml.safe_load((place / "config.yaml").read_text())["fingerprints"]
            for place in (folder, folder_of(finished, name))
        ]
        assert fingerprints[0] == fingerprints[1]


def test_the_same_list_elsewhere_is_done_and_goes_on(finished: Workshop, tmp_path: Path):
    folder = folder_of(finished, "miu_1_0")
    for other in (write_shuffled(tmp_path / "elsewhere.csv"), folder / "forget_list.txt"):
        result = finished.run(f"miu {FEW}", forget_list=other)
        assert (result.code, result.out) == (0, f"already done: {folder}\n")
        config = configuration(f"--method miu {FEW} {SMALL}", forget_list=other, **finished.folders())
        half = shutil.copytree(folder, tmp_path / other.stem)
        (half / "done").unlink()
        assert RunDirectory(half).holds(config)


def test_one_name_more_is_another_run(finished: Workshop, tmp_path: Path):
    longer = write_list(tmp_path / "longer.txt", [*map(image, NUMBERS), image(45)])
    config = configuration(f"--method miu {SMALL}", forget_list=longer, **finished.folders())
    assert not directory_of(config, config.store_dir).exists()


def test_names_that_are_left_out_are_recorded(finished: Workshop, beside: Workshop, tmp_path: Path):
    wrong = ["gone.jpg", image(61), image(77), "0"]  # the last is row 0, which the list names
    requests = write_list(tmp_path / "list.txt", [*map(image, NUMBERS), *wrong])
    sentence = refused(f"--method retrain {SMALL}", forget_list=requests, **beside.folders())
    assert "of 24 names these cannot be forgotten: 1 not in the labels of waterbird (gone.jpg); " in sentence
    assert f"2 in val or test, not in train ({image(61)}, {image(77)}); correct the list, or leave" in sentence
    assert not list(beside.store.rglob("retrain*"))
    folder = beside.ok("retrain --reweight --skip_unknown", forget_list=requests)
    metrics = metrics_of(folder)
    assert (metrics["n_forget"], metrics["n_requests"], metrics["n_skipped_requests"]) == (20, 24, 4)
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    skipped = {"unknown": ["gone.jpg"], "duplicate": [image(1)], "not_in_train": [image(61), image(77)]}
    assert stored["requests"] == {"n": 24, "n_skipped": 4, "skipped": skipped}
    assert "left out: 1 unknown, 1 duplicate, 2 not in train" in (folder / "run.log").read_text()
    same = yaml.safe_load((folder_of(finished, "retrain_reweight_1_0") / "config.yaml").read_text())
    assert stored["fingerprints"] == same["fingerprints"], "the same samples are forgotten"


def test_a_retrained_run_that_forgot_the_same_rows_serves_whoever_named_them(
    finished: Workshop, beside: Workshop, tmp_path: Path
):
    by_row = write_list(tmp_path / "rows.txt", [str(number - 1) for number in NUMBERS])
    reference = folder_of(finished, "retrain_reweight_1_0")
    folder = beside.ok(f"miu {FEW}", forget_list=by_row, reference=reference)
    assert folder.parent.name != reference.parent.name
    assert metrics_of(folder)["avg_gap"] == metrics_of(folder_of(finished, "miu_1_0"))["avg_gap"]


def test_a_group_by_name_is_the_group_by_number_in_a_folder_of_its_own(beside: Workshop):
    by_number = beside.ok("retrain")
    by_name = beside.ok("retrain --forget_groups 'Waterbird:land'")
    assert by_name.parent.name == "groups-waterbird.land"
    assert_same_run(by_number, by_name)
    compared = beside.ok("l1_sparse --forget_groups 1:0", reference=by_number)
    assert metrics_of(compared)["avg_gap"] is not None


def test_a_reference_of_other_forget_groups_is_refused(beside: Workshop, tmp_path: Path):
    """The one row forgotten is the same, but not whose accuracy is compared."""
    reference = beside.ok("retrain --forget_groups 'waterbird:land, landbird:water' --unlearning_ratio 0.05")
    (row,) = load_splits(reference / "splits.npz").forget
    requests = write_list(tmp_path / "one.txt", [str(row)])
    command = f"--method retrain --reweight {SMALL}"
    sentence = refused(command, forget_list=requests, reference=reference, **beside.folders())
    assert f"{reference} cannot be the reference: its list of forget groups is [1, 2], expected [" in sentence


def test_random_forgets_from_every_group(beside: Workshop):
    folder = beside.ok("retrain --unlearning_type random --unlearning_ratio 0.2")
    assert folder == beside.store / "waterbird/small_cnn/random/retrain_0.2_0"
    metrics = metrics_of(folder)
    assert metrics["n_forget"] == 12 == sum(row["n_forget"] for row in metrics["forget_composition"])
    assert metrics["forget_group_names"] == [row["name"] for row in metrics["forget_composition"]]
    assert all(row["n_forget"] > 0 for row in metrics["forget_composition"])
    assert "n_requests" not in metrics


@pytest.mark.parametrize(
    "task", ["--forget_groups 'waterbird:land, 0:1'", "--unlearning_type random", "--forget_list LIST --skip_unknown"]
)
def test_the_command_that_makes_the_reference_says_what_to_forget(task: str, beside: Workshop, tmp_path: Path):
    requests = write_list(tmp_path / "a list.txt", [image(1), image(40), "gone"])
    task = task.replace("LIST", shlex.quote(str(requests)))
    folder = beside.ok(f"l1_sparse {task}")
    log = (folder / "run.log").read_text()
    command = log[log.index("--method retrain") :].splitlines()[0]
    config = configuration(command)
    assert directory_of(config, config.store_dir) == folder.parent / folder.name.replace("l1_sparse", "retrain")
    assert config.skip_unknown == ("skip_unknown" in task)


def test_an_image_that_is_left_out_needs_no_forgetting(tmp_path: Path):
    make_waterbird(tmp_path / "data")
    broken = tmp_path / "data/waterbird_complete95_forest2water2" / image(2)
    broken.write_bytes(broken.read_bytes()[:100])
    requests = write_list(tmp_path / "list.txt", ["0", "1", "40"])
    workshop = Workshop(tmp_path / "data", tmp_path / "store")
    folder = workshop.ok("retrain --skip_bad_images", forget_list=requests)
    metrics = metrics_of(folder)
    assert (metrics["n_forget"], metrics["n_skipped_images"], metrics["n_skipped_requests"]) == (2, 1, 1)
    assert load_splits(folder / "splits.npz").forget.tolist() == [0, 39], "rows of the table without row 1"
    assert yaml.safe_load((folder / "config.yaml").read_text())["requests"]["skipped"] == {"unreadable": [image(2)]}


def test_a_list_of_images_that_are_all_left_out_is_refused(tmp_path: Path):
    make_waterbird(tmp_path / "data")
    (tmp_path / "data/waterbird_complete95_forest2water2" / image(2)).write_bytes(b"")
    requests = write_list(tmp_path / "list.txt", ["1"])
    workshop = Workshop(tmp_path / "data", tmp_path / "store")
    command = f"--method retrain --skip_bad_images {SMALL}"
    sentence = refused(command, forget_list=requests, **workshop.folders())
    assert "--forget_list names no image that is left in train" in sentence


def test_all_drawings_of_a_digit_are_forgotten_with_one(tmp_path: Path):
    requests = write_list(tmp_path / "list.txt", ["digits-v3/0000-1"])
    out = ok("--method miu --dry_run", forget_list=requests, store_dir=tmp_path).out
    told = (
        "1 of 1 names in the list are forgotten; 3 other samples show the same as one of them and are forgotten with it"
    )
    assert told in out
    assert out.splitlines()[0].endswith(", ratio 1, seed 0")
