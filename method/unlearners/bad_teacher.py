"""Bad teacher.

Vikram S Chundawat, Ayush K Tarun, Murari Mandal and Mohan Kankanhalli, Can Bad Teaching Induce Forgetting? Unlearning
in Deep Networks Using an Incompetent Teacher, AAAI 2023.

Objective. The student S imitates a competent teacher T_s on R and an incompetent one T_d on F; with l = 1 for a sample
of F and 0 for one of R, it descends

    (1 - l) KL_T(T_s(x) || S(x)) + l KL_T(T_d(x) || S(x))

Symbols, and what each is called here:

    S           `model`, which starts at theta0
    T_s, T_d    `original`, and `incompetent`: a network of the same architecture with random weights
    KL_T        `kl_to_teacher`, of distributions softened by a temperature T, `temperature`

Steps. In every epoch:

    1. `unlearn`    one pass over F with the second term
    2. `preserve`   one pass over R with the first

Here, as in the other methods, the passes follow each other, and the second is over all of R, or over what REWEIGHT or
`--rob_approach` draws from it; group DRO weighs its divergence by groups. The paper mixes F with a random 30 % of R in
its batches, the published code with all of R, at T = 1; neither has a flag here. That code refuses group DRO here.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from method.losses import kl_to_teacher
from method.registry import Range, param, register
from method.unlearners.base import Batch, Network, Phase, initial_weights
from method.unlearners.grouped import Grouped, GroupParams


@register("bad_teacher")
class BadTeacher(Grouped):
    """Learn from a network that knows nothing on the forget set, from the original on the retain set."""

    @dataclass(frozen=True)
    class Params(GroupParams):
        """The temperature of all three networks."""

        temperature: float = param(1.0, "softens all distributions", above=0, search=Range(0.5, 8, log=True))

    def __init__(self, *args: Any):
        super().__init__(*args)
        # A function of the seed, so that a resumed run makes it again: it is no part of the state.
        self.incompetent = build_untrained(self.model, self.task.generator("bad_teacher", "incompetent teacher"))

    def phases(self, epoch: int) -> Iterator[Phase]:
        """Steps 1 and 2 of the algorithm: `unlearn` on F, `preserve` on R."""
        yield Phase("forget", self.unlearn, data="forget")
        yield Phase("retain", self.preserve, data="retain", sampling=self.approach.sampling)

    def unlearn(self, batch: Batch) -> Tensor:
        """Step 1: descend KL_T(incompetent || model) on F."""
        with torch.no_grad():
            teacher = self.incompetent(batch.image)
        return kl_to_teacher(self.model(batch.image), teacher, self.p.temperature)

    def preserve(self, batch: Batch) -> Tensor:
        """Step 2: descend KL_T(original || model) on R."""
        divergence = partial(kl_to_teacher, temperature=self.p.temperature)
        return self.approach.risk(self.model(batch.image), self.original.logits(batch), batch.group, divergence)


def build_untrained(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """A frozen copy of `network` in eval mode, every layer drawn anew from `generator`'s seed as torch initialises it.

    The initial weights of pretraining would not do: they may be ImageNet's, and share the run's own start. A network
    with a layer that holds weights and cannot be drawn anew is built anew; TypeError where that cannot be either.
    """
    drawn = copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format)  # the same on every device
    with initial_weights(generator):
        for name, layer in drawn.named_modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
            elif any(True for _ in (*layer.parameters(recurse=False), *layer.buffers(recurse=False))):
                if not hasattr(network, "untrained"):
                    kind = type(layer).__name__
                    raise TypeError(f"{name or 'the network'} ({kind}) has weights, but no reset_parameters")
                drawn = cast(Network, network).untrained()
                break
    copied = copy.deepcopy(network)
    copied.load_state_dict(drawn.state_dict())
    return copied.eval().requires_grad_(False)
