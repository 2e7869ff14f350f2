"""Are the tests any good? Plant small slips in the core modules, one at a time, and see which ones no test notices.

    python benchmarks/mutants.py [--n 20] [--seed 0] [--only miu] [--minutes 15] [--list]

A slip is a flipped sign, `%` for `//`, `<=` for `<`, a number off by one, an `&=` that became `=`, a `.detach()` that
is gone, train for eval, and the like. Module, kind and place are drawn by the seed, and the quick tests that cover the
module run on a copy of the project; the checkout is never touched. Survivors are printed below the table: a test is
missing, or the slip changes nothing that anybody could see. Exit code 2 where the tests fail without a slip.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from utils.tables import align  # noqa: E402

COPIED = ("main.py", "pyproject.toml", "method", "datasets", "models", "utils", "scripts", "tests")
BASELINES = ("bad_teacher", "boundary_expand", "boundary_shrink", "falw", "ft", "ga", "neggrad_plus", "rl")
# Module -> the files in tests/ that cover it.
COVERED: dict[str, tuple[str, ...]] = {
    "method/losses.py": ("test_unlearners", "test_engine"),
    "method/mutual_information.py": ("test_mutual_information",),
    "method/group_dro.py": ("test_group_dro",),
    **{f"method/unlearners/{name}.py": ("test_unlearners", "test_engine") for name in ("l1_sparse", "miu", "salun")},
    "method/unlearners/scrub.py": ("test_unlearners", "test_engine", "test_resume"),
    **{f"method/unlearners/{name}.py": ("test_baselines", "test_engine") for name in BASELINES},
    "method/unlearners/iu.py": ("test_influence",),
    "method/unlearners/ssd.py": ("test_influence",),
    "method/unlearners/training.py": ("test_unlearners", "test_group_dro", "test_engine"),
    "method/unlearners/base.py": ("test_unlearners", "test_engine", "test_influence"),
    "datasets/sampling.py": ("test_sampling",),
    "datasets/splits.py": ("test_splits",),
    "method/evaluation/metrics.py": ("test_metrics",),
    "method/evaluation/membership.py": ("test_membership",),
    "method/evaluation/forgetting.py": ("test_forgetting_attacks",),
    "method/evaluation/intervals.py": ("test_intervals",),
    "method/evaluation/records.py": ("test_records", "test_arrays"),
    "method/training/engine.py": ("test_engine", "test_resume"),
    "method/training/optimizers.py": ("test_engine",),
    **{f"scripts/report/{name}.py": ("test_story",) for name in ("across", "cells", "estimates", "story", "wording")},
}
SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "%"),
    ast.Mod: ("%", "//"),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}
CALLS = {"min": "max", "max": "min", "eval": "train", "argmax": "argmin", "any": "all", "all": "any"}
GONE = ("detach", "abs", "sign", "clamp", "sqrt", "exp", "clone")
# What no slip is planted in: messages, annotations, and values that a file of hyperparameters could hold as well.
SPARED = (ast.Raise, ast.JoinedStr, ast.AnnAssign)
SPARED_CALLS = ("param", "register", "dataclass", "UserError", "RunError", "Undefined", "ValueError", "Array")


class Slip(NamedTuple):
    """One change of a text: what stands from `start` to `stop` becomes `new`."""

    module: str
    kind: str
    start: int
    stop: int
    new: str


def slips(module: str, text: str) -> list[Slip]:
    """Every slip that can be planted in a module."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    raw = text.encode()

    def place(node: ast.AST) -> tuple[int, int]:
        at = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        return tuple(starts[line - 1] + column for line, column in at)

    found = []
    for node in _nodes(ast.parse(text)):
        for kind, (start, stop), new in _changes(node, place, raw):
            found.append(Slip(module, kind, start, stop, new))
    return found


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module, but for what is spared, docstrings and annotations."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, SPARED) or (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
            continue
        if isinstance(child, ast.Call) and ast.unparse(child.func).split(".")[-1] in SPARED_CALLS:
            continue
        if isinstance(child, ast.arg) or child is getattr(tree, "returns", None):
            continue
        yield child
        yield from _nodes(child)


def _changes(
    node: ast.AST, place: Callable[[ast.AST], tuple[int, int]], raw: bytes
) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Kind, place and new text of each slip at a node."""

    def between(left: ast.AST, right: ast.AST, operator: ast.AST) -> Iterator[tuple[str, tuple[int, int], str]]:
        old, new = SWAPS.get(type(operator), ("", ""))
        start, stop = place(left)[1], place(right)[0]
        at = raw.find(old.encode(), start, stop) if old else -1
        if at >= 0:
            yield f"{old} -> {new}", (at, at + len(old)), new

    if isinstance(node, ast.BinOp):
        yield from between(node.left, node.right, node.op)
    elif isinstance(node, ast.Compare):
        yield from between(node.left, node.comparators[0], node.ops[0])
    elif isinstance(node, ast.BoolOp):
        yield from between(node.values[0], node.values[1], node.op)
    elif isinstance(node, ast.AugAssign):
        start, stop = place(node.target)[1], place(node.value)[0]
        operator = raw[start:stop].decode().strip()
        yield f"{operator} -> =", (start, stop), " = "
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        start, sign = place(node)[0], "-" if isinstance(node.op, ast.USub) else "not "
        yield f"{sign.strip()} gone", (start, start + len(sign)), ""
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "truth flipped", place(node), str(not node.value)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield "off by one", place(node), str(node.value + 1)
    elif isinstance(node, ast.Call):
        yield from _call_changes(node, place)


def _call_changes(
    node: ast.Call, place: Callable[[ast.AST], tuple[int, int]]
) -> Iterator[tuple[str, tuple[int, int], str]]:
    """max for min, train for eval, and calls that are gone: x.detach() becomes x."""
    name = ast.unparse(node.func).split(".")[-1]
    end = place(node.func)[1]
    if name in CALLS and isinstance(node.func, (ast.Name, ast.Attribute)):
        yield f"{name} -> {CALLS[name]}", (end - len(name), end), CALLS[name]
    if name in GONE and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) not in ("torch", "np"):
        yield f".{name}() gone", (end - len(f".{name}"), place(node)[1]), ""


def choose(project: Path, n: int, seed: int, only: str) -> list[Slip]:
    """n different slips: a module, a kind within it and a place, each as likely as another."""
    rng = random.Random(seed)
    pool: dict[str, dict[str, list[Slip]]] = {}
    for module in COVERED:
        if only in module:
            kinds = defaultdict(list)
            for slip in slips(module, (project / module).read_text()):
                kinds[slip.kind].append(slip)
            pool[module] = dict(kinds)
    chosen: list[Slip] = []
    while len(chosen) < n and any(pool.values()):
        module = rng.choice([name for name, kinds in pool.items() if kinds])
        kind = rng.choice(sorted(pool[module]))
        own = pool[module][kind]
        chosen.append(own.pop(rng.randrange(len(own))))
        if not own:
            del pool[module][kind]
    return chosen


def planted(slip: Slip, text: str) -> str:
    """The text with the slip."""
    raw = text.encode()
    return (raw[: slip.start] + slip.new.encode() + raw[slip.stop :]).decode()


def describe(slip: Slip, text: str) -> tuple[str, str, str]:
    """Where it is in its module's text, the line before and the line with it."""
    line = text.encode()[: slip.start].count(b"\n")
    new = planted(slip, text).splitlines()[line].strip()
    return f"{slip.module}:{line + 1}", text.splitlines()[line].strip(), new


def passes(project: Path, tests: tuple[str, ...], seconds: float) -> bool:
    """Whether the quick tests pass in time on a copy of the project."""
    files = [f"tests/{name}.py" for name in tests]
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *files]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(words, cwd=project, env=environment, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def make_copy(folder: Path) -> Path:
    """What the tests need of the project."""
    project = folder / "project"
    project.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, project / name)
    return project


def main() -> int:
    """Plant, test and tell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--n", type=int, default=20, help="how many slips")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--only", default="", metavar="TEXT", help="only modules whose path holds this")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no slip after so long")
    parser.add_argument("--list", action="store_true", help="say which, and test nothing")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = make_copy(Path(folder))
        chosen = choose(project, wanted.n, wanted.seed, wanted.only)
        if not wanted.list:
            return run(project, chosen, 60 * wanted.minutes)
        rows = [describe(slip, (project / slip.module).read_text()) for slip in chosen]
        print(align(("slip", "line", "with it"), rows, left=3))
    return 0


def run(project: Path, chosen: list[Slip], seconds: float) -> int:
    """Plant one after the other, as long as there is time."""
    begin, rows, survivors = time.monotonic(), [], []
    usual: dict[tuple[str, ...], float] = {}
    for slip in chosen:
        if time.monotonic() - begin > seconds:
            break
        tests, start = COVERED[slip.module], time.monotonic()
        if tests not in usual:
            if not passes(project, tests, 1800):
                print(f"the tests fail without a slip: {', '.join(tests)}", file=sys.stderr)
                return 2
            usual[tests], start = time.monotonic() - start, time.monotonic()
        file = project / slip.module
        text = file.read_text()
        file.write_text(planted(slip, text))
        survived = passes(project, tests, 60 + 5 * usual[tests])
        file.write_text(text)
        where, before, after = describe(slip, text)
        survivors += [f"{where}\n    {before}\n    {after}"] if survived else []
        rows.append((where, slip.kind, "survived" if survived else "killed", f"{time.monotonic() - start:.0f}"))
        print(*rows[-1], flush=True)
    print("", align(("slip", "kind", "outcome", "s"), rows, left=3), "", *survivors, sep="\n")
    print(f"\n{len(rows) - len(survivors)} of {len(rows)} slips killed, {len(survivors)} survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
