"""A run's folder: where it is, which files are in it, what makes it done, and how it is read.

The runner writes it; report, sweep and the Python interface read it. Nobody else knows these names. No torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from method.registry import METHODS
from method.runs import files
from method.runs.files import PRETRAIN, RETRAIN
from utils.files import read_text
from utils.paths import check_name

if TYPE_CHECKING:
    from method.configs.loading import Config

CONFIG = "config.yaml"  # every key with its source, identity, fingerprints, groups, versions, and what was read
SPLITS = "splits.npz"  # train, val, test, forget and retain as rows of the data set's table
FORGET_LIST = "forget_list.txt"  # the names that the run was asked to forget, where a list did
HISTORY = "history.csv"  # one row an epoch
STATE = "last.pt"  # what a half-finished run goes on from; gone when it is done
MODEL = "model.pt"  # the weights at the end
RECORDS = "records.npz"  # the prediction for every sample
METRICS = "metrics.json"
LOG = "run.log"
ROWS = "rows.json"  # in a redacted copy of a pretrained run: its metrics on the forget sets of others
STATUS = "status.json"  # running, interrupted, failed or done, and why
DONE = "done"  # the marker of a finished run: a line for each file that it has
TENSORBOARD, WANDB = "tensorboard", "wandb"  # folders
REDACTED = "redacted"  # the section of config.yaml that only a redacted copy has
IMPORTED = "imported"  # the section of config.yaml that only a model of another program has
RENAMED = (CONFIG, SPLITS, FORGET_LIST, HISTORY, STATE, MODEL, RECORDS, METRICS, STATUS, DONE)  # whole, or not there
APPENDED = (LOG, TENSORBOARD, WANDB)  # not renamed into place, so written through a link
NEEDED = (METRICS, MODEL, RECORDS)  # of every finished run, where the marker lists nothing

# The file by which a run is found that others start from or are compared with: weights are enough to start from.
SOUGHT = {PRETRAIN: MODEL, RETRAIN: DONE}


def records_name(weights: str) -> str:
    """The name of the records of further weights, such as those of SCRUB's last epoch."""
    return f"records_{weights}.npz"


def state_name(weights: str) -> str:
    """The name of further weights beside the state, such as those of SCRUB's epochs."""
    return f"last_{weights}.pt"


def model_name(values: Mapping[str, Any]) -> str:
    """What folders and tables call the network: `resnet18`, or `resnet18-frozen512` where a head alone is trained."""
    return values["model"] + (f"-frozen{values.get('hidden_dim')}" if values.get("freeze_backbone") else "")


def folder_of(config: Config, root: str, method: str | None = None, reweight: bool | None = None) -> Path:
    """The run's folder.

    It is `<root>/<data set>/<model>/[<task>/]<method>[_<variant>][-<tag>][_leave<share>][_<ratio>]_<seeds>`. method,
    reweight: of the run that it starts from or is compared with, whose folder is meant then. The variant is what
    departs from the method's default; a run that forgets nothing has neither task nor ratio. The share is of what is
    left out of train. The seeds are all that stands after the last underscore: `Seeds.spell`. UserError where a name is
    longer than file systems take.
    """
    name = name_of(config, method, reweight)
    check_name(config.data_name, "dataset_name")
    check_name(name, "tag")
    folder = Path(root) / config.data_name / model_name(config.values).replace("/", "-")
    forgets = METHODS[method or config.method].forgets
    return (folder / config.task if forgets or config.needs_task_for_target else folder) / name


def name_of(config: Config, method: str | None = None, reweight: bool | None = None) -> str:
    """The last part of `folder_of`."""
    own = method is None
    method = method or config.method
    forgets = METHODS[method].forgets
    tag = f"-{config.tag}" if own and config.tag else ""
    ratio = f"_{config.unlearning_ratio:.10g}" if forgets else ""
    share = config.values.get("leave_out")  # earlier versions recorded none
    left_out = f"_leave{share:.10g}" if share else ""
    seeds = config.seeds if own else config.seeds.of_model(forgets)
    return f"{method}{_variant(config, method, own, reweight)}{tag}{left_out}{ratio}_{seeds.spell()}"


def _variant(config: Config, method: str, own: bool, reweight: bool | None) -> str:
    """`_reweight`, `_no-reweight`, `_dro`, `_subsample`, `_ablate-<x>`."""
    default = METHODS[method].reweight
    reweight = config.values.get("reweight") if own else reweight
    variant = ""
    if default is not None and reweight is not None and reweight != default:
        variant = "_reweight" if reweight else "_no-reweight"
    if not own:
        return variant
    if config.is_robust:
        variant = f"_{config.rob_approach}"
    ablated = [name.split("ablate_")[1] for name, value in config.values.items() if "ablate_" in name and value is True]
    return variant + ("_ablate-" + "-".join(ablated) if ablated else "")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. What is read raises ValueError, in one line, where it cannot be."""

    path: Path

    def file(self, name: str) -> Path:
        """A file in it."""
        return self.path / name

    @property
    def marked(self) -> bool:
        """Whether the run ended well, whatever became of its files."""
        return os.path.exists(self.file(DONE))

    @property
    def done(self) -> bool:
        """Whether the run ended well, and still has what it had then."""
        return self.marked and not self.lost()

    @property
    def is_imported(self) -> bool:
        """Whether a model of another program is there, which nothing makes anew."""
        try:
            return self.done and bool(self.read_config().get(IMPORTED))
        except ValueError:
            return False

    def lost(self) -> list[str]:
        """The files that a run marked as done has no more."""
        try:
            names = read_text(self.file(DONE)).split("\n")[:-1] or NEEDED  # an earlier version's marker is empty
        except (OSError, ValueError):
            names = NEEDED
        return [name for name in names if not self.file(name).exists()]

    def list_needed(self) -> list[str]:
        """The files without which the run is not done, sorted: what its marker is to list."""
        further = (file.name for file in self.path.glob(records_name("*")))
        return sorted({*NEEDED, SPLITS, *further})

    def read_config(self) -> dict[str, Any]:
        """config.yaml."""
        return files.read_config(self.file(CONFIG))

    def read_metrics(self) -> dict[str, Any]:
        """metrics.json; a metric that could not be computed is None."""
        return files.read_metrics(self.file(METRICS))

    def read_history(self) -> dict[str, list[float | None]]:
        """history.csv by column."""
        return files.read_history(self.file(HISTORY))

    def read_status(self) -> dict[str, str]:
        """The `state` and `reason` of status.json."""
        return files.read_status(self.file(STATUS))
