"""What a finished run prints, whatever its metrics.json holds."""

from pathlib import Path

import pytest

from method.runs.directory import RunDirectory
from method.runs.summary import summary


def test_the_published_columns(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"test_acc": 52.25, "mia": null, "other": 3}')
    head, rule, line, done = summary(RunDirectory(tmp_path)).splitlines()
    assert (head.split(), line.split()) == (["TA", "MIA"], ["52.2", "-"])
    assert done == f"done: {tmp_path}"
    (tmp_path / "metrics.json").write_text("{}")
    assert summary(RunDirectory(tmp_path)) == f"done: {tmp_path}"


@pytest.mark.parametrize("text", ['{"test_acc": "high"}', '{"test_acc": [1]}', "[]", "", '{"test_acc": 1e400}', None])
def test_metrics_that_cannot_be_read_are_said_to_be(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    (line,) = summary(RunDirectory(tmp_path)).splitlines()
    assert line.startswith(f"done: {tmp_path}, but its metrics.json cannot be read (")
    assert line.endswith("--overwrite makes it anew")
