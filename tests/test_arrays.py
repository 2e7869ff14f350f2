"""Archives of arrays that nobody vouches for: no bomb is unpacked, and what comes back is what was expected."""

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cli import ROOT
from damaged_runs import set_array

from datasets.splits import load_splits
from method.evaluation.records import Records, load_losses
from utils.arrays import Array, read_npz
from utils.errors import UserError

RUN = next((ROOT / "tests/golden/output").rglob("retrain_0.9_0"))


def header(shape: str, dtype: str = "<i8", order: str = "False") -> bytes:
    """The first bytes of an .npy file."""
    text = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def archive(file: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in members:
            made.writestr(name, content)
    return file


@pytest.fixture(autouse=True)
def in_little_memory():
    """Whatever is claimed, no case takes much."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back_as_they_were(tmp_path: Path, compressed: bool) -> None:
    arrays = {"a": np.arange(7), "b": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "c": np.array("text")}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **arrays)
    expected = {"a": Array("i"), "b": Array("f", 2), "c": Array("U", 0)}
    for found, array in zip(read_npz(tmp_path / "a.npz", expected), arrays.values(), strict=True):
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    file = archive(tmp_path / "bomb.npz", ("a.npy", header("(2500000,)") + bytes(20_000_000)))
    assert file.stat().st_size < 40_000
    with pytest.raises(ValueError, match=r"bytes that would unpack to 20,000,128 in 1 parts"):
        read_npz(file, {"a": Array("i")})


def test_parts_that_lie_within_each_other_count_each_time(tmp_path: Path) -> None:
    """One compressed part, named a hundred times by the directory."""
    file = archive(tmp_path / "a.npz", ("a.npy", header("(100000,)") + bytes(800_000)))
    whole = file.read_bytes()
    start = whole.index(b"PK\x01\x02")
    entry, end = whole[start : whole.index(b"PK\x05\x06")], whole[whole.index(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"a.npy", f"{n:05}".encode()) for n in range(100))
    counts = struct.pack("<HHLL", 100, 100, len(entries), start)
    file.write_bytes(whole[:start] + entries + end[:8] + counts + end[20:])
    with pytest.raises(ValueError, match="would unpack to 80,012,800 in 100 parts"):
        read_npz(file, {"00001": Array("i")})


@pytest.mark.parametrize("order", ["False", "True"])
@pytest.mark.parametrize("shape", ["(1000000000000,)", "(100, 100000000000)", "(3,)", "(-2, -2)", f"({'9' * 30},)"])
def test_a_header_that_claims_what_is_not_there_takes_no_memory(tmp_path: Path, shape: str, order: str) -> None:
    file = archive(tmp_path / "a.npz", ("a.npy", header(shape, order=order) + bytes(32)))
    with pytest.raises(ValueError):  # noqa: PT011  (numpy's words for some)
        read_npz(file, {"a": Array("i", shape.strip("(),").count(",") + 1)})


@pytest.mark.parametrize(
    "array, told",
    [
        (np.array([None]), "it holds pickled objects, which could run code"),
        (np.array([1.5]), "a is 1-dimensional and of type float64, expected 1-dimensional and whole numbers"),
        (np.array([[1]]), "a is 2-dimensional and of type int64, expected 1-dimensional and whole numbers"),
        (np.array(1), "a is 0-dimensional"),
        (np.array(["text"]), "of type <U4"),
        (np.array([True]), "of type bool"),
        (np.array([1j]), "of type complex128"),
        (np.array([(1, 2.0)], dtype=[("x", "i8"), ("y", "f8")]), "expected 1-dimensional and whole numbers"),
    ],
)
def test_an_array_of_another_type_or_shape(tmp_path: Path, array: np.ndarray, told: str) -> None:
    np.savez(tmp_path / "a.npz", a=array)
    with pytest.raises(ValueError, match=told):
        read_npz(tmp_path / "a.npz", {"a": Array("i")})


def test_what_is_no_archive(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    for content in (b"", b"text", b"PK\x05\x06", b"\x93NUMPY"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="no archive of arrays|is not in it"):
            read_npz(file, {"a": Array("i")})
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ValueError, match="it is a named pipe"):
        read_npz(file, {"a": Array("i")})


@pytest.mark.parametrize("name, load", [("records.npz", Records.load), ("splits.npz", load_splits)])
def test_every_array_of_other_values_is_refused(tmp_path: Path, name: str, load) -> None:
    """But for groups and fingerprints, which the configuration is compared with, and the row's places."""

    class Chosen:
        """Chooses the array and the change in turn."""

        def __init__(self, *wanted: int):
            self.wanted = list(wanted)

        def choice(self, values: list) -> object:
            return values[self.wanted.pop(0) % len(values)]

    unrefused = set()
    for array in range(9 if name == "records.npz" else 8):
        for change in range(15):
            (tmp_path / name).write_bytes((RUN / name).read_bytes())
            done = set_array(tmp_path / name, Chosen(array, change))
            try:
                load(tmp_path / name)
            except UserError:
                continue
            unrefused.add(done)
    if name == "records.npz":  # of other rows and groups; what belongs together is checked where the splits are known
        harmless = {"index one apart", "index reversed", "split reversed", "sensitive reversed", "group reversed"}
        harmless |= {f"{label} {change}" for label in ("group", "sensitive") for change in ("huge", "one apart")}
        harmless |= {"logits one apart", "prediction reversed"}  # the same probabilities; all are one class
        harmless.add("split one apart")  # no row is left out here, and each set is taken for the next
    else:
        harmless = {f"forget_groups {change}" for change in ("empty", "shorter", "huge", "one apart", "reversed")}
        harmless |= {f"forget_fingerprint {change}" for change in ("reversed",)} | {"data_fingerprint reversed"}
        harmless |= {"val one apart", "test one apart", "val shorter", "test shorter", "val empty", "test empty"}
    assert unrefused <= harmless


def test_losses_alone(tmp_path: Path) -> None:
    index, loss = load_losses(RUN / "records.npz")
    whole = Records.load(RUN / "records.npz")
    assert index.tolist() == whole.index.tolist()
    assert loss.tolist() == whole.loss.tolist()
    np.savez(tmp_path / "records.npz", index=index, loss=-loss)
    with pytest.raises(UserError, match="loss holds what is no finite number from 0"):
        load_losses(tmp_path / "records.npz")


def test_a_member_of_numpys_third_format_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.arange(3), version=(3, 0))
    archive(tmp_path / "a.npz", ("a.npy", file.getvalue()))
    with pytest.raises(ValueError, match=r"numpy's format \(3, 0\)"):
        read_npz(tmp_path / "a.npz", {"a": Array("i")})
