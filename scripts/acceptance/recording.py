"""Runs that remember every step, and how far two of them are apart."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from method.training.engine import Engine
from method.unlearners.base import Batch, Phase
from scripts.acceptance.harness import Made, Place, fields_of, trained, weights_of
from scripts.acceptance.rows import Row, verdict

EXACT = 1e-4  # of weights after a step, absolute; of losses, relative to them where they are above 1


@dataclass(frozen=True)
class Step:
    """What a step was given, and what it left."""

    phase: str
    batch: dict[str, Any]
    loss: float
    weights: dict[str, Tensor]


class Recording(Engine):
    """The engine, remembering every step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.steps: list[Step] = []
        self.start = weights_of(self.modules)

    def _step(self, phase: Phase, batch: Batch, *more: Any) -> Tensor:
        loss = super()._step(phase, batch, *more)
        self.steps.append(Step(phase.name, fields_of(batch), float(loss), weights_of(self.modules)))
        return loss


def recorded(variant: str, place: Place, **flags: Any) -> Made[Recording]:
    """The finished run, its engine a Recording."""
    with trained(variant, place, Recording, **flags) as made:
        return made


def agreement(name: str, variant: str, place: Place, other: Place) -> Row:
    """One step of each phase at two places."""
    return equal_but_for_rounding(name, recorded(variant, place), recorded(variant, other))


def equal_but_for_rounding(name: str, found: Made[Recording], expected: Made[Recording]) -> Row:
    """Whether weights and losses of all steps, and the weights at the end, are equal but for rounding."""
    gaps = gaps_of(found.engine.steps, expected.engine.steps)
    gaps["weights at the end"] = apart(found.weights(), expected.weights())
    worst = max(gaps, key=gaps.__getitem__)
    return verdict(name, gaps[worst] <= EXACT, f"{gaps[worst]:.1e} in {worst}", f"at most {EXACT:.0e}")


def gaps_of(steps: list[Step], others: list[Step]) -> dict[str, float]:
    """How far weights and losses are apart; infinite where the steps are not the same ones."""
    if [step.phase for step in steps] != [step.phase for step in others]:
        return {"the order of phases": torch.inf}
    gaps: dict[str, float] = {}
    for step, other in zip(steps, others, strict=True):
        for name, gap in (
            (f"weights after {step.phase}", apart(step.weights, other.weights)),
            (f"loss of {step.phase}", abs(step.loss - other.loss) / max(1.0, abs(other.loss))),
        ):
            gaps[name] = max(gaps.get(name, 0.0), not_nan(gap))
    return gaps


def apart(weights: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """The largest difference of two sets of weights; equal NaNs, such as of a mean without a value yet, are none."""
    if weights.keys() != others.keys():
        return torch.inf
    pairs = ((weights[name].double(), others[name].double()) for name in weights)
    return max(not_nan(float((a - b).masked_fill(a.isnan() & b.isnan(), 0).abs().max())) for a, b in pairs)


def not_nan(value: float) -> float:
    """NaN, which is at most nothing, as infinity."""
    return torch.inf if value != value else value
