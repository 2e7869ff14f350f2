"""pretrain: training on the whole train set. retrain: on the retain set, the reference of exact unlearning."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from method.group_dro import APPROACHES
from method.registry import register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner, copy_weights


class Training(Unlearner):
    """Training from initial weights, by ERM or as `rob_approach` says, keeping the epoch that `select` names."""

    from_original = False
    data: str

    @dataclass(frozen=True)
    class Params(NoParams):
        """Which epoch's weights are kept: the best on V, the best worst group of V, or the last; and the groups."""

        select: str
        rob_approach: str
        dro_step_size: float
        dro_adjustment: float

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.best_score, self.best_epoch, self.best = -1.0, -1, {}
        counts = {"train": self.task.group_counts, "retain": self.task.retain_counts}[self.data]
        device = next(self.model.parameters()).device
        self.approach = APPROACHES[self.p.rob_approach](counts, self.p.dro_step_size, self.p.dro_adjustment, device)

    def phases(self, epoch: int) -> Iterator[Phase]:
        """One pass."""
        yield Phase(self.data, self.fit, data=self.data, sampling=self.approach.sampling)

    def fit(self, batch: Batch) -> Tensor:
        """Cross-entropy, of groups as the approach weighs them."""
        return self.approach.risk(self.model(batch.image), batch.target, batch.group)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Measure V; the first of equally good epochs is kept."""
        val = self.measure("val")
        scores = {"best_val": val.accuracy(), "worst_group": val.worst(), "last": float(epoch)}
        if scores[self.p.select] > self.best_score:
            self.best_score, self.best_epoch = scores[self.p.select], epoch
            self.best = copy_weights(self.model)
        return {"val_acc": val.accuracy(), "val_worst_group_acc": val.worst()}

    def finish(self) -> None:
        """Put the kept epoch's weights back."""
        self.model.load_state_dict(self.best)

    def extra_metrics(self) -> dict[str, Any]:
        """The epoch that was kept, from 0."""
        return {"selected_epoch": self.best_epoch, **self.approach.metrics()}

    def state(self) -> dict[str, Any]:
        """The best epoch so far, and what the approach has learned."""
        best = {"best_score": self.best_score, "best_epoch": self.best_epoch, "best": self.best}
        return {**best, "approach": self.approach.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.approach.load_state(state.get("approach", {}))  # ERM has none
        self.best_score, self.best_epoch, self.best = state["best_score"], state["best_epoch"], state["best"]


@register("pretrain")
class Pretrain(Training):
    """The original model: trained on D."""

    reweight = None
    forgets = False
    data = "train"


@register("retrain")
class Retrain(Training):
    """Exact unlearning: trained on R; with REWEIGHT the gold standard of group-robust unlearning."""

    data = "retain"
