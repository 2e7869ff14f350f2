"""Sentences of what happened: verdicts by hand, what is missing, names, and the numbers of a committed study."""

import json
import math
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from cli import ROOT
from scipy.stats import t
from trees import Capture, make_run, metrics, shown

from method.evaluation.intervals import auc_difference_interval, difference_interval
from method.runs.labels import rank
from method.runs.originals import DIGEST, NAME, Start
from method.runs.stored import StoredRun, read_runs
from scripts.report import wording
from scripts.report.cells import originals_of
from scripts.report.collect import Report, Row
from scripts.report.estimates import Estimate, Score, estimate_change
from scripts.report.story import tell

STUDY = ROOT / "docs/results/runs/digits.zip"
FORGET, OTHER = "high, cold", "low, warm"
Accuracies = Mapping[str, float]


def run_of(method: str, seed: int, accuracies: Accuracies, n: int = 100, **values: Any) -> StoredRun:
    """A run with these test accuracies by group on n images each; FORGET, if there, is half forgotten."""
    groups = [
        {"name": name, "n_retain": 40 - 20 * (name == FORGET), "n_forget": 20 * (name == FORGET), "n_val": 50,
         "n_test": n, "test_acc": accuracy}
        for name, accuracy in accuracies.items()
    ]  # fmt: skip
    found = {"groups": groups, "forget_group_names": [FORGET], "n_forget": 20, "seconds": 10.0, **values}
    config = {"method": method, "seed": seed, "reweight": method == "miu", "tag": values.get("tag", "")}
    return StoredRun(Path(f"{method}_{seed}"), config, {"reweights_by_default": method == "miu"}, found)


def row_of(run: StoredRun, reference: StoredRun | None = None, start: Start | None = None) -> Row:
    tag = run.config["tag"]
    return Row(run.method + f", {tag}" * bool(tag), (), run, run.metrics, reference=reference, start=start)


Unlearned = Sequence[tuple[Accuracies, Mapping[str, Any]]]


def one_method(
    own: Sequence[Accuracies], before: Sequence[Accuracies], retrained: Sequence[Accuracies] = (), **more: Any
):
    """A row a seed of SalUn, and the rows of their originals."""
    rows, originals = [], {}
    for seed, accuracies in enumerate(own):
        original = run_of("pretrain", seed, before[seed])
        reference = run_of("retrain", seed, retrained[seed], seconds=40.0) if retrained else None
        values = {name: value[seed] if isinstance(value, tuple) else value for name, value in more.items()}
        rows.append(row_of(run_of("salun", seed, accuracies, **values), reference, Start(original, DIGEST)))
        originals[rows[-1]] = row_of(original, reference)
    return rows, originals


def ends(low: float, high: float) -> str:
    return f"{low:.1f} to {high:.1f}".replace("-", "\N{MINUS SIGN}")


def said(told: Sequence[Mapping[str, str]], about: str) -> list[str]:
    return [sentence["text"] for sentence in told if sentence["about"] == about]


def of_cell(*arguments: Any, **more: Any) -> list[dict[str, str]]:
    (sentences,) = tell(*one_method(*arguments, **more))[1].values()
    return sentences


# Verdicts.


def test_a_fall_that_is_more_than_noise() -> None:
    """Falls of 10, 12, 14: mean 12, sd 2, and 4.3027 / sqrt 3 * 2 = 4.97 to either side."""
    before = [{FORGET: 90.0, OTHER: 80.0}] * 3
    told = of_cell([{FORGET: 90.0 - fall, OTHER: 80.0} for fall in (10, 12, 14)], before)
    assert said(told, "forget_groups") == [
        'On the test images of "high, cold" (n = 100), accuracy is 90.0 % in the original model and 78.0 % after SalUn:'
        " 12.0 points less (95 % interval 7.0 to 17.0, 3 seeds): more than noise."
    ]


def test_against_the_retrained_model_of_the_same_seed() -> None:
    """0, 4, 8 above it: mean 4, sd 4, 9.94 to either side; unpaired the retrained models are 20 points apart."""
    own = [{FORGET: 60.0 + above + 10 * seed} for seed, above in enumerate((0, 4, 8))]
    told = of_cell(own, [{FORGET: 90.0}] * 3, [{FORGET: 60.0 + 10 * seed} for seed in range(3)])
    assert said(told, "forget_groups")[1] == (
        "Had the images to be forgotten never been there, it would be 70.0 % (Retrained). SalUn has 4.0 points more"
        " (95 % interval −5.9 to 13.9, 3 seeds): too noisy to say."
    )


def test_one_seed_has_its_interval_from_the_test_images_and_says_so() -> None:
    (text,) = said(of_cell([{FORGET: 70.0}], [{FORGET: 90.0}]), "forget_groups")
    _, low, high = difference_interval(90, 100, 70, 100)
    interval = f"95 % interval {ends(low, high)}, one seed only, from its test images"
    assert text.endswith(f"20.0 points less ({interval}): more than noise.")


def test_seeds_that_are_all_alike_are_no_evidence_of_no_noise() -> None:
    """Two points in each of three seeds, as of one and the same network: the interval is that of one of them."""
    (text,) = said(of_cell([{FORGET: 88.0}] * 3, [{FORGET: 90.0}] * 3), "forget_groups")
    _, low, high = difference_interval(90, 100, 88, 100)
    assert text.endswith(
        f"2.0 points less (95 % interval {ends(low, high)}, 3 seeds, from its test images): too noisy to say."
    )


def test_runs_that_share_models_say_of_how_many_images_they_are() -> None:
    pairs = [(Score(90.0, 252), Score(40.0, 252)), (Score(90.0, 252), Score(50.0, 252))]
    found = estimate_change(pairs, independent=False)
    assert found is not None
    assert wording.fall(found).startswith(
        "from 90.0 % to 45.0 % (n = 252), 45.0 points less (no interval: 2 seeds, which share"
    )


def test_several_forget_groups_count_by_their_images_and_the_worst_of_them_is_named() -> None:
    groups = {"a": 90.0, "b": 50.0}
    rows, originals = one_method([{"a": 80.0, "b": 50.0}], [groups], forget_group_names=["a", "b"])
    rows[0].values["groups"][0]["n_test"] = originals[rows[0]].values["groups"][0]["n_test"] = 300
    (told,) = tell(rows, originals)[1].values()
    first, second = said(told, "forget_groups")
    # (300 * 90 + 100 * 50) / 400 = 80, and 72.5.
    assert first.startswith(
        'On the test images of "a" and "b" (n = 400), accuracy is 80.0 % in the original model and 72.5 %'
    )
    assert second.startswith('Of the 2 forget groups, "a" lost most: from 90.0 % to 80.0 % (n = 300), 10.0 points less')
    assert "for all 2 at once" in second


def test_no_difference_one_point_and_signs_are_told_as_one_says_them() -> None:
    told = of_cell([{FORGET: 60.0}] * 2, [{FORGET: 61.0}, {FORGET: 61.0}], [{FORGET: 60.0}] * 2)
    first, second = said(told, "forget_groups")
    assert "60.0 % after SalUn: 1.0 point less (95 % interval" in first
    assert "SalUn is 0.0 points apart (95 % interval" in second
    assert (
        Estimate(50.0, 50.02, -0.04, 3.0, 2).told()
        == "0.0 points apart (95 % interval 0.0 to 3.0, 2 seeds): too noisy to say"
    )
    assert Estimate(50.0, 52.0, -1.0, 5.0, 2).interval() == "95 % interval −1.0 to 5.0, 2 seeds"


def many(falls: Sequence[Sequence[float]]) -> list[dict[str, float]]:
    """Of each seed the accuracies of groups g0, g1, ... from 90, and of the forget group."""
    return [{FORGET: 90.0} | {f"g{number}": 90.0 - fall for number, fall in enumerate(own)} for own in falls]


def test_the_worst_of_many_groups_has_an_interval_that_holds_for_all() -> None:
    """Falls of 10, 12, 14 are more than noise of one group (7.0 to 17.0), and are not of the worst of 20.

    At 90 % no group can gain more than 10.
    """
    chosen = of_cell(many([[fall] + [0.1] * 19 for fall in (10, 12, 14)]), many([[0] * 20] * 3))
    half = t.ppf(1 - 0.05 / 20 / 2, 2) / math.sqrt(3) * 2
    assert said(chosen, "others") == [
        'Of the 20 other groups, in numbers "g0" lost most: from 90.0 % to 78.0 % (n = 100), 12.0 points less (95 %'
        f" interval {ends(-10, 12 + half)} for all 20 at once, 3 seeds): too noisy to say."
    ]
    (alone,) = said(of_cell(many([[fall] for fall in (10, 12, 14)]), many([[0]] * 3)), "others")
    assert alone.startswith('Of the one other group, "g0" lost most: ')
    assert alone.endswith("(95 % interval 7.0 to 17.0, 3 seeds): more than noise.")


def test_a_larger_fall_that_may_be_noise_does_not_hide_one_that_is_none() -> None:
    told = of_cell(many([[5.0, 0.0], [5.2, 60.0], [5.4, 30.0]]), many([[0.0, 0.0]] * 3))
    (text,) = said(told, "others")
    assert text.startswith('Of the 2 other groups, "g0" has the largest loss beyond noise: from 90.0 % to 84.8 %')
    assert text.endswith('Larger in numbers, but too noisy to say for all 2 at once: "g1", 30.0 points.')


def test_no_group_lost() -> None:
    told = of_cell(many([[-1.0, 0.0]] * 2), many([[0.0, 0.0]] * 2))
    assert said(told, "others") == ["Of the 2 other groups, none lost accuracy on its test images."]


# The attack and the cost.


def attacked(own: list[float], retrained: list[float], **more: Any) -> list[str]:
    accuracies = [{FORGET: 90.0}] * len(own)
    rows, originals = one_method(accuracies, accuracies, accuracies, mia_auc=tuple(own), **more)
    for row, value in zip(rows, retrained, strict=True):
        assert row.reference
        row.reference.metrics.update(mia_auc=value, mia_group_auc=value)
    (told,) = tell(rows, originals)[1].values()
    return said(told, "attack")


def test_the_attack_is_compared_with_the_retrained_model() -> None:
    """4, 5, 6 above: 5 -+ 4.3027 / sqrt 3."""
    (text,) = attacked([54.0, 56.0, 58.0], [50.0, 51.0, 52.0])
    assert text == (
        "A membership attack (MIA AUC, 50 is guessing, n = 20) reaches 56.0 after SalUn and 51.0 in the retrained"
        " model, which was not trained on the images: 5.0 points more (95 % interval 2.5 to 7.5, 3 seeds): more than"
        " noise, so it can still be told that they were seen."
    )
    (text,) = attacked([54.0, 50.0, 58.0], [50.0, 51.0, 52.0])
    assert text.endswith(": too noisy to say whether it can still be told that they were seen.")
    (text,) = attacked([44.0, 46.0, 48.0], [50.0, 51.0, 52.0])
    assert text.endswith(": more than noise, but not as a trace of having been seen: they are over-forgotten.")
    (text,) = attacked([54.0, 56.0, 58.0], [60.0, 61.0, 62.0])  # below the retrained model's, and above guessing
    assert text.endswith(": more than noise, but not as a trace of having been seen.")


def test_of_one_seed_the_attacks_interval_is_from_the_images() -> None:
    (text,) = attacked([70.0], [50.0])
    _, low, high = auc_difference_interval(70.0, 50.0, 20, 20)
    assert f"20.0 points more (95 % interval {ends(low, high)}, one seed only, from the images attacked)" in text


def test_where_non_members_were_filled_the_attack_within_the_groups_is_told() -> None:
    (text,) = attacked([70.0, 71.0], [50.0, 50.5], mia_group_auc=51.0, mia_filled=(0.0, 5.0))
    assert text.startswith(
        "A membership attack (MIA AUC (g), 50 is guessing, n = 20) reaches 51.0 after SalUn and 50.2"
    )


def test_the_cost_is_a_quotient_of_the_same_seeds() -> None:
    told = of_cell([{FORGET: 90.0}] * 2, [{FORGET: 90.0}] * 2, [{FORGET: 90.0}] * 2, seconds=(10.0, 8.0))
    # 4 and 5 times, in logarithms 1.386 and 1.609: 1.498 -+ 12.706 / sqrt 2 * 0.158 = 1.418.
    assert said(told, "cost") == [
        "It took 9.0 s; retraining took 40 s, 4.5 times as long (95 % interval 1.1 to 18.5, 2 seeds)."
    ]


# What was asked for.


@pytest.mark.parametrize(
    "values, config, text",
    [
        ({}, {}, '20 of the 40 training images of "high, cold" were to be forgotten.'),
        ({"n_forget": 1}, {}, '1 of the 40 training images of "high, cold" was to be forgotten.'),
        (
            {},
            {"unlearning_type": "random"},
            "20 of the 80 training images, drawn from all groups, were to be forgotten.",
        ),
        (
            {"n_requests": 12},
            {"forget_list": "x.txt"},
            '20 of the 80 training images were to be forgotten, as a list of 12 names asked; they are of "high, cold".',
        ),
        ({"groups": []}, {}, '20 training images of "high, cold" were to be forgotten.'),
    ],
)
def test_what_was_to_be_forgotten(values: dict[str, Any], config: dict[str, Any], text: str) -> None:
    rows, originals = one_method([{FORGET: 9.0, OTHER: 9.0}], [{FORGET: 9.0}], **values)
    rows[0].run.config.update(config)
    table, cells = tell(rows, originals)
    assert said(table, "request") == said(cells["salun"], "request") == [text]


# What is missing is said, and nothing else of it.


def test_without_a_retrained_model() -> None:
    table, cells = tell(*one_method([{FORGET: 80.0}] * 2, [{FORGET: 90.0}] * 2, mia_auc=55.0))
    assert said(cells["salun"], "missing") == [
        "The retrained model is not here. What retraining would give is not known."
    ]
    assert said(cells["salun"], "attack") == [
        "A membership attack (MIA AUC, 50 is guessing) reaches 55.0 after SalUn; there is no retrained model to compare"
        " with."
    ]
    assert said(table, "missing") == ["No retrained model is here to compare SalUn with."]
    everything = " ".join(sentence["text"] for sentence in [*table, *cells["salun"]])
    assert "Had the images" not in everything
    assert "retraining took" not in everything
    assert said(table, "comparison") == said(table, "attack") == []


def test_without_an_original_model() -> None:
    rows, _ = one_method([{FORGET: 80.0, OTHER: 70.0}], [{FORGET: 90.0}], [{FORGET: 60.0, OTHER: 70.0}])
    (row,) = rows
    lost = row_of(
        row.run, row.reference, Start(None, told="not found: no pretrained run of its data, model and seed is here")
    )
    table, cells = tell([lost], {lost: None})
    assert said(cells["salun"], "missing") == [
        "The original model is not here: no pretrained run of its data, model and seed is here. What unlearning changed"
        " is not known."
    ]
    first, second = said(cells["salun"], "forget_groups")
    assert first == 'On the test images of "high, cold" (n = 100), accuracy is 80.0 % after SalUn.'
    assert second.startswith(
        "Had the images to be forgotten never been there, it would be 60.0 % (Retrained). SalUn has 20.0"
    )
    assert said(table, "harm") == said(cells["salun"], "others") == said(cells["salun"], "original") == []
    assert said(table, "missing") == ["No original model is here for SalUn: what they changed is not known."]


def test_an_original_that_was_found_by_name_is_said_to_be() -> None:
    rows, originals = one_method([{FORGET: 80.0}], [{FORGET: 90.0}])
    (original,) = originals.values()
    named = row_of(rows[0].run, None, Start(original.run, NAME, "found by name, as the run of its seed"))
    _, cells = tell([named], {named: original})
    assert said(cells["salun"], "original") == ["The original model was found by name, as the run of its seed."]
    assert said(of_cell([{FORGET: 80.0}], [{FORGET: 90.0}]), "original") == []


def test_where_an_original_is_missing_for_some_seeds_the_others_count() -> None:
    rows, originals = one_method([{FORGET: 80.0}] * 3, [{FORGET: 90.0}] * 3)
    table, cells = tell(rows, originals | {rows[1]: None})
    assert ", 2 seeds" in said(cells["salun"], "forget_groups")[0]
    assert said(cells["salun"], "missing")[0] == (
        "The original model is not here (seed 1): found by the digest of its weights; its answers on these images are"
        " not here. What unlearning changed is not known."
    )


def test_without_accuracies_by_group_or_test_images_of_the_forget_groups() -> None:
    told = of_cell([{}], [{}], [{}])
    assert said(told, "missing") == ["Accuracies by group were not stored: what happened to the groups is not known."]
    assert said(told, "forget_groups") == said(told, "others") == []
    assert said(of_cell([{}, {FORGET: 8.0}], [{FORGET: 9.0}] * 2, [{FORGET: 8.0}] * 2), "missing") == []
    told = of_cell([{OTHER: 80.0}], [{OTHER: 90.0}], [{OTHER: 90.0}])
    assert said(told, "missing") == [
        "The test set has no image of the forget groups: what happened to them is not known."
    ]
    assert said(told, "others")[0].startswith('Of the one other group, "low, warm" lost most')


def test_groups_that_the_test_set_lacks_are_not_counted() -> None:
    rows, originals = one_method([{FORGET: 80.0, OTHER: 70.0, "x": 0.0}], [{FORGET: 80.0, OTHER: 80.0, "x": 90.0}])
    rows[0].values["groups"][2] |= {"n_test": 0, "test_acc": None}
    (text,) = said(tell(rows, originals)[1]["salun"], "others")
    assert text.startswith('Of the one other group, in numbers "low, warm" lost most')


def test_an_attack_that_could_not_be_made_has_its_reason() -> None:
    reasons = {"mia_auc": "the forget set has 3 samples, and the attack needs 20"}
    told = of_cell([{FORGET: 9.0}], [{FORGET: 9.0}], [{FORGET: 9.0}], mia_auc=None, reasons=reasons)
    assert said(told, "missing") == [f"There is no membership attack: {reasons['mia_auc']}."]
    assert said(told, "attack") == []


def test_an_imported_original_and_several_originals() -> None:
    rows, originals = one_method([{FORGET: 80.0}], [{FORGET: 90.0}])
    others, theirs = one_method([{FORGET: 70.0}], [{FORGET: 95.0}], tag="b")
    theirs[others[0]].run.stored["imported"] = {"file": "x.pt"}
    table, cells = tell([*rows, *others], originals | theirs)
    assert "The methods started from several original models; each is compared with its own." in said(table, "missing")
    known = "The original model is imported: with which seed and on which images it was trained is not known here."
    assert said(table, "original") == said(cells["salun, b"], "original") == [known]
    assert said(cells["salun"], "original") == []


def test_pretrained_and_retrained_rows() -> None:
    rows, originals = one_method([{FORGET: 80.0}], [{FORGET: 90.0}], [{FORGET: 60.0}])
    (original,), reference = originals.values(), rows[0].reference
    assert reference
    start = rows[0].start
    retrained = row_of(reference, reference, start)
    _, cells = tell([original, retrained], {retrained: original})
    assert said(cells["pretrain"], "original")[0].startswith("This is an original model: it was trained on all")
    assert said(cells["retrain"], "original")[0].startswith(
        "This is a retrained model: it was trained from scratch without"
    )
    assert said(cells["pretrain"], "missing") == said(cells["retrain"], "missing") == []
    (text,) = said(cells["retrain"], "forget_groups")  # it is not compared with itself
    assert "90.0 % in the original model and 60.0 % in Retrained: 30.0 points less" in text
    table, _ = tell(
        [row_of(StoredRun(Path("p"), {"method": "pretrain", "seed": 0, "tag": ""}, {}, {"test_acc": 90.0}))], {}
    )
    assert table == [{"about": "missing", "text": "Only original models are here: nothing was to be forgotten."}]


# Tables.


def cells_of(gaps: Mapping[str, Mapping[int, float | None]], reference: str = "retrain") -> list[Row]:
    """Rows by tag with these values of Avg. Gap by seed, all with one reference a seed."""
    retrained = {seed: run_of(reference, seed, {FORGET: 60.0}) for own in gaps.values() for seed in own}
    return [
        row_of(run_of("salun", seed, {FORGET: 80.0}, tag=tag, avg_gap=gap), retrained[seed])
        for tag, own in gaps.items()
        for seed, gap in own.items()
    ]


def compared(*arguments: Any) -> list[str]:
    return said(tell(cells_of(*arguments), {})[0], "comparison")


def test_the_closest_method_is_told_where_its_interval_allows() -> None:
    """1 and 10 away, by 9, 9.2, 9.4: 9.2 -+ 0.5. The third is too noisy for the interval of two at once."""
    sure = {"a": {0: 1.0, 1: 1.0, 2: 1.0}, "b": {0: 10.0, 1: 10.2, 2: 10.4}}
    assert compared(sure) == [
        "Of 2 methods compared with Retrained, SalUn (a) stays closest to it (Avg. Gap 1.0). SalUn (b) has 9.2 points"
        " more (95 % interval 8.7 to 9.7, 3 seeds): more than noise."
    ]
    half = t.ppf(1 - 0.05 / 2 / 2, 2) / math.sqrt(3) * 1.0
    assert compared({**sure, "c": {0: 2.0, 1: 3.0, 2: 4.0}}) == [
        "Of 3 methods compared with Retrained, SalUn (a) is closest to it in numbers (Avg. Gap 1.0). SalUn (c) has"
        f" 2.0 points more (95 % interval {ends(2 - half, 2 + half)} for all 2 at once, 3 seeds): too noisy to"
        " say. Farther by more than noise: SalUn (b)."
    ]
    assert "It is too noisy to say for SalUn (c)." in compared({**sure, "c": {0: 2.0, 1: 3.0, 2: 40.0}})[0]


def test_what_is_not_compared() -> None:
    """Methods of another reference, of other seeds, one that is alone, and seeds of which there is one."""
    one = {"a": {0: 1.0}, "b": {0: 9.0}}
    assert compared(one) == [
        "Of 2 methods compared with Retrained, SalUn (a) is closest to it in numbers (Avg. Gap 1.0). SalUn (b) has"
        " 8.0 points more (no interval: one seed only): too noisy to say."
    ]
    fewer = {"a": {0: 1.0, 1: 2.0}, "b": {0: 9.0, 1: 9.0}, "c": {1: 0.0}, "d": {0: None, 1: 0.0}}
    (text,) = compared(fewer)
    assert text.startswith("Of 2 methods compared with Retrained, SalUn (a) stays closest")
    assert text.endswith("Not compared, as other seeds were run: SalUn (c) and SalUn (d).")
    assert compared({"a": {0: 1.0, 1: 2.0}}) == []
    other = run_of("retrain", 0, {FORGET: 50.0})
    other.config["reweight"] = True
    rows = cells_of({"a": {0: 1.0}})
    rows.append(row_of(run_of("miu", 0, {FORGET: 70.0}, avg_gap=0.0), other))
    assert said(tell(rows, {})[0], "comparison") == []


def test_of_a_table_the_worst_of_all_groups_and_methods() -> None:
    rows, originals = [], {}
    for tag, fall in (("a", 1.0), ("b", 30.0), ("c", 2.0)):
        own = [{FORGET: 90.0 - fall - seed, OTHER: 80.0 - seed * fall / 30} for seed in range(4)]
        found, theirs = one_method(own, [{FORGET: 90.0, OTHER: 80.0}] * 4, [{FORGET: 60.0, OTHER: 80.0}] * 4, tag=tag)
        rows += found
        originals |= theirs
    table, _ = tell(rows, originals)
    half = t.ppf(1 - 0.05 / 3 / 2, 3) / 2 * stdev([0, 1, 2, 3])
    forget, others = said(table, "harm")
    assert forget == (
        'Of 3 methods, SalUn (b) harmed the forget group "high, cold" most: from 90.0 % to 58.5 % (n = 100), 31.5'
        f" points less (95 % interval {ends(31.5 - half, 31.5 + half)} for all 3 at once, 4 seeds): more than"
        " noise. Retraining without them (Retrained) costs it 30.0 points; SalUn (b) takes 1.5 points more (95 %"
        f" interval {ends(1.5 - half, 1.5 + half)} for all 3 at once, 4 seeds): too noisy to say."
    )
    assert others.startswith('Of 3 methods, in numbers SalUn (b) harmed the other group "low, warm" most: ')
    assert others.endswith(": too noisy to say.")
    assert said(table, "forget_groups")[0].startswith(
        'On the test images of "high, cold" (n = 100), accuracy is 90.0 % in the original model. Had the images to be'
        " forgotten never been there, it would be 60.0 % (Retrained), 30.0 points less (95 % interval"
    )
    assert said(table, "cost") == ["Unlearning took 10 s (SalUn (a)), retraining 40 s."]


def test_of_a_table_the_attack_on_the_original_and_after_the_methods() -> None:
    rows, originals = [], {}
    for tag, auc in (("a", (60.0, 61.0, 62.0)), ("b", (50.0, 52.0, 51.0))):
        accuracies = [{FORGET: 90.0}] * 3
        found, theirs = one_method(accuracies, accuracies, accuracies, tag=tag, mia_auc=auc)
        for seed, row in enumerate(found):
            assert row.reference
            row.reference.metrics["mia_auc"] = 50.0 + 0.5 * seed
            theirs[row].values["mia_auc"] = 65.0
        rows += found
        originals |= theirs
    control, after = said(tell(rows, originals)[0], "attack")
    assert control == (  # 15, 14.5, 14: sd 0.5, -+ 1.24
        "A membership attack (MIA AUC, 50 is guessing, n = 20) reaches 65.0 in the original model, which saw the"
        " images, and 50.5 in the retrained one, which was not trained on them: 14.5 points more (95 % interval 13.3 to"
        " 15.7, 3 seeds): more than noise."
    )
    assert after.startswith(
        "Of 2 methods, after SalUn (a) it can still be told that the images were seen: 61.0 against 50.5 in its"
    )
    assert after.endswith("After the other it is too noisy to say. Taken alone, none of these is more than noise.")
    originals[rows[0]].values["mia_auc"] = 40.0
    assert said(tell(rows, originals)[0], "attack")[0].endswith(
        ": too noisy to say. So it says little of what methods leave."
    )
    originals[rows[0]].run.stored["imported"] = {"file": "x.pt"}
    assert "in the original model, which is imported, and 50.5" in said(tell(rows, originals)[0], "attack")[0]


def attacked_methods(*aucs: tuple[float, ...]) -> tuple[list[str], list[str]]:
    """What the table says of the attack, and what each row says; retrained models are at 50."""
    rows, originals = [], {}
    for tag, own in zip("abcdefgh", aucs, strict=False):
        accuracies = [{FORGET: 90.0}] * len(own)
        found, theirs = one_method(accuracies, accuracies, accuracies, tag=tag, mia_auc=own)
        for row in found:
            assert row.reference
            row.reference.metrics["mia_auc"] = 50.0
        rows += found
        originals |= theirs
    table, cells = tell(rows, originals)
    return said(table, "attack"), [text for cell in cells.values() for text in said(cell, "attack")]


def test_a_table_and_its_rows_do_not_contradict_each_other_on_the_attack() -> None:
    """2, 3, 4 above 50: sd 1, and 2.48 to either side of one, 4.4 of the first of three."""
    (told,), rows = attacked_methods((52.0, 53.0, 54.0), (49.0, 50.0, 51.0), (48.0, 49.0, 50.0))
    half = t.ppf(1 - 0.05 / 3 / 2, 2) / math.sqrt(3)
    assert told == (
        "Of 3 methods, in numbers SalUn (a) leaves most: 53.0 against 50.0 in its retrained model, 3.0 points more"
        f" (95 % interval {ends(3 - half, 3 + half)} for all 3 at once, 3 seeds): too noisy to say whether it can"
        " still be told that the images were seen. Taken alone, SalUn (a) is more than noise."
    )
    assert rows[0].endswith(": more than noise for this method alone, so it can still be told that they were seen.")
    # With 10 below 50, beyond noise even for both at once.
    (told,), rows = attacked_methods((52.0, 53.0, 54.0), (39.0, 40.0, 41.0))
    assert told.endswith(
        " Over-forgotten by more than noise, so that the images stand out by higher losses: SalUn (b). Taken alone,"
        " SalUn (a) is more than noise."
    )
    assert rows[1].endswith("but not as a trace of having been seen: they are over-forgotten.")
    (told,), _ = attacked_methods((49.0, 50.0, 51.0), (48.0, 49.0, 50.0))
    assert told.endswith("seen. Taken alone, none of them is more than noise.")
    (told,), (row,) = attacked_methods((49.0, 50.0, 51.0))
    assert told.startswith("SalUn (a): 50.0 against 50.0 in its retrained model, 0.0 points apart (95 % interval")
    assert "taken alone" not in f"{told} {row}".lower()


def test_variants_are_told_after_methods_and_do_not_widen_their_intervals() -> None:
    methods, originals = one_method([{FORGET: 80.0 - seed} for seed in range(3)], [{FORGET: 90.0}] * 3)
    whole, theirs = list(methods), dict(originals)
    for tag in "abc":
        found, of = one_method([{FORGET: 60.0 - seed} for seed in range(3)], [{FORGET: 90.0}] * 3, tag=tag)
        whole, theirs = whole + found, theirs | of
    (alone,) = said(tell(methods, originals)[0], "harm")
    first, second = said(tell(whole, theirs)[0], "harm")
    assert first == alone
    assert "Of the one forget group, SalUn harmed the forget group" in first
    assert second.startswith("Of 3 variants (runs with a tag), SalUn (a) harmed the forget group")
    assert "for all 3 at once" in second


def test_rows_with_a_tag_stand_last() -> None:
    configs = [("scrub", ""), ("miu", "b"), ("salun", "a"), ("retrain", "c"), ("miu", "")]
    runs = [run_of(method, 0, {}, tag=tag) for method, tag in configs]
    assert [f"{run.method} {run.config['tag']}".strip() for run in sorted(runs, key=rank)] == [
        "retrain c", "miu", "scrub", "miu b", "salun a"
    ]  # fmt: skip


# Names, the payload, and a committed study.


def test_hostile_names_stay_in_one_line_and_as_they_are() -> None:
    name = 'a"\n\x1b[2J\u202e | *b* <script>'
    rows, originals = one_method(
        [{name: 80.0, "x": 1.0}], [{name: 90.0, "x": 2.0}], forget_group_names=[name], tag="t\n\x1b"
    )
    table, cells = tell(rows, originals)
    told = [sentence["text"] for own in (table, *cells.values()) for sentence in own]
    assert len(told) > 6
    assert all(text.isprintable() for text in told)
    assert any(r'"a"\n\x1b[2J\u202e | *b* <script>"' in text for text in told)


def test_filters_leave_no_sentence_out_and_say_nothing_is_missing(tmp_path: Path, capsys: Capture) -> None:
    """The retrained run is not shown, and is here all the same."""
    groups = [{"name": "high cold", "n_retain": 3, "n_forget": 6, "n_test": 20, "test_acc": 50.0}]
    make_run(tmp_path, "r", "retrain", metrics(groups=groups))
    make_run(tmp_path, "s", "salun", metrics(groups=groups, n_forget=6))
    whole, filtered = (
        json.loads(shown(tmp_path, capsys, "--format", "json", *flags))["tables"][0]["cells"][-1]["story"]
        for flags in ((), ("--method", "salun"))
    )
    assert filtered == whole
    (text,) = said(whole, "missing")
    assert text.startswith("The original model is not here: no pretrained run of its data")


def test_a_story_of_500_runs_takes_less_than_a_second() -> None:
    rows, originals = [], {}
    for tag in range(100):
        own = [
            {FORGET: 50.0 + seed} | {f"g{n}": 40.0 + (tag * n + 7 * seed) % 50 for n in range(30)} for seed in range(5)
        ]
        found, theirs = one_method(own, own[::-1], own, tag=str(tag), mia_auc=55.0, avg_gap=float(tag))
        rows += found
        originals |= theirs
    started = time.process_time()
    table, cells = tell(rows, originals)
    assert time.process_time() - started < 1.0  # a quarter of a second where no other process is in the way
    assert len(cells) == 100
    assert len(table) > 4


@pytest.mark.slow
def test_the_sentences_of_a_committed_study_are_true() -> None:
    """SalUn and SCRUB on digits at 0.9, computed anew from the metrics.json in the zip."""
    forgotten, other, n_seeds = "high digit, warm tint", "low digit, cold tint", 5
    with zipfile.ZipFile(STUDY) as archive:
        values = {
            name: [json.loads(archive.read(f"digits/small_cnn/{name}_{seed}/metrics.json")) for seed in range(n_seeds)]
            for name in ("pretrain", "split0/retrain_0.9", "split0/salun_0.9", "split0/scrub_0.9")
        }

    def of(name: str, group: str) -> list[float]:
        return [next(own["test_acc"] for own in one["groups"] if own["name"] == group) for one in values[name]]

    def told(own: Sequence[float], theirs: Sequence[float], choices: int = 1) -> str:
        differences = [a - b for a, b in zip(own, theirs, strict=True)]
        mean, half = fmean(differences), t.ppf(1 - 0.025 / choices, 4) * stdev(differences) / math.sqrt(n_seeds)
        low, high = sorted((abs(mean) - half, abs(mean) + half))
        at_once = f" for all {choices} at once" if choices > 1 else ""
        interval = f"95 % interval {ends(low, high)}{at_once}, 5 seeds"
        verdict = "more than noise" if abs(mean) > half else "too noisy to say"
        return f"{abs(mean):.1f} points {'less' if mean < 0 else 'more'} ({interval}): {verdict}"

    report = Report(read_runs(STUDY), {"ratio": [0.9], "tag": [""], "method": ["salun", "scrub"]}, ["mia"], True)
    ((key, rows),) = report.tables.items()
    _, cells = tell(rows, originals_of(report, key, rows))
    for method in ("salun", "scrub"):
        own, retrained = (f"split0/{name}_0.9" for name in (method, "retrain"))
        story = " ".join(sentence["text"] for sentence in cells[method])
        assert told(of(own, forgotten), of("pretrain", forgotten)) in story
        assert told(of(own, forgotten), of(own.replace(method, "retrain"), forgotten)) in story
        assert f"it would be {fmean(of(retrained, forgotten)):.1f} % (Retrained)" in story
        assert f'Of the 3 other groups, "{other}" lost most' in story
        assert told(of(own, other), of("pretrain", other), 3) in story
        assert told(*([one["mia_auc"] for one in values[name]] for name in (own, retrained))) in story
        mine, theirs = (fmean(one["seconds"] for one in values[name]) for name in (own, retrained))
        assert f"It took {mine:.1f} s; retraining took {theirs:.0f} s, " in story
