"""Train, val, test, forget and retain as sorted index arrays: a pure function of data, groups, ratio and seed."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from datasets.base import TEST, TRAIN, VAL, GroupDataset, read_only
from utils.arrays import read_npz
from utils.errors import UserError
from utils.files import write_atomic

INDEX_SETS = ("train", "val", "test", "forget", "retain")


@dataclass(frozen=True, eq=False)
class Splits:
    """Sorted read-only int64 indices into the table; retain is train without forget. forget_groups: group ids.

    forget_fingerprint is None where nothing is forgotten (pretrain), and then forget is empty.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    forget: np.ndarray
    retain: np.ndarray
    forget_groups: tuple[int, ...]
    data_fingerprint: str
    forget_fingerprint: str | None


def make_splits(
    dataset: GroupDataset, forget_pairs: Sequence[tuple[int, int]], unlearning_ratio: float, seed: int
) -> Splits:
    """Forget the share `unlearning_ratio` of the groups in `forget_pairs` within train; nothing for no pairs.

    Forget sets of one seed are nested over ratios. UserError for a ratio outside (0, 1], one that forgets nothing or
    everything, and labels without train or val rows; test may be empty.
    """
    train, val, test = (np.flatnonzero(dataset.split == code) for code in (TRAIN, VAL, TEST))
    _refuse_empty(dataset, train=train, val=val)
    groups = tuple(sorted(target * dataset.n_sensitive + sensitive for target, sensitive in forget_pairs))
    forget = train[:0]
    if groups:
        union = train[np.isin(dataset.group[train], groups)]
        forget = _choose_forget(dataset, union, groups, unlearning_ratio, seed)
    retain = np.setdiff1d(train, forget, assume_unique=True)
    if not len(retain):
        raise UserError(
            f"--unlearning_ratio {unlearning_ratio} forgets all {len(train)} train samples of {dataset.name}, so its"
            " retain set is empty; expected at least one sample to keep, so give a smaller ratio or fewer groups"
        )
    return Splits(
        *(read_only(indices) for indices in (train, val, test, forget, retain)),
        forget_groups=groups,
        data_fingerprint=dataset.fingerprint,
        forget_fingerprint=_forget_fingerprint(dataset.fingerprint, forget) if groups else None,
    )


def seeded_order(purpose: str, seed: int, names: Iterable[str]) -> list[str]:
    """`names` sorted by SHA-256 of (purpose, seed, name): an order that no library's generator can change."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{purpose}:{seed}:{name}".encode()).digest())


def share_of(ratio: float, n: int) -> int:
    """floor(ratio * n) of the decimal number that was written: 0.58 of 50 is 29, not 28."""
    return int(Decimal(str(ratio)) * n)


def save_splits(path: Path, splits: Splits) -> None:
    """Write `splits` atomically as an npz file without pickles."""
    arrays = {name: getattr(splits, name) for name in INDEX_SETS}
    arrays["forget_groups"] = np.array(splits.forget_groups, dtype=np.int64)
    arrays["data_fingerprint"] = np.array(splits.data_fingerprint)
    arrays["forget_fingerprint"] = np.array(splits.forget_fingerprint or "")
    write_atomic(path, lambda file: np.savez(file, **arrays))


def load_splits(path: Path) -> Splits:
    """Read what `save_splits` wrote; UserError naming the file where it cannot be read."""
    try:
        *sets, groups, data, forget = read_npz(
            path, *INDEX_SETS, "forget_groups", "data_fingerprint", "forget_fingerprint"
        )
        return Splits(
            *map(read_only, sets),
            forget_groups=tuple(groups.tolist()),
            data_fingerprint=str(data),
            forget_fingerprint=str(forget) or None,
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"cannot read the splits {path} ({error}): run that command again with --overwrite") from None


def _refuse_empty(dataset: GroupDataset, **sets: np.ndarray) -> None:
    for name, rows in sets.items():
        if not len(rows):
            raise UserError(
                f"the {name} set of {dataset.name} is empty: its labels put none of {len(dataset)} rows there;"
                " expected at least one, so give labels that do"
            )


def _choose_forget(
    dataset: GroupDataset, union: np.ndarray, groups: tuple[int, ...], ratio: float, seed: int
) -> np.ndarray:
    if not 0 < ratio <= 1:
        raise UserError(f"--unlearning_ratio {ratio}: expected a number above 0 and up to 1")
    units = seeded_order("forget", seed, set(dataset.unit[union].tolist()))
    n_forget = share_of(ratio, len(units))
    if n_forget == 0:
        names = ", ".join(dataset.group_name(group) for group in groups)
        raise UserError(
            f"--unlearning_ratio {ratio} forgets no sample: {dataset.name} has {len(union)} train samples of"
            f" {names}; expected at least one, so give a larger ratio or other groups"
        )
    return union[np.isin(dataset.unit[union], units[:n_forget])]


def _forget_fingerprint(data_fingerprint: str, forget: np.ndarray) -> str:
    rows = ",".join(map(str, forget.tolist()))
    return hashlib.sha256(f"{data_fingerprint}:{rows}".encode()).hexdigest()
