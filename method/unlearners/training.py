"""pretrain and retrain: training from initial weights, by ERM, with REWEIGHT or by group DRO.

ERM. With the train set D for pretrain, and for retrain, which is exact unlearning, with the retain set R:

    min over theta of   mean CE(f_theta(x), y)

REWEIGHT (Thomas De Min et al., Group-robust Machine Unlearning, TMLR 2025; `retrain --reweight`) draws from R with
replacement, |R| samples an epoch, so that every group g has the share that it has in D: sample i of group g with a
probability proportional to

    w_i = N_g(D) / N_g(R)

It is the reference that MIU and every reweighted method are compared with.

Group DRO (`--rob_approach dro`; `method/group_dro.py`) descends the loss of the worst groups instead of the mean;
`--rob_approach subsample` is ERM on as many samples of every group as the smallest has.

Symbols, and what each is called here: f_theta `model`; D, R `data`, "train" and "retain"; N_g(S), the samples of group
g in S, `task.group_counts` for D and `task.retain_counts` for R; w_i `reweight_weights`, in `datasets/sampling.py`.

Steps. In every epoch:

    1. `fit`        one pass over D or R with the loss; warm-up and schedule of the learning rate are the engine's
    2. `end_epoch`  measures V, and keeps a copy of the weights where they are the best so far
    At the end:
    3. `finish`     puts the weights back that `--select` asks for: the best on V (best_val), those with the best worst
                    group of V (worst_group), of equally good ones the first; or the last

No departure of the published code is known in ERM and REWEIGHT.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from method.registry import register
from method.unlearners.base import Batch, Phase, copy_weights
from method.unlearners.grouped import Grouped, GroupParams


class Training(Grouped):
    """Training from initial weights, by ERM or as `rob_approach` says, keeping the epoch that `select` names."""

    from_original = False

    metric_keys = Grouped.metric_keys | {
        "selected_epoch": ("epoch", "the epoch whose weights were kept, as --select says; from 0"),
    }

    @dataclass(frozen=True)
    class Params(GroupParams):
        """Which epoch's weights are kept: the best on V, the best worst group of V, or the last; and the groups."""

        select: str

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.best_score, self.best_epoch = -1.0, -1
        self.best: dict[str, Tensor] = {}

    def phases(self, epoch: int) -> Iterator[Phase]:
        """The epoch's only phase: `fit` on D or R, as the approach draws from it."""
        yield Phase(self.data, self.fit, data=self.data, sampling=self.approach.sampling)

    def fit(self, batch: Batch) -> Tensor:
        """Step 1: cross-entropy, with groups as the approach weighs them."""
        return self.approach.risk(self.model(batch.image), batch.target, batch.group)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Step 2: measure V, in percent, and keep the weights where they are better than all before."""
        val = self.measure("val")
        scores = {"best_val": val.accuracy(), "worst_group": val.worst(), "last": float(epoch)}
        if scores[self.p.select] > self.best_score:
            self.best_score, self.best_epoch = scores[self.p.select], epoch
            self.best = copy_weights(self.model)
        return {"val_acc": val.accuracy(), "val_worst_group_acc": val.worst()}

    def finish(self) -> None:
        """Step 3: put the kept epoch's weights back."""
        self.model.load_state_dict(self.best)

    def extra_metrics(self) -> dict[str, Any]:
        """The epoch that was kept, from 0, and what the approach reports."""
        return {"selected_epoch": self.best_epoch, **super().extra_metrics()}

    def state(self) -> dict[str, Any]:
        """The best epoch so far, and what the approach has learned."""
        best = {"best_score": self.best_score, "best_epoch": self.best_epoch, "best": self.best}
        return {**best, **super().state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the best epoch and the approach from a saved state (`state`'s format)."""
        super().load_state(state)
        self.best_score, self.best_epoch, self.best = state["best_score"], state["best_epoch"], state["best"]


@register("pretrain")
class Pretrain(Training):
    """The original model: trained on the train set."""

    reweight = None
    forgets = False
    data = "train"


@register("retrain")
class Retrain(Training):
    """Exact unlearning: trained on the retain set; with REWEIGHT the gold standard of group-robust unlearning."""
