"""What one prediction pass leaves behind: a row per sample, from which every metric can be recomputed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from datasets.base import LEFT_OUT, TEST, TRAIN, VAL
from datasets.splits import Splits
from utils.arrays import Array, read_npz
from utils.errors import Diverged, RunError, UserError
from utils.files import write_atomic

COLUMNS = {
    **dict.fromkeys(("index", "split", "target", "sensitive", "group"), Array("i")),
    "logits": Array("f", 2),
    "prediction": Array("i"),
    **dict.fromkeys(("loss", "confidence"), Array("f")),
}
BF16_COLUMNS = {"bf16_logits": Array("f", 2), "bf16_loss": Array("f")}
SETS = {TRAIN: "train", VAL: "val", TEST: "test", LEFT_OUT: "left_out"}  # the codes of `Records.split`
REMEDY = "run that command again with --overwrite"


@dataclass(frozen=True, eq=False)
class Records:
    """Read-only arrays of equal length n, in the order of the pass; `index` is the row of the data set's table.

    split: 0 train, 1 val, 2 test, 3 left out of train. logits: (n, C) float32. loss: cross-entropy of the target in
    nats, confidence: the probability of the target, both float64 and computed from the logits in float64. bf16_logits,
    bf16_loss: those of a second pass in bf16, which float32 and float64 hold exactly; None without one.
    """

    index: np.ndarray
    split: np.ndarray
    target: np.ndarray
    sensitive: np.ndarray
    group: np.ndarray
    logits: np.ndarray
    prediction: np.ndarray
    loss: np.ndarray
    confidence: np.ndarray
    bf16_logits: np.ndarray | None = None
    bf16_loss: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            if len(array) != len(self.index):
                raise ValueError(f"{name} has {len(array)} rows, index has {len(self.index)}")
            array.setflags(write=False)

    @property
    def arrays(self) -> dict[str, Any]:
        """The columns that are there, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in values.items() if array is not None}

    @classmethod
    def from_logits(
        cls,
        index: np.ndarray,
        split: np.ndarray,
        target: np.ndarray,
        sensitive: np.ndarray,
        group: np.ndarray,
        logits: np.ndarray,
        bf16_logits: np.ndarray | None = None,
        bf16_loss: np.ndarray | None = None,
    ) -> Self:
        """Records of n samples with (n, C) logits; Diverged if a logit is not finite. A tie goes to the first class.

        bf16_logits, bf16_loss: (n, C) and (n,) of a second pass, both or neither.
        """
        index, split, target, sensitive, group = (
            np.array(column, dtype=np.int64) for column in (index, split, target, sensitive, group)
        )
        logits = np.array(logits, dtype=np.float32)
        _refuse_non_finite(index, logits)
        loss = _cross_entropy(logits.astype(np.float64), target)
        found = cls(index, split, target, sensitive, group, logits, logits.argmax(axis=1), loss, np.exp(-loss))
        if bf16_logits is None or bf16_loss is None:
            return found
        _refuse_non_finite(index, bf16_logits)
        return replace(
            found,
            bf16_logits=np.array(bf16_logits, dtype=np.float32),
            bf16_loss=np.array(bf16_loss, dtype=np.float64),
        )

    @property
    def published(self) -> Self:
        """The records as the published code takes accuracies and losses: of the pass in bf16, where there is one."""
        if self.bf16_logits is None or self.bf16_loss is None:
            return self
        return replace(
            self,
            logits=self.bf16_logits,
            prediction=self.bf16_logits.argmax(axis=1),
            loss=self.bf16_loss,
            confidence=np.exp(-self.bf16_loss),
        )

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is the target; bool (n,)."""
        return self.prediction == self.target

    @property
    def log_odds(self) -> np.ndarray:
        """phi = log p_y - log(1 - p_y) of the target y, float64 (n,), from the logits, so finite where p_y rounds to 1.

        Carlini et al., Membership Inference Attacks From First Principles (LiRA), 2022, section V-B.
        """
        logits, rows = self.logits.astype(np.float64), np.arange(len(self))
        own = logits[rows, self.target]
        logits[rows, self.target] = -np.inf
        return own - np.logaddexp.reduce(logits, axis=1)

    def __len__(self) -> int:
        return len(self.index)

    def select(self, rows: np.ndarray) -> Self:
        """The records of these rows of the data set's table, in their order; RunError for a row not recorded."""
        rows = np.asarray(rows, dtype=np.int64)
        order = np.argsort(self.index, kind="stable")
        place = np.searchsorted(self.index, rows, sorter=order)
        found = place < len(self)
        found[found] = self.index[order[place[found]]] == rows[found]
        if not found.all():
            raise RunError(
                f"the records lack row {rows[~found][0]} of the table ({np.count_nonzero(~found)} of {len(rows)} rows"
                " asked for): they belong to another data set or split; run the evaluation again with --overwrite"
            )
        chosen = order[place]
        return type(self)(**{name: array[chosen] for name, array in self.arrays.items()})

    def save(self, path: Path) -> None:
        """Write the records atomically as an npz file without pickles."""
        write_atomic(path, lambda file: np.savez(file, **self.arrays))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; UserError naming the file where it cannot be read, or was changed since."""
        try:
            found = cls(*read_npz(path, COLUMNS, BF16_COLUMNS))
            _refuse_changed(found)
        except (ValueError, TypeError) as error:
            raise UserError(_unreadable(path, error)) from None
        return found


def check_belonging(records: Records, splits: Splits, stored: Mapping[str, Any], where: Path) -> None:
    """UserError where records, splits and a checked config.yaml, whose file is `where`, are not of one run."""
    groups = stored.get("groups")
    if groups is None:
        raise UserError(f"{where} has no groups: {REMEDY}")
    n_targets, n_sensitive = groups["n_targets"], groups["n_sensitive"]
    places = records.target * n_sensitive + records.sensitive
    inside = (records.target < n_targets) & (records.sensitive < n_sensitive) & (records.group == places)
    if not inside.all() or any(group >= n_targets * n_sensitive for group in splits.forget_groups):
        counts = f"{n_targets} targets and {n_sensitive} sensitive values"
        raise UserError(f"{where} has {counts}, and the records or splits have others: {REMEDY}")
    forgets = (stored.get("fingerprints") or {}).get("forget")
    if forgets != splits.forget_fingerprint:
        raise UserError(f"{where} has another forget fingerprint than the splits have: {REMEDY}")
    if other := other_set(records, splits):
        raise UserError(
            f"{where}: the records hold other {other} samples than the splits, so one is of another run: {REMEDY}"
        )


def other_set(records: Records, splits: Splits) -> str:
    """The first set whose rows in the records are not those of the splits; empty where all are alike."""
    for code, name in SETS.items():
        if not np.array_equal(np.sort(records.index[records.split == code]), getattr(splits, name)):
            return name
    return ""


def load_losses(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Index and loss (n,) of a records file, read alone; UserError naming the file where it cannot be read."""
    try:
        index, loss = read_npz(path, {name: COLUMNS[name] for name in ("index", "loss")})
        if len(index) != len(loss):
            raise ValueError(f"loss has {len(loss)} rows, index has {len(index)}")
        _refuse_rows(index)
        _refuse_losses(loss)
    except ValueError as error:
        raise UserError(_unreadable(path, error)) from None
    return index, loss


def _refuse_changed(found: Records) -> None:
    """ValueError where the columns are not what one pass leaves behind."""
    _refuse_rows(found.index)
    n_classes = found.logits.shape[1]
    for name, most in (("split", len(SETS)), ("target", n_classes), ("sensitive", None), ("group", None)):
        column = getattr(found, name)
        if len(column) and (column.min() < 0 or (most is not None and column.max() >= most)):
            expected = "0 and more" if most is None else f"0 to {most - 1}"
            raise ValueError(f"{name} holds {column.min()} to {column.max()}, expected {expected}")
    if not np.isfinite(found.logits).all():
        raise ValueError("logits holds what is no finite number")
    _refuse_losses(found.loss)
    if not len(found):
        return
    _refuse_changed_bf16(found)
    if not np.array_equal(found.prediction, found.logits.argmax(axis=1)):
        raise ValueError("prediction is not the class of the largest logit")
    loss = _cross_entropy(found.logits.astype(np.float64), found.target)
    # Written on another machine, exponentials can differ in their last digits.
    if not (np.allclose(found.loss, loss, 1e-6, 1e-300) and np.allclose(found.confidence, np.exp(-loss), 1e-6, 1e-300)):
        raise ValueError("loss or confidence is not that of the logits")


def _refuse_changed_bf16(found: Records) -> None:
    """ValueError where the second pass is none in bf16, or is not of these samples."""
    logits, loss = found.bf16_logits, found.bf16_loss
    if logits is None or loss is None:
        return
    _refuse_losses(loss)
    if logits.shape != found.logits.shape:
        raise ValueError(f"bf16_logits has the shape {logits.shape}, logits {found.logits.shape}")
    for name, array in (("bf16_logits", logits), ("bf16_loss", loss)):
        if not (np.isfinite(array).all() and _is_bf16(array)):
            raise ValueError(f"{name} holds what is no finite number of bf16")
    # Rounded to eight bits, after a sum over the classes in float32 that is 1 and more.
    slack = logits.shape[1] * 2.0**-20
    if not np.allclose(loss, _cross_entropy(logits.astype(np.float64), found.target), 2.0**-7, slack):
        raise ValueError("bf16_loss is not that of bf16_logits")


def _is_bf16(array: np.ndarray) -> bool:
    """Whether the upper half of a float32 holds every number."""
    short = array.astype(np.float32)
    return np.array_equal(short, array) and not np.count_nonzero(short.view(np.uint32) & 0xFFFF)


def _refuse_rows(index: np.ndarray) -> None:
    if len(index) and (index.min() < 0 or len(np.unique(index)) != len(index)):
        raise ValueError("index holds a row twice, or one below 0")


def _refuse_losses(loss: np.ndarray) -> None:
    if not (np.isfinite(loss).all() and (loss >= 0).all()):
        raise ValueError("loss holds what is no finite number from 0")


def _unreadable(path: Path, error: Exception) -> str:
    return f"cannot read the records in {path} ({error}): {REMEDY}"


def _refuse_non_finite(index: np.ndarray, logits: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise Diverged(
            f"the logits of {len(bad)} of {len(logits)} samples are not finite (the first is row {index[bad[0]]} of the"
            " table): training has diverged; lower the learning rate or clip gradients with --max_grad_norm"
        )


def _cross_entropy(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """log sum_c exp(l_c) - l_target, float64 (n,), never negative.

    The class with the largest logit contributes exp(0) = 1 to the sum, so log1p over the others keeps losses far
    below the spacing of float64 around 1: the published attack ranks samples by them.
    """
    rows = np.arange(len(logits))
    largest = logits.argmax(axis=1)
    top = logits[rows, largest]
    others = np.exp(logits - top[:, None])
    others[rows, largest] = 0.0
    return np.log1p(others.sum(axis=1)) + (top - logits[rows, target])
