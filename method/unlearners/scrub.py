"""SCRUB, and SCRUB+R, which rewinds.

Meghdad Kurmanji, Peter Triantafillou, Jamie Hayes and Eleni Triantafillou, Towards Unbounded Machine Unlearning,
NeurIPS 2023.

Objective. A student (weights w_u) leaves its teacher, the original (w_o), on F, and stays with it and with the labels
on R:

    min over w_u of   alpha mean_R KL(w_o || w_u) + gamma mean_R CE(w_u) - mean_F KL(w_o || w_u)

with KL_T(t || s) = T^2 / B sum p_t log(p_t / p_s) over a batch, p_t and p_s softened by a temperature T.

Symbols, and what each is called here:

    w_o, w_u        `original`, `model`
    KL_T            `kl_to_teacher`
    alpha, gamma    `alpha`, `gamma`
    T, E_f          `temperature`, `forget_epochs`

Steps. Start at w_u = w_o; in every epoch e:

    1. `diverge`    If e < E_f, one pass over F that ascends KL_T (the paper's max-steps).
    2. `preserve`   One pass over R that descends alpha KL_T + gamma CE (min-steps), in batches of `batch_size_retain`.

SCRUB+R (`--scrub_rewind`) records the error on F of w_o and after every epoch, and at the end

    3. `finish`     takes the epoch whose error on F is nearest to the final error on unseen samples like F's: those of
                    V in the forget groups; where V has none, in the forget targets; where it has none of those, all of
                    V. Among equally near ones the first counts.

What the rewind aims at is known only at the end, so the weights of every epoch are kept until then.

`--rob_approach` weighs CE on R by groups, and not KL_T, or draws from R by them. The published code has
no rewind; no other departure of it is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from method.losses import kl_to_teacher
from method.registry import Range, param, register
from method.unlearners.base import Batch, Phase, copy_weights
from method.unlearners.grouped import Grouped, GroupParams
from utils.device import fetch


@register("scrub")
class SCRUB(Grouped):
    """Leave the original on the forget set, stay with it and with the labels on the retain set."""

    history_columns = {"forget_error": ("percent", "with --scrub_rewind: 100 - accuracy on F after the epoch")}
    metric_keys = Grouped.metric_keys | {
        "rewind_epoch": ("epoch", "with --scrub_rewind: the epoch that was rewound to; -1 is the original"),
        "rewind_target_error": (
            "percent",
            "with --scrub_rewind: 100 - accuracy on V's samples of the forget groups after the last epoch, which the "
            "chosen epoch's error on F is nearest to",
        ),
    }

    @dataclass(frozen=True)
    class Params(GroupParams):
        """The weights of the two retain terms, the temperature of both divergences, and the rewind."""

        forget_epochs: int
        alpha: float = param(
            0.001, "weight of KL(original || model) on R", aliases=("alpha_scrub",), at_least=0,
            search=Range(1e-4, 1, log=True),
        )  # fmt: skip
        gamma: float = param(0.99, "weight of the cross-entropy on R", aliases=("gamma_scrub",), at_least=0)
        temperature: float = param(4.0, "softens both distributions", aliases=("temperature_scrub",), above=0)
        batch_size_retain: int = param(128, "samples a step on R", aliases=("batch_size_retain",), at_least=1)
        rewind: bool = param(False, "take the epoch whose error on F is nearest to the last error on V's forget groups")

    def __init__(self, *args: Any):
        super().__init__(*args)
        # The rewind's candidates so far: `epoch` (-1: theta0), `error` on F in percent, and `weights`, a key of `kept`.
        self.epochs: list[dict[str, Any]] = []

    def phases(self, epoch: int) -> Iterator[Phase]:
        """Steps 1 and 2 of the algorithm: `diverge` on F while e < E_f, `preserve` on R."""
        if epoch < self.p.forget_epochs:
            yield Phase("forget", self.diverge, data="forget")
        facts: dict[str, Any] = {"batch_size": self.p.batch_size_retain, "sampling": self.approach.sampling}
        yield Phase("retain", self.preserve, data="retain", **facts)

    def diverge(self, batch: Batch) -> Tensor:
        """Step 1: ascend KL_T(original || model) on F."""
        return -kl_to_teacher(self.model(batch.image), self.original.logits(batch), self.p.temperature)

    def preserve(self, batch: Batch) -> Tensor:
        """Step 2: descend alpha KL_T(original || model) + gamma CE on R."""
        logits = self.model(batch.image)
        stay = kl_to_teacher(logits, self.original.logits(batch), self.p.temperature)
        return self.p.alpha * stay + self.p.gamma * self.approach.risk(logits, batch.target, batch.group)

    def prepare(self) -> Iterator[Phase]:
        """No phase; theta0 is the rewind's first candidate."""
        self._record(-1)
        return iter(())

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """With the rewind: record the epoch as a candidate, and give its error on F, in percent, to the history."""
        return self._record(epoch)

    def _record(self, epoch: int) -> dict[str, float]:
        """Keep an epoch's weights and error on F, in percent, which is returned for the history; -1: theta0."""
        if not self.p.rewind:
            return {}
        error, name = 100 - self.measure("forget").accuracy(), f"after_{epoch + 1}"
        self.kept[name] = fetch(copy_weights(self.model))
        self.epochs.append({"epoch": epoch, "error": error, "weights": name})
        return {"forget_error": error}

    def finish(self) -> None:
        """Step 3, with the rewind: put the candidate whose error on F is nearest to `_unseen_error` into the model."""
        if self.p.rewind:
            self.target_error = self._unseen_error()
            self.chosen = min(self.epochs, key=lambda one: abs(one["error"] - self.target_error))
            self.model.load_state_dict(self.kept[self.chosen["weights"]])

    def _unseen_error(self) -> float:
        """Final error, in percent, on V's samples of the forget groups, else of the forget targets, else on all V."""
        val = self.measure("val")
        accuracy = val.accuracy_of(self.task.forget_groups)
        if accuracy is None:
            n_sensitive = self.task.n_groups // self.task.n_targets
            targets = {group // n_sensitive for group in self.task.forget_groups}
            accuracy = val.accuracy_of([g for g in range(self.task.n_groups) if g // n_sensitive in targets])
        return 100 - (val.accuracy() if accuracy is None else accuracy)

    def extra_metrics(self) -> dict[str, Any]:
        """The epoch rewound to (-1: theta0) and the error that it aimed at, percent; what the approach reports."""
        found = super().extra_metrics()
        if self.p.rewind:
            found |= {"rewind_epoch": self.chosen["epoch"], "rewind_target_error": self.target_error}
        return found

    def other_weights(self) -> dict[str, dict[str, Tensor]]:
        """The last epoch's weights, for the row without rewind."""
        return {"without_rewind": self.kept[self.epochs[-1]["weights"]]} if self.p.rewind else {}

    def state(self) -> dict[str, Any]:
        """The rewind's candidates so far, whose weights are in `kept`, and what the approach has learned."""
        return {"epochs": self.epochs, **super().state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the candidates from a saved state; one of an earlier version holds their weights itself."""
        super().load_state(state)
        self.epochs = [dict(one) for one in state["epochs"]]
        for one in self.epochs:
            if not isinstance(one["weights"], str):
                name = f"after_{one['epoch'] + 1}"
                self.kept[name], one["weights"] = fetch(one["weights"]), name
