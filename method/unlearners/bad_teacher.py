"""Bad teacher (Chundawat et al., Can Bad Teaching Induce Forgetting?, AAAI 2023).

The paper descends l KL(incompetent || model) + (1 - l) KL(competent || model), l = 1 on F and 0 on R, over batches
that mix F with a random 30 % of R. Here, as in the other methods, a pass over F with the first term is followed by one
over R with the second: over all of R, or what REWEIGHT draws from it.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from method.losses import kl_to_teacher
from method.registry import param, register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner, initial_weights


@register("bad_teacher")
class BadTeacher(Unlearner):
    """Learn from a network that knows nothing on the forget set, from the original on the retain set."""

    @dataclass(frozen=True)
    class Params(NoParams):
        """How soft the teachers are."""

        temperature: float = param(1.0, "softens all distributions", above=0)

    def __init__(self, *args: Any):
        super().__init__(*args)
        # A function of the seed, so that a resumed run makes it again: it is no part of the state.
        self.incompetent = build_untrained(self.model, self.task.generator("bad_teacher", "incompetent teacher"))

    def phases(self, epoch: int) -> Iterator[Phase]:
        """A pass over F with the incompetent teacher, one over R with the competent."""
        yield Phase("forget", self.unlearn, data="forget")
        yield Phase("retain", self.preserve, data="retain")

    def unlearn(self, batch: Batch) -> Tensor:
        """Descend KL_T(incompetent || model) on F."""
        with torch.no_grad():
            teacher = self.incompetent(batch.image)
        return kl_to_teacher(self.model(batch.image), teacher, self.p.temperature)

    def preserve(self, batch: Batch) -> Tensor:
        """Descend KL_T(original || model) on R."""
        return kl_to_teacher(self.model(batch.image), self.original.logits(batch), self.p.temperature)


def build_untrained(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """A frozen copy of `network` in eval mode, every layer drawn anew from `generator`'s seed as torch initialises it.

    The initial weights of pretraining would not do: they may be ImageNet's, and share the run's own start.
    TypeError for a layer that holds weights and cannot be drawn anew.
    """
    drawn = copy.deepcopy(network).to("cpu", memory_format=torch.contiguous_format)  # the same on every device
    with initial_weights(generator):
        for name, layer in drawn.named_modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
            elif any(True for _ in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))):
                kind = type(layer).__name__
                raise TypeError(f"{name or 'the network'} ({kind}) has weights, but no reset_parameters")
    copied = copy.deepcopy(network)
    copied.load_state_dict(drawn.state_dict())
    return copied.eval().requires_grad_(False)
