"""Differences with both of their chances and corrected p values, and training and unlearning apart: known answers."""

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from browser import Browser, needs_browser
from cli import ROOT
from report_page import open_cell, rows_of
from trees import Capture, make_run, metrics, shown, table_lines

from datasets.splits import load_splits
from method.configs.seeds import Seeds
from method.evaluation.intervals import paired_limits
from method.evaluation.records import Records
from method.evaluation.uncertainty import NO_RECORDS, OTHER_SAMPLES, compare

GOLDEN = ROOT / "tests/golden/output"
SALUN = (2.0, 3.0, 4.0)  # minus 1 in every seed: 1, 2 and 3
SCRUB = (5.0, 6.0, 7.0)
L1_SPARSE = (0.0, 1.0, 2.0)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """MIU with a TA of 1 in each of three seeds, three others, and NegGrad of one seed."""
    for seed in range(3):
        values = {"miu": 1.0, "salun": SALUN[seed], "scrub": SCRUB[seed], "l1_sparse": L1_SPARSE[seed]}
        for method, value in values.items():
            make_run(tmp_path, f"{method}{seed}", method, metrics(test_acc=value), seed=seed)
    make_run(tmp_path, "g0", "rl", metrics(test_acc=9.0), seed=0)
    return tmp_path


def csv_lines(text: str) -> dict[tuple[str, str], dict[str, str]]:
    lines = csv.DictReader(io.StringIO(text))
    return {(line["label"], line.get("seed", "")): line for line in lines}


# Over seeds


def test_what_is_so_by_definition_is_no_test(tmp_path: Path, capsys: Capture) -> None:
    """Avg. Gap of a retrained model is 0 to itself: p of scrub is that of the only test, and is not times 2.

    Differences of scrub to miu are 1, 2 and 3, so p is 0.0742, as above; those of TA are tests for either row.
    """
    for seed in range(3):
        own = {"retrain": 0.0, "miu": 1.0 + seed, "scrub": 2.0 + 2 * seed}
        for method, gap in own.items():
            reference = "itself" if method == "retrain" else f"retrain{seed}"
            values = metrics(test_acc=50.0 + gap + 3 * seed * (method == "retrain"), avg_gap=gap, reference=reference)
            make_run(tmp_path, f"{method}{seed}", method, values, seed=seed)
    flags = ("--against", "miu", "--columns", "avg_gap,TA")
    text = shown(tmp_path, capsys, *flags)
    found = csv_lines(shown(tmp_path, capsys, *flags, "--format", "csv"))
    assert float(found["scrub", ""]["avg_gap_p"]) == pytest.approx(0.0742, abs=1e-4)
    assert found["retrain", ""]["avg_gap_p"] == ""
    assert float(found["retrain", ""]["test_acc_p"]) > 0
    assert float(found["scrub", ""]["test_acc_p"]) == pytest.approx(2 * 0.0742, abs=2e-4)
    assert "- retrain: no p of Avg. Gap: of a retrained model this is fixed by definition" in text


def test_a_table_without_the_row_has_a_sentence_and_ends_no_report(tree: Path, capsys: Capture) -> None:
    make_run(tree, "alone", "retrain", metrics(), task="split1")
    for form in ("text", "markdown"):
        text = shown(tree, capsys, "--against", "miu", "--columns", "TA", "--format", form)
        assert "- retrain: no difference, as the table has no row 'miu'" in text
        assert "0.148" in text
    found = csv_lines(shown(tree, capsys, "--against", "miu", "--columns", "TA", "--format", "csv"))
    assert found["retrain", ""]["no_interval"] == "no difference, as the table has no row 'miu'"
    assert found["retrain", ""]["test_acc_difference"] == ""
    assert "0.148" in shown(tree, capsys, "--against", "miu", "--columns", "TA", "--format", "latex")
    assert "split1" in shown(tree, capsys, "--against", "miu", "--by", "group")


def test_p_values_of_three_rows_by_hand(tree: Path, capsys: Capture) -> None:
    """Of two degrees of freedom p is 1 - t / sqrt(t^2 + 2). The sd is 1 in all, so t^2 = 3 * mean^2: 12, 75 and 0.

    That is 0.0742, 0.0131 and 1; times 2, 3 and 1: 0.148, 0.039 and 1. Ends: 4.3027 / sqrt(3) = 2.484 to either side.
    """
    text = shown(tree, capsys, "--against", "miu", "--columns", "TA")
    assert "not corrected for the number of rows" in " ".join(text.split())
    own = text.split("\n\n95 % intervals")[1]
    assert table_lines(own) == [
        *(["salun", "over seeds", "-0.5 to 4.5"], ["p (Holm)", "0.148"]),
        *(["scrub", "over seeds", "2.5 to 7.5"], ["p (Holm)", "0.039"]),
        *(["l1_sparse", "over seeds", "-2.5 to 2.5"], ["p (Holm)", "1.000"]),
    ]
    assert "- rl: no interval over seeds and no p: one seed only" in own
    found = csv_lines(shown(tree, capsys, "--against", "miu", "--columns", "TA", "--format", "csv"))
    assert float(found["scrub", ""]["test_acc_p"]) == pytest.approx(3 * (1 - (75 / 77) ** 0.5))
    assert float(found["salun", ""]["test_acc_p"]) == pytest.approx(2 * (1 - (12 / 14) ** 0.5))
    ends = [float(found["salun", ""][f"test_acc_seeds_{end}"]) for end in ("low", "high")]
    assert ends == pytest.approx([2 - 2.48414, 2 + 2.48414], abs=1e-5)
    assert found["rl", ""]["no_interval"] == (
        f"no interval over seeds and no p: one seed only; no interval over images: {NO_RECORDS}"
    )
    assert (found["miu", ""]["test_acc_p"], found["miu", ""]["no_interval"]) == ("", "")


def test_p_values_count_the_rows_that_are_shown(tree: Path, capsys: Capture) -> None:
    flags = ("--against", "miu", "--columns", "TA", "--format", "csv", "--method", "scrub")
    assert float(csv_lines(shown(tree, capsys, *flags))["scrub", ""]["test_acc_p"]) == pytest.approx(
        1 - (75 / 77) ** 0.5
    )


def test_latex_has_intervals_and_p_values_in_a_table_of_their_own(tree: Path, capsys: Capture) -> None:
    first, second, _ = shown(tree, capsys, "--against", "miu", "--columns", "TA", "--format", "latex").split(
        "\\end{table}"
    )
    assert "p (Holm)" not in first
    lines = [line.strip() for line in second.splitlines()]
    assert r"SalUn & over seeds & $-$0.5 to 4.5 \\" in lines
    assert r"& p (Holm) & 0.148 \\" in lines
    assert r"\label{tab:digits-split0-intervals}" in second
    assert r"The differences of Table~\ref{tab:digits-split0}." in second


def test_seeds_that_are_all_alike_have_no_test(tmp_path: Path, capsys: Capture) -> None:
    for seed in range(2):
        make_run(tmp_path, f"m{seed}", "miu", metrics(test_acc=10.0 * seed), seed=seed)
        make_run(tmp_path, f"s{seed}", "salun", metrics(test_acc=10.0 * seed + 0.1), seed=seed)
    text = shown(tmp_path, capsys, "--against", "miu", "--columns", "TA", "--format", "markdown")
    assert "- salun: no interval over seeds and no p: all seeds are alike\n" in text
    assert "95 % intervals" not in text


# Over images


def golden_compare(run: str, other: str) -> tuple[float, float]:
    """Both ends of the difference in GA, as Python gives it."""
    folders = [next(GOLDEN.rglob(name)) for name in (run, other)]
    first, second = (Records.load(folder / "records.npz") for folder in folders)
    found, _ = compare(first, second, load_splits(folders[0] / "splits.npz"), 2, 2)
    return found["forget_group_acc"].low, found["forget_group_acc"].high


def test_over_images_a_run_has_the_interval_of_compare_and_seeds_the_mean_of_theirs(capsys: Capture) -> None:
    own = [golden_compare(f"miu_0.9_{seed}", f"salun_0.9_{seed}") for seed in (0, 1)]
    flags = ("--against", "salun", "--columns", "GA", "--format", "csv")
    by_run = csv_lines(shown(GOLDEN, capsys, *flags, "--each"))
    ends = [f"forget_group_acc_images_{end}" for end in ("low", "high")]
    for seed in (0, 1):
        assert [float(by_run["miu", str(seed)][end]) for end in ends] == pytest.approx(own[seed])
    by_label = csv_lines(shown(GOLDEN, capsys, *flags))
    assert [float(by_label["miu", ""][end]) for end in ends] == pytest.approx(np.mean(own, axis=0))
    assert [by_label["salun", ""][end] for end in ends] == ["", ""]
    line = f"{np.mean(own, axis=0)[0]:.1f} to {np.mean(own, axis=0)[1]:.1f}"
    text = shown(GOLDEN, capsys, "--against", "salun", "--columns", "GA,mia")
    assert ["over images", line, "-"] in table_lines(text)
    text = shown(GOLDEN, capsys, "--against", "salun", "--columns", "GA", "--each")
    line = "{:.1f} to {:.1f}".format(*own[1])
    assert ["miu, seed 1", "over images", line] in table_lines(text)
    assert "over seeds" not in text


def test_the_last_epoch_of_a_rewind_is_compared_by_its_own_records(capsys: Capture) -> None:
    flags = ("--difference", "--columns", "GA", "--format", "csv")
    found = csv_lines(shown(GOLDEN, capsys, *flags))
    ends = {
        label: found[label, ""]["forget_group_acc_images_low"] for label in ("scrub (rewind)", "scrub (last epoch)")
    }
    assert float(ends["scrub (rewind)"]) == pytest.approx(golden_compare("scrub_0.9_0", "retrain_0.9_0")[0])
    assert ends["scrub (rewind)"] != ends["scrub (last epoch)"]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The golden runs that the tests change."""
    for name in ("miu_0.9_0", "miu_0.9_1", "salun_0.9_0", "salun_0.9_1"):
        shutil.copytree(next(GOLDEN.rglob(name)), tmp_path / "runs" / name)
    return tmp_path / "runs"


def change_config(folder: Path, **changed: Any) -> None:
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**stored, **changed}))


def test_what_has_no_interval_over_images_says_why(copied: Path, capsys: Capture) -> None:
    """Where one of two seeds has none, [1] stands behind the other's."""
    flags = ("--against", "salun", "--columns", "GA,TA")
    (copied / "salun_0.9_1/records.npz").unlink()
    text = shown(copied, capsys, *flags)
    assert f"- miu: no interval over images: {NO_RECORDS}" in text
    name, *cells = table_lines(text)[-1]
    assert name == "over images"
    assert [cell[-4:] for cell in cells] == [" [1]", " [1]"]
    damaged = copied / "miu_0.9_0/records.npz"
    damaged.write_bytes(b"damaged")
    text = shown(copied, capsys, *flags)
    assert f"- miu: no interval over images: cannot read the records in {damaged} (" in text
    assert "over images" not in [cell for line in table_lines(text) for cell in line]


def test_runs_of_other_forget_sets_are_not_compared_over_images(copied: Path, capsys: Capture) -> None:
    for seed in (0, 1):
        folder = copied / f"salun_0.9_{seed}"
        fingerprints = yaml.safe_load((folder / "config.yaml").read_text())["fingerprints"]
        change_config(folder, fingerprints={**fingerprints, "forget": "another"})
    assert f"- miu: no interval over images: {OTHER_SAMPLES}" in shown(copied, capsys, "--against", "salun")


def test_a_redacted_copy_says_that_it_has_no_records_of_train(copied: Path, capsys: Capture) -> None:
    shared = copied.with_name("shared")
    shown(copied, capsys, "--redact", str(shared))
    text = shown(shared, capsys, "--against", "salun")
    assert "- miu: no interval over images: redacted copies have no records of train" in text


def test_the_mean_of_the_seeds_ends_holds_the_mean_of_their_differences_at_least_as_often() -> None:
    """Three pairs of models on the same 300 images, whose shares of right answers are known; by the same difficulty of
    an image all are right or wrong together.
    """
    chance = np.random.default_rng(0)
    n, truth = 300, np.array([[0.80, 0.70], [0.82, 0.76], [0.75, 0.74]])
    difficulty = chance.random((1000, n, 1, 1))
    own = chance.random((1000, n, 3, 2))
    right = np.where(chance.random((1000, n, 3, 2)) < 0.7, difficulty, own) < truth
    only_a = (right[..., 0] & ~right[..., 1]).sum(axis=1)
    only_b = (right[..., 1] & ~right[..., 0]).sum(axis=1)
    low, high = (ends.mean(axis=1) for ends in paired_limits(only_a, only_b, np.full(only_a.shape, n)))
    wanted = 100 * float((truth[:, 0] - truth[:, 1]).mean())
    assert 0.95 <= np.mean((low <= wanted) & (wanted <= high)) <= 1


# Training and unlearning apart


def nested(root: Path, values: dict[Seeds, float], method: str = "salun") -> Path:
    for seeds, value in values.items():
        apart = {"seed": seeds.run, "train_seed": seeds.train, "forget_seed": seeds.forget}
        make_run(root, f"{method}_{seeds.spell()}", method, metrics(test_acc=value), **apart)
    return root


@pytest.fixture
def two_by_two(tmp_path: Path) -> Path:
    """TA of 1 and 3 with train seed 0, of 5 and 9 with train seed 1."""
    values = [(0, 5, 1.0), (0, 6, 3.0), (1, 5, 5.0), (1, 6, 9.0)]
    return nested(tmp_path, {Seeds(0, train, run): value for train, run, value in values})


def test_two_train_seeds_by_two_runs_by_hand(two_by_two: Path, capsys: Capture) -> None:
    """Means 2 and 7: MSB = 2 * 12.5 = 25, MSW = (2 + 8) / 2 = 5, training (25 - 5) / 2 = 10.

    The mean is 4.5, 12.706 * 2.5 = 31.77 to either side. Unlearning: 10 / 7.3778 and 10 / 0.050636 (chi-squared).
    Training: 25 / 5 is below the quantile of F, so 0, and (25 - 5 / 799.5) / (2 * 0.00098207) above.
    """
    told = ["2 x 2", "TA", "4.5 (-27.3 to 36.3)", "3.2 (0.0 to 112.8)", "2.2 (1.2 to 14.1)"]
    text = shown(two_by_two, capsys, "--columns", "TA")
    assert table_lines(text)[1:] == [["salun", *told]]
    markdown = shown(two_by_two, capsys, "--columns", "TA", "--format", "markdown")
    assert [cell.strip() for cell in markdown.splitlines()[-5].strip("|").split("|")] == ["salun", *told]
    latex = shown(two_by_two, capsys, "--columns", "TA", "--format", "latex")
    line = rf"SalUn & 2 $\times$ 2 & TA & {' & '.join(told[2:]).replace('-', '$-$')} \\"
    assert line in map(str.strip, latex.splitlines())
    assert r"\label{tab:digits-split0-variance}" in latex
    (found,) = csv_lines(shown(two_by_two, capsys, "--columns", "TA", "--format", "csv")).values()
    assert float(found["test_acc_train_sd"]) == pytest.approx(10**0.5)
    assert float(found["test_acc_unlearn_sd"]) == pytest.approx(5**0.5)
    assert float(found["test_acc_train_sd_high"]) == pytest.approx(((25 - 5 / 799.5) / 0.00196414) ** 0.5, rel=1e-4)
    (cell,) = json.loads(shown(two_by_two, capsys, "--format", "json"))["tables"][0]["cells"]
    assert cell["design"] == {"train_seeds": 2, "runs_of_each": 2}
    assert cell["apart"]["test_acc"]["unlearn"] == pytest.approx([5**0.5, 1.16423, 14.0531], rel=1e-4)
    assert "forget_acc" not in cell["apart"], "all alike"
    assert "Training and unlearning" not in shown(two_by_two, capsys, "--each")


def test_differences_are_taken_apart_too_where_they_are_shown(two_by_two: Path, capsys: Capture) -> None:
    nested(two_by_two, {Seeds(0, train, run): 1.0 for train in (0, 1) for run in (5, 6)}, "miu")
    text = shown(two_by_two, capsys, "--columns", "TA", "--against", "miu")
    assert "- salun: no interval over seeds and no p: its runs share trained models" in text
    assert "p (Holm)" not in text
    assert table_lines(text)[-1][:4] == ["salun", "2 x 2", "TA", "3.5 (-28.3 to 35.3)"]


def test_a_missing_value_is_a_hole(two_by_two: Path, capsys: Capture) -> None:
    file = two_by_two / "salun_5-f0-t0/metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "test_acc": None}))
    assert table_lines(shown(two_by_two, capsys, "--columns", "TA"))[1:] == [["salun", "2 x 2", "TA", "-", "-", "-"]]


@pytest.mark.parametrize(
    "seeds, reason",
    [
        ([(0, 0, 5), (0, 0, 6), (0, 1, 5)], "their train seeds have 1 to 2 runs each, not as many all"),
        ([(0, 0, 5), (0, 0, 6)], "they have one train seed"),
        ([(0, 0, 5), (0, 0, 6), (1, 1, 5), (1, 1, 6)], "they have several forget seeds"),
        ([(0, 0, 5), (0, 1, 5), (0, 2, 6), (0, 3, 6)], "their train seeds have one run each"),
    ],
)
def test_runs_that_are_not_nested_and_balanced_say_so(
    tmp_path: Path, capsys: Capture, seeds: list[tuple[int, int, int]], reason: str
) -> None:
    nested(tmp_path, {Seeds(*one): float(number) for number, one in enumerate(seeds)})
    text = shown(tmp_path, capsys, "--columns", "TA")
    assert (
        f"- the {len(seeds)} runs of salun share trained models, and their ± is not that of independent ones; " in text
    )
    assert f"; training and unlearning cannot be told apart, as {reason}\n" in text
    assert "sd of training" not in text


def test_independent_runs_are_not_taken_apart(tmp_path: Path, capsys: Capture) -> None:
    nested(tmp_path, {Seeds(one, one, one): float(one) for one in range(3)})
    text = shown(tmp_path, capsys, "--columns", "TA")
    assert "sd of training" not in text
    assert "told apart" not in text


@pytest.mark.slow
def test_the_committed_seeds_give_the_table_of_their_page(capsys: Capture) -> None:
    flags = ("--columns", "GA,UA,TA,Avg. Gap,MIA AUC", "--format", "markdown")
    text = shown(ROOT / "docs/results/digits_seeds.zip", capsys, *flags)
    lines = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if "10 x 5" in line]
    page = (ROOT / "docs/results/seeds.md").read_text()
    assert len(lines) == 10
    assert lines == [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if "10 x 5" in line]


@needs_browser
def test_the_page_takes_a_row_apart(browser: Browser, two_by_two: Path, capsys: Capture) -> None:
    file = two_by_two / "page.html"
    shown(two_by_two, capsys, "--out", str(file))
    browser.open(file)
    open_cell(browser, "t0c0")
    assert rows_of(browser, ".apart tbody tr") == [
        ["TA", "4.5 (−27.3 to 36.3)", "3.2 (0.0 to 112.8)", "2.2 (1.2 to 14.1)"]
    ]
    assert browser.complaints == []
