"""A run that is stopped or killed and goes on ends as one that was left alone, to the last bit."""

import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from kill_and_resume import differences, run_alone, run_killed, tally
from torch import Tensor

from method.training.engine import Engine
from method.unlearners.base import Batch, Phase
from scripts.acceptance.fetching import bits
from scripts.acceptance.harness import Made, Place, make, variants
from scripts.acceptance.options import Options
from scripts.acceptance.rows import Row, Rows, guarded, skipped, verdict

EPOCHS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "scrub_batch_size_retain": 16,
    "miu_critic_steps_first": 3,
    "iu_fisher_batches": 2,
}
KILLS, KILLED_EPOCHS = 2, 8


class Killed(Exception):
    """Raised where a run is to end without a word."""


class Ending(Engine):
    """An engine that is gone before a step: whatever it did since it was last saved is lost."""

    ends_before: int | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.n_steps_taken = 0

    def _step(self, phase: Phase, batch: Batch, *more: Any) -> Tensor:
        if self.n_steps_taken == self.ends_before:
            raise Killed
        self.n_steps_taken += 1
        return super()._step(phase, batch, *more)


def rows(place: Place, options: Options) -> Rows:
    """In this process for every variant; then whole runs that are killed by the system."""
    for variant in variants():
        yield from guarded(f"{variant}: killed and continued", partial(continued, variant, place))
    if options.quick:
        yield skipped("main.py: SIGKILL and the same command again", "left out of --quick")
    else:
        yield from killed(("pretrain", "miu") if options.full else ("pretrain",), place.device)


def continued(variant: str, place: Place) -> Row:
    """Ended in the second half, saved every 3 steps, made anew and gone on with."""
    with tempfile.TemporaryDirectory() as folder, place.settings():
        alone = made_in(Path(folder, "alone"), variant, place)
        alone.engine.train()
        n = alone.engine.n_steps_taken
        ended = made_in(Path(folder, "ended"), variant, place)
        ended.engine.ends_before = 3 * n // 4
        try:
            ended.engine.train()
            return verdict(f"{variant}: killed and continued", False, f"did not end before step {3 * n // 4} of {n}")
        except Killed:
            pass
        again = made_in(Path(folder, "ended"), variant, place)
        again.engine.train()
    differing = unequal(again, alone)
    steps = f"{n} steps, killed before step {3 * n // 4}, {again.engine.n_steps_taken} after it"
    return verdict(f"{variant}: killed and continued", not differing, ", ".join(differing) or "bit-equal", steps)


def made_in(folder: Path, variant: str, place: Place) -> Made[Ending]:
    """A run that saves its state in `folder`."""
    folder.mkdir(exist_ok=True)
    return make(variant, place, folder, Ending, **EPOCHS, save_every=3)


def unequal(run: Made[Ending], other: Made[Ending]) -> list[str]:
    """What of two runs is not the same to the last bit."""
    found = []
    ours, theirs = run.weights(), other.weights()
    if list(ours) != list(theirs) or not all(torch.equal(bits(ours[name]), bits(theirs[name])) for name in ours):
        found.append("weights")
    if run.history() != other.history():
        found.append("history")
    if run.unlearner.extra_metrics() != other.unlearner.extra_metrics():
        found.append("metrics")
    kept = [one.unlearner.other_weights() for one in (run, other)]
    if any(not torch.equal(kept[0][key][name], kept[1][key][name]) for key in kept[1] for name in kept[1][key]):
        found.append("other weights")
    return found


def killed(methods: tuple[str, ...], device: torch.device) -> Rows:
    """Runs of main.py on digits that SIGKILL ends at random moments."""
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        straight, hurt = Path(folder, "straight"), Path(folder, "killed")
        for method in methods:
            name = f"main.py, {method}: SIGKILL and the same command again"
            yield from guarded(name, partial(killed_run, name, method, device, straight, hurt, moments))


def killed_run(name: str, method: str, device: torch.device, straight: Path, hurt: Path, moments: random.Random) -> Row:
    """Of one method: the run that was killed in `hurt` against the one that was left alone in `straight`."""
    flags = f"--method {method} --dataset digits --unlearning_ratio 0.9 --epochs {KILLED_EPOCHS} --save_every 7"
    words = [*flags.split(), "--device", str(device)]
    alone = run_alone(words, straight)
    places = run_killed(words, hurt, straight, alone, KILLS, moments)
    differing = differences(straight, hurt)
    value = ", ".join(differing) or "bit-equal"
    detail = f"{len(places)} kills (before, in, between epochs: {tally(places)}); alone {sum(alone):.0f} s"
    return verdict(name, not differing and len(places) > 0, value, detail)
