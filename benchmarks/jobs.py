"""Whole runs of main.py on the first rows of FairFace, and the models they start from."""

import contextlib
import io
from pathlib import Path

from made_up import fairface_cut
from side_by_side import with_extra

import main as program

SHARE_OF_TEST = 5  # one image in five


def run(arguments: list[str]) -> None:
    """main.py in this process, quietly; SystemExit with what it said where it fails."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = program.main(arguments)
    if code:
        raise SystemExit(said.getvalue())


def with_models(data_dir: Path, folder: Path, n_rows: int, image_size: str, extra: list[str]) -> list[str]:
    """Flags of runs on the first rows, whose pretrained and retrained models, of one epoch, are in `folder` then."""
    n_test = n_rows // SHARE_OF_TEST
    fairface_cut(data_dir, folder, n_rows - n_test, n_test)
    common = ["--dataset", "fairface", "--image_size", image_size, "--no-pretrained", "--data_dir", str(folder)]
    common = with_extra([*common, "--store_dir", str(folder / "output"), "--unlearning_ratio", "0.5"], extra)
    for method in (["pretrain"], ["retrain"], ["retrain", "--reweight"]):
        run(["--method", *method, *common, "--epochs", "1", "--lr", "0.01"])
    return common
