"""Paths as people type them: ~ is the home folder wherever a path is expected, a variable that is left is refused."""

from pathlib import Path

import pytest
from cli import configuration, ok, refused
from folders import make_custom

from method import run
from method.configs.schema import all_keys
from scripts import keep_runs, skewed_faces
from scripts.report import command as report
from scripts.sweep import command as sweep
from utils.errors import UserError
from utils.paths import expand_path

PATHS = [name for name, key in all_keys().items() if key.path]
METHOD = {"forget_list": "miu", "original": "miu", "reference": "miu", "metadata": "pretrain --dataset custom"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, with a list in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "here").write_text("a.png\n")
    return tmp_path


def test_every_key_that_names_a_file_or_a_folder_is_a_path():
    assert set(PATHS) == {
        *("data_dir", "store_dir", "checkpoint_dir", "weights", "original", "reference", "forget_list"),
        "metadata",
    }  # fmt: skip
    named = {name for name, key in all_keys().items() if name.endswith(("_dir", "_file", "_path", "_folder"))}
    assert named <= set(PATHS)


@pytest.mark.parametrize("name", PATHS)
def test_the_home_folder_in_flags_and_files(name: str, home: Path):
    method = METHOD.get(name, "pretrain")
    for flag in (f"--{name} ~/here", f"--{name}=~/here"):
        assert configuration(f"--method {method} {flag}").values[name] == f"{home}/here"
    (home / "mine.yaml").write_text(f"{name}: ~/here\n")
    assert configuration(f"--method {method} --config ~/mine.yaml").values[name] == f"{home}/here"


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("path", ["$DATA/here", "${DATA}/here", "a/$USER", "$(pwd)/here"])
def test_a_variable_that_no_shell_has_replaced(name: str, path: str, home: Path):
    method = METHOD.get(name, "pretrain")
    variable = "$(" if "(" in path else path[path.index("$") :].removesuffix("/here")
    assert f"{name} is '{path}', with {variable}: a shell fills" in refused(f"--method {method}", **{name: path})
    (home / "mine.yaml").write_text(f"{name}: {path}\n")
    assert f"mine.yaml: {name} is '{path}', with {variable}" in refused(f"--method {method} --config ~/mine.yaml")


def test_words_and_other_names_stay_as_they_are(home: Path):
    config = configuration("--method miu --weights imagenet --reference retrain --data_dir ./~ --store_dir cost$5/a~")
    assert (config.weights, config.reference) == ("imagenet", "retrain")
    assert (config.data_dir, config.store_dir, config.original) == ("./~", "cost$5/a~", "")
    assert configuration("--method miu --tag a --checkpoint_dir ~").checkpoint_dir == str(home)


def test_a_home_folder_that_nobody_has():
    sentence = refused("--method pretrain --data_dir ~nobody-is-called-so/x")
    assert "no home folder ~nobody-is-called-so is known; what has that very name is ./~nobody-is-called-so" in sentence


def test_somebody_elses_home(monkeypatch: pytest.MonkeyPatch):
    pwd = pytest.importorskip("pwd")
    somebody = pwd.getpwuid(0)
    assert expand_path(f"~{somebody.pw_name}/x", "x") == f"{somebody.pw_dir.rstrip('/')}/x"


def test_a_run_has_one_name_however_its_folders_are_typed(home: Path):
    typed = configuration("--method miu --original ~/run --data_dir ~/data")
    assert typed.identity() == configuration("--method miu", original=home / "run", data_dir=home / "data").identity()
    make_custom(home)
    named = configuration("--method pretrain --dataset custom --data_dir ~/my_data")
    assert named.data_name == "my_data"


def test_the_python_interface(home: Path):
    with pytest.raises(UserError, match="with \\$HOME"):
        run(method="pretrain", store_dir="$HOME/x")
    quick = {"dataset": "digits", "epochs": 1, "threads": 1}
    assert run(method="pretrain", store_dir="~/out", **quick).path == home / "out/digits/small_cnn/pretrain_0"


@pytest.mark.slow
def test_the_tools(home: Path, capsys: pytest.CaptureFixture[str]):
    quick = "--method pretrain --dataset digits --epochs 1 --threads 1"
    ok(quick, store_dir="~/out")
    assert report.main(["~/out", "--out", "~/report.md"]) == 0
    assert (home / "report.md").exists()
    assert keep_runs.main(["~/out", "~/kept"]) == 0
    assert (home / "kept/digits/small_cnn/pretrain_0/done").exists()
    (home / "grid.yaml").write_text("{dataset: digits, method: pretrain, seed: 0, set: {store_dir: ~/out}}")
    assert sweep.main(["~/grid.yaml"]) == 0
    assert f"--store_dir {home}/out" in capsys.readouterr().out
    for command in (
        lambda path: report.main([path]),
        lambda path: report.main(["~/out", "--out", path]),
        lambda path: keep_runs.main([path, "~/kept"]),
        lambda path: keep_runs.main(["~/out", path]),
        lambda path: sweep.main([path]),
        lambda path: skewed_faces.main(["--out", path]),
    ):
        for path, told in (
            ("$HOME/x", "with $HOME"),
            ("a\udcffb", "bytes that are no text"),
            ("~nobody-x/y", "~nobody-x"),
        ):
            assert command(path) == 2
            err = capsys.readouterr().err
            assert err.startswith("error: the path is ")
            assert told in err
