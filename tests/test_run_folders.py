"""What --overwrite removes, what is written through links (nothing), and what killed writes leave behind (nothing)."""

import os
import shutil
from pathlib import Path

import pytest
from cli import ok, refused, written
from workshop import SMALL, Workshop, assert_same_run

from method.runs.folder import STATE, state_name
from method.training.resume import kept_file
from utils.files import write_text

PRETRAIN = f"--method pretrain {SMALL}"


@pytest.fixture(scope="module")
def made(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A store with a pretrained run; nobody may change it."""
    workshop = Workshop(data_dir, tmp_path_factory.mktemp("made"))
    workshop.ok("pretrain")
    return workshop


@pytest.fixture
def workshop(made: Workshop, tmp_path: Path) -> Workshop:
    """A copy to change."""
    return Workshop(made.data_dir, Path(shutil.copytree(made.store, tmp_path / "store")))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in written(folder)}


# --overwrite.


def test_a_run_is_removed_and_made_anew(workshop: Workshop, made: Workshop):
    folder = workshop.place("pretrain")
    (folder / "records_of_another_version.npz").touch()
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard/events").touch()
    (folder / ".DS_Store").touch()  # a file manager has looked at it
    workshop.ok("pretrain --overwrite")
    assert set(written(folder)) == set(written(made.place("pretrain")))
    assert_same_run(folder, made.place("pretrain"))


@pytest.mark.parametrize(
    "stranger, said",
    [
        ("notes.txt", "has notes.txt, which no run writes"),
        ("plots/loss.png", "has plots, which no run writes"),
        ("model.pt.bak", "has model.pt.bak, which no run writes"),
        (".git/HEAD", "has .git, which no run writes"),
        ("lock.notes.txt", "has lock.notes.txt, which no run writes"),
    ],
)
def test_what_no_run_writes_is_not_removed(stranger: str, said: str, workshop: Workshop):
    folder = workshop.place("pretrain")
    (folder / stranger).parent.mkdir(exist_ok=True)
    (folder / stranger).write_text("mine")
    before = contents(folder)
    sentence = refused(f"{PRETRAIN} --overwrite", **workshop.folders())
    assert said in sentence
    assert "--overwrite removes runs alone" in sentence
    assert contents(folder) == before


@pytest.mark.parametrize("config", [None, "defaults: [model, data]\n", "- a\n- list\n"])
def test_a_folder_without_our_configuration_is_no_run(config: str | None, workshop: Workshop):
    folder = workshop.place("pretrain")
    (folder / "config.yaml").unlink()
    if config is not None:
        (folder / "config.yaml").write_text(config)
    before = contents(folder)
    sentence = refused(f"{PRETRAIN} --overwrite", **workshop.folders())
    assert "has no config.yaml of this program" in sentence
    assert contents(folder) == before


def test_a_run_whose_configuration_is_damaged_can_be_made_anew(workshop: Workshop, made: Workshop):
    folder = workshop.place("pretrain")
    (folder / "config.yaml").write_text("config: [")
    assert "--overwrite starts that run anew" in refused(PRETRAIN, **workshop.folders())
    workshop.ok("pretrain --overwrite")
    assert_same_run(folder, made.place("pretrain"))


def test_what_a_link_leads_to_is_not_emptied(workshop: Workshop, tmp_path: Path):
    folder = workshop.place("pretrain")
    folder.rename(tmp_path / "precious")
    folder.symlink_to(tmp_path / "precious")
    before = contents(tmp_path / "precious")
    assert "is a link" in refused(f"{PRETRAIN} --overwrite", **workshop.folders())
    assert contents(tmp_path / "precious") == before


def test_a_link_within_a_run_is_removed_and_not_what_it_leads_to(workshop: Workshop, tmp_path: Path):
    folder, precious = workshop.place("pretrain"), tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    (folder / "wandb").symlink_to(precious)
    workshop.ok("pretrain --overwrite")
    assert not (folder / "wandb").exists()
    assert (precious / "file").read_text() == "mine"


# Links.


@pytest.mark.parametrize("name", ["run.log", "tensorboard", "wandb"])
def test_nothing_is_appended_through_a_link(name: str, workshop: Workshop, tmp_path: Path):
    folder, target = workshop.place("pretrain"), tmp_path / "target"
    target.touch() if name == "run.log" else target.mkdir()
    (folder / "done").unlink()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    before = contents(folder)
    assert f"{folder / name} is a link, through which nothing is written" in refused(PRETRAIN, **workshop.folders())
    assert contents(folder) == before
    assert (target.read_bytes() if target.is_file() else written(target)) in (b"", [])


@pytest.mark.parametrize("name", ["metrics.json", "history.csv", "model.pt", "config.yaml"])
def test_a_file_that_is_a_link_is_replaced(name: str, workshop: Workshop, tmp_path: Path):
    folder, target = workshop.place("pretrain"), tmp_path / "target"
    (folder / name).rename(target)
    (folder / name).symlink_to(target)
    (folder / "done").unlink()
    before = target.read_bytes()
    workshop.ok("pretrain")
    assert target.read_bytes() == before
    assert not (folder / name).is_symlink()


def test_a_linked_model_is_read(workshop: Workshop, tmp_path: Path):
    model = workshop.place("pretrain") / "model.pt"
    model.rename(tmp_path / "model.pt")
    model.symlink_to(tmp_path / "model.pt")
    workshop.ok("salun")
    assert ok(PRETRAIN, **workshop.folders()).out.startswith("already done")


# Temporary files and permissions.


def test_what_killed_writes_left_is_cleared(workshop: Workshop):
    folder = workshop.place("pretrain")
    (folder / "done").unlink()
    for name in (
        ".last.pt.a1b2c3d4.part",
        ".last_after_3.pt.a1b2c3d4.part",
        ".records.npz.00000000.part",
        ".done.x_x_x_x_.part",
    ):
        (folder / name).touch()
    # A waiting process's, a file server's, and somebody's.
    others = [".config.yaml.original", ".lock.a1b2c3d4", ".my.settings", ".nfs000000000123", ".notes"]
    for name in others:
        (folder / name).touch()
    (folder / ".done.abcdefgh.part").mkdir()
    workshop.ok("pretrain")
    assert sorted(path.name for path in folder.glob(".*")) == sorted([*others, ".done.abcdefgh.part"])


@pytest.mark.parametrize("umask, mode", [("0o022", 0o644), ("0o077", 0o600), ("0o002", 0o664)])
def test_the_umask_is_honoured(umask: str, mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("utils.files.UMASK", int(umask, 8))
    write_text(tmp_path / "file", "content")
    assert os.stat(tmp_path / "file").st_mode & 0o777 == mode


def test_weights_kept_beside_the_state_have_the_folder_s_name_for_them(tmp_path: Path):
    """The engine names them after last.pt; whoever removes them asks the folder."""
    assert kept_file(tmp_path / STATE, "after_1") == tmp_path / state_name("after_1")
