"""`--by group`: accuracies, intervals and changes by hand, in every format."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_report_originals import pretrained, unlearned
from trees import Capture, make_run, metrics, shown

from scripts.report import chart_rows
from scripts.report import command as report
from scripts.report.latex_parts import fitting


def groups(forgotten: float | None, other: float, low: float = 20.0) -> dict[str, Any]:
    """Metrics of two groups, of which the second is the forget group."""
    return metrics(
        groups=[
            {"name": "low warm", "n_train": 7, "n_test": 30, "test_acc": other,
             "test_interval": [other - 5, other + 5]},
            {"name": "high cold", "n_train": 9, "n_forget": 6, "n_retain": 3, "n_test": 20, "test_acc": forgotten,
             "test_interval": None if forgotten is None else [low, 90.0]},
            {"name": "absent", "n_train": 0, "n_test": 0, "test_acc": None},
        ]
    )  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two seeds of retrain and salun, of which one has an original, and one of miu, whose reference is not there."""
    for seed, (retrained, own) in enumerate(((30.0, 50.0), (40.0, 80.0))):
        make_run(tmp_path, f"r{seed}", "retrain", groups(retrained, 90.0), seed=seed)
        make_run(tmp_path, f"s{seed}", "salun", groups(own, 95.0, low=10.0 + 20 * seed), seed=seed)
    make_run(tmp_path, "m0", "miu", groups(None, 93.0))
    return tmp_path


def lines_of(text: str) -> dict[tuple[str, str], dict[str, str]]:
    return {(line["label"], line["group"]): line for line in csv.DictReader(io.StringIO(text))}


def test_text_has_forget_groups_first_and_three_lines_a_group(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--by", "group")
    lines = [[part for part in line.split("  ") if part.strip()] for line in text.splitlines()]
    start = next(number for number, line in enumerate(lines) if line[:1] == ["group"])
    told = [[part.strip() for part in line] for line in lines[start:] if line]
    assert told[0] == ["group", "retrain", "miu *", "salun"]
    # 30 and 40 over two seeds: 35 ± 12.706 * 5; of 65 it goes beyond both ends.
    assert told[2] == [
        "high cold (n 20, forget)", "accuracy", "35.0 (0.0 to 98.5)", "-", "65.0 (0.0 to 100.0)",
    ]  # fmt: skip
    # 20 and 40 over two seeds: 30 ± 12.706 * 10, as far as an accuracy can be from the other's mean of 35.
    assert told[4] == ["minus retrained", "-", "-", "30.0 (-35.0 to 65.0)"]
    # 5 in both: seeds that are all alike have Newcombe's interval, of 28 and 27 right of 30.
    assert told[7] == ["minus retrained", "-", "-", "5.0 (-12.7 to 10.0)"]
    assert told[5] == [
        "low warm (n 30)",
        "accuracy",
        "90.0 (85.0 to 95.0)",
        "93.0 (88.0 to 98.0)",
        "95.0 (90.0 to 100.0)",
    ]
    assert "absent" not in text
    assert "of columns with *: none, as theirs is not here" in text


def test_csv_and_json_have_the_same_in_full(tree: Path, capsys: Capture) -> None:
    found = lines_of(shown(tree, capsys, "--by", "group", "--format", "csv"))
    line = found["salun", "high cold"]
    assert {name: line[name] for name in ("dataset", "forget", "n_train", "n_forget", "n_test", "n", "reference")} == {
        "dataset": "digits", "forget": "1", "n_train": "9", "n_forget": "6", "n_test": "20", "n": "2",
        "reference": "retrain",
    }  # fmt: skip
    numbers = [
        line[name] for name in ("test_acc", "test_acc_low", "test_acc_high", "minus_reference", "minus_original")
    ]
    assert numbers == ["65.0", "0.0", "100.0", "30.0", ""]
    assert float(line["minus_reference_sd"]) == pytest.approx(20 / 2**0.5)
    assert float(line["minus_reference_low"]) == -35.0
    assert (found["miu", "high cold"]["test_acc"], found["miu", "high cold"]["minus_reference_n"]) == ("", "0")
    made = json.loads(shown(tree, capsys, "--by", "group", "--format", "json"))
    (table,) = made["tables"]
    (row,) = [row for row in table["rows"] if (row["label"], row["group"]) == ("salun", "high cold")]
    assert row["test_acc"] == {"n": 2, "mean": 65.0, "sd": pytest.approx(30 / 2**0.5), "interval": [0.0, 100.0]}
    assert row["minus_reference"]["mean"] == 30.0
    assert row["minus_reference"]["interval"] == [-35.0, 65.0]
    assert row["minus_original"] == {"n": 0, "mean": None, "sd": None, "interval": None}


def test_every_run_and_a_row_to_compare_with(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--by", "group", "--format", "csv", "--each", "--against", "miu")
    lines = [line for line in csv.DictReader(io.StringIO(text)) if line["label"] == "salun"]
    found = [(line["seed"], line["group"], line["test_acc"], line["minus_against"]) for line in lines]
    assert found == [
        ("0", "high cold", "50.0", ""), ("1", "high cold", "80.0", ""), ("0", "low warm", "95.0", "2.0"),
        ("1", "low warm", "95.0", ""),
    ]  # fmt: skip
    # One seed: 10 and 6 of 20 right; of the two Wilson intervals (29.93 to 70.07 and 14.55 to 51.90) Newcombe's.
    ends = [float(lines[0][f"minus_reference_{end}"]) for end in ("low", "high")]
    assert ends == pytest.approx([20 - 29.70, 20 + 25.33], abs=0.02)
    heads = shown(tree, capsys, "--by", "group", "--each", "--against", "miu")
    assert "salun, seed 1" in heads
    assert "minus miu" in heads
    assert report.main([str(tree), "--by", "group", "--against", "mui"]) == 2


def test_latex_has_names_and_marks(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--by", "group", "--format", "latex")
    body = [line.strip() for line in text.splitlines()]
    assert r"& Retrained & MIU$^{*}$ & SalUn \\" in body
    name = body.index(r"\multicolumn{4}{l}{\textit{high cold (n 20, forget)}} \\")
    assert body[name + 1 : name + 3] == [
        r"accuracy & 35.0 & -- & 65.0 \\",
        r"& \scriptsize 0.0 to 98.5 &  & \scriptsize 0.0 to 100.0 \\",
    ]
    changes = body.index(r"minus retrained & -- & -- & 30.0 \\")
    assert body[changes + 1] == r"&  &  & \scriptsize $-$35.0 to 65.0 \\"
    assert (
        r"ratio 0.9. Test accuracy by group, in percent, with 95 \% intervals. Below it the change to the original and"
        " to the retrained model, in points. "
    ) in text
    against = shown(tree, capsys, "--by", "group", "--format", "latex", "--against", "salun")
    assert "the change to the original, to the retrained model and to salun, in points. " in against
    assert "[k]" not in against
    make_run(tree, "s2", "salun", groups(None, 95.0), seed=2)
    holed = shown(tree, capsys, "--by", "group", "--format", "latex")
    assert "[k]: only k of the seeds have the value." in holed
    assert r"accuracy & 35.0 & -- & 65.0\,[2] \\" in holed
    assert r"minus salun & $-$30.0 & " in against
    assert r"\label{tab:digits-split0-0.9-groups}" in body
    assert "of columns with $^{*}$: none" in text


def test_latex_tables_fit_on_a_page_and_are_hardly_narrowed(tmp_path: Path, capsys: Capture) -> None:
    """Eleven models and six groups, which are shown five at once."""
    own = [{"name": f"group {i}", "n_train": 9, "n_test": 4, "test_acc": 40.0} for i in range(6)]
    for number in range(11):
        make_run(tmp_path, str(number), "salun", metrics(groups=own), tag=f"tag{number}")
    text = shown(tmp_path, capsys, "--by", "group", "--format", "latex")
    tables = text.split(r"\begin{table}")[1:]
    heads = [table.split("\\toprule\n")[1].split(r" \\")[0].count("&") for table in tables]
    assert heads == [4, 4, 4, 4, 3, 3]
    assert [table.count(r"\multicolumn") for table in tables] == [5, 1] * 3
    assert r"\label{tab:digits-split0-0.9-groups-2}" in tables[1]
    assert r"\caption{Table~\ref{tab:digits-split0-0.9-groups}, continued (2 of 6).}" in tables[1]


def test_columns_of_long_names_are_fewer() -> None:
    assert fitting([["SalUn"]] * 5, (70, 52), 5) == [slice(0, 5)]
    assert fitting([["S" * 30]] * 5, (70, 52), 5) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert fitting([[r"$\mathbf{S}$" + "S" * 200]] * 2, (70, 52), 5) == [slice(0, 1), slice(1, 2)]
    assert fitting([], (70, 52), 5) == []


def test_the_change_to_the_original_is_to_what_the_run_started_from(tmp_path: Path, capsys: Capture) -> None:
    """Of two pretrained runs on the same data: one by digest, and one beside it by name."""
    pretrained(tmp_path, "pretrain_0", b"another")
    digest = pretrained(tmp_path, "long", b"weights", tag="long")
    unlearned(tmp_path, "a", digest)
    line = lines_of(shown(tmp_path, capsys, "--by", "group", "--format", "csv"))["salun", "high cold"]
    assert (line["original_by"], line["minus_original"]) == ("digest", "-60.0")  # the original is right in all
    unlearned(tmp_path, "b", "0" * 64, method="scrub", original="gone")
    line = lines_of(shown(tmp_path, capsys, "--by", "group", "--format", "csv"))["scrub", "high cold"]
    assert (line["original_by"], line["minus_original"]) == ("", "")


def test_seeds_that_are_alike_have_wilsons_interval(tmp_path: Path, capsys: Capture) -> None:
    for seed in range(2):
        make_run(tmp_path, f"s{seed}", "salun", groups(50.0, 95.0, low=30.0), seed=seed)
    line = lines_of(shown(tmp_path, capsys, "--by", "group", "--format", "csv"))["salun", "high cold"]
    assert [line[f"test_acc{part}"] for part in ("", "_low", "_high", "_n")] == ["50.0", "30.0", "90.0", "2"]


def test_runs_without_groups(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics())
    assert "No run of this table has accuracies by group." in shown(tmp_path, capsys, "--by", "group")
    assert shown(tmp_path, capsys, "--by", "group", "--format", "csv").startswith("dataset,model")
    assert r"\label" in shown(tmp_path, capsys, "--by", "group", "--format", "latex")


@pytest.mark.parametrize("kind", ["text", "markdown", "csv"])
def test_names_of_groups_are_neither_formulas_nor_markup_nor_commands(
    tmp_path: Path, capsys: Capture, kind: str
) -> None:
    name = "=1+1|<img src=x>\x1b[2J\nend"
    found = {"name": name, "n_train": 9, "n_test": 4, "test_acc": 40.0}
    make_run(tmp_path, "a", "salun", metrics(groups=[found]), tag=name)
    text = shown(tmp_path, capsys, "--by", "group", "--format", kind)
    told = {
        "text": r"=1+1|<img src=x>\x1b[2J\nend",
        "markdown": r"=1+1\|\<img src=x>\\x1b[2J\\nend",
        "csv": r"'=1+1|<img src=x>\x1b[2J\nend",
    }
    assert told[kind] in text
    assert "\x1b" not in text


def test_runs_that_share_trained_models_have_no_interval(tmp_path: Path, capsys: Capture) -> None:
    """Two unlearning seeds on one original and one retrained model: their spread is not that of independent runs."""
    make_run(tmp_path, "r", "retrain", groups(30.0, 90.0), seed=0)
    for seed, own in enumerate((50.0, 80.0)):
        run = make_run(tmp_path, f"s{seed}", "salun", groups(own, 95.0), seed=seed, train_seed=0, forget_seed=0)
        stored = yaml.safe_load((run / "config.yaml").read_text())
        stored["fingerprints"] = {"data": "data0", "forget": "forget0"}
        (run / "config.yaml").write_text(yaml.safe_dump(stored))
    made = json.loads(shown(tmp_path, capsys, "--format", "json"))
    retrained, salun = made["tables"][0]["cells"]
    assert (salun["seeds"], salun["independent"], retrained["independent"]) == ([0, "1-f0-t0"], False, True)
    found = salun["groups"]["minus_reference"][0]
    assert (found["n"], found["mean"], found["interval"]) == (2, 35.0, None)
    assert "35.0 points more (no interval: 2 seeds, which share trained models): too noisy to say" in " ".join(
        sentence["text"] for sentence in salun["story"]
    )
    (dot,) = (row for row in chart_rows.trade_off(made["tables"][0], made["columns"]) if row["name"] == "SalUn")
    assert (dot["ga_low"], dot["ga_alike"]) == (None, False)
