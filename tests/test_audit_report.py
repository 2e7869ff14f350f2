"""What an audit found, in reports: tables, noise floors, charts, sentences, the sheet, notebooks and copies."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, needs_browser
from report_page import click, rows_of, saved, texts, undisturbed
from trees import NAMES, Capture, make_run, metrics, shown, table_lines

from method import UserError, load_audit
from method.evaluation.audit import measure_of
from method.evaluation.intervals import student_factor
from method.evaluation.measures import Measure
from method.runs.audits import read_audits
from method.runs.findings import AUDIT, RELEARN, Finding, write_findings
from method.runs.stored import read_runs
from scripts import keep_runs
from scripts.report import command as report
from scripts.report.audit import TITLE, audit_of
from scripts.report.audit_story import tell_audit
from scripts.report.audit_verdict import tell_verdict
from scripts.report.collect import FILTERS, Report
from scripts.report.figures import figures
from scripts.report.payload import payload
from scripts.report.sheet_audit import answers

TABLE = ("digits", "small_cnn", 32, "none", "split0", 0.9)
SALUN = [(61.0, 50.0, 11.0, 8.0, 14.0), (70.0, 51.0, 19.0, 15.0, 23.0)]  # of all, and of "high cold"
RELEARNED = {0: (4.0, 8.0), 1: (10.0, 12.0)}  # the gap of both seeds after the last step, by number of samples
MADE_UP = {
    key: Measure(key, title, f"what {title} is", "by hand", "this test, 2026", "none", unit)
    for key, title, unit in (
        ("lira_auc", "LiRA AUC", "%"),
        ("lira_excess", "LiRA excess", "points"),
        ("lira_tpr_at_01", "LiRA TPR", "%"),
    )
}
LABELS = ("salun", "scrub", "miu", "ft", "ga")


def attacked(name: str, auc: float, placebo: float, low: float, high: float, group: str | None = None) -> list[Finding]:
    return [
        Finding("lira_auc", TABLE, name, auc, group, placebo=placebo, n=90, runs=40),
        Finding("lira_excess", TABLE, name, auc - placebo, group, low=low, high=high, n=90, runs=40),
    ]


def found() -> list[Finding]:
    why = "200 negatives are fewer than 1 / FPR"
    return [
        *(one for row, group in zip(SALUN, (None, NAMES[2]), strict=True) for one in _of_salun(row, group)),
        Finding("lira_tpr_at_01", TABLE, "salun", None, reason=why),
        *attacked("scrub", 52.0, 51.0, -3.0, 5.0),
        Finding("lira_tpr_at_01", TABLE, "scrub", 0.5),
        Finding("lira_tpr_at_1", TABLE, "salun", None, reason=why),
        Finding("lira_tpr_at_1", TABLE, "scrub", None, reason=why),
        Finding("forgetting_quality", TABLE, "scrub", 0.4125, floor=0.75, n=90, runs=32),
        Finding("kl_to_retrain_test", TABLE, "retrain", 0.21, low=0.18, high=0.25, runs=5),
        Finding("test_acc", TABLE, "retrain", 1.3, runs=5),
        Finding("agreement_test", TABLE, "retrain", None, reason="no records are left"),
        *attacked("elsewhere", 99.0, 50.0, 48.0, 50.0),
    ]


def _of_salun(row: tuple[float, ...], group: str | None) -> list[Finding]:
    auc, placebo, _, low, high = row
    return attacked("salun", auc, placebo, low, high, group)


def relearned(seed: int) -> list[Finding]:
    return [
        Finding(name, ("as", "it", "was"), "another", value, at={**at, "forgotten_samples": k, "step": step}, runs=1)
        for k, values in RELEARNED.items()
        for step, share in ((0, 0.0), (50, 1.0))
        for name, value, at in (
            ("relearn_acc", 50 + share * values[seed], {"model": "unlearned"}),
            ("relearn_gap", share * values[seed], {}),
        )
    ] + [
        Finding("relearn_time", TABLE, "another", value + seed, at={"model": model}, runs=1)
        for model, value in (("unlearned", 1.0), ("retrained", 3.0))
    ]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seeds of retrain, salun and scrub, audited; salun is relearned too."""
    monkeypatch.setattr("scripts.report.redact_audit.MEASURES", MADE_UP)  # first: its import takes the real ones
    monkeypatch.setattr("method.evaluation.audit.MEASURES", MADE_UP)
    monkeypatch.setattr("scripts.report.audit.MEASURES", MADE_UP)
    monkeypatch.setattr("scripts.report.redact_audit.MEASURES", MADE_UP | dict.fromkeys(("relearn_gap", "relearn_acc")))
    for seed in (0, 1):
        make_run(tmp_path, f"r{seed}", "retrain", metrics(40.0 + seed, mia_auc=50.0), seed=seed)
        salun = make_run(tmp_path, f"s{seed}", "salun", metrics(50.0, kl_to_retrain_test=0.5, mia_auc=60.0), seed=seed)
        make_run(tmp_path, f"c{seed}", "scrub", metrics(44.0, kl_to_retrain_test=0.4, mia_auc=52.0), seed=seed)
        write_findings(salun / RELEARN, relearned(seed), {})
    write_findings(tmp_path / AUDIT, found(), {"command": "audit"})
    return tmp_path


def section(text: str) -> str:
    return text.split(TITLE, 1)[1]


def lines_of(text: str, question: str = "") -> list[list[str]]:
    """Those of the audit's tables, below the lines on how they are read, or those of the table of a question alone."""
    below = section(text).partition("\n\n")[2]
    return table_lines(below.split(question, 1)[1].split("\n\n")[1] if question else below)


def test_without_an_audit_a_report_is_as_it_was(tree: Path, capsys: Capture) -> None:
    whole = {kind: shown(tree, capsys, "--format", kind) for kind in ("text", "markdown", "csv", "latex", "json")}
    for file in tree.rglob("*.json"):
        if file.name in (AUDIT, RELEARN):
            file.unlink()
    for kind, text in whole.items():
        plain = shown(tree, capsys, "--format", kind)
        if kind == "json":  # whose words are those of docs/glossary.md
            plain = json.dumps({name: own for name, own in json.loads(plain).items() if name != "glossary"})
        assert TITLE in text or kind == "csv"
        assert text != plain
        assert TITLE not in plain
        assert "lira" not in plain.lower()
        assert "floor" not in plain
    assert '"audit"' not in plain


def test_a_row_a_label_and_a_column_a_measure_with_placebo_and_interval(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys)
    t = student_factor(2)
    assert t is not None
    half = [t * math.sqrt(sum((v - sum(own) / 2) ** 2 for v in own)) for own in RELEARNED.values()]
    gaps = [
        f"{sum(own) / 2:.1f} ({sum(own) / 2 - wide:.1f} to {sum(own) / 2 + wide:.1f})"
        for own, wide in zip(RELEARNED.values(), half, strict=True)
    ]
    time = f"1.5 ({1.5 - t * 0.5**0.5:.1f} to {1.5 + t * 0.5**0.5:.1f})"
    assert lines_of(text, "By U-LiRA") == [  # what nobody has a row for is left out
        ["salun", "40", "61.0", "50.0", "11.0 (8.0 to 14.0)", "-"],
        ["scrub", "40", "52.0", "51.0", "1.0 (-3.0 to 5.0)", "0.5"],
    ]
    assert lines_of(text, "from retrained ones?") == [["scrub", "32", "0.4", "0.8"]]
    assert lines_of(text, "only hidden?") == [["salun", "2", *gaps, *gaps]]  # the gap was 0 before step 1
    told = text.split("only hidden?")[1]
    assert [head.strip() for head in re.split(" {2,}", told.split("\n")[2])] == [
        *("method", "runs", "gap, k = 0", "gap, k = 1", "growth, k = 0", "growth, k = 1")
    ]
    assert table_lines(told.split("\n\n")[2]) == [["salun", "2", time, "3.5"]]
    text = shown(tree, capsys, "--method", "scrub")
    assert [line[0] for line in lines_of(text)] == ["scrub", "scrub"]
    assert "relearn" not in text


def test_a_line_is_no_wider_than_can_be_read_and_a_placebo_stands_beside_its_value(tree: Path, capsys: Capture) -> None:
    own = [Finding(f"lira_auc_{n}", TABLE, "salun", 60.0, low=50.0, high=70.0, placebo=50.0) for n in range(6)]
    write_findings(tree / AUDIT, [*found(), *own], {})
    text = section(shown(tree, capsys)).split("\n\n", 1)[1]
    heads = [line for line in text.splitlines() if line.startswith("method")]
    assert len(heads) > 3
    assert max(map(len, heads)) <= 118
    assert all(head.split()[-1] != "9" for head in heads)
    assert sum(head.count("placebo") for head in heads) == 7
    assert not any(head.split("  ")[1].strip() == "placebo" for head in heads)


def test_marks_of_references_stand_in_audits_too(tree: Path, capsys: Capture) -> None:
    for seed in (0, 1):
        make_run(tree, f"w{seed}", "retrain", metrics(41.0), seed=seed, reweight=True)
        make_run(tree, f"m{seed}", "miu", metrics(43.0), seed=seed, reweight=True)
    write_findings(tree / AUDIT, [*found(), *attacked("miu", 55.0, 50.0, 1.0, 9.0)], {})
    text = shown(tree, capsys)
    marked = [line[0] for line in table_lines(text.split(TITLE)[0]) if line[0].endswith("*")]
    assert marked
    assert marked == [line[0] for line in lines_of(text, "By U-LiRA") if line[0].endswith("*")]
    assert r"MIU$^{*}$ & 40 & 55.0 & 50.0" in shown(tree, capsys, "--format", "latex")


def test_a_group_that_says_what_all_say_has_no_line(tree: Path, capsys: Capture) -> None:
    own = [*found(), *(replace(one, group="high cold") for one in found() if one.label == "scrub")]
    write_findings(tree / AUDIT, own, {})
    lines = lines_of(shown(tree, capsys, "--by", "group"), "By U-LiRA")
    assert [line[:2] for line in lines] == [["salun", "all"], ["salun", NAMES[2]], ["scrub", "all"]]


def test_notes_say_what_is_missing_and_what_measures_mean(tree: Path, capsys: Capture) -> None:
    text = " ".join(section(shown(tree, capsys)).split())
    assert "- LiRA TPR and lira tpr at 1 of salun; lira tpr at 1 of scrub: 200 negatives are fewer than 1 / FPR" in text
    assert "Of a curve its last step, 50." in text
    assert "- agree T of noise floor: two models of retrain: no records are left" in text
    assert "In percent: LiRA AUC: what LiRA AUC is." in text
    assert "In points: LiRA excess: what LiRA excess is." in text


def test_groups_are_lines_of_their_own(tree: Path, capsys: Capture) -> None:
    lines = lines_of(shown(tree, capsys, "--by", "group"), "By U-LiRA")
    assert [line[:2] for line in lines] == [["salun", "all"], ["salun", NAMES[2]], ["scrub", "all"]]
    assert lines[1][3:6] == ["70.0", "51.0", "19.0 (15.0 to 23.0)"]


def test_csv_has_everything_of_a_label_and_of_a_group(tree: Path, capsys: Capture) -> None:
    lines = {one["label"]: one for one in csv.DictReader(io.StringIO(shown(tree, capsys, "--format", "csv")))}
    own = lines["salun"]
    assert [own[f"lira_excess{end}"] for end in ("", "_low", "_high", "_n", "_runs")] == [
        "11.0",
        "8.0",
        "14.0",
        "90",
        "40",
    ]
    assert (own["lira_auc_placebo"], own["relearn_time_retrained"]) == ("50.0", "3.5")
    assert own["relearn_gap@forgotten_samples=1"] == "11.0"
    assert (lines["retrain"]["lira_auc"], lines["scrub"]["forgetting_quality"]) == ("", "0.4125")
    groups = [{"name": name, "n_train": 9, "n_test": 4, "test_acc": 40.0} for name in NAMES]
    for run in tree.glob("s?"):
        (run / "metrics.json").write_text(json.dumps(metrics(50.0, groups=groups)))
    text = shown(tree, capsys, "--format", "csv", "--by", "group")
    of_groups = {(one["label"], one["group"]): one for one in csv.DictReader(io.StringIO(text))}
    assert of_groups["salun", NAMES[2]]["lira_auc"] == "70.0"
    assert of_groups["salun", NAMES[0]]["lira_auc"] == ""


def test_distances_have_their_noise_floor_below_them(tree: Path, capsys: Capture) -> None:
    """A metric that is no distance itself has it where differences are shown."""
    floor = ["noise floor: two models of retrain", "5"]
    columns = ("--columns", "TA,kl_to_retrain_test")
    assert table_lines(shown(tree, capsys, *columns))[3] == [*floor, "-", "0.210 (0.180 to 0.250)"]
    assert table_lines(shown(tree, capsys, *columns, "--difference"))[3] == [*floor, "1.3", "-"]
    assert "\nnoise floor: two" not in shown(tree, capsys, *columns, "--against", "scrub")
    assert "\nnoise floor: two" not in shown(tree, capsys, "--columns", "RA,TA")
    text = shown(tree, capsys, *columns, "--format", "latex", "--difference")
    assert r"noise floor: two models of Retrained & -- & 1.3 & 0.210 & -- \\" in text
    assert r"\scriptsize 0.180 to 0.250" in text


def test_privleak_has_its_floor_beside_values_and_an_auc_beside_differences(tree: Path, capsys: Capture) -> None:
    own = [Finding(key, TABLE, "retrain", value, runs=5) for key, value in (("privleak", 7.0), ("mia_auc", 2.5))]
    write_findings(tree / AUDIT, [*found(), *own], {})
    floor, columns = ["noise floor: two models of retrain", "5"], ("--columns", "privleak,mia_auc")
    assert table_lines(shown(tree, capsys, *columns))[3] == [*floor, "7.0", "-"]
    assert table_lines(shown(tree, capsys, *columns, "--difference"))[3] == [*floor, "-", "2.5"]


def test_latex_goes_on_in_further_tables(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--format", "latex")
    tables = text.split(r"\begin{table}")[2:]
    assert len(tables) > 1
    assert all(
        rf"\label{{tab:digits-split0-0.9-audit{end}}}" in own for own, end in zip(tables, ("", "-2"), strict=False)
    )
    assert r"SalUn & 40 & 61.0 & 50.0 & 11.0 &" in tables[0]
    assert r"\quad high cold" in shown(tree, capsys, "--format", "latex", "--by", "group")


def test_what_cannot_be_read_is_named_and_keeps_nothing_else_away(tree: Path, capsys: Capture) -> None:
    (tree / "s0" / RELEARN).write_text("{")
    text = shown(tree, capsys)
    assert "Not in the tables:" in text
    assert f"{tree / 's0'}: cannot read" in text
    gap = f"{RELEARNED[1][1]:.1f}"
    assert gap in lines_of(text, "only hidden?")[0]  # of the other seed, which has no interval alone
    for kind in ("latex", "csv"):  # which have no place for it
        assert report.main([str(tree), "--format", kind]) == 0
        out, err = capsys.readouterr()
        assert "cannot read" not in out
        assert f"note: {tree / 's0'}: cannot read" in err
    (tree / AUDIT).write_text('{"version": 7, "findings": []}')
    text = shown(tree, capsys)
    assert "version is 7" in text
    assert "only hidden?" in section(text)


def test_texts_of_a_file_stay_texts_whatever_they_are(tree: Path, capsys: Capture) -> None:
    odd = ({"step": "x", "forgotten_samples": None}, {"step": None}, {"|<b>\n": "|<b>\x1b"}, {"model": "|<b>"})
    own = [Finding("relearn_gap", TABLE, "salun", 1.0, group="<i>|\n", at=at, reason="|<b>\x1b") for at in odd]
    own += [replace(one, group=None) for one in own]
    write_findings(tree / AUDIT, [*found(), *own], {})
    for kind in ("text", "markdown", "latex", "csv", "json"):
        for flags in ([], ["--by", "group"]):
            text = shown(tree, capsys, "--format", kind, *flags)
            assert "\x1b" not in text
            assert kind != "markdown" or "<b>" not in text.replace("\\<b>", "")
    assert tell_audit(*made(tree))
    assert dict(figures(drawn(tree)))


def test_runs_that_share_models_have_no_interval_over_them(tree: Path) -> None:
    for seed in (0, 1):
        file = tree / f"s{seed}" / "config.yaml"
        file.write_text(file.read_text().replace("seed: 1", "seed: 1\n  train_seed: 0", 1))
    runs = read_runs(tree)
    made = Report(runs, dict.fromkeys(FILTERS, ()), [], audits=read_audits(tree, runs))
    own = audit_of(made, TABLE)
    (one,) = [value for (_, column, *_), value in own.found.items() if column.key == "relearn_gap@forgotten_samples=1"]
    assert (one.value, one.low, one.runs) == (11.0, None, 2)


def test_a_zip_has_its_audit_beside_it(tree: Path, capsys: Capture) -> None:
    target = tree.parent / f"{tree.name}.zip"
    assert keep_runs.main([str(tree), str(target)]) == 0
    kept = target.with_name(f"{tree.name}.{AUDIT}")
    assert json.loads(kept.read_text()).keys() == {"version", "findings"}  # and nothing of the command
    capsys.readouterr()
    of_zip = section(shown(target, capsys))
    assert of_zip.splitlines()[:12] == section(shown(tree, capsys)).splitlines()[:12]


def test_one_that_this_version_does_not_know_goes_by_its_key() -> None:
    assert (measure_of("new_measure").title, measure_of("new_measure").unit) == ("new measure", "")


# Sentences.


def made(tree: Path) -> tuple[Any, Any]:
    runs = read_runs(tree)
    found = Report(runs, dict.fromkeys(FILTERS, ()), [], audits=read_audits(tree, runs))
    return audit_of(found, TABLE), found.tables[TABLE]


def test_sentences_name_where_the_excess_is_more_than_noise(tree: Path) -> None:
    first, back = (one["text"] for one in tell_audit(*made(tree)))
    assert first == (
        "After SalUn forgotten samples can still be told one by one by more than their group (U-LiRA, beyond its"
        " placebo): 61.0 against 50.0 of its placebo, 11.0 points more (95 % interval 8.0 to 14.0, 40 runs): more than"
        " noise. It is too noisy to say for 1 other. Each verdict is of a method taken alone."
    )
    assert back.startswith("It is open whether fine-tuning on retained samples alone brings back more of the rest")
    assert back.endswith("2 runs): too noisy to say.")


def test_what_is_below_the_placebo_and_what_nobody_exceeds_are_told_apart(tree: Path) -> None:
    own = [*attacked("salun", 40.0, 50.0, -13.0, -7.0), *attacked("scrub", 52.0, 51.0, -3.0, 5.0)]
    write_findings(tree / AUDIT, own, {})
    first = tell_audit(*made(tree))[0]["text"]
    assert first.startswith("Of 2 methods, none shows beyond noise that forgotten samples")
    assert "most after SCRUB: 52.0 against 51.0 of its placebo, 1.0 point more (95 % interval −3.0 to 5.0" in first
    assert first.endswith(", 40 runs): too noisy to say.")
    own = [*attacked("salun", 60.0, 50.0, 7.0, 13.0), *attacked("scrub", 45.0, 51.0, -9.0, -3.0)]
    write_findings(tree / AUDIT, own, {})
    assert "Less by more than noise: SCRUB." in tell_audit(*made(tree))[0]["text"]


@pytest.mark.parametrize(
    ("gaps", "told"),
    [
        ((1.0, 2.0, 3.0, 4.0, 5.0), "order them alike (rank correlation 1.00"),
        ((5.0, 4.0, 3.0, 2.0, 1.0), "order them the other way round (rank correlation −1.00"),
        ((4.0, 1.0, 3.0, 5.0, 2.0), "order the 5 methods alike is too noisy to say (rank correlation 0.00"),
        ((2.0, 2.0, 2.0, 2.0, 2.0), ""),
    ],
)
def test_both_attacks_are_compared_by_the_order_of_methods(gaps: tuple[float, ...], told: str, tmp_path: Path) -> None:
    """Ranks 1 to 5 against 4 1 3 5 2: the products of their deviations are -2, 2, 0, 2 and -2, together 0."""
    make_run(tmp_path, "r", "retrain", metrics(mia_auc=50.0))
    make_run(tmp_path, "w", "retrain", metrics(mia_auc=50.0), reweight=True)
    for name, gap in zip(LABELS, gaps, strict=True):
        make_run(tmp_path, name, name, metrics(mia_auc=50.0 + gap), reweight=False)
    excess = dict(zip(("salun", "scrub", "miu (no reweight)", "ft", "ga"), range(1, 6), strict=True))
    own = [one for name, value in excess.items() for one in attacked(name, 50.0 + value, 50.0, value - 9, value + 9)]
    write_findings(tmp_path / AUDIT, own, {})
    texts = " ".join(one["text"] for one in tell_audit(*made(tmp_path)))
    assert told in texts
    assert ("rank correlation" in texts) == bool(told)


def test_the_sheet_answers_a_question_in_a_sentence(tree: Path) -> None:
    own, _ = made(tree)
    told = {one.question: one.text for one in answers(own, "salun")}
    assert told == {
        "Can a single forgotten image be told?": (
            "Yes, by more than noise: AUC 61.0, of held-out images in their place 50.0; excess 11.0"
            " (95 % interval 8.0 to 14.0, 40 runs)."
        ),
        "Does it come back?": (
            "Not beyond noise: fine-tuned on retained images alone, what it knows of the others goes from 0.0 to 6.0"
            " points above the retrained model, growth 6.0 points (95 % interval −19.4 to 31.4, 2 runs)."
        ),
        "How soon is it learned again?": (
            "After 1.5 epochs of fine-tuning on the forget set (95 % interval −4.9 to 7.9, 2 runs), the retrained"
            " model after 3.5."
        ),
    }
    told = {one.question: one.text for one in answers(own, "scrub")}
    assert told["Can a single forgotten image be told?"].startswith("Not beyond noise: AUC 52.0")
    assert told["Can unlearned models be told from retrained ones?"] == (
        "Forgetting quality is 0.41, where 1 is best, and retrained ones reach 0.75 against each other (32 runs)."
    )
    file = tree / "sheet.html"
    assert report.main([str(tree / "s0"), "--sheet", str(file)]) == 0
    text = file.read_text()
    assert TITLE in text
    assert "<li><b>Can a single forgotten image be told?</b> Yes, by more than noise: AUC 61.0" in text
    assert "Too few runs to say: fine-tuned on retained images alone" in text  # of this run alone
    assert "from 0.0 to 4.0 points above the retrained model, growth 4.0 points (1 run)" in text
    (tree / AUDIT).unlink()
    (tree / "s0" / RELEARN).unlink()
    assert report.main([str(tree / "s0"), "--sheet", str(file)]) == 0
    assert TITLE not in file.read_text()


def test_the_sheet_says_why_a_question_has_no_answer(tree: Path) -> None:
    own = [
        Finding("lira_excess", TABLE, "salun", 9.0, runs=3),
        Finding("ruli_privacy_auc", TABLE, "salun", 55.0, low=40.0, high=70.0, runs=8),
        Finding("forgetting_quality", TABLE, "salun", None, reason="it needs 8 runs"),
        Finding("probe_acc", TABLE, "salun", 92.0, at={"model": "unlearned"}),
        Finding("probe_acc", TABLE, "salun", 90.5, at={"model": "retrained"}),
    ]
    write_findings(tree / AUDIT, own, {})
    told = {one.question: one.text for one in answers(made(tree)[0], "salun")}
    assert told.pop("Does it come back?")
    assert told.pop("How soon is it learned again?")
    assert list(told.values()) == [
        "Too few runs to say: excess 9.0 (3 runs).",
        "Not beyond noise: AUC 55.0 (95 % interval 40.0 to 70.0, 8 runs); 50 is guessing.",
        "Not known: it needs 8 runs.",
        "From its features a linear probe is right on 92.0 % of the forgotten images, from the retrained model's on"
        " 90.5 %.",
    ]


def test_a_time_that_was_given_up_is_more_than_its_cap(tree: Path, capsys: Capture) -> None:
    for seed in (0, 1):
        (tree / f"s{seed}" / RELEARN).unlink()
    why = "2 of 2 runs took more than 20 epochs"
    own = [Finding("relearn_time", TABLE, "salun", None, low=20.0, reason=why, at={"model": "unlearned"}, runs=2)]
    write_findings(tree / AUDIT, own, {})
    assert lines_of(shown(tree, capsys), "only hidden?") == [["salun", "2", "> 20.0"]]
    assert "& 2 & $>$ 20.0" in shown(tree, capsys, "--format", "latex")
    (one,) = answers(made(tree)[0], "salun")
    assert one.text == f"After more than 20.0 epochs of fine-tuning on the forget set (2 runs); {why}."


def test_methods_are_judged_by_the_excess_without_ends_where_there_is_one(tree: Path) -> None:
    scale = [Finding("lira_excess_d", TABLE, "salun", 0.1, low=-0.2, high=0.4, runs=40)]
    write_findings(tree / AUDIT, [*found(), *scale], {})
    own, rows = made(tree)
    assert (
        tell_verdict(own, rows)[-1]["text"]
        == "Told from retrained models beyond the placebo, by more than noise: none. Not told beyond noise: SalUn."
    )
    assert next(answers(own, "salun")).text.startswith(
        "Not beyond noise: AUC 61.0, of held-out images in their place 50.0; excess"
    )


# The page and its charts.


def drawn(tree: Path) -> dict[str, Any]:
    runs = read_runs(tree)
    made = Report(runs, dict.fromkeys(FILTERS, ()), [], True, read_audits(tree, runs))
    return payload(made, tree)


def test_charts_show_attacks_beside_their_placebo_and_what_comes_back(tree: Path) -> None:
    specs = dict(figures(drawn(tree)))
    rows = specs["digits-split0-0.9-audit"]["data"]["values"]
    values = {(row["name"], row["role"].split(":")[0]): (row["value"], row["low"]) for row in rows}
    assert values == {
        ("SalUn", "forgotten samples"): (61.0, None),
        ("SalUn", "placebo"): (50.0, None),
        ("SCRUB", "forgotten samples"): (52.0, None),
        ("SCRUB", "placebo"): (51.0, None),
    }
    rows = specs["digits-split0-0.9-relearning"]["data"]["values"]
    points = [(row["panel"], row["series"], row["step"], row["value"]) for row in rows]
    assert points == [
        ("0 forgotten samples", "SalUn", 0, 0.0),
        ("0 forgotten samples", "SalUn", 50, 6.0),
        ("1 forgotten samples", "SalUn", 0, 0.0),
        ("1 forgotten samples", "SalUn", 50, 11.0),
    ]


@pytest.mark.slow
@needs_browser
def test_the_page_has_the_table_by_method_and_by_group(tree: Path, tmp_path: Path) -> None:
    file = saved(drawn(tree), tmp_path)
    with Browser(tmp_path) as browser:
        browser.open(file)
        browser.wait("document.querySelector('.audit-part')")
        assert texts(browser, ".audit-part h4")[0] == "Can a single forgotten sample be told? By U-LiRA"
        assert texts(browser, ".audit-part .story dt") == ["Controls", "Methods"]
        assert "Told from retrained models beyond the placebo" in texts(browser, ".audit-part .story dd")[1]
        first = ".audited:first-of-type tbody tr"
        rows = rows_of(browser, first)
        assert [row[:2] for row in rows] == [["SalUn", "40"], ["SCRUB", "40"]]
        assert rows[0][2] == "61.0placebo 50.0"
        assert rows[0][3] == "11.08.0 to 14.0"
        assert rows[1][3] == "1.0−3.0 to 5.0"
        assert len(rows_of(browser, ".audited tbody tr")) == 4  # forgetting quality and relearning, a line each
        click(browser, ".audit-part input")
        assert [row[0] for row in rows_of(browser, first)] == ["SalUn", f"SalUn{NAMES[2]}", "SCRUB"]
        click(browser, '.audited th[data-key="lira_auc"] button')
        assert [row[0] for row in rows_of(browser, first)] == ["SCRUB", "SalUn", f"SalUn{NAMES[2]}"]
        assert any("can still be told one by one" in text for text in texts(browser, ".story dd"))
        click(browser, "#show-all")
        floors = rows_of(browser, ".measures tr.floor")
        assert [row[0] for row in floors] == ["noise floor: two models of Retrained"]
        assert "0.2100.180 to 0.250" in floors[0]
        undisturbed(browser, file)


@pytest.mark.slow
@needs_browser
def test_on_a_narrow_screen_an_audit_needs_no_scrolling_sideways(tree: Path, tmp_path: Path) -> None:
    with Browser(tmp_path, width=420) as browser:
        browser.open(saved(drawn(tree), tmp_path))
        browser.wait("document.querySelector('.audited')")
        widths = "[...document.querySelectorAll('.audit-part, .audited')].map((box) => box.scrollWidth)"
        assert max(browser.run(widths)) <= 420
        first = "document.querySelector('.audited tbody td:nth-child(3)')"
        assert browser.run(f"getComputedStyle({first}, '::before').content") == '"LiRA AUC"'


# Notebooks and copies.


def test_load_audit_has_a_row_a_finding(tree: Path) -> None:
    frame = load_audit(tree)
    assert len(frame) == len(found()) + 2 * len(relearned(0))
    one = frame.query("measure == 'lira_excess' and label == 'salun' and group.isna()", engine="python").iloc[0]
    assert (one["dataset"], one["unlearning_ratio"], one["value"], one["low"], one["runs"]) == (
        "digits",
        0.9,
        11.0,
        8.0,
        40,
    )
    last = frame.query("measure == 'relearn_gap' and at_step == 50 and at_forgotten_samples == 1")
    assert last[["label", "value"]].to_numpy().tolist() == [["salun", 10.0], ["salun", 12.0]]
    assert last["folder"].tolist() == [str(tree / "s0"), str(tree / "s1")]
    (tree / AUDIT).write_text("{")
    assert [place for place, _ in load_audit(tree).attrs["missing"]] == [AUDIT]


def test_load_audit_says_where_nothing_was_found_out(tmp_path: Path) -> None:
    make_run(tmp_path, "a", "salun", metrics())
    with pytest.raises(UserError, match=r"no audit\.json and no relearn\.json under .*python -m scripts\.audit"):
        load_audit(tmp_path)


def test_a_redacted_copy_keeps_numbers_of_methods_and_groups_and_no_more(tree: Path, capsys: Capture) -> None:
    own = [
        *found(),
        *attacked("salun", 60.0, 50.0, 7.0, 13.0, group="Erika"),
        Finding("lira_auc", TABLE, "salun", 50.0, at={"control": "Erika"}),
        Finding("secret_of_erika", TABLE, "salun", 50.0),
    ]
    before = lines_of(shown(tree, capsys), "By U-LiRA")
    write_findings(tree / AUDIT, own, {"options": "/home/erika"})
    copy = tree.parent / f"{tree.name}-copy"
    assert report.main([str(tree), "--redact", str(copy)]) == 0
    assert "relearn" not in capsys.readouterr().out
    text = (copy / AUDIT).read_text()
    assert "rika" not in text
    assert "fewer than" not in text  # a reason may name files
    capsys.readouterr()
    after = lines_of(shown(copy, capsys), "By U-LiRA")
    assert [line[:4] for line in after] == [line[:4] for line in before]
    assert NAMES[2] in text
