"""Whether the device computes what the CPU computes, bf16 what fp32 does, and --compile what goes without it.

The CPU's side is fp32 by torch's own kernels, without oneDNN's, so that on a CPU too two ways are compared.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch._dynamo
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from datasets.images.normalisation import normalise
from method.unlearners.salun import SalUn
from method.unlearners.scrub import SCRUB
from scripts.acceptance import batches, continuing, fetching, gpu
from scripts.acceptance.harness import (
    CPU,
    REFERENCE,
    Made,
    Place,
    network,
    patterns,
    variants,
)
from scripts.acceptance.options import Options
from scripts.acceptance.recording import Recording, agreement, gaps_of, not_nan, recorded
from scripts.acceptance.rows import Row, Rows, guarded, skipped, told_by, verdict
from utils import device as devices
from utils.errors import UserError

# bf16 keeps 8 bits. A step may miss this share of what fp32 moves the weights by, and of the loss (or of 1).
STEP_SHARE, LOSS_SHARE = 0.1, 0.01
MASK, FROZEN, REWOUND = "SalUn's mask", "SalUn's frozen weights", "SCRUB's rewind"
NEAR = 1e-4  # gradients so near to the smallest salient one, relative to it, may fall on either side
QUICK_COMPILED = ("pretrain", "salun", "miu")
SALUN_EPOCHS = {"epochs": 3, "batch_size": 8}
SCRUB_EPOCHS = {"epochs": 5, "lr": 0.02, "batch_size": 8, "scrub_batch_size_retain": 8, "forget_epochs": 2}
REWEIGHTED = ("retain", {"epochs": 2, "batch_size": 8, "reweight": True})


def rows(options: Options) -> Rows:
    """The most telling first, the compiler last: it is the slowest, and the rest does without it."""
    device = gpu.chosen(options)
    place = Place(device)
    yield from steps_agree(place)
    yield from inputs_agree(place)
    yield from guarded("splits and draws", partial(draws_agree, place))
    yield from guarded(fetching.NAME, partial(fetching.states_come_whole, device))
    yield from guarded(MASK, partial(saliency_is_right, place))
    yield from guarded(FROZEN, partial(frozen_stay, place))
    yield from guarded(REWOUND, partial(rewind_agrees, place))
    yield from bf16_agrees(place)
    yield from continuing.rows(place, options)
    yield from guarded("batches", partial(batches.rows, device, options))
    yield from compiled_agrees(place, options)


# One step of every phase.


def steps_agree(place: Place) -> Rows:
    """A row a variant: one step of each of its phases, on the device and on the CPU."""
    pair = "oneDNN against torch's kernels" if place.device == CPU else f"{place.device.type} against the CPU"
    for variant in variants():
        name = f"{variant}: {pair}"
        yield from guarded(name, partial(agreement, name, variant, place, REFERENCE))


# What steps see.


def inputs_agree(place: Place) -> Rows:
    """A row a variant: what its steps see on the device and on the CPU."""
    for variant in variants():
        name = f"{variant}: what steps see"
        yield from guarded(name, partial(input_agrees, name, variant, place))


def input_agrees(name: str, variant: str, place: Place) -> Row:
    """Rows, labels and drawn numbers bit for bit, and images as bytes, in several batches of two epochs."""
    flags = {"epochs": 2, "batch_size": 8, "scrub_batch_size_retain": 8, "use_train_aug": True}
    steps, others = (recorded(variant, one, **flags).engine.steps for one in (place, REFERENCE))
    if len(steps) != len(others):
        return verdict(name, False, f"{len(steps)} steps", f"{len(others)} on the CPU")
    for number, (step, other) in enumerate(zip(steps, others, strict=True)):
        differing = [field for field in other.batch if not same(field, step.batch[field], other.batch[field])]
        if differing:
            where = f"step {number} ({other.phase})"
            return verdict(name, False, f"{', '.join(differing)} of {where}", "equal on device and CPU")
    n = len(others)
    return verdict(name, n > 0, f"equal in {n} steps", "rows, labels, draws bit for bit; images as bytes")


def same(name: str, value: Any, other: Any) -> bool:
    """Whether two fields of a batch are equal; a division may round otherwise on the device, a pixel not."""
    if not isinstance(other, Tensor):
        return value == other
    if name.endswith("image"):
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
    mask = torch.cat([piece.flatten() for piece in made.unlearner_as(SalUn).saliency_mask]).cpu()
    gradient = forget_gradient(made)
    n = int(made.config.salun_saliency_ratio * len(gradient))
    smallest = gradient.sort(descending=True).values[n - 1]
    wrong = int((mask & (gradient < smallest * (1 - NEAR))).sum() + (~mask & (gradient > smallest * (1 + NEAR))).sum())
    right = wrong == 0 and int(mask.sum()) == n
    return verdict(MASK, right, f"{wrong} wrong of {len(mask)}, {int(mask.sum())} salient", f"0 wrong, {n}")


def forget_gradient(made: Made[Recording]) -> Tensor:
    """|gradient| of the summed loss of the forget set at the original, in eval mode, in fp64 on the CPU."""
    data, rows_ = patterns(), made.splits.forget
    model = network("tiny", trained=True).double().eval()
    image = normalise(torch.from_numpy(data.pixels[rows_])).double()
    logits = linear(model.backbone(image), model.head.weight, model.head.bias)  # a classifier's own are fp32
    loss = cross_entropy(logits, torch.tensor(data.target[rows_]), reduction="sum")
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([gradient.abs().flatten() for gradient in gradients])


def frozen_stay(place: Place) -> Row:
    """Weights outside the mask are those of the start to the last bit, and those within have moved."""
    made = recorded("salun", place, **SALUN_EPOCHS)
    before, after = made.engine.start, made.weights()
    names = [f"model.{name}" for name, _ in made.unlearner.model.named_parameters()]
    masks = [mask.cpu() for mask in made.unlearner_as(SalUn).saliency_mask]
    frozen = sum(int((~mask).sum()) for mask in masks)
    changed = sum(int((~mask & (before[name] != after[name])).sum()) for name, mask in zip(names, masks, strict=True))
    moved = sum(int((mask & (before[name] != after[name])).sum()) for name, mask in zip(names, masks, strict=True))
    n = len(made.engine.steps)
    value = f"{changed} of {frozen} changed in {n} steps, {moved} others moved"
    return verdict(FROZEN, changed == 0 and frozen > 0 and moved > 0, value, "none changed, bit for bit")


def rewind_agrees(place: Place) -> Row:
    """SCRUB+R goes back to the epoch that the CPU goes back to, and its weights are those of that epoch."""
    found, expected = (recorded("scrub, rewind", one, **SCRUB_EPOCHS) for one in (place, REFERENCE))
    choices = [made.unlearner.extra_metrics() for made in (found, expected)]
    scrub = found.unlearner_as(SCRUB)
    chosen = scrub.kept[scrub.chosen["weights"]]
    kept = all(torch.equal(value, chosen[name].cpu()) for name, value in scrub.model.cpu().state_dict().items())
    errors = [f"{one['error']:.0f}" for one in scrub.epochs]
    value = f"epoch {choices[0]['rewind_epoch']} of errors {', '.join(errors)}"
    detail = f"epoch {choices[1]['rewind_epoch']} on the CPU" + ("" if kept else "; the weights are not that epoch's")
    return verdict(REWOUND, choices[0] == choices[1] and kept, value, detail)


# Other precisions, and the compiler.


def bf16_agrees(place: Place) -> Rows:
    """A row a variant, where a run would ever take bf16: a CPU computes it slowly, an old card not at all."""
    if gpu.is_gpu(place.device) and devices.choose_precision("auto", place.device) is torch.float32:
        yield skipped("bf16 against fp32", "this card does not compute bf16; --precision auto takes fp32 here")
        return
    for variant in variants():
        name = f"{variant}: bf16 against fp32"
        yield from guarded(name, partial(bf16_step_agrees, name, variant, place))


def bf16_step_agrees(name: str, variant: str, place: Place) -> Row:
    """One step in bf16 against one in fp32 on the same device."""
    found = recorded(variant, replace(place, precision=torch.bfloat16))
    expected = recorded(variant, place)
    moved = distance(expected, expected.weights(), expected.engine.start)
    missed = distance(expected, found.weights(), expected.weights())
    step = not_nan(missed / max(moved, torch.finfo(torch.float32).tiny))
    loss = max((gap for what, gap in gaps_of(found.engine.steps, expected.engine.steps).items() if "loss" in what))
    value = f"misses {100 * step:.1f} % of the step, {100 * loss:.2f} % of the loss"
    good = step <= STEP_SHARE and loss <= LOSS_SHARE
    return verdict(name, good, value, f"at most {STEP_SHARE:.0%}, {LOSS_SHARE:.0%}")


def distance(made: Made[Recording], weights: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """The norm of the difference of two sets of parameters; buffers move without a step."""
    names = [name for name, _ in torch.nn.ModuleDict(made.unlearner.modules()).named_parameters()]
    return float(sum((weights[name].double() - others[name].double()).square().sum() for name in names)) ** 0.5


def compiled_agrees(place: Place, options: Options) -> Rows:
    """One step of a compiled backbone against one of the same that is not; skipped where the program refuses it."""
    try:
        devices.check_compiler(place.device)
    except UserError as error:
        yield skipped("--compile against eager", told_by(error))
        return
    before = compiled_graphs()
    for variant in QUICK_COMPILED if options.quick else variants():
        name = f"{variant}: --compile against eager"
        yield from guarded(name, partial(agreement, name, variant, replace(place, compiled=True), place))
    # Beyond its limit the compiler gives up without a word, and eager would be compared with eager.
    n, limit = compiled_graphs() - before, graphs_at_most()
    yield verdict("--compile was at work", 0 < n < limit, f"{n} graphs", f"at least 1, below its limit of {limit}")


def compiled_graphs() -> int:
    """Graphs that the compiler has made in this process."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def graphs_at_most() -> int:
    """The compiler's limit for one function; what the setting is called depends on torch's version."""
    settings = torch._dynamo.config
    return getattr(settings, "recompile_limit", None) or settings.cache_size_limit
