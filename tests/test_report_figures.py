"""The figures for papers: which there are, and that what is drawn is what the payload says."""

import copy
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_payload import DIGITS, averaged, example

from scripts.report.figures import figures, save_figures
from scripts.report.look import LOOK, curve_keys, in_words, information_keys
from utils.errors import UserError

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
USUAL = ("groups", "losses", "curves", "counts")


@pytest.fixture(scope="module")
def payload() -> dict[str, Any]:
    return example(ratios=(0.9,))


@pytest.fixture(scope="module")
def drawn(payload: dict[str, Any]) -> dict[str, Any]:
    return dict(figures(only(payload, 3)))


def only(payload: dict[str, Any], *places: int) -> dict[str, Any]:
    """The report with these cells of its first table; their partners' runs stay."""
    table = payload["tables"][0]
    return payload | {"tables": [table | {"cells": [table["cells"][place] for place in places]}]}


def runs_of(payload: dict[str, Any], cell: str) -> list[dict[str, Any]]:
    return [run for run in payload["runs"] if run["cell"] == cell]


def accuracies(payload: dict[str, Any], cell: str, name: str) -> list[float]:
    groups = [group for run in runs_of(payload, cell) for group in run["groups"]]
    return [group["test_acc"] for group in groups if group["name"] == name]


def bare(payload: dict[str, Any]) -> dict[str, Any]:
    """Runs with metrics and nothing else."""
    nothing = {"groups": [], "losses": None, "history": None, "original": None, "reference": None}
    return averaged(copy.deepcopy(payload) | {"runs": [run | nothing for run in payload["runs"]]})


def test_one_png_a_figure(payload: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.report.figures.DPI", 40)
    found = save_figures(only(payload, 3), tmp_path / "report.png", "png")
    miu = [f"report-digits-split0-0.9-miu-3-{name}.png" for name in (*USUAL, "information")]
    assert {file.name for file in found} == {"report-digits-split0-0.9-overview.png", *miu}
    assert sorted(found) == sorted(tmp_path.iterdir())
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in found)


def test_one_page_a_figure_in_one_pdf(tmp_path: Path) -> None:
    payload, file = bare(example(ratios=(0.5, 0.9), seeds=(0,))), tmp_path / "a.pdf"
    assert save_figures(payload, file, "pdf") == [file]
    assert len(re.findall(rb"/Type /Page\b", file.read_bytes())) == 2


@pytest.mark.slow
def test_the_same_runs_give_the_same_pdf(tmp_path: Path) -> None:
    payload, files = bare(example(ratios=(0.9,), seeds=(0,))), [tmp_path / "a.pdf", tmp_path / "b.pdf"]
    for file in files:
        save_figures(payload, file, "pdf")
        time.sleep(1.1)  # a date would be another second
    assert files[0].read_bytes() == files[1].read_bytes()


def test_information_is_drawn_where_there_is_any(payload: dict[str, Any]) -> None:
    names = [name for name, _ in figures(only(payload, 0, 5))]
    cells = ("pretrain-0", "scrub-5")
    start = "digits-split0-0.9"
    assert names == [f"{start}-overview", *(f"{start}-{cell}-{name}" for cell in cells for name in USUAL)]


def test_overview_has_mean_and_deviation_of_every_main_column(payload: dict[str, Any]) -> None:
    (name, figure), *_ = figures(payload)
    assert name == "digits-split0-0.9-overview"
    assert figure.get_suptitle().endswith(": mean ± standard deviation over seeds")
    titles = [column["title"] for column in payload["columns"] if column["main"]]
    assert [axes.get_title() for axes in figure.axes] == titles
    left, panel = figure.axes[0], figure.axes[titles.index("TA")]
    cells = payload["tables"][0]["cells"]
    assert [label.get_text() for label in left.get_yticklabels()] == [cell["label"] for cell in cells]
    for row, (cell, container) in enumerate(zip(cells, panel.containers, strict=True)):
        point, _, (bar,) = container
        mean, sd = cell["mean"]["test_acc"], cell["sd"]["test_acc"]
        assert (point.get_xdata()[0], point.get_ydata()[0]) == (mean, row)
        assert bar.get_segments()[0][:, 0] == pytest.approx([mean - sd, mean + sd])


def test_groups_are_drawn_where_they_are(payload: dict[str, Any], drawn: dict[str, Any]) -> None:
    """After, before (pretrain, t0c0) and retrained (with REWEIGHT, t0c2), the forget group on top."""
    (axes,) = drawn["digits-split0-0.9-miu-3-groups"].axes
    names = [DIGITS[2], DIGITS[0], DIGITS[1], DIGITS[3]]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == [f"{DIGITS[2]} (forget)", *names[1:]]
    means = {line.get_color(): line for line in axes.lines if len(line.get_xdata()) == 4}
    for role, cell in (("before", "t0c0"), ("after", "t0c3"), ("retrained", "t0c2")):
        line = means[LOOK["roles"][role]["color"]]
        wanted = [np.mean(accuracies(payload, cell, name)) for name in names]
        assert line.get_xdata() == pytest.approx(wanted)
        assert list(np.round(line.get_ydata())) == [0, 1, 2, 3]
    each = next(line for line in axes.lines if len(line.get_xdata()) == 12)
    assert list(each.get_xdata()[:3]) == accuracies(payload, "t0c0", DIGITS[2])
    ends = [run["groups"][2]["test_interval"] for run in runs_of(payload, "t0c3")]
    after = next(part for part in axes.collections if part.get_color().tolist()[0][:3] == rgb(LOOK["roles"]["after"]))
    assert after.get_segments()[0][:, 0] == pytest.approx(np.mean(ends, axis=0))
    n = [group["n_test"] for name in names for group in runs_of(payload, "t0c3")[0]["groups"] if group["name"] == name]
    assert [text.get_text() for text in axes.texts] == [f"n = {number}" for number in n]


def rgb(look: dict[str, Any]) -> list[float]:
    return [int(look["color"][i : i + 2], 16) / 255 for i in (1, 3, 5)]


def test_losses_are_shares_averaged_over_seeds(payload: dict[str, Any], drawn: dict[str, Any]) -> None:
    figure = drawn["digits-split0-0.9-miu-3-losses"]
    (axes,) = figure.axes
    shown = {part.get_label(): part.get_data() for part in axes.patches if part.get_label()}
    assert list(shown) == [f"{name} (n = {n})" for name, n in zip(LOOK["sets"], (196, 1804, 400, 1194), strict=True)]
    histograms = [np.array(run["losses"]["forget"]) for run in runs_of(payload, "t0c3")]
    data = shown["forget (n = 196)"]
    assert data.values == pytest.approx(sum(100 * counts / counts.sum() for counts in histograms) / 3)
    assert sum(data.values) == pytest.approx(100)
    assert (data.edges[0], data.edges[-1]) == (-8, 2)
    cell = payload["tables"][0]["cells"][3]
    assert f"{cell['mean']['mia_auc']:.1f} ± {cell['sd']['mia_auc']:.1f} over seeds" in figure.get_supxlabel()


def test_curves_hold_every_seed_and_break_at_holes(payload: dict[str, Any], drawn: dict[str, Any]) -> None:
    histories = [run["history"] for run in runs_of(payload, "t0c3")]
    keys = curve_keys(histories)
    assert keys == ["retain_loss", "forget_loss", "critics_loss", "lr"]
    panels = drawn["digits-split0-0.9-miu-3-curves"].axes
    assert [axes.get_ylabel() for axes in panels] == [in_words(key) for key in keys]
    for axes, key in zip(panels, keys, strict=True):
        for line, history in zip(axes.lines, histories, strict=True):
            wanted = [np.nan if value is None else value for value in history[key]]
            np.testing.assert_array_equal(line.get_ydata(), wanted)
        assert len({line.get_color() for line in axes.lines}) == len({line.get_marker() for line in axes.lines}) == 3
        assert axes.get_xlim()[1] > 9


def test_mutual_information_of_both_critics(payload: dict[str, Any], drawn: dict[str, Any]) -> None:
    panels = drawn["digits-split0-0.9-miu-3-information"].axes
    assert [len(axes.lines) for axes in panels] == [6, 3, 6]
    assert {axes.get_ylabel() for axes in panels} == {"lower bound (nats)"}
    history = runs_of(payload, "t0c3")[0]["history"]
    assert list(panels[0].lines[0].get_ydata()) == history["mi_model"]
    assert list(panels[2].lines[3].get_ydata()) == history["retain_mi_original"]
    assert information_keys([history]) == {
        "": {"model": "mi_model", "original": "mi_original"},
        "forget": {"model": "forget_mi_model"},
        "retain": {"model": "retain_mi_model", "original": "retain_mi_original"},
    }


def test_counts_of_what_was_forgotten(payload: dict[str, Any], drawn: dict[str, Any]) -> None:
    (axes,) = drawn["digits-split0-0.9-miu-3-counts"].axes
    groups = {group["name"]: group for group in runs_of(payload, "t0c3")[0]["groups"]}
    rows = [groups[name] for name in (DIGITS[2], DIGITS[0], DIGITS[1], DIGITS[3])]
    forgotten, retained = axes.containers
    assert [bar.get_width() for bar in forgotten] == [group["n_forget"] for group in rows]
    assert [bar.get_width() for bar in retained] == [group["n_retain"] for group in rows]
    assert [bar.get_x() for bar in retained] == [group["n_forget"] for group in rows]


def test_every_look_differs_by_more_than_its_colour() -> None:
    for part in ("roles", "sets", "information", "counts", "kinds"):
        looks = [{**look, "label": "", "color": ""} for look in LOOK[part].values()]
        assert all(look not in looks[:place] for place, look in enumerate(looks)), part
    seeds = [(look["dash"], look["marker"]) for look in LOOK["seeds"]]
    assert all(look not in seeds[:place] for place, look in enumerate(seeds))


def test_words_are_not_read_as_mathematics(tmp_path: Path) -> None:
    payload = only(example(ratios=(0.9,), seeds=(0,), groups=["a$\\frac{", "b^$"], forget=("a$\\frac{",)), 3)
    payload["runs"] = [run | {"losses": None, "history": None} for run in payload["runs"]]
    payload["tables"][0]["title"] = payload["tables"][0]["cells"][0]["label"] = "x$_\\frac{$"
    assert len(save_figures(payload, tmp_path / "x.png", "png")) == 3


def test_runs_of_which_little_is_known(payload: dict[str, Any]) -> None:
    assert [name for name, _ in figures(bare(payload))] == ["digits-split0-0.9-overview"]
    nothing = payload | {"runs": [run | {"metrics": {}} for run in payload["runs"]]}
    assert list(figures(bare(nothing))) == []


def test_without_matplotlib_the_remedy_is_named(
    payload: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match="pip install matplotlib"):
        save_figures(payload, tmp_path / "x.pdf", "pdf")
    assert list(tmp_path.iterdir()) == []
