"""The charts: their rows are what the payload says, every one is drawn into a file, and text from runs stays text."""

import copy
import html
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_payload import DIGITS, METHODS, averaged, example

from scripts.report import chart_places as places_of
from scripts.report import chart_rows as rows
from scripts.report.charts import CHARTS, OF_CELLS, OF_TABLES, ListPool, pack
from scripts.report.figures import drawn, figures, fit, library, save_figures
from scripts.report.look import ATTACKED, KINDS, NETWORKS, PARTS, ROLES, SERIES, SETS
from scripts.report.page import page
from scripts.report.view import View
from utils.errors import UserError

vl_convert = pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
START = "digits-split0-0.9"
T_3 = 4.302652729749464  # 97.5 % quantile of Student's t with 2 degrees of freedom
USUAL = ("groups", "losses", "counts", "curves")
HOSTILE = "a\"'](){}$<b>&datum.x\\u0041 toString()"


@pytest.fixture(scope="module")
def payload() -> dict[str, Any]:
    return example(ratios=(0.9,))


def only(payload: dict[str, Any], *places: int) -> dict[str, Any]:
    """The report with these cells of its first table; their partners' runs stay."""
    table = payload["tables"][0]
    return payload | {"tables": [table | {"cells": [table["cells"][place] for place in places]}]}


def runs_of(payload: dict[str, Any], cell: str) -> list[dict[str, Any]]:
    return [run for run in payload["runs"] if run["cell"] == cell]


def view_of(payload: dict[str, Any], place: int) -> View:
    table, by_id = payload["tables"][0], {run["id"]: run for run in payload["runs"]}
    cell = table["cells"][place]
    return View(table, cell, [by_id[name] for name in cell["runs"]], by_id)


def accuracies(payload: dict[str, Any], cell: str, name: str) -> list[float]:
    groups = [group for run in runs_of(payload, cell) for group in run["groups"]]
    return [group["test_acc"] for group in groups if group["name"] == name]


def bare(payload: dict[str, Any]) -> dict[str, Any]:
    """Runs with metrics and nothing else."""
    nothing = {"groups": [], "losses": None, "history": None, "original": None, "reference": None}
    return averaged(copy.deepcopy(payload) | {"runs": [run | nothing for run in payload["runs"]]})


def without_numbers(payload: dict[str, Any]) -> dict[str, Any]:
    """Runs without metrics, that nobody audited."""
    tables = [{name: own for name, own in table.items() if name != "audit"} for table in payload["tables"]]
    return payload | {"tables": tables, "runs": [run | {"metrics": {}} for run in payload["runs"]]}


def students(values: list[float]) -> tuple[float, float]:
    """The interval of the mean of three, within 0 and 100."""
    half = T_3 * np.std(values, ddof=1) / np.sqrt(3)
    return max(0, np.mean(values) - half), min(100, np.mean(values) + half)


def where(records: Any, **wanted: Any) -> list[dict[str, Any]]:
    return [record for record in records if all(record[name] == value for name, value in wanted.items())]


def test_groups_before_after_and_retrained(payload: dict[str, Any]) -> None:
    """Of miu: after, before (pretrain, t0c0) and retrained (with REWEIGHT, t0c2); the forget group first."""
    found = list(rows.groups(view_of(payload, 3)))
    names = [DIGITS[2], DIGITS[0], DIGITS[1], DIGITS[3]]
    for role, cell in (("before", "t0c0"), ("after", "t0c3"), ("retrained", "t0c2")):
        means = where(found, role=role, seed="all")
        assert [record["group"] for record in means] == names
        assert [record["value"] for record in means] == pytest.approx(
            [np.mean(accuracies(payload, cell, name)) for name in names]
        )
        each = where(found, role=role, group=names[0])
        assert [record["value"] for record in each[1:]] == accuracies(payload, cell, names[0])
        assert [record["n"] for record in each] == [3, 1, 1, 1]
    (first,) = where(found, role="after", seed="all", group=names[0])
    assert (first["low"], first["high"]) == pytest.approx(students(accuracies(payload, "t0c3", names[0])))
    n = runs_of(payload, "t0c3")[0]["groups"][2]["n_test"]
    assert (first["label"], first["n_test"]) == (f"{names[0]}\n(n {n}, forget)", n)
    assert {record["model"] for record in found} == set(ROLES)


def test_losses_are_counts_by_bin(payload: dict[str, Any]) -> None:
    found = list(rows.losses(view_of(payload, 3)))
    histogram = runs_of(payload, "t0c3")[1]["losses"]
    own = where(found, set="forget", seed=1)
    assert [record["count"] for record in own] == [0, *histogram["forget"], 0]
    assert {record["size"] for record in own} == {196}
    middles = [record["middle"] for record in own]
    assert middles[1:-1] == pytest.approx(np.add(histogram["edges"][1:], histogram["edges"][:-1]) / 2)
    told = rows.told_of_losses(view_of(payload, 3))
    cell = payload["tables"][0]["cells"][3]
    assert told.startswith("n: forget 196, retain 1,804, val 400, test 1,194. ")
    assert f"AUC of the attack: {cell['mean']['mia_auc']:.1f} ± {cell['sd']['mia_auc']:.1f} over 3 seeds;" in told
    run = runs_of(payload, "t0c3")[0]
    alone = rows.told_of_losses(view_of(payload, 3).of(run))
    assert f"alone: {run['metrics']['mia_group_auc']:.1f} ± 2.3 over draws." in alone


def test_curves_have_every_seed_and_its_holes(payload: dict[str, Any]) -> None:
    found = list(rows.curves(view_of(payload, 3)))
    titles = ["retain loss", "forget loss", "critics loss", "learning rate"]
    assert list(dict.fromkeys(record["panel"] for record in found)) == titles
    for run in runs_of(payload, "t0c3"):
        own = where(found, panel="forget loss", seed=run["seed"])
        assert [record["value"] for record in own] == run["history"]["forget_loss"]
        assert [record["epoch"] for record in own] == list(range(10))
    assert None in [record["value"] for record in found]
    assert rows.in_words("val_worst_group_acc") == "val worst group accuracy (%)"


def test_mutual_information_of_both_critics(payload: dict[str, Any]) -> None:
    found = list(rows.information(view_of(payload, 3)))
    history = runs_of(payload, "t0c3")[0]["history"]
    passes = {"": "while the critics are tuned", "forget_": "on the forget set", "retain_": "on the retain set"}
    for prefix, panel in passes.items():
        for network in ("model", "original"):
            own = where(found, panel=panel, series=network, seed=0)
            assert [record["value"] for record in own] == history.get(f"{prefix}mi_{network}", [])
    assert not list(rows.information(view_of(payload, 5)))


def test_counts_of_what_was_forgotten(payload: dict[str, Any]) -> None:
    found = list(rows.counts(view_of(payload, 3)))
    group = runs_of(payload, "t0c3")[0]["groups"][2]
    own = where(found, group=DIGITS[2], seed=0)
    assert [record["value"] for record in own] == [group["n_forget"], group["n_retain"]]
    assert own[0]["label"].endswith(f"({group['n_forget']} of {group['n_train']})")
    assert [record["is_first"] for record in where(found, group=DIGITS[0], part="retained")] == [True, False, False]


def test_means_over_seeds_have_students_intervals(payload: dict[str, Any]) -> None:
    table = payload["tables"][0]
    (own,) = where(rows.overview(table, payload["columns"]), panel="GA (%)", name="miu")
    values = [run["metrics"]["forget_group_acc"] for run in runs_of(payload, "t0c3")]
    assert (own["value"], own["low"], own["high"]) == pytest.approx((np.mean(values), *students(values)))
    assert (own["n"], own["kind"]) == (3, "unlearned")
    ua = [run["metrics"]["forget_acc"] for run in runs_of(payload, "t0c3")]
    points = list(rows.trade_off(table, payload["columns"]))
    assert [point["name"] for point in points] == [label for label, *_ in METHODS]
    assert (points[3]["ua"], points[3]["ga"], points[3]["ga_high"]) == pytest.approx(
        (np.mean(ua), own["value"], own["high"])
    )
    attacks = list(rows.attack(table, payload["columns"]))
    assert len(attacks) == 2 * len(METHODS)
    assert rows.seeds_told(table, []) == f"3 seeds each. {rows.INTERVALS}"
    fewer = table | {"cells": [{"name": "miu", "seeds": [0], "place": 0}, *table["cells"][4:]]}
    assert rows.seeds_told(fewer, []) == f"3 seeds each; 1 for miu. {rows.INTERVALS}"
    single = example(ratios=(0.9,), seeds=(0,))
    assert {record["low"] for record in rows.overview(single["tables"][0], single["columns"])} == {None}
    assert rows.seeds_told(single["tables"][0], []) == "One seed, so there is no interval over seeds."


def test_shares_have_no_interval_beyond_them_and_seeds_that_are_alike_have_none() -> None:
    cell = {"n": {"a": 3}, "mean": {"a": 98.0}, "sd": {"a": 4.0}}
    low, mean = 98 - T_3 * 4 / np.sqrt(3), {"value": 98.0, "n": 3}
    assert rows.moments(cell, "a") == pytest.approx(mean | {"low": low, "high": 100.0, "alike": False})
    assert rows.moments(cell, "a", unit="s")["high"] == pytest.approx(2 * 98 - low)
    nothing = mean | {"low": None, "high": None, "alike": True}
    assert rows.moments(cell | {"sd": {"a": 0.0}}, "a") == nothing


def test_overview_has_few_columns_or_those_asked_for(payload: dict[str, Any]) -> None:
    table, columns = payload["tables"][0], payload["columns"]

    def shown(columns: list[dict[str, Any]]) -> list[str]:
        return list(dict.fromkeys(record["panel"] for record in rows.overview(table, columns)))

    assert shown(columns) == ["GA (%)", "UA (%)", "TA (%)", "worst group (%)"]
    asked = [column | {"main": column["title"] in ("ToW", "KL F")} for column in columns]
    assert shown(asked) == ["ToW (%)", "KL F (nats)"]


def test_numbers_do_not_cover_each_other() -> None:
    crowd = [(50.0, 50.0), (50.1, 50.1), (50.2, 49.9), (10.0, 10.0), (90.0, 90.0)]
    places = rows.place_numbers(crowd, [])
    assert len({place for place, point in zip(places, crowd, strict=True) if 40 < point[0] < 60}) == 3
    assert rows.place_numbers([], []) == []
    assert rows.place_numbers([(1.0, 1.0)], [0.0, 2.0]) == [places_of.SIDES[0]]


def test_labels_take_two_lines_where_they_are_long() -> None:
    assert rows.wrap("short", "(n 3)") == "short (n 3)"
    assert rows.wrap("high digit, warm tint", "(n 252, forget)") == "high digit, warm tint\n(n 252, forget)"
    assert rows.wrap("MIU, no alignment, no unlearn, retain-only") == "MIU, no alignment, no\nunlearn, retain-only"
    assert rows.wrap("two\nlines\x1b") == "two\\nlines\\x1b"


def test_a_cell_has_the_figures_that_its_files_allow(payload: dict[str, Any]) -> None:
    names = [name for name, _ in figures(only(payload, 0, 3, 5))]
    tables = [f"{START}-{name}" for name in (*OF_TABLES, "compare")]
    cells = {"pretrain-0": USUAL, "miu-3": (*USUAL, "information"), "scrub-5": USUAL}
    assert names == [*tables, *(f"{START}-{cell}-{name}" for cell, own in cells.items() for name in own)]
    assert [name for name, _ in figures(bare(payload))] == [f"{START}-{name}" for name in OF_TABLES]
    nothing = without_numbers(payload)
    assert list(figures(bare(nothing))) == []


def test_nothing_to_draw_is_an_error(payload: dict[str, Any], tmp_path: Path) -> None:
    nothing = without_numbers(payload)
    with pytest.raises(UserError, match="no file was written"):
        save_figures(bare(nothing), tmp_path / "x.png", "png")


def test_every_chart_compiles_without_a_warning(payload: dict[str, Any], capfd: pytest.CaptureFixture) -> None:
    seen = set()
    for name, spec in figures(only(payload, 0, 3, 5)):
        vl_convert.vegalite_to_vega(spec, "6.4", show_warnings=True)
        seen.add(name)
    assert len(seen) > len(CHARTS)
    assert "WARN" not in "".join(capfd.readouterr())


def marks(spec: dict[str, Any]) -> list[str]:
    """What the marks of a drawn chart say to screen readers."""
    svg = drawn(spec, "svg").decode()
    found = re.findall(r'aria-label="([^"]*)" role="graphics-symbol"[^>]*class="|<path aria-label="([^"]*)"', svg)
    return [html.unescape(one or other) for one, other in found]


def test_marks_say_their_numbers(payload: dict[str, Any]) -> None:
    found = dict(figures(only(payload, 3)))
    run = runs_of(payload, "t0c3")[0]
    mean = np.mean(accuracies(payload, "t0c3", DIGITS[2]))
    said = "\n".join(marks(found[f"{START}-miu-3-groups"]))
    (line,) = re.findall(rf"{DIGITS[2]} \(forget group\), this model \(after\): .*", said)
    low, high = students(accuracies(payload, "t0c3", DIGITS[2]))
    n = run["groups"][2]["n_test"]
    assert f": {mean:.1f} % (95 % interval {low:.1f} to {high:.1f}), {n} test samples, mean over 3 seeds" in line
    cell = payload["tables"][0]["cells"][3]
    (line,) = marks(found[f"{START}-trade-off"])
    assert f"miu: accuracy on the forget set {cell['mean']['forget_acc']:.1f} % (95 % interval " in line
    assert f"test accuracy of the forget groups {cell['mean']['forget_group_acc']:.1f} % (" in line
    assert f"miu, GA (%): {cell['mean']['forget_group_acc']:.1f} (" in "\n".join(marks(found[f"{START}-overview"]))
    shares = [100 * np.array(run["losses"]["forget"]) / 196 for run in runs_of(payload, "t0c3")]
    place = int(np.argmax(np.mean(shares, axis=0)))
    said = [line for line in marks(found[f"{START}-miu-3-losses"]) if line.startswith("forget set: ")]
    assert f"forget set: {np.mean(shares, axis=0)[place]:.1f} % of it has a loss of " in max(
        said, key=lambda line: float(line.split()[2])
    )
    group = run["groups"][2]
    told = f"{DIGITS[2]}: {group['n_forget']} of {group['n_train']} training samples forgotten"
    assert told in marks(found[f"{START}-miu-3-counts"])


def test_seeds_that_are_alike_are_said_to_have_no_interval(payload: dict[str, Any]) -> None:
    found = copy.deepcopy(payload)
    for run in runs_of(found, "t0c3"):
        run["metrics"]["forget_acc"] = 100.0
    charts = dict(figures(only(averaged(found), 3)))
    (line,) = marks(charts[f"{START}-trade-off"])
    assert "miu: accuracy on the forget set 100.0 % (no interval: the seeds are alike), test accuracy" in line
    assert "mean over 3 seeds" in line


def test_titles_of_panels_stand_alike(payload: dict[str, Any]) -> None:
    found = dict(figures(only(payload, 3)))
    for name in ("curves", "information"):
        svg = drawn(found[f"{START}-miu-3-{name}"], "svg").decode()
        *heights, _ = map(float, re.findall(r'role-title"><g transform="translate\([^,]+,([^)]+)\)', svg))
        assert len(heights) > 2
        assert max(heights) - min(heights) <= 1  # px


def test_screen_readers_hear_of_the_marks_that_say_their_numbers_and_of_no_other(payload: dict[str, Any]) -> None:
    for name, spec in figures(bare(only(payload, 3))):
        svg = drawn(spec, "svg").decode()
        labels = re.findall(r'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="(?!axis|legend)', svg)
        assert labels, name
        assert not [label for label in labels if re.search(r"\w+_(low|high)|kind: |role: ", label)], name


@pytest.mark.parametrize("kind, start", [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<svg")])
def test_one_file_a_figure_and_always_the_same(
    payload: dict[str, Any], tmp_path: Path, kind: str, start: bytes
) -> None:
    report = only(payload, 3) if kind == "svg" else bare(only(payload, 3, 4))
    found = save_figures(report, tmp_path / f"report.{kind}", kind)
    cells = [f"miu-3-{name}" for name in (*USUAL, "information")] if kind == "svg" else []
    assert [file.name for file in found] == [f"report-{START}-{name}.{kind}" for name in (*OF_TABLES, *cells)]
    assert sorted(found) == sorted(tmp_path.iterdir())
    bytes_of = [file.read_bytes() for file in found]
    assert all(own.startswith(start) and len(own) > 2000 for own in bytes_of)
    again = save_figures(report, tmp_path / f"report.{kind}", kind)
    assert [file.read_bytes() for file in again] == bytes_of


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext here")
def test_a_pdf_is_one_page_with_its_text(payload: dict[str, Any], tmp_path: Path) -> None:
    file = save_figures(bare(only(payload, 3)), tmp_path / "a.pdf", "pdf")[0]
    said = subprocess.run(["pdftotext", file, "-"], capture_output=True, text=True, check=True).stdout
    assert said.count("\f") == 1
    assert "accuracy on the forget set (UA, %)" in said
    assert "3 seeds each" in said


def test_text_from_runs_stays_text(tmp_path: Path) -> None:
    payload = only(example(ratios=(0.9,), seeds=(0, 1), groups=[HOSTILE, "b"], forget=(HOSTILE,)), 3, 4)
    payload["tables"][0]["title"] = HOSTILE
    for cell in payload["tables"][0]["cells"]:
        cell["name"] = cell["label"] = HOSTILE
    for run in payload["runs"]:
        run["history"] = {"epoch": [0, 1], HOSTILE: [0.5, 0.6], f"{HOSTILE}_acc": [1.0, 2.0]}
    found = dict(figures(payload))
    assert f"{START}-compare" in found
    for name, spec in found.items():
        svg = drawn(spec, "svg").decode()
        assert "<b>" not in svg, name
        shown = html.unescape("".join(re.sub(r"<[^>]*>", "", svg)))
        assert "toString()" in shown, name


def test_names_and_titles_may_not_be_specifications(payload: dict[str, Any]) -> None:
    """What a specification has beyond its rows and the values of `series` is the same whatever the runs are called."""
    other = example(ratios=(0.9,), groups=[HOSTILE, "b"], forget=(HOSTILE,))
    for name, chart in OF_CELLS.items():
        plain, hostile = (fit(chart, list(chart.rows(view_of(own, 3))), 700) for own in (payload, other))
        for spec in (plain, hostile):
            del spec["data"]
            spec.pop("config")
            spec["params"] = [param["name"] for param in spec["params"]]
            spec["height"] = spec.get("width") and 0
        assert plain == hostile, name


def test_rows_are_packed_once(payload: dict[str, Any]) -> None:
    """The page's blocks give the same records; equal lists stand once."""
    pool = ListPool()
    charts, found = pack(payload, pool)
    for name, chart in OF_CELLS.items():
        fields, n = charts[name]["fields"], len(chart.constants)
        records = []
        for block in found["t0c3"][name][0]:
            lists = [pool.lists[number] for number in block[n:]]
            fixed = dict(zip(chart.constants, block[:n], strict=True))
            records += [fixed | dict(zip(fields, values, strict=True)) for values in zip(*lists, strict=True)]
        wanted = list(chart.rows(view_of(payload, 3)))
        assert len(records) == len(wanted)
        for record, own in zip(records, wanted, strict=True):
            assert record == {
                key: pytest.approx(value, rel=1e-4) if isinstance(value, float) else value for key, value in own.items()
            }
    assert len({str(values) for values in pool.lists}) == len(pool.lists)


def test_every_look_differs_by_more_than_its_colour() -> None:
    for looks in (
        list(ROLES.values()),
        list(SETS.values()),
        list(NETWORKS.values()),
        list(KINDS.values()),
        list(ATTACKED.values()),
        SERIES,
    ):
        plain = [{**look, "color": ""} for look in looks]
        assert all(look not in plain[:place] for place, look in enumerate(plain))
    dark, light = (int(look["color"][1:3], 16) + 2 * int(look["color"][3:5], 16) for look in PARTS.values())
    assert light - dark > 200


def test_without_vl_convert_the_remedy_is_named(
    payload: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match="pip install vl-convert-python"):
        save_figures(payload, tmp_path / "x.pdf", "pdf")
    assert list(tmp_path.iterdir()) == []
    library.cache_clear()
    with pytest.raises(UserError, match="pip install vl-convert-python, or take --format text"):
        page(payload)
