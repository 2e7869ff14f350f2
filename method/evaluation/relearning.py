"""Is what was forgotten gone, or only hidden? Accuracies while models are fine-tuned, as pure functions of counts."""

import math
from collections.abc import Sequence

import numpy as np

from method.evaluation.measures import DIFFERENCE, PERCENT, Measure
from method.evaluation.metrics import Undefined

MARGIN = 1.0  # percentage points below the original's accuracy at which a set counts as learned again


def accuracy_of(correct: np.ndarray, count: np.ndarray, group: int | None = None) -> float:
    """Percent of right predictions of a group, None for all; both int (n_groups,). Undefined without a sample."""
    right, n = (int(values.sum() if group is None else values[group]) for values in (correct, count))
    if n == 0:
        raise Undefined("there is no sample")
    return 100.0 * right / n


def relearn_epochs(steps: Sequence[int], accuracies: Sequence[float], target: float, steps_a_pass: int) -> float:
    """Passes over the forget set until `target`: the first of `steps` with that accuracy, as a part of a pass.

    Undefined, with the best accuracy, where none of them has it. All accuracies in percent.
    """
    reached = next((step for step, own in zip(steps, accuracies, strict=True) if own >= target - MARGIN), None)
    if reached is None:
        raise Undefined(
            f"after {steps[-1] / steps_a_pass:g} epochs the accuracy is at most {max(accuracies):.1f} %, "
            f"expected {target:.1f} % less {MARGIN:g}"
        )
    return reached / steps_a_pass


ATTACK = "Siddiqui et al. 2025, arXiv 2505.22310"
ONE_RATE = "one optimiser, learning rate and seed: another attacker may bring back more"
MEASURES = (
    Measure(
        "relearn_acc",
        "relearned",
        "accuracy on forgotten samples that a fine-tuned model was not shown",
        "Fine-tune on a sample of the retain set plus k forgotten samples; accuracy on the rest of the forget set after"
        " s steps. Unlearned, retrained and original model get the same batches.",
        ATTACK,
        f"It rises in a retrained model too, which learns from k samples; {ONE_RATE}.",
        range=PERCENT,
    ),
    Measure(
        "relearn_gap",
        "relearn gap",
        "how much better forgotten samples are known than by the retrained model, both fine-tuned",
        "relearn_acc of the unlearned model minus the retrained one's, at the same k and step, run by run; percentage "
        "points. Beside it the same of the original, the control, which must keep its gap.",
        ATTACK,
        "A gap before the first step is what accuracy says without this test, so it shows nothing hidden: see its "
        "growth. One retrained model is one draw: the same between two of them is its noise.",
        range=DIFFERENCE,
    ),
    Measure(
        "relearn_growth",
        "relearn growth",
        "how much of the forget set comes back by fine-tuning, beyond what the retrained model gains",
        "relearn_gap at the last step that all runs of the row have minus relearn_gap before the first, run by run; "
        "percentage points. Made by reports, from relearn_gap.",
        ATTACK,
        "What grows and ends above the retrained model was hidden. What grows and ends at or below it was suppressed, "
        "and comes back no further than in a model that was not trained on it. None does not show that nothing was "
        f"hidden: {ONE_RATE}.",
        range=(-200.0, 200.0),
    ),
    Measure(
        "relearn_time",
        "relearn time",
        "epochs of fine-tuning on the forget set until the original's accuracy on it is back",
        "The first step at which the accuracy on the forget set is at most 1 percentage point below the original's, "
        "divided by the steps of an epoch; capped. Over runs the mean where all of them get there, else the median "
        "where more than half do, else more than the cap.",
        "Golatkar et al. 2020 (CVPR)",
        "Compare with the retrained model's. A forget set of a single class is soon learned by any model, which then "
        "says that class alone; between the steps that are looked at nothing is known.",
        unit="epochs",
        decimals=2,
        range=(0.0, math.inf),
    ),
)
