"""The command line as a person types it: in this process, where it is fast, or in one of its own."""

import contextlib
import gc
import io
import shlex
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import main
from method.configs.cli import parse
from method.configs.loading import Config

ROOT = Path(main.__file__).resolve().parent
ALL_GARBAGE = 50  # so many runs after each other leave it to the last of them
_runs = count(1)


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


def words(command: str, **flags: Any) -> list[str]:
    """`command` as a shell splits it, then `--name value` for every further flag (paths may hold anything)."""
    return shlex.split(command) + [word for name, value in flags.items() for word in (f"--{name}", str(value))]


def with_flags(command: str, flags: str) -> str:
    """`command` with `flags`, which take the place of its own: a flag with two values is an error."""
    new = shlex.split(flags)
    names = {word.removeprefix("--no-").removeprefix("--") for word in new if word.startswith("--")}
    names |= {"pretrained"} if "weights" in names else set()
    kept, wanted = [], True
    for word in shlex.split(command):
        if word.startswith("--"):
            wanted = word.removeprefix("--no-").removeprefix("--") not in names
        kept += [word] if wanted else []
    return shlex.join([*kept, *new])


def run(command: str, **flags: Any) -> Result:
    """Run main.py in this process."""
    spare_the_collector()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main.main(words(command, **flags))
        except SystemExit as stop:
            code = stop.code
    return Result(code, out.getvalue(), err.getvalue())


def spare_the_collector() -> None:
    """Hide all that is there from Python's collector: a run calls it, and half a million objects take it 0.3 s."""
    if next(_runs) % ALL_GARBAGE == 0:
        gc.unfreeze()
        gc.collect()
    gc.freeze()


def run_apart(
    command: str, root: Path = ROOT, cwd: Path | None = None, python: Path = Path(sys.executable), **flags: Any
) -> Result:
    """Run `root`/main.py in a process of its own, by default from `root`."""
    done = subprocess.run(
        [python, str(root / "main.py"), *words(command, **flags)],
        cwd=cwd or root,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def python_apart(code: str, cwd: Path = ROOT) -> Result:
    """Run Python code in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=300)
    return Result(done.returncode, done.stdout, done.stderr)


def ok(command: str, **flags: Any) -> Result:
    """Run a command that must end well."""
    result = run(command, **flags)
    assert result.code == 0, f"exit {result.code}: {result.err}"
    return result


def error_of(result: Result, code: int) -> str:
    """The one sentence of a command that must end badly; standard error's last line, and the only one of its kind."""
    assert result.code == code, f"exit {result.code}, expected {code}: {result.out}{result.err}"
    assert "Traceback" not in result.err
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.err
    assert result.err.splitlines()[-1] == errors[0]
    return errors[0].removeprefix("error: ")


def refused(command: str, **flags: Any) -> str:
    """The sentence with which a command is refused before it starts (exit code 2, nothing else printed)."""
    result = run(command, **flags)
    sentence = error_of(result, 2)
    assert result.out == ""
    assert result.err == f"error: {sentence}\n"
    return sentence


def configuration(command: str, **flags: Any) -> Config:
    """The configuration that a command line means."""
    return parse(words(command, **flags)).config


def written(folder: Path) -> list[str]:
    """Every file under a folder that may not exist."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
