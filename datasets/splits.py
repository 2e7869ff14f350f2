"""Train, val, test, forget and retain as sorted index arrays: a pure function of data, groups, ratio and seed."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from datasets.base import LEFT_OUT, TEST, TRAIN, VAL, GroupDataset, read_only
from utils.arrays import Array, read_npz
from utils.errors import UserError
from utils.files import write_atomic

INDEX_SETS = ("train", "val", "test", "forget", "retain")
FINGERPRINTS = ("data_fingerprint", "forget_fingerprint")
STORED = {
    **dict.fromkeys((*INDEX_SETS, "forget_groups"), Array("i")),
    **dict.fromkeys(FINGERPRINTS, Array("U", 0)),
}
STORED_IF_ANY = {"left_out": Array("i")}


@dataclass(frozen=True, eq=False)
class Splits:
    """Sorted read-only int64 indices into the table; retain is train without forget. forget_groups: group ids.

    forget_fingerprint is None where nothing is forgotten (pretrain), and then forget is empty. left_out: rows of the
    labels' train that no run trains on, and that are in none of the other sets.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    forget: np.ndarray
    retain: np.ndarray
    forget_groups: tuple[int, ...]
    data_fingerprint: str
    forget_fingerprint: str | None
    left_out: np.ndarray = field(default_factory=lambda: read_only(()))


def leave_out(dataset: GroupDataset, share: float, seed: int) -> GroupDataset:
    """The same table without the share of train that nobody trains on: the first floor(share * n) of its n units.

    To be asked before `make_splits`, which draws the forget set from what remains. 0 leaves the table as it is;
    UserError for another share that leaves out nothing.
    """
    if not share:
        return dataset
    train = _train(dataset)
    chosen = _draw_units("leave_out", dataset, train, share, seed)
    if not len(chosen):
        raise UserError(
            f"--leave_out {share} leaves out no sample: {dataset.name} has {len(train)} train samples; expected at"
            " least one, so give a larger share, or 0"
        )
    return dataset.leaving_out(chosen)


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
    val, test, left_out = (np.flatnonzero(dataset.split == code) for code in (VAL, TEST, LEFT_OUT))
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
        left_out=read_only(left_out),
    )


def seeded_order(purpose: str, seed: int, names: Iterable[str]) -> list[str]:
    """`names` sorted by SHA-256 of (purpose, seed, name): an order that no library's generator can change."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{purpose}:{seed}:{name}".encode()).digest())


def count_share(ratio: float, n: int) -> int:
    """floor(ratio * n) of the decimal number that was written: 0.58 of 50 is 29, not 28."""
    return int(Decimal(str(ratio)) * n)


def arrays_of(splits: Splits) -> dict[str, Any]:
    """The arrays of splits.npz; `left_out` is among them where it has rows."""
    arrays: dict[str, Any] = {name: getattr(splits, name) for name in INDEX_SETS}
    arrays |= {"left_out": splits.left_out} if len(splits.left_out) else {}
    arrays["forget_groups"] = np.array(splits.forget_groups, dtype=np.int64)
    arrays["data_fingerprint"] = np.array(splits.data_fingerprint)
    return arrays | {"forget_fingerprint": np.array(splits.forget_fingerprint or "")}


def save_splits(path: Path, splits: Splits) -> None:
    """Write `splits` atomically as an npz file without pickles."""
    write_atomic(path, lambda file: np.savez(file, **arrays_of(splits)))


def load_splits(path: Path) -> Splits:
    """Read what `save_splits` wrote; UserError naming the file where it cannot be read, or was changed since."""
    try:
        found = read_npz(path, STORED, STORED_IF_ANY)
        *sets, groups, data, fingerprint = found[: len(STORED)]
        sets += found[len(STORED) :] or [np.array([], dtype=np.int64)]
        train, val, test, forget, retain, left_out = map(read_only, sets)
        for name, rows in zip((*INDEX_SETS, *STORED_IF_ANY), sets, strict=True):
            if len(rows) and (rows[0] < 0 or (np.diff(rows) <= 0).any()):
                raise ValueError(f"{name} holds rows that are not sorted, not different, or below 0")
        if not np.array_equal(np.sort(np.concatenate([forget, retain])), train):
            raise ValueError("forget and retain are not the two parts of train")
        apart = np.sort(np.concatenate([train, val, test, left_out]))  # np.unique takes a hundred times as long
        if (np.diff(apart) == 0).any():
            raise ValueError("train, val, test and what is left out share rows")
        if (groups < 0).any():
            raise ValueError("forget_groups holds a number below 0")
        if str(fingerprint) and str(fingerprint) != forget_fingerprint(str(data), forget):
            raise ValueError("forget is not what its fingerprint says")
        forget_groups = tuple(groups.tolist())
        return Splits(train, val, test, forget, retain, forget_groups, str(data), str(fingerprint) or None, left_out)
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
    forget = _draw_units("forget", dataset, rows, ratio, seed)
    if not len(forget):
        raise UserError(
            f"--unlearning_ratio {ratio} forgets no sample: {dataset.name} has {len(rows)} train samples{whose};"
            " expected at least one, so give a larger ratio or other groups"
        )
    return forget


def _draw_units(purpose: str, dataset: GroupDataset, rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Those of `rows` that are of the first floor(share * n) of their n units in the seed's order."""
    units = seeded_order(purpose, seed, set(dataset.units(rows)))
    return _of_units(dataset, rows, units[: count_share(share, len(units))])


def _of_units(dataset: GroupDataset, rows: np.ndarray, units: Iterable[str]) -> np.ndarray:
    """Those of `rows` whose unit is one of these."""
    wanted = set(units)
    return rows[np.fromiter((unit in wanted for unit in dataset.units(rows)), dtype=np.bool_, count=len(rows))]


def forget_fingerprint(data_fingerprint: str, forget: np.ndarray) -> str:
    """SHA-256, hexadecimal, of the data fingerprint and the rows of a forget set."""
    rows = ",".join(map(str, forget.tolist()))
    return hashlib.sha256(f"{data_fingerprint}:{rows}".encode()).hexdigest()
