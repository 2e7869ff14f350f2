"""The test suite, with a process a core; the tests that fail are rows."""

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from scripts.acceptance import ROOT
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Rows, figure, skipped, verdict
from utils.device import available_cpus

NEEDED = {"pytest": "pytest", "xdist": "pytest-xdist"}
# Seconds: draws, index sets, stored arrays, what is printed.
QUICK = ("sampling", "splits", "arrays", "text")
ENDED = re.compile(r"^(?:\[gw\d+\] \[ *\d+%\] )?(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) (\S.*?)\s*$")


def rows(options: Options) -> Rows:
    """The fast tests; a few quick files in a quick look."""
    yield from run_tests([f"tests/test_{name}.py" for name in QUICK] if options.quick else [])


def run_tests(arguments: list[str]) -> Rows:
    """A row for each test that fails, as it does, and one for all."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        yield skipped("the test suite", f"needs {', '.join(missing)}: pip install -r requirements-test.txt")
        return
    cores, start = available_cpus(), time.monotonic()
    counts: Counter[str] = Counter()
    command = [sys.executable, "-m", "pytest", "-v", "-m", "not slow", "-n", str(cores), "--dist", "loadfile"]
    command += ["-rfE", "-p", "no:cacheprovider", "--color", "no", *arguments]
    alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # as scripts/test.sh does: a process a core, a thread each
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | alone, stdout=subprocess.PIPE, text=True)
    try:
        failed: list[str] = []
        for kind, name in outcomes(process.stdout or ()):
            if kind not in ("FAILED", "ERROR"):
                counts[kind] += 1
            elif not any(name == one or name.startswith(f"{one} - ") for one in failed):  # the summary says them again
                counts[kind] += 1
                failed.append(name)
                yield verdict(name, False, kind.lower())
        code = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    told = ", ".join(f"{n} {kind.lower()}" for kind, n in sorted(counts.items())) or "no test ran"
    yield figure("seconds of the tests", f"{time.monotonic() - start:.0f} s", f"{cores} processes")
    good = code == 0 and counts["PASSED"] > 0 and not counts["FAILED"] + counts["ERROR"]
    yield verdict("the test suite", good, told, f"pytest ended with {code}; 0 is wanted")


def outcomes(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(outcome, test) of every line of pytest's that tells one; all lines go on to the log."""
    for text in lines:
        print(text, end="", flush=True)
        found = ENDED.match(text)
        if found:
            yield found[1], found[2]
