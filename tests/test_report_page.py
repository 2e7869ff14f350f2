"""The page of the report in a real browser: its numbers, its order, and that it stays by itself."""

import base64
import hashlib
import json
import math
import random
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, needs_browser
from report_page import MARKUP, click, open_cell, rows_of, saved, texts, undisturbed
from report_payload import DIGITS, FACES, METHODS, averaged, example

from scripts.report.figures import library
from scripts.report.page import in_script, pack_payload, page, scaled
from utils.tables import cell as in_text


@pytest.fixture(scope="module")
def payload() -> dict[str, Any]:
    """Two tables, three seeds; in the first table RA of miu is missing for one seed, EO of scrub for all."""
    found = example()
    by_id = {run["id"]: run for run in found["runs"]}
    by_id["t0c3s1"]["metrics"]["retain_acc"] = None
    by_id["t0c3s1"]["reasons"]["retain_acc"] = "no retain set"
    for seed in range(3):
        by_id[f"t0c5s{seed}"]["metrics"]["equalized_odds"] = None
        by_id[f"t0c5s{seed}"]["reasons"]["equalized_odds"] = "no cell (1, 0) in test"
    return averaged(found)


@pytest.fixture(scope="module")
def file(payload: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(payload, tmp_path_factory.mktemp("page"))


def cell_text(browser: Browser, row: str, key: str) -> str:
    (text,) = texts(browser, f'tr[{row}] td[data-key="{key}"]')
    return text


# In the file


def test_the_policy_names_the_one_script_of_the_page(payload: dict[str, Any]) -> None:
    text = page(payload)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}';")
    # The library has addresses that are names, and those of menus that are not shown; the rest of the page has none.
    assert library() in script
    assert not re.findall(r"https?://[\w./]+", text.replace(library(), ""))


def test_data_in_a_script_element_cannot_end_it() -> None:
    text = in_script({"label": MARKUP + "<!--", "loss": [math.nan, math.inf, 1.5]})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {"label": MARKUP + "<!--", "loss": [None, None, 1.5]}


def test_what_runs_share_stands_once(payload: dict[str, Any]) -> None:
    found = pack_payload(payload)
    runs = [run for run in found["runs"] if run["table"] == "t0"]
    assert len({run["groups"] for run in runs}) == len(runs)
    counts = {cell["groups"]["test_acc"]["n"] for table in found["tables"] for cell in table["cells"]}
    assert [found["pool"][number] for number in counts] == [[3] * len(DIGITS)]
    assert any(isinstance(values, dict) for values in found["pool"])
    assert len({json.dumps(values) for values in found["pool"]}) == len(found["pool"])
    assert found["tables"][0]["cells"][3]["n"][0] == 2


@pytest.mark.parametrize(
    ("values", "packed"),
    [
        ([93.089, None, 87.512, 91.75], {"tens": 3, "whole": [93089, None, 87512, 91750]}),
        ([0.5, -1e-05, 93.089], [0.5, -1e-05, 93.089]),  # whole numbers would be longer
        ([3, 3, None], [3, 3, None]),
        (["a", 1.25], ["a", 1.25]),
        ([True, 1.25, 2.25], [True, 1.25, 2.25]),
        ([math.inf, 1.25], [math.inf, 1.25]),
        ([], []),
    ],
)
def test_numbers_stand_as_whole_ones_where_that_is_shorter(values: list, packed: Any) -> None:
    assert scaled(values * 20) == (
        packed * 20 if isinstance(packed, list) else packed | {"whole": packed["whole"] * 20}
    )


# In the browser


@needs_browser
def test_numbers_are_those_of_the_payload(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    click(browser, "#show-all")
    for table in payload["tables"]:
        for cell in table["cells"]:
            own = [run["metrics"] for run in payload["runs"] if run["cell"] == cell["id"]]
            wanted = [expected([values[column["key"]] for values in own], column) for column in payload["columns"]]
            assert texts(browser, f'tr[data-cell="{cell["id"]}"] td[data-key]') == wanted
    click(browser, "#show-each")
    for run in payload["runs"]:
        wanted = [expected([run["metrics"][column["key"]]], column) for column in payload["columns"]]
        assert texts(browser, f'tr[data-run="{run["id"]}"] td[data-key]') == wanted
    undisturbed(browser, file)


def expected(values: list[float | None], column: dict[str, Any]) -> str:
    """What the text table shows, with a sign that is a minus."""
    scaled = [None if value is None else value * column["scale"] for value in values]
    return signed(in_text(scaled, column["decimals"]))


def signed(text: str) -> str:
    return re.sub(r"^-(?=\d)", "−", re.sub(r"^-(?=0\.0+( |$))", "", text))


@needs_browser
def test_differences_to_the_reference(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    click(browser, "#show-difference")
    by_id = {run["id"]: run for run in payload["runs"]}
    own = [by_id[f"t1c3s{seed}"]["metrics"]["test_acc"] for seed in range(3)]
    theirs = [by_id[f"t1c2s{seed}"]["metrics"]["test_acc"] for seed in range(3)]
    wanted = signed(in_text([a - b for a, b in zip(own, theirs, strict=True)]))
    assert cell_text(browser, 'data-cell="t1c3"', "test_acc") == wanted
    click(browser, "#show-each")
    assert cell_text(browser, 'data-run="t1c3s2"', "test_acc") == signed(in_text([own[2] - theirs[2]]))
    assert cell_text(browser, 'data-run="t1c2s2"', "test_acc") == "0.0"


@needs_browser
def test_halves_are_rounded_as_in_the_text_tables(browser: Browser, file: Path) -> None:
    browser.open(file)
    chance = random.Random(0)
    values = [*(100 * k / 80 for k in range(81)), 0.5, 1.5, 2.5, 12.25, -12.25, -0.75, 1e-9, 99.95]
    values += [chance.uniform(-100, 100) for _ in range(300)]
    for decimals in (0, 1, 3):
        found = browser.run(f"{json.dumps(values)}.map((value) => fixed(value, {decimals}))")
        assert found == [f"{value:.{decimals}f}" for value in values]
    assert browser.run('["-0.0", "-0", "-0.04", "0.0", "-12.5"].map(minus)') == ["0.0", "0", "−0.04", "0.0", "−12.5"]


@needs_browser
def test_holes_have_their_reason(browser: Browser, file: Path) -> None:
    browser.open(file)
    title = "document.querySelector('tr[data-cell=\"{}\"] td[data-key={}]').title"
    assert cell_text(browser, 'data-cell="t0c5"', "equalized_odds") == "-"
    assert "seed 0: no cell (1, 0) in test" in browser.run(title.format("t0c5", "equalized_odds"))
    assert cell_text(browser, 'data-cell="t0c3"', "retain_acc").endswith(" [2]")
    told = browser.run(title.format("t0c3", "retain_acc"))
    assert "seed 1: no retain set" in told
    assert "no retain set" in told.split("minus the reference")[1]


def order(browser: Browser, table: str = "t0") -> list[str]:
    return browser.run(f"[...document.querySelectorAll('#{table} .measures tbody tr')].map((row) => row.dataset.cell)")


@needs_browser
def test_sorting_by_mouse_and_keyboard(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    cells = payload["tables"][0]["cells"]
    first = [cell["id"] for cell in cells]
    present = [cell for cell in cells if cell["mean"]["equalized_odds"] is not None]
    rising = [cell["id"] for cell in sorted(present, key=lambda cell: cell["mean"]["equalized_odds"])]
    assert rising != [name for name in first if name != "t0c5"]
    button = '#t0 th[data-key="equalized_odds"] button'
    direction = "document.querySelector('#t0 th[data-key=\"equalized_odds\"]').getAttribute('aria-sort')"

    assert (order(browser), browser.run(direction)) == (first, "none")
    click(browser, button)
    assert (order(browser), browser.run(direction)) == ([*rising, "t0c5"], "ascending")
    assert order(browser, "t1") == [name.replace("t0", "t1") for name in first]
    browser.press("Enter", "Enter", 13, "\r")  # the focus stays where it was
    assert (order(browser), browser.run(direction)) == ([*rising[::-1], "t0c5"], "descending")
    browser.press("Enter", "Enter", 13, "\r")
    assert (order(browser), browser.run(direction)) == (first, "none")
    click(browser, '#t0 th[data-key="label"] button')
    by_name = sorted(cells, key=lambda cell: cell["name"])
    assert order(browser) == [cell["id"] for cell in by_name]


@needs_browser
def test_best_of_those_that_compete(browser: Browser, tmp_path: Path) -> None:
    """Reference: 50 in UA, seen among differences; ToW highest; none where two are the best; pretrained ones never."""
    payload = example(ratios=(0.9,), seeds=(0,))
    values = {
        0: (50.0, 100.0),
        1: (50.0, 100.0),
        2: (50.0, 100.0),
        3: (47.0, 80.0),
        4: (52.96, 90.01),
        5: (51.0, 89.9),
    }
    for run in payload["runs"]:
        forget_acc, tow = values.get(int(run["cell"][3:]), (90.0, 10.0))
        tied = 50.0 + (run["cell"] in ("t0c3", "t0c4"))
        run["metrics"] |= {"forget_acc": forget_acc, "tow": tow, "worst_group_acc": tied, "test_acc": tied}
    browser.open(saved(averaged(payload), tmp_path))
    best = "[...document.querySelectorAll('td.best[data-key={}]')].map((cell) => cell.parentNode.dataset.cell)"
    names = ("forget_acc", "tow", "val_acc", "worst_group_acc", "test_acc")
    assert [browser.run(best.format(name)) for name in names] == [[], ["t0c4"], [], [], []]
    assert browser.run("getComputedStyle(document.querySelector('td.best strong')).fontWeight") == "700"
    click(browser, "#show-difference")
    assert [browser.run(best.format(name)) for name in names] == [["t0c5"], [], [], [], []]


@needs_browser
def test_filter_missing_legend_and_links(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file, "#t1c3")
    browser.wait("document.getElementById('t1c3')")
    browser.run(
        "{ const box = document.getElementById('filter'); box.value = 'SCRUB 0.5';"
        " box.dispatchEvent(new Event('input')); }"
    )
    assert order(browser) == ["t0c5"]
    assert browser.run("document.getElementById('t1').hidden")
    assert texts(browser, "#found") == ["1 row in 1 table. The sentences and figures are of all rows."]
    for run in payload["missing"]:
        assert run["folder"] + run["problem"] in texts(browser, "#missing tr")
    assert not browser.run("document.querySelector('#missing details').open")
    click(browser, '#t0 input[value="minus_reference"]')
    assert any("; of columns with *: retrain." in text for text in texts(browser, "#t0 .note"))
    meanings = [[column["title"], column["what"], column["unit"]] for column in payload["columns"]]
    rows = rows_of(browser, "#legend > .scroll tbody tr")
    assert [row[:3] for row in rows] == meanings


@needs_browser
def test_text_from_runs_stays_text(browser: Browser, tmp_path: Path) -> None:
    payload = example(ratios=(0.9,), seeds=(0,), groups=[MARKUP, *DIGITS], forget=(MARKUP,))
    for place, cell in enumerate(payload["tables"][0]["cells"]):
        cell |= {"label": f"{MARKUP} {place}", "name": f"{MARKUP} {place}"}
    payload["tables"][0] |= {"title": MARKUP, "dataset": MARKUP, "notes": [MARKUP]}
    payload["path"] = MARKUP
    payload["missing"] = [{"folder": MARKUP, "problem": MARKUP}]
    payload["columns"][0] |= {"title": MARKUP, "what": MARKUP}
    for run in payload["runs"]:
        run |= {"label": MARKUP, "folder": MARKUP, "config": run["config"] | {MARKUP: MARKUP}}
        run["reasons"]["peak_memory_bytes"] = MARKUP
    file = saved(payload, tmp_path)
    browser.open(file)
    click(browser, "#show-all")
    open_cell(browser, "t0c3")
    browser.run("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    browser.wait("document.querySelector('[data-plot=overview]')")
    assert texts(browser, 'tr[data-cell="t0c3"] .open') == [f"{MARKUP} 3"]
    assert texts(browser, "h2")[0].startswith(f"{MARKUP}: ")
    assert browser.run("[document.images.length, document.scripts.length, typeof window.hacked]") == [0, 2, "undefined"]
    undisturbed(browser, file)


@needs_browser
def test_nothing_may_leave_the_page(browser: Browser, file: Path) -> None:
    """Whatever came into the page could neither load nor send nor run; and the browser would have told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        browser.open(file)
        browser.run(f"document.body.append(Object.assign(new Image(), {{ src: '{address}/x.png' }}))")
        assert browser.run(f"fetch('{address}').then(() => 'sent', () => 'refused')") == "refused"
        browser.run("document.body.append(Object.assign(document.createElement('script'), { text: 'hacked = 1' }))")
        assert browser.run("typeof hacked") == "undefined"
        with pytest.raises(BlockingIOError):  # nobody has come
            server.accept()
    assert len(browser.complaints) >= 3
    assert all("Content Security Policy" in text for text in browser.complaints)


@needs_browser
@pytest.mark.parametrize("tables", [1, 0])
def test_runs_of_which_little_is_known(browser: Browser, tmp_path: Path, tables: int) -> None:
    """No groups, no records, no history, no partners; and a report in which every run failed."""
    payload = example(ratios=(0.9,) * tables, seeds=(0,))
    for run in payload["runs"]:
        run |= {"groups": [], "losses": None, "history": None, "original": None, "reference": None, "metrics": {}}
    file = saved(averaged(payload), tmp_path)
    browser.open(file)
    assert len(texts(browser, "#missing tr")) == 2
    if tables:
        assert cell_text(browser, 'data-cell="t0c3"', "tow") == "-"
        open_cell(browser, "t0c3")
        assert texts(browser, "#t0c3 figure") == []
        (note,) = texts(browser, "#t0c3 .note")
        assert note.startswith("Not shown: accuracy by group")
        assert "training curves" in note
    undisturbed(browser, file)


@needs_browser
@pytest.mark.slow
def test_five_hundred_runs(browser: Browser, tmp_path: Path) -> None:
    """Of 63 groups and 60 epochs: under 5 MB, made and opened within 20 s, and a click answers at once."""
    ratios = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
    payload = example(ratios, groups=FACES, forget=tuple(FACES[:9]), dataset="fairface", variants=5, epochs=60)
    assert len(payload["runs"]) == 8 * 3 * (3 + 5 * (len(METHODS) - 3)) == 552
    start = time.perf_counter()
    file = saved(payload, tmp_path)
    assert file.stat().st_size < 5e6
    browser.open(file, "#t7c4")
    browser.wait("document.querySelectorAll('#t7c4 figure').length >= 4")
    assert time.perf_counter() - start < 20
    click(browser, "#show-each")
    assert len(texts(browser, "#t7 tbody tr[data-run]")) == 69
    click(browser, '#t7 .measures th[data-key="tow"] button')
    undisturbed(browser, file)


@needs_browser
def test_what_is_missing_stands_by_reason(browser: Browser, tmp_path: Path) -> None:
    payload = example(ratios=(0.9,), seeds=(0,))
    payload["missing"] = [{"folder": name, "problem": why} for name, why in (("a", "x"), ("b", "y"), ("c", "x"))]
    browser.open(saved(averaged(payload), tmp_path))
    assert rows_of(browser, "#missing tr") == [["ac", "x"], ["b", "y"]]
    assert texts(browser, "#missing-title") == ["Not in the tables: 3 runs"]
