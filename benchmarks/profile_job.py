"""Where each second of a run goes: main.py itself, on the first rows of FairFace, with clocks put around its parts.

    python benchmarks/profile_job.py --data_dir data [--method miu] [--image_size 64] [--rows 2000] [main.py arguments]

A pretrained and a retrained run are made first and not counted. Seconds are a part's own: what it spends in another
part of the table is counted there. Waiting for images is what the training process waits for its workers.
"""

import argparse
import contextlib
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobs import run, with_models
from side_by_side import machine

from datasets.loading import loaders
from method.evaluation import evaluator
from method.runs import runner
from method.training import engine, inference
from method.training.resume import Resumable
from utils.tables import align


class Clock:
    """Own seconds and calls by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self.stack: list[str] = []
        self.last = time.perf_counter()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens within it, but for other parts."""
        self._turn()
        self.stack.append(name)
        self.calls[name] += 1
        try:
            yield
        finally:
            self._turn()
            self.stack.pop()

    def _turn(self) -> None:
        now = time.perf_counter()
        if self.stack:
            self.seconds[self.stack[-1]] += now - self.last
        self.last = now

    def around(self, owner: Any, name: str, label: str | Callable[..., str]) -> None:
        """Replace owner.name by itself within a part; label: its name, or a function of the arguments."""
        real = getattr(owner, name)

        def timed(*arguments, **named):
            with self.part(label if isinstance(label, str) else label(*arguments, **named)):
                return real(*arguments, **named)

        setattr(owner, name, timed)

    def around_each(self, owner: Any, name: str, label: str) -> None:
        """The same for what a generator does between two of its values."""
        real = getattr(owner, name)

        def timed(*arguments, **named):
            values = real(*arguments, **named)
            while True:
                with self.part(label):
                    value = next(values, None)
                if value is None:
                    return
                yield value

        setattr(owner, name, timed)


def put_clocks(clock: Clock) -> None:
    """Around the parts of a run."""
    clock.around(runner, "read_data", "labels and splits")
    clock.around(runner, "check_images", "check of the images")
    clock.around(runner, "open_cache", "cache")
    clock.around(runner, "starting_models", "building and loading the models")
    clock.around_each(loaders.Loader, "_pass", "waiting for images")
    clock.around(engine.Engine, "_phase", lambda self, phase, *rest: f"training, {phase.name}: the loop")
    clock.around(engine.Engine, "_loss", lambda self, phase, batch: f"training, {phase.name}: forward")
    clock.around(engine.Tensor, "backward", "training: backward")
    clock.around(engine.torch.optim.SGD, "step", "training: optimiser")
    clock.around(inference.Inference, "apply", lambda self, module, function, rows, what: f"forward passes: {what}")
    clock.around(inference.Inference, "image", "normalising")
    clock.around(Resumable, "save", "saving the state")
    clock.around(runner, "save_model", "saving the model")
    clock.around(evaluator.membership, "published_attack", "published attack")
    clock.around(evaluator, "_add_repeated_attacks", "balanced and group-aware attacks")
    clock.around(runner, "evaluate_records", "metrics and records")


def main() -> None:
    """Make the runs, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="a folder with fairface/")
    parser.add_argument("--method", default="miu")
    parser.add_argument("--image_size", default="64")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", default="2")
    wanted, extra = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        common = with_models(wanted.data_dir, Path(folder), wanted.rows, wanted.image_size, extra)
        clock = Clock()
        put_clocks(clock)
        with clock.part("everything else"):
            run(["--method", wanted.method, "--epochs", wanted.epochs, "--lr", "0.01", *common])
    total = sum(clock.seconds.values())
    rows = [
        (name, f"{clock.calls[name]:,}", f"{seconds:.2f}", f"{100 * seconds / total:.1f}")
        for name, seconds in sorted(clock.seconds.items(), key=lambda one: -one[1])
        if seconds >= 0.001 * total
    ]
    what = f"{wanted.method}, {wanted.image_size} px, {wanted.rows:,} rows of FairFace, {wanted.epochs} epochs"
    print(f"{what}, {total:.1f} s")
    print(machine())
    print(align(("part", "calls", "seconds", "%"), rows, left=1))


if __name__ == "__main__":
    main()
