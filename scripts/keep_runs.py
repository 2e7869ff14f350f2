"""Keep what a repository needs of finished runs: their numbers, without models and without this machine's paths.

    python -m scripts.keep_runs output docs/results/runs/digits

Of every finished run under the first folder config.yaml, history.csv, metrics.json and the `done` marker go to the
same place under the second. Reports make the rows of pretrained models from records and splits, so a pretrained run
keeps its records, and one run of every table its splits, compressed: `python -m utils.report` shows both folders
alike. A run that is there already is replaced; nothing is removed. Of an absolute path in config.yaml the last part
is left.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from utils.errors import UserError
from utils.files import write_atomic, write_text
from utils.paths import typed_path
from utils.report.collect import pretrain_pairs
from utils.runs import Run, read_runs
from utils.terminal import Parser, on_terminal, say, tell

COPIED = ("history.csv", "metrics.json", "done")  # the marker last


@on_terminal
def main(arguments: Sequence[str] | None = None) -> int:
    """Copy and say how many; returns the exit code."""
    parser = Parser(
        "python -m scripts.keep_runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=typed_path, help="a folder with runs, such as output")
    parser.add_argument("target", type=typed_path, help="where to keep them, such as docs/results/runs/digits")
    wanted = parser.parse_args(arguments)
    try:
        runs = read_runs(wanted.source)
    except UserError as error:
        say(f"error: {error}")
        return error.exit_code
    finished = [run for run in runs if not run.problem]
    pairs = list(pretrain_pairs(finished))
    with_records, with_splits = {pretrain for pretrain, _ in pairs}, {sibling for _, sibling in pairs}
    for run in finished:
        folder = wanted.target / run.folder.relative_to(wanted.source)
        folder.mkdir(parents=True, exist_ok=True)
        for kept, name in ((with_records, "records.npz"), (with_splits, "splits.npz")):
            if run in kept:
                _compress(run.folder / name, folder / name)
        write_text(folder / "config.yaml", yaml.safe_dump(_portable(run), sort_keys=False))
        for name in COPIED:
            if (run.folder / name).exists():  # a method without epochs has no history
                shutil.copyfile(run.folder / name, folder / name)
    lines = [f"{len(finished)} runs kept in {wanted.target}"]
    lines += [f"left out: {run.folder}: {run.problem}" for run in runs if run.problem]
    tell("\n".join(lines))
    return 0


def _portable(run: Run) -> dict[str, Any]:
    """What config.yaml says, with the last part of absolute paths."""
    stored = dict(run.stored)
    for name in ("config", "identity"):
        stored[name] = {key: _last_part(value) for key, value in stored.get(name, {}).items()}
    return stored


def _last_part(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def _compress(source: Path, target: Path) -> None:
    with np.load(source) as arrays:
        write_atomic(target, lambda file: np.savez_compressed(file, **arrays))


if __name__ == "__main__":
    sys.exit(main())
