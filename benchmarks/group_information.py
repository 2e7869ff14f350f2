"""How much the features of finished runs say about the group: three estimates that share nothing with a run's critics.

    python benchmarks/group_information.py RUN_FOLDER [RUN_FOLDER ...] [--folds 5] [--critic_steps 2000]

For every run, in nats, on the train set D in eval mode, each sample judged by what was fitted without its fold (what
shows the same thing is in one fold):

logistic    H(g) less the cross-entropy of a multinomial logistic regression of the group on standardised features
MLP         the same with one hidden layer of 512 units, as the critics have
MINE        the bound of a critic trained anew for `critic_steps` batches, its second term exact: for every sample the
            mean over the group histogram, not over one group drawn

and beside them H(g), the ceiling, and what the run's own critic said last: its training bound on augmented batches.
"Of the forget groups": the logistic one for telling the forget groups' samples from those of other groups with their
target, the question that unlearning from one group is about.
"""

import argparse
import csv
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from side_by_side import machine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datasets.loading.loaders import Loader
from method.configs.loading import Config
from method.mutual_information import HIDDEN, Critic
from method.runs.data import Data, read_data
from method.training.checkpoints import load_weights, read_weights
from method.training.inference import Inference
from models import build_model
from utils import device as devices
from utils.files import read_yaml
from utils.tables import align

BATCH = 256
MOMENTUM, RATE = 0.9, 0.01
COLUMNS = ("run", "H(g)", "logistic", "MLP", "MINE", "own critic", "of the forget groups", "its H")


def main() -> None:
    """A line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--critic_steps", type=int, default=2000)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # early stopping is meant
    rows = []
    for run in options.runs:
        print(run, file=sys.stderr, flush=True)
        rows.append(estimates(run, options.folds, options.critic_steps))
    print(machine())
    print(align(COLUMNS, rows, left=1))


def estimates(run: Path, folds: int, critic_steps: int) -> tuple[str, ...]:
    """One line of the table."""
    config = Config(read_yaml(run / "config.yaml")["config"], {})
    data = read_data(config)
    train, dataset = data.splits.train, data.dataset
    features, group = features_of(run, config, data), dataset.group[train]
    fold = folds_of(dataset.unit[train], folds)
    told = [
        entropy(group),
        entropy(group) - held_out_loss(logistic(), features, group, fold),
        entropy(group) - held_out_loss(mlp(), features, group, fold),
        mine(features, group, fold, dataset.n_groups, critic_steps),
        last_of(run / "history.csv", "mi_model"),
    ]
    targets = np.unique(dataset.target[train][np.isin(group, data.splits.forget_groups)])
    same_target = np.isin(dataset.target[train], targets)
    whose = np.isin(group, data.splits.forget_groups)[same_target].astype(int)
    if 0 < whose.mean() < 1:
        loss = held_out_loss(logistic(), features[same_target], whose, fold[same_target])
        told += [entropy(whose) - loss, entropy(whose)]
    else:
        told += [None, None]
    return (run.name, *("-" if value is None else f"{value:.3f}" for value in told))


def features_of(run: Path, config: Config, data: Data) -> np.ndarray:
    """(|D|, feature_dim), of the plain images, in eval mode."""
    device = devices.choose_device(config.device)
    model = build_model(config.model, data.dataset.n_targets, config.seed, "none")
    load_weights(model, read_weights(run / "model.pt", {}), run / "model.pt")
    model.to(device, memory_format=devices.memory_format(device))
    loader = Loader(data.dataset, config.image_size, 0, False)
    inference = Inference(loader, device, devices.choose_precision(config.precision, device))
    return inference.apply(model, model.features, data.splits.train, "features").cpu().numpy()


def folds_of(unit: np.ndarray, folds: int) -> np.ndarray:
    """The fold of every sample."""
    fold = np.empty(len(unit), int)
    for number, (_, held_out) in enumerate(GroupKFold(folds, shuffle=True, random_state=0).split(unit, groups=unit)):
        fold[held_out] = number
    return fold


def entropy(group: np.ndarray) -> float:
    """Of the empirical distribution, in nats."""
    share = np.bincount(group) / len(group)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


def logistic():
    """Of standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))


def mlp():
    """As large as a critic; stopped early on a tenth of what it is fitted on."""
    layers = MLPClassifier((HIDDEN,), alpha=1e-3, early_stopping=True, max_iter=60, random_state=0)
    return make_pipeline(StandardScaler(), layers)


def held_out_loss(model, features: np.ndarray, group: np.ndarray, fold: np.ndarray) -> float:
    """Mean cross-entropy of every sample under the model fitted without its fold, in nats."""
    losses = np.empty(len(group))
    for number in np.unique(fold):
        out = fold == number
        model.fit(features[~out], group[~out])
        column = np.searchsorted(model.classes_, group[out])
        known = (column < len(model.classes_)) & np.isin(group[out], model.classes_)
        chances = model.predict_proba(features[out])[np.arange(out.sum()), np.minimum(column, len(model.classes_) - 1)]
        losses[out] = -np.log(np.where(known, np.maximum(chances, 1e-6), 1e-6))
    return float(losses.mean())


def mine(features: np.ndarray, group: np.ndarray, fold: np.ndarray, n_groups: int, steps: int) -> float:
    """The Donsker-Varadhan bound on every fold of a critic trained on the others; mean over folds by size."""
    x, g = torch.from_numpy(features), torch.from_numpy(group).long()
    x = (x - x.mean(0)) / x.std(0).clamp_min(1e-6)
    share = torch.bincount(g, minlength=n_groups).float() / len(g)
    bounds = []
    for number in np.unique(fold):
        out = torch.from_numpy(fold == number)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            critic = Critic(x.shape[1], n_groups)
            _fit(critic, x[~out], g[~out], share, steps)
        bounds.append(_exact_bound(critic, x[out], g[out], share) * float(out.float().mean()))
    return sum(bounds)


def _fit(critic: Critic, x: torch.Tensor, g: torch.Tensor, share: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.SGD(critic.parameters(), lr=RATE, momentum=MOMENTUM)
    for _ in range(steps):
        some = torch.randint(len(x), (BATCH,))
        other = torch.multinomial(share, BATCH, replacement=True)
        optimizer.zero_grad()
        (-critic.bound(x[some], g[some], other, update=True)).backward()
        optimizer.step()


@torch.no_grad()
def _exact_bound(critic: Critic, x: torch.Tensor, g: torch.Tensor, share: torch.Tensor) -> float:
    apart = torch.stack([critic(x, torch.full_like(g, other)) for other in range(len(share))], dim=1)
    second = torch.logsumexp(apart + share.log(), dim=1).logsumexp(dim=0) - np.log(len(x))
    return float(critic(x, g).mean() - second)


def last_of(file: Path, column: str) -> float | None:
    """The last value of a column of history.csv; None where there is none."""
    with file.open(newline="") as opened:
        values = [row[column] for row in csv.DictReader(opened) if row.get(column)]
    return float(values[-1]) if values else None


if __name__ == "__main__":
    main()
