"""Who may import whom, and what no file may hold."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from cli import ROOT

from datasets import DATASETS
from method.registry import METHODS
from models import MODELS

PACKAGES = ("datasets", "method", "models", "scripts", "utils")
FILES = sorted([ROOT / "main.py", *(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))])
# The tables are our own because import-linter (2.17) knows neither late imports nor those by name, nor single names of
# a module, nor a list of the packages that a module may use.
# What may use less than all that stands below it in the picture of CONTRIBUTING.md; the longest name counts.
MAY_IMPORT: dict[str, set[str]] = {
    "method.losses": set(),
    "method.registry": set(),
    "method.mutual_information": {"utils.collectives"},
    "method.group_dro": {"utils.collectives"},
    "method.unlearners": {
        *("method.unlearners", "method.registry", "method.losses", "method.mutual_information", "method.group_dro"),
        *("utils.device.fetch", "utils.device.fused", "utils.device.send", "utils.errors", "utils.seeding"),
    },
    "method.evaluation": {"method.evaluation", "datasets.base", "datasets.splits", "utils"},
    "method.evaluation.metrics": set(),
    "method.configs": {
        *("method.configs", "method.registry", "method.unlearners", "models.MODELS", "models.TIMM",
        "utils"),
        *("datasets.DATASETS", "datasets.dataset_class", "datasets.base", "datasets.groups", "datasets.deletion"),
    },
    "method.training": {"method.training", "method.unlearners.base", "method.configs", "datasets", "utils"},
    # What is needed before and beside the training knows neither the engine nor the networks.
    "method.runs": {
        *("method.runs", "method.evaluation", "method.configs", "method.registry", "datasets", "utils"),
        *("models.check_model", "models.publishes_weights"),
    },
    **dict.fromkeys(
        (f"method.runs.{name}" for name in ("starting", "finished", "exporting", "frozen", "runner")),
        {"method", "datasets", "models", "utils"},
    ),
}  # fmt: skip
# Whoever imports these brings in the networks and the engine.
HEAVY = {"method.training.engine", "method.runs.runner"}
TRAINS = ("method.runs.making", "method.runs.runner", "scripts.acceptance", "scripts.relearn")
# Packages from elsewhere, where only some may be used or only some may use them.
ONLY_THIRD_PARTY = {
    "method.losses": {"torch"},
    "method.mutual_information": {"torch"},
    "method.group_dro": {"torch"},
    "method.registry": set(),
    "method.evaluation.metrics": {"numpy"},
    "method.unlearners": {"torch"},
}
SLOW_TO_IMPORT = {
    "torchvision": {"datasets.images.decoding", "models.resnet", "scripts.acceptance.machine"},
    "timm": {"models.timm_networks"},
    "sklearn": {"datasets.digits", "method.evaluation.forgetting", "method.evaluation.representation"},
}
# Imports inside functions: what takes long and is not always needed, and a package that only this data set needs.
LATE_IMPORTS = {
    ("main", "method.runs.dry_run"), ("main", "method.runs.summary"), ("method.runs.making", "method.runs.runner"),
    ("datasets.digits", "sklearn.datasets"), ("method.evaluation.forgetting", "sklearn"),
    ("method.evaluation.representation", "sklearn"),
    # One process does without.
    *(("utils.distributed", name) for name in ("torch", "torch.distributed", "utils.device", "utils.meeting")),
    ("scripts.report.figures", "vl_convert"),
    # A notebook that only reads results needs no torch.
    ("method", "method.api"), ("method.api", "datasets"), ("method.api", "method.configs.cli"),
    ("method.api", "method.runs.making"), ("method.api", "method.runs.finished"),
    ("method.runs.stored", "method.configs.schema"),
    # Tables need neither, and these know the methods and the keys.
    *(("scripts.report.command", f"scripts.report.{name}") for name in ("sheet", "sheet_page", "redact")),
    # Optional packages.
    ("method.api", "pandas"), ("models.exporting", "safetensors.torch"), ("models.exporting", "onnxscript"),
    ("models.weights", "safetensors.torch"), ("scripts.report.sheet_html", "weasyprint"),
    ("scripts.tune.study", "optuna"),
    *(("method.runs.trackers", name) for name in ("tensorboard", "torch.utils.tensorboard", "wandb")),
}  # fmt: skip
# Under TYPE_CHECKING, which is never true in a run: the registry is below the methods, and says of what type they are.
FOR_TYPES = {("method.registry", "method.unlearners.base.Unlearner")}
# Registries: the chosen module alone.
IMPORTS_BY_NAME = {
    "datasets",
    "datasets.images.files",
    "datasets.loading.loaders",
    "models",
    "scripts.acceptance.child",
}


def module_name(file: Path, root: Path = ROOT) -> str:
    """`method.unlearners.miu`; a package's __init__ has the package's name."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file) for file in FILES}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every imported module in full; of `from a import b` a.b, which is a module or a name in one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the package"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def type_imports(tree: ast.AST) -> list[str]:
    """What stands under `if TYPE_CHECKING`."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return [imported for block in blocks for part in block.body for imported in imports(part)]


def within(name: str, of: str) -> bool:
    """Whether a dotted name is `of` or below it."""
    return name == of or name.startswith(f"{of}.")


def rule_for(name: str, table: dict) -> object:
    """The entry of the longest name that `name` is within."""
    fitting = [entry for entry in table if within(name, entry)]
    return table[max(fitting, key=len)] if fitting else None


def forbidden_imports(name: str, tree: ast.AST) -> list[str]:
    """What `name` imports against the tables above."""
    ours = (*PACKAGES, "main")
    found = list(imports(tree))
    for imported in type_imports(tree):
        if (name, imported) in FOR_TYPES:
            found.remove(imported)
    return [
        imported
        for imported in found
        if not (may_import if imported.split(".")[0] in ours else may_use)(name, imported)
    ]


def read_picture(text: str) -> dict[str, int]:
    """File or folder -> its line in the picture of CONTRIBUTING.md, counted from below; `datasets/` is "datasets"."""
    picture = re.search(r"```text\n(scripts/.*?)```", text, re.DOTALL)[1].splitlines()
    rooms = {}
    for height, line in enumerate(reversed(picture)):
        for path in re.findall(r"\S+(?:\.py|/)(?=\s|$)", line):
            rooms[re.sub(r"(/__init__)?\.py$|/$", "", path).replace("/", ".")] = height
    return rooms


ROOMS = read_picture((ROOT / "CONTRIBUTING.md").read_text())


def may_import(name: str, imported: str) -> bool:
    """A module of the project: of its own room or of one below, and less where it has a rule of its own."""
    own, other = (max((room for room in ROOMS if within(one, room)), key=len) for one in (name, imported))
    if any(within(imported, one) for one in HEAVY) and not any(within(name, one) for one in TRAINS):
        return False
    allowed = rule_for(name, MAY_IMPORT)
    return (own == other or ROOMS[own] > ROOMS[other]) and (
        allowed is None or any(within(imported, one) for one in allowed)
    )


def may_use(name: str, imported: str) -> bool:
    """A package from elsewhere."""
    package, allowed = imported.split(".")[0], rule_for(name, ONLY_THIRD_PARTY)
    if package in SLOW_TO_IMPORT:
        return name in SLOW_TO_IMPORT[package]
    return allowed is None or package in allowed or package in sys.stdlib_module_names


def late_imports(name: str, tree: ast.AST) -> list[str]:
    """Imports inside functions that have no leave to be there."""
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    found = {imported for function in functions for imported in imports(function)}
    leave = {module for who, module in LATE_IMPORTS if who == name}
    late = [imported for imported in found if not any(within(imported, module) for module in leave)]
    by_name = any(ast.unparse(call.func).endswith(("import_module", "__import__")) for call in calls(tree))
    return late + (["import_module"] if by_name and name not in IMPORTS_BY_NAME else [])


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def docstrings(tree: ast.AST) -> set[int]:
    """Ids of the nodes that are docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, owners)]
    return {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}


def device_names(name: str, tree: ast.AST) -> list[str]:
    """Where a device's name stands in code (comments and docstrings may say it)."""
    if name == "utils.device" or within(name, "scripts.acceptance"):  # the second tries a machine by its devices
        return []
    told = docstrings(tree)
    words = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            words.append(node.value)
        words += [str(getattr(node, field)) for field in ("id", "attr", "arg", "name") if hasattr(node, field)]
    return [word for word in words if "cuda" in word.lower()]


CHOICES = {"dataset", "model", "method"}


def chooses(node: ast.expr) -> bool:
    """Whether an expression is the chosen data set, model or method: config.method, given["method"], ..."""
    if isinstance(node, ast.Attribute):
        return node.attr in CHOICES
    if isinstance(node, ast.Name):
        return node.id in CHOICES
    return any(isinstance(part, ast.Constant) and part.value in CHOICES for part in ast.walk(node)) and isinstance(
        node, (ast.Subscript, ast.Call)
    )


def dispatches(name: str, tree: ast.AST) -> list[str]:
    """Comparisons of the chosen data set, model or method with one of their names."""
    names = {*DATASETS, *MODELS, *METHODS}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            constants = {part.value for side in sides for part in ast.walk(side) if isinstance(part, ast.Constant)}
            if any(map(chooses, sides)) and names & {value for value in constants if isinstance(value, str)}:
                found.append(ast.unparse(node))
        if isinstance(node, ast.Match) and chooses(node.subject):
            found.append(ast.unparse(node.subject))
    return found


SAFE_IN_C_IF_THERE = "getattr(yaml, 'CSafeLoader', yaml.SafeLoader)"


def unsafe(name: str, tree: ast.AST) -> list[str]:
    """Loading that could run code or hide a mismatch, bare excepts, and exits that skip main's."""
    safe_loaders = {"yaml.SafeLoader"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["yaml.SafeLoader"]:
            safe_loaders.add(node.name)
        if isinstance(node, ast.Assign) and ast.unparse(node.value) == SAFE_IN_C_IF_THERE:
            safe_loaders.add(ast.unparse(node.targets[0]))
    found = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is None]
    for call in calls(tree):
        function = ast.unparse(call.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        exits = function in ("exit", "quit")
        exits |= function in ("sys.exit", "os._exit") and not in_main_block(call, tree)
        exits &= (name, function) != ("utils.signals", "os._exit")  # where nothing else ends a wait
        if (
            exits
            or function in ("eval", "exec", "pickle.load", "pickle.loads", "yaml.unsafe_load", "yaml.full_load")
            or "allow_pickle" in keywords
            or (function == "yaml.load" and keywords.get("Loader") not in safe_loaders)
            or (function == "torch.load" and keywords.get("weights_only") != "True")
            or keywords.get("weights_only", "True") != "True"
            or (function.endswith("load_state_dict") and (len(call.args) > 1 or "strict" in keywords))
        ):
            found.append(ast.unparse(call))
    return found


def in_main_block(call: ast.Call, tree: ast.AST) -> bool:
    """Whether a call stands under `if __name__ == "__main__"`."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)]
    return any(call is node for block in blocks for node in ast.walk(block))


CHECKS: list[Callable[[str, ast.AST], list[str]]] = [forbidden_imports, late_imports, device_names, dispatches, unsafe]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_hold_the_rules(file: Path, check: Callable[[str, ast.AST], list[str]]):
    assert check(module_name(file), ast.parse(file.read_text())) == []


@pytest.mark.parametrize(
    "check, name, text",
    [
        (forbidden_imports, "utils.files", "from method.registry import METHODS"),
        (forbidden_imports, "scripts.report", "from method.runs.runner import run"),
        (forbidden_imports, "datasets.splits", "from models import build_model"),
        (forbidden_imports, "models.resnet", "import datasets.base"),
        (forbidden_imports, "datasets.celeba", "from torchvision.io import decode_image"),
        (forbidden_imports, "method.registry", "from method.unlearners.base import Unlearner"),
        (forbidden_imports, "method.registry", "if TYPE_CHECKING:\n    from method.unlearners.miu import MIU"),
        (forbidden_imports, "method.losses", "import numpy"),
        (forbidden_imports, "method.losses", "from utils.errors import UserError"),
        (forbidden_imports, "method.evaluation.metrics", "import torch"),
        (forbidden_imports, "method.evaluation.metrics", "from method.evaluation.records import Records"),
        (forbidden_imports, "method.evaluation.evaluator", "from datasets.loading.loaders import Loader"),
        (forbidden_imports, "method.unlearners.miu", "from method.training.engine import Engine"),
        (forbidden_imports, "method.unlearners.miu", "from method.configs.loading import Config"),
        (forbidden_imports, "method.unlearners.miu", "from utils.device import autocast"),
        (forbidden_imports, "method.unlearners.miu", "from utils import device"),
        (forbidden_imports, "method.unlearners.miu", "from datasets.base import GroupDataset"),
        (forbidden_imports, "method.unlearners.miu", "import numpy as np"),
        (forbidden_imports, "method.training.engine", "from method.unlearners import miu"),
        (forbidden_imports, "method.training.engine", "from method.runs.runner import run"),
        (forbidden_imports, "method.configs.cli", "from method.runs.search import find"),
        (forbidden_imports, "method.configs.loading", "from datasets.celeba import CelebA"),
        (forbidden_imports, "method.runs.directory", "from method.training.engine import Engine"),
        (forbidden_imports, "method.runs.dry_run", "from method.runs.runner import run"),
        (forbidden_imports, "method.runs.summary", "from scripts.report import table"),
        (forbidden_imports, "method.runs.runner", "import main"),
        (forbidden_imports, "utils.files", "from datasets.base import GroupDataset"),
        (forbidden_imports, "datasets.labels.tables", "from datasets.base import GroupDataset"),
        (forbidden_imports, "datasets.images.decoding", "from datasets.loading.loaders import Loader"),
        (forbidden_imports, "method.evaluation.records", "from method.runs.files import read_metrics"),
        (late_imports, "method.runs.runner", "def run():\n    import torch"),
        (late_imports, "datasets.digits", "def load():\n    from torchvision.io import decode_image"),
        (late_imports, "method.training.engine", "import importlib\nnext = importlib.import_module('models.resnet')"),
        (device_names, "method.training.engine", "torch.cuda.synchronize()"),
        (device_names, "method.training.engine", "'''A docstring on cuda.'''\nname = 'cuda:0'  # cuda"),
        (device_names, "method.training.engine", "def f(use_cuda):\n    pass"),
        (dispatches, "method.runs.runner", "if config.dataset == 'celeba':\n    pass"),
        (dispatches, "method.runs.runner", "size = 32 if args.model in ('small_cnn', 'other') else 224"),
        (dispatches, "method.runs.runner", "if method != 'miu':\n    pass"),
        (dispatches, "method.runs.runner", "if 'miu' == config['method']:\n    pass"),
        (dispatches, "method.runs.runner", "if given.get('method') == 'scrub':\n    pass"),
        (dispatches, "method.runs.runner", "match config.method:\n    case 'miu':\n        pass"),
        (unsafe, "method.runs.runner", "try:\n    run()\nexcept:\n    pass"),
        (unsafe, "method.runs.runner", "exit(1)"),
        (unsafe, "method.runs.runner", "sys.exit(1)"),
        (unsafe, "method.runs.runner", "torch.load(path)"),
        (unsafe, "method.runs.runner", "torch.load(path, weights_only=False)"),
        (unsafe, "method.runs.runner", "np.load(path, allow_pickle=True)"),
        (unsafe, "method.runs.runner", "yaml.load(file, Loader=yaml.Loader)"),
        (unsafe, "method.runs.runner", "yaml.load(file)"),
        (unsafe, "method.runs.runner", "pickle.load(file)"),
        (unsafe, "method.runs.runner", "model.load_state_dict(weights, strict=False)"),
        (unsafe, "method.runs.runner", "model.load_state_dict(weights, False)"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_noticed(check: Callable[[str, ast.AST], list[str]], name: str, text: str):
    assert check(name, ast.parse(text)) != []


def test_the_checks_let_good_code_pass():
    text = """
'''cuda in a docstring.'''
import yaml  # cuda
class Strict(yaml.SafeLoader):
    pass
try:
    torch.load(path, weights_only=True)
    yaml.load(file, Loader=Strict)
    model.load_state_dict(weights)
except (OSError, ValueError):
    raise
if METHODS[config.method].forgets and config.reference == 'retrain':
    pass
if __name__ == '__main__':
    sys.exit(main())
"""
    assert [check("method.runs.runner", ast.parse(text)) for check in CHECKS] == [[]] * len(CHECKS)


def test_imports_have_no_circle():
    """A module is ready before whoever imports it; packages stand for what their __init__ imports."""
    graph = {}
    for file in FILES:
        found = set()
        for imported in imports(ast.parse(file.read_text())):
            parts = imported.split(".")
            prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
            found |= {next((prefix for prefix in prefixes if prefix in MODULES), "")} - {"", module_name(file)}
        # The registry's package imports its methods, which import their base from the package.
        graph[module_name(file)] = {one for one in found if not within(module_name(file), one)}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_every_file_has_its_place_in_the_picture():
    """A folder holds its files; what stands in it as a file, such as method/api.py, holds itself alone."""
    folders = {room for room in ROOMS if (ROOT / room.replace(".", "/")).is_dir()} - {"method"}
    lost = {name for name in MODULES if name not in ROOMS and not any(within(name, room) for room in folders)}
    assert lost == set()
    assert {room for room in (*ROOMS, *MAY_IMPORT) if room not in MODULES} == set()


def test_registries_name_what_is_there():
    for entries in (DATASETS, MODELS):
        for target in entries.values():
            module, _, attribute = target.partition(":")
            tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
            assert attribute in {getattr(node, "name", "") for node in tree.body}
