"""Several processes as torchrun starts them, and what each of them does in tests/test_distributed.py.

Run as `python tests/processes.py CHECK FOLDER` with torchrun's variables set; every process leaves FOLDER/<rank>.pt.
"""

import copy
import os
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import CPU, N_GROUPS, make_run, tiny_data, trained_network
from torch import Tensor, nn

from datasets.loading.loaders import Loader, own_batches, own_slices
from method.configs.loading import resolve
from method.mutual_information import Critic
from method.runs.data import Data, read_data
from method.runs.runner import build_unlearner
from method.training import inference as inference_module
from method.training.engine import Engine
from method.training.original import Original
from method.unlearners.base import Phase, batch_norm_buffers_kept
from models import build_model
from models.batch_norm import across_processes
from utils import collectives, distributed
from utils.errors import UserError

METHODS = {
    # Forget sets of 9 leave a last batch of 2 at this batch size: of three processes one has nothing in it.
    "pretrain": {},
    "retrain": {},
    "pretrain dro": {"rob_approach": "dro", "dro_step_size": 0.5, "dro_adjustment": 1.0},
    "retrain subsample": {"rob_approach": "subsample"},
    "scrub dro": {"rob_approach": "dro", "dro_step_size": 0.5, "dro_adjustment": 1.0},
    "miu subsample": {"rob_approach": "subsample"},
    "ssd": {},
    "iu": {"iu_fisher_batches": 4},
    "salun": {},
    "scrub": {"scrub_rewind": True},
    "l1_sparse": {"max_grad_norm": 0.5},
    "ft": {},
    "ga": {},
    "rl": {},
    "bad_teacher": {},
    "neggrad_plus": {},
    "falw": {},
    "boundary_shrink": {},
    "boundary_expand": {"max_grad_norm": 0.5},
    "miu": {},
    "miu reference": {"preset": "reference"},
}
SIZES = (7, 2)
# Samples to train on, to forget and to retain: ten steps of the network in batches of 8, the last of a pass shorter.
TEN_STEPS = {
    "pretrain": (75, 0, 0),
    "retrain": (75, 0, 75),
    "salun": (75, 27, 43),
    "scrub": (75, 27, 43),
    "l1_sparse": (75, 0, 75),
    "ft": (75, 0, 75),
    "ga": (75, 75, 0),
    "rl": (75, 27, 43),
    "bad_teacher": (75, 27, 43),
    "neggrad_plus": (75, 27, 75),
    "falw": (75, 27, 43),
    "boundary_shrink": (75, 75, 0),
    "boundary_expand": (75, 75, 0),
    "miu": (75, 27, 43),
}


def start(n: int, check: str, folder: Path, **variables: str) -> list[dict[str, Any]]:
    """Run `check` in n processes, in a new or empty folder; returns what each left."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(n), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parent
    shared["PYTHONPATH"] = os.pathsep.join([str(root), str(root.parent)])
    running = [
        subprocess.Popen(
            [sys.executable, __file__, check, str(folder)],
            env=os.environ | shared | variables | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(n)
    ]
    try:
        errors = [process.communicate(timeout=600)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * n, "\n".join(errors)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(n)]


def images(n: int) -> Tensor:
    """(n, 5, 3, 2) numbers far from mean 0 and variance 1, the same in every process."""
    return 3 + 2 * torch.randn(n, 5, 3, 2, generator=torch.Generator().manual_seed(n))


def norm_layer() -> nn.Sequential:
    """Batch norm with weights of its own."""
    layer = nn.BatchNorm2d(5)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 2, 5))
        layer.bias.copy_(torch.linspace(-1, 1, 5))
    return nn.Sequential(layer)


def mine(values: Tensor) -> Tensor:
    """This process's share of the rows."""
    return values[slice(*distributed.own_range(len(values)))]


def batch_norm(n: int) -> dict[str, Tensor]:
    """Outputs, gradients and buffers of a step on n images, of which this process has its share."""
    layer = norm_layer()
    if distributed.world_size() > 1:
        across_processes(layer)
    shared = images(n)
    image = mine(shared).requires_grad_()
    out = layer(image)
    # A loss that is no sum over samples: its gradient reaches every image through the statistics too.
    (out.sigmoid() * mine(shared.flip(0))).sum().backward()
    collectives.sum_gradients(layer.parameters(), torch.zeros(()))
    with batch_norm_buffers_kept(layer):
        kept = layer(image + 1)
    seen = {name: value.clone() for name, value in layer.state_dict().items()}
    return {"out": out.detach(), "image": image.grad, "weight": layer[0].weight.grad, "kept": kept.detach(), **seen}


def bound(n: int) -> dict[str, Tensor]:
    """Two critic steps' bound, its gradient in critic and features, and the running mean."""
    torch.manual_seed(0)
    critic = Critic(4, N_GROUPS)
    every = 5 * torch.randn(n, 4)
    pairs = torch.randint(N_GROUPS, (2, n))
    features = mine(every).requires_grad_()
    for _ in range(2):
        critic.zero_grad()
        value = critic.bound(features, mine(pairs[0]), mine(pairs[1]), update=True)
        weight = len(features) / n
        (weight * (value**2 - value)).backward()
        collectives.sum_gradients(critic.parameters(), torch.zeros(()))
    gradient = torch.cat([parameter.grad.flatten() for parameter in critic.parameters()])
    return {"value": value.detach(), "critic": gradient, "features": features.grad, "mean": critic.log_mean_exp}


def inference() -> dict[str, Tensor]:
    """Logits of all rows, in batches of 16 and in one batch, which leaves processes without any."""
    data = tiny_data()
    service = inference_module.Inference(Loader(data, 4, 0, False), CPU, torch.float32)
    model, rows, found = trained_network(), torch.arange(len(data)).numpy(), {}
    usual = inference_module.BATCH_SIZE
    for size in (16, usual):
        inference_module.BATCH_SIZE = size
        found[str(size)] = service.apply(model, model, rows, "test")
    return found


def decisions() -> dict[str, Any]:
    """What rank 0 decided, said and refused, and who failed first."""

    def refuse() -> None:
        raise UserError(f"refused by {distributed.rank()}")

    found: dict[str, Any] = {"value": distributed.from_rank_0(lambda: {"ü": [distributed.rank(), None, True]})}
    try:
        distributed.from_rank_0(refuse)
    except UserError as error:
        found["error"] = str(error)
    found["any"] = [collectives.any_of(distributed.rank() == 1), collectives.any_of(False)]
    if distributed.rank() == 1:
        found["first"] = distributed.first_failure("disk full")
    collectives.any_of(False)
    if distributed.rank() != 1:
        found["first"] = distributed.first_failure("a peer is gone")
    found["speaks"] = distributed.speaks()
    found["slices"], found["batches"] = own_slices([(0, 7), (7, 9)]), own_batches([(0, 7), (7, 14), (14, 16), (16, 18)])
    return found


def methods(folder: Path) -> dict[str, Any]:
    """Every method on the tiny network: weights, buffers and history after a whole run."""
    found = {}
    for name, flags in METHODS.items():
        place = folder / f"{name}_{distributed.rank()}"
        place.mkdir()
        run = make_run(name.split()[0], place, augment=True, batch_size=7, **flags)
        if distributed.world_size() > 1:
            for module in run.modules.values():
                across_processes(module)
        run.engine.train()
        weights = nn.ModuleDict(run.modules).state_dict()
        history = [{key: value for key, value in row.items() if key != "seconds"} for row in run.history]
        found[name] = {"weights": weights, "history": history, "files": sorted(file.name for file in place.iterdir())}
    return found


def parts(folder: Path) -> dict[str, Any]:
    """Everything that needs no command line, in one start."""
    return {
        "batch_norm": {n: batch_norm(n) for n in SIZES},
        "bound": {n: bound(n) for n in SIZES},
        "inference": inference(),
        "methods": methods(folder),
    }


class CountingEngine(Engine):
    """The engine, counting the steps of each module."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.steps: Counter[str] = Counter()

    def _step(self, phase: Phase, *arguments: Any) -> Tensor:
        self.steps[phase.module] += phase.step
        return super()._step(phase, *arguments)


def ten_steps(folder: Path) -> dict[str, Any]:
    """Ten steps of the network on digits, as the command line configures them; the original is in ORIGINAL."""
    original = torch.load(os.environ["ORIGINAL"], weights_only=True) if "ORIGINAL" in os.environ else {}
    found = {}
    for method, numbers in TEN_STEPS.items():
        known = {"method": method, "dataset": "digits", "precision": "fp32", "epochs": 1, "batch_size": 8}
        known |= {"scrub_batch_size_retain": 8} if method == "scrub" else {}
        config = resolve(known if method == "pretrain" else known | {"unlearning_ratio": 0.5})
        data = read_data(config)
        names = ("train", "forget", "retain", "val")
        few = {name: getattr(data.splits, name)[:n] for name, n in zip(names, (*numbers, 64), strict=True)}
        data = Data(data.dataset, replace(data.splits, **few))
        service = inference_module.Inference(Loader(data.dataset, 32, 0, False), CPU, torch.float32)
        model, frozen = build_model("small_cnn", data.dataset.n_targets, 0, "none"), None
        if method not in ("pretrain", "retrain"):
            model.load_state_dict(original or found["pretrain"])
            rows = np.union1d(data.splits.forget, data.splits.retain)
            frozen = Original(copy.deepcopy(model), service, rows)
        unlearner = build_unlearner(config, data, model, frozen, service)
        files = [folder / f"{method}_{distributed.rank()}_{name}" for name in ("last.pt", "history.csv")]
        engine = CountingEngine(config, unlearner, data.dataset, data.splits, service, *files)
        engine.train()
        assert engine.steps["model"] == 10
        found[method] = nn.ModuleDict(unlearner.modules()).state_dict() if frozen else model.state_dict()
    return found


def checks(folder: Path) -> dict[str, Any]:
    """Everything for the fast tests."""
    found = parts(folder)
    return found | ({"decisions": decisions()} if distributed.world_size() > 1 else {})


def on_act_net(folder: Path) -> dict[str, Any]:
    """Every method on a network whose batch norm has its activation inside."""
    import act_net  # timm is an optional requirement

    act_net.use()
    return {"methods": methods(folder)}


CHECKS = {"parts": checks, "ten_steps": ten_steps, "act_net": on_act_net}


def main(check: str, folder: Path) -> None:
    """One process."""
    with distributed.joined():
        found = CHECKS[check](folder)
    torch.save(found, folder / f"{distributed.rank()}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
    # As in main.py: threads of torch's collectives abort a process now and then, while Python is unloaded.
    os._exit(0)
