"""Forgetting what a list names, groups by name, or samples at random: whole runs on the hand-made Waterbirds."""

import csv
import os
import shlex
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli import configuration, ok, refused
from folders import make_celeba, make_waterbird
from workshop import SMALL, Workshop, assert_same_run, metrics_of

from datasets.fairface import FairFace
from datasets.splits import load_splits
from method.evaluation.records import Records
from method.runs.data import read_data
from method.runs.directory import RunDirectory
from method.runs.folder import folder_of as place_of
from method.runs.recompute import recompute

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
    first, last = image(NUMBERS[0]), image(NUMBERS[-1])
    assert f"20 of 20 names in the list are forgotten; first {first} -> {first}, last {last} -> {last}\n" in log
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
    assert not place_of(config, config.store_dir).exists()


def test_names_that_are_left_out_are_recorded(finished: Workshop, beside: Workshop, tmp_path: Path):
    wrong = ["gone.jpg", image(61), image(77), "row:0"]  # the last is an image that the list names
    requests = write_list(tmp_path / "list.txt", [*map(image, NUMBERS), *wrong])
    sentence = refused(f"--method retrain {SMALL}", forget_list=requests, **beside.folders())
    assert "of 24 names these cannot be forgotten: 1 not in the labels of waterbird (gone.jpg); " in sentence
    assert f"2 in val or test, not in train ({image(61)}, {image(77)}); correct the list, or leave" in sentence
    assert not list(beside.store.rglob("retrain*"))
    folder = beside.ok("retrain --reweight --skip_unknown", forget_list=requests)
    metrics = metrics_of(folder)
    assert (metrics["n_forget"], metrics["n_requests"], metrics["n_skipped_requests"]) == (20, 24, 4)
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    skipped = {"unknown": ["gone.jpg"], "duplicate": ["row:0"], "not_in_train": [image(61), image(77)]}
    assert stored["requests"] == {"n": 24, "n_skipped": 4, "skipped": skipped}
    assert "left out: 1 unknown, 1 duplicate, 2 not in train" in (folder / "run.log").read_text()
    same = yaml.safe_load((folder_of(finished, "retrain_reweight_1_0") / "config.yaml").read_text())
    assert stored["fingerprints"] == same["fingerprints"], "the same samples are forgotten"


def test_a_retrained_run_that_forgot_the_same_rows_serves_whoever_named_them(
    finished: Workshop, beside: Workshop, tmp_path: Path
):
    by_row = write_list(tmp_path / "rows.txt", [f"row:{number - 1}" for number in NUMBERS])
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
    requests = write_list(tmp_path / "one.txt", [f"row:{row}"])
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
    assert place_of(config, config.store_dir) == folder.parent / folder.name.replace("l1_sparse", "retrain")
    assert config.skip_unknown == ("skip_unknown" in task)


def test_an_image_that_is_left_out_needs_no_forgetting(tmp_path: Path):
    make_waterbird(tmp_path / "data")
    broken = tmp_path / "data/waterbird_complete95_forest2water2" / image(2)
    broken.write_bytes(broken.read_bytes()[:100])
    requests = write_list(tmp_path / "list.txt", ["row:0", "row:1", "row:40"])
    workshop = Workshop(tmp_path / "data", tmp_path / "store")
    folder = workshop.ok("retrain --skip_bad_images", forget_list=requests)
    metrics = metrics_of(folder)
    assert (metrics["n_forget"], metrics["n_skipped_images"], metrics["n_skipped_requests"]) == (2, 1, 1)
    assert load_splits(folder / "splits.npz").forget.tolist() == [0, 39], "rows of the table without row 1"
    assert yaml.safe_load((folder / "config.yaml").read_text())["requests"]["skipped"] == {"unreadable": [image(2)]}


def test_a_list_of_images_that_are_all_left_out_is_refused(tmp_path: Path):
    make_waterbird(tmp_path / "data")
    (tmp_path / "data/waterbird_complete95_forest2water2" / image(2)).write_bytes(b"")
    requests = write_list(tmp_path / "list.txt", ["row:1"])
    workshop = Workshop(tmp_path / "data", tmp_path / "store")
    command = f"--method retrain --skip_bad_images {SMALL}"
    sentence = refused(command, forget_list=requests, **workshop.folders())
    assert "--forget_list names no image that is left in train" in sentence


def test_all_drawings_of_a_digit_are_forgotten_with_one(tmp_path: Path):
    requests = write_list(tmp_path / "list.txt", ["digits-v3/0000-1"])
    out = ok("--method miu --dry_run", forget_list=requests, store_dir=tmp_path).out
    told = (
        "1 of 1 names in the list are forgotten; 3 other samples show the same as one of them and are forgotten with"
        " it; digits-v3/0000-1 -> digits-v3/0000-1\n"
    )
    assert told in out
    assert out.splitlines()[0].endswith(", ratio 1, seed 0")


# The ids of a list are the files forgotten, by the label files read here.

REAL_DATA = Path(os.environ.get("GROUP_UNLEARNING_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
needs_real_data = pytest.mark.skipif(
    not (REAL_DATA / "fairface").is_dir(),
    reason=f"no FairFace subset in {REAL_DATA}; GROUP_UNLEARNING_DATA names another folder",
)


def label_rows(file: Path) -> list[dict[str, str]]:
    """A label file as it stands there."""
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def forgotten(dataset: str, data_dir: Path, requests: Path, more: str = "") -> set[str]:
    """The files that a run would forget."""
    config = configuration(f"--method retrain --dataset {dataset} {more}", data_dir=data_dir, forget_list=requests)
    data = read_data(config)
    return set(data.dataset.paths(data.splits.forget))


def fairface_ids(data_dir: Path) -> dict[str, str]:
    """Of the numbers that one file alone has, in train: the file."""
    data = FairFace.load(data_dir, 0, 0)
    in_train = {path for path, split in zip(data.paths(slice(None)), data.split.tolist(), strict=True) if split == 0}
    rows = [row for name in ("train", "val") for row in label_rows(data_dir / f"fairface/fairface_label_{name}.csv")]
    files = [row["file"] for row in rows if row["service_test"] == "True"]
    times = Counter(Path(file).stem for file in files)
    return {Path(file).stem: file for file in files if times[Path(file).stem] == 1 and file in in_train}


def check_fairface(data_dir: Path, tmp_path: Path) -> None:
    ids = fairface_ids(data_dir)
    chosen = [*list(ids)[:3], *list(ids)[-3:]]
    files = {ids[one] for one in chosen}
    forms = {
        "ids.txt": chosen,
        "image_id.csv": ["image_id", *chosen],
        "file.csv": ["file", *(Path(file).name for file in files)],
        "paths.txt": [file.removesuffix(".jpg") for file in files],
    }
    for name, lines in forms.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        assert forgotten("fairface", data_dir, tmp_path / name) == files
    shared = next(stem for stem in ("1", "4", "6") if (data_dir / f"fairface/train/{stem}.jpg").exists())
    (tmp_path / "both.txt").write_text(f"{shared}\n")
    if shared not in ids:
        told = refused("--method retrain --dataset fairface", data_dir=data_dir, forget_list=tmp_path / "both.txt")
        assert (
            f"of several images, which their paths or rows (row:17) tell apart ({shared}: train/{shared}.jpg (row"
            in told
        )


@needs_real_data
def test_ids_of_the_real_fairface_are_the_files_forgotten(tmp_path: Path):
    check_fairface(REAL_DATA, tmp_path)


def test_ids_of_a_fairface_folder_are_the_files_forgotten(data_dir: Path, tmp_path: Path):
    check_fairface(data_dir, tmp_path)


@pytest.mark.parametrize("form", ["txt", "csv"])
def test_ids_of_a_celeba_folder_are_the_files_forgotten(tmp_path: Path, form: str):
    folder = make_celeba(tmp_path / "data", form=form)
    split = {
        "txt": lambda: (line.split() for line in (folder / "list_eval_partition.txt").read_text().splitlines()),
        "csv": lambda: (row.values() for row in label_rows(folder / "list_eval_partition.csv")),
    }[form]()
    in_train = {Path(file).stem: f"img_align_celeba/{file}" for file, code in split if code == "0"}
    chosen = ["000001", "000003", list(in_train)[-1]]
    for name, lines in {
        "ids.txt": chosen,
        "ids.csv": ["image_id", *chosen],
        "files.csv": ["n,image_id", *(f"7,{one}.jpg" for one in chosen)],
        "rows.csv": ["index", *(int(one) - 1 for one in chosen)],
    }.items():
        (tmp_path / name).write_text("\n".join(map(str, lines)) + "\n")
        assert forgotten("celeba", tmp_path / "data", tmp_path / name) == {in_train[one] for one in chosen}
    (tmp_path / "short.txt").write_text("1\n3\n")
    told = refused("--method retrain --dataset celeba", data_dir=tmp_path / "data", forget_list=tmp_path / "short.txt")
    assert (
        "2 not in the labels of celeba (1, 3); a number is the name of a file, and a row is asked for as row:1" in told
    )


@pytest.mark.parametrize("written_as", ["{}", "{}.0"])
def test_ids_of_a_waterbirds_folder_are_those_of_its_labels(tmp_path: Path, written_as: str):
    """In another order than the rows, as the published file has them from 1."""
    folder = make_waterbird(tmp_path / "data")
    header, *rows = (folder / "metadata.csv").read_text().splitlines()
    (folder / "metadata.csv").write_text("\n".join([header, *reversed(rows)]) + "\n")
    files = {row["img_id"]: row["img_filename"] for row in label_rows(folder / "metadata.csv")}
    ids = ("1", "2", "17", "33")
    (tmp_path / "ids.csv").write_text(
        "\n".join(["ticket,img_id", *(f"x,{written_as.format(one)}" for one in ids)]) + "\n"
    )
    found = forgotten("waterbird", tmp_path / "data", tmp_path / "ids.csv", "--forget_list_column img_id")
    assert found == {files[one] for one in ids}
    (tmp_path / "ids.txt").write_text("".join(f"{one}\n" for one in ids))
    told = refused("--method retrain --dataset waterbird", data_dir=tmp_path / "data", forget_list=tmp_path / "ids.txt")
    assert "4 not in the labels of waterbird (1, 17, 2, 33); a number is the name of a file" in told


def test_a_run_of_ids_says_which_files_they_are_and_is_made_again_from_its_folder(beside: Workshop, tmp_path: Path):
    (tmp_path / "ids.csv").write_text("img_id\n" + "".join(f"{number}\n" for number in NUMBERS))
    folder = beside.ok("retrain --reweight", forget_list=tmp_path / "ids.csv")
    assert load_splits(folder / "splits.npz").forget.tolist() == [number - 1 for number in NUMBERS]
    told = f"20 of 20 names in the list are forgotten; first img_id:1 -> {image(1)}, last img_id:37 -> {image(37)}"
    assert told in (folder / "run.log").read_text()
    again = beside.run("retrain --reweight", forget_list=folder / "forget_list.txt")
    assert again.out == f"already done: {folder}\n"
