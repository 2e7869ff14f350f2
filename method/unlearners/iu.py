"""IU: influence unlearning with the damped empirical Fisher matrix of WoodFisher.

Zachary Izzo, Mary Anne Smart, Kamalika Chaudhuri and James Zou, Approximate Data Deletion from Machine Learning Models,
AISTATS 2021; Sidak Pal Singh and Dan Alistarh, WoodFisher: Efficient Second-Order Approximation for Neural Network
Compression, NeurIPS 2020; as put together by Jinghan Jia et al., Model Sparsity Can Simplify Machine Unlearning,
NeurIPS 2023.

Objective. Let L(w) = sum_i w_i l_i have its minimum at theta0 for w = 1/N on D. For weights of 1/N_R on R and 0 on F
the minimum moves, to first order (Jia et al., Proposition 1), by

    H^-1 grad L(1/N - w) = H^-1 v,    v = 1/N sum_F grad l_i - N_F / (N N_R) sum_R grad l_i.

WoodFisher's estimate stands for the Hessian H: with the gradients g_i of n samples of R,

    H = damping I + 1/n sum_i g_i g_i^T,

and theta = theta0 + alpha H^-1 v.

Symbols, and what each is called here:

    theta, theta0   the parameters of `model`, after and before
    l_i, g_i        the cross-entropy of a sample, and its gradient at theta0
    N, N_R, N_F     `n`, `n_retain` and their difference
    alpha, damping  `scale`, `damping`
    n               `fisher_batches` batches

Steps. Everything at theta0, in eval mode, on plain images:

    1. v, from one pass over F and one over R that add up gradients (`summed_loss`).
    2. x = H^-1 v by conjugate gradients: at most `solver_steps` products with H, each a pass over the same n samples
       (`fisher_product`), until the residual's norm is 1e-4 of v's. The solver carries the residual along; one more
       product measures it, |v - H x| / |v|. Where the steps ran out before, or what is measured is a hundred times as
       large, a warning tells it. In bf16 products are right to about 1e-3 of v.
    3. `move`: theta = theta0 + alpha x.

WoodFisher applies Woodbury's identity a sample at a time; to be exact, that keeps H_i^-1 g_i, a vector of the network's
size, for every sample. Conjugate gradients solve H x = v to the same result with four such vectors. The published code
runs a recursion that keeps one such vector, over the mean gradients of batches, on images that are augmented with
`use_train_aug`, and never takes up a gradient after the first: its step has no curvature. No flag gives that here.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from method.registry import Range, param, register
from method.unlearners.base import Batch, NoParams, Phase, Unlearner, gradients_of
from utils.errors import Diverged

log = logging.getLogger("unlearning")
TOLERANCE = 1e-4  # of the residual, relative to the right-hand side
FAR_OFF = 100 * TOLERANCE  # of what is measured: bf16 alone takes it to ten times the tolerance


@register("iu")
class IU(Unlearner):
    """One step from the original to where the loss without the forget set has its minimum, by influence functions."""

    reweight = None
    has_epochs = False

    metric_keys = {
        "iu_solver_steps": ("steps", "conjugate-gradient steps that were taken"),
        "iu_residual": ("relative", "norm of the solver's residual divided by that of v after them; 1e-4 ends it"),
        "iu_true_residual": ("relative", "norm of v - H x divided by that of v, by one more product with H"),
    }
    history_columns = metric_keys

    @dataclass(frozen=True)
    class Params(NoParams):
        """How far to go, and the estimate of H."""

        scale: float = param(
            1.0,
            "alpha: the step is alpha H^-1 v; 1 is the influence function's",
            aliases=("iu_alpha", "alpha_hessian"),
            at_least=0,
            search=Range(0.1, 10, log=True),
        )
        damping: float = param(
            1.0, "added to the diagonal of the Fisher matrix", above=0, search=Range(0.01, 100, log=True)
        )
        fisher_batches: int = param(16, "batches of R that the Fisher matrix is estimated on", at_least=1)
        solver_steps: int = param(50, "conjugate-gradient steps at most, each a pass over these batches", at_least=1)

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.parameters = list(self.model.parameters())
        self.solved: dict[str, float] = {}

    def prepare(self) -> Iterator[Phase]:
        """Steps 1 to 3 of the algorithm: v, as many products with H as the solver asks for, and the move."""
        whole: dict[str, Any] = {"step": False, "train_mode": False, "augment": False}
        yield Phase("forget", self.summed_loss, data="forget", reduction="sum", **whole)
        forget = self.gradient()
        yield Phase("retain", self.summed_loss, data="retain", reduction="sum", **whole)
        n, n_retain = int(self.task.group_counts.sum()), int(self.task.retain_counts.sum())
        v = forget / n - (n - n_retain) / (n * n_retain) * self.gradient()

        # The same name every time, so that the same samples are drawn.
        fisher = Phase("fisher", self.fisher_product, data="retain", steps=self.p.fisher_batches, **whole)
        norm = max(float(v.norm()), torch.finfo(v.dtype).tiny)
        x, residual, self.direction = torch.zeros_like(v), v, v
        for steps in range(self.p.solver_steps + 1):
            error = float(residual.norm()) / norm
            self.solved = {"iu_solver_steps": steps, "iu_residual": error}
            if error <= TOLERANCE or steps == self.p.solver_steps:
                break
            yield fisher
            product = self.product()
            length = residual.dot(residual) / self.direction.dot(product)
            x = x + length * self.direction
            shorter = residual - length * product
            self.direction = shorter + shorter.dot(shorter) / residual.dot(residual) * self.direction
            residual = shorter
        self.direction = x
        yield fisher
        self.solved["iu_true_residual"] = float((v - self.product()).norm()) / norm
        self.warn_unsolved()
        self.move(self.p.scale * x)

    def summed_loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the true labels, summed over the samples."""
        return cross_entropy(self.model(batch.image), batch.target, reduction="sum")

    def fisher_product(self, batch: Batch) -> Tensor:
        """A value whose gradient is the mean over the samples of g_i (g_i . direction)."""
        # Compiled networks and fused attention have no second derivatives. As a decorator the first would import the
        # compiler at every start.
        with torch.compiler.set_stance("force_eager"), sdpa_kernel(SDPBackend.MATH):
            losses = cross_entropy(self.model(batch.image), batch.target, reduction="none")
            weight = torch.ones_like(losses, requires_grad=True)
            gradients = torch.autograd.grad(losses, self.parameters, weight, create_graph=True)
            # The gradient of sum_i w_i g_i . direction in w is g_i . direction.
            products = [(g * d).sum() for g, d in zip(gradients, self.split(self.direction), strict=True)]
            along = sum(products, start=torch.zeros_like(products[0]))
            slopes = torch.autograd.grad(along, weight, retain_graph=True)[0]
            return (slopes.detach() * losses).mean()

    def product(self) -> Tensor:
        """(n_parameters,) H times the direction, after a pass of `fisher_product`."""
        return self.gradient() / self.p.fisher_batches + self.p.damping * self.direction

    def warn_unsolved(self) -> None:
        """Say how large the residual is where the steps ran out, or where rounding has led the solver astray."""
        if self.solved["iu_residual"] > TOLERANCE or self.solved["iu_true_residual"] > FAR_OFF:
            log.warning(
                "iu has not converged: after %d steps |v - Hx| / |v| is %.2g, expected at most %g; give more "
                "--iu_solver_steps, a larger --iu_damping, or --precision fp32",
                self.solved["iu_solver_steps"], self.solved["iu_true_residual"], TOLERANCE,
            )  # fmt: skip

    def gradient(self) -> Tensor:
        """(n_parameters,) the gradient that lies in the parameters, in one vector."""
        return torch.cat([gradient.flatten() for gradient in gradients_of(self.parameters)])

    def split(self, vector: Tensor) -> list[Tensor]:
        """The pieces of a (n_parameters,) vector, in the parameters' order and shapes."""
        pieces = vector.split([parameter.numel() for parameter in self.parameters])
        return [piece.view_as(parameter) for piece, parameter in zip(pieces, self.parameters, strict=True)]

    @torch.no_grad()
    def move(self, change: Tensor) -> None:
        """Add the step to theta0; Diverged where it is not finite."""
        if not change.isfinite().all():
            raise Diverged("the step of iu is not finite; a larger --iu_damping usually helps, or --precision fp32")
        for parameter, piece in zip(self.parameters, self.split(change), strict=True):
            parameter.add_(piece)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """How far the solver came, for the history: its steps, and the residual's norms relative to v's."""
        return self.solved

    def extra_metrics(self) -> dict[str, Any]:
        """How far the solver came, as in `end_epoch`."""
        return self.solved

    def state(self) -> dict[str, Any]:
        """How far the solver came; the weights have moved already."""
        return {"solved": self.solved}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore how far the solver came from a saved state (`state`'s format)."""
        self.solved = state["solved"]
