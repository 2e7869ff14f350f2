"""Files that nobody vouches for are opened only where they are files, and read only as far as they are wanted."""

import os
from pathlib import Path

import pytest

from utils.files import open_regular, read_bytes, read_json, read_text, read_yaml, sha256_file, write_json


@pytest.mark.parametrize("read", [open_regular, read_bytes, read_text, read_json, read_yaml, sha256_file])
def test_what_is_no_file_is_not_waited_for(read, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a named pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(OSError, match=f"it is {kind}, expected a regular file"):
            read(path)


def test_no_more_is_read_than_is_wanted(tmp_path: Path):
    file = tmp_path / "large"
    with file.open("wb") as opened:
        opened.truncate(2**27)  # a file with a hole: no disk
    with pytest.raises(OSError, match="larger than 64 MiB"):
        read_bytes(file)
    assert read_bytes(file, 2**27)[:1] == b"\0"
    with pytest.raises(OSError, match="larger than 4 MiB"):
        read_yaml(file)


def test_texts_are_utf8_whatever_the_locale(tmp_path: Path):
    (tmp_path / "text").write_bytes("Männer\r\n".encode())
    assert read_text(tmp_path / "text") == "Männer\r\n"


@pytest.mark.parametrize(
    "text, said",
    [
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e400}', "1e400 is no number"),
        (f'{{"a": {"9" * 400}}}', "a number of 400 digits is no number"),
        ("[" * 100_000, "without end"),
    ],
)
def test_json_holds_numbers_that_can_be_computed_with(text: str, said: str, tmp_path: Path):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_json(tmp_path / "metrics.json")


def test_aliases_count_as_what_they_stand_for(tmp_path: Path):
    file = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    file.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="more than 100,000 values"):
        read_yaml(file)
    file.write_text("a: &a [1, *a]")
    with pytest.raises(ValueError, match="more than 100,000 values"):
        read_yaml(file)
    file.write_text("shared: &s {lr: 0.1}\nmiu: *s\nscrub: *s\n")
    assert read_yaml(file) == {"shared": {"lr": 0.1}, "miu": {"lr": 0.1}, "scrub": {"lr": 0.1}}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_not_replaced(tmp_path: Path):
    """A rename onto /dev/null would remove it for everybody."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a named pipe, expected a regular file"):
        write_json(tmp_path / "pipe", {})
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"]
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(OSError, match="it is a device, expected a regular file"):
        write_json(Path(os.devnull), {})
