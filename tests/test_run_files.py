"""The readers of a run's small files: whole ones are read, every kind of damage is refused in a line."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli import ROOT
from damaged_runs import LONG, TEXTS, places

from method.runs.files import METRICS_CHECK, STORED, read_config, read_history, read_metrics, read_status
from utils.checks import DEEPEST, LONGEST_NAME, check

RUN = next((ROOT / "tests/golden/output").rglob("scrub_0.9_0"))
RUNS = sorted(file.parent for file in (ROOT / "tests/golden/output").rglob("config.yaml"))
READERS = {
    "config.yaml": read_config,
    "metrics.json": read_metrics,
    "history.csv": read_history,
    "status.json": read_status,
}
# What can stand at no place of either file.
NOWHERE: tuple[Any, ...] = (
    float("nan"), float("inf"), -float("inf"), LONG, 2**63, "half a \ud800 letter", "x" * 30_000, {1: 2}, (1,),
    b"bytes", [[[[[[[[[[[[1]]]]]]]]]]]],
)  # fmt: skip


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_whole_files_are_read_as_they_stand(run: Path) -> None:
    for name, read in READERS.items():
        if (run / name).exists():
            assert read(run / name)
    if (run / "metrics.json").exists():
        assert read_metrics(run / "metrics.json") == json.loads((run / "metrics.json").read_text())
    assert read_config(run / "config.yaml") == yaml.safe_load((run / "config.yaml").read_text())


@pytest.mark.parametrize("name, description", [("metrics.json", METRICS_CHECK), ("config.yaml", STORED)])
def test_what_can_stand_nowhere_is_refused_wherever_it_stands(name: str, description: Any) -> None:
    stored = yaml.safe_load((RUN / name).read_text())
    asked = [place for place in places(stored) if place[0] != "sources"]  # which nobody reads
    assert len(asked) > 70
    for place in asked:
        for value in NOWHERE:
            changed = copy.deepcopy(stored)
            within = changed
            for step in place[:-1]:
                within = within[step]
            within[place[-1]] = value
            with pytest.raises(ValueError, match=str(place[0])) as caught:
                check(changed, description, "the file")
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "place, value, sentence",
    [
        (("test_acc",), "52", r"test_acc is '52', expected a number from 0 to 100"),
        (("test_acc",), 52.5e7, r"test_acc is 525000000.0, expected a number from 0 to 100"),
        (("test_acc",), True, r"test_acc is True, expected a number from 0 to 100"),
        (("seconds",), -1.0, r"seconds is -1.0, expected a number from 0 to 1e\+40"),
        (("n_test",), 80.5, r"n_test is 80.5, expected a whole number from 0"),
        (("schema",), None, r"schema is None, expected a whole number from 1"),
        (("groups",), {}, r"groups is \{\}, expected a list"),
        (("groups", 3, "test_acc"), [], r"groups\[3\]\.test_acc is \[\], expected a number from 0 to 100"),
        (("groups", 0, "test_interval"), [1.0], r"groups\[0\]\.test_interval has 1 entries, expected 2 to 2"),
        (("groups", 0, "name"), None, r"groups\[0\]\.name is None, expected a text"),
        (("groups", 1), 7, r"groups\[1\] is 7, expected a table"),
        (("forget_group_names",), "waterbird", r"forget_group_names is 'waterbird', expected a list"),
        (("forget_group_names", 0), "x" * 1001, r"forget_group_names\[0\] is a text of 1,001 characters"),
        (("reasons",), ["none"], r"reasons is \['none'\], expected a table"),
        (("gaps", "mia"), "far", r"gaps\.mia is 'far'"),
        (("without_rewind", "test_acc"), [], r"without_rewind\.test_acc is \[\]"),
        (("without_rewind",), 3, r"without_rewind is 3, expected a table"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_place(
    tmp_path: Path, place: tuple, value: Any, sentence: str
) -> None:
    stored = json.loads((RUN / "metrics.json").read_text())
    within = stored
    for step in place[:-1]:
        within = within[step]
    within[place[-1]] = value
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=f"^{sentence}"):
        read_metrics(file)


def test_metrics_of_other_methods_and_versions_are_let_through(tmp_path: Path) -> None:
    file, values = (
        tmp_path / "metrics.json",
        {"near_zero_share": 1e30, "told": None, "weights": [0.5, 0.5], "of": {"a": "b"}},
    )
    file.write_text(json.dumps({**values, "test_acc": None, "adjusted_acc": 100.00000000000001}))
    assert read_metrics(file) == {**values, "test_acc": None, "adjusted_acc": 100.00000000000001}


@pytest.mark.parametrize(
    "part, sentence",
    [
        ({"config": None}, r"config is None, expected a table"),
        ({"config": {"method": "miu"}}, r"config has no dataset"),
        ({"config": {"method": "a", "dataset": "a", "model": "a", "seed": 0}}, "config.unlearning_ratio is missing"),
        ({"groups": {"names": ["a"], "n_targets": 2, "n_sensitive": 2}}, "groups has 1 names, expected n_targets"),
        ({"groups": {"names": ["a"], "n_targets": 1, "n_sensitive": 1, "forget": [1]}}, r"groups.forget is \[1\]"),
        ({"fingerprints": {"data": 5}}, r"fingerprints\.data is 5, expected a text"),
        ({"identity": [1]}, r"identity is \[1\], expected a table"),
        ({"more": {"x" * (LONGEST_NAME + 1): 1}}, r"is a name of 1,001 characters"),
        ({"more": {5: 1}}, r"more\.5 is no name"),
        ({"more": {"day": yaml.safe_load("2020-01-01")}}, r"more\.day is datetime.date\(2020, 1, 1\)"),
    ],
)  # fmt: skip
def test_a_configuration_whose_parts_do_not_fit(tmp_path: Path, part: dict, sentence: str) -> None:
    stored = yaml.safe_load((RUN / "config.yaml").read_text()) | part
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(stored))
    with pytest.raises(ValueError, match=sentence):
        read_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("epoch,loss\n0,1\n1\n", "row 2 has 1 cells, expected 2"),
        ("epoch,loss\n0,a text\n", "column loss holds 'a text', expected a number"),
        ("epoch,loss\n0,1e300\n", r"column loss holds 1e\+300, expected at most 1e\+40"),
        ("epoch,epoch\n0,1\n", "a column stands twice"),
        ("epoch,loss\n,1\n", "column epoch holds None, expected a number from 0"),
        ("epoch,loss\n-1,1\n", "column epoch holds -1.0"),
        ("epoch,\n0,1\n", r"its first line\[1\] is '', expected a text|\[1\] is ''"),
        (f"epoch,loss\n0,{'9' * 200_000}\n", "field larger than field limit"),
    ],
)
def test_a_history_that_is_none(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_history(tmp_path / "history.csv")


def test_holes_of_a_history_are_none(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss,acc\n0,,nan\n1,-1.5,inf\n\n")
    assert read_history(tmp_path / "history.csv") == {"epoch": [0, 1], "loss": [None, -1.5], "acc": [None, None]}


def test_a_status_is_fit_for_a_line(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"state": "failed", "reason": "two\nlines,\x1b[31m red"}))
    assert read_status(tmp_path / "status.json") == {"state": "failed", "reason": r"two lines,\x1b[31m red"}


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_regular_file_or_no_text_of_its_kind(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    os.mkfifo(file)
    with pytest.raises(ValueError, match="it is a named pipe, expected a regular file"):
        READERS[name](file)
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="it is a device, expected a regular file"):
        READERS[name](file)
    file.unlink()
    file.mkdir()
    with pytest.raises(ValueError, match="it is a folder|Is a directory"):
        READERS[name](file)
    file.rmdir()
    with pytest.raises(ValueError, match="No such file"):
        READERS[name](file)
    for content in TEXTS if name != "history.csv" else TEXTS[1:2]:
        file.write_bytes(content)
        if (name, content) != ("metrics.json", b"{}"):
            with pytest.raises(ValueError):  # noqa: PT011  (any reason, in a line)
                READERS[name](file)


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_far_too_large(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**30)  # of zeros, on no disk
    with pytest.raises(ValueError, match="larger than"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("text", ["[" + "[]," * 1_000_000 + "]", "- a\n" * 1_000_000, "{" + "a," * 1_000_000 + "}"])
def test_a_configuration_of_a_million_values_is_refused_at_once(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match="more than 100,000 lines and entries"):
        read_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("key", ["provenance", "identity"])
@pytest.mark.parametrize("value, told", [([1], r"\[1\]"), ({"a": 1}, "{'a': 1}")])
def test_what_holds_more_than_one_value_is_called_so(tmp_path: Path, key: str, value: Any, told: str) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(read_config(RUN / "config.yaml") | {key: {"threads": value}}))
    with pytest.raises(ValueError, match=f"{key}.threads is {told}, expected a number or a text"):
        read_config(tmp_path / "config.yaml")


def test_plain_values_have_a_depth(tmp_path: Path) -> None:
    value: Any = 1
    for _ in range(DEEPEST + 1):
        value = [value]
    (tmp_path / "metrics.json").write_text(json.dumps({"more": value}))
    with pytest.raises(ValueError, match=f"more than {DEEPEST} lists or tables within each other"):
        read_metrics(tmp_path / "metrics.json")
