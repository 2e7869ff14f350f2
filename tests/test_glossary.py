"""docs/glossary.md as the page reads it: every word that is shown has its meaning there."""

import re

import pytest
from cli import ROOT
from test_story import FORGET, OTHER, one_method

from method.evaluation.columns import COLUMNS
from method.runs.labels import APPROACHES, NAMES
from scripts.report.estimates import CERTAIN, UNCERTAIN
from scripts.report.glossary import parse, read_glossary
from scripts.report.story import tell


def test_every_column_and_method_is_explained() -> None:
    words = {word.lower() for word in read_glossary()}
    titles = [column.title for column in COLUMNS]
    assert [title for title in (*titles, *NAMES.values(), *APPROACHES.values()) if title.lower() not in words] == []


def test_every_word_of_the_sentences_is_explained() -> None:
    """Their phrases, and whatever is written in capitals; of a name in two words its parts."""
    found = read_glossary()
    before, after = [{FORGET: 90.0, OTHER: 80.0}] * 3, [{FORGET: 80.0 - seed, OTHER: 80.0 - seed} for seed in range(3)]
    rows, originals = one_method(after, before, before, avg_gap=3.0, reweight=True, tag="a")
    others, theirs = one_method(before, before, before, avg_gap=4.0, tag="b")
    for row in (*rows, *others, *originals.values(), *theirs.values()):
        row.run.metrics["mia_auc"] = 50.0 + row.seed
        if row.reference:
            row.reference.metrics["mia_auc"] = 50.0
    table, cells = tell([*rows, *others], originals | theirs)
    text = " ".join(sentence["text"] for own in (table, *cells.values()) for sentence in own)
    phrases = (
        CERTAIN,
        UNCERTAIN,
        "at once",
        "in numbers",
        "points",
        "95 % interval",
        "membership attack",
        "test images",
    )
    assert [phrase for phrase in phrases if phrase not in found or phrase not in text] == []
    known = {part for word in found for part in word.split()}
    assert set(re.findall(r"\b[A-Z]{2,}\b", text)) - known == set()
    assert "AUC" in text


def test_the_whole_file_is_read() -> None:
    lines = [line for line in (ROOT / "docs/glossary.md").read_text().splitlines() if line.startswith("|")]
    rows = [line for line in lines if not line.startswith(("| word |", "|---"))]
    meanings = list(dict.fromkeys(read_glossary().values()))
    assert len(rows) == len(meanings) > 90
    assert all(meaning and "`" not in meaning and "](" not in meaning for meaning in meanings)


def test_words_that_share_a_row_and_marks() -> None:
    text = """
| word | meaning |
|---|---|
| a, b; I(z; g) | *one* `flag` in [a page](x.md#y), **bold**, N_g * 2 and \\|x\\| |
| ± | c |

| three | columns | here |
|---|---|---|
| x | y | z |
"""
    meaning = "one flag in a page, bold, N_g * 2 and |x|"
    assert parse(text) == {"a": meaning, "b": meaning, "I(z; g)": meaning, "±": "c"}


def test_a_word_has_one_meaning() -> None:
    with pytest.raises(ValueError, match="'a' has two meanings: 'b' and 'c'"):
        parse("| a | b |\n| x, a | c |")
