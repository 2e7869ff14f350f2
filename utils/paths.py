"""Where a run lives: the only place that knows the layout of output/ and checkpoints/."""

from pathlib import Path


def run_directory(
    root: Path,
    *,
    dataset: str,
    model: str,
    method: str,
    seed: int,
    task: str | None,
    unlearning_ratio: float | None,
    variant: str = "",
    tag: str = "",
) -> Path:
    """`<root>/<dataset>/<model>/<task>/<method><variant>[-tag]_<ratio>_<seed>`; task and ratio None: not part of it.

    variant: `_reweight`, `_no-reweight`, `_dro`, `_subsample`, `_ablate-<x>` where they are not the method's default.
    """
    name = method + variant + (f"-{tag}" if tag else "")
    if unlearning_ratio is not None:
        name += f"_{unlearning_ratio:.10g}"
    folder = root / dataset / model
    return (folder / task if task else folder) / f"{name}_{seed}"
