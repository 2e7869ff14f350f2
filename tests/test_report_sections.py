"""What a reader without Python sees on the page: what happened, groups by method, rows side by side, words, paper."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, needs_browser
from cli import ROOT
from report_page import MARKUP, click, open_cell, rows_of, saved, texts, undisturbed, visible
from report_payload import DIGITS, averaged, example

from scripts.report import command as report
from scripts.report.page import pack_payload

RUNS = ROOT / "docs" / "results" / "runs" / "fairface_64_cnn.zip"
CHOSEN = ["--task", "split0"]  # 63 groups, 11 methods, 3 seeds
MINUS = str.maketrans("−", "-", "+")


@pytest.fixture(scope="module")
def payload() -> dict[str, Any]:
    return example()


@pytest.fixture(scope="module")
def file(payload: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(payload, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of committed runs, and beside it what `--by group` has of them."""
    folder = tmp_path_factory.mktemp("committed")
    zipped = folder / RUNS.name
    shutil.copy(RUNS, zipped)
    assert report.main([str(zipped), *CHOSEN, "--out", str(folder / "page.html")]) == 0
    assert report.main([str(zipped), *CHOSEN, "--by", "group", "--out", str(folder / "groups.json")]) == 0
    return folder


def shown_group_cells(browser: Browser, table: str) -> dict[tuple[str, str], tuple[str, list[float]]]:
    """(group, cell) -> class, and the numbers shown: the value, and the ends of its interval."""
    found = browser.run(
        f"[...document.querySelectorAll('#{table} .by-group tbody tr')].flatMap((row) =>"
        " [...row.querySelectorAll('td[data-cell]')].map((cell) => [row.dataset.group, cell.dataset.cell,"
        " cell.className, (cell.querySelector('small') ? cell.querySelector('small').textContent : ''),"
        " cell.firstChild.textContent]))"
    )
    shown = {}
    for group, cell, name, ends, value in found:
        numbers = [value, *ends.split(" to ")] if ends else []
        shown[group, cell] = name, [float(text.translate(MINUS)) for text in numbers]
    return shown


@needs_browser
@pytest.mark.slow
def test_groups_by_method_are_those_of_by_group(browser: Browser, committed: Path) -> None:
    """Of committed runs: every accuracy and change with its interval, and which of them are more than noise."""
    browser.open(committed / "page.html")
    (table,) = json.loads((committed / "groups.json").read_text(encoding="utf-8"))["tables"]
    cells = browser.run("Object.fromEntries(data.tables[0].cells.map((cell) => [cell.label, [cell.id, cell.method]]))")
    strong = 0
    for what in ("minus_original", "minus_reference", "test_acc"):
        click(browser, f'#t0 input[value="{what}"]')
        shown = shown_group_cells(browser, "t0")
        assert len(shown) == len(table["rows"]) == 63 * len(cells) == 63 * 11
        for row in table["rows"]:
            cell, method = cells[row["label"]]
            own = {"minus_original": "pretrain", "minus_reference": "retrain"}.get(what) == method
            wanted = row["test_acc" if own else what]
            name, numbers = shown[row["group"], cell]
            if not wanted["n"]:  # the group has no test image
                assert (name, numbers) == ("hole", [])
                continue
            assert numbers == pytest.approx([wanted["mean"], *wanted["interval"]], abs=0.051)
            if what != "test_acc" and not own:
                beyond = wanted["interval"][0] > 0 or wanted["interval"][1] < 0
                assert name == ("change strong" if beyond else "change quiet")
                strong += beyond
    assert 20 < strong < 63 * 10
    assert texts(browser, "#t0 .by-group tbody tr.forget .name") == ["20-29 Black"]
    undisturbed(browser, committed / "page.html")


@needs_browser
@pytest.mark.slow
def test_the_story_of_committed_runs_is_shown(browser: Browser, committed: Path) -> None:
    browser.open(committed / "page.html")
    story = browser.run("data.tables[0].story")
    assert {"request", "harm", "attack"} <= {one["about"] for one in story}
    assert texts(browser, "#t0 .story dd") == [one["text"] for one in story]
    title = "fairface: 50 % of 20-29 Black forgotten"
    assert [texts(browser, "#t0 h2"), texts(browser, "h1")] == [[title], [f"Unlearning on {title}"]]
    assert browser.run("document.title") == f"Unlearning on {title}"


@needs_browser
def test_what_is_harmed_is_said_first(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    assert texts(browser, "h1") == ["Unlearning: 2 studies on digits"]
    story = payload["tables"][1]["story"]
    assert [texts(browser, "#t1 .story dt"), texts(browser, "#t1 .story dd")] == [
        ["Asked for", "Harm"],
        [one["text"] for one in story],
    ]
    assert texts(browser, "#contents li p") == [story[1]["text"]] * 2
    order = browser.run(
        "[...document.querySelector('#t1 .body').children].map((node) => node.className.split(' ')[0] || node.tagName)"
    )
    found = [name for name in order if name in ("story", "plot", "part", "fold")]
    assert found[0] == "story"
    assert found[-1] == "fold", "notes are last, and folded"
    assert texts(browser, "#t1 .part > h3") == ["Which group, by which method", "Every method in numbers"]
    assert visible(browser, "#t1 .notes") == []
    click(browser, "#t1 .body > .fold:last-child summary")
    browser.wait("document.querySelector('#t1 .notes')")
    assert any("fewer than 20 pairs" in text for text in visible(browser, "#t1 .notes li"))


@needs_browser
def test_groups_are_sorted_by_any_column(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    groups = payload["tables"][0]["groups"]
    names = [group["name"] for group in groups]
    assert names[0] == DIGITS[2]
    order = "[...document.querySelectorAll('#t0 .by-group tbody tr')].map((row) => row.dataset.group)"
    assert browser.run(order) == names
    changes = payload["tables"][0]["cells"][4]["groups"]["minus_original"]
    rising = [name for _, name in sorted(zip([one["mean"] for one in changes], names, strict=True))]
    click(browser, '#t0 .by-group th[data-key="t0c4"] button')
    assert browser.run(order) == rising
    browser.press("Enter", "Enter", 13, "\r")  # the focus stays where it was
    assert browser.run(order) == rising[::-1]
    assert browser.run("document.activeElement.closest('th').getAttribute('aria-sort')") == "descending"
    browser.press("Enter", "Enter", 13, "\r")
    assert browser.run(order) == names
    click(browser, '#t0 .by-group th[data-key="n_test"] button')
    assert browser.run(order) == [group["name"] for group in sorted(groups, key=lambda group: group["n_test"])]
    click(browser, '#t0 .by-group th[data-key="group"] button')
    assert browser.run(order) == sorted(names)


def set_values(payload: dict[str, Any], cell: str, forget_acc: tuple[float, ...], group: tuple[float, ...]) -> None:
    """UA, and the accuracy of the first group, of the seeds of a cell."""
    for seed, (value, accuracy) in enumerate(zip(forget_acc, group, strict=True)):
        (run,) = [run for run in payload["runs"] if run["id"] == f"{cell}s{seed}"]
        run["metrics"]["forget_acc"] = value
        run["groups"][0]["test_acc"] = accuracy


@needs_browser
def test_rows_side_by_side_have_paired_differences(browser: Browser, tmp_path: Path) -> None:
    """UA: 2, 3 and 4 more, by hand 3 ± 4.3027 / sqrt 3; of a group 1 less in all, which says nothing of noise."""
    payload = example()
    set_values(payload, "t0c3", (50.0, 60.0, 70.0), (80.0, 81.0, 82.0))
    set_values(payload, "t0c4", (52.0, 63.0, 74.0), (79.0, 80.0, 81.0))
    set_values(payload, "t1c5", (50.0, 75.0, 40.0), (60.0, 99.0, 70.0))
    browser.open(saved(averaged(payload), tmp_path))
    click(browser, 'input.tick[value="t0c3"]')
    assert texts(browser, "#t0 .compare-told") == [" miu is ticked: tick another row, here or in another table."]
    assert texts(browser, ".comparison") == []
    click(browser, 'input.tick[value="t0c4"]')
    measures, groups = rows_of(browser, ".comparison .compared thead tr")
    assert measures == ["measure", "miu", "salun", "minus miu"]
    assert groups[1:] == measures[1:]
    (line,) = [row for row in rows_of(browser, ".comparison .compared tbody tr") if row[0].startswith("UA")]
    assert line[1:] == ["60.0 ± 10.0", "63.0 ± 11.0", "+3.0+0.5 to +5.5"]
    (line,) = [row for row in rows_of(browser, ".comparison .compared tbody tr") if row[0].startswith(DIGITS[0])]
    assert line[1:] == ["81.0", "80.0", "−1.0no interval"]
    strong = texts(browser, ".comparison td.change.strong strong")
    assert "+3.0" in strong
    assert "−1.0" not in strong
    assert texts(browser, '.comparison figure[data-plot="compare"] h4') == ["Accuracy by group"]
    assert ["method", "miu", "salun"] in rows_of(browser, ".comparison .settings tr")
    assert not any(row[0] == "momentum" for row in rows_of(browser, ".comparison .settings tr"))
    # A third one, of another table: 0, 15 and -30 to the first, mean -5, sd 22.9.
    click(browser, 'input.tick[value="t1c5"]')
    assert browser.run("document.querySelectorAll('.comparison').length") == 1
    (line,) = [row for row in rows_of(browser, ".comparison .compared tbody tr") if row[0].startswith("UA")]
    assert line[3:] == ["+3.0+0.5 to +5.5", "55.0 ± 18.0", "−5.0−61.9 to +51.9"]
    heads = rows_of(browser, ".comparison .compared thead tr")[0]
    assert heads[4] == "scrub (digits: 90 % of high digit, warm tint forgotten)"
    assert browser.run("[...document.querySelectorAll('input.tick:not(:checked)')].every((box) => box.disabled)")
    # The interval of a group's accuracy ends where accuracies end.
    (line,) = [row for row in rows_of(browser, ".comparison .compared tbody tr") if row[0].startswith(DIGITS[0])]
    assert line[-1] == "−4.7−54.4 to +19.0"
    click(browser, ".comparison .close")
    assert texts(browser, ".comparison") == []
    assert not browser.run("[...document.querySelectorAll('input.tick')].some((box) => box.checked || box.disabled)")
    assert browser.complaints == []


@needs_browser
def test_rows_of_one_seed_have_differences_without_interval(browser: Browser, tmp_path: Path) -> None:
    browser.open(saved(example(seeds=(0,)), tmp_path))
    for name in ("t0c3", "t0c4"):
        click(browser, f'input.tick[value="{name}"]')
    intervals = set(texts(browser, ".comparison td.change small"))
    assert intervals == {"no interval"}
    assert texts(browser, ".comparison td.change strong") == []


@needs_browser
def test_words_are_explained_to_pointer_tap_and_keyboard(browser: Browser, file: Path, payload: dict[str, Any]) -> None:
    browser.open(file)
    told = "((box) => box && !box.hidden && box.textContent)(document.querySelector('.bubble'))"
    meaning = payload["glossary"]["forget group"]
    browser.run("document.querySelector('th[data-key=\"forget_group_acc\"] .sort').focus()")
    assert browser.run(told) == "GA: test accuracy of the forget groups (percent)"
    browser.press("Escape", "Escape", 27)
    assert not browser.run(told)
    assert texts(browser, "#t0 .story .term") == []  # "forget groups" is another word than "forget group"
    sentence = "A GA-trained one, a Forget group, and a forget group: GAP, GA."
    browser.run(f"document.querySelector('#t0 .body').prepend(...termed('{sentence}'))")
    terms = "[...document.querySelectorAll('#t0 .body > .term')].map((node) => [node.textContent, node.dataset.hint])"
    assert browser.run(terms) == [["Forget group", meaning], ["GA", payload["glossary"]["GA"]]]
    click(browser, "#t0 .body > .term")
    assert browser.run(told) == meaning
    browser.run("document.querySelector('h1').click()")
    assert not browser.run(told)
    words = rows_of(browser, "#legend .glossary tbody tr")
    assert words == [[word, text] for word, text in payload["glossary"].items()]
    heads = browser.run("[...document.querySelectorAll('#t0 .measures thead th')].map((node) => node.textContent)")
    assert any("accuracy on the retain set" in head for head in heads), "heads say what they are without a pointer"


@needs_browser
def test_names_and_verbs_are_not_marked_as_words_to_explain(browser: Browser, tmp_path: Path) -> None:
    payload = example(ratios=(0.9,), seeds=(0,))
    payload["glossary"] |= {"run": "one folder", "MIU": "a method", "reference": "what it is compared with"}
    payload["tables"][0]["cells"][3]["name"] = "MIU (reference preset, GA)"
    browser.open(saved(payload, tmp_path))
    text = 'As others were run, MIU (reference preset, GA) harmed "GA, reference" most; GA and the reference'
    browser.run(f"document.querySelector('#t0 .body').prepend(...termed({json.dumps(text)}))")
    assert texts(browser, "#t0 .body > .term") == ["MIU", "GA", "reference"]
    before = "[...document.querySelectorAll('#t0 .body > .term')].map((node) => node.previousSibling.textContent)"
    assert [text[-3:] for text in browser.run(before)] == ["n, ", "t; ", "he "]


@needs_browser
def test_a_phone_shows_numbers_beside_names(tmp_path: Path) -> None:
    """420 pixels: the page does not scroll sideways; the name stays while numbers do, and two are in sight."""
    with Browser(tmp_path, width=420) as phone:
        phone.open(saved(example(ratios=(0.9,), variants=4), tmp_path))
        width = "document.documentElement.scrollWidth"
        assert phone.run(width) <= 420
        open_cell(phone, "t0c3")
        for name in ("t0c3", "t0c4"):
            click(phone, f'input.tick[value="{name}"]')
        assert phone.run(width) <= 420
        for table in (".measures", ".by-group"):
            box = f"document.querySelector('#t0 {table}').parentNode"
            phone.run(f"{box}.scrollLeft = 250")
            name = f"document.querySelector('#t0 {table} tbody th')"
            left, right, edge = phone.run(
                "((name, box) => [name.left - box.left, name.right, box.right])"
                f"(...[{name}, {box}].map((node) => node.getBoundingClientRect()))"
            )
            assert abs(left) < 2, "the name does not scroll away"
            seen = phone.run(
                f"[...document.querySelector('#t0 {table} tbody tr').querySelectorAll('td')].filter((cell) =>"
                f" cell.getBoundingClientRect().left >= {right} && cell.getBoundingClientRect().right <= {edge}).length"
            )
            assert seen >= 2
        assert phone.complaints == []


@needs_browser
def test_paper_has_no_buttons_and_every_column(browser: Browser, file: Path) -> None:
    """Nothing to press is printed; what was open is; a wide table comes in parts."""
    browser.open(file, "#t0c3")
    browser.wait("document.getElementById('t0c3')")
    for name in ("t0c3", "t0c4"):
        click(browser, f'input.tick[value="{name}"]')
    click(browser, "#show-all")
    assert visible(browser, "#t0 .seeds button") != []
    browser.media("print")
    try:
        assert visible(browser, "button, select, input, .controls, details:not([open])") == []
        assert len(visible(browser, ".comparison, #t0c3, #t0 .by-group, #t0 .measures")) == 4
        assert browser.run(
            "[...document.querySelectorAll('.scroll')].every((box) => getComputedStyle(box).overflowX === 'visible')"
        )
    finally:
        browser.media("")
    heads = "[...document.querySelectorAll('#t0 .measures')].map((grid) => grid.querySelectorAll('thead th').length)"
    whole = browser.run(heads)
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    parts = browser.run(heads)
    assert len(whole) == 1
    assert len(parts) > 1
    assert sum(parts) - 2 * (len(parts) - 1) == whole[0]
    assert max(parts) <= 11
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    assert browser.run(heads) == whole


@needs_browser
def test_paper_has_every_study_and_no_chart_that_is_higher_than_a_page(browser: Browser, tmp_path: Path) -> None:
    browser.open(saved(example(ratios=(0.1, 0.3, 0.5, 0.7, 0.9), seeds=(0,), variants=9), tmp_path))
    opened = "[...document.querySelectorAll('details.table')].map((node) => node.open)"
    assert browser.run(opened) == [True] * 4 + [False]
    browser.run("[...document.querySelectorAll('#t0 .fold')].forEach((node) => { node.open = true; })")
    browser.wait("document.querySelector('#t0 .overview')")
    browser.run("document.querySelector('#t0 .overview').scrollIntoView()")
    browser.wait("document.querySelector('#t0 .overview svg')")
    height = "document.querySelector('{} svg').getBoundingClientRect().height"
    assert browser.run(height.format("#t0 .overview")) > 1100
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.run(opened) == [True] * 5
    browser.wait("document.querySelector('#t4 .attack svg')")
    for chart in ("#t0 .overview", "#t4 .attack"):
        assert 400 < browser.run(height.format(chart)) < 900
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    assert browser.run(opened) == [True] * 4 + [False]
    assert browser.complaints == []


@needs_browser
def test_a_table_that_is_cut_says_so_and_sentences_are_said_to_be_of_all_rows(browser: Browser, file: Path) -> None:
    browser.open(file)
    hint = "getComputedStyle(document.querySelector('#t0 .measures').parentNode, '::before').content"
    assert browser.run(hint) == "none"
    click(browser, "#show-all")
    assert "Scroll sideways" in browser.run(hint)
    click(browser, "#show-all")
    click(browser, "#show-difference")
    assert browser.run(hint) == "none"
    assert any("Bold: the unlearned model closest to it" in text for text in visible(browser, "#t0 .note"))
    assert texts(browser, "#t0 .groups-part .harm") == []


@needs_browser
def test_names_of_groups_and_sentences_stay_text(browser: Browser, tmp_path: Path) -> None:
    payload = example(seeds=(0, 1), groups=[MARKUP, *DIGITS], forget=(MARKUP,))
    payload["glossary"] = {MARKUP: MARKUP, "a.c": "no pattern", **payload["glossary"]}
    for table in payload["tables"]:
        table["story"] = [{"about": "harm", "text": f"abc {MARKUP}"}, {"about": MARKUP, "text": MARKUP}]
        table["reference"] = MARKUP
        for cell in table["cells"]:
            cell |= {"name": f"{MARKUP} {cell['id']}", "mark": MARKUP, "story": table["story"]}
    file = saved(payload, tmp_path)
    browser.open(file, "#t0c3")
    for name in ("t0c3", "t0c4"):
        click(browser, f'input.tick[value="{name}"]')
    assert texts(browser, "#t0 .body > .story dd") == [f"abc {MARKUP}", MARKUP]
    assert texts(browser, "#t0 .body > .story .term") == [MARKUP]
    assert texts(browser, "#t0 .by-group tbody tr.forget .name") == [MARKUP]
    assert MARKUP in texts(browser, ".comparison h3")[0]
    assert browser.run("[document.images.length, document.scripts.length, typeof window.hacked]") == [0, 2, "undefined"]
    undisturbed(browser, file)


def test_accuracies_of_runs_are_in_the_order_of_their_table(payload: dict[str, Any]) -> None:
    found = pack_payload(payload)
    run, packed = payload["runs"][4], found["runs"][4]
    by_name = {group["name"]: group["test_acc"] for group in run["groups"]}
    wanted = [by_name[group["name"]] for group in payload["tables"][0]["groups"]]
    assert found["pool"][packed["groups"]] == pytest.approx(wanted, abs=1e-3)
    assert found["student"][:2] == [None, None]
    assert found["student"][2:] == pytest.approx([12.7062 / 2**0.5, 4.30265 / 3**0.5], abs=1e-4)
