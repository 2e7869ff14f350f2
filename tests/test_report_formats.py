"""CSV, LaTeX, JSON, differences to the reference, columns, schemas: on hand-made output trees."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from trees import Capture, make_run, metrics, shown

from method.configs.schema import METHODS  # filled
from method.runs.labels import NAMES
from scripts.report import command as report
from scripts.report.figures import figures
from utils.errors import UserError
from utils.terminal import terminal_width


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two seeds of retrain, retrain + reweight, salun, scrub and miu; the mia of one run is missing."""
    for seed, (plain, reweighted) in enumerate([(40.0, 70.0), (60.0, 80.0)]):
        make_run(tmp_path, f"p{seed}", "retrain", metrics(plain, tow=100.0, avg_gap=0.0), seed=seed)
        make_run(tmp_path, f"w{seed}", "retrain", metrics(reweighted, tow=100.0, avg_gap=0.0), seed=seed, reweight=True)
    make_run(tmp_path, "s0", "salun", metrics(50.0, test_acc=41.0, seconds=3.0), seed=0)
    make_run(tmp_path, "s1", "salun", metrics(80.0, test_acc=57.0, mia=None, seconds=5.0), seed=1)
    make_run(tmp_path, "c0", "scrub", metrics(44.0, test_acc=30.0), seed=0)
    make_run(tmp_path, "c1", "scrub", metrics(44.0, test_acc=30.0), seed=1)
    make_run(tmp_path, "m0", "miu", metrics(71.0, test_acc=72.0), seed=0)
    return tmp_path


def lines_of(text: str) -> dict[str, dict[str, str]]:
    return {line["label"]: line for line in csv.DictReader(io.StringIO(text))}


def test_csv_has_the_moments_and_those_of_the_difference_by_hand(tree: Path, capsys: Capture) -> None:
    found = lines_of(shown(tree, capsys, "--format", "csv"))["salun"]
    assert {name: found[name] for name in ("dataset", "task", "ratio", "method", "n")} == {
        "dataset": "digits", "task": "split0", "ratio": "0.9", "method": "salun", "n": "2",
    }  # fmt: skip
    # TA 41 and 57: mean 49, sd 16 / sqrt 2. To retrain 40 and 60: +1 and -3, mean -1, sd 4 / sqrt 2.
    assert float(found["test_acc"]) == pytest.approx(49.0)
    assert float(found["test_acc_sd"]) == pytest.approx(16 / 2**0.5)
    assert float(found["test_acc_difference"]) == pytest.approx(-1.0)
    assert float(found["test_acc_difference_sd"]) == pytest.approx(4 / 2**0.5)
    assert (found["mia"], found["mia_sd"], found["mia_n"]) == ("50.0", "", "1")


def test_csv_a_run_a_line(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--format", "csv", "--each", "--columns", "TA,mia")
    lines = list(csv.DictReader(io.StringIO(text)))
    salun = [line for line in lines if line["label"] == "salun"]
    found = [(line["seed"], line["test_acc"], line["mia"]) for line in salun]
    assert found == [("0", "41.0", "50.0"), ("1", "57.0", "")]
    assert salun[0]["folder"] == (tree / "s0").as_posix()
    assert list(lines[0])[-2:] == ["test_acc", "mia"]


def test_one_seed_has_no_deviation_in_any_format(tree: Path, capsys: Capture) -> None:
    found = lines_of(shown(tree, capsys, "--format", "csv", "--method", "miu"))["miu"]
    assert (found["test_acc"], found["test_acc_sd"], found["test_acc_difference_sd"]) == ("72.0", "", "")
    assert float(found["test_acc_difference"]) == 2.0  # to retrain + reweight of seed 0
    assert r"\pm" not in shown(tree, capsys, "--format", "latex", "--method", "miu")
    cells = json.loads(shown(tree, capsys, "--format", "json", "--method", "miu"))["tables"][0]["cells"]
    assert set(cells[0]["sd"].values()) == {None}


def test_differences_in_text(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--difference", "--columns", "TA").split("\n\n95 % intervals")[0]
    lines = text.splitlines()
    assert lines[4] == "Shown: differences, the value minus that of the retrained model of the same seed."
    rows = {line.split("  ")[0]: line for line in lines}
    assert rows["salun"].split() == ["salun", "2", "-1.0", "±", "2.8"]
    assert rows["retrain"].split() == ["retrain", "2", "0.0", "±", "0.0"]


def test_differences_to_a_row_by_seed(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--against", "salun", "--columns", "TA").split("\n\n95 % intervals")[0]
    rows = {line.split("  ")[0]: line.split()[-4:] for line in text.splitlines()}
    assert rows["salun"] == ["2", "0.0", "±", "0.0"]
    assert rows["retrain"] == ["2", "1.0", "±", "2.8"]
    above, below = text.split("\nmethod")
    assert "Shown: differences, the value minus that of salun of the same seed." in above
    assert "minus that" not in below
    each = shown(tree, capsys, "--against", "salun", "--columns", "TA", "--each").splitlines()
    assert [line.split()[2] for line in each if line.startswith("retrain  ")] == ["-1.0", "3.0"]


def test_csv_has_differences_to_a_row_and_names_references(tree: Path, capsys: Capture) -> None:
    found = lines_of(shown(tree, capsys, "--format", "csv", "--columns", "TA", "--against", "salun"))
    assert (found["retrain"]["test_acc_difference"], found["retrain"]["against"]) == ("1.0", "salun")
    assert (found["miu"]["reference"], found["salun"]["reference"]) == ("retrain + reweight", "retrain")
    plain = shown(tree, capsys, "--format", "csv", "--columns", "TA")
    with_intervals = lines_of(shown(tree, capsys, "--format", "csv", "--columns", "TA", "--difference"))
    for name, line in lines_of(plain).items():
        assert line.items() <= with_intervals[name].items()
    each = shown(tree, capsys, "--format", "csv", "--columns", "TA", "--each", "--difference")
    differences = [(line["label"], line["test_acc_difference"]) for line in csv.DictReader(io.StringIO(each))]
    assert [value for name, value in differences if name == "salun"] == ["1.0", "-3.0"]


def test_figures_and_page_have_the_columns_asked_for(
    tree: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = {}
    monkeypatch.setattr(
        "scripts.report.command.save_figures",
        lambda payload, out, kind: drawn.update(figures(payload)) or [out.with_name(f"a-{name}.png") for name in drawn],
    )
    told = shown(tree, capsys, "--columns", "GA,UA", "--out", str(tree / "a.png"))
    assert told == f"written: {len(drawn)} figures, the first {tree / 'a'}-{next(iter(drawn))}.png\n"
    rows = drawn["digits-split0-0.9-overview"]["data"]["values"]
    assert list(dict.fromkeys(row["panel"] for row in rows)) == ["GA (%)", "UA (%)"]
    made = json.loads(shown(tree, capsys, "--format", "json", "--columns", "GA,UA"))
    assert [column["title"] for column in made["columns"] if column["main"]] == ["GA", "UA"]


def test_files_have_readable_names_and_none_twice(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics(), reweight=True)
    make_run(tmp_path, "b", "salun", metrics(), tag="../x: ü")
    make_run(tmp_path, "c", "salun", metrics(), tag="../X; u")
    make_run(tmp_path, "d", "salun", metrics(), unlearning_ratio=0.5)
    tables = json.loads(shown(tmp_path, capsys, "--format", "json"))["tables"]
    assert [table["file"] for table in tables] == ["digits-split0-0.5", "digits-split0-0.9"]
    assert [cell["file"] for cell in tables[1]["cells"]] == ["salun-reweight", "salun-..-X-u", "salun-..-x-u-2"]


def test_only_runs_of_a_tag_or_without_one(tree: Path, capsys: Capture) -> None:
    make_run(tree, "fast", "salun", metrics(33.0), tag="fast")
    both = shown(tree, capsys, "--columns", "TA")
    assert "salun, fast" in both
    untagged = shown(tree, capsys, "--columns", "TA", "--tag", "").splitlines()
    assert [line for line in both.splitlines() if not line.startswith("salun, fast")] == untagged
    alone = shown(tree, capsys, "--columns", "TA", "--tag", "fast")
    assert "salun, fast" in alone
    assert "scrub" not in alone.partition("In percent")[0]


def latex_rows(text: str) -> dict[str, list[str]]:
    """The cells of every row of the first table, by its name with its mark."""
    first = text.split(r"\end{table}")[0]
    rows = [line.strip().removesuffix(r" \\").split(" & ") for line in first.splitlines() if " & " in line]
    return {name: cells for name, *cells in rows}


@pytest.mark.parametrize("flags", [[], ["--by", "group"]])
def test_text_is_as_wide_as_the_terminal(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    """Further columns stand below, with the names again; a file and Markdown have the whole table."""
    own = [{"name": "low warm", "n_train": 9, "n_test": 4, "test_acc": 40.0, "test_interval": [20.0, 60.0]}]
    for number in range(6):
        make_run(tmp_path, f"run{number}", "salun", metrics(groups=own), tag=f"tag{number}")
    whole = shown(tmp_path, capsys, *flags)
    monkeypatch.setattr("scripts.report.command.terminal_width", lambda: 60)
    text = shown(tmp_path, capsys, *flags)
    assert max(map(len, text.splitlines())) <= 60 < max(map(len, whole.splitlines()))
    first = "group " if flags else "method "
    assert len([line for line in text.splitlines() if line.startswith(first)]) > 1
    assert {*text.split()} - {*whole.split()} <= {"-" * n for n in range(60)}  # no word is broken or lost
    assert {*whole.split()} <= {*text.split()} | {"-" * n for n in range(200)}
    for out in ([*flags, "--format", "markdown"], [*flags, "--out", str(tmp_path / "table.txt")]):
        shown(tmp_path, capsys, *out)
    assert (tmp_path / "table.txt").read_text() == whole


def test_the_width_of_a_terminal_and_of_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    assert terminal_width() == 0
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert terminal_width() == 77


def test_only_runs_of_a_seed(tree: Path, capsys: Capture) -> None:
    """What the runs of a seed are compared with is of that seed, so its numbers stay."""
    every = {line.split("  ")[0]: line for line in shown(tree, capsys, "--each", "--columns", "TA").splitlines()}
    lines = shown(tree, capsys, "--each", "--columns", "TA,tow", "--seed", "1").splitlines()
    found = {line.split("  ")[0]: line.split() for line in lines if line.split()[1:2] in (["0"], ["1"])}
    assert {name: line[:3] for name, line in found.items()} == {
        "retrain": ["retrain", "1", "60.0"], "salun": ["salun", "1", "57.0"], "scrub": ["scrub", "1", "30.0"],
    }  # fmt: skip
    assert every["salun"].split()[:3] == found["salun"][:3]
    assert report.main([str(tree), "--seed", "7"]) == 2


def test_latex_blocks_and_order(tree: Path, capsys: Capture) -> None:
    make_run(tree, "half", "salun", metrics(33.0), unlearning_ratio=0.5)
    text = shown(tree, capsys, "--format", "latex", "--columns", "RA,TA,seconds")
    body = [line.strip() for line in text.splitlines()]
    middle = body[body.index(r"\midrule") - 1 : body.index(r"\bottomrule")]
    assert middle == [
        r"Method & RA $\approx$ & TA $\approx$ & seconds $\downarrow$ \\",
        r"\midrule",
        r"\multicolumn{4}{l}{\textit{unlearning ratio 0.5}} \\",
        r"SalUn & $33.0$ & $33.0$ & -- \\",
        r"\midrule",
        r"\multicolumn{4}{l}{\textit{unlearning ratio 0.9}} \\",
        r"Retrained & $50.0_{\pm 14.1}$ & $50.0_{\pm 14.1}$ & -- \\",
        r"Retrained + REWEIGHT & $75.0_{\pm 7.1}$ & $75.0_{\pm 7.1}$ & -- \\",
        r"\cmidrule{1-4}",
        r"MIU$^{*}$ & $71.0$ & $72.0$ & -- \\",
        r"SalUn & $65.0_{\pm 21.2}$ & $49.0_{\pm 11.3}$ & $4.0_{\pm 1.4}$ \\",
        r"SCRUB & $44.0_{\pm 0.0}$ & $30.0_{\pm 0.0}$ & -- \\",
    ]


def test_the_caption_of_latex_says_what_its_signs_mean(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--format", "latex", "--columns", "TA,mia,tow,seconds")
    (caption,) = [line.strip() for line in text.splitlines() if r"\caption" in line]
    assert caption == (
        r"\caption{digits, small\_cnn, 32 pixels, split0. Mean over 2 seeds (MIU: 1), $\pm$ their sample standard "
        r"deviation; one seed has none. $\uparrow$: higher is better; $\downarrow$: lower is better; $\approx$: closer "
        r"to the reference is better. Reference (same seed): Retrained; of rows with $^{*}$: Retrained + REWEIGHT.}"
    )
    assert r"\label{tab:digits-split0}" in text
    # The mia of one of two runs is missing.
    assert latex_rows(text)["SalUn"][1] == r"$50.0$\,[1]"


def test_the_lowest_test_accuracy_is_not_bold_for_being_the_closest(tree: Path, capsys: Capture) -> None:
    """Closeness to the same reference is bold where it is shown: RA salun +15, scrub -6; TA -1, -20."""
    flags = ("--format", "latex", "--columns", "RA,TA", "--difference")
    assert "mathbf" not in shown(tree, capsys, *flags), "miu has another reference"
    alike = (*flags, "--method", "salun", "--method", "scrub")
    assert "mathbf" not in shown(tree, capsys, *(flag for flag in alike if flag != "--difference"))
    text = shown(tree, capsys, *alike)
    found = {name: ["mathbf" in cell for cell in cells][:4] for name, cells in latex_rows(text).items()}
    assert found["SCRUB"] == [False, True, False, False]
    assert found["SalUn"] == [False, False, False, True]
    assert not any(any(bold) for name, bold in found.items() if name not in ("SCRUB", "SalUn"))
    assert latex_rows(text)["SalUn"][3] == r"$\mathbf{-1.0}_{\pm 2.8}$"
    assert r"$\Delta$: value minus that of the reference of the same seed." in text
    assert latex_rows(text)["Method"] == [r"RA $\approx$", r"$\Delta$", r"TA $\approx$", r"$\Delta$"]


def test_ties_are_not_bold(tmp_path: Path, capsys: Capture) -> None:
    for method, tow, seconds in (("salun", 90.01, 3.0), ("scrub", 89.99, 2.0), ("miu", 80.0, 1.0)):
        make_run(tmp_path, method, method, metrics(tow=tow, seconds=seconds))
    rows = latex_rows(shown(tmp_path, capsys, "--format", "latex", "--columns", "tow,seconds"))
    assert {name: cells for name, cells in rows.items() if name != "Method"} == {
        "MIU": ["$80.0$", r"$\mathbf{1.0}$"],
        "SalUn": ["$90.0$", "$3.0$"],
        "SCRUB": ["$90.0$", "$2.0$"],
    }


def test_latex_has_differences_to_a_row(tree: Path, capsys: Capture) -> None:
    for name in ("salun", "SalUn"):
        text = shown(tree, capsys, "--format", "latex", "--columns", "TA", "--against", name)
        assert latex_rows(text)["Retrained"] == [r"$50.0_{\pm 14.1}$", r"$1.0_{\pm 2.8}$"]
        assert r"$\Delta$: value minus that of SalUn of the same seed." in text
        assert "mathbf" not in text, "close to another method is nothing to be praised"


@pytest.mark.parametrize(
    "name, told",
    [
        ("50%_&x", r"50\%\_\&x"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("$x^2$~#", r"\$x\textasciicircum{}2\$\textasciitilde{}\#"),
        ("a--b---c", r"a-{}-b-{}-{}-c"),
        ("*[0, 3)", r"{*}{[}0, 3)"),
        ("two\n\nparts\x1b[2J", r"two\textbackslash{}n\textbackslash{}nparts\textbackslash{}x1b{[}2J"),
    ],
)
def test_latex_keeps_special_letters(tmp_path: Path, capsys: Capture, name: str, told: str) -> None:
    """In rows, captions and groups; a star or a bracket that begins a row would be an argument of the row before."""
    groups = [{"name": name, "n_train": 5, "n_test": 4, "test_acc": 50.0}]
    make_run(tmp_path, "a", name, metrics(groups=groups), model=name, tag=name, task=name)
    text = shown(tmp_path, capsys, "--format", "latex")
    assert f"{told} ({told}) & " in text
    assert rf"\caption{{digits, {told}, 32 pixels, {told}. " in text
    by_group = shown(tmp_path, capsys, "--format", "latex", "--by", "group")
    assert rf"    \multicolumn{{2}}{{l}}{{\textit{{{told} (n 4)}}}} \\" in by_group
    for found in (text, by_group):
        assert "\n\n" not in found
        assert re.fullmatch(r"[\w.-]+", re.findall(r"\\label\{tab:(.*)\}", found)[0])
        bare = re.sub(r"\\[\\{}]", "", found)
        assert bare.count("{") == bare.count("}")


def test_letters_beyond_latin_need_another_compiler(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "l1_sparse", metrics(), tag="größe")
    text = shown(tmp_path, capsys, "--format", "latex")
    assert r"$\ell_1$-sparse (größe)" in text
    assert "LuaLaTeX" not in text
    make_run(tmp_path, "b", "salun", metrics(), tag="大")
    assert "LuaLaTeX" in shown(tmp_path, capsys, "--format", "latex").splitlines()[1]


def test_labels_of_a_paper_are_not_given_twice(tmp_path: Path, capsys: Capture) -> None:
    for number, (model, image_size) in enumerate((("small_cnn", 32), ("resnet18", 32), ("resnet18", 64))):
        make_run(tmp_path, f"{number}", "salun", metrics(), model=model, image_size=image_size)
    text = shown(tmp_path, capsys, "--format", "latex")
    labels = ["digits-resnet18-32-split0", "digits-resnet18-64-split0", "digits-small_cnn-32-split0"]
    assert re.findall(r"\\label\{tab:(.*)\}", text) == labels


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
@pytest.mark.parametrize("flags", [(), ("--each",)])
def test_no_text_of_a_csv_file_is_run_by_a_spreadsheet(
    tmp_path: Path, capsys: Capture, start: str, flags: tuple[str, ...]
) -> None:
    """Every text that a run can bring; numbers stay numbers."""
    evil = f"{start}1+cmd|'/C calc'!A0"
    make_run(tmp_path, "a", evil, metrics(kl_to_retrain_test=None), dataset=evil, model=evil, weights=evil, task=evil)
    make_run(tmp_path, "b", "retrain", metrics(70.0), dataset=evil, model=evil, weights=evil, task=evil)
    text = shown(tmp_path, capsys, "--format", "csv", *flags)
    assert text.count("\n") == 3
    assert "\r" not in text
    for row in csv.reader(io.StringIO(text)):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t")) and not number(cell)]
    told = {"\t": rf"\t{evil[1:]}", "\r": rf"\r{evil[1:]}"}.get(start, f"'{evil}")
    found = {row["label"]: row for row in csv.DictReader(io.StringIO(text))}[told]
    assert [found[name] for name in ("dataset", "model", "weights", "task", "method")] == [told] * 5
    if not flags:
        assert float(found["test_acc_difference"]) == -20.0


def number(cell: str) -> bool:
    try:
        return bool(float(cell)) or True
    except ValueError:
        return False


def test_ordinary_values_come_back_from_csv(tree: Path, capsys: Capture) -> None:
    pandas = pytest.importorskip("pandas")
    found = pandas.read_csv(io.StringIO(shown(tree, capsys, "--format", "csv")), keep_default_na=False)
    assert found["label"].tolist() == ["retrain", "retrain + reweight", "miu", "salun", "scrub"]
    assert set(found["dataset"]) == {"digits"}
    assert found["image_size"].tolist() == [32] * 5


def test_names_are_no_markup_in_markdown(tmp_path: Path, capsys: Capture) -> None:
    name = "<img src=x onerror=alert(1)> a|b\nc `d` *e* ![f](http://g) \\<i> l1_s _u_ ~~v~~ &lt; $w$"
    told = r"\<img src=x onerror=alert(1)> a\|b\\nc \`d\` \*e\* ![f\](http://g) \\\<i>"
    told += r" l1_s \_u\_ \~\~v\~\~ \&lt; \$w\$"
    values = metrics(forget_group_names=[name], worst_group=name, mia=None)
    make_run(tmp_path, "a", "salun", values | {"reasons": {"mia": name}}, model=name, task=name, tag=name)
    failed = {"state": "failed", "reason": name}
    make_run(tmp_path, "b", "scrub", status=failed, model=name)
    for flags in ((), ("--each",)):
        text = shown(tmp_path, capsys, "--format", "markdown", *flags)
        lines = text.splitlines()
        assert lines[0] == f"### digits, {told}, 32 px, weights none, {told}, ratio 0.9"
        assert f"Forget groups: {told}." in text
        assert f"salun, {told}" in text
        assert f": {told}\n" in text
        assert "failed: {}\n".format(told.replace(r"b\\n", "b ")) in text
        assert "<img" not in text.replace(r"\<img", "")
        rows = [line for line in lines if line.startswith("|")]
        assert len({len(line.replace(r"\|", "").split("|")) for line in rows}) == 1


def test_names_stay_in_their_line_of_a_text_table(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics(worst_group="x\n\x1b[31my\tz"), tag="two\nlines")
    for flags in ((), ("--each",)):
        text = shown(tmp_path, capsys, *flags)
        assert r"salun, two\nlines" in text
        assert "\x1b" not in text
    assert r"x\n\x1b[31my\tz (n 7)" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles(tree: Path, capsys: Capture, tmp_path: Path) -> None:
    make_run(
        tree, "hostile", "l1_sparse", metrics(groups=[{"name": "[0, 3) $", "n_test": 4, "test_acc": 50.0}]), tag="*_\\"
    )
    flags = (["--difference"], ["--columns", "all", "--against", "miu"], ["--by", "group"])
    table = "".join(shown(tree, capsys, "--format", "latex", *more) for more in flags)
    document = rf"\documentclass{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}{table}\end{{document}}"
    (tmp_path / "table.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_json_is_the_payload(tree: Path, capsys: Capture) -> None:
    (tree / "s0" / "history.csv").write_text("epoch,loss,val_acc\n0,1.23456789,\n1,nan,50\n")
    made = json.loads(shown(tree, capsys, "--format", "json"))
    runs = {run["id"]: run for run in made["runs"]}
    by_folder = {run["folder"]: run for run in made["runs"]}
    assert by_folder["s0"]["history"] == {"epoch": [0, 1], "loss": [1.23457, None], "val_acc": [None, 50]}
    assert runs[by_folder["s1"]["reference"]]["folder"] == "p1"
    assert runs[by_folder["m0"]["reference"]]["folder"] == "w0"
    (table,) = made["tables"]
    salun = next(cell for cell in table["cells"] if cell["label"] == "salun")
    assert [runs[run]["cell"] for run in salun["runs"]] == [salun["id"]] * 2
    assert salun["difference"]["test_acc"] == {"n": 2, "mean": -1.0, "sd": pytest.approx(4 / 2**0.5)}
    assert not salun["is_reference"]
    assert next(cell for cell in table["cells"] if cell["label"] == "retrain")["is_reference"]


@pytest.mark.parametrize(
    "name, start", [("t.md", "### digits"), ("t.csv", "dataset,"), ("t.tex", "% needs"), ("t.json", "{")]
)
def test_the_files_name_says_the_format(tree: Path, capsys: Capture, name: str, start: str) -> None:
    assert shown(tree, capsys, "--out", str(tree / name)) == f"written: {tree / name}\n"
    assert (tree / name).read_text().startswith(start)


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--format", "html"], "--format html makes a file: give its name with --out report.html"),
        (["--columns", "TA,nonsense"], "--columns nonsense: no such column"),
        (["--format", "latex", "--each"], "--each is for text, markdown and csv, not for --format latex"),
        (
            ["--format", "json", "--difference"],
            "--difference and --against are for tables (text, markdown, csv, latex)",
        ),
        (["--by", "group", "--out", "a.html"], "--by group is for text, markdown, csv, latex, json; --format html has"),
        (["--by", "group", "--columns", "TA"], "--by group shows test accuracies alone; leave --columns out"),
        (["--by", "group", "--difference"], "--by group has the difference to the retrained model anyway"),
        (["--out", "table.docx"], "--out table.docx: .docx is no ending that says a format; expected .txt, .md, .csv"),
        (["--out", "table"], "--out table: its name has no ending that says a format; expected .txt, .md, .csv"),
        (["--difference", "--against", "miu"], "--difference is to the retrained model and --against to another row"),
        (["--against", "mui"], "--against 'mui': no such row in the table digits, small_cnn, 32 px"),
    ],
)
def test_flags_that_make_no_sense(tree: Path, capsys: Capture, flags: list[str], sentence: str) -> None:
    assert report.main([str(tree), *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {sentence}")


def test_a_device_or_pipe_is_not_replaced(tree: Path, capsys: Capture) -> None:
    os.mkfifo(tree / "pipe.txt")
    assert report.main([str(tree), "--out", str(tree / "pipe.txt")]) == 2
    assert f"--out {tree}/pipe.txt: this is no regular file" in capsys.readouterr().err
    with pytest.raises(UserError, match="--out /dev/null: this is no regular file"):
        report._check_file(Path("/dev/null"))


def test_runs_of_another_schema_are_named_and_the_rest_reported(tree: Path, capsys: Capture) -> None:
    for folder, other in (("s0", None), ("c0", 3)):
        values = json.loads((tree / folder / "metrics.json").read_text())
        values.pop("schema")
        (tree / folder / "metrics.json").write_text(json.dumps(values | ({"schema": other} if other else {})))
    text = shown(tree, capsys)
    assert f"- {tree}/s0: metrics.json has schema 1, not 2; recompute it with --recompute\n" in text
    assert f"- {tree}/c0: metrics.json has schema 3, not 2; read it with the version that made it\n" in text
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert rows["salun"][1] == rows["scrub"][1] == "1"
    assert rows["salun"][4] == "57.0"


@pytest.mark.parametrize("name", ["x" * 300 + ".txt", "a\0b.txt", "half\ud800.txt", "x" * 300 + ".png", "full.pdf"])
def test_a_file_that_cannot_be_written(tree: Path, capsys: Capture, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.endswith((".png", ".pdf")):
        pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
    if name == "full.pdf":
        (tree / name).mkdir()
    assert report.main([str(tree), "--out", str(tree / name)]) == 2
    assert capsys.readouterr().err.startswith(("error: --out ", "error: the path is "))
    assert not [file for file in tree.iterdir() if file.name.startswith((".x", "x"))]


@pytest.mark.parametrize(
    "path, said", [("a\0b", "null character"), ("half\ud800", "no text"), ("x" * 5000, "is not a folder")]
)
def test_a_folder_that_no_system_can_have(capsys: Capture, path: str, said: str) -> None:
    assert report.main([path]) == 2
    assert said in capsys.readouterr().err


def test_files_beside_that_cannot_be_read_are_named_where_they_are_shown(tree: Path, capsys: Capture) -> None:
    (tree / "s0" / "history.csv").write_text("epoch,loss\n0,text\n")
    (tree / "s1" / "records.npz").write_bytes(b"damaged")
    (tree / "s1" / "splits.npz").write_bytes(b"damaged")
    made = json.loads(shown(tree, capsys, "--format", "json"))
    found = {Path(entry["folder"]).name: entry["problem"] for entry in made["missing"]}
    assert found["s0"] == "history.csv is not shown: column loss holds 'text', expected a number"
    assert found["s1"].startswith(
        f"records.npz is not shown: cannot read the records in {tree}/s1/records.npz (no archive"
    )
    runs = {run["folder"]: run for run in made["runs"]}
    assert (runs["s0"]["history"], runs["s1"]["losses"]) == (None, None)
    assert "Not in the tables" not in shown(tree, capsys)


def header_of(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("method  "))


def test_all_columns(tree: Path, capsys: Capture) -> None:
    header = header_of(shown(tree, capsys, "--columns", "all"))
    assert header.split()[:4] == ["method", "n", "RA", "UA"]
    assert {"seconds", "speed-up", "memory"} <= set(header.split())
    assert "nats" in shown(tree, capsys, "--columns", "kl_to_retrain_test")


@pytest.mark.parametrize("name", ["Avg. Gap", "Avg.Gap", "avg.gap", "avg_gap"])
def test_a_column_is_asked_for_by_its_key_and_its_titles_of_now_and_before(tree: Path, capsys: Capture, name: str):
    header = header_of(shown(tree, capsys, "--columns", f"{name},worst-group"))
    assert header.split("  ")[-2:] == ["Avg. Gap", "worst group"]


def test_every_method_has_the_name_that_papers_give_it() -> None:
    assert set(METHODS) == set(NAMES)
    assert len({name.casefold() for name in NAMES.values()}) == len(NAMES)


@pytest.mark.parametrize(
    "method, config, name",
    [
        ("salun", {"reweight": True}, "SalUn + REWEIGHT"),
        ("miu", {"reweight": False, "miu_ablate_alignment": True}, "MIU (no REWEIGHT, no alignment)"),
        ("retrain", {"rob_approach": "dro", "tag": "long"}, "Retrained + group DRO (long)"),
        ("miu", {"reweight": True, "miu_ablate_retain": True, "tag": "no-retain"}, "MIU (no retain)"),
        ("miu", {"reweight": True, "miu_ablate_unlearn": True, "tag": "no-unlearning"}, "MIU (no unlearn)"),
        ("miu", {"reweight": True, "miu_ablate_unlearn": True, "tag": "no-unlearn2"}, "MIU (no unlearn, no-unlearn2)"),
        ("miu", {"reweight": True, "preset": "reference", "tag": "reference"}, "MIU (reference preset)"),
        ("miu", {"reweight": False, "tag": "lambda10"}, "MIU (no REWEIGHT, lambda10)"),
        ("my_own", {}, "my_own"),
    ],
)
def test_names_of_rows_in_papers(
    tmp_path: Path, capsys: Capture, method: str, config: dict[str, Any], name: str
) -> None:
    make_run(tmp_path, "a", method, metrics(), **config)
    cells = json.loads(shown(tmp_path, capsys, "--format", "json"))["tables"][0]["cells"]
    assert [cell["name"] for cell in cells] == [name]
