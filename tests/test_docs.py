"""What the pages say is so: snippets run as pasted, commands are understood, files, flags and links exist."""

import ast
import contextlib
import pkgutil
import re
from pathlib import Path

import pytest
import yaml
from cli import ROOT
from pages import (
    OWN_FOLDERS,
    PAGES,
    PLACEHOLDER,
    anchors,
    code_spans,
    commands,
    inline_commands,
    links,
    named_yaml,
    patched,
    prose,
    snippets,
)

from method.configs.cli import build_parser, parse
from method.configs.loading import read_layer_file, resolve
from method.configs.published import INSTEAD, SWITCHES, WORDS
from method.configs.schema import all_keys
from scripts.document import AUDIT, COMMAND, is_stale
from scripts.document import PAGES as GENERATED
from scripts.document.flags import COMMANDS, parser_of
from scripts.sweep.grid import read_grid
from scripts.sweep.plan import plan
from utils.errors import UserError

WRITTEN = [page for page in PAGES if page not in GENERATED or page == AUDIT]  # of which a table is generated
LINKED = [page for page in ROOT.rglob("*.md") if not {".venv", "node_modules", "output", "shared"} & set(page.parts)]
GRID = "scripts/grids/digits.yaml"  # where a page says GRID.yaml
# Flags of other programs that the pages name.
FOREIGN = {
    *("nproc_per_node", "nnodes", "rdzv_backend", "rdzv_endpoint", "logdir"),
    *("partition", "gres", "time", "account", "signal", "kill-on-invalid-dep"),
    "no-x",  # of any flag
}  # fmt: skip


@pytest.mark.parametrize("page", GENERATED)
def test_a_page_made_from_the_code_is_that_of_this_code(page: str):
    assert not is_stale(page), f"{page} is stale: make it anew with `{COMMAND}`"


def test_the_readme_fits_on_a_few_screens():
    lines = PAGES["README.md"].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    assert [line for line in lines if len(line) > 100] == []


# Links and names.


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), target


def _pasted_files(page: str) -> set[str]:
    """Files that a reader of the page makes."""
    return {one.new_file for one in snippets(page)} - {""}


@pytest.mark.parametrize("page", WRITTEN)
def test_files_that_a_page_names_exist(page: str):
    pattern = rf"(?<![\w./-])((?:{'|'.join(OWN_FOLDERS)})/[\w./*-]+)(?![\w<{{])"
    named = {name.rstrip(".") for span in code_spans(page) for name in re.findall(pattern, span)}
    # Runs that are kept may be packed, and example targets are nowhere.
    named = {name for name in named if not name.startswith("docs/results/runs")} - _pasted_files(page)
    assert sorted(name for name in named if not list(ROOT.glob(name.rstrip("/")))) == []


@pytest.mark.parametrize("page", WRITTEN)
def test_modules_and_tests_that_a_page_names_exist(page: str):
    modules = [span for span in code_spans(page) if re.fullmatch(rf"({'|'.join(OWN_FOLDERS)})(\.\w+)+", span)]
    for name in modules:
        assert pkgutil.resolve_name(name), name
    defined = {
        test for file in (ROOT / "tests").glob("test_*.py") for test in re.findall(r"def (test_\w+)", file.read_text())
    }
    files = {file.stem for file in (ROOT / "tests").glob("test_*.py")}
    named = set(re.findall(r"\btest_\w+", " ".join(code_spans(page))))
    assert named - defined - files - {"test_acc", "test_interval", "test_ece", "test_auroc"} == set()


def _known_flags() -> set[str]:
    """Flags, without dashes, of every parser and every script of the project."""
    parsers = [build_parser(), *(parser_of(start) for start in COMMANDS.values())]
    options = [option for parser in parsers for option in parser._option_string_actions]
    options += [*INSTEAD, *SWITCHES, *(flag for flag, _ in WORDS)]  # of the published parser
    known = {option.lstrip("-") for option in options}
    scripts = [*ROOT.glob("scripts/*.sh"), *ROOT.glob("scripts/slurm/*.sh"), *ROOT.glob("benchmarks/*.py")]
    return known | {flag for file in scripts for flag in re.findall(r"(?<!\w)--([a-z][\w-]*)", file.read_text())}


@pytest.mark.parametrize("page", WRITTEN)
def test_flags_that_a_page_names_exist(page: str):
    known = _known_flags() | FOREIGN
    pasted = {f"{file.stem}_" for file in map(Path, _pasted_files(page))}
    spans = " ".join(code_spans(page))
    for flag, star in re.findall(r"(?<![\w-])--([a-z][\w-]+)(\*?)", spans):
        exists = any(name.startswith(flag) for name in known) if star else flag in known
        assert exists or flag.startswith(tuple(pasted)), f"--{flag}"


@pytest.mark.parametrize("page", WRITTEN)
def test_defaults_in_a_page_s_tables_are_the_schema_s(page: str):
    rows = [line.strip("| ").split(" | ") for line in prose(page).splitlines() if line.startswith("|")]
    place = None
    for cells in rows:
        if "default" in cells:
            place = cells.index("default")
        flag = re.match(r"`--(\w+)`", cells[0])
        if place is not None and flag and flag[1] in all_keys():
            stated = re.match(r"`(.*?)`", cells[place])
            assert stated is None or stated[1] == str(all_keys()[flag[1]].default), cells


# Commands.


def _settled(words: list[str]) -> list[str]:
    """A command without what its page leaves open: FLAGS, --config FILE, ..."""
    settled: list[str] = []
    for word in words:
        if word in ("GRID.yaml", "GRID"):
            settled.append(GRID)
        elif not PLACEHOLDER.fullmatch(word):
            settled.append(word)
        elif settled and settled[-1] in ("--config", "--forget_list"):
            settled.pop()
        elif settled and word != "..." and _takes_value(settled[-1]):
            settled.append(word)
    return settled


def _takes_value(word: str) -> bool:
    key = all_keys().get(word.removeprefix("--"))
    return word.startswith("--") and (key is None or key.type is not bool)


def _check(page: str, words: list[str], folder: Path) -> bool:
    """Whether a command is one of the project's; parsed as it would be, in `folder`, or an error."""
    if "..." in words and "--method" not in words:
        return False
    program, *rest = _settled(words) or [""]
    if program == "torchrun" and "main.py" in rest:
        program, rest = "python", rest[rest.index("main.py") :]
    if program not in ("python", "bash") or not rest or rest[0].startswith("-c"):
        return False
    if rest[0] == "main.py":
        _check_main(page, rest[1:], folder)
        return True
    command = f"python -m {rest[1]}" if rest[0] == "-m" else f"bash {rest[0]}"
    arguments = rest[2:] if rest[0] == "-m" else rest[1:]
    if command == "python -m scripts.sweep":
        cut = arguments.index("--") if "--" in arguments else len(arguments)
        wanted = parser_of(COMMANDS[command]).parse_args(arguments[:cut])
        with contextlib.chdir(ROOT):
            if wanted.grid.exists():
                assert plan(read_grid(wanted.grid), arguments[cut + 1 :])
    elif command == "python -m scripts.import_model":  # which hands further flags to main.py's parser
        _, others = parser_of(COMMANDS[command]).parse_known_args(arguments)
        _check_main(page, ["--method", "pretrain", *others], folder)
    elif command == "python -m scripts.tune":  # so does this
        _, others = parser_of(COMMANDS[command]).parse_known_args(arguments)
        _check_main(page, others, folder)
    elif command in COMMANDS:
        parser_of(COMMANDS[command]).parse_args(arguments)
    elif rest[0] == "-m":
        assert (ROOT / rest[1].split(".")[0]).exists() is False or pkgutil.resolve_name(rest[1]), rest
    else:
        _check_script(ROOT / rest[0], arguments)
    return True


def _check_main(page: str, arguments: list[str], folder: Path) -> None:
    """main.py's own parser; files that the page tells how to make are made in `folder`."""
    if "--help" in arguments or _is_pasted(page, arguments):
        return
    for flag in ("--config", "--forget_list"):
        if flag not in arguments:
            continue
        place = arguments.index(flag)
        file = folder / arguments[place + 1]
        if (ROOT / arguments[place + 1]).exists():
            arguments = [*arguments[: place + 1], str(ROOT / arguments[place + 1]), *arguments[place + 2 :]]
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        config = named_yaml(page, arguments[place + 1]) or "dataset: custom\n"
        file.write_text(config if flag == "--config" else "file\n000001.jpg\n")
    parse(arguments)


def _is_pasted(page: str, arguments: list[str]) -> bool:
    """Whether the method, the data set or the network is one that the page adds; test_snippets.py runs these."""
    names = {Path(file).stem for file in _pasted_files(page)}
    pairs = dict(zip(arguments, arguments[1:], strict=False))
    return bool({pairs.get(flag) for flag in ("--method", "--dataset", "--model")} & names)


def _check_script(script: Path, arguments: list[str]) -> None:
    """A shell or Python script that is there and knows the flags before `--`."""
    text, arguments = script.read_text(), arguments[: [*arguments, "--"].index("--")]
    foreign = script.name == "submit.sh"  # which hands them to sbatch
    for flag in (word.split("=")[0] for word in arguments if re.fullmatch(r"--\w[\w-]*(=.*)?", word)):
        known = re.search(rf"{flag}(?![\w-])", text) or flag.removeprefix("--") in all_keys()
        assert foreign or known, f"{script.name} {flag}"


@pytest.mark.parametrize("page", WRITTEN)
def test_commands_are_understood(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for words in [*commands(page), *inline_commands(page)]:
        try:
            _check(page, words, tmp_path)
        except (UserError, SystemExit) as error:
            raise AssertionError(f"{' '.join(words)}: {error}") from None


@pytest.mark.parametrize(
    "command",
    [
        "python main.py --method miu --lambada 1",
        "python main.py --method mu",
        "torchrun --nproc_per_node 2 main.py --method iu --epochs 3",
        "python -m scripts.report --colums all",
        "python -m scripts.sweep GRID.yaml --walk",
        "python -m scripts.sweep GRID.yaml --run -- --walk",
        "python -m scripts.gone",
        "python benchmarks/gone.py",
        "bash scripts/quickstart.sh --al",
        "bash scripts/gone.sh",
    ],
)
def test_a_command_that_is_wrong_is_noticed(command: str, tmp_path: Path):
    with pytest.raises((UserError, SystemExit, AssertionError, OSError, ImportError, AttributeError)):
        _check("README.md", command.split(), tmp_path)


# Snippets: those that take long are run in test_snippets.py.


def _blocks(language: str) -> list[tuple[str, int]]:
    return [(page, place) for page in WRITTEN for place, one in enumerate(snippets(page)) if one.language == language]


@pytest.mark.parametrize("page, place", _blocks("yaml"))
def test_yaml_is_a_grid_or_a_configuration(page: str, place: int, tmp_path: Path):
    file = tmp_path / "snippet.yaml"
    file.write_text(snippets(page)[place].text)
    content = yaml.safe_load(file.read_text())
    if {"set", "per_method", "tags"} & set(content) or isinstance(content.get("method"), list):
        assert plan(read_grid(file), [])
    elif "dataset" in content:
        assert resolve({"method": "pretrain"}, file).dataset == content["dataset"]
    else:
        assert read_layer_file(file).sections or read_layer_file(file).plain


@pytest.mark.parametrize("page, place", _blocks("python"))
def test_python_can_be_read(page: str, place: int):
    assert ast.parse(snippets(page)[place].text)


@pytest.mark.parametrize("page, place", _blocks("diff"))
def test_a_diff_fits(page: str, place: int):
    edits = snippets(page)[place].edits()
    assert edits
    for name, edit in edits.items():
        text = patched((ROOT / name).read_text(), edit)
        assert text.count("\n") > (ROOT / name).read_text().count("\n")
        assert not name.endswith(".py") or ast.parse(text)
