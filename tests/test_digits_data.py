"""The embedded data set: sizes, tints, units, and images that are the same every time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.digits import BASE_TINTS, SIZE, Digits, _draw, _enlarged, _shifted
from datasets.groups import forget_groups
from datasets.splits import make_splits

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def digits():
    return Digits.load(Path("nowhere"), split_number=0, seed=0)


def test_four_drawings_of_1797_digits_split_by_digit(digits):
    assert np.bincount(digits.split).tolist() == [4800, 1200, 1188]
    units, drawings = np.unique(digits.unit, return_counts=True)
    assert len(units) == 1797
    assert set(drawings) == {4}
    for labels in (digits.target, digits.sensitive, digits.split, digits.unit):
        by_digit = labels.reshape(-1, 4)
        assert (by_digit == by_digit[:, :1]).all()


@pytest.mark.parametrize("split, expected", [(0, 0.8), (1, 0.5), (2, 0.5)])
def test_tint_agrees_with_target_as_often_as_said(digits, split, expected):
    rows = (digits.split == split)[0::4]
    agreement = (digits.target == digits.sensitive)[0::4][rows].mean()
    assert agreement == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / rows.sum()))


def test_target_is_digit_of_at_least_five(digits):
    # scikit-learn's table has 901 digits below five and 896 above.
    assert np.bincount(digits.target[0::4]).tolist() == [901, 896]
    assert digits.group_name(2) == "high digit, warm tint"


def test_images(digits):
    pixels = digits.pixels
    assert pixels.shape == (7188, 3, SIZE, SIZE)
    assert pixels.dtype == np.uint8
    assert len(np.unique(pixels[:4].reshape(4, -1), axis=0)) == 4, "the drawings of a digit differ"
    # Warm backgrounds are redder, cold ones bluer, by the same margin whatever the digit.
    redness = pixels[:, 0].mean(axis=(1, 2)) - pixels[:, 2].mean(axis=(1, 2))
    assert redness[digits.sensitive == 0].mean() > 30
    assert redness[digits.sensitive == 1].mean() < -30
    assert (redness > 0).mean() == pytest.approx((digits.sensitive == 0).mean(), abs=0.05)


def test_images_depend_on_no_seed_and_leave_the_global_generator_alone(digits):
    before = digits.pixels
    np.random.seed(5)
    state = np.random.get_state()[1].copy()
    _draw.cache_clear()
    again = Digits.load(Path("elsewhere"), split_number=0, seed=9)
    assert (again.pixels == before).all()
    assert again.fingerprint == digits.fingerprint
    assert (np.random.get_state()[1] == state).all()


def test_enlarging_keeps_flat_images_flat_and_means():
    flat = np.full((1, 8, 8), 0.5)
    assert _enlarged(flat) == pytest.approx(np.full((1, SIZE, SIZE), 0.5))
    point = np.zeros((1, 8, 8))
    point[0, 3, 4] = 1
    large = _enlarged(point)[0]
    assert large.sum() == pytest.approx(16)
    assert np.unravel_index(large.argmax(), large.shape) in {(13, 17), (14, 18), (13, 18), (14, 17)}


def test_shift_moves_down_and_right_and_fills_with_nothing():
    image = np.zeros((2, SIZE, SIZE))
    image[:, 10, 20] = 1
    image[:, 0, 0] = 1
    moved = _shifted(image, np.array([[2, -3], [-4, 4]]))
    assert np.argwhere(moved[0]).tolist() == [[12, 17]], "what leaves the image is gone"
    assert np.argwhere(moved[1]).tolist() == [[6, 24]]
    assert np.argwhere(_shifted(image[:1], np.array([[1, 1]]))[0]).tolist() == [[1, 1], [11, 21]]


def test_tints_mirror_each_other():
    assert (BASE_TINTS[0] == BASE_TINTS[1][::-1]).all()


def test_all_drawings_of_a_digit_are_forgotten_together(digits):
    splits = make_splits(digits, forget_groups(digits, 0, None), 0.9, seed=1)
    union = splits.train[digits.group[splits.train] == 2]
    n_units = len(union) // 4
    assert len(splits.forget) == 4 * (n_units * 9 // 10)
    assert not set(digits.unit[splits.forget]) & set(digits.unit[splits.retain])


def test_class_facts_need_neither_scikit_learn_nor_torch():
    code = "import sys, datasets.digits, datasets.celeba, datasets.fairface, datasets.waterbird, datasets.groups\n"
    code += "assert not {'sklearn', 'torch', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
