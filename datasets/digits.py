"""Digits: real handwritten digits on tinted backgrounds, where the tint is a shortcut; no download."""

from functools import cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from datasets.base import TEST, TRAIN, VAL, GroupDataset

# Part of every path: change it together with anything below, so that models of other images do not fit these.
VERSION = "digits-v3"
N_DIGITS = {TRAIN: 1200, VAL: 300, TEST: 297}
N_DRAWINGS = 4
AGREEMENT = {TRAIN: 0.8, VAL: 0.5, TEST: 0.5}  # p(sensitive = target)
SIZE = 32
MAX_SHIFT, VIEW_SHIFT = 4, 6  # pixels: of a drawing in its frame, and of the training view
BASE_TINTS = np.array([[0.75, 0.45, 0.25], [0.25, 0.45, 0.75]], dtype=np.float32)  # warm, cold: RGB
TINT_SD, TINT_SCALE = 0.05, 0.7
INK_RANGE = (0.75, 1.0)  # brightness
NOISE_SD = 0.45
LABEL_STREAM, DRAWING_STREAM = 20270, 20251  # seeds of RandomState, whose streams numpy never changes


class Digits(GroupDataset):
    """Digits, embedded: a small task of this program's own with the effect that the paper is about.

    Input (x): the handwritten digits of scikit-learn, each drawn four times at 32 x 32 pixels, shifted, on a tinted
        background, with noise. Drawings of one digit share their tint and are forgotten together.
    Target (y): the digit: 0 below five, 1 five or more.
    Sensitive attribute (a): the tint: 0 warm, 1 cold; it is the target's with probability 0.8 in train, 0.5 elsewhere.
    Splits: fixed, by digit: 4,800 images of 1,200 digits train, 1,200 of 300 val, 1,188 of 297 test.
    Forget groups: high digits on a warm tint, (y, a) = (1, 0), 504 images in train.
    Source: `sklearn.datasets.load_digits`, which is the test set of
        https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits; the drawings are made here.
    Licence: of the digits that of the UCI page, as scikit-learn names none of its own; of the drawing this program's.
    Citation: Ethem Alpaydin and Cenk Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
        Repository, 1998.
    """

    name = "digits"
    folder: ClassVar[str] = ""
    built_in: ClassVar[str] = VERSION
    target_names = ("low digit", "high digit")
    sensitive_names = ("warm tint", "cold tint")
    forget_pairs: ClassVar[tuple[tuple[int, int], ...]] = ((1, 0),)
    view = "none"
    in_memory: ClassVar[bool] = True
    max_shift: ClassVar[int] = VIEW_SHIFT
    fixed_size: ClassVar[int | None] = SIZE
    group_format: ClassVar[str] = "{target}, {sensitive}"

    @classmethod
    def load(cls, data_dir: Path, split_number: int, seed: int) -> Self:
        """Make the table, which no argument changes: it needs no files and no seed. Images are drawn when asked for."""
        _, digit, split, tint = _digits()
        names = [f"{VERSION}/{number:04d}" for number in range(len(digit))]
        return cls(
            root=None,
            path=[f"{name}-{drawing}" for name in names for drawing in range(N_DRAWINGS)],
            target=_per_drawing(digit >= 5),
            sensitive=_per_drawing(tint),
            split=_per_drawing(split),
            target_names=cls.target_names,
            sensitive_names=cls.sensitive_names,
            unit=[name for name in names for _ in range(N_DRAWINGS)],
        )

    @property
    def pixels(self) -> np.ndarray:  # type: ignore[override]  # drawn when asked for: nobody assigns these
        """Every image, uint8 (n, 3, 32, 32), drawn once in a process."""
        return _draw()


@cache
def _digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the n digits: (n, 8, 8) ink from 0 to 1, and (n,) values, splits and tints."""
    # Here, because importing scikit-learn takes a second and the configuration needs only the class above.
    from sklearn.datasets import load_digits

    source = load_digits()
    stream = np.random.RandomState(LABEL_STREAM)
    split = np.repeat(list(N_DIGITS), list(N_DIGITS.values()))[stream.permutation(len(source.target))]
    agrees = stream.random_sample(len(split)) < np.vectorize(AGREEMENT.get)(split)
    high = source.target >= 5
    return source.images / 16, source.target, split, np.where(agrees, high, ~high).astype(np.int64)


@cache
def _draw() -> np.ndarray:
    """(n, 3, 32, 32) uint8, the drawings of a digit one after the other.

    One stream draws every digit once, then every digit again, so that as floats only one drawing of each is there.
    """
    ink, _, _, tint = _digits()
    stream, shapes = np.random.RandomState(DRAWING_STREAM), _enlarged(ink)
    drawings = np.empty((len(ink), N_DRAWINGS, 3, SIZE, SIZE), dtype=np.uint8)
    for drawing in range(N_DRAWINGS):
        drawings[:, drawing] = _drawn_once(shapes, tint, stream)
    pixels = drawings.reshape(-1, 3, SIZE, SIZE)
    pixels.setflags(write=False)
    return pixels


def _drawn_once(shapes: np.ndarray, tint: np.ndarray, stream: np.random.RandomState) -> np.ndarray:
    """Tinted background, shifted digit in bright ink over it, pixel noise over both; uint8 (n, 3, 32, 32)."""
    n = len(shapes)
    shifts = stream.randint(-MAX_SHIFT, MAX_SHIFT + 1, size=(n, 2))
    background = TINT_SCALE * (BASE_TINTS[tint] + stream.normal(0, TINT_SD, size=(n, 3)))
    brightness = stream.uniform(*INK_RANGE, size=(n, 1, 1)).astype(np.float32)
    shape = _shifted(shapes, shifts)[:, None].astype(np.float32)
    images = background[:, :, None, None].astype(np.float32) * (1 - shape) + brightness[:, None] * shape
    images += NOISE_SD * stream.normal(size=images.shape).astype(np.float32)
    return (images.clip(0, 1) * 255).round().astype(np.uint8)


def _per_drawing(values: np.ndarray) -> np.ndarray:
    """Values of n digits as values of their n * N_DRAWINGS drawings."""
    return np.repeat(values, N_DRAWINGS, axis=0)


def _enlarged(ink: np.ndarray) -> np.ndarray:
    """(n, 8, 8) to (n, 32, 32), bilinear between pixel centres."""
    n_small = ink.shape[-1]
    centres = ((np.arange(SIZE) + 0.5) * n_small / SIZE - 0.5).clip(0, n_small - 1)
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(n_small)))
    return weights @ ink @ weights.T


def _shifted(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Move image i by shifts[i] = (down, right) pixels; what comes in from outside is empty."""
    padded = np.pad(images, ((0, 0), (MAX_SHIFT, MAX_SHIFT), (MAX_SHIFT, MAX_SHIFT)))
    rows, columns = (MAX_SHIFT - shifts[:, axis, None] + np.arange(SIZE) for axis in (0, 1))
    return padded[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
