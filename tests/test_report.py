"""The report on hand-made output trees: rows, references, seeds, holes, and runs that are in no table."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from trees import NAMES, Capture, make_run, metrics, shown, table_lines

from datasets.splits import Splits, save_splits
from method.evaluation.evaluator import evaluate
from method.evaluation.records import Records
from scripts.report import command as report
from utils.tables import align, align_markdown, cell


def test_rows_stand_in_order_and_say_what_departs_from_the_method(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "zeta", metrics())
    make_run(tmp_path, "b", "l1_sparse", metrics())
    make_run(tmp_path, "c", "scrub", metrics(), reweight=True)
    make_run(tmp_path, "d", "scrub", metrics(), preset="reference")
    make_run(tmp_path, "e", "scrub", metrics())
    make_run(tmp_path, "f", "miu", metrics(), miu_ablate_alignment=True)
    make_run(tmp_path, "g", "miu", metrics(), reweight=False)
    make_run(tmp_path, "h", "miu", metrics())
    make_run(tmp_path, "i", "salun", metrics(), tag="long")
    make_run(tmp_path, "j", "retrain", metrics(), reweight=True)
    make_run(tmp_path, "k", "retrain", metrics())
    make_run(tmp_path, "l", "alpha", metrics())
    found = [line[0] for line in table_lines(shown(tmp_path, capsys))]
    assert found == [
        "retrain",
        "retrain + reweight",
        "miu *",
        "miu, no alignment *",
        "miu (no reweight) *",
        "scrub",
        "scrub, reference preset",
        "scrub + reweight *",
        "l1_sparse",
        "alpha",
        "zeta",
        "salun, long",
    ]


def test_two_seeds_by_hand(tmp_path: Path, capsys: Capture) -> None:
    first = metrics(test_acc=60.0, tow=90.0, avg_gap=1.0, mia=None, equalized_odds=3.2)
    second = metrics(test_acc=63.0, tow=80.0, avg_gap=3.0, mia=None, equalized_odds=None)
    make_run(tmp_path, "a", "salun", first)
    make_run(tmp_path, "b", "salun", second, seed=1)
    (line,) = table_lines(shown(tmp_path, capsys))
    # Sample sd of (60, 63) is 3 / sqrt 2 = 2.12; of (90, 80) 7.07; of (1, 3) 1.41.
    assert line == [
        "salun", "2", "50.0 ± 0.0", "50.0 ± 0.0", "61.5 ± 2.1", "-", "3.2 [1]", "50.0 ± 0.0", "85.0 ± 7.1", "2.0 ± 1.4",
        "12.0 ± 0.0",
    ]  # fmt: skip


def test_each_shows_one_row_a_run_without_deviation(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics(61.0), seed=10)
    make_run(tmp_path, "b", "salun", metrics(60.0), seed=2)
    text = shown(tmp_path, capsys, "--each")
    lines = table_lines(text)
    assert [line[:3] for line in lines] == [["salun", "2", "60.0"], ["salun", "10", "61.0"]]
    assert lines[0][-1] == "high cold (n 7)"
    assert "±" not in text.split("In percent")[0]


def test_a_single_seed_has_no_deviation(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics(61.0))
    assert table_lines(shown(tmp_path, capsys))[0][:3] == ["salun", "1", "61.0"]


def test_every_task_and_ratio_has_a_table_of_its_own(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics(1.0))
    make_run(tmp_path, "b", "salun", metrics(2.0), unlearning_ratio=0.5)
    make_run(tmp_path, "c", "salun", metrics(3.0), task="split1")
    make_run(tmp_path, "d", "salun", metrics(4.0), dataset="fairface")
    make_run(tmp_path, "e", "salun", metrics(5.0), image_size=64)
    text = shown(tmp_path, capsys)
    titles = [line for line in text.splitlines() if line.startswith(("digits", "fairface"))]
    assert titles == [
        "digits, small_cnn, 32 px, weights none, split0, ratio 0.5",
        "digits, small_cnn, 32 px, weights none, split0, ratio 0.9",
        "digits, small_cnn, 32 px, weights none, split1, ratio 0.9",
        "digits, small_cnn, 64 px, weights none, split0, ratio 0.9",
        "fairface, small_cnn, 32 px, weights none, split0, ratio 0.9",
    ]
    assert [line[2] for line in table_lines(text)] == ["2.0", "1.0", "3.0", "5.0", "4.0"]
    assert "Forget groups: high cold. Without any signal MIA reads about 20." in text


@pytest.mark.parametrize(
    "flags, expected",
    [
        (["--ratio", "0.5"], ["2.0"]),
        (["--task", "split1"], ["3.0"]),
        (["--dataset", "fairface"], ["4.0"]),
        (["--method", "miu"], ["5.0"]),
        (["--method", "miu", "--method", "salun", "--task", "split0", "--ratio", ".9"], ["5.0", "1.0", "4.0"]),
    ],
)
def test_filters(tmp_path: Path, capsys: Capture, flags: list[str], expected: list[str]) -> None:
    make_run(tmp_path, "a", "salun", metrics(1.0))
    make_run(tmp_path, "b", "salun", metrics(2.0), unlearning_ratio=0.5)
    make_run(tmp_path, "c", "salun", metrics(3.0), task="split1")
    make_run(tmp_path, "d", "salun", metrics(4.0), dataset="fairface")
    make_run(tmp_path, "e", "miu", metrics(5.0))
    assert [line[2] for line in table_lines(shown(tmp_path, capsys, *flags))] == expected


def test_filters_that_leave_nothing_are_an_error(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics())
    assert report.main([str(tmp_path), "--method", "miu"]) == 2
    assert "no run under" in capsys.readouterr().err


def test_a_reference_finished_later_is_filled_in_per_seed(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "plain0", "retrain", metrics(40.0))
    make_run(tmp_path, "plain1", "retrain", metrics(50.0), seed=1)
    make_run(tmp_path, "reweight0", "retrain", metrics(70.0), reweight=True)
    make_run(tmp_path, "a-tagged", "retrain", metrics(99.0), tag="other")
    make_run(tmp_path, "salun0", "salun", metrics(50.0))
    make_run(tmp_path, "salun1", "salun", metrics(80.0), seed=1)
    make_run(tmp_path, "miu0", "miu", metrics(60.0))
    make_run(tmp_path, "miu-plain", "miu", metrics(65.0), reweight=False)
    make_run(tmp_path, "scrub0", "scrub", metrics(50.0), reweight=True)
    make_run(tmp_path, "l1", "l1_sparse", metrics(50.0), reference="retrain_reweight")
    rows = {line[0].rstrip(" *"): line for line in table_lines(shown(tmp_path, capsys))}
    # salun: gaps 10 and 30, ToW 72.9 and 34.3, the difference taken before averaging.
    assert rows["salun"][-3:-1] == ["53.6 ± 27.3", "20.0 ± 14.1"]
    assert rows["miu"][-3:-1] == ["72.9", "10.0"]
    assert rows["miu (no reweight)"][-3:-1] == ["85.7", "5.0"]
    assert rows["scrub + reweight"][-3:-1] == ["51.2", "20.0"]
    assert rows["l1_sparse"][-3:-1] == ["51.2", "20.0"]
    assert rows["retrain"][-3:-1] == ["-", "-"]


def test_stored_tow_is_kept_and_another_forget_set_is_no_reference(tmp_path: Path, capsys: Capture) -> None:
    other = make_run(tmp_path, "a", "retrain", metrics(40.0))
    stored = yaml.safe_load((other / "config.yaml").read_text())
    stored["fingerprints"]["forget"] = "another"
    (other / "config.yaml").write_text(yaml.safe_dump(stored))
    make_run(tmp_path, "b", "salun", metrics(50.0))
    make_run(tmp_path, "c", "scrub", metrics(50.0, tow=33.0, avg_gap=4.0, reference="elsewhere_0.9_1"), seed=1)
    make_run(tmp_path, "d", "retrain", metrics(40.0), seed=1)
    text = shown(tmp_path, capsys)
    rows = {line[0].rstrip(" *"): line for line in table_lines(text)}
    assert rows["salun"][-3:-1] == ["-", "-"]
    assert rows["scrub"][-3:-1] == ["33.0", "4.0"]
    assert "- ToW, Avg. Gap of retrain (seed 0, 1); ToW, Avg. Gap of salun (seed 0): make retrain first\n" in text


def test_rewind_gives_two_rows(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "scrub", metrics(60.0, without_rewind=metrics(55.0)))
    make_run(tmp_path, "b", "retrain", metrics(50.0))
    rows = [(line[0], line[2], line[-2]) for line in table_lines(shown(tmp_path, capsys))]
    assert rows[1:] == [("scrub (rewind)", "60.0", "10.0"), ("scrub (last epoch)", "55.0", "5.0")]


def test_each_row_of_a_rewind_has_its_own_records(tmp_path: Path, capsys: Capture) -> None:
    _, splits = trained(make_run(tmp_path, "p", "pretrain", {"schema": 2, "test_acc": 100.0}))
    path = make_run(tmp_path, "a", "scrub", metrics(60.0, without_rewind=metrics(55.0)))
    keep_splits(path, splits)
    kept = dict(np.load(tmp_path / "p" / "records.npz"))
    for file, loss in (("records.npz", 1e-3), ("records_without_rewind.npz", 10.0)):
        np.savez(path / file, **kept | {"loss": np.full_like(kept["loss"], loss)})
    made = json.loads(shown(tmp_path, capsys, "--format", "json"))
    losses = {run["label"]: run["losses"] for run in made["runs"] if run["folder"] == "a"}
    means = {}
    for name, found in losses.items():
        middles = (np.array(found["edges"][1:]) + found["edges"][:-1]) / 2
        means[name] = float(np.average(middles, weights=found["forget"]))
    assert means["scrub (rewind)"] == pytest.approx(-3, abs=0.3)
    assert means["scrub (last epoch)"] == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("reweight, wanted, gap", [(False, "retrain_reweight", "30.0"), (True, "retrain", "30.0")])
def test_a_retrained_run_is_compared_with_the_reference_it_names(
    tmp_path: Path, capsys: Capture, reweight: bool, wanted: str, gap: str
) -> None:
    make_run(tmp_path, "a", "retrain", metrics(40.0), **({} if reweight else {"reference": wanted}))
    make_run(tmp_path, "b", "retrain", metrics(70.0), reweight=True, **({"reference": wanted} if reweight else {}))
    rows = {line[0].partition(",")[0]: line for line in table_lines(shown(tmp_path, capsys))}
    names = ("retrain + reweight", "retrain") if reweight else ("retrain", "retrain + reweight")
    assert rows[names[0]][-2] == gap
    assert rows[names[1]][-2] == "-", "itself"


@pytest.mark.parametrize("name", ["data", "forget"])
def test_a_reference_is_of_the_same_data_and_forget_set(tmp_path: Path, capsys: Capture, name: str) -> None:
    """Of two retrained runs with everything else alike, as after images were added."""
    salun = make_run(tmp_path, "z", "salun", metrics(50.0))
    make_run(tmp_path, "elsewhere/a", "retrain", metrics(40.0))
    other = make_run(tmp_path, "b", "retrain", metrics(20.0))
    for path in (salun, other):
        stored = yaml.safe_load((path / "config.yaml").read_text())
        stored["fingerprints"][name] = "another"
        (path / "config.yaml").write_text(yaml.safe_dump(stored))
    made = json.loads(shown(tmp_path, capsys, "--format", "json"))
    (found,) = (run for run in made["runs"] if run["folder"] == "z")
    assert found["metrics"]["avg_gap"] == 30.0
    (other / "done").unlink()
    made = json.loads(shown(tmp_path, capsys, "--format", "json"))
    (found,) = (run for run in made["runs"] if run["folder"] == "z")
    assert found["metrics"]["avg_gap"] is None


def test_unfinished_and_unreadable_runs_are_named_and_the_rest_reported(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "good", "salun", metrics(61.0))
    make_run(tmp_path, "failed", "miu", status={"state": "failed", "reason": "loss is not finite"})
    make_run(tmp_path, "running", "scrub", status={"state": "running", "reason": None})
    make_run(tmp_path, "silent", "scrub")
    broken = make_run(tmp_path, "broken", "retrain", metrics())
    (broken / "metrics.json").write_text('{"retain_acc": 5')
    no_config = make_run(tmp_path, "no-config", "retrain", metrics())
    (no_config / "config.yaml").write_text("config: [\n")
    listed = make_run(tmp_path, "listed", "retrain", metrics())
    (listed / "metrics.json").write_text("[1, 2]")
    text = shown(tmp_path, capsys)
    assert [line[:3] for line in table_lines(text)] == [["salun", "1", "61.0"]]
    assert f"- {tmp_path}/failed: failed: loss is not finite\n" in text
    assert f"- {tmp_path}/running: running\n" in text
    cut_off = "no done marker and no status.json: an older copy, or a run that was cut off"
    assert f"- {tmp_path}/silent: {cut_off}\n" in text
    assert f"- {tmp_path}/broken: metrics.json cannot be read (Expecting ',' delimiter: line 1 column 17" in text
    assert f"- {tmp_path}/listed: metrics.json cannot be read (the file is [1, 2], expected a table)\n" in text
    assert f"- {tmp_path}/no-config: config.yaml cannot be read (while parsing a flow node" in text


def test_the_walk_over_folders_has_an_end_and_names_what_it_cannot_look_into(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "good", "salun", metrics(61.0))
    (tmp_path / "good" / "wandb" / "files").mkdir(parents=True)
    (tmp_path / "good" / "wandb" / "files" / "config.yaml").write_text("another program's")
    (tmp_path / "above").symlink_to(tmp_path)
    (tmp_path / "round").symlink_to("round")
    os.mkfifo(tmp_path / "config.yaml")  # where no run is
    (tmp_path / "kind" / "config.yaml").mkdir(parents=True)
    make_run(tmp_path / "kind", "below", "miu", metrics(62.0))
    os.mkfifo(make_run(tmp_path, "pipe", "scrub", metrics()) / "pipe")
    (tmp_path / "pipe" / "pipe").replace(tmp_path / "pipe" / "metrics.json")
    text = shown(tmp_path, capsys)
    assert [line[:3] for line in table_lines(text)] == [["miu", "1", "62.0"], ["salun", "1", "61.0"]]
    assert f"- {tmp_path}: config.yaml cannot be read (it is a named pipe, expected a regular file)\n" in text
    assert f"- {tmp_path}/kind: config.yaml cannot be read (" in text
    assert f"- {tmp_path}/pipe: metrics.json cannot be read (it is a named pipe, expected a regular file)\n" in text
    assert text.count("cannot be read") == 3


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator may read everything, so the system's answer is made up; another folder vanishes meanwhile."""
    make_run(tmp_path, "good", "salun", metrics(61.0))
    make_run(tmp_path, "closed/a", "miu", metrics(62.0))
    make_run(tmp_path, "gone/a", "miu", metrics(62.0))
    real, answers = os.scandir, {"closed": PermissionError(13, "Permission denied"), "gone": FileNotFoundError(2, "No")}

    def scandir(folder: Any) -> Any:
        if answer := answers.get(Path(folder).name):
            raise answer
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    text = shown(tmp_path, capsys)
    assert f"- {tmp_path}/closed: the folder cannot be read (Permission denied)\n" in text
    assert "gone" not in text
    assert table_lines(text)[0][:3] == ["salun", "1", "61.0"]


def test_folders_in_each_other_without_end_are_walked(tmp_path: Path, capsys: Capture) -> None:
    """Deeper than Python calls itself."""
    deep = tmp_path / "deep"
    for _ in range(12):
        (tmp_path / "above").mkdir()
        os.makedirs(tmp_path / "above" / "/".join("a" * 99))
        if deep.exists():
            deep.replace(tmp_path / "above" / "/".join("a" * 99) / "a")
        (tmp_path / "above").replace(deep)
    make_run(tmp_path, "good", "salun", metrics(61.0))
    assert table_lines(shown(tmp_path, capsys))[0][:3] == ["salun", "1", "61.0"]
    subprocess.run(["rm", "-r", str(deep)], check=True)  # deeper than pytest removes


def test_splits_of_another_run_make_no_row(tmp_path: Path, capsys: Capture) -> None:
    _, splits = trained(make_run(tmp_path, "p", "pretrain", {"schema": 2, "test_acc": 100.0}))
    save_splits(make_run(tmp_path, "a", "salun", metrics()) / "splits.npz", splits)
    text = shown(tmp_path, capsys)
    assert [line[0] for line in table_lines(text)] == ["salun"]
    assert "a/config.yaml has another forget fingerprint than the splits have" in text


def test_records_of_other_groups_make_no_row(tmp_path: Path, capsys: Capture) -> None:
    records, splits = trained(make_run(tmp_path, "p", "pretrain", {"schema": 2, "test_acc": 100.0}))
    keep_splits(make_run(tmp_path, "a", "salun", metrics()), splits)
    np.savez(tmp_path / "p" / "records.npz", **records.arrays | {"group": records.group + 1})
    text = shown(tmp_path, capsys)
    assert [line[0] for line in table_lines(text)] == ["salun"]
    assert "has 2 targets and 2 sensitive values, and the records or splits have others" in text


def test_only_unfinished_runs(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "failed", "miu", status={"state": "failed", "reason": "out of memory"})
    text = shown(tmp_path, capsys)
    assert text.startswith("No finished run to show.")
    assert "failed: out of memory" in text


def test_the_same_run_in_two_folders_counts_once_and_is_named(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "one/a", "salun", metrics(60.0))
    make_run(tmp_path, "two/a", "salun", metrics(80.0))
    text = shown(tmp_path, capsys)
    assert table_lines(text)[0][:3] == ["salun", "1", "60.0"]
    assert f"{tmp_path}/two/a: not counted, the same method and seed as {tmp_path}/one/a" in text


def test_seeds_that_were_not_run_alike_are_named(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics(), lr=0.1)
    make_run(tmp_path, "b", "salun", metrics(), lr=0.2, seed=1)
    assert "the runs of salun differ in lr, beside their seeds" in shown(tmp_path, capsys)


@pytest.mark.parametrize("create", [False, True])
def test_nothing_to_report_is_one_sentence_and_exit_2(tmp_path: Path, capsys: Capture, create: bool) -> None:
    root = tmp_path / "output"
    if create:
        root.mkdir()
    assert report.main([str(root)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_markdown(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics(60.0, tow=90.0, avg_gap=1.0), tag="a|b")
    make_run(tmp_path, "b", "salun", metrics(61.0, tow=91.0, avg_gap=2.0), tag="a|b", seed=1)
    make_run(tmp_path, "c", "miu", status={"state": "running", "reason": None})
    lines = shown(tmp_path, capsys, "--format", "markdown").splitlines()
    assert lines[0] == "### digits, small_cnn, 32 px, weights none, split0, ratio 0.9"
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 3
    assert len({len(row) for row in rows}) == 1
    assert {row.replace(r"\|", "").count("|") for row in rows} == {12}
    assert set(rows[1]) == set("|-: ")
    assert [part.strip() for part in rows[2].replace(r"\|", "!").split("|")[1:4]] == ["salun, a!b", "2", "60.5 ± 0.7"]
    assert lines[lines.index(rows[0]) - 1] == ""
    assert lines[lines.index("Not in the tables:") + 1] == ""


def test_out_writes_the_file(tmp_path: Path, capsys: Capture) -> None:
    make_run(tmp_path, "a", "salun", metrics())
    text = shown(tmp_path, capsys)
    assert shown(tmp_path, capsys, "--out", str(tmp_path / "table.txt")) == f"written: {tmp_path / 'table.txt'}\n"
    assert (tmp_path / "table.txt").read_text() == text
    assert report.main([str(tmp_path), "--out", str(tmp_path / "absent" / "table.txt")]) == 2
    assert not (tmp_path / "absent").exists()


def trained(path: Path, retain_wrong: int = 0) -> tuple[Records, Splits]:
    """Records of a pretrained run in `path`: 40 train (6 of group 2), 16 val, 16 test; some retain samples wrong."""
    n, generator = 72, np.random.default_rng(0)
    target, sensitive = np.arange(n) % 2, (np.arange(n) // 2) % 2
    split = np.repeat([0, 1, 2], [40, 16, 16])
    train = np.arange(40)
    forget = train[2 * target[:40] + sensitive[:40] == 2][:6]
    retain = np.setdiff1d(train, forget)
    prediction = target.copy()
    prediction[retain[:retain_wrong]] = 1 - prediction[retain[:retain_wrong]]
    logits = 3 * np.eye(2)[prediction] + generator.normal(scale=0.1, size=(n, 2))
    records = Records.from_logits(np.arange(n), split, target, sensitive, 2 * target + sensitive, logits)
    records.save(path / "records.npz")
    parts = (train, np.arange(40, 56), np.arange(56, 72), forget, retain)
    digest = hashlib.sha256(f"data0:{','.join(map(str, forget.tolist()))}".encode()).hexdigest()
    return records, Splits(*parts, forget_groups=(2,), data_fingerprint="data0", forget_fingerprint=digest)


def keep_splits(path: Path, splits: Splits) -> None:
    """The splits of a run, whose config.yaml tells their fingerprint."""
    save_splits(path / "splits.npz", splits)
    stored = yaml.safe_load((path / "config.yaml").read_text())
    stored["fingerprints"]["forget"] = splits.forget_fingerprint
    (path / "config.yaml").write_text(yaml.safe_dump(stored))


def test_pretrain_has_a_row_for_every_task_from_its_records(tmp_path: Path, capsys: Capture) -> None:
    values = {"schema": 2, "test_acc": 100.0, "reasons": {}}
    pretrain = make_run(tmp_path, "p", "pretrain", values, unlearning_ratio=0.5)
    records, splits = trained(pretrain, retain_wrong=17)
    for folder, task in (("a", "split0"), ("b", "split1")):
        keep_splits(make_run(tmp_path, folder, "salun", metrics(), task=task), splits)
    keep_splits(make_run(tmp_path, "r", "retrain", metrics(100.0, mia=None, retain_acc=60.0)), splits)
    keep_splits(make_run(tmp_path, "w", "retrain", metrics(30.0), reweight=True), splits)
    text = shown(tmp_path, capsys, "--method", "pretrain")
    expected = evaluate(records, splits, NAMES, 2, 2)
    assert expected["retain_acc"] == 50.0
    first, second = table_lines(text)
    # The fields of split0: the plain retrain run is the reference, gaps 10, 0, 0; its MIA is null.
    assert first[:5] == ["pretrain", "1", "50.0", "100.0", "100.0"]
    assert first[5] == f"{expected['mia']:.1f}"
    assert first[8:] == ["90.0", "-", "100.0"]
    assert second[:5] == first[:5]
    assert "Avg. Gap of pretrain (seed 0): mia is null in this run or in its reference" in text


def test_pretrain_without_reference_says_how_to_get_one(tmp_path: Path, capsys: Capture) -> None:
    _, splits = trained(make_run(tmp_path, "p", "pretrain", {"schema": 2, "test_acc": 100.0}))
    keep_splits(make_run(tmp_path, "a", "salun", metrics()), splits)
    text = shown(tmp_path, capsys)
    assert table_lines(text)[0][-3:] == ["-", "-", "100.0"]
    assert "no retrain run (without REWEIGHT) of this task, ratio and seed is finished" in text


def test_pretrain_of_another_seed_or_data_serves_no_table(tmp_path: Path, capsys: Capture) -> None:
    pretrain = make_run(tmp_path, "p", "pretrain", {"schema": 2, "test_acc": 77.0, "worst_group_acc": 5.0}, seed=3)
    trained(pretrain)
    make_run(tmp_path, "a", "salun", metrics())
    lines = table_lines(shown(tmp_path, capsys))
    assert sorted(line[0] for line in lines) == ["pretrain", "salun"]
    alone = next(line for line in lines if line[0] == "pretrain")
    assert alone == ["pretrain", "1", "-", "-", "77.0", "-", "-", "-", "-", "-", "5.0"]
    assert "pretrained only" in shown(tmp_path, capsys)


@pytest.mark.parametrize("damaged", ["p/records.npz", "a/splits.npz"])
def test_a_pretrain_row_that_cannot_be_computed_is_named(tmp_path: Path, capsys: Capture, damaged: str) -> None:
    _, splits = trained(make_run(tmp_path, "p", "pretrain", {"schema": 2, "test_acc": 100.0}))
    keep_splits(make_run(tmp_path, "a", "salun", metrics()), splits)
    (tmp_path / damaged).write_bytes(b"damaged")
    text = shown(tmp_path, capsys)
    assert [line[0] for line in table_lines(text)] == ["salun"]
    assert f"{tmp_path}/p: no row for split0, ratio 0.9: cannot read" in text
    assert damaged.split("/")[1] in text


def test_a_value_that_is_no_number_is_a_hole() -> None:
    assert cell([None, float("nan"), "text", True]) == "-"
    assert cell([1.0, None, 4.0]) == "2.5 ± 2.1 [2]"
    assert cell([0]) == "0.0"


def test_means_and_deviations_stand_below_each_other() -> None:
    rows = [["a", "9.5 ± 10.2"], ["bb", "100.0 ± 0.1 [2]"], ["c", "-"]]
    assert align(["m", "RA"], rows).splitlines() == [
        "m                 RA",
        "--  ----------------",
        "a     9.5 ± 10.2",
        "bb  100.0 ±  0.1 [2]",
        "c       -",
    ]


def test_tables_of_plain_cells() -> None:
    rows = [["0*", "low cold", "12"], ["1", "low", "5"]]
    assert align(["group", "name", "train"], rows, left=2).splitlines() == [
        "group  name      train",
        "-----  --------  -----",
        "0*     low cold     12",
        "1      low           5",
    ]
    assert align_markdown(["group", "name", "train"], rows[1:], left=2).splitlines() == [
        "| group | name | train |",
        "| ----- | ---- | ----: |",
        "| 1     | low  |     5 |",
    ]
    assert align(["m", "RA"], []).splitlines() == ["m  RA", "-  --"]


def test_a_folder_is_named_once_with_all_that_keeps_it_out(tmp_path: Path, capsys: Capture) -> None:
    """Of a pretrained model that serves two ratios, a second copy would be named twice."""
    for name in ("a", "b"):
        make_run(tmp_path, f"{name}/pretrain_0", "pretrain", metrics())
    for ratio in (0.5, 0.9):
        make_run(tmp_path, f"s{ratio}", "salun", metrics(), unlearning_ratio=ratio)
    text = shown(tmp_path, capsys)
    assert text.count("b/pretrain_0: not counted, the same method and seed as ") == 1
    made = json.loads(shown(tmp_path, capsys, "--format", "json"))
    (second,) = (one for one in made["missing"] if one["folder"].endswith("b/pretrain_0"))
    assert second["problem"].startswith("not counted, ")
    (first,) = (one for one in made["missing"] if one["folder"].endswith("a/pretrain_0"))
    assert first["problem"].count("; no row for split0, ratio ") == 1  # two problems, in one line
