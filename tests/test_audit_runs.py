"""What was found out about single runs, put together over the runs of a label, with answers worked out by hand."""

import math
from pathlib import Path
from statistics import fmean, stdev
from types import SimpleNamespace
from typing import Any

import pytest
from trees import Capture, make_run, metrics, shown

from method.configs.seeds import Seeds
from method.evaluation.intervals import student_factor
from method.runs.audits import Found, read_audits
from method.runs.findings import ORIGINAL, RELEARN, RETRAINED, UNLEARNED, Finding, read_findings, write_findings
from method.runs.stored import read_runs
from scripts.report import command
from scripts.report.audit import Audit, audit_of
from scripts.report.audit_charts import relearning_rows
from scripts.report.audit_payload import as_payload
from scripts.report.audit_runs import over_runs
from scripts.report.audit_story import tell_audit
from scripts.report.collect import FILTERS, Report

TABLE = ("digits", "small_cnn", 32, "none", "split0", 0.9)
QUESTION = {"forgotten": [0], "steps": [10, 50], "epochs": 20, "seed": 0, "samples": 2000, "lr": 0.001}
Gaps = dict[int, dict[int, float]]  # by k and step


def of_runs(measure: str, *values: float | None, **facts: Any) -> Finding:
    """What a table shows of runs with these values, each trained anew."""
    runs = [SimpleNamespace(seeds=Seeds(seed, seed, seed)) for seed in range(len(values))]
    return over_runs(
        [Found(Finding(measure, TABLE, "miu", value, **facts), run) for value, run in zip(values, runs, strict=True)]
    )


# Times that were given up.


def times(*values: float | None, cap: float = 20.0) -> Finding:
    """Relearn times; None was given up after `cap` epochs."""
    found = []
    for seed, value in enumerate(values):
        own = {} if value is not None else {"low": cap, "reason": f"after {cap:g} epochs the accuracy is at most 60 %"}
        run = SimpleNamespace(seeds=Seeds(seed, seed, seed))
        found.append(Found(Finding("relearn_time", TABLE, "miu", value, **own), run))
    return over_runs(found)


def test_the_mean_time_is_there_where_every_run_got_back() -> None:
    one = times(2.0, 4.0, 9.0)
    assert (one.value, one.runs, one.reason) == (5.0, 3, None)
    assert one.low == 0.0  # Student's interval reaches below 0, which no time does
    assert one.high == pytest.approx(5.0 + (student_factor(3) or 0.0) * stdev((2.0, 4.0, 9.0)))


@pytest.mark.parametrize(
    ("values", "median", "told"),
    [
        ((2.0, None, 4.0), 4.0, "the median, as 1 of 3 runs took more than 20 epochs"),
        ((None, 3.0, 2.0, 4.0, None), 4.0, "the median, as 2 of 5 runs took more than 20 epochs"),
        ((2.0, 5.0, 3.0, None), 4.0, "the median, as 1 of 4 runs took more than 20 epochs"),
    ],
)
def test_of_times_that_were_given_up_the_median_is_told_where_most_got_back(
    values: tuple[float | None, ...], median: float, told: str
) -> None:
    one = times(*values)
    assert (one.value, one.low, one.high, one.runs, one.reason) == (median, None, None, len(values), told)


@pytest.mark.parametrize("values", [(2.0, None), (None, 2.0, None), (None, None), (2.0, 3.0, None, None)])
def test_the_time_is_more_than_the_cap_where_half_or_more_were_given_up(values: tuple[float | None, ...]) -> None:
    one = times(*values)
    assert (one.value, one.low, one.high) == (None, 20.0, None)
    assert one.reason == f"{values.count(None)} of {len(values)} runs took more than 20 epochs"


# Intervals and reasons.


@pytest.mark.parametrize(
    ("measure", "values", "least", "most"),
    [
        ("probe_acc", (99.0, 100.0), 0.0, 100.0),
        ("lmc_barrier", (0.0, 1.0), 0.0, 100.0),
        ("relearn_gap", (-99.0, -60.0), -100.0, 100.0),
        ("relearn_growth", (100.0, 150.0), -200.0, 200.0),
        ("l2_to_original", (0.5, 5.0), 0.0, math.inf),
        ("cka", (-2.0, 4.0), -100.0, 100.0),  # the unbiased estimate of unrelated features is about 0
    ],
)
def test_intervals_end_where_the_range_of_the_measure_does(
    measure: str, values: tuple[float, float], least: float, most: float
) -> None:
    half = (student_factor(2) or 0.0) * stdev(values)
    one = of_runs(measure, *values)
    assert one.low == pytest.approx(max(fmean(values) - half, least))
    assert one.high == pytest.approx(min(fmean(values) + half, most))
    assert (one.low, one.high) != pytest.approx((fmean(values) - half, fmean(values) + half)) or measure == "cka"


def test_reasons_say_of_how_many_runs_they_are() -> None:
    def run(seed: int, value: float | None, reason: str | None) -> Found:
        own = Finding("probe_acc", TABLE, "miu", value, reason=reason)
        return Found(own, SimpleNamespace(seeds=Seeds(seed, seed, seed)))

    few, none = "a probe needs two targets", "the features are all the same"
    assert over_runs([run(0, None, few), run(1, None, few)]).reason == few
    mixed = over_runs([run(0, None, few), run(1, None, none), run(2, None, few)])
    assert (mixed.value, mixed.runs, mixed.reason) == (None, 3, f"2 of 3 runs: {few}; 1 of 3 runs: {none}")
    some = over_runs([run(0, 90.0, None), run(1, None, few), run(2, 80.0, None)])
    assert (some.value, some.runs, some.reason) == (85.0, 2, f"1 of 3 runs: {few}")


# Curves of runs.


def relearned_run(
    root: Path, method: str, seed: int, gaps: Gaps, original: float = 30.0, known: bool = True, **question: Any
) -> None:
    """A relearned run: the retrained model is at 50 %, the original `original` points above it, at every step."""
    folder = make_run(root, f"{method}{seed}", method, metrics(50.0), seed=seed)
    found = []
    for k, own in gaps.items():
        for step, gap in own.items():
            at = {"forgotten_samples": k, "step": step}
            accuracy = {UNLEARNED: 50.0 + gap, RETRAINED: 50.0, ORIGINAL: 50.0 + original}
            found += [Finding("relearn_acc", TABLE, method, own, at={"model": m, **at}) for m, own in accuracy.items()]
            found.append(Finding("relearn_gap", TABLE, method, gap, at=at))
    asked = {"forget_fingerprint": f"forget{seed}", **QUESTION, **question}
    write_findings(folder / RELEARN, found, {"question": asked} if known else {})


def made(root: Path) -> tuple[Audit, Report]:
    runs = read_runs(root)
    report = Report(runs, dict.fromkeys(FILTERS, ()), [], audits=read_audits(root, runs))
    return audit_of(report, TABLE), report


def values(audit: Audit, name: str, key: str) -> dict[str, float | None]:
    """By the key of their columns what a label has of a measure."""
    own = {column.key: audit.get(name, column) for column in audit.columns if column.measure.key == key}
    return {key: one.value for key, one in own.items() if one}


def story(root: Path) -> str:
    audit, report = made(root)
    return " ".join(one["text"] for one in tell_audit(audit, report.tables[TABLE]))


def test_what_comes_back_is_what_grew_and_not_what_was_never_gone(tmp_path: Path) -> None:
    """Salun is far above the retrained model from the start; scrub starts at it, and ends half as far above."""
    for seed in range(4):
        relearned_run(tmp_path, "salun", seed, {0: {0: 20.0 + seed, 50: 20.2 + 0.9 * seed}})
        relearned_run(tmp_path, "scrub", seed, {0: {0: 0.5 * seed, 50: 10.0 + seed}})
    audit, _ = made(tmp_path)
    assert values(audit, "scrub", "relearn_growth") == {"relearn_growth@forgotten_samples=0": pytest.approx(10.75)}
    text = story(tmp_path)
    assert text.startswith("After SCRUB fine-tuning on retained samples alone brings back more of the rest of the")
    assert "from 0.8 to 11.5 points above the retrained model, 10.8 points more" in text
    assert "It is too noisy to say for 1 other." in text
    assert "It ends above the retrained model by more than noise after SCRUB: there it was hidden." in text


def test_growth_is_paired_by_run(tmp_path: Path) -> None:
    """Gaps differ by 60 points between runs and grow by about 5 in each: apart, no interval of either shows that."""
    for seed, first in enumerate((-30.0, 0.0, 30.0)):
        relearned_run(tmp_path, "miu", seed, {0: {0: first, 50: first + 4.9 + 0.1 * seed}})
    audit, _ = made(tmp_path)
    (one,) = [own for (_, column, *_), own in audit.found.items() if column.measure.key == "relearn_growth"]
    half = (student_factor(3) or 0.0) * 0.1
    assert (one.value, one.low, one.high) == pytest.approx((5.0, 5.0 - half, 5.0 + half))
    assert "Whether it ends above the retrained model is too noisy to say" in story(tmp_path)


def test_the_original_is_the_control_in_table_figure_and_story(tmp_path: Path) -> None:
    for seed in range(3):
        for method in ("salun", "scrub"):
            relearned_run(tmp_path, method, seed, {0: {0: 1.0, 50: 9.0 + seed}}, original=30.0 + seed)
    audit, own = made(tmp_path)
    (column,) = [one for one in audit.columns if one.measure.key == "relearn_gap"]
    assert audit.part("original", "salun", column) == 31.0
    assert "The control holds: the original, fine-tuned alike, has 31.0 points more" in story(tmp_path)
    rows = list(relearning_rows({"audit": as_payload(audit, own.tables[TABLE])}, []))
    drawn = [(row["series"], row["step"], row["value"]) for row in rows]
    assert drawn.count(("Original, the control", 50, 31.0)) == 1  # both methods share it
    assert {row["panel"] for row in rows} == {"0 forgotten samples"}


def test_a_control_that_forgets_is_named(tmp_path: Path) -> None:
    for seed in range(3):
        relearned_run(tmp_path, "salun", seed, {0: {0: 1.0, 50: 9.0 + seed}}, original=-1.0 + seed)
    assert "The control fails: the original, fine-tuned alike, has 0.0 points more (95 % interval" in story(tmp_path)


def test_tests_of_other_options_stand_in_columns_of_their_own(tmp_path: Path, capsys: Capture) -> None:
    relearned_run(tmp_path, "miu", 0, {0: {0: 0.0, 50: 10.0}}, lr=0.001)
    relearned_run(tmp_path, "miu", 1, {0: {0: 0.0, 50: 30.0}}, lr=0.01)
    relearned_run(tmp_path, "salun", 0, {0: {0: 0.0, 50: 5.0}}, lr=0.001, epochs=5)  # which no curve depends on
    audit, own = made(tmp_path)
    low, high = (f"relearn_gap@forgotten_samples=0@lr={rate}" for rate in ("0.001", "0.01"))
    assert values(audit, "miu", "relearn_gap") == {low: 10.0, high: 30.0}
    assert values(audit, "salun", "relearn_gap") == {low: 5.0}
    assert "gap, k = 0, lr: 0.01" in " ".join(shown(tmp_path, capsys).split())
    rows = list(relearning_rows({"audit": as_payload(audit, own.tables[TABLE])}, []))
    assert {(row["panel"], row["series"], row["value"]) for row in rows if row["step"] == 50} == {
        (f"0 forgotten samples, lr: {rate}", series, value)
        for rate, series, value in (
            ("0.001", "MIU", 10.0),
            ("0.001", "SalUn", 5.0),
            ("0.01", "MIU", 30.0),
            ("0.001", "Original, the control of SalUn", 30.0),
            ("0.001", "Original, the control of MIU", 30.0),
            ("0.01", "Original, the control of MIU", 30.0),
        )
    }
    assert "fine-tuning on retained samples alone (lr: 0.01) brings back" in story(tmp_path)


def test_a_redacted_copy_keeps_them_apart_without_telling_the_options(tmp_path: Path) -> None:
    for seed, rate in ((0, 0.001), (1, 0.01)):
        relearned_run(
            tmp_path / "own", "miu", seed, {0: {0: 0.0, 50: 10.0 + 20.0 * seed}}, lr=rate, steps=[10, 50 + seed]
        )
    assert command.main([str(tmp_path / "own"), "--redact", str(tmp_path / "copy")]) == 0
    (file, _) = sorted((tmp_path / "copy").rglob(RELEARN))
    assert read_findings(file)[1].keys() == {"version"}
    audit, _ = made(tmp_path / "copy")
    assert sorted(value for value in values(audit, "miu", "relearn_gap").values() if value) == [10.0, 30.0]


def test_another_retrained_model_is_another_option(tmp_path: Path) -> None:
    """Of the options of a test only `retrained` differs: seed 1 was compared with the one without REWEIGHT."""
    for seed in (0, 1):
        for reweight in (True, False):
            name = f"{'w' if reweight else 'r'}{seed}"
            make_run(tmp_path, name, "retrain", metrics(40.0), seed=seed, reweight=reweight)
        relearned_run(tmp_path, "miu", seed, {0: {0: 0.0, 50: 10.0 + 20.0 * seed}})
    for seed, name in ((0, "w0"), (1, "r1")):
        file = tmp_path / f"miu{seed}" / RELEARN
        found, facts = read_findings(file)
        write_findings(file, found, {"question": facts["question"], "runs": {"retrained": name}})
    audit, _ = made(tmp_path)
    assert values(audit, "miu", "relearn_gap") == {
        "relearn_gap@forgotten_samples=0@retrained=retrain": 30.0,
        "relearn_gap@forgotten_samples=0@retrained=that of Avg. Gap": 10.0,
    }


def test_the_last_step_is_one_that_all_runs_of_the_row_have(tmp_path: Path, capsys: Capture) -> None:
    """Where options are not told, as in a redacted copy, steps can differ all the same."""
    relearned_run(tmp_path, "miu", 0, {0: {0: 1.0, 50: 10.0, 200: 90.0}}, known=False)
    relearned_run(tmp_path, "miu", 1, {0: {0: 2.0, 20: 80.0, 50: 20.0}}, known=False)
    relearned_run(tmp_path, "salun", 0, {0: {0: 1.0, 200: 3.0}}, known=False)
    relearned_run(tmp_path, "scrub", 0, {0: {10: 1.0}}, known=False)
    relearned_run(tmp_path, "scrub", 1, {0: {20: 1.0}}, known=False)
    audit, _ = made(tmp_path)
    assert values(audit, "miu", "relearn_gap") == {"relearn_gap@forgotten_samples=0": 15.0}
    assert values(audit, "miu", "relearn_growth") == {"relearn_growth@forgotten_samples=0": 13.5}
    steps = [one.at["step"] for _, one in audit.curves if one.label == "miu" and one.at and "model" not in one.at]
    assert steps == [0, 50]
    text = " ".join(shown(tmp_path, capsys).split())
    assert "Of a curve the last step that all runs of the row have: 50 (miu); 200 (salun)." in text
    assert "its runs were looked at after other steps; test all with the same --steps" in text


def test_columns_rise_with_the_number_of_samples(tmp_path: Path) -> None:
    relearned_run(tmp_path, "miu", 0, {k: {0: 0.0, 50: 1.0} for k in (50, 5, 100, 0)})
    audit, _ = made(tmp_path)
    assert [column.key for column in audit.columns if column.measure.key == "relearn_gap"] == [
        f"relearn_gap@forgotten_samples={k}" for k in (0, 5, 50, 100)
    ]


def test_a_time_that_was_given_up_is_told_as_such_in_the_table(tmp_path: Path, capsys: Capture) -> None:
    """Also of a file that an earlier version wrote, where the cap stands among the options alone."""
    for seed in (0, 1):
        folder = make_run(tmp_path, f"s{seed}", "salun", metrics(50.0), seed=seed)
        found = [
            Finding("relearn_time", TABLE, "salun", None, at={"model": UNLEARNED}, reason="at most 60.0 %"),
            Finding("relearn_time", TABLE, "salun", 3.0 + seed, at={"model": RETRAINED}),
        ]
        write_findings(folder / RELEARN, found, {"question": QUESTION})
    text = shown(tmp_path, capsys)
    assert "> 20.00" in text
    assert "- relearn time of salun: 2 of 2 runs took more than 20 epochs" in " ".join(text.split())


# Files of other runs.


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"question": {"forget_fingerprint": "forget7"}}, "its forget fingerprint is forget7, expected forget0"),
        ({"question": QUESTION, "of": {"method": "miu", "seed": "1"}}, "its seed is 1, expected 0"),
        ({"question": QUESTION, "of": {"method": "ft", "seed": "0"}}, "its method is ft, expected miu"),
        ({"question": QUESTION, "runs": {"unlearned": "miu_0.9_0"}}, ""),  # the folder was renamed
        ({"question": QUESTION, "of": {"method": "miu", "seed": "0", "reweight": "True"}}, ""),
        ({}, ""),  # a redacted copy tells nothing
    ],
)
def test_a_file_of_another_run_is_a_problem_and_no_number(facts: dict[str, Any], told: str, tmp_path: Path) -> None:
    folder = make_run(tmp_path, "run", "miu", metrics(50.0))
    write_findings(folder / RELEARN, [Finding("probe_acc", TABLE, "miu", 90.0)], facts)
    found, problems = read_audits(tmp_path, read_runs(tmp_path))
    assert len(found) == (not told)
    assert [told in problem for _, problem in problems] == [True] * bool(told)


def test_a_file_of_an_earlier_version_is_of_another_run_where_name_and_label_differ(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "run", "miu", metrics(50.0))
    write_findings(
        folder / RELEARN,
        [Finding("probe_acc", TABLE, "salun", 90.0)],
        {"question": QUESTION, "runs": {"unlearned": "salun_0.9_0"}},
    )
    _, ((_, problem),) = read_audits(tmp_path, read_runs(tmp_path))
    assert "is of another run: its label is salun, expected miu" in problem
