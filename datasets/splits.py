"""Train, val, test, forget and retain as sorted index arrays: a pure function of data, groups, ratio and seed."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import TEST, TRAIN, VAL, GroupDataset, read_only
from utils.arrays import Array, read_npz
from utils.errors import UserError
from utils.files import write_atomic

INDEX_SETS = ("train", "val", "test", "forget", "retain")
FINGERPRINTS = ("data_fingerprint", "forget_fingerprint")
STORED = {
    **dict.fromkeys((*INDEX_SETS, "forget_groups"), Array("i")),
    **dict.fromkeys(FINGERPRINTS, Array("U", 0)),
}


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
    train = _train(dataset)
    groups = tuple(sorted(target * dataset.n_sensitive + sensitive for target, sensitive in forget_pairs))
    if not groups:
        return _splits(dataset, train, None, "pretrain", groups)
    union = train[np.isin(dataset.group[train], groups)]
    whose = f" of {', '.join(dataset.group_name(group) for group in groups)}"
    forget = _choose_forget(dataset, union, whose, unlearning_ratio, seed)
    return _splits(dataset, train, forget, f"--unlearning_ratio {unlearning_ratio}", groups)


def make_random_splits(dataset: GroupDataset, unlearning_ratio: float, seed: int) -> Splits:
    """Forget the share `unlearning_ratio` of train whatever the group; UserError as for `make_splits`."""
    train = _train(dataset)
    forget = _choose_forget(dataset, train, "", unlearning_ratio, seed)
    return _splits(dataset, train, forget, f"--unlearning_ratio {unlearning_ratio}")


def make_listed_splits(dataset: GroupDataset, rows: np.ndarray) -> Splits:
    """Forget these rows of train, and what in train is forgotten together with them.

    UserError where that is nothing, or all.
    """
    train = _train(dataset)
    if not len(rows):
        raise UserError(
            "--forget_list names no image that is left in train, as those that cannot be read are left out; nothing is"
            " to be forgotten, so do without this run"
        )
    return _splits(dataset, train, _of_units(dataset, train, dataset.units(rows)), "--forget_list")


def _train(dataset: GroupDataset) -> np.ndarray:
    train, val = (np.flatnonzero(dataset.split == code) for code in (TRAIN, VAL))
    _refuse_empty(dataset, train=train, val=val)
    return train


def _splits(
    dataset: GroupDataset,
    train: np.ndarray,
    forget: np.ndarray | None,
    cause: str,
    groups: tuple[int, ...] | None = None,
) -> Splits:
    """The splits that forget these rows of train (None: pretrain), as `cause` says; groups: None for those of rows."""
    val, test = (np.flatnonzero(dataset.split == code) for code in (VAL, TEST))
    forgotten = train[:0] if forget is None else forget
    retain = np.setdiff1d(train, forgotten, assume_unique=True)
    if not len(retain):
        raise UserError(
            f"{cause} forgets all {len(train)} train samples of {dataset.name}, so its retain set is empty; expected at"
            " least one sample to keep, so give a smaller ratio, fewer groups or a shorter list"
        )
    fingerprint = dataset.fingerprint
    return Splits(
        train=read_only(train),
        val=read_only(val),
        test=read_only(test),
        forget=read_only(forgotten),
        retain=read_only(retain),
        forget_groups=tuple(np.unique(dataset.group[forgotten]).tolist()) if groups is None else groups,
        data_fingerprint=fingerprint,
        forget_fingerprint=None if forget is None else forget_fingerprint(fingerprint, forget),
    )


def seeded_order(purpose: str, seed: int, names: Iterable[str]) -> list[str]:
    """`names` sorted by SHA-256 of (purpose, seed, name): an order that no library's generator can change."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{purpose}:{seed}:{name}".encode()).digest())


def count_share(ratio: float, n: int) -> int:
    """floor(ratio * n) of the decimal number that was written: 0.58 of 50 is 29, not 28."""
    return int(Decimal(str(ratio)) * n)


def arrays_of(splits: Splits) -> dict[str, Any]:
    """The arrays of splits.npz."""
    arrays: dict[str, Any] = {name: getattr(splits, name) for name in INDEX_SETS}
    arrays["forget_groups"] = np.array(splits.forget_groups, dtype=np.int64)
    arrays["data_fingerprint"] = np.array(splits.data_fingerprint)
    return arrays | {"forget_fingerprint": np.array(splits.forget_fingerprint or "")}


def save_splits(path: Path, splits: Splits) -> None:
    """Write `splits` atomically as an npz file without pickles."""
    write_atomic(path, lambda file: np.savez(file, **arrays_of(splits)))


def load_splits(path: Path) -> Splits:
    """Read what `save_splits` wrote; UserError naming the file where it cannot be read, or was changed since."""
    try:
        *sets, groups, data, fingerprint = read_npz(path, STORED)
        train, val, test, forget, retain = map(read_only, sets)
        for name, rows in zip(INDEX_SETS, sets, strict=True):
            if len(rows) and (rows[0] < 0 or (np.diff(rows) <= 0).any()):
                raise ValueError(f"{name} holds rows that are not sorted, not different, or below 0")
        if not np.array_equal(np.sort(np.concatenate([forget, retain])), train):
            raise ValueError("forget and retain are not the two parts of train")
        if len(np.unique(np.concatenate([train, val, test]))) != len(train) + len(val) + len(test):
            raise ValueError("train, val and test share rows")
        if (groups < 0).any():
            raise ValueError("forget_groups holds a number below 0")
        if str(fingerprint) and str(fingerprint) != forget_fingerprint(str(data), forget):
            raise ValueError("forget is not what its fingerprint says")
        forget_groups = tuple(groups.tolist())
        return Splits(train, val, test, forget, retain, forget_groups, str(data), str(fingerprint) or None)
    except (ValueError, TypeError) as error:
        raise UserError(f"cannot read the splits {path} ({error}): run that command again with --overwrite") from None


def _refuse_empty(dataset: GroupDataset, **sets: np.ndarray) -> None:
    for name, rows in sets.items():
        if not len(rows):
            raise UserError(
                f"the {name} set of {dataset.name} is empty: its labels put none of {len(dataset)} rows there;"
                " expected at least one, so give labels that do"
            )


def _choose_forget(dataset: GroupDataset, rows: np.ndarray, whose: str, ratio: float, seed: int) -> np.ndarray:
    """The first floor(ratio * n) of the units of `rows` in the seed's order."""
    if not 0 < ratio <= 1:
        raise UserError(f"--unlearning_ratio {ratio}: expected a number above 0 and up to 1")
    units = seeded_order("forget", seed, set(dataset.units(rows)))
    n_forget = count_share(ratio, len(units))
    if n_forget == 0:
        raise UserError(
            f"--unlearning_ratio {ratio} forgets no sample: {dataset.name} has {len(rows)} train samples{whose};"
            " expected at least one, so give a larger ratio or other groups"
        )
    return _of_units(dataset, rows, units[:n_forget])


def _of_units(dataset: GroupDataset, rows: np.ndarray, units: Iterable[str]) -> np.ndarray:
    """Those of `rows` whose unit is one of these."""
    wanted = set(units)
    return rows[np.fromiter((unit in wanted for unit in dataset.units(rows)), dtype=np.bool_, count=len(rows))]


def forget_fingerprint(data_fingerprint: str, forget: np.ndarray) -> str:
    """SHA-256, hexadecimal, of the data fingerprint and the rows of a forget set."""
    rows = ",".join(map(str, forget.tolist()))
    return hashlib.sha256(f"{data_fingerprint}:{rows}".encode()).hexdigest()
