"""Ways to make MIU hold over the critics' rates and lambda, tried on validation data: the table of docs/results/miu.md.

    python benchmarks/miu_candidates.py STORE_DIR OUT.csv --candidates mine classifier --cells 0.01:0.1 0.1:10 \
        --seeds 10 11 --dataset digits --unlearning_ratio 0.9 --threads 1

A cell is a critics' rate and a lambda. The pretrained models and the ones retrained with REWEIGHT must be in STORE_DIR,
where the runs are made, tagged with candidate and cell; runs that are done are not made again. One line a run: RA, UA,
validation accuracy and that of the forget groups, the mean of their distances to the retrained model's, and whether it
collapsed, as benchmarks/miu_map.py says.

Candidates, beside the program's estimators (method/mutual_information.py):

fine-tuning             no critic: fine-tuning with REWEIGHT
mine, clipped           the whole gradient at the network has a norm of at most 1
mine, normalised        features normalised before the critic
mine, own mean          the gradient is the bound's own, without the running mean
mine, Adam              the critics trained by Adam
mine, limited           the square's gradient at the features is no longer than half of the cross-entropy's
enumerated              Donsker-Varadhan with its marginal summed over the groups, of normalised features; limited
classifier, square      the square's gradient as it is
classifier, SGD         trained by SGD
classifier, free        its layers have any spectral norm
classifier, raw         of features that are not normalised
classifier, no floor    on F the classifier's bound, down to minus infinity
"""

import argparse
import csv
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import side_by_side  # noqa: F401  # puts the project's packages in reach
from torch import Tensor
from torch.nn.functional import layer_norm, log_softmax
from torch.nn.utils.parametrize import remove_parametrizations

from method.mutual_information import ESTIMATORS, Critic, GroupClassifier, donsker_varadhan
from utils.collectives import log_mean_exp, mean


def normalised(features: Tensor) -> Tensor:
    """(n, d) of mean 0 and variance 1 by sample."""
    return layer_norm(features.float(), features.shape[1:])


class Normalised(Critic):
    """MINE's critic of normalised features."""

    def forward(self, features: Tensor, group: Tensor) -> Tensor:
        return super().forward(normalised(features), group)


class OwnMean(Critic):
    """The gradient of the batch's own means."""

    def bound(self, features: Tensor, group: Tensor, marginal_group: Tensor, update: bool) -> Tensor:
        return donsker_varadhan(self(features, group), self(features, marginal_group))


class Enumerated(GroupClassifier):
    """Donsker-Varadhan: the mean over samples and groups within one logarithm."""

    def bound(self, features: Tensor, group: Tensor, marginal_group: Tensor, update: bool) -> Tensor:
        scores = self.layers(normalised(features))
        joint = scores.gather(1, group[:, None]).squeeze(1)
        return mean(joint) - log_mean_exp((scores + self.log_share).logsumexp(dim=1))

    def left_to_forget(self, *batch: Any) -> Tensor:
        return self.bound(*batch)


class Raw(GroupClassifier):
    """Of features as they are."""

    def forward(self, features: Tensor, group: Tensor) -> Tensor:
        log_q = log_softmax(self.layers(features.float()) + self.log_share, dim=1)
        return log_q.gather(1, group[:, None]).squeeze(1) - self.log_share[group]


class NoFloor(GroupClassifier):
    """On F the bound itself."""

    def left_to_forget(self, *batch: Any) -> Tensor:
        return self.bound(*batch)


class Free(GroupClassifier):
    """Layers of any spectral norm."""

    def __init__(self, feature_dim: int, group_counts: Tensor):
        super().__init__(feature_dim, group_counts)
        for layer in (self.layers[0], self.layers[2]):
            remove_parametrizations(layer, "weight")


class StochasticDescent(GroupClassifier):
    """Trained by SGD with momentum."""

    adam = False


class Square(GroupClassifier):
    """The square's gradient as it is."""

    limited = False


class WithAdam(Critic):
    """Trained by Adam."""

    adam = True


class Limited(Critic):
    """The square's gradient is no longer than half of the cross-entropy's."""

    limited = True


# The estimator, and further flags.
CANDIDATES: dict[str, tuple[str, list[str]]] = {
    "fine-tuning": ("mine", ["--miu_ablate_alignment", "--miu_ablate_unlearn"]),
    "mine": ("mine", []),
    "mine, clipped": ("mine", ["--max_grad_norm", "1"]),
    "classifier": ("classifier", []),
}
FURTHER: dict[str, Callable[..., Any]] = {
    "mine, Adam": lambda dim, counts: WithAdam(dim, len(counts)),
    "mine, limited": lambda dim, counts: Limited(dim, len(counts)),
    "mine, normalised": lambda dim, counts: Normalised(dim, len(counts)),
    "mine, own mean": lambda dim, counts: OwnMean(dim, len(counts)),
    "enumerated": Enumerated,
    "classifier, SGD": StochasticDescent,
    "classifier, free": Free,
    "classifier, square": Square,
    "classifier, raw": Raw,
    "classifier, no floor": NoFloor,
}
for _name, _class in FURTHER.items():
    ESTIMATORS[_name] = _class
    CANDIDATES[_name] = (_name, [])

from miu_map import COLUMNS, measured  # noqa: E402

from main import main as run_program  # noqa: E402  # the choices of --miu_estimator are read as it is imported

SHOWN = [name for name in COLUMNS if name not in ("avg_gap", "information", "seconds")]  # nothing of the test set


def one_run(store: Path, candidate: str, rate: str, weight: str, seed: int, flags: list[str]) -> dict[str, Any]:
    """Make a run, or find it, and judge it."""
    estimator, own = CANDIDATES[candidate]
    tag = f"{candidate}-{rate}-{weight}".replace(", ", "-").replace(" ", "-")
    words = ["--method", "miu", *flags, "--seed", str(seed), "--store_dir", str(store), "--tag", tag, *own]
    run_program([*words, "--miu_estimator", estimator, "--miu_mine_lr", rate, "--miu_lambda_mi", weight])
    (folder,) = store.glob(f"*/*/*/miu*-{tag}_*_{seed}")
    found = measured(folder)
    if found is None:
        raise SystemExit(f"{folder} failed, and not by a loss that is not finite: see its status.json")
    return found | {"variant": candidate}


def main() -> int:
    """Every candidate, cell and seed; a line is written as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--candidates", nargs="+", choices=sorted(CANDIDATES), default=sorted(CANDIDATES))
    parser.add_argument("--cells", nargs="+", default=["0.01:0.1"], metavar="RATE:LAMBDA")
    parser.add_argument("--seeds", nargs="+", type=int, default=[10])
    options, flags = parser.parse_known_args()
    with options.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, SHOWN, extrasaction="ignore", lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        for seed, candidate, cell in product(options.seeds, options.candidates, options.cells):
            row = one_run(options.store, candidate, *cell.split(":"), seed, flags)
            writer.writerow(row)
            file.flush()
            print(*(row.get(name, "") for name in SHOWN), file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
