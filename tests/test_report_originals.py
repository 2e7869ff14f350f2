"""Which network a run started from, and what it is compared with: no report says what is not so."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_report import keep_splits, trained
from trees import Capture, make_run, metrics, shown, table_lines

from method.runs.originals import DIGEST, NAME, starts_of
from method.runs.stored import read_runs
from scripts import keep_runs
from scripts.report import chart_rows
from utils.digests import Digests

PRETRAINED = {"schema": 2, "test_acc": 100.0}
GROUPS = [{"name": "high cold", "n_train": 9, "n_test": 4, "test_acc": 40.0, "test_interval": [10.0, 80.0]}]


def pretrained(root: Path, folder: str, weights: bytes | None = None, **config: Any) -> str:
    """A pretrained run with records; returns the digest of its weights, which are there where they are given."""
    path = make_run(root, folder, "pretrain", PRETRAINED, **config)
    trained(path)
    if weights is not None:
        (path / "model.pt").write_bytes(weights)
    return hashlib.sha256(weights or b"").hexdigest()


def unlearned(root: Path, folder: str, digest: str | None = None, method: str = "salun", **config: Any) -> Path:
    """A run with splits that recorded the digest of what it started from."""
    path = make_run(root, folder, method, metrics(50.0, groups=GROUPS), **config)
    stored = yaml.safe_load((path / "config.yaml").read_text())
    stored["provenance"] = {"original_sha256": digest}
    (path / "config.yaml").write_text(yaml.safe_dump(stored))
    _, splits = trained(path)
    (path / "records.npz").unlink()
    keep_splits(path, splits)
    return path


def start(root: Path, folder: str) -> tuple[str | None, str, str]:
    """The folder of the original, how it was found, and what is told of it."""
    ((_, found),) = [(run, one) for run, one in starts_of(read_runs(root)).items() if run.folder.name == folder]
    return found.run and found.run.folder.name, found.by, found.told


def by_folder(root: Path, capsys: Capture, *flags: str) -> dict[str, dict[str, Any]]:
    made = json.loads(shown(root, capsys, "--format", "json", *flags))
    folders = {run["id"]: run["folder"] for run in made["runs"]}
    partners = ("original", "reference")
    return {run["folder"]: run | {name: folders.get(run[name]) for name in partners} for run in made["runs"]}


def test_the_original_is_found_by_the_digest_of_its_weights(tmp_path: Path, capsys: Capture) -> None:
    """Not the run of the same name: another one, with a tag, from elsewhere."""
    pretrained(tmp_path, "pretrain_0", b"here")
    digest = pretrained(tmp_path, "pretrain-long_0", b"elsewhere", tag="long")
    unlearned(tmp_path, "a", digest, original="models/x.pt")
    assert start(tmp_path, "a") == ("pretrain-long_0", DIGEST, "")
    assert by_folder(tmp_path, capsys)["a"]["original"] == "pretrain-long_0"
    assert (by_folder(tmp_path, capsys)["a"]["original_by"], by_folder(tmp_path, capsys)["a"]["original_note"]) == (
        "digest",
        "",
    )


def test_what_lies_beside_is_not_taken_for_an_original_that_was_named(tmp_path: Path, capsys: Capture) -> None:
    pretrained(tmp_path, "pretrain_0", b"here")
    unlearned(tmp_path, "a", "0" * 64, original="models/other")
    told = "not found: --original names models/other, and no pretrained run here has its weights"
    assert start(tmp_path, "a") == (None, "", told)
    found = by_folder(tmp_path, capsys)["a"]
    assert (found["original"], found["original_by"], found["original_note"]) == (None, "", told)
    text = shown(tmp_path, capsys)
    assert [line[0] for line in table_lines(text)] == ["pretrain", "salun"]
    assert f"- the original model of salun (seed 0): {told}\n" in text
    rows = {line[0]: line for line in table_lines(shown(tmp_path, capsys, "--against", "pretrain", "--columns", "TA"))}
    assert (rows["salun"][2], rows["pretrain"][2]) == ("-", "0.0")


@pytest.mark.parametrize("digest", [None, "0" * 64])
def test_without_weights_the_original_is_found_by_name_and_marked(
    tmp_path: Path, capsys: Capture, digest: str | None
) -> None:
    pretrained(tmp_path, "pretrain_0")
    pretrained(tmp_path, "pretrain-long_0", tag="long")
    unlearned(tmp_path, "a", digest)
    why = "it recorded no digest of the weights" if digest is None else "the weights are not here to be compared"
    told = f"found by name, as the pretrained run of its data, model and seed; {why}"
    assert start(tmp_path, "a") == ("pretrain_0", NAME, told)
    found = by_folder(tmp_path, capsys)["a"]
    assert (found["original"], found["original_by"], found["original_note"]) == ("pretrain_0", NAME, told)
    assert f"- the original model of salun: {told}\n" in shown(tmp_path, capsys, "--by", "group")


def test_a_pretrained_run_that_was_made_anew_is_not_the_original(tmp_path: Path) -> None:
    pretrained(tmp_path, "pretrain_0", b"made anew")
    unlearned(tmp_path, "a", "0" * 64)
    told = "not found: the pretrained run of its data, model and seed has other weights now"
    assert start(tmp_path, "a") == (None, "", told)


def test_an_original_named_by_the_beginning_of_its_digest(tmp_path: Path) -> None:
    """As an identity holds it, where nothing else was recorded."""
    digest = pretrained(tmp_path, "pretrain_7", b"elsewhere", seed=7)
    path = unlearned(tmp_path, "a")
    stored = yaml.safe_load((path / "config.yaml").read_text())
    stored["identity"]["original"] = f"sha256 {digest[:16]}"
    (path / "config.yaml").write_text(yaml.safe_dump(stored))
    assert start(tmp_path, "a") == ("pretrain_7", DIGEST, "")


def test_an_imported_model_is_the_original_whatever_its_seed_and_initial_weights(
    tmp_path: Path, capsys: Capture
) -> None:
    """A row for every seed that started from it, which takes the place of a run that is one by name alone."""
    digest = pretrained(tmp_path, "imported_9", b"theirs", seed=9)
    stored = yaml.safe_load((tmp_path / "imported_9" / "config.yaml").read_text())
    stored |= {"imported": {"file": "theirs.pt", "sha256": "1" * 64, "classes": []}}
    stored["config"]["weights"] = None
    del stored["identity"]
    (tmp_path / "imported_9" / "config.yaml").write_text(yaml.safe_dump(stored))
    pretrained(tmp_path, "pretrain_0", b"here")
    for seed in (0, 1):
        path = unlearned(tmp_path, f"a{seed}", digest, seed=seed)
        stored = yaml.safe_load((path / "config.yaml").read_text())
        stored["fingerprints"] = stored["fingerprints"] | {"data": "data0"}
        (path / "config.yaml").write_text(yaml.safe_dump(stored))
    text = shown(tmp_path, capsys, "--columns", "TA")
    rows = {line[0]: line for line in table_lines(text)}
    assert rows["pretrain"][1:] == ["2", "100.0 ± 0.0"]
    assert f"{tmp_path}/pretrain_0: no row for split0, ratio 0.9: its runs of seed 0 started from" in text
    rows = {line[0]: line for line in table_lines(shown(tmp_path, capsys, "--columns", "TA", "--against", "pretrain"))}
    assert rows["salun"][1:] == ["2", "-50.0 ± 0.0"]


def test_a_kept_copy_knows_the_digest_of_the_weights_that_it_lacks(tmp_path: Path) -> None:
    digest = pretrained(tmp_path / "output", "pretrain_3", b"weights", seed=3)
    unlearned(tmp_path / "output", "a", digest, original="elsewhere")
    for target in (tmp_path / "kept.zip", tmp_path / "kept"):
        assert keep_runs.main([str(tmp_path / "output"), str(target)]) == 0
        assert start(target, "a") == ("pretrain_3", DIGEST, "")
    assert keep_runs.main([str(tmp_path / "kept.zip"), str(tmp_path / "again.zip")]) == 0
    assert start(tmp_path / "again.zip", "a") == ("pretrain_3", DIGEST, "")


def test_the_digests_that_a_store_remembers_are_read_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "digits"
    digest = pretrained(store, "small_cnn/pretrain_0", b"weights")
    unlearned(store, "small_cnn/split0/a", digest)
    assert start(tmp_path, "a") == ("pretrain_0", DIGEST, "")
    assert not (store / "digests.json").exists()
    asked: list[Path] = []
    (store / "digests.json").write_text("{}")
    monkeypatch.setattr(Digests, "of", lambda self, path: asked.append(self.memory) or digest)
    assert start(tmp_path, "a") == ("pretrain_0", DIGEST, "")
    assert asked == [store / "digests.json"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An original model, both retrained ones, salun and miu."""
    digest = pretrained(tmp_path, "p", b"weights")
    for folder, value, reweight in (("r", 30.0, False), ("w", 70.0, True)):
        path = make_run(tmp_path, folder, "retrain", metrics(value, groups=GROUPS), reweight=reweight)
        keep_splits(path, trained(path)[1])
    unlearned(tmp_path, "s", digest)
    unlearned(tmp_path, "m", digest, method="miu")
    return tmp_path


@pytest.mark.parametrize("flags", [("--method", "salun"), ("--method", "salun", "--method", "miu"), ("--tag", "")])
def test_filters_change_no_number(tree: Path, capsys: Capture, flags: tuple[str, ...]) -> None:
    """Differences, changes by group, and the partners of every run; a run of a tag is left out of all of them."""
    make_run(tree, "t", "salun", metrics(1.0), tag="x")
    for more in (["--difference"], ["--against", "pretrain"], ["--against", "miu"], ["--by", "group", "--each"]):
        whole = shown(tree, capsys, *more, "--format", "csv").splitlines()
        part = shown(tree, capsys, *more, "--format", "csv", *flags).splitlines()
        assert len(part) > 1
        assert {*part} < {*whole}
    found, whole = by_folder(tree, capsys, *flags)["s"], by_folder(tree, capsys)["s"]
    assert (found["original"], found["reference"]) == (whole["original"], whole["reference"]) == ("p", "r")


def test_what_the_filters_leave_out_is_said_to_be_left_out(tree: Path, capsys: Capture) -> None:
    text = shown(tree, capsys, "--method", "salun", "--method", "miu")
    assert [line[0] for line in table_lines(text)] == ["miu", "salun *"]
    assert "The filters leave out retrain + reweight, retrain, with which rows are compared all the same." in text
    assert "The filters" not in shown(tree, capsys)
    assert "The filters leave out miu, retrain," in shown(tree, capsys, "--method", "salun", "--against", "miu")
    assert "The filters leave out pretrain, retrain," in shown(tree, capsys, "--method", "salun", "--by", "group")
    made = json.loads(shown(tree, capsys, "--method", "salun", "--format", "json"))
    assert [(run["folder"], run["cell"]) for run in made["runs"]] == [("s", "t0c0"), ("p", None), ("r", None)]
    (table,) = made["tables"]
    assert [cell["label"] for cell in table["compared_with"]] == ["pretrain", "retrain"]
    assert [row["name"] for row in chart_rows.trade_off(table, made["columns"])] == ["Original", "Retrained", "SalUn"]


def test_rows_of_figures_stand_in_the_order_of_the_whole_table_and_variants_last(tree: Path, capsys: Capture) -> None:
    unlearned(tree, "t", method="miu", tag="long")
    methods = ["--method", "pretrain", "--method", "salun", "--method", "miu"]
    (table,) = (made := json.loads(shown(tree, capsys, *methods, "--format", "json")))["tables"]
    assert [cell["label"] for cell in table["cells"]] == ["pretrain", "miu", "salun", "miu, long"]
    rows = chart_rows.trade_off(table, made["columns"])
    assert [row["name"] for row in rows][:3] == ["Original", "Retrained", "Retrained + REWEIGHT"]


def test_every_row_names_its_reference(tree: Path, capsys: Capture) -> None:
    unlearned(tree, "n", method="scrub", reference="elsewhere/retrain_0.9_0")
    file = tree / "n" / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"reference": "retrain_0.9_0"}))
    (tree / "w" / "done").unlink()
    text = shown(tree, capsys)
    assert [line[0] for line in table_lines(text)] == ["pretrain", "retrain", "miu *", "salun", "scrub **"]
    told = (
        "Reference (same seed): retrain; of rows with *: none, as theirs is not here; of rows with **: retrain_0.9_0."
    )
    assert told in text
    runs = by_folder(tree, capsys)
    assert {name: run["reference_name"] for name, run in runs.items()} == {
        "p": "retrain", "r": "retrain", "m": "", "s": "retrain", "n": "retrain_0.9_0",
    }  # fmt: skip


def test_a_row_whose_tow_is_of_another_run_than_its_difference_names_both(tree: Path, capsys: Capture) -> None:
    file = tree / "s" / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"reference": "elsewhere_0.9_0", "tow": 33.0}))
    assert by_folder(tree, capsys)["s"]["reference_name"] == "retrain (ToW and Avg. Gap: elsewhere_0.9_0)"
