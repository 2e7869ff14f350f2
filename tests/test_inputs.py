"""A finished run is answered only where what it was made from is what it would be made from now, by content."""

import csv
import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from cli import ROOT, Result, ok, run
from folders import make_custom, make_waterbird
from PIL import Image
from workshop import weights_of

from datasets.waterbird import Waterbirds
from method.training.resume import Resumable
from utils.digests import Digests
from utils.files import sha256_file

SMALL = "--dataset waterbird --model small_cnn --image_size 32 --epochs 1 --batch_size 24 --threads 1 --num_workers 0"
MIU = "miu --miu_critic_steps_first 1 --miu_critic_steps 1"
METHODS = {"pretrain": "pretrain", "retrain": "retrain", "miu": MIU}
FOLDERS = {"pretrain": "pretrain_0", "retrain": "split0/retrain_0.5_0", "miu": "split0/miu_0.5_0"}
LABELS = f"data/{Waterbirds.folder}/metadata.csv"


class Bench:
    """Data, initial weights and a store in one folder, and the commands on them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def flags(self, **changed: object) -> dict[str, object]:
        root = self.root
        known = {"data_dir": root / "data", "store_dir": root / "store", "checkpoint_dir": root / "none"}
        return {**known, "weights": root / "weights.pt", **changed}

    def folder(self, method: str) -> Path:
        return self.root / "store/waterbird/small_cnn" / FOLDERS[method]

    def command(self, method: str) -> str:
        """miu names its original and its reference."""
        named = ""
        if method == "miu":
            named = f" --original {self.root / 'original.pt'} --reference {self.root / 'reference'}"
        return f"--method {METHODS[method]} {SMALL}{named}"

    def labels(self) -> list[list[str]]:
        with (self.root / LABELS).open(newline="") as file:
            return list(csv.reader(file))

    def relabel(self, rows: list[list[str]]) -> None:
        with (self.root / LABELS).open("w", newline="") as file:
            csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: pretrain and retrain from weights that a file holds, and miu from a named original and reference."""
    root = tmp_path_factory.mktemp("made")
    make_waterbird(root / "data")
    first = Bench(root)
    ok(f"--method pretrain {SMALL} --no-pretrained", **{**first.flags(), "weights": "none"})
    weights = weights_of(first.folder("pretrain"))
    backbone = {name[len("backbone.") :]: value for name, value in weights.items() if name.startswith("backbone.")}
    torch.save(backbone, root / "weights.pt")
    shutil.rmtree(root / "store")
    for method in ("pretrain", "retrain"):
        ok(first.command(method), **first.flags())
    shutil.copy(first.folder("pretrain") / "model.pt", root / "original.pt")
    ok(f"--method retrain {SMALL} --reweight", **first.flags(store_dir=root / "elsewhere"))
    shutil.move(root / "elsewhere/waterbird/small_cnn/split0/retrain_reweight_0.5_0", root / "reference")
    ok(first.command("miu"), **first.flags())
    return root


@pytest.fixture
def bench(made: Path, tmp_path: Path) -> Bench:
    """A copy of it to change, as if the runs had been made there."""
    root = Path(shutil.copytree(made, tmp_path / "bench"))
    for file in root.rglob("config.yaml"):
        file.write_text(file.read_text().replace(str(made), str(root)))
    return Bench(root)


def nothing(bench: Bench) -> dict:
    return {}


def same_labels_written_anew(bench: Bench) -> dict:
    header, *rows = bench.labels()
    order = [header.index(name) for name in ("split", "place", "y", "img_filename")]
    bench.relabel([[row[column] for column in order] for row in (header, *rows)])
    return {}


def corrected_label(bench: Bench) -> dict:
    header, *rows = bench.labels()
    y = header.index("y")
    rows[0][y] = str(1 - int(rows[0][y]))
    bench.relabel([header, *rows])
    return {}


def reversed_rows(bench: Bench) -> dict:
    """The table is another one: runs speak of its rows by number."""
    header, *rows = bench.labels()
    bench.relabel([header, *reversed(rows)])
    return {}


def removed_row(bench: Bench) -> dict:
    bench.relabel(bench.labels()[:-1])
    return {}


def other_weights(bench: Bench) -> dict:
    weights = torch.load(bench.root / "weights.pt", weights_only=True)
    torch.save({name: value * 2 for name, value in weights.items()}, bench.root / "weights.pt")
    return {}


def moved_weights(bench: Bench) -> dict:
    (bench.root / "weights.pt").rename(bench.root / "moved.pt")
    return {"weights": bench.root / "moved.pt"}


def other_original(bench: Bench) -> dict:
    stored = torch.load(bench.root / "original.pt", weights_only=True)
    torch.save(
        {**stored, "model": {name: value * 2 for name, value in stored["model"].items()}}, bench.root / "original.pt"
    )
    return {}


def other_reference(bench: Bench) -> dict:
    file = bench.root / "reference/metrics.json"
    file.write_text(file.read_text().replace('"retain_acc": ', '"retain_acc": 1'))
    return {}


def no_labels(bench: Bench) -> dict:
    (bench.root / LABELS).unlink()
    return {}


def no_weights(bench: Bench) -> dict:
    (bench.root / "weights.pt").unlink()
    return {}


def no_original(bench: Bench) -> dict:
    (bench.root / "original.pt").unlink()
    return {}


def no_reference(bench: Bench) -> dict:
    shutil.rmtree(bench.root / "reference")
    return {}


DONE = "already done"
REFUSED = ("the labels are others: ", "weights is 'sha256 ", "original is 'sha256 ", "reference is 'sha256 ")
# What changed, what every method says of it, and what miu says, which alone names an original and a reference.
CHANGES: list[tuple[Callable[[Bench], dict], str, str | None]] = [
    (nothing, DONE, None),
    (same_labels_written_anew, DONE, None),
    (moved_weights, DONE, None),
    (corrected_label, "the labels are others: their data fingerprint is", None),
    (removed_row, "the labels are others: their data fingerprint is", None),
    (reversed_rows, "the labels are others: their data fingerprint is", None),
    (other_weights, "weights is 'sha256 ", None),
    (other_original, DONE, "original is 'sha256 "),
    (other_reference, DONE, "reference is 'sha256 "),
    (no_labels, "(the labels are not in ", None),
    (no_weights, "weights.pt is not there, and is not compared", None),
    (no_original, DONE, "original.pt is not there, and is not compared"),
    (no_reference, DONE, "reference is not there, and is not compared"),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("change, said, said_of_miu", CHANGES, ids=[change.__name__ for change, *_ in CHANGES])
def test_what_is_said_of_a_finished_run(
    change: Callable[[Bench], dict], said: str, said_of_miu: str | None, method: str, bench: Bench
):
    flags = bench.flags(**change(bench))
    before = {file: file.read_bytes() for file in bench.folder(method).iterdir()}
    result = run(bench.command(method), **flags)
    said = said_of_miu if said_of_miu and method == "miu" else said
    assert said in result.out + result.err
    refused = said.startswith(REFUSED)
    assert result.code == (2 if refused else 0)
    assert result.out.startswith(f"{DONE}: {bench.folder(method)}") != refused
    if said == DONE:
        assert result.out == f"{DONE}: {bench.folder(method)}\n"
    assert {file: file.read_bytes() for file in bench.folder(method).iterdir()} == before


def test_other_data_with_the_same_flags_but_another_folder(bench: Bench):
    other = Path(shutil.copytree(bench.root / "data", bench.root / "more"))
    assert run(bench.command("pretrain"), **bench.flags(data_dir=other)).code == 0
    labels = other / Waterbirds.folder / "metadata.csv"
    labels.write_text("\n".join(labels.read_text().splitlines()[:-1]) + "\n")
    result = run(bench.command("pretrain"), **bench.flags(data_dir=other))
    assert result.code == 2
    assert "the labels are others" in result.err


def test_an_original_found_by_search_only_warns_where_it_changed(bench: Bench):
    """And one that is named is the one that was found, where the content is the same."""
    ok(f"--method salun {SMALL}", **bench.flags())
    found = bench.folder("pretrain") / "model.pt"
    assert ok(f"--method salun {SMALL}", **bench.flags(original=bench.root / "original.pt")).out.startswith(DONE)
    shutil.copy(bench.root / "original.pt", found)
    result = ok(f"--method salun {SMALL}", **bench.flags())
    assert (result.out.startswith(DONE), result.err) == (True, "")
    other_original(bench)
    shutil.copy(bench.root / "original.pt", found)
    result = ok(f"--method salun {SMALL}", **bench.flags())
    assert result.out.startswith(DONE)
    assert "was made with another pretrained run than" in result.err
    result = run(f"--method salun {SMALL}", **bench.flags(original=bench.root / "original.pt"))
    assert result.code == 2
    assert "original is 'sha256 " in result.err


def test_a_reference_found_by_search_only_warns_where_it_changed(bench: Bench):
    ok(f"--method salun {SMALL}", **bench.flags())
    file = bench.folder("retrain") / "metrics.json"
    file.write_text(file.read_text().replace('"retain_acc": ', '"retain_acc":  '))
    result = ok(f"--method salun {SMALL}", **bench.flags())
    assert result.out.startswith(DONE)
    assert f"was made with another reference than {bench.folder('retrain')} is now" in result.err
    shutil.rmtree(bench.folder("retrain"))
    shutil.rmtree(bench.folder("pretrain"))
    assert ok(f"--method salun {SMALL}", **bench.flags()).out.endswith(
        "(the pretrained run is not there, and is not compared; the reference is not there, and is not compared)\n"
    )


def test_threads_that_change_the_last_bits_are_said(bench: Bench, threads_put_back: None):
    command = bench.command("retrain").replace("--threads 1", "--threads 3")
    assert ok(command, **bench.flags()).out == (
        f"already done: {bench.folder('retrain')} (made with threads 1, here 3: last bits may differ)\n"
    )


def of_an_earlier_version(folder: Path, **paths: Path) -> None:
    """It recorded neither digests of label files and images, nor those of the files that flags name."""
    file = folder / "config.yaml"
    stored = yaml.safe_load(file.read_text())
    del stored["inputs"]
    stored["identity"] |= {key: str(path) for key, path in paths.items()}
    file.write_text(yaml.safe_dump(stored))
    for name in ("model.pt", "last.pt"):
        if (folder / name).exists():
            torch.save(torch.load(folder / name, weights_only=True), folder / name)


def test_an_original_of_an_earlier_version_is_compared_by_the_digest_that_it_recorded(bench: Bench):
    salun, original = f"--method salun {SMALL}", bench.root / "original.pt"
    ok(salun, **bench.flags(original=original))
    folder = bench.folder("retrain").with_name("salun_0.5_0")
    of_an_earlier_version(folder, original=original, weights=bench.root / "weights.pt")
    assert ok(salun, **bench.flags(original=original)).out.startswith(DONE)
    other_original(bench)
    result = run(salun, **bench.flags(original=original))
    assert result.code == 2
    assert "original is 'sha256 " in result.err


def test_a_file_of_the_same_name_elsewhere_is_another_file(bench: Bench):
    of_an_earlier_version(bench.folder("retrain"), weights=bench.root / "weights.pt")
    (bench.root / "more").mkdir()
    shutil.copy(bench.root / "weights.pt", bench.root / "more")
    result = run(bench.command("retrain"), **bench.flags(weights=bench.root / "more/weights.pt"))
    assert result.code == 2
    assert "weights is " in result.err


def test_a_half_finished_run_of_an_earlier_version_keeps_what_nobody_knows(bench: Bench, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after_a_save(patch)
        assert run(f"{bench.command('retrain')} --overwrite", **bench.flags()).code == 75
    of_an_earlier_version(bench.folder("retrain"), weights=bench.root / "weights.pt")
    other_weights(bench)
    result = ok(bench.command("retrain"), **bench.flags())
    assert "the content of weights was not recorded then, and is not compared" in result.err
    stored = yaml.safe_load((bench.folder("retrain") / "config.yaml").read_text())
    assert stored["identity"]["weights"] == str(bench.root / "weights.pt")


def test_committed_runs_are_done(tmp_path: Path):
    """They were kept for their numbers: no model, no data set's files, no original beside them."""
    with zipfile.ZipFile(ROOT / "docs/results/runs/digits.zip") as archive:
        runs = ("digits/small_cnn/pretrain_1/", "digits/small_cnn/split0/miu_0.9_1/")
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith(runs)])
    settings = "--dataset digits --unlearning_ratio 0.9 --seed 1 --threads 1"
    flags = {"store_dir": tmp_path, "checkpoint_dir": tmp_path / "none"}
    assert ok(f"--method pretrain {settings}", **flags).out == f"{DONE}: {tmp_path}/digits/small_cnn/pretrain_1\n"
    result = ok(f"--method miu {settings}", **flags)
    assert result.out.endswith("miu_0.9_1 (the pretrained run is not there, and is not compared)\n")


@pytest.mark.parametrize(
    "damage",
    [
        {"provenance": [1]},
        {"provenance": {"threads": {"a": 1}}},
        {"inputs": "x"},
        {"inputs": {"images": {"sizes": 1}, "folder": 5}},
        {"inputs": {"labels": [1]}},
        {"inputs": {"reference": {"run": 5}}},
        {"fingerprints": "x"},
        {"fingerprints": {"data": 5}},
        {"config": "x"},
        {"identity": {"weights": {"a": [1]}}},
        {"groups": "x"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["pretrain", "retrain"])
def test_a_damaged_record_is_a_sentence_wherever_it_is_read(method: str, damage: dict, bench: Bench):
    """By the same command, by one that starts from that run, and by one that is compared with it."""
    file = bench.folder(method) / "config.yaml"
    stored = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**stored, **damage}))
    for command in (bench.command(method), f"--method salun {SMALL}"):
        result = run(command, **bench.flags())
        assert result.code in (0, 2)
        assert result.code == 0 or result.err.splitlines()[-1].startswith("error: ")


def test_a_run_of_an_earlier_version_is_compared_by_its_fingerprint(bench: Bench):
    """It recorded neither the digests of the label files nor those of the files that flags name."""
    file = bench.folder("retrain") / "config.yaml"
    text, _, rest = file.read_text().partition("inputs:")
    assert rest
    path = str(bench.root / "weights.pt")
    lines = [f"  weights: {path}" if line.startswith("  weights: ") else line for line in text.splitlines()]
    file.write_text("\n".join(lines) + "\n")
    result = ok(bench.command("retrain"), **bench.flags())
    assert result.out.endswith("(the content of weights was not recorded then, and is not compared)\n")
    corrected_label(bench)
    assert run(bench.command("retrain"), **bench.flags()).code == 2


# Who is forgotten.


def custom_run(tmp_path: Path, change: Callable[[list[dict]], None], forgets: str, list_text: str = "") -> Result:
    """A finished retrain run on a custom folder, and what is said of it after its labels were changed."""
    folder = make_custom(tmp_path)
    rows = list(csv.DictReader((folder / "metadata.csv").open(newline="")))
    for number, row in enumerate(rows):
        row["patient"] = f"P.{number}"
        row["target"] = {"Female": "0", "Male": "1"}[row["target"]]
        row["sensitive"] = {"Black": "0", "White": "1"}[row["sensitive"]]
    write_table(folder, rows)
    (tmp_path / "list.txt").write_text(list_text)
    command = f"--method retrain {SMALL.replace('waterbird', 'custom')} --no-pretrained {forgets}"
    command = command.replace("LIST", str(tmp_path / "list.txt"))
    flags = {"data_dir": folder, "store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    ok(command, **flags)
    assert ok(command, **flags).out.startswith(DONE)
    change(rows)
    write_table(folder, rows)
    return run(command, **flags)


def write_table(folder: Path, rows: list[dict]) -> None:
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_column_that_a_list_asks_for_is_part_of_what_is_forgotten(tmp_path: Path):
    """The rows are the same, and not who is meant by them."""

    def exchange(rows: list[dict]) -> None:
        rows[3]["patient"], rows[4]["patient"] = rows[4]["patient"], rows[3]["patient"]

    result = custom_run(tmp_path, exchange, "--forget_list LIST", "patient:P.3\npatient:P.7\n")
    assert result.code == 2
    assert "their forget fingerprint is" in result.err


def test_numbers_of_groups_that_mean_other_groups_now(tmp_path: Path):
    def from_one(rows: list[dict]) -> None:
        for row in rows:
            row["target"] = str(int(row["target"]) + 1)

    result = custom_run(tmp_path, from_one, "--forget_groups 1:1")
    assert result.code == 2
    assert "holds another run" in result.err


def test_a_note_in_a_column_that_nobody_asks_for_is_no_other_run(tmp_path: Path):
    def note(rows: list[dict]) -> None:
        rows[3]["patient"] = "a note"

    assert custom_run(tmp_path, note, "--forget_groups 1:1").out.startswith(DONE)


# Images.


def birds(bench: Bench) -> list[Path]:
    return sorted((bench.root / "data" / Waterbirds.folder).rglob("*.jpg"))


def another_image(bench: Bench) -> None:
    """Another picture under the same name."""
    first, second = birds(bench)[:2]
    shutil.copy(second, first)


def touched_images(bench: Bench) -> None:
    for file in birds(bench):
        os.utime(file, (1, 1))


SIZES, TIMES = "images, or their sizes, are others", "images have changed since, or were copied"


@pytest.mark.parametrize("change, said", [(another_image, SIZES), (touched_images, TIMES), (lambda bench: None, None)])
def test_images_are_compared_with_those_of_the_pretrained_run_when_a_run_starts(change, said: str | None, bench: Bench):
    sizes = {file.stat().st_size for file in birds(bench)[:2]}
    assert len(sizes) == 2
    change(bench)
    result = ok(f"--method salun {SMALL}", **bench.flags())
    told = [line for line in result.err.splitlines() if line.startswith(f"{bench.folder('pretrain')}: ")]
    assert len(told) == (said is not None)
    assert said is None or said in told[0]


def test_a_finished_run_on_the_images_of_another_folder(bench: Bench):
    other = Path(shutil.copytree(bench.root / "data", bench.root / "more"))
    result = ok(bench.command("retrain"), **bench.flags(data_dir=other))
    assert result.out == f"{DONE}: {bench.folder('retrain')}\n"
    for file in other.rglob("*.jpg"):
        os.utime(file, (1, 1))
    assert TIMES in ok(bench.command("retrain"), **bench.flags(data_dir=other)).out
    shutil.copy(birds(bench)[1], next(other.rglob(birds(bench)[0].name)))
    result = run(bench.command("retrain"), **bench.flags(data_dir=other))
    assert result.code == 2
    assert f"{SIZES} in {other / Waterbirds.folder}" in result.err


def test_content_is_compared_where_it_is_asked_for(bench: Bench):
    command = f"{bench.command('pretrain')} --image_digest"
    assert TIMES not in ok(f"{command} --overwrite", **bench.flags()).err
    touched_images(bench)
    assert ok(command, **bench.flags()).out == f"{DONE}: {bench.folder('pretrain')}\n"
    result = ok(f"--method salun {SMALL} --image_digest", **bench.flags())
    assert f"{bench.folder('retrain')}: {TIMES}" in result.err  # which recorded no content
    assert f"{bench.folder('pretrain')}: " not in result.err
    content = bytearray(birds(bench)[0].read_bytes())
    content[-3] ^= 1  # the same size
    birds(bench)[0].write_bytes(content)
    os.utime(birds(bench)[0], (1, 1))
    assert ok(bench.command("pretrain"), **bench.flags()).out.startswith(DONE)  # nobody looks
    result = run(command, **bench.flags())
    assert result.code == 2
    assert "the content of images is another" in result.err


def stop_after_a_save(patch: pytest.MonkeyPatch) -> None:
    """Leave a half-finished run."""
    save = Resumable.save

    def saving(self: Resumable, *arguments) -> None:
        save(self, *arguments)
        raise KeyboardInterrupt

    patch.setattr(Resumable, "save", saving)


@pytest.mark.parametrize("more", ["", " --no-verify_data"])
def test_a_half_finished_run_does_not_go_on_with_other_images(more: str, bench: Bench, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after_a_save(patch)
        assert run(f"{bench.command('retrain')} --overwrite", **bench.flags()).code == 75
    another_image(bench)
    result = run(bench.command("retrain") + more, **bench.flags())
    assert result.code == 2
    assert f"half finished and would go on differently: {SIZES}" in result.err


def test_a_half_finished_run_goes_on_with_the_content_that_was_recorded(bench: Bench, monkeypatch):
    """Whether or not it is asked for again."""
    with monkeypatch.context() as patch:
        stop_after_a_save(patch)
        assert run(f"{bench.command('retrain')} --overwrite --image_digest", **bench.flags()).code == 75
    content = bytearray(birds(bench)[0].read_bytes())
    content[-3] ^= 1
    birds(bench)[0].write_bytes(content)
    result = run(bench.command("retrain"), **bench.flags())
    assert result.code == 2
    assert "the content of images is another" in result.err


def test_a_run_that_is_made_again_says_that_its_images_are_others(bench: Bench):
    (bench.folder("pretrain") / "records.npz").unlink()
    another_image(bench)
    assert SIZES in ok(bench.command("pretrain"), **bench.flags()).err


def rotated_photos(root: Path) -> Path:
    """A custom folder, one photo of which says that it lies on its side."""
    folder = make_custom(root)
    with (folder / "metadata.csv").open(newline="") as file:
        photo = folder / next(csv.DictReader(file))["filename"]
    with Image.open(photo) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(photo, exif=exif)
    return folder


def test_a_model_of_a_version_that_did_not_turn_photos_is_refused_where_some_are_turned(tmp_path: Path):
    data = rotated_photos(tmp_path)
    settings = f"{SMALL.replace('waterbird', 'custom')} --no-pretrained"
    flags = {"data_dir": data, "store_dir": tmp_path / "store", "checkpoint_dir": tmp_path / "none"}
    ok(f"--method pretrain {settings}", **flags)
    file = next((tmp_path / "store").rglob("config.yaml"))
    stored = yaml.safe_load(file.read_text())
    assert stored["inputs"]["images"]["turned"] == 1
    ok(f"--method ft {settings} --forget_groups Female:Black --tag first", **flags)
    del stored["inputs"]
    file.write_text(yaml.safe_dump(stored))
    model = file.with_name("model.pt")
    torch.save(torch.load(model, weights_only=True), model)
    result = run(f"--method ft {settings} --forget_groups Female:Black", **flags)
    assert result.code == 2
    assert "was made by a version that read images as they lie, and 1 of them are turned now" in result.err
    result = ok(f"--method pretrain {settings}", **flags)
    assert result.out.endswith("(1 images are turned now, as EXIF says, and were not then)\n")


# Remembered digests.


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, memory, read = tmp_path / "file", tmp_path / "store" / "digests.json", []
    file.write_bytes(b"one")
    one, two = (hashlib.sha256(content).hexdigest() for content in (b"one", b"two"))

    def counted(path: Path) -> str:
        read.append(path)
        return sha256_file(path)

    def asked() -> str:
        known = Digests(memory)
        found = known.of(file)
        known.keep()
        return found

    monkeypatch.setattr("utils.digests.sha256_file", counted)
    assert (asked(), asked(), len(read)) == (one, one, 2)  # it has just changed, and may change again unnoticed
    assert not memory.exists()
    monkeypatch.setattr("utils.digests.SETTLED_NS", 0)
    assert (asked(), asked(), len(read)) == (one, one, 3)
    before = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (asked(), asked(), len(read)) == (two, two, 4)
    memory.write_text("[]")
    assert asked() == two
