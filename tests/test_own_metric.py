"""A metric of one's own: a function and its registration make a key, a column, a line of the page, and --recompute."""

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli import ROOT
from test_metrics import NAMES, SMALL, binary_records, small_parts
from trees import Capture, shown

from datasets.splits import Splits
from method import load_results
from method.evaluation.columns import COLUMNS, NO_COLUMNS
from method.evaluation.evaluator import NO_OUTPUTS, add_reference, compare_outputs, compare_saved_outputs, evaluate
from method.evaluation.exposure import NO_ORIGINAL, add_original
from method.evaluation.metrics import Undefined
from method.evaluation.records import Records
from method.evaluation.registry import OWN_METRICS, register_metric
from method.registry import METHODS
from method.runs import meanings
from method.runs.recompute import recompute
from scripts.document.results import metrics_page
from scripts.report import command as report

TREE = ROOT / "tests/golden/output/waterbird/small_cnn"
SCALARS = {key for key, told in meanings.METRICS.items() if told.unit in ("percent", "samples")} - {"gaps"}
IN_LINE = r"own failed in line \d+ of test_own_metric\.py: "
ABOUT = {"title": "conf F", "what": "mean probability of the true class on F"}


@pytest.fixture(autouse=True)
def registrations_undone() -> Iterator[None]:
    columns = list(COLUMNS)
    yield
    OWN_METRICS.clear()
    COLUMNS[:] = columns


def forget_confidence(records: Records, splits: Splits) -> float:
    forgotten = records.select(splits.forget)
    if not len(forgotten):
        raise Undefined("nothing is forgotten")
    return 100 * float(forgotten.confidence.mean())


def further_from_labels(records: Records, splits: Splits, retrained: Records) -> float:
    own, other = (part.select(splits.forget).correct for part in (records, retrained))
    return 100 * float(np.mean(other & ~own))


def measured() -> dict[str, Any]:
    return evaluate(binary_records(SMALL), small_parts(), NAMES, 2, 2)


def test_a_function_becomes_a_key_and_nothing_else_changes() -> None:
    before = measured()
    register_metric("forget_conf", **ABOUT)(forget_confidence)
    forgotten = binary_records(SMALL).select(small_parts().forget)
    assert measured() == before | {"forget_conf": 100 * np.exp(-forgotten.loss).mean()}


def test_a_function_takes_what_it_names() -> None:
    register_metric("n_rows", title="rows", what="how many", unit="samples")(lambda records: len(records))
    register_metric("swapped", title="swapped", what="share of F")(
        lambda splits, records: 100 * len(splits.forget) / len(records)
    )
    found = measured()
    assert (found["n_rows"], found["swapped"]) == (len(SMALL), 100 * len(small_parts().forget) / len(SMALL))


def fails(records: Records) -> float:
    raise KeyError("no\nsuch column")


@pytest.mark.parametrize(
    "function, reason, is_warned",
    [
        (fails, rf"{IN_LINE}KeyError: 'no\\nsuch column'", True),
        (lambda records: 1 / 0, f"{IN_LINE}ZeroDivisionError: division by zero", True),
        (lambda records: records.select(np.array([10**6])), f"{IN_LINE}RunError: the records lack row 1000000", True),
        (lambda records: records.loss.sort(), f"{IN_LINE}ValueError: ", True),  # records cannot be written to
        (lambda records: records.loss, "own failed: TypeError: ", True),
        (lambda records: float("nan"), "own gave nan, which is no number that can be stored", False),
        (lambda records: np.inf, "own gave inf, which is no number that can be stored", False),
    ],
)  # fmt: skip
def test_a_mistake_in_it_costs_nothing_but_its_own_value(
    function: Callable[..., float], reason: str, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    before = measured()
    register_metric("own", title="own", what="whatever")(function)
    with caplog.at_level(logging.WARNING, logger="unlearning"):
        found = measured()
    told = found["reasons"].pop("own")
    assert re.match(reason, told), told
    assert found == before | {"own": None}
    assert [told in message and "--recompute" in message for message in caplog.messages] == [True] * is_warned
    assert json.loads(json.dumps(told)) == told


def test_undefined_says_why_it_is_null() -> None:
    register_metric("forget_conf", **ABOUT)(forget_confidence)
    of_pretrain = small_parts(forget=np.array([], dtype=np.int64), retain=np.arange(5), forget_groups=())
    found = evaluate(binary_records(SMALL), of_pretrain, NAMES, 2, 2)
    assert (found["forget_conf"], found["reasons"]["forget_conf"]) == (None, "nothing is forgotten")


def test_one_that_compares_gets_the_retrained_runs_records(tmp_path: Path) -> None:
    register_metric("lost", title="lost", what="...", best="low")(further_from_labels)
    assert "lost" not in measured()
    records, splits = binary_records(SMALL), small_parts()
    # The reference is right everywhere.
    right = Records.from_logits(
        *(getattr(records, name) for name in ("index", "split", "target", "sensitive", "group")),
        np.eye(2)[records.target],
    )
    found = compare_outputs(records, right, splits)
    assert found["lost"] == 100 - measured()["forget_acc"]
    right.save(tmp_path / "records.npz")
    assert compare_saved_outputs(records, splits, tmp_path / "records.npz") == found
    (tmp_path / "records.npz").write_bytes(b"damaged")
    unread = compare_saved_outputs(records, splits, tmp_path / "records.npz")
    assert unread["lost"] is None
    assert unread["reasons"]["lost"] == unread["reasons"]["kl_to_retrain_test"]


def test_one_that_compares_with_the_original_gets_its_records() -> None:
    def turned(records: Records, original: Records) -> float:
        return 100 * float(np.mean(records.prediction != original.prediction))

    register_metric("turned", title="turned", what="...")(turned)
    found, records, splits = measured(), binary_records(SMALL), small_parts()
    assert "turned" not in found
    other = binary_records([(split, y, a, 1 - p) if split == 0 else (split, y, a, p) for split, y, a, p in SMALL])
    add_original(found, records, splits, other)
    assert found["turned"] == pytest.approx(100 * 5 / 15)
    add_original(found, records, splits, NO_ORIGINAL)
    assert (found["turned"], found["reasons"]["turned"]) == (None, NO_ORIGINAL)


def test_one_that_compares_is_null_without_a_retrained_run() -> None:
    register_metric("lost", title="lost", what="...")(further_from_labels)
    alone = add_reference(measured(), None, "run retrain first", None)
    assert (alone["lost"], alone["reasons"]["lost"]) == (None, "run retrain first")
    unmatched = add_reference(measured(), measured(), None, "retrain_0.5_0")
    assert (unmatched["lost"], unmatched["reasons"]["lost"]) == (None, NO_OUTPUTS)


@pytest.mark.parametrize(
    "key, title, told",
    [
        ("test_acc", "mine", "something is called 'test_acc' already"),
        ("mine", "ta", "something is called 'ta' already"),
        ("mine", "Avg.Gap", "something is called 'Avg.Gap' already"),
        ("reasons", "mine", "something is called 'reasons' already"),
        ("seed", "mine", "something is called 'seed' already"),
        ("two words", "mine", "expected a key such as macro_acc"),
        ("mine", "a, b", "expected a key such as macro_acc"),
        ("mine", " ", "expected a key such as macro_acc"),
    ],
)
def test_a_name_that_is_taken_is_refused(key: str, title: str, told: str) -> None:
    with pytest.raises(ValueError, match="metric ") as error:
        register_metric(key, title=title, what="...")
    assert told in str(error.value)


def test_two_of_one_name_and_what_cannot_be_meant_are_refused() -> None:
    register_metric("mine", title="mine", what="...")(forget_confidence)
    with pytest.raises(ValueError, match="something is called 'mine' already"):
        register_metric("mine", title="other", what="...")
    with pytest.raises(ValueError, match="best is 'higher', expected one of 'reference', 'high', 'low', ''"):
        register_metric("other", title="other", what="...", best="higher")
    for function in (lambda record: 0.0, lambda splits: 0.0, lambda: 0.0):
        with pytest.raises(ValueError, match=r"metric 'other' takes \(.*\), expected some of records, splits, retr"):
            register_metric("other", title="other", what="...")(function)
    with pytest.raises(ValueError, match="metric 'other' takes both retrained and original, expected one of them"):
        register_metric("other", title="other", what="...")(lambda original, retrained: 0.0)
    assert "other" not in {column.key for column in COLUMNS}


def test_no_metric_can_be_called_what_a_run_writes() -> None:
    assert set(meanings.METRICS) <= {*NO_COLUMNS, *(column.key for column in COLUMNS)}


def test_the_registered_ones_are_called_as_no_method_calls_its_keys() -> None:
    registrations = {key for method in METHODS.values() for key in method.metric_keys}
    assert not registrations & {*NO_COLUMNS, *(column.key for column in COLUMNS)}


def kept(tmp_path: Path) -> Path:
    """A few finished runs: the original, both references, an unlearned one, and one with further weights."""
    for name in ("pretrain_0", *(f"split0/{run}_0.9_0" for run in ("retrain", "retrain_reweight", "miu", "scrub"))):
        shutil.copytree(TREE / name, tmp_path / "output/waterbird/small_cnn" / name)
    return tmp_path / "output"


def test_finished_runs_get_it_and_every_format_shows_it(tmp_path: Path, capsys: Capture) -> None:
    tree = kept(tmp_path)
    before = {file: json.loads(file.read_text()) for file in tree.rglob("metrics.json")}
    register_metric("forget_conf", best="reference", **ABOUT)(forget_confidence)
    register_metric("lost", title="lost", what="...", best="low")(further_from_labels)
    text = shown(tree, capsys, "--recompute", "--columns", "TA,conf F,lost")
    for file, old in before.items():
        new = json.loads(file.read_text())
        own = Records.load(file.with_name("records.npz"))
        assert {key: new[key] for key in old if key in SCALARS} == {key: old[key] for key in old if key in SCALARS}
        if file.parent.name == "pretrain_0":
            assert (new["forget_conf"], new["reasons"]["forget_conf"]) == (None, "nothing is forgotten")
            assert "lost" not in new
        else:
            rows = np.load(file.with_name("splits.npz"))["forget"]
            assert new["forget_conf"] == pytest.approx(100 * own.select(rows).confidence.mean())
            assert 0 <= new["lost"] <= 100
    scrub = json.loads(next(tree.rglob("scrub_0.9_0/metrics.json")).read_text())
    assert {"forget_conf", "lost"} <= set(scrub["without_rewind"])
    miu = json.loads(next(tree.rglob("miu_0.9_0/metrics.json")).read_text())
    told = {kind: shown(tree, capsys, "--columns", "conf F,lost", "--format", kind)
            for kind in ("text", "markdown", "latex", "csv")}  # fmt: skip
    assert all("conf F" in told[kind] for kind in ("text", "markdown", "latex"))
    assert "forget_conf_difference" in told["csv"].splitlines()[0]
    assert f",{miu['forget_conf']}," in told["csv"]
    assert "conf F: mean probability of the true class on F." in text
    payload = json.loads(shown(tree, capsys, "--format", "json"))
    assert [column["title"] for column in payload["columns"]][-2:] == ["conf F", "lost"]
    table = load_results(tree).set_index("label")
    assert table.loc["miu", "forget_conf"] == miu["forget_conf"]
    assert np.isnan(table.loc["pretrain", "forget_conf"])
    OWN_METRICS.clear()  # a checkout that does not have it keeps what was computed, and why it was not
    assert recompute(tree / "waterbird/small_cnn/pretrain_0")["reasons"]["forget_conf"] == "nothing is forgotten"


def test_a_report_for_the_browser_has_it(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
    tree = kept(tmp_path)
    register_metric("forget_conf", best="reference", **ABOUT)(forget_confidence)
    assert report.main([str(tree), "--recompute", "--out", str(tmp_path / "report.html")]) == 0
    assert '"forget_conf"' in (tmp_path / "report.html").read_text()


def test_the_page_of_metrics_explains_it() -> None:
    about = {"unit": "nats", "limits": "0 and more", "null": "never a word"}
    register_metric("mean_loss", title="loss", what="mean loss of all samples", **about)(
        lambda records: records.loss.mean()
    )
    row = "| `mean_loss` | loss | nats, 0 and more | mean loss of all samples | never a word |"
    assert row in metrics_page().splitlines()
