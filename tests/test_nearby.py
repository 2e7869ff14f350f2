"""An absent image: what lies in its place is found, named, and said how it differs."""

import shutil
import unicodedata
from pathlib import Path

import pytest
from cli import refused
from folders import make_celeba

from datasets.celeba import CelebA
from datasets.images.verification import bad_images, refuse_bad_images
from datasets.labels import nearby as nearby_module
from datasets.labels.nearby import nearby
from utils.errors import UserError

DECOMPOSED = unicodedata.normalize("NFD", "Müller.jpg")


@pytest.mark.parametrize(
    "wanted, there, how",
    [
        ("a/1.jpg", "a/1.JPG", "other capital letters"),
        ("a/1.jpg", "A/1.jpg", "other capital letters"),
        ("a/1.jpg", "a/1.jpeg", "another extension"),
        ("a/1.jpg", "a/1.png", "another extension"),
        ("a/1", "a/1.jpg", "another extension"),
        ("a/Müller.jpg", f"a/{DECOMPOSED}", "letters composed otherwise (Unicode NFC and NFD)"),
        (f"a/{DECOMPOSED}", "a/Müller.jpg", "letters composed otherwise (Unicode NFC and NFD)"),
        ("a/1.jpg ", "a/1.jpg", "a blank at an end of the name"),
        ("a/1.jpg", "a /1.jpg", "a blank at an end of the name"),
        ("a/1.jpg", "a/1\u200b.jpg", "a name that only reads alike"),
        ("a/1.jpg", "a/a/1.jpg", "a folder deeper"),
        ("a/1.jpg", "data/a/1.jpg", "a folder deeper"),
        ("1.jpg", "images/1.jpg", "a folder deeper"),
        ("a/1.jpg", "1.jpg", "a folder higher"),
        ("a/b/1.jpg", "b/1.jpg", "a folder higher"),
        ("a/1.jpg", "b/1.jpg", "another folder"),
        ("a/1.jpg", "../a/1.jpg", "a folder higher"),
    ],
)
def test_what_is_there_is_named(wanted: str, there: str, how: str, tmp_path: Path):
    root = tmp_path / "set"
    root.mkdir()
    place = (root / there).resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"")
    (root / "other.txt").write_bytes(b"")
    assert nearby(root, wanted) == f", though {place} is: {how}"


@pytest.mark.parametrize("there", ["a/2.jpg", "a/1.txt", "a/11.jpg", "b/c/1.jpg"])
def test_what_reads_otherwise_is_not(there: str, tmp_path: Path):
    place = tmp_path / "set" / there
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    assert nearby(tmp_path / "set", "a/1.jpg") == ""


def test_a_link_to_nothing_and_a_folder_that_is_not_there(tmp_path: Path):
    (tmp_path / "1.jpg").symlink_to("gone.jpg")
    assert nearby(tmp_path, "1.jpg") == ", though a link to gone.jpg, which is absent"
    assert nearby(tmp_path / "nowhere", "1.jpg") == ""
    assert nearby(tmp_path, "x" * 5000 + "/1.jpg") == ""


def test_few_folders_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(nearby_module.MOST_FOLDERS + 10):
        (tmp_path / f"folder{number:03d}").mkdir()
    listed, real = [], nearby_module._entries
    monkeypatch.setattr(nearby_module, "_entries", lambda folder: (listed.append(folder), real(folder))[1])
    (tmp_path / f"folder{nearby_module.MOST_FOLDERS:03d}" / "1.jpg").write_bytes(b"")
    assert nearby(tmp_path, "a/b/c/1.jpg") == ""
    assert len(listed) <= 2


def test_an_archive_that_unpacks_into_a_folder_of_its_own_name(tmp_path: Path):
    """CelebA's, as many unpack it; the same words from the check before a run and from the reader."""
    folder = make_celeba(tmp_path / "data") / "img_align_celeba"
    shutil.move(folder, folder.with_name("moved"))
    folder.mkdir()
    shutil.move(folder.with_name("moved"), folder / "img_align_celeba")
    there = f", though {folder / 'img_align_celeba' / '000001.jpg'} is: a folder deeper"
    data = CelebA.load(tmp_path / "data", 0, 0)
    with pytest.raises(UserError) as error:
        data.check_images()
    assert str(error.value).startswith(f"image {folder / '000001.jpg'} is in the labels but not on disk{there}: put ")
    with pytest.raises(UserError) as error:
        refuse_bad_images(data, bad_images(data, tmp_path / "verified.json"), may_skip=True)
    all_others = "and all others of celeba are in the labels but not on disk"
    assert str(error.value) == f"image {folder / '000001.jpg'} {all_others}{there}: put them there"
    (folder / "000002.JPG").write_bytes((folder / "img_align_celeba" / "000001.jpg").read_bytes())
    for image in (folder / "img_align_celeba").iterdir():
        if image.name != "000002.jpg":
            image.rename(folder / image.name)
    (folder / "img_align_celeba" / "000002.jpg").unlink()
    flags = "--dataset celeba --method pretrain --model small_cnn --image_size 32 --no-pretrained"
    told = refused(flags, data_dir=tmp_path / "data", store_dir=tmp_path / "store", checkpoint_dir=tmp_path)
    assert f"(No such file or directory, though {folder / '000002.JPG'} is: other capital letters)" in told
