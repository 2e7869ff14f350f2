"""Splits as a pure function: nested forget sets, decimal floors, fingerprints; and which groups a task forgets."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from datasets import DATASETS, dataset_class
from datasets.base import GroupDataset
from datasets.groups import forget_groups, spell_groups, task_name
from datasets.splits import (
    INDEX_SETS,
    count_share,
    load_splits,
    make_listed_splits,
    make_random_splits,
    make_splits,
    save_splits,
    seeded_order,
)
from utils.errors import UserError

RATIOS = (0.1, 0.3, 0.5, 0.58, 0.9, 1.0)


class Toy(GroupDataset):
    name = "toy"
    forget_pairs = ((1, 0),)
    group_format = "{target} on {sensitive}"


def toy(n_forgettable: int = 50, order: np.ndarray | None = None, units: int = 1, **changes) -> Toy:
    """`n_forgettable` train rows of group (1, 0), 40 of (0, 1), and 10 rows of (1, 0) in val and in test."""
    n = n_forgettable + 60
    columns = {
        "path": np.array([f"images/{row:03d}.jpg" for row in range(n)]),
        "target": np.repeat([1, 0, 1], [n_forgettable, 40, 20]),
        "sensitive": np.repeat([0, 1, 0], [n_forgettable, 40, 20]),
        "split": np.repeat([0, 1, 2], [n_forgettable + 40, 10, 10]),
        "unit": np.array([f"unit {row // units}" for row in range(n)]) if units > 1 else None,
    } | changes
    if order is not None:
        columns = {name: values if values is None else values[order] for name, values in columns.items()}
    return Toy(root=None, target_names=("landbird", "waterbird"), sensitive_names=("land", "water"), **columns)


def test_index_sets_partition_the_table():
    dataset = toy()
    splits = make_splits(dataset, ((1, 0),), 0.5, seed=0)
    assert (dataset.group == dataset.target * 2 + dataset.sensitive).all()
    assert splits.train.tolist() == list(range(90))
    assert splits.val.tolist() == list(range(90, 100))
    assert splits.test.tolist() == list(range(100, 110))
    assert sorted([*splits.forget, *splits.retain]) == splits.train.tolist()
    assert set(splits.forget) < set(range(50)), "only train rows of the forget group"
    assert splits.forget_groups == (2,)
    for name in INDEX_SETS:
        indices = getattr(splits, name)
        assert indices.dtype == np.int64
        assert (np.diff(indices) > 0).all()
        with pytest.raises(ValueError, match="read-only"):
            indices[0] = 7


def test_table_is_read_only():
    dataset = toy()
    for name in ("target", "sensitive", "split", "group", "path", "unit"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(dataset, name)[0] = 0


def test_forget_sets_are_nested_over_ratios_and_nothing_else_moves():
    dataset = toy()
    all_splits = [make_splits(dataset, ((1, 0),), ratio, seed=3) for ratio in RATIOS]
    for smaller, larger in zip(all_splits, all_splits[1:], strict=False):
        assert set(smaller.forget) < set(larger.forget)
        for name in ("train", "val", "test"):
            assert (getattr(smaller, name) == getattr(larger, name)).all()
    assert all_splits[-1].forget.tolist() == list(range(50))


@pytest.mark.parametrize(
    "ratio, n, expected",
    # Waterbirds and CelebA at the published ratios; 0.58 * 50 is 28.999999999999996 in binary.
    [(0.58, 50, 29), (0.1, 56, 5), (0.5, 56, 28), (0.9, 56, 50), (0.1, 1387, 138), (0.5, 1387, 693), (0.9, 1387, 1248)],
)
def test_share_is_a_decimal_floor(ratio, n, expected):
    assert count_share(ratio, n) == expected


def test_forget_set_takes_the_decimal_floor():
    assert len(make_splits(toy(50), ((1, 0),), 0.58, seed=0).forget) == 29


def test_order_is_sha256_of_seed_and_name():
    names = [f"{number}.jpg" for number in range(20)]
    expected = sorted(names, key=lambda name: hashlib.sha256(f"forget:4:{name}".encode()).hexdigest())
    assert seeded_order("forget", 4, reversed(names)) == expected
    dataset = toy(20)
    order = seeded_order("forget", 4, dataset.path[:20].tolist())
    forget = make_splits(dataset, ((1, 0),), 0.25, seed=4).forget
    assert set(dataset.path[forget]) == set(order[:5])


def test_seed_changes_the_forget_set_and_only_that():
    dataset = toy()
    first, second = (make_splits(dataset, ((1, 0),), 0.5, seed=seed) for seed in (0, 1))
    assert first.forget.tolist() != second.forget.tolist()
    assert first.train.tolist() == second.train.tolist()
    assert first.data_fingerprint == second.data_fingerprint
    assert first.forget_fingerprint != second.forget_fingerprint


def test_forget_set_depends_neither_on_row_order_nor_on_other_rows():
    dataset = toy()
    shuffled = toy(order=np.random.default_rng(0).permutation(len(dataset)))
    relabelled = toy(sensitive=np.where(np.arange(110) == 60, 0, dataset.sensitive))
    tables = (dataset, shuffled, relabelled)
    chosen = [set(data.path[make_splits(data, ((1, 0),), 0.5, seed=0).forget]) for data in tables]
    assert chosen[0] == chosen[1] == chosen[2]


def test_several_groups_are_forgotten_as_one_union():
    dataset = toy()
    splits = make_splits(dataset, ((0, 1), (1, 0)), 0.5, seed=0)
    assert splits.forget_groups == (1, 2)
    assert len(splits.forget) == 45, "half of 90, not half of each"
    assert set(dataset.group[splits.forget]) == {1, 2}


def test_units_are_forgotten_whole():
    dataset = toy(50, units=2)
    splits = make_splits(dataset, ((1, 0),), 0.5, seed=0)
    assert len(splits.forget) == 2 * 12
    assert not set(dataset.unit[splits.forget]) & set(dataset.unit[splits.retain])


def test_no_pairs_forget_nothing_whatever_the_ratio():
    splits = make_splits(toy(), (), 7.0, seed=0)
    assert len(splits.forget) == 0
    assert splits.retain.tolist() == splits.train.tolist()
    assert splits.forget_fingerprint is None
    assert splits.forget_groups == ()
    assert splits.data_fingerprint == make_splits(toy(), ((1, 0),), 0.5, seed=0).data_fingerprint


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01, float("nan")])
def test_ratio_outside_its_range(ratio):
    with pytest.raises(UserError, match=r"--unlearning_ratio .*above 0 and up to 1"):
        make_splits(toy(), ((1, 0),), ratio, seed=0)


def test_ratio_that_forgets_nothing_says_the_size_of_the_group():
    with pytest.raises(UserError, match="0.01 forgets no sample.*50 train samples of waterbird on land"):
        make_splits(toy(), ((1, 0),), 0.01, seed=0)
    with pytest.raises(UserError, match="0 train samples of landbird on land"):
        make_splits(toy(), ((0, 0),), 1.0, seed=0)


def test_data_fingerprint_by_hand():
    dataset = Toy(None, ["a.jpg", "b,1.jpg"], [1, 0], [0, 1], [0, 2], ("x", "y"), ("u", "v"))
    assert dataset.fingerprint == hashlib.sha256(b"5:a.jpg,1,0,0;7:b,1.jpg,0,1,2;").hexdigest()


def test_data_fingerprint_follows_every_label_and_the_row_order():
    dataset = toy()
    changes = [{name: np.where(np.arange(110) == 95, 1 - getattr(dataset, name), getattr(dataset, name))}
               for name in ("target", "sensitive")]  # fmt: skip
    changes.append({"split": np.where(np.arange(110) == 95, 2, dataset.split)})
    changes.append({"path": np.where(np.arange(110) == 95, "images/other.jpg", dataset.path)})
    changes.append({"order": np.arange(110)[::-1]})
    fingerprints = {toy(**change).fingerprint for change in changes}
    assert len(fingerprints | {dataset.fingerprint}) == 6
    assert toy().fingerprint == dataset.fingerprint
    assert toy(units=2).fingerprint == dataset.fingerprint, "what is not in the definition does not count"


def test_forget_fingerprint_follows_data_and_forget_rows():
    dataset = toy()
    half = make_splits(dataset, ((1, 0),), 0.5, seed=0)
    assert half.forget_fingerprint == make_splits(toy(), ((1, 0),), 0.5, seed=0).forget_fingerprint
    # 0.5 and 0.51 of 50 forget the same 25 rows.
    assert half.forget_fingerprint == make_splits(dataset, ((1, 0),), 0.51, seed=0).forget_fingerprint
    relabelled = toy(target=np.where(np.arange(110) == 105, 0, dataset.target))
    others = [make_splits(dataset, ((1, 0),), 0.52, seed=0), make_splits(relabelled, ((1, 0),), 0.5, seed=0)]
    assert others[1].forget.tolist() == half.forget.tolist()
    assert half.forget_fingerprint not in {other.forget_fingerprint for other in others}


def test_splits_disturb_no_global_generator_and_survive_hash_randomisation():
    state = np.random.get_state()[1].copy()
    expected = make_splits(toy(), ((1, 0),), 0.5, seed=0).forget_fingerprint
    assert (np.random.get_state()[1] == state).all()
    code = "from test_splits import *; print(make_splits(toy(), ((1, 0),), 0.5, seed=0).forget_fingerprint)"
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == expected


@pytest.mark.parametrize("pairs", [(), ((1, 0), (0, 1))])
def test_save_and_load(tmp_path, pairs):
    splits = make_splits(toy(), pairs, 0.5, seed=0)
    save_splits(tmp_path / "splits.npz", splits)
    loaded = load_splits(tmp_path / "splits.npz")
    for name in INDEX_SETS:
        assert getattr(loaded, name).tolist() == getattr(splits, name).tolist()
        assert not getattr(loaded, name).flags.writeable
    for name in ("forget_groups", "data_fingerprint", "forget_fingerprint"):
        assert getattr(loaded, name) == getattr(splits, name)


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_unreadable_splits_name_their_file(tmp_path, content):
    if content is not None:
        (tmp_path / "splits.npz").write_bytes(content)
    with pytest.raises(UserError, match="cannot read the splits .*splits.npz"):
        load_splits(tmp_path / "splits.npz")


def test_splits_without_an_array_name_their_file(tmp_path):
    np.savez(tmp_path / "splits.npz", train=np.arange(3))
    with pytest.raises(UserError, match="splits.npz"):
        load_splits(tmp_path / "splits.npz")


def test_repeated_path_is_refused():
    with pytest.raises(UserError, match="b.jpg is listed more than once"):
        Toy(None, ["a.jpg", "b.jpg", "b.jpg"], [0] * 3, [0] * 3, [0, 0, 1], ("x",), ("u",))


def test_known_data_sets():
    assert sorted(DATASETS) == ["celeba", "custom", "digits", "fairface", "waterbird"]
    assert all(dataset_class(name).name == name for name in DATASETS)
    with pytest.raises(UserError, match="unknown data set 'cifar': expected one of celeba, custom, digits, fairface"):
        dataset_class("cifar")


@pytest.mark.parametrize(
    "name, expected",
    [
        ("celeba", [(1, 1), (1, 1)]),
        ("waterbird", [(1, 0), (0, 1)]),
        ("digits", [(1, 0)]),
        ("fairface", [(3, 0), (6, 4), (1, 5), (8, 6), (4, 2)]),
    ],
)
def test_single_forget_groups(name, expected):
    dataset = dataset_class(name)
    assert [forget_groups(dataset, number, None) for number in range(len(expected))] == [(pair,) for pair in expected]
    assert forget_groups(dataset, None, None) == (expected[0],)
    for number in (-1, len(expected)):
        with pytest.raises(UserError, match=f"--split_number {number}: {name} expects 0"):
            forget_groups(dataset, number, None)


def test_multi_group_crosses_the_first_pairs():
    fairface = dataset_class("fairface")
    assert forget_groups(fairface, None, 2) == ((3, 0), (3, 4), (6, 0), (6, 4))
    three, five = (forget_groups(fairface, None, k) for k in (3, 5))
    assert set(three) == {(y, a) for y in (1, 3, 6) for a in (0, 4, 5)}
    assert set(five) == {(y, a) for y in (1, 3, 4, 6, 8) for a in (0, 2, 4, 5, 6)}
    assert list(three) == sorted(three)


def test_multi_group_errors():
    fairface = dataset_class("fairface")
    for k in (0, 1, 6):
        with pytest.raises(UserError, match=f"--multi_group {k}: fairface expects 2 to 5"):
            forget_groups(fairface, None, k)
    with pytest.raises(UserError, match="both choose"):
        forget_groups(fairface, 0, 3)
    for name in ("celeba", "waterbird", "digits"):
        with pytest.raises(UserError, match=f"{name} has no multi-group task"):
            forget_groups(dataset_class(name), None, 3)


def test_task_names():
    assert [task_name(1, None), task_name(None, None), task_name(None, 3)] == ["split1", "split0", "multi3"]


# Groups by name.


class Named(Toy):
    """Names that need care: one in another's spelling, with blanks, dashes, a slash, a dot, a comma, or a number."""

    name = "named"
    target_names = ("Cat", "cat", "more than 70", "1")
    sensitive_names = ("Black/20-29", "East Asian", "v1.5", "a, b", "a:b")


@pytest.mark.parametrize(
    "typed, expected",
    [
        ("waterbird:land", {(1, 0)}),
        ("1:0", {(1, 0)}),
        ("WATERBIRD :  Land", {(1, 0)}),
        ("waterbird:land, landbird:water", {(1, 0), (0, 1)}),
        ("0:1,1:land,landbird:1,waterbird:0", {(1, 0), (0, 1)}),
    ],
)
def test_groups_by_name_and_number(typed, expected):
    assert forget_groups(dataset_class("waterbird"), None, None, typed) == tuple(sorted(expected))


def test_words_stay_as_they_were_typed_where_only_the_labels_know_the_names():
    assert spell_groups(Toy, " b : x y,a:1 ,b:x  y") == "a:1, b:x y"
    assert spell_groups(Toy, "Mu\u0308ller:x, M\u00fcller:x") == "M\u00fcller:x", (
        "an umlaut is one however it was typed"
    )


@pytest.mark.parametrize(
    "typed, told",
    [
        ("WATERBIRD:land", "toy has no target 'WATERBIRD'; expected waterbird, in this spelling alone"),
        ("1:land", "toy has no target '1'; expected waterbird, in this spelling alone"),
        ("waterbird:0", "toy has no sensitive '0'; expected land, in this spelling alone"),
        ("waterbird:la\u200bnd", "expected land, in this spelling alone, so that one run has one name"),
        ("duck:land", "toy has no target 'duck'; expected one of landbird, waterbird"),
        ("2:land", "toy has no target '2'; expected one of landbird, waterbird"),
    ],
)
def test_where_only_the_labels_know_the_names_their_spelling_is_the_only_one(typed, told):
    """A run is named before the labels are read, so every spelling would make a folder of its own."""
    assert forget_groups(toy(), None, None, "waterbird:land, landbird:water") == ((0, 1), (1, 0))
    with pytest.raises(UserError) as error:
        forget_groups(toy(), None, None, typed)
    assert told in str(error.value)


def test_a_name_that_cannot_be_typed_has_its_number_as_its_only_spelling():
    dataset = toy()
    dataset.target_names, dataset.sensitive_names = ("a, b", "c:d"), ("x  y", "M\u00fcller")
    assert forget_groups(dataset, None, None, "0:0, 1:Mu\u0308ller") == ((0, 0), (1, 1))
    with pytest.raises(UserError, match="no target 'c'; expected one of 0 .for 'a, b'., 1 .for 'c:d'."):
        forget_groups(dataset, None, None, "c:0")
    with pytest.raises(UserError, match="no sensitive 'x y'; expected 0 .for 'x  y'., in this spelling alone"):
        forget_groups(dataset, None, None, "0:x y")


@pytest.mark.parametrize(
    "typed, expected",
    [
        ("Cat:v1.5", (0, 2)),
        ("cat:v1.5", (1, 2)),
        ("More Than  70:east asian", (2, 1)),
        ("more\u00a0than\u200b 70:EAST ASIAN", (2, 1)),
        ("1:Black/20-29", (3, 0)),
        ("Cat:3", (0, 3)),
    ],
)
def test_a_name_counts_as_it_is_written_before_its_look_and_its_number(typed, expected):
    assert forget_groups(Named, None, None, typed) == (expected,)


def test_where_names_are_numbers_a_number_is_a_name():
    class Numbered(Toy):
        name, target_names, sensitive_names = "numbered", ("1", "2"), ("-1", "1")

    assert forget_groups(Numbered, None, None, "2:-1") == ((1, 0),)
    assert forget_groups(Numbered, None, None, "2.0:+1") == ((1, 1),)
    with pytest.raises(UserError, match=r"numbered has no target '0'; expected one of 1, 2$"):
        forget_groups(Numbered, None, None, "0:1")


@pytest.mark.parametrize(
    "name", ["1", "007", "-3", "+3", "1.5", ".5", "1,5", "1e3", "1E-3", "1 000", "- 1", "50 %", "\u0663"]
)
def test_no_number_is_a_code_where_a_name_looks_like_one(name):
    class Numbered(Toy):
        target_names, sensitive_names = ("cat", name), ("a", "b")

    with pytest.raises(UserError, match=r"toy has no target '0'; expected one of cat, [^;]*$"):
        forget_groups(Numbered, None, None, "0:a")


@pytest.mark.parametrize("name", ["v1", "1st", "20-29", "more than 70", "e", "-", "1/2", "1.5.x"])
def test_other_names_leave_the_codes(name):
    class Other(Toy):
        target_names, sensitive_names = ("cat", name), ("a", "b")

    assert forget_groups(Other, None, None, "1:0") == ((1, 0),)


@pytest.mark.parametrize(
    "typed, told",
    [
        ("", "'' is no group, expected TARGET:SENSITIVE"),
        ("waterbird", "'waterbird' is no group, expected TARGET:SENSITIVE"),
        ("waterbird:", "'waterbird:' is no group"),
        ("waterbird:land,", "'' is no group"),
        ("waterbird:land:water", "a name that holds a colon or a comma is given by its number"),
        ("duck:land", "waterbird has no target 'duck'; expected one of landbird, waterbird, or a number from 0 to 1"),
        ("waterbird:sky", "waterbird has no sensitive 'sky'; expected one of land, water, or a number from 0 to 1"),
        ("2:0", "waterbird has no target '2'"),
        ("-1:0", "waterbird has no target '-1'"),
        ("1:0.0", "waterbird has no sensitive '0.0'"),
    ],
)
def test_what_is_no_group(typed, told):
    with pytest.raises(UserError) as error:
        forget_groups(dataset_class("waterbird"), None, None, typed)
    assert told in str(error.value)


def test_a_name_in_two_cases_is_not_guessed():
    with pytest.raises(UserError, match="named has no target 'CAT'"):
        forget_groups(Named, None, None, "CAT:v1.5")


@pytest.mark.parametrize("given", [(0, None), (None, 3)])
def test_groups_are_named_once(given):
    with pytest.raises(UserError, match="--forget_groups 1:0 both choose what to forget: give one"):
        forget_groups(dataset_class("fairface"), *given, "1:0")


def test_a_data_set_without_numbered_groups():
    class Unnumbered(Toy):
        forget_pairs = ()

    for numbers, told in (((0, None), "has no numbered groups"), ((None, 3), "has no multi-group task")):
        with pytest.raises(UserError, match=f"{told}; use --forget_groups"):
            forget_groups(Unnumbered, *numbers)


@pytest.mark.parametrize(
    "dataset, typed, name",
    [
        ("waterbird", "waterbird:land", "groups-waterbird.land"),
        ("waterbird", "1:0, 0:1", "groups-landbird.water+waterbird.land"),
        ("fairface", "3-9:latino_hispanic", "groups-3-9.Latino_Hispanic"),
    ],
)
def test_a_folder_named_after_its_groups(dataset, typed, name):
    assert task_name(None, None, spell_groups(dataset_class(dataset), typed)) == name


def test_folders_of_different_groups_have_different_names():
    """Blanks, slashes and dots are no part of a folder's name, so eight digits of a hash tell such names apart."""
    one = task_name(None, None, spell_groups(Named, "more than 70:1"))
    assert one.startswith("groups-more_than_70.East_Asian.")
    assert one.endswith(hashlib.sha256(b"more than 70:East Asian").hexdigest()[:8])
    texts = ["a b:c", "a_b:c", "a/b:c", "a.b:c", "a:b.c", "a+b:c", "a:c, b:c", "a:c+b.c", "ä:c", "a:c", "A:c"]
    texts += [f"{'x' * 200}:{n}" for n in range(3)]
    names = [task_name(None, None, text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(len(name) <= 100 and set(name) <= SAFE for name in names)


SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+")


def test_names_that_cannot_be_typed_are_spelled_by_number():
    for typed, spelling in (("Cat:3", "Cat:3"), ("more than 70:0", "more than 70:Black/20-29")):
        assert spell_groups(Named, typed) == spelling
        assert forget_groups(Named, None, None, spelling) == forget_groups(Named, None, None, typed)


def test_the_same_groups_by_name_and_by_number_have_one_forget_fingerprint():
    dataset = toy()
    by_number = make_splits(dataset, forget_groups(dataset, 0, None), 0.5, seed=0)
    by_name = make_splits(dataset, forget_groups(dataset, None, None, "waterbird:land"), 0.5, seed=0)
    assert by_name.forget_fingerprint == by_number.forget_fingerprint


# All of train, and lists.


def test_random_forgets_the_first_of_all_of_train():
    dataset = toy(50)
    splits = make_random_splits(dataset, 0.58, seed=4)
    order = seeded_order("forget", 4, dataset.path[:90].tolist())
    assert set(dataset.path[splits.forget]) == set(order[:52]), "floor(0.58 * 90)"
    assert splits.forget_groups == (1, 2)
    assert sorted([*splits.forget, *splits.retain]) == splits.train.tolist() == list(range(90))


def test_random_sets_are_nested_and_follow_the_seed():
    dataset = toy()
    sets = [set(make_random_splits(dataset, ratio, seed=3).forget) for ratio in (0.1, 0.5, 0.9)]
    assert sets[0] < sets[1] < sets[2]
    assert set(make_random_splits(dataset, 0.1, seed=0).forget) != sets[0]
    with pytest.raises(UserError, match="--unlearning_ratio 1.0 forgets all 90 train samples of toy"):
        make_random_splits(dataset, 1.0, seed=0)
    with pytest.raises(UserError, match="0.01 forgets no sample: toy has 90 train samples;"):
        make_random_splits(dataset, 0.01, seed=0)


def test_random_forgets_units_whole():
    dataset = toy(50, units=2)
    splits = make_random_splits(dataset, 0.5, seed=0)
    assert len(splits.forget) == 2 * 22, "of 45 units"
    assert not set(dataset.unit[splits.forget]) & set(dataset.unit[splits.retain])


def test_a_list_is_forgotten_with_its_units():
    rows = np.array([60, 3, 4])
    assert make_listed_splits(toy(), rows).forget.tolist() == [3, 4, 60]
    assert make_listed_splits(toy(), rows).forget_groups == (1, 2)
    assert make_listed_splits(toy(units=2), rows).forget.tolist() == [2, 3, 4, 5, 60, 61]
    assert make_listed_splits(toy(), rows[1:]).forget_groups == (2,)


def test_units_are_matched_whole_whatever_their_length():
    dataset = toy(units=2)
    assert dataset.units([0, 1, 2]) == ["unit 0", "unit 0", "unit 1"]
    assert toy().units(slice(0, 2)) == ["images/000.jpg", "images/001.jpg"]


def test_the_same_rows_have_one_forget_fingerprint_whoever_chose_them():
    dataset = toy()
    chosen = make_splits(dataset, ((1, 0),), 0.5, seed=0)
    listed = make_listed_splits(dataset, chosen.forget[::-1])
    assert listed.forget_fingerprint == chosen.forget_fingerprint
    assert listed.retain.tolist() == chosen.retain.tolist()


def test_a_list_of_everything_is_refused():
    with pytest.raises(UserError, match="--forget_list forgets all 90 train samples of toy.*a shorter list"):
        make_listed_splits(toy(), np.arange(90))
