"""Whether this program works on a machine: rows of a table by part (`bash scripts/accept_gpu.sh`)."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# The benchmarks and the tests' data folders are modules beside each other.
for folder in (ROOT / "tests", ROOT / "benchmarks", ROOT):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
