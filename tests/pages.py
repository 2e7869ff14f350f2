"""The Markdown pages read as a reader does: snippets to paste, commands to type, names to look up."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli import ROOT

FILES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
PAGES = {str(page.relative_to(ROOT)): page for page in FILES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BAD_INPUT = re.compile(r"<!-- bad input: begin -->.*?<!-- bad input: end -->", re.DOTALL)
PLACEHOLDER = re.compile(r"\.\.\.|[A-Z]{3,}[A-Z_0-9]*|/path/to/.*")  # FLAGS, FILE, ...
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
PUNCTUATION = ";|&<>"
OWN_FOLDERS = ("method", "datasets", "models", "utils", "scripts", "tests", "docs", "benchmarks")
ENDINGS = {"python": ".py", "yaml": ".yaml"}


@dataclass(frozen=True)
class Snippet:
    """A fenced block; before: the text above it, back to the last block or heading."""

    language: str
    text: str
    before: str

    @property
    def files(self) -> list[str]:
        """The files of the project's folders that the text above names, the last first."""
        return re.findall(rf"`((?:{'|'.join(OWN_FOLDERS)})/[\w./-]+\.(?:py|yaml))`", self.before)[::-1]

    @property
    def new_file(self) -> str:
        """The file that a reader makes of it, such as method/unlearners/neg_grad.py; empty where it makes none."""
        made = [name for name in self.files if name.endswith(ENDINGS.get(self.language, "-")) and not _is_there(name)]
        # A class is a method; a function is a metric, which a notebook may register too.
        registered = re.search(r'@register\("(\w+)".*\nclass ', self.text) if self.language == "python" else None
        return made[0] if made else f"method/unlearners/{registered[1]}.py" if registered else ""

    def edits(self) -> dict[str, list[str]]:
        """Of a diff: the lines for each file that it names, or that the text above names last."""
        found: dict[str, list[str]] = {}
        name = next(filter(_is_there, self.files), "")
        for line in self.text.splitlines():
            if line.startswith("--- "):
                name = line.removeprefix("--- ")
            elif not line.startswith(("+++ ", "@@")):
                found.setdefault(name, []).append(line)
        return found


def patched(text: str, edit: list[str]) -> str:
    """A text with the `+` lines of a diff below its other lines, which must be there, or above them.

    ValueError for a line that is not there, and for a `-`, which no page needs.
    """
    lines, place = text.splitlines(), None
    for number, line in enumerate(edit):
        if line.startswith("+"):
            if place is None:
                follows = next(one[1:] for one in edit[number:] if one.startswith(" "))
                place = lines.index(follows) - 1
            place += 1
            lines.insert(place, line[1:])
        elif line.startswith(" ") and line[1:] in lines:
            place = lines.index(line[1:], place or 0)
        else:
            raise ValueError(f"no such line: {line}")
    return "\n".join(lines) + "\n"


def _is_there(name: str) -> bool:
    return (ROOT / name).exists()


def snippets(page: str) -> list[Snippet]:
    """The fenced blocks of a page, in order."""
    text, found, last = PAGES[page].read_text(encoding="utf-8"), [], 0
    for match in FENCE.finditer(text):
        before = re.split(r"^#+ .*$", text[last : match.start()], flags=re.MULTILINE)[-1]
        found.append(Snippet(match[1], match[2], before))
        last = match.end()
    return found


def named_yaml(page: str, name: str) -> str:
    """The block of YAML below the sentence that calls it `name`; empty where there is none."""
    return next((one.text for one in snippets(page) if one.language == "yaml" and f"`{name}`" in one.before), "")


def prose(page: str) -> str:
    """The page without its fenced blocks, and without the table of bad input, which tells of what is not there."""
    return BAD_INPUT.sub("", FENCE.sub("", PAGES[page].read_text(encoding="utf-8")))


def typed_lines(snippet: Snippet) -> Iterator[str]:
    """What is typed in a block: every line of a bash block, elsewhere what follows `$ `; with its continuation."""
    if snippet.language == "diff":
        return
    is_script, lines = snippet.language in ("bash", "sh"), iter(snippet.text.splitlines())
    for line in lines:
        if not (is_script or line.startswith("$ ")):
            continue
        typed = line.removeprefix("$ ")
        while _goes_on(typed):
            typed += "\n" + next(lines)
        if typed.strip():
            yield typed.replace("\\\n", " ")


def _goes_on(typed: str) -> bool:
    """Whether the shell would ask for another line: after a backslash, or within quotes."""
    if typed.endswith("\\"):
        return True
    try:
        shlex.split(typed, comments=True)
    except ValueError:
        return True
    return False


def simple_commands(typed: str, variables: dict[str, str]) -> Iterator[list[str]]:
    """The words of each command of a line, `$NAME` in full; what the line assigns is put into `variables`."""
    text = re.sub(r"\$\{?(\w+)\}?", lambda name: variables.get(name[1], name[0]), typed)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=PUNCTUATION)
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word and set(word) <= set(PUNCTUATION):
            while words and (assigned := ASSIGNMENT.fullmatch(words[0])):
                variables[assigned[1]] = assigned[2]
                words = words[1:]
            if words:
                yield words
            words = []
        else:
            words.append(word)


def commands(page: str) -> list[list[str]]:
    """The words of every command of a page's blocks, in order."""
    variables: dict[str, str] = {}
    typed = [line for snippet in snippets(page) for line in typed_lines(snippet)]
    return [words for line in typed for words in simple_commands(line, variables)]


def code_spans(page: str) -> list[str]:
    """What stands as code within the text, in one line each."""
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))]


def inline_commands(page: str) -> list[list[str]]:
    """Whole commands of main.py within the text."""
    spans = [span for span in code_spans(page) if re.match(r"(python|torchrun).* main\.py .*--method ", span)]
    return [words for span in spans for words in simple_commands(span, {})]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings give."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    """Targets of the links and pictures that are no addresses."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]
