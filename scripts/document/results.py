"""docs/metrics.md: everything in a run's folder, from what method/runs and the methods say of it."""

import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from method.configs.loading import resolve
from method.evaluation.columns import COLUMNS, Column
from method.registry import METHODS
from method.runs import file_meanings, meanings
from method.runs.meanings import Meaning
from method.unlearners.base import Batch, GroupAccuracy, Phase, Task, Unlearner
from models import build_model
from scripts.document.markdown import code, table

HEAD = """# What a run writes

Made from the code by `python -m scripts.document`; do not edit it by hand.

Every run has a folder, `<store_dir>/<data>/<model>/<task>/<method>..._<ratio>_<seed>/`. All metrics come from
`records.npz` and `splits.npz`, so `python -m scripts.report --recompute` makes them anew without the model.

D is the train set, F what is forgotten of it, R what is retained, V the validation set, T the test set. acc is the
share of right predictions. A metric that cannot be computed is `null`, and `reasons` says why. Further symbols are
in the [glossary](glossary.md), and at the head of each method's file in `method/unlearners`.

"""
KEY_TITLES = ("key", "in tables", "unit, range", "meaning", "null where")
ARRAY_TITLES = ("array", "type", "shape", "meaning")


def metrics_page() -> str:
    """The whole page."""
    return "".join([HEAD, _file_section(), *_metrics_sections(), *_history_sections(), *_array_sections(), _fields()])


def _file_section() -> str:
    return _section("Files", ("file", "what is in it"), _coded(file_meanings.FILES))


def _metrics_sections() -> Iterator[str]:
    yield _section("metrics.json", KEY_TITLES, _rows(meanings.explain_metrics(), COLUMNS))
    yield "### groups\n\n" + table(KEY_TITLES, _rows(meanings.GROUP)) + "\n"
    yield "### forget_composition\n\n" + table(KEY_TITLES, _rows(meanings.COMPOSITION)) + "\n"
    rows = _own_rows({name: method.metric_keys for name, method in METHODS.items()})
    yield "### Keys of one method\n\n" + table(("method", "key", "unit", "meaning"), rows) + "\n"


def _history_sections() -> Iterator[str]:
    """The engine's columns, then the phases of each method, then the columns of one method."""
    rows = [[code(name), _measure(one), one.what] for name, one in file_meanings.HISTORY.items()]
    yield _section("history.csv", ("column", "unit, range", "meaning"), rows)
    yield "### Losses by phase\n\n" + table(("methods", "column", "what the phase does"), _phase_rows()) + "\n"
    rows = _own_rows({name: method.history_columns for name, method in METHODS.items()})
    yield "### Columns of one method\n\n" + table(("method", "column", "unit", "meaning"), rows) + "\n"


def _array_sections() -> Iterator[str]:
    records = file_meanings.RECORDS | file_meanings.RECORDS_BF16
    for file, arrays in (("records.npz", records), ("splits.npz", file_meanings.SPLITS)):
        rows = [[code(name), *told] for name, told in arrays.items()]
        yield _section(file, ARRAY_TITLES, rows)


def _fields() -> str:
    """config.yaml, and the two files that say how a run stands."""
    status = _section("status.json and done", ("field", "meaning"), _coded(file_meanings.STATUS))
    told = f"`done` is {file_meanings.FILES['done']}.\n"
    return _section("config.yaml", ("field", "meaning"), _coded(file_meanings.CONFIG)) + status + told


def _section(title: str, titles: Iterable[str], rows: Iterable[list[str]]) -> str:
    return f"## {title}\n\n{table(tuple(titles), rows)}\n"


def _coded(told: Mapping[str, str]) -> list[list[str]]:
    return [[code(name), what] for name, what in told.items()]


def _measure(one: Meaning) -> str:
    return ", ".join(filter(None, (one.unit, one.limits)))


def _rows(told: Mapping[str, Meaning], columns: Iterable[Column] = ()) -> list[list[str]]:
    titles = {column.key: column.title for column in columns}
    return [[code(name), titles.get(name, ""), _measure(one), one.what, one.null] for name, one in told.items()]


# What methods add.


def _own_rows(told: Mapping[str, Mapping[str, tuple[str, str]]]) -> list[list[str]]:
    """A row for every key or column; methods that explain one alike share it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for method, keys in told.items():
        for key, (unit, what) in keys.items():
            found.setdefault((key, unit, what), []).append(method)
    return [[", ".join(methods), code(key), unit, what] for (key, unit, what), methods in found.items()]


def _phase_rows() -> list[list[str]]:
    """A row for every column `<phase>_loss`, in the words of the loss's docstring."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in METHODS:
        for phase in _example(name).phases(0):
            what = _what(phase) if phase.beside is None else f"{_what(phase)}, and `{phase.beside.name}_loss` with it"
            found.setdefault((f"{phase.name}_loss", what), []).append(name)
            if phase.beside is not None:
                found.setdefault((f"{phase.beside.name}_loss", _what(phase.beside)), []).append(name)
    return [[", ".join(methods), code(column), what] for (column, what), methods in found.items()]


def _what(phase: Phase) -> str:
    """What a phase descends: the first line of its loss's docstring."""
    return re.sub(r"^Step \d+: ", "", (phase.loss.__doc__ or "").split("\n")[0].removesuffix("."))


def _example(name: str) -> Unlearner:
    """A method's object on a small network and two groups, which says its phases; it is not run."""
    counts = torch.ones(2, dtype=torch.int64)
    task = Task(2, 2, 2, group_counts=counts, retain_counts=counts, forget_groups=(0,), epochs=1, seed=0)

    def measure(name: str) -> GroupAccuracy:
        return GroupAccuracy(counts, counts)

    params = resolve({"method": name}).params
    return METHODS[name](build_model("small_cnn", 2, 0, "none"), _Frozen(), params, task, measure)


class _Frozen:
    """Stands for the original model, which no phase is asked for here."""

    module: nn.Module
    train_mode = False

    def logits(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    features = logits
