"""--tensorboard and --wandb: the numbers of history.csv and metrics.json, once each, however often a run is cut off."""

import csv
import json
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cli import configuration, error_of, ok, python_apart, refused, run, written
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from method.runs.trackers import run_id
from method.training.engine import Engine
from method.training.resume import Resumable

SETTINGS = (
    "--dataset waterbird --model small_cnn --image_size 32 --no-pretrained --epochs 3 --batch_size 24 --threads 1"
    " --num_workers 0"
)
# Only its first epoch has a pass over the forget set: the other rows have an empty cell.
SCRUB = f"--method scrub --forget_epochs 1 {SETTINGS}"
FLOAT32 = 1e-6  # relative: what event files keep of a number

Numbers = dict[tuple[str, int], float]  # by name and epoch


@pytest.fixture(scope="module")
def pretrained(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model that SCRUB starts from; nobody may change it."""
    store = tmp_path_factory.mktemp("pretrained")
    ok(f"--method pretrain {SETTINGS}", data_dir=data_dir, store_dir=store, checkpoint_dir=store / "none")
    return store


@pytest.fixture
def folders(data_dir: Path, pretrained: Path, tmp_path: Path) -> dict[str, Path]:
    """What SCRUB reads, and an empty store."""
    return {"data_dir": data_dir, "checkpoint_dir": pretrained, "store_dir": tmp_path / "store"}


@pytest.fixture
def folder(folders: dict[str, Path]) -> Path:
    """Where SCRUB's run will be."""
    return folders["store_dir"] / "waterbird/small_cnn/split0/scrub_0.5_0"


def history_of(folder: Path) -> Numbers:
    """The cells of history.csv that are not empty; some are."""
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    cells = {(name, int(row["epoch"])): row[name] for row in rows for name in row if name != "epoch"}
    assert "" in cells.values()
    return {place: float(text) for place, text in cells.items() if text}


def metrics_of(folder: Path) -> dict[str, float]:
    """The numbers of metrics.json under the names that trackers have them by."""
    metrics = json.loads((folder / "metrics.json").read_text())
    numbers = {f"metrics/{name}": value for name, value in metrics.items() if isinstance(value, (int, float))}
    assert "metrics/retain_acc" in numbers
    return numbers


Interrupt = Callable[[str, dict[str, Path]], None]


@pytest.fixture(params=["before it was tracked", "after it was tracked"])
def interrupted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """Start a command, and Ctrl-C when the first epoch is saved."""
    kind, name = (Resumable, "save") if request.param.startswith("before") else (Engine, "_epoch")
    inner = getattr(kind, name)

    def interrupting(self: Any, *arguments: Any) -> None:
        inner(self, *arguments)
        raise KeyboardInterrupt

    def start(command: str, folders: dict[str, Path]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(kind, name, interrupting)
            assert run(command, **folders).code == 75

    return start


# TensorBoard.


def events_of(folder: Path) -> EventAccumulator:
    """What TensorBoard shows of a run; `Reload` looks at the files again."""
    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})


def scalars(events: EventAccumulator) -> Numbers:
    """The points of all curves, of which no two may be at the same step."""
    events.Reload()
    points = [(tag, point.step, point.value) for tag in events.Tags()["scalars"] for point in events.Scalars(tag)]
    assert set(Counter(point[:2] for point in points).values()) <= {1}
    return {(tag, step): value for tag, step, value in points}


def expected_scalars(folder: Path) -> Any:
    numbers = history_of(folder) | {(name, 3): value for name, value in metrics_of(folder).items()}
    return pytest.approx(numbers, rel=FLOAT32)


def test_event_files_hold_the_history_and_the_metrics(folders: dict[str, Path], folder: Path):
    ok(f"{SCRUB} --tensorboard", **folders)
    assert scalars(events_of(folder)) == expected_scalars(folder)
    assert {str(Path(name).parent) for name in written(folder) if "tfevents" in name} == {"tensorboard"}


def test_event_files_of_a_continued_run_hold_every_epoch_once(
    folders: dict[str, Path], folder: Path, interrupted: Interrupt
):
    """Also for a TensorBoard that watches all the time."""
    interrupted(f"{SCRUB} --tensorboard", folders)
    (folder / "tensorboard").mkdir(exist_ok=True)
    watching = events_of(folder)
    assert {epoch for _, epoch in scalars(watching)} <= {0}
    ok(f"{SCRUB} --tensorboard", **folders)
    assert scalars(events_of(folder)) == expected_scalars(folder)
    assert scalars(watching) == expected_scalars(folder)


def test_an_epoch_of_which_a_part_was_written_is_shown_once(
    folders: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ctrl-C after two columns of the second epoch."""
    add_scalar, columns = SummaryWriter.add_scalar, []

    def adding(self: SummaryWriter, name: str, value: float, step: int) -> None:
        columns.append(name)
        if columns.count("lr") == 2:
            raise KeyboardInterrupt
        add_scalar(self, name, value, step)

    with monkeypatch.context() as patch:
        patch.setattr(SummaryWriter, "add_scalar", adding)
        assert run(f"{SCRUB} --tensorboard", **folders).code == 75
    assert ("retain_loss", 1) in scalars(events_of(folder))
    ok(f"{SCRUB} --tensorboard", **folders)
    assert scalars(events_of(folder)) == expected_scalars(folder)


def test_a_run_tracked_from_its_continuation_on_has_all_epochs(
    folders: dict[str, Path], folder: Path, interrupted: Interrupt
):
    interrupted(SCRUB, folders)
    assert not (folder / "tensorboard").exists()
    ok(f"{SCRUB} --tensorboard", **folders)
    assert scalars(events_of(folder)) == expected_scalars(folder)


# Weights & Biases, offline.


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real package, without a network and without its files in the home folder."""
    pytest.importorskip("wandb", reason="the package wandb is not installed: pip install -r requirements-wandb.txt")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def wandb_messages(raw: bytes) -> Iterator[bytes]:
    """The messages of a .wandb file: LevelDB's log format, blocks of 32 KiB, behind a header of 7 bytes."""
    place, message = 7, b""
    while place < len(raw):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        n, kind = struct.unpack_from("<HB", raw, place + 4)
        message += raw[place + 7 : place + 7 + n]
        place += 7 + n
        if kind in (1, 4):  # whole, or the last part
            yield message
            message = b""


def wandb_records(folder: Path) -> list[Any]:
    """The records of the one offline run in a run's folder."""
    from wandb.proto.wandb_internal_pb2 import Record

    [file] = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    return [Record.FromString(message) for message in wandb_messages(file.read_bytes())]


def wandb_items(items: Any) -> dict[str, float]:
    """Names and values of a history or summary record, without what W&B adds."""
    named = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
    return {name: value for name, value in named.items() if not name.startswith("_")}


def wandb_history(records: list[Any]) -> Numbers:
    """History columns by step, each step once, and `epoch` the step itself."""
    rows = [(one.history.step.num, wandb_items(one.history.item)) for one in records if one.HasField("history")]
    assert [step for step, _ in rows] == [row.pop("epoch") for _, row in rows] == [0, 1, 2]
    return {(name, step): value for step, row in rows for name, value in row.items()}


def wandb_summary(records: list[Any]) -> dict[str, float]:
    """The metrics in the summary."""
    summary: dict[str, float] = {}
    for one in records:
        summary |= wandb_items(one.summary.update)
    return {name: value for name, value in summary.items() if name.startswith("metrics/")}


def test_wandb_offline_holds_the_history_and_the_metrics(folders: dict[str, Path], folder: Path, offline: None):
    ok(f"{SCRUB} --wandb --wandb_project birds", **folders)
    records = wandb_records(folder)
    assert wandb_history(records) == pytest.approx(history_of(folder), rel=1e-12)
    assert wandb_summary(records) == pytest.approx(metrics_of(folder), rel=1e-12)
    [start] = [one.run for one in records if one.HasField("run")]
    assert (start.project, start.run_id, start.display_name) == ("birds", run_id(folder), "scrub_0.5_0")
    stored = {item.key: json.loads(item.value_json) for item in start.config.update}
    assert (stored["method"], stored["forget_epochs"]) == ("scrub", 1)


def test_wandb_offline_holds_every_epoch_of_a_continued_run_once(
    folders: dict[str, Path], folder: Path, offline: None, interrupted: Interrupt
):
    interrupted(f"{SCRUB} --wandb", folders)
    [before] = [one.run.run_id for one in wandb_records(folder) if one.HasField("run")]
    ok(f"{SCRUB} --wandb", **folders)
    records = wandb_records(folder)
    assert [one.run.run_id for one in records if one.HasField("run")] == [before]
    assert wandb_history(records) == pytest.approx(history_of(folder), rel=1e-12)
    assert wandb_summary(records) == pytest.approx(metrics_of(folder), rel=1e-12)


# Weights & Biases, with a service that plays its part.


class Service(ModuleType):
    """A package wandb that remembers what it is told, and what it was told in earlier runs."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: list[dict[str, Any]] = []
        self.runs: dict[str, dict[int, dict[str, float]]] = {}
        self.exit_codes: list[int] = []
        self.refusal = ""
        self.Error = type("Error", (Exception,), {})

    def init(self, **options: Any) -> SimpleNamespace:
        if self.refusal:
            raise self.Error(self.refusal)
        self.started.append(options)
        rows = self.runs.setdefault(options["id"], {})
        if options["resume"] is None:
            rows.clear()
        first = max(rows, default=-1) + 1

        def log(row: dict[str, float], step: int, commit: bool) -> None:
            assert step >= first, "a step that the service would ignore"
            assert commit
            rows[step] = row

        return SimpleNamespace(log=log, starting_step=first, summary={}, finish=self.finish)

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)

    @property
    def steps(self) -> list[int]:
        """Of the only run."""
        [rows] = self.runs.values()
        return list(rows)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """It stands in the place of the package."""
    service = Service()
    monkeypatch.setitem(sys.modules, "wandb", service)
    return service


def test_a_continued_run_goes_on_with_the_same_wandb_run(
    folders: dict[str, Path], folder: Path, service: Service, interrupted: Interrupt
):
    interrupted(f"{SCRUB} --wandb", folders)
    ok(f"{SCRUB} --wandb", **folders)
    first, second = service.started
    assert first["id"] == second["id"]
    assert (first["resume"], second["resume"]) == (None, "allow")
    assert service.steps == [0, 1, 2]
    assert service.exit_codes == [1, 0]
    assert Path(first["dir"]) == folder


def test_a_run_made_anew_replaces_the_wandb_run(folders: dict[str, Path], service: Service):
    ok(f"{SCRUB} --wandb", **folders)
    [rows] = service.runs.values()
    before = dict(rows)
    ok(f"{SCRUB} --wandb --overwrite --scheduler const --lr 0.003", **folders)
    assert [options["resume"] for options in service.started] == [None, None]
    assert service.steps == [0, 1, 2]
    assert [row["lr"] == 0.003 for row in (before[2], rows[2])] == [False, True]


def test_a_moved_folder_keeps_its_wandb_id_and_two_folders_have_two(tmp_path: Path):
    one, other = run_id(tmp_path / "one"), run_id(tmp_path / "other")
    assert one != other
    (tmp_path / "one").rename(tmp_path / "moved")
    assert run_id(tmp_path / "moved") == one


def test_a_wandb_that_cannot_start_is_one_sentence(folders: dict[str, Path], folder: Path, service: Service):
    service.refusal = "No API key configured."
    sentence = error_of(run(f"{SCRUB} --wandb --tensorboard", **folders), 1)
    assert "No API key configured. To log without an account or a network, set WANDB_MODE=offline" in sentence
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"


# Without the packages.


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
@pytest.mark.parametrize("instead", ["nothing", "a folder"])
def test_an_absent_package_is_refused_before_anything_is_written(
    name: str, instead: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    """A folder of its name is imported as if it were one; wandb makes such a folder wherever it is used."""
    for module in [*sys.modules]:
        if module.removeprefix("torch.utils.").split(".")[0] == name:
            monkeypatch.delitem(sys.modules, module)
    folder = ModuleType(name)
    folder.__path__ = []
    monkeypatch.setitem(sys.modules, name, None if instead == "nothing" else folder)
    sentence = refused(f"{SCRUB} --{name}", **folders)
    assert f"--{name} needs the package {name}" in sentence
    assert f"pip install {name}," in sentence
    assert written(folders["store_dir"]) == []


@pytest.mark.slow
def test_what_does_not_track_imports_no_tracker(data_dir: Path, tmp_path: Path):
    flags = f"--method pretrain {SETTINGS} --data_dir {data_dir} --store_dir {tmp_path}"
    done = python_apart(
        "import sys\n"
        "import main\n"
        f"for more in '--wandb --print_config', '--tensorboard --dry_run', '--no-tensorboard --no-wandb':\n"
        f"    assert main.main({flags.split()} + more.split()) == 0\n"
        "try:\n"
        "    main.main(['--help'])\n"
        "except SystemExit:\n"
        "    print('trackers:', sorted({name.split('.')[0] for name in sys.modules} & {'tensorboard', 'wandb'}))\n"
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "trackers: []"


def test_tracking_is_no_part_of_a_runs_identity(folders: dict[str, Path]):
    plain, tracked = configuration(SCRUB), configuration(f"{SCRUB} --tensorboard --wandb --wandb_project x")
    assert tracked.values != plain.values
    assert tracked.identity() == plain.identity()
    done = ok(SCRUB, **folders).out.splitlines()[-1].removeprefix("done: ")
    assert ok(f"{SCRUB} --tensorboard", **folders).out == f"already done: {done}\n"
