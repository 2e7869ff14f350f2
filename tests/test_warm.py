"""The Python that starts at once does what Python does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
TELLS = """
import os, sys, __main__
print(__name__, sys.argv, sys.path[0], os.getcwd(), os.environ["COLOUR"], sys.stdin.read())
print("warned", file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["-c", f"{TELLS}\nsys.exit(3)", "a", "--b=c d"],
        ["-c", "raise ValueError('no such colour')"],
        ["-c", "import sys; sys.exit('a sentence')"],
        ["-m", "package.told", "a"],
        ["package/told.py", "a"],
        ["-m", "json.tool"],
    ],
)
def test_it_does_what_python_does(words: list[str], python: Path, tmp_path: Path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package/told.py").write_text(TELLS)
    ends = []
    for program in (sys.executable, python):
        done = subprocess.run(
            [program, *words],
            cwd=tmp_path,
            env=os.environ | {"COLOUR": "blue"},
            input='{"a": 1}',
            capture_output=True,
            text=True,
            timeout=120,
        )
        ends.append((done.returncode, done.stdout, done.stderr.splitlines()[-1:]))
    assert ends[0] == ends[1]
    assert ends[0] != (0, "", [])
