"""Hand-made output trees for the tests of the report."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.report import command as report

NAMES = ["low cold", "low warm", "high cold", "high warm"]
Capture = pytest.CaptureFixture[str]
PARTS = ("retain_acc", "forget_acc", "test_acc", "mia", "equalized_odds", "forget_group_acc")


def metrics(value: float = 50.0, **changed: Any) -> dict[str, Any]:
    """metrics.json of a run whose reference was not finished: every part is `value`."""
    reasons = {"tow": "make retrain first", "avg_gap": "make retrain first"}
    compared = {"tow": None, "avg_gap": None, "reference": None, "reasons": reasons}
    base = {"schema": 2, **dict.fromkeys(PARTS, value), **compared}
    worst = {"worst_group_acc": 12.0, "worst_group": "high cold", "worst_group_n": 7, "mia_baseline": 20.0}
    return {**base, **worst, "forget_group_names": ["high cold"], **changed}


def make_run(
    root: Path,
    folder: str,
    method: str,
    values: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    task: str = "split0",
    **config: Any,
) -> Path:
    """A run directory; with `values` it is finished, else `status` says how it stands."""
    path = root / folder
    path.mkdir(parents=True)
    base = {"method": method, "dataset": "digits", "model": "small_cnn", "unlearning_ratio": 0.9, "seed": 0}
    defaults = {"image_size": 32, "weights": "none", "preset": "strict", "tag": "", "reference": "auto"}
    own = {} if method == "pretrain" else {"reweight": method == "miu"}
    full = {**base, **defaults, **own, **config}
    seed = full["seed"]
    stored = {
        "config": full,
        "identity": full,
        "task": task,
        "fingerprints": {"data": f"data{seed}", "forget": None if method == "pretrain" else f"forget{seed}"},
        "groups": {"names": NAMES, "n_targets": 2, "n_sensitive": 2, "forget": [2]},
    }
    (path / "config.yaml").write_text(yaml.safe_dump(stored))
    if values is not None:
        (path / "metrics.json").write_text(json.dumps(values))
        (path / "done").touch()
    if status is not None:
        (path / "status.json").write_text(json.dumps(status))
    return path


def shown(root: Path, capsys: Capture, *flags: str) -> str:
    assert report.main([str(root), *flags]) == 0
    return capsys.readouterr().out


def table_lines(text: str) -> list[list[str]]:
    """Cells of every line between the header's rule and the next empty line, split at two or more blanks."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("------"):
            inside = True
        elif not line.strip():
            inside = False
        elif inside:
            lines.append([part.strip() for part in line.split("  ") if part.strip()])
    return lines
