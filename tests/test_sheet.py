"""The audit sheet of a run: its numbers, its names and digests, and what it refuses."""

import csv
import hashlib
import hmac
import html
import json
import math
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import pytest
import yaml
from asked import ASKED, LIST, OWNER, TASK, UNKNOWN, WEIGHTS, make_answer
from browser import Browser, needs_browser
from cli import ROOT, configuration
from trees import NAMES, Capture, make_run, metrics

from datasets.deletion.forget_list import list_digest
from method.registry import METHODS
from method.runs.files import PRETRAIN, RETRAIN
from method.runs.stored import read_runs
from method.runs.zips import write_zip
from scripts.report import command as report
from scripts.report import sheet
from scripts.report.sheet import AFTER, BEFORE, RETRAINED
from scripts.report.sheet_request import Request

HOSTILE = "</td><script>alert(1)</script>\x1b[2J=\u202e&"


def written(run: Path, file: Path, *flags: str) -> str:
    """The sheet's HTML."""
    assert report.main([str(run), "--sheet", str(file), *flags]) == 0
    return file.read_text(encoding="utf-8")


def words(text: str) -> str:
    """The page as somebody reads it, in one line."""
    body = re.sub(r"<style>.*?</style>", "", text, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def refused(capsys: Capture, *arguments: object) -> str:
    assert report.main([str(one) for one in arguments]) == 2
    return capsys.readouterr().err


def test_the_table_of_harm_is_that_of_the_three_runs(tmp_path: Path) -> None:
    """Accuracies of metrics.json, Wilson's intervals, Newcombe's of the differences: computed here once more."""
    run = make_answer(tmp_path / "output")
    text = words(written(run, tmp_path / "a.html"))
    places = {BEFORE: run.parent.parent / "pretrain_0", AFTER: run, RETRAINED: run.parent / "retrain_reweight_1_0"}
    groups = {who: json.loads((place / "metrics.json").read_text())["groups"][0] for who, place in places.items()}
    hits = {who: (round(group["test_acc"] * group["n_test"] / 100), group["n_test"]) for who, group in groups.items()}

    def wilson(k: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
        centre, half = (k + z * z / 2) / (n + z * z), z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
        return 100 * (centre - half), 100 * (centre + half)

    def told(k: int, n: int) -> str:
        return "{:.1f} {:.1f} to {:.1f}".format(100 * k / n, *wilson(k, n))

    def change(other: tuple[int, int]) -> str:
        z = NormalDist().inv_cdf(1 - 0.05 / 4 / 2)  # for all four groups at once
        (a, b), (low_a, high_a), (low_b, high_b) = (
            [100 * k / n for k, n in (hits[AFTER], other)], wilson(*hits[AFTER], z), wilson(*other, z),
        )  # fmt: skip
        ends = a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)
        signed = [f"{value:+.1f}".replace("-", "\u2212") for value in (a - b, *ends)]
        return "{} {} to {}".format(*signed)

    row = f"{NAMES[0]} {groups[AFTER]['n_forget']} of 100 forgotten, n = 100 "
    row += " ".join(told(*hits[who]) for who in (BEFORE, AFTER, RETRAINED))
    found = re.search(re.escape(row) + r" (\S+)(\*?) (\S+ to \S+) (\S+)(\*?) (\S+ to \S+) ", text)
    assert found, row
    assert f"{found[1].rstrip('*')} {found[3]}" == change(hits[BEFORE])
    assert f"{found[4].rstrip('*')} {found[6]}" == change(hits[RETRAINED])


def test_a_change_is_marked_only_where_it_is_more_than_noise_among_all_groups(tmp_path: Path) -> None:
    text = words(written(make_answer(tmp_path / "output"), tmp_path / "a.html"))
    found = re.search(r"all groups together 20 of 400 forgotten, n = 400 .*? to .*? to .*? to \S+ (\S+) ", text)
    assert found
    assert found[1].endswith("*")  # 90 % to 70 %, of 400
    assert "too noisy to say" in text
    table = text.split("What it did to each group")[1].split("Accuracy in percent")[0]
    changes = re.findall(r"([\u2212+][\d.]+)(\*?) (\S+) to (\S+)", table)
    assert len(changes) > 8
    for _, star, *ends in changes:
        low, high = (float(end.replace("\u2212", "-")) for end in ends)
        assert bool(star) == (low > 0 or high < 0), "the interval that is shown decides"
    assert "this table allows for all." in text


def test_the_names_stand_in_a_file_of_their_own_and_nowhere_in_the_sheet(tmp_path: Path) -> None:
    text = written(make_answer(tmp_path / "output"), tmp_path / "a.html")
    with (tmp_path / "a-names.csv").open(encoding="utf-8", newline="") as file:
        lines = {line["name"].removeprefix("'"): line["outcome"] for line in csv.DictReader(file)}
    assert lines.keys() == {*LIST}
    assert [lines[name] for name in (ASKED[0], UNKNOWN[0], "val/somebody.jpg")] == [
        "forgotten",
        "unknown",
        "not in train",
    ]
    raw = (tmp_path / "a-names.csv").read_text()
    assert "\n'=HYPERLINK(1)," in raw
    assert "\n'@SUM(1),unknown," in raw
    digest = list_digest(LIST)
    for private in (*LIST, "portrait_", TASK, "badcafe", digest, digest[:8], OWNER, "mustermann", str(tmp_path)):
        assert private not in text, private
    assert "23 names in a list; 20 of them were forgotten" in words(text)
    assert "2 unknown" in words(text)


def test_an_unreadable_image_is_told_by_the_name_that_asked_for_it() -> None:
    """An earlier version recorded paths; a row, or a value in a column, may be the one."""
    names = ("train/1", "2.jpg", "./3", "row:7", "train/9.jpg")
    left_out = {"unreadable": ["train/1.jpg", "train/2.jpg", "train/3.png", "train/4.jpg"]}
    assert dict(Request(5, left_out, names).outcomes()) == {
        "train/1": "unreadable",
        "2.jpg": "unreadable",
        "./3": "unreadable",
        "row:7": "forgotten or unreadable",
        "train/9.jpg": "forgotten",
    }


def test_the_digest_is_keyed_and_the_key_is_made_once_beside_the_runs(tmp_path: Path, capsys: Capture) -> None:
    run = make_answer(tmp_path / "output")
    before = sorted(os.listdir(run))
    first = written(run, tmp_path / "a.html")
    key = run.parent / "forget_list.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    stored = bytes.fromhex(key.read_text())
    assert len(stored) == 32
    content = "".join(f"{name}\n" for name in sorted(LIST)).encode()
    assert hmac.new(stored, content, hashlib.sha256).hexdigest() in first
    assert key.read_text().strip() not in first
    assert written(run, tmp_path / "a.html") == first
    assert sorted(os.listdir(run)) == before
    key.write_text("00" * 31)
    assert "holds 31 bytes, expected 32" in refused(capsys, run, "--sheet", tmp_path / "b.html")
    key.unlink()
    assert written(run, tmp_path / "a.html") != first


def test_the_sheet_says_when_with_which_weights_and_how_to_make_it_again(tmp_path: Path) -> None:
    run = make_answer(tmp_path / "output")
    text = words(written(run, tmp_path / "a.html"))
    assert "Run ended: 2026-03-04 05:07." in text
    assert f"SHA-256 before {WEIGHTS['before']} (recorded by the run, and that of the original model found" in text
    assert f"SHA-256 after {hashlib.sha256((run / 'model.pt').read_bytes()).hexdigest()} (of model.pt" in text
    assert "python main.py --method miu --forget_list forget_list.txt" in text
    assert "--data_dir FOLDER" in text
    assert "Commit f00d" in text
    assert "Group-robust Machine Unlearning, TMLR 2025" in text
    for limit in ("approximate", "average one", "Only this model", "Not the images", "Records remain", "one seed"):
        assert limit in text
    assert "The run's own folder holds the names and a line of outputs for each image" in text
    assert "docs/" not in text
    assert "no longer tell the group of forgotten images, but still that of the others" in text


def test_the_page_runs_nothing_and_hostile_names_stay_text(tmp_path: Path) -> None:
    run = make_answer(tmp_path / "output", groups=[f"{HOSTILE}{n}" for n in range(4)])
    text = written(run, tmp_path / "a.html")
    assert "<script" not in text
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\"" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("&lt;/td&gt;&lt;script&gt;alert(1)") >= 4


def test_other_tasks_have_a_sheet_without_a_list(tmp_path: Path) -> None:
    run = make_answer(tmp_path / "output")
    stored = yaml.safe_load((run / "config.yaml").read_text())
    del stored["requests"]
    stored["config"] |= {"forget_list": None, "unlearning_ratio": 0.9}
    (run / "config.yaml").write_text(yaml.safe_dump(stored))
    text = words(written(run, tmp_path / "a.html"))
    assert "drawn by seed 0; no list of names was given" in text
    assert f'20 of the 100 training images of "{NAMES[0]}" were to be forgotten' in text
    assert "holds a line of outputs for each image" in text
    assert "holds the names" not in text
    assert not (tmp_path / "a-names.csv").exists()
    assert not (run.parent / "forget_list.key").exists()


def test_a_retrained_run_says_that_it_is_exact_for_itself(tmp_path: Path) -> None:
    run = make_answer(tmp_path / "output")
    text = words(written(run.parent / "retrain_reweight_1_0", tmp_path / "a.html"))
    assert "Exact for this model alone." in text
    assert "Unlearning here is approximate" not in text
    assert "a retrained model starts from no trained weights" in text
    assert "retrained without them" not in text.split("What it did")[1].split("Can it still")[0]


def test_what_is_not_beside_the_run_is_said(tmp_path: Path) -> None:
    run = make_answer(tmp_path / "output")
    alone = run.rename(tmp_path / "alone")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.yaml").write_text("[")
    text = words(written(alone, tmp_path / "a.html"))
    assert "The original model is not here" in text
    assert "The retrained model is not here" in text
    assert "recorded by the run; the original model is not here to be compared" in text
    stored = yaml.safe_load((alone / "config.yaml").read_text())
    stored["config"]["original"] = f"{OWNER}/models"
    (alone / "config.yaml").write_text(yaml.safe_dump(stored))
    text = words(written(alone, tmp_path / "a.html"))
    assert "--original names (left out), and no pretrained run here has its weights" in text
    assert OWNER not in text


def test_an_original_is_found_where_another_run_keeps_the_splits() -> None:
    """As in committed copies, in which one run of every seed and ratio keeps them."""
    kept = ROOT / "docs/results/runs/digits.zip/digits/small_cnn/split0/miu_0.9_0"
    made = sheet.make_sheet(kept, {})
    assert made.metric(BEFORE, "forget_group_acc") == pytest.approx(93.25, abs=0.01)


def test_a_folder_or_a_zip_must_leave_one_run(tmp_path: Path, capsys: Capture) -> None:
    run, root, file = make_answer(tmp_path / "output"), tmp_path / "output", tmp_path / "a.html"
    by_filter = words(written(root, file, "--method", "miu"))
    assert words(written(run, file)) == by_filter
    archive = {str(one.relative_to(root)): one.read_bytes() for one in root.rglob("*") if one.is_file()}
    write_zip(tmp_path / "runs.zip", archive)
    inside = words(written(tmp_path / "runs.zip" / run.relative_to(root), file))
    assert "none: the list is not in this copy of the run" in inside
    assert "Date of the run: not known (its log is not here)." in inside
    assert "model.pt is not in this copy of the run, and its digest was not recorded" in inside
    make_run(root, "digits/small_cnn/split0/salun_0.9_0", "salun", metrics(40.0))
    told = refused(capsys, root, "--sheet", file)
    assert "--sheet is of one run" in told
    assert "2 unlearned runs" in told
    assert str(run) in told
    assert told.rstrip().endswith(f"or the folder of one, such as: python -m scripts.report {run} --sheet FILE")
    make_run(root, "digits/small_cnn/split0/miu_0.9_5", "miu", metrics(40.0), seed=5)
    make_run(root, "digits/small_cnn/split0/miu_0.9_6", "miu", metrics(40.0), seed=6)
    assert "3 unlearned runs" in refused(capsys, root, "--sheet", file, "--method", "miu")
    assert report.main([str(root), "--sheet", str(file), "--method", "miu", "--seed", "5"]) == 0
    assert "no unlearned run that fits" in refused(capsys, root, "--sheet", file, "--method", "iu")


def test_runs_without_an_answer_are_refused(tmp_path: Path, capsys: Capture) -> None:
    run, file = make_answer(tmp_path / "output"), tmp_path / "a.html"
    assert "which forgot nothing" in refused(capsys, run.parent.parent / "pretrain_0", "--sheet", file)
    half = make_run(run.parent, "scrub_1_0", "scrub", task=TASK, status={"state": "interrupted", "reason": "stopped"})
    assert "interrupted: stopped. A sheet tells of a finished run" in refused(capsys, half, "--sheet", file)
    assert "expected a name that ends in .html or .pdf" in refused(capsys, run, "--sheet", tmp_path / "a.txt")
    assert "--each does not go with --sheet" in refused(capsys, run, "--sheet", file, "--each")
    assert "choose among several" in refused(capsys, run, "--sheet", file, "--method", "miu")
    (run / "metrics.json").write_text('{"schema": 1}')
    assert "schema 1, not 2" in refused(capsys, run, "--sheet", file)
    (run / "metrics.json").write_text("{")
    assert "metrics.json cannot be read" in refused(capsys, run, "--sheet", file)
    assert not file.exists()


@pytest.mark.slow
def test_a_kept_copy_has_a_sheet_too(tmp_path: Path) -> None:
    """Of docs/results/runs: no list, no log, no weights, no digest of the original."""
    text = words(
        written(ROOT / "docs/results/runs/digits.zip/digits/small_cnn/split0/salun_0.9_0", tmp_path / "a.html")
    )
    assert "found by name" in text
    assert "452 of the 504 training images" in text
    assert "--unlearning_ratio 0.9" in text


@pytest.mark.parametrize("name", sorted({*METHODS} - {PRETRAIN, RETRAIN}))
def test_every_method_is_told_in_a_sentence_with_its_paper(name: str, tmp_path: Path) -> None:
    (run,) = read_runs(make_run(tmp_path, "run", name, metrics()))
    what, paper = sheet.describe_method(run)
    assert re.fullmatch(r"[A-Z][^.]{15,}\.", what), what
    assert not re.search(r"\b[DFR]\b(?!-)", what), what  # symbols of the code's docstrings
    assert re.search(r"[A-Z]\w+.*, (CVPR|ICLR|NeurIPS|AAAI|AISTATS|TMLR|NDSS|EuroS&P)\.? (19|20)\d\d", paper), paper


def test_a_method_of_no_paper_or_of_another_version_is_said(tmp_path: Path) -> None:
    (run,) = read_runs(make_run(tmp_path, "run", RETRAIN, metrics()))
    assert sheet.describe_method(run)[1] == ""
    (run,) = read_runs(make_run(tmp_path, "other", "unheard_of", metrics()))
    assert sheet.describe_method(run) == (
        "This version of the program has no method unheard_of, so nothing is said of it.",
        "",
    )


COMMANDS = [
    "--method miu --dataset digits --unlearning_ratio 0.9 --seed 3",
    "--method salun --dataset digits --forget_groups 1:0 --reweight --lr 0.02 --epochs 7 --no-use_train_aug",
    "--method scrub --dataset waterbird --rob_approach dro --unlearning_ratio 0.5 --preset reference",
    "--method l1_sparse --dataset digits --unlearning_type random --tag mine --no-pretrained",
    "--method ssd --dataset fairface --multi_group 5 --model small_cnn --threads 2 --device cpu",
]


@pytest.mark.parametrize("typed", COMMANDS)
def test_the_command_makes_the_same_run_again(typed: str, tmp_path: Path) -> None:
    config = configuration(typed)
    stored = {"config": dict(config.values), "sources": dict(config.sources), "task": config.task}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(stored))
    (run,) = read_runs(tmp_path / "run")
    again = sheet.command(run)
    assert again.startswith("python main.py --method ")
    assert configuration(again.removeprefix("python main.py ")).identity() == config.identity()


def test_without_the_package_a_pdf_says_what_to_do(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    told = refused(capsys, make_answer(tmp_path / "output"), "--sheet", tmp_path / "a.pdf")
    assert "a PDF needs the package weasyprint and the library pango" in told
    assert "pip install -r requirements-pdf.txt, or give FILE.html and print that from a browser" in told
    assert not (tmp_path / "a.pdf").exists()


def many_groups(root: Path) -> Path:
    """A run whose metrics have 63 groups, half of them forgotten from."""
    run = make_answer(root)
    for place in (run, run.parent / "retrain_reweight_1_0"):
        found = json.loads((place / "metrics.json").read_text())
        names = [f"{10 * n} to {10 * n + 9} years, group number {n} of those who were counted" for n in range(63)]
        group = {"n_retain": 800, "n_test": 250, "test_acc": 61.2, "test_interval": [55.0, 67.0]}
        found["groups"] = [{**group, "name": name, "n_forget": n % 2 * n} for n, name in enumerate(names)]
        found["forget_group_names"] = names[1::2]
        (place / "metrics.json").write_text(json.dumps(found))
    return run


def test_groups_that_are_too_many_for_a_page_go_to_a_file(tmp_path: Path) -> None:
    text = words(written(many_groups(tmp_path / "output"), tmp_path / "a.html"))
    shown = len(set(re.findall(r"group number \d+ of those who were counted \d+ of", text)))
    assert f"{63 - shown} more groups are in a-groups.csv." in text
    with (tmp_path / "a-groups.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 63 + 3  # and three sums
    assert (lines[3]["n_forget"], lines[3]["after"], lines[3]["retrained"]) == ("61", "61.2", "61.2")
    assert lines[3]["before"] == ""


@pytest.mark.slow
def test_a_pdf_is_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("weasyprint", reason="no weasyprint: pip install -r requirements-pdf.txt")
    run, file, made = make_answer(tmp_path / "output"), tmp_path / "a.pdf", []
    for _ in range(2):
        assert report.main([str(run), "--sheet", str(file)]) == 0
        made.append(file.read_bytes())
    assert made[0].startswith(b"%PDF-")
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_answer, many_groups])
def test_it_is_two_pages_of_paper(make: Callable[[Path], Path], tmp_path: Path) -> None:
    weasyprint = pytest.importorskip("weasyprint", reason="no weasyprint: pip install -r requirements-pdf.txt")
    text = written(make(tmp_path / "output"), tmp_path / "a.html")
    assert len(weasyprint.HTML(string=text).render().pages) == 2


@needs_browser
def test_a_browser_shows_it_on_a_telephone_without_script_network_or_overflow(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    written(many_groups(tmp_path / "output"), file)
    with Browser(tmp_path, width=420) as browser:
        browser.open(file)
        assert browser.requests == [file.as_uri()]
        assert browser.complaints == []
        assert browser.run("document.documentElement.scrollWidth") <= 420
        assert browser.run("document.querySelectorAll('script, img, link').length") == 0
