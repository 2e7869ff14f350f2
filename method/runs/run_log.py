"""What a run writes down about itself: versions and groups in config.yaml, the lines of run.log."""

import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.deletion.forget_list import as_text
from datasets.images.verification import SHOWN
from datasets.sampling import reweight_weights
from datasets.splits import save_splits
from method.configs.loading import Config
from method.registry import METHODS
from method.runs.data import Data, describe_requests
from method.runs.folder import FORGET_LIST, IMPORTED, LOG, SPLITS, RunFolder
from utils.distributed import rank
from utils.errors import RunError, disk_full
from utils.files import write_text
from utils.text import PrintableFormatter

log = logging.getLogger("unlearning")


def describe_run(config: Config, data: Data, identity: dict[str, Any]) -> dict[str, Any]:
    """What config.yaml says of a run before it is begun."""
    dataset, splits, left_out = data.dataset, data.splits, {}
    if data.skipped is not None:
        left_out["skipped_images"] = {"n": len(data.skipped), "first": list(data.skipped[:SHOWN])}
    if data.requests is not None:
        names = {kind: list(names) for kind, names in data.requests.left_out.items()}
        left_out["requests"] = {"n": data.requests.n, "n_skipped": data.requests.n_left_out, "skipped": names}
    return {
        "config": dict(config.values),
        "sources": dict(config.sources),
        "identity": identity,
        "reweights_by_default": bool(METHODS[config.method].reweight),  # reports need no torch to know
        **({IMPORTED: config.imported.record()} if config.imported else {}),
        **left_out,
        "fingerprints": {"data": splits.data_fingerprint, "forget": splits.forget_fingerprint},
        "groups": {
            "names": dataset.group_names,
            "targets": list(dataset.target_names),
            "n_targets": dataset.n_targets,
            "n_sensitive": dataset.n_sensitive,
            "forget": list(splits.forget_groups),
        },
    }


def count_left_out(data: Data) -> dict[str, int]:
    """What metrics.json says of images and requests that were left out, where some may be."""
    told = {} if data.skipped is None else {"n_skipped_images": len(data.skipped)}
    if data.requests is not None:
        told |= {"n_requests": data.requests.n, "n_skipped_requests": data.requests.n_left_out}
    return told


def collect_versions() -> dict[str, Any]:
    """Versions and commit, for the record."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "commit": commit,
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")) if commit else None,
    }


class _LogFile(logging.FileHandler):
    """Lines that find no space are lost, without a word: whatever else is written says so."""

    def _open(self) -> TextIOWrapper:
        """UTF-8 whatever the locale, and never through a link."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        return os.fdopen(os.open(self.baseFilename, flags, 0o666), "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logged(directory: RunFolder) -> Iterator[None]:
    """Within it the log also goes to run.log, which is rank 0's."""
    if rank() > 0:
        yield
        return
    file = directory.file(LOG)
    try:
        handler = _LogFile(file, encoding="utf-8")
    except OSError as error:
        raise disk_full(error, file) or RunError(f"{file} cannot be written to ({error.strerror})") from None
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def announce(config: Config, data: Data, directory: RunFolder, resumed: bool) -> None:
    """The first lines of the log: what runs, on what, and what the configuration leaves untuned."""
    dataset, splits = data.dataset, data.splits
    log.info("%s %s", "continuing" if resumed else "starting", directory.path)
    log.info("%d train, %d val, %d test", len(splits.train), len(splits.val), len(splits.test))
    if len(splits.left_out):
        log.info("%d further samples are left out of train by --leave_out %g", len(splits.left_out), config.leave_out)
    if METHODS[config.method].forgets:
        log.info("%d forget (%s), %d retain", len(splits.forget), _composition(data), len(splits.retain))
    if data.requests is not None:
        log.info("%s", describe_requests(data.requests, splits))
    if data.skipped:
        log.warning("%d images cannot be read and are left out, the first is %s", len(data.skipped), data.skipped[0])
    for note in config.notes:
        log.info("%s", note)
    if config.reweights:
        _, lost = reweight_weights(dataset.group[splits.retain], dataset.group[splits.train])
        for group in lost:
            log.warning("REWEIGHT cannot restore %s: no sample of it is retained", dataset.group_name(group))


def _composition(data: Data) -> str:
    """How many of each group are forgotten, and of how many: "waterbird on land 28 of 56"."""
    dataset, splits = data.dataset, data.splits
    forget, train = dataset.count_groups(splits.forget), dataset.count_groups(splits.train)
    return ", ".join(f"{dataset.group_name(group)} {forget[group]} of {train[group]}" for group in splits.forget_groups)


def save_sets(config: Config, data: Data, directory: RunFolder) -> None:
    """splits.npz, and the forget list, if there is one: its names in their order, each once."""
    save_splits(directory.file(SPLITS), data.splits)
    if data.requests is not None:
        write_text(directory.file(FORGET_LIST), as_text(config.requests))
