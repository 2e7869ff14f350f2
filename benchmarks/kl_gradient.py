"""Which way SCRUB's KL points beside the original: gradients in bf16 against those in fp32, as cosines.

    python benchmarks/kl_gradient.py RUN_FOLDER [--draws 8]

The model is the run's own with noise on every weight, of the given share of its parameter's root mean square, as after
a first step; the loss is KL_4(original || model) on 128 of R. Columns: how large the KL is; cosines of "logits and
losses" (the head's inputs, weights and outputs and both log-softmaxes rounded to bf16, the rest in fp32), of "ours"
(bf16 up to the head) and of "published" (all of it). Means over draws, with the range.
"""

import argparse
import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from group_information import BATCH
from side_by_side import machine
from torch import Tensor, nn
from torch.nn.functional import kl_div, linear, log_softmax

from datasets.images.normalisation import normalise
from datasets.loading.loaders import Loader
from method.configs.loading import Config
from method.losses import kl_to_teacher
from method.runs.data import read_data
from method.training.checkpoints import load_weights, read_weights
from models import build_model
from utils.files import read_yaml
from utils.tables import align

N, TEMPERATURE, SHARES = 128, 4.0, (0.001, 0.003, 0.01)
IN_BF16 = {"logits and losses": (False, True), "ours": (True, False), "published": (True, True)}  # network, losses


def main() -> None:
    """A line a size of the change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--draws", type=int, default=8)
    options = parser.parse_args()
    original, image = read(options.run)
    torch.manual_seed(0)
    rows = []
    for share in SHARES:
        found = [compare(original, moved(original, share), image) for _ in range(options.draws)]
        rows.append((f"{share:.1%}", *(summarise([one[name] for one in found]) for name in found[0])))
    print(machine())
    print(align(("change", *found[0]), rows, left=1))


def read(run: Path) -> tuple[nn.Module, Tensor]:
    """The run's model in eval mode, and N normalised images of R."""
    config = Config(read_yaml(run / "config.yaml")["config"], {})
    data = read_data(config)
    model = build_model(config.model, data.dataset.n_targets, config.seed, "none")
    load_weights(model, read_weights(run / "model.pt", {}), run / "model.pt")
    rows = data.splits.retain[:: max(1, len(data.splits.retain) // N)][:N]
    batches = Loader(data.dataset, config.image_size, 0, False).batches(rows, BATCH, None)
    return model.eval(), normalise(next(iter(batches))["image"], torch.contiguous_format)


def moved(original: nn.Module, share: float) -> nn.Module:
    """A copy whose weights differ by noise of this share of their parameter's root mean square."""
    model = copy.deepcopy(original)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(share * parameter.square().mean().sqrt() * torch.randn_like(parameter))
    return model


def compare(original: nn.Module, model: nn.Module, image: Tensor) -> Mapping[str, float]:
    """The KL in fp32, and the cosine of each gradient with its gradient."""
    kl, exact = gradient(original, model, image, False, False)
    cosine: Callable[[Tensor], float] = lambda other: float(torch.cosine_similarity(other, exact, dim=0))  # noqa: E731
    return {"KL": kl} | {name: cosine(gradient(original, model, image, *how)[1]) for name, how in IN_BF16.items()}


def gradient(original: nn.Module, model: nn.Module, image: Tensor, network: bool, losses: bool) -> tuple[float, Tensor]:
    """The KL and its gradient in one vector; network, losses: whether these are in bf16."""

    def logits(one: nn.Module) -> Tensor:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=network):
            features = one.features(image)
        return (
            linear(rounded(features), rounded(one.head.weight), rounded(one.head.bias))
            if losses
            else one.head(features)
        )

    def rounded(values: Tensor) -> Tensor:
        return values.to(torch.bfloat16)

    with torch.no_grad():
        teacher = logits(original)
    student = logits(model)
    if losses:
        own, other = (rounded(log_softmax(one.float() / TEMPERATURE, dim=1)) for one in (student, teacher))
        kl = TEMPERATURE**2 * kl_div(own, other, reduction="batchmean", log_target=True)
    else:
        kl = kl_to_teacher(student, teacher, TEMPERATURE)
    gradients = torch.autograd.grad(kl, list(model.parameters()))
    return float(kl.detach()), torch.cat([one.flatten().float() for one in gradients])


def summarise(values: list[float]) -> str:
    """Mean and range."""
    return f"{sum(values) / len(values):.2g} ({min(values):.2g} to {max(values):.2g})"


if __name__ == "__main__":
    main()
