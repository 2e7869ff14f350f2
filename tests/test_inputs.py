"""A finished run is answered only where what it was made from is what it would be made from now, by content."""

import csv
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from cli import ok, run
from folders import make_custom, make_waterbird
from PIL import Image
from workshop import weights_of

from datasets.waterbird import Waterbirds
from method.resume import Resumable
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
    """A copy of it to change: what the runs were given lies elsewhere now, with the same content."""
    return Bench(Path(shutil.copytree(made, tmp_path / "bench")))


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
# What changed, what every method says of it, and what miu says, which alone names an original and a reference.
CHANGES: list[tuple[Callable[[Bench], dict], str, str | None]] = [
    (nothing, DONE, None),
    (same_labels_written_anew, DONE, None),
    (moved_weights, DONE, None),
    (corrected_label, "the labels are others: their data fingerprint is", None),
    (removed_row, "the labels are others: their data fingerprint is", None),
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
    refused = " there and " in result.err
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
    assert "started from other weights than" in result.err
    result = run(f"--method salun {SMALL}", **bench.flags(original=bench.root / "original.pt"))
    assert result.code == 2
    assert "original is 'sha256 " in result.err


def test_threads_that_change_the_last_bits_are_said(bench: Bench, threads_put_back: None):
    command = bench.command("retrain").replace("--threads 1", "--threads 3")
    assert ok(command, **bench.flags()).out == (
        f"already done: {bench.folder('retrain')} (made with threads 1, here 3: last bits may differ)\n"
    )


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


def test_a_half_finished_run_does_not_go_on_with_other_images(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    save = Resumable.save

    def saving(self: Resumable, *arguments) -> None:
        save(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Resumable, "save", saving)
        assert run(f"{bench.command('retrain')} --overwrite", **bench.flags()).code == 75
    another_image(bench)
    result = run(bench.command("retrain"), **bench.flags())
    assert result.code == 2
    assert f"half finished and would go on differently: {SIZES}" in result.err


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
    assert result.out.endswith("(made by a version that did not turn images as EXIF says)\n")


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
