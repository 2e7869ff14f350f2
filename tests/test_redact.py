"""Redacted copies: nothing of those who asked is in them, and reports say the same."""

import dataclasses
import json
import os
import shutil
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from asked import ASKED, FORGOTTEN, LIST, OWNER, ROWS, TASK, data, make_answer
from trees import NAMES, Capture, make_run, shown

from datasets.splits import load_splits
from method.evaluation.evaluator import add_reference, evaluate
from method.evaluation.records import Records
from method.runs.stored import read_runs
from method.runs.zips import write_zip
from scripts.report import command as report
from scripts.report.naming import without_paths
from scripts.report.redact import usual_name
from scripts.report.redact_metrics import UNTOLD, Kept
from scripts.report.tokens import Tokens

READABLE = ("config.yaml", "metrics.json", "history.csv", "status.json", "done", "forget_list.txt", "rows.json")


def redacted(root: Path, copy: Path) -> tuple[Path, dict]:
    """The copy and its key."""
    assert report.main([str(root), "--redact", str(copy)]) == 0
    return copy, json.loads((root.parent / f"{root.name}.{copy.name}.key.json").read_text())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict]:
    """Runs, their copy and its key."""
    root = tmp_path_factory.mktemp("runs") / "output"
    make_answer(root)
    make_run(
        root, f"digits/small_cnn/{TASK}/scrub_1_0", "scrub", task=TASK, status={"state": "failed", "reason": OWNER}
    )
    copy, key = redacted(root, tmp_path_factory.mktemp("shared") / "copy")
    return root, copy, key


def change_config(run: Path, change: Callable[[dict], object]) -> None:
    stored = yaml.safe_load((run / "config.yaml").read_text())
    change(stored)
    (run / "config.yaml").write_text(yaml.safe_dump(stored))


def change_metrics(run: Path, values: dict, reasons: dict) -> None:
    found = json.loads((run / "metrics.json").read_text())
    found["reasons"] |= reasons
    (run / "metrics.json").write_text(json.dumps(found | values))


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file, and of every member of an archive."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield str(file.relative_to(folder)), file.read_bytes()
            if file.suffix == ".npz":
                with np.load(file) as arrays:
                    yield from ((f"{file.name}/{name}", arrays[name].tobytes()) for name in arrays.files)


def encodings(row: int) -> list[bytes]:
    """A number as text, and as whole and floating numbers of every width that holds it, in both orders."""
    kinds = ("<i8", ">i8", "<i4", ">i4", "<f8", ">f8", "<f4", ">f4")
    return [str(row).encode(), *(np.array(row, dtype=kind).tobytes() for kind in kinds)]


def test_no_name_no_row_and_no_path_is_anywhere_in_a_copy(shared: tuple[Path, Path, dict]) -> None:
    """Also of those who did not ask: who has the data sees which numbers are missing."""
    root, copy, _ = shared
    names = [*LIST, "portrait_", "4711", "7000223", "nobody-knows"]
    private = [name.encode() for name in [*names, OWNER, "mustermann", "erika", TASK, "badcafe", str(root)]]
    assert all(any(word in content for _, content in files(root)) for word in private[:5])  # the search finds them
    rows = [word for row in (*FORGOTTEN, *ROWS[7::50]) for word in encodings(int(row))]
    assert any(encodings(int(FORGOTTEN[3]))[1] in content for _, content in files(root))
    for place, content in files(copy):
        assert not [word for word in private if word in content or word in place.encode()], place
        assert not [word for word in rows if word in content], place


def test_what_a_copy_has_is_named_and_models_logs_and_strangers_are_not_in_it(
    shared: tuple[Path, Path, dict],
) -> None:
    found = {place.rsplit("/", 1)[-1] for place, _ in files(shared[1]) if "npz/" not in place}
    assert found == {*READABLE, "splits.npz", "records.npz"}


def test_the_key_undoes_the_tokens_and_its_owner_alone_reads_it(shared: tuple[Path, Path, dict]) -> None:
    root, copy, key = shared
    assert sorted(key["names"].values()) == sorted(LIST)
    assert sorted(key["rows_by_data_fingerprint"]["data0"].values()) == FORGOTTEN.tolist()
    (run,) = copy.glob("digits/small_cnn/list-*/miu_1_0")
    rows = key["rows_by_data_fingerprint"]["data0"]
    assert sorted(rows[str(token)] for token in load_splits(run / "splits.npz").forget) == FORGOTTEN.tolist()
    assert sorted(key["names"][token] for token in (run / "forget_list.txt").read_text().split()) == sorted(LIST)
    file = root.parent / f"{root.name}.{copy.name}.key.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_person_has_one_token_in_all_runs_and_another_in_the_next_copy(
    shared: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    root, copy, key = shared
    (task,) = copy.glob("digits/small_cnn/list-*")
    of = {name: load_splits(task / name / "splits.npz") for name in ("miu_1_0", "retrain_reweight_1_0")}
    assert np.array_equal(of["miu_1_0"].forget, of["retrain_reweight_1_0"].forget)
    assert np.array_equal(of["miu_1_0"].train, load_splits(task.parent / "pretrain_0" / "splits.npz").train)
    lists = [(task / name / "forget_list.txt").read_text() for name in of]
    assert lists[0] == lists[1]
    _, other = redacted(root, tmp_path / "second")
    assert not {*key["names"]} & {*other["names"]}


def test_a_key_in_a_git_work_tree_is_warned_of(tmp_path: Path, capsys: Capture) -> None:
    make_answer(tmp_path / "work/output")
    redacted(tmp_path / "work/output", tmp_path / "one")
    key = tmp_path / "work/output.one.key.json"
    told = capsys.readouterr().out
    assert f"the key, which turns tokens back into names: {key}. Keep it, and give it to nobody." in told
    assert "warning" not in told
    (tmp_path / "work/.git").mkdir()
    redacted(tmp_path / "work/output", tmp_path / "two")
    warning = "warning: {} is in the git work tree {}; never commit it"
    key = tmp_path / "work/output.two.key.json"
    assert warning.format(key, tmp_path / "work") in capsys.readouterr().out.splitlines()
    (run,) = (tmp_path / "work/output").glob("digits/small_cnn/list-*/miu_1_0")
    assert report.main([str(run), "--sheet", str(tmp_path / "work/a.html")]) == 0
    told = capsys.readouterr().out.splitlines()
    private = (tmp_path / "work/a-names.csv", run.parent / "forget_list.key")
    assert told[2:] == [warning.format(file, tmp_path / "work") for file in private]


def test_git_ignores_keys() -> None:
    ignored = (Path(__file__).parent.parent / ".gitignore").read_text().splitlines()
    assert {"*.key.json", "forget_list.key"} <= {*ignored}


def test_records_of_train_are_left_out_and_the_others_are_shuffled(shared: tuple[Path, Path, dict]) -> None:
    root, copy, _ = shared
    (run,) = copy.glob("digits/small_cnn/list-*/miu_1_0")
    before, after = (
        Records.load(root / f"digits/small_cnn/{TASK}/miu_1_0/records.npz"),
        Records.load(run / "records.npz"),
    )
    kept = before.split > 0
    assert len(after) == np.count_nonzero(kept) == 600
    assert sorted(after.loss.tolist()) == sorted(before.loss[kept].tolist())
    assert after.loss.tolist() != before.loss[kept].tolist()
    splits = load_splits(run / "splits.npz")
    assert np.array_equal(np.sort(after.index[after.split == 2]), splits.test)


@pytest.mark.parametrize("flags", ["", "--columns all", "--each", "--by group", "--format csv --columns all"])
def test_a_report_of_a_copy_has_the_same_numbers(shared: tuple[Path, Path, dict], capsys: Capture, flags: str) -> None:
    root, copy, _ = shared
    (task,) = (path.name for path in copy.glob("digits/small_cnn/list-*"))
    before, after = (shown(path, capsys, *flags.split()) for path in (root, copy))
    before = (
        before.split("Not in the tables")[0].replace(TASK, task).replace(f"it cannot be read from {OWNER}/gpu", UNTOLD)
    )
    assert after.split("Not in the tables")[0].replace("=", "") == before.replace("=", "")
    assert "pretrain" in after


def test_the_page_of_a_copy_says_why_it_has_no_losses(shared: tuple[Path, Path, dict], capsys: Capture) -> None:
    found = json.loads(shown(shared[1], capsys, "--format", "json"))
    missing = {one["folder"]: one["problem"] for one in found["missing"]}
    assert missing.pop("the redacted copy") == "losses are not shown: records of train are left out of it"
    assert list(missing.values()) == ["failed"]  # without the reason, which may name anything
    assert all(run["losses"] is None and run["history"] for run in found["runs"])


def test_a_copy_is_not_recomputed_and_not_redacted_again(
    shared: tuple[Path, Path, dict], capsys: Capture, tmp_path: Path
) -> None:
    before = dict(files(shared[1]))
    assert report.main([str(shared[1]), "--recompute"]) == 1
    assert "is a redacted copy, which has no records of train" in capsys.readouterr().err
    assert report.main([str(shared[1]), "--redact", str(tmp_path / "again")]) == 2
    assert "is a redacted copy already" in capsys.readouterr().err
    assert dict(files(shared[1])) == before


def test_nothing_is_written_over(tmp_path: Path, capsys: Capture) -> None:
    make_answer(tmp_path / "output")
    for file in (tmp_path / "copy", tmp_path / "output.copy.key.json"):
        file.write_text("mine")
        assert report.main([str(tmp_path / "output"), "--redact", str(tmp_path / "copy")]) == 2
        assert f"{file} is there already" in capsys.readouterr().err
        assert file.read_text() == "mine"
        file.unlink()
    assert report.main([str(tmp_path / "output"), "--redact", str(tmp_path / "output" / "copy")]) == 2
    assert "would lie among the runs" in capsys.readouterr().err
    assert report.main([str(tmp_path / "output"), "--redact", str(tmp_path / "a" / "b"), "--each"]) == 2
    assert sorted(os.listdir(tmp_path)) == ["output"]


@pytest.mark.parametrize("below", ["", "digits", "digits/small_cnn", TASK, f"{TASK}/miu_1_0"])
def test_neither_a_copy_nor_its_key_lies_among_runs(tmp_path: Path, capsys: Capture, below: str) -> None:
    """Whatever part of them is redacted, and through a link: a folder of runs is handed on as a whole."""
    make_answer(tmp_path / "output")
    root = tmp_path / "output" / (f"digits/small_cnn/{below}" if below.startswith(TASK) else below)
    before = sorted(tmp_path.rglob("*"))
    assert report.main([str(root), "--redact", str(tmp_path / "output" / "digits" / "copy")]) == 2
    assert "would lie among the runs" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(root)
    assert report.main([str(tmp_path / "elsewhere" / "link"), "--redact", str(root / "copy")]) == 2
    assert "would lie among the runs" in capsys.readouterr().err
    assert report.main([str(tmp_path / "elsewhere" / "link"), "--redact", str(tmp_path / "copy")]) == 0
    added = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "copy")} - {*before}
    assert {path.name for path in added} == {"elsewhere", "link", "output.copy.key.json"}
    assert (tmp_path / "output.copy.key.json").exists()


def test_a_run_that_lies_alone_has_its_key_beside_it(tmp_path: Path) -> None:
    make_answer(tmp_path / "output").rename(tmp_path / "sent")
    _, key = redacted(tmp_path / "sent", tmp_path / "copy")
    assert len(key["names"]) == len(LIST)


def test_a_run_that_cannot_be_read_is_named(tmp_path: Path, capsys: Capture) -> None:
    run = make_answer(tmp_path / "output")
    (run / "config.yaml").write_text("{")
    redacted(tmp_path / "output", tmp_path / "copy")
    told = capsys.readouterr().out
    assert "2 runs redacted in " in told
    assert f"not in the copy: {run}: config.yaml cannot be read" in told
    (run.parent / "retrain_reweight_1_0" / "records.npz").write_bytes(b"PK")
    assert report.main([str(tmp_path / "output"), "--redact", str(tmp_path / "other")]) == 2
    assert "cannot read the records in" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "skipped", [["anna"], {"unknown": "abc"}, {"unknown": [7]}, {"anna.jpg": []}, None, {"unknown": 3}]
)
def test_a_list_of_which_nothing_can_be_told_is_refused(tmp_path: Path, capsys: Capture, skipped: object) -> None:
    """Else names would be taken for letters, or kinds, and stay."""
    change_config(make_answer(tmp_path / "output"), lambda stored: stored["requests"].update(skipped=skipped))
    assert report.main([str(tmp_path / "output"), "--redact", str(tmp_path / "copy")]) == 2
    assert "`requests` in config.yaml does not say what became of a list" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["output"]


def test_metrics_name_their_reference_as_the_copy_does(tmp_path: Path) -> None:
    """Beside each run its own, as two tasks may have folders of one name; one that is not there has a token."""
    named, root = "for-erika-mustermann", tmp_path / "output"
    for task in (TASK, "split0"):
        run = make_answer(tmp_path / task)
        gone = f"the records of {named} cannot be read, or are of other samples"
        change_metrics(run, {"reference": named}, {"kl_to_retrain_test": gone})
        retrained = run.parent / "retrain_reweight_1_0"
        change_config(
            retrained, lambda stored: [stored[part].update(reweight=False) for part in ("config", "identity")]
        )
        retrained.rename(run.parent / named)
        for one in run.parent.parent.rglob("config.yaml"):
            change_config(one.parent, lambda stored, task=task: stored.update(task=task))
        run.parent.rename(run.parent.parent / task)
        shutil.copytree(tmp_path / task, root, dirs_exist_ok=True)
    other = root / "digits/small_cnn/split0"
    (other / named).rename(other / "retrain_anna_0")
    copy, key = redacted(root, tmp_path / "copy")
    for place, content in files(copy):
        assert not [word for word in (named, "retrain_anna_0") if word.encode() in content or word in place], place
    names = {name: token for token, name in key["folder"].items()}
    (task,) = copy.glob("digits/small_cnn/list-*")
    for folder in (task, copy / "digits/small_cnn/split0"):
        found = json.loads((folder / "miu_1_0" / "metrics.json").read_text())
        assert found["reference"] == names[named]
        assert found["reasons"]["kl_to_retrain_test"].startswith(f"the records of {names[named]} cannot")
    assert (task / names[named]).is_dir()
    assert (copy / "digits/small_cnn/split0" / names["retrain_anna_0"]).is_dir()
    rows = json.loads((copy / "digits/small_cnn/pretrain_0/rows.json").read_text())["rows"]
    assert {row["metrics"]["reference"] for row in rows} <= {*names.values()}


def test_sentences_keys_and_columns_that_nobody_knows_are_left_out(tmp_path: Path) -> None:
    run = make_answer(tmp_path / "output")
    private = ["Erika Maria Mustermann", "portrait_3"]
    change_config(run, lambda stored: stored["groups"].update(extra=private))
    change_config(run, lambda stored: stored.update(pixels={"mean": "0.5", "std": private[0], "extra": private}))
    change_config(run, lambda stored: stored["config"].update({private[1]: 1}))
    change_metrics(
        run,
        {private[1]: 3.0, "worst_group": private[0]},
        {"mia": f"cannot be read from /home/u/{private[0]}/x.npz", "tow": "it cannot be read: portrait_3.jpg"}
        | {private[1]: "there is no test sample", "avg_gap": "there is no test sample of portrait_3"},
    )
    (run / "history.csv").write_text("epoch,retain_loss,portrait_3_acc,val_acc\n0,0.1,1,\n12,1e-05,,nan\n")
    copy, _ = redacted(tmp_path / "output", tmp_path / "copy")
    for place, content in files(copy):
        assert not [word for word in (*private, "Maria") if word.encode() in content], place
    (run,) = copy.glob("digits/small_cnn/list-*/miu_1_0")
    assert (run / "history.csv").read_text() == "epoch,retain_loss,val_acc\n0,0.1,\n12,1e-05,\n"
    assert yaml.safe_load((run / "config.yaml").read_text())["pixels"] == {"mean": "0.5"}
    reasons = json.loads((run / "metrics.json").read_text())["reasons"]
    assert {key: reasons[key] for key in ("mia", "tow", "avg_gap")} == dict.fromkeys(("mia", "tow", "avg_gap"), UNTOLD)


def test_sentences_of_the_program_stay(tmp_path: Path) -> None:
    """Those of an evaluation without test samples, of one of few samples, and of a comparison that could not be."""
    records, splits = data(0.5, 1)
    none = np.array([], dtype=np.int64)
    empty = evaluate(records, dataclasses.replace(splits, test=none), NAMES, 2, 2)
    few = evaluate(records, dataclasses.replace(splits, forget=splits.forget[:3]), NAMES, 2, 2)
    own = records.select(splits.test)
    gone = dataclasses.replace(splits, test=splits.test[own.group != 3])
    apart = evaluate(records, gone, NAMES, 2, 2)
    compared = add_reference(dict(few), empty, None, "retrain_1_0", {"reasons": {}})
    alone = add_reference(dict(few), None, "no finished retrain run of this task and seed to compare with", None)
    found = {text for one in (empty, few, apart, compared, alone) for text in one["reasons"].values()}
    kept = Kept(frozenset(NAMES), {}, Tokens())
    assert len(found) >= 8
    assert f"there is no test sample of {NAMES[3]}" in found
    assert [text for text in found if kept.reason(text) != text] == []
    assert [kept.reason(f"{text} of portrait_3.jpg") for text in found] == [UNTOLD] * len(found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ASKED[2], f"warm {ASKED[2]}"),
        ("id:Anna Schmidt", "Anna Schmidt"),
        ("train/portrait_3.jpg", "portrait_3"),
        ("train/portrait_3.jpg", "Portrait 3, warm"),
        (unicodedata.normalize("NFD", "Zoë Müller"), "Zoë Müller"),
        ("a.b/Straße.png", "in STRASSE"),
        ("Bo", "bo-warm"),
        ('Sean O\\"Connor', 'Sean O\\"Connor'),
        ("row:7000223", "7000223"),
        ("id:18", "18"),
    ],
)
def test_a_group_that_is_called_like_a_person_is_refused(tmp_path: Path, capsys: Capture, name: str, text: str) -> None:
    make_answer(tmp_path / "output", groups=[*NAMES[:3], text], names=[*LIST, name])
    assert report.main([str(tmp_path / "output"), "--redact", str(tmp_path / "copy")]) == 2
    assert f"{name!r} would still stand in {text!r}, the name of a group" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["output"]


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("config", {"tag": "erika"}),
        ("config", {"sensitive": "Erika"}),
        ("config", {"dataset_name": "of-erika"}),
        ("groups", {"targets": ["ERIKA", "others"]}),
        ("", {"task": "groups-erika"}),
    ],
)
def test_tags_columns_tasks_and_classes_that_name_somebody_are_refused(
    tmp_path: Path, capsys: Capture, part: str, changed: dict
) -> None:
    run = make_answer(tmp_path / "output", names=[*LIST, "train/erika.jpg"])
    change_config(run, lambda stored: (stored[part] if part else stored).update(changed))
    assert report.main([str(tmp_path / "output"), "--redact", str(tmp_path / "copy")]) == 2
    assert "'train/erika.jpg' would still stand in" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_names_that_are_words_of_the_program_or_parts_of_others_are_redacted(tmp_path: Path) -> None:
    names = [*LIST, "digits", "small_cnn", "miu", "test", "id:70", "hann.jpg"]
    make_answer(tmp_path / "output", names=names, groups=[*NAMES[:2], "Hannah", "more than 70"])
    _, key = redacted(tmp_path / "output", tmp_path / "copy")
    assert sorted(key["names"].values()) == sorted(names)


def test_one_run_and_a_zip_of_runs_are_redacted_too(tmp_path: Path, capsys: Capture) -> None:
    run = make_answer(tmp_path / "output")
    assert report.main([str(run), "--redact", str(tmp_path / "copy")]) == 0
    assert "miu" in shown(tmp_path / "copy", capsys)
    archive = {
        str(file.relative_to(tmp_path)): file.read_bytes() for file in run.parent.parent.rglob("*") if file.is_file()
    }
    write_zip(tmp_path / "runs.zip", archive)
    copy, _ = redacted(tmp_path / "runs.zip", tmp_path / "unzipped")
    capsys.readouterr()
    before, after = (shown(path, capsys, "--columns", "all", "--format", "csv") for path in (tmp_path / "output", copy))
    assert [line.split(",")[6:] for line in after.splitlines()] == [line.split(",")[6:] for line in before.splitlines()]


def test_folders_of_the_owner_s_own_get_tokens(tmp_path: Path) -> None:
    make_answer(tmp_path / "output" / "mustermann", "miu_for-erika_1_0")
    copy, key = redacted(tmp_path / "output", tmp_path / "copy")
    assert not [place for place, _ in files(copy) if "mustermann" in place or "erika" in place]
    assert {"mustermann", "miu_for-erika_1_0"} == {*key["folder"].values()}


def test_folders_that_are_called_by_what_they_hold_keep_their_names() -> None:
    """Those of runs in docs, which earlier versions made: methods, variants, tags, ratios and seeds."""
    place = Path(__file__).parent.parent / "docs/results/runs"
    runs = [run for name in ("digits_data", "group_dro", "fairface_64_all") for run in read_runs(place / f"{name}.zip")]
    assert len(runs) == 45
    assert [run.folder.name for run in runs if usual_name(run) != run.folder.name] == []


def test_a_copy_in_a_zip_has_the_row_of_the_pretrained_model(
    shared: tuple[Path, Path, dict], tmp_path: Path, capsys: Capture
) -> None:
    content = {place: content for place, content in files(shared[1]) if "npz/" not in place}
    write_zip(tmp_path / "copy.zip", content)
    assert shown(tmp_path / "copy.zip", capsys).replace(str(tmp_path / "copy.zip"), "") == shown(
        shared[1], capsys
    ).replace(str(shared[1]), "")


def test_a_damaged_rows_file_is_named(shared: tuple[Path, Path, dict], tmp_path: Path, capsys: Capture) -> None:
    copy, _ = redacted(shared[0], tmp_path / "third")
    capsys.readouterr()
    (copy / "digits/small_cnn/pretrain_0/rows.json").write_text('{"rows": [{"metrics": {"tow": 300}}]}')
    assert "rows.json cannot be read" in shown(copy, capsys)
    assert yaml.safe_load((copy / "digits/small_cnn/pretrain_0/config.yaml").read_text())["redacted"]


@pytest.mark.parametrize(
    ("sentence", "left"),
    [
        ("cannot read the records in /home/a/b.npz: run it", "cannot read the records in (left out): run it"),
        ("it (of C:\\Users\\a\\x.pt) is gone", "it (of (left out)) is gone"),
        ("no retrain run (without REWEIGHT) is finished", "no retrain run (without REWEIGHT) is finished"),
        ("../a, b/c.", "(left out), (left out)."),
    ],
)
def test_a_sentence_keeps_no_path(sentence: str, left: str) -> None:
    assert without_paths(sentence) == left
