"""Which runs belong together: an unlearned one, the retrained one that it is compared with, and the original."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datasets.splits import Splits, load_splits
from method.runs.files import PRETRAIN, RETRAIN
from method.runs.findings import MODELS
from method.runs.folder import CONFIG, MODEL, SPLITS
from method.runs.originals import starts_of
from method.runs.reference import SHARED
from method.runs.stored import StoredRun, read_runs, reference_of
from utils.errors import UserError
from utils.files import sha256_file
from utils.signals import check_stop


@dataclass(frozen=True)
class Trio:
    """Three finished runs with a model.pt each, and the splits of the unlearned one."""

    unlearned: StoredRun
    retrained: StoredRun
    original: StoredRun
    splits: Splits

    def runs(self) -> dict[str, StoredRun]:
        """By what each is called here."""
        return {name: getattr(self, name) for name in MODELS}

    def digests(self) -> dict[str, str]:
        """SHA-256 of every model.pt."""
        return {name: sha256_file(run.folder / MODEL) for name, run in self.runs().items()}


def find_trio(folder: Path, retrained: Path | None = None, original: Path | None = None) -> Trio:
    """The run in `folder`, with the retrained run of its Avg. Gap and the original that it started from.

    retrained, original: folders of others in their place. UserError where one is not there or does not fit.
    """
    run = _finished(folder)
    if run.method == PRETRAIN:
        raise UserError(f"{run.place} forgets nothing; give a run that does")
    beside = list(_beside(run))
    reference = _retrained(run, beside) if retrained is None else _finished(retrained)
    if reference.folder.resolve() == run.folder.resolve():
        raise UserError(
            f"{run.place} is itself what it would be compared with; give another retrained run by --retrained, and the "
            "difference is that between two of them"
        )
    start = _original(run, beside) if original is None else _finished(original)
    for other, wanted in ((reference, RETRAIN), (start, PRETRAIN)):
        _check_fit(run, other, wanted)
    return Trio(run, reference, start, load_splits(run.folder / SPLITS))


def _finished(folder: Path) -> StoredRun:
    """The finished run in this very folder, with its model."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} holds no run; give the folder of a finished one, with its {CONFIG}")
    run = read_runs(folder)[0]
    if run.problem:
        raise UserError(f"{run.place}: {run.problem}; run its command again")
    if not (folder / MODEL).is_file():
        raise UserError(
            f"{run.place} has no {MODEL}, which is to be fine-tuned: what scripts.keep_runs keeps of a run has none; "
            "run its command again"
        )
    return run


def _beside(run: StoredRun) -> Iterator[StoredRun]:
    """The finished runs in its folder's folder and in the one above, where pretrained runs lie."""
    own = run.folder.resolve()
    for parent in own.parents[:2]:
        folders = sorted(folder for folder in parent.iterdir() if folder != own and (folder / CONFIG).is_file())
        for folder in folders:
            check_stop()
            yield from (one for one in read_runs(folder)[:1] if not one.problem)


def _retrained(run: StoredRun, beside: list[StoredRun]) -> StoredRun:
    if run.asked is not None and run.asked.named:
        return _finished(Path(run.config["reference"]))
    found = reference_of(run, beside)
    if found is None:
        kind = "with REWEIGHT" if run.asked and run.asked.reweight else "without REWEIGHT"
        raise UserError(
            f"no retrained model {kind} of the data, forget set and train seed of {run.place} lies beside it; make it "
            "with main.py --method retrain, or name its folder by --retrained"
        )
    return _finished(found.folder)


def _original(run: StoredRun, beside: list[StoredRun]) -> StoredRun:
    start = starts_of([run, *beside])[run]
    if start.run is None:
        told = start.told or "not found: no pretrained run of its data, model and seed is here"
        raise UserError(f"the original of {run.place}: {told}; name its folder by --original")
    return _finished(start.run.folder)


def _check_fit(run: StoredRun, other: StoredRun, wanted: str) -> None:
    """UserError where the other is no run of this kind on the same samples, with the same network and pixels.

    Another train seed is let through where somebody names such a run: two retrained models differ by it.
    """
    if other.method != wanted:
        raise UserError(f"{other.place} is a run of {other.method}, expected one of {wanted}")
    compared = ["data fingerprint", *(name for name in SHARED if name not in ("weights", "head"))]
    compared += ["forget fingerprint"] if wanted == RETRAIN else []
    for name in compared:
        if run.facts[name] != other.facts[name]:
            raise UserError(
                f"{other.place} does not fit {run.place}: its {name} is {other.facts[name]}, expected {run.facts[name]}"
            )
