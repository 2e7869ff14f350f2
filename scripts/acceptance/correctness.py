"""Whether the device computes what the CPU computes, bf16 what fp32 does, and --compile what goes without it.

The CPU's side is fp32 by torch's own kernels, without oneDNN's, so that on a CPU too two ways are compared.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch._dynamo
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from datasets.transforms import normalise
from method.engine import Engine
from method.unlearners.base import Batch, Phase
from scripts.acceptance import batches, continuing, gpu
from scripts.acceptance.harness import (
    CPU,
    REFERENCE,
    Made,
    Place,
    fields_of,
    network,
    patterns,
    trained,
    variants,
    weights_of,
)
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Row, Rows, skipped, verdict
from utils import device as devices
from utils.errors import UserError

EXACT = 1e-4  # of weights after a step, absolute; of losses, relative to them where they are above 1
# bf16 keeps 8 bits. A step may miss this share of what fp32 moves the weights by, and of the loss (or of 1).
STEP_SHARE, LOSS_SHARE = 0.1, 0.01
NEAR = 1e-4  # gradients so near to the smallest salient one, relative to it, may fall on either side
QUICK_COMPILED = ("pretrain", "salun", "miu")
SALUN_EPOCHS = {"epochs": 3, "batch_size": 8}
SCRUB_EPOCHS = {"epochs": 5, "lr": 0.02, "batch_size": 8, "scrub_batch_size_retain": 8, "forget_epochs": 2}
REWEIGHTED = ("retain", {"epochs": 2, "batch_size": 8, "reweight": True})


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


def rows(options: Options) -> Rows:
    """The most telling first."""
    device = gpu.chosen(options)
    place = Place(device)
    yield from steps_agree(place)
    yield inputs_agree(place)
    yield from draws_agree(place)
    yield saliency_is_right(place)
    yield frozen_stay(place)
    yield rewind_agrees(place)
    yield from bf16_agrees(place)
    yield from compiled_agrees(place, options)
    yield from continuing.rows(place, options)
    yield from batches.rows(device, options)


def recorded(variant: str, place: Place, **flags: Any) -> Made:
    """The finished run, its engine a Recording."""
    with trained(variant, place, Recording, **flags) as made:
        return made


# One step of every phase.


def steps_agree(place: Place) -> Rows:
    """A row a variant: one step of each of its phases, on the device and on the CPU."""
    pair = "oneDNN against torch's kernels" if place.device == CPU else f"{place.device.type} against the CPU"
    for variant in variants():
        found, expected = recorded(variant, place), recorded(variant, REFERENCE)
        yield agreement(f"{variant}: {pair}", found, expected)


def agreement(name: str, found: Made, expected: Made) -> Row:
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


# What steps see.


def inputs_agree(place: Place) -> Row:
    """Rows, labels and drawn numbers bit for bit, and images as bytes, in several batches of two epochs."""
    flags = {"epochs": 2, "batch_size": 8, "scrub_batch_size_retain": 8, "use_train_aug": True}
    n = 0
    for variant in variants():
        steps = [recorded(variant, one, **flags).engine.steps for one in (place, REFERENCE)]
        n += len(steps[1])
        if len(steps[0]) != len(steps[1]):
            return verdict(
                "what steps see", False, f"{len(steps[0])} steps of {variant}", f"{len(steps[1])} on the CPU"
            )
        for number, (step, other) in enumerate(zip(*steps, strict=True)):
            differing = [name for name in other.batch if not same(name, step.batch[name], other.batch[name])]
            if differing:
                where = f"{variant}, step {number} ({other.phase})"
                return verdict("what steps see", False, f"{', '.join(differing)} of {where}", "equal on device and CPU")
    return verdict("what steps see", n > 0, f"equal in {n} steps", "rows, labels, draws bit for bit; images as bytes")


def same(name: str, value: Any, other: Any) -> bool:
    """Whether two fields of a batch are equal; a division may round otherwise on the device, a pixel not."""
    if not isinstance(other, Tensor):
        return value == other
    if name == "image":
        return torch.equal(as_bytes(value), as_bytes(other))
    return torch.equal(value, other)


def as_bytes(image: Tensor) -> Tensor:
    """The pixels that a normalised image was made from."""
    return ((image + 1) * 127.5).round().to(torch.uint8)


def draws_agree(place: Place) -> Rows:
    """The splits, and the samples that REWEIGHT draws over two epochs."""
    flags = REWEIGHTED[1]
    found, expected = (recorded("retrain", one, **flags) for one in (place, REFERENCE))
    names = ("train", "val", "test", "forget", "retain")
    unequal = [
        name for name in names if not np.array_equal(getattr(found.splits, name), getattr(expected.splits, name))
    ]
    yield verdict("splits", not unequal, ", ".join(unequal) or "equal", "to the CPU's")
    drawn, wanted = (torch.cat([step.batch["index"] for step in made.engine.steps]) for made in (found, expected))
    twice = len(drawn) - len(drawn.unique())
    equal = torch.equal(drawn, wanted) and twice > 0
    yield verdict("REWEIGHT's draws", equal, f"{len(drawn)} draws, {'equal' if equal else 'unequal'}", "to the CPU's")


# SalUn and SCRUB.


def saliency_is_right(place: Place) -> Row:
    """The mask against the largest gradients, computed apart in fp64."""
    made = recorded("salun", place)
    mask = torch.cat([piece.flatten() for piece in made.unlearner.saliency_mask]).cpu()
    gradient = forget_gradient(made)
    n = int(made.config.salun_saliency_ratio * len(gradient))
    smallest = gradient.sort(descending=True).values[n - 1]
    wrong = int((mask & (gradient < smallest * (1 - NEAR))).sum() + (~mask & (gradient > smallest * (1 + NEAR))).sum())
    right = wrong == 0 and int(mask.sum()) == n
    return verdict("SalUn's mask", right, f"{wrong} wrong of {len(mask)}, {int(mask.sum())} salient", f"0 wrong, {n}")


def forget_gradient(made: Made) -> Tensor:
    """|gradient| of the summed loss of the forget set at the original, in eval mode, in fp64 on the CPU."""
    data, rows_ = patterns(), made.splits.forget
    model = network("tiny", trained=True).double().eval()
    image = normalise(torch.from_numpy(data.pixels[rows_])).double()
    logits = linear(model.backbone(image), model.head.weight, model.head.bias)  # a classifier's own are fp32
    cross_entropy(logits, torch.tensor(data.target[rows_]), reduction="sum").backward()
    return torch.cat([parameter.grad.abs().flatten() for parameter in model.parameters()])


def frozen_stay(place: Place) -> Row:
    """Weights outside the mask are those of the start to the last bit, and those within have moved."""
    made = recorded("salun", place, **SALUN_EPOCHS)
    before, after = made.engine.start, made.weights()
    names = [f"model.{name}" for name, _ in made.unlearner.model.named_parameters()]
    masks = [mask.cpu() for mask in made.unlearner.saliency_mask]
    frozen = sum(int((~mask).sum()) for mask in masks)
    changed = sum(int((~mask & (before[name] != after[name])).sum()) for name, mask in zip(names, masks, strict=True))
    moved = sum(int((mask & (before[name] != after[name])).sum()) for name, mask in zip(names, masks, strict=True))
    n = len(made.engine.steps)
    value = f"{changed} of {frozen} changed in {n} steps, {moved} others moved"
    return verdict(
        "SalUn's frozen weights", changed == 0 and frozen > 0 and moved > 0, value, "none changed, bit for bit"
    )


def rewind_agrees(place: Place) -> Row:
    """SCRUB+R goes back to the epoch that the CPU goes back to, and its weights are those of that epoch."""
    found, expected = (recorded("scrub, rewind", one, **SCRUB_EPOCHS) for one in (place, REFERENCE))
    choices = [made.unlearner.extra_metrics() for made in (found, expected)]
    chosen = found.unlearner.chosen["weights"]
    kept = all(
        torch.equal(value, chosen[name].cpu()) for name, value in found.unlearner.model.cpu().state_dict().items()
    )
    errors = [f"{one['error']:.0f}" for one in found.unlearner.epochs]
    value = f"epoch {choices[0]['rewind_epoch']} of errors {', '.join(errors)}"
    detail = f"epoch {choices[1]['rewind_epoch']} on the CPU" + ("" if kept else "; the weights are not that epoch's")
    return verdict("SCRUB's rewind", choices[0] == choices[1] and kept, value, detail)


# Other precisions, and the compiler.


def bf16_agrees(place: Place) -> Rows:
    """One step in bf16 against one in fp32 on the same device."""
    for variant in variants():
        found = recorded(variant, replace(place, precision=torch.bfloat16))
        expected = recorded(variant, place)
        moved = distance(expected, expected.weights(), expected.engine.start)
        missed = distance(expected, found.weights(), expected.weights())
        step = not_nan(missed / max(moved, torch.finfo(torch.float32).tiny))
        loss = max((gap for name, gap in gaps_of(found.engine.steps, expected.engine.steps).items() if "loss" in name))
        value = f"misses {100 * step:.1f} % of the step, {100 * loss:.2f} % of the loss"
        good = step <= STEP_SHARE and loss <= LOSS_SHARE
        yield verdict(f"{variant}: bf16 against fp32", good, value, f"at most {STEP_SHARE:.0%}, {LOSS_SHARE:.0%}")


def distance(made: Made, weights: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """The norm of the difference of two sets of parameters; buffers move without a step."""
    names = [name for name, _ in torch.nn.ModuleDict(made.unlearner.modules()).named_parameters()]
    return float(sum((weights[name].double() - others[name].double()).square().sum() for name in names)) ** 0.5


def compiled_agrees(place: Place, options: Options) -> Rows:
    """One step of a compiled backbone against one of the same that is not."""
    try:
        devices.check_compiler(place.device)
    except UserError as error:
        yield skipped("--compile against eager", str(error))
        return
    before = compiled_graphs()
    for variant in QUICK_COMPILED if options.quick else variants():
        found, expected = recorded(variant, replace(place, compiled=True)), recorded(variant, place)
        yield agreement(f"{variant}: --compile against eager", found, expected)
    # Beyond its limit the compiler gives up without a word, and eager would be compared with eager.
    n, limit = compiled_graphs() - before, graphs_at_most()
    yield verdict("--compile was at work", 0 < n < limit, f"{n} graphs", f"at least 1, below its limit of {limit}")


def compiled_graphs() -> int:
    """Graphs that the compiler has made in this process."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def graphs_at_most() -> int:
    """Of one function; what the setting is called depends on torch's version."""
    settings = torch._dynamo.config
    return getattr(settings, "recompile_limit", None) or settings.cache_size_limit
