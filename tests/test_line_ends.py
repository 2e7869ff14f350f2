"""A clone on Windows has the line ends that bash and the tests need."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cli import ROOT

pytestmark = pytest.mark.skipif(
    not (shutil.which("git") and (ROOT / ".git").exists()), reason="this folder is no clone of the repository"
)


def git(*words: str) -> str:
    """What git says in the project's folder."""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_text_has_lf_and_the_rest_is_left_alone():
    lines = [line.split("\t") for line in git("ls-files", "--eol").splitlines()]
    assert len(lines) > 300
    for attributes, name in lines:
        index, _, *rules = attributes.split()
        if name.endswith((".npz", ".png", ".zip")):
            assert (index, rules) == ("i/-text", ["attr/-text"]), name
        else:
            assert index in ("i/lf", "i/none"), name
            assert rules == ["attr/text=auto", "eol=lf"], name


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_what_windows_would_check_out(tmp_path: Path):
    """core.autocrlf turns every LF into CR LF, but for what .gitattributes says."""
    names = [name for name in git("ls-files").splitlines() if name.endswith((".sh", ".py", ".csv", ".yaml"))]
    git("-c", "core.autocrlf=true", "checkout-index", f"--prefix={tmp_path}/", "--", *names)
    for name in names:
        assert b"\r" not in (tmp_path / name).read_bytes(), name
    scripts = sorted(tmp_path.rglob("*.sh"))
    assert len(scripts) >= 6
    for script in scripts:
        assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
