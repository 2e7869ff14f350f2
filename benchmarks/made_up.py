"""Data folders for measurements: made-up labels in CelebA's layout, and the first rows of FairFace."""

from pathlib import Path

import numpy as np
from side_by_side import ROOT  # noqa: F401 (makes the project's packages importable)

from datasets.celeba import IMAGES, SENSITIVE, TARGETS

N_ATTRIBUTES = 40


def celeba_labels(root: Path, n: int) -> list[str]:
    """list_attr_celeba.txt and list_eval_partition.txt with n rows in root/celeba; returns the images' names."""
    folder = root / "celeba"
    (folder / IMAGES).mkdir(parents=True)
    draw = np.random.default_rng(0)
    values = np.where(draw.random((n, N_ATTRIBUTES)) < 0.3, " 1", "-1")
    names = [f"{number:06d}.jpg" for number in range(1, n + 1)]
    wanted = [name for name, _ in TARGETS] + [SENSITIVE]
    header = wanted + [f"Attribute_{number}" for number in range(N_ATTRIBUTES - len(wanted))]
    rows = [f"{name} {' '.join(row)}" for name, row in zip(names, values.tolist(), strict=True)]
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(n), " ".join(header), *rows, ""]))
    split = np.repeat((0, 1, 2), (n - 2 * (n // 10), n // 10, n // 10))
    (folder / "list_eval_partition.txt").write_text("".join(map("{} {}\n".format, names, split.tolist())))
    return names


def fairface_cut(data_dir: Path, folder: Path, n_train: int, n_test: int) -> None:
    """The first rows of FairFace's label files in folder/fairface, beside links to its images."""
    source, target = data_dir.resolve() / "fairface", folder / "fairface"
    target.mkdir(parents=True)
    for name, n in (("train", n_train), ("val", n_test)):
        file = f"fairface_label_{name}.csv"
        (target / file).write_text("".join((source / file).read_text().splitlines(keepends=True)[: n + 1]))
        (target / name).symlink_to(source / name)
