"""ECE and AUROC by hand and against scikit-learn, of all test samples and by group."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from method.evaluation.calibration import add_by_group, calibration_error, log_odds, ranking
from method.evaluation.metrics import Undefined
from method.evaluation.records import Records


def of(target: list[int], sensitive: list[int], probability: np.ndarray) -> Records:
    """Test records with these probabilities (n, C)."""
    n = np.arange(len(target))
    group = 2 * np.array(target, dtype=np.int64) + np.array(sensitive, dtype=np.int64)
    return Records.from_logits(n, np.full(len(n), 2), target, sensitive, group, np.log(probability))


def binary(*second: float) -> np.ndarray:
    return np.stack([1 - np.array(second), second], axis=1)


def test_ece_by_hand():
    """Two bins: two samples at 0.9, one right: |1 - 1.8| = 0.8. Two at 0.6, both right: |2 - 1.2| = 0.8."""
    test = of([1, 0, 1, 0], [0, 0, 0, 0], binary(0.9, 0.9, 0.6, 0.4))
    assert calibration_error(test) == pytest.approx(100 * (0.8 + 0.8) / 4, abs=1e-4)


def test_a_certain_model_that_is_right_has_no_error_and_one_that_is_wrong_all_of_it():
    right = of([0, 1], [0, 0], np.array([[1 - 1e-12, 1e-12], [1e-12, 1 - 1e-12]]))
    assert calibration_error(right) == pytest.approx(0, abs=1e-6)
    wrong = of([1, 0], [0, 0], np.array([[1 - 1e-12, 1e-12], [1e-12, 1 - 1e-12]]))
    assert calibration_error(wrong) == pytest.approx(100, abs=1e-6)


def test_auroc_is_scikit_learns():
    chance = np.random.default_rng(0)
    target = chance.integers(0, 3, 300)
    probability = chance.dirichlet((1, 1, 1), 300)
    test = of(target.tolist(), [0] * 300, probability)
    expected = roc_auc_score(target, probability, multi_class="ovr", average="macro")
    assert ranking(test) == pytest.approx(100 * expected)


def test_samples_are_told_apart_where_their_probabilities_round_to_one():
    logits = np.array([[0, 50], [0, 60], [70, 0]], dtype=np.float32)
    test = Records.from_logits(np.arange(3), [2] * 3, [1, 1, 0], [0] * 3, [2, 2, 0], logits)
    assert log_odds(test)[:, 1] == pytest.approx([50, 60, -70])


def test_by_group_by_hand():
    """Sensitive value 0: p(1) of 0.9 and 0.3 against 0.4 and 0.2, three of four pairs in order; value 1: one group."""
    test = of([1, 1, 0, 0, 1], [0, 0, 0, 0, 1], binary(0.9, 0.3, 0.4, 0.2, 0.8))
    rows = [{"id": group} for group in range(4)]
    add_by_group(rows, test, 2)
    assert [row["test_auroc"] for row in rows] == [75.0, None, 75.0, None]
    ece = [40 / 2 + 20 / 2, None, 100 * (0.1 + 0.7) / 2, 20]  # each sample in a bin of its own
    assert [row["test_ece"] for row in rows] == [one if one is None else pytest.approx(one, abs=1e-4) for one in ece]


def test_what_the_samples_do_not_determine_is_undefined():
    empty = of([], [], np.empty((0, 2)))
    with pytest.raises(Undefined, match="no test sample"):
        calibration_error(empty)
    with pytest.raises(Undefined, match="fewer than two targets"):
        ranking(of([1, 1], [0, 1], binary(0.9, 0.4)))
