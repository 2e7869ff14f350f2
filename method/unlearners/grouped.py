"""Methods whose pass over what is kept treats groups as `--rob_approach` says: which samples, and how losses count."""

from dataclasses import dataclass
from typing import Any

from method.group_dro import APPROACHES
from method.unlearners.base import NoParams, Unlearner


@dataclass(frozen=True)
class GroupParams(NoParams):
    """What `--rob_approach` names, with the step size and the adjustment of group DRO."""

    rob_approach: str
    dro_step_size: float
    dro_adjustment: float


class Grouped(Unlearner):
    """A method with a pass over `data` whose phase draws by `approach.sampling`, and whose loss is an `approach.risk`.

    What else it descends there, such as a penalty, counts as it does without an approach; other passes do too.
    """

    data = "retain"
    Params: type = GroupParams
    metric_keys = {
        "dro_group_weights": (
            "list of shares",
            "with --rob_approach dro: q at the end, by group id; sum 1",
        ),
    }

    def __init__(self, *args: Any):
        super().__init__(*args)
        counts = {"train": self.task.group_counts, "retain": self.task.retain_counts}[self.data]
        device = next(self.model.parameters()).device
        self.approach = APPROACHES[self.p.rob_approach](counts, self.p.dro_step_size, self.p.dro_adjustment, device)

    def extra_metrics(self) -> dict[str, Any]:
        """What the approach reports."""
        return self.approach.metrics()

    def state(self) -> dict[str, Any]:
        """What the approach has learned."""
        return {"approach": self.approach.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the approach from a saved state (`state`'s format)."""
        self.approach.load_state(state.get("approach", {}))  # an earlier version's ERM has none
