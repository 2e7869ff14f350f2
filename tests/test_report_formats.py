"""CSV, LaTeX, JSON, differences to the reference, columns, schemas: on hand-made output trees."""

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from trees import Capture, make_run, metrics, shown

from scripts.report import command as report


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
    rows = {line.split("  ")[0]: line for line in shown(tree, capsys, "--difference", "--columns", "TA").splitlines()}
    assert rows["salun"].split() == ["salun", "2", "-1.0", "±", "2.8"]
    assert rows["retrain"].split() == ["retrain", "2", "0.0", "±", "0.0"]


def test_differences_to_a_row_by_seed(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--against", "salun", "--columns", "TA")
    rows = {line.split("  ")[0]: line.split()[-4:] for line in text.splitlines()}
    assert rows["salun"] == ["2", "0.0", "±", "0.0"]
    assert rows["retrain"] == ["2", "1.0", "±", "2.8"]
    assert "value minus that of salun of the same seed" in text
    each = shown(tree, capsys, "--against", "salun", "--columns", "TA", "--each").splitlines()
    assert [line.split()[2] for line in each if line.startswith("retrain  ")] == ["-1.0", "3.0"]


def test_only_runs_of_a_tag_or_without_one(tree: Path, capsys: Capture) -> None:
    make_run(tree, "fast", "salun", metrics(33.0), tag="fast")
    both = shown(tree, capsys, "--columns", "TA")
    assert "salun, fast" in both
    untagged = shown(tree, capsys, "--columns", "TA", "--tag", "").splitlines()
    assert [line for line in both.splitlines() if not line.startswith("salun, fast")] == untagged
    alone = shown(tree, capsys, "--columns", "TA", "--tag", "fast")
    assert "salun, fast" in alone
    assert "scrub" not in alone.partition("In percent")[0]


def test_latex_blocks_order_and_bold(tree: Path, capsys: Capture) -> None:
    make_run(tree, "half", "salun", metrics(33.0), unlearning_ratio=0.5)
    text = shown(tree, capsys, "--format", "latex", "--columns", "RA,TA,seconds")
    body = [line.strip() for line in text.splitlines()]
    middle = body[body.index(r"\midrule") : body.index(r"\bottomrule")]
    assert middle == [
        r"\midrule",
        r"\multicolumn{4}{l}{\textit{unlearning ratio 0.5}} \\",
        r"salun & $33.0$ & $33.0$ & -- \\",
        r"\midrule",
        r"\multicolumn{4}{l}{\textit{unlearning ratio 0.9}} \\",
        r"retrain & $50.0_{\pm 14.1}$ & $50.0_{\pm 14.1}$ & -- \\",
        r"retrain + reweight & $75.0_{\pm 7.1}$ & $75.0_{\pm 7.1}$ & -- \\",
        r"\cmidrule{1-4}",
        # RA to the reference of the same seed: miu +1, salun mean(+10, +20) = 15, scrub mean(+4, -16) = -6.
        r"miu & $\mathbf{71.0}$ & $72.0$ & -- \\",
        # TA: miu +2, salun mean(+1, -3) = -1, scrub -20. Seconds: nobody competes with salun.
        r"salun & $65.0_{\pm 21.2}$ & $\mathbf{49.0}_{\pm 11.3}$ & $4.0_{\pm 1.4}$ \\",
        r"scrub & $44.0_{\pm 0.0}$ & $30.0_{\pm 0.0}$ & -- \\",
    ]


def test_latex_keeps_special_letters(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics(), tag="50%_&x")
    assert r"salun, 50\%\_\&x & " in shown(tmp_path, capsys, "--format", "latex")


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
    name = "<img src=x onerror=alert(1)> a|b\nc `d` *e* ![f](http://g) \\<i>"
    told = r"\<img src=x onerror=alert(1)> a\|b\\nc \`d\` \*e\* ![f\](http://g) \\\<i>"
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


def test_a_caption_of_latex_has_no_empty_line(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics(), model="two\n\nparts", tag="50%\n\n}")
    text = shown(tmp_path, capsys, "--format", "latex")
    assert "\n\n" not in text
    assert r"digits, two\textbackslash{}n\textbackslash{}nparts, 32 pixels" in text
    assert r"salun, 50\%\textbackslash{}n\textbackslash{}n\} & " in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles(tree: Path, capsys: Capture, tmp_path: Path) -> None:
    table = shown(tree, capsys, "--format", "latex")
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
    assert shown(tree, capsys, "--out", str(tree / name)) == ""
    assert (tree / name).read_text().startswith(start)


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--format", "html"], "--format html makes a file: give its name with --out report.html"),
        (["--columns", "TA,nonsense"], "--columns nonsense: no such column"),
        (["--format", "latex", "--each"], "--each, --difference and --against are for tables"),
        (["--format", "csv", "--difference"], "--difference, --against: CSV has values and differences"),
        (["--difference", "--against", "miu"], "--difference is to the retrained model and --against to another row"),
        (["--against", "mui"], "--against 'mui': no such row in the table digits, small_cnn, 32 px"),
    ],
)
def test_flags_that_make_no_sense(tree: Path, capsys: Capture, flags: list[str], sentence: str) -> None:
    assert report.main([str(tree), *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {sentence}")


def test_runs_of_another_schema_are_named_and_the_rest_reported(tree: Path, capsys: Capture) -> None:
    for folder, schema in (("s0", None), ("c0", 3)):
        values = json.loads((tree / folder / "metrics.json").read_text())
        values.pop("schema")
        (tree / folder / "metrics.json").write_text(json.dumps(values | ({"schema": schema} if schema else {})))
    text = shown(tree, capsys)
    assert f"- {tree}/s0: metrics.json has schema 1, not 2; recompute it with --recompute\n" in text
    assert f"- {tree}/c0: metrics.json has schema 3, not 2; read it with the version that made it\n" in text
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert rows["salun"][1] == rows["scrub"][1] == "1"
    assert rows["salun"][4] == "57.0"


@pytest.mark.parametrize("name", ["x" * 300 + ".txt", "a\0b.txt", "half\ud800.txt", "x" * 300 + ".png", "full.pdf"])
def test_a_file_that_cannot_be_written(tree: Path, capsys: Capture, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_all_columns(tree: Path, capsys: Capture) -> None:
    header = shown(tree, capsys, "--columns", "all").splitlines()[4]
    assert header.split()[:4] == ["method", "n", "RA", "UA"]
    assert {"seconds", "speed-up", "memory"} <= set(header.split())
    assert "nats" in shown(tree, capsys, "--columns", "kl_to_retrain_test")


@pytest.mark.parametrize("name", ["Avg. Gap", "Avg.Gap", "avg.gap", "avg_gap"])
def test_a_column_is_asked_for_by_its_key_and_its_titles_of_now_and_before(tree: Path, capsys: Capture, name: str):
    header = shown(tree, capsys, "--columns", f"{name},worst-group").splitlines()[4]
    assert header.split("  ")[-2:] == ["Avg. Gap", "worst group"]
