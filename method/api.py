"""The command line's counterpart for notebooks: `run` makes one run.

`load_results`, `load_audit` and `load_model` read what lies there.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from method.runs.audits import Found, read_audits
from method.runs.files import PRETRAIN
from method.runs.findings import AUDIT, RELEARN
from method.runs.folder import RunFolder
from method.runs.labels import label, rank
from method.runs.made_from import stale_audit
from method.runs.stored import StoredRun, read_runs
from utils.errors import RunError, UserError

if TYPE_CHECKING:
    import pandas

    from method.runs.finished import RunModel

NOT_HERE = ("print_config", "dry_run", "help")
ONE_WAY = ("overwrite", "ablate_rw", "debug")  # switches that have no --no-...
IDENTITY = (
    *("dataset", "model", "task", "method", "label", "reweight", "unlearning_ratio"),
    *("seed", "train_seed", "forget_seed", "leave_out"),
)
AUDITED = ("dataset", "model", "image_size", "weights", "task", "unlearning_ratio")  # of StoredRun.table
COMPOSED = ("gaps", "equalized_odds_pair", "demographic_parity_pair")  # a table or a list, or null
ROOT = Path(__file__).resolve().parent.parent
log = logging.getLogger("unlearning")


@dataclass(frozen=True, eq=False, repr=False)
class RunResult:
    """A finished run, as its files had it when it was returned.

    path: its folder; metrics: metrics.json; history: history.csv, one row an epoch; config: every key and its value.
    """

    path: Path
    metrics: dict[str, Any]
    history: "pandas.DataFrame"
    config: dict[str, Any]

    def __repr__(self) -> str:
        return f"RunResult({str(self.path)!r})"


def run(method: str | None = None, **flags: Any) -> RunResult:
    """What `python main.py --method METHOD [flags]` does; a run that is done already is returned at once.

    flags: the long flags without their dashes, published spellings too. True and False turn switches on and off, None
    leaves a flag out. Relative folders are meant from where Python runs. UserError for what the command line refuses,
    RunError for a run that fails; after KeyboardInterrupt the same call goes on.
    """
    table = _pandas()
    words = _arguments({"method": method, **flags})
    import datasets

    if Path(datasets.__file__ or "").resolve().parent != ROOT / "datasets":
        raise UserError(
            f"another package named datasets is imported, from {datasets.__file__}; start Python anew, and before "
            f"other imports say sys.path.insert(0, {str(ROOT)!r})"
        )
    from method.configs.cli import parse
    from method.runs.making import make_run

    directory, notes = make_run(parse(words), around=_messages_for_the_log())
    if notes:
        log.warning("%s", directory.already_done(notes))
    return _result(directory, table)


def load_results(path: str | Path = "output") -> "pandas.DataFrame":
    """One row a finished run under `path`: what it was, and every metric of its metrics.json that is one value.

    Metrics that could not be computed are missing values, as are task and ratio of pretrain, which has none, and the
    forget seed where nothing is drawn.
    `frame.attrs["missing"]` lists (folder, problem) of the runs that are not finished or cannot be read. UserError
    where there is no run.
    """
    table = _pandas()
    runs = read_runs(Path(path))
    done = sorted((one for one in runs if not one.problem), key=_place)
    rows = [_row(one) for one in done]
    names = dict.fromkeys(name for row in rows for name in row if name not in (*IDENTITY, "folder"))
    frame = table.DataFrame(rows, columns=[*IDENTITY, *names, "folder"])
    frame["forget_seed"] = frame["forget_seed"].astype("Int64")
    for name in names:
        if frame[name].isna().all():
            frame[name] = frame[name].astype(float)  # a number that no run has
    frame.attrs["missing"] = [(str(one.folder), one.problem) for one in runs if one.problem]
    return frame


def load_audit(path: str | Path = "output") -> "pandas.DataFrame":
    """One row a finding of an audit under `path`: what audit.json says of its runs, and relearn.json of each of them.

    Columns are what a table of the report is called by, the fields of `method.runs.findings.Finding`, `at_NAME` for
    each name in `at`, and `folder`, of the run in whose folder the finding lies. `frame.attrs["missing"]` lists
    (place, problem) of files that cannot be read, or were made from other runs. UserError where there is no run, or
    nothing was found out.
    """
    table = _pandas()
    runs = read_runs(Path(path))
    found, problems = read_audits(Path(path), runs)
    if not (found or problems):
        raise UserError(f"no {AUDIT} and no {RELEARN} under {path}; make one with python -m scripts.audit {path}")
    rows = [_audit_row(one) for one in found]
    names = dict.fromkeys(name for row in rows for name in row)
    frame = table.DataFrame(rows, columns=list(names))
    frame.attrs["missing"] = [*problems, *stale_audit(Path(path), runs)]
    return frame


def load_model(path: str | Path) -> "RunModel":
    """The network of the finished run in this folder, from normalised images (n, 3, S, S) to logits (n, n_targets).

    It is in eval mode on the CPU. Its `classes` are what the outputs are called. `preprocess` makes an input of an
    image file, and `mean`, `std`, `image_size` and `view` say how. UserError where no finished run is there.
    """
    from method.runs import finished

    return finished.load_model(path)


def _place(run: StoredRun) -> tuple:
    config, seeds = run.config, tuple(seed or 0 for seed in run.seeds)
    return config["dataset"], config["model"], run.task, run.ratio, rank(run), seeds, str(run.folder)


def _row(run: StoredRun) -> dict[str, Any]:
    """A run's identity, metrics and folder; lists and tables among the metrics are left to metrics.json."""
    config, forgets = run.config, run.method != PRETRAIN
    what = {
        **{name: config[name] for name in ("dataset", "model", "method")},
        "seed": run.seeds.run,
        "train_seed": run.seeds.train,
        "forget_seed": run.seeds.forget,
        "leave_out": config.get("leave_out") or 0.0,
        "task": run.task if forgets else None,
        "label": label(run),
        "reweight": bool(config.get("reweight")),
        "unlearning_ratio": run.ratio if forgets else None,
    }
    single = (name for name, value in run.metrics.items() if not isinstance(value, (dict, list)))
    metrics = {name: run.metrics[name] for name in single if name not in COMPOSED}
    return {**metrics, **what, "folder": str(run.folder)}


def _audit_row(found: Found) -> dict[str, Any]:
    own = {field.name: getattr(found.finding, field.name) for field in fields(found.finding)}
    setting = dict(zip(AUDITED, own.pop("table"), strict=True))
    at = {f"at_{name}": value for name, value in (own.pop("at") or {}).items()}
    return {**setting, **own, **at, "folder": str(found.run.folder) if found.run else None}


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UserError(
            f"results are pandas tables, and pandas cannot be imported ({error}); pip install pandas"
        ) from None
    return pandas


def _arguments(flags: Mapping[str, Any]) -> list[str]:
    """The words of the command line; `--name=value`, because a value may begin with a dash."""
    words = []
    for name, value in flags.items():
        if name in NOT_HERE:
            raise UserError(f"{name} only prints, and is for the command line: python main.py --{name}")
        value = value.item() if hasattr(value, "item") else value  # numpy's numbers, True and False
        if value is None or (value is False and name in ONE_WAY):
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words.append(f"--{name}={value}")
    return words


def _result(folder: RunFolder, table: Any) -> RunResult:
    """Read a finished run back."""
    path = folder.path.absolute()
    try:
        config, metrics = folder.read_config()["config"], folder.read_metrics()
        history = table.DataFrame(folder.read_history(), dtype=float)
        history = history.astype({name: int for name in ("epoch",) if name in history})
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} is done, but cannot be read ({error}); overwrite=True makes it anew") from error
    return RunResult(path, metrics, history, config)


class _Relay(logging.Handler):
    """Hands on what the logger would have let through, were it not open for run.log."""

    def __init__(self, logger: logging.Logger):
        super().__init__(logger.getEffectiveLevel())
        self.parent = logger.parent or logging.root

    def emit(self, record: logging.LogRecord) -> None:
        self.parent.callHandlers(record)


@contextmanager
def _messages_for_the_log() -> Iterator[None]:
    """run.log gets every line, whatever logging the notebook has set up; the notebook's handlers get no more."""
    logger = logging.getLogger("unlearning")
    level, propagate, relay = logger.level, logger.propagate, _Relay(logger)
    logger.addHandler(relay)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(relay)
        logger.setLevel(level)
        logger.propagate = propagate
