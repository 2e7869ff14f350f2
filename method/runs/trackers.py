"""TensorBoard and Weights & Biases, both optional: the rows of history.csv as they come, the metrics at the end.

After an interruption the history comes from epoch 0 again, and the packages show each number once: TensorBoard by
`purge_step`, W&B by `resume` and its steps.
"""

import hashlib
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from method.configs.loading import Config
from method.runs.folder import TENSORBOARD, WANDB
from utils.distributed import rank
from utils.errors import RunError, UserError
from utils.files import write_text
from utils.signals import saving
from utils.tables import is_number

METRICS = "metrics/"  # before the name of a metric: val_acc is a column of the history too


class TensorBoard:
    """Event files in `tensorboard/`: one scalar a column with the epoch as its step, the metrics at the step after.

    A continued run writes all its rows anew, in a file that hides the earlier ones: it does not matter where it was cut
    off and whether it had been tracked.
    """

    def __init__(self, config: Config, folder: Path, resumed: bool):
        self.writer, self.step = self.load()(str(folder / TENSORBOARD), purge_step=0), 0

    @staticmethod
    def load() -> Any:
        """The writer of event files."""
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Columns under their own names."""
        self._write({name: value for name, value in row.items() if name != "epoch" and value is not None})
        self.step = int(row["epoch"]) + 1

    def metrics(self, metrics: Mapping[str, Any]) -> None:
        """Metrics as `metrics/<key>`."""
        self._write(named_numbers(metrics))

    def _write(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, self.step)
        self.writer.flush()

    def close(self, failed: bool) -> None:
        """Write what is left."""
        self.writer.close()


class WeightsAndBiases:
    """One W&B run a run folder: a step an epoch, the metrics in its summary; its own files are in `wandb/`.

    A continued run goes on with the W&B run of the same id, and sends the rows that are not there yet. Offline nobody
    knows what is there: all rows are written again, and the earlier files, of which they are a copy, are removed.
    """

    def __init__(self, config: Config, folder: Path, resumed: bool):
        (init, error_kind), name = self.load(), run_id(folder)
        for earlier in (folder / WANDB).glob(f"offline-run-*-{name}"):
            shutil.rmtree(earlier)
        try:
            self.run = init(
                project=config.wandb_project,
                id=name,
                name=folder.name,
                group=f"{config.data_name}/{config.model}/{config.task}",
                config=dict(config.values),
                dir=str(folder.resolve()),
                # Not continued: what a run of this id logged before is replaced, as its folder was.
                resume="allow" if resumed else None,
                reinit="create_new",  # in a notebook another W&B run may be open, which is not ours to write to
                settings={"console": "off"},
            )
        except error_kind as error:
            reason = " ".join(str(error).split())
            raise RunError(
                f"--wandb: {reason} To log without an account or a network, set WANDB_MODE=offline"
            ) from error

    @staticmethod
    def load() -> Any:
        """What starts a run, and the kind of its errors. A folder called wandb, imported as a package, has neither."""
        from wandb import Error, init

        return init, Error

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Columns under their own names."""
        step = int(row["epoch"])
        if step >= self.run.starting_step:
            self.run.log({name: value for name, value in row.items() if value is not None}, step=step, commit=True)

    def metrics(self, metrics: Mapping[str, Any]) -> None:
        """Metrics as `metrics/<key>` of the summary."""
        self.run.summary.update(named_numbers(metrics))

    def close(self, failed: bool) -> None:
        """Send or write what is left."""
        self.run.finish(exit_code=int(failed))


def named_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the metrics, under the names that trackers know them by."""
    return {METRICS + name: value for name, value in metrics.items() if is_number(value)}


def run_id(folder: Path) -> str:
    """The id that W&B knows a run folder by: from machine and path when it is first asked for, then from its file."""
    file = folder / WANDB / "run_id"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        name = f"{platform.node()}:{folder.resolve()}"
        write_text(file, hashlib.sha256(name.encode()).hexdigest()[:16])
    return file.read_text()


Tracker = TensorBoard | WeightsAndBiases
TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}  # flag and package


def check_installed(config: Config) -> None:
    """UserError where a tracker is asked for whose package is not installed."""
    for name, tracker in TRACKERS.items():
        if not config.values[name]:
            continue
        try:
            tracker.load()
        except ImportError as error:
            raise UserError(
                f"--{name} needs the package {name}, which cannot be imported ({error}); pip install {name}, or leave "
                f"--{name} out"
            ) from None


class Trackers:
    """Those that the configuration asks for, as one."""

    def __init__(self, trackers: list[Tracker]):
        self.trackers = trackers

    def epoch(self, row: Mapping[str, Any]) -> None:
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
        for name, tracker in TRACKERS.items():
            if config.values[name] and rank() == 0:
                trackers.append(tracker(config, folder, resumed))
        yield Trackers(trackers)
        failed = False
    finally:
        with saving():  # a service may take long to answer
            for started in trackers:
                started.close(failed)
