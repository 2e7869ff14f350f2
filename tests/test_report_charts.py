"""The charts of the page in a real browser: drawn when seen, their numbers, the keyboard, narrow screens."""

import re
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, needs_browser
from report_page import MARKUP, click, open_cell, rows_of, saved, texts, undisturbed
from report_payload import DIGITS, averaged, example

from scripts.report.view import View, average_accuracy

pytestmark = needs_browser
ROLES = {"original (before)": "before", "this model (after)": "after", "retrained": "retrained"}
MARK = re.compile(r"(.+?)(?: \(forget group\))?, ([^,]+): ([\d.]+) % \(95 % interval ([\d.]+) to ([\d.]+)\), .*")


@pytest.fixture(scope="module")
def payload() -> dict[str, Any]:
    return example(ratios=(0.9,))


@pytest.fixture(scope="module")
def file(payload: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(payload, tmp_path_factory.mktemp("page"))


def drawn(browser: Browser, plot: str, within: str = "body") -> str:
    """The selector of a chart, once it is drawn."""
    chart = f"{within} figure[data-plot='{plot}']"
    browser.run(f"document.querySelector(\"{chart}\").scrollIntoView({{ block: 'center' }})")
    browser.wait(f'document.querySelector("{chart} .picture").view')
    return chart


def said(browser: Browser, chart: str) -> list[str]:
    """What the marks of a chart say to screen readers."""
    marks = f'[...document.querySelectorAll("{chart} .told_marks > [aria-label]")]'
    return browser.run(f"{marks}.map((mark) => mark.getAttribute('aria-label'))")


def test_every_chart_is_drawn_once_it_is_seen(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    usual = {"groups", "losses", "counts", "curves"}
    for cell in payload["tables"][0]["cells"][2:5]:
        name = cell["id"]
        open_cell(browser, name)
        plots = browser.run(f"[...document.querySelectorAll('#{name} figure')].map((node) => node.dataset.plot)")
        assert set(plots) == usual | ({"information"} if cell["method"] == "miu" else set())
        for plot in plots:
            chart = drawn(browser, plot, f"#{name}")
            assert browser.run(f"document.querySelector(\"{chart} [role='graphics-document']\").ariaLabel.length > 5")
            assert said(browser, chart)
            assert "NaN" not in browser.run(f'document.querySelector("{chart}").outerHTML')
        click(browser, f"#{name} .close")
    browser.run("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    for plot in ("trade-off", "attack", "overview"):
        assert len(said(browser, drawn(browser, plot))) >= len(payload["tables"][0]["cells"])
    undisturbed(browser, file)


def test_charts_that_were_not_seen_are_drawn_for_paper(browser: Browser, file: Path) -> None:
    browser.open(file)
    drawn(browser, "trade-off")
    far = "html('div', { style: 'height: 9000px' })"
    browser.run(f"document.body.append({far}, comparePlot(data.tables[0].cells.slice(3, 5)))")
    browser.run("new Promise((done) => setTimeout(done, 100))")
    boxes = "document.querySelectorAll('figure.compare svg').length"
    assert browser.run(boxes) == 0
    browser.print(file.with_suffix(".pdf"))
    assert browser.run(boxes) == 1


def groups_named(runs: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [group for run in runs for group in run["groups"] if group["name"] == name]


@pytest.mark.parametrize("seed", [None, 1])
def test_marks_say_the_accuracies_of_groups(
    browser: Browser, file: Path, payload: dict[str, Any], seed: int | None
) -> None:
    browser.open(file)
    open_cell(browser, "t0c3")
    if seed is not None:
        click(browser, f'#t0c3 [data-seed="{seed}"]')
    by_id = {run["id"]: run for run in payload["runs"]}
    chosen = [by_id[f"t0c3s{number}"] for number in ([0, 1, 2] if seed is None else [seed])]
    partners = View(payload["tables"][0], payload["tables"][0]["cells"][3], chosen, by_id).partners()
    found = said(browser, drawn(browser, "groups", "#t0c3"))
    assert len(found) == 3 * len(DIGITS)
    for text in found:
        name, model, *shown = MARK.fullmatch(text).groups()
        wanted = average_accuracy(groups_named(partners[ROLES[model]], name))
        assert list(map(float, shown)) == pytest.approx([wanted["mean"], *wanted["interval"]], abs=0.051)
        assert text.endswith("one seed" if seed is not None else "mean over 3 seeds")
    rings = browser.run("document.querySelectorAll('#t0c3 .groups .layer_2_marks > path').length")
    assert rings == (36 if seed is None else 0)


def test_groups_can_be_ordered(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    open_cell(browser, "t0c3")
    chart = drawn(browser, "groups", "#t0c3")
    groups = next(run for run in payload["runs"] if run["id"] == "t0c3s0")["groups"]

    def order() -> list[str]:
        labels = texts(browser, f"{chart} .role-axis-label text")
        return [name for label in labels for name in DIGITS if label.replace("\n", "").startswith(name)]

    assert order()[0] == DIGITS[2]
    browser.run(
        f'{{ const select = document.querySelector("{chart} select"); select.value = "fewest test samples first";'
        " select.dispatchEvent(new Event('change')); }"
    )
    wanted = [group["name"] for group in sorted(groups, key=lambda group: group["n_test"])]
    browser.wait("true")
    for _ in range(50):
        if order() == wanted:
            break
        browser.run("new Promise((done) => setTimeout(done, 20))")
    assert order() == wanted


def test_the_keyboard_and_the_pointer_reach_every_mark(browser: Browser, file: Path) -> None:
    browser.open(file)
    chart = drawn(browser, "trade-off")
    found = said(browser, chart)
    assert browser.run(f'document.querySelectorAll("{chart} .told_marks [tabindex=\\"0\\"]").length') == 1
    browser.run(f'document.querySelector("{chart} .told_marks [tabindex=\\"0\\"]").focus()')
    assert texts(browser, ".bubble") == [found[0]]
    browser.press("ArrowRight", "ArrowRight", 39)
    assert texts(browser, ".bubble") == [found[1]]
    browser.press("End", "End", 35)
    assert texts(browser, ".bubble") == [found[-1]]
    browser.press("Escape", "Escape", 27)
    assert browser.run("document.querySelector('.bubble').hidden")
    middle = "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
    x, y = browser.run(f'{middle}(document.querySelector("{chart} .told_marks > path").getBoundingClientRect())')
    browser._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    browser.wait("!document.querySelector('.bubble').hidden")
    assert texts(browser, ".bubble") == [found[0]]


def test_the_numbers_stand_in_a_table_too(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    chart = drawn(browser, "trade-off")
    browser.run(f'document.querySelector("{chart} details.figures").open = true')
    browser.wait(f'document.querySelector("{chart} .numbers")')
    heads, *lines = rows_of(browser, f"{chart} .numbers tr")
    assert heads[:3] == ["number", "model", "UA (%)"]
    for place, (line, cell) in enumerate(zip(lines, payload["tables"][0]["cells"], strict=True)):
        assert line[:2] == [str(place + 1), cell["name"]]
        assert float(line[2]) == pytest.approx(cell["mean"]["forget_acc"], abs=0.006)
        assert float(line[5]) == pytest.approx(cell["mean"]["forget_group_acc"], abs=0.006)
        assert line[8] == "3"


def test_rows_on_common_axes(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    browser.run("document.body.append(comparePlot(data.tables[0].cells.slice(3, 5)))")
    found = said(browser, drawn(browser, "compare"))
    assert len(found) == 2 * len(DIGITS)
    by_id = {run["id"]: run for run in payload["runs"]}
    wanted = average_accuracy(groups_named([by_id[f"t0c4s{seed}"] for seed in range(3)], DIGITS[2]))
    (text,) = (text for text in found if text.startswith(f"{DIGITS[2]} (forget group), salun: "))
    assert float(MARK.fullmatch(text)[3]) == pytest.approx(wanted["mean"], abs=0.051)


def test_losses_and_the_attack(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    open_cell(browser, "t0c4")
    cell = payload["tables"][0]["cells"][4]
    (caption,) = texts(browser, "#t0c4 .losses figcaption")
    assert f"{cell['mean']['mia_auc']:.1f} ± {cell['sd']['mia_auc']:.1f} over 3 seeds" in caption
    click(browser, '#t0c4 [data-seed="0"]')
    run = next(run for run in payload["runs"] if run["id"] == "t0c4s0")
    (caption,) = texts(browser, "#t0c4 .losses figcaption")
    assert f"AUC of the attack: {run['metrics']['mia_auc']:.1f} ± 1.2 over draws" in caption
    counts = run["losses"]["forget"]
    shares = {f"{100 * count / sum(counts):.1f}" for count in counts if count}
    found = said(browser, drawn(browser, "losses", "#t0c4"))
    assert {text.split()[2] for text in found if text.startswith("forget set: ")} == shares


def test_what_is_known_of_partners_is_said_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    payload = example(ratios=(0.9,), seeds=(0,))
    told = "not found: --original names models/x, and no pretrained run here has its weights"
    by_cell = {run["cell"]: run for run in payload["runs"]}
    by_cell["t0c3"] |= {"original": None, "original_note": told, "reference": None, "reference_name": "retrain_x_0.9_0"}
    by_cell["t0c4"] |= {"original_note": "found by name, as the pretrained run of its data, model and seed"}
    by_cell["t0c5"] |= {"reference": None, "reference_name": ""}
    hidden = by_cell["t0c0"] | {"id": "hidden", "cell": None, "folder": "left/out"}
    by_cell["t0c5"]["original"] = hidden["id"]
    payload["runs"].append(hidden)
    browser.open(saved(averaged(payload), tmp_path))
    captions = {}
    for name in ("t0c3", "t0c4", "t0c5"):
        open_cell(browser, name)
        (captions[name],) = texts(browser, f"#{name} figure.groups figcaption")
    assert f"The original model: {told}. The retrained model retrain_x_0.9_0 is not here." in captions["t0c3"]
    assert "The original model: found by name" in captions["t0c4"]
    assert captions["t0c5"].startswith("No retrained model is here.")
    assert "original" not in captions["t0c5"]
    marks = said(browser, drawn(browser, "groups", "#t0c5"))
    assert any(", original (before): " in mark for mark in marks), "what the filters left out is drawn"


def test_a_chart_follows_the_width_of_the_page(browser: Browser, file: Path) -> None:
    browser.open(file)
    chart = drawn(browser, "trade-off")
    width = f'document.querySelector("{chart} svg").getBoundingClientRect().width'
    assert browser.run(width) > 600
    browser._call("Emulation.setDeviceMetricsOverride", width=420, height=900, deviceScaleFactor=1, mobile=False)
    try:
        browser.wait(f"{width} < 420 && {width} > 300")
        labels = f'[...document.querySelectorAll("{chart} svg text")].map((node) => node.getBoundingClientRect())'
        assert browser.run(f"{labels}.every(({{ left, right }}) => left >= 0 && right <= 420)")
    finally:
        browser._call("Emulation.clearDeviceMetricsOverride")


def test_text_from_runs_stays_text(browser: Browser, tmp_path: Path) -> None:
    payload = example(ratios=(0.9,), seeds=(0,), groups=[MARKUP, *DIGITS], forget=(MARKUP,))
    for place, cell in enumerate(payload["tables"][0]["cells"]):
        cell |= {"label": f"{MARKUP} {place}", "name": f"{MARKUP} {place}"}
    for run in payload["runs"]:
        run["history"] = {"epoch": [0, 1], MARKUP: [1.0, 2.0], "datum['x'](){}": [1.0, 2.0]}
    file = saved(payload, tmp_path)
    browser.open(file)
    open_cell(browser, "t0c3")
    browser.run("document.body.append(comparePlot(data.tables[0].cells.slice(3, 5)))")
    for plot in ("trade-off", "groups", "curves", "compare"):
        chart = drawn(browser, plot)
        assert "window.hacked" in "".join([*said(browser, chart), *texts(browser, f"{chart} svg text")])
    assert browser.run("[document.images.length, document.scripts.length, typeof window.hacked]") == [0, 2, "undefined"]
    undisturbed(browser, file)
