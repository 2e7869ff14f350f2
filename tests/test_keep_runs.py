"""scripts/keep_runs.py on the golden tree of short real runs."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from cli import ROOT
from trees import Capture, shown

from method.runs.zips import read_zip, write_zip
from scripts import keep_runs

TREE = ROOT / "tests/golden/output"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    assert keep_runs.main([str(TREE), str(tmp_path / "kept")]) == 0
    return tmp_path / "kept"


@pytest.mark.parametrize("place", ["kept", "kept.zip"])
@pytest.mark.parametrize("flags", [(), ("--each",), ("--difference",)])
def test_the_tables_are_those_of_the_original(
    place: str, tmp_path: Path, capsys: Capture, flags: tuple[str, ...]
) -> None:
    assert keep_runs.main([str(TREE), str(tmp_path / place)]) == 0
    capsys.readouterr()
    theirs, ours = (shown(root, capsys, *flags).partition("Not in the tables:")[0] for root in (TREE, tmp_path / place))
    assert "pretrain" in ours
    if "--difference" in flags:  # whose intervals over images need records
        assert "- all rows: no interval over images: " in ours
        assert ours.count("over seeds  ") == theirs.count("over seeds  ") == 3
        theirs, ours = (text.partition("95 % intervals")[0] for text in (theirs, ours))
    assert ours.split("In percent:")[0].rstrip() == theirs.rstrip()


def test_no_model_no_log_and_few_arrays(kept: Path) -> None:
    assert not list(kept.rglob("model.pt")) + list(kept.rglob("run.log")) + list(kept.rglob("status.json"))
    records = {file.parent.name for file in kept.rglob("records.npz")}
    assert records == {file.parent.name for file in TREE.rglob("pretrain*/done")}
    assert 0 < len(list(kept.rglob("splits.npz"))) < len(list(TREE.rglob("splits.npz")))


def test_unfinished_runs_are_named(capsys: Capture, tmp_path: Path) -> None:
    assert keep_runs.main([str(TREE), str(tmp_path / "kept")]) == 0
    told = capsys.readouterr().out
    assert "11 runs kept in" in told
    assert "l1_sparse_0.9_0: failed: the loss of phase retain is not finite" in told
    assert not list(tmp_path.rglob("l1_sparse_0.9_0"))


def test_paths_of_the_machine_are_left_out(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    golden = next(TREE.rglob("pretrain_0/done")).parent
    stored = yaml.safe_load((golden / "config.yaml").read_text())
    stored["config"] |= {"data_dir": "/home/someone/data", "store_dir": "output"}
    run = source / "pretrain_0"
    run.mkdir(parents=True)
    for file in golden.iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    (run / "config.yaml").write_text(yaml.safe_dump(stored))
    assert keep_runs.main([str(source), str(target)]) == 0
    config = yaml.safe_load((target / "pretrain_0/config.yaml").read_text())["config"]
    assert config == stored["config"] | {"data_dir": "data"}


def test_a_folder_without_runs(tmp_path: Path, capsys: Capture) -> None:
    assert keep_runs.main([str(tmp_path), str(tmp_path / "kept")]) == 2
    assert f"error: no run under {tmp_path}" in capsys.readouterr().err


def test_the_marker_lists_what_was_kept(kept: Path) -> None:
    for marker in kept.rglob("done"):
        assert marker.read_text().splitlines() == sorted({file.name for file in marker.parent.iterdir()} - {"done"})
    assert len(list(kept.rglob("done"))) == 11


def test_what_was_kept_is_kept_again(kept: Path, tmp_path: Path) -> None:
    """Markers with a list in them are markers, and a run that is there is replaced."""
    for _ in range(2):
        assert keep_runs.main([str(kept), str(tmp_path / "again")]) == 0
        assert {file.relative_to(kept): file.read_bytes() for file in kept.rglob("*") if file.is_file()} == {
            file.relative_to(tmp_path / "again"): file.read_bytes()
            for file in (tmp_path / "again").rglob("*")
            if file.is_file()
        }


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TREE, tmp_path / "source"))


def test_absolute_paths_are_shortened_wherever_they_stand(tmp_path: Path) -> None:
    source = copied(tmp_path)
    file = next(source.rglob("pretrain_0")) / "config.yaml"
    stored = yaml.safe_load(file.read_text())
    stored["inputs"] = {"folder": "/home/someone/data", "labels": {"labels.csv": "digest"}}
    stored["more"] = {"sizes": [1, "C:\\Users\\someone\\a.csv"]}
    stored["sources"]["lr"] = "/home/someone/mine.yaml [pretrain]"
    stored["groups"]["names"][0] = "/m/01 on land"  # a name, not a path
    file.write_text(yaml.safe_dump(stored))
    assert keep_runs.main([str(source), str(tmp_path / "kept")]) == 0
    kept = yaml.safe_load((tmp_path / "kept" / file.relative_to(source)).read_text())
    assert kept["inputs"] == {"folder": "data", "labels": {"labels.csv": "digest"}}
    assert kept["more"] == {"sizes": [1, "a.csv"]}
    assert kept["sources"]["lr"] == "mine.yaml [pretrain]"
    assert kept["groups"]["names"][0] == "/m/01 on land"
    assert not [text for text in ("someone", str(tmp_path)) if text in yaml.safe_dump(kept)]


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "history.csv", "records.npz", "done"])
def test_files_that_are_links_are_replaced_not_followed(tmp_path: Path, name: str) -> None:
    treasure, target = tmp_path / "treasure", tmp_path / "kept"
    treasure.write_text("mine")
    run = target / next(TREE.rglob("pretrain_0")).relative_to(TREE)
    run.mkdir(parents=True)
    (run / name).symlink_to(treasure)
    assert keep_runs.main([str(TREE), str(target)]) == 0
    assert treasure.read_text() == "mine"
    assert not (run / name).is_symlink()


@pytest.mark.parametrize("where", ["waterbird", "waterbird/small_cnn/pretrain_0"])
def test_a_folder_that_is_a_link_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: Capture, where: str
) -> None:
    elsewhere, target = tmp_path / "elsewhere", tmp_path / "kept"
    elsewhere.mkdir()
    (target / where).parent.mkdir(parents=True)
    (target / where).symlink_to(elsewhere)
    assert keep_runs.main([str(TREE), str(target)]) == 2
    assert f"error: {target / where} is a link, through which nothing is written" in capsys.readouterr().err
    assert not list(elsewhere.iterdir())
    assert not [file for file in target.rglob("*") if file.is_file()]


# In a zip.


def test_a_zip_holds_what_a_folder_does_and_is_the_same_each_time(kept: Path, tmp_path: Path) -> None:
    source = copied(tmp_path)
    for number, file in enumerate(sorted(source.rglob("*"))):
        os.utime(file, (number, number))
    for place, name in ((TREE, "first"), (source, "second"), (kept, "third"), (tmp_path / "first.zip", "fourth")):
        assert keep_runs.main([str(place), str(tmp_path / f"new/{name}.zip")]) == 0
        if name == "first":
            shutil.copy(tmp_path / "new/first.zip", tmp_path / "first.zip")
    zips = sorted((tmp_path / "new").iterdir())
    assert len({file.read_bytes() for file in zips}) == 1
    assert len(zips) == 4
    assert read_zip(zips[0]) == {
        file.relative_to(kept).as_posix(): file.read_bytes() for file in kept.rglob("*") if file.is_file()
    }


def test_runs_are_added_to_a_zip_and_nothing_else_is_removed(tmp_path: Path, capsys: Capture) -> None:
    source, target = copied(tmp_path), tmp_path / "kept.zip"
    assert keep_runs.main([str(source), str(target)]) == 0
    whole = read_zip(target)
    of_seed_1 = {name: content for name, content in whole.items() if "_1/" in name}
    write_zip(target, {**of_seed_1, "notes.txt": b"mine", next(iter(of_seed_1)): b"old"})
    assert keep_runs.main([str(source), str(target)]) == 0
    assert "11 runs kept in" in capsys.readouterr().out
    assert read_zip(target) == {**whole, "notes.txt": b"mine"}


def test_a_file_that_is_no_zip_is_left_alone(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "kept.zip").write_text("mine")
    assert keep_runs.main([str(TREE), str(tmp_path / "kept.zip")]) == 2
    assert f"error: {tmp_path / 'kept.zip'} cannot be read (File is not a zip file)" in capsys.readouterr().err
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]


def test_a_zip_that_is_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    write_zip(tmp_path / "treasure", {"notes.txt": b"mine"})
    before = (tmp_path / "treasure").read_bytes()
    (tmp_path / "kept.zip").symlink_to("treasure")
    assert keep_runs.main([str(TREE), str(tmp_path / "kept.zip")]) == 0
    assert (tmp_path / "treasure").read_bytes() == before
    assert not (tmp_path / "kept.zip").is_symlink()
    assert len(read_zip(tmp_path / "kept.zip")) > 11


def test_a_zip_that_cannot_be_written(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("a file")
    assert keep_runs.main([str(TREE), str(tmp_path / "file/kept.zip")]) == 2
    assert f"error: {tmp_path / 'file/kept.zip'} cannot be written (" in capsys.readouterr().err


def test_a_folder_can_be_named_as_a_zip(tmp_path: Path) -> None:
    (tmp_path / "kept.zip").mkdir()
    assert keep_runs.main([str(TREE), str(tmp_path / "kept.zip")]) == 0
    assert len(list(tmp_path.rglob("done"))) == 11


def test_the_runs_are_not_kept_over_themselves(tmp_path: Path, capsys: Capture) -> None:
    source = copied(tmp_path)
    (tmp_path / "other").symlink_to(source)
    before = {file: file.read_bytes() for file in source.rglob("*") if file.is_file()}
    assert keep_runs.main([str(source), str(tmp_path / "other")]) == 2
    assert "holds the runs themselves" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in source.rglob("*") if file.is_file()} == before


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_kept(tmp_path: Path, capsys: Capture) -> None:
    source, target = copied(tmp_path), tmp_path / "kept"
    places = {name: next(source.rglob(name)) for name in ("miu_0.9_0", "salun_0.9_0", "pretrain_0", "retrain_0.9_0")}
    (places["miu_0.9_0"] / "metrics.json").write_text('{"test_acc": "high"}')
    (places["salun_0.9_0"] / "history.csv").write_text("epoch,loss\n0,low\n")
    (places["pretrain_0"] / "records.npz").write_bytes(b"damaged")
    (places["retrain_0.9_0"] / "history.csv").unlink()
    os.mkfifo(places["retrain_0.9_0"] / "history.csv")
    assert keep_runs.main([str(source), str(target)]) == 1
    told = capsys.readouterr().out
    assert "10 runs kept in" in told
    assert f"left out: {places['miu_0.9_0']}: metrics.json cannot be read (test_acc is 'high'" in told
    assert f"kept without history.csv: {places['salun_0.9_0']}: column loss holds 'low'" in told
    assert f"kept without history.csv: {places['retrain_0.9_0']}: it is a named pipe" in told
    assert f"kept without records.npz: {places['pretrain_0']}: cannot read the records" in told
    assert not list(target.rglob("miu_0.9_0"))
    kept = next(target.rglob("salun_0.9_0"))
    assert (kept / "done").read_text().split() == ["config.yaml", "metrics.json"]


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "kept").write_text("a file")
    assert keep_runs.main([str(TREE), str(tmp_path / "kept")]) == 2
    assert "cannot be written (" in capsys.readouterr().err
