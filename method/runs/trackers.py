"""TensorBoard and Weights & Biases, both optional: the rows of history.csv as they come, the metrics at the end."""

import hashlib
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from method.configs.loading import Config
from utils.distributed import rank
from utils.errors import RunError, UserError
from utils.files import write_text
from utils.signals import saving
from utils.tables import is_number

METRICS = "metrics/"  # before the name of a metric: val_acc is a column of the history too


class Tracker(Protocol):
    """Where the numbers of a run go beside its own files."""

    def epoch(self, row: Mapping[str, float | None]) -> None:
        """Take a row of the history; they come in order, those of a continued run from epoch 0 again."""

    def metrics(self, metrics: Mapping[str, Any]) -> None:
        """Take what metrics.json will hold; only its numbers are kept."""

    def close(self, failed: bool) -> None:
        """Nothing comes after this; failed: the run did not reach its end."""


def _tensorboard() -> SimpleNamespace:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from torch.utils.tensorboard import SummaryWriter

    return SimpleNamespace(SummaryWriter=SummaryWriter, EventFileLoader=EventFileLoader)


def _wandb() -> SimpleNamespace:
    # By name: where the package is absent, a folder called wandb would be imported without a word.
    from wandb import Settings, init
    from wandb.errors import Error

    return SimpleNamespace(Settings=Settings, init=init, Error=Error)


class TensorBoard:
    """Event files in `tensorboard/`: one scalar a column with the epoch as its step, the metrics at the step after.

    A continued run writes what the earlier files do not have, in a file of its own that begins at the first such epoch:
    nothing is missing or there twice, wherever the run was cut off and whether or not it had been tracked.
    """

    def __init__(self, config: Config, folder: Path, resumed: bool):
        self.package, self.place = _tensorboard(), folder / "tensorboard"
        self.writer: Any = None
        self.written = self._read() if resumed else set()
        self.step = 0

    def _read(self) -> set[tuple[str, int]]:
        """Tags and steps of the earlier files."""
        files = sorted(self.place.glob("events.out.tfevents.*"))
        events = (event for file in files for event in self.package.EventFileLoader(str(file)).Load())
        return {(value.tag, event.step) for event in events for value in event.summary.value}

    def epoch(self, row: Mapping[str, float | None]) -> None:
        """Columns under their own names."""
        step = int(row["epoch"])
        self.step = step + 1
        self._write({name: value for name, value in row.items() if name != "epoch" and value is not None}, step)

    def metrics(self, metrics: Mapping[str, Any]) -> None:
        """Metrics as `metrics/<key>`."""
        self._write({METRICS + name: value for name, value in metrics.items() if is_number(value)}, self.step)

    def _write(self, values: Mapping[str, float], step: int) -> None:
        if self.writer is None:
            if self.written.issuperset((name, step) for name in values):
                return
            # What earlier files have of this step and later ones is not shown.
            self.writer = self.package.SummaryWriter(str(self.place), purge_step=step)
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self, failed: bool) -> None:
        """Write what is left."""
        if self.writer is not None:
            self.writer.close()


class WeightsAndBiases:
    """One W&B run a run folder: a step an epoch, the metrics in its summary; its own files are in `wandb/`.

    A continued run goes on with the W&B run of the same id, and sends the rows that are not there yet. Offline nobody
    knows what is there: all rows are written again, and the earlier files, of which they are a copy, are removed.
    """

    def __init__(self, config: Config, folder: Path, resumed: bool):
        wandb, name = _wandb(), run_id(folder)
        for earlier in (folder / "wandb").glob(f"offline-run-*-{name}"):
            shutil.rmtree(earlier)
        try:
            self.run = wandb.init(
                project=config.wandb_project,
                id=name,
                name=folder.name,
                group=f"{config.data_name}/{config.model}/{config.task}",
                config=dict(config.values),
                dir=str(folder.resolve()),
                # Not continued: what a run of this id logged before is replaced, as its folder was.
                resume="allow" if resumed else None,
                reinit="create_new",  # in a notebook another W&B run may be open, which is not ours to write to
                settings=wandb.Settings(console="off"),
            )
        except wandb.Error as error:
            reason = " ".join(str(error).split())
            raise RunError(
                f"--wandb: {reason} To log without an account or a network, set WANDB_MODE=offline"
            ) from error
        self.first = self.run.starting_step

    def epoch(self, row: Mapping[str, float | None]) -> None:
        """Columns under their own names."""
        step = int(row["epoch"])
        if step >= self.first:
            self.run.log({name: value for name, value in row.items() if value is not None}, step=step, commit=True)

    def metrics(self, metrics: Mapping[str, Any]) -> None:
        """Metrics as `metrics/<key>` of the summary."""
        self.run.summary.update({METRICS + name: value for name, value in metrics.items() if is_number(value)})

    def close(self, failed: bool) -> None:
        """Send or write what is left."""
        self.run.finish(exit_code=int(failed))


def run_id(folder: Path) -> str:
    """The id that W&B knows a run folder by: from machine and path when it is first asked for, then from its file."""
    file = folder / "wandb" / "run_id"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        name = f"{platform.node()}:{folder.resolve()}"
        write_text(file, hashlib.sha256(name.encode()).hexdigest()[:16])
    return file.read_text()


# flag (a key of the configuration) and package: how to load it, and what makes the tracker
TRACKERS: dict[str, tuple[Callable[[], Any], Callable[[Config, Path, bool], Tracker]]] = {
    "tensorboard": (_tensorboard, TensorBoard),
    "wandb": (_wandb, WeightsAndBiases),
}


def check_installed(config: Config) -> None:
    """UserError where a tracker is asked for whose package is not installed."""
    for name, (load, _) in TRACKERS.items():
        if not config.values[name]:
            continue
        try:
            load()
        except ImportError as error:
            raise UserError(
                f"--{name} needs the package {name}, which cannot be imported ({error}); pip install {name}, or leave "
                f"--{name} out"
            ) from None


class Trackers:
    """Those that the configuration asks for, as one."""

    def __init__(self, trackers: list[Tracker]):
        self.trackers = trackers

    def epoch(self, row: Mapping[str, float | None]) -> None:
        """Hand a row of the history to each."""
        for tracker in self.trackers:
            tracker.epoch(row)

    def metrics(self, metrics: Mapping[str, Any]) -> None:
        """Hand the metrics to each."""
        for tracker in self.trackers:
            tracker.metrics(metrics)


@contextmanager
def tracking(config: Config, folder: Path, resumed: bool) -> Iterator[Trackers]:
    """The trackers of the run in `folder`, closed at the end, well or ill; resumed: it goes on from a saved state."""
    trackers: list[Tracker] = []
    failed = True
    try:
        for name, (_, start) in TRACKERS.items():
            if config.values[name] and rank() == 0:
                trackers.append(start(config, folder, resumed))
        yield Trackers(trackers)
        failed = False
    finally:
        with saving():  # a service may take long to answer
            for tracker in trackers:
                tracker.close(failed)
