"""What moves at every step that the network takes in a run of MIU, so that one sees which part collapses first.

    python benchmarks/miu_steps.py STEPS.csv --label NAME [--steps 152] [--every 10] [--intervene none]
        --dataset digits --seed 10 --miu_mine_lr 0.03
    python benchmarks/miu_steps.py STEPS.csv --draw FIGURE.png

The first adds the first steps of a run to STEPS.csv, the second draws what is in it. The run is the program's own, with
its flags (--tag, --store_dir); MIU is watched through the hooks of every method. The networks that the run starts from
must be there. One line a step of the passes over F and R:

bound, joint, log_mean_exp    phi's bound on the batch, its first term and its second
largest, excess               the largest score T(z, g~), and log(exp T / m) of it: with MINE's running mean m, its exp
                              is what the gradient of that sample is multiplied by
pull, gradient                norm at the network of the gradient of the bound's term, lambda included, and of the loss
features, head, variance      mean norm of the features; norm of the head's weights; largest running variance of a
                              batch norm's channel, over its first value
right                         accuracy on the batch, by its own statistics, in percent
forget_acc, retain_acc, val_acc    in eval mode, in percent, every `--every` steps

--intervene changes one thing, to test what a collapse comes from; the program's own --max_grad_norm is another:
own_mean    the bound's gradient at the features is its own, weighted by exp T / mean exp T instead of exp T / m
whole       the last batch of F, which is smaller than the others, gives no gradient
"""

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import side_by_side  # noqa: F401  # puts the project's packages in reach
import torch
from torch import Tensor, nn

from main import main as run_program
from method.mutual_information import Critic, donsker_varadhan
from method.registry import METHODS
from method.unlearners.base import Batch, Phase, batch_norm_buffers_kept
from method.unlearners.miu import MIU
from scripts.report.chart_specs import CONFIG
from scripts.report.figures import drawn
from utils.files import write_atomic

COLUMNS = (
    *("run", "epoch", "phase", "step", "bound", "joint", "log_mean_exp", "largest", "excess", "pull", "gradient"),
    *("features", "head", "variance", "right", "forget_acc", "retain_acc", "val_acc"),
)


def norm(values: list[Tensor | None]) -> float:
    """The norm of all values together."""
    return float(sum(value.square().sum() for value in values if value is not None)) ** 0.5


class Watched(MIU):
    """MIU that keeps a row a step; what the class says is for all of a process."""

    rows: list[dict[str, Any]] = []
    every, intervene = 10, "none"

    def __init__(self, *args: Any):
        super().__init__(*args)
        for name in ("bound", "left_to_forget"):
            setattr(self.phi, name, self.watched(getattr(self.phi, name)))
        self.seen: dict[str, Any] = {}
        self.steps, self.whole, self.variance = 0, 0, self.largest_variance()

    def largest_variance(self) -> float:
        """Of the channels of all batch norms, that of the running statistics."""
        layers = [layer for layer in self.model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
        return max(float(layer.running_var.max()) for layer in layers)

    def watched(self, bound: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A bound of phi, which leaves in `seen` what it was made of."""

        def watch(features: Tensor, group: Tensor, marginal_group: Tensor, update: bool) -> Tensor:
            moves = features.requires_grad
            value = bound(features, group, marginal_group, update)
            if moves and self.intervene == "own_mean":
                value = donsker_varadhan(self.phi(features, group), self.phi(features, marginal_group))
            if moves:
                weights = list(self.model.parameters())
                self.seen["pull"] = norm(torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True))
            self.tell(features.detach(), group, marginal_group)
            return value

        return watch

    @torch.no_grad()
    def tell(self, features: Tensor, group: Tensor, marginal_group: Tensor) -> None:
        """Scores of phi, and the size of what it is given."""
        joint, marginal = self.phi(features, group), self.phi(features, marginal_group)
        second = marginal.logsumexp(dim=0) - torch.tensor(len(marginal)).log()
        told = {"joint": joint.mean(), "log_mean_exp": second, "bound": joint.mean() - second}
        told |= {"largest": marginal.max()}
        if isinstance(self.phi, Critic):
            told |= {"excess": marginal.max() - self.phi.log_mean_exp}
        self.seen |= {name: float(value) for name, value in told.items()}
        self.seen["features"] = float(features.norm(dim=1).mean())

    def unlearn(self, batch: Batch) -> Tensor:
        """The pull is the bound's."""
        loss = super().unlearn(batch)
        self.seen |= {"right": self.right(batch), "epoch": batch.epoch}
        self.whole = max(self.whole, batch.size)
        return loss * 0 if self.intervene == "whole" and batch.size < self.whole else loss

    def align(self, batch: Batch) -> Tensor:
        """The pull of the square is twice the difference times that of the bound."""
        loss = super().align(batch)
        difference = self.seen.get("retain_mi_model", 0) - self.seen.get("retain_mi_original", 0)
        self.seen["pull"] = 2 * self.p.lambda_mi * abs(difference) * self.seen.get("pull", 0)
        self.seen |= {"right": self.right(batch), "epoch": batch.epoch}
        return loss

    def log(self, name: str, value: Tensor) -> None:
        """The last value of every column is kept too."""
        self.seen[name] = float(value.detach())
        super().log(name, value)

    @torch.no_grad()
    def right(self, batch: Batch) -> float:
        """Accuracy on the batch, in percent."""
        with batch_norm_buffers_kept(self.model):
            predicted = self.model(batch.image).argmax(dim=1)
        return 100 * float((predicted == batch.target).float().mean())

    def accuracy(self, name: str) -> float:
        """Of a set in eval mode, in percent, by a loader of its own: the other is in the middle of a pass."""
        inference = self.original.inference
        held, inference.loader = inference.loader, inference.loader.another()
        try:
            return self.measure(name).accuracy()
        finally:
            inference.loader.close()
            inference.loader = held

    def edit_gradients(self, phase: Phase) -> None:
        """What the network gets, before its step."""
        self.seen["gradient"] = norm([weight.grad for weight in self.model.parameters()])

    def after_step(self, phase: Phase) -> None:
        """One row."""
        if phase.module == "model":
            variance = self.largest_variance() / self.variance
            row = {**self.seen, "phase": phase.name, "step": self.steps, "variance": variance}
            row["head"] = norm([self.model.head.weight])
            if self.steps % self.every == 0:
                row |= {f"{name}_acc": self.accuracy(name) for name in ("forget", "retain", "val")}
            self.rows.append(row)
            self.steps += 1
        self.seen = {}


def chart(rows: list[dict[str, str]]) -> dict[str, Any]:
    """A line a run, by step: the gradient, and the running variance."""
    panels = {"gradient": "norm of the gradient", "variance": "running variance, over its first value"}
    values = [{"run": row["run"], **{name: float(row[name]) for name in ("step", *panels)}} for row in rows]
    legend = {"orient": "bottom", "labelLimit": 300}
    run = {"field": "run", "type": "nominal", "title": None, "sort": None, "legend": legend}
    x = {"field": "step", "type": "quantitative", "title": "step of the network"}

    def panel(name: str, title: str) -> dict[str, Any]:
        y = {"field": name, "type": "quantitative", "title": title, "scale": {"type": "log"}}
        line = {"type": "line", "strokeWidth": 1.2}
        return {"mark": line, "encoding": {"x": x, "y": y, "color": run}, "width": 300, "height": 190}

    return {"data": {"values": values}, "hconcat": [panel(*one) for one in panels.items()], "config": CONFIG}


def watch(file: Path, label: str, steps: int, flags: list[str]) -> int:
    """Run, and add what was seen, also of a run that ends with an error."""
    METHODS["miu"], Watched.name = Watched, "miu"
    code = run_program(["--method", "miu", *flags])
    with file.open("a", newline="") as opened:
        writer = csv.DictWriter(opened, COLUMNS, extrasaction="ignore", lineterminator="\n")
        if not opened.tell():
            writer.writeheader()
        for row in Watched.rows[:steps]:
            told = {name: f"{v:.4g}" if isinstance(v := row.get(name, ""), float) else v for name in COLUMNS}
            writer.writerow(told | {"run": label})
    return code


def main() -> int:
    """Watch a run, or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps_file", type=Path, metavar="STEPS.csv")
    parser.add_argument("--label")
    parser.add_argument("--steps", type=int, default=152)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--intervene", choices=("none", "own_mean", "whole"), default="none")
    parser.add_argument("--draw", type=Path, metavar="FIGURE")
    options, flags = parser.parse_known_args()
    Watched.every, Watched.intervene = options.every, options.intervene
    if options.label:
        return watch(options.steps_file, options.label, options.steps, flags)
    with options.steps_file.open(newline="") as file:
        picture = drawn(chart(list(csv.DictReader(file))), options.draw.suffix[1:])
    write_atomic(options.draw, lambda file: file.write(picture))
    return 0


if __name__ == "__main__":
    sys.exit(main())
