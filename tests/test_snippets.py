"""Everything on a page that can be pasted or typed without a data set is, in a copy of the project, as it stands.

What is typed, the copy's configurations and those that are pasted train for one epoch, and the user's images with a
small network from scratch; what needs CelebA, FairFace, SLURM or an account is parsed in test_docs.py.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli import ROOT
from pages import PAGES, PLACEHOLDER, Snippet, named_yaml, patched, simple_commands, snippets, typed_lines
from PIL import Image

from scripts.document import PAGES as GENERATED

MINUTES = 15
# test_templates.py, test_exchange.py and test_tune_command.py do what the latter three say.
NOT_PASTED = {*GENERATED, "CONTRIBUTING.md", "docs/your_model.md", "docs/tuning.md"}
HARMLESS = ("head", "wc", "cmp", "grep", "echo", "cat")
KEPT = ("main.py", "method", "datasets", "models", "utils", "scripts", "benchmarks", "checkpoints")


@dataclass
class Project:
    """A copy of the project, in which a page's snippets are pasted and its commands are typed."""

    root: Path
    bin: Path
    n_typed: int = 0
    variables: str = ""

    def paste(self, snippet: Snippet) -> None:
        """A new file, or lines of some that are there."""
        if snippet.new_file:
            (self.root / snippet.new_file).write_text(snippet.text)
        for name, edit in snippet.edits().items() if snippet.language == "diff" else ():
            (self.root / name).write_text(patched((self.root / name).read_text(), edit))

    def register(self, snippet: Snippet) -> str:
        """The name of a method that was pasted; where the page only says so, it is put into the list of methods."""
        name = Path(snippet.new_file).stem
        file = self.root / "method/unlearners/__init__.py"
        if f"    {name},\n" not in file.read_text():
            file.write_text(patched(file.read_text(), [f"+    {name},", "     miu,"]))
        return name

    def type(self, line: str, codes: tuple[int, ...] = (0,)) -> str:
        """Type a line into a shell, which trains for one epoch; returns what it prints."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{self.bin}:{os.environ['PATH']}"}
        shell = ["bash", "-c", self.variables + re.sub(r"(?<=--epochs )\d+", "1", line)]
        done = subprocess.run(
            shell, cwd=self.root, env=environment, capture_output=True, text=True, timeout=60 * MINUTES
        )
        assert done.returncode in codes, f"{line}\n{done.stdout}{done.stderr}"
        self.n_typed += 1
        return done.stdout

    def can_run(self, words: list[str]) -> bool:
        """Whether a command needs nothing but this project, and the page leaves nothing of it open."""
        if any(PLACEHOLDER.fullmatch(word) or PLACEHOLDER.fullmatch(word.split(".")[0]) for word in words):
            return False
        if words[:2] == ["python", "main.py"]:
            return "--help" in words or ("--wandb" not in words and self.has_data(words))
        if words[:3] == ["python", "-m", "scripts.report"]:
            return "output" in words and not {"fairface", "celeba", "waterbird"} & set(words)
        if words[:3] == ["python", "-m", "scripts.sweep"]:
            return (self.root / words[3]).exists() and "grids/" not in words[3]
        if words[:2] == ["python", "-c"]:
            return "fairface" not in words[2]
        return words[0] in HARMLESS

    def has_data(self, words: list[str]) -> bool:
        """Whether what a run reads is here: digits, or the folder of somebody's own, and the files that it names."""
        given = dict(zip(words, words[1:], strict=False))
        named = [self.root / given[flag] for flag in ("--config", "--forget_list") if flag in given]
        if not all(file.exists() for file in named):
            return False
        if "--config" in given:
            given = {f"--{key}": value for key, value in yaml.safe_load(named[0].read_text()).items()}
        folder = self.root / given.get("--data_dir", "none")
        table = self.root / given["--metadata"] if "--metadata" in given else folder / "metadata.csv"
        return given.get("--dataset", "digits") == "digits" or table.exists()

    def prepare(self, words: list[str]) -> None:
        """Make what the first command of the README leaves behind, where a page takes it for granted."""
        given = dict(zip(words, words[1:], strict=False))
        starts = given.get("--method") in ("pretrain", "retrain") or "--help" in words or "scripts.sweep" in words
        starts |= words[1] == "-c"
        if self.n_typed or starts or given.get("--dataset") == "custom" or "--config" in given:
            return
        for method in ("pretrain", "retrain", "retrain --reweight", "miu"):
            ratio = "" if method == "pretrain" else "--unlearning_ratio 0.9"
            self.type(f"python main.py --method {method} {ratio}")


def for_one_epoch(text: str) -> str:
    """The same YAML, which trains for one epoch."""
    return re.sub(r"(?<!_)epochs: \d+", "epochs: 1", text)


@pytest.fixture
def project(tmp_path: Path, python: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    for name in KEPT:
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copied(ROOT / name, root / name)
    files = root / "method/configs/config_files"
    for file in files.glob("*.yaml"):
        file.write_text(for_one_epoch(file.read_text()))
    (files / "custom.yaml").write_text(
        (files / "custom.yaml").read_text() + "model: small_cnn\nimage_size: 32\nweights: none\n"
    )
    return Project(root, python.parent)


def make_my_data(folder: Path) -> None:
    """Images of noise, and labels under the names of the first columns and of those that config.yaml names."""
    rng, lines = np.random.default_rng(0), ["filename,split,target,sensitive,file,part,gender,race,age"]
    (folder / "images").mkdir(parents=True)
    for number in range(32):
        name, split = f"images/{number}.png", ("train", "train", "val", "test")[number % 4]
        gender, race, age = ("Female", "Male")[number // 4 % 2], ("Black", "White")[number // 8 % 2], number // 16 % 2
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / name)
        lines.append(f"{name},{split},{gender},{race},{name},{split},{gender},{race},{age}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


def write_yaml(page: str, project: Project) -> None:
    """The grids and configurations of the page under the names that its commands give them."""
    shown = [one.text for one in snippets(page) if one.language == "yaml" and not one.new_file]
    for words in (words for _, line in _lines(page) for words in line):
        for name in (word for word in words if re.fullmatch(r"[a-z][\w/]*\.yaml", word)):
            file = project.root / name
            wanted = "method:" if "scripts.sweep" in words else f"data_dir: {Path(name).parent}\n"
            fitting = [named] if (named := named_yaml(page, name)) else [text for text in shown if wanted in text]
            if fitting and not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(for_one_epoch(fitting[0]))


def _lines(page: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Every line to type with the commands in it."""
    variables: dict[str, str] = {}
    for snippet in snippets(page):
        for line in typed_lines(snippet):
            yield line, list(simple_commands(line, variables))


def _something_to_run(page: str) -> bool:
    """Whether the page has Python, a run on digits or one's own images, a report of such runs, or a grid of its own."""
    called = [words for _, line in _lines(page) for words in line if words[0] == "python"]
    given = [dict(zip(words, words[1:], strict=False)) for words in called if words[1] == "main.py"]
    grids = any(one.language == "yaml" and "method:" in one.text for one in snippets(page))
    return (
        any(one.language == "python" for one in snippets(page))
        or any(flags.get("--dataset", "digits") in ("digits", "custom") for flags in given)
        or any(words[1:4] == ["-m", "scripts.report", "output"] for words in called)
        or (grids and any("scripts.sweep" in words for words in called))
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page not in NOT_PASTED and _something_to_run(page)])
def test_a_page_runs_as_pasted(page: str, project: Project):
    make_my_data(project.root / "my_data")
    for snippet in snippets(page):
        project.paste(snippet)
    methods = [project.register(one) for one in snippets(page) if "/unlearners/" in one.new_file]
    write_yaml(page, project)
    pasted = {Path(one.new_file).stem for one in snippets(page) if one.new_file}
    for line, called in _lines(page):
        if not called:
            project.variables += f"{line}\n"
        elif all(map(project.can_run, called)) and any(words[0] not in HARMLESS for words in called):
            project.prepare(called[0])
            sweeps = any("scripts.sweep" in words for words in called)
            project.type(line, (0, 1) if sweeps else (0,))
        elif called[0][:2] == ["python", "main.py"] and set(called[0]) & pasted:
            project.type(f"{line.split('--dry_run')[0]} --print_config")
    for method in ["pretrain", *methods] if methods else []:
        project.type(f"python main.py --method {method} --store_dir pasted --checkpoint_dir pasted")
    scripts = [one.text for one in snippets(page) if one.language == "python" and not one.new_file]
    if scripts:
        (project.root / "snippet.py").write_text(
            "\n".join(scripts).replace("/path/to/group-robust-unlearning", str(project.root))
        )
        project.type("python snippet.py")
    assert project.n_typed > 0
