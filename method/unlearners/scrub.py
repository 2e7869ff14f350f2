"""SCRUB (Kurmanji et al., Towards Unbounded Machine Unlearning, NeurIPS 2023)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from method.losses import kl_to_teacher
from method.registry import param, register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner, copy_weights
from utils.device import fetch


@register("scrub")
class SCRUB(Unlearner):
    """Leave the original on the forget set, stay with it and with the labels on the retain set."""

    @dataclass(frozen=True)
    class Params(NoParams):
        """The weights of the two retain terms, the temperature of both divergences, and the rewind."""

        forget_epochs: int
        alpha: float = param(0.001, "weight of KL(original || model) on R", aliases=("alpha_scrub",), at_least=0)
        gamma: float = param(0.99, "weight of the cross-entropy on R", aliases=("gamma_scrub",), at_least=0)
        temperature: float = param(4.0, "softens both distributions", aliases=("temperature_scrub",), above=0)
        batch_size_retain: int = param(128, "samples a step on R", aliases=("batch_size_retain",), at_least=1)
        rewind: bool = param(False, "take the epoch whose error on F is nearest to the last error on V's forget groups")

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.epochs: list[dict[str, Any]] = []

    def phases(self, epoch: int) -> Iterator[Phase]:
        """A pass away from the original on F, then one back to it on R."""
        if epoch < self.p.forget_epochs:
            yield Phase("forget", self.diverge, data="forget")
        yield Phase("retain", self.preserve, data="retain", batch_size=self.p.batch_size_retain)

    def diverge(self, batch: Batch) -> Tensor:
        """Ascend KL_T(original || model) on F."""
        return -kl_to_teacher(self.model(batch.image), self.original.logits(batch), self.p.temperature)

    def preserve(self, batch: Batch) -> Tensor:
        """Descend gamma CE + alpha KL_T(original || model) on R."""
        logits = self.model(batch.image)
        stay = kl_to_teacher(logits, self.original.logits(batch), self.p.temperature)
        return self.p.alpha * stay + self.p.gamma * cross_entropy(logits, batch.target)

    def prepare(self) -> Iterator[Phase]:
        """The rewind's first candidate is theta0."""
        self._record(-1)
        return iter(())

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Record a candidate of the rewind."""
        return self._record(epoch)

    def _record(self, epoch: int) -> dict[str, float]:
        if not self.p.rewind:
            return {}
        error = 100 - self.measure("forget").accuracy()
        self.epochs.append({"epoch": epoch, "error": error, "weights": fetch(copy_weights(self.model))})
        return {"forget_error": error}

    def finish(self) -> None:
        """SCRUB+R: rewind to the epoch whose error on F is nearest to what never-seen samples of those groups get."""
        if self.p.rewind:
            self.target_error = self._unseen_error()
            self.chosen = min(self.epochs, key=lambda one: abs(one["error"] - self.target_error))
            self.model.load_state_dict(self.chosen["weights"])

    def _unseen_error(self) -> float:
        """Final error on V's samples of the forget groups; of the forget targets where V has none."""
        val = self.measure("val")
        accuracy = val.accuracy(self.task.forget_groups)
        if accuracy is None:
            n_sensitive = self.task.n_groups // self.task.n_targets
            targets = {group // n_sensitive for group in self.task.forget_groups}
            accuracy = val.accuracy(tuple(g for g in range(self.task.n_groups) if g // n_sensitive in targets))
        return 100 - (val.accuracy() if accuracy is None else accuracy)

    def extra_metrics(self) -> dict[str, Any]:
        """The epoch rewound to (-1: theta0) and the error it aimed at."""
        if not self.p.rewind:
            return {}
        return {"rewind_epoch": self.chosen["epoch"], "rewind_target_error": self.target_error}

    def other_weights(self) -> dict[str, dict[str, Tensor]]:
        """The last epoch, for the row without rewind."""
        return {"without_rewind": self.epochs[-1]["weights"]} if self.p.rewind else {}

    def state(self) -> dict[str, Any]:
        """The candidates so far."""
        return {"epochs": self.epochs}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the candidates back."""
        self.epochs = state["epochs"]
