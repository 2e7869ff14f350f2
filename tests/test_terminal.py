"""What a terminal cannot show or nobody can read any more costs no run and no traceback."""

import contextlib
import errno
import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli import ROOT, ok, words, written
from folders import make_custom

from main import main
from scripts import keep_runs
from scripts.report import command as report
from scripts.sweep import command as sweep
from utils.errors import RunError
from utils.signals import stop_asked, stop_signals_noted
from utils.terminal import LogLines, may_be_lost, say, set_up, tell

QUICK = "--dataset digits --epochs 1 --threads 1"
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def stream(encoding: str = "ascii") -> io.TextIOWrapper:
    """A terminal of that encoding."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)


@contextlib.contextmanager
def terminals(out: object, err: object) -> Iterator[None]:
    """Standard output and error for a while."""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


@contextlib.contextmanager
def without_reader() -> Iterator[io.TextIOWrapper]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    file = os.fdopen(writer, "w")
    try:
        yield file
    finally:
        with may_be_lost(file):
            file.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run on data whose groups have names beyond ASCII."""
    folder = tmp_path_factory.mktemp("umlauts")
    file = make_custom(folder) / "metadata.csv"
    file.write_text(file.read_text().replace("Female", "Männer"), encoding="utf-8")
    flags = "--dataset custom --model small_cnn --image_size 32 --no-pretrained --epochs 1 --threads 1 --num_workers 0"
    for seed in (0, 1):
        ok(
            f"--method retrain {flags} --seed {seed} --forget_groups Männer:Black",
            data_dir=file.parent,
            store_dir=folder / "out",
        )
    return folder


# Encodings.


@pytest.mark.parametrize(
    "encoding, shown",
    [
        ("ascii", "M\\xe4nner  97.4 +-0.3  1.0 \\u4eba +-"),
        ("latin-1", "Männer  97.4 ± 0.3  1.0 \\u4eba ±"),
        ("utf-8", "Männer  97.4 ± 0.3  1.0 人 ±"),
    ],
)
def test_what_an_encoding_lacks_is_replaced_and_columns_keep_their_width(encoding: str, shown: str):
    out = stream(encoding)
    with terminals(out, stream()):
        set_up()
        tell("Männer  97.4 ± 0.3  1.0 人 ±")
    assert out.buffer.getvalue().decode(encoding) == shown + "\n"


def test_control_characters_do_not_reach_the_terminal():
    out = stream("utf-8")
    with terminals(out, out):
        tell("a\x1b[2Jb\tc")
        say("d\x9be")
    assert out.buffer.getvalue() == b"a\\x1b[2Jb\tc\nd\\x9be\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_every_command_prints_in_a_terminal_without_its_characters(encoding: str, finished: Path, tmp_path: Path):
    data, store = finished / "my_data", finished / "out"
    dry = "--method retrain --dataset custom --forget_groups Männer:Black --dry_run"
    sheet = tmp_path / "grid.yaml"
    sheet.write_text("{dataset: custom, method: retrain, forget_groups: 'Männer:Black', seed: 0}", encoding="utf-8")
    shown = "M\\xe4nner" if encoding == "ascii" else "Männer"
    for command, code in (
        (lambda: main(words(dry, data_dir=data, store_dir=tmp_path)), 0),
        (lambda: main(words(dry.replace("dry_run", "print_config"), data_dir=data)), 0),
        (lambda: main(["--method", "Männer"]), 2),
        (lambda: report.main([str(store)]), 0),
        (lambda: report.main([str(store), "--dataset", "Männer"]), 2),
        (lambda: sweep.main([str(sheet), "--", "--data_dir", str(data)]), 0),
        (lambda: keep_runs.main([str(store), str(tmp_path / "Männer")]), 0),
    ):
        out, err = stream(encoding), stream(encoding)
        with terminals(out, err):
            assert command() == code
        text = (out.buffer.getvalue() + err.buffer.getvalue()).decode(encoding)
        assert shown in text or r"\xE4nner" in text or code  # YAML escapes it in its own way


@pytest.mark.slow
def test_what_is_written_is_utf8_whatever_the_locale(finished: Path, tmp_path: Path):
    """LC_ALL=C without Python's UTF-8 mode: ASCII is the encoding of files that do not name theirs."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = f"""
import locale, logging, sys
assert locale.getpreferredencoding(False) == "ANSI_X3.4-1968"
from pathlib import Path
from types import SimpleNamespace
from method.runs.run_log import logged
from scripts.report.command import main
with logged(SimpleNamespace(file=lambda name: Path({str(tmp_path)!r}) / name)):
    logging.getLogger("unlearning").warning("M\\xe4nner")
for name in ("r.txt", "r.md", "r.csv", "r.tex", "r.json", "r.html"):
    assert main([{str(finished / "out")!r}, "--out", {str(tmp_path)!r} + "/" + name]) == 0
sys.exit(main([{str(finished / "out")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    assert b"M\\xe4nner" in done.stdout
    assert b"+-" in done.stdout
    for name in ("run.log", "r.txt", "r.md", "r.html"):
        assert "Männer" in (tmp_path / name).read_text("utf-8"), name


# Full, closed and hung up.


@needs_full
def test_an_answer_that_nobody_gets_is_an_error():
    with FULL.open("w") as full, terminals(full, stream()), pytest.raises(RunError, match="No space left on device"):
        tell("lost")
    with without_reader() as gone, terminals(gone, stream()), pytest.raises(RunError, match="Broken pipe"):
        tell("lost")


@needs_full
def test_a_line_that_may_be_lost_is_no_error_and_fails_once():
    with FULL.open("w") as full:
        assert not say("lost", full)
        assert say("nobody is told again", full)  # nothing waits in a buffer for Python's end


@needs_full
def test_the_log_goes_on_without_its_terminal():
    log = logging.getLogger("of this test")
    with FULL.open("w") as full, terminals(stream(), full):
        handler = LogLines()
        log.addHandler(handler)
        try:
            log.warning("lost")
            full.flush()  # or Python's end would exit with 120
        finally:
            log.removeHandler(handler)


@needs_full
@pytest.mark.parametrize("command", ["--help", "--method miu --print_config", "--method miu --dry_run"])
def test_an_answer_of_main_on_a_full_disk(command: str, tmp_path: Path):
    err = stream()
    with FULL.open("w") as full, terminals(full, err):
        code = main(words(command, store_dir=tmp_path))
    said = err.buffer.getvalue().decode()
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("error: standard output cannot be written to (No space left on device)")


@needs_full
def test_answers_of_the_tools_on_a_full_disk(finished: Path, tmp_path: Path):
    for command in (
        lambda: report.main([str(finished / "out")]),
        lambda: report.main(["--help"]),
        lambda: sweep.main([str(ROOT / "scripts/grids/digits.yaml")]),
        lambda: keep_runs.main([str(finished / "out"), str(tmp_path)]),
    ):
        err = stream()
        with FULL.open("w") as full, terminals(full, err):
            assert command() == 1
        assert err.buffer.getvalue().startswith(b"error: standard output cannot be written to")


@needs_full
def test_a_run_goes_on_without_a_terminal_and_is_done(tmp_path: Path):
    """Its folder has everything; the log is what the terminal would have had."""
    command, err = words(f"--method pretrain {QUICK}", store_dir=tmp_path), stream()
    with FULL.open("w") as full, terminals(full, full):
        assert main(command) == 0
    folder = tmp_path / "digits/small_cnn/pretrain_0"
    assert {"done", "metrics.json", "model.pt", "run.log"} <= set(written(folder))
    assert f"starting {folder}" in (folder / "run.log").read_text()
    with without_reader() as gone, terminals(gone, err):
        assert main(command) == 0
    said = err.buffer.getvalue().decode()
    assert said == f"standard output cannot be written to, but the run is done: {folder}\n"
    sheet = tmp_path / "grid.yaml"
    sheet.write_text(f"{{method: pretrain, set: {{epochs: 1, threads: 1, wait: true, store_dir: '{tmp_path}'}}}}")
    with without_reader() as gone, terminals(gone, stream()):
        assert sweep.main([str(sheet), "--run"]) == 0


def test_a_stop_signal_needs_no_terminal(monkeypatch: pytest.MonkeyPatch):
    """Ctrl-C is answered on the terminal; where that has gone, the run still ends in its own way."""

    def gone(*arguments: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "write", gone)
    with stop_signals_noted():
        signal.raise_signal(signal.SIGINT)
        assert stop_asked()


def closed(code: str, redirections: str) -> subprocess.CompletedProcess:
    """Python code started by a shell with its streams closed."""
    return subprocess.run(
        ["bash", "-c", f'exec "$1" -c "$2" {redirections}', "bash", sys.executable, code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.skipif(os.name != "posix", reason="the shell is bash")
def test_streams_that_were_closed_before_the_start(tmp_path: Path):
    """No file gets their numbers, and what is printed there goes nowhere, with an error where it is an answer."""
    file = tmp_path / "mine"
    code = f"""
import os, sys
from utils.terminal import on_terminal, say, tell
@on_terminal
def main():
    with open({str(file)!r}, "w") as mine:
        assert mine.fileno() > 2
        say("lost")
        print("lost", file=sys.stderr)
        print("lost")
        mine.write("kept")
    tell("an answer")
    return 0
sys.exit(main())
"""
    for redirections, code_expected, err in (
        ("<&- >&- 2>&-", 1, ""),
        (">&-", 1, "lost\nlost\nerror: standard output cannot be written to (Bad file descriptor)"),
        ("2>&-", 0, ""),
    ):
        done = closed(code, redirections)
        assert done.returncode == code_expected, done.stderr
        assert done.stderr.startswith(err)
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr
        assert file.read_text() == "kept"
    assert done.stdout == "lost\nan answer\n"


@pytest.mark.skipif(os.name != "posix", reason="the shell is bash")
@pytest.mark.parametrize("redirections", ["| head -n 1", ">/dev/full", "2>&1 | head -n 1"])
def test_nothing_is_said_at_pythons_end(redirections: str):
    if "/dev/full" in redirections and not FULL.exists():
        pytest.skip("this system has no /dev/full")
    code = """
import sys
from utils.terminal import on_terminal, tell
@on_terminal
def main():
    tell("x\\n" * 200_000)
    return 0
sys.exit(main())
"""
    shell = f'"$1" -c "$2" {redirections}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", sys.executable, code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == ("2>&1" not in redirections)
    assert "Exception" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the shell is bash")
def test_a_whole_run_with_every_stream_closed(tmp_path: Path):
    arguments = words(f"--method pretrain {QUICK}", store_dir=tmp_path)
    done = closed(f"import main, sys\nsys.exit(main.main({arguments!r}))", "<&- >&- 2>&-")
    assert done.returncode == 0
    folder = tmp_path / "digits/small_cnn/pretrain_0"
    assert (folder / "done").exists()
    assert "lost" not in (folder / "run.log").read_text()


def test_streams_that_know_nothing_of_encodings_are_left_alone():
    """Those of notebooks, and of tests."""
    plain = SimpleNamespace(write=lambda text: None, flush=lambda: None)
    with terminals(plain, plain):
        set_up()
        tell("Männer ±")
        assert say("Männer ±")
