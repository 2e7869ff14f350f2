"""Findings of an audit: written, read back, and refused where the file is not as described."""

import json

import numpy as np
import pytest

from method.evaluation.records import Records
from method.runs.findings import Finding, read_findings, write_findings
from utils.errors import UserError

TABLE = ("digits", "small_cnn", 32, "none", "split0", 0.9)


def test_findings_are_read_as_they_were_written(tmp_path):
    found = [
        Finding("lira_auc", TABLE, "miu", 61.5, group="high, warm", low=58.0, high=65.0, placebo=50.2, n=450, runs=64),
        Finding("relearn_acc", TABLE, "miu", None, at={"forgotten_samples": 5, "step": 20}, reason="no sample is left"),
    ]
    write_findings(tmp_path / "audit.json", found, {"seeds": [0, 1]})
    assert read_findings(tmp_path / "audit.json") == (found, {"version": 1, "seeds": [0, 1]})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot read"),
        ({"version": 1}, "has no findings"),
        ({"version": 2, "findings": []}, "version is 2"),
        ({"version": 1, "findings": [{"measure": "x", "table": [], "label": "y", "value": "high"}]}, "value is 'high'"),
    ],
)
def test_a_file_that_is_not_as_described_is_refused(tmp_path, content, told):
    file = tmp_path / "audit.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=told):
        read_findings(file)


def test_log_odds_are_those_of_the_target_and_finite_where_its_probability_rounds_to_one():
    rows = np.zeros(3, dtype=int)
    logits = np.array([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0], [800.0, 0.0, 0.0]])
    records = Records.from_logits(np.arange(3), rows, np.array([0, 0, 0]), rows, rows, logits)
    own = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert records.log_odds[0] == pytest.approx(np.log(own[0] / (1 - own[0])))
    assert records.log_odds[1] == pytest.approx(-np.log(np.exp(2) + 1))
    assert records.log_odds[2] == pytest.approx(800 - np.log(2))
