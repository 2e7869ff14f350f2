"""Whatever is typed or stands in a --config file: an answer or one sentence, never a traceback."""

from pathlib import Path

import pytest
from cli import error_of
from cli import run as typed
from hostile import command_of, yaml_of

from main import main
from method.registry import METHODS


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs that a hostile value lets through write nothing, as they only ask; relative paths begin here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answered(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An answer, or a sentence of a length that people read."""
    code = main(words)
    out, err = capsys.readouterr()
    if code == 0:
        assert out
        assert not err
        return
    assert code == 2, (words, err)
    assert not out
    assert err.startswith("error: ")
    assert len(err) < 6_000
    assert err.rstrip("\n").replace("\n", " ").isprintable()


@pytest.mark.parametrize("order", ["--print_config", "--dry_run"])
def test_command_lines(order: str, here: Path, capsys: pytest.CaptureFixture[str]):
    for number in range(100 if order == "--print_config" else 30):
        answered([*command_of(number), order], capsys)
    assert not list(here.iterdir())


@pytest.mark.parametrize("order", ["--print_config", "--dry_run"])
def test_configuration_files(order: str, here: Path, capsys: pytest.CaptureFixture[str]):
    file = here / "mine.yaml"
    for number in range(100 if order == "--print_config" else 30):
        method = tuple(METHODS)[number % len(METHODS)]
        file.write_bytes(yaml_of(method, number).encode("utf-8", "surrogatepass"))
        answered(["--method", method, "--config", str(file), order], capsys)
    assert list(here.iterdir()) == [file]


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("tag", "a\0b", "a null character"),
        ("data_dir", "a\0b", "a null character"),
        ("forget_groups", "a\0b:c", "a null character"),
        ("config", "a\0b", "a null character"),
        ("store_dir", "a\udce4b", "bytes that are no text"),
        ("sensitive", "a\udce4b", "bytes that are no text"),
        ("config", "a\udce4b", "bytes that are no text"),
        ("seed", "9" * 400, "a whole number at least 0 within 63 bits"),
        ("seed", "9" * 5000, "a whole number at least 0"),
        ("seed", str(2**63), "within 63 bits"),
        ("epochs", "9" * 30, "within 63 bits"),
        ("lr", "9" * 400, "a number above 0"),
        ("threads", "100000", "at most 1024"),
        ("num_workers", "100000", "at most 1024"),
        ("split_number", "9" * 5000, "a whole number"),
    ],
)
def test_what_no_file_and_no_number_can_be(name: str, value: str, told: str):
    dataset = "custom" if name == "sensitive" else "digits"
    sentence = error_of(typed(f"--method pretrain --dataset {dataset}", **{name: value}), 2)
    assert told in sentence
    assert len(sentence) < 1_000


def test_the_largest_seed_is_one():
    assert typed("--method pretrain --print_config", seed=2**63 - 1).code == 0


@pytest.mark.parametrize(
    "flags, length",
    [
        ({"tag": "t" * 300}, 311),
        ({"tag": "ä" * 130}, 271),
        ({"tag": "t" * 239, "seed": 10**6}, 256),
        ({"dataset": "custom", "dataset_name": "n" * 256}, 256),
    ],
)
def test_a_folder_has_a_name_that_file_systems_take(flags: dict, length: int, tmp_path: Path):
    sentence = error_of(typed("--method pretrain --dry_run", store_dir=tmp_path, **flags), 2)
    assert f"a name of {length} bytes" in sentence
    assert f"give a shorter --{'tag' if 'tag' in flags else 'dataset_name'}" in sentence
    assert not list(tmp_path.iterdir())


def test_the_longest_tag_is_taken(tmp_path: Path):
    assert typed("--method pretrain --dry_run", store_dir=tmp_path, tag="t" * 244).code == 0


def test_a_path_that_is_too_long_is_a_sentence(tmp_path: Path):
    for name in ("store_dir", "checkpoint_dir"):
        sentence = error_of(typed("--method salun --dry_run", **{name: tmp_path / ("n" * 300)}), 2)
        assert "File name too long" in sentence


@pytest.mark.parametrize(
    "text, told",
    [
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
        ), "more than 100,000 values"),
        ("a: " + "[" * 100_000, "brackets within brackets"),
        ("".join(f"k{number}: {number}\n" for number in range(100_000)), "larger than 1 MiB"),
        ("seed: " + "9" * 5000, "no such value as it looks like"),
        ("lr: " + "9" * 400, "expected a number above 0"),
    ],
    ids=["alias bomb", "deep", "huge", "5000 digits", "400 digits"],
)  # fmt: skip
def test_configuration_files_that_eat_memory(text: str, told: str, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(text)
    sentence = error_of(typed("--method miu --print_config", config=tmp_path / "mine.yaml"), 2)
    assert told in sentence
    assert len(sentence) < 1_000
