"""Those who stay, and whoever holds both versions of a model: known answers, who is compared, and where it is null."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_metrics import NAMES, Parts
from workshop import SMALL, Workshop, metrics_of

from method.evaluation.evaluator import add_reference, evaluate
from method.evaluation.exposure import (
    NO_ORIGINAL,
    ORIGINAL_KEYS,
    OTHER_ORIGINAL,
    Scored,
    add_original,
    auc_alike,
    auc_by_group,
    load_original,
)
from method.evaluation.forgetting import Samples, group_aware_attack
from method.evaluation.membership import auc
from method.evaluation.metrics import Undefined, largest_gap, privacy_leak
from method.evaluation.records import Records
from scripts.report import command as report

FEW = "the attack needs 20 pairs of a member and a non-member of the same group, and {} samples for {}"


def scored(*groups: tuple[int, list[float]]) -> Scored:
    """Scored samples from (group, its scores)."""
    sizes = [len(scores) for _, scores in groups]
    return Scored(np.concatenate([scores for _, scores in groups]), np.repeat([group for group, _ in groups], sizes))


# AUCs.


def test_groups_weigh_as_many_pairs_as_their_smaller_side_has() -> None:
    # 20 pairs of group 0 and 30 of group 1, however many more members or others there are. With the members' scores 3
    # and 0, and the others' 2 and 0: 3 beats all (2/5 of the members), 0 ties with group 1's (3/5 of the others).
    members, others = scored((0, [3.0] * 80), (1, [0.0] * 30)), scored((0, [2.0] * 20), (1, [0.0] * 90))
    assert auc_alike(members, others) == pytest.approx(100 * (2 / 5 + 3 / 5 * 3 / 5 / 2))
    # A group that one side lacks takes no part.
    assert auc_alike(members, Scored(*map(np.concatenate, zip(others, scored((2, [-9.0] * 50)), strict=True)))) == (
        pytest.approx(100 * (2 / 5 + 3 / 5 * 3 / 5 / 2))
    )


def test_it_is_the_mean_over_all_draws_of_the_group_aware_attack() -> None:
    generator = np.random.default_rng(0)
    group, other_group = generator.integers(0, 3, 200), np.repeat([0, 1, 2], [20, 40, 70])
    loss, other_loss = generator.exponential(1 + group).round(1), generator.exponential(2, 130).round(1)
    found = auc_alike(Scored(-loss, group), Scored(-other_loss, other_group))
    n = {g: (np.count_nonzero(group == g), np.count_nonzero(other_group == g)) for g in range(3)}
    weight, other_weight = ([min(n[g]) / n[g][side] for g in own] for side, own in enumerate((group, other_group)))
    wins = (loss[:, None] < other_loss) + (loss[:, None] == other_loss) / 2
    by_hand = np.sum(wins * np.outer(weight, other_weight)) / sum(map(min, n.values())) ** 2
    assert found == pytest.approx(100 * by_hand, abs=1e-9)
    drawn = group_aware_attack(Samples(loss, group, group), Samples(other_loss, other_group, other_group))
    assert found == pytest.approx(drawn["mia_group_auc"], abs=3 * drawn["mia_group_auc_sd"])
    assert drawn["mia_group_auc_sd"] > 0


def test_of_groups_of_equal_size_it_is_the_attack_itself() -> None:
    loss, other = np.random.default_rng(1).exponential(size=(2, 60))
    group = np.repeat([0, 2], 30)
    samples = [Samples(one, group, group) for one in (loss, other)]
    assert auc_alike(Scored(-loss, group), Scored(-other, group)) == pytest.approx(
        group_aware_attack(*samples)["mia_group_auc"], abs=1e-9
    )


@pytest.mark.parametrize(
    "members, others, n",
    [
        (scored((0, [1.0] * 50)), scored((0, [1.0] * 19), (1, [1.0] * 50)), 19),
        (scored((0, [1.0] * 50)), scored((1, [1.0] * 50)), 0),
        (scored((0, [])), scored((1, [1.0] * 50)), 0),
        (scored((0, [1.0] * 50)), scored((0, [])), 0),
    ],
)
def test_too_few_pairs_have_a_reason(members: Scored, others: Scored, n: int) -> None:
    with pytest.raises(Undefined) as told:
        auc_alike(members, others, "the retain set has")
    assert str(told.value) == FEW.format("the retain set has", n)


def test_the_auc_of_a_group_is_of_all_its_samples_and_null_below_20() -> None:
    generator = np.random.default_rng(2)
    members = Scored(generator.normal(size=90), np.repeat([0, 1, 3], [50, 21, 19]))
    others = Scored(generator.normal(size=75), np.repeat([0, 1, 3], [20, 25, 30]))
    expected = [auc(members.score[members.group == g], others.score[others.group == g]) for g in (0, 1)]
    assert auc_by_group(members, others, 4) == [*expected, None, None]


def test_the_gap_of_two_distributions_by_hand() -> None:
    # Up to 1: 2/4 against 0/2; up to 2: 3/4 against 1/2; up to 3: 4/4 against 2/2.
    assert largest_gap(np.array([1.0, 1.0, 2.0, 3.0]), np.array([2.0, 3.0])) == 50.0
    assert largest_gap(np.array([5.0, 6.0]), np.array([1.0, 2.0, 3.0])) == 100.0
    assert largest_gap(np.ones(5), np.ones(7)) == 0.0
    with pytest.raises(Undefined, match="there is no forget sample"):
        largest_gap(np.ones(0), np.ones(3), "forget sample")


def test_privacy_leak_has_its_sign_and_its_scale() -> None:
    assert privacy_leak(50.0, 50.0) == 0.0
    assert privacy_leak(75.0, 50.0) == -50.0  # half of what lies above the retrained model
    assert privacy_leak(100.0, 50.0) == privacy_leak(100.0, 60.0) == -100.0
    assert privacy_leak(0.0, 50.0) == 100.0  # over-forgotten
    assert privacy_leak(60.0, 20.0) == pytest.approx(-50.0)
    for own, reference in ((None, 50.0), (50.0, None)):
        with pytest.raises(Undefined, match="mia_group_auc is null in this run or in its reference"):
            privacy_leak(own, reference)
    with pytest.raises(Undefined, match="is 100 in the reference"):
        privacy_leak(50.0, 100.0)


def test_privacy_leak_is_of_the_two_runs_attacks() -> None:
    run, retrained = ({"mia_group_auc": value, "reasons": {}} for value in (75.0, 50.0))
    assert add_reference(run, retrained, None, "retrain_0.9_0")["privleak"] == -50.0
    assert add_reference(run, None, "none is here", None)["reasons"]["privleak"] == "none is here"


# With the original's records.

SETS = {"forget": 25, "retain": 40, "val": 30, "test": 30}  # of each group that a set has


def model(**phi: dict[int, float]) -> tuple[Records, Parts]:
    """Records of two classes with this phi of the target by set and group: forget has group 2, the others 1 and 2."""
    rows = [(name, group, phi[name][group]) for name in SETS for group in phi[name] for _ in range(SETS[name])]
    sets = np.array([name for name, _, _ in rows])
    group, value = np.array([g for _, g, _ in rows]), np.array([v for _, _, v in rows])
    target, split = group // 2, np.select([sets == "val", sets == "test"], [1, 2], 0)
    logits = np.zeros((len(rows), 2))
    logits[np.arange(len(rows)), target] = value
    where = {name: np.flatnonzero(sets == name) for name in SETS}
    parts = Parts(np.flatnonzero(split == 0), where["val"], where["test"], where["forget"], where["retain"], (2,))
    return Records.from_logits(np.arange(len(rows)), split, target, group % 2, group, logits), parts


def measured(records: Records, parts: Parts, original: Records | str) -> dict[str, Any]:
    return add_original(evaluate(records, parts, NAMES, 2, 2), records, parts, original)


HELD_OUT = {1: 0.0, 2: 0.0}
ORIGINAL = model(forget={2: 4.0}, retain={1: 4.0, 2: 4.0}, val=HELD_OUT, test=HELD_OUT)[0]


def test_who_holds_both_versions_tells_what_fell_most() -> None:
    # phi of F fell by 3: by more than that of the retained (1), and as that of the held-out.
    now = {1: -9.0, 2: -3.0}
    records, parts = model(forget={2: 1.0}, retain={1: -9.0, 2: 3.0}, val=now, test=now)
    found = measured(records, parts, ORIGINAL)
    assert found["versions_auc_retain"] == 100.0  # group 1, which fell by 13, is no forget group
    assert found["versions_auc_held_out"] == 50.0
    # Neither version alone tells: F lies below the retained in the new one as above the held-out in the old one.
    back = measured(ORIGINAL, parts, records)
    assert (back["versions_auc_retain"], back["versions_auc_held_out"]) == (0.0, 50.0)
    assert {key: measured(records, parts, records)[key] for key in ORIGINAL_KEYS} == dict.fromkeys(
        ORIGINAL_KEYS, 50.0
    ) | {"retain_exposure": 0.0}


def test_the_held_out_are_of_val_and_test() -> None:
    records, parts = model(forget={2: 0.0}, retain={1: 4.0, 2: 4.0}, val={1: 0.0, 2: 9.0}, test={1: 0.0, 2: -9.0})
    # F fell by 4, val by -9 and test by 9.
    assert measured(records, parts, ORIGINAL)["versions_auc_held_out"] == pytest.approx(50.0)
    assert measured(records, replace(parts, test=parts.val), ORIGINAL)["versions_auc_held_out"] == 100.0


def test_the_exposure_of_those_who_stay_is_a_change_overall_and_by_group() -> None:
    # In the original all retained samples lie above the held-out. Now those of group 1 lie with them: of 40 + 40
    # members and 40 + 40 others (60 share 40 pairs) group 2's win all, and group 1's tie with half.
    records, parts = model(forget={2: 4.0}, retain={1: 0.0, 2: 4.0}, val=HELD_OUT, test=HELD_OUT)
    found = measured(records, parts, ORIGINAL)
    assert found["mia_retain_auc"] == pytest.approx(75.0)
    assert found["retain_exposure"] == pytest.approx(-25.0)
    assert [row["mia_retain_auc"] for row in found["groups"]] == [None, 50.0, 100.0, None]
    assert [row["retain_exposure"] for row in found["groups"]] == [None, -50.0, 0.0, None]
    exposed = measured(ORIGINAL, parts, records)
    assert exposed["retain_exposure"] == pytest.approx(25.0)
    assert [row["retain_exposure"] for row in exposed["groups"]] == [None, 50.0, 0.0, None]


def test_a_forget_group_without_held_out_samples_is_a_reason() -> None:
    records, parts = model(forget={2: 1.0}, retain={1: 4.0, 2: 4.0}, val={1: 0.0}, test={1: 0.0})
    original = model(forget={2: 4.0}, retain={1: 4.0, 2: 4.0}, val={1: 0.0}, test={1: 0.0})[0]
    found = measured(records, parts, original)
    assert (found["versions_auc_held_out"], found["versions_auc_retain"]) == (None, 100.0)
    assert found["reasons"]["versions_auc_held_out"] == FEW.format("val and test have", 0)
    assert [row["mia_retain_auc"] for row in found["groups"]] == [None, 100.0, None, None]
    assert [row["retain_exposure"] for row in found["groups"]] == [None, 0.0, None, None]
    # Where all of the group is forgotten, nobody of it is retained.
    records, parts = model(forget={2: 1.0}, retain={1: 4.0}, val=HELD_OUT, test=HELD_OUT)
    original = model(forget={2: 4.0}, retain={1: 4.0}, val=HELD_OUT, test=HELD_OUT)[0]
    found = measured(records, parts, original)
    assert found["reasons"]["versions_auc_retain"] == FEW.format("the retain set has", 0)
    assert found["versions_auc_held_out"] == 100.0


def test_without_the_originals_records_there_is_a_reason(tmp_path: Path) -> None:
    records, parts = model(forget={2: 1.0}, retain={1: 4.0, 2: 4.0}, val=HELD_OUT, test=HELD_OUT)
    file = tmp_path / "records.npz"
    others = replace(ORIGINAL, target=1 - ORIGINAL.target)
    assert load_original(None) == load_original(file) == NO_ORIGINAL
    file.write_bytes(b"damaged")
    assert load_original(file) == OTHER_ORIGINAL
    fewer = ORIGINAL.select(np.arange(50))
    for original, reason in ((NO_ORIGINAL, NO_ORIGINAL), (fewer, OTHER_ORIGINAL), (others, OTHER_ORIGINAL)):
        found = measured(records, parts, original)
        assert [found[key] for key in ORIGINAL_KEYS] == [None] * 3
        assert {found["reasons"][key] for key in ORIGINAL_KEYS} == {reason}
        assert {row["retain_exposure"] for row in found["groups"]} == {None}
        assert found["mia_retain_auc"] == 100.0
        # A later one takes its place, reasons and all.
        add_original(found, records, parts, ORIGINAL)
        assert None not in {found[key] for key in ORIGINAL_KEYS}
        assert not {*ORIGINAL_KEYS} & {*found["reasons"]}
    ORIGINAL.save(file)
    found = load_original(file)
    assert isinstance(found, Records)
    assert np.array_equal(found.logits, ORIGINAL.logits)


# From the commands.


@pytest.fixture(scope="module")
def workshop(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(data_dir, tmp_path_factory.mktemp("exposure"), SMALL.replace("--epochs 3", "--epochs 1"))


def reasons(folder: Path) -> set[str | None]:
    """Why the keys that compare with the original are null; None for one that is not null for want of its records."""
    metrics = metrics_of(folder)
    told = {metrics["reasons"].get(key) for key in ORIGINAL_KEYS if metrics[key] is None}
    return told & {NO_ORIGINAL, OTHER_ORIGINAL}


def test_the_original_is_found_where_it_has_records_and_recomputed_later(workshop: Workshop, tmp_path: Path) -> None:
    retrained = workshop.ok("retrain")
    assert reasons(retrained) == {NO_ORIGINAL}  # nothing is there yet
    pretrained = workshop.ok("pretrain")
    unlearned, later = workshop.ok("ft"), workshop.ok("retrain --tag later")
    assert reasons(unlearned) == reasons(later) == set()
    config = (pretrained / "config.yaml").read_bytes()
    (pretrained / "config.yaml").write_text("damaged: [")  # which is no reason to lose a trained run
    assert reasons(workshop.ok("retrain --tag damaged")) == {NO_ORIGINAL}
    (pretrained / "config.yaml").write_bytes(config)
    other = workshop.ok("retrain --tag other --image_size 40")
    assert reasons(other) == {NO_ORIGINAL}  # the one that is there is of other images
    shutil.copy(pretrained / "model.pt", tmp_path / "model.pt")
    bare = workshop.ok(f"ft --tag bare --original {tmp_path / 'model.pt'}")
    assert reasons(bare) == {NO_ORIGINAL}
    assert not {*ORIGINAL_KEYS} & {*metrics_of(pretrained)}
    kept = {folder: metrics_of(folder) for folder in (unlearned, later)}
    for folder in kept:
        old = {key: value for key, value in kept[folder].items() if key not in ORIGINAL_KEYS}
        (folder / "metrics.json").write_text(json.dumps(old))
    assert report.main([str(workshop.store), "--recompute"]) == 0
    assert {folder: metrics_of(folder) for folder in kept} == kept
    assert reasons(retrained) == reasons(bare) == set()  # the digest of its weights says what the copy is
    one, other = (metrics_of(folder) for folder in (bare, unlearned))
    assert {key: one[key] for key in ORIGINAL_KEYS} == {key: other[key] for key in ORIGINAL_KEYS}
