"""The README's picture says what the committed runs say."""

from pathlib import Path

import pytest
from cli import ROOT

from scripts import group_figure
from utils.errors import UserError

RUNS = ROOT / "docs/results/runs/digits.zip"


def test_rows_are_those_of_the_table():
    cells = group_figure.read_cells(RUNS, 0.9)
    assert list(cells) == list(group_figure.ROWS)
    assert {len(rows) for rows in cells.values()} == {5}
    means = {
        label: group_figure.interval([row.values["forget_group_acc"] for row in rows]) for label, rows in cells.items()
    }
    # docs/results/digits.md has 52.1 and 5.8, 71.7 and 6.2, 75.7 and 5.7; the interval is 1.24 deviations.
    for label, mean, deviation in (("retrain", 52.1, 5.8), ("retrain + reweight", 71.7, 6.2), ("miu", 75.7, 5.7)):
        assert means[label] == pytest.approx((mean, 1.2415 * deviation), abs=0.07)


def test_interval_is_students():
    assert group_figure.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.303 / 3**0.5))
    with pytest.raises(UserError, match="over 1 seeds"):
        group_figure.interval([1.0])


def test_picture_is_written(tmp_path: Path):
    out = tmp_path / "picture.png"
    assert group_figure.main([str(RUNS), "--ratio", "0.9", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "path, ratio, out, told",
    [
        ("digits.zip", "0.8", "picture.png", "0 tables of ratio 0.8"),
        ("group_dro.zip", "0", "picture.png", "no finished run of retrain,"),
        ("digits.zip", "0.9", "nowhere/picture.png", "cannot be written"),
    ],
)
def test_what_cannot_be_drawn(path: str, ratio: str, out: str, told: str, tmp_path: Path, capsys):
    assert group_figure.main([str(RUNS.parent / path), "--ratio", ratio, "--out", str(tmp_path / out)]) == 2
    assert told in capsys.readouterr().err
