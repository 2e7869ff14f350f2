"""pretrain: ERM on the whole train set. retrain: ERM on the retain set, the reference of exact unlearning."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from method.registry import register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner, copy_weights


class Training(Unlearner):
    """Empirical risk minimisation from initial weights, keeping the epoch that `select` names."""

    from_original = False
    data: str

    @dataclass(frozen=True)
    class Params(NoParams):
        """Which epoch's weights are kept: the best on V, the best worst group of V, or the last."""

        select: str = "best_val"

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.best_score, self.best_epoch, self.best = -1.0, -1, {}

    def phases(self, epoch: int) -> Iterator[Phase]:
        """One pass."""
        yield Phase(self.data, self.fit, data=self.data)

    def fit(self, batch: Batch) -> Tensor:
        """Cross-entropy."""
        return cross_entropy(self.model(batch.image), batch.target)

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
        return {"selected_epoch": self.best_epoch}

    def state(self) -> dict[str, Any]:
        """The best epoch so far."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch, "best": self.best}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the best epoch back."""
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
