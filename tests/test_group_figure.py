"""The README's picture says what the committed runs say."""

from pathlib import Path
from typing import Any

import pytest
from cli import ROOT

from scripts import group_figure

pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
RUNS = ROOT / "docs/results/runs/digits.zip"


@pytest.fixture(scope="module")
def table() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return group_figure.read_table(RUNS, 0.9)


def test_rows_are_those_of_the_table(table):
    table, columns = table
    assert [cell["label"] for cell in table["cells"]] == list(group_figure.ROWS)
    spec = group_figure.draw(table, columns)
    assert spec["title"]["text"] == "Test accuracy of the group of which 90 % was forgotten"
    assert "5 seeds each." in " ".join(spec["title"]["subtitle"])
    rows = {row["name"]: row for row in spec["data"]["values"]}
    # docs/results/digits.md has 52.1 and 5.8, 71.7 and 6.2, 75.7 and 5.7; the interval is 1.24 deviations.
    for name, mean, deviation in (("Retrained", 52.1, 5.8), ("Retrained + REWEIGHT", 71.7, 6.2), ("MIU", 75.7, 5.7)):
        found = rows[name]["value"], rows[name]["high"] - rows[name]["value"]
        assert found == pytest.approx((mean, 1.2415 * deviation), abs=0.07)


def test_picture_is_written(table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(group_figure, "read_table", lambda path, ratio: table)
    out = tmp_path / "picture.png"
    assert group_figure.main([str(RUNS), "--ratio", "0.9", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert group_figure.main([str(RUNS), "--ratio", "0.9", "--out", str(tmp_path / "nowhere/picture.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path, ratio, told",
    [("digits.zip", "0.8", "0 tables of ratio 0.8"), ("group_dro.zip", "0", "no finished run of retrain,")],
)
def test_what_cannot_be_drawn(path: str, ratio: str, told: str, tmp_path: Path, capsys):
    out = str(tmp_path / "picture.png")
    assert group_figure.main([str(RUNS.parent / path), "--ratio", ratio, "--out", out]) == 2
    assert told in capsys.readouterr().err
