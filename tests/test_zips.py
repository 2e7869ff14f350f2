"""Runs in zips: read as those in folders are, whatever a zip holds, and written so that equal runs give equal bytes."""

import errno
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cli import ROOT
from trees import Capture, make_run, metrics, shown

from method import load_results
from method.runs import zips
from method.runs.stored import read_runs
from method.runs.zips import read_zip, unpack, write_zip
from scripts.report import command as report
from scripts.sweep import command as sweep
from utils.errors import RunError

TREE = ROOT / "tests/golden/output"
COMMITTED = ROOT / "docs/results/runs"
STUDIES = {
    "digits": 318, "digits_data": 15, "digits_seeds_classifier": 70, "digits_tuned": 15, "fairface_64": 9,
    "fairface_64_all": 21, "fairface_64_cnn": 43, "group_dro": 9, "skewed_faces": 205, "waterbird_frozen": 389,
    "waterbird_lite0": 24,
}  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Name -> content of every file under a folder."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def zipped(folder: Path) -> Path:
    """A zip beside a folder, with its files."""
    file = folder.with_name(f"{folder.name}.zip")
    write_zip(file, contents(folder))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TREE, tmp_path / "runs"))


# Read as a folder is.


@pytest.mark.parametrize(
    "flags",
    [
        ("--columns", "all"),
        ("--each",),
        ("--difference",),
        ("--tag", "", "--method", "miu"),
        *(("--format", name) for name in ("csv", "json", "latex", "markdown")),
        ("--each", "--format", "csv"),
    ],
    ids=" ".join,
)
def test_a_report_is_that_of_the_folder(flags: tuple[str, ...], folder: Path, capsys: Capture) -> None:
    expected = shown(folder, capsys, *flags)
    assert "miu" in expected.lower()
    assert shown(zipped(folder), capsys, *flags).replace("runs.zip", "runs") == expected


@pytest.mark.parametrize("name", ["page.html", pytest.param("figure.png", marks=pytest.mark.slow)])
def test_a_page_and_figures_are_those_of_the_folder(name: str, folder: Path, tmp_path: Path) -> None:
    """Losses come from the records, curves from the history."""
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
    file = zipped(folder)
    made = []
    for root in (folder, file):
        out = tmp_path / f"of_{root.suffix}"
        out.mkdir()
        assert report.main([str(root), "--out", str(out / name)]) == 0
        made.append({file: content.replace(b"runs.zip", b"runs") for file, content in contents(out).items()})
    assert made[0]
    assert made[1] == made[0]


def test_losses_are_read_from_a_zip(folder: Path, capsys: Capture) -> None:
    assert '"edges": [' in shown(zipped(folder), capsys, "--format", "json")


def test_results_are_those_of_the_folder(folder: Path) -> None:
    file = zipped(folder)
    expected, found = load_results(folder), load_results(file)
    assert list(found.folder) == [place.replace(str(folder), str(file)) for place in expected.folder]
    assert found.drop(columns="folder").equals(expected.drop(columns="folder"))
    assert found.attrs["missing"] == [(p.replace(str(folder), str(file)), why) for p, why in expected.attrs["missing"]]
    assert len(found.attrs["missing"]) == 1


def test_zips_beside_folders_are_read_with_them(folder: Path, capsys: Capture) -> None:
    """Seed 1 in a zip, in a folder of its own, and seed 0 as it was."""
    expected = shown(folder, capsys, "--columns", "all")
    apart = folder / "more"
    for run in sorted(folder.rglob("*_1")):
        shutil.move(run, apart / run.relative_to(folder))
    zipped(apart)
    shutil.rmtree(apart)
    assert not list(folder.rglob("*_1"))
    assert shown(folder, capsys, "--columns", "all") == expected


def test_a_run_in_two_zips_is_counted_once_and_named(folder: Path, capsys: Capture) -> None:
    expected = shown(folder, capsys).partition("Not in the tables:")[0]
    file = zipped(folder)
    other = shutil.copy(file, folder.parent / "second.zip")
    shutil.rmtree(folder)
    tables, _, named = shown(folder.parent, capsys).partition("Not in the tables:")
    assert tables == expected
    run = "waterbird/small_cnn/split0/miu_0.9_0"
    assert f"- {other}/{run}: not counted, the same method and seed as {file}/{run}\n" in named
    assert named.count("not counted, ") == 11


def test_another_programs_file_within_a_run_is_no_run(folder: Path) -> None:
    for run in ("pretrain_0", "miu_0.9_0"):
        inner = next(folder.rglob(run)) / "wandb/files"
        inner.mkdir(parents=True)
        (inner / "config.yaml").write_text("learning_rate: {value: 1}\n")
    runs = [run.folder.relative_to(folder) for run in read_runs(folder)]
    file = zipped(folder)
    assert [run.folder.relative_to(file) for run in read_runs(file)] == runs


def test_a_zip_that_is_a_run_itself(tmp_path: Path) -> None:
    make_run(tmp_path, "one", "miu", metrics())
    (run,) = read_runs(zipped(tmp_path / "one"))
    assert (run.place, run.method, run.problem) == (f"{tmp_path}/one.zip", "miu", "")


def test_a_zip_without_runs(tmp_path: Path, capsys: Capture) -> None:
    write_zip(tmp_path / "photos.zip", {"a/b.jpg": b"photo"})
    assert report.main([str(tmp_path / "photos.zip")]) == 2
    assert f"error: no run under {tmp_path / 'photos.zip'} (a run is a folder with a " in capsys.readouterr().err
    make_run(tmp_path, "miu", "miu", metrics())
    assert "photos" not in shown(tmp_path, capsys)


def test_a_zip_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    assert report.main([str(tmp_path / "absent.zip")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'absent.zip'} is not a folder; give the folder that")


# Only read.


@pytest.mark.parametrize("beside", [False, True])
def test_runs_in_a_zip_are_not_recomputed(beside: bool, folder: Path, capsys: Capture) -> None:
    file = zipped(folder)
    if not beside:
        shutil.rmtree(folder)
    before = contents(folder.parent)
    assert report.main([str(folder.parent if beside else file), "--recompute"]) == 2
    told = capsys.readouterr().err
    assert told == (
        f"error: {file} is a zip, and runs in it are only read; unzip it, and give that folder: "
        f"python -m zipfile -e {file} output\n"
    )
    assert contents(folder.parent) == before


def test_a_zip_is_unpacked_once_and_again_when_it_is_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    copy = shutil.copyfileobj
    monkeypatch.setattr(shutil, "copyfileobj", lambda source, file: copied.append(source.name) or copy(source, file))
    file = zipped(folder)
    first = read_runs(file)
    n = len(copied)
    assert n == len([name for name in contents(folder) if not name.endswith((".pt", ".log"))])
    assert [run.metrics for run in read_runs(file)] == [run.metrics for run in first]
    assert len(copied) == n
    shutil.rmtree(next(folder.rglob("miu_0.9_0")))
    zipped(folder)
    assert len(read_runs(file)) == len(first) - 1


def test_models_stay_in_the_zip(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "_place_of_copies", lambda: tmp_path / "copies")
    (tmp_path / "copies").mkdir()
    for name in ("model.pt", "run.log", "notes.yaml"):
        (next(folder.rglob("miu_0.9_0")) / name).write_text("large")
    read_runs(zipped(folder))
    names = {file.name for file in (tmp_path / "copies").rglob("*") if file.is_file()}
    assert names == {file.name for file in TREE.rglob("*") if file.is_file()}


@pytest.mark.parametrize("end", ["", "raise SystemExit(1)", "raise KeyboardInterrupt"])
def test_copies_are_private_and_gone_when_python_ends(end: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    code = f"""
import os, sys
from pathlib import Path
from method.runs.stored import read_runs
print(len(read_runs(Path(sys.argv[1]))))
(place,) = Path(os.environ["TMPDIR"]).iterdir()
print(oct(place.stat().st_mode & 0o777))
{end}
"""
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(zipped(folder))], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "12\n0o700\n", done.stderr
    assert not list((tmp_path / "temporary").iterdir())


def test_a_full_disk_ends_the_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, copy: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(RunError, match=f"{tempfile.gettempdir()} cannot be written, the disk is full"):
        read_runs(zipped(folder))


# Hostile zips.

CONFIG = "config: {method: miu, dataset: digits, model: small_cnn, seed: 0, unlearning_ratio: 0.9}\n"
Hostile = Callable[[zipfile.ZipFile], None]


def named(name: str) -> Hostile:
    """A file with this name beside a run."""
    return lambda archive: archive.writestr(name, "text")


def changed(archive: zipfile.ZipFile, **values: int) -> None:
    """What the zip's directory says of a run's configuration."""
    archive.writestr("more/config.yaml", CONFIG)
    for name, value in values.items():
        setattr(archive.filelist[-1], name, value)


def twice(archive: zipfile.ZipFile) -> None:
    for _ in range(2):
        archive.writestr("more/config.yaml", CONFIG)


PLACE, LINK = "is no plain name of a file in a folder", (stat.S_IFLNK | 0o777) << 16
HOSTILE: dict[str, tuple[Hostile, str]] = {
    "above": (named("../config.yaml"), f"../config.yaml in it {PLACE}"),
    "above, later": (named("more/../../config.yaml"), f"more/../../config.yaml in it {PLACE}"),
    "above, a file that is not read": (named("../../notes.txt"), f"../../notes.txt in it {PLACE}"),
    "above, on Windows": (named("..\\config.yaml"), f"..\\config.yaml in it {PLACE}"),
    "absolute": (named("/tmp/config.yaml"), f"/tmp/config.yaml in it {PLACE}"),
    "a drive": (named("C:/config.yaml"), f"C:/config.yaml in it {PLACE}"),
    "a server": (named("\\\\server\\share\\config.yaml"), PLACE),
    "crooked": (named("more//config.yaml"), f"more//config.yaml in it {PLACE}"),
    "here": (named("./config.yaml"), f"./config.yaml in it {PLACE}"),
    "a control character": (named("../\x1b[31m\nconfig.yaml"), PLACE),
    "a link": (lambda archive: changed(archive, external_attr=LINK), "more/config.yaml in it is a link or another"),
    "a device": (
        lambda archive: changed(archive, external_attr=(stat.S_IFBLK | 0o644) << 16),
        "more/config.yaml in it is a link or another",
    ),
    "encrypted": (lambda archive: changed(archive, flag_bits=1), "more/config.yaml in it is encrypted"),
    "twice": (twice, "it holds two files of the same name"),
    "smaller than it is": (lambda archive: changed(archive, file_size=10), "Bad CRC-32 for file 'more/config.yaml'"),
    "larger than it is": (
        lambda archive: changed(archive, file_size=2**33),
        f"bytes that would unpack to {2**33 + len(CONFIG):,} in 2 parts",
    ),
    "a bomb": (
        lambda archive: archive.writestr("more/config.yaml", b"a" * 2**22, zipfile.ZIP_DEFLATED),
        "bytes that would unpack to 4,194,3",
    ),
    "another checksum": (lambda archive: changed(archive, CRC=1), "Bad CRC-32 for file 'more/config.yaml'"),
    "unknown compression": (lambda archive: changed(archive, compress_type=77), "That compression method is not"),
    "too long a name": (
        named(f"more/records_{'x' * 300}.npz"),
        "",  # of no run: it is not unpacked
    ),
    "too long a name in a run": (named(f"run/records_{'x' * 300}.npz"), "File name too long"),
}  # fmt: skip


def hostile_zip(file: Path, build: Hostile) -> Path:
    with zipfile.ZipFile(file, "w") as archive, pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *told, **more: None)  # of two files of the same name
        archive.writestr("run/config.yaml", CONFIG)
        build(archive)
    return file


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_zip_is_a_sentence_and_writes_nothing(case: str, tmp_path: Path, capsys: Capture) -> None:
    build, sentence = HOSTILE[case]
    store = tmp_path / "deep/er/store"
    make_run(store, "miu", "miu", metrics())
    file = hostile_zip(store / "hostile.zip", build)
    before = contents(tmp_path)
    code = report.main([str(file)])
    told = capsys.readouterr()
    if sentence:
        assert code == 2
        assert told.err.startswith(f"error: {file} cannot be read (")
        assert told.err.endswith("); get it anew, or unzip it and give that folder\n")
        assert sentence in told.err
        assert "\x1b" not in told.err
    # Beside others it is named, and they are shown.
    beside = shown(store, capsys)
    assert "\nmiu " in beside
    assert f"- {file}" in beside
    assert sentence in beside
    assert contents(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"text", b"PK\5\6" + b"\0" * 18, b"PK\3\4" + b"\xff" * 100])
def test_what_is_no_zip(content: bytes, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "runs.zip").write_bytes(content)
    assert report.main([str(tmp_path / "runs.zip")]) == 2
    told = capsys.readouterr().err
    empty = content.startswith(b"PK\5\6")
    expected = f"no run under {tmp_path}" if empty else f"{tmp_path / 'runs.zip'} cannot be read (File is not a zip"
    assert told.startswith(f"error: {expected}")


def test_too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    file = zipped(folder)
    monkeypatch.setattr(zips, "MOST_FILES", 50)
    assert report.main([str(file)]) == 2
    assert "bytes that would unpack to" in capsys.readouterr().err


def test_no_pipe_is_waited_for(tmp_path: Path, capsys: Capture) -> None:
    os.mkfifo(tmp_path / "runs.zip")
    assert report.main([str(tmp_path / "runs.zip")]) == 2
    make_run(tmp_path, "miu", "miu", metrics())
    assert "runs.zip" not in shown(tmp_path, capsys)


def test_odd_names_are_read_and_shown_as_escapes(tmp_path: Path, capsys: Capture) -> None:
    """Their run is there; no such name comes to the disk."""
    odd = "\x1b[31m:é\n" + "long" * 100
    values = contents(make_run(tmp_path, "one", "miu", metrics()))
    write_zip(tmp_path / "odd.zip", {f"{odd}/{name}": content for name, content in values.items()})
    out = shown(tmp_path / "odd.zip", capsys, "--each", "--format", "csv")
    assert r"odd.zip/\x1b[31m:é\nlong" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_ends_in_a_traceback(seed: int, folder: Path, tmp_path: Path, capsys: Capture) -> None:
    whole = zipped(folder).read_bytes()
    directory = whole.index(b"PK\1\2")
    damaged = tmp_path / "damaged.zip"
    codes = set()
    for number in range(30):
        chance = random.Random(f"{seed} {number}")
        content = bytearray(whole)
        start = chance.choice((0, directory))
        for _ in range(chance.choice((1, 1, 20))):
            content[chance.randrange(start, len(content))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.3:
            del content[chance.randrange(len(content)) :]
        damaged.write_bytes(content)
        codes.add(report.main([str(damaged)]))
        assert capsys.readouterr().err.count("\n") <= 1
    assert 2 in codes <= {0, 2}


# Written.


def test_equal_files_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    first = zipped(folder).read_bytes()
    other = tmp_path / "other"
    for name, content in sorted(contents(folder).items(), reverse=True):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes(content)
        os.utime(other / name, (1, 1))
        (other / name).chmod(0o700)
    assert zipped(other).read_bytes() == first
    assert read_zip(tmp_path / "other.zip") == contents(folder)


def test_a_zip_can_be_unpacked_by_others(folder: Path, tmp_path: Path) -> None:
    file = zipped(folder)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(file), str(tmp_path / "out")], check=True)
    assert contents(tmp_path / "out") == contents(folder)


# The committed runs.


@pytest.mark.parametrize("study", STUDIES)
def test_a_committed_study_is_there(study: str) -> None:
    """In the one form that equal files have."""
    with zipfile.ZipFile(COMMITTED / f"{study}.zip") as archive:
        members = archive.infolist()
    names = [member.filename for member in members]
    assert names == sorted(names)
    assert sum(name.endswith("/config.yaml") for name in names) == STUDIES[study]
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    assert {member.external_attr >> 16 for member in members} == {stat.S_IFREG | 0o644}
    assert len(unpack(COMMITTED / f"{study}.zip")) == STUDIES[study]


def test_every_committed_study_is_counted() -> None:
    assert sorted(file.name for file in COMMITTED.iterdir()) == sorted(f"{study}.zip" for study in STUDIES)


def test_a_sweep_goes_on_from_an_unzipped_study(tmp_path: Path, capsys: Capture) -> None:
    """Its finished runs are done, without their models and their data."""
    with zipfile.ZipFile(COMMITTED / "digits.zip") as archive:
        archive.extractall(tmp_path)
    removed = tmp_path / "digits/small_cnn/split0/miu_0.9_1"
    shutil.rmtree(removed)
    grid = {"dataset": "digits", "method": ["pretrain", "retrain", "retrain+reweight", "miu", "salun"]}
    grid |= {"unlearning_ratio": 0.9, "seed": [1, 2], "set": {"store_dir": str(tmp_path), "checkpoint_dir": "none"}}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    assert sweep.main([str(tmp_path / "grid.yaml"), "--status"]) == 1
    told = capsys.readouterr().out
    assert told.endswith("10 runs: 9 done, 1 waiting\n")
    assert next(line for line in told.splitlines() if str(removed) in line).endswith("waiting")
